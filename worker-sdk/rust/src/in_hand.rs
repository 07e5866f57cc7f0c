//! The commands that this worker holds: from their arrival until they are acknowledged or given back.

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use async_nats::Subject;
use baton_proto::v1;
use tokio_util::sync::CancellationToken;

use crate::limits::{UNWANTED_MAX, UNWANTED_TIME};

/// One attempt at one step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct AttemptId {
    pub(crate) instance: [u8; 16],
    pub(crate) step: u32,
    pub(crate) attempt: u32,
}

impl AttemptId {
    /// None when the instance is no id.
    pub(crate) fn of_command(command: &v1::StepCommand) -> Option<Self> {
        Self::new(&command.instance, command.step, command.attempt)
    }

    pub(crate) fn of_cancellation(cancellation: &v1::StepCancellation) -> Option<Self> {
        Self::new(&cancellation.instance, cancellation.step, cancellation.attempt)
    }

    fn new(instance: &[u8], step: u32, attempt: u32) -> Option<Self> {
        Some(Self { instance: instance.try_into().ok()?, step, attempt })
    }
}

/// One arrival of a command: when the command comes again before it has begun, the earlier arrival counts no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Arrival(u64);

#[derive(Default)]
pub(crate) struct InHand(Mutex<Hand>);

#[derive(Default)]
struct Hand {
    held: HashMap<AttemptId, Held>,
    arrivals: u64,
    /// Cancelled before they came, and when.
    unwanted: HashMap<AttemptId, Instant>,
}

struct Held {
    arrival: Arrival,
    /// Where to acknowledge: of the last delivery, because the broker forgets earlier ones when it restarts.
    reply: Subject,
    cancelled: CancellationToken,
    begun: bool,
    /// When the broker last heard of it.
    renewed: Instant,
    ack_wait: Duration,
}

/// What may be done with a queued command.
pub(crate) enum Start {
    Run(CancellationToken),
    /// No longer wanted: acknowledge it here and forget it.
    Drop(Subject),
    /// Already begun, given back meanwhile, or come again.
    Skip,
}

/// What the broker must hear so that no command in hand is delivered to another worker, or so that it is.
#[derive(Default)]
pub(crate) struct Renewals {
    pub(crate) progress: Vec<Subject>,
    pub(crate) give_back: Vec<Subject>,
}

impl Hand {
    fn expect_no_more(&mut self, id: AttemptId, now: Instant) {
        if self.unwanted.len() >= UNWANTED_MAX {
            self.unwanted.retain(|_, at| now.duration_since(*at) <= UNWANTED_TIME);
        }
        if self.unwanted.len() < UNWANTED_MAX {
            self.unwanted.insert(id, now);
        }
    }

    fn is_unwanted(&mut self, id: AttemptId, now: Instant) -> bool {
        let cancelled = self.unwanted.remove(&id);
        cancelled.is_some_and(|at| now.duration_since(at) <= UNWANTED_TIME)
    }
}

impl InHand {
    /// None when it has begun already: then only the place of its acknowledgement changes.
    pub(crate) fn arrive(
        &self,
        id: AttemptId,
        reply: Subject,
        ack_wait: Duration,
        now: Instant,
    ) -> Option<Arrival> {
        let mut hand = self.lock();
        hand.arrivals += 1;
        let arrival = Arrival(hand.arrivals);
        let unwanted = hand.is_unwanted(id, now);
        match hand.held.entry(id) {
            Entry::Occupied(mut held) => {
                let held = held.get_mut();
                held.reply = reply;
                held.renewed = now;
                held.arrival = arrival;
                (!held.begun).then_some(arrival)
            }
            Entry::Vacant(place) => {
                let cancelled = CancellationToken::new();
                if unwanted {
                    cancelled.cancel();
                }
                place.insert(Held {
                    arrival,
                    reply,
                    cancelled,
                    begun: false,
                    renewed: now,
                    ack_wait,
                });
                Some(arrival)
            }
        }
    }

    pub(crate) fn start(&self, id: AttemptId, arrival: Arrival) -> Start {
        let mut hand = self.lock();
        let Entry::Occupied(mut held) = hand.held.entry(id) else { return Start::Skip };
        if held.get().begun || held.get().arrival != arrival {
            return Start::Skip;
        }
        if held.get().cancelled.is_cancelled() {
            return Start::Drop(held.remove().reply);
        }
        held.get_mut().begun = true;
        Start::Run(held.get().cancelled.clone())
    }

    /// Where to acknowledge; none when it is not in hand.
    pub(crate) fn take(&self, id: AttemptId) -> Option<Subject> {
        self.lock().held.remove(&id).map(|held| held.reply)
    }

