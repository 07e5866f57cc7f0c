//! Asking only the policies that a question is about changes nothing: over random sets and questions the answer and its
//! reasons are those of Cedar asked about all of them, except that whatever errs denies.

#![cfg(test)]

use std::collections::BTreeMap;

use baton_policy::{Question, Set, Verdict, set::Texts};
use cedar_policy::{Authorizer, Context, Entities, EntityUid, PolicySet, Request};
use proptest::prelude::*;
use serde_json::{Value, json};

const EFFECTS: [&str; 3] = ["read", "write", "irreversible"];

/// The scope and the conditions of a policy about steps, or about what people read.
fn policy() -> impl Strategy<Value = String> {
    let step = (
        prop::sample::select(vec![
            "principal",
            "principal is Baton::Agent",
            "principal == Baton::Agent::\"a1\"",
            "principal in Baton::Group::\"g1\"",
            "principal is Baton::Agent in Baton::Group::\"g2\"",
        ]),
        Just("dispatch"),
        prop::sample::select(vec![
            "resource",
            "resource is Baton::Function",
            "resource == Baton::Function::\"d1.n1\"",
            "resource == Baton::Function::\"d2.n2\"",
            "resource in Baton::Department::\"d1\"",
            "resource is Baton::Function in Baton::Department::\"d2\"",
        ]),
        prop::sample::select(vec![
            "",
            "when { context.amount > 10 }",
            "when { resource.effect == \"write\" }",
            "unless { context.approvals.contains(\"g\") }",
            "when { principal.kind == \"write\" } unless { context.risk < 5 }",
        ]),
    );
    let read = (
        prop::sample::select(vec![
            "principal",
            "principal is Baton::Person",
            "principal in Baton::Group::\"g2\"",
        ]),
        Just("read"),
        prop::sample::select(vec![
            "resource",
            "resource is Baton::Instance",
            "resource in Baton::Workflow::\"d1/n1\"",
            "resource == Baton::Workflow::\"d1/n1\"",
            "resource in Baton::Department::\"d1\"",
            "resource is Baton::Instance in Baton::Department::\"d2\"",
            "resource == Baton::Instance::\"i1\"",
        ]),
        Just(""),
    );
    let effect = prop::sample::select(vec!["permit", "forbid"]);
    (effect, prop_oneof![step, read]).prop_map(
        |(effect, (principal, action, resource, condition))| {
            let action = format!("action == Baton::Action::\"{action}\"");
            format!("{effect} ({principal}, {action}, {resource}) {condition};")
        },
    )
}

fn question() -> impl Strategy<Value = Value> {
    let known = |low: i64, high: i64| prop::option::of(low..high);
    let step = (0..4_u8, 0..4_u8, 0..4_u8, 0..3_usize, known(0, 20), known(0, 10), any::<bool>());
    let step = step.prop_map(|(agent, department, name, effect, amount, risk, approved)| {
        let function = format!("d{department}.n{name}");
        json!({
            "principal": { "agent": format!("a{agent}"), "kind": "write" },
            "action": "dispatch",
            "resource": { "function": function, "effect": EFFECTS[effect] },
            "facts": { "amount": amount, "risk": risk, "approvals": if approved { vec!["g"] } else { vec![] } },
        })
    });
    let read = (0..3_u8, 0..3_u8, 0..3_u8, 0..3_u8, any::<bool>());
    let read = read.prop_map(|(person, department, name, instance, of_instance)| {
        let of = format!("d{department}/n{name}");
        let resource = if of_instance {
            json!({ "instance": format!("i{instance}"), "of": of })
        } else {
            json!({ "workflow": of, "risk": "low" })
        };
        json!({
            "principal": { "person": format!("p{person}") }, "action": "read", "resource": resource, "facts": {},
        })
    });
    prop_oneof![step, read]
}

fn entity(kind: &str, id: &str, attributes: &Value, parents: &[(&str, &str)]) -> Value {
    let uid = |(kind, id): &(&str, &str)| json!({ "type": format!("Baton::{kind}"), "id": id });
    json!({
        "uid": uid(&(kind, id)), "attrs": attributes, "parents": parents.iter().map(uid).collect::<Vec<_>>(),
    })
}

