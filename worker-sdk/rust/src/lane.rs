//! One function's way through the worker: takes its commands, runs them, hands the results over.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    task::Poll,
    time::{Duration, Instant},
};

use async_nats::Message;
use futures::FutureExt;
use tokio::{
    sync::{mpsc, watch},
    task::{Id, JoinError, JoinSet},
};
use tokio_util::sync::CancellationToken;

use crate::{
    attempt::{Delivered, Ending, Finished},
    desk::{Ack, Desk},
    function::Function,
    in_hand::{Arrival, AttemptId, Start},
    limits::{CLOSE_TIMEOUT, PREFETCH_MAX, PREFETCH_TIME, TURN_STEPS, TURN_TIME, UNSETTLED_MAX},
    pull::Pull,
};

pub(crate) struct Lane {
    desk: Arc<Desk>,
    function: Arc<Function>,
    concurrency: usize,
    pull: Pull,
    settle: mpsc::Sender<Vec<Finished>>,
    /// A kill switch stops this worker.
    halted: watch::Receiver<bool>,
    queue: VecDeque<(Arrival, Delivered)>,
    /// Handlers that had to wait for something. One that never waits runs within the lane and costs no task.
    running: JoinSet<Ending>,
    ids: HashMap<Id, AttemptId>,
    finished: Vec<Finished>,
    pace: Pace,
}

impl Lane {
    pub(crate) fn new(
        desk: Arc<Desk>,
        function: Function,
        concurrency: usize,
        pull: Pull,
        settle: mpsc::Sender<Vec<Finished>>,
        halted: watch::Receiver<bool>,
    ) -> Self {
        Self {
            desk,
            function: Arc::new(function),
            concurrency,
            pull,
            settle,
            halted,
            queue: VecDeque::new(),
            running: JoinSet::new(),
            ids: HashMap::new(),
            finished: Vec::new(),
            pace: Pace::default(),
        }
    }

    /// Works until `stop`, then drains: what runs may go on for `grace`.
    pub(crate) async fn run(mut self, stop: CancellationToken, grace: Duration) {
        while !stop.is_cancelled() {
            if self.halted.has_changed().unwrap_or(false) {
                self.halt().await;
            }
            self.take_ready().await;
            self.turn().await;
            self.hand_over().await;
            let room = self.room();
            self.pull.ask(room).await;
            let waits = !self.queue.is_empty() && !*self.halted.borrow();
            if waits && self.running.len() < self.concurrency {
                tokio::task::yield_now().await;
                continue;
            }
            tokio::select! { biased;
                () = stop.cancelled() => {}
                Ok(()) = self.halted.changed() => self.halt().await,
                Some(ended) = self.running.join_next_with_id() => self.joined(ended).await,
                command = self.pull.next() => if let Some(command) = command {
                    self.accept(&command).await;
                },
            }
        }
        self.drain(grace).await;
    }

    /// Gives everything back when a kill switch stops this worker: others may go on with it.
    async fn halt(&mut self) {
        if !*self.halted.borrow_and_update() {
            return;
        }
        self.stop_running().await;
        for (_, delivered) in std::mem::take(&mut self.queue) {
            self.give_back(delivered.id).await;
        }
        let rest = tokio::time::timeout(CLOSE_TIMEOUT, self.pull.pause()).await;
        let rest = rest.unwrap_or_default().into_iter().filter_map(|command| command.reply);
        for reply in rest {
            self.desk.acknowledge(reply, Ack::GiveBack).await;
        }
    }

    /// Ends what runs, and gives it back.
    async fn stop_running(&mut self) {
        self.running.abort_all();
        while let Some(ended) = self.running.join_next_with_id().await {
            self.joined(ended).await;
        }
    }

    /// How many commands may be here or on their way.
    fn room(&self) -> usize {
        if *self.halted.borrow() || self.desk.in_hand.len() >= UNSETTLED_MAX {
            return 0;
        }
        let window = self.concurrency + self.pace.prefetch(self.concurrency);
        window.saturating_sub(self.queue.len() + self.running.len())
    }

    async fn take_ready(&mut self) {
        while let Some(ended) = self.running.try_join_next_with_id() {
            self.joined(ended).await;
        }
        for _ in 0..TURN_STEPS {
            let Some(command) = self.pull.next_ready() else { return };
            self.accept(&command).await;
        }
    }

    async fn accept(&mut self, message: &Message) {
        let Some(reply) = message.reply.clone() else {
            tracing::warn!(subject = %message.subject, "a command that cannot be acknowledged was left out");
            return;
        };
        let ack_wait = self.pull.ack_wait();
        match Delivered::read(message, ack_wait) {
            Ok(delivered) => {
                let arrival =
                    self.desk.in_hand.arrive(delivered.id, reply, ack_wait, Instant::now());
                if let Some(arrival) = arrival {
                    self.queue.push_back((arrival, delivered));
                }
            }
            Err(error) => {
                tracing::error!(subject = %message.subject, %error, "a command cannot be read and is put away");
                self.desk.acknowledge(reply, Ack::Unreadable).await;
            }
        }
    }

