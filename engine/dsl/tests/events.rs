//! What listens, emits and runs other workflows compiles to, and what is found wrong with it.

#![expect(clippy::panic, reason = "these stand in tests")]

mod common;

use baton_core::{
    Evaluator, EventDefaults, Json, Scope, Timestamp, Workflow,
    workflow::{Expression, Kind, Listen, Read, Until},
};
use baton_dsl::{Compiled, lint};
use common::{compiled, document, instance, lines, task};

/// The tasks have exactly this finding; their first line is 1.
#[track_caller]
fn finds(source: &str, code: &str, line: u32, column: u32) {
    let findings = lint(&document(source, ""));
    let found: Vec<_> =
        findings.iter().map(|finding| (finding.code, finding.line, finding.column)).collect();
    assert_eq!(found, [(code, line + 7, column + 2)], "{}\n{source}", lines(&findings));
}

fn one(source: &str) -> Compiled {
    compiled(&document(&format!("- a: {source}"), ""))
}

fn listen(workflow: &Workflow) -> &Listen {
    let Kind::Listen(listen) = &task(workflow, "/do/0/a").kind else { panic!("it listens") };
    listen
}

fn scope<'a>(
    workflow: &'a Workflow,
    instance: &'a baton_core::Instance,
    value: &'a Json,
) -> Scope<'a> {
    Scope { workflow, instance, value, input: None, output: None, task: None, variables: &[] }
}

