//! The state of one run of a workflow: everything that the next decision needs, and nothing that expressions must
//! compute again.

use alloc::{
    boxed::Box,
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
    vec::Vec,
};
use core::ops::Bound::{Excluded, Unbounded};

use crate::{
    command::Timer,
    error::Error,
    event::{Cause, Started},
    guard::{Carried, Case, Guard, Standing},
    id::{ActivationId, Attempt, InstanceId, TaskId, Timestamp},
    json::Json,
    once::{Claim, Fate, Kept, State},
};

/// One run of a workflow.
#[derive(Clone, Debug, PartialEq)]
pub struct Instance {
    /// Also that of its trace.
    pub id: InstanceId,
    /// How it began.
    pub started: Arc<Started>,
    /// When it began.
    pub started_at: Timestamp,
    /// Of the last event.
    pub updated_at: Timestamp,
    /// When and how; `None` while it is open.
    pub ended: Option<(Timestamp, End)>,
    /// Nothing new begins, and timers wait.
    pub suspended: bool,
    /// Why it was suspended or cancelled.
    pub reason: Option<Arc<str>>,
    /// `$context`.
    pub context: Json,
    /// The number of the next activation: never one that was used before.
    pub next_activation: ActivationId,
    /// Those that are open. A child's number is higher than its parent's. Boxed, because a map's node has room for
    /// eleven, and most instances have two.
    pub activations: BTreeMap<ActivationId, Box<Activation>>,
    /// The activations for which the engine has something to do next: those with [`Activation::ready`].
    pub ready: BTreeSet<ActivationId>,
    /// How many events it has seen.
    pub events: u64,
    /// Places of the events from outside that it has taken, as far as they may come again.
    pub taken: BTreeSet<u64>,
    /// What undoes what was done, in the order in which it was done.
    pub compensations: Vec<Compensation>,
    /// It undoes it. Boxed, because it is rare.
    pub compensating: Option<Box<Compensating>>,
    /// What policies may know of it.
    pub case: Case,
    /// Keys that its steps have held, by step.
    pub keys: BTreeMap<ActivationId, Kept>,
}

/// A task list that undoes a task which has completed.
#[derive(Clone, Debug, PartialEq)]
pub struct Compensation {
    /// The list.
    pub task: TaskId,
    /// An object with the `input` and the `output` of the task that it undoes.
    pub input: Json,
}

/// How far an instance is that undoes what it has done.
#[derive(Clone, Debug, PartialEq)]
pub struct Compensating {
    /// How it ends after that.
    pub cause: Cause,
    /// What could not be undone, and why.
    pub failed: Vec<Error>,
}

/// How an instance has ended.
#[derive(Clone, Debug, PartialEq)]
pub enum End {
    /// With its output.
    Completed(Json),
    /// By an error that nobody caught.
    Faulted(Error),
    /// Because somebody asked for it.
    Cancelled,
}

/// The phases of the language ("Status phases").
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Status {
    /// A step is with the workers, or there is something to do next.
    Running,
    /// Only time, an event or another instance can move it.
    Waiting,
    /// Nothing new begins.
    Suspended,
    /// It has ended because somebody asked for it.
    Cancelled,
    /// It has ended by an error that nobody caught.
    Faulted,
    /// It has ended as its author meant it.
    Completed,
}

/// One passage through a task, from its entry to its end.
#[derive(Clone, Debug, PartialEq)]
pub struct Activation {
    /// What it is a passage through.
    pub task: TaskId,
    /// The root has itself.
    pub parent: ActivationId,
    /// Which branch of the parent's fork, or which item of its map.
    pub branch: u32,
    /// Before `input.from`.
    pub raw_input: Json,
    /// After `input.from`.
    pub input: Json,
    /// What the tasks inside hand on, and in the end the raw output.
    pub value: Json,
    /// When it was entered.
    pub started_at: Timestamp,
    /// When its timeout ends it.
    pub deadline: Option<Timestamp>,
    /// `None`: it waits.
    pub ready: Option<Ready>,
    /// What it is in the middle of.
    pub phase: Phase,
}

