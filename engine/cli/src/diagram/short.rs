//! The outermost tasks and how they follow each other, on one glance.

use std::fmt::Write as _;

use baton_core::{TaskId, Workflow};

use super::label::label;

/// More than a person takes in at once.
const NODES_MAX: usize = 7;

pub(super) fn draw(workflow: &Workflow) -> String {
    let tasks: Vec<_> = workflow.outermost_tasks().collect();
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
        for (case, to) in task.successors() {
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
