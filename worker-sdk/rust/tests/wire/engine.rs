//! The engine's side of the wire, as far as a worker sees it: streams, queues, announcements, attempts, results.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
    time::Duration,
};

use async_nats::{
    Client,
    jetstream::{
        self,
        consumer::{self, AckPolicy, PullConsumer},
        stream::{self, DiscardPolicy, RetentionPolicy, StorageType},
    },
};
use baton_proto::v1;
use futures::StreamExt;
use prost::Message;
use tokio::task::JoinSet;

use crate::broker::{Broker, PATIENCE, until};

pub(crate) const DEPARTMENT: &str = "finance";
pub(crate) const INSTANCE: [u8; 16] = [1, 147, 12, 68, 122, 0, 112, 0, 128, 0, 0, 0, 0, 0, 0, 1];

pub(crate) struct Engine {
    pub(crate) client: Client,
    pub(crate) jetstream: jetstream::Context,
    functions: Vec<&'static str>,
    ack_wait: Duration,
    pub(crate) seen: Arc<Seen>,
    _answering: JoinSet<()>,
}

/// What the workers have told and asked.
#[derive(Default)]
pub(crate) struct Seen {
    pub(crate) announcements: Mutex<Vec<v1::Announcement>>,
    pub(crate) queries: Mutex<Vec<v1::AttemptQuery>>,
    /// Steps whose attempts are closed.
    pub(crate) closed: Mutex<BTreeSet<u32>>,
    /// How many announcements to refuse.
    pub(crate) refusals: Mutex<u32>,
}

