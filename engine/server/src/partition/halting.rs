//! Kill switches in a partition: what they hold is stopped, what they hold no more begins anew. Nothing that is held goes
//! out in between, because each command is held against the switches before it is sent.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use baton_core::{ActivationId, Attempt, Command, InstanceId};

use super::{Exit, Reply, batch::After, lanes::Asker, owner::Owner, resident::Resident};
use crate::switches::{self, Active, Scope, Switch};

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
    /// Steps that may have to be stopped, with the attempt that was out or was to go out.
    waiting: BTreeMap<Key, Attempt>,
    /// Those that are asked to stop beside the loop.
    asked: BTreeSet<Key>,
    /// Steps that may go on again.
    rearming: BTreeSet<Key>,
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

    /// It is not to be sent out now.
    pub(super) fn wait(&mut self, key: Key, attempt: Attempt) {
        self.waiting.insert(key, attempt);
    }

    pub(super) fn is_waiting(&self, key: Key) -> bool {
        self.waiting.contains_key(&key) || self.asked.contains(&key)
    }

    pub(super) fn halted(&mut self, key: Key, switch: &Arc<str>) {
        self.asked.remove(&key);
        self.halted.insert(key, Arc::clone(switch));
        self.rearming.insert(key);
    }

    /// It may go on again, if no switch holds it any more.
    pub(super) fn rearm(&mut self, key: Key) {
        self.rearming.insert(key);
    }

    pub(super) fn answered(&mut self, key: Key) {
        if let Some(switch) = self.halted.get(&key) {
            *self.late.entry(Arc::clone(switch)).or_default() += 1;
        }
    }

    /// Another attempt begins, or the instance has ended.
    pub(super) fn forget(&mut self, key: Key) {
        self.halted.remove(&key);
    }

    pub(super) fn forget_instance(&mut self, id: InstanceId) {
        let of = (id, ActivationId(0))..=(id, ActivationId(u32::MAX));
        let gone: Vec<_> = self.halted.range(of).map(|(key, _)| *key).collect();
        for key in gone {
            self.halted.remove(&key);
        }
    }

    fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.rearming.is_empty() && self.told.is_empty()
    }
}

impl Owner {
    /// After a recovery: what was stopped, and what may have to be.
    pub(super) fn expect_halts(&mut self, resident: &Resident) {
        let id = resident.instance.id;
        for (step, halted) in resident.instance.halted_steps() {
            let halt = halted.halt.as_deref().expect("what is halted has a switch");
            self.halting.halted((id, step), &halt.switch);
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
        for (key, open) in &self.steps {
            if active.iter().any(|switch| switch.scope.may_hold(&open.function)) {
                self.halting.waiting.insert(*key, open.attempt);
            }
        }
        self.halting.rearming.extend(self.halting.halted.keys());
        (self.halting.active, self.halting.generation) = (active, generation);
    }

    /// Has whoever asks told when everything is stopped that is to be.
    pub(super) fn tell_when_stopped(&mut self, reply: Reply<()>) {
        self.look_at_switches();
        self.halting.told.push(reply);
    }

    /// Stops what is held and lets go on what is no longer, while the batch has room.
    pub(super) async fn halt(&mut self) -> Result<(), Exit> {
        if self.halting.is_idle() {
            return Ok(());
        }
        while !self.batch.is_full()
            && let Some((key, attempt)) = self.halting.waiting.pop_first()
        {
            self.halt_step(key, attempt).await?;
        }
        while !self.batch.is_full()
            && let Some(key) = self.halting.rearming.pop_first()
        {
            self.rearm_step(key).await?;
        }
        self.tell_stopped();
        Ok(())
    }

    async fn halt_step(&mut self, (id, step): Key, attempt: Attempt) -> Result<(), Exit> {
        if self.resident(id).await?.is_none() {
            return Ok(());
        }
        let resident = &self.residents[&id];
        if let Some(switch) = self.halting.held_by(resident, step) {
            let switch = switch.number.to_string().into();
            if self.is_beside(id) {
                self.halting.asked.insert((id, step));
            }
            self.command(
                id,
                Command::HaltStep { activation: step, attempt, switch },
                Asker::Nobody,
            );
        } else if !self.steps.contains_key(&(id, step)) {
            // It was held back, and is held no more.
            self.send_out(id, step, attempt);
        }
        Ok(())
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
        halting.asked.retain(|key| self.steps.contains_key(key));
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
    pub(super) async fn would_stop(&mut self, scope: &Scope) -> Result<u64, Exit> {
        let may = self.steps.iter().filter(|(_, open)| scope.may_hold(&open.function));
        let may: Vec<_> = may.map(|(key, open)| (*key, open.function.clone())).collect();
        let mut held = 0;
        for ((id, _), function) in may {
            if let Some(resident) = self.resident(id).await? {
                held += u64::from(scope.holds(&resident.instance, &function));
            }
        }
        Ok(held)
    }
}
