//! Sees to it that the schedule of each workflow's highest version runs, and no other: each is an instance of a workflow
//! of its own, started under a key, so that it runs once whoever starts it and however often.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use baton_core::{Command, InstanceId, Json, event::Started, workflow::Hash};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::{
    Engine,
    cache::Filter,
    definitions::Definition,
    error::Refusal,
    limits,
    partition::{self, partition_of},
};

/// Works until told to stop.
pub async fn serve(engine: Arc<Engine>, stop: CancellationToken) {
    let mut every = interval(limits::SCHEDULES_EVERY);
    every.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut settled: HashMap<Hash, u32> = HashMap::new();
    loop {
        tokio::select! { biased;
            () = stop.cancelled() => return,
            () = engine.deployed.notified() => {}
            _ = every.tick() => {}
        }
        if engine.readiness().is_err() {
            // Another engine may lead meanwhile.
            settled.clear();
            continue;
        }
        for definition in engine.definitions.scheduled() {
            let of = definition.workflow.hash;
            let passes = settled.entry(of).or_default();
            if *passes >= limits::SCHEDULE_PASSES {
                continue;
            }
            match settle(&engine, &definition).await {
                Ok(()) => *passes += 1,
                Err(refusal) => {
                    tracing::debug!(%refusal, "A schedule is looked after again in a moment");
                }
            }
        }
    }
}

/// Ends the schedules of other versions, and starts this one's.
///
/// # Errors
/// As the owners refuse; it may be done again.
pub async fn settle(engine: &Arc<Engine>, definition: &Definition) -> Result<(), Refusal> {
    let name = definition.name();
    let behind = format!("{}.schedule", name.name);
    for id in running(engine, &name.namespace, &behind, definition.trigger).await? {
        let reason = format!("version {} was deployed", name.version).into();
        let command = Command::Cancel { reason };
        let handle = engine.handle(partition_of(id))?;
        match handle.ask(|reply| partition::Request::Command { id, command, reply }).await {
            Ok(_) => tracing::info!(instance = %id, workflow = %behind, "A schedule was replaced"),
            Err(Refusal::Rejected(_)) => {}
            Err(refusal) => return Err(refusal),
        }
    }
    let Some(trigger) = definition.trigger.and_then(|hash| engine.definitions.by_hash(hash)) else {
        return Ok(());
    };
    let started = Started {
        workflow: trigger.workflow.hash,
        name: trigger.name().clone(),
        input: Json::empty_object(),
        key: name.version.clone(),
        labels: BTreeMap::new(),
        traceparent: Arc::from(""),
        parent: None,
        carried: baton_core::guard::Carried::default(),
        by: "".into(),
    };
    let begun = engine.start(started, trigger).await?;
    if begun.created {
        tracing::info!(instance = %begun.id, workflow = %behind, "A schedule begins");
    }
    Ok(())
}

/// Instances behind the schedules of other versions that have not ended.
async fn running(
    engine: &Arc<Engine>,
    namespace: &str,
    behind: &str,
    but: Option<Hash>,
) -> Result<Vec<InstanceId>, Refusal> {
    let filter = Filter {
        namespace: Some(namespace.to_owned()),
        name: Some(behind.to_owned()),
        status: None,
        started_after_ms: None,
        started_before_ms: None,
        labels: BTreeMap::new(),
    };
    let cache = engine.cache.clone();
    let partitions: Vec<u32> = (0..engine.partitions_count()).collect();
    let size = limits::PAGE_MAX as usize;
    let page = tokio::task::spawn_blocking(move || cache.list(&partitions, &filter, size, None));
    let page = page.await.map_err(|error| Refusal::Internal(error.to_string()))?;
    let page = page.map_err(|error| Refusal::Internal(error.to_string()))?;
    let others = page.instances.into_iter().filter(|(_, summary)| {
        summary.ended_at_ms == 0 && Some(Hash(summary.workflow_hash)) != but
    });
    Ok(others.map(|(id, _)| InstanceId(id)).collect())
}