/// What the engine has to do next for an activation.
#[derive(Clone, Debug, PartialEq)]
pub enum Ready {
    /// It was entered.
    Begin,
    /// Enter the first task of its list.
    Body,
    /// Enter this task of its list.
    Enter(TaskId),
    /// Enter the next branch of the fork, or the body of the map for its next item.
    Branch,
    /// Its list, step or timer is done.
    Exit,
    /// Something inside it went wrong.
    Raise(Error),
}

/// What an activation is in the middle of.
#[derive(Clone, Debug, PartialEq)]
pub enum Phase {
    /// Nothing of its own: it begins, or waits for what is inside it.
    Plain,
    /// A step.
    Step(Step),
    /// A `wait`, until then.
    Timer(Timestamp),
    /// A `for`; `next` is the index of the iteration to come.
    Loop { items: Vec<Json>, next: u32 },
    /// A `fork`; `entered` and `settled` count branches, `results` has a place for each.
    Fork { compete: bool, entered: u32, settled: u32, results: Vec<Option<Json>> },
    /// A map. Boxed, because it is large and rare.
    Map(Box<Mapping>),
    /// A `try` that has failed before.
    Try(Try),
    /// An `emit` whose event is to be published.
    Emit(Json),
    /// A `listen`. Boxed, because it is large and rare.
    Listen(Box<Listening>),
    /// A `run` of this instance: until its end when it is awaited, else until it has begun.
    Child { id: InstanceId, awaited: bool },
}

/// How far a map is.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Mapping {
    /// What its body runs for.
    pub items: Vec<Json>,
    /// How many are worked on at once, at most.
    pub concurrency: u32,
    /// One that fails does not end it.
    pub collect: bool,
    /// Items whose body was entered: those of a lower index.
    pub entered: u32,
    /// Items that are done.
    pub settled: u32,
    /// A place for each item.
    pub results: Vec<Option<Json>>,
    /// Of [`Self::results`] together.
    pub bytes: usize,
}

impl Mapping {
    /// The body may be entered for another item.
    pub fn has_room(&self) -> bool {
        (self.entered as usize) < self.items.len() && self.entered - self.settled < self.concurrency
    }
}

/// What a `listen` has heard.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Listening {
    /// It does something with each event, and its output is what comes of that.
    pub each: bool,
    /// It has enough; what is left is to be worked off.
    pub over: bool,
    /// What its events must say, by key.
    pub correlation: BTreeMap<Arc<str>, Json>,
    /// Filters that have had their event; those of `until` count on after the others.
    pub matched: BTreeSet<u32>,
    /// What it has taken, the oldest first; with `each` only the last of what is worked off.
    pub events: VecDeque<Json>,
    /// The index, from 0, of the first of [`Self::events`].
    pub first: u32,
    /// With `each`: the index of the event whose pass comes next.
    pub next: u32,
    /// With `each`: the pass of the event before `next` runs.
    pub running: bool,
    /// With `each`: the last outputs of passes, the oldest first.
    pub outputs: VecDeque<Json>,
}

impl Listening {
    /// The event at an index, while it is kept.
    pub fn event(&self, index: u32) -> Option<&Json> {
        self.events.get(index.checked_sub(self.first)? as usize)
    }

    /// How many it has taken.
    pub fn count(&self) -> u32 {
        self.first.saturating_add(u32::try_from(self.events.len()).unwrap_or(u32::MAX))
    }

    /// With `each`: there is an event whose pass has not begun.
    pub fn has_waiting(&self) -> bool {
        self.next < self.count()
    }
}

/// Work for a worker.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// The one that is open, or was the last.
    pub attempt: Attempt,
    /// What the worker is given.
    pub arguments: Json,
    /// When this attempt was asked for.
    pub scheduled_at: Timestamp,
    /// Between two attempts: when the next one goes out.
    pub retry_at: Option<Timestamp>,
    /// It goes out only when policies allow it. Boxed, because most engines without policies have none.
    pub guard: Option<Box<Guard>>,
    /// What must hold its key before it goes out. Boxed, because it is rare.
    pub once: Option<Box<Claim>>,
    /// A kill switch has stopped this attempt. Boxed, because it is rare.
    pub halt: Option<Box<Halt>>,
}

