//! What the language costs: deploying a large workflow, and the expressions of a step.

use std::io::{self, Write as _};
use std::process::Stdio;

use anyhow::{Context as _, Result, ensure};
use baton_tests::settings;
use serde::Deserialize;

use crate::meter::median;
use crate::report::{Bar, Report};
use crate::{deploy, say};

/// Answers whether all bars were cleared.
pub(crate) async fn run() -> Result<bool> {
    let deployed = deploy::measure().await?;
    let rounds = data_flow().await?;
    let data_flow = |of: fn(&DataFlow) -> f64| median(rounds.iter().map(of));

    let mut report = Report::default();
    report.add("deploy_200_tasks_ms", deployed.median_ms, Bar::Below(50.0));
    report.add("deploy_200_tasks_max_ms", deployed.max_ms, Bar::None);
    report.add("data_flow_us", data_flow(|round| round.typical_us), Bar::Below(20.0));
    report.add("data_flow_lists_us", data_flow(|round| round.lists_us), Bar::None);
    report.add("data_flow_constants_us", data_flow(|round| round.constants_us), Bar::None);
    let path = report.save("bench-language")?;
    let mut out = io::stdout().lock();
    report.print(&mut out)?;
    writeln!(out, "Written to {}", path.display())?;
    Ok(report.all_cleared())
}

/// One round's figures of `bench-data-flow`, for one step.
#[derive(Deserialize)]
#[expect(clippy::struct_field_names, reason = "names carry their unit")]
struct DataFlow {
    /// Of typical expressions.
    typical_us: f64,
    /// Of expressions that go over lists.
    lists_us: f64,
    /// Of all the rest that decisions about a step do.
    constants_us: f64,
}

async fn data_flow() -> Result<Vec<DataFlow>> {
    let program = settings::binary("bench-data-flow")?;
    let mut command = tokio::process::Command::new(program);
    let output = command.stderr(Stdio::inherit()).kill_on_drop(true).output().await?;
    ensure!(output.status.success(), "bench-data-flow: {}", output.status);
    let rounds: Vec<DataFlow> =
        serde_json::from_slice(&output.stdout).context("the rounds of bench-data-flow")?;
    let shown = rounds.iter().map(|round| format!("{:.1}", round.typical_us)).collect::<Vec<_>>();
    say(&format!("a step's data flow, µs in each round: {}", shown.join(", ")));
    Ok(rounds)
}
