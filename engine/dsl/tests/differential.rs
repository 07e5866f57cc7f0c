//! What we take is valid by the language's own schema, and what is not we refuse.

#![cfg(test)]

#[path = "common/language.rs"]
mod language;
#[path = "common/mutate.rs"]
mod mutate;

use std::fs;

use baton_dsl::{compile, read};
use jsonschema::Validator;
use mutate::Random;
use serde_json::{Map, Value, json};

const SEED: u64 = 4;

/// Each is a document of the language or of our scenarios with one change.
const MUTANTS: usize = 6_000;

/// Where docs/profile.md says that we take more than the schema.
struct Exception {
    row: u16,
    why: &'static str,
    /// Puts what the schema takes in the place of it, in one object of a document.
    rewrite: fn(&mut Map<String, Value>),
    /// Tasks that need it, and further keys of the root.
    example: (&'static str, &'static str),
}

const EXCEPTIONS: [Exception; 8] = [
    Exception {
        row: 31,
        why: "a transformation may be a list, which the text does not rule out",
        rewrite: lists,
        example: (
            "- a: { set: { n: 1 }, input: { from: [ '${ .n }' ] }, output: { as: [ 1 ] }, export: { as: [ 2 ] } }",
            "",
        ),
    },
    Exception {
        row: 37,
        why: "an expression may have several lines; the dot in the schema's pattern stops at the first",
        rewrite: lines,
        example: ("- a:\n    wait: |\n      ${ .pause\n         // \"PT1S\" }", ""),
    },
    Exception {
        row: 46,
        why: "a page's number needs no quotes",
        rewrite: queries,
        example: (
            "- a: { call: http, with: { method: get, endpoint: 'https://h', query: { page: 2, all: true } } }",
            "",
        ),
    },
    Exception {
        row: 57,
        why: "a list in the document may have any items, as one from an expression may",
        rewrite: items,
        example: ("- a: { for: { in: [ 1, red, [ 2 ] ] }, do: [] }", ""),
    },
    Exception {
        row: 69,
        why: "a status that is passed on is known only when it is raised",
        rewrite: statuses,
        example: ("- a: { raise: { error: { type: 'https://e/x', status: '${ .status }' } } }", ""),
    },
    Exception {
        row: 73,
        why: "an input may be handed on whole",
        rewrite: inputs,
        example: (
            "- a: { run: { workflow: { namespace: n, name: w, version: 1.0.0, input: '${ . }' } } }",
            "",
        ),
    },
    Exception {
        row: 97,
        why: "an authority is an endpoint, and those may be expressions",
        rewrite: authorities,
        example: (
            "- a: { call: http, with: { method: get, endpoint: { uri: 'https://h', authentication: { oauth2: { authority: '${ .url }', grant: client_credentials } } } } }",
            "",
        ),
    },
    Exception {
        row: 99,
        why: "a policy's name may stand alone, as that of a timeout or a retry may",
        rewrite: names,
        example: (
            "- a: { call: http, with: { method: get, endpoint: { uri: 'https://h', authentication: p } } }",
            "use: { authentications: { p: { bearer: { token: t } } } }",
        ),
    },
];

fn lists(members: &mut Map<String, Value>) {
    for (part, key) in [("input", "from"), ("output", "as"), ("export", "as")] {
        let Some(value) = members.get_mut(part).and_then(|part| part.get_mut(key)) else {
            continue;
        };
        if value.is_array() {
            *value = json!({});
        }
    }
}

fn lines(members: &mut Map<String, Value>) {
    for value in members.values_mut() {
        if let Value::String(text) = value {
            *text = text.replace('\n', " ");
        }
    }
}

fn queries(members: &mut Map<String, Value>) {
    let Some(Value::Object(query)) = members.get_mut("query") else { return };
    for value in query.values_mut() {
        if value.is_number() || value.is_boolean() {
            *value = json!("");
        }
    }
}

fn items(members: &mut Map<String, Value>) {
    let Some(Value::Array(items)) = members.get_mut("for").and_then(|own| own.get_mut("in")) else {
        return;
    };
    items.fill(json!({}));
}

fn statuses(members: &mut Map<String, Value>) {
    expression(members, "status", json!(500));
}

fn inputs(members: &mut Map<String, Value>) {
    if let Some(Value::Object(workflow)) = members.get_mut("workflow") {
        expression(workflow, "input", json!({}));
    }
}

fn authorities(members: &mut Map<String, Value>) {
    expression(members, "authority", json!("https://h"));
}

fn names(members: &mut Map<String, Value>) {
    if let Some(name @ Value::String(_)) = members.get_mut("authentication") {
        *name = json!({ "use": name });
    }
}