/// How a kill switch has stopped an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Halt {
    /// Which switch.
    pub switch: Arc<str>,
    /// A worker has answered since.
    pub answered: bool,
}

impl Step {
    /// Where the guard of an attempt stands; `None`: it has no guard.
    pub fn standing(&self) -> Option<Standing> {
        self.guard.as_ref().map(|guard| guard.standing)
    }

    /// Whether nobody else may do what it does, where that matters.
    fn holds_its_key(&self) -> bool {
        self.once.as_ref().is_none_or(|claim| claim.held)
    }

    /// Whether policies let workers have it.
    fn is_out(&self) -> bool {
        self.standing().is_none_or(|standing| standing == Standing::Allowed)
    }
}

/// What a `try` remembers of its failures.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Try {
    /// Tries that failed and led to another.
    pub failures: u32,
    /// From when `limit.duration` counts.
    pub first_failed_at: Option<Timestamp>,
    /// The handler runs.
    pub caught: Option<Error>,
    /// Between two tries: when the next one begins.
    pub retry_at: Option<Timestamp>,
}

impl Instance {
    /// An instance that has begun and has done nothing yet.
    pub fn new(id: InstanceId, started: Arc<Started>, at: Timestamp) -> Self {
        let Carried { taint, cost } = started.carried.clone();
        Self {
            id,
            started,
            started_at: at,
            updated_at: at,
            ended: None,
            suspended: false,
            reason: None,
            context: Json::empty_object(),
            next_activation: ActivationId::ROOT,
            activations: BTreeMap::new(),
            ready: BTreeSet::new(),
            events: 1,
            taken: BTreeSet::new(),
            compensations: Vec::new(),
            compensating: None,
            case: Case { taint, cost, ..Case::default() },
            keys: BTreeMap::new(),
        }
    }

    /// What it is doing, in the language's words.
    pub fn status(&self) -> Status {
        match &self.ended {
            Some((_, End::Completed(_))) => Status::Completed,
            Some((_, End::Faulted(_))) => Status::Faulted,
            Some((_, End::Cancelled)) => Status::Cancelled,
            None if self.suspended => Status::Suspended,
            None if !self.ready.is_empty() => Status::Running,
            None if self.open_steps().next().is_some() => Status::Running,
            None => Status::Waiting,
        }
    }

    /// Steps that workers have been asked for and have not answered.
    pub fn open_steps(&self) -> impl Iterator<Item = (ActivationId, &Step)> {
        self.activations
            .iter()
            .filter_map(|(id, activation)| activation.open_step().map(|step| (*id, step)))
    }

    /// What it hands on to an instance that it runs.
    pub fn carries(&self) -> Carried {
        Carried { taint: self.case.taint.clone(), cost: self.case.cost }
    }

    /// What it hands back to the instance that runs it.
    pub fn hands_back(&self) -> Carried {
        let cost = self.case.cost.saturating_sub(self.started.carried.cost);
        Carried { taint: self.case.taint.clone(), cost }
    }

    /// Steps that must not go out, or not yet.
    pub fn guarded_steps(&self) -> impl Iterator<Item = (ActivationId, &Step)> {
        self.activations
            .iter()
            .filter_map(|(id, activation)| activation.guarded_step().map(|step| (*id, step)))
    }

    /// The step of this number that must not go out, or not yet.
    pub fn guarded_step(&self, id: ActivationId) -> Option<&Step> {
        self.activations.get(&id)?.guarded_step()
    }

    /// Steps that wait for their key.
    pub fn claiming_steps(&self) -> impl Iterator<Item = (ActivationId, &Step)> {
        self.activations
            .iter()
            .filter_map(|(id, activation)| activation.claiming_step().map(|step| (*id, step)))
    }

