//! Documents of the Open Workflow DSL: read, checked, and compiled to what the core runs.
//!
//! [`compile`] gives a workflow and the evaluator of its expressions, or findings with line and column. [`lint`] gives
//! the findings alone, warnings among them. What this profile of the language leaves out is refused by name.

mod authentication;
mod builder;
mod calls;
mod diagnostic;
mod document;
mod duration;
mod events;
mod extensions;
mod flow;
mod forms;
mod jq;
mod json;
mod kinds;
mod library;
mod limits;
mod lists;
mod matcher;
mod measure;
mod meter;
mod program;
mod refine;
mod retry;
mod run;
mod schema;
mod secrets;
mod tasks;
mod tree;
mod uri;
mod view;

use std::{sync::Arc, thread};

use baton_core::Workflow;

pub use diagnostic::{Diagnostic, Severity};
pub use json::check_json;
pub use program::Program;
pub use secrets::SecretsKey;

use document::Outcome;

/// A document that may be deployed.
#[derive(Debug)]
pub struct Compiled {
    pub workflow: Arc<Workflow>,
    /// Evaluates the workflow's expressions.
    pub program: Program,
    /// `document.title`; empty when the author gave none.
    pub title: String,
    pub warnings: Vec<Diagnostic>,
}

/// Compiles YAML or JSON text.
///
/// # Errors
/// All findings, in the order of their places, when any of them is an error.
pub fn compile(source: &str) -> Result<Compiled, Vec<Diagnostic>> {
    let (findings, compiled) = work(source);
    match compiled {
        Some(compiled) if findings.iter().all(|finding| finding.severity == Severity::Warning) => {
            Ok(Compiled { warnings: findings, ..compiled })
        }
        _ => Err(findings),
    }
}

/// All findings, errors and warnings, in the order of their places.
pub fn lint(source: &str) -> Vec<Diagnostic> {
    work(source).0
}

/// Parsers recurse on what the author wrote, so they get a stack that is deep enough for the worst of it.
fn work(source: &str) -> (Vec<Diagnostic>, Option<Compiled>) {
    thread::scope(|scope| {
        let worker = thread::Builder::new()
            .name("compile".into())
            .stack_size(limits::COMPILE_STACK_BYTES)
            .spawn_scoped(scope, || finish(document::compile(source)));
        match worker.map(thread::ScopedJoinHandle::join) {
            Ok(Ok(result)) => result,
            Ok(Err(_)) | Err(_) => (vec![failure()], None),
        }
    })
}

fn finish(outcome: Outcome) -> (Vec<Diagnostic>, Option<Compiled>) {
    let Outcome { tree, mut sink, compiled } = outcome;
    sink.found.sort_by_key(|(place, _)| *place);
    let with_pointer = sink.found.into_iter().map(|(place, mut finding)| {
        finding.pointer = tree.as_ref().and_then(|tree| tree.pointer_at(place)).unwrap_or_default();
        finding
    });
    (with_pointer.collect(), compiled)
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
