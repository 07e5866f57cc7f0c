//! `OnceService`.

use baton_core::{Command, Instance};
use baton_policy::question::{Action, Principal};
use baton_proto::v1::{self, once_service_server::OnceService};
use tonic::{Request, Response, Status};

use super::{Api, access, checked_reason};
use crate::{
    error::Refusal,
    once::Found,
    partition::{self, partition_of},
};

impl Api {
    /// The instance that holds a key, if the caller may do this with it.
    async fn holder(
        &self,
        caller: &Principal,
        action: Action,
        (department, key): (&str, &str),
    ) -> Result<(Found, Instance), Refusal> {
        let found = self.engine.keys.find(department, key).await;
        let found = found.map_err(|error| Refusal::PartitionUnavailable(error.to_string()))?;
        let unknown = || Refusal::UnknownKey(format!("nobody has held {key} in {department}"));
        let found = found.ok_or_else(unknown)?;
        let id = found.holder.instance;
        let handle = self.engine.handle(partition_of(id))?;
        let instance = handle.ask(|reply| partition::Request::Get { id, reply }).await?;
        self.allow(caller, action, access::of_instance(&instance))?;
        Ok((found, instance))
    }

    async fn get_key(
        &self,
        caller: &Principal,
        request: v1::GetKeyRequest,
    ) -> Result<v1::HeldKey, Refusal> {
        let v1::GetKeyRequest { department, key } = request;
        let (found, instance) = self.holder(caller, Action::Read, (&department, &key)).await?;
        Ok(show(department, key, &found, &instance))
    }

    async fn resolve_key(
        &self,
        caller: &Principal,
        request: v1::ResolveKeyRequest,
    ) -> Result<v1::HeldKey, Refusal> {
        let v1::ResolveKeyRequest { department, key, happened, reason } = request;
        let reason = checked_reason(&reason)?;
        let (found, instance) = self.holder(caller, Action::Signal, (&department, &key)).await?;
        let by = self.name_of(caller).into();
        let activation = instance.unknown_key(&key).unwrap_or(found.holder.step);
        let command = Command::ResolveKey { activation, happened, by, reason };
        let id = found.holder.instance;
        let handle = self.engine.handle(partition_of(id))?;
        let instance =
            handle.ask(|reply| partition::Request::Command { id, command, reply }).await?;
        Ok(show(department, key, &found, &instance))
    }
}

fn show(department: String, key: String, found: &Found, instance: &Instance) -> v1::HeldKey {
    let state = instance.word_on_key(&key, found.holder.step);
    v1::HeldKey {
        department,
        key,
        instance: instance.id.to_string(),
        step: found.holder.step.0,
        state: state.name().to_owned(),
    }
}

#[tonic::async_trait]
impl OnceService for Api {
    async fn get_key(
        &self,
        request: Request<v1::GetKeyRequest>,
    ) -> Result<Response<v1::HeldKey>, Status> {
        let (metadata, _, request) = request.into_parts();
        let found = async { Api::get_key(self, &self.caller(&metadata)?, request).await };
        found.await.map(Response::new).map_err(|refusal| self.refused(refusal))
    }

    async fn resolve_key(
        &self,
        request: Request<v1::ResolveKeyRequest>,
    ) -> Result<Response<v1::HeldKey>, Status> {
        let (metadata, _, request) = request.into_parts();
        let resolved = async { Api::resolve_key(self, &self.caller(&metadata)?, request).await };
        resolved.await.map(Response::new).map_err(|refusal| self.refused(refusal))
    }
}
