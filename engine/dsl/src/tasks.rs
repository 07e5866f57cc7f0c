//! Task lists: each task gets its number, its settings and its kind, in document order.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use baton_core::{
    TaskId,
    workflow::{Expression, Kind, Schema, Task, Then},
};

use crate::{
    builder::{Builder, Members, nearest},
    diagnostic::Place,
    document::{Reusable, object, plain},
    extensions::{Entry, Stand},
    flow,
    functions::{Bodies, Called, Catalog, FunctionName},
    json, limits, literals, misspelt,
    tree::{Member, Node, Value},
};

pub(crate) struct Tasks<'n> {
    pub builder: Builder,
    /// By task number.
    pub drafts: Vec<Draft>,
    pub reusable: &'n Reusable<'n>,
    pub used: Used<'n>,
    /// Targets of the list at hand, which may stand further down.
    pub fixes: Vec<Fix<'n>>,
    /// Calls of the document's own functions, whose bodies get their numbers last; and whether the body is extended.
    pub calls: Vec<(TaskId, &'n str, bool)>,
    pub namespace: String,
    /// Extensions extend what is compiled now: not what is their own.
    pub extending: bool,
    /// What is compiled now undoes a task.
    undoing: bool,
    /// `document.metadata.facts`: of every step that does not say otherwise.
    pub facts: &'n [Member],
    /// The functions of the catalog, calls of them, and their bodies.
    pub catalog: &'n Catalog,
    pub called: Vec<Called<'n>>,
    pub bodies: Bodies<'n>,
    /// The function of the catalog whose text is walked, when it is not the document's own.
    pub inside: Option<&'n FunctionName>,
    /// The text that is walked is a function's, which has no `use`.
    pub in_function: bool,
    pub nothing: &'n Reusable<'n>,
    /// How many of the drafts are the document's own; the catalog's come behind them.
    pub own: usize,
}

pub(crate) struct Draft {
    pub task: Task,
    pub place: Place,
    /// It came about by an extension; the author wrote no such task there.
    pub made: bool,
}

/// Which named parts of `use` something refers to.
#[derive(Default)]
pub(crate) struct Used<'n> {
    pub errors: BTreeSet<&'n str>,
    pub retries: BTreeSet<&'n str>,
    pub timeouts: BTreeSet<&'n str>,
    pub functions: BTreeSet<&'n str>,
    pub authentications: BTreeSet<&'n str>,
    /// By their places.
    pub extensions: BTreeSet<usize>,
}

pub(crate) struct Fix<'n> {
    pub task: TaskId,
    pub slot: Slot,
    pub target: &'n str,
    pub place: Place,
}

/// Where a target is written to.
#[derive(Clone, Copy)]
pub(crate) enum Slot {
    Then,
    Case(usize),
    Catch,
}

/// What every task may have.
const COMMON: [&str; 7] = ["if", "input", "output", "export", "timeout", "then", "metadata"];
const KINDS: [&str; 12] =
    ["call", "for", "try", "do", "fork", "set", "switch", "raise", "wait", "emit", "listen", "run"];

impl<'n> Tasks<'n> {
    pub(crate) fn new(
        builder: Builder,
        reusable: &'n Reusable<'n>,
        nothing: &'n Reusable<'n>,
        catalog: &'n Catalog,
        namespace: String,
    ) -> Self {
        Self {
            builder,
            drafts: Vec::new(),
            reusable,
            used: Used::default(),
            fixes: Vec::new(),
            calls: Vec::new(),
            namespace,
            extending: true,
            undoing: false,
            facts: &[],
            catalog,
            called: Vec::new(),
            bodies: Bodies::default(),
            inside: None,
            in_function: false,
            nothing,
            own: 0,
        }
    }

    /// What remains when all tasks of the text have been walked.
    pub(crate) fn end(&mut self, tree: &Node) {
        self.functions();
        self.own = self.drafts.len();
        self.catalog_functions();
        self.unused_parts();
        flow::check(self);
        misspelt::check(self);
        literals::check(tree, &mut self.builder.sink);
    }

    /// The tasks of a list; gives the first.
    pub(crate) fn list(&mut self, node: &'n Node, pointer: &str, branches: bool) -> Option<TaskId> {
        self.ids(node, pointer, branches).first().copied()
    }

