//! What expressions can see, seen from an activation.

use alloc::{sync::Arc, vec::Vec};

use super::Decision;
use crate::{
    error::Error,
    evaluate::{Evaluator, Scope, TaskScope},
    id::ActivationId,
    instance::Phase,
    json::Json,
    workflow::{Kind, Task},
};

impl Decision<'_> {
    /// Asks the evaluator about something inside an activation.
    pub(super) fn scoped<T>(
        &self,
        id: ActivationId,
        value: &Json,
        raw_output: Option<&Json>,
        ask: impl FnOnce(&dyn Evaluator, &Scope<'_>) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let activation = self.activation(id);
        let task = self.task(id);
        let variables = self.variables(id);
        let own = TaskScope {
            activation: Some(id),
            name: &task.name,
            pointer: &task.pointer,
            raw_input: &activation.raw_input,
            raw_output,
            started_at: activation.started_at,
        };
        let scope = Scope {
            workflow: self.workflow,
            instance: self.instance,
            value,
            input: Some(&activation.input),
            output: None,
            task: Some(self.subject(activation.parent, task, own)),
            variables: &variables,
        };
        ask(self.evaluator, &scope).map_err(|error| error.at(&task.pointer))
    }

    /// What `$task` tells of for an expression of the task: its own, or of the task that an extension has extended.
    pub(super) fn subject<'s>(
        &'s self,
        parent: ActivationId,
        task: &Task,
        own: TaskScope<'s>,
    ) -> TaskScope<'s> {
        let Some(subject) = task.subject else { return own };
        let found = self.instance.lineage(parent).find(|(_, around)| around.task == subject);
        let Some((_, around)) = found else { return own };
        let Some(task) = self.workflow.task(subject) else { return own };
        TaskScope {
            activation: own.activation,
            name: &task.name,
            pointer: &task.pointer,
            raw_input: &around.raw_input,
            raw_output: None,
            started_at: around.started_at,
        }
    }

    /// Of the loops, maps and handlers around the activation and of itself, innermost first.
    pub(super) fn variables(&self, id: ActivationId) -> Vec<(Arc<str>, Json)> {
        let mut variables = Vec::new();
        let mut inner = None;
        for (_, activation) in self.instance.lineage(id) {
            let branch = inner.replace(activation.branch);
            let kind = self.workflow.task(activation.task).map(|task| &task.kind);
            if let Some(Kind::For { each, at, .. }) = kind
                && let Phase::Loop { items, next: next @ 1.. } = &activation.phase
            {
                variables.extend(loop_variables(each, at, items, next - 1));
            } else if let Some(Kind::Map { each, at, .. }) = kind
                && let Phase::Map(mapping) = &activation.phase
            {
                // Seen from the map itself: the item that is about to begin.
                let index = branch.unwrap_or(mapping.entered);
                variables.extend(loop_variables(each, at, &mapping.items, index));
            } else if let Some(Kind::Listen(listen)) = kind
                && let Some(each) = &listen.each
                && let Some(listening) = activation.phase.listening().filter(|l| l.running)
                && let Some(item) = listening.event(listening.next - 1)
            {
                let place = Json::from_text(alloc::format!("{}", listening.next - 1));
                variables.push((Arc::clone(&each.item), item.clone()));
                variables.push((Arc::clone(&each.at), place));
            } else if let Some(Kind::Try { catch, .. }) = kind
                && let Some(error) = activation.phase.caught()
            {
                variables.push((Arc::clone(&catch.variable), self.evaluator.error_value(error)));
            }
        }
        variables
    }
}

/// The item of a loop and its place.
pub(super) fn loop_variables(
    each: &Arc<str>,
    at: &Arc<str>,
    items: &[Json],
    index: u32,
) -> impl Iterator<Item = (Arc<str>, Json)> {
    items.get(index as usize).into_iter().flat_map(move |item| {
        let place = Json::from_text(alloc::format!("{index}"));
        [(Arc::clone(each), item.clone()), (Arc::clone(at), place)]
    })
}
