//! A partition's log: fenced, chained, checked. JetStream holds it; nothing here trusts JetStream.
//!
//! Safety is the expected last sequence on every append: the broker refuses whoever has not seen the whole log. A
//! claim is an append like any other, so that an owner of before is refused from then on.

use std::time::Duration;

use async_nats::jetstream::{
    self,
    consumer::{DeliverPolicy, pull},
    message::PublishMessage,
    publish::PublishAck,
};
use baton_proto::{
    chain::chain_value,
    v1::{self, commit_body::Content},
};
use bytes::Bytes;
use futures::{StreamExt, future::BoxFuture};
use prost::Message;
use sha2::{Digest, Sha256};

use crate::{
    broker::{self, Broker},
    limits,
    wire::hex,
};

#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Somebody else has claimed the partition: all state is void.
    #[error("partition {partition} was claimed by {engine} with epoch {epoch}")]
    Fenced { partition: u32, engine: String, epoch: u64 },
    #[error("the log of partition {partition} is broken at sequence {sequence}: {what}")]
    Broken { partition: u32, sequence: u64, what: String },
    #[error("the log of partition {partition} does not answer: {what}")]
    Unavailable { partition: u32, what: String },
}

/// A commit that was read, checked against the one before it.
pub struct Committed {
    pub sequence: u64,
    /// When the broker stored it, Unix milliseconds by the broker's clock.
    pub stored_ms: i64,
    /// Bytes of the whole message.
    pub bytes: usize,
    pub body: v1::CommitBody,
}

/// The end of a log as its reader or owner knows it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Position {
    /// Sequence of the last commit; 0: there is none.
    pub sequence: u64,
    /// Its chain value.
    pub chain: [u8; 32],
    pub epoch: u64,
}

/// Reads a log up to where it ended when the reader was made.
pub struct Reader {
    last: u64,
    messages: Option<pull::Ordered>,
}

pub struct Log {
    broker: Broker,
    stream: jetstream::stream::Stream,
    subject: String,
    partition: u32,
    engine: String,
    pub position: Position,
    /// When the stream was made: another time means another log under the same name.
    pub created_ms: i64,
}

impl Log {
    /// # Errors
    /// [`Error`] says what can go wrong.
    pub async fn open(broker: &Broker, partition: u32, engine: &str) -> Result<Self, Error> {
        let stream = broker
            .jetstream
            .get_stream(broker::log_stream(partition))
            .await
            .map_err(|error| Error::Unavailable { partition, what: error.to_string() })?;
        let created = stream.cached_info().created;
        Ok(Self {
            broker: broker.clone(),
            stream,
            subject: broker::log_subject(partition),
            partition,
            engine: engine.to_owned(),
            position: Position::default(),
            created_ms: i64::try_from(created.unix_timestamp_nanos() / 1_000_000)
                .unwrap_or_default(),
        })
    }

    /// Begins after a commit that was known before, if the log still has that very commit there.
    ///
    /// # Errors
    /// [`Error`] says what can go wrong.
    pub async fn resume(
        &mut self,
        sequence: u64,
        chain: [u8; 32],
    ) -> Result<Option<v1::CommitBody>, Error> {
        let Some(payload) = self.message(sequence).await? else { return Ok(None) };
        let Ok(commit) = v1::Commit::decode(payload) else { return Ok(None) };
        let Some(header) = commit.header else { return Ok(None) };
        if chain_value(&header) != chain
            || header.body_hash != Sha256::digest(&commit.body).as_slice()
        {
            return Ok(None);
        }
        let Ok(body) = v1::CommitBody::decode(commit.body.as_slice()) else { return Ok(None) };
        self.position = Position { sequence, chain, epoch: header.epoch };
        Ok(Some(body))
    }

    /// Begins to read on, to the end as it is now.
    ///
    /// # Errors
    /// [`Error`] says what can go wrong.
    pub async fn reader(&self) -> Result<Reader, Error> {
        let last = self.last_sequence().await?;
        if last < self.position.sequence {
            return Err(self.broken(last, "it ends before what was read of it"));
        }
        let messages = if last > self.position.sequence {
            let config = pull::OrderedConfig {
                deliver_policy: DeliverPolicy::ByStartSequence {
                    start_sequence: self.position.sequence + 1,
                },
                ..Default::default()
            };
            let consumer = self
                .stream
                .create_consumer(config)
                .await
                .map_err(|e| self.unavailable(&e.to_string()))?;
            Some(consumer.messages().await.map_err(|e| self.unavailable(&e.to_string()))?)
        } else {
            None
        };
        Ok(Reader { last, messages })
    }

