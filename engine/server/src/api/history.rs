//! What an instance has been through, read from the log.

use std::sync::Arc;

use baton_core::{Event, Instance, InstanceId, Json, TaskId, Timestamp};
use baton_proto::v1::{self, commit_body::Content, event::Kind};
use futures::{StreamExt, TryStreamExt, stream};

use crate::{
    Engine, broker,
    definitions::Definition,
    error::Refusal,
    large, log,
    partition::partition_of,
    view::timestamp,
    wire::{self, LargeValues},
};

/// Commits that are read at the same time.
const READS: usize = 16;

/// Names the tasks of one instance's events as they go by.
pub(crate) struct Teller {
    engine: Arc<Engine>,
    id: InstanceId,
    definition: Option<Arc<Definition>>,
    /// By activation number: the task that it is a passage through.
    tasks: std::collections::HashMap<u32, u32>,
    number: u64,
}

impl Teller {
    pub(crate) fn new(engine: &Arc<Engine>, id: InstanceId) -> Self {
        Self {
            engine: Arc::clone(engine),
            id,
            definition: None,
            tasks: std::collections::HashMap::new(),
            number: 0,
        }
    }

    /// The instance's events in these commits, in order.
    pub(crate) async fn tell(
        &mut self,
        sequences: &[u64],
    ) -> Result<Vec<v1::HistoryEvent>, Refusal> {
        let mut told = Vec::new();
        let mut commits = commits(&self.engine, self.id, sequences).await?;
        while let Some((sequence, body)) = commits.try_next().await? {
            let at = Timestamp(body.at_ms);
            for event in own_events(body, self.id) {
                told.push(self.show(event, sequence, at));
            }
        }
        Ok(told)
    }

    fn show(&mut self, event: v1::Event, sequence: u64, at: Timestamp) -> v1::HistoryEvent {
        self.number += 1;
        let task = event.kind.as_ref().and_then(|kind| self.task_of(kind));
        let definition = self.definition.as_ref();
        let task = task.and_then(|task| definition?.workflow.task(TaskId(task)));
        let function = task.and_then(|task| task.kind.function()).map(ToString::to_string);
        v1::HistoryEvent {
            number: self.number,
            at: Some(timestamp(at)),
            task: task.map(|task| task.name.to_string()).unwrap_or_default(),
            pointer: task.map(|task| task.pointer.to_string()).unwrap_or_default(),
            event: Some(event),
            partition: partition_of(self.id),
            sequence,
            function: function.unwrap_or_default(),
        }
    }

    fn task_of(&mut self, kind: &Kind) -> Option<u32> {
        let activation = match kind {
            Kind::InstanceStarted(started) => {
                let hash = started.workflow.as_slice().try_into().ok()?;
                self.definition = self.engine.definitions.by_hash(baton_core::workflow::Hash(hash));
                return None;
            }
            Kind::TaskEntered(e) => {
                self.tasks.insert(e.activation, e.task);
                e.activation
            }
            Kind::TaskSkipped(e) => return Some(e.task),
            Kind::InstanceRerun(e) => return Some(e.task),
            Kind::TaskCompleted(e) => e.activation,
            Kind::TaskFaulted(e) => e.activation,
            Kind::StepScheduled(e) => e.activation,
            Kind::StepJudged(e) => e.activation,
            Kind::StepRemedied(e) => e.activation,
            Kind::ApprovalAsked(e) => e.activation,
            Kind::ApprovalClaimed(e) => e.activation,
            Kind::ApprovalAnswered(e) => e.activation,
            Kind::ApprovalOverdue(e) => e.activation,
            Kind::ApprovalsVoided(e) => e.activation,
            Kind::StepCompleted(e) => e.activation,
            Kind::StepFailed(e) => e.activation,
            Kind::KeyClaimed(e) => e.activation,
            Kind::KeyAttached(e) => e.activation,
            Kind::KeyResolved(e) => e.activation,
            Kind::StepHalted(e) => e.activation,
            Kind::ResultFenced(e) => e.activation,
            Kind::StepCancelled(e) => e.activation,
            Kind::TimerStarted(e) => e.activation,
            Kind::TimerFired(e) => e.activation,
            Kind::LoopStarted(e) => e.activation,
            Kind::LoopIterated(e) => e.activation,
            Kind::ForkStarted(e) => e.activation,
            Kind::MapStarted(e) => e.activation,
            Kind::MapItemFaulted(e) => e.activation,
            Kind::ErrorCaught(e) => e.activation,
            Kind::RetryScheduled(e) => e.activation,
            Kind::EventEmitted(e) => e.activation,
            Kind::EventPublished(e) => e.activation,
            Kind::ListenStarted(e) => e.activation,
            Kind::EventTaken(e) => e.activation,
            Kind::ListenIterated(e) => e.activation,
            Kind::ListenIterationEnded(e) => e.activation,
            Kind::ChildStarted(e) => e.activation,
            Kind::ChildEnded(e) => e.activation,
            Kind::ChildCancelled(e) => e.activation,
            Kind::CompensationKept(e) => e.activation,
            Kind::InstanceSuspended(_)
            | Kind::InstanceResumed(_)
            | Kind::InstanceCompleted(_)
            | Kind::InstanceFaulted(_)
            | Kind::InstanceCancelled(_)
            | Kind::CompensationStarted(_)
            | Kind::CompensationFailed(_) => return None,
        };
        // Number 0 is the document itself: what concerns it concerns the instance.
        self.tasks.get(&activation).copied().filter(|task| *task != 0)
    }
}

