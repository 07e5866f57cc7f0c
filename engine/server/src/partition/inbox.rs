//! What people are asked: an index over all instances of the partition, resident or not.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use baton_core::{
    ActivationId, Command, Event, Instance, InstanceId, Json, Timestamp,
    approval::Asking,
    workflow::{Function, Name},
};

use super::{Exit, lanes::Asker, owner::Owner, resident::Resident};

/// One thing that the people of a group are asked.
#[derive(Clone, Debug)]
pub struct Item {
    pub instance: InstanceId,
    pub step: ActivationId,
    pub group: Arc<str>,
    pub workflow: Name,
    /// The task's name.
    pub task: Arc<str>,
    pub function: Function,
    /// What the worker would be given.
    pub arguments: Json,
    /// What the task shows to policies.
    pub facts: Json,
    /// What policies want of this group, or of another in whose place it answers, too.
    pub asked: Vec<Asking>,
    pub claimed_by: Option<Arc<str>>,
    /// Who started the instance.
    pub started_by: Arc<str>,
    /// Those who have approved.
    pub approved_by: BTreeSet<Arc<str>>,
}

impl Item {
    /// When the first fallback comes, or has come.
    pub fn due(&self) -> Option<Timestamp> {
        self.asked.iter().filter_map(|asking| asking.ask.due).min()
    }
}

/// By instance. What is shown is read from the instance: here stand only those that have something.
#[derive(Default)]
pub(super) struct Inbox(BTreeMap<InstanceId, Vec<Item>>);

impl Inbox {
    pub(super) fn items(&self) -> impl Iterator<Item = &Item> {
        self.0.values().flatten()
    }

    fn set(&mut self, id: InstanceId, items: Vec<Item>) {
        if items.is_empty() {
            self.0.remove(&id);
        } else {
            self.0.insert(id, items);
        }
    }
}

impl Owner {
    /// After events of an instance.
    pub(super) fn note_inbox(&mut self, id: InstanceId, events: &[Event]) {
        let asks = |event: &Event| matches!(event, Event::ApprovalAsked { .. });
        if self.inbox.0.contains_key(&id) || events.iter().any(asks) {
            let items = self.residents.get(&id).map(items).unwrap_or_default();
            self.inbox.set(id, items);
        }
    }

    /// What another set wanted people asked is asked about anew.
    pub(super) async fn void_approvals(&mut self) -> Result<(), Exit> {
        if self.inbox.0.is_empty() {
            return Ok(());
        }
        let now = self.tell_time();
        let set = self.engine.policies.active(now).hash();
        let of_another = |item: &&Item| item.asked.iter().any(|asking| asking.ask.set != set);
        let void: BTreeSet<_> =
            self.inbox.items().filter(of_another).map(|item| (item.instance, item.step)).collect();
        for (id, activation) in void {
            if self.resident(id).await?.is_some() {
                self.command(id, Command::VoidApprovals { activation, set }, Asker::Nobody);
            }
        }
        Ok(())
    }

    /// After a recovery.
    pub(super) fn expect_answers(&mut self, resident: &Resident) {
        self.inbox.set(resident.instance.id, items(resident));
    }
}

fn items(resident: &Resident) -> Vec<Item> {
    let instance: &Instance = &resident.instance;
    let of_step = |(step, held): (ActivationId, &baton_core::instance::Step)| {
        let guard = held.guard.as_deref()?;
        let people = guard.waits_for()?;
        let task = resident.task(step)?;
        let function = task.kind.function()?;
        let approved_by: BTreeSet<_> =
            people.answers.values().flatten().map(|answer| Arc::clone(&answer.by)).collect();
        let of_group = |group: &Arc<str>| Item {
            instance: instance.id,
            step,
            group: Arc::clone(group),
            workflow: instance.started.name.clone(),
            task: Arc::clone(&task.name),
            function: function.clone(),
            arguments: held.arguments.clone(),
            facts: guard.facts.clone(),
            asked: people
                .open()
                .filter(|asking| asking.ask.group == *group || asking.stand_in() == Some(group))
                .cloned()
                .collect(),
            claimed_by: people.claims.get(group).cloned(),
            started_by: Arc::clone(&instance.started.by),
            approved_by: approved_by.clone(),
        };
        Some(people.groups().into_iter().map(of_group).collect::<Vec<_>>())
    };
    instance.guarded_steps().filter_map(of_step).flatten().collect()
}
