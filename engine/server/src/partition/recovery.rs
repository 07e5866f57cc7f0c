//! From what is stored to an owner: the cache as far as it fits the log, then the log to its end, then the claim.
//!
//! While the log is read, what it tells is held in memory only up to a bound and then goes into the cache, so that
//! recovery needs no more memory than work does, however long the log is.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use baton_core::{
    ActivationId, Effect, Event, Instance, InstanceId, Timestamp, instance::Phase, workflow::Hash,
};
use baton_proto::v1::{self, commit_body::Content};
use tokio::sync::mpsc;

use super::{
    Exit, Request,
    batch::After,
    family::Kin,
    judging::Unjudged,
    lanes::{Begun, Behind},
    owner::{OpenStep, Owner},
    persist,
    resident::Resident,
    starts::key_of,
    work::Work,
};
use crate::{
    Engine, cache, clock, large, lifecycle, limits, log, traces,
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
    // What was thrown meanwhile holds from the beginning.
    if let Err(error) = engine.switches.refresh().await {
        return Err(Exit::Broker(error.to_string()));
    }
    let mut log = log::Log::open(broker, partition, &engine.name).await?;
    let cache = engine.cache.partition(partition)?;
    let cached = resume_from_cache(&cache, partition, &mut log).await?;
    let mut replay = Replay::after(cached.as_ref(), engine, cache, log);
    // A claim holds only when nothing stands in the log that was not read.
    loop {
        replay.read_to_the_end().await?;
        let now = replay.now.max(clock::now());
        if replay.log.position.sequence == 0 {
            // A new partition has no listeners that older events could be for.
            replay.event_position = engine.feed.last();
        }
        let (inbox, events) = (replay.inbox_position, replay.event_position);
        if replay.log.claim(now.0, inbox, events, replay.behind.clone()).await? {
            replay.now = now;
            break;
        }
    }
    let work = Work::new(broker, &engine.tokens, partition, nudges);
    Owner::take_over(replay, partition, work).await
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
    /// An owner of what was read.
    async fn take_over(replay: Replay, partition: u32, work: Work) -> Result<Self, Exit> {
        let Replay { engine, cache, log, instances, inbox_position, event_position, now, .. } =
            replay;
        let mut owner = Self::new(&engine, partition, log, cache, work);
        owner.inbox_position = inbox_position;
        owner.inbox_committed = inbox_position;
        owner.event_position = event_position;
        owner.event_committed = event_position;
        owner.now = now;
        let mut orphans = BTreeSet::new();
        owner.index_cached(&instances, &mut orphans).await?;
        for (id, replayed) in instances {
            owner.keep(id, replayed, &mut orphans);
        }
        for v1::Behind { instance, after } in replay.behind {
            let id = wire::instance_id(&instance)?;
            owner.lanes.set_behind(id, Behind { after, to: event_position, since: after });
            owner.lanes.queue_catching_up(id);
        }
        for hash in orphans {
            tracing::error!(
                partition,
                workflow_hash = hex(&hash.0),
                "Instances stand still: their workflow is not there, or this version of batond does not compile it"
            );
        }
        Ok(owner)
    }

    /// Enters the open instances of the cache into the indexes, without keeping them in memory.
    async fn index_cached(
        &mut self,
        newer: &BTreeMap<InstanceId, Replayed>,
        orphans: &mut BTreeSet<Hash>,
    ) -> Result<(), Exit> {
        let cache = self.cache.clone();
        let mut values = LargeValues::new();
        for record in cache.open_records() {
            let (id, record) = record?;
            let id = InstanceId(id);
            if newer.contains_key(&id) {
                continue;
            }
            let objects = &self.engine.objects;
            let instance = large::decode(objects, &mut values, |values| {
                wire::decode_state(&record.state, values)
            })
            .await?;
            values.clear();
            self.open.insert(id);
            let hash = instance.started.workflow;
            let Some(definition) = self.engine.definitions.by_hash(hash) else {
                orphans.insert(hash);
                continue;
            };
            let resident = Resident::new(instance, Some(definition));
            if self.expect(&resident) {
                self.residents.insert(id, resident);
                self.unfinished.push_back(id);
            }
        }
        Ok(())
    }

    /// Keeps an instance that the log told more of than the cache has.
    fn keep(&mut self, id: InstanceId, replayed: Replayed, orphans: &mut BTreeSet<Hash>) {
        let Replayed { instance, positions, key_digest } = replayed;
        let started = Arc::clone(&instance.started);
        let open = instance.ended.is_none();
        if open {
            self.open.insert(id);
        }
        let definition = self.engine.definitions.by_hash(started.workflow);
        if definition.is_none() {
            orphans.insert(started.workflow);
        }
        let mut resident = Resident::new(instance, definition);
        resident.dirty = true;
        resident.positions = positions;
        resident.key_digest = key_digest;
        self.dirty.insert(id);
        if let Some(digest) = key_digest {
            self.keys.insert(key_of(&started), (id, digest));
        }
        if open && self.expect(&resident) {
            self.unfinished.push_back(id);
        }
        self.residents.insert(id, resident);
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
                            OpenStep { attempt, function, task, scheduled_at, logged: true },
                        );
                    }
                }
                Effect::ClaimKey { activation, attempt } => {
                    if let Some(claiming) = Self::claiming(resident, activation, attempt) {
                        self.work.claim(&self.engine, claiming);
                    }
                }
                Effect::AskPolicies { activation, attempt } => {
                    self.unjudged.push_back(Unjudged { id, step: activation, attempt });
                }
                Effect::SetTimer { activation, timer, at } => {
                    self.timers.insert((at, id, activation, timer));
                }
                Effect::Continue => busy = true,
                Effect::PublishEvent { activation } => {
                    if let Some(found) = resident.instance.activations.get(&activation)
                        && let Phase::Emit(event) = &found.phase
                    {
                        let event = event.clone();
                        let department = Arc::clone(&resident.instance.started.name.namespace);
                        self.batch.after.push(After::Publish {
                            department,
                            instance: id,
                            activation,
                            event,
                        });
                    }
                }
                Effect::Listen { activation } => {
                    self.lanes.of(id).begun.push_back(Begun { activation, given: 0 });
                    self.lanes.queue_catching_up(id);
                }
                Effect::RunChild { activation } => {
                    self.family.push_back(Kin::Run { parent: id, activation, wanted: None });
                }
                Effect::WithdrawStep { .. }
                | Effect::Rearm
                | Effect::End
                | Effect::CancelChild { .. } => {}
            }
        }
        if resident.instance.guarded_steps().next().is_some() {
            self.expect_answers(resident);
        }
        self.expect_halts(resident);
        if resident.instance.started.parent.is_some_and(|parent| parent.awaited) {
            self.family.push_back(Kin::Check { child: id });
        }
        if let Some(definition) = &resident.definition
            && resident.instance.listeners().next().is_some()
        {
            self.listeners.refresh(&resident.instance, definition);
        }
        busy
    }
}

