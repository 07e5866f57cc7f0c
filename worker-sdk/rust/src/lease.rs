//! Keeps the commands in hand from being delivered to another worker.

use std::{sync::Arc, time::Instant};

use tokio::sync::watch;

use crate::{
    announce::Queues,
    desk::{Ack, Desk},
    limits::ACK_WAIT_DEFAULT,
};

/// Works until it is dropped.
pub(crate) async fn run(desk: Arc<Desk>, mut queues: watch::Receiver<Queues>) {
    loop {
        let shortest = queues.borrow_and_update().values().map(|queue| queue.ack_wait).min();
        // Renewal is due after a third of the ack wait; looking twice as often keeps the worst case at a half.
        let tick = shortest.unwrap_or(ACK_WAIT_DEFAULT) / 6;
        tokio::select! { biased;
            Ok(()) = queues.changed() => continue,
            () = tokio::time::sleep(tick) => {}
        }
        if !desk.is_connected() {
            continue;
        }
        let renewals = desk.in_hand.renew(Instant::now());
        for reply in renewals.progress {
            desk.acknowledge(reply, Ack::Progress).await;
        }
        for reply in renewals.give_back {
            desk.acknowledge(reply, Ack::GiveBack).await;
        }
    }
}
