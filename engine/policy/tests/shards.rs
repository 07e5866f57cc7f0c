//! Asking only the policies that a question is about changes nothing: over random sets and questions the answer is that of
//! Cedar asked about all of them, except that whatever errs denies.

#![cfg(test)]

use std::collections::BTreeMap;

use baton_policy::{Question, Set, Verdict, set::Texts};
use cedar_policy::{Authorizer, Context, Entities, EntityUid, PolicySet, Request};
use proptest::prelude::*;
use serde_json::{Value, json};

const EFFECTS: [&str; 3] = ["read", "write", "irreversible"];

/// The scope and the conditions of a policy about steps.
fn policy() -> impl Strategy<Value = String> {
    let principal = prop::sample::select(vec![
        "principal",
        "principal is Baton::Agent",
        "principal == Baton::Agent::\"a1\"",
        "principal in Baton::Group::\"g1\"",
        "principal is Baton::Agent in Baton::Group::\"g2\"",
    ]);
    let resource = prop::sample::select(vec![
        "resource",
        "resource is Baton::Function",
        "resource == Baton::Function::\"d1.f1\"",
        "resource == Baton::Function::\"d2.f2\"",
        "resource in Baton::Department::\"d1\"",
        "resource is Baton::Function in Baton::Department::\"d2\"",
    ]);
    let condition = prop::sample::select(vec![
        "",
        "when { context.amount > 10 }",
        "when { resource.effect == \"write\" }",
        "unless { context.approvals.contains(\"g\") }",
        "when { principal.kind == \"write\" } unless { context.risk < 5 }",
    ]);
    let effect = prop::sample::select(vec!["permit", "forbid"]);
    (effect, principal, resource, condition).prop_map(|(effect, principal, resource, condition)| {
        format!(
            "{effect} ({principal}, action == Baton::Action::\"dispatch\", {resource}) {condition};"
        )
    })
}

fn question() -> impl Strategy<Value = Value> {
    let id = |letter: &'static str| (0..4_u8).prop_map(move |n| format!("{letter}{n}"));
    let known = |low: i64, high: i64| prop::option::of(low..high);
    (id("a"), id("d"), id("f"), 0..3_usize, known(0, 20), known(0, 10), any::<bool>()).prop_map(
        |(agent, department, function, effect, amount, risk, approved)| {
            json!({
                "principal": { "agent": agent, "kind": "write" },
                "action": "dispatch",
                "resource": { "function": format!("{department}.{function}"), "effect": EFFECTS[effect] },
                "facts": { "amount": amount, "risk": risk, "approvals": if approved { vec!["g"] } else { vec![] } },
            })
        },
    )
}

/// People and groups of the set, and what a question is about.
fn entities(question: &Value) -> Value {
    let group = |id: &str| json!({ "uid": { "type": "Baton::Group", "id": id }, "attrs": {}, "parents": [] });
    let mut all = vec![group("g1"), group("g2")];
    for (agent, parents) in [("a1", vec!["g1"]), ("a2", vec!["g1", "g2"])] {
        let parents = parents.iter().map(|id| json!({ "type": "Baton::Group", "id": id }));
        all.push(json!({
            "uid": { "type": "Baton::Agent", "id": agent }, "attrs": { "kind": "read-only" },
            "parents": parents.collect::<Vec<_>>(),
        }));
    }
    let Some(function) = question["resource"]["function"].as_str() else { return json!(all) };
    let agent = question["principal"]["agent"].as_str().unwrap();
    if !["a1", "a2"].contains(&agent) {
        let uid = json!({ "type": "Baton::Agent", "id": agent });
        all.push(json!({ "uid": uid, "attrs": { "kind": "write" }, "parents": [] }));
    }
    let (department, _) = function.split_once('.').unwrap();
    let department = json!({ "type": "Baton::Department", "id": department });
    all.push(json!({
        "uid": { "type": "Baton::Function", "id": function },
        "attrs": { "effect": question["resource"]["effect"] }, "parents": [department],
    }));
    json!(all)
}

/// What Cedar says to all policies: the verdict, with any error as a denial.
fn alone(policies: &str, question: &Value) -> bool {
    let uid =
        |kind: &str, id: &Value| -> EntityUid { format!("Baton::{kind}::{id}").parse().unwrap() };
    let facts: BTreeMap<_, _> = question["facts"].as_object().unwrap().iter().collect();
    let facts: BTreeMap<_, _> = facts.into_iter().filter(|(_, value)| !value.is_null()).collect();
    let request = Request::new(
        uid("Agent", &question["principal"]["agent"]),
        uid("Action", &question["action"]),
        uid("Function", &question["resource"]["function"]),
        Context::from_json_value(json!(facts), None).unwrap(),
        None,
    )
    .unwrap();
    let policies: PolicySet = policies.parse().unwrap();
    let entities = Entities::from_json_value(entities(question), None).unwrap();
    let response = Authorizer::new().is_authorized(&request, &policies, &entities);
    response.decision() == cedar_policy::Decision::Allow
        && response.diagnostics().errors().next().is_none()
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
            ("entities.json".to_owned(), entities(&Value::Null).to_string()),
        ]);
        let set = Set::compile(&texts).unwrap();
        for value in questions {
            let question: Question = serde_json::from_value(value.clone()).unwrap();
            let given = set.decide(&question).verdict == Verdict::Allow;
            prop_assert_eq!(given, alone(&policies, &value), "{} {}", policies, value);
        }
    }
}
