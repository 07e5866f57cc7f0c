//! The bare loop: what the broker itself can carry on this machine, and so the ceiling that the engine is measured
//! against.
//!
//! A fenced, hash-chained, group-committed log per partition, one subject a command in a work queue kept in memory,
//! answers coalesced by a worker in a process of its own, JSON read and written on both sides. No language, projection,
//! API, timer or policy.

use std::borrow::Cow;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Instant;

use anyhow::{Context as _, Result, bail};
use async_nats::jetstream;
use async_nats::jetstream::consumer::{AckPolicy, pull};
use async_nats::jetstream::context::PublishError;
use async_nats::jetstream::message::PublishMessage;
use async_nats::jetstream::publish::PublishAck;
use async_nats::jetstream::stream::{Config, DiscardPolicy, RetentionPolicy, StorageType};
use baton_tests::{Nats, WorkerProcess};
use bytes::Bytes;
use futures::StreamExt as _;
use sha2::Digest as _;
use tokio::task::JoinSet;

use crate::bare::{self, Answer, Command, Length};
use crate::load::{self, Load};
use crate::meter::{Figures, Meter, Plan};
use crate::usage;

const TOKEN: &str = "0123456789abcdef0123456789abcdef";

/// Answers after which a partition commits although more are there.
const ANSWERS_A_COMMIT_MAX: usize = 1_000;

/// One round's figures.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Round {
    pub(crate) figures: Figures,
    /// Seconds of processor time per 1,000 steps, of the loop, its worker and the broker together.
    pub(crate) cpu_s: f64,
}

/// One round on a fresh broker.
pub(crate) async fn round(load: Load, sync_always: bool, plan: Plan) -> Result<Round> {
    let folder = tempfile::Builder::new().prefix("baton-bare-").tempdir()?;
    let nats = Nats::start(folder.path(), sync_always).await?;
    let url = nats.url();
    // One instance lives in one partition.
    let partitions = if load == Load::Full { load::PARTITIONS } else { 1 };
    prepare(&bare::connect(&url).await?, partitions).await?;
    let mode = [("BENCH_WORKER", "bare")];
    let worker = WorkerProcess::start(folder.path(), &url, "bench-worker", "bare", &mode)?;
    let meter = Arc::new(Meter::new(plan));
    let mut owners = JoinSet::new();
    for partition in 0..partitions {
        let owner =
            Owner::new(&url, partition, load, load.in_flight() / usize::from(partitions), &meter)
                .await?;
        owners.spawn(owner.run());
    }
    let all = [usage::id(&worker.process)?, usage::id(&nats.process)?, std::process::id()];
    let ((), cpu_s) = tokio::try_join!(load::all(owners), usage::cpu_spent_s(&meter, &all))?;
    let figures = meter.figures()?;
    Ok(Round { figures, cpu_s: cpu_s.iter().sum::<f64>() / load.steps_of(&figures) * 1e3 })
}

async fn prepare(jetstream: &jetstream::Context, partitions: u16) -> Result<()> {
    let work = Config {
        name: bare::WORK.into(),
        subjects: vec!["work.>".into()],
        retention: RetentionPolicy::WorkQueue,
        storage: StorageType::Memory,
        max_messages_per_subject: 1,
        discard: DiscardPolicy::New,
        discard_new_per_subject: true,
        ..Config::default()
    };
    let pay = pull::Config {
        durable_name: Some(bare::CONSUMER.into()),
        filter_subject: "work.finance.pay.>".into(),
        ack_policy: AckPolicy::Explicit,
        max_ack_pending: 20_000,
        ..pull::Config::default()
    };
    jetstream.create_stream(work).await?.create_consumer(pay).await?;
    for partition in 0..partitions {
        let inbox = (format!("IN_{partition}"), format!("in.{partition}.>"));
        let log = (format!("LOG_{partition}"), format!("log.{partition}"));
        for (name, subject) in [inbox, log] {
            let config = Config { name, subjects: vec![subject], ..Config::default() };
            jetstream.create_stream(config).await?;
        }
    }
    Ok(())
}

type Append = Pin<Box<dyn Future<Output = Result<PublishAck, PublishError>> + Send>>;

/// A step that goes out when the log has it; one past the last ends the instance.
struct Next {
    instance: usize,
    step: u32,
}

struct Instance {
    last_done: u32,
    began: Instant,
}

/// The owner of one partition: appends to its log, one commit in flight while the next one gathers.
struct Owner {
    jetstream: jetstream::Context,
    answers: pull::Ordered,
    partition: u16,
    load: Load,
    in_flight: usize,
    meter: Arc<Meter>,
    pad: String,
    instances: Vec<Instance>,
    done: usize,
    events: Vec<u8>,
    scheduled: Vec<Next>,
    sequence: u64,
    previous: [u8; 32],
}

