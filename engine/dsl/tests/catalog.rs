//! Stories about functions of the catalog: found, checked, and made a part of the workflow that calls them.

mod common;

use baton_core::workflow::Kind;
use baton_dsl::{
    Diagnostic, Functions, Severity, check_function, compile, compile_with, lint, lint_with,
    mentions,
};
use common::{document, lines, task};
use sha2::Digest as _;

const GREET: &str = "\
input: { schema: { document: { type: object, required: [name] } } }
set: { text: '${ \"hello \" + .name }' }
output: { as: .text }
";

fn functions(texts: &[(&str, &str)]) -> Functions {
    let named = |(name, text): &(&str, &str)| (name.parse().expect("a name"), (*text).to_owned());
    texts.iter().map(named).collect()
}

fn calling(name: &str) -> String {
    document(&format!("- one:\n    call: {name}\n    with: {{ name: you }}"), "")
}

#[track_caller]
fn errors(source: &str, texts: &[(&str, &str)]) -> Vec<(&'static str, String, u32, u32)> {
    let found = compile_with(source, &functions(texts)).expect_err("it has errors");
    let found = found.into_iter().filter(|f| f.severity == Severity::Error);
    found.map(|f| (f.code, f.message, f.line, f.column)).collect()
}

#[track_caller]
fn is_refused(source: &str, texts: &[(&str, &str)], code: &str, part: &str) {
    let found = errors(source, texts);
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0].0, code, "{found:?}");
    assert!(found[0].1.contains(part), "{found:?}");
}

#[test]
fn a_function_of_the_catalog_is_a_body_that_gets_with_as_its_input() {
    let source = calling("greet:1.0.0@default");
    let compiled = compile_with(&source, &functions(&[("greet:1.0.0", GREET)])).unwrap();
    let call = task(&compiled.workflow, "/do/0/one");
    let Kind::Function { body, arguments: Some(_) } = &call.kind else { panic!("{call:?}") };
    let body = &compiled.workflow.tasks[body.0 as usize];
    assert_eq!(&*body.pointer, "/use/catalogs/default/greet:1.0.0");
    assert!(matches!(body.kind, Kind::Set { .. }) && body.input_schema.is_some());
    assert_eq!(compiled.warnings, []);
}

#[test]
fn a_function_that_is_called_twice_and_by_another_has_one_body() {
    let outer = "do:\n- greet: { call: 'greet:1.0.0@default', with: { name: you } }\n";
    let texts =
        functions(&[("greet:1.0.0", GREET), ("outer:2.0.0-rc.1+5", outer), ("other:1.0.0", GREET)]);
    let tasks = "- a: { call: 'outer:2.0.0-rc.1+5@default' }\n- b: { call: 'greet:1.0.0@default' }\n- c: { call: 'greet:1.0.0@default' }";
    let compiled = compile_with(&document(tasks, ""), &texts).unwrap();
    let bodies = compiled.workflow.tasks.iter().map(|task| &*task.pointer);
    let bodies: Vec<_> = bodies.filter(|pointer| pointer.starts_with("/use/")).collect();
    assert_eq!(
        bodies,
        [
            "/use/catalogs/default/outer:2.0.0-rc.1+5",
            "/use/catalogs/default/outer:2.0.0-rc.1+5/do/0/greet",
            "/use/catalogs/default/greet:1.0.0",
        ]
    );
    let names: Vec<String> = compiled.functions.keys().map(ToString::to_string).collect();
    assert_eq!(names, ["greet:1.0.0", "outer:2.0.0-rc.1+5"], "what nothing calls is left out");
}

#[test]
fn the_hash_covers_the_functions_and_is_that_of_the_text_alone_without_any() {
    let source = calling("greet:1.0.0@default");
    let hash = |text: &str| {
        let texts = functions(&[("greet:1.0.0", text), ("other:1.0.0", "set: { a: 1 }")]);
        compile_with(&source, &texts).unwrap().workflow.hash
    };
    assert_eq!(hash(GREET), hash(GREET));
    assert_ne!(hash(GREET), hash("set: { a: 1 }"));

    let plain = document("- one: { set: { call: 'greet:1.0.0@default' } }", "");
    let alone = compile(&plain).unwrap();
    let beside = compile_with(&plain, &functions(&[("greet:1.0.0", GREET)])).unwrap();
    assert_eq!(alone.workflow.hash, beside.workflow.hash, "data is no call");
    assert!(beside.functions.is_empty());
    let sum = sha2::Sha256::digest(plain.as_bytes());
    assert_eq!(alone.workflow.hash.0, <[u8; 32]>::from(sum));
}

