//! Documents of the Open Workflow DSL: read, checked, and compiled to what the core runs.
//!
//! [`compile`] gives a workflow and the evaluator of its expressions, or findings with line and column. [`lint`] gives
//! the findings alone, warnings among them. What this profile of the language leaves out is refused by name. [`read`]
//! gives the tree of any YAML or JSON text, under the same bounds and with the place of every key and value.

mod arguments;
mod authentication;
mod builder;
mod calls;
mod diagnostic;
mod document;
mod duration;
mod events;
mod extensions;
mod facts;
mod flow;
mod forms;
mod functions;
mod jq;
mod json;
mod kinds;
mod library;
mod limits;
mod lists;
mod literals;
mod map;
mod mask;
mod matcher;
mod measure;
mod meter;
mod misspelt;
mod once;
mod pieces;
mod production;
mod program;
mod refine;
mod retry;
mod run;
mod schedule;
mod schema;
mod secrets;
mod tasks;
mod tree;
mod uri;
mod view;

use std::{sync::Arc, thread};

use baton_core::{Duration, Timestamp, Workflow};

pub use arguments::{Offer, check_arguments};
pub use diagnostic::{Diagnostic, Place, Severity};
pub use facts::DECLARED_FACTS;
pub use functions::{BadName, FunctionName, Functions, hash, mentions};
pub use json::check_json;
pub use limits::FUNCTIONS_MAX;
pub use program::{Program, Turn};
pub use schedule::Trigger;
pub use secrets::SecretsKey;
pub use tree::{Member, Node, Value};

use diagnostic::Sink;
use document::Outcome;

/// A document that may be deployed.
#[derive(Debug)]
pub struct Compiled {
    pub workflow: Arc<Workflow>,
    /// Evaluates the workflow's expressions.
    pub program: Program,
    /// `document.title`; empty when the author gave none.
    pub title: String,
    /// `document.metadata.risk`; `unknown` when the author gave none.
    pub risk: String,
    /// The functions of the catalog that it is made of, too: keep them, and compile it with them again.
    pub functions: Functions,
    pub warnings: Vec<Diagnostic>,
    /// The workflow behind its `schedule`, which runs it.
    pub trigger: Option<Trigger>,
}

/// Compiles YAML or JSON text that calls no function of a catalog.
///
/// # Errors
/// All findings, in the order of their places, when any of them is an error.
pub fn compile(source: &str) -> Result<Compiled, Vec<Diagnostic>> {
    compile_with(source, &Functions::new())
}

/// Compiles YAML or JSON text, with the functions of the catalog that it may call. What is wrong with a function in this
/// document is found at the call that leads to it.
///
/// # Errors
/// All findings, in the order of their places, when any of them is an error.
pub fn compile_with(source: &str, functions: &Functions) -> Result<Compiled, Vec<Diagnostic>> {
    let (findings, compiled) =
        work(|| finish(document::compile(source, functions, Severity::Error)));
    match compiled {
        Some(compiled) if findings.iter().all(|finding| finding.severity == Severity::Warning) => {
            Ok(Compiled { warnings: findings, ..compiled })
        }
        _ => Err(findings),
    }
}

/// All findings, errors and warnings, in the order of their places. That nothing is known of the catalog's functions is a
/// warning.
pub fn lint(source: &str) -> Vec<Diagnostic> {
    work(|| finish(document::compile(source, &Functions::new(), Severity::Warning))).0
}

/// All findings, errors and warnings, in the order of their places.
pub fn lint_with(source: &str, functions: &Functions) -> Vec<Diagnostic> {
    work(|| finish(document::compile(source, functions, Severity::Error))).0
}

/// What a workflow must say, besides, before it runs in production. Of what is no document it says nothing.
pub fn lint_for_production(source: &str) -> Vec<Diagnostic> {
    work(|| {
        let mut sink = Sink::default();
        let Some(tree) = tree::parse(source, &mut sink) else { return (Vec::new(), None) };
        let mut sink = Sink::default();
        production::check(&tree, &mut sink);
        (located(sink, Some(&tree)), None)
    })
    .0
}

/// Checks the text of a function: one task, which may call the functions given.
///
/// # Errors
/// All findings, in the order of their places, when any of them is an error; else gives the warnings.
pub fn check_function(
    source: &str,
    functions: &Functions,
) -> Result<Vec<Diagnostic>, Vec<Diagnostic>> {
    let (findings, _) = work(|| finish(document::function(source, functions)));
    if findings.iter().any(|finding| finding.severity == Severity::Error) {
        return Err(findings);
    }
    Ok(findings)
}

/// Reads YAML or JSON text that need not be a workflow.
///
/// # Errors
/// What is wrong with it, in the order of the places.
pub fn read(source: &str) -> Result<Node, Vec<Diagnostic>> {
    let mut sink = Sink::default();
    match tree::parse(source, &mut sink) {
        Some(tree) if sink.found.is_empty() => Ok(tree),
        tree => Err(located(sink, tree.as_ref())),
    }
}

/// A time as RFC 3339 writes it, in UTC.
pub fn iso8601(at: Timestamp) -> String {
    let mut out = String::new();
    view::write_iso8601(at, &mut out);
    out
}

/// A duration as the language writes it: `PT5M` or `{ minutes: 5 }`.
///
/// # Errors
/// Says what was wanted.
pub fn duration(node: &Node) -> Result<Duration, String> {
    let found = node.as_str().map_or_else(|| duration::from_node(node), duration::parse);
    found.map_err(|error| error.to_string())
}

/// An ISO 8601 duration.
///
/// # Errors
/// Says what was wanted.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    duration::parse(text).map_err(|error| error.to_string())
}

/// Parsers recurse on what the author wrote, so they get a stack that is deep enough for the worst of it.
fn work(
    compile: impl FnOnce() -> (Vec<Diagnostic>, Option<Compiled>) + Send,
) -> (Vec<Diagnostic>, Option<Compiled>) {
    thread::scope(|scope| {
        let worker = thread::Builder::new()
            .name("compile".into())
            .stack_size(limits::COMPILE_STACK_BYTES)
            .spawn_scoped(scope, compile);
        match worker.map(thread::ScopedJoinHandle::join) {
            Ok(Ok(result)) => result,
            Ok(Err(_)) | Err(_) => (vec![failure()], None),
        }
    })
}

fn finish(outcome: Outcome) -> (Vec<Diagnostic>, Option<Compiled>) {
    let Outcome { tree, sink, compiled } = outcome;
    (located(sink, tree.as_ref()), compiled)
}

/// In the order of their places, with the pointers that belong to these.
fn located(mut sink: Sink, tree: Option<&Node>) -> Vec<Diagnostic> {
    sink.found.sort_by_key(|(place, _)| *place);
    let with_pointer = sink.found.into_iter().map(|(place, mut finding)| {
        finding.pointer = tree.and_then(|tree| tree.pointer_at(place)).unwrap_or_default();
        finding
    });
    with_pointer.collect()
}

fn failure() -> Diagnostic {
    Diagnostic {
        severity: Severity::Error,
        code: "internal",
        message: "the document cannot be compiled on this machine now".into(),
        line: 1,
        column: 1,
        pointer: String::new(),
        hint: "try again; if it stays, report the document".into(),
    }
}
