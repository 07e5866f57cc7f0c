//! `PolicyService`.

use std::collections::BTreeMap;

use baton_core::Timestamp;
use baton_policy::{
    Finding, Severity,
    question::{Action, Principal, Resource},
};
use baton_proto::v1::{self, policy_service_server::PolicyService};
use tonic::{Request, Response, Status};

use super::{Api, checked_reason};
use crate::{
    clock,
    error::Refusal,
    limits,
    policies::{self, Activation, Active, Deployed, NewActivation},
    view::{from_timestamp, timestamp},
    wire::hex,
};

fn show(set: &Deployed, with_texts: bool) -> v1::PolicySet {
    v1::PolicySet {
        version: set.version,
        sha256: hex(&set.sha256),
        author: set.author.clone(),
        deployed_at: Some(timestamp(Timestamp(set.deployed_at_ms))),
        texts: if with_texts { set.texts.clone() } else { BTreeMap::new() },
    }
}

fn show_activation(activation: &Activation) -> v1::PolicyActivation {
    v1::PolicyActivation {
        number: activation.number,
        version: activation.version,
        by: activation.by.clone(),
        at: Some(timestamp(Timestamp(activation.at_ms))),
        from: Some(timestamp(Timestamp(activation.from_ms))),
        reason: activation.reason.clone(),
    }
}

fn finding(finding: &Finding) -> v1::PolicyFinding {
    v1::PolicyFinding {
        error: finding.severity == Severity::Error,
        code: finding.code.to_owned(),
        message: finding.message.clone(),
        file: finding.file.clone(),
        line: finding.line,
        column: finding.column,
    }
}

fn refusal(error: policies::Error) -> Refusal {
    let text = error.to_string();
    match error {
        policies::Error::Invalid(findings) => {
            let errors = findings.iter().filter(|finding| finding.severity == Severity::Error);
            let lines: Vec<_> = errors.take(20).map(ToString::to_string).collect();
            Refusal::InvalidPolicies(lines.join("\n"))
        }
        policies::Error::TooLarge => Refusal::TooLarge(text),
        policies::Error::Full => Refusal::CatalogFull(text),
        policies::Error::Unknown(_) => Refusal::UnknownPolicies(text),
        policies::Error::NothingBefore => Refusal::NothingToRollBack(text),
        policies::Error::Unavailable(_) => Refusal::PartitionUnavailable(text),
    }
}

fn of_set(version: u32) -> Resource {
    Resource::PolicySet { set: version.to_string() }
}

impl Api {
    async fn deploy_policies(
        &self,
        caller: &Principal,
        texts: BTreeMap<String, String>,
    ) -> Result<v1::DeployPoliciesResponse, Refusal> {
        self.allow(caller, Action::Deploy, Resource::PolicySet { set: "new".into() })?;
        let bytes: usize = texts.iter().map(|(name, text)| name.len() + text.len()).sum();
        if bytes > limits::STORED_BYTES_MAX {
            return Err(refusal(policies::Error::TooLarge));
        }
        let deployed =
            self.engine.policies.deploy(texts, &self.name_of(caller), clock::now()).await;
        let (set, created, warnings) = deployed.map_err(refusal)?;
        if created {
            tracing::info!(version = set.version, author = set.author, "Policies were deployed");
        }
        Ok(v1::DeployPoliciesResponse {
            set: Some(show(&set, false)),
            created,
            warnings: warnings.iter().map(finding).collect(),
        })
    }

    async fn activate_policies(
        &self,
        caller: &Principal,
        (version, restores): (u32, u32),
        from: Option<prost_types::Timestamp>,
        reason: &str,
    ) -> Result<v1::PolicyActivation, Refusal> {
        checked_reason(reason)?;
        let now = clock::now();
        let from = match from {
            None => now,
            Some(from) => from_timestamp(&from)
                .ok_or_else(|| Refusal::Invalid("the time is out of range".into()))?,
        };
        let all = &self.engine.policies;
        all.refresh().await.map_err(refusal)?;
        let set = all.set(version).ok_or_else(|| refusal(policies::Error::Unknown(version)))?;
        let seen = all.last_activation();
        let own = "no service activates what it has deployed";
        let facts = self.facts_of_author(caller, &set.author, own)?;
        self.allow_knowing(caller, Action::ActivatePolicy, of_set(version), facts)?;
        let by = self.name_of(caller);
        let activation = NewActivation { version, by, from, reason, restores, seen };
        let activated = all.activate(activation, now).await;
        activated.map(|activation| show_activation(&activation)).map_err(refusal)
    }
}

