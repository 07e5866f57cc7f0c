//! The same loads on Baton: clients here, `batond`, its worker and its broker as processes of their own.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use anyhow::{Context as _, Result, bail};
use baton_proto::v1::{StartAndWaitRequest, StartRequest, Status};
use baton_tests::{Api, Cluster, DEADLINE, Setup};
use tokio::task::JoinSet;

use crate::load::{self, Load};
use crate::meter::{Figures, Meter, Phase, Plan, float};
use crate::usage;

/// Instances in flight on one connection: an HTTP/2 server lets a client have 200 open requests.
const REQUESTS_A_CONNECTION: usize = 125;

/// One round's figures.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Round {
    pub(crate) figures: Figures,
    pub(crate) costs: Costs,
}

/// What the steps of a round cost.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Costs {
    /// Seconds of processor time per 1,000 steps.
    pub(crate) engine_cpu_s: f64,
    pub(crate) worker_cpu_s: f64,
    pub(crate) broker_cpu_s: f64,
    pub(crate) client_cpu_s: f64,
    /// By which the broker's folder grew, per step.
    pub(crate) disk_bytes: f64,
    /// The most that `batond` had resident.
    pub(crate) rss_mib: f64,
}

/// One round on a fresh broker. The clients start an instance, wait for its end on the same request, and start the next.
pub(crate) async fn round(load: Load, sync_always: bool, plan: Plan) -> Result<Round> {
    round_with(load, sync_always, plan, Vec::new()).await
}

/// The same with more arguments for the engine.
pub(crate) async fn round_with(
    load: Load,
    sync_always: bool,
    plan: Plan,
    arguments: Vec<String>,
) -> Result<Round> {
    let partitions = u32::from(load::PARTITIONS);
    let setup = Setup { partitions, sync_always, arguments, ..Setup::default() };
    let mut cluster = Cluster::start(setup).await?;
    cluster.worker("bench-worker", "bench-1", &[("BATON_WORKER_CONCURRENCY", "1000")])?;
    let api = cluster.api()?;
    api.deploy(&load.workflow()).await?;
    api.served(&["finance.pay"], DEADLINE).await?;

    let meter = Arc::new(Meter::new(plan));
    let mut clients = JoinSet::new();
    let clients_count = if load == Load::Full { load.in_flight() } else { 1 };
    let numbers = Arc::new(AtomicU64::new(0));
    let mut connection = api;
    for client in 0..clients_count {
        if client.is_multiple_of(REQUESTS_A_CONNECTION) {
            connection = cluster.api()?;
        }
        clients.spawn(run(connection.clone(), load, Arc::clone(&meter), Arc::clone(&numbers)));
    }
    let costs = costs(&cluster, &meter, load);
    let ((), costs) = tokio::try_join!(load::all(clients), costs)?;
    let figures = meter.figures()?;
    cluster.stop().await?;
    Ok(Round { figures, costs })
}

async fn run(api: Api, load: Load, meter: Arc<Meter>, numbers: Arc<AtomicU64>) -> Result<()> {
    let request = || {
        let start = StartRequest {
            namespace: load::NAMESPACE.to_owned(),
            name: load.workflow_name().to_owned(),
            input: load::input(numbers.fetch_add(1, Ordering::Relaxed)),
            ..StartRequest::default()
        };
        StartAndWaitRequest { start: Some(start), wait_ms: 0 }
    };
    let mut workflows = api.workflows;
    while !meter.is_over() {
        let began = Instant::now();
        let answer = workflows.start_and_wait(request()).await.context("an instance")?;
        let instance = answer.into_inner();
        if instance.status() != Status::Completed {
            bail!("instance {} is {:?}: {:?}", instance.id, instance.status(), instance.error);
        }
        meter.completed(began.elapsed());
    }
    Ok(())
}

async fn costs(cluster: &Cluster, meter: &Meter, load: Load) -> Result<Costs> {
    let engine = usage::id(&cluster.batond.process)?;
    let worker = usage::id(&cluster.workers.first().context("there is a worker")?.process)?;
    let broker = usage::id(&cluster.nats.process)?;
    let all = [engine, worker, broker, std::process::id()];
    let folder = cluster.folder().join("nats");
    let (cpu_s, disk_bytes) =
        tokio::try_join!(usage::cpu_spent_s(meter, &all), disk_growth(meter, &folder))?;
    let steps = load.steps_of(&meter.figures()?);
    let cpu_s = |process: usize| cpu_s[process] / steps * 1e3;
    Ok(Costs {
        engine_cpu_s: cpu_s(0),
        worker_cpu_s: cpu_s(1),
        broker_cpu_s: cpu_s(2),
        client_cpu_s: cpu_s(3),
        disk_bytes: disk_bytes / steps,
        rss_mib: usage::rss_peak_mib(engine)?,
    })
}

/// In bytes, while the meter measures.
async fn disk_growth(meter: &Meter, folder: &Path) -> Result<f64> {
    meter.reached(Phase::Measuring).await?;
    let before = usage::folder_bytes(folder);
    meter.reached(Phase::Over).await?;
    Ok(float(usage::folder_bytes(folder)) - float(before))
}
