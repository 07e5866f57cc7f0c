//! The pure state machine of Baton: what an instance is, what may happen to it, and what the world must then do.
//!
//! ```text
//! command ──decide──▶ events ──append──▶ log ──apply──▶ instance
//!                         └──▶ effects: done only after the log has answered
//! ```
//!
//! No I/O, clock, randomness or logging: time, ids and the evaluator of expressions come in as arguments. Four laws
//! hold, and `tests/machine/laws.rs` tells them over random stories: **replay** (folding the events gives the live instance),
//! **refusal** (a rejected command changes nothing), **recovery** ([`pending`] of the folded events is what was asked
//! for and is not settled), **repetition** (a command given twice counts once).

#![no_std]

extern crate alloc;

pub mod apply;
pub mod approval;
pub mod command;
pub mod decide;
pub mod effect;
pub mod error;
pub mod evaluate;
pub mod event;
pub mod guard;
pub mod id;
pub mod instance;
pub mod json;
pub mod limits;
pub mod once;
pub mod workflow;

pub use apply::apply;
pub use command::{Command, Rejection};
pub use decide::{child_cancelled, decide, start, step_backoff};
pub use effect::{Effect, effect, pending};
pub use error::Error;
pub use evaluate::{Evaluator, EventDefaults, Scope};
pub use event::{Event, Next};
pub use id::{ActivationId, Attempt, Duration, InstanceId, TaskId, Timestamp};
pub use instance::Instance;
pub use json::Json;
pub use workflow::Workflow;
