//! The crash test: instances run while engine, workers and broker are killed at random moments, and then everything is
//! counted.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use futures::StreamExt as _;
use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;
use rand::{Rng as _, SeedableRng as _};
use serde::Serialize;
use tokio::sync::watch;

use crate::effects::{self, Effect};
use crate::replay::{Replay, Told};
use crate::{Api, Cluster, Setup};

/// Each works for a process of its own.
const DEPARTMENTS: [&str; 3] = ["alpha", "beta", "gamma"];

/// Five steps over the three departments; each adds one.
const WORKFLOW: &str = "\
document:
  dsl: '1.0.3'
  namespace: chaos
  name: five-steps
  version: '1.0.0'
do:
  - first: { call: alpha.work, with: { n: '${ .n }', work_ms: '${ $workflow.input.work_ms }' } }
  - second: { call: beta.work, with: { n: '${ .n }', work_ms: '${ $workflow.input.work_ms }' } }
  - third: { call: gamma.work, with: { n: '${ .n }', work_ms: '${ $workflow.input.work_ms }' } }
  - fourth: { call: alpha.more, with: { n: '${ .n }', work_ms: '${ $workflow.input.work_ms }' } }
  - fifth: { call: beta.more, with: { n: '${ .n }', work_ms: '${ $workflow.input.work_ms }' } }
";
const STEPS: usize = 5;

/// The longest that a step takes.
const WORK_MS_MAX: u64 = 20;

/// How long an instance may take: a command in a killed worker's hands comes back only after 30 s, and one instance
/// can meet several kills.
const PATIENCE: Duration = Duration::from_secs(400);

/// How much, and where the dice begin.
#[derive(Clone, Debug)]
pub struct Size {
    pub instances: usize,
    /// Of the engine, of a worker and of the broker, each so often.
    pub kills_each: usize,
    pub in_flight: usize,
    pub partitions: u32,
    pub seed: u64,
}

/// What is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Victim {
    Engine,
    Worker(usize),
    Broker,
}

/// What came of it. Every claim of the crash test was checked before there is one.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    pub seed: u64,
    pub instances: usize,
    pub kills: Vec<Victim>,
    pub results_accepted: usize,
    /// How often a handler ran, and how often more than once for the same step.
    pub effects: usize,
    pub effects_repeated: usize,
    pub commits: u64,
    pub claims: u64,
    pub events: u64,
    pub took_s: f64,
}

/// Runs all of it.
///
/// # Errors
/// When anything is not as promised; the cluster's logs are then printed.
pub async fn run(size: &Size, mut told: impl FnMut(String)) -> Result<Report> {
    let began = Instant::now();
    let mut random = StdRng::seed_from_u64(size.seed);
    let setup = Setup { partitions: size.partitions, ..Setup::default() };
    let mut cluster = Cluster::start(setup).await?;
    let folder = cluster.folder().display().to_string();
    for department in DEPARTMENTS {
        let environment =
            [("BATON_CHAOS_DEPARTMENT", department), ("BATON_CHAOS_FOLDER", folder.as_str())];
        cluster.worker("chaos-worker", &format!("{department}-1"), &environment)?;
    }
    let api = cluster.api()?;
    api.deploy(WORKFLOW).await?;

    let kills = victims(size.kills_each, &mut random);
    let moments = moments(size.instances, kills.len(), &mut random);
    let work =
        (0..size.instances).map(|_| random.random_range(0..=WORK_MS_MAX)).collect::<Vec<_>>();
    let (ended, mut ends) = watch::channel(0_usize);
    let killing = async {
        for (victim, moment) in kills.iter().zip(&moments) {
            ends.wait_for(|ended| ended >= moment).await.context("the instances")?;
            kill(&mut cluster, *victim, Duration::from_millis(random.random_range(0..500))).await?;
            told(format!(
                "{} of {} have ended; killed: {victim:?}",
                *ends.borrow(),
                size.instances
            ));
        }
        anyhow::Ok(())
    };
    let (accepted, ()) = tokio::try_join!(run_all(&api, size, &work, &ended), killing)?;
    told(format!("all {} have ended; checking", accepted.len()));

    expect_known_keys(&api, &accepted, &work).await?;
    let replay = Replay::read(&cluster.nats.url(), size.partitions).await?;
    let effects = effects::read(cluster.folder())?;
    let repeated = check(&accepted, &replay, &effects)?;
    replay.expect_api(&api).await?;
    for worker in &mut cluster.workers {
        worker.terminate().await?;
    }
    cluster.batond.terminate().await?;
    replay.expect_cache(cluster.batond.data())?;
    cluster.stop().await?;
    Ok(Report {
        seed: size.seed,
        instances: accepted.len(),
        kills,
        results_accepted: replay.instances.values().map(|told| told.accepted.len()).sum(),
        effects: effects.len(),
        effects_repeated: repeated,
        commits: replay.commits,
        claims: replay.claims,
        events: replay.events,
        took_s: began.elapsed().as_secs_f64(),
    })
}

