//! The lifecycle events that a broker holds.

use std::time::Duration;

use anyhow::{Context, Result, bail};
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
