//! What waits for single instances: commands while a decision about one is made beside the loop, and events while it
//! catches up.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    sync::Arc,
};

use baton_core::{ActivationId, Command, Instance, InstanceId};

use super::{Reply, starts::Starting};
use crate::limits;

/// A command, and who learns what became of it.
pub(super) struct Asked {
    pub command: Command,
    pub asker: Asker,
}

pub(super) enum Asker {
    Client(Reply<Instance>),
    /// By a result at this position of the inbox.
    Worker {
        sequence: u64,
        department: Arc<str>,
    },
    Nobody,
}

/// Events that an instance has not been shown, while others have.
#[derive(Clone, Copy, Debug)]
pub(super) struct Behind {
    /// The last one that it was shown.
    pub after: u64,
    /// The last one that it may want.
    pub to: u64,
    /// Where it fell behind.
    pub since: u64,
}

/// What is made beside the loop next.
pub(super) enum Turn {
    /// A decision about an instance.
    Lane(InstanceId),
    Start(Box<Starting>),
}

/// A listener that has begun.
#[derive(Clone, Copy, Debug)]
pub(super) struct Begun {
    pub activation: ActivationId,
    /// It was shown what was kept up to here.
    pub given: u64,
}

/// Of one instance. There is one for as long as anything waits for it.
#[derive(Default)]
#[expect(clippy::struct_excessive_bools, reason = "each says something of its own")]
pub(super) struct Lane {
    /// By clients, who want an answer.
    asked: VecDeque<Asked>,
    came: VecDeque<Asked>,
    /// Steps whose results are among them, or are being decided about.
    answered: BTreeSet<ActivationId>,
    /// Listeners that events may have been kept for, first one first.
    pub begun: VecDeque<Begun>,
    /// Those events, for the first of them: not more at once than a bound.
    pub kept: VecDeque<u64>,
    /// A decision about the instance is being made.
    pub running: bool,
    /// It has a turn beside the loop coming.
    queued: bool,
    /// It has a turn in the loop coming, to catch up.
    catching_up: bool,
    /// The last turn was an event's.
    pub heard: bool,
}

#[derive(Default)]
pub(super) struct Lanes {
    of: HashMap<InstanceId, Lane>,
    /// What is to be made beside the loop: for clients who wait, what may be short, and what is long.
    for_clients: VecDeque<InstanceId>,
    short: VecDeque<Turn>,
    long: VecDeque<InstanceId>,
    /// The last short turn was one for a client.
    client_served: bool,
    catching_up: VecDeque<InstanceId>,
    behind: BTreeMap<InstanceId, Behind>,
    /// Positions of the inbox with results that are held, and how many.
    held: BTreeMap<u64, usize>,
    held_bytes: usize,
    /// Results that found no room: the inbox is read again from the first of them.
    passed_over: BTreeSet<(InstanceId, ActivationId)>,
    passed_over_from: Option<u64>,
    /// Clients that wait for a decision or a start.
    clients: usize,
}

impl Lanes {
    pub(super) fn of(&mut self, id: InstanceId) -> &mut Lane {
        self.of.entry(id).or_default()
    }

    /// Whether an event that comes now must wait behind others.
    pub(super) fn waits(&self, id: InstanceId) -> bool {
        self.behind.contains_key(&id)
            || self
                .of
                .get(&id)
                .is_some_and(|lane| lane.running || !lane.begun.is_empty() || !lane.kept.is_empty())
    }

    pub(super) fn is_running(&self, id: InstanceId) -> bool {
        self.of.get(&id).is_some_and(|lane| lane.running)
    }

