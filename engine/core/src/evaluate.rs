//! What the core asks of expressions; `baton-dsl` answers it with jq.

use alloc::{string::String, sync::Arc, vec::Vec};

use crate::{
    error::Error,
    id::{ActivationId, Duration, Timestamp},
    instance::Instance,
    json::Json,
    workflow::{Expression, Matcher, Name, Read, Schedule, Schema, Workflow},
};

/// Evaluates the expressions of the one workflow that it was compiled with. The same question always gets the same
/// answer. An `Err` is an error of the workflow, which its author may catch; it needs no `instance`.
#[expect(clippy::missing_errors_doc, reason = "said once, above")]
pub trait Evaluator {
    /// Any JSON value.
    fn value(&self, expression: Expression, scope: &Scope<'_>) -> Result<Json, Error>;

    /// jq's truth: everything but `false` and `null`.
    fn holds(&self, expression: Expression, scope: &Scope<'_>) -> Result<bool, Error>;

    /// The items of an array.
    fn items(&self, expression: Expression, scope: &Scope<'_>) -> Result<Vec<Json>, Error>;

    /// An ISO 8601 duration or the language's own object.
    fn duration(&self, expression: Expression, scope: &Scope<'_>) -> Result<Duration, Error>;

    /// The error that a `raise` describes.
    fn error(&self, expression: Expression, scope: &Scope<'_>) -> Result<Error, Error>;

    /// As an expression sees it: `{"type": …, "status": …, …}`.
    fn error_value(&self, error: &Error) -> Json;

    /// Whether an event, `scope.value`, is what a filter wants. What cannot be evaluated of it does not match.
    fn matches(&self, matcher: Matcher, scope: &Scope<'_>) -> bool;

    /// The event that an `emit` describes, as one object. What the author did not say of it is as in `defaults`.
    fn event(
        &self,
        expression: Expression,
        defaults: &EventDefaults,
        scope: &Scope<'_>,
    ) -> Result<Json, Error>;

    /// What a listener hands on of an event.
    fn read(&self, event: &Json, read: Read) -> Json;

    /// The workflow that a `run` names, and its input.
    fn child(&self, expression: Expression, scope: &Scope<'_>) -> Result<(Name, Json), Error>;

    /// The time of a schedule that follows `before`, or the first one since `started`; `None`: there is none. Times that
    /// were missed by more than the author makes up for are left out.
    fn tick(
        &self,
        schedule: Schedule,
        before: Option<Timestamp>,
        started: Timestamp,
        now: Timestamp,
    ) -> Result<Option<Timestamp>, Error>;

    /// Whether the value fits the schema.
    fn validate(&self, schema: Schema, value: &Json) -> Result<(), Error>;

    /// Whether steps go out only when policies allow it.
    fn guards(&self) -> bool {
        false
    }

    /// The value without what its members of this name hold; the name of a member inside others has dots between theirs.
    fn mask(&self, value: &Json, field: &str) -> Json;

    /// What follows belongs to another task, which may take as much work as any.
    fn refill(&self) {}

    /// Units of work since the evaluator was made.
    fn spent(&self) -> u64 {
        0
    }
}

/// What an event says of itself unless its author does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventDefaults {
    /// `id`
    pub id: String,
    /// `source`
    pub source: String,
    /// `time`
    pub time: Timestamp,
}

/// What an expression can see.
#[derive(Clone, Copy)]
pub struct Scope<'a> {
    /// `$workflow`: the definition, with the instance.
    pub workflow: &'a Workflow,
    /// `$context` and what `$workflow` says of the run.
    pub instance: &'a Instance,
    /// `.`
    pub value: &'a Json,
    /// `$input`, once `input.from` has made it.
    pub input: Option<&'a Json>,
    /// `$output`, once `output.as` has made it.
    pub output: Option<&'a Json>,
    /// `$task`.
    pub task: Option<TaskScope<'a>>,
    /// Variables of the loops and handlers around, innermost first: a name counts where it is first found.
    pub variables: &'a [(Arc<str>, Json)],
}

/// The task that an expression belongs to.
#[derive(Clone, Copy)]
pub struct TaskScope<'a> {
    /// The passage through the task whose expression it is; `None` before it is entered.
    pub activation: Option<ActivationId>,
    /// `$task.name`
    pub name: &'a Arc<str>,
    /// JSON pointer; `$task.reference`.
    pub pointer: &'a Arc<str>,
    /// What came in before `input.from`; `$task.input`.
    pub raw_input: &'a Json,
    /// What came out before `output.as`; `$task.output`.
    pub raw_output: Option<&'a Json>,
    /// `$task.startedAt`
    pub started_at: Timestamp,
}
