//! What policies, people and a kill switch have decided, each told in one line.

use std::path::{Path, PathBuf};

use anyhow::Result;
use baton_tests::{Cluster, settings};
use serde::Serialize;

use crate::baton::{self, Backtest};
use crate::drive::Run;
use crate::figures::{Check, check};
use crate::invoices::{self, Approval, Denial, Mask};
use crate::report::{grouped, pounds};
use crate::switch::{Switch, Thrown};

/// The set that the backtest tries out.
const STRICTER: &str = "policies-stricter";

/// All of it, in the order in which it is told.
#[derive(Debug, Serialize)]
pub(crate) struct Governed {
    pub(crate) approval: Approval,
    pub(crate) denial: Denial,
    pub(crate) mask: Mask,
    pub(crate) switch: Switch,
    pub(crate) backtest: Backtest,
}

/// The folder of the policies that the engine asks.
pub(crate) fn policies() -> PathBuf {
    folder("policies")
}

fn folder(name: &str) -> PathBuf {
    settings::root().join("tests/demo").join(name)
}

/// Has two invoices paid or not, and then everything asked again that was asked until now.
pub(crate) async fn show(
    cluster: &Cluster,
    ledgers: &Path,
    thrown: Thrown,
    runs: &[Run],
) -> Result<Governed> {
    let (approval, denial, mask) = invoices::pay(&cluster.batond.url(), ledgers).await?;
    let backtest = baton::backtest(cluster, &folder(STRICTER)).await?;
    Ok(Governed { approval, denial, mask, switch: Switch::new(thrown, runs), backtest })
}

impl Governed {
    /// An approval, a denial, a masked field, a kill-switch drill and a backtest.
    pub(crate) fn lines(&self) -> [String; 5] {
        let Self { approval, denial, mask, switch, backtest } = self;
        [
            format!("approval  {}", approved(approval)),
            format!("denial    {}", denied(denial)),
            format!("mask      {}", masked(mask)),
            format!("drill     {}", drilled(switch)),
            format!("backtest  {}", backtested(backtest)),
        ]
    }

    pub(crate) fn checks(&self) -> Vec<Check> {
        let Self { approval, denial, mask, switch, .. } = self;
        vec![
            check(
                "paid after the approval",
                pounds(approval.payment.amount_pennies),
                pounds(approval.bank.paid_pennies),
            ),
            check("the bank was asked for what is denied", 0, denial.bank.asked),
            check(
                "the masked field came to its worker",
                0,
                mask.booked.matches(&mask.value).count(),
            ),
            check("ended while the kill switch was thrown", 0, switch.ended_meanwhile),
        ]
    }
}

fn approved(approval: &Approval) -> String {
    let Approval { payment, asked, started_by, refused, group, approved_by, bank } = approval;
    format!(
        "{} of {} needed {group} ({}): {}, who wanted it, was refused ({refused}), {} approved, the bank paid {}",
        asked.function,
        pounds(payment.amount_pennies),
        asked.policies.join(", "),
        name(started_by),
        name(approved_by),
        pounds(bank.paid_pennies),
    )
}

fn denied(denial: &Denial) -> String {
    let Denial { payment, asked, error, status, bank } = denial;
    format!(
        "{} of {} was forbidden ({}): the step failed ({error}, {status}), the bank was asked {}",
        asked.function,
        pounds(payment.amount_pennies),
        asked.policies.join(", "),
        times(bank.asked),
    )
}

fn masked(mask: &Mask) -> String {
    let Mask { asked, field, value, booked } = mask;
    format!(
        "{} was not given the {field} ({}): its worker wrote down \"{booked}\", not {value}",
        asked.function,
        asked.policies.join(", "),
    )
}

fn drilled(switch: &Switch) -> String {
    let Switch { scope, drilled_by, would_stop, known_ms, stopped, stop_ms, .. } = switch;
    let Switch { late, rearmed_by, went_on, .. } = switch;
    format!(
        "{} asked what a kill switch for {scope} would stop: {}, known in {known_ms} ms; thrown, it stopped {stopped} in {stop_ms} ms and kept {late} late {} out; {} let all {went_on} that waited by then go on",
        name(drilled_by),
        steps(*would_stop),
        if *late == 1 { "result" } else { "results" },
        name(rearmed_by),
    )
}

fn backtested(backtest: &Backtest) -> String {
    let Backtest { decisions, same, approvals_added, amount, .. } = backtest;
    let more = |(group, count): (&String, &u64)| {
        format!("{group} would be asked {} times more", grouped(*count))
    };
    let asked: Vec<_> = approvals_added.iter().map(more).collect();
    let nobody = || "nobody would be asked more often".to_owned();
    let asked = if asked.is_empty() { nobody() } else { asked.join(", ") };
    format!(
        "{STRICTER} would change {} of {} decisions: {asked}, for £{} in all",
        grouped(decisions - same),
        grouped(*decisions),
        grouped(amount.unsigned_abs()),
    )
}

/// The engine says what somebody is, too: `person dora`.
fn name(caller: &str) -> &str {
    caller.strip_prefix("person ").unwrap_or(caller)
}

fn steps(count: u64) -> String {
    if count == 1 { "1 step".to_owned() } else { format!("{count} steps") }
}

fn times(count: usize) -> String {
    if count == 1 { "once".to_owned() } else { format!("{count} times") }
}
