//! Commands to the workers: published when the log has them, and again when the queue does not.

use std::{collections::BTreeMap, future::IntoFuture, sync::Arc, time::Duration};

use async_nats::{
    HeaderMap,
    jetstream::{self, context::PublishAckFuture, message::PublishMessage},
};
use baton_core::{
    ActivationId, Attempt, Command, Error as WorkflowError, InstanceId, Json,
    error::Standard,
    event::Report,
    workflow::{Function, Kind},
};
use baton_proto::v1;
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use prost::Message;
use tokio::{
    sync::{Semaphore, mpsc},
    task::JoinHandle,
};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{
    Exit, Reply, Request,
    claiming::{self, Claiming},
    lanes::Asker,
    owner::Owner,
    partition_of,
    resident::Resident,
};
use crate::{
    Engine,
    broker::{self, Broker},
    error::Refusal,
    events::{self, CloudEvent},
    limits, telemetry,
    token::Key,
};

/// Publishes commands and sees to it that each arrives.
pub(super) struct Work {
    broker: Broker,
    tokens: Key,
    partition: u32,
    /// Answers of the broker that are still to come.
    unconfirmed: Vec<PublishAckFuture>,
    confirmations: mpsc::UnboundedSender<Vec<PublishAckFuture>>,
    /// To have the owner compare the queue with the log.
    nudges: mpsc::Sender<Request>,
    /// Commands on their way out of the queue.
    withdrawing: Vec<JoinHandle<bool>>,
    /// Bounds the events that are on their way to the broker.
    emitting: Arc<Semaphore>,
    /// Bounds the keys that are being asked for.
    claims: Arc<Semaphore>,
    /// Ends what goes on beside the owner when it goes.
    gone: CancellationToken,
    _guard: DropGuard,
}

impl Work {
    pub(super) fn new(
        broker: &Broker,
        tokens: &Key,
        partition: u32,
        nudges: mpsc::Sender<Request>,
    ) -> Self {
        let (confirmations, receiver) = mpsc::unbounded_channel();
        tokio::spawn(confirm(receiver, nudges.clone(), partition));
        let gone = CancellationToken::new();
        Self {
            broker: broker.clone(),
            tokens: tokens.clone(),
            partition,
            unconfirmed: Vec::new(),
            withdrawing: Vec::new(),
            confirmations,
            nudges,
            emitting: Arc::new(Semaphore::new(limits::EVENTS_IN_FLIGHT_MAX)),
            claims: Arc::new(Semaphore::new(limits::CLAIMS_AT_ONCE)),
            _guard: gone.clone().drop_guard(),
            gone,
        }
    }

    /// Publishes the command of a step, unless the step has moved on meanwhile. `again`: somebody may have it in hand
    /// already, and is to ask before he begins. `false`: it is too large to be sent at all.
    pub(super) async fn dispatch(
        &mut self,
        resident: &Resident,
        id: InstanceId,
        step: ActivationId,
        attempt: Attempt,
        again: bool,
    ) -> bool {
        let Some(open) = resident.instance.open_step(step).filter(|open| open.attempt == attempt)
        else {
            return true;
        };
        let Some(function) = resident.function(step) else { return true };
        let Some(definition) = &resident.definition else { return true };
        let task =
            resident.instance.activations.get(&step).and_then(|a| definition.workflow.task(a.task));
        let name = definition.name();
        let command = v1::StepCommand {
            instance: id.0.to_vec(),
            step: step.0,
            attempt: attempt.0,
            function: function.to_string(),
            input: open.arguments.as_bytes().to_vec(),
            token: self.tokens.token(id, step, attempt).to_vec(),
            reply_subject: broker::result_subject(self.partition, &function.department),
            deadline_ms: resident.instance.deadline(step).map_or(0, |at| at.0),
            idempotency_key: match &open.once {
                // Whoever does it, and whenever it is tried again: it is the same.
                Some(claim) => format!("{}/{}", function.department, claim.key.text),
                None => format!("{id}/{}", step.0),
            },
            task: task.map(|task| task.name.to_string()).unwrap_or_default(),
            workflow: format!("{}/{}:{}", name.namespace, name.name, name.version),
            ask_first: again,
            secrets: match task.map(|task| &task.kind) {
                Some(Kind::Step { secrets, .. }) => {
                    definition.program.placeholders(id, step, secrets)
                }
                Some(_) | None => BTreeMap::new(),
            },
        };
        if command.encoded_len() > limits::COMMAND_BYTES_MAX {
            return false;
        }
        let mut headers = HeaderMap::new();
        headers.insert(
            telemetry::TRACEPARENT,
            telemetry::step_traceparent(id, &resident.instance.started.traceparent, step, attempt),
        );
        let message =
            PublishMessage::build().payload(Bytes::from(command.encode_to_vec())).headers(headers);
        let subject = broker::work_subject(function, id, step, attempt);
        match self.broker.jetstream.send_publish(subject, message).await {
            Ok(confirmation) => self.unconfirmed.push(confirmation),
            Err(error) => {
                tracing::warn!(%error, partition = self.partition, "A command was not sent");
                self.reconcile_later();
            }
        }
        true
    }

