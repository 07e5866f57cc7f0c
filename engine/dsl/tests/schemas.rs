//! How much work a schema may make: whoever writes it, and whatever is held against it.

#![expect(clippy::unwrap_used, reason = "these stand in tests")]

mod common;

use std::time::{Duration, Instant};

use baton_core::{Evaluator, Json};
use baton_dsl::{Compiled, lint};
use common::{compiled, document, lines};
use serde_json::{Value, json};

/// Ten times what a check may take where the code is optimised, for here it may not be.
const PATIENCE: Duration = Duration::from_millis(500);

fn source(schema: &Value) -> String {
    document("[]", &format!("input: {{ schema: {{ document: {schema} }} }}"))
}

fn validate(compiled: &Compiled, value: &Value) -> Result<(), String> {
    let schema = compiled.workflow.tasks[0].input_schema.unwrap();
    let value = Json::from_text(value.to_string());
    let began = Instant::now();
    let result = compiled.program.turn().validate(schema, &value);
    assert!(began.elapsed() < PATIENCE, "{:?}", began.elapsed());
    result.map_err(|error| {
        assert!(error.kind.ends_with("/validation"), "{error:?}");
        error.detail.unwrap().to_string()
    })
}

#[track_caller]
fn matches(schema: &Value, value: &Value) {
    assert_eq!(validate(&compiled(&source(schema)), value), Ok(()), "{schema}");
}

#[track_caller]
fn fails(schema: &Value, value: &Value, words: &str) {
    let problem = validate(&compiled(&source(schema)), value).unwrap_err();
    assert!(problem.contains(words), "{problem}\n{schema}");
}

#[track_caller]
fn refused(schema: &Value, words: &str) {
    let began = Instant::now();
    let findings = lint(&source(schema));
    assert!(began.elapsed() < 10 * PATIENCE, "{:?}", began.elapsed());
    assert_eq!(findings.len(), 1, "{}", lines(&findings));
    assert_eq!(findings[0].code, "invalid-schema");
    assert!(findings[0].message.contains(words), "{}", findings[0]);
}

/// `{"a":{"a":…}}`
fn nested(levels: usize, innermost: Value) -> Value {
    (0..levels).fold(innermost, |inside, _| json!({ "a": inside }))
}

/// Each level of the value is looked at in two ways.
fn doubling() -> Value {
    json!({ "anyOf": [
        { "properties": { "a": { "$ref": "#" }, "b": { "type": "string" } }, "required": ["b"] },
        { "properties": { "a": { "$ref": "#" } }, "required": ["c"] },
    ] })
}

#[test]
fn ways_that_double_with_each_level_of_the_value_are_not_gone_to_the_end() {
    fails(&doubling(), &nested(3, json!({})), "the value: ");
    fails(&doubling(), &nested(14, json!({})), "where takes too much work to say");
    fails(&doubling(), &nested(18, json!({})), "too much work to check");
    fails(&doubling(), &nested(120, json!({})), "too much work to check");
}

#[test]
fn every_way_to_refer_to_oneself_is_seen() {
    let twice = |reference: &Value| json!([{ "properties": { "a": reference } }, { "items": reference, "properties": { "a": reference } }]);
    let to = |target: &str| json!({ "$ref": target });
    let dynamic = json!({ "$dynamicRef": "#node" });
    let encoded = json!({ "$defs": { "a b/c": { "oneOf": twice(&to("#/$defs/a%20b~1c")) } }, "$ref": "#/$defs/a%20b~1c" });
    let deep = nested(100, json!({}));
    for schema in [
        json!({ "allOf": twice(&to("#")) }),
        json!({ "oneOf": twice(&to("#")) }),
        json!({ "$anchor": "node", "anyOf": twice(&to("#node")) }),
        json!({ "$dynamicAnchor": "node", "allOf": twice(&dynamic) }),
        json!({ "$id": "urn:outer", "properties": { "a": { "$id": "urn:inner", "allOf": twice(&to("#")) } } }),
        json!({ "not": { "anyOf": twice(&to("#")) } }),
        json!({ "if": { "allOf": twice(&to("#")) }, "then": true }),
        json!({ "dependentSchemas": { "a": { "allOf": twice(&to("#")) } } }),
        json!({ "patternProperties": { "a": { "$ref": "#" } }, "additionalProperties": { "$ref": "#" } }),
        json!({ "properties": { "a": { "$ref": "#" } }, "allOf": [{ "unevaluatedProperties": { "$ref": "#" } }] }),
        encoded,
    ] {
        fails(&schema, &deep, "too much work to check");
    }
}

#[test]
fn a_document_has_a_bound_on_its_patterns() {
    let task = |n: usize| {
        let patterns: Vec<_> =
            (0..600).map(|m| json!({ "pattern": format!("a{n}b{m}*") })).collect();
        format!(
            "- t{n}: {{ set: {{ a: 1 }}, input: {{ schema: {{ document: {{ anyOf: {} }} }} }} }}\n",
            json!(patterns)
        )
    };
    assert_eq!(lint(&document(&task(0), "")), []);
    let findings = lint(&document(&(task(0) + &task(1)), ""));
    assert_eq!((findings.len(), findings[0].line), (1, 9), "{}", lines(&findings));
    assert!(findings[0].message.contains("more than 1000 patterns"), "{}", findings[0]);
}

