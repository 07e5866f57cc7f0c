//! Signs where the logs end, so that nobody who can write to the broker can rewrite what was signed before.
//!
//! In a task of its own: what is signed is what owners say of themselves, who have read and checked their logs.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Instant,
};

use async_nats::jetstream::{
    self,
    consumer::{DeliverPolicy, pull},
    context::PublishErrorKind,
    message::PublishMessage,
    stream::LastRawMessageErrorKind,
};
use baton_proto::{chain::chain_value, signed, v1};
use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey, pkcs8::DecodePrivateKey};
use futures::StreamExt;
use prost::Message;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::{
    Engine,
    broker::{self, Broker},
    clock, limits, log,
    partition::State,
};

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot read {}: {source}", file.display())]
    Read { file: PathBuf, source: std::io::Error },
    #[error("{} is no Ed25519 private key in PKCS #8 and PEM", .0.display())]
    Key(PathBuf),
    #[error("the signed heads do not answer: {0}")]
    Unavailable(String),
    /// The log is not the one that was signed.
    #[error("commit {index} of partition {partition} is not the one that was signed")]
    Rewritten { partition: u32, index: u64 },
    #[error("the last head of partition {0} is not signed by the key that it names")]
    Forged(u32),
}

/// The engine's audit key.
pub struct Key(SigningKey);

impl Key {
    /// # Errors
    /// When the file holds no such key.
    pub fn open(file: &Path) -> Result<Self, Error> {
        let text = std::fs::read_to_string(file)
            .map_err(|source| Error::Read { file: file.to_owned(), source })?;
        let key = SigningKey::from_pkcs8_pem(&text).map_err(|_| Error::Key(file.to_owned()))?;
        Ok(Self(key))
    }

    pub fn public(&self) -> [u8; 32] {
        self.0.verifying_key().to_bytes()
    }

    pub fn sign(&self, bytes: &[u8]) -> [u8; 64] {
        self.0.sign(bytes).to_bytes()
    }

    fn head(&self, partition: u32, index: u64, chain: &[u8; 32], at_ms: i64) -> v1::SignedHead {
        v1::SignedHead {
            partition,
            index,
            chain: chain.to_vec(),
            at_ms,
            key: self.public().to_vec(),
            signature: self.sign(&signed::head(partition, index, chain, at_ms)).to_vec(),
        }
    }
}

/// Whether the key that a head names has signed it.
fn is_signed(head: &v1::SignedHead) -> bool {
    let parts = || {
        let key = VerifyingKey::from_bytes(head.key.as_slice().try_into().ok()?).ok()?;
        let signature = Signature::from_slice(&head.signature).ok()?;
        let chain = head.chain.as_slice().try_into().ok()?;
        let bytes = signed::head(head.partition, head.index, chain, head.at_ms);
        key.verify_strict(&bytes, &signature).ok()
    };
    parts().is_some()
}

/// Signs until it is told that the owners have ended, and then once more.
pub async fn serve(engine: Arc<Engine>, ended: CancellationToken) {
    let Some(key) = &engine.audit_key else { return };
    let mut signers: Vec<_> = (0..engine.partitions_count()).map(Signer::new).collect();
    let mut every = tokio::time::interval(limits::HEADS_LOOK);
    every.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let last = tokio::select! { biased;
            () = ended.cancelled() => true,
            _ = every.tick() => false,
        };
        for signer in &mut signers {
            signer.look(&engine, key, last).await;
        }
        if last {
            return;
        }
    }
}

/// Signs for one partition.
struct Signer {
    partition: u32,
    /// Where the last head stands in the stream, and its index; zeros: there is none.
    last: Option<(u64, u64)>,
    signed_at: Option<Instant>,
    /// A person must look: what was signed and what the log has are not the same.
    stopped: bool,
}

impl Signer {
    fn new(partition: u32) -> Self {
        Self { partition, last: None, signed_at: None, stopped: false }
    }

    async fn look(&mut self, engine: &Engine, key: &Key, last: bool) {
        let partition = self.partition;
        let Some(handle) = engine.partition(partition) else { return };
        let led = match handle.state() {
            State::Leading { .. } => true,
            State::Stopped => last,
            State::Standby { .. } | State::Recovering | State::Broken { .. } => false,
        };
        let soon = self.signed_at.is_some_and(|at| at.elapsed() < limits::HEADS_EVERY);
        if self.stopped || !led || (soon && !last) {
            return;
        }
        let figures = handle.figures();
        match self.sign(engine, key, figures.log_position, &figures.log_chain).await {
            Ok(()) => {}
            Err(error @ (Error::Rewritten { .. } | Error::Forged(_))) => {
                tracing::error!(partition, %error, "A log is not what was signed: nothing more of it is signed");
                self.stopped = true;
            }
            Err(error) => {
                tracing::warn!(partition, %error, "The head of a log was not signed");
                // What became of it is looked up.
                self.last = None;
            }
        }
    }

    async fn sign(
        &mut self,
        engine: &Engine,
        key: &Key,
        index: u64,
        chain: &[u8; 32],
    ) -> Result<(), Error> {
        let (sequence, before) = match self.last {
            Some(last) => last,
            None => *self.last.insert(last_checked(&engine.broker, self.partition).await?),
        };
        if index <= before {
            return Ok(());
        }
        let head = key.head(self.partition, index, chain, clock::now().0);
        // Only after the head that was seen: two engines never sign in turns.
        let message = PublishMessage::build()
            .payload(head.encode_to_vec().into())
            .expected_last_subject_sequence(sequence)
            .expected_stream(broker::HEADS_STREAM);
        let subject = broker::head_subject(self.partition);
        let sent = engine.broker.jetstream.send_publish(subject, message).await;
        let stored = match sent {
            Ok(stored) => stored.await,
            Err(error) => Err(error),
        };
        match stored {
            Ok(ack) => {
                self.last = Some((ack.sequence, index));
                self.signed_at = Some(Instant::now());
                Ok(())
            }
            // Another engine has signed since.
            Err(error) if error.kind() == PublishErrorKind::WrongLastSequence => {
                self.last = None;
                Ok(())
            }
            Err(error) => Err(unavailable(&error)),
        }
    }
}

