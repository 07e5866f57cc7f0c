//! Listens for attempts that are no longer wanted, and for the call to announce oneself anew.

use std::{sync::Arc, time::Instant};

use async_nats::Subscriber;
use baton_proto::v1;
use futures::StreamExt;
use prost::Message;
use tokio::sync::Notify;

use crate::{desk::Desk, in_hand::AttemptId};

/// Works until it is dropped.
pub(crate) async fn run(desk: Arc<Desk>, mut control: Subscriber, announce_now: Arc<Notify>) {
    while let Some(message) = control.next().await {
        match v1::StepCancellation::decode(message.payload) {
            Ok(cancellation) if !cancellation.worker.is_empty() => {
                if cancellation.worker == desk.worker {
                    announce_now.notify_one();
                }
            }
            Ok(cancellation) => {
                let held = AttemptId::of_cancellation(&cancellation)
                    .is_some_and(|id| desk.in_hand.cancel(id, Instant::now()));
                tracing::debug!(
                    step = cancellation.step,
                    attempt = cancellation.attempt,
                    held,
                    "an attempt was cancelled"
                );
            }
            Err(error) => tracing::warn!(%error, "a cancellation cannot be read"),
        }
    }
}
