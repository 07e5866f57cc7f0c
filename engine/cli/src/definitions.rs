//! Deploys, checks and lists workflows.

use std::path::{Path, PathBuf};

use baton_proto::v1::{
    DeployRequest, Diagnostic, GetDefinitionRequest, ListDefinitionsRequest, ValidateRequest,
    diagnostic::Severity,
};
use serde_json::json;
use tonic::Request;

use crate::{
    args::{WorkflowFilter, WorkflowName},
    client::{self, Client},
    error::{Error, Outcome},
    input,
    output::{Output, Paint, Tone},
    shape, times,
};

/// Stops at the first workflow that the engine refuses; those before it are deployed.
pub(crate) async fn deploy(
    client: &Client,
    files: &[PathBuf],
    output: &Output,
) -> Result<Outcome, Error> {
    let mut deployed = Vec::new();
    let mut refused = None;
    for file in files {
        let source = input::read(file)?;
        let request = Request::new(DeployRequest { source: source.clone() });
        let response = match client.definitions().deploy(request).await {
            Ok(response) => response.into_inner(),
            Err(status) => {
                refused =
                    Some(explain(client, file, source, client.error(&status), output.paint).await);
                break;
            }
        };
        let definition = response.definition.unwrap_or_default();
        if output.is_json() {
            deployed.push(json!({
                "file": name(file),
                "created": response.created,
                "definition": shape::definition(&definition),
                "warnings": response.warnings.iter().map(shape::diagnostic).collect::<Vec<_>>(),
            }));
            continue;
        }
        let (word, tone) =
            if response.created { ("deployed", Tone::Good) } else { ("unchanged", Tone::Dim) };
        let which = format!("{}/{}:{}", definition.namespace, definition.name, definition.version);
        output.line(&format!("{} {which}", output.paint.apply(tone, &format!("{word:<9}"))))?;
        output.lines(&lines(file, &response.warnings, output.paint))?;
    }
    if output.is_json() && (refused.is_none() || !deployed.is_empty()) {
        output.json(&json!({ "deployed": deployed }))?;
    }
    refused.map_or(Ok(Outcome::Well), Err)
}

pub(crate) async fn lint(
    client: &Client,
    files: &[PathBuf],
    output: &Output,
) -> Result<Outcome, Error> {
    let mut shapes = Vec::new();
    let mut outcome = Outcome::Well;
    for file in files {
        let request = Request::new(ValidateRequest { source: input::read(file)? });
        let response = client
            .definitions()
            .validate(request)
            .await
            .map_err(|status| client.error(&status))?
            .into_inner();
        if !response.valid {
            outcome = Outcome::Problems;
        }
        if output.is_json() {
            shapes.push(json!({
                "file": name(file),
                "valid": response.valid,
                "diagnostics": response.diagnostics.iter().map(shape::diagnostic).collect::<Vec<_>>(),
            }));
        } else if response.diagnostics.is_empty() {
            let word =
                if response.valid { ("is well", Tone::Good) } else { ("is not valid", Tone::Bad) };
            output.line(&format!("{} {}", name(file), output.paint.apply(word.1, word.0)))?;
        } else {
            output.lines(&lines(file, &response.diagnostics, output.paint))?;
        }
    }
    if output.is_json() {
        output.json(&json!({ "valid": outcome == Outcome::Well, "files": shapes }))?;
    }
    Ok(outcome)
}

/// All, those of a namespace, or the source of one.
pub(crate) async fn show(
    client: &Client,
    which: Option<WorkflowFilter>,
    output: &Output,
) -> Result<Outcome, Error> {
    match which {
        None => list(client, String::new(), output).await,
        Some(WorkflowFilter::Namespace(namespace)) => list(client, namespace, output).await,
        Some(WorkflowFilter::Workflow(workflow)) => source(client, workflow, output).await,
    }
}

