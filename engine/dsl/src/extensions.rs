//! Extensions: tasks around tasks, written out when the document is compiled, so that they run as any others.
//!
//! An extended task becomes a list: what stands `before` it, the task itself, what stands `after` it. `then: exit` among
//! the first leaves the list, and with it the task. Where a task has more than one way on, the list hands on which one
//! it took, beside the output, and a `switch` behind it goes there.
//!
//! Instances go on by the numbers of tasks after an upgrade of the engine: what a document is written out to, and in
//! which order, may never change.

use std::sync::Arc;

use baton_core::{
    TaskId,
    workflow::{Case, Expression, Kind, Then},
};

use crate::{
    builder::Builder,
    diagnostic::Place,
    document::plain,
    json,
    program::Segment,
    tasks::{Draft, Slot, Tasks, index, kind_of},
    tree::{Node, Value},
};

/// One of `use.extensions`.
pub(crate) struct Extension<'n> {
    pub name: &'n str,
    pub place: Place,
    pointer: String,
    extend: &'n str,
    when: Option<&'n Node>,
    before: Option<&'n Node>,
    after: Option<&'n Node>,
}

const TARGETS: [&str; 12] = [
    "call",
    "composite",
    "emit",
    "for",
    "listen",
    "raise",
    "run",
    "set",
    "switch",
    "try",
    "wait",
    "all",
];

/// A task as its list sees it: where one comes in, and what the next one follows.
pub(crate) struct Entry {
    pub first: TaskId,
    pub last: TaskId,
}

/// Where a task stands in its document.
#[derive(Clone, Copy)]
pub(crate) struct Stand<'s, 'n> {
    pub name: &'s str,
    pub node: &'n Node,
    pub place: Place,
    pub pointer: &'s str,
}

/// `use.extensions`
pub(crate) fn read<'n>(builder: &mut Builder, node: &'n Node) -> Vec<Extension<'n>> {
    let items = builder.list(node, "`extensions`").iter().enumerate();
    items.filter_map(|(i, item)| one(builder, i, item)).collect()
}

fn one<'n>(builder: &mut Builder, i: usize, item: &'n Node) -> Option<Extension<'n>> {
    let Some(member) = item.single() else {
        let message = "an extension must be an object with one key, the extension's name";
        builder.sink.error("invalid-type", item.place, message);
        return None;
    };
    let known = ["extend", "when", "before", "after"];
    let own = builder.members(&member.value, "an extension", &known, &[])?;
    let extend = builder.required(&own, "extend")?;
    let Some(target) = extend.as_str().filter(|target| TARGETS.contains(target)) else {
        let message = format!("`extend` must be one of {}", TARGETS.join(", "));
        builder.sink.error("invalid-value", extend.place, message);
        return None;
    };
    Some(Extension {
        name: &member.key,
        place: member.place,
        pointer: format!("/use/extensions/{i}/{}", json::escape_pointer(&member.key)),
        extend: target,
        when: own.get("when"),
        before: own.get("before"),
        after: own.get("after"),
    })
}

impl Extension<'_> {
    /// One that adds nothing extends nothing.
    fn extends(&self, kind: &str) -> bool {
        let lists = [self.before, self.after];
        if !lists.into_iter().flatten().any(|list| !is_empty(list)) {
            return false;
        }
        match self.extend {
            "all" => true,
            "composite" => matches!(kind, "do" | "fork"),
            target => target == kind,
        }
    }
}

impl<'n> Tasks<'n> {
    /// A task with what extends it. One that is not `listed` has nothing behind it in a list.
    pub(crate) fn entry(&mut self, stand: Stand<'_, 'n>, listed: bool) -> Entry {
        let reusable = self.reusable;
        let mut around = Vec::new();
        if self.extending {
            for (i, extension) in reusable.extensions.iter().enumerate() {
                if kind_of(stand.node).is_some_and(|kind| extension.extends(kind)) {
                    self.used.extensions.insert(i);
                    around.push(extension);
                }
            }
        }
        if around.is_empty() {
            let id = self.task(stand);
            return Entry { first: id, last: id };
        }
        if !has_ways(stand.node) {
            let whole = self.straight(stand, &around);
            return Entry { first: whole, last: whole };
        }
        if listed {
            return self.branching(stand, &around);
        }
        let whole = self.made(stand.name, stand.pointer, stand.place);
        let entry = self.branching(stand, &around);
        self.draft(whole).kind = Kind::Do { first: Some(entry.first) };
        Entry { first: whole, last: whole }
    }

