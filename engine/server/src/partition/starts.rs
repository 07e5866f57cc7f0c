//! Starts instances: one at most for an idempotency key.

use std::sync::Arc;

use baton_core::{
    ActivationId, Error as WorkflowError, Evaluator, Event, Instance, InstanceId, Json, Timestamp,
    error::Standard, event::Started, guard::Carried,
};
use baton_dsl::Turn;

use super::{Exit, Reply, StartedAs, owner::Owner, resident::Resident};
use crate::{definitions::Definition, error::Refusal, limits, traces};

/// An instance that is to begin.
pub(super) struct Starting {
    pub id: InstanceId,
    pub started: Arc<Started>,
    pub definition: Arc<Definition>,
    /// Of the request, when it has an idempotency key.
    pub digest: Option<[u8; 32]>,
    pub then: Then,
}

/// Who is told that it has begun, or cannot.
pub(super) enum Then {
    Answer(Reply<StartedAs>),
    /// The task of another instance that runs it.
    Tell {
        parent: InstanceId,
        activation: ActivationId,
        awaited: bool,
    },
}

impl Owner {
    /// At most one instance for an idempotency key.
    pub(super) fn start(
        &mut self,
        id: InstanceId,
        started: Arc<Started>,
        definition: Arc<Definition>,
        digest: [u8; 32],
        reply: Reply<StartedAs>,
    ) -> Result<(), Exit> {
        let digest = (!started.key.is_empty()).then_some(digest);
        if let Some(digest) = digest
            && let Some(known) = self.started_before(&started, digest)?
        {
            self.answer(reply, known);
            return Ok(());
        }
        self.begin(Starting { id, started, definition, digest, then: Then::Answer(reply) });
        Ok(())
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

    /// Beside the loop when its workflow is one whose decisions take long.
    pub(super) fn begin(&mut self, starting: Starting) {
        if starting.definition.is_slow() {
            if starting.is_for_client() && self.lanes.too_many_clients() {
                return self.tell_start(starting.then, Err(Refusal::Overloaded));
            }
            return self.lanes.queue_start(starting);
        }
        let now = self.tell_time();
        let turn = starting.definition.program.turn();
        let turn = turn.guarded(self.engine.policies.count(now));
        let (begun, work) = starting.decide(&turn, now);
        self.batch.work += work;
        if work >= limits::SLOW_WORK {
            starting.definition.set_slow();
        }
        self.begun(starting, begun);
    }

    /// What was made beside the loop, unless it has become needless meanwhile.
    pub(super) async fn begun_beside(
        &mut self,
        starting: Starting,
        begun: Result<Vec<Event>, WorkflowError>,
    ) -> Result<(), Exit> {
        match &starting.then {
            Then::Answer(_) => {
                if let Some(digest) = starting.digest
                    && let Some(known) = self.started_before(&starting.started, digest)?
                {
                    self.tell_start(starting.then, known);
                    return Ok(());
                }
            }
            Then::Tell { parent, activation, .. } => {
                let around = self.resident(*parent).await?;
                let waits = around.and_then(|around| around.instance.open_child(*activation));
                let waits = waits.is_some_and(|(child, _)| child == starting.id);
                if !waits || self.look(starting.id).await?.is_some() {
                    return Ok(());
                }
            }
        }
        self.tell_time();
        self.begun(starting, begun);
        Ok(())
    }

    fn begun(&mut self, starting: Starting, begun: Result<Vec<Event>, WorkflowError>) {
        let Starting { id, started, definition, digest, then } = starting;
        let events = match begun {
            Ok(events) => events,
            Err(error) => {
                let detail = error.detail.as_deref().unwrap_or_default().to_owned();
                return self.tell_start(then, Err(Refusal::InvalidInput(detail)));
            }
        };
        let now = self.now;
        let mut instance = Instance::new(id, started, now);
        for event in events.iter().skip(1) {
            baton_core::apply(&mut instance, event, now);
        }
        if self.engine.traces.is_some() {
            self.batch.spans.extend(traces::start(id, &instance.started, now));
        }
        if let Some(digest) = digest {
            self.keys.insert(key_of(&instance.started), (id, digest));
        }
        let mut resident = Resident::new(instance, Some(definition));
        resident.key_digest = digest;
        self.residents.insert(id, resident);
        self.open.insert(id);
        self.engine.metrics.started.inc();
        self.record(id, &events);
        self.tell_start(then, Ok(StartedAs { id, created: true }));
    }

    pub(super) fn tell_start(&mut self, then: Then, outcome: Result<StartedAs, Refusal>) {
        match then {
            Then::Answer(reply) => self.answer(reply, outcome),
            Then::Tell { parent, activation, awaited } => match outcome {
                Ok(_) if awaited => {}
                Ok(_) => self.end_child(parent, activation, Ok(Json::null()), Carried::default()),
                Err(refusal) => {
                    let error = WorkflowError::standard(
                        Standard::Validation,
                        "The input does not fit the workflow that is run",
                        &refusal.to_string(),
                    );
                    self.end_child(parent, activation, Err(error), Carried::default());
                }
            },
        }
    }
}

impl Starting {
    pub(super) fn is_for_client(&self) -> bool {
        match self.then {
            Then::Answer(_) => true,
            Then::Tell { .. } => false,
        }
    }

    /// Its first events, or why the input does not fit, and the work of it.
    pub(super) fn decide(
        &self,
        turn: &Turn<'_>,
        now: Timestamp,
    ) -> (Result<Vec<Event>, WorkflowError>, u64) {
        let started = Arc::clone(&self.started);
        let begun = baton_core::start(&self.definition.workflow, turn, self.id, started, now);
        let begun = begun.map(|(_, events)| events).map_err(|(_, error)| error);
        (begun, turn.spent())
    }
}

/// Workflow and idempotency key of a start.
pub(super) fn key_of(started: &Started) -> (String, String) {
    (format!("{}/{}", started.name.namespace, started.name.name), started.key.to_string())
}
