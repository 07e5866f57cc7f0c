//! Shows events to those who listen: what comes, to all at once; what an instance has missed, to it alone.

use std::{collections::BTreeSet, sync::Arc};

use baton_core::{ActivationId, Command, InstanceId, event::Origin};

use super::{Exit, listeners::Subscription, owner::Owner};
use crate::{
    events::{Arrived, CloudEvent, Next},
    limits,
};

/// The event of which listeners are being told.
pub(super) struct Giving {
    arrived: Arc<Arrived>,
    /// Those that are still to be asked who stands there.
    subscriptions: std::vec::IntoIter<Subscription>,
    /// Instances that may take it, each once.
    candidates: BTreeSet<InstanceId>,
}

/// What an instance that catches up is to be shown next.
pub(super) enum ToShow {
    Event {
        arrived: Arc<Arrived>,
        /// For which it was kept; `None`: it has come since, for all.
        listener: Option<ActivationId>,
    },
    /// That is still to be found out.
    Later,
    Nothing,
}

impl Giving {
    /// An instance that has begun to listen meanwhile.
    pub(super) fn also(&mut self, id: InstanceId) {
        self.candidates.insert(id);
    }
}

impl Owner {
    /// After a decision: enters what the instance listens for now.
    pub(super) fn note_listeners(&mut self, id: InstanceId) {
        let Some(resident) = self.residents.get(&id) else { return };
        match &resident.definition {
            Some(definition) if resident.instance.ended.is_none() => {
                self.listeners.refresh(&resident.instance, definition);
            }
            Some(_) | None => self.listeners.forget(id),
        }
    }

    /// Tells listeners of the events that have come, while the batch has room.
    pub(super) async fn give_events(&mut self) -> Result<(), Exit> {
        while !self.batch.is_full() && !self.too_many_behind() {
            let Some(mut giving) = self.giving.take() else {
                match self.next_event().await? {
                    Some(arrived) => {
                        let asked = arrived.event.as_ref().map(|e| self.listeners.subscriptions(e));
                        let subscriptions = asked.unwrap_or_default().into_iter();
                        let candidates = BTreeSet::new();
                        self.giving = Some(Giving { arrived, subscriptions, candidates });
                        continue;
                    }
                    None => return Ok(()),
                }
            };
            if let Some(subscription) = giving.subscriptions.next() {
                if let Some(event) = &giving.arrived.event {
                    let found = &mut giving.candidates;
                    self.batch.work += self.listeners.candidates(subscription, event, found);
                }
                self.giving = Some(giving);
                continue;
            }
            let Some(id) = giving.candidates.pop_first() else {
                // All have been told: from here on it counts as seen.
                self.event_position = giving.arrived.position;
                continue;
            };
            if let Some(event) = &giving.arrived.event {
                self.give(id, giving.arrived.position, event).await?;
            }
            self.giving = Some(giving);
        }
        Ok(())
    }

    async fn next_event(&self) -> Result<Option<Arc<Arrived>>, Exit> {
        let feed = &self.engine.feed;
        match feed.after(self.event_position) {
            Next::Arrived(arrived) => Ok(Some(arrived)),
            Next::Wait => Ok(None),
            Next::Behind => {
                let fetched = feed.fetch_after(self.event_position).await;
                fetched.map_err(|error| Exit::Broker(error.to_string()))
            }
        }
    }

    /// Shows an event that has just come. Who still catches up, or decides beside the loop, sees it in its turn.
    async fn give(
        &mut self,
        id: InstanceId,
        position: u64,
        event: &CloudEvent,
    ) -> Result<(), Exit> {
        if self.resident(id).await?.is_none() {
            return Ok(());
        }
        let beside = self.is_beside(id);
        if beside || self.lanes.waits(id) {
            self.lanes.fall_behind(id, position);
            if beside {
                self.queue_beside(id);
            } else {
                self.lanes.queue_catching_up(id);
            }
            return Ok(());
        }
        self.show(id, position, event, None);
        Ok(())
    }

    fn show(
        &mut self,
        id: InstanceId,
        position: u64,
        event: &CloudEvent,
        listener: Option<ActivationId>,
    ) {
        let command = self.taking(id, position, event, listener);
        let before = self.batch.work;
        let outcome = self.decide(id, command);
        if let Err(refusal) = outcome {
            tracing::trace!(%refusal, instance = %id, position, "An event was not taken");
        }
        if self.batch.work - before >= limits::SLOW_FILTER_WORK
            && let Some(resident) = self.residents.get_mut(&id)
        {
            resident.set_slow();
        }
    }

    /// The command that shows an event.
    pub(super) fn taking(
        &self,
        id: InstanceId,
        position: u64,
        event: &CloudEvent,
        listener: Option<ActivationId>,
    ) -> Command {
        // What is held may be given to later listeners, what is not in the log yet may be given again.
        let again = self.lanes.behind(id).map_or(u64::MAX, |behind| behind.since + 1);
        let floor = self.engine.feed.first().min(self.event_committed + 1).min(again).min(position);
        let origin = Origin {
            position,
            floor,
            id: Arc::clone(&event.id),
            source: Arc::clone(&event.source),
            kind: Arc::clone(&event.kind),
        };
        Command::TakeEvent { event: event.json.clone(), origin, listener }
    }