    /// The step of this number that waits for its key.
    pub fn claiming_step(&self, id: ActivationId) -> Option<&Step> {
        self.activations.get(&id)?.claiming_step()
    }

    /// How it stands with the key of a step; `None`: it never had one.
    pub fn key_state(&self, id: ActivationId) -> Option<State> {
        let found = self.activations.get(&id);
        let step = found.and_then(|activation| activation.phase.step());
        let on_its_way = found.is_some_and(|activation| activation.ready.is_none());
        let Some(kept) = self.keys.get(&id) else {
            let claims = step.is_some_and(|step| step.once.is_some());
            let state = if on_its_way { State::Claimed } else { State::Free };
            return claims.then_some(state);
        };
        Some(match &kept.fate {
            // It may be undone in a moment.
            Fate::Done(_) if kept.undoable && self.compensating.is_some() => State::Claimed,
            Fate::Done(output) => State::Committed(output.clone()),
            Fate::Claimed | Fate::Out if step.is_some() && on_its_way => State::Claimed,
            Fate::Claimed | Fate::Undone => State::Free,
            Fate::Out => State::Unknown,
        })
    }

    /// How it stands with a key that was last held by this step: an earlier one of this instance may have done it, or may have
    /// been about to.
    pub fn word_on_key(&self, key: &str, last: ActivationId) -> State {
        let earlier = self.keys.iter().filter(|(_, kept)| *kept.key == *key);
        let earlier = earlier.filter_map(|(id, _)| self.key_state(*id));
        let all = earlier.chain(self.key_state(last));
        let weight = |state: &State| match state {
            State::Free => 0,
            State::Unknown => 1,
            State::Claimed => 2,
            State::Committed(_) => 3,
        };
        all.max_by_key(weight).unwrap_or(State::Free)
    }

    /// A step of which nobody knows whether it has done what has this key.
    pub fn unknown_key(&self, key: &str) -> Option<ActivationId> {
        let mut held = self.keys.iter().filter(|(_, kept)| *kept.key == *key).map(|(id, _)| *id);
        held.find(|id| self.key_state(*id) == Some(State::Unknown))
    }

    /// Steps that kill switches have stopped.
    pub fn halted_steps(&self) -> impl Iterator<Item = (ActivationId, &Step)> {
        self.activations
            .iter()
            .filter_map(|(id, activation)| activation.halted_step().map(|step| (*id, step)))
    }

    /// The step of this number that a kill switch has stopped.
    pub fn halted_step(&self, id: ActivationId) -> Option<&Step> {
        self.activations.get(&id)?.halted_step()
    }

    /// The open step of this number.
    pub fn open_step(&self, id: ActivationId) -> Option<&Step> {
        self.activations.get(&id)?.open_step()
    }

    /// The instance that an activation runs, and whether it waits for its end.
    pub fn open_child(&self, id: ActivationId) -> Option<(InstanceId, bool)> {
        let activation =
            self.activations.get(&id).filter(|activation| activation.ready.is_none())?;
        if let Phase::Child { id, awaited } = activation.phase { Some((id, awaited)) } else { None }
    }

    /// What listens and has not enough yet, in order.
    pub fn listeners(&self) -> impl Iterator<Item = (ActivationId, &Listening)> {
        self.activations.iter().filter_map(|(id, activation)| {
            activation.phase.listening().filter(|listening| !listening.over).map(|l| (*id, l))
        })
    }

    /// When the first of the timeouts around it ends an activation.
    pub fn deadline(&self, id: ActivationId) -> Option<Timestamp> {
        self.lineage(id).filter_map(|(_, activation)| activation.deadline).min()
    }

    /// The activation, the one around it, and so on to the root.
    pub fn lineage(&self, id: ActivationId) -> impl Iterator<Item = (ActivationId, &Activation)> {
        let mut at = Some(id);
        core::iter::from_fn(move || {
            let id = at?;
            let activation: &Activation = self.activations.get(&id)?;
            at = (id != ActivationId::ROOT).then_some(activation.parent);
            Some((id, activation))
        })
    }

