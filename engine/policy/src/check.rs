//! Whether a set holds together: policies against the schema, annotations, and what lifts denials.

use std::collections::{BTreeMap, BTreeSet};

use cedar_policy::{
    Effect, Entities, EntityUid, EvalResult, Policy, PolicyId, PolicySet, Schema, ValidationMode,
    Validator,
};
use miette::Diagnostic;
use serde_json::Value;

use crate::{
    SCHEMA,
    finding::{Finding, Severity},
    limits,
    question::type_name,
    remedy::{Remedy, Wanted},
    set::{ENTITIES, Texts, decides},
};

pub(crate) struct Checked {
    pub findings: Vec<Finding>,
    pub policies: Vec<Policy>,
    pub remedies: BTreeMap<PolicyId, Wanted>,
    pub entities: Entities,
}

/// Annotations that mean something; others would be taken for something that works.
const ANNOTATIONS: [&str; 6] = ["id", "remedy", "quorum", "due", "reason", "fallback"];

pub(crate) fn schema() -> Schema {
    Schema::from_cedarschema_str(SCHEMA).expect("the schema is ours").0
}

/// Of what `entities.json` may tell: the rest comes with each question.
const TOLD: [&str; 5] = ["Group", "Person", "Service", "Agent", "Worker"];

/// On a stack of its own: Cedar's parser and checker recurse.
pub(crate) fn check(texts: &Texts) -> Checked {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(limits::CHECK_STACK_BYTES);
        let checking = thread.spawn_scoped(scope, || check_here(texts));
        checking.expect("a thread can be started").join()
    })
    .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

fn check_here(texts: &Texts) -> Checked {
    let schema = schema();
    let mut checked = Checked {
        findings: Vec::new(),
        policies: Vec::new(),
        remedies: BTreeMap::new(),
        entities: Entities::empty(),
    };
    let bytes: usize = texts.values().map(String::len).sum();
    if bytes > limits::SET_BYTES_MAX {
        let what = format!("a set has at most {} bytes", limits::SET_BYTES_MAX);
        checked.findings.push(Finding::error("set-too-large", "", what));
        return checked;
    }
    if let Some(text) = texts.get(ENTITIES) {
        match entities(text, &schema) {
            Ok(entities) => checked.entities = entities,
            Err((code, what)) => checked.findings.push(Finding::error(code, ENTITIES, what)),
        }
    }
    for name in texts.keys().filter(|name| name.ends_with("/entities.json")) {
        let what = "entities.json stands beside the folders, not in one: it would not be read";
        checked.findings.push(Finding::error("entities-invalid", name, what));
    }
    let mut of_file = BTreeMap::new();
    for (name, text) in texts.iter().filter(|(name, _)| decides(name) && *name != ENTITIES) {
        if let Some((offset, what)) = beyond_bounds(text) {
            let finding = Finding::error("policy-too-large", name, what);
            checked.findings.push(finding.at(text, Some(offset)));
            continue;
        }
        if checked.policies.len() > limits::POLICIES_MAX {
            break;
        }
        match text.parse::<PolicySet>() {
            Ok(set) => checked.take(name, text, &set, &mut of_file),
            Err(errors) => checked.findings.extend(errors.iter().map(|error| {
                let offset = error.labels().and_then(|mut l| l.next()).map(|label| label.offset());
                Finding::error("policy-syntax", name, with_cause(error)).at(text, offset)
            })),
        }
    }
    if checked.policies.is_empty() && checked.findings.is_empty() {
        checked.findings.push(Finding::error(
            "no-policy",
            "",
            "the set has no policy in a text that ends in .cedar, and would deny everything",
        ));
    }
    if checked.policies.len() > limits::POLICIES_MAX {
        let what = format!("a set has at most {} policies", limits::POLICIES_MAX);
        checked.findings.push(Finding::error("too-many-policies", "", what));
        return checked;
    }
    checked.validate(schema, texts, &of_file);
    checked.findings.sort_by(|a, b| {
        (&a.file, a.line, a.column, a.code).cmp(&(&b.file, b.line, b.column, b.code))
    });
    checked
}

