//! The gRPC API: checks what comes in, asks the owner, shows what it answers.

mod access;
mod approvals;
mod audit;
pub mod coded;
mod definitions;
mod engine;
mod events;
mod export;
pub(crate) mod history;
mod kills;
mod once;
mod policies;
mod workflows;

use std::sync::Arc;

use baton_core::{InstanceId, event::Started};
use sha2::{Digest, Sha256};
use tonic::Status;

use crate::{Engine, error::Refusal, limits};

/// Implements the services of `baton.v1`.
#[derive(Clone)]
pub struct Api {
    engine: Arc<Engine>,
}

impl Api {
    pub fn new(engine: Arc<Engine>) -> Self {
        Self { engine }
    }

    /// Counts the refusal and makes it what gRPC shows.
    fn refused(&self, refusal: Refusal) -> Status {
        self.engine.metrics.request_refused(refusal.code());
        if let Refusal::Internal(what) = &refusal {
            tracing::error!(%what, "A request failed for a reason of our own");
        }
        refusal.into()
    }
}

fn instance_id(text: &str) -> Result<InstanceId, Refusal> {
    // Only the one form that is given out: an id is a name, and a thing has one name.
    if text.len() != 36 {
        return Err(Refusal::InvalidId("an instance id is a UUID of 36 characters".into()));
    }
    uuid::Uuid::try_parse(text)
        .map(|id| InstanceId(id.into_bytes()))
        .map_err(|_| Refusal::InvalidId("an instance id is a UUID of 36 characters".into()))
}

fn checked_reason(reason: &str) -> Result<Arc<str>, Refusal> {
    if reason.len() > limits::REASON_BYTES_MAX {
        return Err(Refusal::TooLarge(format!(
            "a reason has at most {} bytes",
            limits::REASON_BYTES_MAX
        )));
    }
    Ok(reason.into())
}

/// What must be equal when an idempotency key is used again.
pub fn start_digest(started: &Started) -> [u8; 32] {
    let mut hash = Sha256::new();
    let mut part = |text: &str| {
        hash.update((text.len() as u64).to_le_bytes());
        hash.update(text);
    };
    part(&started.input);
    for (key, value) in &started.labels {
        part(key);
        part(value);
    }
    hash.finalize().into()
}
