//! What one commit will hold, and what must be done once the log has it.

use baton_core::{ActivationId, Attempt, Event, InstanceId, workflow::Function};
use baton_proto::v1;
use prost::Message;

use crate::{
    limits,
    traces::Span,
    wire::{self, LargeValues},
};

#[derive(Default)]
pub(super) struct Batch {
    pub instances: Vec<v1::InstanceEvents>,
    pub large: LargeValues,
    pub bytes: usize,
    pub decisions: usize,
    pub after: Vec<After>,
    pub spans: Vec<Span>,
}

/// Done in order when the log has answered.
pub(super) enum After {
    Dispatch { instance: InstanceId, step: ActivationId, attempt: Attempt },
    Withdraw { instance: InstanceId, step: ActivationId, attempt: Attempt, function: Function },
    Ended { instance: InstanceId },
    Answer(Box<dyn FnOnce() + Send + Sync>),
}

impl Batch {
    pub(super) fn is_empty(&self) -> bool {
        self.instances.is_empty() && self.after.is_empty()
    }

    pub(super) fn is_full(&self) -> bool {
        self.bytes >= limits::BATCH_BYTES
            || self.decisions >= limits::BATCH_DECISIONS
            || self.after.len() >= limits::BATCH_ANSWERS
    }

    /// The commands that will go out.
    pub(super) fn dispatches(&self) -> impl Iterator<Item = (InstanceId, ActivationId, Attempt)> {
        self.after.iter().filter_map(|after| match after {
            After::Dispatch { instance, step, attempt } => Some((*instance, *step, *attempt)),
            After::Withdraw { .. } | After::Ended { .. } | After::Answer(_) => None,
        })
    }

    pub(super) fn add(&mut self, instance: InstanceId, events: &[Event]) {
        let events: Vec<_> =
            events.iter().map(|event| wire::encode_event(event, &mut self.large)).collect();
        let entry = v1::InstanceEvents { instance: instance.0.to_vec(), events };
        self.bytes += entry.encoded_len() + 8;
        self.decisions += 1;
        self.instances.push(entry);
    }
}
