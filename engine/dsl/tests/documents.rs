//! What documents compile to, and what is found wrong with them.

mod common;

use baton_core::{
    Duration, Evaluator, Json, Scope,
    workflow::{Backoff, Expression, Kind, Then},
};
use baton_dsl::{Compiled, Offer, Severity, check_arguments, compile, lint, read};
use common::{compiled, document, instance, lines, task};

/// The document has exactly this finding, at this line and column.
#[track_caller]
fn check(source: &str, code: &str, line: u32, column: u32) {
    let findings = lint(source);
    let found: Vec<_> =
        findings.iter().map(|finding| (finding.code, finding.line, finding.column)).collect();
    assert_eq!(found, [(code, line, column)], "{}\n{source}", lines(&findings));
    assert_eq!(compile(source).is_err(), findings[0].severity == Severity::Error);
}

/// The tasks have exactly this finding; their first line is 1.
#[track_caller]
fn tasks(source: &str, code: &str, line: u32, column: u32) {
    check(&document(source, ""), code, line + 7, column + 2);
}

const HEAD: &str = "document: { dsl: 1.0.3, namespace: n, name: a, version: 1.0.0 }\n";

#[test]
fn a_document_is_named_as_the_language_says() {
    let do_ = "do: []\n";
    check("", "syntax", 1, 1);
    check("a: [", "syntax", 2, 1);
    check("- 1", "invalid-type", 1, 1);
    check(&format!("{HEAD}do: []\n---\na: 1\n"), "syntax", 3, 1);
    check(&format!("{HEAD}do: &a []\n"), "syntax", 2, 5);
    check(&format!("{HEAD}do: !!seq []\n"), "syntax", 2, 5);
    check(&format!("{HEAD}do: []\ndo: []\n"), "duplicate-key", 3, 1);
    check(HEAD, "missing-key", 1, 1);
    check(do_, "missing-key", 1, 1);
    check(
        &format!("document: {{ dsl: 2.0.0, namespace: n, name: a, version: 1.0.0 }}\n{do_}"),
        "unsupported",
        1,
        18,
    );
    check(
        &format!("document: {{ dsl: 1.0.3, namespace: n.m, name: a, version: 1.0.0 }}\n{do_}"),
        "invalid-value",
        1,
        36,
    );
    check(
        &format!("document: {{ dsl: 1.0.3, namespace: n, name: -a, version: 1.0.0 }}\n{do_}"),
        "invalid-value",
        1,
        45,
    );
    check(
        &format!("document: {{ dsl: 1.0.3, namespace: n, name: a, version: 1.0 }}\n{do_}"),
        "invalid-value",
        1,
        57,
    );
    check(
        &format!("document: {{ dsl: 1.0.3, namespace: n, name: a, version: x }}\n{do_}"),
        "invalid-value",
        1,
        57,
    );
    check(&format!("{HEAD}{do_}titel: x\n"), "unknown-key", 3, 1);
    check(&format!("{HEAD}{do_}schedule: {{ cron: 'x' }}\n"), "invalid-cron", 3, 19);
    check(&format!("{HEAD}{do_}use: {{ catalogs: {{}} }}\n"), "unsupported", 3, 8);
    assert_eq!(lint(&format!("{HEAD}{do_}x-owner: {{ team: [books] }}\n")), []);
    check(&format!("{HEAD}{do_}evaluate: {{ language: js }}\n"), "unsupported", 3, 23);
    check(&format!("{HEAD}{do_}evaluate: {{ mode: lose }}\n"), "invalid-value", 3, 19);
    check(&format!("{HEAD}do: 5\n"), "invalid-type", 2, 5);
    check(&format!("{HEAD}do: [ {{ a: {{ set: {{ b: .inf }} }} }} ]\n"), "invalid-value", 2, 24);
    let deep = format!("{HEAD}do: {}{}\n", "[".repeat(70), "]".repeat(70));
    check(&deep, "too-deep", 2, 68);
    let large = format!("{HEAD}do: []\n#{}\n", "x".repeat(1024 * 1024));
    check(&large, "too-large", 1, 1);
    let many = format!("{HEAD}do:\n{}", list("set: { a: 1 }"));
    check(&many, "too-large", 10_002, 3);
    assert!(compile(&format!("{HEAD}{do_}")).is_ok());
    assert!(compile(r#"{"document":{"dsl":"1.0.0","namespace":"n","name":"a","version":"1.0.0-rc.1","title":"T"},"do":[]}"#).is_ok());
}

/// One more than a document may have.
fn list(task: &str) -> String {
    let tasks: Vec<_> = (0..10_001).map(|i| format!("- t{i}: {{ {task} }}\n")).collect();
    tasks.concat()
}

#[test]
fn there_is_a_bound_on_expressions() {
    let members: Vec<_> = (0..10_001).map(|i| format!("    k{i}: '${{ .a }}'\n")).collect();
    tasks(
        &format!("- a:\n    set:\n  {}", members.concat().replace("\n    ", "\n      ")),
        "too-large",
        10_003,
        15,
    );
}

#[test]
fn warnings_never_hide_an_error() {
    let odd: Vec<_> = (0..300).map(|i| format!("- t{i}: {{ set: {{ a: 'x ${{ }}' }} }}")).collect();
    let findings =
        lint(&document(&format!("{}\n- z: {{ set: {{ a: '${{ . + }}' }} }}", odd.join("\n")), ""));
    assert_eq!(findings.len(), 201);
    assert_eq!(findings[200].code, "expression-syntax");
}

#[test]
fn what_is_not_supported_yet_is_refused_by_name() {
    for (source, column) in
        [("- a: { call: f:1@cat }", 14), ("- a: { call: 'https://x/f.yaml' }", 14)]
    {
        tasks(source, "unsupported", 1, column);
    }
    tasks(
        "- a: { try: [], catch: { retry: { limit: { attempt: { duration: PT1S } } } } }",
        "unsupported",
        1,
        55,
    );
    tasks(
        "- a: { try: [], catch: { retry: { backoff: { linear: { increment: 1 } } } } }",
        "unsupported",
        1,
        56,
    );
    tasks(
        "- a: { set: { b: 1 }, input: { schema: { resource: { endpoint: 'https://x' } } } }",
        "unsupported",
        1,
        42,
    );
    tasks(
        "- a: { set: { b: 1 }, input: { schema: { format: avro, document: {} } } }",
        "unsupported",
        1,
        50,
    );
    tasks("- a: { set: { b: '${ now }' } }", "expression-unsupported", 1, 18);
}

#[test]
fn mistakes_are_found_where_they_stand() {
    tasks("- a: { set: { b: 1 }, thn: end }", "unknown-key", 1, 23);
    tasks("- a: { st: { b: 1 } }", "missing-key", 1, 3);
    tasks("- a: 5", "invalid-type", 1, 6);
    tasks("- { a: { set: { b: 1 } }, c: 1 }", "invalid-type", 1, 3);
    tasks("- a: { set: {} }", "invalid-type", 1, 13);
    tasks("- a: { set: plain }", "invalid-type", 1, 13);
    tasks("- a: { set: { b: 1 }, then: c }", "unknown-target", 1, 29);
    tasks("- a: { set: { b: 1 } }\n- a: { set: { b: 1 } }", "duplicate-task", 2, 3);
    tasks(
        "- a: { fork: { branches: [ { b: { set: { c: 1 }, then: d } }, { d: { set: { c: 1 } } } ] } }",
        "branch-target",
        1,
        56,
    );
    tasks(
        "- a: { switch: [ { b: { then: end } }, { c: { then: exit } } ] }",
        "duplicate-default",
        1,
        42,
    );
    tasks(
        "- a: { switch: [ { b: { when: .x, then: end } }, { b: { then: exit } } ] }",
        "duplicate-case",
        1,
        52,
    );
    tasks("- a: { switch: [ { b: { when: .x } } ] }", "missing-key", 1, 23);
    tasks("- a: { switch: [] }", "invalid-value", 1, 16);
    tasks("- a: { wait: PT }", "invalid-duration", 1, 14);
    tasks("- a: { wait: { seconds: -1 } }", "invalid-duration", 1, 14);
    tasks("- a: { wait: { weeks: 1 } }", "invalid-duration", 1, 14);
    tasks("- a: { raise: { error: nope } }", "unknown-name", 1, 24);
    tasks("- a: { raise: { error: { type: x } } }", "missing-key", 1, 24);
    tasks("- a: { raise: { error: { type: x, status: 5 } } }", "invalid-value", 1, 43);
    tasks("- a: { set: { b: 1 }, timeout: nope }", "unknown-name", 1, 32);
    tasks("- a: { try: [], catch: { retry: nope } }", "unknown-name", 1, 33);
    tasks("- a: { try: [] }", "missing-key", 1, 6);
    tasks("- a: { try: [], catch: { as: $e } }", "invalid-value", 1, 30);
    tasks("- a: { try: [], catch: { errors: { with: { status: 99 } } } }", "invalid-value", 1, 52);
    tasks("- a: { call: a.b.c }", "invalid-value", 1, 14);
    tasks("- a: { call: '' }", "invalid-value", 1, 14);
    tasks("- a: { call: a.b, with: text }", "invalid-type", 1, 25);
    tasks("- a: { call: a.b, metadata: { attempts: 101 } }", "invalid-value", 1, 41);
    tasks("- a: { for: { in: .x }, while: $nope, do: [] }", "unknown-variable", 1, 32);
    tasks("- a: { for: { each: x, at: x, in: .x }, do: [] }", "invalid-value", 1, 13);
    tasks("- a: { if: .x ==, set: { b: 1 } }", "expression-syntax", 1, 12);
    tasks("- a: { if: true, set: { b: 1 } }", "invalid-type", 1, 12);
    tasks("- a: { if: foo(1), set: { b: 1 } }", "unknown-function", 1, 12);
    tasks(
        "- a: { set: { b: 1 }, input: { schema: { document: { type: nope } } } }",
        "invalid-schema",
        1,
        52,
    );
    tasks(
        "- a: { set: { b: 1 }, input: { schema: { document: { $ref: 'http://x/y' } } } }",
        "invalid-schema",
        1,
        52,
    );
}

#[test]
fn what_is_odd_is_mentioned() {
    tasks("- a: { set: { b: 1 }, then: end }\n- c: { set: { b: 1 } }", "unreachable", 2, 3);
    tasks(
        "- a: { raise: { error: { type: x, status: 400 } } }\n- c: { set: { b: 1 } }",
        "unreachable",
        2,
        3,
    );
    tasks("- a: { set: { b: 1 } }\n- c: { set: { b: 1 }, then: a }", "loop-without-progress", 2, 3);
    tasks("- a: { set: { b: 1 }, then: a }", "loop-without-progress", 1, 3);
    tasks("- end: { set: { b: 1 } }", "directive-name", 1, 3);
    tasks("- a: { set: { b: 'x ${ .y }' } }", "partial-expression", 1, 18);
    check(
        &document("- a: { set: { b: 1 } }", "use: { timeouts: { t: { after: PT1S } } }"),
        "unused",
        6,
        20,
    );
    check(
        &document("- a: { set: { b: 1 } }", "use: { retries: { t: { delay: PT1S } } }"),
        "unused",
        6,
        19,
    );
    check(
        &document("- a: { set: { b: 1 } }", "use: { errors: { t: { type: x, status: 400 } } }"),
        "unused",
        6,
        18,
    );
    check(
        &document("- a: { set: { b: 1 } }", "use: { functions: { t: { set: { a: 1 } } } }"),
        "unused",
        6,
        21,
    );
    tasks(
        "- a: { switch: [ { b: { then: end } }, { c: { when: .x, then: exit } } ] }",
        "unreachable-case",
        1,
        42,
    );
    tasks("- a: { try: [], catch: { retry: {} } }", "endless-retry", 1, 3);
    for source in ["{ password: hunter2 }", "{ headers: { Authorization: 'Bearer 0123456789' } }"] {
        assert_eq!(codes(&document(&format!("- a: {{ set: {source} }}"), "")), ["secret-literal"]);
    }
    tasks("- a: { set: { b: 'https://ann:hunter@example.com' } }", "secret-literal", 1, 18);
    check(
        &document(
            "- a: { call: aprove }\n- b: { call: approve }",
            "use: { functions: { approve: { set: { a: 1 } } } }",
        ),
        "misspelt-function",
        8,
        5,
    );
    assert_eq!(
        codes(&document(
            "- a: { call: erp.aprove }\n- b: { call: approve, with: { password: '${ .p }' } }",
            "use: { functions: { approve: { set: { a: 1 } } } }",
        )),
        [""; 0],
        "another department's functions are its own affair"
    );
    assert_eq!(
        lint(&document("- a: { wait: PT1S }\n- b: { if: .x, set: { c: 1 }, then: a }", "")),
        []
    );
    assert_eq!(
        lint(&document("- a: { if: .x, set: { c: 1 }, then: end }\n- b: { set: { c: 1 } }", "")),
        []
    );
}

fn codes(source: &str) -> Vec<&'static str> {
    lint(source).iter().map(|finding| finding.code).collect()
}

#[test]
fn a_finding_about_a_secret_does_not_repeat_it() {
    let findings = lint(&document("- a: { set: { password: hunter2-hunter2 } }", ""));
    assert_eq!(findings[0].code, "secret-literal");
    assert!(!findings[0].to_string().contains("hunter2"), "{}", findings[0]);
}

#[test]
fn every_finding_says_what_to_do() {
    for source in
        ["", "a: [", "- 1", HEAD, "do: 5", "a: 1\na: 2", &document("- a: { wait: PT, if: 5 }", "")]
    {
        for finding in lint(source) {
            assert!(!finding.hint.is_empty(), "{finding}");
        }
    }
}

#[test]
fn hints_and_pointers_help() {
    let findings = lint(&document("- a: { set: { b: 1 }, thn: end }", ""));
    assert_eq!(
        (findings[0].hint.as_str(), findings[0].pointer.as_str()),
        ("did you mean `then`?", "/do/0/a/thn")
    );
    let findings = lint(&document("- alpha: { set: { b: 1 }, then: alpa }", ""));
    assert_eq!(
        (findings[0].hint.as_str(), findings[0].pointer.as_str()),
        ("did you mean `alpha`?", "/do/0/alpha/then")
    );
    assert_eq!(
        findings[0].to_string(),
        "8:35: error[unknown-target]: no task `alpa` in this list (did you mean `alpha`?)"
    );
}

const WHOLE: &str = "
- a/b: { call: erp.post-invoice, with: { id: '${ .id }' }, metadata: { attempts: 7 }, then: f }
- t:
    try:
    - p: { call: charge, timeout: short }
    catch:
      errors: { with: { type: 'https://x', status: 503 } }
      as: problem
      when: $problem.status == 503
      retry: steady
      do:
      - h: { set: { why: '${ $problem.title }' } }
      then: end
- f:
    fork:
      compete: true
      branches:
      - one: { wait: { minutes: 2, seconds: 1 } }
      - two: { do: [ { inner: { call: own } } ] }
- loop:
    for: { each: line, in: .lines, at: i }
    while: $i < 3
    do:
    - s: { switch: [ { big: { when: $line.n > 1, then: x } }, { rest: { then: exit } } ] }
    - x: { raise: { error: bad } }
";

const USE: &str = "
timeout: { after: P1D }
input: { from: '{id: .order}', schema: { document: { type: object, required: [order] } } }
output: { as: .result }
use:
  timeouts: { short: { after: PT5S } }
  retries: { steady: { delay: { seconds: 1 }, backoff: { exponential: {} }, jitter: { from: PT0S, to: PT1S }, limit: { attempt: { count: 5 }, duration: PT1M } } }
  errors: { bad: { type: 'https://x/bad', status: 422, title: '${ \"line \\($i)\" }' } }
  functions: { zeta: { set: { a: 1 } }, own: { do: [ { deep: { call: zeta } } ] } }
";

fn whole() -> Compiled {
    compiled(&document(WHOLE, USE))
}

#[test]
fn tasks_are_numbered_in_document_order() {
    let compiled =
        compile(&document(WHOLE, &USE.replace("title: '${ \"line \\($i)\" }'", "title: T")))
            .unwrap();
    let pointers: Vec<_> = compiled.workflow.tasks.iter().map(|task| &*task.pointer).collect();
    let expected = [
        "",
        "/do/0/a~1b",
        "/do/1/t",
        "/do/1/t/try/0/p",
        "/do/1/t/catch/do/0/h",
        "/do/2/f",
        "/do/2/f/fork/branches/0/one",
        "/do/2/f/fork/branches/1/two",
        "/do/2/f/fork/branches/1/two/do/0/inner",
        "/do/3/loop",
        "/do/3/loop/do/0/s",
        "/do/3/loop/do/1/x",
        "/use/functions/own",
        "/use/functions/own/do/0/deep",
        "/use/functions/zeta",
    ];
    assert_eq!(pointers, expected);
    assert_eq!(&*compiled.workflow.tasks[0].name, "story");
    assert_eq!(&*compiled.workflow.tasks[1].name, "a/b");
}

#[test]
fn everything_said_is_in_the_workflow() {
    let compiled = whole();
    let workflow = &compiled.workflow;
    let first = task(workflow, "/do/0/a~1b");
    let Kind::Step { function, attempts_max, arguments: Some(_), .. } = &first.kind else {
        panic!("{first:?}")
    };
    assert_eq!((&*function.department, &*function.name, *attempts_max), ("erp", "post-invoice", 7));
    let target = workflow.tasks.iter().position(|task| &*task.name == "f").unwrap();
    assert!(matches!(first.then, Then::Task(id) if id.0 as usize == target));
    let Kind::Step { function, attempts_max, .. } = &task(workflow, "/do/1/t/try/0/p").kind else {
        panic!()
    };
    assert_eq!((&*function.department, &*function.name, *attempts_max), ("finance", "charge", 3));
    let Kind::Try { catch, first: Some(_) } = &task(workflow, "/do/1/t").kind else { panic!() };
    assert_eq!(
        (catch.filter.status, &*catch.variable, catch.then),
        (Some(503), "problem", Some(Then::End))
    );
    let retry = catch.retry.as_ref().unwrap();
    assert_eq!((retry.backoff, retry.attempts_max), (Backoff::Exponential, Some(5)));
    assert_eq!(duration(&compiled, retry.delay.unwrap()), Ok(Duration(1_000)));
    assert_eq!(duration(&compiled, workflow.tasks[0].timeout.unwrap()), Ok(Duration(86_400_000)));
    let Kind::Wait { duration: wait } = task(workflow, "/do/2/f/fork/branches/0/one").kind else {
        panic!()
    };
    assert_eq!(duration(&compiled, wait), Ok(Duration(121_000)));
    let Kind::Fork { branches, compete: true } = &task(workflow, "/do/2/f").kind else { panic!() };
    assert_eq!(branches.len(), 2);
    assert!(branches.iter().all(|id| workflow.task(*id).unwrap().following.is_none()));
    let Kind::Function { body, .. } = task(workflow, "/do/2/f/fork/branches/1/two/do/0/inner").kind
    else {
        panic!()
    };
    assert_eq!(&*workflow.task(body).unwrap().pointer, "/use/functions/own");
    let Kind::For { each, at, condition: Some(_), .. } = &task(workflow, "/do/3/loop").kind else {
        panic!()
    };
    assert_eq!((&**each, &**at), ("line", "i"));
}

fn scoped<T>(compiled: &Compiled, value: &str, with: impl Fn(&Scope<'_>) -> T) -> T {
    let instance = instance(&compiled.workflow, "{}", "null");
    let value = Json::from_text(value);
    let variables = [("i".into(), Json::from_text("4"))];
    let scope = Scope {
        workflow: &compiled.workflow,
        instance: &instance,
        value: &value,
        input: None,
        output: None,
        task: None,
        variables: &variables,
    };
    with(&scope)
}

fn duration(compiled: &Compiled, expression: Expression) -> Result<Duration, baton_core::Error> {
    scoped(compiled, "{}", |scope| compiled.program.turn().duration(expression, scope))
}

#[test]
fn the_evaluator_answers_every_question() {
    let compiled = whole();
    let Kind::Raise { error } = task(&compiled.workflow, "/do/3/loop/do/1/x").kind else {
        panic!()
    };
    let error =
        scoped(&compiled, "{}", |scope| compiled.program.turn().error(error, scope)).unwrap();
    assert_eq!(
        (&*error.kind, error.status, error.title.as_deref()),
        ("https://x/bad", 422, Some("line 4"))
    );
    let text = r#"{"type":"https://x/bad","status":422,"title":"line 4"}"#;
    assert_eq!(compiled.program.turn().error_value(&error).as_str(), text);
    let Kind::For { items, .. } = task(&compiled.workflow, "/do/3/loop").kind else { panic!() };
    let found = scoped(&compiled, "{\"lines\":[ 1, {\"a\": 2} ]}", |scope| {
        compiled.program.turn().items(items, scope)
    })
    .unwrap();
    assert_eq!(found, [Json::from_text("1"), Json::from_text("{\"a\":2}")]);
    let error =
        scoped(&compiled, "{\"lines\":5}", |scope| compiled.program.turn().items(items, scope))
            .unwrap_err();
    assert_eq!(error.detail.as_deref(), Some("an array was wanted, and a number came"));
    let schema = compiled.workflow.tasks[0].input_schema.unwrap();
    assert_eq!(compiled.program.turn().validate(schema, &Json::from_text("{\"order\":1}")), Ok(()));
    let error = compiled.program.turn().validate(schema, &Json::from_text("{}")).unwrap_err();
    assert!(
        error.kind.ends_with("validation") && error.detail.as_deref().unwrap().contains("order"),
        "{error:?}"
    );
    let from = compiled.workflow.tasks[0].input.unwrap();
    let given =
        scoped(&compiled, "{\"order\":7}", |scope| compiled.program.turn().value(from, scope));
    assert_eq!(given.unwrap().as_str(), "{\"id\":7}");
    let source = document(
        "- w: { wait: '${ .after }' }\n- r: { raise: { error: { type: t, status: '${ .s }' } } }",
        "",
    );
    let compiled = common::compiled(&source);
    let Kind::Wait { duration } = compiled.workflow.tasks[1].kind else { panic!() };
    let Kind::Raise { error } = compiled.workflow.tasks[2].kind else { panic!() };
    let at = |value: &str| {
        scoped(&compiled, value, |scope| compiled.program.turn().duration(duration, scope))
    };
    assert_eq!(at("{\"after\":\"PT2S\"}"), Ok(Duration(2_000)));
    assert_eq!(at("{\"after\":{\"hours\":1}}"), Ok(Duration(3_600_000)));
    assert!(at("{\"after\":\"-PT2S\"}").is_err() && at("{}").is_err());
    let status = |value: &str| {
        scoped(&compiled, value, |scope| {
            compiled.program.turn().error(error, scope).map(|e| e.status)
        })
    };
    assert_eq!(status("{\"s\":404}"), Ok(404));
    assert_eq!(status("{\"s\":404.0}"), Ok(404));
    assert!(status("{\"s\":\"404\"}").is_err() && status("{\"s\":4}").is_err());
}

/// What the check of the arguments finds when every function takes this.
fn arguments(tasks: &str, more: &str, offer: &Offer) -> Vec<(&'static str, u32, u32)> {
    let source = document(tasks, more);
    let compiled = compiled(&source);
    let findings = check_arguments(&compiled.workflow, &source, |_| offer.clone());
    findings.iter().map(|finding| (finding.code, finding.line - 7, finding.column - 2)).collect()
}

#[test]
fn literal_arguments_are_held_against_the_schema_of_their_function() {
    let schema = r#"{"type":"object","required":["id","amount"],"properties":{"id":true,"amount":{"type":"integer","minimum":1}},"additionalProperties":false}"#;
    let offer = Offer::Schema(schema.into());
    let mismatch = |tasks: &str| {
        arguments(tasks, "", &offer).into_iter().map(|(code, _, column)| (code, column))
    };
    let at = |column| vec![("argument-mismatch", column)];
    let found = |tasks: &str| mismatch(tasks).collect::<Vec<_>>();
    assert_eq!(found("- a: { call: pay, with: { id: 1, amount: 2 } }"), []);
    assert_eq!(found("- a: { call: pay, with: { id: '${ .id }', amount: '${ .a }' } }"), []);
    assert_eq!(found("- a: { call: pay }"), [], "without `with` the worker gets the task's input");
    assert_eq!(found("- a: { call: pay, with: { id: 1, amount: two } }"), at(42));
    assert_eq!(found("- a: { call: pay, with: { id: '${ . }', amount: 0 } }"), at(49));
    assert_eq!(found("- a: { call: pay, with: { id: '${ . }' } }"), at(25));
    assert_eq!(found("- a: { call: pay, with: { id: '${ . }', amount: 2, b: 1 } }"), at(25));
    let loose = arguments(
        "- a: { call: pay, with: { id: 1, amount: .amount } }",
        "evaluate: { mode: loose }",
        &offer,
    );
    assert_eq!(loose, [], "in loose mode any text may be an expression");
}

#[test]
fn a_call_that_nobody_serves_is_mentioned_and_a_broken_schema_is_not_held_against_it() {
    let task = "- a: { call: erp.pay, with: { id: 1 } }\n- b: { set: { c: 1 } }";
    assert_eq!(arguments(task, "", &Offer::None), [("unserved-function", 1, 14)]);
    assert_eq!(arguments(task, "", &Offer::Anything), []);
    for broken in ["", "{", "{\"type\":5}", "{\"$ref\":\"https://example.com/s\"}"] {
        assert_eq!(arguments(task, "", &Offer::Schema(broken.into())), [], "{broken}");
    }
    let endless = r##"{"allOf":[{"$ref":"#"}],"properties":{"id":{"$ref":"#"}}}"##;
    assert_eq!(arguments(task, "", &Offer::Schema(endless.into())), []);
    // Each definition doubles the work: nobody would live to see the end.
    let doubling: Vec<_> = (0..64)
        .map(|n| {
            format!(
                r##""d{n}":{{"allOf":[{{"$ref":"#/$defs/d{m}"}},{{"$ref":"#/$defs/d{m}"}}]}}"##,
                m = n + 1
            )
        })
        .collect();
    let doubling = format!(
        r##"{{"$ref":"#/$defs/d0","$defs":{{{},"d64":{{"type":"object"}}}}}}"##,
        doubling.join(",")
    );
    assert_eq!(arguments(task, "", &Offer::Schema(doubling.as_str().into())), []);
    let defined =
        r##"{"properties":{"id":{"$ref":"#/$defs/id"}},"$defs":{"id":{"type":"string"}}}"##;
    assert_eq!(arguments(task, "", &Offer::Schema(defined.into())), [("argument-mismatch", 1, 35)]);
}

#[test]
fn any_document_can_be_read_with_its_places() {
    let tree = read("a: [ { b/c: 1.50 } ]\nd: PT1M").unwrap_or_else(|_| panic!("it is YAML"));
    let found = tree.at("/a/0/b~1c").unwrap();
    assert_eq!((found.to_json().as_str(), found.place.line, found.place.column), ("1.50", 1, 13));
    assert!(tree.at("/a/1").is_none() && tree.at("/d/x").is_none());
    assert_eq!(baton_dsl::duration(tree.get("d").unwrap()), Ok(Duration(60_000)));
    let findings = read("a: 1\na: 2").err().unwrap();
    assert_eq!((findings[0].code, findings[0].line), ("duplicate-key", 2));
}

#[test]
fn conditions_follow_the_truth_of_jq() {
    let compiled = compiled(&document("- a: { if: .x, set: { b: 1 } }", ""));
    let condition = task(&compiled.workflow, "/do/0/a").condition.unwrap();
    for (value, holds) in [
        ("{\"x\":0}", true),
        ("{\"x\":\"\"}", true),
        ("{\"x\":false}", false),
        ("{\"x\":null}", false),
        ("{}", false),
    ] {
        assert_eq!(
            scoped(&compiled, value, |scope| compiled.program.turn().holds(condition, scope)),
            Ok(holds),
            "{value}"
        );
    }
    assert!(
        scoped(&compiled, "[]", |scope| compiled.program.turn().holds(condition, scope)).is_err()
    );
}

#[test]
fn the_same_source_has_the_same_hash() {
    let (one, other) = (compiled(&document("[]", "")), compiled(&document("[]", "")));
    assert_eq!(one.workflow.hash, other.workflow.hash);
    assert_ne!(one.workflow.hash, compiled(&document("[ ]", "")).workflow.hash);
}

#[test]
fn a_workflow_for_production_says_who_answers_for_it() {
    let head = "document: { dsl: '1.0.3', namespace: a, name: b, version: '1.0.0'";
    let codes = |metadata: &str| {
        let source = format!("{head}{metadata} }}\ndo: []\n");
        let found = baton_dsl::lint_for_production(&source);
        found.into_iter().map(|found| found.code.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(codes(""), ["missing-owner", "missing-on-call", "missing-risk"]);
    assert_eq!(codes(", metadata: { owner: us, onCall: ' ', risk: high }"), ["missing-on-call"]);
    assert_eq!(codes(", metadata: { owner: us, onCall: me, risk: high }"), [""; 0]);
    assert_eq!(codes(", metadata: { owner: 7, onCall: me, risk: high }"), ["missing-owner"]);
}