    pub(crate) fn take_all(&self, ids: &[AttemptId]) -> Vec<Subject> {
        let mut hand = self.lock();
        ids.iter().filter_map(|id| hand.held.remove(id)).map(|held| held.reply).collect()
    }

    /// False when it is not in hand: should it still be on its way, it never begins.
    pub(crate) fn cancel(&self, id: AttemptId, now: Instant) -> bool {
        let mut hand = self.lock();
        let token = hand.held.get(&id).map(|held| held.cancelled.clone());
        if token.is_none() {
            hand.expect_no_more(id, now);
        }
        drop(hand);
        // Outside the lock: cancelling wakes handlers.
        token.inspect(CancellationToken::cancel).is_some()
    }

    /// Renews what has not been heard of for a third of its ack wait. What has not even begun by then is given back,
    /// because another worker may be idle.
    pub(crate) fn renew(&self, now: Instant) -> Renewals {
        let mut renewals = Renewals::default();
        self.lock().held.retain(|_, held| {
            if now.duration_since(held.renewed) < held.ack_wait / 3 {
                return true;
            }
            if held.begun {
                held.renewed = now;
                renewals.progress.push(held.reply.clone());
            } else {
                renewals.give_back.push(held.reply.clone());
            }
            held.begun
        });
        renewals
    }

    pub(crate) fn len(&self) -> usize {
        self.lock().held.len()
    }

    fn lock(&self) -> MutexGuard<'_, Hand> {
        // Nothing in here panics half-way, so a poisoned lock guards whole data.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WAIT: Duration = Duration::from_secs(30);

    fn id(step: u32) -> AttemptId {
        AttemptId { instance: [7; 16], step, attempt: 1 }
    }

    #[test]
    fn a_command_that_comes_again_is_acknowledged_where_it_came_last() {
        let (hand, now) = (InHand::default(), Instant::now());
        let first = hand.arrive(id(1), "first".into(), WAIT, now).unwrap();
        assert!(matches!(hand.start(id(1), first), Start::Run(_)));
        assert_eq!(hand.arrive(id(1), "second".into(), WAIT, now), None);
        assert_eq!(hand.take_all(&[id(1), id(2)]), ["second".into()]);
        assert_eq!(hand.len(), 0);
    }

    #[test]
    fn a_command_that_comes_again_before_it_began_runs_as_it_came_last() {
        let (hand, now) = (InHand::default(), Instant::now());
        let first = hand.arrive(id(1), "first".into(), WAIT, now).unwrap();
        let second = hand.arrive(id(1), "second".into(), WAIT, now).unwrap();
        assert!(matches!(hand.start(id(1), first), Start::Skip));
        assert!(matches!(hand.start(id(1), second), Start::Run(_)));
        assert!(matches!(hand.start(id(1), second), Start::Skip));
    }

    #[test]
    fn a_command_cancelled_before_it_began_never_begins() {
        let (hand, now) = (InHand::default(), Instant::now());
        let arrival = hand.arrive(id(1), "reply".into(), WAIT, now).unwrap();
        assert!(hand.cancel(id(1), now));
        assert!(matches!(hand.start(id(1), arrival), Start::Drop(_)));
        assert!(!hand.cancel(id(1), now));
    }

    #[test]
    fn a_command_cancelled_before_it_came_never_begins() {
        let (hand, now) = (InHand::default(), Instant::now());
        assert!(!hand.cancel(id(1), now));
        let arrival = hand.arrive(id(1), "reply".into(), WAIT, now).unwrap();
        assert!(matches!(hand.start(id(1), arrival), Start::Drop(_)));
        // Much later it is another matter: the engine is asked about what comes again.
        let later = now + UNWANTED_TIME * 2;
        let arrival = hand.arrive(id(1), "reply".into(), WAIT, later).unwrap();
        assert!(matches!(hand.start(id(1), arrival), Start::Run(_)));
    }

    #[test]
    fn running_commands_are_renewed_and_waiting_ones_given_back() {
        let (hand, now) = (InHand::default(), Instant::now());
        let running = hand.arrive(id(1), "running".into(), WAIT, now).unwrap();
        let waiting = hand.arrive(id(2), "waiting".into(), WAIT, now).unwrap();
        hand.start(id(1), running);
        assert_eq!(hand.renew(now + WAIT / 4).progress.len(), 0);
        let renewals = hand.renew(now + WAIT / 3);
        assert_eq!(
            (renewals.progress, renewals.give_back),
            (vec!["running".into()], vec!["waiting".into()])
        );
        assert!(matches!(hand.start(id(2), waiting), Start::Skip));
        assert_eq!(hand.renew(now + WAIT / 2).progress.len(), 0);
    }
}
