//! Stories of a worker on a real broker; the tests play the engine.

#![cfg(test)]

#[path = "wire/broker.rs"]
mod broker;
#[path = "wire/engine.rs"]
mod engine;

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use async_nats::jetstream::AckKind;
use baton_proto::v1;
use baton_worker::{
    Context, Credentials, Effect, Error, Failure, Offer, Options, Outcome, Secrets, Worker,
};
use broker::{Broker, PATIENCE, until};
use engine::{DEPARTMENT, Engine, INSTANCE, outcome};
use futures::StreamExt;
use prost::Message;
use serde_json::{Value, json};
use tokio::{sync::Notify, task::JoinHandle};
use tokio_util::sync::CancellationToken;

const LONG: Duration = Duration::from_secs(30);

/// A worker at work.
struct Running {
    stop: CancellationToken,
    task: JoinHandle<Result<(), Error>>,
}

impl Running {
    fn start(broker: &Broker, concurrency: usize, offer: impl FnOnce(Worker) -> Worker) -> Self {
        Self::start_with(Options { concurrency, ..options(broker) }, offer)
    }

    fn start_with(options: Options, offer: impl FnOnce(Worker) -> Worker) -> Self {
        let stop = CancellationToken::new();
        let worker = offer(Worker::new(DEPARTMENT).with_options(options));
        let task = tokio::spawn(worker.run_until(stop.clone().cancelled_owned()));
        Self { stop, task }
    }

    async fn drained(self) {
        self.stop.cancel();
        tokio::time::timeout(PATIENCE, self.task)
            .await
            .expect("the drain should end")
            .unwrap()
            .unwrap();
    }
}

fn options(broker: &Broker) -> Options {
    Options {
        nats_url: broker.url(),
        credentials: Credentials::None,
        inbox_prefix: Some(format!("_INBOX_{DEPARTMENT}")),
        name: Some("worker-1".into()),
        build: "test".into(),
        service: None,
        concurrency: 8,
        grace: PATIENCE,
        secrets: Secrets::Environment,
    }
}