/// People, groups and agents; the code and the words of what is wrong with them.
fn entities(text: &str, schema: &Schema) -> Result<Entities, (&'static str, String)> {
    let invalid = |what: String| ("entities-invalid", what);
    let json: Value = serde_json::from_str(text).map_err(|error| invalid(error.to_string()))?;
    let listed = json.as_array().ok_or_else(|| invalid("it is no array".into()))?;
    if listed.len() > limits::ENTITIES_MAX {
        return Err(("too-many-entities", format!("a set names at most {}", limits::ENTITIES_MAX)));
    }
    let mut parents: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for entity in listed {
        let kind = entity["uid"]["type"].as_str().and_then(|kind| kind.strip_prefix("Baton::"));
        if !kind.is_some_and(|kind| TOLD.contains(&kind)) {
            let told = TOLD.map(|kind| format!("Baton::{kind}")).join(", ");
            let what = format!("a set tells of {told}, as {{\"type\", \"id\"}}: {}", entity["uid"]);
            return Err(invalid(what));
        }
        if let (Some("Group"), Some(id)) = (kind, entity["uid"]["id"].as_str()) {
            let within = entity["parents"].as_array().into_iter().flatten();
            parents.entry(id).or_default().extend(within.filter_map(|group| group["id"].as_str()));
        }
    }
    // So many steps up must end everywhere, which also finds a circle.
    let mut level: BTreeSet<&str> = parents.keys().copied().collect();
    for _ in 0..limits::GROUPS_DEPTH_MAX {
        level = level.iter().filter_map(|id| parents.get(id)).flatten().copied().collect();
    }
    if !level.is_empty() {
        let what = format!("groups stand in each other at most {} deep", limits::GROUPS_DEPTH_MAX);
        return Err(invalid(what));
    }
    let entities = Entities::from_json_value(json, Some(schema));
    let entities = entities.map_err(|error| invalid(with_cause(&error)))?;
    let beyond = |agreed: i64| !(0..=limits::CONFIDENCE_MAX).contains(&agreed);
    if let Some((agent, _)) = confidence_bounds(&entities).find(|(_, agreed)| beyond(*agreed)) {
        let what = format!("{agent}: confidenceMax is a percentage, from 0 to 100");
        return Err(invalid(what));
    }
    Ok(entities)
}

/// Agents with whom it was agreed how much confidence of theirs counts, in percent.
pub(crate) fn confidence_bounds(entities: &Entities) -> impl Iterator<Item = (EntityUid, i64)> {
    let agent = type_name("Agent");
    let agents = entities.iter().filter(move |entity| *entity.uid().type_name() == agent);
    agents.filter_map(|agent| match agent.attr("confidenceMax") {
        Some(Ok(EvalResult::Long(agreed))) => Some((agent.uid(), agreed)),
        Some(_) | None => None,
    })
}

/// Where a policy is longer or deeper than Cedar can be given, and why: it recurses over both.
fn beyond_bounds(text: &str) -> Option<(usize, String)> {
    let (mut depth, mut began, mut quoted, mut comment, mut before) = (0_usize, 0, false, false, 0);
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'\n' => comment = false,
            _ if comment => {}
            b'"' if !quoted => quoted = true,
            b'"' if before != b'\\' => quoted = false,
            b'/' if !quoted && before == b'/' => comment = true,
            b'(' | b'[' | b'{' if !quoted => depth += 1,
            b')' | b']' | b'}' if !quoted => depth = depth.saturating_sub(1),
            b';' if !quoted => began = at + 1,
            _ => {}
        }
        // What escapes is escaped itself.
        before = if byte == b'\\' && before == b'\\' { 0 } else { byte };
        if depth > limits::BRACKETS_MAX {
            return Some((at, format!("brackets are at most {} deep", limits::BRACKETS_MAX)));
        }
        if at.saturating_sub(began) > limits::POLICY_BYTES_MAX {
            return Some((
                began,
                format!("a policy has at most {} bytes", limits::POLICY_BYTES_MAX),
            ));
        }
    }
    None
}

