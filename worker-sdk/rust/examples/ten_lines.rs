//! A worker of the finance department: `BATON_NATS_URL=nats://127.0.0.1:4222 cargo run --example ten_lines`.

use baton_worker::{Context, Failure, Worker};
use serde_json::{Value, json};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    tracing_subscriber::fmt().init();
    let worker =
        Worker::new("finance").function("check-budget", |_: Context, order: Value| async move {
            let amount = order["amount"]
                .as_u64()
                .ok_or_else(|| Failure::terminal("the order has no amount"))?;
            Ok(json!({ "ok": amount < 10_000 }))
        });
    Ok(worker.run().await?)
}
