//! Draws a workflow as Mermaid text.

mod label;
mod short;
mod whole;

use std::path::Path;

use serde_json::json;

use crate::{
    args::Folder,
    error::{Error, Outcome},
    finding::{self, Finding},
    input,
    output::Output,
};

pub(crate) fn diagram(
    file: &Path,
    short: bool,
    catalog: &Folder,
    output: &Output,
) -> Result<Outcome, Error> {
    let source = input::read(file)?;
    let functions = catalog.gather(&source)?;
    let compiled = baton_dsl::compile_with(&source, &functions).map_err(|findings| {
        let findings: Vec<_> = findings.into_iter().map(Finding::from).collect();
        let file = input::name(file);
        let lines = finding::lines(&file, &source, &findings, output.paint);
        let diagnostics = findings.iter().map(Finding::json).collect();
        Error::InvalidWorkflow { file, diagnostics, lines }
    })?;
    let text = if short {
        short::draw(&compiled.workflow)
    } else {
        whole::draw(&compiled.workflow, compiled.program.definition())
    };
    if output.is_json() {
        output.json(&json!({ "mermaid": text }))?;
    } else {
        output.line(text.trim_end())?;
    }
    Ok(Outcome::Well)
}