#[test]
fn a_schema_that_nothing_can_be_checked_against_is_refused_at_once() {
    let chain = |length: usize, link: &dyn Fn(Value) -> Value| {
        let mut definitions: serde_json::Map<_, _> = (0..length)
            .map(|at| (format!("d{at}"), link(json!({ "$ref": format!("#/$defs/d{}", at + 1) }))))
            .collect();
        definitions.insert(format!("d{length}"), json!({ "type": "object" }));
        json!({ "$ref": "#/$defs/d0", "$defs": definitions })
    };
    refused(&json!({ "$ref": "#" }), "refers to itself for the same value");
    refused(&json!({ "allOf": [{ "$ref": "#" }] }), "refers to itself for the same value");
    refused(&json!({ "not": { "$ref": "#" } }), "refers to itself for the same value");
    refused(&json!({ "$ref": "#/$defs/none" }), "leads nowhere");
    refused(&chain(64, &|next| json!({ "allOf": [next, next] })), "too much work");
    refused(&chain(5_000, &|next| next), "too much work");
    let inside = (0..25).fold(
        json!(true),
        |inside, _| json!({ "unevaluatedProperties": false, "allOf": [inside] }),
    );
    refused(&inside, "too much work");
    let patterns: Vec<_> =
        (0..1_001).map(|n| json!({ "pattern": format!("(a{{9}}){{{n}}}") })).collect();
    refused(&json!({ "anyOf": patterns }), "more than 1000 patterns");
    refused(&json!({ "pattern": "((a{100}){100}){100}" }), "not a JSON Schema");
}

#[test]
fn many_comparisons_are_counted() {
    let many = |item: Value| Value::Array(vec![item; 10_000]);
    let objects: Vec<_> = (0..1_000).map(|n| json!({ "a": n })).collect();
    fails(&json!({ "items": { "enum": objects } }), &many(json!({ "a": 999 })), "too much work");
    let names: serde_json::Map<_, _> = (0..1_000).map(|n| (format!("k{n}"), json!(true))).collect();
    fails(&json!({ "items": { "properties": names } }), &many(json!({})), "too much work");
    let texts: String =
        (0..40_000_u32).map(|n| if (n * n / 3) % 7 < 3 { 'a' } else { 'b' }).collect();
    fails(&json!({ "pattern": "([ab]*a[ab]{60}c){4}" }), &json!(texts), "too much work");
    let long = "x".repeat(100_000);
    fails(
        &json!({ "anyOf": [{ "items": { "required": [long] } }] }),
        &many(json!({})),
        "where takes too much work to say",
    );
    fails(
        &json!({ "properties": { &long: { "anyOf": [{ "items": { "type": "string" } }] } } }),
        &json!({ &long: many(json!(1)) }),
        "where takes too much work to say",
    );
}

#[test]
fn the_deepest_check_fits_on_a_small_stack() {
    let inside = (0..8).fold(
        json!({ "properties": { "a": { "$ref": "#" } } }),
        |inside, _| json!({ "anyOf": [{ "type": "string" }, inside] }),
    );
    let schema = compiled(&source(&inside));
    let (some, many) = (nested(98, json!({})), nested(102, json!({})));
    let small = std::thread::Builder::new().stack_size(2 * 1024 * 1024);
    let run = small.spawn(move || (validate(&schema, &some), validate(&schema, &many))).unwrap();
    let (some, many) = run.join().unwrap();
    assert_eq!(some, Ok(()));
    assert!(many.unwrap_err().contains("too much work"));
}

#[test]
fn what_people_write_is_checked_as_before() {
    let tree = json!({
        "type": "object", "required": ["name"], "additionalProperties": false,
        "properties": { "name": { "type": "string" }, "children": { "items": { "$ref": "#" } } },
    });
    let mut value = json!({ "name": "leaf" });
    for _ in 0..50 {
        value = json!({ "name": "node", "children": [value, { "name": "leaf" }] });
    }
    matches(&tree, &value);
    let wrong = json!({ "name": "node", "children": [value, { "name": 5 }] });
    fails(&tree, &wrong, "/children/1/name: ");

    let operation = |name: &str| {
        json!({
            "type": "object", "required": ["op", "left", "right"],
            "properties": { "op": { "const": name }, "left": { "$ref": "#/$defs/e" }, "right": { "$ref": "#/$defs/e" } },
        })
    };
    let expression = json!({
        "$ref": "#/$defs/e",
        "$defs": { "e": { "anyOf": [{ "type": "number" }, operation("+"), operation("*"), operation("-")] } },
    });
    let mut value = json!(1);
    for op in ["+", "*", "-", "+", "*", "-"] {
        value = json!({ "op": op, "left": value, "right": 2 });
    }
    matches(&expression, &value);
    fails(&expression, &json!({ "op": "/", "left": 1, "right": 2 }), "the value: ");

    // Plain JSON, as deep as it may be.
    let any = json!({ "type": ["object", "array", "string"], "additionalProperties": { "$ref": "#" }, "items": { "$ref": "#" } });
    matches(&any, &nested(127, json!("end")));

    let id = "^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$";
    let rows = json!({ "items": {
        "type": "object", "required": ["id", "amount"],
        "properties": { "id": { "type": "string", "pattern": id }, "amount": { "type": "number", "minimum": 0 } },
        "unevaluatedProperties": false,
    } });
    let row = json!({ "id": "01890a5d-ac96-774b-bcce-b302099a8000", "amount": 1.5 });
    let mut batch = vec![row; 10_000];
    matches(&rows, &json!(batch));
    batch.push(json!({ "id": "none", "amount": 1 }));
    fails(&rows, &json!(batch), "/10000/id: ");
}