    /// Those inside it at any depth, in order.
    pub fn below(&self, id: ActivationId) -> Vec<ActivationId> {
        if !self.activations.get(&id).is_some_and(|activation| activation.may_hold_others()) {
            return Vec::new();
        }
        let mut inside = BTreeSet::new();
        // A child's number is higher than its parent's, so one pass in order finds them all.
        for (child, activation) in self.activations.range((Excluded(id), Unbounded)) {
            if activation.parent == id || inside.contains(&activation.parent) {
                inside.insert(*child);
            }
        }
        inside.into_iter().collect()
    }
}

impl Activation {
    /// The step that a worker has been asked for and has not answered.
    pub fn open_step(&self) -> Option<&Step> {
        let step = self.unanswered_step().filter(|step| step.holds_its_key());
        step.filter(|step| step.is_out() && step.halt.is_none())
    }

    /// The step that a kill switch has stopped.
    pub fn halted_step(&self) -> Option<&Step> {
        self.unanswered_step().filter(|step| step.halt.is_some())
    }

    /// The step that must not go out, or not yet.
    pub fn guarded_step(&self) -> Option<&Step> {
        self.unanswered_step().filter(|step| step.holds_its_key() && !step.is_out())
    }

    /// The step that waits for its key.
    pub fn claiming_step(&self) -> Option<&Step> {
        self.unanswered_step().filter(|step| !step.holds_its_key())
    }

    fn unanswered_step(&self) -> Option<&Step> {
        if self.ready.is_some() {
            return None;
        }
        self.phase.step().filter(|step| step.retry_at.is_none())
    }

    /// When this timer fires; `None`: nothing waits for it.
    pub fn timer(&self, timer: Timer) -> Option<Timestamp> {
        match timer {
            Timer::Deadline => self.deadline,
            // A step that is answered or refused waits for nothing.
            Timer::Due if self.ready.is_some() && self.phase.step().is_some() => None,
            Timer::Due => self.phase.due(),
        }
    }

    /// Whether something may be open inside it. While there is, only a fork or a map has itself something to do.
    fn may_hold_others(&self) -> bool {
        match &self.phase {
            Phase::Step(_) | Phase::Timer(_) | Phase::Emit(_) | Phase::Child { .. } => false,
            Phase::Listen(listening) => listening.running && self.ready.is_none(),
            Phase::Fork { entered, settled, .. } => settled < entered,
            Phase::Map(mapping) => mapping.settled < mapping.entered,
            Phase::Plain | Phase::Loop { .. } | Phase::Try(_) => self.ready.is_none(),
        }
    }
}

impl Phase {
    /// The step, open or not.
    pub fn step(&self) -> Option<&Step> {
        if let Self::Step(step) = self { Some(step) } else { None }
    }

    /// How far a map is.
    pub fn mapping(&self) -> Option<&Mapping> {
        if let Self::Map(mapping) = self { Some(mapping) } else { None }
    }

    /// What a `listen` has heard.
    pub fn listening(&self) -> Option<&Listening> {
        if let Self::Listen(listening) = self { Some(listening) } else { None }
    }

    /// The failures of a `try` that has had some.
    pub fn failed_try(&self) -> Option<&Try> {
        if let Self::Try(failed) = self { Some(failed) } else { None }
    }

    /// The error that the running handler of a `try` handles.
    pub fn caught(&self) -> Option<&Error> {
        self.failed_try()?.caught.as_ref()
    }

    /// When a `wait`, the next attempt of a step, the fallback of what people are asked about it, or the next try is due.
    pub fn due(&self) -> Option<Timestamp> {
        match self {
            Self::Step(step) => {
                step.retry_at.or_else(|| step.guard.as_ref()?.dues().first().copied())
            }
            Self::Timer(at) => Some(*at),
            Self::Try(failed) => failed.retry_at,
            Self::Plain
            | Self::Loop { .. }
            | Self::Fork { .. }
            | Self::Map(_)
            | Self::Emit(_)
            | Self::Listen(_)
            | Self::Child { .. } => None,
        }
    }
}