    /// Shows an instance some of what it has missed.
    pub(super) async fn catch_up(&mut self) -> Result<(), Exit> {
        let Some(id) = self.lanes.next_catching_up() else { return Ok(()) };
        if self.resident(id).await?.is_none() {
            self.lanes.forget(id);
            return Ok(());
        }
        let (mut shown, before) = (0, self.batch.work);
        while !self.is_beside(id) {
            shown += 1;
            if shown > limits::CATCH_UP_AT_ONCE
                || self.batch.work - before >= limits::SLOW_WORK
                || self.batch.is_full()
            {
                self.lanes.queue_catching_up(id);
                return Ok(());
            }
            match self.next_to_show(id).await? {
                ToShow::Event { arrived, listener } => {
                    if let Some(event) = &arrived.event {
                        self.show(id, arrived.position, event, listener);
                    }
                    self.lanes.shown(id, arrived.position, listener);
                }
                ToShow::Later => {
                    self.lanes.queue_catching_up(id);
                    return Ok(());
                }
                ToShow::Nothing => {
                    self.lanes.has_more(id);
                    return Ok(());
                }
            }
        }
        // Some of what it has missed is still to be found, and its turn beside the loop finds a part.
        self.queue_beside(id);
        Ok(())
    }

    /// The oldest event that a resident instance has missed.
    pub(super) async fn next_to_show(&mut self, id: InstanceId) -> Result<ToShow, Exit> {
        if self.engine.feed.last() < self.event_position {
            // They are being read.
            return Ok(ToShow::Nothing);
        }
        loop {
            if !self.look_up_kept(id) {
                return Ok(ToShow::Later);
            }
            let lane = self.lanes.of(id);
            let (Some(position), Some(begun)) =
                (lane.kept.front().copied(), lane.begun.front().copied())
            else {
                return self.next_missed(id).await;
            };
            let listener = begun.activation;
            let instance = &self.residents[&id].instance;
            let wanted = !instance.taken.contains(&position)
                && instance.listeners().any(|(found, _)| found == listener);
            match self.engine.feed.get(position) {
                Some(arrived) if wanted => {
                    return Ok(ToShow::Event { arrived, listener: Some(listener) });
                }
                Some(_) | None => self.lanes.shown(id, position, Some(listener)),
            }
        }
    }

    /// Finds out what was kept for the first listener that has begun, which may be all there is to show it; `false`: that
    /// was enough for once. What others have been shown since comes after it, for all.
    fn look_up_kept(&mut self, id: InstanceId) -> bool {
        let up_to = self.lanes.behind(id).map_or(self.event_position, |behind| behind.after);
        loop {
            let lane = self.lanes.of(id);
            let Some(begun) = lane.begun.front().copied() else { return true };
            if !lane.kept.is_empty() {
                return true;
            }
            let resident = &self.residents[&id];
            let listens = resident.instance.listeners().any(|(found, _)| found == begun.activation);
            let (true, Some(definition)) = (listens, &resident.definition) else {
                lane.begun.pop_front();
                continue;
            };
            let kept = self.listeners.kept_for(
                &self.engine.feed,
                self.event_position,
                &resident.instance,
                definition,
                begun.activation,
                &mut self.batch.work,
            );
            let Some(kept) = kept else { return false };
            self.batch.work += kept.len() as u64;
            let rest = kept.range(begun.given + 1..).copied();
            let rest = rest.take_while(|position| *position <= up_to);
            let lane = self.lanes.of(id);
            lane.kept.extend(rest.take(limits::KEPT_AT_ONCE));
            match (lane.kept.back(), lane.begun.front_mut()) {
                (Some(last), Some(begun)) => begun.given = *last,
                (None, _) | (_, None) => {
                    lane.begun.pop_front();
                }
            }
        }
    }

    /// The first event that came while the instance caught up and that it may want.
    async fn next_missed(&mut self, id: InstanceId) -> Result<ToShow, Exit> {
        let mut fetched = 0;
        for _ in 0..limits::EVENTS_PASSED_AT_ONCE {
            let Some(behind) = self.lanes.behind(id) else { return Ok(ToShow::Nothing) };
            let feed = &self.engine.feed;
            let next = match feed.after(behind.after) {
                Next::Arrived(arrived) => Some(arrived),
                Next::Wait => None,
                Next::Behind if fetched == limits::EVENTS_FETCHED_AT_ONCE => {
                    return Ok(ToShow::Later);
                }
                Next::Behind => {
                    fetched += 1;
                    // Nobody else shall suffer for what this one has missed: it is tried again.
                    feed.fetch_after(behind.after).await.unwrap_or_else(|error| {
                        tracing::debug!(%error, instance = %id, "Missed events are not there yet");
                        None
                    })
                }
            };
            let Some(arrived) = next else { return Ok(ToShow::Nothing) };
            let wanted = arrived.position <= behind.to
                && arrived.event.as_ref().is_some_and(|e| self.listeners.may_want(id, &e.kind));
            if wanted {
                return Ok(ToShow::Event { arrived, listener: None });
            }
            self.lanes.shown(id, arrived.position.min(behind.to), None);
        }
        Ok(ToShow::Later)
    }
}
