//! The figures as people read them.

use std::io::{self, Write};

use comfy_table::{CellAlignment, Table, presets::UTF8_FULL_CONDENSED};

use crate::drive::Run;
use crate::expected::expected;
use crate::figures::Figures;
use crate::governed::Governed;

/// How many of a long list are shown.
const SHOWN: usize = 10;

pub(crate) fn write(
    out: &mut impl Write,
    figures: &Figures,
    governed: &Governed,
    runs: &[Run],
) -> io::Result<()> {
    writeln!(out, "\n{}", summary(figures))?;
    writeln!(out, "\nWhat the outside systems did\n{}", effects(figures))?;
    if !figures.mismatches.is_empty() {
        writeln!(out, "\nMismatches found: {}\n{}", figures.mismatches.len(), mismatches(figures))?;
        more(out, figures.mismatches.len())?;
    }
    writeln!(out, "\nWhat policies, people and a kill switch decided")?;
    for line in governed.lines() {
        writeln!(out, "{line}")?;
    }
    writeln!(out, "\nDoes it add up?\n{}", checks(figures))?;
    surprises(out, runs)
}

/// `£1,234.56`.
pub(crate) fn pounds(pennies: i64) -> String {
    let sign = if pennies < 0 { "-" } else { "" };
    let pennies = pennies.unsigned_abs();
    format!("{sign}£{}.{:02}", grouped(pennies / 100), pennies % 100)
}

/// `1,234`.
pub(crate) fn grouped(count: u64) -> String {
    let digits = count.to_string();
    let mut grouped = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

fn summary(figures: &Figures) -> Table {
    let mut table = table(&["Purchase to pay", ""], &[1]);
    let mut row = |what: &str, value: String| {
        table.add_row([what.to_owned(), value]);
    };
    row("rows in the file", figures.rows.to_string());
    row("requisitions", figures.requisitions.to_string());
    row("repeated rows that met their instance", figures.repeats_answered.to_string());
    row("repeated rows that said something else: refused", figures.repeats_refused.to_string());
    for (outcome, label) in [
        ("paid", "completed: paid"),
        ("refused", "refused"),
        ("escalated", "escalated"),
        ("faulted", "faulted"),
    ] {
        row(label, figures.outcomes.get(outcome).copied().unwrap_or(0).to_string());
    }
    for (reason, count) in &figures.reasons {
        row(&format!("    {reason}"), count.to_string());
    }
    row("sum paid", pounds(figures.paid_pennies));
    row("all in", format!("{} ms", figures.elapsed_ms));
    let after =
        |ms: Option<i64>| ms.map_or_else(|| "none was left".to_owned(), |ms| format!("{ms} ms"));
    row("batond killed: ready again after", format!("{} ms", figures.engine_ready_after_ms));
    row("batond killed: next instance ended after", after(figures.engine_first_end_after_ms));
    row(
        "batond killed: all that were under way ended after",
        after(figures.engine_last_end_after_ms),
    );
    row("worker killed: next instance ended after", after(figures.worker_first_end_after_ms));
    row(
        "worker killed: all that were under way ended after",
        after(figures.worker_last_end_after_ms),
    );
    table
}

fn effects(figures: &Figures) -> Table {
    let mut table =
        table(&["effect", "once", "twice", "asked again and refused", "sum"], &[1, 2, 3, 4]);
    for effects in &figures.effects {
        table.add_row([
            effects.name.to_owned(),
            effects.done.to_string(),
            effects.doubled.to_string(),
            effects.refused.to_string(),
            pounds(effects.pennies),
        ]);
    }
    table
}

fn mismatches(figures: &Figures) -> Table {
    let mut table = table(&["requisition", "supplier", "why", "ordered", "invoiced"], &[3, 4]);
    let amount = |pennies: Option<i64>| pennies.map_or_else(|| "unreadable".to_owned(), pounds);
    for mismatch in figures.mismatches.iter().take(SHOWN) {
        table.add_row([
            mismatch.id.clone(),
            mismatch.supplier.clone(),
            mismatch.reason.clone(),
            amount(mismatch.ordered_pennies),
            amount(mismatch.invoiced_pennies),
        ]);
    }
    table
}

fn checks(figures: &Figures) -> Table {
    let mut table = table(&["", "what", "wanted", "found"], &[2, 3]);
    for check in &figures.checks {
        let mark = if check.ok { "✔" } else { "✘" };
        table.add_row([
            mark.to_owned(),
            check.what.clone(),
            check.wanted.clone(),
            check.found.clone(),
        ]);
    }
    table
}

/// Runs that did not end as their rows demand.
fn surprises(out: &mut impl Write, runs: &[Run]) -> io::Result<()> {
    let mut count = 0;
    for run in runs {
        let wanted = expected(&run.row).outcome;
        let found = match &run.outcome {
            Ok(found) if (&found.end, &found.reason) == (&wanted.end, &wanted.reason) => {
                continue;
            }
            Ok(found) => format!(
                "{} ({}) {}",
                found.end,
                found.reason,
                found.detail.as_deref().unwrap_or_default()
            ),
            Err(why) => why.clone(),
        };
        count += 1;
        if count <= SHOWN {
            let Run { row, id, .. } = run;
            writeln!(
                out,
                "  {} ({id}): {} ({}) was wanted, not {found}",
                row.id, wanted.end, wanted.reason
            )?;
        }
    }
    more(out, count)
}

fn more(out: &mut impl Write, count: usize) -> io::Result<()> {
    match count.checked_sub(SHOWN) {
        None | Some(0) => Ok(()),
        Some(rest) => writeln!(out, "… and {rest} more"),
    }
}

fn table(header: &[&str], right: &[usize]) -> Table {
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED).set_header(header);
    for column in right {
        if let Some(column) = table.column_mut(*column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pounds_are_grouped_and_pennies_kept() {
        assert_eq!(pounds(123_456_789), "£1,234,567.89");
        assert_eq!(pounds(-7), "-£0.07");
        assert_eq!(pounds(100_000), "£1,000.00");
    }
}
