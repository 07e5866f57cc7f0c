//! Handlers can be tested without a server.

#![cfg(test)]

use baton_worker::{Context, Failure, Worker, testing};
use serde::{Deserialize, Serialize};
use serde_json::json;

#[derive(Deserialize)]
struct Budget {
    amount: u64,
}

#[derive(Serialize)]
struct Verdict {
    ok: bool,
}

fn worker() -> Worker {
    Worker::new("finance")
        .function("check-budget", |context: Context, budget: Budget| async move {
            context.progress(1.0, "checked");
            let limit: u64 = "10000".parse()?;
            if budget.amount == 0 {
                return Err(Failure::terminal("nothing to pay")
                    .with_status(422)
                    .with_type("https://example.org/empty"));
            }
            Ok(Verdict { ok: budget.amount < limit })
        })
        .function("key", |context: Context, (): ()| async move {
            Ok(context.idempotency_key().to_owned())
        })
        .function("wait", |context: Context, (): ()| async move {
            context.cancelled().await;
            Ok(context.is_cancelled())
        })
        .function("break", |_: Context, (): ()| async move {
            let broken: Result<(), _> = "x".parse::<u8>().map(|_| ());
            broken?;
            Ok(())
        })
}

#[tokio::test]
async fn a_handler_answers_and_its_progress_is_kept() {
    let report = testing::Call::new("check-budget").run(&worker(), json!({"amount": 250})).await;
    assert_eq!(report.outcome, Ok(json!({"ok": true})));
    assert_eq!(report.progress, [(1.0, "checked".to_owned())]);
}

#[tokio::test]
async fn failures_come_out_as_the_engine_would_see_them() {
    let empty = testing::call(&worker(), "check-budget", json!({"amount": 0})).await.unwrap_err();
    assert_eq!(
        (empty.status, empty.retryable, empty.kind.as_str()),
        (422, false, "https://example.org/empty")
    );
    let wrong =
        testing::call(&worker(), "check-budget", json!({"amount": "much"})).await.unwrap_err();
    assert_eq!(
        (wrong.status, wrong.retryable, wrong.kind.as_str()),
        (400, false, baton_worker::VALIDATION_ERROR)
    );
    let broken = testing::call(&worker(), "break", ()).await.unwrap_err();
    assert_eq!((broken.status, broken.retryable), (500, true));
    let unknown = testing::call(&worker(), "nothing", ()).await.unwrap_err();
    assert!(!unknown.retryable);
}

#[tokio::test]
async fn the_idempotency_key_is_the_same_for_every_attempt() {
    let mut keys = Vec::new();
    for attempt in 1..=2 {
        let call = testing::Call { attempt, step: 7, ..testing::Call::new("key") };
        keys.push(call.run(&worker(), ()).await.outcome.unwrap());
    }
    assert_eq!(keys[0], keys[1]);
    assert_eq!(keys[0], json!("00000000-0000-0000-0000-000000000000/7"));
}

#[tokio::test]
async fn a_test_can_cancel_a_handler() {
    let call = testing::Call::new("wait");
    call.cancellation.cancel();
    assert_eq!(call.run(&worker(), ()).await.outcome, Ok(json!(true)));
}

#[tokio::test]
async fn a_worker_that_cannot_be_right_does_not_begin() {
    let nothing = Worker::new("finance").run_until(std::future::ready(())).await;
    assert!(matches!(nothing, Err(baton_worker::Error::NoFunctions)));
    let dotted = Worker::new("fin.ance").run_until(std::future::ready(())).await;
    assert!(matches!(dotted, Err(baton_worker::Error::Name { what: "department", .. })));
    let twice = worker().function("key", |_: Context, (): ()| async move { Ok(()) });
    let twice = twice.run_until(std::future::ready(())).await;
    assert!(matches!(twice, Err(baton_worker::Error::DuplicateFunction(name)) if name == "key"));
}
