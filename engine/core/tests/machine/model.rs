//! What the world has been asked for and has not settled, kept from effects alone.

use std::collections::{BTreeMap, BTreeSet};

use baton_core::{
    ActivationId, Attempt, Effect, Event, InstanceId, Next, Timestamp, command::Timer, effect,
    guard::Verdict,
};

#[derive(Default)]
pub(crate) struct Asked {
    parents: BTreeMap<ActivationId, ActivationId>,
    children: BTreeMap<ActivationId, BTreeSet<ActivationId>>,
    steps: BTreeMap<ActivationId, Attempt>,
    /// What policies were asked about.
    questions: BTreeMap<ActivationId, Attempt>,
    /// Whether steps have a guard.
    guards: bool,
    timers: BTreeMap<(ActivationId, Timer), Timestamp>,
    waits: BTreeSet<ActivationId>,
    emits: BTreeSet<ActivationId>,
    listens: BTreeSet<ActivationId>,
    /// Listeners with a `foreach`: their timeout goes on until the last pass.
    each: BTreeSet<ActivationId>,
    /// With the instance that is awaited.
    runs: BTreeMap<ActivationId, Option<InstanceId>>,
    ever: BTreeSet<(ActivationId, Attempt)>,
}

impl Asked {
    /// # Panics
    /// When a step is asked for twice, withdrawn without being open, or forgotten.
    pub(crate) fn see(&mut self, event: &Event) {
        self.settle(event);
        match effect(event) {
            Some(Effect::AskPolicies { activation, attempt }) => {
                assert!(self.questions.insert(activation, attempt).is_none(), "asked: {event:?}");
            }
            Some(Effect::DispatchStep { activation, attempt }) => {
                let allowed = matches!(
                    event,
                    Event::StepJudged { judgement, .. } if judgement.verdict == Verdict::Allow
                );
                assert_eq!(
                    allowed, self.guards,
                    "nothing goes out unless it is allowed: {event:?}"
                );
                assert!(self.ever.insert((activation, attempt)), "asked for twice: {event:?}");
                assert!(self.steps.insert(activation, attempt).is_none(), "open: {event:?}");
            }
            Some(Effect::WithdrawStep { activation, attempt }) => {
                assert_eq!(self.steps.remove(&activation), Some(attempt), "not open: {event:?}");
            }
            Some(Effect::SetTimer { activation, timer, at }) => {
                self.timers.insert((activation, timer), at);
            }
            Some(Effect::PublishEvent { activation }) => {
                assert!(self.emits.insert(activation), "asked for twice: {event:?}");
            }
            Some(Effect::Listen { activation }) => {
                assert!(self.listens.insert(activation), "asked for twice: {event:?}");
            }
            Some(Effect::RunChild { activation }) => {
                if let Event::ChildStarted { child, awaited, .. } = event {
                    let child = awaited.then_some(*child);
                    assert!(self.runs.insert(activation, child).is_none(), "twice: {event:?}");
                }
            }
            Some(Effect::CancelChild { child }) => {
                let running = self.runs.len();
                self.runs.retain(|_, found| *found != Some(child));
                assert_eq!(self.runs.len() + 1, running, "not running: {event:?}");
            }
            Some(Effect::End | Effect::Rearm | Effect::Continue) | None => {}
        }
    }

    pub(crate) fn guarded(guards: bool) -> Self {
        Self { guards, ..Self::default() }
    }

    pub(crate) fn is_asked(&self, step: ActivationId, attempt: Attempt) -> bool {
        self.questions.get(&step) == Some(&attempt)
    }

    pub(crate) fn publishes(&self, of: ActivationId) -> bool {
        self.emits.contains(&of)
    }

    pub(crate) fn runs(&self, of: ActivationId) -> bool {
        self.runs.contains_key(&of)
    }

    pub(crate) fn is_open(&self, step: ActivationId, attempt: Attempt) -> bool {
        self.steps.get(&step) == Some(&attempt)
    }

    pub(crate) fn timer(&self, of: ActivationId, timer: Timer) -> Option<Timestamp> {
        self.timers.get(&(of, timer)).copied()
    }

    /// Policies are asked nothing while the instance is suspended.
    pub(crate) fn effects(&self, suspended: bool) -> BTreeSet<Effect> {
        let questions = self.questions.iter().filter(|_| !suspended);
        let questions = questions.map(|(activation, attempt)| Effect::AskPolicies {
            activation: *activation,
            attempt: *attempt,
        });
        let steps = self.steps.iter().map(|(activation, attempt)| Effect::DispatchStep {
            activation: *activation,
            attempt: *attempt,
        });
        let timers = self.timers.iter().map(|((activation, timer), at)| Effect::SetTimer {
            activation: *activation,
            timer: *timer,
            at: *at,
        });
        let emits =
            self.emits.iter().map(|activation| Effect::PublishEvent { activation: *activation });
        let listens =
            self.listens.iter().map(|activation| Effect::Listen { activation: *activation });
        let runs = self.runs.keys().map(|activation| Effect::RunChild { activation: *activation });
        steps.chain(questions).chain(timers).chain(emits).chain(listens).chain(runs).collect()
    }