impl Owner {
    async fn new(
        url: &str,
        partition: u16,
        load: Load,
        in_flight: usize,
        meter: &Arc<Meter>,
    ) -> Result<Self> {
        let jetstream = bare::connect(url).await?;
        let inbox = jetstream.get_stream(format!("IN_{partition}")).await?;
        let consumer = inbox.create_consumer(pull::OrderedConfig::default()).await?;
        Ok(Self {
            answers: consumer.messages().await?,
            jetstream,
            partition,
            load,
            in_flight,
            meter: Arc::clone(meter),
            pad: load::pad(),
            instances: Vec::new(),
            done: 0,
            events: Vec::new(),
            scheduled: Vec::new(),
            sequence: 0,
            previous: [0; 32],
        })
    }

    async fn run(mut self) -> Result<()> {
        let mut appending: Option<(Append, Vec<Next>)> = None;
        self.begin(self.in_flight);
        loop {
            if appending.is_none() && !self.events.is_empty() {
                appending = Some(self.append().await?);
            }
            tokio::select! { biased;
                stored = async { appending.as_mut().expect("the guard saw one").0.as_mut().await }, if appending.is_some() => {
                    self.sequence = stored.context("the log refused")?.sequence;
                    let scheduled = appending.take().expect("the guard saw one").1;
                    self.act(scheduled).await?;
                    if self.meter.is_over() {
                        return Ok(());
                    }
                }
                message = self.answers.next() => {
                    let mut message = message.context("the inbox ended")??;
                    let mut taken = 0;
                    loop {
                        taken += self.take(&message.payload)?;
                        if taken > ANSWERS_A_COMMIT_MAX {
                            break;
                        }
                        let Poll::Ready(next) = futures::poll!(self.answers.next()) else { break };
                        message = next.context("the inbox ended")??;
                    }
                }
            }
        }
    }

    fn begin(&mut self, count: usize) {
        for _ in 0..count {
            self.instances.push(Instance { last_done: 0, began: Instant::now() });
            self.record(self.instances.len() - 1, 0);
        }
    }

    fn record(&mut self, instance: usize, step: u32) {
        let (next, pad) = (step + 1, &self.pad);
        let event = format!(
            r#"{{"StepCompleted":{{"instance":{instance},"step":{step}}},"StepScheduled":{{"step":{next}}},"pad":"{pad}"}}"#
        );
        self.events.extend(event.bytes());
        self.scheduled.push(Next { instance, step: next });
    }

    async fn append(&mut self) -> Result<(Append, Vec<Next>)> {
        let mut hash = sha2::Sha256::new();
        hash.update(self.previous);
        hash.update(&self.events);
        self.previous = hash.finalize().into();
        let body = Bytes::from(std::mem::take(&mut self.events));
        let message = PublishMessage::build().payload(body).expected_last_sequence(self.sequence);
        let stored =
            self.jetstream.send_publish(format!("log.{}", self.partition), message).await?;
        Ok((Box::pin(stored.into_future()), std::mem::take(&mut self.scheduled)))
    }

    /// What the log has is done: commands go out, ended instances make room for others.
    async fn act(&mut self, scheduled: Vec<Next>) -> Result<()> {
        for Next { instance, step } in scheduled {
            if step > self.load.steps() {
                self.ended(instance);
                continue;
            }
            let command = Command {
                partition: self.partition,
                instance: instance as u64,
                step,
                token: Cow::Borrowed(TOKEN),
                pad: Cow::Borrowed(&self.pad),
            };
            let subject =
                format!("work.finance.pay.{:03x}{instance:012x}.{step}.1", self.partition);
            let command = Bytes::from(serde_json::to_vec(&command)?);
            let stored = self.jetstream.publish(subject, command).await?;
            let meter = Arc::clone(&self.meter);
            tokio::spawn(async move {
                // At the end the broker goes while commands are on their way to it.
                if let Err(error) = stored.await
                    && !meter.is_over()
                {
                    tracing::error!(%error, "A command was not stored");
                }
            });
        }
        Ok(())
    }

    fn ended(&mut self, instance: usize) {
        self.done += 1;
        // A fan-out is many at once: only all of them are one completion.
        let one_by_one = self.load != Load::FanOut;
        if one_by_one || self.done == self.instances.len() {
            self.meter.completed(self.instances[instance].began.elapsed());
            self.begin(if one_by_one { 1 } else { self.in_flight });
        }
    }

    fn take(&mut self, mut body: &[u8]) -> Result<usize> {
        let mut taken = 0;
        while let Some((length, rest)) = body.split_first_chunk() {
            let length: Length = *length;
            let length = usize::try_from(u32::from_le_bytes(length))?;
            let Some((answer, rest)) = rest.split_at_checked(length) else {
                bail!("an answer is cut off");
            };
            let answer: Answer<'_> = serde_json::from_slice(answer)?;
            let (instance, step) = (usize::try_from(answer.instance)?, answer.step);
            if self.instances[instance].last_done + 1 == step {
                self.instances[instance].last_done = step;
                self.record(instance, step);
                taken += 1;
            }
            body = rest;
        }
        Ok(taken)
    }
}
