//! Write a Baton worker in ten lines.
//!
//! A worker is a process of a department: it takes steps from its functions' queues, runs a handler for each, and
//! gives the results back. Everything between (queues, retries, redelivery, reconnecting, draining) happens here.
//!
//! ```no_run
//! use baton_worker::{Context, Failure, Worker};
//!
//! #[derive(serde::Deserialize)]
//! struct Budget { amount: u64 }
//! #[derive(serde::Serialize)]
//! struct Verdict { ok: bool }
//!
//! # async fn run() -> Result<(), baton_worker::Error> {
//! Worker::new("finance")
//!     .function("check-budget", |_: Context, budget: Budget| async move {
//!         if budget.amount == 0 {
//!             return Err(Failure::terminal("nothing to pay").with_status(422));
//!         }
//!         Ok(Verdict { ok: budget.amount < 10_000 })
//!     })
//!     .run()
//!     .await
//! # }
//! ```
//!
//! What is promised: a handler runs **at least once** for a step, and exactly one result of it is taken. A worker that
//! dies in the middle leaves its steps to another, so a handler with an effect in the world passes
//! [`Context::idempotency_key`] on to whoever carries the effect out. The wire is told in `docs/protocol.md`.

mod announce;
mod attempt;
mod cancellation;
mod clock;
mod config;
mod connection;
mod context;
mod delay;
mod desk;
mod failure;
mod function;
mod in_hand;
mod lane;
mod lease;
mod limits;
mod pull;
mod secrets;
mod settle;
pub mod testing;
mod trace;
mod worker;

pub use config::{Credentials, Options};
pub use context::Context;
pub use failure::{
    AUTHENTICATION_ERROR, AUTHORIZATION_ERROR, COMMUNICATION_ERROR, CONFIGURATION_ERROR, Failure,
    Outcome, RUNTIME_ERROR, TIMEOUT_ERROR, VALIDATION_ERROR,
};
pub use function::{Effect, Offer};
pub use secrets::Secrets;
pub use worker::{Error, Worker};
