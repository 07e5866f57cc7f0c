//! The server: everything of Baton that touches the world.
//!
//! Arrows point one way: `api`, `http` and `registry` ask `partition`; it decides with `baton-core`, appends to `log`
//! and writes to `cache`; below stand `broker`, `wire` and the small things.

pub mod api;
pub mod broker;
pub mod cache;
pub mod clock;
pub mod config;
pub mod definitions;
pub mod effects;
pub mod error;
pub mod events;
pub mod functions;
pub mod growth;
pub mod heads;
pub mod http;
pub mod identity;
pub mod large;
pub mod lease;
pub mod lifecycle;
pub mod limits;
pub mod log;
pub mod metrics;
pub mod once;
pub mod partition;
pub mod policies;
pub mod registry;
pub mod schedules;
pub mod switches;
pub mod telemetry;
pub mod token;
pub mod traces;
pub mod view;
pub mod wire;

use std::{
    collections::BTreeSet,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU32, Ordering},
    },
};

use baton_core::event::Started;
use baton_proto::v1;
use definitions::Definition;
use error::Refusal;
use partition::{StartedAs, new_id};
use prost::Message;
use tokio_util::sync::CancellationToken;

/// What all parts of one process share.
pub struct Engine {
    pub name: String,
    pub dev: bool,
    pub audit_key: Option<heads::Key>,
    pub broker: broker::Broker,
    pub cache: cache::Cache,
    pub definitions: definitions::Definitions,
    pub effects: effects::Effects,
    pub feed: events::Feed,
    pub growth: growth::Growth,
    pub identity: identity::Identity,
    pub keys: once::Keys,
    pub leases: lease::Leases,
    pub lifecycle: Option<lifecycle::Lifecycle>,
    pub metrics: metrics::Metrics,
    pub objects: async_nats::jetstream::object_store::ObjectStore,
    pub policies: policies::Policies,
    pub registry: registry::Registry,
    pub switches: switches::Switches,
    pub tokens: token::Key,
    pub traces: Option<traces::Traces>,
    /// For decisions that take long.
    pub threads: partition::beside::Threads,
    /// The process is asked to stop: nobody should wait for anything any more.
    pub stop: CancellationToken,
    /// Told when a workflow was deployed.
    pub deployed: tokio::sync::Notify,
    partitions: OnceLock<Vec<partition::Handle>>,
    next: AtomicU32,
}

/// What [`Engine`] is made of.
pub struct Parts {
    pub name: String,
    pub dev: bool,
    pub audit_key: Option<heads::Key>,
    pub broker: broker::Broker,
    pub cache: cache::Cache,
    pub definitions: definitions::Definitions,
    pub effects: effects::Effects,
    pub feed: events::Feed,
    pub growth: growth::Growth,
    pub identity: identity::Identity,
    pub keys: once::Keys,
    pub leases: lease::Leases,
    pub lifecycle: lifecycle::Scope,
    pub objects: async_nats::jetstream::object_store::ObjectStore,
    pub policies: policies::Policies,
    pub switches: switches::Switches,
    pub tokens: token::Key,
    pub traces: Option<traces::Traces>,
    pub stop: CancellationToken,
}

impl Engine {
    pub fn new(parts: Parts) -> Self {
        let metrics = metrics::Metrics::default();
        let lifecycle =
            lifecycle::Lifecycle::start(parts.lifecycle, &parts.broker, &metrics.lifecycle);
        Self {
            name: parts.name,
            dev: parts.dev,
            audit_key: parts.audit_key,
            registry: registry::Registry::new(&parts.broker, &parts.effects),
            broker: parts.broker,
            cache: parts.cache,
            definitions: parts.definitions,
            effects: parts.effects,
            feed: parts.feed,
            growth: parts.growth,
            identity: parts.identity,
            keys: parts.keys,
            leases: parts.leases,
            lifecycle,
            metrics,
            objects: parts.objects,
            policies: parts.policies,
            switches: parts.switches,
            tokens: parts.tokens,
            traces: parts.traces,
            threads: partition::beside::Threads::default(),
            stop: parts.stop,
            deployed: tokio::sync::Notify::new(),
            partitions: OnceLock::new(),
            next: AtomicU32::new(0),
        }
    }

    /// Given once, when the owners run.
    pub fn set_partitions(&self, handles: Vec<partition::Handle>) {
        let _ = self.partitions.set(handles);
    }

    pub fn partitions(&self) -> &[partition::Handle] {
        self.partitions.get().map_or(&[], Vec::as_slice)
    }

    /// # Panics
    /// Never: there are at most 1,024 partitions.
    pub fn partitions_count(&self) -> u32 {
        u32::try_from(self.partitions().len()).expect("there are at most 1,024")
    }

    pub fn partition(&self, number: u32) -> Option<&partition::Handle> {
        self.partitions().get(number as usize)
    }