    /// The next commit, checked against the one before it; `None` at the reader's end.
    ///
    /// # Errors
    /// [`Error`] says what can go wrong.
    pub async fn next(&mut self, reader: &mut Reader) -> Result<Option<Committed>, Error> {
        let Some(messages) =
            reader.messages.as_mut().filter(|_| self.position.sequence < reader.last)
        else {
            return Ok(None);
        };
        let next = tokio::time::timeout(limits::APPEND_TIMEOUT, messages.next())
            .await
            .map_err(|_| self.unavailable("no message came"))?;
        let message = next
            .ok_or_else(|| self.unavailable("the reader was closed"))?
            .map_err(|e| self.unavailable(&e.to_string()))?;
        let info = message.info().map_err(|e| self.unavailable(&e.to_string()))?;
        let stored_ms = info.published.unix_timestamp_nanos() / 1_000_000;
        let body = self.check(info.stream_sequence, message.payload.clone())?;
        Ok(Some(Committed {
            sequence: info.stream_sequence,
            stored_ms: i64::try_from(stored_ms).unwrap_or_default(),
            bytes: message.payload.len(),
            body,
        }))
    }

    /// Checks a commit against the one before it and goes on to it.
    fn check(&mut self, sequence: u64, payload: Bytes) -> Result<v1::CommitBody, Error> {
        if sequence != self.position.sequence + 1 {
            return Err(self.broken(self.position.sequence + 1, "it is missing"));
        }
        let commit = v1::Commit::decode(payload)
            .map_err(|_| self.broken(sequence, "it cannot be decoded"))?;
        let header = commit.header.ok_or_else(|| self.broken(sequence, "it has no header"))?;
        if header.partition != self.partition || header.index != sequence {
            return Err(self.broken(sequence, "it is of another place"));
        }
        if header.previous != self.position.chain {
            return Err(self.broken(sequence, "the hash of the commit before it does not fit"));
        }
        if header.body_hash != Sha256::digest(&commit.body).as_slice() {
            return Err(self.broken(sequence, "the hash of its body does not fit"));
        }
        if header.epoch < self.position.epoch {
            return Err(self.broken(sequence, "its epoch is older than the one before it"));
        }
        let body = v1::CommitBody::decode(commit.body.as_slice())
            .map_err(|_| self.broken(sequence, "its body cannot be decoded"))?;
        self.position = Position { sequence, chain: chain_value(&header), epoch: header.epoch };
        Ok(body)
    }

