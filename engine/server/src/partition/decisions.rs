//! What an instance decides, and what follows from it once the log has answered.

use std::sync::Arc;

use baton_core::{Command, Effect, Evaluator, Event, Instance, InstanceId, Rejection, Timestamp};
use baton_dsl::Turn;
use tokio::time::Instant;

use super::{
    batch::After,
    family::{Kin, Wanted},
    intake::Refused,
    judging::Unjudged,
    lanes::{Asked, Asker, Begun},
    owner::{OpenStep, Owner},
};
use crate::{definitions::Definition, error::Refusal, limits, traces};

impl Owner {
    /// Decides about a resident instance, or holds the command for a decision beside the loop.
    pub(super) fn command(&mut self, id: InstanceId, command: Command, asker: Asker) {
        if self.is_beside(id) {
            return self.hold(id, Asked { command, asker });
        }
        let outcome = self.decide(id, command);
        self.tell(id, asker, outcome);
    }

    /// Says what became of a command.
    pub(super) fn tell(&mut self, id: InstanceId, asker: Asker, outcome: Result<(), Refusal>) {
        match asker {
            Asker::Client(reply) => {
                let outcome = outcome.map(|()| self.residents[&id].instance.clone());
                self.answer(reply, outcome);
            }
            Asker::Worker { department, .. } => {
                if let Err(refusal) = outcome {
                    self.refuse(Refused::Rejected(refusal.code()), &department, Some(id));
                }
            }
            Asker::Nobody => {
                if let Err(refusal) = outcome {
                    tracing::trace!(%refusal, instance = %id, "It was no longer wanted");
                }
            }
        }
    }

    /// Decides, and gathers what follows.
    pub(super) fn decide(&mut self, id: InstanceId, command: Command) -> Result<(), Refusal> {
        let now = self.tell_time();
        let resident = self.residents.get_mut(&id).expect("callers made it resident");
        let Some(definition) = resident.definition.clone() else {
            return Err(resident.without_definition());
        };
        if self.engine.lifecycle.is_some() {
            resident.remember_what_was_told();
        }
        let turn = definition.program.turn().guarded(self.engine.policies.count(now));
        let (decided, work) = decide(&definition, turn, &mut resident.instance, now, command);
        self.batch.work += work;
        if work >= limits::SLOW_WORK {
            resident.set_slow();
        }
        let events = decided.map_err(Refusal::Rejected)?;
        self.decided(id, &events);
        Ok(())
    }

    /// The instance is as the events say.
    pub(super) fn decided(&mut self, id: InstanceId, events: &[Event]) {
        let resident = self.residents.get_mut(&id).expect("it has been decided about");
        resident.touched = Instant::now();
        if resident.instance.ended.is_none() {
            self.open.insert(id);
        }
        self.record(id, events);
    }

    /// Has the batch take the events of an instance, and follows what they ask for.
    pub(super) fn record(&mut self, id: InstanceId, events: &[Event]) {
        self.batch.add(id, events);
        self.dirty.insert(id);
        for event in events {
            self.follow(id, event);
        }
        self.note_inbox(id, events);
        let listens = |event: &Event| matches!(event, Event::ListenStarted { .. });
        if self.listeners.knows(id) || events.iter().any(listens) {
            self.note_listeners(id);
        }
        let resident = self.residents.get_mut(&id).expect("it has just been decided about");
        if self.engine.lifecycle.is_some() {
            self.batch.told.extend(events.iter().flat_map(|event| resident.tell(event, self.now)));
        }
        resident.dirty = true;
        if resident.has_more() {
            if resident.is_slow() {
                self.queue_beside(id);
            } else {
                self.unfinished.push_back(id);
            }
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
                    let scheduled_at = self.now;
                    let open = OpenStep { attempt, function, task, scheduled_at, logged: false };
                    self.steps.insert((id, activation), open);
                }
                self.batch.after.push(After::Dispatch { instance: id, step: activation, attempt });
            }
            Some(Effect::ClaimKey { activation, attempt }) => {
                let claim = After::ClaimKey { instance: id, step: activation, attempt };
                self.batch.after.push(claim);
            }
            Some(Effect::AskPolicies { activation, attempt }) => {
                self.unjudged.push_back(Unjudged { id, step: activation, attempt });
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
                for (step, _) in self.residents[&id].instance.halted_steps() {
                    self.halting.rearm((id, step));
                }
                for effect in baton_core::pending(&self.residents[&id].instance) {
                    if let Effect::SetTimer { activation, timer, at } = effect {
                        self.timers.insert((at, id, activation, timer));
                    } else if let Effect::AskPolicies { activation, attempt } = effect {
                        self.unjudged.push_back(Unjudged { id, step: activation, attempt });
                    } else if let Effect::ClaimKey { activation, attempt } = effect {
                        let claim = After::ClaimKey { instance: id, step: activation, attempt };
                        self.batch.after.push(claim);
                    }
                }
            }
            Some(Effect::End) => {
                self.open.remove(&id);
                self.halting.forget_instance(id);
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
                // It may want the event of which others are being told.
                if let Some(giving) = &mut self.giving {
                    giving.also(id);
                }
                self.lanes.of(id).begun.push_back(Begun { activation, given: 0 });
                self.lanes.queue_catching_up(id);
            }
            Some(Effect::RunChild { activation }) => {
                let wanted = Wanted::of(event);
                self.family.push_back(Kin::Run { parent: id, activation, wanted });
            }
            Some(Effect::CancelChild { child }) => self.family.push_back(Kin::Cancel { child }),
            Some(Effect::Continue) | None => {}
        }
        self.follow_halts(id, event);
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

    /// What kill switches and late workers have done to steps.
    fn follow_halts(&mut self, id: InstanceId, event: &Event) {
        if let Event::StepHalted { activation, attempt, switch } = event {
            self.halting.halted((id, *activation), *attempt, switch, self.now);
        } else if let Event::ResultFenced { activation, .. } = event {
            self.halting.answered((id, *activation));
            let function = self.residents[&id].function(*activation);
            let department = function.map(|function| Arc::clone(&function.department));
            self.refuse(Refused::Fenced, department.as_deref().unwrap_or_default(), Some(id));
        } else if let Event::StepScheduled { activation, .. } = event {
            self.halting.forget((id, *activation));
        } else if let Event::StepJudged { .. } | Event::ChildEnded { .. } = event
            && self.halting.minds_classes()
        {
            // What is out may be of the case into which a class of data has just flowed.
            for (step, open) in self.residents[&id].instance.open_steps() {
                self.halting.wait((id, step), open.attempt);
            }
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

/// What the instance says to a command, and the work of it.
pub(super) fn decide(
    definition: &Definition,
    turn: Turn<'_>,
    instance: &mut Instance,
    now: Timestamp,
    command: Command,
) -> (Result<Vec<Event>, Rejection>, u64) {
    let about_event = matches!(command, Command::TakeEvent { .. });
    let turn = if about_event { turn.about_event() } else { turn };
    let decided = baton_core::decide(instance, &definition.workflow, &turn, now, command);
    (decided, turn.spent())
}
