//! `metadata.once`: what it compiles to, and what is found wrong with it.

mod common;

use baton_core::workflow::Kind;
use baton_dsl::lint;
use common::{compiled, document, lines, task};

/// The tasks have exactly these findings.
#[track_caller]
fn check(tasks: &str, wanted: &[&str]) {
    let findings = lint(&document(tasks, ""));
    let found: Vec<_> = findings.iter().map(|finding| finding.code).collect();
    assert_eq!(found, wanted, "{}", lines(&findings));
}

fn pay(once: &str) -> String {
    format!("- pay:\n    call: bank.pay\n    with: {{ id: 1 }}\n    metadata: {{ once: {once} }}")
}

#[test]
fn a_step_knows_its_key() {
    for (once, attach) in [
        ("{ key: '${ .id }' }", false),
        ("{ key: '${ .id }', again: refuse }", false),
        ("{ key: '${ .id }', again: attach }", true),
    ] {
        let compiled = compiled(&document(&pay(once), ""));
        let Kind::Step { once: Some(found), .. } = &task(&compiled.workflow, "/do/0/pay").kind
        else {
            panic!("no key")
        };
        assert_eq!(found.attach, attach, "{once}");
    }
}

#[test]
fn what_says_nothing_of_use_is_found() {
    check(&pay("{ again: attach }"), &["missing-key"]);
    check(&pay("{ key: a, again: perhaps }"), &["invalid-value"]);
    check(&pay("{ key: a, agin: attach }"), &["unknown-key"]);
    check(&pay("4711"), &["invalid-type"]);
    check("- set: { set: { a: 1 }, metadata: { once: { key: a } } }", &["once-without-step"]);
}
