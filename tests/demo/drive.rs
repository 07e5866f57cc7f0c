//! Starts every requisition and waits for its end, while everything is stopped and an engine and a worker are killed in the
//! middle.

use std::collections::HashMap;
use std::io::Write as _;
use std::time::Duration;

use anyhow::{Context, Result};
use baton_proto::v1::{Instance, StartResponse, Status};
use baton_tests::clock::now_ms;
use baton_tests::purchase::Requisition;
use baton_tests::{Api, Cluster};
use futures::StreamExt as _;
use indicatif::ProgressBar;
use tokio::sync::watch;

use crate::expected::Outcome;
use crate::switch::{self, Thrown};

/// How many requisitions are under way at once.
const IN_FLIGHT: usize = 24;

/// A step that was in a killed worker's hands comes back after the time that the broker leaves it to answer (15 s).
const DEADLINE: Duration = Duration::from_secs(180);

/// One requisition's instance, at its end.
pub(crate) struct Run {
    pub(crate) row: Requisition,
    pub(crate) id: String,
    pub(crate) started_ms: i64,
    pub(crate) ended_ms: i64,
    /// What the workflow said; else how the instance ended.
    pub(crate) outcome: Result<Outcome, String>,
}

/// What became of a row whose id had been there before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Repeat {
    /// The instance that was there already was answered.
    Same,
    /// Refused, since it says something else.
    Conflict,
    /// A second instance: what must not be.
    Another,
}

/// A kill and what came after it: moments in Unix milliseconds.
#[derive(Clone, Debug, Default)]
pub(crate) struct Kill {
    pub(crate) killed: i64,
    pub(crate) restarted: i64,
    pub(crate) ready: i64,
    /// When the first instance ended after the restart; none when none was left.
    pub(crate) first_end: Option<i64>,
}

/// All that happened.
pub(crate) struct Driven {
    pub(crate) runs: Vec<Run>,
    pub(crate) thrown: Thrown,
    pub(crate) engine: Kill,
    pub(crate) worker: Kill,
}

/// When each instance ended that has, Unix milliseconds by the engine's clock, which is ours.
type Ends = Vec<i64>;

/// Ends when every requisition has.
pub(crate) async fn all(
    cluster: &mut Cluster,
    victim: usize,
    rows: Vec<Requisition>,
    bar: &ProgressBar,
) -> Result<Driven> {
    let api = cluster.api()?;
    let total = rows.len();
    let (ended, mut ends) = watch::channel(Ends::new());
    let kills = async {
        wait_for(&mut ends, total / 5).await?;
        let thrown = switch::throw(&cluster.batond.url(), bar).await?;

        wait_for(&mut ends, total * 2 / 5).await?;
        let mut engine = Kill { killed: now_ms(), ..Kill::default() };
        cluster.batond.kill()?;
        say(bar, "batond is dead (SIGKILL)");
        engine.restarted = now_ms();
        cluster.batond.restart().await?;
        engine.ready = now_ms();
        engine.first_end = first_end(&mut ends, engine.restarted, total).await?;
        say(bar, "batond is back, and instances end again");

        wait_for(&mut ends, total * 3 / 5).await?;
        let mut worker = Kill { killed: now_ms(), ..Kill::default() };
        let process = cluster.workers.get_mut(victim).context("the worker that is to die")?;
        process.kill()?;
        say(bar, &format!("{} is dead (SIGKILL)", process.process.recipe.name));
        worker.restarted = now_ms();
        process.restart()?;
        worker.ready = now_ms();
        worker.first_end = first_end(&mut ends, worker.restarted, total).await?;
        say(bar, "the worker is back; what the dead one held comes back to it within 15 s");
        anyhow::Ok((thrown, engine, worker))
    };
    let (runs, (thrown, engine, worker)) =
        tokio::try_join!(run_all(&api, rows, bar, ended), kills)?;
    Ok(Driven { runs, thrown, engine, worker })
}

