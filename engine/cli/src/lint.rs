//! Checks workflow files, without an engine unless one is to be asked, too.

use std::path::PathBuf;

use baton_proto::v1::ValidateRequest;
use serde_json::json;
use tonic::Request;

use crate::{
    args::{Folder, Format},
    client::Client,
    error::{Error, Outcome},
    finding::{self, Finding},
    input,
    output::{Output, Tone},
    sarif,
};

/// What is only a warning where no catalog is known.
const UNRESOLVED: &str = "unresolved-function";

struct Checked {
    file: PathBuf,
    source: String,
    findings: Vec<Finding>,
}

impl Checked {
    fn is_valid(&self) -> bool {
        !self.findings.iter().any(Finding::is_error)
    }
}

pub(crate) async fn lint(
    files: &[PathBuf],
    engine: Option<&Client>,
    production: bool,
    catalog: &Folder,
    output: &Output,
) -> Result<Outcome, Error> {
    let mut checked = Vec::new();
    for file in files {
        let source = input::read(file)?;
        let found = if catalog.functions.is_some() {
            baton_dsl::lint_with(&source, &catalog.gather(&source)?)
        } else {
            baton_dsl::lint(&source)
        };
        let mut findings: Vec<Finding> = found.into_iter().map(Finding::from).collect();
        if production {
            let more = baton_dsl::lint_for_production(&source);
            add(&mut findings, more.into_iter().map(Finding::from).collect());
        }
        if let Some(engine) = engine {
            // The engine knows its catalog, and says itself what is not there.
            findings.retain(|found| found.is_error() || found.code != UNRESOLVED);
            add(&mut findings, ask(engine, source.clone()).await?);
        }
        let one = Checked { file: file.clone(), source, findings };
        if output.format == Format::Text {
            tell(&one, output)?;
        }
        checked.push(one);
    }
    let valid = checked.iter().all(Checked::is_valid);
    match output.format {
        Format::Text | Format::Junit => {}
        Format::Json => {
            let files = checked.iter().map(|one| {
                json!({
                    "file": input::name(&one.file),
                    "valid": one.is_valid(),
                    "diagnostics": one.findings.iter().map(Finding::json).collect::<Vec<_>>(),
                })
            });
            output.json(&json!({ "valid": valid, "files": files.collect::<Vec<_>>() }))?;
        }
        Format::Sarif => {
            let looked = checked.iter().map(|one| sarif::Looked {
                file: one.file.to_str().filter(|name| *name != "-"),
                findings: &one.findings,
            });
            output.json(&sarif::log(&looked.collect::<Vec<_>>()))?;
        }
    }
    Ok(if valid { Outcome::Well } else { Outcome::Problems })
}

fn tell(checked: &Checked, output: &Output) -> Result<(), Error> {
    let name = input::name(&checked.file);
    if checked.findings.is_empty() {
        output.line(&format!("{name} {}", output.paint.apply(Tone::Good, "is well")))?;
    } else {
        let lines = finding::lines(&name, &checked.source, &checked.findings, output.paint);
        output.lines(&lines)?;
    }
    Ok(())
}

async fn ask(engine: &Client, source: String) -> Result<Vec<Finding>, Error> {
    let answer = engine.definitions().validate(Request::new(ValidateRequest { source })).await;
    let answer = answer.map_err(|status| engine.error(&status))?.into_inner();
    Ok(answer.diagnostics.iter().map(Finding::from).collect())
}

/// What the engine alone has found; most of it both have.
fn add(findings: &mut Vec<Finding>, more: Vec<Finding>) {
    for found in more {
        let is_same = |known: &Finding| {
            (known.line, known.column, &known.code) == (found.line, found.column, &found.code)
        };
        if !findings.iter().any(is_same) {
            findings.push(found);
        }
    }
    findings.sort_by_key(|finding| (finding.line, finding.column));
}
