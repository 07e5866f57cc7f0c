//! A file of scenarios: what is asked, what the workers answer, what must come of it.

use baton_core::{
    Duration, Json, TaskId, Timestamp, Workflow,
    error::{Standard, TYPES},
    workflow::{Filter, Function, Kind},
};
use baton_dsl::{Node, Place, Value};

use super::{
    answers::{Answer, Answers, Reaction, Target},
    limits,
    read::Reader,
};
use crate::{finding::Finding, times};

/// Scenarios of one workflow, against which they were checked.
pub(super) struct File {
    /// Of all scenarios; their own come first.
    pub(super) answers: Vec<Answers>,
    pub(super) scenarios: Vec<Scenario>,
}

pub(super) struct Scenario {
    pub(super) name: String,
    pub(super) place: Place,
    pub(super) input: Json,
    pub(super) started_at: Timestamp,
    pub(super) answers: Vec<Answers>,
    /// In the order of their times, which count from the start.
    pub(super) actions: Vec<(Duration, Action)>,
    pub(super) expected: Expected,
}

/// What somebody asks of the instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Action {
    Cancel(String),
    Terminate(String),
    Suspend(String),
    Resume,
    /// An event comes from outside.
    Event(Json),
}

/// What must come of a scenario; what is absent may be anything.
#[derive(Default)]
pub(super) struct Expected {
    pub(super) status: Status,
    pub(super) output: Option<Json>,
    pub(super) error: Option<Filter>,
    pub(super) path: Option<Vec<Stop>>,
    pub(super) calls: Vec<(Function, Vec<Json>)>,
    /// What the events that it emits must hold.
    pub(super) emitted: Option<Vec<Json>>,
    pub(super) took: Option<Duration>,
}

/// How a scenario leaves the instance.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Status {
    #[default]
    Completed,
    Faulted,
    Cancelled,
    /// A step hangs, and nothing else will happen.
    Running,
    /// Nothing will happen any more, and it has not ended.
    Waiting,
    Suspended,
    /// The input does not fit: there is no instance.
    Refused,
}

/// One task of a path, by its name or its pointer.
pub(super) struct Stop {
    pub(super) word: String,
}

impl Status {
    const ALL: [(&'static str, Self); 7] = [
        ("completed", Self::Completed),
        ("faulted", Self::Faulted),
        ("cancelled", Self::Cancelled),
        ("running", Self::Running),
        ("waiting", Self::Waiting),
        ("suspended", Self::Suspended),
        ("refused", Self::Refused),
    ];

    pub(super) fn word(self) -> &'static str {
        Self::ALL.iter().find(|(_, known)| *known == self).map_or("", |(word, _)| *word)
    }
}

impl Stop {
    pub(super) fn is(&self, workflow: &Workflow, id: TaskId) -> bool {
        workflow.task(id).is_some_and(|task| {
            if self.word.starts_with('/') {
                *task.pointer == *self.word
            } else {
                *task.name == *self.word
            }
        })
    }
}

/// 2026-01-01T00:00:00Z: when the instance begins, where a scenario does not say.
const STARTED_AT: Timestamp = Timestamp(1_767_225_600_000);

/// Where the workflow is, as the file says it.
pub(super) fn workflow(tree: &Node) -> Result<(String, Place), Vec<Finding>> {
    let mut reader = Reader::default();
    reader.members(tree, "a file of scenarios");
    let node = reader.required(tree, "workflow");
    let found = node.and_then(|node| Some((reader.text(node, "`workflow`")?, node.place)));
    match found {
        Some((path, place)) => Ok((path.to_owned(), place)),
        None => Err(reader.findings),
    }
}

pub(super) fn read(tree: &Node, workflow: &Workflow) -> Result<File, Vec<Finding>> {
    let mut walk = Walk { reader: Reader::default(), workflow, events: 0 };
    let file = walk.file(tree);
    let mut findings = walk.reader.findings;
    if findings.is_empty() {
        return Ok(file);
    }
    findings.sort_by_key(|finding| (finding.line, finding.column));
    Err(findings)
}

struct Walk<'w> {
    reader: Reader,
    workflow: &'w Workflow,
    /// Events that were read so far: each gets an id of its own.
    events: u32,
}

