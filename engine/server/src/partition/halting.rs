//! Kill switches in a partition: what they hold is stopped, what they hold no more begins anew. Nothing that is held goes
//! out in between, because each command is held against the switches before it is sent.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use baton_core::{
    ActivationId, Attempt, Command, InstanceId, Timestamp, step_backoff, workflow::Function,
};

use super::{Exit, Reply, batch::After, lanes::Asker, owner::Owner, resident::Resident};
use crate::{
    limits,
    switches::{self, Active, Scope, Switch},
};

pub(super) type Key = (InstanceId, ActivationId);

/// What a switch does to a partition.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// Steps that it holds.
    pub steps: u64,
    /// Results that came too late, since the owner leads.
    pub late: u64,
}

#[derive(Default)]
pub(super) struct Halting {
    active: Active,
    /// Of [`Self::active`].
    generation: u64,
    /// Steps that may have to be stopped, with the attempt that is out or was to go out.
    waiting: BTreeMap<Key, Attempt>,
    /// Those of them whose commands were not sent when it was their time.
    unsent: BTreeSet<Key>,
    /// Attempts that are asked to stop beside the loop.
    asked: BTreeMap<Key, Attempt>,
    /// Steps that may go on again.
    rearming: BTreeSet<Key>,
    /// The same, but not before this time.
    later: BTreeMap<Key, Timestamp>,
    /// Steps that were stopped, and by which switch.
    halted: BTreeMap<Key, Arc<str>>,
    /// By switch: results that came too late, since this owner leads.
    late: BTreeMap<Arc<str>, u64>,
    /// Who is told when everything is stopped.
    told: Vec<Reply<()>>,
}

impl Halting {
    pub(super) fn held_by(&self, resident: &Resident, step: ActivationId) -> Option<&Arc<Switch>> {
        if self.active.is_empty() {
            return None;
        }
        switches::holding(&self.active, &resident.instance, resident.function(step)?)
    }

    /// The switch that stops this worker.
    pub(super) fn of_worker(&self, worker: &str) -> Option<&Arc<Switch>> {
        self.active.iter().find(|switch| switch.scope.is_worker(worker))
    }

    /// Whether a class of data that flows into a case may stop what is out already.
    pub(super) fn minds_classes(&self) -> bool {
        self.active.iter().any(|switch| matches!(switch.scope, Scope::Class(_)))
    }

    /// It may have to be stopped.
    pub(super) fn wait(&mut self, key: Key, attempt: Attempt) {
        self.waiting.insert(key, attempt);
    }

    /// The same of one whose command would be sent now.
    pub(super) fn hold_back(&mut self, key: Key, attempt: Attempt) {
        self.waiting.insert(key, attempt);
        self.unsent.insert(key);
    }

    pub(super) fn is_waiting(&self, key: Key, attempt: Attempt) -> bool {
        self.waiting.contains_key(&key) || self.asked.get(&key) == Some(&attempt)
    }

    pub(super) fn has_work(&self) -> bool {
        !self.waiting.is_empty() || !self.rearming.is_empty()
    }

    /// It may go on again, if no switch holds it any more.
    pub(super) fn rearm(&mut self, key: Key) {
        self.rearming.insert(key);
    }

    /// What a worker has done that is stopped by its name, others do; not at once, for they may not know of that either.
    pub(super) fn rearm_due(&mut self, now: Timestamp) {
        let rearming = &mut self.rearming;
        self.later.retain(|key, at| {
            let is_due = *at <= now;
            if is_due {
                rearming.insert(*key);
            }
            !is_due
        });
    }

    pub(super) fn halted(&mut self, key: Key, attempt: Attempt, switch: &Arc<str>, now: Timestamp) {
        self.asked.remove(&key);
        self.unsent.remove(&key);
        self.halted.insert(key, Arc::clone(switch));
        let mut active = self.active.iter();
        let by_name = active
            .any(|it| matches!(it.scope, Scope::Worker(_)) && it.number.to_string() == **switch);
        if !by_name {
            self.rearming.insert(key);
        } else if attempt.0 < limits::STOPPED_WORKERS_ATTEMPTS_MAX {
            self.later.insert(key, now.plus(step_backoff(attempt)));
        }
    }

    pub(super) fn answered(&mut self, key: Key) {
        if let Some(switch) = self.halted.get(&key) {
            *self.late.entry(Arc::clone(switch)).or_default() += 1;
        }
    }

    /// Another attempt begins.
    pub(super) fn forget(&mut self, key: Key) {
        self.halted.remove(&key);
        self.later.remove(&key);
    }

    pub(super) fn forget_instance(&mut self, id: InstanceId) {
        let of = (id, ActivationId(0))..=(id, ActivationId(u32::MAX));
        let gone: Vec<_> = self.halted.range(of).map(|(key, _)| *key).collect();
        for key in gone {
            self.forget(key);
        }
    }
}

impl Owner {
    /// After a recovery: what was stopped, and may go on.
    pub(super) fn expect_halts(&mut self, resident: &Resident) {
        let id = resident.instance.id;
        for (step, halted) in resident.instance.halted_steps() {
            let halt = halted.halt.as_deref().expect("what is halted has a switch");
            self.halting.halted((id, step), halted.attempt, &halt.switch, self.now);
            if halt.answered {
                self.halting.answered((id, step));
            }
        }
    }

