//! The outermost tasks and how they follow each other, on one glance.

use std::fmt::Write as _;

use baton_core::{
    TaskId, Workflow,
    workflow::{Kind, Task, Then},
};

use super::label::label;

/// More than a person takes in at once.
const NODES_MAX: usize = 7;

pub(super) fn draw(workflow: &Workflow) -> String {
    let tasks = outermost(workflow);
    let hidden = if tasks.len() > NODES_MAX { tasks.len() - (NODES_MAX - 1) } else { 0 };
    // The beginning and the end are what a workflow is known by.
    let shown = NODES_MAX - 2;
    let is_hidden = |place: usize| hidden > 0 && (shown..shown + hidden).contains(&place);
    let name = |id: TaskId| match tasks.iter().position(|(known, _)| *known == id) {
        Some(place) if is_hidden(place) => "more".to_owned(),
        _ => format!("t{}", id.0),
    };
    let mut out = String::from("flowchart TD\n");
    let mut edges = Vec::new();
    for (place, (id, task)) in tasks.iter().enumerate() {
        if !is_hidden(place) {
            line(&mut out, &format!("{}[{}]", name(*id), label(&[&task.name])));
        } else if place == shown {
            line(&mut out, &format!("more[{}]", label(&[&format!("… {hidden} more")])));
        }
        for (case, to) in successors(task) {
            let (from, to) = (name(*id), name(to));
            let edge = match case {
                Some(case) if from != "more" => format!("{from} -->|{}| {to}", label(&[case])),
                _ => format!("{from} --> {to}"),
            };
            let is_inside = from == to && from == "more";
            if !is_inside && !edges.contains(&edge) {
                edges.push(edge);
            }
        }
    }
    if tasks.is_empty() {
        line(&mut out, &format!("none[{}]", label(&["no tasks"])));
    }
    for edge in &edges {
        line(&mut out, edge);
    }
    out
}

fn line(out: &mut String, text: &str) {
    // Writing to a string cannot fail.
    let _infallible = writeln!(out, "    {text}");
}

fn outermost(workflow: &Workflow) -> Vec<(TaskId, &Task)> {
    let root = workflow.tasks.first().map(|root| &root.kind);
    let mut at = if let Some(Kind::Do { first }) = root { *first } else { None };
    let mut tasks = Vec::new();
    while let Some(id) = at
        && let Some(task) = workflow.task(id)
    {
        tasks.push((id, task));
        at = task.following;
    }
    tasks
}

/// Where a task may lead within its list, with the case that does.
fn successors(task: &Task) -> Vec<(Option<&str>, TaskId)> {
    let target = |then: Then| match then {
        Then::Continue => task.following,
        Then::Task(id) => Some(id),
        Then::Exit | Then::End => None,
    };
    let mut found = Vec::new();
    let mut add = |case, to: Option<TaskId>| found.extend(to.map(|to| (case, to)));
    match &task.kind {
        Kind::Switch { cases } => {
            for case in cases {
                add(Some(&*case.name), target(case.then));
            }
            if cases.iter().all(|case| case.when.is_some()) {
                add(None, target(task.then));
            }
        }
        Kind::Raise { .. } => {}
        Kind::Try { catch, .. } => {
            add(None, target(task.then));
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
        | Kind::Run { .. } => add(None, target(task.then)),
    }
    if task.condition.is_some() {
        add(None, task.following);
    }
    found
}
