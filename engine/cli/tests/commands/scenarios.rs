//! Scenarios of workflows, run without an engine.

use std::{fs, path::Path};

use serde_json::Value;

use crate::offline;

/// Pays after a year, and asks a person when that fails; a branch of it never ends by itself.
const FLOW: &str = "
document: { dsl: 1.0.3, namespace: n, name: flow, version: 1.0.0 }
input: { schema: { document: { type: object, required: [amount] } } }
do:
- check: { call: check, with: { amount: '${ .amount }' } }
- pause: { wait: P365D }
- pay:
    try:
    - charge: { call: bank.charge, with: { amount: '${ .amount }' } }
    catch:
      errors: { with: { status: 503 } }
      retry: { delay: PT1M, jitter: { from: PT0S, to: PT10S }, limit: { attempt: { count: 3 } } }
      do:
      - ask: { call: people.ask, timeout: { after: P7D } }
";

/// A folder with the workflow and a file of scenarios for it.
fn folder(scenarios: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("flow.yaml"), FLOW).unwrap();
    fs::write(folder.path().join("flow.test.yaml"), scenarios).unwrap();
    folder
}

async fn run_with(folder: &Path, words: &[&str]) -> (i32, String) {
    let file = folder.join("flow.test.yaml");
    let name = file.to_str().unwrap();
    let words: Vec<_> = ["test", name].iter().chain(words).copied().collect();
    let (status, out, err) = offline(&words, "").await;
    assert_eq!(err, "", "{out}");
    (status, out.replace(name, "FILE").replace(folder.to_str().unwrap(), "FOLDER"))
}

/// Runs these scenarios of the workflow, with answers that all of them share.
async fn run(scenarios: &str) -> (i32, String) {
    let shared = "
workflow: flow.yaml
steps:
  check: { output: { amount: 5 } }
  bank.charge: { output: { paid: true } }
scenarios:";
    run_with(folder(&format!("{shared}\n{scenarios}\n")).path(), &[]).await
}

#[track_caller]
fn holds((status, out): &(i32, String)) {
    assert!(*status == 0 && out.lines().all(|line| !line.starts_with("FAILED")), "{out}");
}

#[track_caller]
fn fails((status, out): &(i32, String), because: &str) {
    assert_eq!(*status, 1, "{out}");
    assert!(out.contains(because), "{out}");
}

#[tokio::test]
async fn the_scenarios_of_the_demo_hold() {
    let file =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/demo/purchase-to-pay.test.yaml");
    let (status, out, err) = offline(&["test", file.to_str().unwrap()], "").await;
    assert_eq!((status, err.as_str()), (0, ""), "{out}");
    assert!(out.ends_with("11 of 11 scenarios hold\n"), "{out}");
}

#[tokio::test]
async fn the_scenarios_of_the_page_hold() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/testing.md");
    let page = fs::read_to_string(page).unwrap();
    let blocks: Vec<_> =
        page.split("```yaml\n").skip(1).filter_map(|block| block.split("```").next()).collect();
    let [workflow, scenarios] = blocks[..] else { panic!("a workflow and its scenarios") };
    let folder = folder(scenarios);
    fs::write(folder.path().join("pay-invoice.yaml"), workflow).unwrap();
    let (status, out) = run_with(folder.path(), &[]).await;
    assert!(status == 0 && out.ends_with("5 of 5 scenarios hold\n"), "{out}");
    let line = "what is approved is paid (completed after P2D, 2 steps)";
    assert!(out.contains(line) && page.contains(line), "{out}");
}

