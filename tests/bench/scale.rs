//! How much one process holds: many waiting instances, its memory, its restart, and how fast it is asked about them.

use std::io::{self, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use baton_proto::v1::{GetRequest, ListRequest, StartAndWaitRequest, StartRequest, Status};
use baton_tests::{Api, Cluster, DEADLINE, Setup, clock, eventually};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

use crate::load::{self, Load};
use crate::meter::{float, percentiles};
use crate::report::{Bar, Report};
use crate::{say, usage};

const PARTITIONS: u32 = 4;
const CONNECTIONS: usize = 8;
const STARTS_A_CONNECTION: usize = 100;

/// Instances of five steps that begin while lists and instances are asked for.
const BACKGROUND_STARTS_PER_S: u32 = 50;
const CALLS: usize = 600;
const REGIONS: usize = 10;
const WORKFLOWS: [&str; 2] = ["wait-for-goods", "wait-for-invoice"];

/// Memory has settled when it has moved by no more than this over so many seconds.
const STEADY_MIB: f64 = 4.0;
const STEADY_SAMPLES: usize = 15;
const SETTLING_SAMPLES_MAX: usize = 120;

#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Instances that wait; with another number the figures go to target/bench-scale-part.json
    #[arg(long, default_value_t = FULL)]
    instances: usize,
}

const FULL: usize = 100_000;

/// Answers whether all bars were cleared.
pub(crate) async fn run(arguments: &Arguments) -> Result<bool> {
    let mut cluster = Cluster::start(Setup { partitions: PARTITIONS, ..Setup::default() }).await?;
    cluster.worker("bench-worker", "bench-1", &[])?;
    let api = cluster.api()?;
    api.deploy(&Load::Full.workflow()).await?;
    for name in WORKFLOWS {
        api.deploy(&waiting(name)).await?;
    }
    api.served(&["finance.pay"], DEADLINE).await?;

    let began = Instant::now();
    let ids = start(&cluster, arguments.instances).await?;
    let seconds = began.elapsed().as_secs_f64();
    open_instances(&api, arguments.instances).await?;
    say(&format!("{} instances wait, started in {seconds:.1} s", ids.len()));
    let engine = usage::id(&cluster.batond.process)?;
    let rss_mib = settled_rss_mib(engine).await?;
    let rss_peak_mib = usage::rss_peak_mib(engine)?;
    say(&format!("{rss_mib:.0} MiB resident, {rss_peak_mib:.0} MiB at most"));

    let kept = recovery(&mut cluster, &api, Cache::Kept, arguments.instances).await?;
    let deleted = recovery(&mut cluster, &api, Cache::Deleted, arguments.instances).await?;
    let asked = ask(&cluster, &ids).await?;
    cluster.stop().await?;

    let mut report = Report::default();
    report.add("instances", float(deleted.open), Bar::AtLeast(float(arguments.instances as u64)));
    report.add("starts_per_s", float(ids.len() as u64) / seconds, Bar::None);
    report.add("rss_mib", rss_mib, Bar::AtMost(600.0));
    report.add("rss_peak_mib", rss_peak_mib, Bar::None);
    report.add("recovery_s", kept.seconds, Bar::AtMost(15.0));
    report.add("rss_recovered_mib", kept.rss_mib, Bar::AtMost(600.0));
    report.add("recovery_without_cache_s", deleted.seconds, Bar::None);
    report.add("rss_recovered_without_cache_mib", deleted.rss_mib, Bar::AtMost(600.0));
    report.add("list_p50_ms", asked.list_ms.0, Bar::None);
    report.add("list_p99_ms", asked.list_ms.1, Bar::Below(50.0));
    report.add("get_p50_ms", asked.get_ms.0, Bar::None);
    report.add("get_p99_ms", asked.get_ms.1, Bar::Below(50.0));
    report.add("background_steps_per_s", asked.steps_per_s, Bar::None);
    let whole = arguments.instances == FULL;
    let path = report.save(if whole { "bench-scale" } else { "bench-scale-part" })?;
    let mut out = io::stdout().lock();
    report.print(&mut out)?;
    writeln!(out, "Written to {}", path.display())?;
    Ok(report.all_cleared())
}

