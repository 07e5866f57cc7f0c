//! Between memory and the cache: what has changed goes there, what is idle lives there.

use std::{future::Future, pin::Pin};

use baton_core::{Instance, InstanceId, instance::Status};
use tokio::time::Instant;

use super::{Exit, owner::Owner, resident::Resident, starts::key_of};
use crate::{
    Engine,
    cache::{self, Applied, Change, KeyChange, Summary},
    large, limits, log,
    telemetry::trace_id,
    view::status_of,
    wire::{self, LargeValues},
};

/// A write to the cache that is under way.
pub(super) struct Flush {
    done: Pin<Box<dyn Future<Output = Result<(), Exit>> + Send>>,
    /// With how many of its positions.
    written: Vec<(InstanceId, usize)>,
}

impl Flush {
    pub(super) fn done(&mut self) -> impl Future<Output = Result<(), Exit>> {
        self.done.as_mut()
    }
}

impl Owner {
    /// The instance in memory, fetched from the cache when it is idle.
    pub(super) async fn resident(&mut self, id: InstanceId) -> Result<Option<&mut Resident>, Exit> {
        if !self.residents.contains_key(&id) {
            let Some(instance) = self.cached(id).await? else { return Ok(None) };
            let definition = self.engine.definitions.by_hash(instance.started.workflow);
            self.residents.insert(id, Resident::new(instance, definition));
        }
        Ok(self.residents.get_mut(&id))
    }

    /// The instance as it is, without making it resident.
    pub(super) async fn look(&self, id: InstanceId) -> Result<Option<Instance>, Exit> {
        match self.residents.get(&id) {
            Some(resident) => Ok(Some(resident.instance.clone())),
            None => self.cached(id).await,
        }
    }

    async fn cached(&self, id: InstanceId) -> Result<Option<Instance>, Exit> {
        let Some(record) = self.cache.record(&id.0)? else { return Ok(None) };
        let mut values = LargeValues::new();
        let decoded = large::decode(&self.engine.objects, &mut values, |values| {
            wire::decode_state(&record.state, values)
        });
        Ok(Some(decoded.await?))
    }

    /// Begins to write what has changed. What is in memory must be what the log says: nothing decided may be waiting.
    pub(super) fn flush(&mut self) -> Option<Flush> {
        if self.dirty.is_empty() {
            return None;
        }
        let dirty = std::mem::take(&mut self.dirty);
        let mut large = LargeValues::new();
        let mut changes = Vec::with_capacity(dirty.len());
        let mut written = Vec::with_capacity(dirty.len());
        for id in dirty {
            let Some(resident) = self.residents.get_mut(&id) else { continue };
            resident.dirty = false;
            written.push((id, resident.positions.len()));
            let (positions, key_digest) = (resident.positions.clone(), resident.key_digest.take());
            changes.push(change(&resident.instance, positions, key_digest, &mut large));
        }
        let done = write(&self.engine, &self.cache, &self.log, changes, large);
        Some(Flush { done: Box::pin(done), written })
    }

    /// What has ended leaves memory as soon as the cache has it.
    pub(super) fn flushed(&mut self, flush: &Flush) {
        // Only time moves these: what has been written need not stay in memory too.
        let crowded = self.residents.len() > limits::IDLE_RESIDENT_MAX;
        for (id, positions) in &flush.written {
            let Some(resident) = self.residents.get_mut(id) else { continue };
            resident.positions.drain(..*positions);
            if !resident.instance.started.key.is_empty() {
                self.keys.remove(&key_of(&resident.instance.started));
            }
            let waits = crowded && resident.instance.status() == Status::Waiting;
            if !resident.dirty && (waits || resident.instance.ended.is_some()) {
                self.residents.remove(id);
            }
        }
    }

    /// Idle instances leave memory.
    pub(super) fn forget_idle(&mut self) {
        let now = Instant::now();
        self.residents.retain(|_, resident| {
            resident.dirty
                || !resident.positions.is_empty()
                || !resident.instance.ready.is_empty()
                || now.duration_since(resident.touched) < limits::IDLE_AFTER
        });
    }
}

/// Writes to the cache what the log says up to where it was read or written.
pub(super) fn write(
    engine: &Engine,
    cache: &cache::Partition,
    log: &log::Log,
    changes: Vec<Change>,
    large: LargeValues,
) -> impl Future<Output = Result<(), Exit>> + Send + use<> {
    let applied = Applied {
        stream_created_ms: log.created_ms,
        sequence: log.position.sequence,
        chain: log.position.chain,
    };
    let (cache, objects) = (cache.clone(), engine.objects.clone());
    let (traces, lifecycle) = (engine.traces.clone(), engine.lifecycle.clone());
    async move {
        // What the cache has is not replayed, so what is told of it must have gone out before.
        if let Some(traces) = traces {
            traces.flush().await;
        }
        if let Some(lifecycle) = lifecycle {
            lifecycle.flush().await;
        }
        // Values that only a state refers to: an event may have had them in smaller pieces.
        if !large.is_empty() {
            large::store(&objects, large).await?;
        }
        tokio::task::spawn_blocking(move || cache.write(&changes, &applied))
            .await
            .map_err(|error| Exit::Broker(error.to_string()))??;
        Ok(())
    }
}

/// What the cache is told of an instance.
pub(super) fn change(
    instance: &Instance,
    positions: Vec<u64>,
    key_digest: Option<[u8; 32]>,
    large: &mut LargeValues,
) -> Change {
    let state = wire::encode_state(instance, large);
    let key = key_digest
        .map(|request_sha256| KeyChange { key: instance.started.key.to_string(), request_sha256 });
    Change { id: instance.id.0, summary: summary(instance), state, positions, key }
}

fn summary(instance: &Instance) -> Summary {
    let started = &instance.started;
    Summary {
        namespace: started.name.namespace.to_string(),
        name: started.name.name.to_string(),
        version: started.name.version.to_string(),
        status: u8::try_from(status_of(instance) as i32).expect("there are few statuses"),
        started_at_ms: instance.started_at.0,
        updated_at_ms: instance.updated_at.0,
        ended_at_ms: instance.ended.as_ref().map_or(0, |(at, _)| at.0),
        labels: started
            .labels
            .iter()
            .map(|(key, value)| (key.to_string(), value.to_string()))
            .collect(),
        key: started.key.to_string(),
        reason: instance.reason.as_deref().unwrap_or_default().to_owned(),
        trace_id: trace_id(instance.id, &started.traceparent),
        workflow_hash: started.workflow.0,
    }
}
