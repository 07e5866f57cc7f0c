//! Starts instances: one at most for an idempotency key.

use std::sync::Arc;

use baton_core::{Evaluator, InstanceId, event::Started, limits::WORK_PER_DECISION};

use super::{Exit, StartedAs, owner::Owner, resident::Resident};
use crate::{definitions::Definition, error::Refusal, traces};

impl Owner {
    /// At most one instance for an idempotency key.
    pub(super) fn start(
        &mut self,
        id: InstanceId,
        started: Arc<Started>,
        definition: Arc<Definition>,
        digest: [u8; 32],
    ) -> Result<Result<StartedAs, Refusal>, Exit> {
        if started.key.is_empty() {
            return Ok(self.begin(id, started, definition, None));
        }
        if let Some(known) = self.started_before(&started, digest)? {
            return Ok(known);
        }
        let key = key_of(&started);
        let outcome = self.begin(id, started, definition, Some(digest));
        if outcome.is_ok() {
            self.keys.insert(key, (id, digest));
        }
        Ok(outcome)
    }

    /// What the idempotency key of a request has started.
    pub(super) fn started_before(
        &self,
        started: &Started,
        digest: [u8; 32],
    ) -> Result<Option<Result<StartedAs, Refusal>>, Exit> {
        let known = match self.keys.get(&key_of(started)) {
            Some(known) => Some(*known),
            None => self
                .cache
                .by_key(&started.name.namespace, &started.name.name, &started.key)?
                .map(|entry| (InstanceId(entry.id), entry.request_sha256)),
        };
        Ok(known.map(|(id, before)| {
            if before == digest {
                Ok(StartedAs { id, created: false })
            } else {
                Err(Refusal::KeyConflict)
            }
        }))
    }

    pub(super) fn begin(
        &mut self,
        id: InstanceId,
        started: Arc<Started>,
        definition: Arc<Definition>,
        digest: Option<[u8; 32]>,
    ) -> Result<StartedAs, Refusal> {
        let now = self.tell_time();
        let turn = definition.program.turn();
        let begun = baton_core::start(&definition.workflow, &turn, id, started, now);
        let work = turn.spent();
        self.batch.work += work;
        let (instance, events) = begun.map_err(|(_, error)| {
            Refusal::InvalidInput(error.detail.as_deref().unwrap_or_default().to_owned())
        })?;
        if self.engine.traces.is_some() {
            self.batch.spans.extend(traces::start(id, &instance.started, now));
        }
        let mut resident = Resident::new(instance, Some(definition));
        resident.key_digest = digest;
        resident.heavy = work >= WORK_PER_DECISION;
        self.residents.insert(id, resident);
        self.open.insert(id);
        self.engine.metrics.started.inc();
        self.record(id, &events);
        Ok(StartedAs { id, created: true })
    }
}

/// Workflow and idempotency key of a start.
pub(super) fn key_of(started: &Started) -> (String, String) {
    (format!("{}/{}", started.name.namespace, started.name.name), started.key.to_string())
}
