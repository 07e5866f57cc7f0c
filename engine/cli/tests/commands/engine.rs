//! A small engine that speaks the API, with one workflow and three instances whose stories never change.

use std::{net::SocketAddr, pin::Pin};

use baton_proto::v1::{
    CancelRequest, CatalogFunction, Definition, DeployFunctionRequest, DeployFunctionResponse,
    DeployRequest, DeployResponse, Diagnostic, Error, Event, GetDefinitionRequest,
    GetFunctionRequest, GetRequest, HistoryEvent, HistoryRequest, HistoryResponse, Instance,
    InstanceCompleted, InstanceFaulted, InstanceStarted, ListDefinitionsRequest,
    ListDefinitionsResponse, ListFunctionsRequest, ListFunctionsResponse, ListRequest,
    ListResponse, PartitionStatus, RerunRequest, ResumeRequest, StartAndWaitRequest, StartRequest,
    StartResponse, Status as InstanceStatus, StatusRequest, StatusResponse, SuspendRequest,
    TerminateRequest, ValidateFunctionRequest, ValidateRequest, ValidateResponse, WatchRequest,
    definition_service_server::{DefinitionService, DefinitionServiceServer},
    diagnostic::Severity,
    engine_service_server::{EngineService, EngineServiceServer},
    event::Kind,
    workflow_service_server::{WorkflowService, WorkflowServiceServer},
};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Code, Request, Response, Status, transport::Server};

/// What `output` is of an instance that completed: no number of it fits a float.
const OUTPUT: &str = r#"{"paid":1234567890.12345678901234567890,"big":18446744073709551616}"#;

#[derive(Clone, Copy)]
struct Engine;

/// Answers until the test's runtime ends.
pub(crate) async fn serve() -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = Server::builder()
        .add_service(DefinitionServiceServer::new(Engine))
        .add_service(WorkflowServiceServer::new(Engine))
        .add_service(EngineServiceServer::new(Engine))
        .serve_with_incoming(TcpListenerStream::new(listener));
    tokio::spawn(server);
    address
}

fn refusal(code: Code, stable: &'static str, message: &str) -> Status {
    let mut status = Status::new(code, message);
    status.metadata_mut().insert("baton-code", stable.parse().unwrap());
    status
}

fn definition() -> Definition {
    Definition {
        namespace: "sales".into(),
        name: "order".into(),
        version: "1.0.0".into(),
        ..Definition::default()
    }
}

/// The id says how the instance ends.
fn instance(id: &str) -> Result<Instance, Status> {
    let mut instance = Instance {
        id: id.to_owned(),
        namespace: "sales".into(),
        name: "order".into(),
        version: "1.0.0".into(),
        input: r#"{"amount":0.10}"#.into(),
        trace_id: "0123456789abcdef0123456789abcdef".into(),
        ..Instance::default()
    };
    match id {
        "completes" => {
            instance.set_status(InstanceStatus::Completed);
            instance.output = OUTPUT.into();
        }
        "faults" => {
            instance.set_status(InstanceStatus::Faulted);
            instance.error = Some(fault());
        }
        "runs" => instance.set_status(InstanceStatus::Running),
        _ => return Err(refusal(Code::NotFound, "unknown-instance", "there is no such instance")),
    }
    Ok(instance)
}

fn fault() -> Error {
    Error {
        r#type: "https://example.com/over-budget".into(),
        status: 400,
        title: Some("Over budget".into()),
        ..Error::default()
    }
}

fn history(id: &str) -> Vec<HistoryEvent> {
    let mut kinds = vec![Kind::InstanceStarted(InstanceStarted::default())];
    match id {
        "completes" => kinds.push(Kind::InstanceCompleted(InstanceCompleted::default())),
        "faults" => kinds.push(Kind::InstanceFaulted(InstanceFaulted { error: Some(fault()) })),
        _ => {}
    }
    let numbered = kinds.into_iter().zip(1..).map(|(kind, number)| HistoryEvent {
        number,
        at: Some(prost_types::Timestamp { seconds: 1_769_846_400, nanos: 0 }),
        event: Some(Event { kind: Some(kind) }),
        ..HistoryEvent::default()
    });
    numbered.collect()
}

