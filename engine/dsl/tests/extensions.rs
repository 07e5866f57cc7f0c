//! Extensions, told as runs of whole documents.

#![expect(clippy::panic, clippy::unwrap_used, reason = "these stand in tests")]

mod common;

use std::sync::Arc;

use baton_core::{
    Command, InstanceId, Timestamp,
    event::{Report, Started},
    instance::End,
};
use baton_dsl::lint;
use common::{compiled, document, lines};

/// What a run did: its steps in order, as `task(arguments)`, and how it ended.
struct Run {
    steps: Vec<String>,
    output: String,
    context: String,
}

/// Runs the document; a step gives its task's name.
fn run(tasks: &str, uses: &str, input: &str) -> Run {
    let source = document(tasks, uses);
    let compiled = compiled(&source);
    let (workflow, program) = (&compiled.workflow, &compiled.program);
    let started = Started {
        workflow: workflow.hash,
        name: workflow.name.clone(),
        input: baton_core::Json::from_text(input),
        key: "".into(),
        labels: std::collections::BTreeMap::new(),
        traceparent: "".into(),
        parent: None,
        carried: baton_core::guard::Carried::default(),
        by: "".into(),
    };
    let (id, now) = (InstanceId([7; 16]), Timestamp(1));
    let (mut instance, _) =
        baton_core::start(workflow, &program.turn(), id, Arc::new(started), now).unwrap();
    let mut steps = Vec::new();
    for _ in 0..1_000 {
        let open = instance.open_steps().next().map(|(id, step)| (id, step.clone()));
        let command = if let Some((activation, step)) = open {
            let task = workflow.task(instance.activations[&activation].task).unwrap();
            steps.push(format!("{}({})", task.name, step.arguments.as_str()));
            let output = baton_core::Json::from_text(format!("\"{}\"", task.name));
            let report = Report::default();
            Command::CompleteStep { activation, attempt: step.attempt, output, report }
        } else if !instance.ready.is_empty() {
            Command::Continue
        } else {
            break;
        };
        baton_core::decide(&mut instance, workflow, &program.turn(), now, command).unwrap();
    }
    let output = match &instance.ended {
        Some((_, End::Completed(output))) => output.as_str().to_owned(),
        Some((_, End::Faulted(error))) => {
            let at = error.instance.as_deref().unwrap_or_default();
            let kind = error.kind.rsplit('/').next().unwrap();
            let detail = error.detail.as_deref().unwrap_or_default();
            format!("{kind} at {at}: {detail}")
        }
        Some((_, End::Cancelled)) | None => panic!("{steps:?}\n{instance:#?}\n{source}"),
    };
    Run { steps, output, context: instance.context.as_str().to_owned() }
}

/// Logs around each task of a kind, by steps that get the extended task's reference and their own input.
fn logging(extend: &str, more: &str) -> String {
    format!(
        "use:
  extensions:
  - logging:
      extend: {extend}
      {more}
      before:
      - begin: {{ call: log, with: {{ of: '${{ $task.reference }}', got: '${{ . }}' }} }}
      after:
      - end: {{ call: log, with: {{ of: '${{ $task.name }}', got: '${{ . }}' }} }}
"
    )
}

