//! `AuditService`: what is on record, read from the logs.

use std::{
    collections::{BTreeSet, HashMap},
    pin::Pin,
    sync::Arc,
};

use async_nats::jetstream::stream::Stream as LogStream;
use baton_core::{InstanceId, Timestamp};
use baton_policy::question::{Action, Principal};
use baton_proto::v1::{
    self, audit_service_server::AuditService, commit_body::Content, event::Kind,
    step_judged::Verdict,
};
use futures::{Stream, StreamExt, stream};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use super::{Api, access};
use crate::{
    broker,
    error::Refusal,
    limits, log,
    partition::{self, partition_of},
    view::{from_timestamp, timestamp},
    wire::{self, hex},
};

type Sender = mpsc::Sender<Result<v1::RecordedDecisions, Status>>;

/// Reads the log of a partition for one caller.
struct Reader<'a> {
    api: &'a Api,
    caller: &'a Principal,
    partition: u32,
    /// Workflow of each instance, where the caller may export it.
    allowed: HashMap<InstanceId, Option<String>>,
    /// When groups were asked: instance, activation and group.
    asked: HashMap<(InstanceId, u32, String), i64>,
}

impl Api {
    async fn send_decisions(
        &self,
        caller: &Principal,
        since: Timestamp,
        sender: &Sender,
    ) -> Result<(), Refusal> {
        for partition in 0..self.engine.partitions_count() {
            let (allowed, asked) = (HashMap::new(), HashMap::new());
            let mut reader = Reader { api: self, caller, partition, allowed, asked };
            reader.send(since, sender).await?;
        }
        Ok(())
    }
}

impl Reader<'_> {
    async fn send(&mut self, since: Timestamp, sender: &Sender) -> Result<(), Refusal> {
        let gone = |error: &dyn std::fmt::Display| Refusal::PartitionUnavailable(error.to_string());
        let name = broker::log_stream(self.partition);
        let jetstream = &self.api.engine.broker.jetstream;
        let log = jetstream.get_stream(name).await.map_err(|error| gone(&error))?;
        let last = log.cached_info().state.last_sequence;
        let partition = self.partition;
        let first = first_since(&log, partition, since, last).await?;
        let reads = stream::iter(first..=last).map(|sequence| {
            let log = log.clone();
            async move { log::read_commit(&log, partition, sequence).await }
        });
        let mut commits = Box::pin(reads.buffered(limits::AUDIT_READS));
        let mut found = v1::RecordedDecisions::default();
        while let Some(body) = commits.next().await {
            let body = body.map_err(|error| Refusal::Internal(error.to_string()))?;
            self.take(body, &mut found).await?;
            if found.decisions.len() >= limits::DECISIONS_TOGETHER {
                // Nobody listens any more.
                if sender.send(Ok(std::mem::take(&mut found))).await.is_err() {
                    return Ok(());
                }
            }
        }
        let _ = sender.send(Ok(found)).await;
        Ok(())
    }

    async fn take(
        &mut self,
        body: v1::CommitBody,
        found: &mut v1::RecordedDecisions,
    ) -> Result<(), Refusal> {
        let Some(Content::Batch(batch)) = body.content else { return Ok(()) };
        let at = Timestamp(body.at_ms);
        for entry in batch.instances {
            let Ok(id) = wire::instance_id(&entry.instance) else { continue };
            let tells = entry.events.iter().any(|event| {
                matches!(
                    event.kind,
                    Some(Kind::StepJudged(_) | Kind::ApprovalAsked(_) | Kind::ApprovalAnswered(_))
                )
            });
            if !tells {
                continue;
            }
            let Some(workflow) = self.workflow(id).await? else { continue };
            for event in entry.events {
                match event.kind {
                    Some(Kind::StepJudged(judged)) => {
                        found.decisions.push(decision(id, &workflow, at, judged));
                    }
                    Some(Kind::ApprovalAsked(asked)) => {
                        self.asked.insert((id, asked.activation, asked.group), at.0);
                    }
                    Some(Kind::ApprovalAnswered(answered)) if answered.complete => {
                        let key = (id, answered.activation, answered.group.clone());
                        if let Some(asked) = self.asked.remove(&key) {
                            let (group, waited_ms) = (answered.group, at.0 - asked);
                            found.waits.push(v1::RecordedWait { group, waited_ms });
                        }
                    }
                    Some(_) | None => {}
                }
            }
        }
        Ok(())
    }

    /// None: the caller may not export it.
    async fn workflow(&mut self, id: InstanceId) -> Result<Option<String>, Refusal> {
        if let Some(known) = self.allowed.get(&id) {
            return Ok(known.clone());
        }
        let handle = self.api.engine.handle(partition_of(id))?;
        let instance = handle.ask(|reply| partition::Request::Get { id, reply }).await?;
        let name = &instance.started.name;
        let resource = access::of_instance(&instance);
        let may = self.api.may(self.caller, Action::Export, resource, BTreeMapOfFacts::new());
        let workflow = may.then(|| format!("{}/{}", name.namespace, name.name));
        if self.allowed.len() >= limits::AUDIT_KNOWN {
            self.allowed.clear();
        }
        self.allowed.insert(id, workflow.clone());
        Ok(workflow)
    }
}

