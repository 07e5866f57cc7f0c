//! Every task of a workflow and every way between them.

use std::collections::BTreeSet;

use baton_core::{
    TaskId, Workflow,
    workflow::{Case, Catch, Filter, Kind, Listen, Task, Then},
};
use serde_json::Value;

use super::label::label;

/// `definition` is the document as JSON: it has the words that compiling has turned into programs.
pub(super) fn draw(workflow: &Workflow, definition: &str) -> String {
    let mut drawing = Drawing {
        workflow,
        definition: serde_json::from_str(definition).unwrap_or_default(),
        lines: vec!["flowchart TD".into()],
        edges: Vec::new(),
        depth: 1,
        called: BTreeSet::new(),
    };
    drawing.node("start", Shape::Round, &["start"]);
    let root = workflow.tasks.first().map(|root| &root.kind);
    let first = if let Some(Kind::Do { first }) = root { *first } else { None };
    let entry = first.map_or_else(|| FINISH.to_owned(), |first| drawing.entry(first));
    drawing.edge("start", "", &entry);
    drawing.list(first, FINISH);
    let mut drawn = BTreeSet::new();
    while let Some(body) = drawing.called.difference(&drawn).next().copied() {
        drawn.insert(body);
        drawing.function(body);
    }
    if drawing.edges.iter().any(|edge| edge.to == FINISH) {
        drawing.node(FINISH, Shape::Round, &["end"]);
    }
    drawing.finish()
}

/// `end` is Mermaid's own word.
const FINISH: &str = "finish";

struct Drawing<'w> {
    workflow: &'w Workflow,
    definition: Value,
    lines: Vec<String>,
    edges: Vec<Edge>,
    /// Subgraphs around the next line.
    depth: usize,
    /// Bodies of the document's own functions that something calls.
    called: BTreeSet<TaskId>,
}

struct Edge {
    from: String,
    /// Mermaid's arrow, with its label.
    arrow: String,
    to: String,
}

#[derive(Clone, Copy)]
enum Shape {
    Box,
    Round,
    Stadium,
    Slanted,
    Diamond,
    Hexagon,
    Doubled,
    Ring,
    Flag,
    Spread,
    Gathered,
}

impl Shape {
    fn brackets(self) -> (&'static str, &'static str) {
        match self {
            Self::Box => ("[", "]"),
            Self::Round => ("((", "))"),
            Self::Stadium => ("([", "])"),
            Self::Slanted => ("[/", "/]"),
            Self::Diamond => ("{", "}"),
            Self::Hexagon => ("{{", "}}"),
            Self::Doubled => ("[[", "]]"),
            Self::Ring => ("(((", ")))"),
            Self::Flag => (">", "]"),
            Self::Spread => ("[/", "\\]"),
            Self::Gathered => ("[\\", "/]"),
        }
    }
}

impl<'w> Drawing<'w> {
    fn line(&mut self, text: &str) {
        self.lines.push(format!("{}{text}", "    ".repeat(self.depth)));
    }

    fn node(&mut self, id: &str, shape: Shape, parts: &[&str]) {
        let (open, close) = shape.brackets();
        self.line(&format!("{id}{open}{}{close}", label(parts)));
    }

    fn edge(&mut self, from: &str, words: &str, to: &str) {
        let arrow =
            if words.is_empty() { "-->".into() } else { format!("-->|{}|", label(&[words])) };
        self.edges.push(Edge { from: from.into(), arrow, to: to.into() });
    }

    /// What does not happen every time.
    fn dotted(&mut self, from: &str, words: &str, to: &str) {
        let arrow = format!("-.->|{}|", label(&[words]));
        self.edges.push(Edge { from: from.into(), arrow, to: to.into() });
    }

    fn begin(&mut self, id: &str, parts: &[&str]) {
        self.line(&format!("subgraph {id}[{}]", label(parts)));
        self.depth += 1;
    }

    fn end(&mut self) {
        self.depth -= 1;
        self.line("end");
    }

    fn finish(mut self) -> String {
        for Edge { from, arrow, to } in std::mem::take(&mut self.edges) {
            self.line(&format!("{from} {arrow} {to}"));
        }
        self.lines.join("\n") + "\n"
    }

