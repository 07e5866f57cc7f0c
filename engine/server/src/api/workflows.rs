//! `WorkflowService`.

use std::{collections::BTreeMap, pin::Pin, time::Duration};

use baton_core::{Command, Instance, InstanceId, Json, event::Started};
use baton_policy::question::{Action, Principal, Resource};
use baton_proto::v1::{self, workflow_service_server::WorkflowService};
use futures::Stream;
use prost::Message as _;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, metadata::MetadataMap};

use super::{
    Api, access, checked_reason,
    history::{self, Teller},
    instance_id,
};
use crate::{
    cache::{self, Filter},
    error::Refusal,
    limits,
    partition::{self, StartedAs, partition_of},
    telemetry, view,
};

impl Api {
    async fn start_instance(
        &self,
        metadata: &MetadataMap,
        request: v1::StartRequest,
    ) -> Result<StartedAs, Refusal> {
        let version = Some(request.version.as_str()).filter(|version| !version.is_empty());
        let caller = self.caller(metadata)?;
        let definition = self.engine.definition(&request.namespace, &request.name, version)?;
        self.allow(&caller, Action::Start, access::of_definition(&definition))?;
        let name = definition.name();
        let of = (&*name.namespace, &*name.name, &*name.version);
        if let Some(switch) = self.engine.switches.of_workflow(of) {
            return Err(Refusal::WorkflowStopped(switch.number));
        }
        let input = checked_input(request.input)?;
        if request.idempotency_key.len() > limits::KEY_BYTES_MAX {
            return Err(Refusal::TooLarge("an idempotency key has at most 256 bytes".into()));
        }
        checked_labels(&request.labels)?;
        let traceparent =
            metadata.get(telemetry::TRACEPARENT).and_then(|value| value.to_str().ok());
        let traceparent = traceparent
            .filter(|text| telemetry::parse_traceparent(text).is_some())
            .unwrap_or_default();
        let started = Started {
            workflow: definition.workflow.hash,
            name: definition.name().clone(),
            input,
            key: request.idempotency_key.as_str().into(),
            labels: request
                .labels
                .iter()
                .map(|(k, v)| (k.as_str().into(), v.as_str().into()))
                .collect(),
            traceparent: traceparent.into(),
            parent: None,
            carried: baton_core::guard::Carried::default(),
            by: self.name_of(&caller).into(),
        };
        self.engine.start(started, definition).await
    }

    async fn command(
        &self,
        caller: &Principal,
        action: Action,
        id: &str,
        command: Command,
    ) -> Result<v1::Instance, Refusal> {
        let id = instance_id(id)?;
        self.allow_instance(caller, action, id).await?;
        let handle = self.engine.handle(partition_of(id))?;
        let instance =
            handle.ask(|reply| partition::Request::Command { id, command, reply }).await?;
        Ok(self.show_to(caller, &instance))
    }

    /// Who may not read it learns only how it stands.
    pub(super) fn show_to(&self, caller: &Principal, instance: &Instance) -> v1::Instance {
        let shown = self.show(instance);
        if self.sees(caller, access::of_instance(instance)) {
            return shown;
        }
        v1::Instance {
            id: shown.id,
            status: shown.status,
            namespace: shown.namespace,
            name: shown.name,
            version: shown.version,
            ..v1::Instance::default()
        }
    }

    fn show(&self, instance: &Instance) -> v1::Instance {
        let definition = self.engine.definitions.by_hash(instance.started.workflow);
        view::instance(instance, definition.as_deref(), |department, function| {
            self.engine.registry.serves(department, function)
        })
    }

    async fn get_instance(&self, caller: &Principal, id: &str) -> Result<v1::Instance, Refusal> {
        let id = instance_id(id)?;
        let handle = self.engine.handle(partition_of(id))?;
        let instance = handle.ask(|reply| partition::Request::Get { id, reply }).await?;
        self.allow(caller, Action::Read, access::of_instance(&instance))?;
        Ok(self.show(&instance))
    }

    async fn positions(
        &self,
        id: InstanceId,
        watcher: Option<mpsc::Sender<u64>>,
    ) -> Result<Vec<u64>, Refusal> {
        let handle = self.engine.handle(partition_of(id))?;
        handle.ask(|reply| partition::Request::Positions { id, watcher, reply }).await
    }