    /// Looks at the switches that are active now.
    pub(super) fn look_at_switches(&mut self) {
        let generation = self.engine.switches.generation();
        if generation == self.halting.generation {
            return;
        }
        let active = self.engine.switches.active();
        let before = std::mem::replace(&mut self.halting.active, Arc::clone(&active));
        self.halting.generation = generation;
        let is_new = |switch: &&Arc<Switch>| before.iter().all(|old| old.number != switch.number);
        let new: Vec<_> = active.iter().filter(is_new).collect();
        for (key, open) in &self.steps {
            if new.iter().any(|switch| switch.scope.may_hold(&open.function)) {
                self.halting.waiting.insert(*key, open.attempt);
            }
        }
        if before.iter().any(|old| active.iter().all(|switch| switch.number != old.number)) {
            self.halting.rearming.extend(self.halting.halted.keys());
        }
    }

    /// Has whoever asks told when everything is stopped that is to be.
    pub(super) fn tell_when_stopped(&mut self, reply: Reply<()>) {
        self.look_at_switches();
        self.halting.told.push(reply);
    }

    /// Stops what is held and lets go on what is no longer, as far as there is room and nobody waits long for it.
    pub(super) async fn halt(&mut self) -> Result<(), Exit> {
        let mut looked_at = 0;
        while looked_at < limits::HALTED_AT_ONCE
            && !self.batch.is_full()
            && let Some((key, attempt)) = self.halting.waiting.pop_first()
        {
            looked_at += 1;
            self.halt_step(key, attempt).await?;
        }
        while looked_at < limits::HALTED_AT_ONCE
            && !self.batch.is_full()
            && let Some(key) = self.halting.rearming.pop_first()
        {
            looked_at += 1;
            self.rearm_step(key).await?;
        }
        self.tell_stopped();
        Ok(())
    }

    async fn halt_step(&mut self, key: Key, attempt: Attempt) -> Result<(), Exit> {
        let (id, step) = key;
        let unsent = self.halting.unsent.remove(&key);
        if !unsent
            && let Some(open) = self.steps.get(&key)
            && !self.is_held(id, &open.function).await?
        {
            return Ok(());
        }
        if self.resident(id).await?.is_none() {
            return Ok(());
        }
        let resident = &self.residents[&id];
        let is_open = resident.instance.open_step(step).is_some_and(|open| open.attempt == attempt);
        if !is_open {
            return Ok(());
        }
        if let Some(switch) = self.halting.held_by(resident, step) {
            let switch = switch.number.to_string().into();
            if self.is_beside(id) {
                self.halting.asked.insert(key, attempt);
            }
            let command = Command::HaltStep { activation: step, attempt, switch };
            self.command(id, command, Asker::Nobody);
        } else if unsent {
            // It was held back, and is held no more.
            self.batch.after.push(After::Dispatch { instance: id, step, attempt });
        }
        Ok(())
    }

    /// Whether a switch holds a step of this function, without making its instance resident.
    async fn is_held(&self, id: InstanceId, function: &Function) -> Result<bool, Exit> {
        let active = &self.halting.active;
        if active.iter().any(|switch| switch.scope.holds_all_of(function)) {
            return Ok(true);
        }
        if !active.iter().any(|switch| switch.scope.may_hold(function)) {
            return Ok(false);
        }
        if let Some(resident) = self.residents.get(&id) {
            return Ok(switches::holding(active, &resident.instance, function).is_some());
        }
        let instance = self.look(id).await?;
        let held = |instance| switches::holding(active, &instance, function).is_some();
        Ok(instance.is_some_and(held))
    }

    async fn rearm_step(&mut self, (id, step): Key) -> Result<(), Exit> {
        if self.resident(id).await?.is_none() {
            return Ok(());
        }
        let resident = &self.residents[&id];
        let halted = resident.instance.halted_step(step).map(|halted| halted.attempt);
        match halted {
            Some(attempt) if self.halting.held_by(resident, step).is_none() => {
                let command = Command::RearmStep { activation: step, attempt };
                self.command(id, command, Asker::Nobody);
            }
            Some(_) => {}
            None => self.halting.forget((id, step)),
        }
        Ok(())
    }

    fn tell_stopped(&mut self) {
        let halting = &mut self.halting;
        if halting.told.is_empty() || !halting.waiting.is_empty() {
            return;
        }
        // What has been answered meanwhile needs no stopping.
        let steps = &self.steps;
        halting
            .asked
            .retain(|key, attempt| steps.get(key).is_some_and(|open| open.attempt == *attempt));
        if halting.asked.is_empty() {
            let told = std::mem::take(&mut halting.told);
            self.batch.after.push(After::Stopped { told });
        }
    }

    /// What a switch of this number holds here.
    pub(super) fn held(&self, number: u32) -> Held {
        let number = number.to_string();
        let held = self.halting.halted.values().filter(|by| ***by == *number);
        let late = self.halting.late.get(number.as_str()).copied().unwrap_or_default();
        Held { steps: held.count() as u64, late }
    }

    /// How many steps a switch would stop.
    pub(super) async fn would_stop(&self, scope: &Scope) -> Result<u64, Exit> {
        let mut held = 0;
        for (n, ((id, _), open)) in self.steps.iter().enumerate() {
            if !scope.may_hold(&open.function) || scope.holds_all_of(&open.function) {
                held += u64::from(scope.holds_all_of(&open.function));
                continue;
            }
            let instance = self.look(*id).await?;
            held += u64::from(instance.is_some_and(|it| scope.holds(&it, &open.function)));
            if n % limits::HALTED_AT_ONCE == 0 {
                tokio::task::yield_now().await;
            }
        }
        Ok(held)
    }
}