fn diagnostics(source: &str) -> Vec<Diagnostic> {
    if source.contains("document") {
        let unserved = source.contains("unserved").then(|| Diagnostic {
            severity: Severity::Warning.into(),
            code: "unserved-function".into(),
            message: "no worker offers `n.unserved` now".into(),
            line: 3,
            column: 14,
            hint: "start its worker, or correct the name".into(),
            ..Diagnostic::default()
        });
        return unserved.into_iter().collect();
    }
    vec![Diagnostic {
        severity: Severity::Error.into(),
        code: "missing-key".into(),
        message: "a workflow has a `document`".into(),
        line: 1,
        column: 1,
        hint: "begin with `document:`".into(),
        ..Diagnostic::default()
    }]
}

#[tonic::async_trait]
impl DefinitionService for Engine {
    async fn deploy(
        &self,
        request: Request<DeployRequest>,
    ) -> Result<Response<DeployResponse>, Status> {
        if !diagnostics(&request.into_inner().source).is_empty() {
            return Err(refusal(
                Code::InvalidArgument,
                "invalid-workflow",
                "the workflow has errors",
            ));
        }
        Ok(Response::new(DeployResponse {
            definition: Some(definition()),
            created: true,
            warnings: Vec::new(),
        }))
    }

    async fn validate(
        &self,
        request: Request<ValidateRequest>,
    ) -> Result<Response<ValidateResponse>, Status> {
        let diagnostics = diagnostics(&request.into_inner().source);
        let valid = !diagnostics.iter().any(|found| found.severity() == Severity::Error);
        Ok(Response::new(ValidateResponse { valid, diagnostics }))
    }

    async fn get_definition(
        &self,
        _: Request<GetDefinitionRequest>,
    ) -> Result<Response<Definition>, Status> {
        Ok(Response::new(Definition { source: "document: {}\n".into(), ..definition() }))
    }

    async fn list_definitions(
        &self,
        _: Request<ListDefinitionsRequest>,
    ) -> Result<Response<ListDefinitionsResponse>, Status> {
        Ok(Response::new(ListDefinitionsResponse { definitions: vec![definition()] }))
    }

    async fn deploy_function(
        &self,
        request: Request<DeployFunctionRequest>,
    ) -> Result<Response<DeployFunctionResponse>, Status> {
        let DeployFunctionRequest { name, version, source } = request.into_inner();
        if !diagnostics(&source).is_empty() {
            let message = "the function has errors";
            return Err(refusal(Code::InvalidArgument, "invalid-function", message));
        }
        let function = Some(CatalogFunction { name, version, ..CatalogFunction::default() });
        Ok(Response::new(DeployFunctionResponse { function, created: true, warnings: Vec::new() }))
    }

    async fn validate_function(
        &self,
        request: Request<ValidateFunctionRequest>,
    ) -> Result<Response<ValidateResponse>, Status> {
        let diagnostics = diagnostics(&request.into_inner().source);
        Ok(Response::new(ValidateResponse { valid: false, diagnostics }))
    }

    async fn get_function(
        &self,
        request: Request<GetFunctionRequest>,
    ) -> Result<Response<CatalogFunction>, Status> {
        let GetFunctionRequest { name, version } = request.into_inner();
        let source = "set: { a: 1 }\n".into();
        Ok(Response::new(CatalogFunction { name, version, source, ..CatalogFunction::default() }))
    }

    async fn list_functions(
        &self,
        _: Request<ListFunctionsRequest>,
    ) -> Result<Response<ListFunctionsResponse>, Status> {
        let named = |name: &str| CatalogFunction {
            name: name.into(),
            version: "1.0.0".into(),
            ..CatalogFunction::default()
        };
        Ok(Response::new(ListFunctionsResponse { functions: vec![named("a"), named("greet")] }))
    }
}

#[tonic::async_trait]
impl WorkflowService for Engine {
    type WatchStream =
        Pin<Box<dyn tokio_stream::Stream<Item = Result<HistoryEvent, Status>> + Send>>;