    fn known(&self, id: TaskId) -> &'w Task {
        self.workflow.task(id).expect("tasks of a compiled workflow name each other")
    }

    /// What the author wrote at a key of the task, in a line.
    fn words(&self, task: &Task, key: &str) -> String {
        let found = self.definition.pointer(&format!("{}/{key}", task.pointer));
        match found {
            Some(Value::String(text)) => text.clone(),
            Some(value) => value.to_string(),
            None => String::new(),
        }
    }

    /// The node where a task begins.
    fn entry(&self, id: TaskId) -> String {
        if self.known(id).condition.is_some() { format!("t{}if", id.0) } else { self.inner(id) }
    }

    /// The same, behind its `if`.
    fn inner(&self, id: TaskId) -> String {
        match &self.known(id).kind {
            Kind::Do { first: Some(first) } | Kind::Try { first: Some(first), .. } => {
                self.entry(*first)
            }
            Kind::Do { first: None }
            | Kind::Try { first: None, .. }
            | Kind::Step { .. }
            | Kind::Function { .. }
            | Kind::Set { .. }
            | Kind::Switch { .. }
            | Kind::For { .. }
            | Kind::Fork { .. }
            | Kind::Map { .. }
            | Kind::Raise { .. }
            | Kind::Wait { .. }
            | Kind::Tick { .. }
            | Kind::Emit { .. }
            | Kind::Listen(_)
            | Kind::Run { .. } => format!("t{}", id.0),
        }
    }

    /// The tasks of a list; `exit` is where it leads when it is done.
    fn list(&mut self, first: Option<TaskId>, exit: &str) {
        let mut at = first;
        while let Some(id) = at {
            self.task(id, exit);
            at = self.known(id).following;
        }
    }

    fn target(&self, task: &Task, then: Then, exit: &str) -> String {
        match then {
            Then::Continue => task.following.map_or_else(|| exit.into(), |next| self.entry(next)),
            Then::Exit => exit.into(),
            Then::End => FINISH.into(),
            Then::Task(id) => self.entry(id),
        }
    }

    fn task(&mut self, id: TaskId, exit: &str) {
        let task = self.known(id);
        let node = format!("t{}", id.0);
        if task.condition.is_some() {
            let question = format!("{node}if");
            let condition = self.words(task, "if");
            self.node(&question, Shape::Diamond, &["if", &condition]);
            self.edge(&question, "yes", &self.inner(id));
            self.edge(&question, "no", &self.target(task, Then::Continue, exit));
        }
        let out = self.target(task, task.then, exit);
        let name = &*task.name;
        match &task.kind {
            Kind::Step { function, .. } => {
                self.leaf(&node, Shape::Box, &[name, &function.to_string()], &out);
            }
            Kind::Set { .. } => self.leaf(&node, Shape::Slanted, &[name, "set"], &out),
            Kind::Wait { .. } => {
                let duration = format!("wait {}", self.words(task, "wait"));
                self.leaf(&node, Shape::Stadium, &[name, &duration], &out);
            }
            // Only the workflow behind a `schedule` has these, and nobody draws that.
            Kind::Tick { .. } => self.leaf(&node, Shape::Stadium, &[name, "schedule"], &out),
            Kind::Raise { .. } => self.node(&node, Shape::Ring, &[name, "raise"]),
            Kind::Emit { .. } => {
                let event = format!("emit {}", self.words(task, "emit/event/with/type"));
                self.leaf(&node, Shape::Flag, &[name, &event], &out);
            }
            Kind::Run { .. } => {
                let run = ["namespace", "name"]
                    .map(|key| self.words(task, &format!("run/workflow/{key}")));
                self.leaf(&node, Shape::Doubled, &[name, &format!("run {}", run.join("/"))], &out);
            }
            Kind::Listen(listen) => self.listen(task, id, listen, &out),
            Kind::Function { body, .. } => {
                let call = format!("call {}", self.known(*body).name);
                self.leaf(&node, Shape::Doubled, &[name, &call], &out);
                self.dotted(&node, "runs", &self.entry(*body));
                self.called.insert(*body);
            }
            Kind::Switch { cases } => self.switch(task, &node, cases, &out, exit),
            Kind::Do { first: None } => self.leaf(&node, Shape::Box, &[name, "do"], &out),
            Kind::Do { first } => {
                self.begin(&format!("s{}", id.0), &[name]);
                self.list(*first, &out);
                self.end();
            }
            Kind::For { each, first, .. } => {
                let items = format!("for each {each} in {}", self.words(task, "for/in"));
                let condition = self.words(task, "while");
                let condition =
                    if condition.is_empty() { condition } else { format!("while {condition}") };
                self.leaf(&node, Shape::Hexagon, &[name, &items, &condition], "");
                self.edge(&node, "done", &out);
                if let Some(first) = first {
                    self.edge(&node, "each", &self.entry(*first));
                    self.begin(&format!("s{}", id.0), &[name]);
                    self.list(Some(*first), &node);
                    self.end();
                }
            }
            Kind::Map { each, body, concurrency, .. } => {
                let items = format!("for each {each} in {}", self.words(task, "with/in"));
                let most = format!("{concurrency} at once");
                self.leaf(&node, Shape::Hexagon, &[name, &items, &most], "");
                self.edge(&node, "done", &out);
                self.edge(&node, "each", &self.entry(*body));
                self.task(*body, &node);
            }
            Kind::Fork { branches, compete } => self.fork(task, &node, branches, *compete, &out),
            Kind::Try { first, catch } => {
                let caught = self.target(task, catch.then.unwrap_or(task.then), exit);
                self.attempt(task, id, *first, catch, [&out, &caught]);
            }
        }
    }

    /// A node with one way out; an empty one is drawn by the caller.
    fn leaf(&mut self, node: &str, shape: Shape, parts: &[&str], out: &str) {
        self.node(node, shape, parts);
        if !out.is_empty() {
            self.edge(node, "", out);
        }
    }

    /// With a `foreach`, its list is drawn like that of a loop.
    fn listen(&mut self, task: &Task, id: TaskId, listen: &Listen, out: &str) {
        let node = format!("t{}", id.0);
        let Some(first) = listen.each.as_ref().and_then(|each| each.first) else {
            return self.leaf(&node, Shape::Stadium, &[&task.name, "listen"], out);
        };
        self.leaf(&node, Shape::Hexagon, &[&task.name, "listen"], "");
        self.edge(&node, "done", out);
        self.edge(&node, "each event", &self.entry(first));
        self.begin(&format!("s{}", id.0), &[&task.name]);
        self.list(Some(first), &node);
        self.end();
    }

    fn switch(&mut self, task: &Task, node: &str, cases: &[Case], out: &str, exit: &str) {
        self.node(node, Shape::Diamond, &[&task.name]);
        for case in cases {
            self.edge(node, &case.name, &self.target(task, case.then, exit));
        }
        if cases.iter().all(|case| case.when.is_some()) {
            self.edge(node, "no case holds", out);
        }
    }

    fn fork(&mut self, task: &Task, node: &str, branches: &[TaskId], compete: bool, out: &str) {
        let (kind, end) =
            if compete { ("fork, the first wins", "the first") } else { ("fork", "all") };
        let join = format!("{node}join");
        self.node(node, Shape::Spread, &[&task.name, kind]);
        for branch in branches {
            self.edge(node, "", &self.entry(*branch));
            self.task(*branch, &join);
        }
        self.node(&join, Shape::Gathered, &[end]);
        if branches.is_empty() {
            self.edge(node, "", &join);
        }
        self.edge(&join, "", out);
    }

    fn attempt(
        &mut self,
        task: &Task,
        id: TaskId,
        first: Option<TaskId>,
        catch: &Catch,
        [out, caught]: [&str; 2],
    ) {
        let (node, handler) = (format!("t{}", id.0), format!("t{}catch", id.0));
        let around = if first.is_some() {
            let group = format!("s{}", id.0);
            self.begin(&group, &[&task.name, "try"]);
            self.list(first, out);
            self.end();
            group
        } else {
            self.leaf(&node, Shape::Box, &[&task.name, "try"], out);
            node
        };
        self.node(&handler, Shape::Flag, &["catch", &wanted(&catch.filter)]);
        self.dotted(&around, "error", &handler);
        if catch.retry.is_some() {
            self.dotted(&handler, "retry", &self.inner(id));
        }
        if let Some(first) = catch.first {
            self.edge(&handler, "", &self.entry(first));
            self.begin(&format!("s{}catch", id.0), &[&task.name, "catch"]);
            self.list(Some(first), caught);
            self.end();
        } else {
            self.edge(&handler, "", caught);
        }
    }

    fn function(&mut self, body: TaskId) {
        let back = format!("t{}back", body.0);
        self.begin(&format!("f{}", body.0), &["function", &self.known(body).name]);
        self.task(body, &back);
        self.node(&back, Shape::Round, &["return"]);
        self.end();
    }
}

/// Which errors a `catch` takes, in a few words.
fn wanted(filter: &Filter) -> String {
    let kind = filter.kind.as_deref().and_then(|kind| kind.rsplit('/').next()).unwrap_or_default();
    let status = filter.status.map(|status| status.to_string()).unwrap_or_default();
    [kind, &status].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ")
}
