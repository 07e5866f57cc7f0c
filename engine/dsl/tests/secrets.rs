//! Authentication policies and secrets: names alone, and a text that nobody can guess for each value.

#![expect(clippy::panic, clippy::unwrap_used, reason = "these stand in tests")]

mod common;

use std::sync::Arc;

use baton_core::{ActivationId, InstanceId, workflow::Kind};
use baton_dsl::{Compiled, SecretsKey, lint};
use common::{arguments, compiled, document, lines, task};

const USE: &str = "use:
  secrets: [ key, 'my.login' ]
  authentications:
    shop: { bearer: { token: '${ .token }' } }
    books: { basic: { use: my.login } }
";

#[track_caller]
fn refused(tasks: &str, more: &str, code: &str, line: u32, column: u32) {
    let source = document(tasks, more);
    let findings = lint(&source);
    let found: Vec<_> = findings
        .iter()
        .filter(|f| f.code != "unused")
        .map(|f| (f.code, f.line, f.column))
        .collect();
    assert_eq!(found, [(code, line, column)], "{}\n{source}", lines(&findings));
}

fn keyed(compiled: Compiled) -> Compiled {
    let program = compiled.program.with_key(SecretsKey::new(b"the engine's"));
    Compiled { program, ..compiled }
}

/// A call with this authentication at its endpoint.
fn call(authentication: &str) -> String {
    format!(
        "- a: {{ call: http, with: {{ method: get, endpoint: {{ uri: x, authentication: {authentication} }} }} }}"
    )
}

#[track_caller]
fn policy(authentication: &str, input: &str) -> String {
    let compiled = keyed(compiled(&document(&call(authentication), USE)));
    let given = arguments(&compiled, "/do/0/a", input).unwrap();
    let whole = r#"{"method":"get","endpoint":{"uri":"x","authentication":"#;
    given.strip_prefix(whole).and_then(|rest| rest.strip_suffix("}}")).unwrap().to_owned()
}

fn names(compiled: &Compiled, pointer: &str) -> Vec<Arc<str>> {
    let Kind::Step { secrets, .. } = &task(&compiled.workflow, pointer).kind else { panic!() };
    secrets.clone()
}

