//! Measures Baton: its speed against a bare loop on the same broker, what the language costs, and how much one process
//! holds.

mod bare;
mod ceiling;
mod deploy;
mod engine;
mod language;
mod load;
mod meter;
mod policy;
mod report;
mod scale;
mod speed;
mod usage;

use std::io::Write as _;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

/// Measures Baton. Exits with status 1 when a bar is missed.
#[derive(Parser)]
#[command(name = "baton-bench", version, about, max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Speed against the bare loop, into target/bench.json
    Speed(speed::Arguments),
    /// What the language costs, into target/bench-language.json
    Language,
    /// What a policy decision costs against Cedar alone, and the speed with policies, into target/bench-policy.json
    Policy,
    /// 100,000 waiting instances, into target/bench-scale.json
    Scale(scale::Arguments),
}

#[tokio::main]
async fn main() -> Result<ExitCode> {
    let logs = tracing_subscriber::fmt().with_max_level(tracing::Level::WARN);
    logs.with_writer(std::io::stderr).with_ansi(false).init();
    let cleared = match Arguments::parse().what {
        What::Speed(arguments) => speed::run(&arguments).await?,
        What::Language => language::run().await?,
        What::Policy => policy::run().await?,
        What::Scale(arguments) => scale::run(&arguments).await?,
    };
    Ok(if cleared { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Progress, for people.
fn say(text: &str) {
    // Standard error being gone is no reason to fail.
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}
