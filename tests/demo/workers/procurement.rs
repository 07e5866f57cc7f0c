//! Procurement's worker: says whether a requisition makes sense, and takes in the goods.

#[path = "office.rs"]
mod office;

use std::sync::Arc;

use baton_worker::{Context, Failure, Worker};
use office::Office;
use serde::{Deserialize, Serialize};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let store = Arc::new(Office::open("receipts")?);
    Worker::new("procurement")
        .function("validate", |_: Context, request: Request| async move { Ok(validate(&request)) })
        .function("receive-goods", move |context: Context, delivery: Delivery| {
            let store = Arc::clone(&store);
            async move { receive_goods(&store, &context, delivery).await }
        })
        .run()
        .await?;
    Ok(())
}

#[derive(Deserialize)]
struct Request {
    supplier: String,
    amount_pennies: Option<i64>,
    currency: String,
    date: String,
}

#[derive(Serialize)]
struct Check {
    valid: bool,
    reason: &'static str,
}

fn validate(request: &Request) -> Check {
    let reason = match request.amount_pennies {
        _ if request.supplier.trim().is_empty() => "supplier-missing",
        None => "amount-unreadable",
        Some(amount) if amount <= 0 => "amount-not-positive",
        Some(_) if request.currency != "GBP" => "currency-unknown",
        Some(_) if !is_date(&request.date) => "date-invalid",
        Some(_) => return Check { valid: true, reason: "" },
    };
    Check { valid: false, reason }
}

/// `YYYY-MM-DD`, with a month and a day that exist somewhere.
fn is_date(text: &str) -> bool {
    let parts = text.split('-').collect::<Vec<_>>();
    let [year, month, day] = parts.as_slice() else { return false };
    let digits =
        |text: &str, length| text.len() == length && text.bytes().all(|byte| byte.is_ascii_digit());
    digits(year, 4)
        && digits(month, 2)
        && digits(day, 2)
        && ("01"..="12").contains(month)
        && ("01"..="31").contains(day)
}

#[derive(Deserialize)]
struct Delivery {
    order: String,
    quantity: u32,
}

#[derive(Serialize)]
struct Receipt {
    order: String,
    quantity: u32,
}

async fn receive_goods(
    store: &Arc<Office>,
    context: &Context,
    delivery: Delivery,
) -> Result<Receipt, Failure> {
    store.take(context, format!("receipt/{}", delivery.order), 0).await?;
    Ok(Receipt { order: delivery.order, quantity: delivery.quantity })
}
