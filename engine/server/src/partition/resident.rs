//! An instance in memory, ahead of the log by what its owner has decided and not yet appended.

use std::sync::Arc;

use baton_core::{
    ActivationId, Event, Instance, Timestamp,
    workflow::{Function, Task},
};
use tokio::time::Instant;

use crate::{
    definitions::Definition,
    error::Refusal,
    lifecycle::{self, Told},
};

pub(super) struct Resident {
    pub instance: Instance,
    /// As it was before what is not told yet, when lifecycle events are wanted.
    pub told: Option<Instance>,
    /// `None`: this version of the engine does not have it compiled; then nothing can be decided.
    pub definition: Option<Arc<Definition>>,
    /// Where in the log its events are, as far as the cache has not been told.
    pub positions: Vec<u64>,
    /// When something last happened to it here.
    pub touched: Instant,
    /// Digest of the request that started it, until the cache knows its idempotency key.
    pub key_digest: Option<[u8; 32]>,
    /// The cache does not have its present state.
    pub dirty: bool,
    /// A decision about it took long.
    pub slow: bool,
}

impl Resident {
    pub(super) fn new(instance: Instance, definition: Option<Arc<Definition>>) -> Self {
        Self {
            instance,
            told: None,
            definition,
            positions: Vec::new(),
            touched: Instant::now(),
            key_digest: None,
            dirty: false,
            slow: false,
        }
    }

    /// Decisions about it are made beside the loop: one of its workflow took long.
    pub(super) fn is_slow(&self) -> bool {
        self.definition.as_ref().is_some_and(|definition| definition.is_slow())
    }

    pub(super) fn set_slow(&mut self) {
        self.slow = true;
        if let Some(definition) = &self.definition {
            definition.set_slow();
        }
    }

    /// Whether there is something to go on with.
    pub(super) fn has_more(&self) -> bool {
        !self.instance.ready.is_empty() && !self.instance.suspended
    }

    pub(super) fn without_definition(&self) -> Refusal {
        let name = &self.instance.started.name;
        Refusal::UnknownWorkflow(format!("{}/{}:{}", name.namespace, name.name, name.version))
    }

    /// Before a decision, when lifecycle events are wanted.
    pub(super) fn remember_what_was_told(&mut self) {
        if self.told.is_none() {
            self.told = Some(self.instance.clone());
        }
    }

    /// Brings what was told to after an event, and says what the event tells.
    pub(super) fn tell(&mut self, event: &Event, at: Timestamp) -> Vec<Told> {
        let id = self.instance.id;
        if let Event::InstanceStarted(started) = event {
            self.told = Some(Instance::new(id, Arc::clone(started), at));
            return lifecycle::started(id, started, at);
        }
        let Some(before) = &mut self.told else { return Vec::new() };
        let workflow = self.definition.as_ref().map(|definition| &definition.workflow);
        let told = lifecycle::tell(before, |task| workflow?.task(task), event, at);
        baton_core::apply(before, event, at);
        told
    }

    /// What the workers offer for an open activation.
    pub(super) fn function(&self, activation: ActivationId) -> Option<&Function> {
        self.task(activation)?.kind.function()
    }

    /// The task of an open activation.
    pub(super) fn task(&self, activation: ActivationId) -> Option<&Task> {
        let task = self.instance.activations.get(&activation)?.task;
        self.definition.as_ref()?.workflow.task(task)
    }

    pub(super) fn appended(&mut self, sequence: u64) {
        if self.positions.last() != Some(&sequence) {
            self.positions.push(sequence);
        }
    }
}
