//! Buys what a file asks for: a broker, an engine that asks policies, and three departments. On the way everything is stopped
//! and goes on, and the engine and a worker are killed.

mod baton;
mod drive;
mod expected;
mod figures;
mod governed;
mod invoices;
mod report;
mod rows;
mod switch;

use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use baton_proto::v1::ListRequest;
use baton_tests::{Cluster, DEADLINE, Setup, settings};
use clap::Parser;
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use tokio::signal::unix::{SignalKind, signal};

use crate::drive::{Driven, Kill, Run, say};
use crate::expected::Plan;
use crate::figures::{Figures, Material};
use crate::governed::Governed;

/// What a shell answers for a program that Ctrl-C ended.
const INTERRUPTED: u8 = 130;

const WORKFLOW: &str = include_str!("purchase-to-pay.yaml");

const FUNCTIONS: [&str; 8] = [
    "procurement.validate",
    "procurement.receive-goods",
    "finance.check-budget",
    "finance.match-invoice",
    "finance.pay",
    "erp.create-order",
    "erp.receive-invoice",
    "erp.book-payment",
];

/// Runs purchase requisitions from a file through Baton, and stops and kills its parts in the middle.
#[derive(Parser)]
struct Arguments {
    /// A CSV file with at least the columns `date`, `supplier`, and `amount` or `amount_gbp`.
    #[arg(long, value_name = "FILE")]
    input: Option<PathBuf>,
    /// Also writes the figures to this file.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// As `--json` writes it.
#[derive(Serialize)]
struct Shown {
    #[serde(flatten)]
    figures: Figures,
    governed: Governed,
}

#[tokio::main]
async fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    let (mut interrupt, mut terminate) =
        (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let stopped = async {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    };
    tokio::pin!(stopped);

    let own = || settings::root().join("tests/demo/requisitions.csv");
    let plan = Plan::new(rows::read(&arguments.input.unwrap_or_else(own))?);
    let bar = progress_bar(plan.firsts.len())?;
    say(&bar, "starting nats-server and batond");
    let policies = governed::policies().display().to_string();
    let setup = Setup { arguments: vec!["--policies".to_owned(), policies], ..Setup::default() };
    let mut cluster = tokio::select! {
        cluster = Cluster::start(setup) => cluster?,
        () = &mut stopped => return Ok(ExitCode::from(INTERRUPTED)),
    };
    let shown = tokio::select! {
        shown = demonstrate(&mut cluster, plan, &bar) => shown?,
        () = &mut stopped => {
            cluster.abandon();
            return Ok(ExitCode::from(INTERRUPTED));
        }
    };
    if let Some(path) = arguments.json {
        let text = serde_json::to_string_pretty(&shown)?;
        std::fs::write(&path, text + "\n")
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    cluster.stop().await?;
    Ok(if shown.figures.adds_up() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn demonstrate(cluster: &mut Cluster, plan: Plan, bar: &ProgressBar) -> Result<Shown> {
    let ledgers = cluster.folder().join("ledgers");
    std::fs::create_dir(&ledgers).context("a folder for the books")?;
    let books = ledgers.display().to_string();
    let environment = [("DEMO_LEDGERS", books.as_str())];
    say(bar, "starting the workers of procurement, finance and erp");
    cluster.worker("demo-procurement", "procurement-1", &environment)?;
    let victim = cluster.worker("demo-finance", "finance-1", &environment)?;
    cluster.worker("demo-erp", "erp-1", &environment)?;
    let api = cluster.api()?;
    let workflow = api.deploy(WORKFLOW).await?;
    api.served(&FUNCTIONS, DEADLINE).await?;

    let conflicts = plan.conflicts();
    let Plan { firsts, repeats } = plan;
    say(bar, &format!("{} {}: {} requisitions", workflow.name, workflow.version, firsts.len()));
    bar.enable_steady_tick(Duration::from_millis(100));
    let Driven { runs, thrown, engine, worker } = drive::all(cluster, victim, firsts, bar).await?;
    bar.finish_and_clear();
    let repeats = drive::repeat(&api, &runs, &repeats).await?;
    let request = ListRequest {
        namespace: workflow.namespace,
        name: workflow.name,
        ..ListRequest::default()
    };
    let listed =
        api.list(request).await?.into_iter().map(|instance| instance.id).collect::<Vec<_>>();

    let mut figures = figures::count(&Material {
        runs: &runs,
        repeats: &repeats,
        conflicts: &conflicts,
        ledgers: &ledgers,
        listed: &listed,
        engine: &engine,
        worker: &worker,
    })?;
    let governed = governed::show(cluster, &ledgers, thrown, &runs).await?;
    figures.checks.extend(governed.checks());
    report::write(&mut std::io::stdout().lock(), &figures, &governed, &runs)?;
    if let Some(run) = survivor(&runs, &engine) {
        baton::timeline(cluster, run).await?;
    }
    Ok(Shown { figures, governed })
}

/// A paid purchase that was under way when the engine died, if there is one; the longest.
fn survivor<'a>(runs: &'a [Run], engine: &Kill) -> Option<&'a Run> {
    let paid = |run: &&Run| run.outcome.as_ref().is_ok_and(|outcome| outcome.end == "paid");
    let lived_through = |run: &&Run| run.started_ms < engine.killed && run.ended_ms > engine.killed;
    let longest = |run: &&Run| run.ended_ms - run.started_ms;
    let through = runs.iter().filter(paid).filter(lived_through).max_by_key(longest);
    through.or_else(|| runs.iter().max_by_key(longest))
}

fn progress_bar(length: usize) -> Result<ProgressBar> {
    if !std::io::stderr().is_terminal() {
        return Ok(ProgressBar::hidden());
    }
    let style = ProgressStyle::with_template(
        "  {bar:40} {pos}/{len} requisitions · {elapsed} · {per_sec}",
    )?;
    Ok(ProgressBar::new(length as u64).with_style(style))
}
