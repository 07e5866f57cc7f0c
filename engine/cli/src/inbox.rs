//! What people are asked, and their answers.

use baton_proto::v1::{
    AnswerApprovalRequest, ApprovalItem, ClaimApprovalRequest, InboxRequest, InboxResponse,
};
use serde_json::{Value, json};
use tonic::Request;

use crate::{
    args::{AnswerArguments, ClaimArguments},
    client::{self, Client},
    error::{Error, Outcome},
    output::{Output, Tone},
    shape, times,
};

/// Where one is looked for that is named without its group.
const LOOKED_THROUGH: u32 = 1_000;

pub(crate) async fn list(
    client: &Client,
    group: &str,
    limit: u32,
    output: &Output,
) -> Result<Outcome, Error> {
    let InboxResponse { items, more } = get(client, group, limit).await?;
    if output.is_json() {
        let items: Vec<_> = items.iter().map(shape_of).collect();
        output.json(&json!({ "items": items, "more": more }))?;
        return Ok(Outcome::Well);
    }
    if items.is_empty() {
        output.line("nobody asks you anything")?;
        return Ok(Outcome::Well);
    }
    let now = times::now_ms();
    let rows = items.iter().map(|item| {
        let due = item.due.as_ref().map_or(String::new(), |at| {
            let left = times::ms(at) - now;
            if left > 0 { format!("in {}", times::span(left)) } else { "now".to_owned() }
        });
        let who = if item.not_yours.is_empty() { &item.claimed_by } else { &item.not_yours };
        vec![
            (format!("{}/{}", item.instance, item.step), Tone::Bold),
            (item.group.clone(), Tone::Plain),
            (format!("{} ({})", item.task, item.function), Tone::Plain),
            (format!("{} of {}", item.approved_by.len(), item.quorum), Tone::Plain),
            (due, Tone::Warn),
            (who.clone(), Tone::Dim),
            (item.reason.clone(), Tone::Plain),
        ]
    });
    let head = ["WHICH", "GROUP", "STEP", "APPROVED", "DUE", "WHO", "WHY"];
    output.table(&head, rows.collect())?;
    if more {
        output.line("there are more: --limit")?;
    }
    Ok(Outcome::Well)
}

pub(crate) async fn answer(
    client: &Client,
    answer: &AnswerArguments,
    approve: bool,
    output: &Output,
) -> Result<Outcome, Error> {
    let item = find(client, &answer.about).await?;
    let request = AnswerApprovalRequest {
        instance: item.instance.clone(),
        step: item.step,
        group: item.group.clone(),
        digest: answer.digest.clone().unwrap_or_else(|| item.digest.clone()),
        approve,
        reason: answer.reason.clone(),
    };
    let answered = client.approvals().answer(Request::new(request)).await;
    let instance = answered.map_err(|status| client.error(&status))?.into_inner();
    if output.is_json() {
        output.json(&shape::instance(&instance))?;
    } else {
        let (word, tone) = if approve { ("approved", Tone::Good) } else { ("denied", Tone::Bad) };
        let what = format!("{} ({}) as {}", item.task, item.function, item.group);
        output.line(&format!("{} {what}", output.paint.apply(tone, word)))?;
    }
    Ok(Outcome::Well)
}

pub(crate) async fn claim(
    client: &Client,
    about: &ClaimArguments,
    release: bool,
    output: &Output,
) -> Result<Outcome, Error> {
    let item = find(client, about).await?;
    let request = ClaimApprovalRequest {
        instance: item.instance.clone(),
        step: item.step,
        group: item.group.clone(),
        release,
    };
    let claimed = client.approvals().claim(Request::new(request)).await;
    let instance = claimed.map_err(|status| client.error(&status))?.into_inner();
    if output.is_json() {
        output.json(&shape::instance(&instance))?;
    } else {
        let word = if release { "released" } else { "claimed" };
        output.line(&format!("{word} {} ({}) as {}", item.task, item.function, item.group))?;
    }
    Ok(Outcome::Well)
}

async fn get(client: &Client, group: &str, limit: u32) -> Result<InboxResponse, Error> {
    let request = InboxRequest { group: group.to_owned(), limit };
    let answer = client.approvals().inbox(Request::new(request)).await;
    Ok(answer.map_err(|status| client.error(&status))?.into_inner())
}

/// The one that is meant, with what it is about now.
async fn find(client: &Client, about: &ClaimArguments) -> Result<ApprovalItem, Error> {
    let all = get(client, &about.group, LOOKED_THROUGH).await?.items;
    let of_step = |item: &ApprovalItem| {
        item.instance == about.which.instance && item.step == about.which.step
    };
    let mut found = all.into_iter().filter(of_step);
    let refused = |message: &str| client::Error::Refused {
        code: "not-awaited".to_owned(),
        message: message.to_owned(),
    };
    let item = found.next().ok_or_else(|| refused("nobody asks you about this step"))?;
    if found.next().is_some() {
        return Err(Error::Usage("several of your groups are asked: say --group".into()));
    }
    Ok(item)
}

fn shape_of(item: &ApprovalItem) -> Value {
    let at = |at: Option<&prost_types::Timestamp>| at.and_then(|at| times::rfc3339(times::ms(at)));
    let value = |text: &str| serde_json::from_str::<Value>(text).unwrap_or_default();
    json!({
        "instance": item.instance, "step": item.step, "group": item.group, "workflow": item.workflow,
        "task": item.task, "function": item.function, "arguments": value(&item.arguments),
        "facts": value(&item.facts), "digest": item.digest, "reason": shape::non_empty(&item.reason),
        "policies": item.policies, "quorum": item.quorum, "approved_by": item.approved_by,
        "claimed_by": shape::non_empty(&item.claimed_by), "asked_at": at(item.asked_at.as_ref()),
        "due": at(item.due.as_ref()), "instead_of": shape::non_empty(&item.instead_of),
        "started_by": shape::non_empty(&item.started_by),
        "not_yours": shape::non_empty(&item.not_yours),
    })
}
