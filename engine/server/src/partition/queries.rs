//! Questions of workers about attempts that came again: one that is open by all that was taken may have its result in
//! the inbox already, so it is answered only when the inbox has been taken up to where it ended when it was asked.

use baton_core::{ActivationId, Attempt, InstanceId};
use tokio::sync::oneshot;
use uuid::Uuid;

use super::owner::Owner;

#[derive(Default)]
pub(super) struct Queries {
    /// Came after the broker was last asked where the inbox ends.
    fresh: Vec<Query>,
    /// What the broker is being asked for, and the number of that question.
    asking: Option<(Uuid, Vec<Query>)>,
    /// Each waits until the inbox is taken up to a sequence.
    waiting: Vec<(u64, Query)>,
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
        let open = self.steps.get(&(query.id, query.step));
        let open = open.filter(|open| open.attempt == query.attempt);
        if open.is_none_or(|_| self.lanes.answered(query.id, query.step)) {
            let _ = query.reply.send(false);
        } else if open.is_some_and(|open| open.logged)
            && !self.halting.is_waiting((query.id, query.step), query.attempt)
        {
            self.queries.fresh.push(query);
            self.ask_where_the_inbox_ends();
        }
        // Else nobody can have been asked to do it yet: no answer, and who asks asks again.
    }

    /// One question to the broker at a time: who comes meanwhile shares the next.
    fn ask_where_the_inbox_ends(&mut self) {
        if self.queries.asking.is_none() && !self.queries.fresh.is_empty() {
            let question = Uuid::now_v7();
            self.queries.asking = Some((question, std::mem::take(&mut self.queries.fresh)));
            self.work.tell_where_the_inbox_ends(question);
        }
    }

    /// The broker has said where, if it could.
    pub(super) fn inbox_ends(&mut self, question: Uuid, sequence: Option<u64>) {
        let asked = self.queries.asking.take_if(|(asked, _)| *asked == question);
        if let (Some((_, queries)), Some(sequence)) = (asked, sequence) {
            self.queries.waiting.extend(queries.into_iter().map(|query| (sequence, query)));
        }
        self.ask_where_the_inbox_ends();
    }

    pub(super) fn answer_queries(&mut self) {
        if self.queries.waiting.is_empty() {
            return;
        }
        let taken = self.inbox_position;
        for (_, query) in self.queries.waiting.extract_if(.., |(end, _)| *end <= taken) {
            let open = self.steps.get(&(query.id, query.step));
            let open = open.is_some_and(|open| open.attempt == query.attempt);
            let _ = query.reply.send(open && !self.lanes.answered(query.id, query.step));
        }
    }
}
