//! Who may ask for what. In development mode everybody may; otherwise only what the policies that count allow.

use std::collections::BTreeMap;

use baton_core::{Instance, InstanceId};
use baton_policy::{
    Question, Verdict,
    question::{Action, Principal, Resource},
};
use serde_json::{Value, json};
use tonic::metadata::MetadataMap;

use super::Api;
use crate::{
    clock,
    definitions::Definition,
    error::Refusal,
    partition::{self, partition_of},
};

impl Api {
    /// Who calls.
    pub(super) fn caller(&self, metadata: &MetadataMap) -> Result<Principal, Refusal> {
        self.engine.identity.caller(metadata)
    }

    /// The name under which what somebody does counts: who has several is known by one. What they may do is asked of them as
    /// they call.
    pub(super) fn name_of(&self, caller: &Principal) -> String {
        self.same_person(&caller.to_string())
    }

    /// The same of a name that stands in the log.
    pub(super) fn same_person(&self, name: &str) -> String {
        match name.strip_prefix("person ") {
            Some(person) => {
                format!("person {}", self.engine.policies.person(person, clock::now()))
            }
            None => name.to_owned(),
        }
    }

    pub(super) fn allow(
        &self,
        caller: &Principal,
        action: Action,
        resource: Resource,
    ) -> Result<(), Refusal> {
        self.allow_knowing(caller, action, resource, BTreeMap::new())
    }

    /// The same, with what is known of the request.
    pub(super) fn allow_knowing(
        &self,
        caller: &Principal,
        action: Action,
        resource: Resource,
        facts: BTreeMap<String, Value>,
    ) -> Result<(), Refusal> {
        if self.engine.dev {
            return Ok(());
        }
        let principal = caller.clone();
        let question = Question { principal, action, resource, facts };
        let decision = self.engine.policies.decide(&question, clock::now());
        if decision.verdict == Verdict::Allow {
            return Ok(());
        }
        tracing::warn!(
            caller = %caller,
            action = action.name(),
            resource = %json!(question.resource),
            policies = ?decision.determining,
            errors = ?decision.errors,
            "A request was forbidden: somebody may be trying something"
        );
        let because = if decision.determining.is_empty() {
            String::new()
        } else {
            format!(": forbidden by {}", decision.determining.join(", "))
        };
        Err(Refusal::Forbidden(format!("{caller} may not {} this{because}", action.name())))
    }

    /// What policies are told of whoever made what the caller is to let count: under whatever name, it is the caller, if both
    /// are one person. A service is refused with `own`: the author is a fact of a person, so that it must be said here.
    pub(super) fn facts_of_author(
        &self,
        caller: &Principal,
        author: &str,
        own: &str,
    ) -> Result<BTreeMap<String, Value>, Refusal> {
        let is_person = matches!(caller, Principal::Person { .. });
        if !is_person && author == self.name_of(caller) {
            return Err(Refusal::Forbidden(own.into()));
        }
        let person = if is_person && self.same_person(author) == self.name_of(caller) {
            caller.id()
        } else {
            author.strip_prefix("person ").unwrap_or(author)
        };
        Ok(BTreeMap::from([("author".to_owned(), json!({ "person": person }))]))
    }

    /// Whether a list shows it. Nothing is written of what it does not.
    pub(super) fn sees(&self, caller: &Principal, resource: Resource) -> bool {
        self.may(caller, Action::Read, resource, BTreeMap::new())
    }

    /// The same of anything.
    pub(super) fn may(
        &self,
        caller: &Principal,
        action: Action,
        resource: Resource,
        facts: BTreeMap<String, Value>,
    ) -> bool {
        if self.engine.dev {
            return true;
        }
        let principal = caller.clone();
        let question = Question { principal, action, resource, facts };
        self.engine.policies.decide(&question, clock::now()).verdict == Verdict::Allow
    }

    /// Whether something may be done with an instance that may not be in memory.
    pub(super) async fn allow_instance(
        &self,
        caller: &Principal,
        action: Action,
        id: InstanceId,
    ) -> Result<(), Refusal> {
        if self.engine.dev {
            return Ok(());
        }
        let handle = self.engine.handle(partition_of(id))?;
        let instance = handle.ask(|reply| partition::Request::Get { id, reply }).await?;
        self.allow(caller, action, of_instance(&instance))
    }
}

pub(super) fn of_instance(instance: &Instance) -> Resource {
    let name = &instance.started.name;
    Resource::Instance {
        instance: instance.id.to_string(),
        of: format!("{}/{}", name.namespace, name.name),
    }
}

pub(super) fn of_definition(definition: &Definition) -> Resource {
    let name = definition.name();
    of_workflow(&name.namespace, &name.name, &definition.risk)
}

pub(super) fn of_workflow(namespace: &str, name: &str, risk: &str) -> Resource {
    Resource::Workflow { workflow: format!("{namespace}/{name}"), risk: risk.to_owned() }
}