async fn commits<'a>(
    engine: &Arc<Engine>,
    id: InstanceId,
    sequences: &'a [u64],
) -> Result<impl futures::Stream<Item = Result<(u64, v1::CommitBody), Refusal>> + Unpin + 'a, Refusal>
{
    let partition = partition_of(id);
    let log = engine
        .broker
        .jetstream
        .get_stream(broker::log_stream(partition))
        .await
        .map_err(|error| Refusal::PartitionUnavailable(error.to_string()))?;
    let reads = stream::iter(sequences).map(move |sequence| {
        let log = log.clone();
        async move {
            let body = log::read_commit(&log, partition, *sequence).await;
            body.map(|body| (*sequence, body)).map_err(|error| Refusal::Internal(error.to_string()))
        }
    });
    Ok(Box::pin(reads.buffered(READS)))
}

fn own_events(body: v1::CommitBody, id: InstanceId) -> impl Iterator<Item = v1::Event> {
    let instances = match body.content {
        Some(Content::Batch(batch)) => batch.instances,
        Some(Content::Claim(_)) | None => Vec::new(),
    };
    instances.into_iter().filter(move |entry| entry.instance == id.0).flat_map(|entry| entry.events)
}

/// The first event in these commits of which something is found.
pub(crate) async fn find<T>(
    engine: &Arc<Engine>,
    id: InstanceId,
    sequences: &[u64],
    mut wanted: impl FnMut(&Event) -> Option<T>,
) -> Result<Option<T>, Refusal> {
    let mut commits = commits(engine, id, sequences).await?;
    let mut values = LargeValues::new();
    while let Some((_, body)) = commits.try_next().await? {
        for event in own_events(body, id) {
            let decoded = large::decode(&engine.objects, &mut values, |values| {
                wire::decode_event(event.clone(), values)
            });
            let event = decoded.await.map_err(|error| Refusal::Internal(error.to_string()))?;
            if let Some(found) = wanted(&event) {
                return Ok(Some(found));
            }
        }
    }
    Ok(None)
}

/// The input and context that a task of the outermost list had when it was last entered.
pub(crate) async fn entry_of(
    engine: &Arc<Engine>,
    id: InstanceId,
    sequences: &[u64],
    task: TaskId,
) -> Result<(Json, Json), Refusal> {
    let internal = |error: &dyn std::fmt::Display| Refusal::Internal(error.to_string());
    let mut commits = commits(engine, id, sequences).await?;
    let mut instance: Option<Instance> = None;
    let mut values = LargeValues::new();
    let mut found = None;
    while let Some((_, body)) = commits.try_next().await? {
        let at = Timestamp(body.at_ms);
        for event in own_events(body, id) {
            let decoded = large::decode(&engine.objects, &mut values, |values| {
                wire::decode_event(event.clone(), values)
            });
            let event = decoded.await.map_err(|error| internal(&error))?;
            if let Event::InstanceStarted(started) = &event {
                instance = Some(Instance::new(id, Arc::clone(started), at));
                continue;
            }
            let instance =
                instance.as_mut().ok_or_else(|| internal(&"a history without a start"))?;
            if let Event::TaskEntered { task: entered, parent, raw_input, .. } = &event
                && *entered == task
                && let Some(around) = instance.activations.get(parent)
            {
                found = Some((
                    raw_input.clone().unwrap_or_else(|| around.value.clone()),
                    instance.context.clone(),
                ));
            }
            baton_core::apply(instance, &event, at);
        }
    }
    found.ok_or(Refusal::Rejected(baton_core::Rejection::UnknownTask))
}
