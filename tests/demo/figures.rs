//! What the demo counted, and whether it adds up.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;

use anyhow::Result;
use baton_tests::ledger::{self, Entry};
use serde::Serialize;

use crate::drive::{Kill, Repeat, Run};
use crate::expected::expected;

/// All of it, as `--json` writes it.
#[derive(Debug, Serialize)]
pub(crate) struct Figures {
    pub(crate) rows: usize,
    pub(crate) requisitions: usize,
    pub(crate) repeats_answered: usize,
    pub(crate) repeats_refused: usize,
    /// By how they ended: `paid`, `refused`, `escalated`, `faulted`.
    pub(crate) outcomes: BTreeMap<String, usize>,
    /// By why, of those that were not paid.
    pub(crate) reasons: BTreeMap<String, usize>,
    pub(crate) mismatches: Vec<Mismatch>,
    pub(crate) effects: Vec<Effects>,
    /// Pennies of each payment of the bank.
    pub(crate) payments: Vec<i64>,
    pub(crate) paid_pennies: i64,
    pub(crate) expected_pennies: i64,
    pub(crate) elapsed_ms: i64,
    pub(crate) engine_ready_after_ms: i64,
    pub(crate) engine_first_end_after_ms: Option<i64>,
    /// When the last instance ended that was under way at the kill.
    pub(crate) engine_last_end_after_ms: Option<i64>,
    pub(crate) worker_first_end_after_ms: Option<i64>,
    pub(crate) worker_last_end_after_ms: Option<i64>,
    pub(crate) checks: Vec<Check>,
}

/// Order, goods and invoice do not agree.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Mismatch {
    pub(crate) id: String,
    pub(crate) supplier: String,
    pub(crate) reason: String,
    pub(crate) ordered_pennies: Option<i64>,
    pub(crate) invoiced_pennies: Option<i64>,
}

/// What an outside system was asked to do.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Effects {
    pub(crate) name: &'static str,
    /// Different keys that it took.
    pub(crate) done: usize,
    /// Keys that it took more than once: what must not be.
    pub(crate) doubled: usize,
    /// Times that it was asked again and said no.
    pub(crate) refused: usize,
    pub(crate) pennies: i64,
}

/// A sum that must come out.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Check {
    pub(crate) what: String,
    pub(crate) wanted: String,
    pub(crate) found: String,
    pub(crate) ok: bool,
}

/// What there is to count.
pub(crate) struct Material<'a> {
    pub(crate) runs: &'a [Run],
    pub(crate) repeats: &'a [Repeat],
    /// Which of the repeats say something else than the first.
    pub(crate) conflicts: &'a [bool],
    pub(crate) ledgers: &'a Path,
    /// Ids of all instances that the engine knows.
    pub(crate) listed: &'a [String],
    pub(crate) engine: &'a Kill,
    pub(crate) worker: &'a Kill,
}

pub(crate) fn count(material: &Material<'_>) -> Result<Figures> {
    let runs = material.runs;
    let book = |file: &str| ledger::entries(&material.ledgers.join(format!("{file}.jsonl")));
    let payments = book("payments")?;
    let effects = vec![
        tally("orders placed", &book("orders")?),
        tally("goods taken in", &book("receipts")?),
        tally("invoices paid", &payments),
    ];
    let payments = payments.iter().filter(|entry| !entry.refused);
    let mut outcomes = BTreeMap::new();
    let mut reasons = BTreeMap::new();
    for run in runs {
        let name = run.outcome.as_ref().map_or("faulted", |outcome| outcome.end.as_str());
        *outcomes.entry(name.to_owned()).or_insert(0) += 1;
        if name != "paid" {
            let reason =
                run.outcome.as_ref().map_or_else(Clone::clone, |outcome| outcome.reason.clone());
            *reasons.entry(reason).or_insert(0) += 1;
        }
    }
    let repeated =
        |wanted: Repeat| material.repeats.iter().filter(|repeat| **repeat == wanted).count();
    let expected_runs = runs.iter().map(|run| expected(&run.row)).collect::<Vec<_>>();
    let since = |from: i64, to: Option<i64>| to.map(|to| to - from);
    let ends = runs.iter().map(|run| run.ended_ms).max().unwrap_or(0);
    let begins = runs.iter().map(|run| run.started_ms).min().unwrap_or(0);
    let mut figures = Figures {
        rows: runs.len() + material.repeats.len(),
        requisitions: runs.len(),
        repeats_answered: repeated(Repeat::Same),
        repeats_refused: repeated(Repeat::Conflict),
        outcomes,
        reasons,
        mismatches: mismatches(runs),
        effects,
        payments: payments.map(|entry| entry.amount_pennies).collect(),
        paid_pennies: runs
            .iter()
            .filter_map(|run| run.outcome.as_ref().ok())
            .map(|outcome| outcome.amount_pennies)
            .sum(),
        expected_pennies: expected_runs
            .iter()
            .map(|expected| expected.outcome.amount_pennies)
            .sum(),
        elapsed_ms: ends - begins,
        engine_ready_after_ms: material.engine.ready - material.engine.restarted,
        engine_first_end_after_ms: since(material.engine.restarted, material.engine.first_end),
        engine_last_end_after_ms: last_end(runs, material.engine),
        worker_first_end_after_ms: since(material.worker.restarted, material.worker.first_end),
        worker_last_end_after_ms: last_end(runs, material.worker),
        checks: Vec::new(),
    };
    let orders = expected_runs.iter().filter(|expected| expected.ordered).count();
    let payments = expected_runs.iter().filter(|expected| expected.outcome.end == "paid").count();
    figures.checks = checks(&figures, material, [orders, orders, payments]);
    Ok(figures)
}

