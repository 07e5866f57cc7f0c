//! A checked, compiled workflow: what the decisions read. Built by `baton-dsl`, never at run time.

use alloc::{sync::Arc, vec::Vec};

use crate::{error::Error, id::TaskId};

/// `namespace`, `name` and `version` of a document.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name {
    /// Its department, unless a step says otherwise.
    pub namespace: Arc<str>,
    /// Unique in its namespace.
    pub name: Arc<str>,
    /// A semantic version.
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

/// Times at which something is due, by their number in the evaluator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Schedule(pub u32);

/// A document, ready to be run.
#[derive(Clone, Debug)]
pub struct Workflow {
    /// For people.
    pub name: Name,
    /// What instances are pinned to.
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

    /// The tasks of the document's own list, in its order.
    pub fn outermost_tasks(&self) -> impl Iterator<Item = (TaskId, &Task)> {
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

/// One node of the document, with what every task can have.
#[derive(Clone, Debug)]
pub struct Task {
    /// For people and for `then`.
    pub name: Arc<str>,
    /// JSON pointer into the document: `/do/0/charge`.
    pub pointer: Arc<str>,
    /// The next task of the same list.
    pub following: Option<TaskId>,
    /// `if`: false skips the task.
    pub condition: Option<Expression>,
    /// Checked before `input.from`.
    pub input_schema: Option<Schema>,
    /// `input.from`.
    pub input: Option<Expression>,
    /// `output.as`.
    pub output: Option<Expression>,
    /// Checked after `output.as`.
    pub output_schema: Option<Schema>,
    /// `export.as`.
    pub export: Option<Expression>,
    /// Checked after `export.as`.
    pub export_schema: Option<Schema>,
    /// `timeout.after`.
    pub timeout: Option<Expression>,
    /// The list that undoes it, a [`Kind::Do`], once it has completed and the instance faults or is cancelled.
    pub compensation: Option<TaskId>,
    /// Unless a case or a catch says otherwise.
    pub then: Then,
    /// Its raw input is that of the task around it, whatever the task before it gave.
    pub from_around: bool,
    /// The task around it that `$task` tells of, when it is not the task itself: what an extension adds speaks of what
    /// it extends.
    pub subject: Option<TaskId>,
    /// What it does.
    pub kind: Kind,
}

impl Task {
    /// Where it may lead within its list, with the case of a `switch` that does. A task may be named more than once.
    #[must_use]
    pub fn successors(&self) -> Vec<(Option<&str>, TaskId)> {
        let target = |then: Then| match then {
            Then::Continue => self.following,
            Then::Task(id) => Some(id),
            Then::Exit | Then::End => None,
        };
        let mut found = Vec::new();
        let mut add = |case, to: Option<TaskId>| found.extend(to.map(|to| (case, to)));
        match &self.kind {
            Kind::Switch { cases } => {
                for case in cases {
                    add(Some(&*case.name), target(case.then));
                }
                if cases.iter().all(|case| case.when.is_some()) {
                    add(None, target(self.then));
                }
            }
            Kind::Raise { .. } => {}
            Kind::Try { catch, .. } => {
                add(None, target(self.then));
                add(None, catch.then.and_then(target));
            }
            Kind::Do { .. }
            | Kind::Step { .. }
            | Kind::Function { .. }
            | Kind::Set { .. }
            | Kind::For { .. }
            | Kind::Fork { .. }
            | Kind::Map { .. }
            | Kind::Wait { .. }
            | Kind::Tick { .. }
            | Kind::Emit { .. }
            | Kind::Listen(_)
            | Kind::Run { .. } => add(None, target(self.then)),
        }
        if self.condition.is_some() {
            add(None, self.following);
        }
        found
    }
}

/// Where the flow goes after a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// To the next task of the list.
    Continue,
    /// Leaves the list.
    Exit,
    /// Ends the workflow.
    End,
    /// A task of the same list.
    Task(TaskId),
}

/// What a task does.
#[derive(Clone, Debug)]
pub enum Kind {
    /// The first of its tasks; `None` when the list is empty.
    Do { first: Option<TaskId> },
    /// A step: work for a worker. `secrets` are the names of those that its arguments refer to. When nobody `awaits` what
    /// it began, its output is its input, whatever the worker answered. `facts` are what it shows to policies, `once` says what
    /// must not happen twice.
    Step {
        function: Function,
        arguments: Option<Expression>,
        attempts_max: u32,
        secrets: Vec<Arc<str>>,
        awaits: bool,
        facts: Option<Expression>,
        once: Option<Once>,
    },
    /// A function of the document's own `use.functions`; `body` runs with the arguments as input.
    Function { body: TaskId, arguments: Option<Expression> },
    /// Its output is this value.
    Set { value: Expression },
    /// In order; the first case that holds decides. A case without `when` always holds.
    Switch { cases: Vec<Case> },
    /// Its list once for each item, in order, each with the output of the one before.
    For {
        each: Arc<str>,
        at: Arc<str>,
        items: Expression,
        condition: Option<Expression>,
        first: Option<TaskId>,
    },
    /// All branches at the same time; the first to complete decides when they compete.
    Fork { branches: Vec<TaskId>, compete: bool },
    /// Its body once for each item, so many at the same time; its output is an array.
    Map {
        each: Arc<str>,
        at: Arc<str>,
        items: Expression,
        body: TaskId,
        concurrency: u32,
        collect: bool,
    },
    /// Its list, and what happens when that fails.
    Try { first: Option<TaskId>, catch: Catch },
    /// The value is an error object.
    Raise { error: Expression },
    /// Nothing, for a while.
    Wait { duration: Expression },
    /// Publishes the event that this describes; its output is the event.
    Emit { event: Expression },
    /// Takes events until it has what it wants; its output is an array.
    Listen(Listen),
    /// Nothing, until the next time of a schedule; its output is that time, Unix milliseconds. Its input is the time
    /// before, when there was one.
    Tick { schedule: Schedule },
    /// Another workflow as an instance of its own; its output is that instance's, or its own input when nobody waits.
    Run { workflow: Expression, awaited: bool },
}

/// Which events a `listen` takes, and what it does with each.
#[derive(Clone, Debug)]
pub struct Listen {
    /// What ends it.
    pub until: Until,
    /// Those whose events are its output.
    pub filters: Vec<EventFilter>,
    /// What it hands on of each event.
    pub read: Read,
    /// `foreach`; absent: the events are the output.
    pub each: Option<Each>,
}

/// When a `listen` has enough.
#[derive(Clone, Debug)]
pub enum Until {
    /// `one`, and `any` without `until`: the first event.
    First,
    /// `all`: one event for each filter.
    All,
    /// `any` with a condition, asked after each event with the events so far as `.`.
    Holds(Expression),
    /// `any` until other events have come: one of these, or one for each when `all`.
    Events { filters: Vec<EventFilter>, all: bool },
}

/// What an event must be.
#[derive(Clone, Debug)]
pub struct EventFilter {
    /// Its attributes, by their number in the evaluator.
    pub matcher: Matcher,
    /// What ties it to the instance.
    pub correlate: Vec<Correlate>,
}

/// A test of an event's attributes, by its number in the evaluator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Matcher(pub u32);

/// A value that all events of one listener must agree on.
#[derive(Clone, Debug)]
pub struct Correlate {
    /// Filters with the same key share the value.
    pub key: Arc<str>,
    /// The value in an event.
    pub from: Expression,
    /// What it must be, asked when the listener begins; absent: what the first event says.
    pub expect: Option<Expression>,
}

/// What a listener hands on of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Read {
    /// Its data.
    Data,
    /// The whole event.
    Envelope,
    /// Its data as it came: the text of what is no JSON.
    Raw,
}

