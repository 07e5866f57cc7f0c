//! `call: map`: what it compiles to, and what is found wrong with it.

mod common;

use baton_core::{TaskId, limits, workflow::Kind};
use baton_dsl::lint;
use common::{compiled, document, evaluate, lines, task};

const CHARGE: &str = "\
- chargeAll:
    call: map
    with:
      in: ${ .orders }
      each: order
      at: place
      concurrency: 20
      onError: collect
      do:
      - charge: { call: erp.charge, with: { id: '${ $order.id }', place: '${ $place }' } }
      - note: { set: { definition: '${ $task.definition }', input: '${ . }' } }
- after: { set: { n: '${ length }' } }";

/// The task of these lines has exactly these findings.
#[track_caller]
fn check(with: &str, wanted: &[&str]) {
    let source = document(&format!("- all:\n    call: map\n    with:{with}"), "");
    let findings = lint(&source);
    let found: Vec<_> = findings.iter().map(|finding| finding.code).collect();
    assert_eq!(found, wanted, "{}\n{source}", lines(&findings));
}

#[test]
fn a_map_is_a_list_of_tasks_for_each_item() {
    let workflow = compiled(&document(CHARGE, "")).workflow;
    let all = task(&workflow, "/do/0/chargeAll");
    let Kind::Map { each, at, body, concurrency, collect, .. } = &all.kind else {
        panic!("not a map: {all:?}")
    };
    assert_eq!((&**each, &**at, *concurrency, *collect), ("order", "place", 20, true));
    assert_eq!(*body, TaskId(2), "in document order");
    let Kind::Do { first: Some(first) } = task(&workflow, "/do/0/chargeAll/with/do").kind else {
        panic!("no list")
    };
    let charge = workflow.task(first).unwrap();
    assert_eq!(&*charge.pointer, "/do/0/chargeAll/with/do/0/charge");
    let note = workflow.task(charge.following.unwrap()).unwrap();
    assert_eq!((&*note.name, note.following), ("note", None));
    assert_eq!(&*workflow.task(all.following.unwrap()).unwrap().name, "after");
}

#[test]
fn what_is_not_said_has_a_default() {
    let source = "- all: { call: map, with: { in: '[1, 2]', do: [] } }";
    let workflow = compiled(&document(source, "")).workflow;
    let Kind::Map { each, at, concurrency, collect, .. } = &task(&workflow, "/do/0/all").kind
    else {
        panic!("not a map")
    };
    let found = (&**each, &**at, *concurrency, *collect);
    assert_eq!(found, ("item", "index", limits::MAP_CONCURRENCY, false));
}

#[test]
fn tasks_inside_know_their_own_definition() {
    let compiled = compiled(&document(
        "- all:\n    call: map\n    with:\n      in: .\n      do:\n      - it: { set: '${ $task.definition }' }",
        "",
    ));
    let output = evaluate(&compiled, "/do/0/all/with/do/0/it", "1").unwrap();
    assert_eq!(output.as_str(), r#"{"set":"${ $task.definition }"}"#);
}

#[test]
fn the_list_is_checked_as_any_other() {
    let list = |tasks: &str| format!(" {{ in: ., do: [{tasks}] }}");
    let set = "{ a: { set: { b: 1 } } }";
    check(&list(&format!("{set}, {set}")), &["duplicate-task"]);
    check(&list("{ a: { set: { b: 1 }, then: b } }"), &["unknown-target"]);
    // A task of the list around cannot be gone to.
    check(&list("{ a: { set: { b: 1 }, then: all } }"), &["unknown-target"]);
    check(&list("{ a: { set: { b: 1 }, then: end } }, { c: { wait: PT1S } }"), &["unreachable"]);
    check(&list("{ a: { cal: b } }"), &["missing-key"]);
    check(&list("{ a: { set: { b: 1 }, then: a } }"), &["loop-without-progress"]);
    check(&list("{ a: { call: b, then: a } }"), &[]);
    check(&list("{ a: { set: { b: '${ $item + $index }' } } }"), &[]);
    check(&list("{ a: { set: { b: '${ $order }' } } }"), &["unknown-variable"]);
    let inner = "{ b: { call: map, with: { in: $item, each: part, do: [{ c: { set: '${ [$item, $part] }' } }] } } }";
    check(&list(inner), &[]);
}

#[test]
fn mistakes_in_the_arguments_are_found() {
    check(" { in: ., do: [], each: a, at: b, concurrency: 1000, onError: fail }", &[]);
    check(" {}", &["missing-key", "missing-key"]);
    check(" 7", &["invalid-type"]);
    check(" { in: ., do: 7 }", &["invalid-type"]);
    check(" { in: ., do: [], parallel: 2 }", &["unknown-key"]);
    check(" { in: ., do: [], concurrency: 0 }", &["invalid-value"]);
    check(" { in: ., do: [], concurrency: 1001 }", &["invalid-value"]);
    check(" { in: ., do: [], concurrency: '${ .n }' }", &["invalid-value"]);
    check(" { in: ., do: [], onError: ignore }", &["invalid-value"]);
    check(" { in: ., do: [], each: a, at: a }", &["invalid-value"]);
    check(" { in: ., do: [], each: $a }", &["invalid-value"]);
    check(" { in: $item, do: [] }", &["unknown-variable"]);
    check(" { in: ., do: [] }\n    output: { as: $item }", &["unknown-variable"]);
    let findings = lint(&document("- all: { call: map }", ""));
    assert_eq!(findings.iter().map(|finding| finding.code).collect::<Vec<_>>(), ["missing-key"]);
}

#[test]
fn a_task_inside_may_be_extended_and_may_call_functions_of_the_document() {
    let more = "use:
  functions: { double: { set: '${ . * 2 }' } }
  extensions: [{ log: { extend: set, before: [{ note: { call: log } }] } }]";
    let tasks =
        "- all: { call: map, with: { in: ., do: [{ a: { call: double } }, { b: { set: 1 } }] } }";
    let source = document(&tasks.replace("set: 1", "set: { x: 1 }"), more);
    let workflow = compiled(&source).workflow;
    assert!(matches!(task(&workflow, "/do/0/all/with/do/0/a").kind, Kind::Function { .. }));
    assert!(matches!(task(&workflow, "/do/0/all/with/do/1/b").kind, Kind::Do { .. }));
}