impl Engine {
    /// Queues, an inbox, and someone who answers.
    pub(crate) async fn start(
        broker: &Broker,
        functions: &[&'static str],
        ack_wait: Duration,
    ) -> Self {
        let engine = Self::without_inbox(broker, functions, ack_wait).await;
        engine.create_inbox().await;
        engine
    }

    pub(crate) async fn without_inbox(
        broker: &Broker,
        functions: &[&'static str],
        ack_wait: Duration,
    ) -> Self {
        let client = broker.connect().await;
        let jetstream = jetstream::new(client.clone());
        let seen = Arc::new(Seen::default());
        let mut answering = JoinSet::new();
        let queues = functions.iter().map(|function| v1::Queue {
            function: (*function).into(),
            stream: "BATON_WORK".into(),
            consumer: format!("{DEPARTMENT}-{function}"),
            ack_wait_ms: i64::try_from(ack_wait.as_millis()).unwrap(),
        });
        answering.spawn(answer_announcements(client.clone(), seen.clone(), queues.collect()));
        answering.spawn(answer_queries(client.clone(), seen.clone()));
        let functions = functions.to_vec();
        let engine = Self { client, jetstream, functions, ack_wait, seen, _answering: answering };
        engine.create_queues().await;
        engine
    }

    pub(crate) async fn create_queues(&self) {
        let work = stream::Config {
            name: "BATON_WORK".into(),
            subjects: vec!["baton.work.>".into()],
            retention: RetentionPolicy::WorkQueue,
            storage: StorageType::Memory,
            max_messages_per_subject: 1,
            discard: DiscardPolicy::New,
            discard_new_per_subject: true,
            ..Default::default()
        };
        let work = self.jetstream.get_or_create_stream(work).await.unwrap();
        for function in &self.functions {
            let queue = consumer::pull::Config {
                durable_name: Some(format!("{DEPARTMENT}-{function}")),
                filter_subject: format!("baton.work.{DEPARTMENT}.{function}.>"),
                ack_policy: AckPolicy::Explicit,
                ack_wait: self.ack_wait,
                max_ack_pending: 20_000,
                ..Default::default()
            };
            work.create_consumer(queue).await.unwrap();
        }
    }

    pub(crate) async fn create_inbox(&self) {
        let inbox = stream::Config {
            name: "BATON_IN_0".into(),
            subjects: vec!["baton.in.0.>".into()],
            ..Default::default()
        };
        self.jetstream.get_or_create_stream(inbox).await.unwrap();
    }

    pub(crate) async fn queue(&self, function: &str) -> PullConsumer {
        let work = self.jetstream.get_stream("BATON_WORK").await.unwrap();
        work.get_consumer(&format!("{DEPARTMENT}-{function}")).await.unwrap()
    }

    /// Sends the first attempt of a step out.
    pub(crate) async fn dispatch(&self, function: &str, step: u32, input: &str) {
        let command = command(function, step, input);
        let mut headers = async_nats::HeaderMap::new();
        headers.insert("traceparent", "00-0193b0c47a007000800000000000000a-00f067aa0ba902b7-01");
        let instance = uuid::Uuid::from_bytes(INSTANCE);
        let subject = format!("baton.work.{DEPARTMENT}.{function}.{instance}.{step}.1");
        let body = command.encode_to_vec().into();
        self.jetstream.publish_with_headers(subject, headers, body).await.unwrap().await.unwrap();
    }

    pub(crate) async fn commands_queued(&self) -> u64 {
        let work = self.jetstream.get_stream("BATON_WORK").await.unwrap();
        work.cached_info().state.messages
    }

    pub(crate) async fn until_settled(&self) {
        until("every command is acknowledged", || async { self.commands_queued().await == 0 })
            .await;
    }

    /// The first `count` results, in the messages that they came in.
    pub(crate) async fn results(&self, count: usize) -> Vec<Vec<v1::StepResult>> {
        let inbox = self.jetstream.get_stream("BATON_IN_0").await.unwrap();
        let reader = inbox.create_consumer(consumer::pull::OrderedConfig::default()).await.unwrap();
        let mut messages = reader.messages().await.unwrap();
        let mut batches: Vec<Vec<v1::StepResult>> = Vec::new();
        while batches.iter().map(Vec::len).sum::<usize>() < count {
            let next = tokio::time::timeout(PATIENCE, messages.next()).await;
            let message = next.expect("results should have come").unwrap().unwrap();
            batches.push(v1::ResultBatch::decode(message.payload.clone()).unwrap().results);
        }
        batches
    }
}

pub(crate) fn command(function: &str, step: u32, input: &str) -> v1::StepCommand {
    v1::StepCommand {
        instance: INSTANCE.to_vec(),
        step,
        attempt: 1,
        function: format!("{DEPARTMENT}.{function}"),
        input: input.as_bytes().to_vec(),
        token: vec![9; 16],
        reply_subject: format!("baton.in.0.{DEPARTMENT}"),
        deadline_ms: 0,
        idempotency_key: format!("{}/{step}", uuid::Uuid::from_bytes(INSTANCE)),
        task: "check".into(),
        workflow: "finance/check:1.0.0".into(),
        ask_first: false,
        ..Default::default()
    }
}

/// Output as text, or the failure.
pub(crate) fn outcome(result: &v1::StepResult) -> Result<&str, &v1::Failure> {
    match result.outcome.as_ref().expect("a result has an outcome") {
        v1::step_result::Outcome::Output(output) => Ok(std::str::from_utf8(output).unwrap()),
        v1::step_result::Outcome::Failure(failure) => Err(failure),
    }
}

async fn answer_announcements(client: Client, seen: Arc<Seen>, queues: Vec<v1::Queue>) {
    let mut requests = client.subscribe(format!("baton.announce.{DEPARTMENT}")).await.unwrap();
    while let Some(request) = requests.next().await {
        seen.announcements.lock().unwrap().push(v1::Announcement::decode(request.payload).unwrap());
        let refuse = {
            let mut refusals = seen.refusals.lock().unwrap();
            let refuse = *refusals > 0;
            *refusals = refusals.saturating_sub(1);
            refuse
        };
        let mut reply = v1::AnnouncementReply { announce_every_ms: 500, ..Default::default() };
        if refuse {
            reply.code = "not-now".into();
            reply.error = "come again".into();
        } else {
            reply.queues.clone_from(&queues);
        }
        client.publish(request.reply.unwrap(), reply.encode_to_vec().into()).await.unwrap();
    }
}

async fn answer_queries(client: Client, seen: Arc<Seen>) {
    let mut requests = client.subscribe(format!("baton.attempt.{DEPARTMENT}")).await.unwrap();
    while let Some(request) = requests.next().await {
        let query = v1::AttemptQuery::decode(request.payload).unwrap();
        let open = !seen.closed.lock().unwrap().contains(&query.step);
        seen.queries.lock().unwrap().push(query);
        let status = v1::AttemptStatus { open };
        client.publish(request.reply.unwrap(), status.encode_to_vec().into()).await.unwrap();
    }
}
