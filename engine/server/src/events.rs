//! Events from outside and from workflows: one stream for all, read once by each process and kept for a while.
//!
//! What is in the stream comes from anybody who may write there, and is hostile until it was checked.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_nats::{
    HeaderMap,
    jetstream::{
        self,
        consumer::{DeliverPolicy, pull},
        message::PublishMessage,
    },
};
use baton_core::Json;
use bytes::Bytes;
use futures::StreamExt;
use serde::Deserialize;
use sha2::{Digest, Sha256};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::{
    broker::{self, Broker},
    limits,
    wire::hex,
};

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{0}")]
    Invalid(String),
    #[error("the events cannot be {verb}: {reason}")]
    Unavailable { verb: &'static str, reason: String },
}

/// A CloudEvent 1.0 in its JSON form, checked.
#[derive(Clone, Debug)]
pub struct CloudEvent {
    pub json: Json,
    pub id: Arc<str>,
    pub source: Arc<str>,
    /// `type`
    pub kind: Arc<str>,
}

/// One message of the stream; without an event when it was none.
#[derive(Clone, Debug)]
pub struct Arrived {
    pub position: u64,
    pub event: Option<CloudEvent>,
}

/// The attributes that every event has.
#[derive(Deserialize)]
struct Attributes {
    specversion: String,
    id: String,
    source: String,
    r#type: String,
}

