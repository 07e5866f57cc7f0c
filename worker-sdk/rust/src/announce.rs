//! Says what this worker serves, again and again, and learns where its queues are.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use baton_proto::v1;
use prost::Message;
use tokio::sync::{Notify, watch};

use crate::{
    delay::Delay,
    desk::{self, Desk},
    limits::{ACK_WAIT_DEFAULT, ANNOUNCE_EVERY_DEFAULT, ANNOUNCE_EVERY_MIN},
};

/// By function.
pub(crate) type Queues = BTreeMap<String, Queue>;

/// Where one function's commands wait.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Queue {
    pub(crate) stream: String,
    pub(crate) consumer: String,
    /// A command in hand must show progress at least this often.
    pub(crate) ack_wait: Duration,
}

#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("no answer to the announcement")]
    Request(#[from] desk::Error),
    #[error("the answer to the announcement cannot be read")]
    Answer(#[from] prost::DecodeError),
    #[error("the announcement was refused, {code}: {reason}")]
    Refused { code: String, reason: String },
}

/// Works until it is dropped.
pub(crate) async fn run(
    desk: Arc<Desk>,
    announcement: v1::Announcement,
    queues: watch::Sender<Queues>,
    halted: watch::Sender<bool>,
    now: Arc<Notify>,
) {
    let mut connections = desk.connections.clone();
    let mut delay = Delay::new();
    let mut told = String::new();
    // Before that there is nobody to tell, and the connection tells of its own troubles.
    let _ = connections.wait_for(|made| *made > 0).await;
    loop {
        let wait = match announce(&desk, &announcement).await {
            Ok(Answer { queues: found, halted: is_halted, every }) => {
                delay.reset();
                told.clear();
                for offer in
                    announcement.functions.iter().filter(|offer| !found.contains_key(&offer.name))
                {
                    tracing::warn!(
                        function = offer.name,
                        "the engine named no queue for a function"
                    );
                }
                if halted.send_replace(is_halted) != is_halted {
                    if is_halted {
                        tracing::warn!(
                            "a kill switch stops this worker: what it has in hand goes to others"
                        );
                    } else {
                        tracing::info!("the kill switch is armed again, taking commands");
                    }
                }
                if *queues.borrow() != found {
                    tracing::info!(queues = found.len(), "announced, taking commands");
                }
                queues.send_replace(found);
                every
            }
            Err(error) => {
                let why = error.to_string();
                if why != told {
                    let cause = std::error::Error::source(&error).map(ToString::to_string);
                    tracing::warn!(%error, cause, "not announced, will try until it is");
                    told = why;
                }
                delay.next()
            }
        };
        tokio::select! { biased;
            Ok(()) = connections.changed() => {}
            () = now.notified() => {}
            () = tokio::time::sleep(wait) => {}
        }
    }
}

/// What the engine says to an announcement.
struct Answer {
    queues: Queues,
    /// A kill switch stops this worker.
    halted: bool,
    /// When to announce again.
    every: Duration,
}

async fn announce(desk: &Desk, announcement: &v1::Announcement) -> Result<Answer, Error> {
    let subject = format!("baton.announce.{}", desk.department);
    let answer = desk.request(subject, announcement.encode_to_vec().into()).await?;
    let reply = v1::AnnouncementReply::decode(answer.payload)?;
    if !reply.error.is_empty() || !reply.code.is_empty() {
        return Err(Error::Refused { code: reply.code, reason: reply.error });
    }
    let queues = reply.queues.into_iter().map(|queue| {
        let ack_wait = positive_ms(queue.ack_wait_ms).unwrap_or(ACK_WAIT_DEFAULT);
        (queue.function, Queue { stream: queue.stream, consumer: queue.consumer, ack_wait })
    });
    let every = positive_ms(reply.announce_every_ms).unwrap_or(ANNOUNCE_EVERY_DEFAULT);
    let (halted, every) = (reply.halted, every.max(ANNOUNCE_EVERY_MIN));
    Ok(Answer { queues: queues.collect(), halted, every })
}

fn positive_ms(ms: i64) -> Option<Duration> {
    u64::try_from(ms).ok().filter(|ms| *ms > 0).map(Duration::from_millis)
}
