//! Deploys and lists workflows.

use std::path::PathBuf;

use baton_proto::v1::{
    DeployRequest, GetDefinitionRequest, ListDefinitionsRequest, ValidateRequest,
};
use serde_json::json;
use tonic::Request;

use crate::{
    args::{WorkflowFilter, WorkflowName},
    client::Client,
    error::{Error, Outcome},
    finding::{self, Finding},
    input,
    output::{Output, Tone},
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
                let check = async {
                    let request = Request::new(ValidateRequest { source: source.clone() });
                    let answer = client.definitions().validate(request).await?;
                    Ok(answer.into_inner().diagnostics)
                };
                let error = client.error(&status);
                refused = Some(finding::refused(file, &source, error, check, output.paint).await);
                break;
            }
        };
        let definition = response.definition.unwrap_or_default();
        let warnings: Vec<_> = response.warnings.iter().map(Finding::from).collect();
        if output.is_json() {
            deployed.push(json!({
                "file": input::name(file),
                "created": response.created,
                "definition": shape::definition(&definition),
                "warnings": warnings.iter().map(Finding::json).collect::<Vec<_>>(),
            }));
            continue;
        }
        let (word, tone) =
            if response.created { ("deployed", Tone::Good) } else { ("unchanged", Tone::Dim) };
        let which = format!("{}/{}:{}", definition.namespace, definition.name, definition.version);
        output.line(&format!("{} {which}", output.paint.apply(tone, &format!("{word:<9}"))))?;
        output.lines(&finding::lines(&input::name(file), &source, &warnings, output.paint))?;
    }
    if output.is_json() && (refused.is_none() || !deployed.is_empty()) {
        output.json(&json!({ "deployed": deployed }))?;
    }
    refused.map_or(Ok(Outcome::Well), Err)
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