/// Instances as the log tells them.
struct Replay {
    engine: Arc<Engine>,
    cache: cache::Partition,
    log: log::Log,
    /// Those that the log told more of than the cache has.
    instances: BTreeMap<InstanceId, Replayed>,
    /// Of the commits that told it.
    bytes: usize,
    inbox_position: u64,
    event_position: u64,
    behind: Vec<v1::Behind>,
    now: Timestamp,
}

struct Replayed {
    instance: Instance,
    /// Where the log told of it, as far as the cache has not been told.
    positions: Vec<u64>,
    /// Digest of the request that started it, when it had an idempotency key that the cache does not have.
    key_digest: Option<[u8; 32]>,
}

impl Replay {
    /// `cached` is the commit up to which the cache goes.
    fn after(
        cached: Option<&v1::CommitBody>,
        engine: &Arc<Engine>,
        cache: cache::Partition,
        log: log::Log,
    ) -> Self {
        Self {
            engine: Arc::clone(engine),
            cache,
            log,
            instances: BTreeMap::new(),
            bytes: 0,
            inbox_position: cached.map_or(0, |body| body.inbox_position),
            event_position: cached.map_or(0, |body| body.event_position),
            behind: cached.map_or_else(Vec::new, |body| body.behind.clone()),
            now: cached.map_or(Timestamp::default(), |body| Timestamp(body.at_ms)),
        }
    }

    /// Reads the log from where the state is to its end as it is now.
    async fn read_to_the_end(&mut self) -> Result<(), Exit> {
        let mut reader = self.log.reader().await?;
        while let Some(commit) = self.log.next(&mut reader).await? {
            self.inbox_position = commit.body.inbox_position;
            self.event_position = commit.body.event_position;
            self.behind.clone_from(&commit.body.behind);
            self.now = self.now.max(Timestamp(commit.body.at_ms));
            self.bytes += commit.bytes;
            self.take(commit).await?;
            if self.instances.len() >= limits::REPLAY_INSTANCES_MAX
                || self.bytes >= limits::REPLAY_BYTES_MAX
            {
                self.spill().await?;
            }
        }
        Ok(())
    }

