//! What can happen to an instance. Events are for ever: fields are added, meanings never change.

use alloc::{collections::BTreeMap, sync::Arc, vec::Vec};

use crate::{
    error::Error,
    id::{ActivationId, Attempt, TaskId, Timestamp},
    json::Json,
    workflow::{Hash, Name},
};

#[derive(Clone, Debug, PartialEq)]
pub enum Event {
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
    TaskSkipped {
        parent: ActivationId,
        task: TaskId,
        next: Next,
    },
    /// `output` is absent when it is the activation's own value, `context` when it stays as it was.
    TaskCompleted {
        activation: ActivationId,
        output: Option<Json>,
        context: Option<Json>,
        next: Next,
    },
    /// The error goes on to the task around it.
    TaskFaulted {
        activation: ActivationId,
        error: Error,
    },
    /// `arguments` are absent on later attempts.
    StepScheduled {
        activation: ActivationId,
        attempt: Attempt,
        arguments: Option<Json>,
    },
    StepCompleted {
        activation: ActivationId,
        attempt: Attempt,
        output: Json,
        report: Report,
    },
    StepFailed {
        activation: ActivationId,
        attempt: Attempt,
        error: Error,
        retry_at: Option<Timestamp>,
        report: Report,
    },
    /// Its result is no longer wanted.
    StepCancelled {
        activation: ActivationId,
        attempt: Attempt,
    },
    TimerStarted {
        activation: ActivationId,
        fire_at: Timestamp,
    },
    TimerFired {
        activation: ActivationId,
    },
    LoopStarted {
        activation: ActivationId,
        items: Vec<Json>,
    },
    LoopIterated {
        activation: ActivationId,
        index: u32,
    },
    ForkStarted {
        activation: ActivationId,
        branches: u32,
        compete: bool,
    },
    /// A `try` takes the error: its handler begins.
    ErrorCaught {
        activation: ActivationId,
        error: Error,
    },
    /// A `try` takes the error and begins again later.
    RetryScheduled {
        activation: ActivationId,
        attempt: Attempt,
        error: Error,
        fire_at: Timestamp,
    },
    InstanceSuspended {
        reason: Arc<str>,
    },
    InstanceResumed,
    InstanceCompleted {
        output: Json,
    },
    InstanceFaulted {
        error: Error,
    },
    InstanceCancelled {
        reason: Arc<str>,
        terminated: bool,
    },
    /// Goes on from a task of the outermost list.
    InstanceRerun {
        task: TaskId,
        input: Json,
        context: Json,
    },
}

/// How an instance began.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Started {
    pub workflow: Hash,
    pub name: Name,
    pub input: Json,
    /// The caller's idempotency key; empty: none.
    pub key: Arc<str>,
    pub labels: BTreeMap<Arc<str>, Arc<str>>,
    /// The caller's W3C trace context; empty: none.
    pub traceparent: Arc<str>,
}

/// What follows a task in its list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    Task(TaskId),
    /// The list is done.
    Exit,
    /// The workflow is done.
    End,
}

/// What a worker says of its own work; the times are by its clock.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    pub worker: Arc<str>,
    /// The worker's OpenTelemetry service name.
    pub service: Arc<str>,
    pub started: Timestamp,
    pub finished: Timestamp,
}