fn victims(each: usize, random: &mut StdRng) -> Vec<Victim> {
    let mut victims = (0..each)
        .flat_map(|number| {
            [Victim::Engine, Victim::Worker(number % DEPARTMENTS.len()), Victim::Broker]
        })
        .collect::<Vec<_>>();
    victims.shuffle(random);
    victims
}

/// After how many ends each kill comes: somewhere in the first nine tenths.
fn moments(instances: usize, kills: usize, random: &mut StdRng) -> Vec<usize> {
    let mut moments =
        (0..kills).map(|_| random.random_range(0..=instances * 9 / 10)).collect::<Vec<_>>();
    moments.sort_unstable();
    moments
}

/// Kills, and starts it again after a while. An engine or broker may be killed again before it was ready.
async fn kill(cluster: &mut Cluster, victim: Victim, pause: Duration) -> Result<()> {
    match victim {
        Victim::Engine => cluster.batond.kill()?,
        Victim::Worker(number) => cluster.workers[number].kill()?,
        Victim::Broker => cluster.nats.kill()?,
    }
    tokio::time::sleep(pause).await;
    match victim {
        Victim::Engine => cluster.batond.process.run(),
        Victim::Worker(number) => cluster.workers[number].restart(),
        Victim::Broker => cluster.nats.process.run(),
    }
}

/// Starts every instance and waits for its end; answers key and id of each.
async fn run_all(
    api: &Api,
    size: &Size,
    work: &[u64],
    ended: &watch::Sender<usize>,
) -> Result<BTreeMap<usize, String>> {
    let mut running = futures::stream::iter(0..size.instances)
        .map(|number| async move {
            let (input, key) = (input(number, work), key(number));
            let id = api.start("chaos", "five-steps", &input, &key).await?.id;
            let output = api.completed(&id, PATIENCE).await?;
            let expected = serde_json::json!({ "n": number + STEPS }).to_string();
            ensure!(output == expected, "instance {id} of {number} ended with {output}");
            anyhow::Ok((number, id))
        })
        .buffer_unordered(size.in_flight);
    let mut ids = BTreeMap::new();
    while let Some(run) = running.next().await {
        let (number, id) = run?;
        ids.insert(number, id);
        ended.send_modify(|count| *count += 1);
    }
    Ok(ids)
}

/// What was answered once stays true: each key still gives the same instance.
async fn expect_known_keys(
    api: &Api,
    accepted: &BTreeMap<usize, String>,
    work: &[u64],
) -> Result<()> {
    for (number, id) in accepted {
        let again = api.start("chaos", "five-steps", &input(*number, work), &key(*number)).await?;
        ensure!(again.id == *id && !again.created, "key {number} gave {again:?}, not {id}");
    }
    Ok(())
}

/// No instance lost or doubled, each step's result taken once, and no handler run after that; answers how many
/// effects were repetitions.
fn check(accepted: &BTreeMap<usize, String>, replay: &Replay, effects: &[Effect]) -> Result<usize> {
    let ids = accepted.values().collect::<BTreeSet<_>>();
    ensure!(ids.len() == accepted.len(), "two keys gave the same instance");
    ensure!(ids.into_iter().eq(replay.instances.keys()), "the log has other instances");
    replay.expect_single_results()?;
    let mut runs: BTreeMap<(&str, u32), Vec<&Effect>> = BTreeMap::new();
    for effect in effects {
        runs.entry((&effect.instance, effect.step)).or_default().push(effect);
    }
    for (id, Told { accepted, .. }) in &replay.instances {
        ensure!(accepted.len() == STEPS, "{id} has {} results", accepted.len());
        for (step, attempt, taken_ms) in accepted {
            let ran = runs.get(&(id.as_str(), *step));
            let ran =
                ran.with_context(|| format!("step {step} of {id} has a result, no effect"))?;
            ensure!(
                ran.iter().any(|effect| effect.attempt == *attempt),
                "step {step} of {id}: attempt {attempt} was accepted but never ran"
            );
            let late = ran.iter().find(|effect| effect.at_ms > *taken_ms);
            ensure!(
                late.is_none(),
                "step {step} of {id} ran after its result was taken at {taken_ms}: {late:?}, all of {ran:?}"
            );
        }
    }
    Ok(effects.len() - runs.len())
}

fn key(number: usize) -> String {
    format!("chaos-{number}")
}

fn input(number: usize, work: &[u64]) -> String {
    serde_json::json!({ "n": number, "work_ms": work[number] }).to_string()
}