/// `foreach`: its list once for each event, one after another.
#[derive(Clone, Debug)]
pub struct Each {
    /// The variable that holds the event.
    pub item: Arc<str>,
    /// The variable that counts, from 0.
    pub at: Arc<str>,
    /// The list.
    pub first: Option<TaskId>,
    /// `output.as` of one pass.
    pub output: Option<Expression>,
    /// `export.as` of one pass.
    pub export: Option<Expression>,
}

impl Kind {
    /// What a worker must offer for the task; `None` when it is no step.
    pub fn function(&self) -> Option<&Function> {
        if let Self::Step { function, .. } = self { Some(function) } else { None }
    }
}

/// `department.function`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Function {
    /// Who serves it.
    pub department: Arc<str>,
    /// Unique in its department.
    pub name: Arc<str>,
}

/// A step that must not happen twice, whoever asks for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Once {
    /// Its key: a text or a number.
    pub key: Expression,
    /// When another step has done it, its output is that of this one, too.
    pub attach: bool,
}

/// One way out of a `switch`.
#[derive(Clone, Debug)]
pub struct Case {
    /// For people.
    pub name: Arc<str>,
    /// `None`: always.
    pub when: Option<Expression>,
    /// Where it goes.
    pub then: Then,
}

/// Which errors a `try` takes, and what it does then.
#[derive(Clone, Debug)]
pub struct Catch {
    /// What the error must be.
    pub filter: Filter,
    /// Must hold.
    pub when: Option<Expression>,
    /// Must not hold.
    pub except_when: Option<Expression>,
    /// The variable that holds the error: `error` when the author does not say.
    pub variable: Arc<str>,
    /// Tries before the handler.
    pub retry: Option<Retry>,
    /// The handler; `None`: the output is the input of the `try`.
    pub first: Option<TaskId>,
    /// Overrides the task's own `then` after an error was caught.
    pub then: Option<Then>,
}

/// `catch.errors.with`: every field that is there must be equal.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// The error's URI.
    pub kind: Option<Arc<str>>,
    /// As an HTTP status.
    pub status: Option<u16>,
    /// JSON pointer of the task that raised it.
    pub instance: Option<Arc<str>>,
    /// The whole title.
    pub title: Option<Arc<str>>,
    /// The whole detail.
    pub detail: Option<Arc<str>>,
}

impl Filter {
    /// Standard errors are the same under both of the URIs that the specification has used.
    pub fn matches(&self, error: &Error) -> bool {
        fn kind(uri: &str) -> &str {
            let mut bases =
                core::iter::once(crate::error::TYPES).chain(crate::error::TYPES_ELSEWHERE);
            bases.find_map(|base| uri.strip_prefix(base)).unwrap_or(uri)
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

/// When a `try` begins again.
#[derive(Clone, Debug)]
pub struct Retry {
    /// Must hold.
    pub when: Option<Expression>,
    /// Must not hold.
    pub except_when: Option<Expression>,
    /// Before the first retry; none when absent.
    pub delay: Option<Expression>,
    /// How the delay grows.
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
    /// Not at all.
    Constant,
    /// delay × n for the n-th retry.
    Linear,
    /// delay × 2ⁿ⁻¹ for the n-th retry.
    Exponential,
}

impl core::fmt::Display for Function {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{}.{}", self.department, self.name)
    }
}
