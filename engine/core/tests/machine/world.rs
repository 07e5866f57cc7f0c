//! An instance in a world that watches the laws: the one place where the tests touch the machine.

use std::{collections::BTreeSet, sync::Arc};

use baton_core::{
    Command, Effect, Event, Instance, InstanceId, Json, Rejection, Timestamp, Workflow, apply,
    decide, event::Started, instance::Status, limits, pending, start,
};

use crate::{
    build::{Node, build},
    model::Asked,
    table::Table,
};

pub(crate) struct World {
    pub(crate) workflow: Workflow,
    pub(crate) table: Table,
    pub(crate) instance: Instance,
    pub(crate) now: Timestamp,
    pub(crate) events: Vec<Event>,
    folded: Instance,
    asked: Asked,
    /// Following every law after every command is quadratic: big stories do it at their end.
    watchful: bool,
}

impl World {
    /// # Panics
    /// When the start is refused, or a law is broken.
    pub(crate) fn new(root: &Node, input: &str) -> Self {
        Self::try_new(root, input, true).expect("the input fits")
    }

    /// Its steps go out only when policies allow it.
    pub(crate) fn guarded(
        root: &Node,
        input: &str,
    ) -> Result<Self, (Rejection, baton_core::Error)> {
        let (workflow, mut table) = build(root);
        table.guards = true;
        Self::begin(workflow, table, input, true)
    }

    pub(crate) fn try_new(
        root: &Node,
        input: &str,
        watchful: bool,
    ) -> Result<Self, (Rejection, baton_core::Error)> {
        let (workflow, table) = build(root);
        Self::begin(workflow, table, input, watchful)
    }

    fn begin(
        workflow: Workflow,
        table: Table,
        input: &str,
        watchful: bool,
    ) -> Result<Self, (Rejection, baton_core::Error)> {
        let started = Arc::new(Started {
            workflow: workflow.hash,
            name: workflow.name.clone(),
            input: Json::from_text(input),
            key: "".into(),
            labels: std::collections::BTreeMap::new(),
            traceparent: "".into(),
            parent: None,
            carried: baton_core::guard::Carried::default(),
            by: "person starter".into(),
        });
        let now = Timestamp(1_000_000);
        let id = InstanceId([3; 16]);
        let (instance, events) = start(&workflow, &table, id, Arc::clone(&started), now)?;
        let folded = Instance::new(id, Arc::clone(&started), now);
        assert_eq!(events[0], Event::InstanceStarted(started));
        let asked = Asked::guarded(table.guards);
        let mut world =
            Self { workflow, table, instance, now, events: Vec::new(), folded, asked, watchful };
        world.watch(events, 0);
        Ok(world)
    }

    /// # Panics
    /// When a law is broken.
    pub(crate) fn give(&mut self, command: Command) -> Result<Vec<Event>, Rejection> {
        let open = self.instance.activations.len();
        let before = self.watchful.then(|| self.instance.clone());
        let counts = self.counts(&command);
        let decided = decide(&mut self.instance, &self.workflow, &self.table, self.now, command);
        assert!(counts.is_none_or(|counts| counts == decided.is_ok()), "only what is open counts");
        match &decided {
            Ok(events) => self.watch(events.clone(), open),
            Err(_) => assert!(
                before.is_none_or(|before| before == self.instance),
                "refusal: a rejected command changes nothing"
            ),
        }
        decided
    }

    /// Whether an answer or a timer must be taken, by what was asked for; `None`: that does not tell.
    fn counts(&self, command: &Command) -> Option<bool> {
        match command {
            Command::CompleteStep { activation, attempt, .. }
            | Command::FailStep { activation, attempt, .. } => {
                let late = self.asked.is_late(*activation, *attempt);
                Some(self.asked.is_open(*activation, *attempt) || late)
            }
            Command::SettleKey { activation, attempt, .. } => {
                Some(self.asked.claims(*activation, *attempt) && !self.instance.suspended)
            }
            Command::HaltStep { activation, attempt, .. } => {
                Some(self.asked.is_open(*activation, *attempt))
            }
            Command::RearmStep { activation, attempt } => {
                Some(self.asked.is_halted(*activation, *attempt) && !self.instance.suspended)
            }
            Command::Judge { activation, attempt, .. } => {
                Some(self.asked.is_asked(*activation, *attempt) && !self.instance.suspended)
            }
            Command::FireTimer { activation, timer } => {
                let due = self.asked.timer(*activation, *timer).is_some_and(|at| at <= self.now);
                Some(due && !self.instance.suspended)
            }
            // Claims, four eyes, digests and sets have a say, too.
            Command::ClaimApproval { activation, group, .. }
            | Command::AnswerApproval { activation, group, .. } => {
                (!self.asked.is_asked_of(*activation, group)).then_some(false)
            }
            Command::PublishedEvent { activation } => Some(self.asked.publishes(*activation)),
            Command::EndChild { activation, .. } => Some(self.asked.runs(*activation)),
            // It may be that nothing listens for it.
            Command::TakeEvent { .. }
            | Command::VoidApprovals { .. }
            | Command::ResolveKey { .. }
            | Command::Continue
            | Command::Cancel { .. }
            | Command::Terminate { .. }
            | Command::Suspend { .. }
            | Command::Resume
            | Command::Rerun { .. } => None,
        }
    }