/// Where a policy stands: its text by name, and the offset.
type Places = BTreeMap<PolicyId, (String, usize)>;

impl Checked {
    fn take(&mut self, name: &str, text: &str, set: &PolicySet, places: &mut Places) {
        if set.templates().next().is_some() {
            let what = "a policy with ?principal or ?resource is a template: name who is meant";
            self.findings.push(Finding::error("policy-template", name, what));
        }
        for policy in set.policies() {
            let Some(id) = policy.annotation("id").filter(|id| is_name(id)) else {
                let what = format!(
                    "a policy without @id(\"…\") of 1 to {} bytes: decisions name it by that: {}",
                    limits::NAME_BYTES_MAX,
                    policy.to_cedar().unwrap_or_default().lines().next().unwrap_or_default()
                );
                self.findings.push(Finding::error("policy-without-id", name, what));
                continue;
            };
            let offset = text.find(&format!("@id(\"{id}\")")).unwrap_or_default();
            let place = |finding: Finding| finding.at(text, Some(offset));
            let policy = policy.new_id(PolicyId::new(id));
            if let Some((other, _)) = places.insert(policy.id().clone(), (name.to_owned(), offset))
            {
                let what = format!("policy {id} stands in {other} already");
                self.findings.push(place(Finding::error("duplicate-id", name, what)));
                continue;
            }
            match wanted(&policy, id) {
                Ok(Some(wanted)) => {
                    self.remedies.insert(policy.id().clone(), wanted);
                }
                Ok(None) => {}
                Err((code, what)) => self.findings.push(place(Finding::error(code, name, what))),
            }
            self.policies.push(policy);
        }
    }

    fn validate(&mut self, schema: Schema, texts: &Texts, places: &Places) {
        let place = |finding: Finding, id: &PolicyId| {
            let Some((file, offset)) = places.get(id) else { return finding };
            let text = texts.get(file).map_or("", String::as_str);
            Finding { file: file.clone(), ..finding }.at(text, Some(*offset))
        };
        let set = PolicySet::from_policies(self.policies.iter().cloned());
        let set = set.expect("policies with an id that is taken are left out");
        let result = Validator::new(schema).validate(&set, ValidationMode::Strict);
        for error in result.validation_errors() {
            let finding = Finding::error("policy-invalid", "", with_help(error));
            self.findings.push(place(finding, error.policy_id()));
        }
        for warning in result.validation_warnings() {
            let finding = Finding {
                severity: Severity::Warning,
                ..Finding::error("policy-doubtful", "", with_help(warning))
            };
            self.findings.push(place(finding, warning.policy_id()));
        }
    }
}

