//! What can be asked of an instance, and how it is refused.

use alloc::sync::Arc;
use core::fmt;

use crate::{
    error::Error,
    event::{Origin, Report},
    guard::{Carried, Judgement},
    id::{ActivationId, Attempt, TaskId},
    json::Json,
    once,
    workflow::Hash,
};

/// What somebody asks of an instance.
#[derive(Clone, Debug)]
pub enum Command {
    /// Go on after a decision that had reached its bound.
    Continue,
    /// A worker has done the step.
    CompleteStep { activation: ActivationId, attempt: Attempt, output: Json, report: Report },
    /// A worker could not do the step. `retryable`: another attempt may go better.
    FailStep {
        activation: ActivationId,
        attempt: Attempt,
        error: Error,
        retryable: bool,
        report: Report,
    },
    /// Policies were asked whether the attempt may go out, and said this.
    Judge { activation: ActivationId, attempt: Attempt, judgement: Arc<Judgement> },
    /// Somebody works on what the people of a group are asked about a step; `release`: nobody any more, whoever says it.
    ClaimApproval { activation: ActivationId, group: Arc<str>, by: Arc<str>, release: bool },
    /// This policy set counts: what another one wanted people asked about the step is void.
    VoidApprovals { activation: ActivationId, set: Hash },
    /// Somebody of a group approves what this is the digest of, or does not.
    AnswerApproval {
        activation: ActivationId,
        group: Arc<str>,
        digest: Hash,
        by: Arc<str>,
        approves: bool,
        reason: Arc<str>,
    },
    /// Whether the step holds the key that it has to, and if not, why.
    SettleKey { activation: ActivationId, attempt: Attempt, answer: once::Answer },
    /// Somebody has looked whether what has a key has happened, of which the engine could not know.
    ResolveKey { activation: ActivationId, happened: bool, by: Arc<str>, reason: Arc<str> },
    /// A kill switch stops the attempt: nobody may go on with it.
    HaltStep { activation: ActivationId, attempt: Attempt, switch: Arc<str> },
    /// No kill switch stops the step any more: it begins anew, as another attempt.
    RearmStep { activation: ActivationId, attempt: Attempt },
    /// The time has come that an effect [`crate::Effect::SetTimer`] asked to be told of.
    FireTimer { activation: ActivationId, timer: Timer },
    /// End it; the reason is for people.
    Cancel { reason: Arc<str> },
    /// End it at once; the reason is for people.
    Terminate { reason: Arc<str> },
    /// Begin nothing new until it is resumed: steps in workers' hands may still be answered, timers wait.
    Suspend { reason: Arc<str> },
    /// Go on after a suspension.
    Resume,
    /// Go on, after the end, from a task of the outermost list; `input` and `context` are those that the task had when it was last entered.
    Rerun { task: TaskId, input: Json, context: Json },
    /// An event has come; whoever listens for it takes it, or only this `listener`.
    TakeEvent { event: Json, origin: Origin, listener: Option<ActivationId> },
    /// The event of an `emit` is stored.
    PublishedEvent { activation: ActivationId },
    /// The instance of a `run` has ended; when nobody awaits it, it has begun, or cannot.
    EndChild { activation: ActivationId, result: Result<Json, Error>, carried: Carried },
}

/// What an activation waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Timer {
    /// Its `wait`, the next attempt of its step, or its next try.
    Due,
    /// Its timeout.
    Deadline,
}

/// A refusal. Nothing has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rejection {
    /// The instance has ended.
    InstanceEnded,
    /// The instance has not ended.
    InstanceOpen,
    /// It is suspended: nothing begins, and timers wait.
    InstanceSuspended,
    /// It was cancelled or has faulted, and undoes what it has done.
    InstanceCompensating,
    /// There is nothing to resume.
    InstanceNotSuspended,
    /// No such step is open.
    UnknownStep,
    /// The step is at another attempt.
    StaleAttempt,
    /// Nothing waits for this timer, or not yet.
    StaleTimer,
    /// The outermost list has no such task.
    UnknownTask,
    /// The input does not fit the workflow's schema, or its `input.from` fails.
    InvalidInput,
    /// There is nothing to go on with.
    Idle,
    /// Nothing waits for this, or no longer.
    NotAwaited,
    /// It has taken this event before.
    EventTaken,
    /// Who started the instance does not answer what is asked about it, and nobody answers twice.
    FourEyes,
    /// Somebody else works on it.
    Claimed,
    /// It is about something else by now.
    ApprovalChanged,
}

impl Rejection {
    /// Stable; docs/errors.md explains it.
    pub fn code(self) -> &'static str {
        match self {
            Self::InstanceEnded => "instance-ended",
            Self::InstanceOpen => "instance-open",
            Self::InstanceSuspended => "instance-suspended",
            Self::InstanceCompensating => "instance-compensating",
            Self::InstanceNotSuspended => "instance-not-suspended",
            Self::UnknownStep => "unknown-step",
            Self::StaleAttempt => "stale-attempt",
            Self::StaleTimer => "stale-timer",
            Self::UnknownTask => "unknown-task",
            Self::InvalidInput => "invalid-input",
            Self::Idle => "idle",
            Self::NotAwaited => "not-awaited",
            Self::EventTaken => "event-taken",
            Self::FourEyes => "four-eyes",
            Self::Claimed => "claimed",
            Self::ApprovalChanged => "approval-changed",
        }
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::InstanceEnded => "the instance has ended",
            Self::InstanceOpen => "the instance has not ended yet",
            Self::InstanceSuspended => "the instance is suspended",
            Self::InstanceCompensating => "the instance already undoes what it has done",
            Self::InstanceNotSuspended => "the instance is not suspended",
            Self::UnknownStep => "no such step is open",
            Self::StaleAttempt => "the step is at another attempt",
            Self::StaleTimer => "nothing waits for this timer",
            Self::UnknownTask => "the workflow's outermost list has no such task that was entered",
            Self::InvalidInput => "the input does not fit the workflow",
            Self::Idle => "there is nothing to go on with",
            Self::NotAwaited => "nothing waits for this",
            Self::EventTaken => "the instance has taken this event before",
            Self::FourEyes => {
                "who started the instance does not answer what is asked about it, and nobody answers twice"
            }
            Self::Claimed => "somebody else works on it",
            Self::ApprovalChanged => "it is about something else by now",
        })
    }
}

impl core::error::Error for Rejection {}
