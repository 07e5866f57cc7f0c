//! From what is stored to an owner: the cache as far as it fits the log, then the log to its end, then the claim.

use std::{collections::BTreeMap, sync::Arc};

use baton_core::{ActivationId, Effect, Event, Instance, InstanceId, Timestamp};
use baton_proto::v1::{self, commit_body::Content};
use tokio::sync::mpsc;

use super::{
    Exit, Request,
    owner::{OpenStep, Owner},
    resident::Resident,
    work::Work,
};
use crate::{
    Engine, clock, large, limits, log, traces,
    wire::{self, LargeValues, hex},
};

pub(super) async fn recover(
    engine: &Arc<Engine>,
    partition: u32,
    nudges: mpsc::Sender<Request>,
) -> Result<Owner, Exit> {
    let broker = &engine.broker;
    broker.prepare_partition(partition).await.map_err(|error| Exit::Broker(error.to_string()))?;
    broker.prepare_work().await.map_err(|error| Exit::Broker(error.to_string()))?;
    // Another engine may have taken deployments meanwhile.
    if let Err(error) = engine.definitions.refresh().await {
        return Err(Exit::Broker(error.to_string()));
    }
    let mut log = log::Log::open(broker, partition, &engine.name).await?;
    let cache = engine.cache.partition(partition)?;
    let cached = resume_from_cache(&cache, partition, &mut log).await?;
    let work = Work::new(broker, &engine.tokens, partition, nudges);
    let mut owner = Owner::new(engine, partition, log, cache, work);
    if let Some(body) = cached {
        owner.inbox_position = body.inbox_position;
        owner.now = Timestamp(body.at_ms);
        owner.load_idle().await?;
    }
    // A claim holds only when nothing stands in the log that was not read.
    loop {
        owner.replay().await?;
        owner.inbox_committed = owner.inbox_position;
        let now = owner.now.max(clock::now());
        if owner.log.claim(now.0, owner.inbox_position).await? {
            owner.now = now;
            return Ok(owner);
        }
    }
}

/// The commit up to which the cache goes, when the log still has that very commit; else the cache is emptied.
async fn resume_from_cache(
    cache: &crate::cache::Partition,
    partition: u32,
    log: &mut log::Log,
) -> Result<Option<v1::CommitBody>, Exit> {
    if let Some(applied) = cache.applied() {
        if applied.stream_created_ms == log.created_ms
            && let Some(body) = log.resume(applied.sequence, applied.chain).await?
        {
            return Ok(Some(body));
        }
        tracing::warn!(partition, "The cache does not fit the log and is thrown away");
        cache.wipe()?;
    }
    Ok(None)
}

impl Owner {
    /// Puts the open instances of the cache into the indexes, without keeping them in memory.
    async fn load_idle(&mut self) -> Result<(), Exit> {
        let cache = self.cache.clone();
        let mut values = LargeValues::new();
        for record in cache.open_records() {
            let (_, record) = record?;
            let objects = &self.engine.objects;
            let instance = large::decode(objects, &mut values, |values| {
                wire::decode_state(&record.state, values)
            })
            .await?;
            values.clear();
            self.index(instance)?;
        }
        Ok(())
    }

    /// Notes the steps and timers of an instance; it stays in memory only when it has work left.
    fn index(&mut self, instance: Instance) -> Result<(), Exit> {
        let resident = self.make_resident(instance)?;
        let id = resident.instance.id;
        self.open.insert(id);
        let busy = self.expect(&resident);
        if busy {
            self.residents.insert(id, resident);
            self.unfinished.push_back(id);
        }
        Ok(())
    }

    fn make_resident(&self, instance: Instance) -> Result<Resident, Exit> {
        let hash = instance.started.workflow;
        let definition = self
            .engine
            .definitions
            .by_hash(hash)
            .ok_or_else(|| Exit::DefinitionMissing(hex(&hash.0)))?;
        Ok(Resident::new(instance, definition))
    }

    /// Enters what an instance waits for into the indexes; whether it has work left.
    fn expect(&mut self, resident: &Resident) -> bool {
        let id = resident.instance.id;
        let mut busy = false;
        for effect in baton_core::pending(&resident.instance) {
            match effect {
                Effect::DispatchStep { activation, attempt } => {
                    if let Some(task) = resident.task(activation)
                        && let Some(function) = task.kind.function().cloned()
                    {
                        let task = Arc::clone(&task.name);
                        let scheduled_at = resident
                            .instance
                            .open_step(activation)
                            .map_or(self.now, |step| step.scheduled_at);
                        self.steps.insert(
                            (id, activation),
                            OpenStep { attempt, function, task, scheduled_at },
                        );
                    }
                }
                Effect::SetTimer { activation, timer, at } => {
                    self.timers.insert((at, id, activation, timer));
                }
                Effect::Continue => busy = true,
                Effect::WithdrawStep { .. } | Effect::Rearm | Effect::End => {}
            }
        }
        busy
    }