async fn list(client: &Client, namespace: String, output: &Output) -> Result<Outcome, Error> {
    let request = Request::new(ListDefinitionsRequest { namespace });
    let response = client
        .definitions()
        .list_definitions(request)
        .await
        .map_err(|status| client.error(&status))?;
    let definitions = response.into_inner().definitions;
    if output.is_json() {
        let shapes: Vec<_> = definitions.iter().map(shape::definition).collect();
        output.json(&json!({ "definitions": shapes }))?;
    } else if definitions.is_empty() {
        output.line("no workflow is deployed; `baton deploy FILE` deploys one")?;
    } else {
        let now = times::now_ms();
        let rows = definitions.iter().map(|definition| {
            vec![
                (
                    format!("{}/{}:{}", definition.namespace, definition.name, definition.version),
                    Tone::Bold,
                ),
                (definition.title.clone(), Tone::Plain),
                (
                    definition
                        .deployed_at
                        .as_ref()
                        .map_or(String::new(), |at| times::ago(times::ms(at), now)),
                    Tone::Dim,
                ),
                (definition.hash.chars().take(12).collect(), Tone::Dim),
            ]
        });
        output.table(&["WORKFLOW", "TITLE", "DEPLOYED", "HASH"], rows.collect())?;
    }
    Ok(Outcome::Well)
}

async fn source(
    client: &Client,
    workflow: WorkflowName,
    output: &Output,
) -> Result<Outcome, Error> {
    let WorkflowName { namespace, name, version } = workflow;
    let request = Request::new(GetDefinitionRequest { namespace, name, version });
    let response = client
        .definitions()
        .get_definition(request)
        .await
        .map_err(|status| client.error(&status))?;
    let definition = response.into_inner();
    if output.is_json() {
        output.json(&shape::definition(&definition))?;
    } else {
        output.line(definition.source.trim_end())?;
    }
    Ok(Outcome::Well)
}

/// The engine refuses an invalid workflow with one code; where it is wrong, it says when asked to check it.
async fn explain(
    client: &Client,
    file: &Path,
    source: String,
    error: client::Error,
    paint: Paint,
) -> Error {
    let client::Error::Refused { code, message } = error else { return error.into() };
    let mut diagnostics = Vec::new();
    if let Ok(response) =
        client.definitions().validate(Request::new(ValidateRequest { source })).await
    {
        diagnostics = response.into_inner().diagnostics;
        diagnostics.retain(|diagnostic| diagnostic.severity() == Severity::Error);
    }
    let lines = lines(file, &diagnostics, paint);
    let diagnostics = diagnostics.iter().map(shape::diagnostic).collect();
    Error::RefusedWorkflow { file: name(file), code, message, diagnostics, lines }
}

/// `FILE:LINE:COLUMN: severity code: message`, as editors and people know it, with the hint below.
fn lines(file: &Path, diagnostics: &[Diagnostic], paint: Paint) -> Vec<String> {
    let mut lines = Vec::new();
    for diagnostic in diagnostics {
        let severity = shape::severity(diagnostic);
        let tone = if severity == "warning" { Tone::Warn } else { Tone::Bad };
        let place = if diagnostic.line == 0 {
            name(file)
        } else {
            format!("{}:{}:{}", name(file), diagnostic.line, diagnostic.column)
        };
        let label = paint.apply(tone, &format!("{severity} {}", diagnostic.code));
        lines.push(format!("{place}: {label}: {}", diagnostic.message));
        if !diagnostic.hint.is_empty() {
            lines.push(paint.apply(Tone::Dim, &format!("    hint: {}", diagnostic.hint)));
        }
    }
    lines
}

fn name(file: &Path) -> String {
    if file == Path::new("-") { "<stdin>".into() } else { file.display().to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_diagnostic_is_a_line_that_editors_understand() {
        let at = |line, column| Diagnostic {
            severity: Severity::Error.into(),
            code: "unknown-key".into(),
            message: "`retires` is not a key of a call".into(),
            line,
            column,
            hint: "did you mean `retries`?".into(),
            ..Diagnostic::default()
        };
        let plain = Paint { color: false };
        assert_eq!(
            lines(Path::new("a.yaml"), &[at(3, 5)], plain),
            [
                "a.yaml:3:5: error unknown-key: `retires` is not a key of a call",
                "    hint: did you mean `retries`?"
            ]
        );
        assert!(lines(Path::new("a.yaml"), &[at(0, 0)], plain)[0].starts_with("a.yaml: error"));
    }
}
