//! What must become of each requisition, worked out from the file alone: the report is held against it.

use std::collections::HashMap;

use baton_tests::purchase::{BLOCKED, LIMIT_OTHERWISE, LIMITS, Requisition, TOLERANCE};
use serde::Deserialize;

/// The end of a purchase: also the shape of the workflow's output.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(crate) struct Outcome {
    /// `paid`, `refused` or `escalated`.
    #[serde(rename = "outcome")]
    pub(crate) end: String,
    pub(crate) reason: String,
    pub(crate) amount_pennies: i64,
    pub(crate) detail: Option<String>,
}

/// One requisition is decided by the first row that has its id; later rows are repeats of it.
pub(crate) struct Plan {
    pub(crate) firsts: Vec<Requisition>,
    pub(crate) repeats: Vec<Requisition>,
}

impl Plan {
    pub(crate) fn new(rows: Vec<Requisition>) -> Self {
        let mut plan = Self { firsts: Vec::new(), repeats: Vec::new() };
        let mut seen = std::collections::HashSet::new();
        for row in rows {
            let list =
                if seen.insert(row.id.clone()) { &mut plan.firsts } else { &mut plan.repeats };
            list.push(row);
        }
        plan
    }

    /// Whether a repeat says something else than the first row of its id did: such a row must be refused.
    pub(crate) fn conflicts(&self) -> Vec<bool> {
        let firsts =
            self.firsts.iter().map(|row| (row.id.as_str(), row)).collect::<HashMap<_, _>>();
        self.repeats.iter().map(|row| firsts.get(row.id.as_str()) != Some(&row)).collect()
    }
}

/// How far a requisition must get.
pub(crate) struct Expected {
    pub(crate) outcome: Outcome,
    pub(crate) ordered: bool,
}

pub(crate) fn expected(row: &Requisition) -> Expected {
    let ends = |end: &str, reason: &str, ordered| Expected {
        outcome: Outcome {
            end: end.to_owned(),
            reason: reason.to_owned(),
            amount_pennies: 0,
            detail: None,
        },
        ordered,
    };
    if row.supplier.trim().is_empty() {
        return ends("refused", "supplier-missing", false);
    }
    let Some(amount) = row.amount_pennies else {
        return ends("refused", "amount-unreadable", false);
    };
    if amount <= 0 {
        return ends("refused", "amount-not-positive", false);
    }
    if row.currency != "GBP" {
        return ends("refused", "currency-unknown", false);
    }
    if !is_a_day(&row.date) {
        return ends("refused", "date-invalid", false);
    }
    let limits = HashMap::from(LIMITS);
    if amount > *limits.get(row.cost_centre.as_str()).unwrap_or(&LIMIT_OTHERWISE) {
        return ends("escalated", "over-limit", false);
    }
    if BLOCKED.iter().any(|blocked| *blocked == row.supplier) {
        return ends("refused", "supplier-blocked", false);
    }
    let Some(invoice) = row.invoice_amount_pennies else {
        return ends("escalated", "invoice-unreadable", true);
    };
    if row.quantity != row.received_quantity {
        return ends("escalated", "goods-differ", true);
    }
    let apart = invoice.saturating_sub(amount).saturating_abs();
    if apart > TOLERANCE || apart > amount / 100 {
        return ends("escalated", "invoice-differs", true);
    }
    let mut paid = ends("paid", "matched", true);
    paid.outcome.amount_pennies = invoice;
    paid
}

fn is_a_day(text: &str) -> bool {
    let form = text.bytes().enumerate().all(|(place, byte)| match place {
        4 | 7 => byte == b'-',
        _ => byte.is_ascii_digit(),
    });
    let number = |from: usize| {
        text.get(from..from + 2).and_then(|part| part.parse::<u8>().ok()).unwrap_or(0)
    };
    text.len() == 10 && form && (1..=12).contains(&number(5)) && (1..=31).contains(&number(8))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn our_own_file_meets_every_end_that_there_is() {
        let file = baton_tests::settings::root().join("tests/demo/requisitions.csv");
        let plan = Plan::new(crate::rows::read(&file).unwrap());
        let reasons =
            plan.firsts.iter().map(|row| expected(row).outcome.reason).collect::<BTreeSet<_>>();
        let wanted = [
            "amount-not-positive",
            "amount-unreadable",
            "currency-unknown",
            "date-invalid",
            "goods-differ",
            "invoice-differs",
            "invoice-unreadable",
            "matched",
            "over-limit",
            "supplier-blocked",
            "supplier-missing",
        ];
        assert_eq!(reasons, wanted.map(ToOwned::to_owned).into());
        assert_eq!(plan.conflicts().iter().filter(|conflict| **conflict).count(), 2);
        assert_eq!(plan.repeats.len(), 14);
        assert!(plan.firsts.len() >= 200);
    }
}