fn unavailable(error: &dyn std::fmt::Display) -> Error {
    Error::Unavailable(error.to_string())
}

/// Where the last head of a partition stands, and its index, when the log has that very commit.
async fn last_checked(broker: &Broker, partition: u32) -> Result<(u64, u64), Error> {
    let Some((sequence, head)) = last_of(broker, partition).await? else { return Ok((0, 0)) };
    if head.partition != partition || !is_signed(&head) {
        return Err(Error::Forged(partition));
    }
    let log = broker.jetstream.get_stream(broker::log_stream(partition)).await;
    let log = log.map_err(|error| unavailable(&error))?;
    let rewritten = Error::Rewritten { partition, index: head.index };
    match log::read_whole(&log, partition, head.index).await {
        Ok((header, _, _)) if chain_value(&header) == head.chain[..] => Ok((sequence, head.index)),
        Ok(_) | Err(log::Error::Broken { .. } | log::Error::Fenced { .. }) => Err(rewritten),
        Err(error @ log::Error::Unavailable { .. }) => Err(unavailable(&error)),
    }
}

async fn heads(broker: &Broker) -> Result<jetstream::stream::Stream, Error> {
    broker.jetstream.get_stream(broker::HEADS_STREAM).await.map_err(|error| unavailable(&error))
}

async fn last_of(broker: &Broker, partition: u32) -> Result<Option<(u64, v1::SignedHead)>, Error> {
    let subject = broker::head_subject(partition);
    match heads(broker).await?.get_last_raw_message_by_subject(&subject).await {
        Ok(message) => {
            let head = v1::SignedHead::decode(message.payload);
            Ok(Some((message.sequence, head.map_err(|_| Error::Forged(partition))?)))
        }
        Err(error) if error.kind() == LastRawMessageErrorKind::NoMessageFound => Ok(None),
        Err(error) => Err(unavailable(&error)),
    }
}

/// Reads the heads of a partition, up to the last one when it was made.
pub struct Reader {
    last: u64,
    messages: Option<pull::Ordered>,
}

impl Reader {
    /// # Errors
    /// When the broker does not answer.
    pub async fn open(broker: &Broker, partition: u32) -> Result<Self, Error> {
        let Some((last, _)) = last_of(broker, partition).await? else {
            return Ok(Self { last: 0, messages: None });
        };
        let config = pull::OrderedConfig {
            deliver_policy: DeliverPolicy::All,
            filter_subject: broker::head_subject(partition),
            ..Default::default()
        };
        let consumer = heads(broker).await?.create_consumer(config).await;
        let messages = consumer.map_err(|error| unavailable(&error))?.messages().await;
        Ok(Self { last, messages: Some(messages.map_err(|error| unavailable(&error))?) })
    }

    /// # Errors
    /// When the broker does not answer. What is no head is passed over.
    pub async fn next(&mut self) -> Result<Option<v1::SignedHead>, Error> {
        while let Some(messages) = &mut self.messages {
            let next = tokio::time::timeout(limits::APPEND_TIMEOUT, messages.next()).await;
            let next = next.map_err(|_| unavailable(&"no message came"))?;
            let message = next.ok_or_else(|| unavailable(&"the reader was closed"))?;
            let message = message.map_err(|error| unavailable(&error))?;
            let sequence = message.info().map_err(|error| unavailable(&error))?.stream_sequence;
            if sequence >= self.last {
                self.messages = None;
            }
            if let Ok(head) = v1::SignedHead::decode(message.payload.clone()) {
                return Ok(Some(head));
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_counts_only_as_it_was_signed() {
        let key = Key(SigningKey::from_bytes(&[7; 32]));
        let head = key.head(1, 2, &[3; 32], 4);
        assert!(is_signed(&head));
        let other = Key(SigningKey::from_bytes(&[8; 32]));
        for changed in [
            v1::SignedHead { partition: 2, ..head.clone() },
            v1::SignedHead { index: 3, ..head.clone() },
            v1::SignedHead { chain: vec![4; 32], ..head.clone() },
            v1::SignedHead { at_ms: 5, ..head.clone() },
            v1::SignedHead { key: other.public().to_vec(), ..head.clone() },
            v1::SignedHead { signature: vec![0; 64], ..head.clone() },
            v1::SignedHead { chain: Vec::new(), ..head.clone() },
        ] {
            assert!(!is_signed(&changed), "{changed:?}");
        }
    }

    #[test]
    fn only_an_ed25519_key_in_pem_is_taken() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("key.pem");
        assert!(matches!(Key::open(&file), Err(Error::Read { .. })));
        std::fs::write(&file, "no key").unwrap();
        assert!(matches!(Key::open(&file), Err(Error::Key(_))));
        // RFC 8410, section 10.3.
        let pem = "-----BEGIN PRIVATE KEY-----\n\
            MC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC\n\
            -----END PRIVATE KEY-----\n";
        std::fs::write(&file, pem).unwrap();
        assert_eq!(Key::open(&file).unwrap().public()[..2], [0x19, 0xbf]);
    }
}