    fn settle(&mut self, event: &Event) {
        match event {
            Event::TaskEntered { activation, parent, .. } => {
                if activation != parent {
                    self.parents.insert(*activation, *parent);
                    self.children.entry(*parent).or_default().insert(*activation);
                }
            }
            Event::TaskCompleted { next: Next::End, .. } => self.close_below(ActivationId::ROOT),
            Event::TaskCompleted { activation, .. }
            | Event::TaskFaulted { activation, .. }
            | Event::MapItemFaulted { activation, .. } => {
                self.close(*activation);
            }
            Event::ErrorCaught { activation, .. } | Event::RetryScheduled { activation, .. } => {
                self.close_below(*activation);
            }
            Event::StepScheduled { activation, .. } => {
                self.timers.remove(&(*activation, Timer::Due));
            }
            Event::StepJudged { activation, .. } => {
                self.questions.remove(activation);
            }
            Event::StepCompleted { activation, .. } => self.answered(*activation),
            Event::StepFailed { activation, retry_at, .. } => {
                if retry_at.is_some() {
                    self.steps.remove(activation);
                } else {
                    self.answered(*activation);
                }
            }
            Event::TimerStarted { activation, .. } => {
                self.waits.insert(*activation);
            }
            Event::TimerFired { activation, .. } => {
                self.timers.remove(&(*activation, Timer::Due));
                if self.waits.contains(activation) {
                    self.answered(*activation);
                }
            }
            Event::InstanceCompleted { .. }
            | Event::InstanceFaulted { .. }
            | Event::InstanceCancelled { .. } => self.close(ActivationId::ROOT),
            // Only the root remains, and its timeout is over.
            Event::CompensationStarted { .. } => {
                self.close_below(ActivationId::ROOT);
                self.timers.remove(&(ActivationId::ROOT, Timer::Deadline));
            }
            Event::EventPublished { activation } => {
                self.emits.remove(activation);
                self.answered(*activation);
            }
            Event::ListenStarted { activation, each: true, .. } => {
                self.each.insert(*activation);
            }
            Event::EventTaken { activation, over: true, .. } => {
                self.listens.remove(activation);
                if !self.each.contains(activation) {
                    self.answered(*activation);
                }
            }
            Event::ChildEnded { activation, .. } => {
                self.runs.remove(activation);
                self.answered(*activation);
            }
            Event::StepRemedied { .. }
            | Event::ListenStarted { each: false, .. }
            | Event::EventTaken { over: false, .. }
            | Event::EventEmitted { .. }
            | Event::ListenIterated { .. }
            | Event::ListenIterationEnded { .. }
            | Event::ChildStarted { .. }
            | Event::ChildCancelled { .. }
            | Event::CompensationKept { .. }
            | Event::CompensationFailed { .. }
            | Event::InstanceStarted(_)
            | Event::TaskSkipped { .. }
            | Event::StepCancelled { .. }
            | Event::LoopStarted { .. }
            | Event::LoopIterated { .. }
            | Event::ForkStarted { .. }
            | Event::MapStarted { .. }
            | Event::InstanceSuspended { .. }
            | Event::InstanceResumed
            | Event::InstanceRerun { .. } => {}
        }
    }

    /// What it waited for has come, so that its own timeout is over.
    fn answered(&mut self, id: ActivationId) {
        self.steps.remove(&id);
        self.timers.remove(&(id, Timer::Deadline));
    }

    fn close(&mut self, id: ActivationId) {
        self.close_below(id);
        assert!(!self.steps.contains_key(&id), "{id:?} ended with its step open");
        let child = self.runs.remove(&id);
        assert!(child.flatten().is_none(), "{id:?} ended with its child running");
        self.questions.remove(&id);
        self.emits.remove(&id);
        self.listens.remove(&id);
        let parent = self.parents.remove(&id);
        if let Some(siblings) = parent.and_then(|parent| self.children.get_mut(&parent)) {
            siblings.remove(&id);
        }
        for timer in [Timer::Due, Timer::Deadline] {
            self.timers.remove(&(id, timer));
        }
    }

    fn close_below(&mut self, id: ActivationId) {
        for child in self.children.remove(&id).unwrap_or_default() {
            self.close(child);
        }
    }
}