#[test]
fn what_was_kept_with_a_workflow_compiles_to_the_same_again() {
    let source = calling("outer:1.0.0@default");
    let outer = "do:\n- greet: { call: 'greet:1.0.0@default', with: { name: you } }\n";
    let texts = functions(&[("greet:1.0.0", GREET), ("outer:1.0.0", outer), ("x:1.0.0", GREET)]);
    let first = compile_with(&source, &texts).unwrap();
    let again = compile_with(&source, &first.functions).unwrap();
    assert_eq!(format!("{:?}", first.workflow), format!("{:?}", again.workflow));
}

#[test]
fn a_function_that_is_not_there_is_an_error_and_to_a_lint_without_a_catalog_a_warning() {
    let source = calling("greet:1.0.0@default");
    is_refused(&source, &[("greet:1.0.1", GREET)], "unresolved-function", "greet:1.0.0");
    assert_eq!(compile(&source).unwrap_err()[0].code, "unresolved-function");
    assert_eq!(lint_with(&source, &Functions::new())[0].severity, Severity::Error);
    let [found] = &lint(&source)[..] else { panic!() };
    let place = (found.line, found.column, found.pointer.as_str());
    assert_eq!((found.severity, found.code), (Severity::Warning, "unresolved-function"));
    assert_eq!(place, (9, 13, "/do/0/one/call"));
    let outer = "call: greet:1.0.0@default";
    is_refused(
        &calling("outer:1.0.0@default"),
        &[("outer:1.0.0", outer)],
        "unresolved-function",
        "in the function outer:1.0.0, at 1:7: the catalog has no function greet:1.0.0",
    );
}

#[test]
fn only_the_default_catalog_is_there() {
    let hint = |source: &str| compile(source).unwrap_err()[0].hint.clone();
    for (call, code, part) in [
        ("https://example.com/function.yaml", "unsupported", "by URL"),
        ("greet:1.0.0@global", "unsupported", "`global`"),
        ("greet@default", "invalid-value", "`greet`"),
        ("greet:1@default", "invalid-value", "`greet:1`"),
        ("gr_eet:1.0.0@default", "invalid-value", "NAME:VERSION"),
        (":1.0.0@default", "invalid-value", "NAME:VERSION"),
    ] {
        is_refused(&calling(call), &[], code, part);
        assert!(hint(&calling(call)).contains("NAME:VERSION@default"), "{call}");
    }
    let listed = document(
        "- one: { set: { a: 1 } }",
        "use: { catalogs: { default: { endpoint: https://example.com } } }",
    );
    is_refused(&listed, &[], "unsupported", "the engine fetches nothing");
    assert!(hint(&listed).contains("NAME:VERSION@default"));
}

#[test]
fn functions_that_call_each_other_in_a_circle_are_refused() {
    let (a, b) = ("call: b:1.0.0@default", "call: a:1.0.0@default");
    is_refused(
        &calling("a:1.0.0@default"),
        &[("a:1.0.0", a), ("b:1.0.0", b)],
        "function-cycle",
        "a:1.0.0 → b:1.0.0 → a:1.0.0",
    );
    is_refused(
        &calling("a:1.0.0@default"),
        &[("a:1.0.0", b)],
        "function-cycle",
        "a:1.0.0 → a:1.0.0",
    );
}

#[test]
fn functions_are_bounded_in_depth_number_and_bytes() {
    let chain = |length: usize| {
        let one = |i: usize| {
            let text = if i == length {
                "set: { a: 1 }".to_owned()
            } else {
                format!("call: f{}:1.0.0@default", i + 1)
            };
            (format!("f{i}:1.0.0").parse().unwrap(), text)
        };
        (1..=length).map(one).collect::<Functions>()
    };
    let source = calling("f1:1.0.0@default");
    assert!(compile_with(&source, &chain(16)).is_ok());
    let found = compile_with(&source, &chain(17)).unwrap_err();
    assert_eq!(found[0].code, "too-deep", "{}", lines(&found));

    let many = |number: usize, text: &str| {
        let call = |i| format!("- t{i}: {{ call: 'f{i}:1.0.0@default' }}\n");
        let tasks: String = (0..number).map(call).collect();
        let texts = (0..number).map(|i| (format!("f{i}:1.0.0").parse().unwrap(), text.to_owned()));
        compile_with(&document(&tasks, ""), &texts.collect())
    };
    assert!(many(100, "set: { a: 1 }").is_ok());
    let found = many(101, "set: { a: 1 }").unwrap_err();
    assert_eq!(found[0].code, "too-large", "{}", lines(&found));
    let large = format!("set: {{ a: 1 }}\n# {}", "x".repeat(100 * 1024));
    assert!(many(5, &large).is_ok());
    assert_eq!(many(6, &large).unwrap_err()[0].code, "too-large");
}