/// Of the set: groups in groups, and some who are in them.
fn told() -> Vec<Value> {
    let kind = json!({ "kind": "read-only" });
    vec![
        entity("Group", "g1", &json!({}), &[]),
        entity("Group", "g2", &json!({}), &[("Group", "g1")]),
        entity("Agent", "a1", &kind, &[("Group", "g1")]),
        entity("Agent", "a2", &kind, &[("Group", "g2")]),
        entity("Person", "p1", &json!({}), &[("Group", "g2")]),
    ]
}

/// With what a question is about; and the two themselves.
fn whole(question: &Value) -> (Vec<Value>, EntityUid, EntityUid) {
    let uid =
        |kind: &str, id: &str| -> EntityUid { format!("Baton::{kind}::\"{id}\"").parse().unwrap() };
    let mut all = told();
    let (principal, resource) = (&question["principal"], &question["resource"]);
    let principal = match (principal["agent"].as_str(), principal["person"].as_str()) {
        (Some(id), _) => {
            if !["a1", "a2"].contains(&id) {
                all.push(entity("Agent", id, &json!({ "kind": "write" }), &[]));
            }
            uid("Agent", id)
        }
        (None, Some(id)) => uid("Person", id),
        (None, None) => unreachable!("a principal of ours"),
    };
    let owner = |name: &str, between: char| name.split(between).next().unwrap().to_owned();
    let resource = if let Some(id) = resource["function"].as_str() {
        let attributes = json!({ "effect": resource["effect"] });
        all.push(entity("Function", id, &attributes, &[("Department", &owner(id, '.'))]));
        uid("Function", id)
    } else if let Some(id) = resource["workflow"].as_str() {
        all.push(entity(
            "Workflow",
            id,
            &json!({ "risk": "low" }),
            &[("Department", &owner(id, '/'))],
        ));
        uid("Workflow", id)
    } else {
        let (id, of) = (resource["instance"].as_str().unwrap(), resource["of"].as_str().unwrap());
        let parents = [("Workflow", of), ("Department", &*owner(of, '/'))];
        all.push(entity("Instance", id, &json!({}), &parents));
        uid("Instance", id)
    };
    (all, principal, resource)
}

/// What Cedar says to all policies, with its reasons; `None`: something erred.
fn alone(policies: &PolicySet, question: &Value) -> Option<(bool, Vec<String>)> {
    let (entities, principal, resource) = whole(question);
    let facts: BTreeMap<_, _> = question["facts"].as_object().unwrap().iter().collect();
    let facts: BTreeMap<_, _> = facts.into_iter().filter(|(_, value)| !value.is_null()).collect();
    let action = format!("Baton::Action::{}", question["action"]).parse().unwrap();
    let context = Context::from_json_value(json!(facts), None).unwrap();
    let request = Request::new(principal, action, resource, context, None).unwrap();
    let entities = Entities::from_json_value(json!(entities), None).unwrap();
    let response = Authorizer::new().is_authorized(&request, policies, &entities);
    let diagnostics = response.diagnostics();
    let name = |id| policies.policy(id).unwrap().annotation("id").unwrap().to_owned();
    let mut reasons: Vec<String> = diagnostics.reason().map(name).collect();
    reasons.sort();
    let allowed = response.decision() == cedar_policy::Decision::Allow;
    diagnostics.errors().next().is_none().then_some((allowed, reasons))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_shard_says_what_the_whole_set_says(
        policies in prop::collection::vec(policy(), 1..20),
        questions in prop::collection::vec(question(), 1..20),
    ) {
        let numbered = policies.iter().enumerate().map(|(n, policy)| format!("@id(\"p{n}\")\n{policy}\n"));
        let policies = numbered.collect::<String>();
        let texts = Texts::from([
            ("p.cedar".to_owned(), policies.clone()),
            ("entities.json".to_owned(), json!(told()).to_string()),
        ]);
        let set = Set::compile(&texts).unwrap();
        let all: PolicySet = policies.parse().unwrap();
        for value in questions {
            let question: Question = serde_json::from_value(value.clone()).unwrap();
            let given = set.decide(&question);
            let erred = !given.errors.is_empty();
            let ours = (!erred).then(|| (given.verdict == Verdict::Allow, given.determining.clone()));
            prop_assert_eq!(ours, alone(&all, &value), "{} {}", policies, value);
            prop_assert!(!erred || given.verdict == Verdict::Deny);
        }
    }
}