    /// Has the owner compare the queue with the log, in a moment.
    fn reconcile_later(&self) {
        let nudges = self.nudges.clone();
        tokio::spawn(async move {
            tokio::time::sleep(limits::RECONCILE_AGAIN).await;
            let _ = nudges.send(Request::Reconcile).await;
        });
    }

    /// Has the owner told where the inbox ends now, in answer to its question of this number.
    pub(super) fn tell_where_the_inbox_ends(&self, question: uuid::Uuid) {
        let (broker, nudges, partition) =
            (self.broker.clone(), self.nudges.clone(), self.partition);
        tokio::spawn(async move {
            let inbox = broker.jetstream.get_stream(broker::inbox_stream(partition)).await;
            let sequence = inbox.ok().map(|inbox| inbox.cached_info().state.last_sequence);
            let _ = nudges.send(Request::InboxEnds { question, sequence }).await;
        });
    }

    /// Publishes the event of a workflow until the broker has it, and tells the owner.
    pub(super) fn emit(
        &self,
        department: Arc<str>,
        instance: InstanceId,
        activation: ActivationId,
        event: Json,
    ) {
        let (broker, nudges) = (self.broker.clone(), self.nudges.clone());
        let (in_flight, gone) = (Arc::clone(&self.emitting), self.gone.clone());
        tokio::spawn(async move {
            let published = async {
                let _permit = in_flight.acquire().await;
                match CloudEvent::parse(event.as_str().to_owned()) {
                    Ok(event) => events::publish_until_stored(&broker, &department, &event).await,
                    Err(error) => {
                        tracing::error!(%error, %instance, "A workflow's event is none");
                    }
                }
                let _ = nudges.send(Request::Published { id: instance, activation }).await;
            };
            // The next owner publishes it, should this one go before the event is stored.
            tokio::select! { biased;
                () = gone.cancelled() => {}
                () = published => {}
            }
        });
    }

    /// Finds out whether a step may hold its key, and tells the owner.
    pub(super) fn claim(&self, engine: &Arc<Engine>, claiming: Claiming) {
        let (owner, gone) = (self.nudges.clone(), self.gone.clone());
        claiming::claim(engine, owner, &self.claims, gone, claiming);
    }

    /// Has somebody look whether what was published since has arrived.
    pub(super) fn confirm(&mut self) {
        if !self.unconfirmed.is_empty() {
            let _ = self.confirmations.send(std::mem::take(&mut self.unconfirmed));
        }
    }

    /// Takes commands out of the queue, and tells their departments' workers; `told` are those who wait for that, and for
    /// all that was withdrawn before.
    pub(super) fn withdraw(&mut self, commands: Vec<Withdrawn>, told: Vec<Reply<()>>) {
        if commands.is_empty() && told.is_empty() {
            return;
        }
        self.withdrawing.retain(|earlier| !earlier.is_finished());
        if !commands.is_empty() {
            self.withdrawing.push(tokio::spawn(withdraw(self.broker.clone(), commands)));
        }
        if !told.is_empty() {
            let all = std::mem::take(&mut self.withdrawing);
            tokio::spawn(async move {
                let mut out = true;
                for one in all {
                    out &= one.await.unwrap_or_default();
                }
                for reply in told {
                    let what = "commands could not be taken out of the queue";
                    let refused = || Refusal::PartitionUnavailable(what.into());
                    let _ = reply.send(if out { Ok(()) } else { Err(refused()) });
                }
            });
        }
    }
}

