//! A client of the engine's API, as short as tests want it.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use baton_proto::v1::approval_service_client::ApprovalServiceClient;
use baton_proto::v1::audit_service_client::AuditServiceClient;
use baton_proto::v1::definition_service_client::DefinitionServiceClient;
use baton_proto::v1::engine_service_client::EngineServiceClient;
use baton_proto::v1::event_service_client::EventServiceClient;
use baton_proto::v1::kill_service_client::KillServiceClient;
use baton_proto::v1::once_service_client::OnceServiceClient;
use baton_proto::v1::policy_service_client::PolicyServiceClient;
use baton_proto::v1::workflow_service_client::WorkflowServiceClient;
use baton_proto::v1::{
    Definition, DeployRequest, GetRequest, HistoryEvent, HistoryRequest, Instance, ListRequest,
    StartRequest, StartResponse, Status, StatusRequest, StatusResponse,
};
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request};

use crate::wait::{DEADLINE, eventually};

/// The largest page that the engine gives.
const PAGE: u32 = 1_000;

/// Says who calls.
#[derive(Clone, Debug, Default)]
pub struct Caller(Option<(&'static str, MetadataValue<Ascii>)>);

impl Interceptor for Caller {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, tonic::Status> {
        if let Some((name, value)) = &self.0 {
            request.metadata_mut().insert(*name, value.clone());
        }
        Ok(request)
    }
}

pub type Connection = InterceptedService<Channel, Caller>;

/// Cheap to clone; connects when it is first used, and again when the engine has come back.
#[derive(Clone, Debug)]
pub struct Api {
    pub definitions: DefinitionServiceClient<Connection>,
    pub events: EventServiceClient<Connection>,
    pub policies: PolicyServiceClient<Connection>,
    pub approvals: ApprovalServiceClient<Connection>,
    pub audit: AuditServiceClient<Connection>,
    pub kills: KillServiceClient<Connection>,
    pub once: OnceServiceClient<Connection>,
    pub workflows: WorkflowServiceClient<Connection>,
    pub engine: EngineServiceClient<Connection>,
}

impl Api {
    /// # Errors
    /// When the address is none.
    pub fn new(url: &str) -> Result<Self> {
        Self::of(url, &Caller::default())
    }

    /// For an engine that checks who calls.
    ///
    /// # Errors
    /// When the address is none, or the token cannot be sent.
    pub fn with_token(url: &str, token: &str) -> Result<Self> {
        let value = format!("Bearer {token}").parse().context("the token")?;
        Self::of(url, &Caller(Some(("authorization", value))))
    }

    /// For an engine in development mode, which believes who calls.
    ///
    /// # Errors
    /// When the address is none, or the name cannot be sent.
    pub fn called_by(url: &str, person: &str) -> Result<Self> {
        Self::of(url, &Caller(Some(("baton-as", person.parse().context("the name")?))))
    }

    fn of(url: &str, caller: &Caller) -> Result<Self> {
        let endpoint = Endpoint::from_shared(url.to_owned())
            .context("the engine's address")?
            .connect_timeout(Duration::from_secs(2))
            .timeout(DEADLINE);
        let channel = endpoint.connect_lazy();
        Ok(Self {
            definitions: DefinitionServiceClient::with_interceptor(channel.clone(), caller.clone()),
            events: EventServiceClient::with_interceptor(channel.clone(), caller.clone()),
            audit: AuditServiceClient::with_interceptor(channel.clone(), caller.clone()),
            once: OnceServiceClient::with_interceptor(channel.clone(), caller.clone()),
            kills: KillServiceClient::with_interceptor(channel.clone(), caller.clone()),
            approvals: ApprovalServiceClient::with_interceptor(channel.clone(), caller.clone()),
            policies: PolicyServiceClient::with_interceptor(channel.clone(), caller.clone()),
            workflows: WorkflowServiceClient::with_interceptor(channel.clone(), caller.clone()),
            engine: EngineServiceClient::with_interceptor(channel, caller.clone()),
        })
    }

    /// Deploys a workflow.
    ///
    /// # Errors
    /// When it is refused.
    pub async fn deploy(&self, source: &str) -> Result<Definition> {
        let request = DeployRequest { source: source.to_owned() };
        let answer = self.definitions.clone().deploy(request).await.context("deploy")?;
        answer.into_inner().definition.context("a deployed workflow has a definition")
    }

    /// Starts an instance of the highest version and answers its id. It is tried again while the engine is away, so a
    /// key is wanted wherever starting twice would matter.
    ///
    /// # Errors
    /// When it is refused.
    pub async fn start(
        &self,
        namespace: &str,
        name: &str,
        input: &str,
        key: &str,
    ) -> Result<StartResponse> {
        let request = StartRequest {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            input: input.to_owned(),
            idempotency_key: key.to_owned(),
            ..StartRequest::default()
        };
        patiently("the start of an instance", async || {
            self.workflows.clone().start(request.clone()).await
        })
        .await
    }

    /// # Errors
    /// When there is no such instance.
    pub async fn get(&self, id: &str) -> Result<Instance> {
        let request = GetRequest { id: id.to_owned() };
        patiently("an instance", async || self.workflows.clone().get(request.clone()).await).await
    }

    /// The instance once it has ended, however it did.
    ///
    /// # Errors
    /// When it has not ended in time.
    pub async fn ended(&self, id: &str, deadline: Duration) -> Result<Instance> {
        eventually(deadline, &format!("instance {id} ends"), async || {
            let instance = self.get(id).await?;
            Ok(has_ended(&instance).then_some(instance))
        })
        .await
    }

    /// The output, as JSON text, of an instance that must complete.
    ///
    /// # Errors
    /// When it ends otherwise, or not in time.
    pub async fn completed(&self, id: &str, deadline: Duration) -> Result<String> {
        let instance = self.ended(id, deadline).await?;
        if instance.status() != Status::Completed {
            bail!(
                "instance {id} ended as {:?}: {:?} {}",
                instance.status(),
                instance.error,
                instance.reason
            );
        }
        Ok(instance.output)
    }

    /// All events of an instance, oldest first.
    ///
    /// # Errors
    /// When there is no such instance.
    pub async fn history(&self, id: &str) -> Result<Vec<HistoryEvent>> {
        let mut events = Vec::new();
        loop {
            let request =
                HistoryRequest { id: id.to_owned(), after: events.len() as u64, limit: PAGE };
            let page = patiently("a history", async || {
                self.workflows.clone().history(request.clone()).await
            })
            .await?;
            events.extend(page.events);
            if !page.more {
                return Ok(events);
            }
        }
    }

    /// All instances that fit the request, newest first, whatever its page says.
    ///
    /// # Errors
    /// When it is refused.
    pub async fn list(&self, mut request: ListRequest) -> Result<Vec<Instance>> {
        let mut instances = Vec::new();
        request.page_size = PAGE;
        loop {
            let page =
                patiently("a list", async || self.workflows.clone().list(request.clone()).await)
                    .await?;
            instances.extend(page.instances);
            if page.next_page_token.is_empty() {
                return Ok(instances);
            }
            request.page_token = page.next_page_token;
        }
    }

    /// What the engine says about itself.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn status(&self) -> Result<StatusResponse> {
        let answer =
            self.engine.clone().status(StatusRequest {}).await.context("the engine's status")?;
        Ok(answer.into_inner())
    }

    /// Waits until live workers have announced all the functions, each as `department.function`.
    ///
    /// # Errors
    /// When one is still missing after the deadline.
    pub async fn served(&self, functions: &[&str], deadline: Duration) -> Result<()> {
        eventually(deadline, &format!("workers announce {}", functions.join(", ")), async || {
            let status = self.status().await?;
            let announced = |wanted: &&str| {
                let Some((department, function)) = wanted.split_once('.') else { return false };
                status.workers.iter().any(|worker| {
                    let mut names = worker.functions.iter().map(String::as_str);
                    worker.department == department
                        && names.any(|name| name == function || name == *wanted)
                })
            };
            Ok(functions.iter().all(announced).then_some(()))
        })
        .await
    }
}

/// Completed, faulted or cancelled.
pub fn has_ended(instance: &Instance) -> bool {
    matches!(instance.status(), Status::Completed | Status::Faulted | Status::Cancelled)
}

/// Asks again while the engine is away or not ready.
async fn patiently<T>(
    what: &str,
    mut ask: impl AsyncFnMut() -> Result<tonic::Response<T>, tonic::Status>,
) -> Result<T> {
    let answer = eventually(DEADLINE, what, async || match ask().await {
        Ok(answer) => Ok(Some(Ok(answer.into_inner()))),
        Err(status) if is_passing(&status) => Err(status.into()),
        Err(status) => Ok(Some(Err(status))),
    });
    answer.await?.with_context(|| format!("{what} was refused"))
}

/// Whether a refusal is only about the moment: the engine is down, recovering, or died while it answered.
fn is_passing(status: &tonic::Status) -> bool {
    // What the engine says itself carries a code of its own; the rest is a broken connection.
    let by_engine = status.metadata().contains_key("baton-code");
    let moment = [Code::Unavailable, Code::Aborted, Code::DeadlineExceeded];
    let connection = [Code::Unknown, Code::Internal, Code::Cancelled];
    moment.contains(&status.code()) || (!by_engine && connection.contains(&status.code()))
}