/// Whether the one filter of a listener takes an event.
fn takes(with: &str, event: &str) -> bool {
    let compiled = one(&format!("{{ listen: {{ to: {{ one: {{ with: {with} }} }} }} }}"));
    let workflow = &compiled.workflow;
    let instance = instance(workflow, "{}", r#"{"limit":5}"#);
    let event = Json::from_text(event);
    let matcher = listen(workflow).filters[0].matcher;
    compiled.program.turn().matches(matcher, &scope(workflow, &instance, &event))
}

#[test]
fn a_filter_takes_what_has_its_attributes() {
    let event = r#"{"specversion":"1.0","id":"1","source":"/a","type":"t.created","room":7,"data":{"n":3,"deep":{"x":[1, 2],"y":"z"}}}"#;
    assert!(takes("{ type: t.created }", event));
    assert!(takes("{ type: t.created, room: 7 }", event));
    assert!(!takes("{ type: t.deleted }", event));
    assert!(!takes("{ type: t.created, subject: s }", event));
    assert!(takes(r"{ type: '^t\.(created|deleted)$' }", event));
    assert!(!takes("{ type: '^created' }", event));
    assert!(takes("{ data: '${ .n > 2 }' }", event));
    assert!(!takes("{ data: '${ .n > 3 }' }", event));
    assert!(takes("{ data: '${ .n < $context.limit }' }", event));
    assert!(takes("{ source: '${ \"/\" + \"a\" }' }", event));
    assert!(takes("{ data: { n: 3, deep: { x: [1,2] } } }", event));
    assert!(takes("{ data: { deep: { y: '^z' } } }", event));
    assert!(!takes("{ data: { deep: { y: zz } } }", event));
    // What cannot be evaluated of an event does not match.
    assert!(!takes("{ data: '${ .deep + 1 > 0 }' }", event));
    assert!(!takes("{ type: t.created }", "[]"));
}

#[test]
fn expression_syntax_in_an_event_is_data() {
    assert!(!takes("{ data: { n: 5 } }", r#"{"data":{"n":"${ 5 }"}}"#));
}

#[test]
fn strategies_are_what_they_say() {
    let until = |to: &str| {
        let compiled = one(&format!("{{ listen: {{ to: {to} }} }}"));
        let found = listen(&compiled.workflow);
        (format!("{:?}", found.until), found.filters.len())
    };
    let a = "{ with: { type: a } }";
    assert_eq!(until(&format!("{{ one: {a} }}")), ("First".into(), 1));
    assert_eq!(until(&format!("{{ any: [{a}, {a}] }}")), ("First".into(), 2));
    assert_eq!(until("{ any: [] }"), ("First".into(), 1), "any event at all");
    assert_eq!(until(&format!("{{ all: [{a}, {a}] }}")), ("All".into(), 2));
    assert!(until("{ any: [], until: '( . | length ) > 3' }").0.starts_with("Holds"));
    let compiled = one(&format!(
        "{{ listen: {{ to: {{ any: [], until: {{ all: [{a}, {a}] }} }}, read: envelope }} }}"
    ));
    let found = listen(&compiled.workflow);
    assert_eq!(found.read, Read::Envelope);
    let Until::Events { filters, all: true } = &found.until else { panic!("{:?}", found.until) };
    assert_eq!(filters.len(), 2);
}

#[test]
fn a_listener_reads_what_it_is_told() {
    let compiled = one("{ listen: { to: { any: [] } } }");
    let read =
        |event: &str, read| compiled.program.turn().read(&Json::from_text(event), read).to_string();
    let event = r#"{"id":"1","data":{"a": 1}}"#;
    assert_eq!(read(event, Read::Data), r#"{"a":1}"#);
    assert_eq!(read(event, Read::Envelope), event);
    assert_eq!(read(event, Read::Raw), r#""{\"a\":1}""#);
    assert_eq!(read(r#"{"data":"x"}"#, Read::Raw), r#""x""#);
    assert_eq!(read(r#"{"data_base64":"AA=="}"#, Read::Data), r#""AA==""#);
    assert_eq!(read(r#"{"id":"1"}"#, Read::Data), "null");
}

#[test]
fn an_emitted_event_has_what_its_author_left_out() {
    let event = |with: &str| {
        let compiled = one(&format!("{{ emit: {{ event: {{ with: {with} }} }} }}"));
        let workflow = &compiled.workflow;
        let Kind::Emit { event } = task(workflow, "/do/0/a").kind else { panic!("it emits") };
        let instance = instance(workflow, "{}", "{}");
        let value = Json::from_text(r#"{"n":4,"none":null}"#);
        let defaults = EventDefaults {
            id: "i/1".into(),
            source: "/finance/story".into(),
            time: Timestamp(1_700_000_000_123),
        };
        let given =
            compiled.program.turn().event(event, &defaults, &scope(workflow, &instance, &value));
        given.map(|event| event.to_string()).map_err(|error| error.detail.unwrap().to_string())
    };
    assert_eq!(
        event("{ type: t, data: { n: '${ .n }' } }").unwrap(),
        r#"{"specversion":"1.0","id":"i/1","source":"/finance/story","type":"t","time":"2023-11-14T22:13:20.123Z","data":{"n":4}}"#
    );
    assert_eq!(
        event("{ type: t, id: x, source: 'urn:s', time: '2024-01-01T00:00:00Z', room: 7 }")
            .unwrap(),
        r#"{"specversion":"1.0","id":"x","source":"urn:s","type":"t","time":"2024-01-01T00:00:00Z","room":7}"#
    );
    assert_eq!(event("{ type: '${ .none }' }").unwrap_err(), "the event has no type");
    assert!(event("{ type: '${ .n }' }").unwrap_err().contains("must be a text"));
}

#[test]
fn a_run_names_its_workflow_and_its_input() {
    let child = |workflow: &str| {
        let compiled = one(&format!("{{ run: {{ workflow: {workflow} }} }}"));
        let found = &compiled.workflow;
        let Kind::Run { workflow: described, awaited: true } = task(found, "/do/0/a").kind else {
            panic!("it runs")
        };
        let instance = instance(found, "{}", "{}");
        let value = Json::from_text(r#"{"n":4}"#);
        let scope = scope(found, &instance, &value);
        let (name, input) = compiled.program.turn().child(described, &scope).unwrap();
        format!("{}/{}:{} {}", name.namespace, name.name, name.version, input.as_str())
    };
    assert_eq!(
        child("{ namespace: n, name: w, version: 1.0.0, input: { m: '${ .n }' } }"),
        r#"n/w:1.0.0 {"m":4}"#
    );
    assert_eq!(
        child("{ namespace: n, name: w, version: latest, input: '${ . }' }"),
        r#"n/w: {"n":4}"#
    );
    assert_eq!(child("{ namespace: n, name: w, version: 2.0.0 }"), r#"n/w:2.0.0 {"n":4}"#);
}

#[test]
fn the_variables_of_a_foreach_are_those_that_it_names() {
    let ok = "- a: { listen: { to: { any: [] } }, foreach: { item: e, at: i, do: [ { b: { set: '${ [$e, $i] }' } } ], output: { as: '$e' }, export: { as: '$i' } } }";
    assert_eq!(lint(&document(ok, "")).len(), 0);
    finds(
        "- a: { listen: { to: { any: [] } }, foreach: { do: [ { b: { set: '${ $e }' } } ] } }",
        "unknown-variable",
        1,
        66,
    );
}

#[test]
fn an_expression_that_sees_only_the_event_is_known() {
    let compiled = one(
        "{ listen: { to: { one: { with: { type: a }, correlate: { k: { from: .data.k, expect: '${ .k }' }, l: { from: '.data.k + $context.k' } } } } } }",
    );
    let filter = &listen(&compiled.workflow).filters[0];
    let sees = |from: Expression| compiled.program.sees_only_its_value(from);
    assert!(sees(filter.correlate[0].from));
    assert!(!sees(filter.correlate[1].from));
    assert_eq!(compiled.program.event_type(filter.matcher).as_deref(), Some("a"));
}

#[test]
fn mistakes_are_found_where_they_stand() {
    finds("- a: { emit: { event: {} } }", "missing-key", 1, 23);
    finds("- a: { emit: { event: { with: { source: s } } } }", "missing-key", 1, 31);
    finds("- a: { emit: { event: { with: { type: 5 } } } }", "invalid-type", 1, 39);
    finds(
        "- a: { emit: { event: { with: { type: t, myAttribute: 5 } } } }",
        "invalid-value",
        1,
        42,
    );
    finds("- a: { listen: { to: {} } }", "invalid-value", 1, 22);
    finds("- a: { listen: { to: { all: [] } } }", "invalid-value", 1, 29);
    finds("- a: { listen: { to: { one: { with: {} } } } }", "invalid-value", 1, 37);
    finds("- a: { listen: { to: { any: [], all: [] } } }", "invalid-value", 1, 22);
    finds("- a: { listen: { to: { any: [] }, read: headers } }", "invalid-value", 1, 41);
    finds(
        "- a: { listen: { to: { one: { with: { type: a } }, until: x } } }",
        "invalid-value",
        1,
        59,
    );
    finds("- a: { listen: { to: { one: { with: { type: '^(' } } } } }", "invalid-regex", 1, 45);
    finds(
        "- a: { listen: { to: { one: { with: { type: a }, correlate: { k: {} } } } } }",
        "missing-key",
        1,
        66,
    );
    finds("- a: { run: { await: true } }", "missing-key", 1, 13);
    finds(
        "- a: { run: { workflow: { namespace: n, name: m, version: x } } }",
        "invalid-value",
        1,
        59,
    );
    finds("- a: { run: { workflow: { namespace: n, name: m } } }", "missing-key", 1, 25);
    finds(
        "- a: { run: { workflow: { namespace: n, name: m, version: 1.0.0, input: 5 } } }",
        "invalid-type",
        1,
        73,
    );
    finds(
        "- a: { run: { workflow: { namespace: n, name: m, version: 1.0.0 }, await: 1 } }",
        "invalid-type",
        1,
        75,
    );
}