    pub(super) fn hold(&mut self, id: InstanceId, asked: Asked) {
        let answered = answered_by(&asked.command);
        if let Asker::Worker { sequence, .. } = asked.asker {
            if self.held_bytes >= limits::HELD_BYTES_MAX {
                self.passed_over.extend(answered.map(|step| (id, step)));
                let from = self.passed_over_from.unwrap_or(sequence);
                self.passed_over_from = Some(from.min(sequence));
                return;
            }
            *self.held.entry(sequence).or_default() += 1;
            self.held_bytes += bytes(&asked.command);
        }
        let lane = self.of.entry(id).or_default();
        lane.answered.extend(answered);
        match asked.asker {
            Asker::Client(_) => {
                self.clients += 1;
                lane.asked.push_back(asked);
            }
            Asker::Worker { .. } | Asker::Nobody => lane.came.push_back(asked),
        }
    }

    pub(super) fn next_held(&mut self, id: InstanceId) -> Option<Asked> {
        let lane = self.of.get_mut(&id)?;
        lane.asked.pop_front().or_else(|| lane.came.pop_front())
    }

    /// It has been decided about what was held.
    pub(super) fn settled(&mut self, id: InstanceId, asked: &Asked) {
        match asked.asker {
            Asker::Worker { sequence, .. } => {
                self.held_bytes -= bytes(&asked.command);
                if let Some(count) = self.held.get_mut(&sequence) {
                    *count -= 1;
                    if *count == 0 {
                        self.held.remove(&sequence);
                    }
                }
            }
            Asker::Client(_) => self.clients -= 1,
            Asker::Nobody => {}
        }
        if let (Some(step), Some(lane)) = (answered_by(&asked.command), self.of.get_mut(&id)) {
            lane.answered.remove(&step);
        }
    }

    /// Where the inbox is to be read again, now that there is room for what found none.
    pub(super) fn read_again_from(&mut self) -> Option<u64> {
        if self.held_bytes > limits::HELD_BYTES_MAX / 2 {
            return None;
        }
        self.passed_over.clear();
        self.passed_over_from.take()
    }

    /// Whether a step has a result that is still to be decided about.
    pub(super) fn answered(&self, id: InstanceId, step: ActivationId) -> bool {
        self.passed_over.contains(&(id, step))
            || self.of.get(&id).is_some_and(|lane| lane.answered.contains(&step))
    }

    pub(super) fn too_many_clients(&self) -> bool {
        self.clients >= limits::CLIENTS_HELD_MAX
    }

    /// The first position of the inbox of which something is not decided about.
    pub(super) fn first_held(&self) -> Option<u64> {
        let held = self.held.first_key_value().map(|(sequence, _)| *sequence);
        held.into_iter().chain(self.passed_over_from).min()
    }

    /// An event that others are shown now is for this one to see later.
    pub(super) fn fall_behind(&mut self, id: InstanceId, position: u64) {
        let before = position - 1;
        let new = Behind { after: before, to: position, since: before };
        self.behind.entry(id).or_insert(new).to = position;
    }

    pub(super) fn set_behind(&mut self, id: InstanceId, behind: Behind) {
        self.behind.insert(id, behind);
    }

    pub(super) fn behind(&self, id: InstanceId) -> Option<Behind> {
        self.behind.get(&id).copied()
    }

    /// It was shown an event: the first that was kept for a listener, or the next one that came.
    pub(super) fn shown(&mut self, id: InstanceId, position: u64, listener: Option<ActivationId>) {
        if listener.is_some() {
            let lane = self.of(id);
            if lane.kept.front() == Some(&position) {
                lane.kept.pop_front();
            }
        } else if let Some(behind) = self.behind.get_mut(&id) {
            behind.after = behind.after.max(position);
            if behind.after >= behind.to {
                self.behind.remove(&id);
            }
        }
    }

    pub(super) fn all_behind(&self) -> &BTreeMap<InstanceId, Behind> {
        &self.behind
    }

    /// The stream of events is another one.
    pub(super) fn forget_events(&mut self) {
        self.behind.clear();
        for lane in self.of.values_mut() {
            lane.kept.clear();
        }
    }