    /// The idempotency key becomes the id.
    async fn start(
        &self,
        request: Request<StartRequest>,
    ) -> Result<Response<StartResponse>, Status> {
        let request = request.into_inner();
        if request.namespace != "sales" {
            return Err(refusal(
                Code::NotFound,
                "unknown-workflow",
                "no such workflow is deployed",
            ));
        }
        Ok(Response::new(StartResponse { id: request.idempotency_key, created: true }))
    }

    async fn start_and_wait(
        &self,
        _: Request<StartAndWaitRequest>,
    ) -> Result<Response<Instance>, Status> {
        Err(Status::unimplemented("not here"))
    }

    async fn get(&self, request: Request<GetRequest>) -> Result<Response<Instance>, Status> {
        instance(&request.into_inner().id).map(Response::new)
    }

    /// 1,200 instances, in pages.
    async fn list(&self, request: Request<ListRequest>) -> Result<Response<ListResponse>, Status> {
        let request = request.into_inner();
        let from: usize = request.page_token.parse().unwrap_or(0);
        let to = (from + request.page_size as usize).min(1_200);
        let instances = (from..to).map(|_| instance("completes")).collect::<Result<_, _>>()?;
        let next_page_token = if to < 1_200 { to.to_string() } else { String::new() };
        Ok(Response::new(ListResponse { instances, next_page_token }))
    }

    /// One event a page.
    async fn history(
        &self,
        request: Request<HistoryRequest>,
    ) -> Result<Response<HistoryResponse>, Status> {
        let request = request.into_inner();
        instance(&request.id)?;
        let mut events = history(&request.id);
        let after = usize::try_from(request.after).unwrap();
        let more = events.len() > after + 1;
        Ok(Response::new(HistoryResponse { events: events.drain(after..).take(1).collect(), more }))
    }

    /// The first time the connection breaks after the first event, as when the engine is killed.
    async fn watch(
        &self,
        request: Request<WatchRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let request = request.into_inner();
        let has_ended = instance(&request.id)?.ended_at.is_some() || history(&request.id).len() > 1;
        let after = usize::try_from(request.after).unwrap();
        let mut items: Vec<Result<_, _>> =
            history(&request.id).into_iter().skip(after).map(Ok).collect();
        if after == 0 {
            items.truncate(1);
            items.push(Err(Status::unavailable("the engine stops")));
        }
        let stream = tokio_stream::iter(items);
        Ok(Response::new(if has_ended {
            Box::pin(stream)
        } else {
            Box::pin(tokio_stream::StreamExt::chain(stream, tokio_stream::pending()))
        }))
    }

    async fn cancel(&self, request: Request<CancelRequest>) -> Result<Response<Instance>, Status> {
        instance(&request.into_inner().id).map(Response::new)
    }

    async fn terminate(
        &self,
        request: Request<TerminateRequest>,
    ) -> Result<Response<Instance>, Status> {
        instance(&request.into_inner().id).map(Response::new)
    }

    async fn suspend(
        &self,
        request: Request<SuspendRequest>,
    ) -> Result<Response<Instance>, Status> {
        instance(&request.into_inner().id).map(Response::new)
    }

    async fn resume(&self, request: Request<ResumeRequest>) -> Result<Response<Instance>, Status> {
        instance(&request.into_inner().id).map(Response::new)
    }

    async fn rerun(&self, request: Request<RerunRequest>) -> Result<Response<Instance>, Status> {
        instance(&request.into_inner().id).map(Response::new)
    }
}

#[tonic::async_trait]
impl EngineService for Engine {
    async fn status(&self, _: Request<StatusRequest>) -> Result<Response<StatusResponse>, Status> {
        let partition = PartitionStatus { state: "leading".into(), ..PartitionStatus::default() };
        Ok(Response::new(StatusResponse {
            engine: "test".into(),
            ready: true,
            nats_version: "2.15.1".into(),
            partitions: vec![partition],
            unserved_functions: vec!["finance.charge".into()],
            ..StatusResponse::default()
        }))
    }
}