    /// Extensions that extend nothing are checked all the same.
    pub(crate) fn check_extension(&mut self, extension: &'n Extension<'n>) {
        let (drafts, calls, called) = (self.drafts.len(), self.calls.len(), self.called.len());
        if let Some(when) = extension.when {
            self.condition(when);
        }
        for (list, key) in [(extension.before, "before"), (extension.after, "after")] {
            if let Some(list) = list {
                self.added(list, &format!("{}/{key}", extension.pointer), TaskId::ROOT);
            }
        }
        self.drafts.truncate(drafts);
        self.calls.truncate(calls);
        self.called.truncate(called);
    }

    /// A task with one way on.
    fn straight(&mut self, stand: Stand<'_, 'n>, around: &[&'n Extension<'n>]) -> TaskId {
        let whole = self.made(stand.name, stand.pointer, stand.place);
        let mut chain = Chain::default();
        self.before(whole, stand, around, &mut chain);
        let task = self.task(stand);
        self.drafts[index(task)].made = true;
        chain.add(self, task);
        self.draft(task).from_around = chain.first != Some(task);
        for extension in around {
            if let Some(after) = self.after(whole, stand.place, extension) {
                chain.add(self, after);
            }
        }
        self.drafts[index(whole)].made = false;
        let inner = self.draft(task);
        let (condition, then) =
            (inner.condition.take(), std::mem::replace(&mut inner.then, Then::Continue));
        let outer = self.draft(whole);
        (outer.condition, outer.then) = (condition, then);
        outer.kind = Kind::Do { first: chain.first };
        for fix in self.fixes.iter_mut().filter(|fix| fix.task == task) {
            fix.task = whole;
        }
        whole
    }

    /// A task with more than one way on: a `switch`, or a `try` whose `catch` has a `then`.
    fn branching(&mut self, stand: Stand<'_, 'n>, around: &[&'n Extension<'n>]) -> Entry {
        let Stand { name, place, pointer, .. } = stand;
        let whole = self.made(name, pointer, place);
        let mut chain = Chain::default();
        let condition = stand.node.get("if").map(|_| self.made(name, pointer, place));
        if let Some(condition) = condition {
            self.draft(condition).subject = Some(whole);
            chain.add(self, condition);
        }
        let added = self.before(whole, stand, around, &mut chain);
        let task = self.task(stand);
        self.drafts[index(task)].made = true;
        chain.add(self, task);
        self.draft(task).from_around = chain.first != Some(task);

        let ways: Vec<Then> =
            ways(&mut self.draft(task).kind).into_iter().map(|way| *way).collect();
        let afters = self.made(name, pointer, place);
        let mut after = Chain::default();
        for extension in around {
            if let Some(list) = self.after(whole, place, extension) {
                after.add(self, list);
            }
        }
        let ending = if after.first.is_some() { Then::Task(afters) } else { Then::Exit };
        let (input, output) = (self.own(".output", place), self.own("$task.input", place));
        let task_afters = self.draft(afters);
        (task_afters.input, task_afters.output) = (Some(input), Some(output));
        task_afters.then = Then::Exit;
        task_afters.kind = Kind::Do { first: after.first };

        // 0 is skipped, 1 and on are the ways, the last is the task's own `then`.
        let other = ways.len() + 1;
        let skipped = self.way(stand, 0, Then::Exit);
        let left = self.way(stand, other, Then::Exit);
        let taken: Vec<TaskId> = (1..=other).map(|way| self.way(stand, way, ending)).collect();
        for id in added {
            self.lead_exits(id, left);
        }
        if let Some(condition) = condition {
            let following = self.draft(condition).following;
            let when = self.draft(task).condition.take();
            let then = following.map_or(Then::Continue, Then::Task);
            let case = Case { name: Arc::from("if"), when, then };
            let guard = self.draft(condition);
            guard.kind = Kind::Switch { cases: vec![case] };
            guard.then = Then::Task(skipped);
        }
        let then = self.redirect(task, &taken);

        let behind = self.made(name, pointer, place);
        let mut cases = vec![Then::Continue];
        cases.extend(ways);
        let cases = cases.into_iter().enumerate().map(|(way, then)| Case {
            name: Arc::from(format!("{way}")),
            when: Some(self.own(&format!(".case == {way}"), place)),
            then,
        });
        let cases = cases.collect();
        let output = self.own(".output", place);
        let goes_on = self.draft(behind);
        goes_on.kind = Kind::Switch { cases };
        goes_on.output = Some(output);
        goes_on.then = then;
        for fix in self.fixes.iter_mut().filter(|fix| fix.task == task) {
            fix.task = behind;
            fix.slot = match fix.slot {
                Slot::Then => Slot::Then,
                Slot::Case(i) => Slot::Case(i + 1),
                Slot::Catch => Slot::Case(1),
            };
        }
        self.drafts[index(whole)].made = false;
        let outer = self.draft(whole);
        outer.kind = Kind::Do { first: chain.first };
        outer.following = Some(behind);
        Entry { first: whole, last: behind }
    }

