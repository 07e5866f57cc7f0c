//! What can happen to an instance. Events are for ever: fields are added, meanings never change.

use alloc::{collections::BTreeMap, sync::Arc, vec::Vec};

use crate::{
    approval::{Answer, Ask},
    error::Error,
    guard::{Carried, Judgement, Remedy},
    id::{ActivationId, Attempt, InstanceId, TaskId, Timestamp},
    json::Json,
    once::Key,
    workflow::{Hash, Name},
};

/// One thing that has happened, as the log keeps it.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// It began; what the state holds from then on.
    InstanceStarted(Arc<Started>),
    /// A task begins. `raw_input` and `input` are absent when they are what the parent holds.
    TaskEntered {
        activation: ActivationId,
        parent: ActivationId,
        task: TaskId,
        raw_input: Option<Json>,
        input: Option<Json>,
        deadline: Option<Timestamp>,
        branch: u32,
    },
    /// Its `if` was false.
    TaskSkipped { parent: ActivationId, task: TaskId, next: Next },
    /// `output` is absent when it is the activation's own value, `context` when it stays as it was.
    TaskCompleted {
        activation: ActivationId,
        output: Option<Json>,
        context: Option<Json>,
        next: Next,
    },
    /// The error goes on to the task around it.
    TaskFaulted { activation: ActivationId, error: Error },
    /// `arguments` are absent on later attempts, and so are `facts`: what its task shows of it, when it shows something.
    /// `guarded`: it goes out only when policies allow it. `once` is absent on later attempts: what must hold its key before all
    /// that.
    StepScheduled {
        activation: ActivationId,
        attempt: Attempt,
        arguments: Option<Json>,
        guarded: bool,
        facts: Option<Json>,
        once: Option<Key>,
    },
    /// The step holds its key, and no other step anywhere does. `guarded`: policies are to be asked.
    KeyClaimed { activation: ActivationId, attempt: Attempt, guarded: bool },
    /// Another step has done what has this key, and its output is that of this step, too.
    KeyAttached { activation: ActivationId, attempt: Attempt, by: InstanceId, output: Json },
    /// Somebody has looked whether what has a key has happened.
    KeyResolved { activation: ActivationId, happened: bool, by: Arc<str>, reason: Arc<str> },
    /// Policies have said whether the attempt may go out.
    StepJudged { activation: ActivationId, attempt: Attempt, judgement: Arc<Judgement> },
    /// What lifts a denial is done. `arguments` are absent when they stay as they were. `complete`: nothing else is wanted,
    /// and policies are to be asked again.
    StepRemedied {
        activation: ActivationId,
        attempt: Attempt,
        remedy: Remedy,
        arguments: Option<Json>,
        complete: bool,
    },
    /// A policy wants people to approve the attempt. What was asked about another digest is void.
    ApprovalAsked { activation: ActivationId, attempt: Attempt, ask: Arc<Ask> },
    /// Somebody works on what a group is asked, or nobody any more.
    ApprovalClaimed { activation: ActivationId, group: Arc<str>, by: Option<Arc<str>> },
    /// Somebody has approved it or not. `complete`: enough have, and policies are to be asked again.
    ApprovalAnswered {
        activation: ActivationId,
        attempt: Attempt,
        group: Arc<str>,
        answer: Answer,
        approves: bool,
        complete: bool,
    },
    /// Not enough have answered in time, and the fallback comes. `complete`: with those who now count, too, enough have.
    ApprovalOverdue { activation: ActivationId, attempt: Attempt, policy: Arc<str>, complete: bool },
    /// Another policy set counts than the one that wanted people asked: all of it is void, and policies are to be asked again.
    ApprovalsVoided { activation: ActivationId, attempt: Attempt },
    /// A worker has done the step.
    StepCompleted { activation: ActivationId, attempt: Attempt, output: Json, report: Report },
    /// A worker could not do the step; without `retry_at` its task faults.
    StepFailed {
        activation: ActivationId,
        attempt: Attempt,
        error: Error,
        retry_at: Option<Timestamp>,
        report: Report,
    },
    /// A kill switch has stopped the attempt, before or after a worker had it.
    StepHalted { activation: ActivationId, attempt: Attempt, switch: Arc<str> },
    /// A worker has answered an attempt that was stopped: this is on record, and changes nothing but what the case has cost.
    ResultFenced {
        activation: ActivationId,
        attempt: Attempt,
        result: Result<Json, Error>,
        report: Report,
    },
    /// Its result is no longer wanted.
    StepCancelled { activation: ActivationId, attempt: Attempt },
    /// A `wait` waits.
    TimerStarted { activation: ActivationId, fire_at: Timestamp },
    /// A `wait` is over, or the next try of a `try` begins. `output` is absent when it is the task's input.
    TimerFired { activation: ActivationId, output: Option<Json> },
    /// A `for` has its items.
    LoopStarted { activation: ActivationId, items: Vec<Json> },
    /// The iteration of this index, from 0, begins.
    LoopIterated { activation: ActivationId, index: u32 },
    /// A `fork` begins with its branches.
    ForkStarted { activation: ActivationId, branches: u32, compete: bool },
    /// A map has its items, of which at most `concurrency` are worked on at once. `collect`: one that fails does not end it.
    MapStarted { activation: ActivationId, items: Vec<Json>, concurrency: u32, collect: bool },
    /// What a map did for an item went wrong, and `output` stands in the place of that item.
    MapItemFaulted { activation: ActivationId, error: Error, output: Json },
    /// A `try` takes the error: its handler begins.
    ErrorCaught { activation: ActivationId, error: Error },
    /// A `try` takes the error and begins again later.
    RetryScheduled { activation: ActivationId, attempt: Attempt, error: Error, fire_at: Timestamp },
    /// Nothing new begins.
    InstanceSuspended { reason: Arc<str> },
    /// It goes on.
    InstanceResumed,
    /// The end, as the author meant it.
    InstanceCompleted { output: Json },
    /// The end by an error that nobody caught.
    InstanceFaulted { error: Error },
    /// The end that somebody asked for.
    InstanceCancelled { reason: Arc<str>, terminated: bool },
    /// Goes on from a task of the outermost list. The root is entered again right after it.
    InstanceRerun { task: TaskId, input: Json, context: Json },
    /// An `emit` has its event, which is now to be published.
    EventEmitted { activation: ActivationId, event: Json },
    /// The broker has stored it.
    EventPublished { activation: ActivationId },
    /// A `listen` listens. `correlation` is what its events must say; `each`: it does something with each of them.
    ListenStarted { activation: ActivationId, correlation: BTreeMap<Arc<str>, Json>, each: bool },
    /// A `listen` takes an event.
    EventTaken {
        activation: ActivationId,
        /// Which of its filters the event fits; those of `until` count on after the others.
        filter: u32,
        /// What it hands on; absent when the event only ends it.
        value: Option<Json>,
        /// What this event settles for those to come.
        correlation: BTreeMap<Arc<str>, Json>,
        event: Origin,
        /// It has enough now.
        over: bool,
    },
    /// The pass of this index, from 0, of a `foreach` begins.
    ListenIterated { activation: ActivationId, index: u32 },
    /// It is done; `context` is absent when it stays as it was.
    ListenIterationEnded { activation: ActivationId, output: Json, context: Option<Json> },
    /// An instance of another workflow is to begin.
    ChildStarted {
        activation: ActivationId,
        child: InstanceId,
        /// `version` is empty: the highest.
        workflow: Name,
        input: Json,
        awaited: bool,
    },
    /// It has ended, with its output or an error; when nobody awaits it, it has begun, or cannot.
    ChildEnded { activation: ActivationId, result: Result<Json, Error>, carried: Carried },
    /// Nobody waits for it any more.
    ChildCancelled { activation: ActivationId, child: InstanceId },
    /// A task that is about to complete can be undone, by this list of tasks with this input.
    CompensationKept { activation: ActivationId, task: TaskId, input: Json },
    /// The instance is going to end as `cause` says, and what can be undone is undone before, the last first: each time a
    /// task of the root is entered from now on, it is the next of them.
    CompensationStarted { cause: Cause },
    /// Something could not be undone; the others still are.
    CompensationFailed { error: Error },
}