impl CloudEvent {
    /// # Errors
    /// [`Error::Invalid`] says what is wrong with the text.
    pub fn parse(text: String) -> Result<Self, Error> {
        let invalid = |what: &dyn std::fmt::Display| Error::Invalid(what.to_string());
        if text.len() > baton_core::limits::EVENT_BYTES_MAX {
            return Err(invalid(&format!(
                "an event has at most {} bytes",
                baton_core::limits::EVENT_BYTES_MAX
            )));
        }
        baton_dsl::check_json(&text).map_err(|error| invalid(&format!("not JSON: {error}")))?;
        let attributes: Attributes = serde_json::from_str(&text)
            .map_err(|error| invalid(&format!("not a CloudEvent: {error}")))?;
        let Attributes { specversion, id, source, r#type } = attributes;
        if specversion != "1.0" {
            return Err(invalid(&"the specversion of an event must be 1.0"));
        }
        for (name, text) in [("id", &id), ("source", &source), ("type", &r#type)] {
            if text.is_empty() || text.len() > limits::EVENT_ATTRIBUTE_BYTES_MAX {
                return Err(invalid(&format!(
                    "the {name} of an event has 1 to {} bytes",
                    limits::EVENT_ATTRIBUTE_BYTES_MAX
                )));
            }
        }
        Ok(Self {
            json: Json::from_text(text),
            id: id.into(),
            source: source.into(),
            kind: r#type.into(),
        })
    }

    /// The same event twice is stored once, as long as the broker remembers it.
    fn message_id(&self) -> String {
        let mut hash = Sha256::new();
        hash.update((self.source.len() as u64).to_le_bytes());
        hash.update(self.source.as_bytes());
        hash.update(self.id.as_bytes());
        hex(&hash.finalize())
    }
}

/// Stores an event; answers its position, and whether it was there already.
///
/// # Errors
/// [`Error::Unavailable`] when the broker does not confirm it.
pub async fn publish(
    broker: &Broker,
    department: &str,
    event: &CloudEvent,
) -> Result<(u64, bool), Error> {
    let unavailable = |reason: String| Error::Unavailable { verb: "written", reason };
    let mut headers = HeaderMap::new();
    headers.insert("content-type", "application/cloudevents+json");
    let message = PublishMessage::build()
        .payload(Bytes::copy_from_slice(event.json.as_bytes()))
        .headers(headers)
        .message_id(event.message_id())
        .expected_stream(broker::EVENTS_STREAM);
    let stored = broker.jetstream.send_publish(broker::event_subject(department), message).await;
    let stored = stored.map_err(|error| unavailable(error.to_string()))?;
    let stored = stored.await.map_err(|error| unavailable(error.to_string()))?;
    Ok((stored.sequence, stored.duplicate))
}

/// The last events of the stream, as they arrive. Clones share it.
#[derive(Clone)]
pub struct Feed {
    broker: Broker,
    ring: Arc<Mutex<Ring>>,
    last: watch::Receiver<u64>,
}

#[derive(Default)]
struct Ring {
    arrived: VecDeque<Arc<Arrived>>,
    bytes: usize,
}

/// What follows a position.
pub enum Next {
    Arrived(Arc<Arrived>),
    /// Nothing yet.
    Wait,
    /// It is no longer held here: [`Feed::fetch_after`] reads it.
    Behind,
}

impl Feed {
    /// Reads the end of the stream, and goes on reading until told to stop.
    ///
    /// # Errors
    /// As [`broker::Error`] says.
    pub async fn start(broker: &Broker, stop: CancellationToken) -> Result<Self, broker::Error> {
        broker.prepare_events().await?;
        let (sender, last) = watch::channel(0);
        let feed = Self { broker: broker.clone(), ring: Arc::default(), last };
        let reading = feed.clone();
        tokio::spawn(async move {
            tokio::select! { biased;
                () = stop.cancelled() => {}
                () = reading.read(&sender) => {}
            }
        });
        Ok(feed)
    }

    /// Position of the last one that was read; 0 before there is any.
    pub fn last(&self) -> u64 {
        *self.last.borrow()
    }

    /// Waits until something is there that follows a position.
    pub async fn beyond(&self, position: u64) {
        self.reached(position + 1).await;
    }

    /// Waits until all up to a position was read.
    pub async fn reached(&self, position: u64) {
        let mut last = self.last.clone();
        if last.wait_for(|last| *last >= position).await.is_err() {
            // Nobody reads any more: the process is stopping.
            std::future::pending::<()>().await;
        }
    }

    /// The lowest position that is held.
    pub fn first(&self) -> u64 {
        self.ring().arrived.front().map_or(u64::MAX, |arrived| arrived.position)
    }

    pub fn after(&self, position: u64) -> Next {
        let ring = self.ring();
        match ring.arrived.front() {
            _ if self.last() <= position => Next::Wait,
            Some(first) if first.position <= position + 1 => {
                let at = ring.arrived.partition_point(|arrived| arrived.position <= position);
                ring.arrived.get(at).map_or(Next::Wait, |found| Next::Arrived(Arc::clone(found)))
            }
            Some(_) | None => Next::Behind,
        }
    }

    pub fn get(&self, position: u64) -> Option<Arc<Arrived>> {
        let ring = self.ring();
        let at = ring.arrived.binary_search_by_key(&position, |arrived| arrived.position).ok()?;
        ring.arrived.get(at).cloned()
    }

    /// Those of one type that are held, after one position and up to another.
    pub fn between(&self, after: u64, up_to: u64, kind: Option<&str>) -> Vec<Arc<Arrived>> {
        let ring = self.ring();
        let from = ring.arrived.partition_point(|arrived| arrived.position <= after);
        let held = ring.arrived.range(from..).take_while(|arrived| arrived.position <= up_to);
        let of_kind = |arrived: &&Arc<Arrived>| {
            arrived.event.as_ref().is_some_and(|event| kind.is_none_or(|kind| *event.kind == *kind))
        };
        held.filter(of_kind).cloned().collect()
    }

    /// Reads what follows a position from the stream itself; `None`: nothing does.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when the broker does not answer.
    pub async fn fetch_after(&self, position: u64) -> Result<Option<Arc<Arrived>>, Error> {
        let unavailable = |reason: String| Error::Unavailable { verb: "read", reason };
        let stream = self.broker.jetstream.get_stream(broker::EVENTS_STREAM).await;
        let stream = stream.map_err(|error| unavailable(error.to_string()))?;
        let state = &stream.cached_info().state;
        let mut next = (position + 1).max(state.first_sequence);
        while next <= state.last_sequence {
            match stream.get_raw_message(next).await {
                Ok(message) => {
                    let event = from_message(Some(&message.headers), &message.payload);
                    return Ok(Some(Arc::new(Arrived { position: next, event })));
                }
                Err(error)
                    if error.kind()
                        == jetstream::stream::LastRawMessageErrorKind::NoMessageFound =>
                {
                    next += 1;
                }
                Err(error) => return Err(unavailable(error.to_string())),
            }
        }
        Ok(None)
    }

    async fn read(&self, last: &watch::Sender<u64>) {
        loop {
            if let Err(reason) = self.follow(last).await {
                tracing::warn!(reason, "The events are read anew");
            }
            tokio::time::sleep(limits::EVENTS_AGAIN).await;
        }
    }

    async fn follow(&self, last: &watch::Sender<u64>) -> Result<(), String> {
        let mut connections = self.broker.connections();
        connections.mark_unchanged();
        self.broker.prepare_events().await.map_err(|error| error.to_string())?;
        let stream = self.broker.jetstream.get_stream(broker::EVENTS_STREAM).await;
        let stream = stream.map_err(|error| error.to_string())?;
        let state = &stream.cached_info().state;
        if state.last_sequence < *last.borrow() {
            tracing::warn!("The stream of events was made anew or lost its end");
            *self.ring() = Ring::default();
            last.send_replace(0);
        }
        let kept = state.last_sequence.saturating_sub(limits::EVENTS_KEPT as u64);
        let start = (kept.max(*last.borrow()) + 1).max(state.first_sequence);
        if start > state.last_sequence {
            // Nothing to read yet: what was there may have gone by its age.
            last.send_modify(|last| *last = (*last).max(state.last_sequence));
        }
        let config = pull::OrderedConfig {
            deliver_policy: DeliverPolicy::ByStartSequence { start_sequence: start },
            ..Default::default()
        };
        let consumer = stream.create_consumer(config).await.map_err(|error| error.to_string())?;
        let mut messages = consumer.messages().await.map_err(|error| error.to_string())?;
        loop {
            let message = tokio::select! { biased;
                message = messages.next() => message.ok_or("the reader was closed")?,
                // The broker may have forgotten the reader, which itself looks after it only each half minute.
                _ = connections.changed() => return Err("there is a new connection".into()),
            };
            let message = message.map_err(|error| error.to_string())?;
            let position = message.info().map_err(|error| error.to_string())?.stream_sequence;
            let event = from_message(message.headers.as_ref(), &message.payload);
            if event.is_none() {
                tracing::warn!(position, subject = %message.subject, "An event is none and is passed over");
            }
            self.keep(Arrived { position, event });
            last.send_replace(position);
        }
    }

    fn keep(&self, arrived: Arrived) {
        let size = |arrived: &Arrived| arrived.event.as_ref().map_or(0, |event| event.json.len());
        let mut ring = self.ring();
        ring.bytes += size(&arrived);
        ring.arrived.push_back(Arc::new(arrived));
        while ring.arrived.len() > limits::EVENTS_KEPT || ring.bytes > limits::EVENTS_KEPT_BYTES {
            let Some(gone) = ring.arrived.pop_front() else { break };
            ring.bytes -= size(&gone);
        }
    }

    fn ring(&self) -> MutexGuard<'_, Ring> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Both forms that CloudEvents have on NATS: the whole event as JSON, or its attributes as headers `ce-…` and its data
/// as the payload.
fn from_message(headers: Option<&HeaderMap>, payload: &Bytes) -> Option<CloudEvent> {
    let header = |name: &str| headers?.get(name).map(|value| value.as_str().to_owned());
    if header("ce-specversion").is_none() {
        return CloudEvent::parse(String::from_utf8(payload.to_vec()).ok()?).ok();
    }
    let mut event = serde_json::Map::new();
    for (name, values) in headers?.iter() {
        let name = name.to_string().to_lowercase();
        if let (Some(attribute), Some(value)) = (name.strip_prefix("ce-"), values.first()) {
            event.insert(attribute.to_owned(), value.as_str().into());
        }
    }
    let content_type = header("content-type").unwrap_or_else(|| "application/json".into());
    event.insert("datacontenttype".into(), content_type.clone().into());
    if !payload.is_empty() {
        let text = std::str::from_utf8(payload).ok()?;
        let data = if content_type.contains("json") {
            baton_dsl::check_json(text).ok()?;
            serde_json::from_str(text).ok()?
        } else {
            serde_json::Value::from(text)
        };
        event.insert("data".into(), data);
    }
    CloudEvent::parse(serde_json::to_string(&event).ok()?).ok()
}

/// Publishes until the broker has it, waiting longer from try to try.
pub async fn publish_until_stored(broker: &Broker, department: &str, event: &CloudEvent) {
    let mut wait = Duration::from_millis(50);
    loop {
        match publish(broker, department, event).await {
            Ok(_) => return,
            Err(error) => tracing::debug!(%error, "An event was not stored yet"),
        }
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(limits::EVENTS_AGAIN);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVENT: &str = r#"{"specversion":"1.0","id":"1","source":"/s","type":"t","data":{"a":1}}"#;

    #[test]
    fn an_event_has_what_every_event_has() {
        let event = CloudEvent::parse(EVENT.into()).unwrap();
        assert_eq!((&*event.id, &*event.source, &*event.kind), ("1", "/s", "t"));
        for (from, to) in [
            (r#""id":"1","#, ""),
            (r#""id":"1""#, r#""id":"""#),
            (r#""id":"1""#, r#""id":1"#),
            (r#""specversion":"1.0""#, r#""specversion":"0.3""#),
            (r#""a":1"#, r#""a":NaN"#),
            ("}}", "}"),
        ] {
            let broken = EVENT.replacen(from, to, 1);
            assert!(CloudEvent::parse(broken.clone()).is_err(), "{broken}");
        }
        let long = EVENT.replacen("/s", &"s".repeat(5_000), 1);
        assert!(CloudEvent::parse(long).is_err());
        let large = EVENT.replacen("1}", &format!("\"{}\"}}", "x".repeat(300 * 1024)), 1);
        assert!(CloudEvent::parse(large).is_err());
    }

    #[test]
    fn id_and_source_together_name_an_event() {
        let id = |from: &str, to: &str| {
            CloudEvent::parse(EVENT.replacen(from, to, 1)).unwrap().message_id()
        };
        assert_eq!(id("", ""), id(r#""a":1"#, r#""a":2"#));
        assert_ne!(id("", ""), id(r#""id":"1""#, r#""id":"2""#));
        assert_ne!(id(r#""id":"1""#, r#""id":"s1""#), id("/s", "/ss"));
    }

    #[test]
    fn attributes_may_come_as_headers() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("ce-specversion", "1.0"),
            ("ce-id", "1"),
            ("ce-source", "/s"),
            ("ce-type", "t"),
            ("ce-room", "7"),
            ("other", "x"),
        ] {
            headers.insert(name, value);
        }
        let event = from_message(Some(&headers), &Bytes::from_static(b"{\"a\": 1}")).unwrap();
        let json: serde_json::Value = serde_json::from_str(&event.json).unwrap();
        assert_eq!(json["data"]["a"], 1);
        assert_eq!((&json["room"], json.get("other")), (&"7".into(), None));
        assert!(from_message(Some(&headers), &Bytes::from_static(b"{")).is_none());
        headers.insert("content-type", "text/plain");
        let event = from_message(Some(&headers), &Bytes::from_static(b"{")).unwrap();
        assert!(event.json.contains(r#""data":"{""#));
    }
}
