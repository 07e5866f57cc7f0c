//! `metadata.compensate`: what it compiles to, and what is found wrong with it.

mod common;

use baton_core::workflow::Kind;
use baton_dsl::lint;
use common::{compiled, document, evaluate, lines, task};

const PAY: &str = "\
- each:
    for: { each: order, in: .orders }
    do:
    - pay:
        call: bank.pay
        with: { id: '${ $order.id }' }
        metadata:
          compensate:
          - refund: { call: bank.refund, with: { payment: '${ .output.id }' }, then: tell }
          - tell: { set: '${ .input }' }
- after: { set: { n: 1 } }";

/// The tasks have exactly these findings.
#[track_caller]
fn check(tasks: &str, wanted: &[&str]) {
    let findings = lint(&document(tasks, ""));
    let found: Vec<_> = findings.iter().map(|finding| finding.code).collect();
    assert_eq!(found, wanted, "{}", lines(&findings));
}

#[test]
fn a_task_knows_the_list_that_undoes_it() {
    let compiled = compiled(&document(PAY, ""));
    let workflow = &compiled.workflow;
    let pay = task(workflow, "/do/0/each/do/0/pay");
    let list = workflow.task(pay.compensation.unwrap()).unwrap();
    assert_eq!(&*list.pointer, "/do/0/each/do/0/pay/metadata/compensate");
    let Kind::Do { first: Some(first) } = list.kind else { panic!("no list: {list:?}") };
    let refund = workflow.task(first).unwrap();
    assert_eq!(&*refund.pointer, "/do/0/each/do/0/pay/metadata/compensate/0/refund");
    assert_eq!((pay.following, list.following), (None, None), "it stands beside, not behind");
    assert!(task(workflow, "/do/1/after").compensation.is_none());
    let tell = "/do/0/each/do/0/pay/metadata/compensate/1/tell";
    let given = evaluate(&compiled, tell, "{\"input\":7}").unwrap();
    assert_eq!(given.as_str(), "7");
}

#[test]
fn what_is_wrong_with_it_is_named() {
    check(PAY, &[]);
    let undo =
        |list: &str| format!("- a: {{ set: {{ n: 1 }}, metadata: {{ compensate: {list} }} }}");
    check(&undo("{}"), &["invalid-type"]);
    check(&undo("[ { b: {} } ]"), &["missing-key"]);
    check(&undo("[ { b: { set: { n: 1 }, then: a } } ]"), &["unknown-target"]);
    check(&undo("[ { b: { set: { n: '${ $x }' } } } ]"), &["unknown-variable"]);
    check(
        &undo("[ { b: { set: { n: 1 }, metadata: { compensate: [] } } } ]"),
        &["nested-compensation"],
    );
    check(
        &undo("[ { b: { set: { n: 1 }, then: end } }, { c: { set: { n: 1 } } } ]"),
        &["unreachable"],
    );
    // The loop is gone when it runs.
    let inside = "- l:\n    for: { each: x, in: . }\n    do:\n    - a: { set: { n: 1 }, metadata: { compensate: [ { b: { set: { n: '${ $x }' } } } ] } }\n    - c: { set: { n: '${ $x }' } }";
    check(inside, &["unknown-variable"]);
}
