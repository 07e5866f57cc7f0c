//! Folds the log once more from its first message, with nothing of an engine around it, and compares.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, bail, ensure};
use baton_core::instance::End;
use baton_core::{Event, Instance, InstanceId, Timestamp};
use baton_proto::v1::commit_body::Content;
use baton_server::broker::{Broker, Options};
use baton_server::cache::Cache;
use baton_server::wire::{self, LargeValues};
use baton_server::{large, log};

use crate::api::Api;

/// Pages that sled may keep while its folder is compared.
const CACHE_BYTES: u64 = 64 * 1024 * 1024;

/// A whole log, told again.
#[derive(Debug, Default)]
pub struct Replay {
    /// By id.
    pub instances: BTreeMap<String, Told>,
    pub commits: u64,
    pub claims: u64,
    pub events: u64,
}

/// One instance as the log tells it.
#[derive(Debug)]
pub struct Told {
    pub instance: Instance,
    /// The state's one encoding.
    pub state: Vec<u8>,
    /// The idempotency key that started it.
    pub key: String,
    /// Results that were taken, in order: step, attempt, and when the log had it, Unix milliseconds.
    pub accepted: Vec<(u32, u32, i64)>,
    partition: u32,
}

impl Told {
    /// The output, as JSON text, when it has completed.
    pub fn output(&self) -> Option<&str> {
        match &self.instance.ended {
            Some((_, End::Completed(output))) => Some(output.as_str()),
            Some((_, End::Faulted(_) | End::Cancelled)) | None => None,
        }
    }
}

impl Replay {
    /// Reads every partition from sequence 1: each commit must follow the one before it without a gap, and its hashes
    /// must fit.
    ///
    /// # Errors
    /// When a log is not what it must be.
    pub async fn read(nats_url: &str, partitions: u32) -> Result<Self> {
        let options = Options {
            url: nats_url.to_owned(),
            credentials: None,
            user: None,
            password: None,
            name: "replay".to_owned(),
            replicas: 1,
        };
        let broker = Broker::connect(&options).await.context("the broker")?;
        let mut replay = Self::default();
        for partition in 0..partitions {
            replay.partition(&broker, partition).await?;
        }
        let mut large = LargeValues::new();
        for told in replay.instances.values_mut() {
            told.state = wire::encode_state(&told.instance, &mut large);
        }
        Ok(replay)
    }

    /// Every result must have been taken once.
    ///
    /// # Errors
    /// When a step has two.
    pub fn expect_single_results(&self) -> Result<()> {
        for (id, told) in &self.instances {
            let mut steps = told.accepted.iter().map(|(step, ..)| *step).collect::<Vec<_>>();
            steps.sort_unstable();
            let repeated = steps.windows(2).find(|pair| pair[0] == pair[1]);
            ensure!(repeated.is_none(), "step {repeated:?} of {id} was completed twice");
        }
        Ok(())
    }

    /// The cache of an engine that has ended in good order must hold the same bytes for every instance, and no other
    /// instance.
    ///
    /// # Errors
    /// When one differs.
    pub fn expect_cache(&self, data: &Path) -> Result<()> {
        let cache = Cache::open(&data.join("sled"), CACHE_BYTES).context("the cache")?;
        for (id, told) in &self.instances {
            let partition = cache.partition(told.partition)?;
            let record = partition.record(&told.instance.id.0)?;
            let record = record.with_context(|| format!("the cache does not have {id}"))?;
            ensure!(record.state == told.state, "the cache has another state of {id}");
        }
        let known = cache.counts().values().sum::<u64>();
        ensure!(known == self.instances.len() as u64, "the cache has {known} instances");
        Ok(())
    }

    /// What the API shows of every instance must be what the log says.
    ///
    /// # Errors
    /// When something differs.
    pub async fn expect_api(&self, api: &Api) -> Result<()> {
        for (id, told) in &self.instances {
            let shown = api.get(id).await?;
            ensure!(shown.output == told.output().unwrap_or_default(), "another output of {id}");
            ensure!(shown.idempotency_key == told.key, "another key of {id}");
            let ended = told.instance.ended.is_some();
            ensure!(shown.ended_at.is_some() == ended, "another end of {id}");
        }
        Ok(())
    }

    async fn partition(&mut self, broker: &Broker, partition: u32) -> Result<()> {
        let objects = broker.objects().await?;
        let mut log = log::Log::open(broker, partition, "replay").await?;
        let mut reader = log.reader().await?;
        while let Some(commit) = log.next(&mut reader).await? {
            self.commits += 1;
            let at = Timestamp(commit.body.at_ms);
            let batch = match commit.body.content {
                Some(Content::Batch(batch)) => batch,
                Some(Content::Claim(_)) => {
                    self.claims += 1;
                    continue;
                }
                None => bail!("commit {} of partition {partition} is empty", commit.sequence),
            };
            let mut values = LargeValues::new();
            for entry in batch.instances {
                let id = wire::instance_id(&entry.instance)?;
                for event in entry.events {
                    let decode = |values: &LargeValues| wire::decode_event(event.clone(), values);
                    let event = large::decode(&objects, &mut values, decode).await?;
                    self.take(partition, id, &event, at, commit.stored_ms)?;
                }
            }
        }
        Ok(())
    }

    fn take(
        &mut self,
        partition: u32,
        id: InstanceId,
        event: &Event,
        at: Timestamp,
        stored_ms: i64,
    ) -> Result<()> {
        self.events += 1;
        let name = id.to_string();
        if let Event::InstanceStarted(started) = event {
            let instance = Instance::new(id, Arc::clone(started), at);
            let key = started.key.to_string();
            let told = Told { instance, state: Vec::new(), key, accepted: Vec::new(), partition };
            ensure!(self.instances.insert(name, told).is_none(), "{id} starts twice");
            return Ok(());
        }
        let told = self.instances.get_mut(&name);
        let told = told.with_context(|| format!("{id} goes on before it has started"))?;
        if let Event::StepCompleted { activation, attempt, .. } = event {
            told.accepted.push((activation.0, attempt.0, stored_ms));
        }
        baton_core::apply(&mut told.instance, event, at);
        Ok(())
    }
}