#[tonic::async_trait]
impl PolicyService for Api {
    async fn deploy(
        &self,
        request: Request<v1::DeployPoliciesRequest>,
    ) -> Result<Response<v1::DeployPoliciesResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        let deployed = async {
            let caller = self.caller(&metadata)?;
            self.deploy_policies(&caller, request.texts).await
        };
        deployed.await.map(Response::new).map_err(|refusal| self.refused(refusal))
    }

    async fn list(
        &self,
        request: Request<v1::ListPoliciesRequest>,
    ) -> Result<Response<v1::ListPoliciesResponse>, Status> {
        let caller = self.caller(request.metadata()).map_err(|refusal| self.refused(refusal))?;
        let all = &self.engine.policies;
        all.refresh().await.map_err(|error| self.refused(refusal(error)))?;
        let sets = all.sets();
        let seen = sets.iter().filter(|set| self.sees(&caller, of_set(set.version)));
        let (active, active_sha256) = match all.active(clock::now()) {
            Active::None => (0, String::new()),
            Active::Broken(version) => (version, String::new()),
            Active::Set { version, set } => (version, hex(&set.sha256)),
        };
        Ok(Response::new(v1::ListPoliciesResponse {
            sets: seen.map(|set| show(set, false)).collect(),
            activations: all
                .activations()
                .iter()
                .filter(|activation| self.sees(&caller, of_set(activation.version)))
                .map(show_activation)
                .collect(),
            active,
            active_sha256,
        }))
    }

    async fn get(
        &self,
        request: Request<v1::GetPoliciesRequest>,
    ) -> Result<Response<v1::PolicySet>, Status> {
        let (metadata, _, request) = request.into_parts();
        let found = async {
            let caller = self.caller(&metadata)?;
            let all = &self.engine.policies;
            all.refresh().await.map_err(refusal)?;
            let version = match all.active(clock::now()) {
                Active::Set { version, .. } | Active::Broken(version) if request.version == 0 => {
                    version
                }
                Active::Set { .. } | Active::Broken(_) | Active::None => request.version,
            };
            self.allow(&caller, Action::Read, of_set(version))?;
            let set = all.set(version).ok_or_else(|| refusal(policies::Error::Unknown(version)))?;
            Ok(show(&set, true))
        };
        found.await.map(Response::new).map_err(|refusal| self.refused(refusal))
    }

    async fn activate(
        &self,
        request: Request<v1::ActivatePoliciesRequest>,
    ) -> Result<Response<v1::PolicyActivation>, Status> {
        let (metadata, _, request) = request.into_parts();
        let activated = async {
            let caller = self.caller(&metadata)?;
            let which = (request.version, 0);
            self.activate_policies(&caller, which, request.from, &request.reason).await
        };
        activated.await.map(Response::new).map_err(|refusal| self.refused(refusal))
    }

    async fn roll_back(
        &self,
        request: Request<v1::RollBackPoliciesRequest>,
    ) -> Result<Response<v1::PolicyActivation>, Status> {
        let (metadata, _, request) = request.into_parts();
        let rolled_back = async {
            let caller = self.caller(&metadata)?;
            self.engine.policies.refresh().await.map_err(refusal)?;
            let before = self.engine.policies.before(clock::now()).map_err(refusal)?;
            let which = (before.version, before.number);
            self.activate_policies(&caller, which, None, &request.reason).await
        };
        rolled_back.await.map(Response::new).map_err(|refusal| self.refused(refusal))
    }
}
