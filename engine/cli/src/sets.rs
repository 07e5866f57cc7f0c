//! The policy sets of an engine: deployed, listed, shown, activated and rolled back.

use std::path::Path;

use baton_policy::{Finding, Set, Severity};
use baton_proto::v1::{
    ActivatePoliciesRequest, DeployPoliciesRequest, GetPoliciesRequest, ListPoliciesRequest,
    ListPoliciesResponse, PolicyActivation, PolicySet, RollBackPoliciesRequest,
};
use serde_json::{Value, json};
use time::OffsetDateTime;
use tonic::Request;

use crate::{
    client::Client,
    error::{Error, Outcome},
    input,
    output::{Output, Tone},
    policy, shape, times,
};

pub(crate) async fn deploy(
    client: &Client,
    folder: &Path,
    output: &Output,
) -> Result<Outcome, Error> {
    let texts = policy::texts(folder)?;
    // Found here, a mistake has its place in the folder's own files.
    if let Err(findings) = Set::compile(&texts) {
        return refuse(folder, &findings, output);
    }
    let request = Request::new(DeployPoliciesRequest { texts });
    let answer = client.policies().deploy(request).await;
    let answer = answer.map_err(|status| client.error(&status))?.into_inner();
    let set = answer.set.unwrap_or_default();
    if output.is_json() {
        output.json(&json!({ "created": answer.created, "set": shape_of(&set) }))?;
        return Ok(Outcome::Well);
    }
    let (word, tone) =
        if answer.created { ("deployed", Tone::Good) } else { ("unchanged", Tone::Dim) };
    let what = format!("{} as version {}", input::name(folder), set.version);
    output.line(&format!("{} {what}", output.paint.apply(tone, &format!("{word:<9}"))))?;
    output.line(&format!("`baton policy activate {}` lets it count", set.version))?;
    Ok(Outcome::Well)
}

fn refuse(folder: &Path, findings: &[Finding], output: &Output) -> Result<Outcome, Error> {
    if output.is_json() {
        let errors = findings.iter().filter(|finding| finding.severity == Severity::Error);
        output.json(&json!({ "created": false, "findings": errors.collect::<Vec<_>>() }))?;
    } else {
        policy::tell(folder, findings, output)?;
    }
    Ok(Outcome::Problems)
}

pub(crate) async fn list(client: &Client, output: &Output) -> Result<Outcome, Error> {
    let answer = client.policies().list(Request::new(ListPoliciesRequest {})).await;
    let answer = answer.map_err(|status| client.error(&status))?.into_inner();
    let ListPoliciesResponse { sets, activations, active, active_sha256 } = answer;
    if output.is_json() {
        output.json(&json!({
            "active": active, "active_sha256": shape::non_empty(&active_sha256),
            "sets": sets.iter().map(shape_of).collect::<Vec<_>>(),
            "activations": activations.iter().map(shape_of_activation).collect::<Vec<_>>(),
        }))?;
        return Ok(Outcome::Well);
    }
    if active == 0 {
        let what = if active_sha256.is_empty() {
            "no policies count".to_owned()
        } else {
            format!("the engine's own set counts ({})", short(&active_sha256))
        };
        output.line(&what)?;
    }
    let now = times::now_ms();
    let ago = |at: Option<&prost_types::Timestamp>| {
        at.map_or(String::new(), |at| times::ago(times::ms(at), now))
    };
    let rows = sets.iter().map(|set| {
        let is_active = set.version == active;
        let last = activations.iter().rev().find(|it| it.version == set.version);
        let by = last.map_or(String::new(), |it| it.by.clone());
        vec![
            (set.version.to_string(), if is_active { Tone::Good } else { Tone::Bold }),
            (if is_active { "counts" } else { "" }.to_owned(), Tone::Good),
            (set.author.clone(), Tone::Plain),
            (ago(set.deployed_at.as_ref()), Tone::Dim),
            (by, Tone::Plain),
            (last.map_or(String::new(), |it| readable(it.from.as_ref())), Tone::Dim),
            (short(&set.sha256), Tone::Dim),
        ]
    });
    let head = ["VERSION", "", "AUTHOR", "DEPLOYED", "ACTIVATED BY", "FROM", "HASH"];
    output.table(&head, rows.collect())?;
    Ok(Outcome::Well)
}

pub(crate) async fn show(client: &Client, version: u32, output: &Output) -> Result<Outcome, Error> {
    let answer = client.policies().get(Request::new(GetPoliciesRequest { version })).await;
    let set = answer.map_err(|status| client.error(&status))?.into_inner();
    if output.is_json() {
        let mut shape = shape_of(&set);
        shape["texts"] = json!(set.texts);
        output.json(&shape)?;
        return Ok(Outcome::Well);
    }
    for (name, text) in &set.texts {
        output.line(&output.paint.apply(Tone::Dim, &format!("// {name}")))?;
        // What is there is shown: nothing may hide itself from whoever looks it over.
        let plain: String = text
            .chars()
            .map(|c| if c.is_control() && !matches!(c, '\n' | '\t') { '\u{fffd}' } else { c })
            .collect();
        output.line(plain.trim_end())?;
    }
    Ok(Outcome::Well)
}

pub(crate) async fn activate(
    client: &Client,
    version: u32,
    from: Option<OffsetDateTime>,
    reason: &str,
    output: &Output,
) -> Result<Outcome, Error> {
    let from = from.map(times::timestamp);
    let request = ActivatePoliciesRequest { version, from, reason: reason.to_owned() };
    let answer = client.policies().activate(Request::new(request)).await;
    tell(&answer.map_err(|status| client.error(&status))?.into_inner(), output)
}

pub(crate) async fn roll_back(
    client: &Client,
    reason: &str,
    output: &Output,
) -> Result<Outcome, Error> {
    let request = RollBackPoliciesRequest { reason: reason.to_owned() };
    let answer = client.policies().roll_back(Request::new(request)).await;
    tell(&answer.map_err(|status| client.error(&status))?.into_inner(), output)
}

fn tell(activation: &PolicyActivation, output: &Output) -> Result<Outcome, Error> {
    if output.is_json() {
        output.json(&shape_of_activation(activation))?;
    } else {
        let from = readable(activation.from.as_ref());
        let counts = output.paint.apply(Tone::Good, "counts");
        output.line(&format!("version {} {counts} from {from} on", activation.version))?;
    }
    Ok(Outcome::Well)
}

fn shape_of(set: &PolicySet) -> Value {
    json!({
        "version": set.version, "sha256": set.sha256, "author": set.author,
        "deployed_at": set.deployed_at.as_ref().map(|at| times::rfc3339(times::ms(at))),
    })
}

fn shape_of_activation(activation: &PolicyActivation) -> Value {
    json!({
        "number": activation.number, "version": activation.version, "by": activation.by,
        "at": times::rfc3339(ms(activation.at.as_ref())),
        "from": times::rfc3339(ms(activation.from.as_ref())),
        "reason": shape::non_empty(&activation.reason),
    })
}

fn readable(at: Option<&prost_types::Timestamp>) -> String {
    times::rfc3339(ms(at)).unwrap_or_default()
}

fn ms(at: Option<&prost_types::Timestamp>) -> i64 {
    at.map_or(0, times::ms)
}

fn short(sha256: &str) -> String {
    sha256.chars().take(12).collect()
}
