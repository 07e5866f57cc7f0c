//! The way through a workflow: what a task does when it begins, goes on and completes.

use alloc::vec::Vec;

use super::{Decision, enter::limit, scope::loop_variables};
use crate::{
    error::Error,
    evaluate::Scope,
    event::{Event, Next},
    id::{ActivationId, Attempt, Timestamp},
    instance::{Phase, Ready},
    json::Json,
    limits,
    workflow::{Case, Expression, Kind, Schedule, Task, Then},
};

impl Decision<'_> {
    /// Does the next thing for an activation that is ready.
    pub(super) fn proceed(&mut self, id: ActivationId) {
        let Some(ready) = self.activation(id).ready.clone() else { return };
        let done = match ready {
            Ready::Begin => self.begin(id),
            Ready::Body => self.enter_body(id),
            Ready::Enter(task) => self.enter(id, task, None),
            Ready::Branch => self.enter_branch(id),
            Ready::Exit => self.exit(id),
            Ready::Raise(error) => Err(error),
        };
        if let Err(error) = done {
            self.raise(id, error);
        }
    }

    fn begin(&mut self, id: ActivationId) -> Result<(), Error> {
        let task = self.task(id);
        self.expect_compensable(task)?;
        let input = self.activation(id).input.clone();
        match &task.kind {
            Kind::Do { first } | Kind::Try { first, .. } => match first {
                Some(first) => self.enter(id, *first, None),
                None => self.complete(id, None, None),
            },
            Kind::Step { arguments, once, .. } => {
                let arguments = self.arguments(id, *arguments)?;
                let once = once.map(|once| self.key(id, once)).transpose()?;
                let guarded = self.evaluator.guards();
                let facts = if guarded { self.facts(id)? } else { None };
                self.record(Event::StepScheduled {
                    activation: id,
                    attempt: Attempt::FIRST,
                    arguments,
                    guarded,
                    facts,
                    once,
                });
                Ok(())
            }
            Kind::Function { body, arguments } => {
                let arguments = self.arguments(id, *arguments)?;
                self.enter(id, *body, arguments)
            }
            Kind::Set { value } => {
                let value = self.scoped(id, &input, None, |e, scope| e.value(*value, scope))?;
                self.complete(id, Some(value), None)
            }
            Kind::Switch { cases } => {
                let then = self.case(id, cases)?;
                self.complete(id, None, then)
            }
            Kind::For { items, first, .. } => {
                let items = self.items(id, *items, "a for")?;
                let items = if first.is_some() { items } else { Vec::new() };
                self.record(Event::LoopStarted { activation: id, items });
                Ok(())
            }
            Kind::Fork { branches, compete } => {
                let branches =
                    u32::try_from(branches.len()).expect("a document has fewer tasks than that");
                self.record(Event::ForkStarted { activation: id, branches, compete: *compete });
                Ok(())
            }
            Kind::Map { items, concurrency, collect, .. } => {
                let items = self.items(id, *items, "a map")?;
                let (concurrency, collect) = (*concurrency, *collect);
                self.record(Event::MapStarted { activation: id, items, concurrency, collect });
                Ok(())
            }
            Kind::Raise { error } => {
                Err(self.scoped(id, &input, None, |e, scope| e.error(*error, scope))?)
            }
            Kind::Wait { duration } => {
                let after =
                    self.scoped(id, &input, None, |e, scope| e.duration(*duration, scope))?;
                self.record(Event::TimerStarted { activation: id, fire_at: self.now.plus(after) });
                Ok(())
            }
            Kind::Tick { schedule } => self.tick(id, *schedule, &input),
            Kind::Emit { event } => self.emit(id, *event),
            Kind::Listen(listen) => self.listen(id, listen),
            Kind::Run { workflow, awaited } => self.run(id, *workflow, *awaited),
        }
    }

    /// A schedule that has no time any more ends its workflow.
    fn tick(&mut self, id: ActivationId, schedule: Schedule, input: &Json) -> Result<(), Error> {
        let before = input.parse().ok().map(Timestamp);
        let started = self.instance.started_at;
        match self.evaluator.tick(schedule, before, started, self.now)? {
            Some(fire_at) => {
                self.record(Event::TimerStarted { activation: id, fire_at });
                Ok(())
            }
            None => self.complete(id, None, Some(Then::End)),
        }
    }

    fn items(&self, id: ActivationId, items: Expression, whose: &str) -> Result<Vec<Json>, Error> {
        let input = &self.activation(id).input;
        let items = self.scoped(id, input, None, |e, scope| e.items(items, scope))?;
        if items.len() > limits::LOOP_ITEMS_MAX
            || items.iter().map(|item| item.len()).sum::<usize>() > limits::LOOP_BYTES_MAX
        {
            return Err(limit(&alloc::format!("the items of {whose} are too many or too large")));
        }
        Ok(items)
    }

    /// What the task of a step shows of it.
    pub(super) fn facts(&self, id: ActivationId) -> Result<Option<Json>, Error> {
        let facts = if let Kind::Step { facts, .. } = &self.task(id).kind { *facts } else { None };
        self.arguments(id, facts)
    }

    fn arguments(
        &self,
        id: ActivationId,
        template: Option<Expression>,
    ) -> Result<Option<Json>, Error> {
        let input = &self.activation(id).input;
        template
            .map(|template| self.scoped(id, input, None, |e, scope| e.value(template, scope)))
            .transpose()
    }

    /// Where the first case that holds goes; `None` when none does.
    fn case(&self, id: ActivationId, cases: &[Case]) -> Result<Option<Then>, Error> {
        let input = &self.activation(id).input;
        for case in cases {
            let Some(when) = case.when else { return Ok(Some(case.then)) };
            if self.scoped(id, input, None, |e, scope| e.holds(when, scope))? {
                return Ok(Some(case.then));
            }
        }
        Ok(None)
    }

    fn enter_body(&mut self, id: ActivationId) -> Result<(), Error> {
        let first = match &self.task(id).kind {
            Kind::Try { catch, .. } if self.activation(id).phase.caught().is_some() => catch.first,
            Kind::Do { first } | Kind::For { first, .. } | Kind::Try { first, .. } => *first,
            Kind::Listen(listen) => listen.each.as_ref().and_then(|each| each.first),
            Kind::Step { .. }
            | Kind::Function { .. }
            | Kind::Set { .. }
            | Kind::Switch { .. }
            | Kind::Fork { .. }
            | Kind::Map { .. }
            | Kind::Raise { .. }
            | Kind::Wait { .. }
            | Kind::Tick { .. }
            | Kind::Emit { .. }
            | Kind::Run { .. } => None,
        };
        match (first, &self.activation(id).phase) {
            (Some(first), _) => self.enter(id, first, None),
            // A pass without tasks.
            (None, Phase::Listen(_)) => self.exit(id),
            (None, _) => self.complete(id, None, None),
        }
    }

    fn enter_branch(&mut self, id: ActivationId) -> Result<(), Error> {
        let branch = match (&self.task(id).kind, &self.activation(id).phase) {
            (Kind::Fork { branches, .. }, Phase::Fork { entered, .. }) => {
                branches.get(*entered as usize).copied()
            }
            (Kind::Map { body, .. }, Phase::Map(_)) => Some(*body),
            _ => None,
        };
        self.enter(id, branch.expect("a fork is ready for a branch while there is one"), None)
    }

    /// A list, step or timer is done: a loop goes round again, anything else completes.
    fn exit(&mut self, id: ActivationId) -> Result<(), Error> {
        if id == ActivationId::ROOT && self.instance.compensating.is_some() {
            self.compensate();
            return Ok(());
        }
        if let Kind::Listen(listen) = &self.task(id).kind {
            return self.heard(id, listen);
        }
        if let Some(index) = self.coming_iteration(id)? {
            self.record(Event::LoopIterated { activation: id, index });
            return Ok(());
        }
        let awaited = !matches!(self.task(id).kind, Kind::Step { awaits: false, .. });
        let raw = (!awaited).then(|| self.activation(id).input.clone());
        self.complete(id, raw, None)
    }

    /// Of a loop that goes on: it has items left, and `while` holds with the variables of the coming iteration.
    fn coming_iteration(&self, id: ActivationId) -> Result<Option<u32>, Error> {
        let activation = self.activation(id);
        let Kind::For { each, at, condition, .. } = &self.task(id).kind else { return Ok(None) };
        let Phase::Loop { items, next } = &activation.phase else { return Ok(None) };
        if items.len() <= *next as usize {
            return Ok(None);
        }
        let Some(condition) = *condition else { return Ok(Some(*next)) };
        let mut variables: Vec<_> = loop_variables(each, at, items, *next).collect();
        variables.extend(self.variables(id));
        let goes_on = self.scoped(id, &activation.value, None, |e, scope| {
            e.holds(condition, &Scope { variables: &variables, ..*scope })
        })?;
        Ok(goes_on.then_some(*next))
    }

    /// The task is done with `raw`, or with the activation's own value. `then` overrides the task's own.
    pub(super) fn complete(
        &mut self,
        id: ActivationId,
        raw: Option<Json>,
        then: Option<Then>,
    ) -> Result<(), Error> {
        let task = self.task(id);
        let activation = self.activation(id);
        let value = raw.as_ref().unwrap_or(&activation.value);
        let transformed = match task.output {
            Some(expression) => {
                Some(self.scoped(id, value, Some(value), |e, scope| e.value(expression, scope))?)
            }
            None => None,
        };
        let output = transformed.as_ref().unwrap_or(value);
        if let Some(schema) = task.output_schema {
            self.evaluator.validate(schema, output).map_err(|error| error.at(&task.pointer))?;
        }
        if id == ActivationId::ROOT {
            let output = output.clone();
            self.record(Event::InstanceCompleted { output });
            return Ok(());
        }
        let context = match task.export {
            Some(export) => Some(self.scoped(id, output, Some(value), |e, scope| {
                e.value(export, &Scope { output: Some(output), ..*scope })
            })?),
            None => None,
        };
        if let (Some(schema), Some(context)) = (task.export_schema, &context) {
            self.evaluator.validate(schema, context).map_err(|error| error.at(&task.pointer))?;
        }
        let next = self.next(task, id, then);
        if next != Next::End {
            self.expect_room(activation.parent, output)?;
        }
        let undone_with = task.compensation.map(|_| output.clone());
        let output = transformed.or(raw);
        // `end` ends everything, and a race has losers.
        self.cancel_steps(if next == Next::End { ActivationId::ROOT } else { id });
        if let Some(output) = undone_with {
            self.keep_compensation(id, &output);
        }
        self.record(Event::TaskCompleted { activation: id, output, context, next });
        Ok(())
    }

    /// The last branch of a fork must not make what it gathers too large, nor any item what its map does.
    pub(super) fn expect_room(&self, parent: ActivationId, output: &Json) -> Result<(), Error> {
        if let Phase::Map(mapping) = &self.activation(parent).phase
            && mapping.bytes + output.len() > limits::FORK_BYTES_MAX
        {
            return Err(limit("the outputs of a map's items are too large together"));
        }
        if let Phase::Fork { compete: false, settled, results, .. } = &self.activation(parent).phase
            && *settled as usize + 1 == results.len()
            && results.iter().flatten().map(|result| result.len()).sum::<usize>() + output.len()
                > limits::FORK_BYTES_MAX
        {
            return Err(limit("the outputs of a fork's branches are too large together"));
        }
        Ok(())
    }

    fn next(&self, task: &Task, id: ActivationId, then: Option<Then>) -> Next {
        let caught = self.activation(id).phase.caught().is_some();
        let after_catch = if let Kind::Try { catch, .. } = &task.kind {
            catch.then.filter(|_| caught)
        } else {
            None
        };
        match then.or(after_catch).unwrap_or(task.then) {
            Then::Continue => task.following.map_or(Next::Exit, Next::Task),
            Then::Exit => Next::Exit,
            Then::End => Next::End,
            Then::Task(task) => Next::Task(task),
        }
    }
}