    /// # Errors
    /// When an id names a partition that there is not.
    pub fn handle(&self, number: u32) -> Result<&partition::Handle, Refusal> {
        self.partition(number).ok_or_else(|| {
            Refusal::UnknownInstance(format!(
                "of partition {number}, which this engine does not have"
            ))
        })
    }

    /// Starts an instance, or finds what its idempotency key has started.
    ///
    /// # Errors
    /// As the owners refuse.
    pub async fn start(
        &self,
        started: Started,
        definition: Arc<Definition>,
    ) -> Result<StartedAs, Refusal> {
        let digest = api::start_digest(&started);
        let (place, earlier) = self.places_for(&started);
        let started = Arc::new(started);
        for place in earlier {
            let started = Arc::clone(&started);
            let find = |reply| partition::Request::FindKey { started, digest, reply };
            if let Some(found) = self.handle(place)?.ask(find).await? {
                return Ok(found);
            }
        }
        let id = new_id(place);
        let start = |reply| partition::Request::Start { id, started, definition, digest, reply };
        self.handle(place)?.ask(start).await
    }

    /// Where a new instance goes, and then where its idempotency key may have gone when there were fewer partitions.
    fn places_for(&self, started: &Started) -> (u32, Vec<u32>) {
        if started.key.is_empty() {
            let next = self.next.fetch_add(1, Ordering::Relaxed) % self.partitions_count();
            return (next, Vec::new());
        }
        let name = &started.name;
        let mut places = self.growth.places_of(&name.namespace, &name.name, &started.key);
        (places.remove(0), places)
    }

    /// # Errors
    /// When it is not deployed.
    pub fn definition(
        &self,
        namespace: &str,
        name: &str,
        version: Option<&str>,
    ) -> Result<Arc<Definition>, Refusal> {
        if let Some(found) = self.definitions.find(namespace, name, version) {
            return Ok(found);
        }
        let wanted = match version {
            Some(version) => format!("{namespace}/{name}:{version}"),
            None => format!("{namespace}/{name}"),
        };
        Err(Refusal::UnknownWorkflow(wanted.chars().take(200).collect()))
    }

    /// Has a worker announce itself, because it gets another answer than before.
    pub(crate) async fn call_worker(&self, department: &str, worker: &str) {
        let notice = v1::StepCancellation { worker: worker.to_owned(), ..Default::default() };
        let control = broker::control_subject(department);
        let sent = self.broker.client.publish(control, notice.encode_to_vec().into()).await;
        if let Err(error) = sent {
            tracing::warn!(%error, worker, "A worker was not called");
        }
    }

    /// Functions with waiting steps that no live worker offers.
    pub fn unserved(&self) -> BTreeSet<String> {
        let served = self.registry.served();
        let wanted = self
            .partitions()
            .iter()
            .flat_map(|partition| partition.figures().open_steps.into_keys());
        wanted.filter(|function| !served.contains(function)).collect()
    }

    /// # Errors
    /// Why this process should get no requests now.
    pub fn readiness(&self) -> Result<(), String> {
        if !self.broker.is_up() {
            return Err("NATS is gone".into());
        }
        if self.partitions().is_empty() {
            return Err("starting".into());
        }
        for (number, handle) in self.partitions().iter().enumerate() {
            let state = handle.state();
            if !matches!(state, partition::State::Leading { .. }) {
                return Err(format!("partition {number}: {}", state.because()));
            }
        }
        Ok(())
    }

    /// What keeps this engine from calling itself production-ready.
    pub fn weaknesses(&self) -> Vec<String> {
        let mut weaknesses = Vec::new();
        if self.dev {
            weaknesses.push("development mode".into());
        }
        let version = self.broker.server_version();
        if semver::Version::parse(&version).is_ok_and(|v| v < semver::Version::new(2, 15, 1)) {
            weaknesses.push(format!("nats-server {version} is older than 2.15.1"));
        }
        if self.broker.replicas() < 3 {
            weaknesses.push(
                "one copy of each stream: what is acknowledged is as safe as one disk".into(),
            );
        }
        if let policies::Active::None | policies::Active::Broken(_) =
            self.policies.active(clock::now())
        {
            weaknesses.push("no policies count".into());
        }
        if self.audit_key.is_none() && !self.dev {
            weaknesses.push("the log's heads are not signed".into());
        }
        weaknesses
    }

    /// Instances by status, as the cache has them.
    pub fn counts(&self) -> Vec<(&'static str, u64)> {
        let counts = self.cache.counts();
        let names = [
            (2, "running"),
            (3, "waiting"),
            (4, "suspended"),
            (5, "cancelled"),
            (6, "faulted"),
            (7, "completed"),
        ];
        names
            .map(|(status, name)| (name, counts.get(&status).copied().unwrap_or_default()))
            .to_vec()
    }
}
