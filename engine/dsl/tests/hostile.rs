//! What nobody means well with: each kind of it in one place, with the code that it gets, and never much later.
//!
//! At the doors of the engine, where bytes are not yet text and everything is counted, it stands in
//! `tests/tests/bad_input`; what expressions take, one by one, in `expressions.rs`; what schemas take, in `schemas.rs`.

mod common;

use std::{
    fmt::Write as _,
    time::{Duration, Instant},
};

use baton_core::{Evaluator, Json, Scope, workflow::Kind};
use baton_dsl::{check_json, lint};
use common::{arguments, compiled, document, instance, lines, task};

/// For what takes as long as anything may: some 20 ms where the code is optimised, and here it may not be.
const PATIENCE: Duration = Duration::from_secs(5);

/// For what is refused at a glance.
const AT_ONCE: Duration = Duration::from_millis(500);

fn timed<T>(what: &str, at_most: Duration, run: impl FnOnce() -> T) -> T {
    let began = Instant::now();
    let result = run();
    assert!(began.elapsed() < at_most, "{what} took {:?}", began.elapsed());
    result
}

/// The text has this finding, and perhaps others.
#[track_caller]
fn found(what: &str, source: &str, code: &str) {
    let findings = timed(what, PATIENCE, || lint(source));
    let has = findings.iter().any(|finding| finding.code == code);
    assert!(has, "{what}:\n{}", lines(&findings));
}

fn with_value(value: &str) -> String {
    document(&format!("- it: {{ set: {{ v: {value} }} }}"), "")
}

fn with_schema(schema: &str) -> String {
    document("[]", &format!("input: {{ schema: {{ document: {schema} }} }}"))
}

/// What `${ … }` gives for an input; `Err` has the code of a finding, or the detail of the error.
fn evaluated(jq: &str, input: &str) -> Result<String, String> {
    let quoted = jq.replace('\'', "''");
    let source = with_value(&format!("'${{ {quoted} }}'"));
    let findings = lint(&source);
    if let Some(finding) = findings.first() {
        return Err(finding.code.to_owned());
    }
    let compiled = compiled(&source);
    timed(jq, PATIENCE, || common::evaluate(&compiled, "/do/0/it", input))
        .map(|value| value.to_string())
        .map_err(|error| {
            assert!(error.kind.ends_with("/expression") && error.status == 400, "{error:?}");
            error.detail.unwrap_or_default().to_string()
        })
}

