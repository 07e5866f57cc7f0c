//! The worker of the measurements, in a process of its own: the bare loop's or one built on Baton's SDK, which do the same.

mod bare;
mod bare_worker;

use anyhow::{Context as _, Result};
use baton_tests::settings;
use baton_worker::{Context, Worker};
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
struct Payment {
    n: u64,
    pad: String,
}

/// `BENCH_WORKER=bare` makes it the bare loop's.
#[tokio::main]
async fn main() -> Result<()> {
    tracing_subscriber::fmt().with_ansi(false).init();
    if settings::variable("BENCH_WORKER").is_some_and(|mode| mode == "bare") {
        let url =
            settings::variable("BATON_NATS_URL").context("BATON_NATS_URL says where NATS is")?;
        return bare_worker::run(&url.to_string_lossy()).await;
    }
    Worker::new("finance")
        .function("pay", |_: Context, payment: Payment| async move {
            Ok(Payment { n: payment.n + 1, pad: payment.pad })
        })
        .run()
        .await?;
    Ok(())
}
