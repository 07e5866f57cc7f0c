//! Results that somebody forged, sent late, or sent to the wrong place, straight to the broker.

use async_nats::jetstream::{self, Context};
use baton_proto::v1::event::Kind;
use baton_proto::v1::step_result::Outcome;
use baton_proto::v1::{
    AttemptQuery, AttemptStatus, Failure, Instance, ResultBatch, Status, StepCommand, StepResult,
};
use baton_tests::replay::Replay;
use baton_tests::{DEADLINE, Setup, World, eventually};
use futures::TryStreamExt as _;
use prost::Message as _;

use crate::{log_ends, refused};

const METRIC: &str = "baton_refused_results_total";

/// Functions of departments that no worker serves: the test is the worker.
const TASKS: &str = "- ask:\n    call: office.ask\n    with: { n: 1 }\n- again:\n    call: office.ask\n    with: { n: 2 }";

/// An instance whose step waits for us.
struct Office {
    world: World,
    client: async_nats::Client,
    jetstream: Context,
    id: String,
}

impl Office {
    async fn open() -> Self {
        Self::doing(TASKS).await
    }

    async fn doing(tasks: &str) -> Self {
        let world = World::begin(Setup::default()).await.unwrap();
        let client = world.cluster.nats.connect().await.unwrap();
        let jetstream = jetstream::new(client.clone());
        world.deploy("office", tasks).await.unwrap();
        let id = world.start("office", "{}").await.unwrap();
        Self { world, client, jetstream, id }
    }

    /// The command of an attempt, taken out of the queue without acknowledging it.
    async fn command(&self, attempt: u32) -> StepCommand {
        let filter = format!("baton.work.office.ask.{}.>", self.id);
        let command = async || {
            let stream = self.jetstream.get_stream("BATON_WORK").await?;
            let subjects: Vec<_> = stream.info_with_subjects(&filter).await?.try_collect().await?;
            for (subject, _) in subjects {
                let message = stream.get_last_raw_message_by_subject(&subject).await?;
                let command = StepCommand::decode(message.payload)?;
                if command.attempt == attempt {
                    return Ok(Some(command));
                }
            }
            Ok(None)
        };
        eventually(DEADLINE, &format!("attempt {attempt} is queued"), command).await.unwrap()
    }

    async fn publish(&self, subject: &str, payload: Vec<u8>) {
        let sent = self.jetstream.publish(subject.to_owned(), payload.into()).await.unwrap();
        sent.await.unwrap();
    }

    async fn send(&self, subject: &str, result: StepResult) {
        self.publish(subject, ResultBatch { results: vec![result] }.encode_to_vec()).await;
    }

    /// Whether the engine still waits for the attempt.
    async fn is_open(&self, command: &StepCommand) -> bool {
        let query = AttemptQuery {
            instance: command.instance.clone(),
            step: command.step,
            attempt: command.attempt,
            token: command.token.clone(),
        };
        let query = query.encode_to_vec().into();
        let answer = self.client.request("baton.attempt.office", query).await.unwrap();
        AttemptStatus::decode(answer.payload).unwrap().open
    }

    /// The message must be refused with this code, and the instance must stay as it is.
    async fn refuses(&self, what: &str, wanted: &str, subject: &str, payload: Vec<u8>) {
        let batond = &self.world.cluster.batond;
        let before = (self.instance().await, log_ends(&self.world).await);
        let count = refused(batond, METRIC, wanted).await;
        self.publish(subject, payload).await;
        let counted = async || {
            let now = refused(batond, METRIC, wanted).await;
            Ok((now > count).then_some(now))
        };
        let counted = eventually(DEADLINE, &format!("{what} counts as {wanted}"), counted).await;
        assert!((counted.unwrap() - count - 1.0).abs() < 0.1, "{what} counts once");
        assert_eq!((self.instance().await, log_ends(&self.world).await), before, "{what}");
    }

    async fn refuses_result(&self, what: &str, wanted: &str, subject: &str, result: StepResult) {
        let payload = ResultBatch { results: vec![result] }.encode_to_vec();
        self.refuses(what, wanted, subject, payload).await;
    }

    async fn instance(&self) -> Instance {
        self.world.api.get(&self.id).await.unwrap()
    }

    async fn end(self) {
        let replay = Replay::read(&self.world.cluster.nats.url(), 2).await.unwrap();
        replay.expect_single_results().unwrap();
        replay.expect_api(&self.world.api).await.unwrap();
        self.world.end().await.unwrap();
    }
}

