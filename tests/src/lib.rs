//! Runs Baton from outside, for tests, the demo and measurements: real processes, real ports, real kills.
//!
//! A [`Cluster`] is a nats-server, a `batond` and any workers, each a process of its own in one temporary folder:
//!
//! ```no_run
//! # async fn story() -> anyhow::Result<()> {
//! use baton_tests::{Cluster, DEADLINE, Setup};
//!
//! let mut cluster = Cluster::start(Setup::default()).await?;
//! cluster.worker("demo-finance", "finance-1", &[])?;
//! let api = cluster.api()?;
//! api.deploy("document: …").await?;
//! let id = api.start("finance", "pay", "{}", "invoice-1").await?.id;
//! cluster.batond.kill()?;
//! cluster.batond.restart().await?;
//! let ended = api.ended(&id, DEADLINE).await?;
//! cluster.stop().await
//! # }
//! ```
//!
//! A cluster that is dropped before [`Cluster::stop`] has failed: it prints the end of every log and kills everything.

pub mod api;
pub mod batond;
pub mod chaos;
pub mod clock;
pub mod cluster;
pub mod effects;
pub mod governed;
pub mod http;
pub mod jaeger;
pub mod lab;
pub mod ledger;
pub mod lifecycle;
pub mod mutations;
pub mod nats;
pub mod ports;
pub mod process;
pub mod purchase;
pub mod replay;
pub mod settings;
pub mod wait;
pub mod worker;
pub mod workflow;
pub mod world;

pub use api::Api;
pub use batond::Batond;
pub use cluster::{Cluster, Setup};
pub use governed::Governed;
pub use jaeger::Jaeger;
pub use lab::Lab;
pub use nats::Nats;
pub use wait::{DEADLINE, eventually};
pub use worker::WorkerProcess;
pub use world::World;