/// What an annotation wants; the code and the words of what is wrong with it.
fn wanted(policy: &Policy, id: &str) -> Result<Option<Wanted>, (&'static str, String)> {
    let invalid = |what: String| ("annotation-invalid", what);
    let unknown = policy.annotations().find(|(name, _)| !ANNOTATIONS.contains(name));
    if asks_for_facts(policy) {
        let what = "`context has …`: a policy reads a fact as if it were known, and where it is not, that denies";
        return Err(("asks-for-facts", what.into()));
    }
    if let Some((name, _)) = unknown {
        let known = ANNOTATIONS.map(|name| format!("@{name}")).join(", ");
        return Err(invalid(format!("@{name} means nothing; there are {known}")));
    }
    let parse = |name: &str| {
        let text = policy.annotation(name);
        let remedy = text.map(str::parse::<Remedy>).transpose();
        remedy.map_err(|error| invalid(format!("@{name}: {error}")))
    };
    let Some(remedy) = parse("remedy")? else {
        let lone = ["quorum", "due", "fallback"].into_iter();
        return match lone.into_iter().find(|name| policy.annotation(name).is_some()) {
            Some(name) => Err(invalid(format!("@{name} is said of a @remedy, and there is none"))),
            None => Ok(None),
        };
    };
    if policy.effect() == Effect::Permit {
        return Err(invalid("a permit denies nothing that a @remedy could lift".into()));
    }
    let fallback = parse("fallback")?;
    let quorum = policy.annotation("quorum").unwrap_or("1");
    let quorum = quorum.parse().ok().filter(|quorum| (1..=limits::QUORUM_MAX).contains(quorum));
    let Some(quorum) = quorum else {
        return Err(invalid(format!("a @quorum is a number from 1 to {}", limits::QUORUM_MAX)));
    };
    if remedy.waits_for_people() && fallback.is_none() {
        let what = format!(
            "{remedy} waits for people; say with @fallback(\"escalate:LEVEL\") what is done when nobody answers"
        );
        return Err(("remedy-without-fallback", what));
    }
    if let Some(Remedy::Mask(_) | Remedy::Wait(_)) = &fallback {
        let what = "a @fallback is who answers instead, who is told, or who looks at it afterwards";
        return Err(invalid(what.into()));
    }
    let due = policy.annotation("due").map(baton_dsl::parse_duration).transpose();
    let due = due.map_err(|error| invalid(format!("@due: {error}")))?;
    if fallback.as_ref() == Some(&remedy) {
        return Err(invalid("a @fallback is something else than its @remedy".into()));
    }
    let (fact, name) = remedy.fact();
    if !mentions(policy, fact, name) {
        let what = format!(
            "{remedy} would lift nothing: the policy does not ask whether context.{fact} contains \"{name}\""
        );
        return Err(("remedy-lifts-nothing", what));
    }
    Ok(Some(Wanted {
        remedy,
        policy: id.to_owned(),
        quorum,
        due: policy.annotation("due").map(ToOwned::to_owned),
        due_ms: due.map(|due| due.0),
        reason: policy.annotation("reason").map(ToOwned::to_owned),
        fallback,
    }))
}

fn any(value: &Value, wanted: &impl Fn(&Value) -> bool) -> bool {
    wanted(value)
        || match value {
            Value::Array(values) => values.iter().any(|value| any(value, wanted)),
            Value::Object(members) => members.values().any(|value| any(value, wanted)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
        }
}

/// Whether an `unless` of a policy asks if a fact contains a text, alone or among others.
fn mentions(policy: &Policy, fact: &str, name: &str) -> bool {
    let contains = |value: &Value| {
        let of = |call: &Value| {
            call["left"]["."]["attr"] == fact
                && call["left"]["."]["left"]["Var"] == "context"
                && any(&call["right"], &|value| value["Value"] == name)
        };
        of(&value["contains"]) || of(&value["containsAny"]) || of(&value["containsAll"])
    };
    let Ok(json) = policy.to_json() else { return false };
    let conditions = json["conditions"].as_array().into_iter().flatten();
    let mut lifting = conditions.filter(|condition| condition["kind"] == "unless");
    lifting.any(|condition| any(&condition["body"], &contains))
}

fn asks_for_facts(policy: &Policy) -> bool {
    let has = |value: &Value| value["has"]["left"]["Var"] == "context";
    policy.to_json().is_ok_and(|json| any(&json["conditions"], &has))
}

fn is_name(text: &str) -> bool {
    (1..=limits::NAME_BYTES_MAX).contains(&text.len())
}

fn with_cause(error: &(dyn std::error::Error + 'static)) -> String {
    let causes = std::iter::successors(error.source(), |error| error.source());
    let causes = causes.map(ToString::to_string);
    std::iter::once(error.to_string()).chain(causes).collect::<Vec<_>>().join(": ")
}

fn with_help(error: &(impl Diagnostic + std::fmt::Display)) -> String {
    match error.help() {
        Some(help) => format!("{error} ({help})"),
        None => error.to_string(),
    }
}
