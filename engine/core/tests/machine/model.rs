//! What the world has been asked for and has not settled, kept from effects alone.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use baton_core::{
    ActivationId, Attempt, Effect, Event, InstanceId, Next, Timestamp,
    command::Timer,
    effect,
    guard::{Remedy, Verdict},
    workflow::Hash,
};

#[derive(Default)]
pub(crate) struct Asked {
    parents: BTreeMap<ActivationId, ActivationId>,
    children: BTreeMap<ActivationId, BTreeSet<ActivationId>>,
    steps: BTreeMap<ActivationId, Attempt>,
    /// Steps that wait for their key.
    claiming: BTreeMap<ActivationId, Attempt>,
    /// What policies were asked about.
    questions: BTreeMap<ActivationId, Attempt>,
    /// Whether steps have a guard.
    guards: bool,
    /// What people are asked, by step and group.
    people: BTreeMap<ActivationId, People>,
    /// Steps that kill switches have stopped, and whether a worker has answered since.
    halted: BTreeMap<ActivationId, (Attempt, bool)>,
    /// Steps that wait for people.
    held: BTreeSet<ActivationId>,
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

/// What people are asked about a step, and have answered.
#[derive(Default)]
struct People {
    digest: Option<Hash>,
    asked: BTreeMap<Arc<str>, AskedBy>,
    answers: BTreeMap<Arc<str>, usize>,
}

/// What one policy wants.
struct AskedBy {
    groups: Vec<Arc<str>>,
    fallback: Option<Arc<str>>,
    quorum: usize,
    due: Option<Timestamp>,
}

impl People {
    fn open(&self) -> impl Iterator<Item = &AskedBy> {
        self.asked.values().filter(|asked| {
            let count = |group: &Arc<str>| self.answers.get(group).copied().unwrap_or(0);
            asked.groups.iter().map(count).sum::<usize>() < asked.quorum
        })
    }
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
            Some(Effect::ClaimKey { activation, attempt }) => {
                assert!(self.claiming.insert(activation, attempt).is_none(), "twice: {event:?}");
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
                self.held.remove(&activation);
                assert!(self.steps.insert(activation, attempt).is_none(), "open: {event:?}");
            }
            Some(Effect::WithdrawStep { activation, attempt }) => {
                assert_eq!(self.steps.remove(&activation), Some(attempt), "not open: {event:?}");
            }
            Some(Effect::SetTimer { .. }) if matches!(event, Event::ApprovalAsked { .. }) => {}
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