fn waiting(name: &str) -> String {
    let namespace = load::NAMESPACE;
    format!(
        "document: {{ dsl: '1.0.3', namespace: {namespace}, name: {name}, version: '1.0.0' }}\n\
         do:\n  - wait: {{ wait: {{ days: 30 }} }}\n"
    )
}

/// Starts so many instances and answers their ids.
async fn start(cluster: &Cluster, count: usize) -> Result<Vec<String>> {
    let next = Arc::new(AtomicUsize::new(0));
    let mut starters = JoinSet::new();
    for _ in 0..CONNECTIONS {
        let api = cluster.api()?;
        for _ in 0..STARTS_A_CONNECTION {
            let (next, mut workflows) = (Arc::clone(&next), api.workflows.clone());
            starters.spawn(async move {
                let mut ids = Vec::new();
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= count {
                        return anyhow::Ok(ids);
                    }
                    let answer = workflows.start(request(number)).await.context("a start")?;
                    ids.push(answer.into_inner().id);
                }
            });
        }
    }
    let mut ids = Vec::new();
    while let Some(some) = starters.join_next().await {
        ids.extend(some??);
    }
    Ok(ids)
}

fn request(number: usize) -> StartRequest {
    StartRequest {
        namespace: load::NAMESPACE.to_owned(),
        name: WORKFLOWS[number % WORKFLOWS.len()].to_owned(),
        input: load::input(0),
        labels: [("region".to_owned(), format!("region-{}", number % REGIONS))].into(),
        ..StartRequest::default()
    }
}