/// The right answer to a command.
fn result(command: &StepCommand, output: impl Into<Vec<u8>>) -> StepResult {
    StepResult {
        instance: command.instance.clone(),
        step: command.step,
        attempt: command.attempt,
        token: command.token.clone(),
        outcome: Some(Outcome::Output(output.into())),
        worker: "forger".to_owned(),
        ..StepResult::default()
    }
}

fn other_partition(subject: &str) -> String {
    if subject.contains(".0.") {
        subject.replace(".0.", ".1.")
    } else {
        subject.replace(".1.", ".0.")
    }
}

#[tokio::test]
async fn a_forged_result_is_refused_and_the_right_one_is_taken() {
    let office = Office::open().await;
    let first = office.command(1).await;
    let subject = first.reply_subject.clone();
    let good = || result(&first, "{}");

    let wrong = StepResult { token: vec![7; 16], ..good() };
    office.refuses_result("another token", "wrong-token", &subject, wrong).await;
    let wrong = StepResult { token: first.token[..15].to_vec(), ..good() };
    office.refuses_result("half a token", "wrong-token", &subject, wrong).await;
    let wrong = StepResult { token: Vec::new(), ..good() };
    office.refuses_result("no token", "wrong-token", &subject, wrong).await;
    let wrong = StepResult { attempt: 2, ..good() };
    office.refuses_result("an attempt to come", "wrong-token", &subject, wrong).await;
    let wrong = StepResult { step: first.step + 1, ..good() };
    office.refuses_result("another step", "wrong-token", &subject, wrong).await;
    let mut instance = first.instance.clone();
    instance[3] ^= 1;
    let wrong = StepResult { instance, ..good() };
    office.refuses_result("an instance of nobody's", "wrong-token", &subject, wrong).await;

    let elsewhere = subject.replace("office", "lab");
    office.refuses_result("another department", "wrong-department", &elsewhere, good()).await;
    let elsewhere = other_partition(&subject);
    office.refuses_result("another partition", "unknown-instance", &elsewhere, good()).await;

    for output in ["", "{", "nonsense", "{} {}", "NaN"] {
        office.refuses_result(output, "result-not-json", &subject, result(&first, output)).await;
    }
    let bytes = result(&first, vec![b'"', 0xff, b'"']);
    office.refuses_result("not UTF-8", "result-not-json", &subject, bytes).await;
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    office.refuses_result("too deep", "result-not-json", &subject, result(&first, deep)).await;
    let large = result(&first, format!("\"{}\"", "x".repeat(1_000_000)));
    office.refuses_result("a megabyte", "result-too-large", &subject, large).await;
    let nothing = StepResult { outcome: None, ..good() };
    office.refuses_result("no outcome", "malformed-result", &subject, nothing).await;
    let short = StepResult { instance: vec![1, 2, 3], ..good() };
    office.refuses_result("a short id", "malformed-result", &subject, short).await;

    // A forged one beside it does not spoil it. 900 KiB is much, and allowed.
    let much = format!("{{\"text\":\"{}\"}}", "y".repeat(900 * 1024));
    let forged = StepResult { token: vec![1; 16], ..good() };
    let batch = ResultBatch { results: vec![forged, result(&first, much)] };
    office.publish(&subject, batch.encode_to_vec()).await;
    let second = office.command_after(&first).await;
    office.refuses_result("a result twice", "unknown-step", &subject, good()).await;
    office.send(&subject, result(&second, r#"{"end":true}"#)).await;
    let output = office.world.api.completed(&office.id, DEADLINE).await.unwrap();
    assert_eq!(output, r#"{"end":true}"#);
    office.refuses_result("after the end", "instance-ended", &subject, result(&second, "{}")).await;
    office.end().await;
}

impl Office {
    /// The command of the step after this one.
    async fn command_after(&self, before: &StepCommand) -> StepCommand {
        let next = async || {
            let command = self.command(1).await;
            Ok((command.step != before.step).then_some(command))
        };
        // The first stays in the queue, for nobody has acknowledged it: take it out.
        let stream = self.jetstream.get_stream("BATON_WORK").await.unwrap();
        let filter = format!("baton.work.office.ask.{}.{}.>", self.id, before.step);
        stream.purge().filter(&filter).await.unwrap();
        eventually(DEADLINE, "the next step is queued", next).await.unwrap()
    }
}

#[tokio::test]
async fn a_result_of_an_attempt_that_is_over_is_refused() {
    let office = Office::open().await;
    let first = office.command(1).await;
    let failure = Failure { retryable: true, title: "no".to_owned(), ..Failure::default() };
    let failed = StepResult { outcome: Some(Outcome::Failure(failure)), ..result(&first, "") };
    office.send(&first.reply_subject, failed.clone()).await;
    let second = office.command(2).await;
    let subject = &second.reply_subject;
    office.refuses_result("a late result", "stale-attempt", subject, result(&first, "{}")).await;
    office.refuses_result("a late failure", "stale-attempt", subject, failed).await;

    let texts = "x".repeat(100_000);
    let failure = Failure {
        r#type: texts.clone(),
        status: 70_000,
        title: texts.clone(),
        detail: texts,
        retryable: false,
    };
    let failed = StepResult { outcome: Some(Outcome::Failure(failure)), ..result(&second, "") };
    office.send(subject, failed).await;
    let ended = office.world.api.ended(&office.id, DEADLINE).await.unwrap();
    assert_eq!(ended.status(), Status::Faulted);
    let error = ended.error.unwrap();
    assert_eq!(error.status, 500);
    assert!(error.title().len() <= 4_096 && error.detail().len() <= 4_096, "long texts are cut");
    office.end().await;
}

#[tokio::test]
async fn a_poisoned_inbox_never_stops_a_partition() {
    let office = Office::open().await;
    let first = office.command(1).await;
    let partition = &first.reply_subject[.."baton.in.0".len()];
    let garbage = (0..=255_u8).cycle().take(5_000).collect::<Vec<_>>();
    let malformed = "malformed-result";
    for subject in ["result.office", "result", "result.a.b.c", "nonsense", "result.💥"] {
        let subject = format!("{partition}.{subject}");
        office.refuses(&subject, malformed, &subject, garbage.clone()).await;
    }
    let subject = &first.reply_subject;
    office.refuses("text", malformed, subject, b"{\"results\":[]}".to_vec()).await;
    office.refuses("0.9 MB of 0xff", malformed, subject, vec![0xff; 900 * 1024]).await;
    // What says nothing is no refusal either.
    office.publish(subject, Vec::new()).await;
    let many = ResultBatch { results: vec![StepResult::default(); 20_000] };
    office.publish(subject, many.encode_to_vec()).await;
    // More than the broker carries is refused by the broker, or by the client before it.
    let huge = result(&first, vec![b'1'; 10_000_000]);
    let huge = ResultBatch { results: vec![huge] }.encode_to_vec();
    let sent = office.jetstream.publish(subject.clone(), huge.into()).await;
    assert!(sent.is_err(), "10 MB cannot be sent");

    // The next owner reads the same inbox.
    let mut office = office;
    office.world.cluster.batond.kill().unwrap();
    office.publish(&first.reply_subject, garbage).await;
    office.world.cluster.batond.restart().await.unwrap();
    office.send(&first.reply_subject, result(&first, "{}")).await;
    let second = office.command_after(&first).await;
    office.send(&first.reply_subject, result(&second, "1")).await;
    assert_eq!(office.world.api.completed(&office.id, DEADLINE).await.unwrap(), "1");
    let history = office.world.api.history(&office.id).await.unwrap();
    let taken = history.iter().filter(|event| {
        matches!(event.event.as_ref().and_then(|e| e.kind.as_ref()), Some(Kind::StepCompleted(_)))
    });
    assert_eq!(taken.count(), 2);
    office.end().await;
}

/// Else a worker to which the command came again does the work again, though its result is stored.
#[tokio::test]
async fn a_step_whose_result_is_stored_is_open_for_nobody() {
    let step = |n| format!("- ask{n}:\n    call: office.ask\n    with: {{ n: {n} }}");
    let steps: Vec<_> = (1..=STORED_ROUNDS).map(step).collect();
    let office = Office::doing(&steps.join("\n")).await;
    let mut known = std::collections::BTreeSet::new();
    for round in 1..=STORED_ROUNDS {
        let next = async || {
            let command = office.command(1).await;
            Ok(known.insert(command.step).then_some(command))
        };
        let command =
            eventually(DEADLINE, &format!("command {round} is queued"), next).await.unwrap();
        assert!(office.is_open(&command).await, "round {round}: nobody has answered yet");
        // Others before it keep the engine busy with this message.
        let mut results = vec![StepResult { token: vec![7; 16], ..result(&command, "{}") }; 1_000];
        results.push(result(&command, "{}"));
        office.publish(&command.reply_subject, ResultBatch { results }.encode_to_vec()).await;
        assert!(!office.is_open(&command).await, "round {round}: its result is stored");
        let subject = format!("baton.work.office.ask.{}.{}.1", office.id, command.step);
        let queue = office.jetstream.get_stream("BATON_WORK").await.unwrap();
        queue.purge().filter(subject).await.unwrap();
    }
    office.world.api.completed(&office.id, DEADLINE).await.unwrap();
    office.end().await;
}

/// How many results are stored before their step is asked for.
const STORED_ROUNDS: usize = 100;
