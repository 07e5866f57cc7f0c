//! `DefinitionService`.

use std::sync::Arc;

use baton_dsl::{Compiled, Diagnostic, FunctionName, Offer, Severity, check_arguments};
use baton_policy::question::Action;
use baton_proto::v1::{self, definition_service_server::DefinitionService};
use sha2::{Digest, Sha256};
use tonic::{Request, Response, Status};

use super::{Api, access};
use crate::{
    clock,
    definitions::{self, Definition},
    error::Refusal,
    functions::{self, Function},
    limits, schedules,
    view::timestamp,
    wire::hex,
};

/// Whose functions the catalog's are, where somebody asks who may deploy one.
const CATALOG: &str = "catalog";

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

fn show_function(function: &Function, with_source: bool) -> v1::CatalogFunction {
    v1::CatalogFunction {
        name: function.name.name().to_owned(),
        version: function.name.version().to_owned(),
        hash: hex(&Sha256::digest(&function.source)),
        source: if with_source { function.source.clone() } else { String::new() },
        deployed_at: Some(timestamp(function.deployed_at)),
    }
}

fn function_name(name: &str, version: &str) -> Result<FunctionName, Refusal> {
    let parsed = format!("{name}:{version}").parse::<FunctionName>();
    parsed.map_err(|bad| Refusal::Invalid(format!("name and version: {bad}")))
}

fn of_catalog(error: functions::Error) -> Refusal {
    let text = error.to_string();
    match error {
        functions::Error::Invalid(diagnostics) => Refusal::InvalidFunction(told(&diagnostics)),
        functions::Error::VersionConflict(_) => Refusal::VersionConflict(text),
        functions::Error::Full => Refusal::CatalogFull(text),
        functions::Error::Unavailable(_) => Refusal::PartitionUnavailable(text),
    }
}

fn of_workflow(error: definitions::Error) -> Refusal {
    let text = error.to_string();
    match error {
        definitions::Error::Invalid(diagnostics) => Refusal::InvalidWorkflow(told(&diagnostics)),
        definitions::Error::VersionConflict(_) => Refusal::VersionConflict(text),
        definitions::Error::TooLarge => Refusal::TooLarge(text),
        definitions::Error::Refused(refusal) => refusal,
        definitions::Error::Unavailable(what) => Refusal::PartitionUnavailable(what),
    }
}