    /// Starts what may start. The results of one turn go out together.
    async fn turn(&mut self) {
        let began = Instant::now();
        for _ in 0..TURN_STEPS {
            let full = self.running.len() >= self.concurrency;
            if full || began.elapsed() > TURN_TIME || *self.halted.borrow() {
                return;
            }
            let Some((arrival, delivered)) = self.queue.pop_front() else { return };
            let id = delivered.id;
            match self.desk.in_hand.start(id, arrival) {
                Start::Skip => {}
                Start::Drop(reply) => self.desk.acknowledge(reply, Ack::Done).await,
                Start::Run(cancelled) => {
                    let mut run =
                        delivered.run(self.desk.clone(), self.function.clone(), cancelled).boxed();
                    match futures::poll!(&mut run) {
                        Poll::Ready(ending) => self.end(ending).await,
                        Poll::Pending => {
                            let task = self.running.spawn(run);
                            self.ids.insert(task.id(), id);
                        }
                    }
                }
            }
        }
    }

    async fn joined(&mut self, ended: Result<(Id, Ending), JoinError>) {
        let (task, ending) = match ended {
            Ok((task, ending)) => (task, Some(ending)),
            Err(error) => (error.id(), None),
        };
        let id = self.ids.remove(&task);
        match (ending, id) {
            (Some(ending), _) => self.end(ending).await,
            // It was stopped at the end of a drain.
            (None, Some(id)) => self.give_back(id).await,
            (None, None) => {}
        }
    }

    async fn end(&mut self, ending: Ending) {
        match ending {
            Ending::Finished(finished) => {
                self.pace.record(finished.took);
                self.finished.push(*finished);
            }
            Ending::Closed(id) => {
                if let Some(reply) = self.desk.in_hand.take(id) {
                    self.desk.acknowledge(reply, Ack::Done).await;
                }
            }
            Ending::Left(id) => {
                self.desk.in_hand.take(id);
            }
        }
    }

    async fn hand_over(&mut self) {
        if !self.finished.is_empty()
            && self.settle.send(std::mem::take(&mut self.finished)).await.is_err()
        {
            tracing::error!("results could not be handed over, their commands will come again");
        }
    }

    async fn give_back(&self, id: AttemptId) {
        if let Some(reply) = self.desk.in_hand.take(id) {
            self.desk.acknowledge(reply, Ack::GiveBack).await;
        }
    }

    async fn drain(mut self, grace: Duration) {
        let deadline = tokio::time::Instant::now() + grace;
        self.hand_over().await;
        for (_, delivered) in std::mem::take(&mut self.queue) {
            self.give_back(delivered.id).await;
        }
        match tokio::time::timeout(grace.min(CLOSE_TIMEOUT), self.pull.close()).await {
            Ok(rest) => {
                for reply in rest.into_iter().filter_map(|command| command.reply) {
                    self.desk.acknowledge(reply, Ack::GiveBack).await;
                }
            }
            Err(_) => {
                tracing::warn!("what the broker has sent meanwhile is left to be delivered again");
            }
        }
        while let Ok(Some(ended)) =
            tokio::time::timeout_at(deadline, self.running.join_next_with_id()).await
        {
            self.joined(ended).await;
            self.hand_over().await;
        }
        if !self.running.is_empty() {
            let handlers = self.running.len();
            tracing::warn!(
                function = self.function.offer.name,
                handlers,
                "handlers outlasted the drain, others take over"
            );
            self.stop_running().await;
            self.hand_over().await;
        }
    }
}

/// How fast the handlers are, to know how many commands may wait behind them.
#[derive(Default)]
struct Pace {
    /// Running mean; none before the first.
    mean: Option<Duration>,
}

impl Pace {
    fn record(&mut self, took: Duration) {
        self.mean = Some(self.mean.map_or(took, |mean| (mean * 7 + took) / 8));
    }

    fn prefetch(&self, concurrency: usize) -> usize {
        let Some(mean) = self.mean else { return 0 };
        let each = PREFETCH_TIME.as_nanos() / mean.as_nanos().max(1);
        usize::try_from(each).unwrap_or(PREFETCH_MAX).saturating_mul(concurrency).min(PREFETCH_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fast_handlers_have_commands_waiting_and_slow_ones_hoard_none() {
        let mut pace = Pace::default();
        assert_eq!(pace.prefetch(256), 0);
        pace.record(Duration::from_micros(5));
        assert_eq!(pace.prefetch(1), PREFETCH_MAX);
        for _ in 0..64 {
            pace.record(Duration::from_secs(2));
        }
        assert_eq!(pace.prefetch(256), 0);
    }
}
