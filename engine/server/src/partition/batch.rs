//! What one commit will hold, and what must be done once the log has it.

use std::{collections::BTreeMap, sync::Arc};

use baton_core::{ActivationId, Attempt, Event, InstanceId, Json, Timestamp, workflow::Function};
use baton_proto::v1;
use prost::{
    Message,
    encoding::{WireType, encode_key, encode_varint},
};

use super::{Reply, lanes::Behind};
use crate::{
    lifecycle::Told,
    limits,
    traces::Span,
    wire::{self, LargeValues},
};

/// How far what comes in is decided about.
pub(super) struct Positions<'p> {
    pub inbox: u64,
    pub events: u64,
    pub behind: &'p BTreeMap<InstanceId, Behind>,
}

#[derive(Default)]
pub(super) struct Batch {
    /// The entries of a [`v1::Batch`] in the form that the log holds.
    entries: Vec<u8>,
    /// The instances of the entries, in order; one that was decided about twice is there twice.
    pub instances: Vec<InstanceId>,
    pub large: LargeValues,
    pub after: Vec<After>,
    /// Units of work that expressions took for it.
    pub work: u64,
    pub spans: Vec<Span>,
    pub told: Vec<Told>,
}

/// Done in order when the log has answered.
pub(super) enum After {
    Dispatch {
        instance: InstanceId,
        step: ActivationId,
        attempt: Attempt,
    },
    Withdraw {
        instance: InstanceId,
        step: ActivationId,
        attempt: Attempt,
        function: Function,
    },
    Ended {
        instance: InstanceId,
    },
    ClaimKey {
        instance: InstanceId,
        step: ActivationId,
        attempt: Attempt,
    },
    /// Told when the commands that were withdrawn are out of the queue.
    Stopped {
        told: Vec<Reply<()>>,
    },
    Publish {
        department: Arc<str>,
        instance: InstanceId,
        activation: ActivationId,
        event: Json,
    },
    Answer(Box<dyn FnOnce() + Send + Sync>),
}

impl Batch {
    pub(super) fn is_empty(&self) -> bool {
        self.instances.is_empty() && self.after.is_empty() && self.work < limits::BATCH_WORK
    }

    pub(super) fn is_full(&self) -> bool {
        self.bytes() >= limits::BATCH_BYTES
            || self.instances.len() >= limits::BATCH_DECISIONS
            || self.work >= limits::BATCH_WORK
            || self.after.len() >= limits::BATCH_ANSWERS
    }

    /// Of its events.
    pub(super) fn bytes(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn add(&mut self, instance: InstanceId, events: &[Event]) {
        let events =
            events.iter().map(|event| wire::encode_event(event, &mut self.large)).collect();
        let entry = v1::InstanceEvents { instance: instance.0.to_vec(), events };
        prost::encoding::message::encode(ENTRIES_FIELD, &entry, &mut self.entries);
        self.instances.push(instance);
    }

    /// The body of the commit that holds this batch, and nothing of it here any more.
    pub(super) fn take_body(&mut self, at: Timestamp, positions: &Positions<'_>) -> Vec<u8> {
        let head = v1::CommitBody {
            at_ms: at.0,
            inbox_position: positions.inbox,
            ..v1::CommitBody::default()
        };
        let mut body = head.encode_to_vec();
        let entries = std::mem::take(&mut self.entries);
        encode_key(BATCH_FIELD, WireType::LengthDelimited, &mut body);
        encode_varint(entries.len() as u64, &mut body);
        body.extend_from_slice(&entries);
        if positions.events != 0 {
            encode_key(EVENT_POSITION_FIELD, WireType::Varint, &mut body);
            encode_varint(positions.events, &mut body);
        }
        for (id, behind) in positions.behind {
            let behind = v1::Behind { instance: id.0.to_vec(), after: behind.after };
            prost::encoding::message::encode(BEHIND_FIELD, &behind, &mut body);
        }
        body
    }
}

/// `CommitBody.batch`, `CommitBody.event_position`, `CommitBody.behind` and `Batch.instances` in log.proto.
const BATCH_FIELD: u32 = 4;
const EVENT_POSITION_FIELD: u32 = 5;
const BEHIND_FIELD: u32 = 6;
const ENTRIES_FIELD: u32 = 1;

#[cfg(test)]
mod tests {
    use v1::commit_body::Content;

    use super::*;

    #[test]
    fn the_bytes_are_those_of_the_message() {
        let mut batch = Batch::default();
        let output = Json::from_text("1");
        for byte in [1, 2] {
            batch.add(
                InstanceId([byte; 16]),
                &[Event::InstanceCompleted { output: output.clone() }],
            );
        }
        let behind = Behind { after: 8, to: 9, since: 4 };
        let behind = BTreeMap::from([(InstanceId([3; 16]), behind)]);
        let positions = Positions { inbox: 7, events: 9, behind: &behind };
        let body = batch.take_body(Timestamp(5), &positions);
        let decoded = v1::CommitBody::decode(body.as_slice()).unwrap();
        let Some(Content::Batch(entries)) = &decoded.content else { panic!("{decoded:?}") };
        assert_eq!((decoded.at_ms, decoded.inbox_position, decoded.event_position), (5, 7, 9));
        assert_eq!(decoded.behind, [v1::Behind { instance: vec![3; 16], after: 8 }]);
        assert_eq!(entries.instances.len(), 2);
        assert_eq!(decoded.encode_to_vec(), body);
    }
}
