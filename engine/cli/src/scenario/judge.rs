//! Holds what came of a scenario against what must.

use std::{sync::Arc, time};

use baton_core::{Duration, Error, Json, TaskId, Workflow, workflow::Filter};
use baton_dsl::Place;

use super::{
    difference::{self, Extent},
    file::{Scenario, Stop},
    limits,
    report::iso,
    run::Ran,
};

pub(super) struct Verdict {
    pub(super) name: String,
    pub(super) place: Place,
    pub(super) status: &'static str,
    /// By the scenario's clock.
    pub(super) took: Duration,
    /// By ours.
    pub(super) elapsed: time::Duration,
    pub(super) steps: usize,
    /// Empty: it holds.
    pub(super) failures: Vec<String>,
}

impl Verdict {
    pub(super) fn holds(&self) -> bool {
        self.failures.is_empty()
    }
}

pub(super) fn judge(
    scenario: &Scenario,
    workflow: &Workflow,
    ran: &Ran,
    elapsed: time::Duration,
) -> Verdict {
    let mut failures = ran.complaints.clone();
    // What could not go on is as nobody expects it: that would say the same again.
    if !ran.stuck {
        let expected = &scenario.expected;
        failures.extend(status(scenario, ran));
        if let Some(wanted) = &expected.output {
            failures.extend(output(wanted, ran));
        }
        if let Some(wanted) = &expected.error {
            failures.extend(error(wanted, ran.error.as_ref()));
        }
        if let Some(wanted) = &expected.path {
            failures.extend(path(wanted, workflow, &ran.path));
        }
        failures.extend(calls(scenario, ran));
        if let Some(wanted) = &expected.emitted {
            failures.extend(emitted(wanted, &ran.emitted));
        }
        if let Some(wanted) = expected.took.filter(|wanted| *wanted != ran.took) {
            failures.push(format!("took: wanted {}, got {}", iso(wanted), iso(ran.took)));
        }
    }
    Verdict {
        name: scenario.name.clone(),
        place: scenario.place,
        status: ran.status.word(),
        took: ran.took,
        elapsed,
        steps: ran.calls.len(),
        failures,
    }
}

fn status(scenario: &Scenario, ran: &Ran) -> Option<String> {
    let wanted = scenario.expected.status;
    if wanted == ran.status {
        return None;
    }
    let why = ran.error.as_ref().map(|error| format!(" by {}", told(error))).unwrap_or_default();
    Some(format!("status: wanted {}, got {}{why}", wanted.word(), ran.status.word()))
}

fn told(error: &Error) -> String {
    let place = error.instance.as_deref().map(|at| format!(" at {at}")).unwrap_or_default();
    let parts = [&error.title, &error.detail].into_iter().flatten();
    let words: Vec<_> = parts.map(|part| &**part).collect();
    format!("{} {}{place}: {}", error.kind, error.status, words.join(": "))
}

fn output(wanted: &Json, ran: &Ran) -> Vec<String> {
    match &ran.output {
        Some(found) => {
            let apart = difference::between(wanted, found, Extent::Whole);
            apart.into_iter().map(|apart| format!("output{apart}")).collect()
        }
        // The status tells it, unless that is what was wanted.
        None => vec!["output: there is none, for the instance did not complete".into()],
    }
}

fn error(wanted: &Filter, found: Option<&Error>) -> Vec<String> {
    let Some(found) = found else {
        return vec!["error: there is none".into()];
    };
    if wanted.matches(found) {
        return Vec::new();
    }
    let text = |text: &Option<Arc<str>>| text.as_deref().map(ToOwned::to_owned);
    let fields = [
        ("type", text(&wanted.kind), Some((*found.kind).to_owned())),
        ("status", wanted.status.map(|s| s.to_string()), Some(found.status.to_string())),
        ("title", text(&wanted.title), text(&found.title)),
        ("detail", text(&wanted.detail), text(&found.detail)),
        ("instance", text(&wanted.instance), text(&found.instance)),
    ];
    let apart = fields.into_iter().filter_map(|(key, wanted, found)| {
        let wanted = wanted.filter(|wanted| found.as_ref() != Some(wanted))?;
        let found = found.unwrap_or_else(|| "nothing".into());
        Some(format!("error at /{key}: wanted {wanted}, got {found}"))
    });
    apart.collect()
}

/// Events must hold what is written of them; ids and times are the engine's.
fn emitted(wanted: &[Json], found: &[Json]) -> Vec<String> {
    let mut failures = Vec::new();
    if wanted.len() != found.len() {
        failures.push(format!("emitted: wanted {} events, got {}", wanted.len(), found.len()));
    }
    for (place, (wanted, found)) in wanted.iter().zip(found).enumerate() {
        let apart = difference::between(wanted, found, Extent::Part);
        failures.extend(apart.into_iter().map(|apart| format!("event {}{apart}", place + 1)));
    }
    failures
}

fn path(wanted: &[Stop], workflow: &Workflow, found: &[TaskId]) -> Vec<String> {
    let fits = |place: usize| match (wanted.get(place), found.get(place)) {
        (Some(wanted), Some(found)) => wanted.is(workflow, *found),
        (None, None) => true,
        (Some(_), None) | (None, Some(_)) => false,
    };
    let Some(place) = (0..wanted.len().max(found.len())).find(|place| !fits(*place)) else {
        return Vec::new();
    };
    let name =
        |id: &TaskId| workflow.task(*id).map_or_else(String::new, |task| task.name.to_string());
    let got = found.get(place).map_or_else(
        || "the end".to_owned(),
        |id| {
            let pointer = workflow.task(*id).map_or("", |task| &*task.pointer);
            format!("`{}` ({pointer})", name(id))
        },
    );
    let wanted =
        wanted.get(place).map_or_else(|| "the end".to_owned(), |stop| format!("`{}`", stop.word));
    let more = if found.len() > limits::PATH_TOLD_MAX { ", …" } else { "" };
    let went: Vec<_> = found.iter().take(limits::PATH_TOLD_MAX).map(name).collect();
    vec![
        format!("path at {place}: wanted {wanted}, got {got}"),
        format!("path: it went {}{more}", went.join(", ")),
    ]
}

fn calls(scenario: &Scenario, ran: &Ran) -> Vec<String> {
    let mut failures = Vec::new();
    for (function, wanted) in &scenario.expected.calls {
        let found: Vec<_> = ran
            .calls
            .iter()
            .filter(|(called, _)| called == function)
            .map(|(_, with)| with)
            .collect();
        if wanted.len() != found.len() {
            let (wanted, found) = (wanted.len(), found.len());
            failures.push(format!("calls of {function}: wanted {wanted}, got {found}"));
        }
        for (place, (wanted, found)) in wanted.iter().zip(found).enumerate() {
            let apart = difference::between(wanted, found, Extent::Whole);
            failures.extend(
                apart.into_iter().map(|apart| format!("call {} of {function}{apart}", place + 1)),
            );
        }
    }
    failures
}
