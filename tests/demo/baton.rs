//! What is looked at as anybody would: with the command line.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::Path;

use anyhow::{Context, Result, bail};
use baton_tests::{Cluster, settings};
use serde::{Deserialize, Serialize};

use crate::drive::Run;

/// How many of the decisions that change are told one by one.
const LISTED: &str = "1000";

/// What another policy set would have said to everything that was asked: `baton policy backtest -o json`.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Backtest {
    pub(crate) decisions: u64,
    pub(crate) same: u64,
    pub(crate) flips: Vec<Flip>,
    /// How often people would be asked who were not, by group.
    pub(crate) approvals_added: BTreeMap<String, u64>,
    /// Whole pounds in what changes.
    pub(crate) amount: i64,
    pub(crate) unreadable: u64,
    pub(crate) cases: Vec<Case>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Flip {
    pub(crate) from: String,
    pub(crate) to: String,
    pub(crate) count: u64,
}

/// A decision that changes.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Case {
    pub(crate) instance: String,
    pub(crate) step: u32,
    pub(crate) function: String,
    pub(crate) amount: Option<i64>,
}

/// Asks a folder of policies everything again that was asked so far.
pub(crate) async fn backtest(cluster: &Cluster, policies: &Path) -> Result<Backtest> {
    let policies = policies.to_str().context("a path that is UTF-8")?;
    let all = ["policy", "backtest", "--policy", policies, "--list", LISTED, "--output", "json"];
    let said = run(cluster, &all).await?;
    serde_json::from_slice(&said).context("what the backtest says")
}

/// Draws one instance.
pub(crate) async fn timeline(cluster: &Cluster, one: &Run) -> Result<()> {
    let shown = run(cluster, &["show", &one.id]).await?;
    let mut out = std::io::stdout().lock();
    writeln!(out, "\nOne that lived through the kill of the engine: requisition {}", one.row.id)?;
    out.write_all(&shown)?;
    Ok(())
}

/// What `baton` prints.
async fn run(cluster: &Cluster, arguments: &[&str]) -> Result<Vec<u8>> {
    let baton = settings::binary("baton")?;
    let mut command = tokio::process::Command::new(&baton);
    command.args(["--url", &cluster.batond.url()]).args(arguments).kill_on_drop(true);
    let done =
        command.output().await.with_context(|| format!("cannot run {}", Path::display(&baton)))?;
    if !done.status.success() {
        let said = String::from_utf8_lossy(&done.stderr);
        bail!("`baton {}` failed: {said}", arguments.join(" "));
    }
    Ok(done.stdout)
}