#[test]
fn a_broken_text_gets_its_code() {
    let mut bomb = String::from("a0: &a0 [x]\n");
    for n in 1..30 {
        let _ = writeln!(bomb, "a{n}: &a{n} [*a{m}, *a{m}, *a{m}, *a{m}]", m = n - 1);
    }
    let block = (0..1_000).fold(String::new(), |text, n| text + &" ".repeat(n) + "- \n");
    let keys = (0..1_000).fold(String::new(), |text, n| text + &" ".repeat(n) + "a:\n");
    let deep = 10_000;
    let rows = [
        ("aliases of aliases", bomb, "syntax"),
        ("a cycle of aliases", "a: &a { b: *a }".into(), "syntax"),
        ("merge keys", "a: &a { b: 1 }\nc: { <<: *a }".into(), "syntax"),
        ("lists in lists", "[".repeat(deep) + &"]".repeat(deep), "too-deep"),
        ("lists that do not end", "[".repeat(deep), "too-deep"),
        ("objects in objects", "{\"a\":".repeat(deep) + "1" + &"}".repeat(deep), "too-deep"),
        ("lists in lists, by dashes", "- ".repeat(deep), "too-deep"),
        ("lists in lists, by lines", block, "too-deep"),
        ("objects in objects, by lines", keys, "too-deep"),
        ("keys that are objects", "? ".repeat(deep), "syntax"),
        ("a key twice", with_value("{ a: 1, a: 2 }"), "duplicate-key"),
        ("a key twice, by escapes", with_value(r#"{ "a": 1, "\u0061": 2 }"#), "duplicate-key"),
        (
            "a task twice",
            document("- a: { wait: PT1S }\n- a: { wait: PT1S }", ""),
            "duplicate-task",
        ),
        ("no number", with_value(".nan"), "invalid-value"),
        ("an endless number", with_value("-.inf"), "invalid-value"),
        ("a number of 2,000 digits", with_value(&"9".repeat(2_000)), "invalid-value"),
        (
            "a duration for ever",
            document("- a: { wait: P99999999999999D }", ""),
            "invalid-duration",
        ),
        (
            "attempts beyond range",
            document("- a: { call: f, metadata: { attempts: 99999999999999999999 } }", ""),
            "invalid-value",
        ),
        ("a tag that makes objects", with_value("!!python/object:os.system {}"), "syntax"),
        ("a zero", "\u{0}".into(), "syntax"),
        ("half of a character by its code", with_value(r#""\ud800""#), "syntax"),
    ];
    for (what, source, code) in rows {
        found(what, &source, code);
    }
}

#[test]
fn what_is_too_large_is_refused_at_a_glance() {
    let large = 50 * 1024 * 1024;
    for source in ["#".repeat(large), "[".repeat(large), "a: b\n".repeat(large / 5)] {
        let findings = timed("50 MB", AT_ONCE, || lint(&source));
        assert_eq!(findings.len(), 1, "{}", lines(&findings));
        assert_eq!(findings[0].code, "too-large");
    }
    let many = format!("[{}]", "1,".repeat(450_000));
    found("many values", &many, "too-large");
}

/// Values come as bytes, and are text from there on where the engine reads a message: a text that is not UTF-8 gets
/// `malformed-request` or `malformed-result` there. What is text gets its bounds here.
#[test]
fn a_broken_value_is_refused_and_an_odd_one_is_kept() {
    for (what, text) in [
        ("lists in lists", "[".repeat(10_000) + &"]".repeat(10_000)),
        ("lists that do not end", "[".repeat(50 * 1024 * 1024)),
        ("objects in objects", "{\"a\":".repeat(10_000) + "1" + &"}".repeat(10_000)),
        ("a number of a megabyte", "9".repeat(1024 * 1024)),
        ("no number", "NaN".into()),
        ("an endless number", "-Infinity".into()),
        ("half of a character", r#""\ud800""#.into()),
        ("two values", "1 2".into()),
        ("a comment", "1 // one".into()),
    ] {
        assert!(timed(what, AT_ONCE, || check_json(&text)).is_err(), "{what}");
    }
    // Beyond what a machine calculates with, and yet JSON: it is kept as it is.
    for number in ["1e400", "-1e-400", "123456789012345678901234567890", "0.1000"] {
        assert_eq!(
            evaluated(".n", &format!("{{\"n\":{number}}}")).as_deref(),
            Ok(format!("{{\"v\":{number}}}").as_str())
        );
    }
    // The last of two keys counts, in every reader alike.
    let twice = r#"{"a":1,"a":2}"#;
    for jq in [".a", ". | .a"] {
        assert_eq!(evaluated(jq, twice).as_deref(), Ok(r#"{"v":2}"#), "{jq}");
    }
}

#[test]
fn an_expression_without_end_ends() {
    let doubled = |what: &str| format!("{what} | {} length", ". + . | ".repeat(40));
    for (jq, words) in [
        ("def f: f; f", "expression-unsupported"),
        ("def f: f, f; [f]", "expression-unsupported"),
        ("recurse(.)", "expression-unsupported"),
        ("[repeat(1)]", "expression-unsupported"),
        ("until(false; .)", "expression-unsupported"),
        ("[while(true; .)]", "expression-unsupported"),
        ("label $f | 1, break $f", "expression-unsupported"),
        ("reduce range(1e9) as $i (0; . + $i)", "expression-unsupported"),
        ("halt", "expression-unsupported"),
        ("\"x\" | halt_error", "expression-unsupported"),
        ("env", "expression-unsupported"),
        ("$ENV.HOME", "expression-unsupported"),
        ("input", "expression-unsupported"),
        ("now", "expression-unsupported"),
        ("[range(0;1e9)]", "too much work"),
        ("last(range(1e18))", "too much work"),
        ("\"x\" * 1e9", "too much work"),
        ("try [range(1e9)] catch 0", "too much work"),
        (&doubled("\"x\""), "too much work"),
        (&doubled("[1]"), "too much work"),
        (&format!("[{} .] | length", "(., .) | ".repeat(60)), "too much work"),
        ("nan", "not finite"),
        ("[nan]", "not finite"),
        ("infinite", "not finite"),
        ("{a: (0 / 0)}", "not finite"),
        ("1e308 * 10", "not finite"),
        ("[.. = 1]", "expression-unsupported"),
        ("(\"a\" * 10000) | test(\"((a{100}){100}){100}b\")", "too much work"),
        ("\"x\" | test(\"(\")", "invalid regex"),
        ("(\"[\" * 10000) | fromjson", "wanted"),
    ] {
        let told = evaluated(jq, "{}").expect_err(jq);
        assert!(told.contains(words), "{jq}: {told}");
    }
    // A pattern takes time linear in the text, and a number that only JSON can say is kept.
    for (jq, value) in [
        ("(\"ab\" * 100000) | test(\"(a+)+$\")", "false"),
        ("(\"a\" * 10000) | gsub(\"(a*)*b\"; \"\") | length", "10000"),
        ("\"1e400\" | fromjson", "1e400"),
    ] {
        assert_eq!(evaluated(jq, "{}"), Ok(format!("{{\"v\":{value}}}")), "{jq}");
    }
}

#[test]
fn nothing_of_the_data_is_evaluated() {
    let data = r#"{"x":"${ error(\"evaluated\") }","y":["${ .x }"],"${ 1 }":"{{ .x }}"}"#;
    assert_eq!(evaluated(".", data), Ok(format!("{{\"v\":{data}}}")));
    assert_eq!(
        evaluated(".x + .y[0]", data).as_deref(),
        Ok(r#"{"v":"${ error(\"evaluated\") }${ .x }"}"#)
    );
    assert_eq!(
        evaluated("{(.x): 1}", data).as_deref(),
        Ok(r#"{"v":{"${ error(\"evaluated\") }":1}}"#)
    );
    // What looks like a template is one only where the author wrote it.
    let call = "- a: { call: http, with: { method: get, endpoint: 'https://h/{x}' } }";
    let compiled = compiled(&document(call, ""));
    let given = arguments(&compiled, "/do/0/a", r#"{"x":"{y}","y":"evaluated"}"#);
    assert_eq!(
        given.unwrap().as_str(),
        r#"{"method":"get","endpoint":{"uri":"https://h/%7By%7D"}}"#
    );
}

#[test]
fn no_pattern_of_a_filter_takes_long() {
    let listen = |pattern: &str| {
        document(
            &format!(
                "- a: {{ listen: {{ to: {{ one: {{ with: {{ subject: '{pattern}' }} }} }} }} }}"
            ),
            "",
        )
    };
    found("a pattern that is none", &listen("^(a+"), "invalid-regex");
    found("a pattern that looks back", &listen(r"^(a)\1$"), "invalid-regex");
    found("a pattern that is large", &listen("^((a{100}){100}){100}$"), "invalid-regex");
    for (pattern, wanted) in [
        ("^(a+)+$", false),
        ("^(a|a)*$", false),
        ("^(.*)*(.*)*b$", false),
        ("^(a*)*(a*)*b!$", true),
    ] {
        let compiled = compiled(&listen(pattern));
        let Kind::Listen(listening) = &task(&compiled.workflow, "/do/0/a").kind else {
            panic!("it listens")
        };
        let instance = instance(&compiled.workflow, "{}", "null");
        let event = Json::from_text(format!("{{\"subject\":\"{}b!\"}}", "a".repeat(100_000)));
        let scope = Scope {
            workflow: &compiled.workflow,
            instance: &instance,
            value: &event,
            input: None,
            output: None,
            task: None,
            variables: &[],
        };
        let matcher = listening.filters[0].matcher;
        let takes = timed(pattern, AT_ONCE, || compiled.program.turn().matches(matcher, &scope));
        assert_eq!(takes, wanted, "{pattern}");
    }
}

#[test]
fn no_schema_leads_away_or_takes_long() {
    let double = (0..64).fold(String::new(), |mut text, n| {
        let next = format!("{{\"$ref\":\"#/$defs/d{}\"}}", n + 1);
        let _ = write!(text, "\"d{n}\":{{\"allOf\":[{next},{next}]}},");
        text
    });
    let double = format!("{{\"$ref\":\"#/$defs/d0\",\"$defs\":{{{double}\"d64\":true}}}}");
    for (what, schema) in [
        ("a reference to itself", r##"{ $ref: "#" }"##),
        (
            "a cycle of references",
            r##"{ $ref: "#/$defs/a", $defs: { a: { $ref: "#/$defs/b" }, b: { $ref: "#/$defs/a" } } }"##,
        ),
        ("a remote reference", r#"{ $ref: "https://example.com/schema" }"#),
        ("a reference to a file", r#"{ items: { $ref: "file:///etc/passwd" } }"#),
        ("a relative reference", r#"{ $id: "https://example.com/a", $ref: "b" }"#),
        ("a dynamic remote reference", r#"{ $dynamicRef: "https://example.com/schema#a" }"#),
        ("a reference to nothing", r##"{ $ref: "#/$defs/none" }"##),
        ("references that double", &double),
        ("a pattern that looks back", r#"{ pattern: "^(a)\\1$" }"#),
        ("a pattern that is large", r#"{ pattern: "((a{100}){100}){100}" }"#),
    ] {
        found(what, &with_schema(schema), "invalid-schema");
    }
    let nested = |levels: usize| "{\"a\":".repeat(levels) + "\"ab\"" + &"}".repeat(levels);
    let either = r##"{ anyOf: [ { properties: { a: { $ref: "#" } }, required: [ b ] }, { properties: { a: { $ref: "#" } }, required: [ c ] } ] }"##;
    let long = format!("\"{}b\"", "a".repeat(100_000));
    for (what, schema, value, words) in [
        ("ways that double", either, nested(100), "too much work to check"),
        ("a pattern in itself", r#"{ pattern: "^(a+)+$" }"#, long.clone(), "does not match"),
        ("a pattern by many ways", r#"{ pattern: "^(a|a)*$" }"#, long, "does not match"),
    ] {
        let compiled = compiled(&with_schema(schema));
        let schema = compiled.workflow.tasks[0].input_schema.unwrap_or_else(|| panic!("{what}"));
        let value = Json::from_text(value);
        let checked = timed(what, AT_ONCE, || compiled.program.turn().validate(schema, &value));
        let detail = checked.map_err(|error| error.detail.unwrap_or_default());
        assert!(detail.as_ref().is_err_and(|detail| detail.contains(words)), "{what}: {detail:?}");
    }
}

#[test]
fn an_address_is_made_of_scalars_only() {
    let call = "- a: { call: http, with: { method: get, endpoint: 'https://h/{id}' } }";
    let compiled = compiled(&document(call, ""));
    for input in [r#"{"id":[1]}"#, r#"{"id":{"a":1}}"#] {
        let error = arguments(&compiled, "/do/0/a", input).unwrap_err();
        assert!(error.kind.ends_with("/expression"), "{error:?}");
        assert!(error.detail.as_deref().unwrap_or_default().contains("{id}"), "{error:?}");
    }
    let escaped = arguments(&compiled, "/do/0/a", r#"{"id":"../../admin?x#y"}"#);
    assert!(escaped.is_ok_and(|given| given.contains("https://h/..%2F..%2Fadmin%3Fx%23y")));
    let reserved = "- a: { call: http, with: { method: get, endpoint: 'https://h/{+id}' } }";
    found("an operator of templates", &document(reserved, ""), "invalid-value");
}

#[test]
fn a_schedule_that_never_comes_is_refused() {
    for (what, cron, code) in [
        ("the 30th of February", "0 0 30 2 *", "invalid-cron"),
        ("the 31st of April", "0 0 31 4 *", "invalid-cron"),
        ("a minute beyond range", "61 * * * *", "invalid-cron"),
        ("a minute far beyond range", "99999999999999999999 * * * *", "invalid-cron"),
        ("no fields", "", "invalid-cron"),
        ("an expression", "${ .cron }", "invalid-cron"),
        ("a long one", &"1,".repeat(5_000), "too-large"),
    ] {
        let source = document("[]", &format!("schedule: {{ cron: '{cron}' }}"));
        let findings = timed(what, AT_ONCE, || lint(&source));
        assert!(
            findings.iter().any(|finding| finding.code == code),
            "{what}: {}",
            lines(&findings)
        );
    }
}