    /// A turn beside the loop for an instance.
    pub(super) fn queue(&mut self, id: InstanceId, slow: bool) {
        let lane = self.of.entry(id).or_default();
        if lane.running || lane.queued {
            return;
        }
        lane.queued = true;
        if slow {
            self.long.push_back(id);
        } else {
            self.short.push_back(Turn::Lane(id));
        }
    }

    pub(super) fn has_client(&self, id: InstanceId) -> bool {
        self.of.get(&id).is_some_and(|lane| !lane.asked.is_empty())
    }

    /// The same for a client that waits for it; whatever turn the instance has beside, it keeps.
    pub(super) fn queue_for_client(&mut self, id: InstanceId) {
        self.for_clients.push_back(id);
    }

    pub(super) fn queue_start(&mut self, starting: Starting) {
        self.clients += usize::from(starting.is_for_client());
        self.short.push_back(Turn::Start(Box::new(starting)));
    }

    pub(super) fn start_made(&mut self, starting: &Starting) {
        self.clients -= usize::from(starting.is_for_client());
    }

    pub(super) fn next_turn(&mut self, slow: bool) -> Option<Turn> {
        let turn = if slow {
            Turn::Lane(self.long.pop_front()?)
        } else {
            self.client_served =
                !self.client_served && !self.for_clients.is_empty() || self.short.is_empty();
            if self.client_served {
                return self.for_clients.pop_front().map(Turn::Lane);
            }
            self.short.pop_front()?
        };
        if let Turn::Lane(id) = turn {
            self.of(id).queued = false;
        }
        Some(turn)
    }

    /// A turn in the loop for an instance that catches up, or is to begin with it.
    pub(super) fn queue_catching_up(&mut self, id: InstanceId) {
        let lane = self.of.entry(id).or_default();
        if !lane.catching_up {
            lane.catching_up = true;
            self.catching_up.push_back(id);
        }
    }

    pub(super) fn next_catching_up(&mut self) -> Option<InstanceId> {
        let id = self.catching_up.pop_front()?;
        self.of(id).catching_up = false;
        Some(id)
    }

    pub(super) fn is_catching_up(&self) -> bool {
        !self.catching_up.is_empty()
    }

    /// There is no such instance.
    pub(super) fn forget(&mut self, id: InstanceId) {
        self.of.remove(&id);
        self.behind.remove(&id);
    }

    /// Those that wait for events to be there.
    pub(super) fn queue_stalled(&mut self) {
        let stalled = |lane: &Lane| !lane.queued && !lane.running && !lane.catching_up;
        let of_lanes = self.of.iter().filter(|(_, lane)| stalled(lane)).map(|(id, _)| *id);
        let idle = self.behind.keys().filter(|id| !self.of.contains_key(id)).copied();
        let stalled: Vec<_> = of_lanes.chain(idle).collect();
        for id in stalled {
            self.queue_catching_up(id);
        }
    }

    /// Whether anything waits for an instance beside what it has to go on with; without, its lane ends.
    pub(super) fn has_more(&mut self, id: InstanceId) -> bool {
        let behind = self.behind.contains_key(&id);
        let Some(lane) = self.of.get(&id) else { return behind };
        let more = !lane.asked.is_empty()
            || !lane.came.is_empty()
            || !lane.begun.is_empty()
            || !lane.kept.is_empty()
            || behind;
        if !more && !lane.running && !lane.queued && !lane.catching_up {
            self.of.remove(&id);
        }
        more
    }
}

/// The step that a command answers.
fn answered_by(command: &Command) -> Option<ActivationId> {
    match command {
        Command::CompleteStep { activation, .. } | Command::FailStep { activation, .. } => {
            Some(*activation)
        }
        Command::Continue
        | Command::Judge { .. }
        | Command::ClaimApproval { .. }
        | Command::AnswerApproval { .. }
        | Command::VoidApprovals { .. }
        | Command::SettleKey { .. }
        | Command::ResolveKey { .. }
        | Command::HaltStep { .. }
        | Command::RearmStep { .. }
        | Command::FireTimer { .. }
        | Command::Cancel { .. }
        | Command::Terminate { .. }
        | Command::Suspend { .. }
        | Command::Resume
        | Command::Rerun { .. }
        | Command::TakeEvent { .. }
        | Command::PublishedEvent { .. }
        | Command::EndChild { .. } => None,
    }
}

