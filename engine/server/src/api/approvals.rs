//! `ApprovalService`.

use std::{cmp::Reverse, collections::BTreeMap};

use baton_core::{ActivationId, Command, InstanceId, Rejection, workflow::Hash};
use baton_policy::question::{Action, Principal, Resource};
use baton_proto::v1::{self, approval_service_server::ApprovalService};
use serde_json::{Value, json};
use tonic::{Request, Response, Status};

use super::{Api, access, checked_reason, instance_id};
use crate::{
    error::Refusal,
    limits,
    partition::{self, inbox::Item, partition_of},
    view::timestamp,
    wire::{hex, unhex},
};

impl Api {
    async fn inbox(
        &self,
        caller: &Principal,
        request: v1::InboxRequest,
    ) -> Result<v1::InboxResponse, Refusal> {
        let limit = match request.limit {
            0 => limits::PAGE_DEFAULT,
            limit if limit <= limits::PAGE_MAX => limit,
            _ => {
                let most = limits::PAGE_MAX;
                return Err(Refusal::Invalid(format!("an answer has at most {most} items")));
            }
        } as usize;
        let mut items = Vec::new();
        for handle in self.engine.partitions() {
            items.extend(handle.ask(|reply| partition::Request::Inbox { reply }).await?);
        }
        let wanted = |item: &Item| {
            (request.group.is_empty() || *item.group == *request.group)
                && self.may(caller, Action::Decide, of_item(item), of_group(&item.group))
        };
        items.retain(wanted);
        // What ends in the same quarter of an hour is equally urgent: then what is about most, then what has waited longest.
        items.sort_by_cached_key(|item| {
            let due = item.due().map_or(i64::MAX, |due| due.0 / limits::URGENCY_MS);
            let asked = item.asked.iter().map(|asking| asking.asked_at.0).min();
            (due, Reverse(amount(item)), asked)
        });
        let (all, mut bytes) = (items.len(), 0);
        let by = self.name_of(caller);
        let fits = |item: &&Item| {
            let fits = bytes < limits::HISTORY_BYTES;
            bytes += item.arguments.len() + item.facts.len();
            fits
        };
        let shown: Vec<_> =
            items.iter().take(limit).take_while(fits).map(|item| self.item(item, &by)).collect();
        let more = shown.len() < all;
        Ok(v1::InboxResponse { items: shown, more })
    }

    async fn about_approval(
        &self,
        caller: &Principal,
        action: Action,
        (id, group): (&str, &str),
        command: impl FnOnce(String) -> Command,
    ) -> Result<v1::Instance, Refusal> {
        let id: InstanceId = instance_id(id)?;
        let Principal::Person { .. } = caller else {
            return Err(Refusal::Forbidden("only people answer".into()));
        };
        let handle = self.engine.handle(partition_of(id))?;
        let instance = handle.ask(|reply| partition::Request::Get { id, reply }).await?;
        self.allow_knowing(caller, action, access::of_instance(&instance), of_group(group))?;
        let by = self.name_of(caller);
        // Names may have come to be one person's after the instance was started, or the other answered.
        let people = instance.guarded_steps().filter_map(|(_, step)| step.guard.as_deref());
        let people = people.filter_map(|guard| guard.people.as_deref());
        let answered = people.flat_map(|people| people.answers.values().flatten());
        let mut before = answered.map(|answer| &answer.by).chain([&instance.started.by]);
        let of_step = action == Action::Decide;
        if of_step && before.any(|name| **name != *by && self.same_person(name) == by) {
            return Err(Refusal::Rejected(Rejection::FourEyes));
        }
        let command = command(by);
        let instance =
            handle.ask(|reply| partition::Request::Command { id, command, reply }).await?;
        Ok(self.show_to(caller, &instance))
    }
}

fn of_group(group: &str) -> BTreeMap<String, Value> {
    BTreeMap::from([("group".to_owned(), json!(group))])
}

fn of_item(item: &Item) -> Resource {
    Resource::Instance {
        instance: item.instance.to_string(),
        of: format!("{}/{}", item.workflow.namespace, item.workflow.name),
    }
}

/// What its task shows, in whole units; 0 when it shows none.
fn amount(item: &Item) -> i64 {
    let facts = serde_json::from_str::<Value>(&item.facts).unwrap_or_default();
    let amount = facts["amount"].as_f64().unwrap_or(0.0).ceil();
    #[expect(clippy::cast_possible_truncation, reason = "it only sorts")]
    let amount = amount as i64;
    amount
}