    /// Hands everything to the cache.
    async fn spill(&mut self) -> Result<(), Exit> {
        let mut large = LargeValues::new();
        let changes = std::mem::take(&mut self.instances).into_values().map(|replayed| {
            let Replayed { instance, positions, key_digest } = replayed;
            persist::change(&instance, positions, key_digest, &mut large)
        });
        let changes = changes.collect();
        self.bytes = 0;
        persist::write(&self.engine, &self.cache, &self.log, changes, large).await
    }

    async fn take(&mut self, commit: log::Committed) -> Result<(), Exit> {
        let at = Timestamp(commit.body.at_ms);
        let Some(Content::Batch(batch)) = commit.body.content else { return Ok(()) };
        let mut values = LargeValues::new();
        let (mut spans, mut told) = (Vec::new(), Vec::new());
        for entry in batch.instances {
            let id = wire::instance_id(&entry.instance)?;
            for event in entry.events {
                let objects = &self.engine.objects;
                let event = large::decode(objects, &mut values, |values| {
                    wire::decode_event(event.clone(), values)
                })
                .await?;
                if let Event::InstanceStarted(started) = &event {
                    spans.extend(self.spans(id, &event, at));
                    told.extend(self.told(id, &event, at));
                    let key_digest =
                        (!started.key.is_empty()).then(|| crate::api::start_digest(started));
                    let instance = Instance::new(id, Arc::clone(started), at);
                    let replayed = Replayed { instance, positions: Vec::new(), key_digest };
                    self.instances.insert(id, replayed);
                } else {
                    // From the cache when this is the first that the log says of it since.
                    self.replayed(id).await?;
                    spans.extend(self.spans(id, &event, at));
                    told.extend(self.told(id, &event, at));
                    baton_core::apply(&mut self.replayed(id).await?.instance, &event, at);
                }
            }
            let positions = &mut self.replayed(id).await?.positions;
            if positions.last() != Some(&commit.sequence) {
                positions.push(commit.sequence);
            }
        }
        if let Some(traces) = &self.engine.traces {
            traces.write(spans);
        }
        if let Some(lifecycle) = &self.engine.lifecycle {
            lifecycle.write(told);
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
        let Some(Replayed { instance: before, .. }) = self.instances.get(&id) else {
            return Vec::new();
        };
        let definition = self.engine.definitions.by_hash(before.started.workflow);
        let task = |activation: ActivationId| {
            let task = before.activations.get(&activation)?.task;
            definition.as_ref()?.workflow.task(task)
        };
        traces::spans(before, task, event, at)
    }

    /// The lifecycle events of an event once more: whether they were published before is not known.
    fn told(&self, id: InstanceId, event: &Event, at: Timestamp) -> Vec<lifecycle::Told> {
        let age_ms = u128::from(clock::now().since(at).0);
        if self.engine.lifecycle.is_none() || age_ms > limits::LIFECYCLE_REPLAY.as_millis() {
            return Vec::new();
        }
        if let Event::InstanceStarted(started) = event {
            return lifecycle::started(id, started, at);
        }
        let Some(Replayed { instance: before, .. }) = self.instances.get(&id) else {
            return Vec::new();
        };
        let definition = self.engine.definitions.by_hash(before.started.workflow);
        let task = |task| definition.as_ref()?.workflow.task(task);
        lifecycle::tell(before, task, event, at)
    }

    async fn replayed(&mut self, id: InstanceId) -> Result<&mut Replayed, Exit> {
        if !self.instances.contains_key(&id) {
            let record = self
                .cache
                .record(&id.0)?
                .ok_or(wire::Error::Malformed("an instance without a start"))?;
            let mut values = LargeValues::new();
            let objects = &self.engine.objects;
            let instance = large::decode(objects, &mut values, |values| {
                wire::decode_state(&record.state, values)
            })
            .await?;
            let replayed = Replayed { instance, positions: Vec::new(), key_digest: None };
            self.instances.insert(id, replayed);
        }
        Ok(self.instances.get_mut(&id).expect("it has just been put there"))
    }
}
