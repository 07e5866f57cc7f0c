//! The crash test at full size: `make chaos`.

use std::io::Write as _;

use anyhow::Result;
use baton_tests::chaos::{self, Report, Size, Victim};
use clap::Parser;

/// Kills engine, workers and broker at random moments while instances run, and counts everything afterwards.
#[derive(Debug, Parser)]
#[command(name = "baton-chaos", version)]
struct Arguments {
    /// Instances of five steps each
    #[arg(long, default_value_t = 2_000)]
    instances: usize,
    /// How often the engine, a worker and the broker are killed: each so often
    #[arg(long, default_value_t = 10)]
    kills: usize,
    /// Instances under way at once
    #[arg(long, default_value_t = 200)]
    in_flight: usize,
    #[arg(long, default_value_t = 4)]
    partitions: u32,
    /// Where the dice begin; without it, somewhere new
    #[arg(long)]
    seed: Option<u64>,
}

#[tokio::main]
async fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let seed = arguments.seed.unwrap_or_else(rand::random);
    let say = |text: String| {
        let _ = writeln!(std::io::stderr().lock(), "  {text}");
    };
    say(format!("seed {seed}"));
    let size = Size {
        instances: arguments.instances,
        kills_each: arguments.kills,
        in_flight: arguments.in_flight,
        partitions: arguments.partitions,
        seed,
    };
    let report = chaos::run(&size, say).await?;
    print(&report)
}

fn print(report: &Report) -> Result<()> {
    let count = |wanted: fn(&Victim) -> bool| report.kills.iter().filter(|v| wanted(v)).count();
    let Report { seed, instances, results_accepted, effects, effects_repeated, .. } = report;
    let Report { commits, claims, events, took_s, .. } = report;
    let (engine, broker) = (count(|v| *v == Victim::Engine), count(|v| *v == Victim::Broker));
    let workers = report.kills.len() - engine - broker;
    let mut out = std::io::stdout().lock();
    writeln!(out, "seed                       {seed}")?;
    writeln!(
        out,
        "kills (SIGKILL)            batond {engine}, workers {workers}, nats-server {broker}"
    )?;
    writeln!(
        out,
        "instances                  {instances} accepted, {instances} completed, 0 lost"
    )?;
    writeln!(out, "step results               {results_accepted} taken, 0 twice")?;
    writeln!(
        out,
        "handlers' effects          {effects}, of which {effects_repeated} repeated before the step's result was taken, 0 after"
    )?;
    writeln!(
        out,
        "log                        {commits} commits, {claims} claims, {events} events"
    )?;
    writeln!(out, "replay from the start      byte-identical state of all instances")?;
    writeln!(out, "took                       {took_s:.1} s")?;
    Ok(())
}
