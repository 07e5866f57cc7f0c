//! `make mutations`: takes away what enforces governance, one place after the other, and looks whether its test notices.

mod copy;
mod trial;

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use baton_tests::mutations::{Point, points};
use baton_tests::settings;
use clap::Parser;
use comfy_table::{Table, presets};
use serde_json::json;

use self::trial::{Bench, Outcome};

/// Takes away what enforces governance, one place after the other, and looks whether its test notices.
#[derive(Debug, Parser)]
#[command(name = "baton-mutations", version)]
struct Arguments {
    /// Only points whose name contains this
    #[arg(long, default_value = "")]
    only: String,
    /// Where the copy of the repository and what is built of it lie, so that the next run finds it built
    #[arg(long)]
    folder: Option<PathBuf>,
}

/// What became of a point.
struct Tried {
    point: Point,
    outcome: Outcome,
    took_s: f64,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let began = Instant::now();
    let mut points = points()?;
    points.retain(|point| point.name.contains(&arguments.only));
    ensure!(!points.is_empty(), "no point has {:?} in its name", arguments.only);
    let target = settings::root().join("target");
    let folder = arguments.folder.unwrap_or_else(|| target.join("mutations"));
    let tests = points.iter().map(|point| point.test.clone()).collect();
    say("copying the repository, and building what the tests run");
    let bench = Bench::set_up(&folder, tests)?;
    say("trying the tests with everything in its place");
    bench.expect_all_pass()?;

    let mut tried = Vec::new();
    for point in points {
        let at = Instant::now();
        let outcome = bench.try_without(&point)?;
        let took_s = at.elapsed().as_secs_f64();
        if outcome == Outcome::Unbuilt {
            say(&bench.end_of("build"));
        }
        tried.push(Tried { point, outcome, took_s });
        let Tried { point, outcome, .. } = &tried[tried.len() - 1];
        say(&format!(
            "{:>3}  {}: {} ({took_s:.0} s)",
            tried.len(),
            point.name,
            outcome.text(point)
        ));
    }
    let survived = tried.iter().filter(|tried| tried.outcome != Outcome::Caught).count();
    let minutes = began.elapsed().as_secs_f64() / 60.0;
    std::fs::create_dir_all(&target).context("the folder of what is built")?;
    save(&target.join("mutations.json"), &tried, minutes)?;
    print(&tried, minutes)?;
    ensure!(survived == 0, "{survived} of {} were not caught", tried.len());
    Ok(())
}

fn say(text: &str) {
    // Nobody may be listening.
    let _ = writeln!(io::stderr().lock(), "  {text}");
}

fn print(tried: &[Tried], minutes: f64) -> io::Result<()> {
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED).set_header(["without", "in", "", "s"]);
    for Tried { point, outcome, took_s } in tried {
        let row = [&point.name, &point.file, &outcome.text(point), &format!("{took_s:.0}")];
        table.add_row(row);
    }
    let caught = tried.iter().filter(|tried| tried.outcome == Outcome::Caught).count();
    let mut out = io::stdout().lock();
    writeln!(out, "{table}\n{caught} of {} caught, in {minutes:.0} minutes", tried.len())
}

fn save(path: &Path, tried: &[Tried], minutes: f64) -> Result<()> {
    let rows = tried.iter().map(|Tried { point, outcome, took_s }| {
        json!({
            "name": point.name,
            "file": point.file,
            "test": point.test.to_string(),
            "outcome": outcome.code(),
            "took_s": took_s.round(),
        })
    });
    let report = json!({ "points": rows.collect::<Vec<_>>(), "minutes": minutes.round() });
    std::fs::write(path, serde_json::to_string_pretty(&report)? + "\n")
        .with_context(|| format!("cannot write {}", path.display()))
}
