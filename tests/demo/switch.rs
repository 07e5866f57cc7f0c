//! The kill switch, rehearsed, thrown and armed again while requisitions are under way.

use std::time::Duration;

use anyhow::{Context, Result};
use baton_proto::v1::{KillRequest, KillSwitch, RearmRequest};
use baton_tests::Api;
use baton_tests::clock::now_ms;
use indicatif::ProgressBar;
use serde::Serialize;

use crate::drive::{Run, say};

const SCOPE: &str = "everything";

/// Who throws it, and who lets everything go on: policies may want them to be two.
const THROWS: &str = "olga";
const REARMS: &str = "otto";

/// How long everything stands still, so that whoever watches sees it.
const PAUSE: Duration = Duration::from_secs(1);

/// What the engine answered each time.
pub(crate) struct Thrown {
    drill: KillSwitch,
    stopped: KillSwitch,
    rearmed: KillSwitch,
    /// From the engine's answer to the request to go on, Unix milliseconds.
    still_ms: std::ops::Range<i64>,
}

/// What became of it.
#[derive(Debug, Serialize)]
pub(crate) struct Switch {
    pub(crate) scope: String,
    pub(crate) drilled_by: String,
    pub(crate) would_stop: u64,
    pub(crate) known_ms: u64,
    pub(crate) thrown_by: String,
    pub(crate) stopped: u64,
    pub(crate) stop_ms: u64,
    /// Requisitions that ended while everything stood still: what must not be.
    pub(crate) ended_meanwhile: usize,
    pub(crate) still_ms: i64,
    pub(crate) rearmed_by: String,
    /// Steps that went on, those that became due meanwhile among them.
    pub(crate) went_on: u64,
    /// Results that came after the stop and were not taken.
    pub(crate) late: u64,
}

/// Ends when everything goes on again.
pub(crate) async fn throw(url: &str, bar: &ProgressBar) -> Result<Thrown> {
    let (throws, rearms) = (Api::called_by(url, THROWS)?, Api::called_by(url, REARMS)?);
    let kill = async |drill| {
        let reason = "shown in the demo".to_owned();
        let request = KillRequest { scope: SCOPE.to_owned(), reason, drill };
        let answer = throws.kills.clone().kill(request).await.context("a kill switch")?;
        anyhow::Ok(answer.into_inner())
    };
    let drill = kill(true).await?;
    let stopped = kill(false).await?;
    let from = now_ms();
    say(bar, "the kill switch is thrown: everything stands still");
    tokio::time::sleep(PAUSE).await;
    let still_ms = from..now_ms();
    let request = RearmRequest { number: stopped.number, reason: "all is well".to_owned() };
    let rearmed = rearms.kills.clone().rearm(request).await.context("arming it again")?;
    say(bar, "the kill switch is armed again: everything goes on");
    Ok(Thrown { drill, stopped, rearmed: rearmed.into_inner(), still_ms })
}

impl Switch {
    pub(crate) fn new(thrown: Thrown, runs: &[Run]) -> Self {
        let Thrown { drill, stopped, rearmed, still_ms } = thrown;
        Self {
            scope: stopped.scope,
            drilled_by: drill.by,
            would_stop: drill.stopped,
            known_ms: drill.stop_ms,
            thrown_by: stopped.by,
            stopped: stopped.stopped,
            stop_ms: stopped.stop_ms,
            // The engine's clock is ours. What ended in the millisecond of its answer may have ended just before.
            ended_meanwhile: runs
                .iter()
                .filter(|run| run.ended_ms > still_ms.start && run.ended_ms < still_ms.end)
                .count(),
            still_ms: still_ms.end - still_ms.start,
            rearmed_by: rearmed.rearmed_by,
            went_on: rearmed.held,
            late: rearmed.late,
        }
    }
}