fn expression(members: &mut Map<String, Value>, key: &str, instead: Value) {
    if let Some(Value::String(text)) = members.get(key)
        && text.trim().starts_with("${")
    {
        members.insert(key.to_owned(), instead);
    }
}

#[test]
fn what_is_invalid_by_the_schema_is_refused() {
    let Some(schema) = schema() else { return };
    let corpus = corpus();
    for (name, document) in &corpus {
        check(&schema, document, name);
    }
    let mut random = Random(SEED);
    let documents: Vec<&Value> =
        corpus.iter().map(|(_, document)| document).filter(|seed| is_taken(seed)).collect();
    let (mut taken, mut invalid) = (0, 0);
    for turn in 0..MUTANTS {
        let seed = documents[turn % documents.len()];
        let (mutant, change) = mutate::mutant(seed, &documents, &mut random);
        let what = format!("seed {SEED}, mutant {turn}, {change}");
        taken += usize::from(check(&schema, &mutant, &what));
        invalid += usize::from(!schema.is_valid(&mutant));
    }
    // Both sides of the comparison must have something to say.
    assert!(taken >= MUTANTS / 10, "only {taken} of {MUTANTS} mutants are taken");
    assert!(invalid >= MUTANTS / 2, "only {invalid} of {MUTANTS} mutants are invalid");
}

#[test]
fn a_key_that_stands_twice_is_refused_wherever_it_stands() {
    let mut random = Random(SEED);
    let corpus = corpus();
    for turn in 0..1_000 {
        let (name, seed) = &corpus[turn % corpus.len()];
        let (source, key) = mutate::with_a_key_twice(seed, &mut random);
        let findings = compile(&source).expect_err(name);
        let found = findings.iter().any(|finding| finding.code == "duplicate-key");
        assert!(found, "{name}, `{key}` twice: {findings:?}");
    }
}

#[test]
fn every_exception_is_needed() {
    let Some(schema) = schema() else { return };
    for (at, exception) in EXCEPTIONS.iter().enumerate() {
        let Exception { row, why, example: (tasks, more), .. } = exception;
        let head = "document: { dsl: 1.0.3, namespace: n, name: w, version: 1.0.0 }";
        let source = format!("{head}\n{more}\ndo:\n{tasks}\n");
        let document = language::json(&read(&source).unwrap());
        assert!(is_taken(&document), "row {row} ({why}): {document}");
        let others = EXCEPTIONS.iter().enumerate().filter(|(other, _)| *other != at);
        let without = others
            .fold(document.clone(), |document, (_, other)| everywhere(document, other.rewrite));
        assert!(!schema.is_valid(&without), "row {row} ({why}) is no exception any more");
        let with = everywhere(document.clone(), exception.rewrite);
        assert!(schema.is_valid(&with), "row {row} ({why}): {with}");
    }
}

/// Whether we take it; then it must be valid, but for the exceptions.
#[track_caller]
fn check(schema: &Validator, document: &Value, what: &str) -> bool {
    let taken = is_taken(document);
    if taken && !schema.is_valid(document) {
        let plain = EXCEPTIONS
            .iter()
            .fold(document.clone(), |document, exception| everywhere(document, exception.rewrite));
        if let Err(error) = schema.validate(&plain) {
            panic!("{what}: taken, and the schema says: {error}\n{document:#}");
        }
    }
    taken
}

fn is_taken(document: &Value) -> bool {
    compile(&document.to_string()).is_ok()
}

fn everywhere(mut value: Value, rewrite: fn(&mut Map<String, Value>)) -> Value {
    match &mut value {
        Value::Array(items) => {
            for item in items {
                *item = everywhere(item.take(), rewrite);
            }
        }
        Value::Object(members) => {
            rewrite(members);
            for member in members.values_mut() {
                *member = everywhere(member.take(), rewrite);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
    value
}

fn schema() -> Option<Validator> {
    let text = fs::read_to_string(language::folder("schema")?.join("workflow.json")).unwrap();
    let schema = serde_json::from_str(&text).unwrap();
    Some(jsonschema::options().offline().build(&schema).unwrap())
}

/// All documents of the language and of our scenarios that can be read, with their places.
fn corpus() -> Vec<(String, Value)> {
    let mut texts = language::in_features(&language::own_features());
    if let Some(folder) = language::folder("examples") {
        texts.extend(language::files(&folder, "yaml"));
    }
    if let Some(folder) = language::folder("ctk/features") {
        texts.extend(language::in_features(&folder));
    }
    let read = texts.into_iter().filter_map(|(name, text)| {
        let document = read(&text).ok()?;
        Some((name, language::json(&document)))
    });
    read.collect()
}