    /// Has the ways of a task lead to these, the last of which is for its own `then`; gives that.
    fn redirect(&mut self, task: TaskId, taken: &[TaskId]) -> Then {
        let own = self.draft(task);
        for (way, to) in ways(&mut own.kind).into_iter().zip(taken) {
            *way = Then::Task(*to);
        }
        let to = taken.last().map_or(Then::Continue, |to| Then::Task(*to));
        std::mem::replace(&mut own.then, to)
    }

    /// What a list does that leaves the extended task out: it goes there instead of out of its own list.
    fn lead_exits(&mut self, id: TaskId, to: TaskId) {
        let lead = |then: &mut Then| {
            if *then == Then::Exit {
                *then = Then::Task(to);
            }
        };
        let own = self.draft(id);
        lead(&mut own.then);
        ways(&mut own.kind).into_iter().for_each(lead);
    }

    /// A task that notes which way was taken, beside the output.
    fn way(&mut self, stand: Stand<'_, 'n>, way: usize, then: Then) -> TaskId {
        let id = self.made(stand.name, stand.pointer, stand.place);
        let mut segments = vec![Segment::Text(format!("{{\"case\":{way},\"output\":"))];
        segments.extend(self.builder.jq(".", stand.place).map(Segment::Jq));
        segments.push(Segment::Text("}".into()));
        let value = self.builder.finish(segments);
        let task = self.draft(id);
        task.kind = Kind::Set { value };
        task.then = then;
        id
    }

    /// The tasks before an extended one, each list behind the question whether its extension applies. Each list begins
    /// with the input of the extended task. Gives the tasks that can leave the list.
    fn before(
        &mut self,
        whole: TaskId,
        stand: Stand<'_, 'n>,
        around: &[&'n Extension<'n>],
        chain: &mut Chain,
    ) -> Vec<TaskId> {
        let mut added = Vec::new();
        for extension in around {
            let Some(list) = extension.before.filter(|list| !is_empty(list)) else { continue };
            // The first list has the right input as it is.
            let asks = extension.when.is_some() || chain.first.is_some();
            let guard = asks.then(|| self.made(extension.name, &extension.pointer, stand.place));
            let when = extension.when.map(|when| self.condition(when));
            let ids = self.added(list, &format!("{}/before", extension.pointer), whole);
            let Some(first) = ids.first().copied() else { continue };
            if let Some(guard) = guard {
                chain.add(self, guard);
                chain.otherwise = when.map(|_| guard);
                let case = |when| Case {
                    name: Arc::from(extension.name),
                    when: Some(when),
                    then: Then::Task(first),
                };
                let task = self.draft(guard);
                task.subject = Some(whole);
                task.from_around = true;
                task.following = Some(first);
                task.kind = Kind::Switch { cases: when.map(case).into_iter().collect() };
            } else {
                chain.add(self, first);
            }
            chain.last = ids.last().copied();
            added.extend(ids);
        }
        added
    }