/// Starts rows whose ids are taken, and says what came of each.
pub(crate) async fn repeat(api: &Api, runs: &[Run], rows: &[Requisition]) -> Result<Vec<Repeat>> {
    let ids =
        runs.iter().map(|run| (run.row.id.as_str(), run.id.as_str())).collect::<HashMap<_, _>>();
    let mut repeats = Vec::with_capacity(rows.len());
    for row in rows {
        let repeat = match start(api, row).await {
            Ok(started) if ids.get(row.id.as_str()) == Some(&started.id.as_str()) => Repeat::Same,
            Ok(_) => Repeat::Another,
            Err(error) if code(&error).as_deref() == Some("key-conflict") => Repeat::Conflict,
            Err(error) => return Err(error),
        };
        repeats.push(repeat);
    }
    Ok(repeats)
}

/// Something that people want to know while they watch.
pub(crate) fn say(bar: &ProgressBar, text: &str) {
    // The bar is hidden where nobody watches it, and would swallow the line.
    bar.suspend(|| {
        let _ = writeln!(std::io::stderr().lock(), "  {text}");
    });
}

async fn run_all(
    api: &Api,
    rows: Vec<Requisition>,
    bar: &ProgressBar,
    ended: watch::Sender<Ends>,
) -> Result<Vec<Run>> {
    let total = rows.len();
    let mut runs = Vec::with_capacity(total);
    let mut running =
        futures::stream::iter(rows).map(|row| run(api, row)).buffer_unordered(IN_FLIGHT);
    while let Some(run) = running.next().await {
        let run = run?;
        ended.send_modify(|ends| ends.push(run.ended_ms));
        runs.push(run);
        bar.inc(1);
        if bar.is_hidden() && runs.len() % total.div_ceil(5) == 0 {
            say(bar, &format!("{} of {total} have ended", runs.len()));
        }
    }
    Ok(runs)
}

async fn run(api: &Api, row: Requisition) -> Result<Run> {
    let id = start(api, &row).await?.id;
    let instance = api.ended(&id, DEADLINE).await?;
    let ms = |time: Option<prost_types::Timestamp>| {
        time.map_or(0, |time| time.seconds * 1_000 + i64::from(time.nanos) / 1_000_000)
    };
    let (started_ms, ended_ms) = (ms(instance.started_at), ms(instance.ended_at));
    Ok(Run { row, id, started_ms, ended_ms, outcome: outcome(&instance) })
}

async fn start(api: &Api, row: &Requisition) -> Result<StartResponse> {
    let input = serde_json::to_string(row)?;
    api.start("procurement", "purchase-to-pay", &input, &row.id).await
}

fn outcome(instance: &Instance) -> Result<Outcome, String> {
    if instance.status() == Status::Completed {
        return serde_json::from_str(&instance.output)
            .map_err(|error| format!("{error}: {}", instance.output));
    }
    match &instance.error {
        Some(error) => Err(format!("{}: {}", error.title(), error.detail())),
        None => Err(format!("{:?}", instance.status())),
    }
}

/// The stable code of the engine's refusal.
fn code(error: &anyhow::Error) -> Option<String> {
    let status = error.downcast_ref::<tonic::Status>()?;
    Some(status.metadata().get("baton-code")?.to_str().ok()?.to_owned())
}

async fn wait_for(ends: &mut watch::Receiver<Ends>, count: usize) -> Result<()> {
    ends.wait_for(|ends| ends.len() >= count).await.context("the runs were given up")?;
    Ok(())
}

/// When the first instance ended after a moment; none when all were over before.
async fn first_end(
    ends: &mut watch::Receiver<Ends>,
    after_ms: i64,
    total: usize,
) -> Result<Option<i64>> {
    let later = |ends: &Ends| ends.iter().copied().filter(|end| *end > after_ms).min();
    let ends = ends.wait_for(|ends| ends.len() == total || later(ends).is_some()).await;
    Ok(later(&*ends.context("the runs were given up")?))
}
