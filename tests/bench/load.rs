//! The three loads, the same for the bare loop and the engine.

use std::fmt::Write as _;
use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::task::JoinSet;

use crate::meter::{Figures, Plan, float};

pub(crate) const PARTITIONS: u16 = 2;

pub(crate) const NAMESPACE: &str = "finance";

/// Every payload carries so many bytes that mean nothing.
const PAD_BYTES: usize = 200;

const STEPS: u32 = 5;
const BRANCHES: usize = 1_000;

/// A round that has not ended by then never will.
const ROUND_MAX: Duration = Duration::from_secs(180);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Load {
    /// 1,000 instances of five steps at any time.
    Full,
    /// One instance of five steps after the other.
    Alone,
    /// One instance after the other, each of 1,000 steps that all go out at once.
    FanOut,
}

impl Load {
    /// Instances in flight; the bare loop has no instances of many steps at once, and has many instances instead.
    pub(crate) fn in_flight(self) -> usize {
        match self {
            Self::Full | Self::FanOut => 1_000,
            Self::Alone => 1,
        }
    }

    /// One after another.
    pub(crate) fn steps(self) -> u32 {
        match self {
            Self::Full | Self::Alone => STEPS,
            Self::FanOut => 1,
        }
    }

    /// Steps behind one completion.
    fn steps_a_completion(self) -> u32 {
        match self {
            Self::Full | Self::Alone => STEPS,
            Self::FanOut => 1_000,
        }
    }

    /// All steps behind what was measured.
    pub(crate) fn steps_of(self, figures: &Figures) -> f64 {
        float(figures.completions) * f64::from(self.steps_a_completion())
    }

    /// How much is measured.
    pub(crate) fn plan(self, quick: bool) -> Plan {
        let seconds = |long, short| Duration::from_secs(if quick { short } else { long });
        let count = |long, short| if quick { short } else { long };
        match self {
            Self::Full => Plan {
                warm_up: 2_000,
                warm_up_time: seconds(2, 1),
                least: 1_000,
                time: seconds(7, 3),
                stride: 1_000,
            },
            Self::Alone => Plan {
                warm_up: 50,
                warm_up_time: Duration::ZERO,
                least: count(300, 100),
                time: Duration::ZERO,
                stride: 1,
            },
            Self::FanOut => Plan {
                warm_up: 2,
                warm_up_time: Duration::ZERO,
                least: count(9, 3),
                time: Duration::ZERO,
                stride: 1,
            },
        }
    }

    pub(crate) fn workflow(self) -> String {
        match self {
            Self::Full | Self::Alone => sequence(),
            Self::FanOut => fan_out(),
        }
    }

    pub(crate) fn workflow_name(self) -> &'static str {
        match self {
            Self::Full | Self::Alone => "five-payments",
            Self::FanOut => "thousand-payments",
        }
    }
}

pub(crate) fn pad() -> String {
    "x".repeat(PAD_BYTES)
}

/// What an instance begins with: no two of one engine are about the same amount.
pub(crate) fn input(number: u64) -> String {
    format!(r#"{{"n":0,"amount":{number},"pad":"{}"}}"#, pad())
}

/// Waits until all have ended by themselves.
///
/// # Errors
/// The first of one of them, and when they take too long.
pub(crate) async fn all(mut tasks: JoinSet<Result<()>>) -> Result<()> {
    let ended = async {
        while let Some(ended) = tasks.join_next().await {
            ended.context("a task of the load")??;
        }
        Ok(())
    };
    tokio::time::timeout(ROUND_MAX, ended).await.context("the round does not end")?
}

const CALL: &str = r"{ call: finance.pay, with: { n: '${ .n }', pad: '${ .pad }' } }";

/// What its steps show to policies: of no account as long as none count.
const FACTS: &str = "{ amount: '${ $workflow.input.amount }', classes: [internal], confidence: 90, destination: inside }";

fn head(name: &str) -> String {
    format!(
        "document:\n  dsl: '1.0.3'\n  namespace: {NAMESPACE}\n  name: {name}\n  version: '1.0.0'\n  metadata: {{ facts: {FACTS} }}\ndo:\n"
    )
}

fn sequence() -> String {
    let mut text = head(Load::Full.workflow_name());
    for step in 1..=STEPS {
        let _ = writeln!(text, "  - pay{step}: {CALL}");
    }
    text
}

fn fan_out() -> String {
    let mut text = head(Load::FanOut.workflow_name());
    text.push_str("  - all:\n      fork:\n        branches:\n");
    for branch in 1..=BRANCHES {
        let _ = writeln!(text, "          - pay{branch}: {CALL}");
    }
    text
}
