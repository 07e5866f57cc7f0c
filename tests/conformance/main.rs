//! The conformance run: the language's own test kit, our scenarios and the examples, against a real engine.

mod examples;
mod history;
mod matrix;
mod profile;
mod report;
mod scene;
mod stage;
mod steps;
mod stories;
mod tls;
mod web;
mod yaml;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Result;
use baton_tests::settings;
use clap::Parser;

use crate::report::Report;
use crate::stage::Stage;
use crate::stories::{Outcome, Story};

/// Runs the language's conformance kit and our own scenarios, and compares both with docs/profile.md.
///
/// Exits with status 1 when anything is otherwise than the page says, for the better too.
#[derive(Debug, Parser)]
#[command(name = "baton-conformance", version, max_term_width = 100)]
struct Arguments {
    /// The folder with the language's `ctk` and `examples`; without it, `../shared/openworkflow`
    #[arg(long, env = "BATON_OPENWORKFLOW")]
    language: Option<PathBuf>,
    /// Where the figures go; without it, `target/conformance.json`
    #[arg(long)]
    json: Option<PathBuf>,
    /// Only our own scenarios whose names hold this text; compares nothing
    #[arg(long)]
    only: Option<String>,
}

#[tokio::main]
async fn main() -> Result<ExitCode> {
    let logs = tracing_subscriber::fmt().with_max_level(tracing::Level::ERROR);
    logs.with_writer(std::io::stderr).with_ansi(false).init();
    let arguments = Arguments::parse();
    let root = settings::root();
    let features = root.join("tests/conformance/features");
    let page = profile::read(&root.join("docs/profile.md"))?;
    let stage = Stage::raise().await?;
    if let Some(only) = &arguments.only {
        let own = stories::run(&stage, &features, Some(only)).await;
        stage.clear().await?;
        return tell(&own);
    }
    let language = arguments.language.unwrap_or_else(|| root.join("../shared/openworkflow"));
    let kit = match folder(&language, "ctk") {
        Some(folder) => stories::run(&stage, &folder, None).await,
        None => Vec::new(),
    };
    let own = stories::run(&stage, &features, None).await;
    let examples = match folder(&language, "examples") {
        Some(folder) => {
            let examples = examples::check(&stage.api, &folder).await?;
            say(&format!("{}: {} examples checked", folder.display(), examples.len()));
            examples
        }
        None => Vec::new(),
    };
    stage.clear().await?;

    let complaints = matrix::compare(&page, &own, &kit, &examples);
    let report = Report::of(&page, &own, &kit, &examples);
    report.save(&arguments.json.unwrap_or_else(|| root.join("target/conformance.json")))?;
    report.print()?;
    for complaint in &complaints {
        say(&format!("NOT AS docs/profile.md SAYS: {complaint}"));
    }
    Ok(if complaints.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What the language's own repository holds is not part of ours.
fn folder(language: &Path, name: &str) -> Option<PathBuf> {
    let folder = language.join(name);
    if folder.is_dir() {
        return Some(folder);
    }
    say(&format!("SKIPPED: there is no {}; it counts 0", folder.display()));
    None
}

/// Every story in full, for whoever writes one.
fn tell(stories: &[Story]) -> Result<ExitCode> {
    let mut out = std::io::stdout().lock();
    for story in stories {
        writeln!(out, "{story}: {}", story.outcome)?;
    }
    let passed = stories.iter().all(|story| story.outcome == Outcome::Passed);
    Ok(if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Progress, for people.
fn say(text: &str) {
    // Standard error being gone is no reason to fail.
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}
