//! Calls of a department's function that probably mean one of the document's own.

use std::collections::BTreeSet;

use baton_core::workflow::Kind;

use crate::{builder::nearest, limits, tasks::Tasks};

pub(crate) fn check(tasks: &mut Tasks<'_>) {
    let own = &tasks.reusable.functions;
    let mut seen = BTreeSet::new();
    let mut findings = Vec::new();
    for draft in &tasks.drafts[..tasks.own] {
        // Whoever names another department means it.
        if let Kind::Step { function, .. } = &draft.task.kind
            && *function.department == *tasks.namespace
            && (seen.len() + 1) * own.len() <= limits::GUESSES_MAX
            && seen.insert(function)
            && let Some(hint) = nearest(&function.name, own.keys().copied())
        {
            let message = format!("this calls a worker's function, `{function}`");
            findings.push((draft.place, message, hint));
        }
    }
    for (place, message, hint) in findings {
        tasks.builder.sink.warn("misspelt-function", place, message, hint);
    }
}