    /// The tasks of a list. Branches of a fork do not follow each other and cannot name each other.
    pub(crate) fn ids(&mut self, node: &'n Node, pointer: &str, branches: bool) -> Vec<TaskId> {
        let items = self.builder.list(node, "a task list");
        let outer = std::mem::take(&mut self.fixes);
        let mut names: BTreeMap<&str, TaskId> = BTreeMap::new();
        let mut entries: Vec<Entry> = Vec::new();
        for (i, item) in items.iter().enumerate() {
            if self.drafts.len() >= limits::TASKS_MAX {
                let message = format!("the document has more than {} tasks", limits::TASKS_MAX);
                self.builder.sink.error("too-large", item.place, message);
                break;
            }
            let Some(member) = item.single() else {
                let message =
                    "an item of a task list must be an object with one key, the task's name";
                self.builder.sink.error_hint(
                    "invalid-type",
                    item.place,
                    message,
                    "- name:\n    set: …",
                );
                continue;
            };
            let name = member.key.as_str();
            let place = format!("{pointer}/{i}/{}", json::escape_pointer(name));
            let stand = Stand { name, node: &member.value, place: member.place, pointer: &place };
            let entry = self.entry(stand, !branches);
            if names.insert(name, entry.first).is_some() {
                self.builder.sink.error(
                    "duplicate-task",
                    member.place,
                    format!("this list has another task `{name}`"),
                );
            }
            if matches!(name, "continue" | "exit" | "end") {
                let message = format!("`then: {name}` means the directive, never this task");
                self.builder.sink.warn(
                    "directive-name",
                    member.place,
                    message,
                    "give the task another name",
                );
            }
            entries.push(entry);
        }
        if !branches {
            for pair in entries.windows(2) {
                self.drafts[index(pair[0].last)].task.following = Some(pair[1].first);
            }
        }
        for fix in std::mem::replace(&mut self.fixes, outer) {
            self.resolve(&fix, &names, branches);
        }
        entries.into_iter().map(|entry| entry.first).collect()
    }

    fn resolve(&mut self, fix: &Fix<'n>, names: &BTreeMap<&str, TaskId>, branches: bool) {
        let sink = &mut self.builder.sink;
        if branches {
            let message = "the branches of a fork run at once, so none can go to another";
            sink.error_hint("branch-target", fix.place, message, "continue, exit or end");
            return;
        }
        let Some(target) = names.get(fix.target) else {
            let hint =
                nearest(fix.target, names.keys().copied().chain(["continue", "exit", "end"]));
            let hint =
                hint.unwrap_or_else(|| "a task of the same list, or continue, exit or end".into());
            sink.error_hint(
                "unknown-target",
                fix.place,
                format!("no task `{}` in this list", fix.target),
                hint,
            );
            return;
        };
        let then = Then::Task(*target);
        let task = &mut self.drafts[index(fix.task)].task;
        match (fix.slot, &mut task.kind) {
            (Slot::Then, _) => task.then = then,
            (Slot::Case(i), Kind::Switch { cases }) => {
                if let Some(case) = cases.get_mut(i) {
                    case.then = then;
                }
            }
            (Slot::Catch, Kind::Try { catch, .. }) => catch.then = Some(then),
            (Slot::Case(_) | Slot::Catch, _) => {}
        }
    }

    /// One task, with those inside it; gives its number.
    pub(crate) fn task(&mut self, Stand { name, node, place, pointer }: Stand<'_, 'n>) -> TaskId {
        let id = TaskId(u32::try_from(self.drafts.len()).unwrap_or(u32::MAX));
        self.drafts.push(Draft { task: plain(Arc::from(name), pointer), place, made: false });
        let Value::Object(found) = &node.value else {
            let message = format!("the task `{name}` must be an object, not {}", node.what());
            self.builder.sink.error("invalid-type", node.place, message);
            return id;
        };
        let Some(kind) = kind_of(node) else {
            let misspelt = found
                .iter()
                .find_map(|member| Some((member, nearest(&member.key, KINDS.into_iter())?)));
            let hint =
                misspelt.map_or_else(|| format!("one of {}", KINDS.join(", ")), |(_, hint)| hint);
            self.builder.sink.error_hint(
                "missing-key",
                place,
                format!("the task `{name}` does not say what to do"),
                hint,
            );
            return id;
        };
        let own: &[&str] = match kind {
            "call" => &["call", "with"],
            "for" => &["for", "while", "do"],
            "try" => &["try", "catch"],
            "do" => &["do"],
            "fork" => &["fork"],
            "set" => &["set"],
            "switch" => &["switch"],
            "raise" => &["raise"],
            "wait" => &["wait"],
            "emit" => &["emit"],
            "listen" => &["listen", "foreach"],
            _ => &["run"],
        };
        let known: Vec<&str> = own.iter().chain(&COMMON).copied().collect();
        if let Some(members) = self.builder.members(node, &format!("a `{kind}` task"), &known, &[])
        {
            self.common(id, &members, pointer);
            if let Some(mut kind) = self.kind(id, kind, &members, pointer) {
                self.facts(&mut kind, &members);
                self.once(&mut kind, &members);
                self.drafts[index(id)].task.kind = kind;
            }
        }
        id
    }

