//! The ERP's worker: places orders and books invoices and payments in a system that is busy or loses its connection now and
//! then.

#[path = "office.rs"]
mod office;

use std::sync::Arc;

use baton_tests::ledger::Taken;
use baton_tests::purchase::{BLOCKED, ERRORS};
use baton_worker::{Context, Failure, Worker};
use office::Office;
use serde::{Deserialize, Serialize};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let erp = Arc::new(Office::open("orders")?);
    let books = Arc::clone(&erp);
    Worker::new("erp")
        .function("create-order", move |context: Context, request: Request| {
            let erp = Arc::clone(&erp);
            async move { create_order(&erp, &context, request).await }
        })
        .function("receive-invoice", |_: Context, invoice: Invoice| async move { Ok(invoice) })
        .function("book-payment", move |context: Context, payment: Payment| {
            let erp = Arc::clone(&books);
            async move { book_payment(&erp, &context, payment).await }
        })
        .run()
        .await?;
    Ok(())
}

#[derive(Deserialize)]
struct Request {
    requisition: String,
    supplier: String,
    amount_pennies: i64,
}

#[derive(Serialize)]
struct Order {
    number: String,
    supplier: String,
    amount_pennies: i64,
}

async fn create_order(
    erp: &Arc<Office>,
    context: &Context,
    request: Request,
) -> Result<Order, Failure> {
    if BLOCKED.contains(&request.supplier.as_str()) {
        return Err(Failure::terminal("supplier-blocked")
            .with_type(format!("{ERRORS}supplier-blocked"))
            .with_status(403)
            .with_detail(format!("nothing is ordered from {}", request.supplier)));
    }
    let trouble = trouble(&request.requisition);
    if trouble == Trouble::Busy && context.attempt() == 1 {
        return Err(Failure::retryable("the ERP is busy"));
    }
    let taken =
        erp.take(context, format!("order/{}", request.requisition), request.amount_pennies).await?;
    if trouble == Trouble::LosesConnection && matches!(taken, Taken::First(_)) {
        return Err(Failure::terminal("connection-lost")
            .with_type("https://open-workflow-specification.org/dsl/errors/types/communication")
            .with_status(503));
    }
    let order = taken.entry();
    Ok(Order {
        number: order.key,
        supplier: request.supplier,
        amount_pennies: order.amount_pennies,
    })
}

#[derive(PartialEq, Eq)]
enum Trouble {
    /// Turns the first attempt away; the engine makes another by itself.
    Busy,
    /// Takes the order and cannot say so; the workflow catches that and asks again.
    LosesConnection,
    None,
}

/// One requisition in six meets trouble, and the same ones every time.
fn trouble(requisition: &str) -> Trouble {
    let sum = requisition
        .bytes()
        .fold(0u32, |sum, byte| sum.wrapping_mul(31).wrapping_add(u32::from(byte)));
    match sum % 12 {
        3 => Trouble::Busy,
        7 => Trouble::LosesConnection,
        _ => Trouble::None,
    }
}

#[derive(Serialize, Deserialize)]
struct Invoice {
    order: String,
    number: String,
    amount_pennies: Option<i64>,
}

#[derive(Deserialize)]
struct Payment {
    invoice: String,
    payee: Payee,
    amount_pennies: i64,
}

#[derive(Deserialize)]
struct Payee {
    name: String,
    iban: String,
}

#[derive(Serialize)]
struct Booking {
    entry: String,
}

/// Writes down all that it is given of the payee.
async fn book_payment(
    erp: &Arc<Office>,
    context: &Context,
    payment: Payment,
) -> Result<Booking, Failure> {
    let Payment { invoice, payee: Payee { name, iban }, amount_pennies } = payment;
    let taken = erp.take(context, format!("{invoice}, {name}, {iban}"), amount_pennies).await?;
    Ok(Booking { entry: taken.entry().key })
}
