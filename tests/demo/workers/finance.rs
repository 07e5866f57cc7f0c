//! Finance's worker: guards the budget, compares order, goods and invoice, and pays.

#[path = "office.rs"]
mod office;

use std::sync::Arc;

use baton_tests::purchase::{LIMIT_OTHERWISE, LIMITS, TOLERANCE};
use baton_worker::{Context, Failure, Worker};
use office::Office;
use serde::{Deserialize, Serialize};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let bank = Arc::new(Office::open("payments")?);
    Worker::new("finance")
        .function("check-budget", |_: Context, request: Request| async move {
            Ok(check_budget(&request))
        })
        .function("match-invoice", |_: Context, papers: Papers| async move {
            Ok(match_invoice(&papers))
        })
        .function("pay", move |context: Context, order: PaymentOrder| {
            let bank = Arc::clone(&bank);
            async move { pay(&bank, &context, order).await }
        })
        .run()
        .await?;
    Ok(())
}

#[derive(Deserialize)]
struct Request {
    cost_centre: String,
    amount_pennies: i64,
}

#[derive(Serialize)]
struct Verdict {
    approved: bool,
    limit_pennies: i64,
}

fn check_budget(request: &Request) -> Verdict {
    let own = LIMITS.iter().find(|(cost_centre, _)| *cost_centre == request.cost_centre);
    let limit_pennies = own.map_or(LIMIT_OTHERWISE, |(_, limit)| *limit);
    Verdict { approved: request.amount_pennies <= limit_pennies, limit_pennies }
}

#[derive(Deserialize)]
struct Papers {
    ordered_quantity: u32,
    received_quantity: u32,
    ordered_pennies: i64,
    invoiced_pennies: Option<i64>,
}

#[derive(Serialize)]
struct Match {
    matched: bool,
    reason: &'static str,
    difference_pennies: i64,
}

fn match_invoice(papers: &Papers) -> Match {
    let difference_pennies =
        papers.invoiced_pennies.unwrap_or(0).saturating_sub(papers.ordered_pennies);
    let tolerance = TOLERANCE.min(papers.ordered_pennies / 100);
    let reason = if papers.invoiced_pennies.is_none() {
        "invoice-unreadable"
    } else if papers.received_quantity != papers.ordered_quantity {
        "goods-differ"
    } else if difference_pennies.saturating_abs() > tolerance {
        "invoice-differs"
    } else {
        ""
    };
    Match { matched: reason.is_empty(), reason, difference_pennies }
}

#[derive(Deserialize)]
struct PaymentOrder {
    effect_key: String,
    supplier: String,
    amount_pennies: i64,
}

#[derive(Serialize)]
struct Paid {
    payment: String,
    supplier: String,
    amount_pennies: i64,
}

async fn pay(bank: &Arc<Office>, context: &Context, order: PaymentOrder) -> Result<Paid, Failure> {
    // What the bank has paid under this key stands, whatever is asked for now.
    let paid = bank.take(context, order.effect_key.clone(), order.amount_pennies).await?.entry();
    Ok(Paid {
        payment: format!("payment/{}", order.effect_key),
        supplier: order.supplier,
        amount_pennies: paid.amount_pennies,
    })
}