/// Why an instance undoes what it has done.
#[derive(Clone, Debug, PartialEq)]
pub enum Cause {
    /// An error that nobody caught.
    Faulted(Error),
    /// Somebody asked for it, with this reason.
    Cancelled(Arc<str>),
}

/// Where an event comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// Its place in the stream of all events; an instance takes it once.
    pub position: u64,
    /// Places before this one do not come again.
    pub floor: u64,
    /// Its `id`, as CloudEvents call it.
    pub id: Arc<str>,
    /// Its `source`, as CloudEvents call it.
    pub source: Arc<str>,
    /// Its `type`, as CloudEvents call it.
    pub kind: Arc<str>,
}

/// How an instance began.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Started {
    /// To which the instance is pinned.
    pub workflow: Hash,
    /// For people and lists.
    pub name: Name,
    /// As it came in, before `input.from`.
    pub input: Json,
    /// The caller's idempotency key; empty: none.
    pub key: Arc<str>,
    /// The caller's own, for lists and search.
    pub labels: BTreeMap<Arc<str>, Arc<str>>,
    /// The caller's W3C trace context; empty: none.
    pub traceparent: Arc<str>,
    /// Whose `run` it is; `None`: somebody started it from outside.
    pub parent: Option<Parent>,
    /// Of the case that runs it.
    pub carried: Carried,
    /// Who started it, or the instance around it; empty: a schedule, or nobody said.
    pub by: Arc<str>,
}

/// The task of another instance that runs this one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parent {
    /// The instance.
    pub instance: InstanceId,
    /// Its task.
    pub activation: ActivationId,
    /// How many are around it: a workflow that runs itself must come to an end.
    pub depth: u32,
    /// Whether the task waits for its end.
    pub awaited: bool,
}

/// What follows a task in its list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// A task of the same list.
    Task(TaskId),
    /// The list is done.
    Exit,
    /// The workflow is done.
    End,
}

/// What a worker says of its own work; the times are by its clock.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// The worker's own name.
    pub worker: Arc<str>,
    /// The worker's OpenTelemetry service name.
    pub service: Arc<str>,
    /// When it began the attempt.
    pub started: Timestamp,
    /// When it had done it.
    pub finished: Timestamp,
    /// What it spent, in millionths of the unit of money.
    pub cost: u64,
}
