//! `DefinitionService`.

use std::sync::Arc;

use baton_dsl::{Compiled, Diagnostic, Offer, Severity, check_arguments};
use baton_proto::v1::{self, definition_service_server::DefinitionService};
use tonic::{Request, Response, Status};

use super::Api;
use crate::{
    clock,
    definitions::{self, Definition},
    error::Refusal,
    limits, schedules,
    view::timestamp,
    wire::hex,
};

fn show(definition: &Definition, with_source: bool) -> v1::Definition {
    let name = definition.name();
    v1::Definition {
        namespace: name.namespace.to_string(),
        name: name.name.to_string(),
        version: name.version.to_string(),
        hash: hex(&definition.workflow.hash.0),
        source: if with_source { definition.source.clone() } else { String::new() },
        title: definition.title.clone(),
        deployed_at: Some(timestamp(definition.deployed_at)),
    }
}

fn diagnostic(diagnostic: &Diagnostic) -> v1::Diagnostic {
    let severity = match diagnostic.severity {
        Severity::Error => v1::diagnostic::Severity::Error,
        Severity::Warning => v1::diagnostic::Severity::Warning,
    };
    v1::Diagnostic {
        severity: severity.into(),
        code: diagnostic.code.to_string(),
        message: diagnostic.message.clone(),
        line: diagnostic.line,
        column: diagnostic.column,
        pointer: diagnostic.pointer.clone(),
        hint: diagnostic.hint.clone(),
    }
}

/// The first problems, each on a line: `LINE:COLUMN code: message`.
fn told(diagnostics: &[Diagnostic]) -> String {
    let errors = diagnostics.iter().filter(|d| matches!(d.severity, Severity::Error));
    let lines =
        errors.take(20).map(|d| format!("{}:{} {}: {}", d.line, d.column, d.code, d.message));
    lines.collect::<Vec<_>>().join("\n")
}

fn checked_size(source: &str) -> Result<(), Refusal> {
    if source.len() > limits::SOURCE_BYTES_MAX {
        return Err(Refusal::TooLarge(format!(
            "a workflow has at most {} bytes",
            limits::SOURCE_BYTES_MAX
        )));
    }
    Ok(())
}

#[tonic::async_trait]
impl DefinitionService for Api {
    async fn deploy(
        &self,
        request: Request<v1::DeployRequest>,
    ) -> Result<Response<v1::DeployResponse>, Status> {
        let source = request.into_inner().source;
        checked_size(&source).map_err(|refusal| self.refused(refusal))?;
        let deployed = self.engine.definitions.deploy(&source, clock::now()).await;
        let definitions::Deployed { definition, created, warnings } =
            deployed.map_err(|error| {
                self.refused(match error {
                    definitions::Error::Invalid(diagnostics) => {
                        Refusal::InvalidWorkflow(told(&diagnostics))
                    }
                    conflict @ definitions::Error::VersionConflict(_) => {
                        Refusal::VersionConflict(conflict.to_string())
                    }
                    definitions::Error::Unavailable(what) => Refusal::PartitionUnavailable(what),
                })
            })?;
        // Whoever hears of the deployment may count on the schedule; should it not begin now, it does a moment later.
        if definition.trigger.is_some()
            && self
                .engine
                .definitions
                .scheduled()
                .iter()
                .any(|highest| Arc::ptr_eq(highest, &definition))
            && let Err(refusal) = schedules::settle(&self.engine, &definition).await
        {
            tracing::warn!(%refusal, workflow = %definition.name().name, "The schedule does not run yet");
        }
        if created {
            self.engine.deployed.notify_one();
            tracing::info!(workflow = %definition.name().name, version = %definition.name().version, "A workflow was deployed");
        }
        // A workflow may be deployed before its workers start, so that nobody serves a function is no news here.
        let of_calls = check_arguments(&definition.workflow, &definition.source, |function| {
            match self.engine.registry.offer(function) {
                Offer::None => Offer::Anything,
                offer @ (Offer::Anything | Offer::Schema(_)) => offer,
            }
        });
        Ok(Response::new(v1::DeployResponse {
            definition: Some(show(&definition, false)),
            created,
            warnings: warnings.iter().chain(&of_calls).map(diagnostic).collect(),
        }))
    }

    async fn validate(
        &self,
        request: Request<v1::ValidateRequest>,
    ) -> Result<Response<v1::ValidateResponse>, Status> {
        let source = request.into_inner().source;
        checked_size(&source).map_err(|refusal| self.refused(refusal))?;
        let diagnostics = match baton_dsl::compile(&source) {
            Ok(Compiled { workflow, warnings, .. }) => {
                let registry = &self.engine.registry;
                let of_calls = check_arguments(&workflow, &source, |f| registry.offer(f));
                warnings.into_iter().chain(of_calls).collect()
            }
            Err(findings) => findings,
        };
        Ok(Response::new(v1::ValidateResponse {
            valid: !diagnostics.iter().any(definitions::is_error),
            diagnostics: diagnostics.iter().map(diagnostic).collect(),
        }))
    }

    async fn get_definition(
        &self,
        request: Request<v1::GetDefinitionRequest>,
    ) -> Result<Response<v1::Definition>, Status> {
        let wanted = request.into_inner();
        let version = Some(wanted.version.as_str()).filter(|version| !version.is_empty());
        match self.engine.definition(&wanted.namespace, &wanted.name, version) {
            Ok(definition) => Ok(Response::new(show(&definition, true))),
            Err(refusal) => Err(self.refused(refusal)),
        }
    }

    async fn list_definitions(
        &self,
        request: Request<v1::ListDefinitionsRequest>,
    ) -> Result<Response<v1::ListDefinitionsResponse>, Status> {
        let namespace = request.into_inner().namespace;
        let namespace = Some(namespace.as_str()).filter(|namespace| !namespace.is_empty());
        let definitions = self.engine.definitions.list(namespace);
        let definitions = definitions.iter().map(|definition| show(definition, false)).collect();
        Ok(Response::new(v1::ListDefinitionsResponse { definitions }))
    }
}