    fn common(&mut self, id: TaskId, members: &Members<'n>, pointer: &str) {
        let condition = members.get("if").map(|node| self.builder.expression(node));
        let input = members.get("input").map(|node| self.input(node)).unwrap_or_default();
        let output =
            members.get("output").map(|node| self.shaped(node, "output")).unwrap_or_default();
        let export =
            members.get("export").map(|node| self.shaped(node, "export")).unwrap_or_default();
        let timeout = members.get("timeout").and_then(|node| self.timeout(node));
        let mut compensation = None;
        if let Some(metadata) = members.get("metadata") {
            object(&mut self.builder, metadata, "metadata");
            let place = format!("{pointer}/metadata/compensate");
            compensation = metadata.get("compensate").map(|node| self.compensation(node, &place));
        }
        let then = members.get("then").map(|node| self.then(id, Slot::Then, node));
        let task = &mut self.drafts[index(id)].task;
        task.condition = condition;
        (task.input_schema, task.input) = input;
        (task.output_schema, task.output) = output;
        (task.export_schema, task.export) = export;
        task.timeout = timeout;
        task.compensation = compensation;
        task.then = then.unwrap_or(Then::Continue);
    }

    /// `metadata.compensate`: the list that undoes a task. It runs when all around it is gone.
    fn compensation(&mut self, node: &'n Node, pointer: &str) -> TaskId {
        let id = self.made("compensate", pointer, node.place);
        if std::mem::replace(&mut self.undoing, true) {
            let message = "what undoes a task is not undone itself";
            let hint = "undo the whole with the task around it";
            self.builder.sink.error_hint("nested-compensation", node.place, message, hint);
        }
        let variables = std::mem::take(&mut self.builder.variables);
        let first = self.list(node, pointer, false);
        self.builder.variables = variables;
        self.undoing = false;
        self.drafts[index(id)].task.kind = Kind::Do { first };
        id
    }

    /// `input`.
    pub(crate) fn input(&mut self, node: &Node) -> (Option<Schema>, Option<Expression>) {
        let Some(members) = self.builder.members(node, "`input`", &["schema", "from"], &[]) else {
            return (None, None);
        };
        let schema = members.get("schema").and_then(|node| self.builder.schema(node));
        (schema, members.get("from").map(|node| self.builder.transformation(node)))
    }

    /// `output` or `export`.
    pub(crate) fn shaped(
        &mut self,
        node: &Node,
        what: &str,
    ) -> (Option<Schema>, Option<Expression>) {
        let Some(members) =
            self.builder.members(node, &format!("`{what}`"), &["schema", "as"], &[])
        else {
            return (None, None);
        };
        let schema = members.get("schema").and_then(|node| self.builder.schema(node));
        (schema, members.get("as").map(|node| self.builder.transformation(node)))
    }

    /// `timeout`: inline, or a name of `use.timeouts`.
    pub(crate) fn timeout(&mut self, node: &'n Node) -> Option<Expression> {
        if let Some(name) = node.as_str() {
            let Some((found, _)) =
                self.reusable.timeouts.get_key_value(name).map(|(name, (node, _))| (*node, name))
            else {
                self.unknown_part(
                    "timeout",
                    name,
                    node.place,
                    self.reusable.timeouts.keys().copied().collect(),
                );
                return None;
            };
            self.used.timeouts.insert(name);
            return self.timeout_inline(found);
        }
        self.timeout_inline(node)
    }

    pub(crate) fn timeout_inline(&mut self, node: &Node) -> Option<Expression> {
        let members = self.builder.members(node, "a timeout", &["after"], &[])?;
        let after = self.builder.required(&members, "after")?;
        Some(self.builder.duration(after))
    }

    pub(crate) fn unknown_part(&mut self, what: &str, name: &str, place: Place, known: Vec<&str>) {
        let hint = nearest(name, known.into_iter());
        let define = || format!("define it under `use.{}`", plural(what));
        let hint = match hint {
            None if self.in_function => "write it out: a function has no `use`".into(),
            hint => hint.unwrap_or_else(define),
        };
        self.builder.sink.error_hint(
            "unknown-name",
            place,
            format!("no {what} `{name}` is defined"),
            hint,
        );
    }