    /// A page has fewer instances than it might where the caller may not see some.
    async fn list_instances(
        &self,
        caller: &Principal,
        request: v1::ListRequest,
    ) -> Result<v1::ListResponse, Refusal> {
        let text = |text: String| (!text.is_empty()).then_some(text);
        let status = v1::Status::try_from(request.status)
            .map_err(|_| Refusal::Invalid(format!("there is no status {}", request.status)))?;
        let status =
            if status == v1::Status::Unspecified { None } else { u8::try_from(status as i32).ok() };
        let time = |at: Option<prost_types::Timestamp>| match at {
            None => Ok(None),
            Some(at) => view::from_timestamp(&at)
                .map(|at| Some(at.0))
                .ok_or_else(|| Refusal::Invalid("a time is out of range".into())),
        };
        checked_labels(&request.labels)?;
        let filter = Filter {
            namespace: text(request.namespace),
            name: text(request.name),
            status,
            started_after_ms: time(request.started_after)?,
            started_before_ms: time(request.started_before)?,
            labels: request.labels,
        };
        let page_size = match request.page_size {
            0 => limits::PAGE_DEFAULT,
            size if size <= limits::PAGE_MAX => size,
            _ => {
                return Err(Refusal::Invalid(format!(
                    "a page has at most {} instances",
                    limits::PAGE_MAX
                )));
            }
        };
        let token = text(request.page_token);
        let cache = self.engine.cache.clone();
        let partitions: Vec<u32> = (0..self.engine.partitions_count()).collect();
        let page = tokio::task::spawn_blocking(move || {
            cache.list(&partitions, &filter, page_size as usize, token.as_deref())
        });
        let page = page.await.map_err(|error| Refusal::Internal(error.to_string()))?;
        let page = page.map_err(|error| {
            if let cache::Error::PageToken = error {
                Refusal::InvalidPageToken
            } else {
                Refusal::Internal(error.to_string())
            }
        })?;
        Ok(v1::ListResponse {
            instances: page
                .instances
                .into_iter()
                .map(|(id, summary)| view::listed(id, summary))
                .filter(|listed| {
                    let instance = listed.id.clone();
                    let of = format!("{}/{}", listed.namespace, listed.name);
                    self.sees(caller, Resource::Instance { instance, of })
                })
                .collect(),
            next_page_token: page.next.unwrap_or_default(),
        })
    }

    async fn read_history(
        &self,
        caller: &Principal,
        request: v1::HistoryRequest,
    ) -> Result<v1::HistoryResponse, Refusal> {
        let id = instance_id(&request.id)?;
        self.allow_instance(caller, Action::Read, id).await?;
        let limit = match request.limit {
            0 => limits::HISTORY_DEFAULT,
            limit if limit <= limits::HISTORY_MAX => limit,
            _ => {
                return Err(Refusal::Invalid(format!(
                    "an answer has at most {} events",
                    limits::HISTORY_MAX
                )));
            }
        } as usize;
        let positions = self.positions(id, None).await?;
        let events = Teller::new(&self.engine, id).tell(&positions).await?;
        let after = usize::try_from(request.after).unwrap_or(usize::MAX);
        let (all, mut bytes) = (events.len(), 0);
        let events = events.into_iter().skip(after).take(limit).take_while(|event| {
            let fits = bytes < limits::HISTORY_BYTES;
            bytes += event.encoded_len();
            fits
        });
        let events = events.collect::<Vec<_>>();
        let more = after.saturating_add(events.len()) < all;
        Ok(v1::HistoryResponse { events, more })
    }

    async fn watch_instance(
        &self,
        caller: &Principal,
        request: v1::WatchRequest,
    ) -> Result<ReceiverStream<Result<v1::HistoryEvent, Status>>, Refusal> {
        let id = instance_id(&request.id)?;
        self.allow_instance(caller, Action::Read, id).await?;
        let (watcher, mut commits) = mpsc::channel(limits::WATCH_LAG_MAX);
        let positions = self.positions(id, Some(watcher)).await?;
        let (sender, receiver) = mpsc::channel(64);
        let (api, caller) = (self.clone(), caller.clone());
        tokio::spawn(async move {
            let mut teller = Teller::new(&api.engine, id);
            let mut last = positions.last().copied().unwrap_or_default();
            let mut sequences = positions;
            loop {
                let told = match teller.tell(&sequences).await {
                    Ok(told) => told,
                    Err(refusal) => {
                        let _ = sender.send(Err(api.refused(refusal))).await;
                        return;
                    }
                };
                let mut over = false;
                // Rights may have been taken away meanwhile.
                if let Err(refusal) = api.allow_instance(&caller, Action::Read, id).await {
                    let _ = sender.send(Err(api.refused(refusal))).await;
                    return;
                }
                for event in told {
                    over = ends(&event);
                    if event.number > request.after && sender.send(Ok(event)).await.is_err() {
                        return;
                    }
                }
                if over {
                    return;
                }
                loop {
                    let next = tokio::select! { biased;
                        () = sender.closed() => return,
                        () = api.engine.stop.cancelled() => None,
                        next = commits.recv() => next,
                    };
                    // The owner has let go of us: it stepped down, or we were too slow.
                    let Some(sequence) = next else {
                        let gone = Refusal::PartitionUnavailable(
                            "the watch was interrupted, begin again".into(),
                        );
                        let _ = sender.send(Err(api.refused(gone))).await;
                        return;
                    };
                    if sequence > last {
                        last = sequence;
                        sequences = vec![sequence];
                        break;
                    }
                }
            }
        });
        Ok(ReceiverStream::new(receiver))
    }

