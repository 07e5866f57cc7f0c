//! Measures a load that goes on and on: leaves out the warm-up, and ends when it has seen enough.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use tokio::sync::watch;

/// What is left out, and what is enough.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    /// Left out: at least so many completions, for at least so long.
    pub(crate) warm_up: u64,
    pub(crate) warm_up_time: Duration,
    /// Measured: at least so many completions, for at least so long.
    pub(crate) least: u64,
    pub(crate) time: Duration,
    /// Measuring ends at a multiple of this. Instances that are in flight together tend to march in step, so that
    /// completions come in waves; whole waves are counted.
    pub(crate) stride: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    WarmUp,
    Measuring,
    Over,
}

/// What was seen while it measured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Figures {
    pub(crate) completions: u64,
    pub(crate) seconds: f64,
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
}

#[derive(Debug)]
pub(crate) struct Meter {
    plan: Plan,
    created: Instant,
    state: Mutex<State>,
    phase: watch::Sender<Phase>,
}

#[derive(Debug, Default)]
struct State {
    warmed_up: u64,
    began: Option<Instant>,
    latencies_ms: Vec<f64>,
    seconds: Option<f64>,
}

impl Meter {
    pub(crate) fn new(plan: Plan) -> Self {
        let phase = watch::Sender::new(Phase::WarmUp);
        Self { plan, created: Instant::now(), state: Mutex::default(), phase }
    }

    /// One more has completed.
    pub(crate) fn completed(&self, latency: Duration) {
        let now = Instant::now();
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(began) = state.began else {
            state.warmed_up += 1;
            let waited = now.duration_since(self.created) >= self.plan.warm_up_time;
            if state.warmed_up >= self.plan.warm_up && waited {
                state.began = Some(now);
                self.phase.send_replace(Phase::Measuring);
            }
            return;
        };
        if state.seconds.is_some() {
            return;
        }
        state.latencies_ms.push(latency.as_secs_f64() * 1e3);
        let (count, elapsed) = (state.latencies_ms.len() as u64, now.duration_since(began));
        let enough = count >= self.plan.least && elapsed >= self.plan.time;
        if enough && count.is_multiple_of(self.plan.stride) {
            state.seconds = Some(elapsed.as_secs_f64());
            self.phase.send_replace(Phase::Over);
        }
    }

    pub(crate) fn is_over(&self) -> bool {
        *self.phase.borrow() == Phase::Over
    }

    /// Waits for a phase, or a later one.
    pub(crate) async fn reached(&self, phase: Phase) -> Result<()> {
        let mut phases = self.phase.subscribe();
        phases.wait_for(|now| *now >= phase).await.context("the meter is gone")?;
        Ok(())
    }

    /// # Errors
    /// Before it is over.
    pub(crate) fn figures(&self) -> Result<Figures> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let seconds = state.seconds.context("the load ended before enough was measured")?;
        let (p50_ms, p99_ms) = percentiles(&mut state.latencies_ms);
        Ok(Figures { completions: state.latencies_ms.len() as u64, seconds, p50_ms, p99_ms })
    }
}

/// The 50th and the 99th percentile; sorts.
pub(crate) fn percentiles(values: &mut [f64]) -> (f64, f64) {
    values.sort_by(f64::total_cmp);
    let at = |percent: usize| values.get(values.len() * percent / 100).copied();
    (at(50).unwrap_or(f64::NAN), at(99).unwrap_or(f64::NAN))
}

pub(crate) fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values = values.into_iter().collect::<Vec<_>>();
    percentiles(&mut values).0
}

#[expect(clippy::cast_precision_loss, reason = "what is counted here stays far below 2^52")]
pub(crate) fn float(count: u64) -> f64 {
    count as f64
}