/// Of what a command holds, about.
fn bytes(command: &Command) -> usize {
    if let Command::CompleteStep { output, .. } = command { output.len() } else { 0 }
}

#[cfg(test)]
mod tests {
    use baton_core::{Attempt, Json, event::Report};

    use super::*;

    fn id(n: u8) -> InstanceId {
        InstanceId([n; 16])
    }

    fn result(sequence: u64, step: u32, output: &Json) -> Asked {
        let command = Command::CompleteStep {
            activation: ActivationId(step),
            attempt: Attempt(1),
            output: output.clone(),
            report: Report::default(),
        };
        Asked { command, asker: Asker::Worker { sequence, department: Arc::from("lab") } }
    }

    #[test]
    fn results_that_find_no_room_are_read_again_and_none_is_asked_for_twice() {
        let mut lanes = Lanes::default();
        let large = Json::from_text(format!("\"{}\"", "x".repeat(1024 * 1024)));
        for n in 0..100 {
            lanes.hold(id(1), result(10 + u64::from(n), n, &large));
        }
        assert!(lanes.held_bytes < limits::HELD_BYTES_MAX + 2 * large.len());
        assert!((0..100).all(|n| lanes.answered(id(1), ActivationId(n))), "held, or passed over");
        assert_eq!(lanes.first_held(), Some(10));
        assert_eq!(lanes.read_again_from(), None, "there is no room yet");
        let mut held = 0;
        let again = loop {
            let asked = lanes.next_held(id(1)).unwrap();
            lanes.settled(id(1), &asked);
            held += 1;
            if let Some(from) = lanes.read_again_from() {
                break from;
            }
        };
        assert!(held < 64, "there is room long before all is done");
        let first_passed_over = u32::try_from(again - 10).unwrap();
        assert!(
            !lanes.answered(id(1), ActivationId(first_passed_over)),
            "it is taken when it comes"
        );
        assert!(lanes.answered(id(1), ActivationId(first_passed_over - 1)));
        assert_eq!(lanes.first_held(), Some(10 + held));
        while let Some(asked) = lanes.next_held(id(1)) {
            lanes.settled(id(1), &asked);
        }
        assert_eq!((lanes.first_held(), lanes.held_bytes), (None, 0));
    }

    #[test]
    fn clients_and_short_turns_alternate_and_long_ones_have_their_own() {
        let mut lanes = Lanes::default();
        lanes.queue(id(1), false);
        lanes.queue(id(1), false);
        lanes.queue(id(2), false);
        lanes.queue(id(3), true);
        for _ in 0..2 {
            lanes.queue_for_client(id(4));
        }
        let mut turns = Vec::new();
        while let Some(Turn::Lane(id)) = lanes.next_turn(false) {
            turns.push(id.0[0]);
        }
        assert_eq!(turns, [4, 1, 4, 2]);
        assert!(matches!(lanes.next_turn(true), Some(Turn::Lane(found)) if found == id(3)));
        assert!(lanes.next_turn(true).is_none());
    }

    #[test]
    fn an_instance_that_is_behind_is_shown_all_up_to_the_last_one() {
        let mut lanes = Lanes::default();
        lanes.fall_behind(id(1), 7);
        lanes.fall_behind(id(1), 9);
        let behind = lanes.behind(id(1)).unwrap();
        assert_eq!((behind.after, behind.to, behind.since), (6, 9, 6));
        lanes.shown(id(1), 8, None);
        assert!(lanes.waits(id(1)));
        lanes.shown(id(1), 9, None);
        assert!(!lanes.waits(id(1)) && lanes.all_behind().is_empty());
    }
}
