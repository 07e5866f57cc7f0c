//! An instance in memory, ahead of the log by what its owner has decided and not yet appended.

use std::sync::Arc;

use baton_core::{
    ActivationId, Instance,
    workflow::{Function, Task},
};
use tokio::time::Instant;

use crate::definitions::Definition;

pub(super) struct Resident {
    pub instance: Instance,
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
}

impl Resident {
    pub(super) fn new(instance: Instance, definition: Option<Arc<Definition>>) -> Self {
        Self {
            instance,
            definition,
            positions: Vec::new(),
            touched: Instant::now(),
            key_digest: None,
            dirty: false,
        }
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