/// A command that nobody is to have any more.
pub(super) type Withdrawn = (Function, InstanceId, ActivationId, Attempt);

/// Commands of a partition in the queue.
type Queued = BTreeMap<(InstanceId, ActivationId, Attempt), Function>;

/// Whether they are out of the queue.
async fn withdraw(broker: Broker, commands: Vec<Withdrawn>) -> bool {
    for (function, id, step, attempt) in &commands {
        let control = broker::control_subject(&function.department);
        let (instance, step, attempt) = (id.0.to_vec(), step.0, attempt.0);
        let notice = v1::StepCancellation { instance, step, attempt, ..Default::default() };
        let _ = broker.client.publish(control, notice.encode_to_vec().into()).await;
    }
    let subject = |(function, id, step, attempt): &Withdrawn| {
        broker::work_subject(function, *id, *step, *attempt)
    };
    let mut subjects: Vec<_> = commands.iter().map(subject).collect();
    for _ in 0..limits::WITHDRAW_TRIES {
        if let Ok(stream) = broker.jetstream.get_stream_no_info(broker::WORK_STREAM).await {
            let purges = subjects.into_iter().map(|subject| {
                let stream = &stream;
                async move {
                    let purged = stream.purge().filter(&subject).await;
                    purged.is_err().then_some(subject)
                }
            });
            let purges = futures::stream::iter(purges).buffer_unordered(limits::PURGES_AT_ONCE);
            let left: Vec<Option<String>> = purges.collect().await;
            subjects = left.into_iter().flatten().collect();
        }
        if subjects.is_empty() {
            return true;
        }
        tokio::time::sleep(limits::WITHDRAW_AGAIN).await;
    }
    // Nothing is wrong with the instances: the worker asks, or its result is refused.
    tracing::warn!(commands = subjects.len(), "Commands could not be withdrawn");
    false
}

/// Waits for the broker's answers; should one be missing, the owner compares the queue with the log.
async fn confirm(
    mut batches: mpsc::UnboundedReceiver<Vec<PublishAckFuture>>,
    nudges: mpsc::Sender<Request>,
    partition: u32,
) {
    while let Some(batch) = batches.recv().await {
        let mut missing = 0;
        let mut last = String::new();
        for confirmation in batch {
            if let Err(error) = confirmation.into_future().await
                && !is_queued_already(&error)
            {
                missing += 1;
                last = error.to_string();
            }
        }
        if missing > 0 {
            tracing::warn!(partition, missing, error = %last, "Commands were not confirmed; the queue is compared with the log");
            tokio::time::sleep(Duration::from_millis(250)).await;
            let _ = nudges.send(Request::Reconcile).await;
        }
    }
}

/// The command is in the queue: error 10077, "maximum messages per subject exceeded".
fn is_queued_already(error: &jetstream::context::PublishError) -> bool {
    std::error::Error::source(error)
        .is_some_and(|source| source.to_string().contains("maximum messages per subject"))
}

impl Owner {
    /// Has the queue compared with the log as soon as all results that are already there have been taken: a step whose
    /// result waits in the inbox is missing from the queue too, and must not be done again.
    pub(super) async fn reconcile_soon(&mut self) {
        let inbox =
            self.engine.broker.jetstream.get_stream(broker::inbox_stream(self.partition)).await;
        match inbox {
            Ok(inbox) => {
                let last = inbox.cached_info().state.last_sequence;
                if last < self.inbox_position {
                    // It was made anew, or lost its end: what is in it now would be passed over as taken.
                    tracing::warn!(
                        partition = self.partition,
                        last,
                        taken = self.inbox_position,
                        "The inbox ends before what was taken from it; it is read from its beginning"
                    );
                    self.inbox_position = 0;
                    self.inbox_committed = 0;
                    self.inbox_anew = true;
                    self.queries.forget();
                }
                self.reconcile_after = Some(last);
                self.expect_events().await;
            }
            Err(error) => {
                tracing::debug!(%error, "The inbox is not there yet");
                self.work.reconcile_later();
            }
        }
    }