    /// Reads the log from where the state is to its end.
    async fn replay(&mut self) -> Result<(), Exit> {
        let mut replay = Replay { engine: Arc::clone(&self.engine), instances: BTreeMap::new() };
        let known = std::mem::take(&mut self.residents);
        for (id, resident) in known {
            replay.instances.insert(id, (resident.instance, resident.positions));
        }
        let cache = self.cache.clone();
        let mut reader = self.log.reader().await?;
        while let Some(commit) = self.log.next(&mut reader).await? {
            self.inbox_position = commit.body.inbox_position;
            self.now = self.now.max(Timestamp(commit.body.at_ms));
            replay.take(&cache, commit).await?;
        }
        for (id, (instance, positions)) in replay.instances {
            // What the cache had indexed of it is of before.
            self.forget_steps(id);
            let ended = instance.ended.is_some();
            let mut resident = self.make_resident(instance)?;
            resident.dirty = !positions.is_empty();
            resident.positions = positions;
            if resident.dirty {
                self.dirty.insert(id);
            }
            let started = &resident.instance.started;
            if !started.key.is_empty() && resident.dirty {
                let key = (
                    format!("{}/{}", started.name.namespace, started.name.name),
                    started.key.to_string(),
                );
                let digest = crate::api::start_digest(started);
                self.keys.insert(key, (id, digest));
                resident.key_digest = Some(digest);
            }
            if ended {
                self.open.remove(&id);
            } else {
                self.open.insert(id);
                if self.expect(&resident) {
                    self.unfinished.push_back(id);
                }
            }
            self.residents.insert(id, resident);
        }
        Ok(())
    }

    fn forget_steps(&mut self, id: InstanceId) {
        let steps = self.steps.range((id, ActivationId(0))..=(id, ActivationId(u32::MAX)));
        let steps: Vec<_> = steps.map(|(key, _)| *key).collect();
        for key in steps {
            self.steps.remove(&key);
        }
    }
}

/// Instances as the log tells them, with where it does.
struct Replay {
    engine: Arc<Engine>,
    instances: BTreeMap<InstanceId, (Instance, Vec<u64>)>,
}

impl Replay {
    async fn take(
        &mut self,
        cache: &crate::cache::Partition,
        commit: log::Committed,
    ) -> Result<(), Exit> {
        let at = Timestamp(commit.body.at_ms);
        let Some(Content::Batch(batch)) = commit.body.content else { return Ok(()) };
        let mut values = LargeValues::new();
        let mut spans = Vec::new();
        for entry in batch.instances {
            let id = wire::instance_id(&entry.instance)?;
            for event in entry.events {
                let objects = &self.engine.objects;
                let event = large::decode(objects, &mut values, |values| {
                    wire::decode_event(event.clone(), values)
                })
                .await?;
                if !matches!(event, Event::InstanceStarted(_)) {
                    // From the cache when this is the first that the log says of it since.
                    self.instance(cache, id).await?;
                }
                spans.extend(self.spans(id, &event, at));
                if let Event::InstanceStarted(started) = &event {
                    self.instances
                        .insert(id, (Instance::new(id, Arc::clone(started), at), Vec::new()));
                } else {
                    let (instance, _) = self.instance(cache, id).await?;
                    baton_core::apply(instance, &event, at);
                }
            }
            let (_, positions) = self.instance(cache, id).await?;
            if positions.last() != Some(&commit.sequence) {
                positions.push(commit.sequence);
            }
        }
        if let Some(traces) = &self.engine.traces {
            traces.write(spans);
        }
        Ok(())
    }

    /// The spans of an event once more: whether they went out before is not known.
    fn spans(&self, id: InstanceId, event: &Event, at: Timestamp) -> Vec<traces::Span> {
        let age_ms = u128::from(clock::now().since(at).0);
        if self.engine.traces.is_none() || age_ms > limits::SPAN_REPLAY.as_millis() {
            return Vec::new();
        }
        if let Event::InstanceStarted(started) = event {
            return traces::start(id, started, at);
        }
        let Some((before, _)) = self.instances.get(&id) else { return Vec::new() };
        let definition = self.engine.definitions.by_hash(before.started.workflow);
        let task = |activation: ActivationId| {
            let task = before.activations.get(&activation)?.task;
            definition.as_ref()?.workflow.task(task)
        };
        traces::spans(before, task, event, at)
    }

    async fn instance(
        &mut self,
        cache: &crate::cache::Partition,
        id: InstanceId,
    ) -> Result<&mut (Instance, Vec<u64>), Exit> {
        if !self.instances.contains_key(&id) {
            let record = cache
                .record(&id.0)?
                .ok_or(wire::Error::Malformed("an instance without a start"))?;
            let mut values = LargeValues::new();
            let objects = &self.engine.objects;
            let instance = large::decode(objects, &mut values, |values| {
                wire::decode_state(&record.state, values)
            })
            .await?;
            self.instances.insert(id, (instance, Vec::new()));
        }
        Ok(self.instances.get_mut(&id).expect("it has just been put there"))
    }
}