#[tokio::test]
async fn a_year_passes_in_no_time() {
    let (status, out) = run("
- name: a year later it is paid
  input: { amount: 5 }
  expect:
    output: { paid: true }
    path: [check, pause, /do/2/pay, charge]
    calls: { n.check: [ { amount: 5.0 } ], bank.charge: [ { amount: 5 } ], people.ask: [] }
    took: P365D")
    .await;
    assert_eq!(
        (status, out.as_str()),
        (
            0,
            "ok     FILE: a year later it is paid (completed after P365D, 2 steps)\n1 of 1 scenarios hold\n"
        )
    );
}

#[tokio::test]
async fn answers_are_given_in_turn_and_jitter_is_the_same_every_time() {
    let scenario = "
- name: the bank comes back
  input: { amount: 5 }
  steps:
    charge:
    - failure: { status: 503 }
    - failure: { status: 503, title: busy, retryable: true }
    - failure: { status: 503 }
    - output: { paid: late }
      takes: { hours: 1 }
      with: { amount: 5 }
  expect: { output: { paid: late }, took: P1D }";
    // Two tries fail, and in the second one the engine makes another attempt after a second.
    let first = run(scenario).await;
    fails(&first, "took: wanted P1D, got P365DT1H2M");
    assert_eq!(first, run(scenario).await);
}

#[tokio::test]
async fn what_hangs_ends_by_its_timeout_or_stays() {
    holds(
        &run("
- name: nobody answers the question
  input: { amount: 5 }
  steps:
    charge: { failure: { status: 503 } }
    ask: { hangs: true }
  expect: { error: { type: https://open-workflow-specification.org/dsl/errors/types/timeout, status: 408, instance: /do/2/pay/catch/do/0/ask } }
- name: nothing ends a step without a timeout
  input: { amount: 5 }
  steps: { /do/0/check: { hangs: true } }
  expect: { status: running, took: PT0S, calls: { bank.charge: [] } }
- name: an answer that comes after the timeout is too late
  input: { amount: 5 }
  steps:
    charge: { failure: { status: 503 } }
    ask: { output: 1, takes: P8D }
  expect: { error: { status: 408 } }")
        .await,
    );
}

#[tokio::test]
async fn somebody_may_suspend_resume_and_cancel() {
    holds(
        &run("
- name: time stands still while it is suspended
  input: { amount: 5 }
  actions:
  - { at: P100D, suspend: audit }
  - { after: P300D, resume: true }
  expect: { took: P400D }
- name: an answer counts while it is suspended
  input: { amount: 5 }
  steps: { check: { output: { amount: 5 }, takes: PT2H } }
  actions:
  - { at: PT1H, suspend: audit }
  - { at: PT3H, resume: true }
  expect: { took: P365DT3H }
- name: it stays suspended
  input: { amount: 5 }
  actions: [ { at: P1D, suspend: audit } ]
  expect: { status: suspended, took: P1D }
- name: it is cancelled
  input: { amount: 5 }
  actions: [ { at: P1D, cancel: closed } ]
  expect: { status: cancelled, took: P1D }
- name: it is terminated
  input: { amount: 5 }
  actions: [ { at: P1D, terminate: closed } ]
  expect: { status: cancelled }")
        .await,
    );
    fails(
        &run("
- name: too late
  input: { amount: 5 }
  actions: [ { at: P366D, cancel: closed } ]")
        .await,
        "cancel at P366D: the instance had ended before",
    );
    fails(
        &run("
- name: nothing to resume
  input: { amount: 5 }
  actions: [ { at: P1D, resume: true } ]")
        .await,
        "resume at P1D: the instance is not suspended (instance-not-suspended)",
    );
}

#[tokio::test]
async fn a_failure_says_where_it_is_apart() {
    let (status, out) = run("
- name: all wrong
  input: { amount: 5 }
  steps:
    charge: { output: { paid: [1, 2] }, with: { amount: 6 } }
  expect:
    output: { paid: [1, 3], thanks: true }
    path: [check, charge]
    calls: { n.check: [ { amount: 4 }, {} ] }
    took: P1D
- name: ends otherwise
  input: { amount: 5 }
  steps: { check: { failure: { title: no, detail: never, status: 409 } } }
- name: another error
  input: { amount: 5 }
  steps: { check: { failure: { title: no, status: 409 } } }
  expect: { error: { title: yes, status: 409 } }
- name: right
  input: { amount: 5 }")
    .await;
    assert_eq!(
        out,
        "FAILED FILE:8: all wrong
         step `charge` (/do/2/pay/try/0/charge, bank.charge), `with` at /amount: wanted 6, got 5
         output at /paid/1: wanted 3, got 2
         output at /thanks: wanted true, got nothing
         path at 1: wanted `charge`, got `pause` (/do/1/pause)
         path: it went check, pause, pay, charge
         calls of n.check: wanted 2, got 1
         call 1 of n.check at /amount: wanted 4, got 5
         took: wanted P1D, got P365D
FAILED FILE:17: ends otherwise
         status: wanted completed, got faulted by https://open-workflow-specification.org/dsl/errors/types/runtime 409 at /do/0/check: no: never
FAILED FILE:20: another error
         error at /title: wanted yes, got no
ok     FILE: right (completed after P365D, 2 steps)
1 of 4 scenarios hold
"
    );
    assert_eq!(status, 1);
}

#[tokio::test]
async fn what_the_scenario_does_not_answer_fails_it() {
    fails(
        &run("
- name: nobody thought of the question
  input: { amount: 5 }
  steps: { charge: { failure: { status: 503 } } }
  expect: { status: running }")
        .await,
        "step `ask` (/do/2/pay/catch/do/0/ask, people.ask): the scenario has no answer; add it to `steps`",
    );
    fails(
        &run("
- name: one answer is not enough
  input: { amount: 5 }
  steps: { charge: [ { failure: { status: 503 } } ] }")
        .await,
        "asked once more than `charge` has answers (1)",
    );
}

#[tokio::test]
async fn an_input_that_does_not_fit_begins_nothing() {
    holds(
        &run("
- name: the amount is missing
  expect: { status: refused, path: [], error: { type: https://open-workflow-specification.org/dsl/errors/types/validation } }")
        .await,
    );
    fails(&run("- name: the amount is missing").await, "status: wanted completed, got refused by ");
}

#[tokio::test]
async fn a_workflow_that_never_ends_fails_its_scenario() {
    let folder = tempfile::tempdir().unwrap();
    let flow = "document: { dsl: 1.0.3, namespace: n, name: flow, version: 1.0.0 }\n\
        do: [ { a: { set: { b: 1 }, then: a } } ]\n";
    fs::write(folder.path().join("flow.yaml"), flow).unwrap();
    let scenarios = "workflow: flow.yaml\nscenarios: [ { name: round and round } ]\n";
    fs::write(folder.path().join("flow.test.yaml"), scenarios).unwrap();
    fails(&run_with(folder.path(), &[]).await, "not ended after 1000000 events");
}

#[tokio::test]
async fn the_time_of_the_start_is_the_scenarios_own() {
    let folder = tempfile::tempdir().unwrap();
    let flow = "document: { dsl: 1.0.3, namespace: n, name: flow, version: 1.0.0 }\n\
        do: [ { a: { set: { at: '${ $workflow.startedAt.iso8601 }', id: '${ $workflow.id }' } } } ]\n";
    fs::write(folder.path().join("flow.yaml"), flow).unwrap();
    let scenarios = "
workflow: flow.yaml
scenarios:
- name: by itself
  expect: { output: { at: '2026-01-01T00:00:00.000Z', id: 019b76da-a800-7000-8000-000000000001 } }
- name: as it says
  startedAt: '2030-02-03T04:05:06+01:00'
  expect: { output: { at: '2030-02-03T03:05:06.000Z', id: 01b98561-06d0-7000-8000-000000000001 } }
";
    fs::write(folder.path().join("flow.test.yaml"), scenarios).unwrap();
    let (status, out) = run_with(folder.path(), &[]).await;
    assert!(status == 0, "{out}");
}

/// The file cannot be used, for this at this place.
async fn broken(source: &str, code: &str, line: u32, column: u32) {
    let (status, out) = run_with(folder(source).path(), &[]).await;
    let wanted = format!("FILE:{line}:{column}: error {code}: ");
    assert!(status == 2 && out.starts_with(&wanted), "{source}\n{status} {out}");
    assert!(out.ends_with("0 of 0 scenarios hold; 1 of 1 files cannot be used\n"), "{out}");
    assert!(out.contains("    hint: "), "{out}");
}

#[tokio::test]
async fn what_is_wrong_with_a_file_is_found_where_it_stands() {
    broken("a: [", "syntax", 2, 1).await;
    broken("- 1", "invalid-type", 1, 1).await;
    broken("scenarios: []", "missing-key", 1, 1).await;
    broken("workflow: 5", "invalid-type", 1, 11).await;
    broken("workflow: other.yaml\nscenarios: []", "unreadable-file", 1, 11).await;
    let head = "workflow: flow.yaml\n";
    broken(head, "missing-key", 1, 1).await;
    broken(&format!("{head}scenarios: []"), "invalid-value", 2, 12).await;
    broken(&format!("{head}scenarios: 5"), "invalid-type", 2, 12).await;
    broken(&format!("{head}scenario: []\nscenarios: [ {{ name: a }} ]"), "unknown-key", 2, 1).await;
    for (scenario, code, column) in [
        ("5", "invalid-type", 14),
        ("{ nam: a }", "missing-key", 14),
        ("{ name: '' }", "invalid-value", 22),
        ("{ name: a, startedAt: today }", "invalid-value", 36),
        ("{ name: a }, { name: a }", "duplicate-scenario", 27),
        ("{ name: a, steps: { chek: { output: 1 } } }", "not-in-workflow", 34),
        ("{ name: a, steps: { pause: { output: 1 } } }", "not-in-workflow", 34),
        ("{ name: a, steps: { check: { outptu: 1, output: 1 } } }", "unknown-key", 43),
        ("{ name: a, steps: { check: {} } }", "invalid-value", 41),
        ("{ name: a, steps: { check: { output: 1, hangs: true } } }", "invalid-value", 41),
        ("{ name: a, steps: { check: [ { hangs: 1 } ] } }", "invalid-type", 52),
        ("{ name: a, steps: { check: { failure: { status: 99 } } } }", "invalid-value", 62),
        ("{ name: a, steps: { check: { failure: { instance: x } } } }", "unknown-key", 54),
        ("{ name: a, steps: { check: { output: 1, takes: 5m } } }", "invalid-duration", 61),
        ("{ name: a, actions: [ { cancel: x } ] }", "invalid-value", 36),
        ("{ name: a, actions: [ { at: PT1S, after: PT1S, cancel: x } ] }", "invalid-value", 36),
        ("{ name: a, actions: [ { at: PT1S } ] }", "invalid-value", 36),
        ("{ name: a, actions: [ { at: PT1S, cancel: x, resume: true } ] }", "invalid-value", 36),
        (
            "{ name: a, actions: [ { at: PT2S, cancel: x }, { at: PT1S, cancel: x } ] }",
            "invalid-value",
            61,
        ),
        ("{ name: a, expect: { status: done } }", "invalid-value", 43),
        ("{ name: a, expect: { path: [ chek ] } }", "not-in-workflow", 43),
        ("{ name: a, expect: { path: [ flow ] } }", "not-in-workflow", 43),
        ("{ name: a, expect: { calls: { check: [] } } }", "not-in-workflow", 44),
        ("{ name: a, expect: { calls: { n.check: 1 } } }", "invalid-type", 53),
        ("{ name: a, expect: { took: long } }", "invalid-duration", 41),
        ("{ name: a, expect: { events: [] } }", "unknown-key", 35),
    ] {
        broken(&format!("{head}scenarios: [ {scenario} ]"), code, 2, column).await;
    }
}

#[tokio::test]
async fn the_errors_of_the_workflow_are_told_by_its_own_name() {
    let folder = folder("workflow: flow.yaml\nscenarios: [ { name: a } ]");
    fs::write(folder.path().join("flow.yaml"), "do: 5\n").unwrap();
    let (status, out) = run_with(folder.path(), &[]).await;
    assert!(out.starts_with("FOLDER/flow.yaml:1:1: error missing-key: "), "{out}");
    assert_eq!(status, 2);
}

const TWO: &str = "
workflow: flow.yaml
steps: { check: { output: { amount: 5 } }, charge: { output: { paid: true } } }
scenarios:
- { name: <good>, input: { amount: 5 } }
- { name: bad, input: { amount: 5 }, expect: { took: P1D } }
";

#[tokio::test]
async fn programs_get_what_came_of_each_scenario() {
    let folder = folder(TWO);
    let (status, out) = run_with(folder.path(), &["-o", "json"]).await;
    let found: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((status, &found["passed"]), (1, &Value::Bool(false)));
    let scenarios = &found["files"][0]["scenarios"];
    assert_eq!(
        scenarios[0].to_string(),
        r#"{"name":"<good>","line":5,"passed":true,"status":"completed","took":"P365D","took_ms":31536000000,"steps":2,"failures":[]}"#
    );
    assert_eq!(scenarios[1]["failures"][0], "took: wanted P1D, got P365D");
    fs::write(folder.path().join("flow.test.yaml"), "workflow: flow.yaml\nscenarios: 1\n").unwrap();
    let (status, out) = run_with(folder.path(), &["-o", "json"]).await;
    let found: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((status, &found["passed"]), (2, &Value::Bool(false)));
    assert_eq!(found["files"][0]["diagnostics"][0]["line"], 2);
}

#[tokio::test]
async fn build_servers_get_junit() {
    let (status, out) = run_with(folder(TWO).path(), &["-o", "junit"]).await;
    assert_eq!(status, 1);
    for part in [
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n",
        "tests=\"2\" failures=\"1\" errors=\"0\" skipped=\"0\"",
        "name=\"&lt;good&gt;\"",
        "<failure message=\"took: wanted P1D, got P365D\">",
    ] {
        assert!(out.contains(part), "{part}\n{out}");
    }
}

#[tokio::test]
async fn every_file_is_run_and_the_worst_decides() {
    let (good, bad) = (folder(TWO), folder("workflow: flow.yaml\n"));
    let files = [good.path().join("flow.test.yaml"), bad.path().join("flow.test.yaml")];
    let (status, out, _) =
        offline(&["test", files[1].to_str().unwrap(), files[0].to_str().unwrap()], "").await;
    assert_eq!(status, 2);
    assert!(out.ends_with("1 of 2 scenarios hold; 1 of 2 files cannot be used\n"), "{out}");
}

#[tokio::test]
async fn the_items_of_a_map_take_their_time_together() {
    let folder = folder(
        "
workflow: flow.yaml
steps: { bank.charge: { output: { paid: true }, takes: PT1M } }
scenarios:
- name: two at once
  input: { orders: [1, 2, 3, 4, 5] }
  expect:
    took: PT3M
    # The map, and then each item by its name.
    path: [all, all, all, charge, charge, all, charge, all, charge, all, charge, count]
    output: { paid: 5, failed: 0 }
- name: one of them fails
  input: { orders: [1, 2] }
  steps: { charge: [{ failure: { status: 409, title: spent } }, { output: { paid: true } }] }
  expect: { output: { paid: 1, failed: 1 } }
",
    );
    let flow = "
document: { dsl: 1.0.3, namespace: n, name: flow, version: 1.0.0 }
do:
- all:
    call: map
    with:
      in: .orders
      each: order
      concurrency: 2
      onError: collect
      do:
      - charge: { call: bank.charge, with: { order: $order } }
- count:
    set:
      paid: '${ [.[] | select(.paid)] | length }'
      failed: '${ [.[] | select(.error != null)] | length }'
";
    fs::write(folder.path().join("flow.yaml"), flow).unwrap();
    holds(&run_with(folder.path(), &[]).await);
}
