//! What an instance decides, and what follows from it once the log has answered.

use std::sync::Arc;

use baton_core::{Command, Effect, Evaluator, Event, InstanceId, limits::WORK_PER_DECISION};
use tokio::time::Instant;

use super::{
    batch::After,
    family::{Kin, Wanted},
    listeners::CatchingUp,
    owner::{OpenStep, Owner},
};
use crate::{error::Refusal, traces};

impl Owner {
    /// Decides, and gathers what follows.
    pub(super) fn decide(&mut self, id: InstanceId, command: Command) -> Result<(), Refusal> {
        let now = self.tell_time();
        let resident = self.residents.get_mut(&id).expect("callers made it resident");
        let Some(definition) = resident.definition.clone() else {
            let name = &resident.instance.started.name;
            let name = format!("{}/{}:{}", name.namespace, name.name, name.version);
            return Err(Refusal::UnknownWorkflow(name));
        };
        if self.engine.lifecycle.is_some() && resident.told.is_none() {
            resident.told = Some(resident.instance.clone());
        }
        // What takes long is only noted here, and gone on with when nobody else waits.
        let only_note = resident.heavy && !matches!(command, Command::Continue);
        let program = &definition.program;
        let turn = if only_note { program.spent_turn() } else { program.turn() };
        let turn =
            if matches!(command, Command::TakeEvent { .. }) { turn.about_event() } else { turn };
        let before = turn.spent();
        let (instance, workflow) = (&mut resident.instance, &definition.workflow);
        let decided = baton_core::decide(instance, workflow, &turn, now, command);
        let work = turn.spent() - before;
        self.batch.work += work;
        let events = decided.map_err(Refusal::Rejected)?;
        resident.heavy = only_note || work >= WORK_PER_DECISION;
        resident.touched = Instant::now();
        if resident.instance.ended.is_none() {
            self.open.insert(id);
        }
        self.record(id, &events);
        Ok(())
    }

    /// Has the batch take the events of an instance, and follows what they ask for.
    pub(super) fn record(&mut self, id: InstanceId, events: &[Event]) {
        self.batch.add(id, events);
        self.dirty.insert(id);
        for event in events {
            self.follow(id, event);
        }
        let listens = |event: &Event| matches!(event, Event::ListenStarted { .. });
        if self.listeners.knows(id) || events.iter().any(listens) {
            self.note_listeners(id);
        }
        let resident = self.residents.get_mut(&id).expect("it has just been decided about");
        if self.engine.lifecycle.is_some() {
            self.batch.told.extend(events.iter().flat_map(|event| resident.tell(event, self.now)));
        }
        resident.dirty = true;
        if !resident.instance.ready.is_empty() && !resident.instance.suspended {
            let queue = if resident.heavy { &mut self.heavy } else { &mut self.unfinished };
            queue.push_back(id);
        }
    }

    /// Keeps the indexes of steps and timers, and notes what to do when the log has answered.
    fn follow(&mut self, id: InstanceId, event: &Event) {
        match baton_core::effect(event) {
            Some(Effect::DispatchStep { activation, attempt }) => {
                if let Some(task) = self.residents[&id].task(activation)
                    && let Some(function) = task.kind.function().cloned()
                {
                    let task = Arc::clone(&task.name);
                    let open = OpenStep { attempt, function, task, scheduled_at: self.now };
                    self.steps.insert((id, activation), open);
                }
                self.batch.after.push(After::Dispatch { instance: id, step: activation, attempt });
            }
            Some(Effect::WithdrawStep { activation, attempt }) => {
                if let Some(open) = self.steps.remove(&(id, activation)) {
                    self.trace_attempt(id, event, &open);
                    let function = open.function;
                    self.batch.after.push(After::Withdraw {
                        instance: id,
                        step: activation,
                        attempt,
                        function,
                    });
                }
            }
            Some(Effect::SetTimer { activation, timer, at }) => {
                self.timers.insert((at, id, activation, timer));
            }
            Some(Effect::Rearm) => {
                for effect in baton_core::pending(&self.residents[&id].instance) {
                    if let Effect::SetTimer { activation, timer, at } = effect {
                        self.timers.insert((at, id, activation, timer));
                    }
                }
            }
            Some(Effect::End) => {
                self.open.remove(&id);
                let instance = &self.residents[&id].instance;
                self.engine.metrics.ended(instance.status());
                if instance.started.parent.is_some() {
                    self.family.push_back(Kin::Ended { child: id });
                }
                self.batch.after.push(After::Ended { instance: id });
            }
            Some(Effect::PublishEvent { activation }) => {
                if let Event::EventEmitted { event, .. } = event {
                    let event = event.clone();
                    let name = &self.residents[&id].instance.started.name;
                    let department = Arc::clone(&name.namespace);
                    let publish = After::Publish { department, instance: id, activation, event };
                    self.batch.after.push(publish);
                }
            }
            Some(Effect::Listen { activation }) => {
                self.catching_up.push_back(CatchingUp::new(id, activation));
            }
            Some(Effect::RunChild { activation }) => {
                let wanted = Wanted::of(event);
                self.family.push_back(Kin::Run { parent: id, activation, wanted });
            }
            Some(Effect::CancelChild { child }) => self.family.push_back(Kin::Cancel { child }),
            Some(Effect::Continue) | None => {}
        }
        if let Event::StepCompleted { activation, .. } | Event::StepFailed { activation, .. } =
            event
            && let Some(settled) = self.steps.remove(&(id, *activation))
        {
            self.trace_attempt(id, event, &settled);
            self.engine
                .metrics
                .step_settled(&settled.function, self.now.since(settled.scheduled_at));
        }
    }

    fn trace_attempt(&mut self, id: InstanceId, event: &Event, open: &OpenStep) {
        if self.engine.traces.is_some() {
            let traceparent = &self.residents[&id].instance.started.traceparent;
            let settled = traces::Settled {
                function: &open.function,
                task: &open.task,
                scheduled_at: open.scheduled_at,
                at: self.now,
            };
            self.batch.spans.extend(traces::attempt(id, traceparent, &settled, event));
        }
    }
}