#[test]
fn policies_are_written_into_the_arguments() {
    assert_eq!(policy("{ use: shop }", r#"{"token": "t"}"#), r#"{"bearer":{"token":"t"}}"#);
    assert_eq!(policy("shop", r#"{"token": "t"}"#), r#"{"bearer":{"token":"t"}}"#);
    assert_eq!(policy("books", "{}"), r#"{"basic":{"use":"my.login"}}"#);
    assert_eq!(
        policy("{ digest: { username: '${ .u }', password: p } }", r#"{"u": "v"}"#),
        r#"{"digest":{"username":"v","password":"p"}}"#
    );
    assert_eq!(
        policy(
            "{ oauth2: { authority: 'https://h/{realm}', endpoints: { token: /t }, grant: client_credentials, client: { id: i, secret: s, authentication: client_secret_basic }, scopes: [ a ], subject: { token: t, type: y } } }",
            r#"{"realm": "r s"}"#
        ),
        r#"{"oauth2":{"authority":"https://h/r%20s","endpoints":{"token":"/t"},"grant":"client_credentials","client":{"id":"i","secret":"s","authentication":"client_secret_basic"},"scopes":["a"],"subject":{"token":"t","type":"y"}}}"#
    );
}

#[test]
fn policies_are_checked_strictly() {
    let at = |policy: &str, code, column: u32| refused(&call(policy), "", code, 8, column + 78);
    at("{}", "missing-key", 1);
    at("5", "invalid-type", 1);
    at("{ use: none }", "unknown-name", 8);
    at("{ bearer: { token: t }, certificate: {} }", "unknown-key", 25);
    at("{ basic: { username: u } }", "missing-key", 10);
    at("{ basic: { username: u, password: 1234 } }", "invalid-type", 35);
    at("{ basic: { username: u, password: p }, bearer: { token: t } }", "invalid-value", 40);
    at("{ bearer: { use: nobody } }", "unknown-name", 18);
    at("{ oauth2: { authority: x } }", "missing-key", 11);
    at("{ oauth2: { authority: x, grant: magic } }", "invalid-value", 34);
    at("{ oauth2: { authority: x, grant: password, client: {} } }", "missing-key", 52);
    at(
        "{ oauth2: { authority: x, grant: password, client: { id: i, authentication: private_key_jwt } } }",
        "missing-key",
        52,
    );
    at("{ oidc: { authority: x, grant: password, endpoints: {} } }", "unknown-key", 42);
    at(
        "{ oidc: { authority: x, grant: password, request: { encoding: text/plain } } }",
        "invalid-value",
        63,
    );
}

#[test]
fn what_nothing_uses_is_checked_all_the_same() {
    let policy = "use: { authentications: { a: { basic: { username: u } } } }";
    refused("[]", policy, "missing-key", 6, 39);
}

#[test]
fn a_placeholder_stands_for_a_secret_and_may_be_part_of_a_text() {
    let source = document(
        "- a: { call: charge, with: { auth: '${ \"Key \\($secrets.key)\" }', login: '${ $secrets.\"my.login\" }' } }\n\
         - b: { call: http, with: { method: get, endpoint: { uri: x, authentication: books }, headers: { K: '${ $secrets.key }' } } }\n\
         - c: { call: charge }",
        USE,
    );
    let compiled = keyed(compiled(&source));
    let key = SecretsKey::new(b"the engine's");
    let placeholder = |name| key.placeholder(InstanceId([7; 16]), ActivationId(5), name);
    let (secret, login) = (placeholder("key"), placeholder("my.login"));
    assert_eq!(
        arguments(&compiled, "/do/0/a", "{}").unwrap().as_str(),
        format!(r#"{{"auth":"Key {secret}","login":"{login}"}}"#)
    );
    assert_eq!(names(&compiled, "/do/0/a"), [Arc::from("key"), Arc::from("my.login")]);
    assert_eq!(names(&compiled, "/do/1/b"), [Arc::from("key"), Arc::from("my.login")]);
    assert_eq!(names(&compiled, "/do/2/c"), []);
    let carried = compiled.program.placeholders(
        InstanceId([7; 16]),
        ActivationId(5),
        &names(&compiled, "/do/0/a"),
    );
    assert_eq!(carried, [(secret, "key".into()), (login, "my.login".into())].into());
}

#[test]
fn placeholders_differ_by_key_instance_step_and_name() {
    let (one, other) = (SecretsKey::new(b"one"), SecretsKey::new(b"other"));
    let (id, step) = (InstanceId([1; 16]), ActivationId(1));
    let placeholders = [
        one.placeholder(id, step, "a"),
        one.placeholder(id, step, "b"),
        one.placeholder(id, ActivationId(2), "a"),
        one.placeholder(InstanceId([2; 16]), step, "a"),
        other.placeholder(id, step, "a"),
    ];
    for (i, placeholder) in placeholders.iter().enumerate() {
        assert!(!placeholders[..i].contains(placeholder));
        assert!(placeholder.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-'));
    }
    assert_eq!(placeholders[0], one.clone().placeholder(id, step, "a"));
}

#[test]
fn without_a_key_no_secret_can_be_mentioned() {
    let source = document("- a: { call: charge, with: { k: '${ $secrets.key }' } }", USE);
    let error = arguments(&compiled(&source), "/do/0/a", "{}").unwrap_err();
    assert!(error.detail.unwrap().contains("no key for secrets"));
}

#[test]
fn secrets_stand_in_the_arguments_of_steps_and_nowhere_else() {
    let withheld = |task: &str, column| {
        refused(&format!("- a: {task}"), USE, "expression-unsupported", 13, column);
    };
    withheld("{ set: { k: '${ $secrets.key }' } }", 20);
    withheld("{ if: $secrets.key, call: b }", 14);
    withheld("{ call: b, input: { from: '${ $secrets.key }' } }", 34);
    withheld("{ call: b, output: { as: '${ $secrets.key }' } }", 33);
    withheld("{ switch: [ { c: { when: $secrets.key, then: end } } ] }", 33);
    withheld("{ call: b, with: { k: '${ $secrets }' } }", 30);
    withheld("{ call: b, with: { k: '${ $secrets | keys }' } }", 30);
    withheld("{ call: b, with: { k: '${ $secrets[.name] }' } }", 30);
    withheld("{ call: b, with: { k: '${ $secrets.key.inner }' } }", 30);
    withheld("{ call: b, with: { k: '${ $authorization.parameter }' } }", 30);
    let function = format!("{USE}  functions: {{ f: {{ set: {{ a: 1 }} }} }}\n");
    refused(
        "- a: { call: f, with: { k: '${ $secrets.key }' } }",
        &function,
        "expression-unsupported",
        14,
        30,
    );
    let filter = "- a: { call: asyncapi, with: { document: { endpoint: x }, operation: o, subscription: { filter: '${ $secrets.key }', consume: { amount: 1 } } } }";
    refused(filter, USE, "expression-unsupported", 13, 99);
}

#[test]
fn a_secret_must_be_declared() {
    let call = "- a: { call: b, with: { k: '${ $secrets.kay }' } }";
    refused(call, USE, "unknown-name", 13, 30);
    let findings = lint(&document(call, USE));
    assert!(findings.iter().any(|finding| finding.hint == "did you mean `key`?"));
    refused(call, "", "unknown-name", 8, 30);
    refused("[]", "use: { secrets: [ 'a b' ] }", "invalid-value", 6, 19);
    refused("[]", "use: { secrets: [ 5 ] }", "invalid-type", 6, 19);
    refused("[]", "use: { secrets: [ a, a ] }", "duplicate-key", 6, 22);
    let many: Vec<_> = (0..257).map(|i| format!("s{i}")).collect();
    refused("[]", &format!("use: {{ secrets: [ {} ] }}", many.join(", ")), "too-large", 6, 17);
    refused("- a: { for: { each: secrets, in: .x }, do: [] }", "", "invalid-value", 8, 23);
}

#[test]
fn what_is_declared_and_never_used_is_mentioned() {
    let found: Vec<_> =
        lint(&document("[]", USE)).into_iter().map(|f| (f.code, f.message)).collect();
    let wanted = ["secret `key`", "authentication `shop`", "authentication `books`"]
        .map(|what| ("unused", format!("nothing uses the {what}")));
    assert_eq!(found, wanted);
}
