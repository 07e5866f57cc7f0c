//! Undoing: what an instance has done is undone, the last first, before it ends by an error or because somebody cancels it.

use alloc::{format, string::String};

use super::{Decision, enter::limit};
use crate::{
    error::{Error, Standard},
    event::{Cause, Event},
    id::ActivationId,
    instance::Compensation,
    json::Json,
    limits,
    workflow::Task,
};

impl Decision<'_> {
    /// A task must not do what could not be kept to be undone.
    pub(super) fn expect_compensable(&self, task: &Task) -> Result<(), Error> {
        let kept = &self.instance.compensations;
        // What undoes something is not undone, whatever it calls.
        if task.compensation.is_some()
            && self.instance.compensating.is_none()
            && (kept.len() >= limits::COMPENSATIONS_MAX
                || kept.iter().map(|kept| kept.input.len()).sum::<usize>()
                    >= limits::COMPENSATION_BYTES_MAX)
        {
            return Err(limit("this instance has done too much that may have to be undone"));
        }
        Ok(())
    }

    /// Keeps what undoes a task that is about to complete.
    pub(super) fn keep_compensation(&mut self, id: ActivationId, output: &Json) {
        let Some(task) = self.task(id).compensation else { return };
        // What another instance has done is not this one's to undo.
        let step = self.activation(id).phase.step();
        let attached = step.and_then(|step| step.once.as_ref()).is_some_and(|claim| !claim.held);
        if self.instance.compensating.is_some() || attached {
            return;
        }
        let input = &self.activation(id).input;
        let input = format!("{{\"input\":{},\"output\":{}}}", input.as_str(), output.as_str());
        let input = Json::from_text(input);
        self.record(Event::CompensationKept { activation: id, task, input });
    }

    /// The root faults.
    pub(super) fn fault_instance(&mut self, error: Error) {
        let event = if self.instance.compensating.is_some() {
            Event::CompensationFailed { error }
        } else if self.instance.compensations.is_empty() {
            Event::InstanceFaulted { error }
        } else {
            Event::CompensationStarted { cause: Cause::Faulted(error) }
        };
        self.record(event);
    }

    /// Undoes what was done last, or ends when all is undone.
    pub(super) fn compensate(&mut self) {
        let Some(Compensation { task, input }) = self.instance.compensations.last().cloned() else {
            return self.end_compensation();
        };
        if let Err(error) = self.enter(ActivationId::ROOT, task, Some(input)) {
            self.record(Event::CompensationFailed { error });
            self.end_compensation();
        }
    }

    fn end_compensation(&mut self) {
        let Some(compensating) = self.instance.compensating.clone() else { return };
        let event = match (compensating.failed.is_empty(), compensating.cause) {
            (true, Cause::Faulted(error)) => Event::InstanceFaulted { error },
            (true, Cause::Cancelled(reason)) => {
                Event::InstanceCancelled { reason, terminated: false }
            }
            (false, cause) => {
                Event::InstanceFaulted { error: not_undone(&cause, &compensating.failed) }
            }
        };
        self.record(event);
    }
}

/// Somebody must look, so the end is a fault whatever it began with.
fn not_undone(cause: &Cause, failed: &[Error]) -> Error {
    let mut detail = match cause {
        Cause::Faulted(error) => format!("after {}", words(error)),
        Cause::Cancelled(reason) => format!("after it was cancelled: {reason}"),
    };
    for error in failed.iter().take(limits::NOT_UNDONE_TOLD) {
        detail.push_str("; ");
        detail.push_str(error.instance.as_deref().unwrap_or_default());
        detail.push_str(": ");
        detail.push_str(&words(error));
    }
    if failed.len() > limits::NOT_UNDONE_TOLD {
        detail.push_str("; and others");
    }
    Error::standard(Standard::Runtime, "Not everything could be undone", &detail)
}

fn words(error: &Error) -> String {
    let text = error.title.as_deref().unwrap_or(&error.kind);
    text.chars().take(limits::NOT_UNDONE_CHARS).collect()
}
