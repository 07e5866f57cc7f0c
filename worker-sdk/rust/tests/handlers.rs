//! Handlers can be tested without a server.

#![cfg(test)]

use baton_worker::{AUTHORIZATION_ERROR, Context, Failure, Options, Secrets, Worker, testing};
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

fn keeper() -> Worker {
    let secrets = [("api-key".to_owned(), "k3y-of-ours".to_owned())].into();
    let options = Options { secrets: Secrets::Given(secrets), ..Options::from_env().unwrap() };
    Worker::new("finance")
        .with_options(options)
        .function("same", |context: Context, text: String| async move {
            let key = context.secret("api-key")?;
            Ok(json!({ "put in": text.contains(key), "echo": text }))
        })
        .function("fail", |context: Context, text: String| async move {
            context.progress(0.5, text.clone());
            Err::<(), _>(Failure::terminal("refused").with_detail(text))
        })
        .function("other", |context: Context, (): ()| async move {
            context.secret("other").map(str::to_owned)
        })
}

fn naming_the_key(function: &str) -> testing::Call {
    let secrets = [("{{1}}".to_owned(), "api-key".to_owned())].into();
    testing::Call { secrets, ..testing::Call::new(function) }
}

#[tokio::test]
async fn a_handler_sees_secrets_and_nobody_else_does() {
    let report = naming_the_key("same").run(&keeper(), "Bearer {{1}}").await;
    assert_eq!(report.outcome, Ok(json!({"put in": true, "echo": "Bearer ***"})));
    let report = naming_the_key("fail").run(&keeper(), "key {{1}} is old").await;
    assert_eq!(report.outcome.unwrap_err().detail, "key *** is old");
    assert_eq!(report.progress, [(0.5, "key *** is old".to_owned())]);
}

#[tokio::test]
async fn a_secret_that_the_step_does_not_name_or_the_worker_does_not_have_is_refused() {
    let unnamed = naming_the_key("other").run(&keeper(), ()).await.outcome.unwrap_err();
    assert_eq!((unnamed.status, unnamed.kind.as_str()), (403, AUTHORIZATION_ERROR));
    let secrets = [("{{1}}".to_owned(), "none".to_owned())].into();
    let call = testing::Call { secrets, ..testing::Call::new("same") };
    let missing = call.run(&keeper(), "{{1}}").await.outcome.unwrap_err();
    assert_eq!((missing.status, missing.title.as_str()), (403, "secret-missing"));
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
