//! Questions of workers about attempts that came again: one that is open by all that was taken may have its result in
//! the inbox already, so it is answered only when the inbox has been taken up to where it ended when it was asked.

use std::collections::VecDeque;

use baton_core::{ActivationId, Attempt, InstanceId};
use tokio::sync::oneshot;

use super::owner::Owner;

#[derive(Default)]
pub(super) struct Queries {
    /// Came after the broker was last asked where the inbox ends.
    fresh: Vec<Query>,
    /// What the broker is being asked for.
    asking: Vec<Query>,
    /// Each waits until the inbox is taken up to a sequence.
    waiting: VecDeque<(u64, Query)>,
}

pub(super) struct Query {
    pub(super) id: InstanceId,
    pub(super) step: ActivationId,
    pub(super) attempt: Attempt,
    pub(super) reply: oneshot::Sender<bool>,
}

impl Queries {
    /// Leaves all without an answer: their workers ask again.
    pub(super) fn forget(&mut self) {
        *self = Self::default();
    }
}

impl Owner {
    pub(super) fn attempt_open(&mut self, query: Query) {
        if self.awaits(&query) {
            self.queries.fresh.push(query);
            self.ask_where_the_inbox_ends();
        } else {
            let _ = query.reply.send(false);
        }
    }

    /// One question to the broker at a time: who comes meanwhile shares the next.
    fn ask_where_the_inbox_ends(&mut self) {
        if self.queries.asking.is_empty() && !self.queries.fresh.is_empty() {
            self.queries.asking = std::mem::take(&mut self.queries.fresh);
            self.work.tell_where_the_inbox_ends();
        }
    }

    /// The broker has said where, if it could.
    pub(super) fn inbox_ends(&mut self, sequence: Option<u64>) {
        let asked = std::mem::take(&mut self.queries.asking);
        if let Some(sequence) = sequence {
            self.queries.waiting.extend(asked.into_iter().map(|query| (sequence, query)));
        }
        self.ask_where_the_inbox_ends();
    }

    pub(super) fn answer_queries(&mut self) {
        while self.queries.waiting.front().is_some_and(|(end, _)| *end <= self.inbox_position)
            && let Some((_, query)) = self.queries.waiting.pop_front()
        {
            let awaited = self.awaits(&query);
            let _ = query.reply.send(awaited);
        }
    }

    fn awaits(&self, query: &Query) -> bool {
        let open = self.steps.get(&(query.id, query.step));
        open.is_some_and(|open| open.attempt == query.attempt)
            && !self.lanes.answered(query.id, query.step)
    }
}
