//! A worker that writes every effect to the disk before it answers: for the crash test.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use baton_tests::clock::now_ms;
use baton_tests::effects::{Effect, Effects};
use baton_tests::settings::variable;
use baton_worker::{Context, Failure, Worker};
use serde::{Deserialize, Serialize};

#[derive(Deserialize)]
struct Arguments {
    n: i64,
    work_ms: u64,
}

#[derive(Serialize)]
struct Answer {
    n: i64,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let text = |name: &str| {
        let value = variable(name).with_context(|| format!("{name} is not set"))?;
        value.into_string().ok().with_context(|| format!("{name} is no text"))
    };
    tracing_subscriber::fmt().with_writer(std::io::stderr).with_ansi(false).init();
    let (department, name) = (text("BATON_CHAOS_DEPARTMENT")?, text("BATON_WORKER_NAME")?);
    let folder = PathBuf::from(text("BATON_CHAOS_FOLDER")?);
    let effects = Arc::new(Effects::open(&folder.join(format!("{name}.effects")))?);
    let handler = move |context: Context, arguments: Arguments| {
        let (effects, worker) = (Arc::clone(&effects), name.clone());
        async move {
            let effect = Effect {
                instance: context.instance().to_string(),
                step: context.step(),
                attempt: context.attempt(),
                at_ms: now_ms(),
                worker,
            };
            let written = tokio::task::spawn_blocking(move || effects.record(&effect));
            written.await?.map_err(Failure::retryable)?;
            // The time in which a kill leaves the effect done and the result unsaid.
            tokio::time::sleep(Duration::from_millis(arguments.work_ms)).await;
            Ok(Answer { n: arguments.n + 1 })
        }
    };
    Worker::new(department)
        .function("work", handler.clone())
        .function("more", handler)
        .run()
        .await?;
    Ok(())
}