    /// The stream of events may have been made anew, too.
    async fn expect_events(&mut self) {
        let events = self.engine.broker.jetstream.get_stream(broker::EVENTS_STREAM).await;
        let Ok(last) = events.map(|events| events.cached_info().state.last_sequence) else {
            return;
        };
        if last < self.event_position {
            tracing::warn!(
                partition = self.partition,
                last,
                seen = self.event_position,
                "The events end before what was seen of them; they are read from their beginning"
            );
            self.event_position = 0;
            self.event_committed = 0;
            self.giving = None;
            self.lanes.forget_events();
        }
    }

    /// Publishes every command that should be in the queue and is not.
    pub(super) async fn reconcile(&mut self) -> Result<(), Exit> {
        // What the log does not have yet goes out by itself when it does.
        let logged = self.steps.iter().filter(|(_, open)| open.logged);
        let unanswered = logged.filter(|((id, step), _)| !self.lanes.answered(*id, *step));
        let wanted: Vec<_> =
            unanswered.map(|((id, step), open)| (*id, *step, open.attempt)).collect();
        let Some(queued) = self.queued().await else {
            self.work.reconcile_later();
            return Ok(());
        };
        // Only right after the claim: who has been fenced out since would take out what another has sent.
        if !std::mem::replace(&mut self.tidied, true) {
            self.withdraw_unwanted(&queued).await?;
        }
        let missing: Vec<_> = wanted.into_iter().filter(|key| !queued.contains_key(key)).collect();
        if missing.is_empty() {
            return Ok(());
        }
        tracing::info!(
            partition = self.partition,
            missing = missing.len(),
            "Publishing commands that the queue does not have"
        );
        for (id, step, attempt) in missing {
            if self.resident(id).await?.is_some() {
                self.send_command(id, step, attempt, true).await;
            }
        }
        self.work.confirm();
        Ok(())
    }

    /// Sends the command of a step that the log has, unless a kill switch holds it: the one way to a worker.
    pub(super) async fn send_command(
        &mut self,
        id: InstanceId,
        step: ActivationId,
        attempt: Attempt,
        again: bool,
    ) {
        let Some(resident) = self.residents.get(&id) else { return };
        if self.halting.held_by(resident, step).is_some() {
            self.halting.hold_back((id, step), attempt);
        } else if !self.work.dispatch(resident, id, step, attempt, again).await {
            self.refuse_command(id, step, attempt);
        }
    }

    /// Takes out of the queue what no step waits for: an owner before this one may have gone before it did so.
    async fn withdraw_unwanted(&mut self, queued: &Queued) -> Result<(), Exit> {
        let mut unwanted = Vec::new();
        for ((id, step, attempt), function) in queued {
            if self.steps.get(&(*id, *step)).is_some_and(|open| open.attempt == *attempt) {
                continue;
            }
            // Of what stands still because its workflow is missing, nobody knows what is wanted.
            let stands_still = self.open.contains(id)
                && self.resident(*id).await?.is_some_and(|resident| resident.definition.is_none());
            if !stands_still {
                unwanted.push((function.clone(), *id, *step, *attempt));
            }
        }
        self.work.withdraw(unwanted, Vec::new());
        Ok(())
    }

    /// The command is larger than a message may be: the step fails.
    pub(super) fn refuse_command(
        &mut self,
        id: InstanceId,
        activation: ActivationId,
        attempt: Attempt,
    ) {
        let what = format!(
            "the arguments have more than the {} bytes that a command holds",
            limits::COMMAND_BYTES_MAX
        );
        let error = WorkflowError::standard(Standard::Runtime, "Command too large", &what);
        let report = Report::default();
        let command = Command::FailStep { activation, attempt, error, retryable: false, report };
        self.command(id, command, Asker::Nobody);
    }

    /// The commands of this partition in the queue; `None` when the broker does not tell.
    async fn queued(&self) -> Option<Queued> {
        if let Err(error) = self.engine.broker.prepare_work().await {
            tracing::debug!(%error, "The queue is not there yet");
            return None;
        }
        let stream =
            self.engine.broker.jetstream.get_stream_no_info(broker::WORK_STREAM).await.ok()?;
        let mut subjects = stream.info_with_subjects("baton.work.>").await.ok()?;
        let mut queued = Queued::new();
        while let Some((subject, _)) = subjects.try_next().await.ok()? {
            if let Some((function, command)) = broker::parse_work_subject(&subject)
                && partition_of(command.0) == self.partition
            {
                queued.insert(command, function);
            }
        }
        Some(queued)
    }
}