    /// A list that hands on what came in, when its extension applies.
    fn after(
        &mut self,
        whole: TaskId,
        place: Place,
        extension: &'n Extension<'n>,
    ) -> Option<TaskId> {
        let list = extension.after.filter(|list| !is_empty(list))?;
        let pointer = format!("{}/after", extension.pointer);
        let id = self.made(extension.name, &pointer, place);
        let condition = extension.when.map(|when| self.condition(when));
        let output = self.own("$input", place);
        let first = self.added(list, &pointer, whole).first().copied();
        let task = self.draft(id);
        task.subject = Some(whole);
        task.condition = condition;
        task.output = Some(output);
        task.kind = Kind::Do { first };
        Some(id)
    }

    /// The tasks of an extension: they are not extended, see no variables of loops, and speak of the extended task.
    fn added(&mut self, list: &'n Node, pointer: &str, whole: TaskId) -> Vec<TaskId> {
        let before = self.drafts.len();
        let extending = std::mem::replace(&mut self.extending, false);
        let variables = std::mem::take(&mut self.builder.variables);
        let ids = self.ids(list, pointer, false);
        self.builder.variables = variables;
        self.extending = extending;
        for draft in &mut self.drafts[before..] {
            draft.task.subject = Some(whole);
        }
        ids
    }

    fn condition(&mut self, when: &Node) -> Expression {
        let variables = std::mem::take(&mut self.builder.variables);
        let condition = self.builder.expression(when);
        self.builder.variables = variables;
        condition
    }

    /// An expression of ours.
    fn own(&mut self, source: &str, place: Place) -> Expression {
        let mut segments = vec![Segment::Text(String::new())];
        segments.extend(self.builder.jq(source, place).map(Segment::Jq));
        self.builder.finish(segments)
    }

    /// A task that the author did not write.
    pub(crate) fn made(&mut self, name: &str, pointer: &str, place: Place) -> TaskId {
        let id = TaskId(u32::try_from(self.drafts.len()).unwrap_or(u32::MAX));
        self.drafts.push(Draft { task: plain(Arc::from(name), pointer), place, made: true });
        id
    }

    fn draft(&mut self, id: TaskId) -> &mut baton_core::workflow::Task {
        &mut self.drafts[index(id)].task
    }
}

/// Tasks that follow each other.
#[derive(Default)]
struct Chain {
    first: Option<TaskId>,
    last: Option<TaskId>,
    /// A question whose answer no leads to whatever comes next.
    otherwise: Option<TaskId>,
}

impl Chain {
    fn add(&mut self, tasks: &mut Tasks<'_>, id: TaskId) {
        self.first.get_or_insert(id);
        if let Some(last) = self.last.replace(id) {
            tasks.draft(last).following = Some(id);
        }
        if let Some(question) = self.otherwise.take() {
            tasks.draft(question).then = Then::Task(id);
        }
    }
}

/// Where the cases of a `switch` or the `catch` of a `try` go.
fn ways(kind: &mut Kind) -> Vec<&mut Then> {
    match kind {
        Kind::Switch { cases } => cases.iter_mut().map(|case| &mut case.then).collect(),
        Kind::Try { catch, .. } => catch.then.iter_mut().collect(),
        // Nor has a task with errors, which was not compiled, any.
        Kind::Do { .. }
        | Kind::Step { .. }
        | Kind::Function { .. }
        | Kind::Set { .. }
        | Kind::For { .. }
        | Kind::Fork { .. }
        | Kind::Map { .. }
        | Kind::Raise { .. }
        | Kind::Wait { .. }
        | Kind::Tick { .. }
        | Kind::Emit { .. }
        | Kind::Listen(_)
        | Kind::Run { .. } => Vec::new(),
    }
}

/// Whether a task may go on in more than one way.
fn has_ways(node: &Node) -> bool {
    match kind_of(node) {
        Some("switch") => true,
        Some("try") => node.get("catch").is_some_and(|catch| catch.get("then").is_some()),
        Some(_) | None => false,
    }
}

fn is_empty(list: &Node) -> bool {
    matches!(&list.value, Value::Array(items) if items.is_empty())
}
