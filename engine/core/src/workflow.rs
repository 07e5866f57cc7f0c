//! A checked, compiled workflow: what the decisions read. Built by `baton-dsl`, never at run time.

use alloc::{sync::Arc, vec::Vec};

use crate::{error::Error, id::TaskId};

/// `namespace`, `name` and `version` of a document.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name {
    pub namespace: Arc<str>,
    pub name: Arc<str>,
    pub version: Arc<str>,
}

/// SHA-256 of the source text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hash(pub [u8; 32]);

/// An expression, template or literal, by its number in the evaluator that was compiled with the workflow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expression(pub u32);

/// A JSON Schema, by its number in the evaluator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Schema(pub u32);

#[derive(Clone, Debug)]
pub struct Workflow {
    pub name: Name,
    pub hash: Hash,
    /// By [`TaskId`]. The first is the document itself: a [`Kind::Do`] with the workflow's own input, output and timeout.
    pub tasks: Vec<Task>,
}

impl Workflow {
    /// `None` for a number that the document does not have.
    pub fn task(&self, id: TaskId) -> Option<&Task> {
        self.tasks.get(id.0 as usize)
    }

    /// A task of the outermost list, by its name.
    pub fn outermost(&self, name: &str) -> Option<TaskId> {
        self.outermost_tasks().find(|(_, task)| &*task.name == name).map(|(id, _)| id)
    }

    /// Whether it is a task of the outermost list.
    pub fn is_outermost(&self, id: TaskId) -> bool {
        self.outermost_tasks().any(|(found, _)| found == id)
    }

    fn outermost_tasks(&self) -> impl Iterator<Item = (TaskId, &Task)> {
        let root = self.tasks.first().map(|root| &root.kind);
        let mut at = if let Some(Kind::Do { first }) = root { *first } else { None };
        core::iter::from_fn(move || {
            let id = at?;
            let task = self.task(id)?;
            at = task.following;
            Some((id, task))
        })
    }
}

#[derive(Clone, Debug)]
pub struct Task {
    pub name: Arc<str>,
    /// JSON pointer into the document: `/do/0/charge`.
    pub pointer: Arc<str>,
    /// The next task of the same list.
    pub following: Option<TaskId>,
    /// `if`: false skips the task.
    pub condition: Option<Expression>,
    pub input_schema: Option<Schema>,
    /// `input.from`.
    pub input: Option<Expression>,
    /// `output.as`.
    pub output: Option<Expression>,
    pub output_schema: Option<Schema>,
    /// `export.as`.
    pub export: Option<Expression>,
    pub export_schema: Option<Schema>,
    /// `timeout.after`.
    pub timeout: Option<Expression>,
    pub then: Then,
    pub kind: Kind,
}

/// Where the flow goes after a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    Continue,
    /// Leaves the list.
    Exit,
    /// Ends the workflow.
    End,
    /// A task of the same list.
    Task(TaskId),
}

#[derive(Clone, Debug)]
pub enum Kind {
    /// The first of its tasks; `None` when the list is empty.
    Do {
        first: Option<TaskId>,
    },
    /// A step: work for a worker.
    Step {
        function: Function,
        arguments: Option<Expression>,
        attempts_max: u32,
    },
    /// A function of the document's own `use.functions`; `body` runs with the arguments as input.
    Function {
        body: TaskId,
        arguments: Option<Expression>,
    },
    Set {
        value: Expression,
    },
    /// In order; the first case that holds decides. A case without `when` always holds.
    Switch {
        cases: Vec<Case>,
    },
    For {
        each: Arc<str>,
        at: Arc<str>,
        items: Expression,
        condition: Option<Expression>,
        first: Option<TaskId>,
    },
    Fork {
        branches: Vec<TaskId>,
        compete: bool,
    },
    Try {
        first: Option<TaskId>,
        catch: Catch,
    },
    /// The value is an error object.
    Raise {
        error: Expression,
    },
    Wait {
        duration: Expression,
    },
}

/// `department.function`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Function {
    pub department: Arc<str>,
    pub name: Arc<str>,
}

#[derive(Clone, Debug)]
pub struct Case {
    pub name: Arc<str>,
    pub when: Option<Expression>,
    pub then: Then,
}

#[derive(Clone, Debug)]
pub struct Catch {
    pub filter: Filter,
    pub when: Option<Expression>,
    pub except_when: Option<Expression>,
    /// The variable that holds the error: `error` when the author does not say.
    pub variable: Arc<str>,
    pub retry: Option<Retry>,
    pub first: Option<TaskId>,
    /// Overrides the task's own `then` after an error was caught.
    pub then: Option<Then>,
}

/// `catch.errors.with`: every field that is there must be equal.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    pub kind: Option<Arc<str>>,
    pub status: Option<u16>,
    pub instance: Option<Arc<str>>,
    pub title: Option<Arc<str>>,
    pub detail: Option<Arc<str>>,
}

impl Filter {
    /// Standard errors are the same under both of the URIs that the specification has used.
    pub fn matches(&self, error: &Error) -> bool {
        fn kind(uri: &str) -> &str {
            uri.strip_prefix(crate::error::TYPES)
                .or_else(|| uri.strip_prefix(crate::error::TYPES_BEFORE))
                .unwrap_or(uri)
        }
        let text = |wanted: &Option<Arc<str>>, found: &Option<Arc<str>>| {
            wanted.is_none() || wanted == found
        };
        self.kind.as_ref().is_none_or(|wanted| kind(wanted) == kind(&error.kind))
            && self.status.is_none_or(|wanted| wanted == error.status)
            && text(&self.instance, &error.instance)
            && text(&self.title, &error.title)
            && text(&self.detail, &error.detail)
    }
}

#[derive(Clone, Debug)]
pub struct Retry {
    pub when: Option<Expression>,
    pub except_when: Option<Expression>,
    pub delay: Option<Expression>,
    pub backoff: Backoff,
    /// Added to the delay: between the two durations.
    pub jitter: Option<(Expression, Expression)>,
    /// Tries in all, the first among them.
    pub attempts_max: Option<u32>,
    /// From the first failure until the last retry may begin.
    pub duration_max: Option<Expression>,
}

/// How the delay grows from retry to retry.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Backoff {
    Constant,
    /// delay × n for the n-th retry.
    Linear,
    /// delay × 2ⁿ⁻¹ for the n-th retry.
    Exponential,
}