/// The first commit that is not older: their times never decrease.
pub(super) async fn first_since(
    log: &LogStream,
    partition: u32,
    since: Timestamp,
    last: u64,
) -> Result<u64, Refusal> {
    let (mut low, mut high) = (1, last + 1);
    while low < high {
        let middle = low.midpoint(high);
        let body = log::read_commit(log, partition, middle).await;
        let body = body.map_err(|error| Refusal::Internal(error.to_string()))?;
        if body.at_ms < since.0 { low = middle + 1 } else { high = middle }
    }
    Ok(low)
}

type BTreeMapOfFacts = std::collections::BTreeMap<String, serde_json::Value>;

fn decision(
    id: InstanceId,
    workflow: &str,
    at: Timestamp,
    judged: v1::StepJudged,
) -> v1::RecordedDecision {
    let verdict = match judged.verdict() {
        Verdict::Allow => "allow",
        Verdict::DenyUnless => "deny-unless",
        Verdict::Deny | Verdict::Unspecified => "deny",
    };
    let remedies =
        judged.wanted.iter().filter_map(|wanted| wire::remedy_text(wanted.remedy.as_ref()?));
    let remedies: BTreeSet<String> = remedies.collect();
    let question = judged.question.and_then(|question| question.value);
    let question = match question {
        Some(v1::json::Value::Text(text)) => text,
        // A question is never large.
        Some(v1::json::Value::Large(_)) | None => String::new(),
    };
    v1::RecordedDecision {
        instance: id.to_string(),
        step: judged.activation,
        attempt: judged.attempt,
        at: Some(timestamp(at)),
        workflow: workflow.to_owned(),
        function: judged.function,
        question,
        verdict: verdict.to_owned(),
        remedies: remedies.into_iter().collect(),
        determining: judged.determining,
        errors: judged.errors,
        set: hex(&judged.set),
    }
}

#[tonic::async_trait]
impl AuditService for Api {
    type DecisionsStream =
        Pin<Box<dyn Stream<Item = Result<v1::RecordedDecisions, Status>> + Send>>;

    async fn decisions(
        &self,
        request: Request<v1::DecisionsRequest>,
    ) -> Result<Response<Self::DecisionsStream>, Status> {
        let (metadata, _, request) = request.into_parts();
        let caller = self.caller(&metadata).map_err(|refusal| self.refused(refusal))?;
        let since = match request.since {
            None => Timestamp(0),
            Some(since) => from_timestamp(&since)
                .ok_or_else(|| self.refused(Refusal::Invalid("the time is out of range".into())))?,
        };
        let (sender, receiver) = mpsc::channel(4);
        let api = self.clone();
        let stop = Arc::clone(&self.engine);
        tokio::spawn(async move {
            let sent = tokio::select! { biased;
                () = sender.closed() => return,
                () = stop.stop.cancelled() => {
                    Err(Refusal::PartitionUnavailable("the engine is stopping".into()))
                }
                sent = api.send_decisions(&caller, since, &sender) => sent,
            };
            if let Err(refusal) = sent {
                let _ = sender.send(Err(api.refused(refusal))).await;
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }

    type ExportStream = Pin<Box<dyn Stream<Item = Result<v1::ExportedLines, Status>> + Send>>;

    async fn export(
        &self,
        request: Request<v1::ExportRequest>,
    ) -> Result<Response<Self::ExportStream>, Status> {
        let (metadata, _, request) = request.into_parts();
        let exported = async {
            let caller = self.caller(&metadata)?;
            self.export_lines(caller, &request).await
        };
        let receiver = exported.await.map_err(|refusal| self.refused(refusal))?;
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }
}