#[test]
fn what_is_wrong_in_a_function_is_said_with_its_own_place_at_the_call() {
    let source = calling("bad:1.0.0@default");
    let found = errors(&source, &[("bad:1.0.0", "do:\n- a:\n    sett: { a: 1 }\n")]);
    assert_eq!(found[0].0, "missing-key");
    assert!(found[0].1.starts_with("in the function bad:1.0.0, at 2:3: the task `a`"), "{found:?}");
    assert_eq!((found[0].2, found[0].3), (9, 13));

    is_refused(&source, &[("bad:1.0.0", "set: [")], "syntax", "in the function bad:1.0.0, at ");

    // Of a function inside another, the call in the document is the place.
    let outer = "call: bad:1.0.0@default";
    let found = errors(
        &calling("outer:1.0.0@default"),
        &[("bad:1.0.0", "wait: soon"), ("outer:1.0.0", outer)],
    );
    assert!(found[0].1.starts_with("in the function bad:1.0.0, at 1:7: "), "{found:?}");
    assert_eq!((found[0].2, found[0].3), (9, 13));
}

#[test]
fn a_function_means_the_same_whoever_calls_it() {
    let uses = "use:\n  errors: { mine: { type: 'https://a.example', status: 400 } }\n  extensions: [ { all: { extend: set, before: [ { x: { wait: PT1S } } ] } } ]\nevaluate: { mode: loose }";
    let source = document("- one: { call: 'f:1.0.0@default' }", uses);
    is_refused(
        &source,
        &[("f:1.0.0", "raise: { error: mine }")],
        "unknown-name",
        "no error `mine`",
    );
    let compiled = compile_with(&source, &functions(&[("f:1.0.0", "set: { a: .b }")])).unwrap();
    let body = task(&compiled.workflow, "/use/catalogs/default/f:1.0.0");
    assert!(matches!(body.kind, Kind::Set { .. }), "not extended: {body:?}");
}

#[test]
fn a_function_may_need_secrets_which_the_workflow_declares() {
    let text = "call: pay\nwith: { key: '${ $secrets.key }' }";
    assert_eq!(check_function(text, &Functions::new()), Ok(Vec::new()));
    let with = "call: http\nwith:\n  method: get\n  endpoint: { uri: 'https://a.example', authentication: { basic: { use: key } } }";
    assert_eq!(check_function(with, &Functions::new()), Ok(Vec::new()));
    let call = "- one: { call: 'f:1.0.0@default' }";
    for text in [text, with] {
        is_refused(&document(call, ""), &[("f:1.0.0", text)], "unknown-name", "no secret `key`");
        let declared = document(call, "use: { secrets: [key] }");
        let compiled = compile_with(&declared, &functions(&[("f:1.0.0", text)])).unwrap();
        assert_eq!(compiled.warnings, [], "it is used");
    }
}

#[test]
fn a_function_is_checked_as_a_task_is_with_its_own_places() {
    let one = |text: &str| -> Diagnostic {
        let mut found = check_function(text, &Functions::new()).unwrap_err();
        assert_eq!(found.len(), 1, "{}", lines(&found));
        found.remove(0)
    };
    let found = one("do:\n- a: { wait: soon }\n");
    let place = (found.line, found.column, found.pointer.as_str());
    assert_eq!((found.code, place), ("invalid-duration", (2, 14, "/do/0/a/wait")));
    assert_eq!(one("- set: { a: 1 }").code, "invalid-type");
    assert_eq!(one("").code, "syntax");
    assert_eq!(one("set: { a: 1 }\nthen: next").code, "unknown-target");
    assert_eq!(one("set: { a: 1 }\nuse: {}").code, "unknown-key");
    assert_eq!(one("call: f:1.0.0@default").code, "unresolved-function");
    let retry = one("try: []\ncatch: { retry: often }");
    assert_eq!(
        (retry.code, retry.hint.as_str()),
        ("unknown-name", "write it out: a function has no `use`")
    );
    let own = functions(&[("f:1.0.0", "call: f:1.0.0@default")]);
    assert_eq!(
        check_function("call: f:1.0.0@default", &own).unwrap_err()[0].code,
        "function-cycle"
    );
    let warned = check_function("set: { password: hunter2-hunter2 }", &Functions::new()).unwrap();
    assert_eq!(warned[0].code, "secret-literal");
    let lost = "do:\n- a: { set: { a: 1 }, then: end }\n- b: { set: { a: 1 } }\n";
    assert_eq!(check_function(lost, &Functions::new()).unwrap()[0].code, "unreachable");
    let caller = calling("f:1.0.0@default");
    assert_eq!(compile_with(&caller, &functions(&[("f:1.0.0", lost)])).unwrap().warnings, []);
}

#[test]
fn what_a_text_mentions_can_be_gathered_before_it_is_compiled() {
    let text = "do: [ { a: { call: 'f:1.0.0@default' } }, { b: { call: 'f@default' } }, { c: { call: http } } ]";
    let names: Vec<String> = mentions(text).iter().map(ToString::to_string).collect();
    assert_eq!(names, ["f:1.0.0"]);
    assert!(mentions("do: [").is_empty());
}