    async fn rerun_instance(
        &self,
        caller: &Principal,
        request: v1::RerunRequest,
    ) -> Result<v1::Instance, Refusal> {
        let id = instance_id(&request.id)?;
        self.allow_instance(caller, Action::Signal, id).await?;
        let handle = self.engine.handle(partition_of(id))?;
        let instance = handle.ask(|reply| partition::Request::Get { id, reply }).await?;
        if instance.ended.is_none() {
            return Err(Refusal::Rejected(baton_core::Rejection::InstanceOpen));
        }
        let definition = self.engine.definitions.by_hash(instance.started.workflow);
        let task = definition.and_then(|definition| definition.workflow.outermost(&request.task));
        let task = task.ok_or(Refusal::Rejected(baton_core::Rejection::UnknownTask))?;
        let positions = self.positions(id, None).await?;
        let (input, context) = history::entry_of(&self.engine, id, &positions, task).await?;
        let command = Command::Rerun { task, input, context };
        self.command(caller, Action::Signal, &request.id, command).await
    }
}

/// Whether nothing can follow, short of a rerun.
fn ends(event: &v1::HistoryEvent) -> bool {
    use v1::event::Kind;
    let kind = event.event.as_ref().and_then(|event| event.kind.as_ref());
    matches!(
        kind,
        Some(Kind::InstanceCompleted(_) | Kind::InstanceFaulted(_) | Kind::InstanceCancelled(_))
    )
}

fn checked_input(input: String) -> Result<Json, Refusal> {
    if input.is_empty() {
        return Ok(Json::empty_object());
    }
    if input.len() > limits::INPUT_BYTES_MAX {
        return Err(Refusal::TooLarge(format!(
            "an input has at most {} bytes",
            limits::INPUT_BYTES_MAX
        )));
    }
    baton_dsl::check_json(&input)
        .map_err(|error| Refusal::Invalid(format!("the input is not JSON: {error}")))?;
    Ok(Json::from_text(input))
}

fn checked_labels(labels: &BTreeMap<String, String>) -> Result<(), Refusal> {
    let is_key = |key: &str| {
        (1..=limits::LABEL_KEY_BYTES_MAX).contains(&key.len())
            && key.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_./".contains(&b))
    };
    let fits = labels.len() <= limits::LABELS_MAX
        && labels
            .iter()
            .all(|(key, value)| is_key(key) && value.len() <= limits::LABEL_VALUE_BYTES_MAX);
    if fits {
        Ok(())
    } else {
        Err(Refusal::Invalid("at most 16 labels: keys of 1 to 63 letters, digits, - _ . /; values of at most 256 bytes".into()))
    }
}