    /// A directive at once, or a task's name for later.
    pub(crate) fn then(&mut self, task: TaskId, slot: Slot, node: &'n Node) -> Then {
        match self.builder.string(node, "`then`") {
            None | Some("continue") => Then::Continue,
            Some("exit") => Then::Exit,
            Some("end") => Then::End,
            Some(target) => {
                self.fixes.push(Fix { task, slot, target, place: node.place });
                Then::Continue
            }
        }
    }

    /// The bodies of `use.functions`, in order of their names.
    pub(crate) fn functions(&mut self) {
        let mut bodies = BTreeMap::new();
        let mut wanted: Vec<_> = self.reusable.functions.keys().map(|name| (*name, true)).collect();
        wanted.reverse();
        // What an extension calls is not extended, so it needs bodies of its own.
        let mut looked_at = 0;
        loop {
            while let Some((name, extending)) = wanted.pop() {
                let Some((node, place)) = self.reusable.functions.get(name).copied() else {
                    continue;
                };
                if self.drafts.len() >= limits::TASKS_MAX {
                    let message = format!("the document has more than {} tasks", limits::TASKS_MAX);
                    self.builder.sink.error("too-large", place, message);
                    return;
                }
                let pointer = format!("/use/functions/{}", json::escape_pointer(name));
                self.extending = extending;
                let first = self.alone(Stand { name, node, place, pointer: &pointer });
                bodies.insert((name, extending), first);
            }
            let calls =
                self.calls[looked_at..].iter().map(|(_, name, extending)| (*name, *extending));
            wanted.extend(calls.filter(|body| !bodies.contains_key(body)).collect::<BTreeSet<_>>());
            looked_at = self.calls.len();
            if wanted.is_empty() {
                break;
            }
        }
        self.extending = true;
        for (task, name, extending) in std::mem::take(&mut self.calls) {
            if let (Kind::Function { body, .. }, Some(found)) =
                (&mut self.drafts[index(task)].task.kind, bodies.get(&(name, extending)))
            {
                *body = *found;
            }
        }
    }

    /// A task in no list: nothing follows it, and it can name no other.
    pub(crate) fn alone(&mut self, stand: Stand<'_, 'n>) -> TaskId {
        let outer = std::mem::take(&mut self.fixes);
        let entry = self.entry(stand, false);
        for fix in std::mem::replace(&mut self.fixes, outer) {
            self.resolve(&fix, &BTreeMap::new(), false);
        }
        entry.first
    }

    /// Parts of `use` that nothing refers to are checked all the same, and mentioned.
    pub(crate) fn unused_parts(&mut self) {
        let reusable = self.reusable;
        let mut unused = Vec::new();
        for (name, (node, place)) in &reusable.errors {
            if !self.used.errors.contains(name) {
                self.error(node);
                unused.push(("error", *name, *place));
            }
        }
        for (name, (node, place)) in &reusable.retries {
            if !self.used.retries.contains(name) {
                self.builder.variables.push("error".into());
                self.retry_inline(node);
                self.builder.variables.pop();
                unused.push(("retry", *name, *place));
            }
        }
        for (name, (node, place)) in &reusable.timeouts {
            if !self.used.timeouts.contains(name) {
                self.timeout_inline(node);
                unused.push(("timeout", *name, *place));
            }
        }
        for (name, (_, place)) in &reusable.functions {
            if !self.used.functions.contains(name) {
                unused.push(("function", *name, *place));
            }
        }
        for (name, (node, place)) in &reusable.authentications {
            if !self.used.authentications.contains(name) {
                let mut out = self.begin_step();
                self.policy(node, &mut out);
                self.builder.end_of_step();
                unused.push(("authentication", *name, *place));
            }
        }
        for (i, extension) in reusable.extensions.iter().enumerate() {
            if !self.used.extensions.contains(&i) {
                self.check_extension(extension);
                unused.push(("extension", extension.name, extension.place));
            }
        }
        for (name, place) in &reusable.secrets {
            if !self.builder.secrets_used.contains(*name) {
                unused.push(("secret", *name, *place));
            }
        }
        for (what, name, place) in unused {
            let message = format!("nothing uses the {what} `{name}`");
            self.builder.sink.warn("unused", place, message, "use it or remove it");
        }
    }
}

fn plural(what: &str) -> String {
    what.strip_suffix('y').map_or_else(|| format!("{what}s"), |stem| format!("{stem}ies"))
}

/// The key that says what a task does.
pub(crate) fn kind_of(node: &Node) -> Option<&'static str> {
    KINDS.into_iter().find(|kind| node.get(kind).is_some())
}

pub(crate) fn index(id: TaskId) -> usize {
    id.0 as usize
}