fn checked_function_size(source: &str) -> Result<(), Refusal> {
    if source.len() > limits::FUNCTION_BYTES_MAX {
        let bytes = limits::FUNCTION_BYTES_MAX;
        return Err(Refusal::TooLarge(format!("a function has at most {bytes} bytes")));
    }
    Ok(())
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
        let (metadata, _, request) = request.into_parts();
        let source = request.source;
        let caller = self.caller(&metadata).map_err(|refusal| self.refused(refusal))?;
        checked_size(&source).map_err(|refusal| self.refused(refusal))?;
        let may = |compiled: &Compiled| {
            let name = &compiled.workflow.name;
            let workflow = access::of_workflow(&name.namespace, &name.name, &compiled.risk);
            self.allow(&caller, Action::Deploy, workflow)
        };
        let deployed = self.engine.definitions.deploy(&source, clock::now(), may).await;
        let definitions::Deployed { definition, created, warnings } =
            deployed.map_err(|error| self.refused(of_workflow(error)))?;
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
        let (engine, of) = (Arc::clone(&self.engine), Arc::clone(&definition));
        let checked = tokio::task::spawn_blocking(move || {
            check_arguments(&of.workflow, &of.source, |function| {
                match engine.registry.offer(function) {
                    Offer::None => Offer::Anything,
                    offer @ (Offer::Anything | Offer::Schema(_)) => offer,
                }
            })
        });
        let of_calls = checked.await.map_err(|error| Status::internal(error.to_string()))?;
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
        self.caller(request.metadata()).map_err(|refusal| self.refused(refusal))?;
        let source = request.into_inner().source;
        checked_size(&source).map_err(|refusal| self.refused(refusal))?;
        let diagnostics = match self.engine.definitions.compile(&source).await {
            Ok(Compiled { workflow, warnings, .. }) => {
                let engine = Arc::clone(&self.engine);
                let checked = tokio::task::spawn_blocking(move || {
                    check_arguments(&workflow, &source, |f| engine.registry.offer(f))
                });
                let of_calls =
                    checked.await.map_err(|error| Status::internal(error.to_string()))?;
                warnings.into_iter().chain(of_calls).collect::<Vec<_>>()
            }
            Err(definitions::Error::Invalid(findings)) => findings,
            Err(error) => return Err(self.refused(of_workflow(error))),
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
        let (metadata, _, wanted) = request.into_parts();
        let version = Some(wanted.version.as_str()).filter(|version| !version.is_empty());
        let found = self.caller(&metadata).and_then(|caller| {
            let found = self.engine.definition(&wanted.namespace, &wanted.name, version)?;
            self.allow(&caller, Action::Read, access::of_definition(&found))?;
            Ok(show(&found, true))
        });
        found.map(Response::new).map_err(|refusal| self.refused(refusal))
    }

    async fn list_definitions(
        &self,
        request: Request<v1::ListDefinitionsRequest>,
    ) -> Result<Response<v1::ListDefinitionsResponse>, Status> {
        let caller = self.caller(request.metadata()).map_err(|refusal| self.refused(refusal))?;
        let namespace = request.into_inner().namespace;
        let namespace = Some(namespace.as_str()).filter(|namespace| !namespace.is_empty());
        let definitions = self.engine.definitions.list(namespace);
        let seen = definitions.iter().filter(|it| self.sees(&caller, access::of_definition(it)));
        let definitions = seen.map(|definition| show(definition, false)).collect();
        Ok(Response::new(v1::ListDefinitionsResponse { definitions }))
    }

    async fn deploy_function(
        &self,
        request: Request<v1::DeployFunctionRequest>,
    ) -> Result<Response<v1::DeployFunctionResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        let v1::DeployFunctionRequest { name, version, source } = request;
        let name = function_name(&name, &version).map_err(|refusal| self.refused(refusal))?;
        let allowed = self.caller(&metadata).and_then(|caller| {
            let function = access::of_workflow(CATALOG, name.name(), "unknown");
            self.allow(&caller, Action::Deploy, function)
        });
        allowed.map_err(|refusal| self.refused(refusal))?;
        checked_function_size(&source).map_err(|refusal| self.refused(refusal))?;
        let deployed = self.engine.definitions.catalog.deploy(name, source, clock::now()).await;
        let functions::Deployed { function, created, warnings } =
            deployed.map_err(|error| self.refused(of_catalog(error)))?;
        if created {
            tracing::info!(function = %function.name, "A function was deployed to the catalog");
        }
        Ok(Response::new(v1::DeployFunctionResponse {
            function: Some(show_function(&function, false)),
            created,
            warnings: warnings.iter().map(diagnostic).collect(),
        }))
    }

    async fn validate_function(
        &self,
        request: Request<v1::ValidateFunctionRequest>,
    ) -> Result<Response<v1::ValidateResponse>, Status> {
        self.caller(request.metadata()).map_err(|refusal| self.refused(refusal))?;
        let source = request.into_inner().source;
        checked_function_size(&source).map_err(|refusal| self.refused(refusal))?;
        let diagnostics = match self.engine.definitions.catalog.check(&source).await {
            Ok(warnings) | Err(functions::Error::Invalid(warnings)) => warnings,
            Err(error) => return Err(self.refused(of_catalog(error))),
        };
        Ok(Response::new(v1::ValidateResponse {
            valid: !diagnostics.iter().any(definitions::is_error),
            diagnostics: diagnostics.iter().map(diagnostic).collect(),
        }))
    }

    async fn get_function(
        &self,
        request: Request<v1::GetFunctionRequest>,
    ) -> Result<Response<v1::CatalogFunction>, Status> {
        self.caller(request.metadata()).map_err(|refusal| self.refused(refusal))?;
        let v1::GetFunctionRequest { name, version } = request.into_inner();
        let name = function_name(&name, &version).map_err(|refusal| self.refused(refusal))?;
        match self.engine.definitions.catalog.get(&name).await {
            Ok(Some(function)) => Ok(Response::new(show_function(&function, true))),
            Ok(None) => Err(self.refused(Refusal::UnknownFunction(name.to_string()))),
            Err(error) => Err(self.refused(of_catalog(error))),
        }
    }

    async fn list_functions(
        &self,
        request: Request<v1::ListFunctionsRequest>,
    ) -> Result<Response<v1::ListFunctionsResponse>, Status> {
        self.caller(request.metadata()).map_err(|refusal| self.refused(refusal))?;
        let functions = self.engine.definitions.catalog.list().await;
        let functions = functions.map_err(|error| self.refused(of_catalog(error)))?;
        let functions = functions.iter().map(|function| show_function(function, false)).collect();
        Ok(Response::new(v1::ListFunctionsResponse { functions }))
    }
}
