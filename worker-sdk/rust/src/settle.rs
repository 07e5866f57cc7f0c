//! The way out: stores results, many in a message, and acknowledges their commands only then.

use std::{collections::BTreeMap, sync::Arc};

use async_nats::jetstream;
use baton_proto::v1;
use bytes::Bytes;
use prost::Message;
use tokio::{sync::mpsc, task::JoinSet};

use crate::{
    attempt::Finished,
    delay::Delay,
    desk::{Ack, Desk},
    in_hand::AttemptId,
    limits::{
        MESSAGE_BYTES_MAX, PUBLISHES_IN_FLIGHT_MAX, RESULTS_PER_MESSAGE_MAX, TURNS_WAITING_MAX,
    },
};

/// Results that go out together.
struct Parcel {
    subject: String,
    body: Bytes,
    ids: Vec<AttemptId>,
}

/// Works until every lane has gone and everything that they handed over is stored and acknowledged.
pub(crate) async fn run(
    desk: Arc<Desk>,
    jetstream: jetstream::Context,
    mut turns: mpsc::Receiver<Vec<Finished>>,
) {
    let mut publishes = JoinSet::new();
    let mut gathered = Vec::new();
    while turns.recv_many(&mut gathered, TURNS_WAITING_MAX).await > 0 {
        let (wanted, unwanted): (Vec<_>, Vec<_>) =
            gathered.drain(..).flatten().partition(|finished| !finished.cancelled.is_cancelled());
        acknowledge(&desk, &unwanted.iter().map(|finished| finished.id).collect::<Vec<_>>()).await;
        for parcel in coalesce(wanted) {
            // While these are under way, the next results gather and share messages.
            while publishes.len() >= PUBLISHES_IN_FLIGHT_MAX {
                publishes.join_next().await;
            }
            publishes.spawn(store(desk.clone(), jetstream.clone(), parcel));
        }
        while publishes.try_join_next().is_some() {}
    }
    while publishes.join_next().await.is_some() {}
}

/// Publishes until the broker says that it is stored. A result that is stored twice counts once.
async fn store(desk: Arc<Desk>, jetstream: jetstream::Context, parcel: Parcel) {
    let mut delay = Delay::new();
    let mut connections = desk.connections.clone();
    loop {
        connections.mark_unchanged();
        let publish =
            async { jetstream.publish(parcel.subject.clone(), parcel.body.clone()).await?.await };
        tokio::select! { biased;
            stored = publish => match stored {
                Ok(_) => break,
                Err(error) => {
                    tracing::warn!(subject = parcel.subject, %error, "results are not stored yet, will try again");
                    tokio::time::sleep(delay.next()).await;
                }
            },
            // The answer is lost with the connection that it was to come on.
            Ok(()) = connections.changed() => {}
        }
    }
    acknowledge(&desk, &parcel.ids).await;
}

async fn acknowledge(desk: &Desk, ids: &[AttemptId]) {
    for reply in desk.in_hand.take_all(ids) {
        desk.acknowledge(reply, Ack::Done).await;
    }
}

/// Whatever goes to the same subject shares messages, within the bounds of one.
fn coalesce(all: Vec<Finished>) -> Vec<Parcel> {
    let mut by_subject: BTreeMap<String, Vec<Finished>> = BTreeMap::new();
    for finished in all {
        by_subject.entry(finished.reply_subject.clone()).or_default().push(finished);
    }
    let mut parcels = Vec::new();
    for (subject, all) in by_subject {
        let (mut results, mut ids, mut bytes) = (Vec::new(), Vec::new(), 0);
        for finished in all {
            let length = encoded_bytes(&finished.result);
            if results.len() == RESULTS_PER_MESSAGE_MAX
                || (bytes > 0 && bytes + length > MESSAGE_BYTES_MAX)
            {
                parcels.push(parcel(
                    &subject,
                    std::mem::take(&mut results),
                    std::mem::take(&mut ids),
                ));
                bytes = 0;
            }
            bytes += length;
            results.push(finished.result);
            ids.push(finished.id);
        }
        parcels.push(parcel(&subject, results, ids));
    }
    parcels
}

fn parcel(subject: &str, results: Vec<v1::StepResult>, ids: Vec<AttemptId>) -> Parcel {
    Parcel {
        subject: subject.to_owned(),
        body: v1::ResultBatch { results }.encode_to_vec().into(),
        ids,
    }
}

/// Bytes of a result within a batch, its tag and length included.
fn encoded_bytes(result: &v1::StepResult) -> usize {
    let length = result.encoded_len();
    1 + prost::length_delimiter_len(length) + length
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio_util::sync::CancellationToken;

    use super::*;

    fn finished(step: u32, subject: &'static str, output_bytes: usize) -> Finished {
        let id = AttemptId { instance: [1; 16], step, attempt: 1 };
        let outcome = Some(v1::step_result::Outcome::Output(vec![b'1'; output_bytes]));
        Finished {
            id,
            cancelled: CancellationToken::new(),
            reply_subject: subject.to_owned(),
            result: v1::StepResult { step, outcome, ..Default::default() },
            took: Duration::ZERO,
        }
    }

    #[test]
    fn results_for_one_subject_share_a_message() {
        let parcels = coalesce(vec![finished(1, "a", 5), finished(2, "b", 5), finished(3, "a", 5)]);
        let mut counts: Vec<_> =
            parcels.iter().map(|p| (p.subject.as_str(), p.ids.len())).collect();
        counts.sort_unstable();
        assert_eq!(counts, [("a", 2), ("b", 1)]);
    }

    #[test]
    fn a_message_stays_within_its_bounds() {
        let many = (0..=RESULTS_PER_MESSAGE_MAX)
            .map(|i| finished(u32::try_from(i).unwrap(), "a", 1))
            .collect();
        let counts: Vec<_> = coalesce(many).iter().map(|p| p.ids.len()).collect();
        assert_eq!(counts, [RESULTS_PER_MESSAGE_MAX, 1]);

        let large = (0..5).map(|i| finished(i, "a", 300 * 1024)).collect();
        let parcels = coalesce(large);
        assert_eq!(parcels.iter().map(|p| p.ids.len()).collect::<Vec<_>>(), [2, 2, 1]);
        assert!(parcels.iter().all(|p| p.body.len() <= MESSAGE_BYTES_MAX));
    }

    #[test]
    fn a_result_above_the_bound_goes_alone() {
        let parcels =
            coalesce(vec![finished(1, "a", 1), finished(2, "a", 800 * 1024), finished(3, "a", 1)]);
        assert_eq!(parcels.iter().map(|p| p.ids.len()).collect::<Vec<_>>(), [1, 1, 1]);
    }
}