    /// Takes the partition. The reader must have read to the end; `false`: there is more to read first.
    ///
    /// # Errors
    /// [`Error`] says what can go wrong.
    pub async fn claim(
        &mut self,
        at_ms: i64,
        inbox_position: u64,
        event_position: u64,
        behind: Vec<v1::Behind>,
    ) -> Result<bool, Error> {
        let epoch = self.position.epoch + 1;
        let before = self.position;
        self.position.epoch = epoch;
        let claim = v1::Claim { epoch, engine: self.engine.clone() };
        let content = Some(Content::Claim(claim));
        let body = v1::CommitBody { at_ms, inbox_position, event_position, behind, content };
        match self.append(body.encode_to_vec()).await {
            Ok(position) => {
                self.position = position;
                Ok(true)
            }
            Err(Error::Fenced { .. }) => {
                self.position = before;
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    /// Appends a commit after the last one; `body` is an encoded [`v1::CommitBody`]. The answer comes when the broker has stored it, however often it takes to
    /// find that out; until then nothing else may be appended. The caller then sets [`Log::position`] to the answer.
    pub fn append(&self, body: Vec<u8>) -> BoxFuture<'static, Result<Position, Error>> {
        let header = v1::CommitHeader {
            partition: self.partition,
            index: self.position.sequence + 1,
            epoch: self.position.epoch,
            previous: self.position.chain.to_vec(),
            body_hash: Sha256::digest(&body).to_vec(),
        };
        let position = Position {
            sequence: header.index,
            chain: chain_value(&header),
            epoch: self.position.epoch,
        };
        let payload = Bytes::from(v1::Commit { header: Some(header), body }.encode_to_vec());
        let append = Append {
            broker: self.broker.clone(),
            stream: self.stream.clone(),
            subject: self.subject.clone(),
            partition: self.partition,
            payload,
            position,
        };
        Box::pin(append.run())
    }

    async fn last_sequence(&self) -> Result<u64, Error> {
        let info = self.stream.get_info().await.map_err(|e| self.unavailable(&e.to_string()))?;
        Ok(info.state.last_sequence)
    }

    async fn message(&self, sequence: u64) -> Result<Option<Bytes>, Error> {
        message(&self.stream, self.partition, sequence).await
    }

    fn broken(&self, sequence: u64, what: &str) -> Error {
        Error::Broken { partition: self.partition, sequence, what: what.to_owned() }
    }

    fn unavailable(&self, what: &str) -> Error {
        Error::Unavailable { partition: self.partition, what: what.to_owned() }
    }
}

/// Reads one commit, checking only itself: for histories.
///
/// # Errors
/// [`Error`] says what can go wrong.
pub async fn read_commit(
    stream: &jetstream::stream::Stream,
    partition: u32,
    sequence: u64,
) -> Result<v1::CommitBody, Error> {
    read_whole(stream, partition, sequence).await.map(|(_, _, body)| body)
}

/// The same with its header, and the body as it is stored.
///
/// # Errors
/// [`Error`] says what can go wrong.
pub async fn read_whole(
    stream: &jetstream::stream::Stream,
    partition: u32,
    sequence: u64,
) -> Result<(v1::CommitHeader, Vec<u8>, v1::CommitBody), Error> {
    let broken = |what: &str| Error::Broken { partition, sequence, what: what.to_owned() };
    let payload =
        message(stream, partition, sequence).await?.ok_or_else(|| broken("it is missing"))?;
    let commit = v1::Commit::decode(payload).map_err(|_| broken("it cannot be decoded"))?;
    let header = commit.header.ok_or_else(|| broken("it has no header"))?;
    if header.body_hash != Sha256::digest(&commit.body).as_slice() {
        return Err(broken("the hash of its body does not fit"));
    }
    let body = v1::CommitBody::decode(commit.body.as_slice())
        .map_err(|_| broken("its body cannot be decoded"))?;
    Ok((header, commit.body, body))
}

async fn message(
    stream: &jetstream::stream::Stream,
    partition: u32,
    sequence: u64,
) -> Result<Option<Bytes>, Error> {
    match stream.get_raw_message(sequence).await {
        Ok(message) => Ok(Some(message.payload)),
        Err(error)
            if error.kind() == jetstream::stream::LastRawMessageErrorKind::NoMessageFound =>
        {
            Ok(None)
        }
        Err(error) => Err(Error::Unavailable { partition, what: error.to_string() }),
    }
}

/// One append and everything that may become of it.
struct Append {
    broker: Broker,
    stream: jetstream::stream::Stream,
    subject: String,
    partition: u32,
    payload: Bytes,
    position: Position,
}

impl Append {
    async fn run(self) -> Result<Position, Error> {
        let mut last = String::new();
        for attempt in 0..limits::APPEND_TRIES {
            let mut connections = self.broker.connections();
            connections.mark_unchanged();
            let published = tokio::select! { biased;
                published = self.publish() => published,
                // The answer was lost with the connection: there is nothing to wait for.
                Ok(()) = connections.changed() => Err("the connection was lost meanwhile".into()),
            };
            match published {
                Ok(ack) if ack.sequence == self.position.sequence => return Ok(self.position),
                Ok(ack) => {
                    let what = format!("the broker stored it at {}", ack.sequence);
                    return Err(Error::Broken {
                        partition: self.partition,
                        sequence: self.position.sequence,
                        what,
                    });
                }
                Err(error) => {
                    tracing::warn!(partition = self.partition, %error, attempt, "An append was not confirmed");
                    last = error;
                }
            }
            // It may have been stored all the same, or somebody else's may stand in its place: look.
            match message(&self.stream, self.partition, self.position.sequence).await {
                Ok(Some(payload)) if payload == self.payload => return Ok(self.position),
                Ok(Some(payload)) => return Err(self.fenced(&payload)),
                Ok(None) => {}
                Err(error) => last = error.to_string(),
            }
            tokio::time::sleep(Duration::from_millis(50 << attempt.min(5))).await;
        }
        Err(Error::Unavailable { partition: self.partition, what: last })
    }

    async fn publish(&self) -> Result<PublishAck, String> {
        let message = PublishMessage::build()
            .payload(self.payload.clone())
            .expected_last_sequence(self.position.sequence - 1)
            .expected_stream(broker::log_stream(self.partition));
        let stored = self
            .broker
            .jetstream
            .send_publish(self.subject.clone(), message)
            .await
            .map_err(|error| error.to_string())?;
        stored.await.map_err(|error| error.to_string())
    }

    /// Says who stands where this append should have gone.
    fn fenced(&self, payload: &Bytes) -> Error {
        let commit = v1::Commit::decode(payload.clone()).unwrap_or_default();
        let body = v1::CommitBody::decode(commit.body.as_slice()).unwrap_or_default();
        let epoch = commit.header.map_or(0, |header| header.epoch);
        let engine = match body.content {
            Some(Content::Claim(claim)) => claim.engine,
            Some(Content::Batch(_)) | None => {
                format!("an engine whose commit is {}", hex(&Sha256::digest(payload)[..4]))
            }
        };
        Error::Fenced { partition: self.partition, engine, epoch }
    }
}