#[test]
fn the_flow_of_data_passes_by_what_an_extension_does() {
    let tasks = "- a: { call: work, with: { n: '${ .n }' }, input: { from: '{n: .x}' }, output: { as: '{y: ., was: $input.n}' } }\n- b: { set: { z: '${ .y }' } }";
    let run = run(tasks, &logging("call", ""), r#"{"x":1}"#);
    assert_eq!(
        run.steps,
        [
            r#"begin({"of":"/do/0/a","got":{"x":1}})"#,
            r#"a({"n":1})"#,
            r#"end({"of":"a","got":{"y":"a","was":1}})"#,
        ]
    );
    assert_eq!(run.output, r#"{"z":"a"}"#);
}

#[test]
fn an_extension_extends_tasks_of_its_target_alone() {
    let tasks = "- a: { do: [ { b: { set: { x: 1 } } }, { c: { call: work } } ] }";
    let steps = |target| run(tasks, &logging(target, ""), "{}").steps.len();
    assert_eq!(
        [("set", 3), ("call", 3), ("composite", 3), ("all", 7), ("switch", 1), ("try", 1)]
            .map(|(target, _)| steps(target)),
        [3, 3, 3, 7, 1, 1]
    );
}

#[test]
fn exit_before_a_task_skips_it_and_its_output_is_used() {
    let mock = "use:
  extensions:
  - mock:
      extend: call
      when: $task.definition.with.endpoint.uri == \"https://mocked\"
      before:
      - answer: { set: { content: fake }, then: exit }
      after:
      - never: { call: log }
";
    let tasks = "- a: { call: http, with: { method: get, endpoint: { uri: 'https://mocked' } }, output: { as: .never }, export: { as: '{}' } }\n- b: { call: http, with: { method: get, endpoint: { uri: 'https://real' } } }";
    let run = run(tasks, mock, "{}");
    assert_eq!(run.steps, [r#"b({"method":"get","endpoint":{"uri":"https://real"}})"#]);
    assert_eq!((run.output.as_str(), run.context.as_str()), ("\"b\"", "{}"));
}

#[test]
fn when_is_asked_with_the_extended_task_as_task() {
    let when = |expression: &str| logging("all", &format!("when: {expression}"));
    let steps =
        |when: &str| run("- a: { call: work }\n- b: { call: work }", when, r#"{"n":1}"#).steps;
    assert_eq!(steps(&when("$task.name == \"b\"")).len(), 4);
    assert_eq!(steps(&when("($task.input | type) == \"object\"")).len(), 4);
    assert_eq!(steps(&when("$task.definition.call == \"work\"")).len(), 6);
    assert_eq!(steps(&when("$context.debug == true")).len(), 2);
}

#[test]
fn a_skipped_task_is_not_extended() {
    let run = run(
        "- a: { if: .no, call: work }\n- b: { set: { x: '${ . }' } }",
        &logging("call", ""),
        "{}",
    );
    assert!(run.steps.is_empty());
    assert_eq!(run.output, r#"{"x":{}}"#);
}

#[test]
fn extensions_follow_each_other_and_each_begins_with_the_tasks_input() {
    let two = "use:
  extensions:
  - one: { extend: call, when: '.no == null', before: [ { first: { call: x } } ], after: [ { third: { call: x } } ] }
  - two: { extend: call, before: [ { second: { call: x } } ], after: [ { fourth: { call: x } } ] }
";
    let run = run("- a: { call: work }", two, "7");
    assert_eq!(
        run.output,
        "expression at /use/extensions/0/one: `.no == null`: cannot index 7 with \"no\""
    );
    let two = two.replace(".no == null", "true");
    let run = self::run("- a: { call: work }", &two, "7");
    assert_eq!(run.steps, ["first(7)", "second(7)", "a(7)", "third(\"a\")", "fourth(\"a\")"]);
    assert_eq!(run.output, "\"a\"");
}

#[test]
fn extensions_do_not_extend_each_other_nor_what_they_call() {
    let uses = logging("all", "") + "  functions: { note: { call: write } }\n";
    let uses = uses.replace("call: log", "call: note");
    let run = run("- a: { call: note }", &uses, "{}");
    let names: Vec<_> = run.steps.iter().map(|step| step.split('(').next().unwrap()).collect();
    // The call of the function is extended, and its body is.
    assert_eq!(names, ["note", "note", "note", "note", "note"]);
    assert_eq!(run.output, "\"note\"");
}

const SWITCH: &str = "
- s: { if: .go, switch: [ { one: { when: .n == 1, then: b } }, { two: { when: .n == 2, then: exit } }, { three: { when: .n == 3, then: s2 } } ], output: { as: '{s: .}' }, then: c }
- a: { set: { reached: a, was: '${ . }' }, then: exit }
- b: { set: { reached: b, was: '${ . }' }, then: exit }
- c: { set: { reached: c, was: '${ . }' }, then: exit }
- s2: { switch: [ { end: { then: end } } ] }
";

#[test]
fn an_extended_switch_goes_where_it_would_have_gone() {
    let uses = logging("switch", "");
    for (input, output, steps) in [
        (r#"{"go":true,"n":1}"#, r#"{"reached":"b","was":{"s":{"go":true,"n":1}}}"#, 2),
        (r#"{"go":true,"n":2}"#, r#"{"s":{"go":true,"n":2}}"#, 2),
        (r#"{"go":true,"n":3}"#, r#"{"s":{"go":true,"n":3}}"#, 4),
        (r#"{"go":true,"n":4}"#, r#"{"reached":"c","was":{"s":{"go":true,"n":4}}}"#, 2),
        (r#"{"go":false}"#, r#"{"reached":"a","was":{"go":false}}"#, 0),
    ] {
        let extended = run(SWITCH, &uses, input);
        assert_eq!(extended.output, output, "{input}");
        assert_eq!(extended.steps.len(), steps, "{input}: {:?}", extended.steps);
        assert_eq!(run(SWITCH, "", input).output, output, "{input}");
    }
    let left = "use: { extensions: [ { x: { extend: switch, before: [ { leave: { set: { left: true }, then: exit } } ], after: [ { never: { call: x } } ] } } ] }";
    assert_eq!(
        run(SWITCH, left, r#"{"go":true,"n":1}"#).output,
        r#"{"reached":"c","was":{"left":true}}"#
    );
}

#[test]
fn an_extended_try_goes_where_its_catch_says() {
    let tasks = |error: &str| {
        format!(
            "- t: {{ try: [ {{ x: {error} }} ], catch: {{ do: [ {{ h: {{ set: {{ caught: true }} }} }} ], then: c }}, then: b }}\n- a: {{ set: {{ at: a }}, then: end }}\n- b: {{ set: {{ at: b, was: '${{ . }}' }}, then: end }}\n- c: {{ set: {{ at: c, was: '${{ . }}' }}, then: end }}"
        )
    };
    let uses = logging("try", "");
    let failing = run(&tasks("{ raise: { error: { type: t, status: 400 } } }"), &uses, "{}");
    assert_eq!(failing.output, r#"{"at":"c","was":{"caught":true}}"#);
    assert_eq!(failing.steps.len(), 2);
    let going = run(&tasks("{ set: { fine: true } }"), &uses, "{}");
    assert_eq!(going.output, r#"{"at":"b","was":{"fine":true}}"#);
}

#[test]
fn branches_and_functions_are_extended_too() {
    let tasks = "- f: { fork: { branches: [ { s: { switch: [ { c: { when: '. == 1', then: exit } } ] } }, { w: { call: work } } ] } }\n- g: { call: pick }";
    let uses = logging("switch", "")
        + "  functions: { pick: { switch: [ { c: { then: continue } } ] } }\n";
    let run = run(tasks, &uses, "1");
    assert_eq!(run.output, r#"[1,"w"]"#);
    assert_eq!(run.steps.len(), 5);
}

#[test]
fn an_error_of_an_extension_is_one_of_the_task_around() {
    let uses = "use: { extensions: [ { check: { extend: call, before: [ { deny: { raise: { error: { type: https://x/denied, status: 403 } } } } ] } } ] }";
    let tasks = "- t: { try: [ { a: { call: work } } ], catch: { errors: { with: { status: 403 } }, do: [ { h: { set: { at: '${ $error.instance }' } } } ] } }";
    let run = run(tasks, uses, "{}");
    assert_eq!(run.output, r#"{"at":"/use/extensions/0/check/before/0/deny"}"#);
}

#[track_caller]
fn check(tasks: &str, uses: &str, wanted: &[(&str, u32, u32)]) {
    let source = document(tasks, uses);
    let findings = lint(&source);
    let found: Vec<_> = findings.iter().map(|f| (f.code, f.line, f.column)).collect();
    assert_eq!(found, wanted, "{}\n{source}", lines(&findings));
}

#[test]
fn extensions_are_checked_where_they_stand() {
    let one = |extension: &str| format!("use: {{ extensions: [ {{ x: {extension} }} ] }}");
    let wanted = |extension: &str, code, column: u32| {
        check("- a: { call: work }", &one(extension), &[(code, 6, column - 2)]);
    };
    wanted("5", "invalid-type", 29);
    wanted("{ when: .x }", "missing-key", 29);
    wanted("{ extend: fork }", "invalid-value", 39);
    wanted("{ extend: call, befor: [], after: [ { b: { call: c } } ] }", "unknown-key", 45);
    wanted("{ extend: call, when: .x +, before: [ { b: { call: c } } ] }", "expression-syntax", 51);
    wanted("{ extend: call, before: 5 }", "invalid-type", 53);
    wanted("{ extend: call, before: [ { b: { set: {} } } ] }", "invalid-type", 67);
    wanted("{ extend: call, after: [ { b: { call: c, then: a } } ] }", "unknown-target", 76);
    check(
        "- a: { call: work }",
        &one("{ extend: call, when: .x +, before: [] }"),
        &[("unused", 6, 24), ("expression-syntax", 6, 49)],
    );
    check("- a: { call: work }", "use: { extensions: [ 5 ] }", &[("invalid-type", 6, 22)]);
    check(
        "- a: { call: work }",
        &one("{ extend: set, before: [ { b: { nothing: 1 } } ] }"),
        &[("unused", 6, 24), ("missing-key", 6, 54)],
    );
    check("- a: { call: work }", &one("{ extend: call, before: [ { b: { call: c } } ] }"), &[]);
    let looped = "- l: { for: { in: . }, do: [ { a: { call: work } } ] }";
    check(
        looped,
        &one("{ extend: call, when: $item > 1, after: [ { b: { call: c } } ] }"),
        &[("unknown-variable", 6, 49)],
    );
    check(
        looped,
        &one("{ extend: call, before: [ { b: { call: c, with: { i: '${ $item }' } } } ] }"),
        &[("unknown-variable", 6, 80)],
    );
}

#[test]
fn extensions_cannot_make_a_document_larger_than_it_may_be() {
    let tasks: Vec<_> = (0..2_000).map(|i| format!("- t{i}: {{ call: work }}\n")).collect();
    let before: Vec<_> = (0..50).map(|i| format!("{{ b{i}: {{ wait: PT1S }} }}")).collect();
    let uses = format!(
        "use: {{ extensions: [ {{ x: {{ extend: all, before: [ {} ] }} }} ] }}",
        before.join(", ")
    );
    let findings = lint(&document(&tasks.concat(), &uses));
    assert!(findings.iter().any(|finding| finding.code == "too-large"));
}

/// Running instances know tasks by their numbers: a difference here would send them astray after an upgrade.
#[test]
fn what_extensions_are_written_out_to_never_changes() {
    let tasks = "- a: { call: work }\n- s: { if: .x, switch: [ { one: { when: .n, then: a } } ], then: end }\n- b: { set: { x: 1 } }";
    let uses = "use: { extensions: [ { e: { extend: call, when: .w, before: [ { p: { set: { x: 1 } } } ], after: [ { q: { set: { x: 1 } } } ] } }, \
                { f: { extend: switch, before: [ { p: { set: { x: 1 } } } ], after: [ { q: { set: { x: 1 } } } ] } } ] }";
    let compiled = compiled(&document(tasks, uses));
    let told = compiled.workflow.tasks.iter().map(|task| {
        let kind = format!("{:?}", task.kind);
        let kind = kind.split([' ', '{']).next().unwrap().to_owned();
        let following = task.following.map_or(0, |id| id.0);
        format!("{} {kind} {following} {:?} {}", task.pointer, task.then, task.from_around)
    });
    let told: Vec<_> = told.collect();
    assert_eq!(told, WRITTEN_OUT.lines().collect::<Vec<_>>(), "{}", told.join("\n"));
}

const WRITTEN_OUT: &str = " Do 0 Continue false
/do/0/a Do 7 Continue false
/use/extensions/0/e Switch 3 Task(TaskId(4)) true
/use/extensions/0/e/before/0/p Set 4 Continue false
/do/0/a Step 5 Continue true
/use/extensions/0/e/after Do 0 Continue false
/use/extensions/0/e/after/0/q Set 0 Continue false
/do/1/s Do 19 Continue false
/do/1/s Switch 9 Task(TaskId(15)) false
/use/extensions/1/f Switch 10 Continue true
/use/extensions/1/f/before/0/p Set 11 Continue false
/do/1/s Switch 0 Task(TaskId(18)) true
/do/1/s Do 0 Exit false
/use/extensions/1/f/after Do 0 Continue false
/use/extensions/1/f/after/0/q Set 0 Continue false
/do/1/s Set 0 Exit false
/do/1/s Set 0 Exit false
/do/1/s Set 0 Task(TaskId(12)) false
/do/1/s Set 0 Task(TaskId(12)) false
/do/1/s Switch 20 End false
/do/2/b Set 0 Continue false";
