//! Lifecycle events are a projection of the log: what became of instances and tasks, for whoever wants to react.
//!
//! Their ids follow from the log, so that the stream of a crash holds an event twice at most under one id. Off unless
//! asked for, and never in the way: what the broker does not take in time is dropped and counted.

mod told;

use std::{sync::Arc, time::Duration};

use async_nats::{HeaderMap, jetstream::message::PublishMessage};
use prometheus_client::metrics::counter::Counter;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

pub use self::told::{Told, started, tell};
use crate::{
    broker::{self, Broker},
    limits,
    telemetry::TRACEPARENT,
};

/// Whose lives are told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Scope {
    /// Nobody's
    #[default]
    Off,
    /// Those of instances
    Workflows,
    /// Those of instances and of their tasks
    All,
}

/// What became of the events of this process. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Counts {
    pub published: Counter,
    pub dropped: Counter,
}

/// Where lifecycle events go. Cheap to clone.
#[derive(Clone)]
pub struct Lifecycle {
    scope: Scope,
    messages: mpsc::Sender<Message>,
    /// One permit for each event that may wait.
    room: Arc<Semaphore>,
    counts: Counts,
}

enum Message {
    /// The permits come back when the events have been tried.
    Told(Vec<Told>, OwnedSemaphorePermit),
    /// Answered when all before it has been tried.
    Flush(oneshot::Sender<()>),
}

impl Lifecycle {
    /// `None`: nobody wants them.
    pub fn start(scope: Scope, broker: &Broker, counts: &Counts) -> Option<Self> {
        if scope == Scope::Off {
            return None;
        }
        let (messages, receiver) = mpsc::channel(limits::LIFECYCLE_BATCHES_WAITING_MAX);
        let room = Arc::new(Semaphore::new(limits::LIFECYCLE_WAITING_MAX));
        let publisher = Publisher { broker: broker.clone(), counts: counts.clone() };
        tracing::info!(?scope, "Lifecycle events go to {}", broker::LIFECYCLE_STREAM);
        tokio::spawn(publisher.run(receiver));
        Some(Self { scope, messages, room, counts: counts.clone() })
    }

    /// Never waits; what does not fit is dropped.
    pub fn write(&self, mut told: Vec<Told>) {
        if self.scope == Scope::Workflows {
            told.retain(Told::is_of_workflow);
        }
        if told.is_empty() {
            return;
        }
        let count = told.len();
        let permits = u32::try_from(count).unwrap_or(u32::MAX);
        let written = Arc::clone(&self.room)
            .try_acquire_many_owned(permits)
            .is_ok_and(|room| self.messages.try_send(Message::Told(told, room)).is_ok());
        if !written {
            self.counts.dropped.inc_by(count as u64);
        }
    }

    /// Waits, a bounded time, until all before it has been tried.
    pub async fn flush(&self) {
        let (done, tried) = oneshot::channel();
        if self.messages.try_send(Message::Flush(done)).is_ok() {
            let _ = tokio::time::timeout(limits::LIFECYCLE_FLUSH, tried).await;
        }
    }
}

struct Publisher {
    broker: Broker,
    counts: Counts,
}

impl Publisher {
    async fn run(self, mut messages: mpsc::Receiver<Message>) {
        self.prepare().await;
        while let Some(message) = messages.recv().await {
            match message {
                Message::Told(told, room) => {
                    for some in told.chunks(limits::LIFECYCLE_IN_FLIGHT) {
                        self.publish(some).await;
                    }
                    drop(room);
                }
                Message::Flush(done) => {
                    let _ = done.send(());
                }
            }
        }
    }

    async fn prepare(&self) {
        let mut told = false;
        while let Err(error) = self.broker.prepare_lifecycle().await {
            if !std::mem::replace(&mut told, true) {
                tracing::warn!(%error, "Lifecycle events wait for their stream");
            }
            tokio::time::sleep(limits::EVENTS_AGAIN).await;
        }
    }

    /// Until the broker has them, in order; what it refuses again and again is dropped, lest it hold up the rest.
    async fn publish(&self, told: &[Told]) {
        let mut left = told;
        let mut wait = Duration::from_millis(50);
        let mut tries = 0;
        while !left.is_empty() {
            let (stored, error) = self.try_publish(left).await;
            self.counts.published.inc_by(stored as u64);
            left = &left[stored..];
            let Some(error) = error else { continue };
            if stored > 0 {
                (wait, tries) = (Duration::from_millis(50), 0);
            }
            tries += 1;
            if tries > limits::LIFECYCLE_TRIES {
                tracing::warn!(error, "A lifecycle event is dropped");
                self.counts.dropped.inc();
                left = &left[1..];
                tries = 0;
                continue;
            }
            tracing::debug!(error, "A lifecycle event was not stored yet");
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(limits::EVENTS_AGAIN);
            // The broker may have come back without the stream.
            let _ = self.broker.prepare_lifecycle().await;
        }
    }

    /// How many the broker has stored from the first one on, and why no more.
    async fn try_publish(&self, told: &[Told]) -> (usize, Option<String>) {
        let mut answers = Vec::with_capacity(told.len());
        let mut failed = None;
        for told in told {
            let mut headers = HeaderMap::new();
            headers.insert("content-type", "application/cloudevents+json");
            headers.insert(TRACEPARENT, told.traceparent().as_str());
            let message = PublishMessage::build()
                .payload(told.to_json().into())
                .headers(headers)
                .message_id(told.id())
                .expected_stream(broker::LIFECYCLE_STREAM);
            let subject = broker::lifecycle_subject(told.namespace(), told.name());
            match self.broker.jetstream.send_publish(subject, message).await {
                Ok(answer) => answers.push(answer),
                Err(error) => {
                    failed = Some(error.to_string());
                    break;
                }
            }
        }
        let mut stored = 0;
        for answer in answers {
            if let Err(error) = answer.await {
                return (stored, Some(error.to_string()));
            }
            stored += 1;
        }
        (stored, failed)
    }
}

#[cfg(test)]
mod tests {
    use baton_core::{
        InstanceId, Json, Timestamp,
        event::Started,
        workflow::{Hash, Name},
    };

    use super::*;

    fn told() -> Vec<Told> {
        let text = |text: &str| text.into();
        let begun = Started {
            workflow: Hash([1; 32]),
            name: Name { namespace: text("lab"), name: text("life"), version: text("1.0.0") },
            input: Json::empty_object(),
            key: text(""),
            labels: std::collections::BTreeMap::new(),
            traceparent: text(""),
            parent: None,
            carried: baton_core::guard::Carried::default(),
            by: "".into(),
        };
        started(InstanceId([7; 16]), &Arc::new(begun), Timestamp(0))
    }

    #[test]
    fn what_a_slow_broker_leaves_no_room_for_is_dropped_and_counted() {
        let (messages, mut receiver) = mpsc::channel(10);
        let room = Arc::new(Semaphore::new(2));
        let counts = Counts::default();
        let scope = Scope::Workflows;
        let lifecycle = Lifecycle { scope, messages, room, counts: counts.clone() };
        for _ in 0..5 {
            lifecycle.write(told());
        }
        assert_eq!(counts.dropped.get(), 3);
        // What has been tried makes room.
        assert!(receiver.try_recv().is_ok());
        lifecycle.write(told());
        assert_eq!(counts.dropped.get(), 3);
    }
}