impl Api {
    fn item(&self, item: &Item, by: &str) -> v1::ApprovalItem {
        let workflow = &item.workflow;
        let own = |name: &str| *name == *by || self.same_person(name) == by;
        let mut not_yours = "";
        if own(&item.started_by) || item.approved_by.iter().any(|name| own(name)) {
            not_yours = Rejection::FourEyes.code();
        } else if item.claimed_by.as_deref().is_some_and(|claimed| *claimed != *by) {
            not_yours = Rejection::Claimed.code();
        }
        let first = item.asked.first().map(|asking| &asking.ask);
        let due = item.asked.iter().filter(|asking| !asking.overdue);
        let due = due.filter_map(|asking| asking.ask.due).min();
        let asked_at = item.asked.iter().map(|asking| asking.asked_at).min();
        let instead = item.asked.iter().find(|asking| asking.ask.group != item.group);
        let reasons: Vec<_> =
            item.asked.iter().filter_map(|asking| asking.ask.reason.as_deref()).collect();
        v1::ApprovalItem {
            instance: item.instance.to_string(),
            step: item.step.0,
            group: item.group.to_string(),
            workflow: format!("{}/{}:{}", workflow.namespace, workflow.name, workflow.version),
            task: item.task.to_string(),
            function: item.function.to_string(),
            arguments: item.arguments.to_string(),
            facts: item.facts.to_string(),
            digest: first.map(|ask| hex(&ask.digest.0)).unwrap_or_default(),
            reason: reasons.join("; "),
            policies: item.asked.iter().map(|asking| asking.ask.policy.to_string()).collect(),
            quorum: item.asked.iter().map(|asking| asking.ask.quorum).max().unwrap_or(1),
            approved_by: item.approved_by.iter().map(ToString::to_string).collect(),
            claimed_by: item.claimed_by.as_deref().unwrap_or_default().to_owned(),
            asked_at: asked_at.map(timestamp),
            due: due.map(timestamp),
            instead_of: instead.map(|asking| asking.ask.group.to_string()).unwrap_or_default(),
            started_by: item.started_by.to_string(),
            not_yours: not_yours.to_owned(),
        }
    }
}

fn digest(text: &str) -> Result<Hash, Refusal> {
    let wanted = "the digest of an approval has 64 hexadecimal digits";
    unhex(&text.to_ascii_lowercase()).map(Hash).ok_or_else(|| Refusal::Invalid(wanted.into()))
}

#[tonic::async_trait]
impl ApprovalService for Api {
    async fn inbox(
        &self,
        request: Request<v1::InboxRequest>,
    ) -> Result<Response<v1::InboxResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        let found = async { Api::inbox(self, &self.caller(&metadata)?, request).await };
        found.await.map(Response::new).map_err(|refusal| self.refused(refusal))
    }

    async fn claim(
        &self,
        request: Request<v1::ClaimApprovalRequest>,
    ) -> Result<Response<v1::Instance>, Status> {
        let (metadata, _, request) = request.into_parts();
        let v1::ClaimApprovalRequest { instance, step, group, release } = request;
        let claimed = async {
            let caller = self.caller(&metadata)?;
            let command = |by: String| Command::ClaimApproval {
                activation: ActivationId(step),
                group: group.as_str().into(),
                by: by.into(),
                release,
            };
            self.about_approval(&caller, Action::Claim, (&instance, &group), command).await
        };
        claimed.await.map(Response::new).map_err(|refusal| self.refused(refusal))
    }

    async fn answer(
        &self,
        request: Request<v1::AnswerApprovalRequest>,
    ) -> Result<Response<v1::Instance>, Status> {
        let (metadata, _, request) = request.into_parts();
        let answered = async {
            let caller = self.caller(&metadata)?;
            let digest = digest(&request.digest)?;
            let reason = checked_reason(&request.reason)?;
            if !request.approve && request.reason.trim().is_empty() {
                let what = "say why it is not approved: the workflow and its owner are told";
                return Err(Refusal::Invalid(what.into()));
            }
            let command = |by: String| Command::AnswerApproval {
                activation: ActivationId(request.step),
                group: request.group.as_str().into(),
                digest,
                by: by.into(),
                approves: request.approve,
                reason: reason.clone(),
            };
            let about = (request.instance.as_str(), request.group.as_str());
            self.about_approval(&caller, Action::Decide, about, command).await
        };
        answered.await.map(Response::new).map_err(|refusal| self.refused(refusal))
    }
}
