//! What every department of the demo has: a log, a pace, and the book of the outside system that it works with.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use baton_tests::ledger::{Entry, Ledger, Taken};
use baton_tests::settings;
use baton_worker::{Context, Failure};

/// How long an outside system takes to answer: long enough for a kill to find work that was done and not yet reported.
const PACE: Duration = Duration::from_millis(20);

/// A book of the folder that `DEMO_LEDGERS` names.
pub(crate) struct Office {
    ledger: Ledger,
}

impl Office {
    pub(crate) fn open(name: &str) -> anyhow::Result<Self> {
        tracing_subscriber::fmt().with_ansi(false).init();
        let folder = settings::variable("DEMO_LEDGERS")
            .context("DEMO_LEDGERS names the folder of the books")?;
        let ledger = Ledger::open(&PathBuf::from(folder).join(format!("{name}.jsonl")))?;
        Ok(Self { ledger })
    }

    /// Has the effect, or finds that it was had before.
    pub(crate) async fn take(
        self: &Arc<Self>,
        context: &Context,
        key: String,
        amount_pennies: i64,
    ) -> Result<Taken, Failure> {
        let entry = Entry {
            key,
            amount_pennies,
            attempt: context.attempt(),
            idempotency_key: context.idempotency_key().to_owned(),
            refused: false,
        };
        let office = Arc::clone(self);
        // The disk may take its time; other steps go on meanwhile.
        let taken = tokio::task::spawn_blocking(move || office.ledger.take(entry)).await??;
        tokio::time::sleep(PACE).await;
        Ok(taken)
    }
}
