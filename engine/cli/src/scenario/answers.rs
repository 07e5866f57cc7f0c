//! What the workers answer in a scenario.

use baton_core::{Duration, Error, Json, TaskId, Workflow, workflow::Function};

/// The answers under one key of `steps`.
pub(super) struct Answers {
    /// As the author wrote it.
    pub(super) key: String,
    pub(super) target: Target,
    /// Each counts once; else the one counts every time.
    pub(super) in_turn: bool,
    pub(super) items: Vec<Answer>,
}

/// Which steps a key means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Target {
    Task(TaskId),
    Name(String),
    Function(Function),
}

/// What a worker does with one attempt.
pub(super) struct Answer {
    pub(super) reaction: Reaction,
    /// Until the answer comes.
    pub(super) takes: Duration,
    /// What the arguments must hold; other keys may be there.
    pub(super) with: Option<Json>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Reaction {
    Output(Json),
    Failure { error: Error, retryable: bool },
    Hangs,
}

impl Target {
    /// A pointer, else a step's name, else a function.
    pub(super) fn find(workflow: &Workflow, key: &str) -> Option<Self> {
        let mut steps = workflow.tasks.iter().enumerate().filter_map(|(place, task)| {
            Some((TaskId(u32::try_from(place).ok()?), task, task.kind.function()?))
        });
        if key.starts_with('/') {
            let found = steps.find(|(_, task, _)| *task.pointer == *key);
            return found.map(|(id, ..)| Self::Task(id));
        }
        if steps.clone().any(|(_, task, _)| *task.name == *key) {
            return Some(Self::Name(key.to_owned()));
        }
        let found = steps.find(|(_, _, function)| function.to_string() == key);
        found.map(|(_, _, function)| Self::Function(function.clone()))
    }

    /// The lower, the more exactly it says what it means.
    pub(super) fn rank(&self) -> u8 {
        match self {
            Self::Task(_) => 0,
            Self::Name(_) => 1,
            Self::Function(_) => 2,
        }
    }

    pub(super) fn is(&self, workflow: &Workflow, id: TaskId) -> bool {
        workflow.task(id).is_some_and(|task| match self {
            Self::Task(wanted) => *wanted == id,
            Self::Name(name) => *task.name == **name,
            Self::Function(function) => task.kind.function() == Some(function),
        })
    }
}
