//! The lifecycle events that a broker holds.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use async_nats::jetstream::consumer::{DeliverPolicy, pull};
use baton_server::broker::LIFECYCLE_STREAM;
use futures::StreamExt as _;
use serde::Deserialize;
use serde_json::Value;

use crate::nats::Nats;

/// How long the broker may take for the next message that it has.
const PATIENCE: Duration = Duration::from_secs(10);

/// One event, as its consumer gets it.
#[derive(Clone, Debug, Deserialize, PartialEq)]
pub struct LifecycleEvent {
    pub id: String,
    pub source: String,
    /// The instance.
    pub subject: String,
    #[serde(rename = "type")]
    pub kind: String,
    pub sequence: String,
    pub traceparent: String,
    pub data: Value,
}

/// Each life must be told in order, and in those that have ended each task that was created must have ended once.
///
/// # Errors
/// When one is told otherwise.
pub fn expect_whole(events: &[LifecycleEvent]) -> Result<()> {
    let mut lives: BTreeMap<&str, Vec<&LifecycleEvent>> = BTreeMap::new();
    for event in events {
        lives.entry(&event.subject).or_default().push(event);
    }
    for (instance, life) in lives {
        let in_order = life.is_sorted_by(|one, other| one.sequence < other.sequence);
        ensure!(in_order, "{instance} is not told in order: {life:#?}");
        let (mut open, mut has_ended) = (BTreeMap::new(), false);
        for event in life {
            let what = event.kind.trim_start_matches("io.serverlessworkflow.");
            let number = event.id.rsplit('/').next().and_then(|last| last.split('.').next());
            match (what.trim_end_matches(".v1"), number) {
                ("task.created", number) => {
                    open.insert(number, event);
                }
                ("task.completed" | "task.faulted" | "task.cancelled", number) => {
                    let created = open.remove(&number);
                    ensure!(created.is_some(), "{event:?} ends what is not open");
                }
                ("workflow.completed" | "workflow.faulted" | "workflow.cancelled", _) => {
                    has_ended = true;
                }
                ("workflow.resumed", _) => has_ended = false,
                _ => {}
            }
        }
        ensure!(!has_ended || open.is_empty(), "{instance} ended with {open:#?}");
    }
    Ok(())
}

/// All that the stream holds now, oldest first.
///
/// # Errors
/// When there is no stream, or one of its messages is no lifecycle event.
pub async fn read(nats: &Nats) -> Result<Vec<LifecycleEvent>> {
    let jetstream = async_nats::jetstream::new(nats.connect().await?);
    let stream = jetstream.get_stream(LIFECYCLE_STREAM).await.context("the stream")?;
    let last = stream.cached_info().state.last_sequence;
    let mut events = Vec::new();
    if stream.cached_info().state.messages == 0 {
        return Ok(events);
    }
    let config = pull::OrderedConfig {
        deliver_policy: DeliverPolicy::All,
        ..pull::OrderedConfig::default()
    };
    let consumer = stream.create_consumer(config).await.context("a consumer")?;
    let mut messages = consumer.messages().await?;
    loop {
        let next = tokio::time::timeout(PATIENCE, messages.next()).await;
        let Some(message) = next.context("the next message")? else { bail!("the stream ended") };
        let message = message?;
        events.push(serde_json::from_slice(&message.payload).context("a lifecycle event")?);
        if message.info().map_err(|error| anyhow::anyhow!(error))?.stream_sequence >= last {
            return Ok(events);
        }
    }
}