impl Walk<'_> {
    fn file(&mut self, tree: &Node) -> File {
        let known = ["workflow", "startedAt", "steps", "scenarios"];
        self.reader.object(tree, "a file of scenarios", &known);
        let started_at = tree.get("startedAt").map_or(STARTED_AT, |node| self.time(node));
        let answers = tree.get("steps").map(|node| self.steps(node)).unwrap_or_default();
        let list = self.reader.required(tree, "scenarios");
        let items = list.map(|list| self.reader.list(list, "`scenarios`")).unwrap_or_default();
        if let Some(list) = list
            && items.is_empty()
        {
            let message = "there is no scenario".into();
            self.reader.problem("invalid-value", list.place, message, "add one: - name: …");
        }
        let mut scenarios: Vec<Scenario> = Vec::new();
        for item in items {
            let scenario = self.scenario(item, started_at);
            if scenarios.iter().any(|known| known.name == scenario.name) {
                let message = format!("another scenario is called `{}`", scenario.name);
                self.reader.problem("duplicate-scenario", item.place, message, "rename one");
            }
            scenarios.push(scenario);
        }
        File { answers, scenarios }
    }

    fn scenario(&mut self, node: &Node, started_at: Timestamp) -> Scenario {
        let known = ["name", "input", "startedAt", "steps", "actions", "expect"];
        self.reader.object(node, "a scenario", &known);
        let name = self.reader.required(node, "name");
        let name = name.and_then(|name| self.name(name)).unwrap_or_default();
        let input = node
            .get("input")
            .map_or_else(Json::empty_object, |node| Json::from_text(node.to_json()));
        let started_at = node.get("startedAt").map_or(started_at, |node| self.time(node));
        let answers = node.get("steps").map(|node| self.steps(node)).unwrap_or_default();
        let actions = node.get("actions").map(|node| self.actions(node)).unwrap_or_default();
        let expected = node.get("expect").map(|node| self.expected(node)).unwrap_or_default();
        Scenario { name, place: node.place, input, started_at, answers, actions, expected }
    }

    fn name(&mut self, node: &Node) -> Option<String> {
        let name = self.reader.text(node, "`name`")?;
        let length = name.chars().count();
        if length == 0 || length > limits::NAME_CHARS_MAX || name.chars().any(char::is_control) {
            let message =
                format!("`name` must be a line of 1 to {} characters", limits::NAME_CHARS_MAX);
            self.reader.problem("invalid-value", node.place, message, "say what must hold");
        }
        Some(name.to_owned())
    }

    fn time(&mut self, node: &Node) -> Timestamp {
        let found = self.reader.text(node, "`startedAt`").map(times::parse);
        if found == Some(None) {
            let message = "a time was wanted, such as 2026-01-31T08:00:00Z".into();
            self.reader.problem("invalid-value", node.place, message, "RFC 3339, in quotes");
        }
        found.flatten().map_or(STARTED_AT, |at| Timestamp(times::ms(&times::timestamp(at))))
    }

    fn steps(&mut self, node: &Node) -> Vec<Answers> {
        let members = self.reader.members(node, "`steps`");
        let mut answers = Vec::new();
        for member in members {
            let Some(target) = Target::find(self.workflow, &member.key) else {
                let message = format!("the workflow has no step `{}`", member.key);
                let hint =
                    "a task's name or pointer, or department.function; only steps have answers";
                self.reader.problem("not-in-workflow", member.place, message, hint);
                continue;
            };
            let (in_turn, items) = match &member.value.value {
                Value::Array(items) => (true, items.as_slice()),
                Value::Null
                | Value::Bool(_)
                | Value::Number(_)
                | Value::String(_)
                | Value::Object(_) => (false, std::slice::from_ref(&member.value)),
            };
            let items = items.iter().filter_map(|item| self.answer(item)).collect();
            answers.push(Answers { key: member.key.clone(), target, in_turn, items });
        }
        // The one that says most exactly what it means comes first.
        answers.sort_by_key(|answers| answers.target.rank());
        answers
    }

    fn answer(&mut self, node: &Node) -> Option<Answer> {
        self.reader.object(node, "an answer", &["output", "failure", "hangs", "takes", "with"]);
        let takes = node.get("takes").map_or(Duration(0), |node| self.reader.duration(node));
        let with = node.get("with").map(|node| Json::from_text(node.to_json()));
        let output = node.get("output").map(|output| {
            let output = Json::from_text(output.to_json());
            Reaction::Output(output)
        });
        let failure = node.get("failure").map(|failure| self.failure(failure));
        let hangs = node.get("hangs").filter(|hangs| self.reader.flag(hangs, "`hangs`"));
        let mut given: Vec<_> =
            [output, failure, hangs.map(|_| Reaction::Hangs)].into_iter().flatten().collect();
        if given.len() != 1 {
            let message = "an answer is one of `output`, `failure` and `hangs: true`".into();
            let hint = "for several in turn, write a list of answers";
            self.reader.problem("invalid-value", node.place, message, hint);
        }
        Some(Answer { reaction: given.pop()?, takes, with })
    }

    fn failure(&mut self, node: &Node) -> Reaction {
        self.reader.object(node, "a failure", &["type", "status", "title", "detail", "retryable"]);
        let filter = self.filter(node);
        let retryable = node.get("retryable");
        let retryable = retryable.is_some_and(|node| self.reader.truth(node, "`retryable`"));
        // What the worker protocol says of a failure that does not say so itself.
        let error = baton_core::Error {
            kind: filter
                .kind
                .unwrap_or_else(|| format!("{TYPES}{}", Standard::Runtime.name()).into()),
            status: filter.status.unwrap_or_else(|| Standard::Runtime.status()),
            title: filter.title,
            detail: filter.detail,
            instance: None,
        };
        Reaction::Failure { error, retryable }
    }

    /// The fields of an error; those that do not belong there were complained about.
    fn filter(&mut self, node: &Node) -> Filter {
        let mut text = |key: &str| {
            let node = node.get(key)?;
            self.reader.text(node, &format!("`{key}`")).map(Into::into)
        };
        Filter {
            kind: text("type"),
            instance: text("instance"),
            title: text("title"),
            detail: text("detail"),
            status: node.get("status").and_then(|node| self.reader.status(node)),
        }
    }

    fn actions(&mut self, node: &Node) -> Vec<(Duration, Action)> {
        let mut actions: Vec<(Duration, Action)> = Vec::new();
        for item in self.reader.list(node, "`actions`") {
            let known = ["at", "after", "cancel", "terminate", "suspend", "resume", "event"];
            self.reader.object(item, "an action", &known);
            let before = actions.last().map_or(Duration(0), |(at, _)| *at);
            let at = match (item.get("at"), item.get("after")) {
                (Some(at), None) => self.reader.duration(at),
                (None, Some(after)) => {
                    Duration(before.0.saturating_add(self.reader.duration(after).0))
                }
                _ => {
                    let message = "an action has either `at` or `after`".into();
                    let hint = "`at` counts from the start, `after` from the action before";
                    self.reader.problem("invalid-value", item.place, message, hint);
                    before
                }
            };
            if at < before {
                let message = "this action comes before the one above it".into();
                self.reader.problem("invalid-value", item.place, message, "put them in order");
            }
            if let Some(action) = self.action(item) {
                actions.push((at, action));
            }
        }
        actions
    }

    fn action(&mut self, node: &Node) -> Option<Action> {
        let mut reason = |key: &str| {
            let node = node.get(key)?;
            Some(self.reader.text(node, &format!("`{key}`")).unwrap_or_default().to_owned())
        };
        let found = [
            reason("cancel").map(Action::Cancel),
            reason("terminate").map(Action::Terminate),
            reason("suspend").map(Action::Suspend),
            node.get("resume")
                .filter(|node| self.reader.flag(node, "`resume`"))
                .map(|_| Action::Resume),
            node.get("event").map(|node| self.event(node)),
        ];
        let mut found: Vec<_> = found.into_iter().flatten().collect();
        if found.len() != 1 {
            let message = "an action does one thing".into();
            let hint = "one of `cancel: reason`, `terminate: reason`, `suspend: reason`, `resume: true`, `event: {type: …}`";
            self.reader.problem("invalid-value", node.place, message, hint);
        }
        found.pop()
    }

    /// With what every event has, where the author does not say.
    fn event(&mut self, node: &Node) -> Action {
        let members = self.reader.members(node, "an event");
        self.reader.required(node, "type").map(|kind| self.reader.text(kind, "`type`"));
        let mut event = serde_json::Map::new();
        self.events += 1;
        let id = format!("event-{}", self.events);
        for (key, value) in [("specversion", "1.0"), ("id", &*id), ("source", "/scenario")] {
            event.insert(key.to_owned(), value.into());
        }
        for member in members {
            let value = serde_json::from_str(&member.value.to_json()).unwrap_or_default();
            event.insert(member.key.clone(), value);
        }
        Action::Event(Json::from_text(serde_json::Value::Object(event).to_string()))
    }

    fn expected(&mut self, node: &Node) -> Expected {
        let known = ["status", "output", "error", "path", "calls", "emitted", "took"];
        self.reader.object(node, "`expect`", &known);
        let error = node.get("error").map(|error| {
            let known = ["type", "status", "title", "detail", "instance"];
            self.reader.object(error, "an error", &known);
            self.filter(error)
        });
        let status = match node.get("status") {
            Some(status) => self.ending(status),
            None if error.is_some() => Status::Faulted,
            None => Status::Completed,
        };
        Expected {
            status,
            output: node.get("output").map(|output| Json::from_text(output.to_json())),
            error,
            path: node.get("path").map(|path| self.path(path)),
            calls: node.get("calls").map(|calls| self.calls(calls)).unwrap_or_default(),
            emitted: node.get("emitted").map(|emitted| {
                let items = self.reader.list(emitted, "`emitted`");
                items.iter().map(|item| Json::from_text(item.to_json())).collect()
            }),
            took: node.get("took").map(|took| self.reader.duration(took)),
        }
    }

    fn ending(&mut self, node: &Node) -> Status {
        let Some(text) = self.reader.text(node, "`status`") else { return Status::Completed };
        let known = Status::ALL.iter().find(|(word, _)| *word == text);
        known.map_or_else(
            || {
                let message = format!("there is no status `{text}`");
                let hint = Status::ALL.map(|(word, _)| word).join(", ");
                self.reader.problem("invalid-value", node.place, message, &hint);
                Status::Completed
            },
            |(_, status)| *status,
        )
    }

    fn path(&mut self, node: &Node) -> Vec<Stop> {
        let mut path = Vec::new();
        for item in self.reader.list(node, "`path`") {
            let Some(word) = self.reader.text(item, "a task of the path") else { continue };
            let stop = Stop { word: word.to_owned() };
            // The document itself is no stop on the way.
            let tasks = (1..self.workflow.tasks.len()).filter_map(|id| u32::try_from(id).ok());
            if !tasks.map(TaskId).any(|id| stop.is(self.workflow, id)) {
                let message = format!("the workflow has no task `{word}`");
                let hint = "a task's name, or its pointer as in /do/0/charge";
                self.reader.problem("not-in-workflow", item.place, message, hint);
            }
            path.push(stop);
        }
        path
    }

    fn calls(&mut self, node: &Node) -> Vec<(Function, Vec<Json>)> {
        let mut calls = Vec::new();
        for member in self.reader.members(node, "`calls`") {
            let mut functions = self.workflow.tasks.iter().filter_map(|task| match &task.kind {
                Kind::Step { function, .. } => Some(function),
                Kind::Do { .. }
                | Kind::Function { .. }
                | Kind::Set { .. }
                | Kind::Switch { .. }
                | Kind::For { .. }
                | Kind::Fork { .. }
                | Kind::Map { .. }
                | Kind::Try { .. }
                | Kind::Raise { .. }
                | Kind::Wait { .. }
                | Kind::Tick { .. }
                | Kind::Emit { .. }
                | Kind::Listen(_)
                | Kind::Run { .. } => None,
            });
            let Some(function) =
                functions.find(|function| function.to_string() == member.key).cloned()
            else {
                let message = format!("the workflow never calls `{}`", member.key);
                let hint = "department.function";
                self.reader.problem("not-in-workflow", member.place, message, hint);
                continue;
            };
            let items = self.reader.list(&member.value, "the calls of a function");
            let arguments = items.iter().map(|item| Json::from_text(item.to_json()));
            calls.push((function, arguments.collect()));
        }
        calls
    }
}