    pub(crate) fn claims(&self, step: ActivationId, attempt: Attempt) -> bool {
        self.claiming.get(&step) == Some(&attempt)
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

    pub(crate) fn is_halted(&self, step: ActivationId, attempt: Attempt) -> bool {
        self.halted.get(&step).is_some_and(|(halted, _)| *halted == attempt)
    }

    pub(crate) fn is_late(&self, step: ActivationId, attempt: Attempt) -> bool {
        self.halted.get(&step) == Some(&(attempt, false))
    }

    pub(crate) fn timer(&self, of: ActivationId, timer: Timer) -> Option<Timestamp> {
        let due = if timer == Timer::Due { self.first_due(of) } else { None };
        self.timers.get(&(of, timer)).copied().or(due)
    }

    /// What a group is still asked.
    pub(crate) fn is_asked_of(&self, step: ActivationId, group: &str) -> bool {
        self.open(step).any(|asked| asked.groups.iter().any(|found| **found == *group))
    }

    fn open(&self, step: ActivationId) -> impl Iterator<Item = &AskedBy> {
        let held = self.held.contains(&step);
        self.people.get(&step).into_iter().filter(move |_| held).flat_map(People::open)
    }

    fn first_due(&self, step: ActivationId) -> Option<Timestamp> {
        self.open(step).filter_map(|asked| asked.due).min()
    }

    /// Policies are asked nothing while the instance is suspended.
    pub(crate) fn effects(&self, suspended: bool) -> BTreeSet<Effect> {
        let questions = self.questions.iter().filter(|_| !suspended);
        let questions = questions.map(|(activation, attempt)| Effect::AskPolicies {
            activation: *activation,
            attempt: *attempt,
        });
        let claims = self.claiming.iter().filter(|_| !suspended);
        let claims = claims.map(|(activation, attempt)| Effect::ClaimKey {
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
        let overdue = self.held.iter().flat_map(|activation| {
            let dues = self.open(*activation).filter_map(|asked| asked.due);
            dues.map(|at| Effect::SetTimer { activation: *activation, timer: Timer::Due, at })
        });
        let emits =
            self.emits.iter().map(|activation| Effect::PublishEvent { activation: *activation });
        let listens =
            self.listens.iter().map(|activation| Effect::Listen { activation: *activation });
        let runs = self.runs.keys().map(|activation| Effect::RunChild { activation: *activation });
        steps
            .chain(claims)
            .chain(questions)
            .chain(timers)
            .chain(overdue)
            .chain(emits)
            .chain(listens)
            .chain(runs)
            .collect()
    }

    fn is_over(&mut self, activation: ActivationId, complete: bool) {
        let over = self.open(activation).next().is_none();
        assert_eq!(over, complete, "policies are asked again when nobody else is asked");
        if over {
            self.held.remove(&activation);
        }
    }

    /// What policies and people say of a step.
    fn settle_guard(&mut self, event: &Event) {
        #[expect(clippy::wildcard_enum_match_arm, reason = "the others say nothing of it")]
        match event {
            Event::StepJudged { activation, .. } => {
                self.questions.remove(activation);
                self.held.insert(*activation);
            }
            Event::StepRemedied { activation, complete: true, .. } => {
                self.held.remove(activation);
            }
            Event::ApprovalAsked { activation, ask, .. } => {
                let people = self.people.entry(*activation).or_default();
                if people.digest != Some(ask.digest) {
                    *people = People { digest: Some(ask.digest), ..People::default() };
                }
                let fallback = match &ask.fallback {
                    Some(Remedy::Approval(other)) => Some(Arc::clone(other)),
                    Some(_) | None => None,
                };
                let groups = vec![Arc::clone(&ask.group)];
                let quorum = ask.quorum as usize;
                let asked = AskedBy { groups, fallback, quorum, due: ask.due };
                people.asked.insert(Arc::clone(&ask.policy), asked);
            }
            Event::ApprovalAnswered { activation, group, approves, complete, .. } => {
                let people = self.people.get_mut(activation).expect("somebody has asked");
                *people.answers.entry(Arc::clone(group)).or_default() += usize::from(*approves);
                self.is_over(*activation, *complete);
            }
            Event::ApprovalOverdue { activation, policy, complete, .. } => {
                let people = self.people.get_mut(activation).expect("somebody has asked");
                let asked = people.asked.get_mut(policy).expect("only what is asked is overdue");
                asked.due = None;
                asked.groups.extend(asked.fallback.take());
                self.is_over(*activation, *complete);
            }
            Event::ApprovalsVoided { activation, .. } => {
                self.people.remove(activation);
                self.held.remove(activation);
            }
            _ => {}
        }
    }

    #[expect(clippy::too_many_lines, reason = "one arm for each event")]
    fn settle(&mut self, event: &Event) {
        self.settle_guard(event);
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
                self.held.remove(activation);
                self.halted.remove(activation);
                self.timers.remove(&(*activation, Timer::Due));
            }
            Event::KeyClaimed { activation, .. } => {
                self.claiming.remove(activation);
            }
            Event::StepHalted { activation, attempt, .. } => {
                self.halted.insert(*activation, (*attempt, false));
            }
            Event::ResultFenced { activation, attempt, .. } => {
                self.halted.insert(*activation, (*attempt, true));
            }
            Event::StepCompleted { activation, .. } | Event::KeyAttached { activation, .. } => {
                self.answered(*activation);
            }
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
            Event::StepJudged { .. }
            | Event::StepRemedied { .. }
            | Event::ApprovalAsked { .. }
            | Event::ApprovalClaimed { .. }
            | Event::ApprovalAnswered { .. }
            | Event::ApprovalOverdue { .. }
            | Event::ApprovalsVoided { .. }
            | Event::KeyResolved { .. }
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
        self.held.remove(&id);
        self.halted.remove(&id);
        self.claiming.remove(&id);
        self.steps.remove(&id);
        self.timers.remove(&(id, Timer::Deadline));
    }

    fn close(&mut self, id: ActivationId) {
        self.close_below(id);
        assert!(!self.steps.contains_key(&id), "{id:?} ended with its step open");
        let child = self.runs.remove(&id);
        assert!(child.flatten().is_none(), "{id:?} ended with its child running");
        self.questions.remove(&id);
        self.claiming.remove(&id);
        self.held.remove(&id);
        self.halted.remove(&id);
        self.people.remove(&id);
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