type Answer<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl WorkflowService for Api {
    async fn start(&self, request: Request<v1::StartRequest>) -> Answer<v1::StartResponse> {
        let (metadata, _, request) = request.into_parts();
        let started = self
            .start_instance(&metadata, request)
            .await
            .map_err(|refusal| self.refused(refusal))?;
        Ok(Response::new(v1::StartResponse {
            id: started.id.to_string(),
            created: started.created,
        }))
    }

    async fn start_and_wait(
        &self,
        request: Request<v1::StartAndWaitRequest>,
    ) -> Answer<v1::Instance> {
        let (metadata, _, request) = request.into_parts();
        let waited = async {
            let wait = match request.wait_ms {
                0 => limits::WAIT_DEFAULT,
                ms => u64::try_from(ms)
                    .map(Duration::from_millis)
                    .ok()
                    .filter(|wait| *wait <= limits::WAIT_MAX)
                    .ok_or_else(|| Refusal::Invalid("wait_ms is from 0 to 3600000".into()))?,
            };
            let start = request.start.ok_or_else(|| Refusal::Invalid("start is missing".into()))?;
            let started = self.start_instance(&metadata, start).await?;
            let caller = self.caller(&metadata)?;
            let handle = self.engine.handle(partition_of(started.id))?;
            let id = started.id;
            let ended = handle.ask(|reply| partition::Request::Await { id, reply });
            let ended = async {
                tokio::select! { biased;
                    ended = ended => ended,
                    () = self.engine.stop.cancelled() => Err(Refusal::PartitionUnavailable("the engine is stopping".into())),
                }
            };
            let instance = if let Ok(ended) = tokio::time::timeout(wait, ended).await {
                ended?
            } else {
                handle.ask(|reply| partition::Request::Get { id, reply }).await?
            };
            Ok(self.show_to(&caller, &instance))
        };
        waited.await.map(Response::new).map_err(|refusal| self.refused(refusal))
    }

    async fn get(&self, request: Request<v1::GetRequest>) -> Answer<v1::Instance> {
        let (metadata, _, request) = request.into_parts();
        let got = async { self.get_instance(&self.caller(&metadata)?, &request.id).await };
        got.await.map(Response::new).map_err(|refusal| self.refused(refusal))
    }

    async fn list(&self, request: Request<v1::ListRequest>) -> Answer<v1::ListResponse> {
        let (metadata, _, request) = request.into_parts();
        let listed = async { self.list_instances(&self.caller(&metadata)?, request).await };
        listed.await.map(Response::new).map_err(|refusal| self.refused(refusal))
    }

    async fn history(&self, request: Request<v1::HistoryRequest>) -> Answer<v1::HistoryResponse> {
        let (metadata, _, request) = request.into_parts();
        let history = async { self.read_history(&self.caller(&metadata)?, request).await };
        history.await.map(Response::new).map_err(|refusal| self.refused(refusal))
    }

    type WatchStream = Pin<Box<dyn Stream<Item = Result<v1::HistoryEvent, Status>> + Send>>;

    async fn watch(&self, request: Request<v1::WatchRequest>) -> Answer<Self::WatchStream> {
        let (metadata, _, request) = request.into_parts();
        let watched = async { self.watch_instance(&self.caller(&metadata)?, request).await };
        let events = watched.await.map_err(|refusal| self.refused(refusal))?;
        Ok(Response::new(Box::pin(events)))
    }

    async fn cancel(&self, request: Request<v1::CancelRequest>) -> Answer<v1::Instance> {
        let (metadata, _, request) = request.into_parts();
        let cancelled = async {
            let caller = self.caller(&metadata)?;
            let command = Command::Cancel { reason: checked_reason(&request.reason)? };
            self.command(&caller, Action::Cancel, &request.id, command).await
        };
        cancelled.await.map(Response::new).map_err(|refusal| self.refused(refusal))
    }

    async fn terminate(&self, request: Request<v1::TerminateRequest>) -> Answer<v1::Instance> {
        let (metadata, _, request) = request.into_parts();
        let terminated = async {
            let caller = self.caller(&metadata)?;
            let command = Command::Terminate { reason: checked_reason(&request.reason)? };
            self.command(&caller, Action::Cancel, &request.id, command).await
        };
        terminated.await.map(Response::new).map_err(|refusal| self.refused(refusal))
    }

    async fn suspend(&self, request: Request<v1::SuspendRequest>) -> Answer<v1::Instance> {
        let (metadata, _, request) = request.into_parts();
        let suspended = async {
            let caller = self.caller(&metadata)?;
            let command = Command::Suspend { reason: checked_reason(&request.reason)? };
            self.command(&caller, Action::Signal, &request.id, command).await
        };
        suspended.await.map(Response::new).map_err(|refusal| self.refused(refusal))
    }

    async fn resume(&self, request: Request<v1::ResumeRequest>) -> Answer<v1::Instance> {
        let (metadata, _, request) = request.into_parts();
        let resumed = async {
            let caller = self.caller(&metadata)?;
            self.command(&caller, Action::Signal, &request.id, Command::Resume).await
        };
        resumed.await.map(Response::new).map_err(|refusal| self.refused(refusal))
    }

    async fn rerun(&self, request: Request<v1::RerunRequest>) -> Answer<v1::Instance> {
        let (metadata, _, request) = request.into_parts();
        let rerun = async { self.rerun_instance(&self.caller(&metadata)?, request).await };
        rerun.await.map(Response::new).map_err(|refusal| self.refused(refusal))
    }
}