fn double(worker: Worker) -> Worker {
    worker.function("double", |_: Context, n: u64| async move { Ok(n * 2) })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn results_that_are_ready_together_share_messages() {
    let broker = Broker::start().await;
    let engine = Engine::start(&broker, &["double"], LONG).await;
    for step in 1..=300 {
        engine.dispatch("double", step, &step.to_string()).await;
    }
    let worker = Running::start(&broker, 256, double);
    let batches = engine.results(300).await;
    engine.until_settled().await;
    worker.drained().await;

    assert!(batches.len() <= 50, "{} messages for 300 results", batches.len());
    let results: Vec<_> = batches.into_iter().flatten().collect();
    let steps: BTreeSet<u32> = results.iter().map(|result| result.step).collect();
    assert_eq!((results.len(), steps.len()), (300, 300));
    for result in &results {
        assert_eq!(outcome(result), Ok((result.step * 2).to_string().as_str()));
        assert_eq!(
            (result.worker.as_str(), result.service.as_str()),
            ("worker-1", "finance-worker")
        );
        assert_eq!((result.attempt, result.token.as_slice()), (1, [9; 16].as_slice()));
        assert!(result.started_ms > 0 && result.finished_ms >= result.started_ms);
    }
}

#[tokio::test]
async fn a_command_is_acknowledged_only_after_its_result_is_stored() {
    let broker = Broker::start().await;
    let engine = Engine::without_inbox(&broker, &["double"], LONG).await;
    let mut refusing = engine.client.subscribe(format!("baton.in.0.{DEPARTMENT}")).await.unwrap();
    engine.client.flush().await.unwrap();
    let worker = Running::start(&broker, 1, double);
    engine.dispatch("double", 1, "21").await;
    for _ in 0..3 {
        let publish = tokio::time::timeout(PATIENCE, refusing.next())
            .await
            .expect("a result should come")
            .unwrap();
        assert_eq!(engine.commands_queued().await, 1);
        let refusal = r#"{"error":{"code":503,"err_code":10008,"description":"JetStream system temporarily unavailable"}}"#;
        engine.client.publish(publish.reply.unwrap(), refusal.into()).await.unwrap();
    }
    refusing.unsubscribe().await.unwrap();
    engine.create_inbox().await;
    engine.until_settled().await;
    assert_eq!(outcome(&engine.results(1).await[0][0]), Ok("42"));
    worker.drained().await;
}

#[tokio::test]
async fn a_redelivered_command_runs_only_while_its_attempt_is_open() {
    let broker = Broker::start().await;
    let engine = Engine::start(&broker, &["double"], LONG).await;
    engine.dispatch("double", 1, "1").await;
    engine.dispatch("double", 2, "2").await;
    let mut first = engine.queue("double").await.fetch().max_messages(2).messages().await.unwrap();
    while let Some(command) = first.next().await {
        command.unwrap().ack_with(AckKind::Nak(None)).await.unwrap();
    }
    engine.seen.closed.lock().unwrap().insert(1);

    let worker = Running::start(&broker, 8, double);
    engine.until_settled().await;
    worker.drained().await;
    let results: Vec<_> = engine.results(1).await.concat();
    assert_eq!(results.iter().map(|result| result.step).collect::<Vec<_>>(), [2]);
    let mut asked: Vec<_> =
        engine.seen.queries.lock().unwrap().iter().map(|query| query.step).collect();
    asked.sort_unstable();
    assert_eq!(asked, [1, 2]);
}

#[tokio::test]
async fn what_a_handler_does_wrong_becomes_a_failure_and_the_worker_lives_on() {
    let broker = Broker::start().await;
    let engine = Engine::start(&broker, &["check"], LONG).await;
    let worker = Running::start(&broker, 1, |worker| {
        worker.function("check", |_: Context, wish: String| async move {
            match wish.as_str() {
                "panic" => panic!("out of paper"),
                "panic later" => {
                    tokio::task::yield_now().await;
                    panic!("out of ink")
                }
                "large" => Ok("x".repeat(1 << 20)),
                "no" => Err(Failure::terminal("over budget").with_status(422)),
                _ => Ok(wish),
            }
        })
    });
    let wishes = [r#""panic""#, r#""panic later""#, r#""large""#, r#""no""#, "17", r#""fine""#];
    for (step, wish) in (1..).zip(wishes) {
        engine.dispatch("check", step, wish).await;
    }
    let mut results: Vec<_> = engine.results(wishes.len()).await.concat();
    results.sort_by_key(|result| result.step);
    engine.until_settled().await;
    worker.drained().await;

    let failures: Vec<_> = results[..5].iter().map(|result| outcome(result).unwrap_err()).collect();
    let told: Vec<_> = failures.iter().map(|f| (f.title.as_str(), f.status, f.retryable)).collect();
    assert_eq!(
        told,
        [
            ("handler-panicked", 500, true),
            ("handler-panicked", 500, true),
            ("output-too-large", 500, false),
            ("over budget", 422, false),
            ("invalid-input", 400, false),
        ]
    );
    assert_eq!(
        (failures[0].detail.as_str(), failures[1].detail.as_str()),
        ("out of paper", "out of ink")
    );
    assert_eq!(failures[4].r#type, baton_worker::VALIDATION_ERROR);
    assert_eq!(outcome(&results[5]), Ok(r#""fine""#));
}

#[tokio::test]
async fn a_cancelled_attempt_gives_no_result_and_its_command_is_acknowledged() {
    let broker = Broker::start().await;
    let engine = Engine::start(&broker, &["wait", "double"], LONG).await;
    let begun = Arc::new(Notify::new());
    let worker = Running::start(&broker, 8, |worker| {
        let begun = begun.clone();
        double(worker).function("wait", move |context: Context, _: Value| {
            let begun = begun.clone();
            async move {
                begun.notify_one();
                context.cancelled().await;
                Ok("too late")
            }
        })
    });
    engine.dispatch("wait", 1, "null").await;
    tokio::time::timeout(PATIENCE, begun.notified()).await.expect("the handler should begin");
    let cancellation = v1::StepCancellation {
        instance: INSTANCE.to_vec(),
        step: 1,
        attempt: 1,
        ..Default::default()
    };
    let control = format!("baton.control.{DEPARTMENT}");
    engine.client.publish(control, cancellation.encode_to_vec().into()).await.unwrap();
    engine.until_settled().await;

    engine.dispatch("double", 2, "4").await;
    assert_eq!(engine.results(1).await[0][0].step, 2);
    worker.drained().await;
}

#[tokio::test]
async fn a_long_handler_keeps_its_command_and_reports_progress() {
    let broker = Broker::start().await;
    let ack_wait = Duration::from_millis(600);
    let engine = Engine::start(&broker, &["slow"], ack_wait).await;
    let mut acknowledgements = engine.client.subscribe("$JS.ACK.>").await.unwrap();
    let mut reports =
        engine.client.subscribe(format!("baton.progress.{DEPARTMENT}")).await.unwrap();
    engine.client.flush().await.unwrap();
    let release = Arc::new(Notify::new());
    let worker = Running::start(&broker, 1, |worker| {
        let release = release.clone();
        worker.function("slow", move |context: Context, _: Value| {
            let release = release.clone();
            async move {
                context.progress(0.5, "half");
                release.notified().await;
                Ok((context.idempotency_key().to_owned(), context.traceparent().map(str::to_owned)))
            }
        })
    });
    engine.dispatch("slow", 1, "null").await;
    let report = tokio::time::timeout(PATIENCE, reports.next()).await.unwrap().unwrap();
    let report = v1::Progress::decode(report.payload).unwrap();
    assert_eq!((report.step, report.message.as_str()), (1, "half"));
    // One every third of the ack wait: six of them are twice as long as an unrenewed command stays in hand.
    for _ in 0..6 {
        let heard = tokio::time::timeout(PATIENCE, acknowledgements.next()).await.unwrap().unwrap();
        assert_eq!(heard.payload, "+WPI");
    }
    release.notify_one();
    let result = &engine.results(1).await[0][0];
    let key = format!("{}/1", uuid::Uuid::from_bytes(INSTANCE));
    let expected =
        format!(r#"["{key}","00-0193b0c47a007000800000000000000a-1a3025621a0d5a6f-01"]"#);
    assert_eq!(outcome(result), Ok(expected.as_str()));
    engine.until_settled().await;
    assert_eq!(engine.queue("slow").await.info().await.unwrap().num_redelivered, 0);
    worker.drained().await;
}

#[tokio::test]
async fn a_drain_ends_what_runs_and_gives_back_what_waits() {
    let broker = Broker::start().await;
    let engine = Engine::start(&broker, &["hold"], LONG).await;
    let (begun, release) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let worker = Running::start(&broker, 1, |worker| {
        let (begun, release) = (begun.clone(), release.clone());
        worker.function("hold", move |_: Context, hold: bool| {
            let (begun, release) = (begun.clone(), release.clone());
            async move {
                if hold {
                    begun.notify_one();
                    release.notified().await;
                }
                Ok(hold)
            }
        })
    });
    // A fast handler earns the worker a few commands in advance.
    engine.dispatch("hold", 1, "false").await;
    engine.until_settled().await;
    engine.dispatch("hold", 2, "true").await;
    tokio::time::timeout(PATIENCE, begun.notified()).await.expect("the handler should begin");
    engine.dispatch("hold", 3, "true").await;
    let queue = engine.queue("hold").await;
    let taken = || async { queue.clone().info().await.unwrap().num_ack_pending == 2 };
    until("the worker holds a command in advance", taken).await;

    worker.stop.cancel();
    let mut given_back = queue.fetch().max_messages(1).expires(PATIENCE).messages().await.unwrap();
    let command = given_back.next().await.expect("the command should be free at once").unwrap();
    assert!(command.subject.ends_with(".3.1"));
    release.notify_one();
    worker.drained().await;
    let results = engine.results(2).await.concat();
    assert_eq!(results.iter().map(|result| result.step).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(engine.commands_queued().await, 1);
}

#[tokio::test]
async fn a_handler_that_outlasts_the_drain_leaves_its_command_to_others() {
    let broker = Broker::start().await;
    let engine = Engine::start(&broker, &["hold"], LONG).await;
    let begun = Arc::new(Notify::new());
    let options = Options { grace: Duration::from_millis(50), ..options(&broker) };
    let worker = Running::start_with(options, |worker| {
        let begun = begun.clone();
        worker.function("hold", move |_: Context, (): ()| {
            begun.notify_one();
            std::future::pending::<Outcome<()>>()
        })
    });
    engine.dispatch("hold", 1, "null").await;
    tokio::time::timeout(PATIENCE, begun.notified()).await.expect("the handler should begin");
    worker.drained().await;
    let queue = engine.queue("hold").await;
    let mut given_back = queue.fetch().max_messages(1).expires(PATIENCE).messages().await.unwrap();
    assert!(given_back.next().await.expect("the command should be free at once").is_ok());
}

#[tokio::test]
async fn a_worker_outlives_its_broker_and_an_empty_queue() {
    let mut broker = Broker::start().await;
    let engine = Engine::start(&broker, &["hold", "double"], LONG).await;
    let (begun, release, runs) =
        (Arc::new(Notify::new()), Arc::new(Notify::new()), Arc::new(AtomicU32::new(0)));
    let worker = Running::start(&broker, 8, |worker| {
        let (begun, release, runs) = (begun.clone(), release.clone(), runs.clone());
        double(worker).function("hold", move |_: Context, (): ()| {
            let (begun, release, runs) = (begun.clone(), release.clone(), runs.clone());
            async move {
                runs.fetch_add(1, Ordering::SeqCst);
                begun.notify_one();
                release.notified().await;
                Ok("done")
            }
        })
    });
    engine.dispatch("hold", 1, "null").await;
    tokio::time::timeout(PATIENCE, begun.notified()).await.expect("the handler should begin");

    broker.kill_and_restart().await;
    engine.create_queues().await;
    // The engine sends out again what is not settled; it is in hand already, so it does not run twice.
    engine.dispatch("hold", 1, "null").await;
    engine.dispatch("double", 2, "4").await;
    assert_eq!(outcome(&engine.results(1).await[0][0]), Ok("8"));
    release.notify_one();
    assert_eq!(outcome(&engine.results(2).await.concat()[1]), Ok(r#""done""#));
    engine.until_settled().await;
    assert_eq!(runs.load(Ordering::SeqCst), 1);

    // And the same with nothing in hand and the queue away for a while.
    broker.kill_and_restart().await;
    let before = engine.seen.announcements.lock().unwrap().len();
    until("the worker announces again", || async {
        engine.seen.announcements.lock().unwrap().len() > before + 1
    })
    .await;
    engine.create_queues().await;
    engine.dispatch("double", 3, "5").await;
    assert_eq!(outcome(&engine.results(3).await.concat()[2]), Ok("10"));
    worker.drained().await;
}

#[tokio::test]
async fn a_refused_announcement_is_made_again() {
    let broker = Broker::start().await;
    let engine = Engine::start(&broker, &["double"], LONG).await;
    *engine.seen.refusals.lock().unwrap() = 2;
    engine.dispatch("double", 1, "1").await;
    let worker = Running::start(&broker, 1, |worker| {
        let offer = Offer {
            input_schema: Some(json!({"type": "integer"})),
            effect: Some(Effect::Read),
            owner: "controllers".into(),
            ..Offer::new("double")
        };
        worker.function_with(offer, |_: Context, n: u64| async move { Ok(n * 2) })
    });
    engine.until_settled().await;
    worker.drained().await;
    let announced = engine.seen.announcements.lock().unwrap()[0].clone();
    assert_eq!((announced.worker.as_str(), announced.build.as_str()), ("worker-1", "test"));
    assert_eq!(announced.department, DEPARTMENT);
    let offer = v1::FunctionOffer {
        name: "double".into(),
        input_schema: r#"{"type":"integer"}"#.into(),
        output_schema: String::new(),
        effect: "read".into(),
        owner: "controllers".into(),
    };
    assert_eq!(announced.functions, [offer]);
}

#[tokio::test]
async fn a_command_past_its_deadline_never_runs_and_one_that_cannot_be_read_is_put_away() {
    let broker = Broker::start().await;
    let engine = Engine::start(&broker, &["double"], LONG).await;
    let late = v1::StepCommand { deadline_ms: 1, ..engine::command("double", 1, "1") };
    for (step, body) in [(1, late.encode_to_vec()), (2, b"not protobuf".to_vec())] {
        let subject = format!("baton.work.{DEPARTMENT}.double.x.{step}.1");
        engine.jetstream.publish(subject, body.into()).await.unwrap().await.unwrap();
    }
    engine.dispatch("double", 3, "3").await;
    let worker = Running::start(&broker, 1, double);
    engine.until_settled().await;
    worker.drained().await;
    assert_eq!(engine.results(1).await.concat().len(), 1);
    assert_eq!(engine.results(1).await[0][0].step, 3);
}

/// As docs/protocol.md lists them for the department `finance` with the functions `double` and `hold`.
const PERMISSIONS: &str = r#"
authorization { users: [
  { user: engine, password: engine }
  { user: finance, password: finance, permissions: {
      publish: [ "$JS.API.CONSUMER.MSG.NEXT.BATON_WORK.finance-double", "$JS.API.CONSUMER.MSG.NEXT.BATON_WORK.finance-hold",
                 "baton.in.*.finance", "baton.announce.finance", "baton.attempt.finance", "baton.progress.finance" ]
      subscribe: [ "baton.control.finance", "_INBOX_finance.>" ]
      allow_responses: { max: 100000, expires: "24h" } } }
] }
"#;

#[tokio::test]
async fn a_worker_needs_no_more_than_the_documented_permissions() {
    let broker = Broker::start_with(PERMISSIONS).await;
    let engine = Engine::start(&broker, &["double", "hold"], Duration::from_millis(600)).await;
    let mut acknowledgements = engine.client.subscribe("$JS.ACK.>").await.unwrap();
    let mut reports =
        engine.client.subscribe(format!("baton.progress.{DEPARTMENT}")).await.unwrap();
    engine.dispatch("double", 1, "1").await;
    let mut first = engine.queue("double").await.fetch().max_messages(1).messages().await.unwrap();
    first.next().await.unwrap().unwrap().ack_with(AckKind::Nak(None)).await.unwrap();
    let given_back =
        tokio::time::timeout(PATIENCE, acknowledgements.next()).await.unwrap().unwrap();
    assert_eq!(given_back.payload, "-NAK");

    let finance = Credentials::UserAndPassword("finance".into(), "finance".into());
    let worker =
        Running::start_with(Options { credentials: finance, ..options(&broker) }, |worker| {
            double(worker).function("hold", |context: Context, (): ()| async move {
                context.progress(-1.0, "holding");
                context.cancelled().await;
                Ok(())
            })
        });
    engine.results(1).await;
    engine.dispatch("hold", 2, "null").await;
    let report = tokio::time::timeout(PATIENCE, reports.next()).await;
    assert!(report.expect("progress should be reported").is_some());
    let renewed =
        async { while acknowledgements.next().await.is_some_and(|ack| ack.payload != "+WPI") {} };
    tokio::time::timeout(PATIENCE, renewed).await.expect("the command should be renewed");
    let cancellation = v1::StepCancellation {
        instance: INSTANCE.to_vec(),
        step: 2,
        attempt: 1,
        ..Default::default()
    };
    let control = format!("baton.control.{DEPARTMENT}");
    engine.client.publish(control, cancellation.encode_to_vec().into()).await.unwrap();
    engine.until_settled().await;
    assert_eq!(engine.seen.queries.lock().unwrap().len(), 1);
    worker.drained().await;
}
