//! What all parts of a running worker share.

use async_nats::{Client, Message, Subject, connection::State};
use bytes::Bytes;
use tokio::sync::watch;

use crate::{
    in_hand::InHand,
    limits::{OUTPUT_BYTES_MAX, RESULT_OVERHEAD_BYTES},
    secrets::Secrets,
};

pub(crate) struct Desk {
    pub(crate) client: Client,
    /// Counts the connections made so far: a change means that whatever was asked for before may be lost.
    pub(crate) connections: watch::Receiver<u64>,
    pub(crate) department: String,
    pub(crate) worker: String,
    pub(crate) service: String,
    pub(crate) secrets: Secrets,
    pub(crate) in_hand: InHand,
}

/// The words of JetStream's acknowledgements.
#[derive(Clone, Copy)]
pub(crate) enum Ack {
    Done,
    Progress,
    GiveBack,
    /// Never deliver it again: nobody can read it.
    Unreadable,
}

/// Why a request has no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error(transparent)]
    Request(#[from] async_nats::RequestError),
    #[error("the connection on which the answer was to come is gone")]
    Reconnected,
}

impl Desk {
    /// Asks the engine, and waits for its answer only as long as it can come.
    pub(crate) async fn request(&self, subject: String, body: Bytes) -> Result<Message, Error> {
        let mut connections = self.connections.clone();
        connections.mark_unchanged();
        tokio::select! { biased;
            answer = self.client.request(subject, body) => Ok(answer?),
            Ok(()) = connections.changed() => Err(Error::Reconnected),
        }
    }

    /// Tells the broker what became of a command. Nobody confirms it: when it is lost, the command comes again.
    pub(crate) async fn acknowledge(&self, reply: Subject, ack: Ack) {
        let word: &'static [u8] = match ack {
            Ack::Done => b"+ACK",
            Ack::Progress => b"+WPI",
            Ack::GiveBack => b"-NAK",
            Ack::Unreadable => b"+TERM",
        };
        if let Err(error) = self.client.publish(reply, Bytes::from_static(word)).await {
            tracing::debug!(%error, "an acknowledgement was not sent");
        }
    }

    pub(crate) fn is_connected(&self) -> bool {
        self.client.connection_state() == State::Connected
    }

    /// How large an output may be, with this broker.
    pub(crate) fn output_bytes_max(&self) -> usize {
        // Zero before the first connection: then nothing is known yet.
        match self.client.max_payload() {
            0 => OUTPUT_BYTES_MAX,
            max => OUTPUT_BYTES_MAX.min(max.saturating_sub(RESULT_OVERHEAD_BYTES)),
        }
    }
}