    /// Gives [`Command::Continue`] until there is nothing to go on with, at most `times`.
    pub(crate) fn go_on(&mut self, times: usize) {
        for _ in 0..times {
            if !pending(&self.instance).contains(&Effect::Continue) {
                return;
            }
            self.give(Command::Continue).expect("it was asked for");
        }
    }

    /// Those that are due, in the order of their times.
    pub(crate) fn timers(&self) -> Vec<(Timestamp, Command)> {
        let mut timers: Vec<_> = pending(&self.instance)
            .into_iter()
            .filter_map(|effect| match effect {
                Effect::SetTimer { activation, timer, at } => Some((at, activation, timer)),
                Effect::Continue
                | Effect::AskPolicies { .. }
                | Effect::ClaimKey { .. }
                | Effect::DispatchStep { .. }
                | Effect::WithdrawStep { .. }
                | Effect::Rearm
                | Effect::End
                | Effect::PublishEvent { .. }
                | Effect::Listen { .. }
                | Effect::RunChild { .. }
                | Effect::CancelChild { .. } => None,
            })
            .collect();
        timers.sort();
        timers
            .into_iter()
            .map(|(at, activation, timer)| (at, Command::FireTimer { activation, timer }))
            .collect()
    }

    pub(crate) fn name_of(&self, task: baton_core::TaskId) -> String {
        self.workflow.task(task).expect("of this workflow").name.to_string()
    }

    fn watch(&mut self, events: Vec<Event>, open: usize) {
        // One task may end with as many steps to withdraw as are open, and be the last of its decision.
        let most = limits::EVENTS_PER_DECISION + open + 2;
        assert!(events.len() <= most, "bounded: {} events in one decision", events.len());
        for event in events {
            if !matches!(event, Event::InstanceStarted(_)) {
                apply(&mut self.folded, &event, self.now);
            }
            self.asked.see(&event);
            self.events.push(event);
        }
        if self.watchful {
            self.check();
        }
    }

    /// # Panics
    /// When a law is broken.
    pub(crate) fn check(&self) {
        let instance = &self.instance;
        assert_eq!(&self.folded, instance, "replay: folding the events gives the instance");
        let mut found: BTreeSet<Effect> = pending(&self.folded).into_iter().collect();
        assert_eq!(found.len(), pending(instance).len(), "recovery: nothing is asked for twice");
        let goes_on = found.remove(&Effect::Continue);
        assert_eq!(goes_on, !instance.suspended && !instance.ready.is_empty());
        assert_eq!(
            found,
            self.asked.effects(instance.suspended),
            "recovery: what is pending was asked for"
        );
        let ready: BTreeSet<_> = instance
            .activations
            .iter()
            .filter(|(_, activation)| activation.ready.is_some())
            .map(|(id, _)| *id)
            .collect();
        assert_eq!(ready, instance.ready);
        for (id, activation) in &instance.activations {
            assert!(instance.activations.contains_key(&activation.parent), "{id:?} has a parent");
        }
        let ended =
            matches!(instance.status(), Status::Completed | Status::Faulted | Status::Cancelled);
        assert_eq!(ended, instance.activations.is_empty());
        let asks = |step: &baton_core::instance::Step| {
            step.guard.as_deref().is_some_and(|guard| guard.waits_for().is_some())
        };
        let mut held = instance.guarded_steps();
        let held = held.any(|(_, step)| instance.suspended || asks(step));
        let claims = instance.claiming_steps().next().is_some() && instance.suspended;
        let held = held || claims || instance.halted_steps().next().is_some();
        let waits = !found.is_empty() || !instance.ready.is_empty() || held;
        assert_eq!(ended, !waits, "an open instance waits for something, an ended one for nothing");
    }
}