impl Figures {
    pub(crate) fn adds_up(&self) -> bool {
        self.checks.iter().all(|check| check.ok)
    }
}

fn last_end(runs: &[Run], kill: &Kill) -> Option<i64> {
    let under_way =
        runs.iter().filter(|run| run.started_ms < kill.killed && run.ended_ms > kill.restarted);
    under_way.map(|run| run.ended_ms - kill.restarted).max()
}

fn tally(name: &'static str, entries: &[Entry]) -> Effects {
    let mut seen = HashSet::new();
    let done = entries.iter().filter(|entry| !entry.refused).collect::<Vec<_>>();
    let doubled = done.iter().filter(|entry| !seen.insert(entry.key.as_str())).count();
    Effects {
        name,
        done: seen.len(),
        doubled,
        refused: entries.len() - done.len(),
        pennies: done.iter().map(|entry| entry.amount_pennies).sum(),
    }
}

fn mismatches(runs: &[Run]) -> Vec<Mismatch> {
    let mut found = Vec::new();
    for run in runs {
        let Ok(outcome) = &run.outcome else { continue };
        if ["invoice-differs", "invoice-unreadable", "goods-differ"]
            .contains(&outcome.reason.as_str())
        {
            found.push(Mismatch {
                id: run.row.id.clone(),
                supplier: run.row.supplier.clone(),
                reason: outcome.reason.clone(),
                ordered_pennies: run.row.amount_pennies,
                invoiced_pennies: run.row.invoice_amount_pennies,
            });
        }
    }
    found.sort_by(|a, b| a.id.cmp(&b.id));
    found
}

fn checks(figures: &Figures, material: &Material<'_>, effects: [usize; 3]) -> Vec<Check> {
    let as_expected = material.runs.iter().filter(|run| {
        let wanted = expected(&run.row).outcome;
        run.outcome.as_ref().is_ok_and(|found| {
            (&found.end, &found.reason, found.amount_pennies)
                == (&wanted.end, &wanted.reason, wanted.amount_pennies)
        })
    });
    let wanted_repeats = material
        .conflicts
        .iter()
        .map(|conflict| if *conflict { Repeat::Conflict } else { Repeat::Same });
    let repeats = material
        .repeats
        .iter()
        .copied()
        .zip(wanted_repeats)
        .filter(|(found, wanted)| found == wanted)
        .count();
    let ids = material.runs.iter().map(|run| run.id.as_str()).collect::<HashSet<_>>();
    let listed = material.listed.iter().map(String::as_str).collect::<HashSet<_>>();
    let mut checks = vec![
        check(
            "every requisition ended as its row demands",
            figures.requisitions,
            as_expected.count(),
        ),
        check("every repeated row met the first one's instance", material.repeats.len(), repeats),
        check(
            "the engine knows these instances",
            figures.requisitions,
            ids.intersection(&listed).count(),
        ),
        check("and no others", 0, listed.difference(&ids).count()),
    ];
    for (effects, wanted) in figures.effects.iter().zip(effects) {
        checks.push(check(effects.name, wanted, effects.done));
        checks.push(check(&format!("{} twice", effects.name), 0, effects.doubled));
    }
    let bank = figures.effects.last().map_or(0, |payments| payments.pennies);
    let pounds = |pennies| crate::report::pounds(pennies);
    checks.push(check(
        "sum paid, by the workflows",
        pounds(figures.expected_pennies),
        pounds(figures.paid_pennies),
    ));
    checks.push(check("sum paid, by the bank", pounds(figures.expected_pennies), pounds(bank)));
    checks
}

#[expect(clippy::needless_pass_by_value, reason = "sums are small, and the calls read better")]
pub(crate) fn check<T: PartialEq + ToString>(what: &str, wanted: T, found: T) -> Check {
    let ok = wanted == found;
    Check { what: what.to_owned(), wanted: wanted.to_string(), found: found.to_string(), ok }
}