/// Resident memory once it does not move any more.
async fn settled_rss_mib(process: u32) -> Result<f64> {
    let mut every = interval(Duration::from_secs(1));
    let mut samples = Vec::new();
    for _ in 0..SETTLING_SAMPLES_MAX {
        every.tick().await;
        samples.push(usage::rss_mib(process)?);
        if let Some(last) = samples.last_chunk::<STEADY_SAMPLES>() {
            let most = last.iter().copied().fold(f64::MIN, f64::max);
            let least = last.iter().copied().fold(f64::MAX, f64::min);
            if most - least <= STEADY_MIB {
                break;
            }
        }
    }
    samples.last().copied().context("there are samples")
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cache {
    Kept,
    Deleted,
}

struct Recovered {
    /// From the start of a killed `batond` until it says that it is ready.
    seconds: f64,
    open: u64,
    rss_mib: f64,
}

async fn recovery(
    cluster: &mut Cluster,
    api: &Api,
    cache: Cache,
    instances: usize,
) -> Result<Recovered> {
    cluster.batond.kill()?;
    if cache == Cache::Deleted {
        std::fs::remove_dir_all(cluster.batond.data().join("sled"))
            .context("the cache's folder")?;
    }
    let began = Instant::now();
    cluster.batond.restart().await?;
    let seconds = began.elapsed().as_secs_f64();
    let open = open_instances(api, instances).await?;
    let rss_mib = settled_rss_mib(usage::id(&cluster.batond.process)?).await?;
    say(&format!("killed, cache {cache:?}: ready after {seconds:.2} s, {rss_mib:.0} MiB resident"));
    Ok(Recovered { seconds, open, rss_mib })
}

/// As the engine counts them; it tells its figures every second, so they are waited for.
async fn open_instances(api: &Api, wanted: usize) -> Result<u64> {
    eventually(DEADLINE, "the engine tells all its instances", async || {
        let status = api.status().await?;
        let open = status.partitions.iter().map(|partition| partition.open_instances).sum::<u64>();
        Ok((open >= wanted as u64).then_some(open))
    })
    .await
}

/// Median and 99th percentile of each kind of question.
struct Asked {
    list_ms: (f64, f64),
    get_ms: (f64, f64),
    steps_per_s: f64,
}

/// Asks for lists and instances in turn while the engine works.
async fn ask(cluster: &Cluster, ids: &[String]) -> Result<Asked> {
    let background = Background::start(cluster.api()?);
    let mut workflows = cluster.api()?.workflows;
    let (mut list_ms, mut get_ms) = (Vec::new(), Vec::new());
    let mut page_token = String::new();
    let began = Instant::now();
    // A stride that has no divisor in common with the count meets instances of all ages and partitions.
    for (call, id) in ids.iter().cycle().step_by(7_919).take(CALLS).enumerate() {
        let asked = Instant::now();
        let page = workflows.list(list(call, &page_token)).await.context("a list")?.into_inner();
        list_ms.push(asked.elapsed().as_secs_f64() * 1e3);
        page_token = if goes_on(call + 1) { page.next_page_token } else { String::new() };
        let asked = Instant::now();
        workflows.get(GetRequest { id: id.clone() }).await.context("an instance")?;
        get_ms.push(asked.elapsed().as_secs_f64() * 1e3);
    }
    let seconds = began.elapsed().as_secs_f64();
    let completed = background.stop().await?;
    let steps_per_s = float(completed as u64) * f64::from(Load::Full.steps()) / seconds;
    Ok(Asked { list_ms: percentiles(&mut list_ms), get_ms: percentiles(&mut get_ms), steps_per_s })
}

/// Kinds of lists that are asked for in turn.
const LISTS: usize = 7;

/// Whether this call asks for the next page of the call before.
fn goes_on(call: usize) -> bool {
    call % LISTS == 1
}

fn list(call: usize, page_token: &str) -> ListRequest {
    let ago = |minutes: i64| {
        let at_ms = clock::now_ms() - minutes * 60_000;
        Some(prost_types::Timestamp { seconds: at_ms.div_euclid(1_000), nanos: 0 })
    };
    let region = format!("region-{}", call % REGIONS);
    let name = WORKFLOWS[call % WORKFLOWS.len()].to_owned();
    let of_workflow =
        ListRequest { namespace: load::NAMESPACE.to_owned(), name, ..ListRequest::default() };
    match call % LISTS {
        0 => ListRequest::default(),
        1 => ListRequest { page_token: page_token.to_owned(), ..ListRequest::default() },
        2 => of_workflow,
        3 => ListRequest { status: Status::Waiting.into(), ..of_workflow },
        4 => ListRequest { labels: [("region".to_owned(), region)].into(), ..of_workflow },
        5 => ListRequest { status: Status::Completed.into(), ..ListRequest::default() },
        _ => ListRequest { started_after: ago(60), started_before: ago(0), ..of_workflow },
    }
}

/// Instances of five steps that begin at a moderate rate.
struct Background {
    stop: Arc<AtomicBool>,
    task: tokio::task::JoinHandle<Result<usize>>,
}

impl Background {
    fn start(api: Api) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let task = tokio::spawn(async move {
            let mut every = interval(Duration::from_secs(1) / BACKGROUND_STARTS_PER_S);
            every.set_missed_tick_behavior(MissedTickBehavior::Skip);
            let mut running = JoinSet::new();
            while !stopped.load(Ordering::Relaxed) {
                every.tick().await;
                let mut workflows = api.workflows.clone();
                running.spawn(async move { workflows.start_and_wait(five_steps()).await });
            }
            let mut completed = 0;
            while let Some(ended) = running.join_next().await {
                let instance = ended?.context("an instance of the background")?.into_inner();
                completed += usize::from(instance.status() == Status::Completed);
            }
            Ok(completed)
        });
        Self { stop, task }
    }

    /// Answers how many have completed.
    async fn stop(self) -> Result<usize> {
        self.stop.store(true, Ordering::Relaxed);
        self.task.await?
    }
}

fn five_steps() -> StartAndWaitRequest {
    let start = StartRequest {
        namespace: load::NAMESPACE.to_owned(),
        name: Load::Full.workflow_name().to_owned(),
        input: load::input(0),
        ..StartRequest::default()
    };
    StartAndWaitRequest { start: Some(start), wait_ms: 0 }
}
