//! The way into a task: its `if`, its input and its timeout.

use super::Decision;
use crate::{
    error::{Error, Standard},
    evaluate::{Evaluator, Scope, TaskScope},
    event::{Event, Next},
    id::{ActivationId, TaskId, Timestamp},
    instance::Phase,
    json::Json,
    limits,
    workflow::Task,
};

/// What an entry has to say.
#[derive(Default)]
pub(super) struct Entry {
    /// Absent: what came in.
    pub input: Option<Json>,
    pub deadline: Option<Timestamp>,
}

impl Entry {
    /// `scope` has what came in as its value.
    pub(super) fn of(
        task: &Task,
        evaluator: &dyn Evaluator,
        scope: &Scope<'_>,
        now: Timestamp,
    ) -> Result<Self, Error> {
        if let Some(schema) = task.input_schema {
            evaluator.validate(schema, scope.value)?;
        }
        let input = task.input.map(|from| evaluator.value(from, scope)).transpose()?;
        let seen = input.as_ref().unwrap_or(scope.value);
        let scope = Scope { value: seen, input: Some(seen), ..*scope };
        let after = task.timeout.map(|after| evaluator.duration(after, &scope)).transpose()?;
        Ok(Self { input, deadline: after.map(|after| now.plus(after)) })
    }
}

impl Decision<'_> {
    /// Enters a task of the list that `parent` runs. An error is one of `parent`, not of the task.
    pub(super) fn enter(
        &mut self,
        parent: ActivationId,
        task_id: TaskId,
        raw_input: Option<Json>,
    ) -> Result<(), Error> {
        let task = self.workflow.task(task_id).expect("lists are of tasks of their workflow");
        let raw_input = if task.from_around {
            Some(self.activation(parent).raw_input.clone())
        } else {
            raw_input
        };
        let raw = raw_input.as_ref().unwrap_or(&self.activation(parent).value).clone();
        match self.prepare(parent, task, &raw) {
            Ok(Some(entry)) => {
                self.record_entry(parent, task_id, raw_input, entry)?;
            }
            Ok(None) => {
                self.expect_room(parent, &raw)?;
                let next = task.following.map_or(Next::Exit, Next::Task);
                self.record(Event::TaskSkipped { parent, task: task_id, next });
            }
            Err(error) => {
                // The task is entered, so that the error is seen to be its own.
                let entered = self.record_entry(parent, task_id, raw_input, Entry::default())?;
                self.fault(entered, error.at(&task.pointer));
            }
        }
        Ok(())
    }

    /// `None` when the task is skipped.
    fn prepare(
        &self,
        parent: ActivationId,
        task: &Task,
        raw: &Json,
    ) -> Result<Option<Entry>, Error> {
        if task.condition.is_none()
            && task.input.is_none()
            && task.input_schema.is_none()
            && task.timeout.is_none()
        {
            return Ok(Some(Entry::default()));
        }
        let variables = self.variables(parent);
        let own = TaskScope {
            activation: None,
            name: &task.name,
            pointer: &task.pointer,
            raw_input: raw,
            raw_output: None,
            started_at: self.now,
        };
        let scope = Scope {
            workflow: self.workflow,
            instance: self.instance,
            value: raw,
            input: None,
            output: None,
            task: Some(self.subject(parent, task, own)),
            variables: &variables,
        };
        if let Some(condition) = task.condition
            && !self.evaluator.holds(condition, &scope)?
        {
            return Ok(None);
        }
        Entry::of(task, self.evaluator, &scope, self.now).map(Some)
    }

    fn record_entry(
        &mut self,
        parent: ActivationId,
        task: TaskId,
        raw_input: Option<Json>,
        entry: Entry,
    ) -> Result<ActivationId, Error> {
        let activation = self.instance.next_activation;
        if self.instance.activations.len() >= limits::OPEN_ACTIVATIONS_MAX {
            return Err(limit("too many tasks are open at once in this instance"));
        }
        if self.instance.lineage(parent).count() >= limits::DEPTH_MAX {
            return Err(limit("tasks are nested too deeply"));
        }
        if activation == ActivationId::LAST {
            return Err(limit("this instance has entered more tasks than can be numbered"));
        }
        let branch = match self.activation(parent).phase {
            Phase::Fork { entered, .. } => entered,
            Phase::Map(ref mapping) => mapping.entered,
            Phase::Plain
            | Phase::Step(_)
            | Phase::Timer(_)
            | Phase::Loop { .. }
            | Phase::Try(_)
            | Phase::Emit(_)
            | Phase::Listen(_)
            | Phase::Child { .. } => 0,
        };
        self.record(Event::TaskEntered {
            activation,
            parent,
            task,
            raw_input,
            input: entry.input,
            deadline: entry.deadline,
            branch,
        });
        Ok(activation)
    }
}

/// The error of a bound in [`limits`] that is reached.
pub(super) fn limit(what: &str) -> Error {
    Error::standard(Standard::Runtime, "Limit exceeded", what)
}
