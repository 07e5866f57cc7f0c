//! `EventService`.

use baton_policy::question::{Action, Principal, Resource};
use baton_proto::v1::{self, event_service_server::EventService};
use tonic::{Request, Response, Status};

use super::Api;
use crate::{
    error::Refusal,
    events::{self, CloudEvent},
};

/// Whose events they are when the caller does not say.
const DEPARTMENT: &str = "api";

impl Api {
    async fn publish_event(
        &self,
        caller: &Principal,
        request: v1::PublishEventRequest,
    ) -> Result<v1::PublishEventResponse, Refusal> {
        let department =
            if request.department.is_empty() { DEPARTMENT } else { &request.department };
        let plain =
            department.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
        if !plain || department.len() > 63 {
            let what = "a department is 1 to 63 letters, digits, - and _";
            return Err(Refusal::Invalid(what.into()));
        }
        let whose = Resource::Department { department: department.to_owned() };
        self.allow(caller, Action::Publish, whose)?;
        let refused = |error: events::Error| match error {
            events::Error::Invalid(what) => Refusal::InvalidEvent(what),
            error @ events::Error::Unavailable { .. } => {
                Refusal::PartitionUnavailable(error.to_string())
            }
        };
        let event = CloudEvent::parse(request.event).map_err(refused)?;
        let (position, duplicate) =
            events::publish(&self.engine.broker, department, &event).await.map_err(refused)?;
        Ok(v1::PublishEventResponse { position, duplicate })
    }
}

#[tonic::async_trait]
impl EventService for Api {
    async fn publish(
        &self,
        request: Request<v1::PublishEventRequest>,
    ) -> Result<Response<v1::PublishEventResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        let published = async { self.publish_event(&self.caller(&metadata)?, request).await };
        published.await.map(Response::new).map_err(|refusal| self.refused(refusal))
    }
}
