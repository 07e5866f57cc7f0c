//! What the workers answer in a scenario.

use baton_core::{
    Duration, Error, Json, TaskId, Workflow,
    workflow::{Function, Kind},
};

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
        // What a worker does, and the instances that a `run` waits for.
        let mut steps = workflow.tasks.iter().enumerate().filter_map(|(place, task)| {
            let function = task.kind.function();
            let runs = matches!(task.kind, Kind::Run { awaited: true, .. });
            (function.is_some() || runs).then_some((
                TaskId(u32::try_from(place).ok()?),
                task,
                function,
            ))
        });
        if key.starts_with('/') {
            let found = steps.find(|(_, task, _)| *task.pointer == *key);
            return found.map(|(id, ..)| Self::Task(id));
        }
        if steps.clone().any(|(_, task, _)| *task.name == *key) {
            return Some(Self::Name(key.to_owned()));
        }
        let mut functions = steps.filter_map(|(_, _, function)| function);
        functions.find(|function| function.to_string() == key).cloned().map(Self::Function)
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
