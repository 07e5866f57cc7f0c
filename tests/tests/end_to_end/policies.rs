//! Policies before every step: what they forbid never reaches a worker, whatever dies meanwhile.

use std::collections::BTreeMap;
use std::path::Path;

use baton_proto::v1::event::Kind;
use baton_proto::v1::step_judged::Verdict;
use baton_proto::v1::{HistoryEvent, Status, StepJudged};
use baton_tests::replay::Replay;
use baton_tests::{DEADLINE, Setup, World};
use serde_json::{Value, json};

const POLICIES: &str = r#"
@id("the-lab-works")
permit (principal is Baton::Agent, action == Baton::Action::"dispatch", resource in Baton::Department::"lab")
unless { principal == Baton::Agent::"lab.fail" };

@id("nothing-large")
forbid (principal, action == Baton::Action::"dispatch", resource)
when { context.amount > 100 };

@id("nothing-twice")
forbid (principal, action == Baton::Action::"dispatch", resource == Baton::Function::"lab.flaky")
when { context.attempts > 2 };

@id("nobody-sees-an-iban")
@remedy("mask:iban")
forbid (principal, action == Baton::Action::"dispatch", resource)
when { context.classes.contains("confidential") }
unless { context.masked.contains("iban") };

@id("what-is-confidential-stays")
forbid (principal, action == Baton::Action::"dispatch", resource)
when { context.destination == "outside" && context.taint.contains("confidential") };

@id("the-lead-is-told")
@remedy("escalate:lead")
forbid (principal, action == Baton::Action::"dispatch", resource)
when { context.marks.contains("odd") }
unless { context.escalated.contains("lead") };
"#;

/// What the steps of every workflow show that say nothing else.
const FACTS: &str = "{ amount: 0, classes: [], destination: inside, marks: [] }";

async fn deploy(world: &World, name: &str, tasks: &str) {
    let source = baton_tests::workflow::lab(name, tasks);
    let version = "  version: '1.0.0'\n";
    let with_facts = format!("{version}  metadata: {{ facts: {FACTS} }}\n");
    world.api.deploy(&source.replace(version, &with_facts)).await.unwrap();
}

/// A world whose steps go out only when these policies allow it. The folder must outlive its engine.
async fn governed(policies: &str) -> (World, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("rules.cedar"), policies).unwrap();
    let world = World::begin(setup(folder.path())).await.unwrap();
    (world, folder)
}

fn setup(policies: &Path) -> Setup {
    let arguments = ["--policies".to_owned(), policies.display().to_string()].to_vec();
    Setup { arguments, ..Setup::default() }
}

fn judged(history: &[HistoryEvent]) -> Vec<StepJudged> {
    history.iter().filter_map(as_judged).cloned().collect()
}

fn as_judged(event: &HistoryEvent) -> Option<&StepJudged> {
    if let Kind::StepJudged(judged) = kind(event) { Some(judged) } else { None }
}

fn kind(event: &HistoryEvent) -> &Kind {
    event.event.as_ref().unwrap().kind.as_ref().unwrap()
}

fn question(judged: &StepJudged) -> Value {
    let text = judged.question.as_ref().unwrap().value.as_ref().unwrap();
    let baton_proto::v1::json::Value::Text(text) = text else { panic!("{text:?}") };
    serde_json::from_str(text).unwrap()
}

#[tokio::test]
async fn a_step_that_policies_forbid_reaches_nobody_and_says_why() {
    let (world, _folder) = governed(POLICIES).await;
    let tasks = "- pay:
    call: echo
    with: { name: pay }
    metadata: { facts: { amount: '${ .amount }' } }";
    deploy(&world, "pay", tasks).await;
    let refused = world.run("pay", r#"{"amount":100.01}"#).await.unwrap();
    assert_eq!(refused.status(), Status::Faulted);
    let error = refused.error.unwrap();
    assert!(error.r#type.ends_with("/authorization"), "{error:?}");
    assert_eq!((error.status, error.detail()), (403, "forbidden by nothing-large"));
    assert!(world.lab.calls().is_empty());

    let history = world.api.history(&refused.id).await.unwrap();
    let [judged] = &judged(&history)[..] else { panic!("judged once") };
    assert_eq!(
        (judged.verdict(), &judged.determining[..]),
        (Verdict::Deny, &["nothing-large".to_owned()][..])
    );
    let asked = question(judged);
    assert_eq!(asked["principal"], json!({ "agent": "lab.echo" }));
    assert_eq!(asked["resource"], json!({ "function": "lab.echo", "effect": "irreversible" }));
    assert_eq!(asked["facts"]["amount"], 101, "rounded up");
    assert_eq!(asked["facts"]["attempts"], 1);

    let paid = world.run("pay", r#"{"amount":99.99}"#).await.unwrap();
    assert_eq!((paid.status(), world.lab.calls().len()), (Status::Completed, 1));
    world.end().await.unwrap();
}

#[tokio::test]
async fn what_no_policy_allows_is_denied_and_may_be_caught() {
    let (world, _folder) = governed(POLICIES).await;
    let tasks = "- try:
    try: [ no: { call: fail, with: { title: ran } } ]
    catch: { errors: { with: { status: 403 } }, do: [ caught: { set: { why: '${ $error.detail }' } } ] }";
    deploy(&world, "no", tasks).await;
    let ended = world.run("no", "{}").await.unwrap();
    assert_eq!(ended.output, r#"{"why":"no policy allows it"}"#);
    assert!(world.lab.calls().is_empty());
    world.end().await.unwrap();
}

#[tokio::test]
async fn every_attempt_is_asked_about() {
    let (world, _folder) = governed(POLICIES).await;
    let tasks = "- flaky: { call: flaky, with: { failures: 5 }, metadata: { attempts: 5 } }";
    deploy(&world, "flaky", tasks).await;
    let ended = world.run("flaky", "{}").await.unwrap();
    assert_eq!(ended.error.unwrap().detail(), "forbidden by nothing-twice");
    assert_eq!(world.lab.calls().len(), 2);
    world.end().await.unwrap();
}

#[tokio::test]
async fn a_field_is_masked_before_the_worker_sees_it() {
    let (world, _folder) = governed(POLICIES).await;
    let tasks = "- ask:
    call: echo
    with: { name: ask, payee: { iban: '${ .iban }' } }
    metadata: { facts: { classes: [confidential], marks: [odd] } }";
    deploy(&world, "ask", tasks).await;
    let ended = world.run("ask", r#"{"iban":"DE89 3704"}"#).await.unwrap();
    assert_eq!(ended.output, r#"{"name":"ask","payee":{"iban":"***"}}"#);
    let history = world.api.history(&ended.id).await.unwrap();
    let verdicts: Vec<_> = judged(&history).iter().map(StepJudged::verdict).collect();
    assert_eq!(verdicts, [Verdict::DenyUnless, Verdict::Allow], "it was asked again");
    let remedied = history.iter().filter(|event| matches!(kind(event), Kind::StepRemedied(_)));
    assert_eq!(remedied.count(), 2, "masked, and the lead was told");
    world.end().await.unwrap();
}

#[tokio::test]
async fn what_a_case_has_read_stays_with_it_through_its_children() {
    let (world, _folder) = governed(POLICIES).await;
    let read = "- read: { call: echo, with: { name: read }, metadata: { facts: { classes: [confidential] } } }";
    let send = "- send: { call: echo, with: { name: send }, metadata: { facts: { destination: outside } } }";
    deploy(&world, "read", read).await;
    deploy(&world, "send", send).await;
    let run = |child: &str| {
        format!(
            "- {child}-in-child: {{ run: {{ workflow: {{ namespace: lab, name: {child}, version: '1.0.0', input: {{}} }} }} }}"
        )
    };
    deploy(&world, "reads-in-child", &format!("{}\n{send}", run("read"))).await;
    deploy(&world, "sends-in-child", &format!("{read}\n{}", run("send"))).await;
    assert_eq!(world.run("send", "{}").await.unwrap().status(), Status::Completed);
    for name in ["reads-in-child", "sends-in-child"] {
        let ended = world.run(name, "{}").await.unwrap();
        assert_eq!(
            ended.error.unwrap().detail(),
            "forbidden by what-is-confidential-stays",
            "{name}"
        );
    }
    let count = world.lab.calls().iter().filter(|call| call.name == "send").count();
    assert_eq!(count, 1, "only the one that had read nothing");
    world.end().await.unwrap();
}

#[tokio::test]
async fn no_step_goes_out_unjudged_while_the_engine_dies() {
    let (mut world, _folder) = governed(POLICIES).await;
    let step = |n: u32| {
        format!(
            "- s{n}: {{ call: echo, with: {{ name: s{n} }}, metadata: {{ facts: {{ amount: '${{ .amounts[{n}] }}', classes: [internal] }} }} }}"
        )
    };
    let tasks: Vec<_> = (0..5).map(step).map(|task| format!("{task}\n")).collect();
    let each = tasks
        .concat()
        .replace("with: {", "input: { from: '${ . }' }, output: { as: '${ $input }' }, with: {");
    deploy(&world, "five", each.trim_end()).await;
    let mut ids = Vec::new();
    for n in 0..40_u32 {
        // Every fourth asks for too much at its last step.
        let last = if n % 4 == 0 { 101 } else { 7 };
        ids.push(world.start("five", &format!(r#"{{"amounts":[1,2,3,4,{last}]}}"#)).await.unwrap());
        if n % 13 == 12 {
            world.cluster.batond.kill().unwrap();
            world.cluster.batond.restart().await.unwrap();
        }
    }
    for (n, id) in ids.iter().enumerate() {
        let ended = world.api.ended(id, DEADLINE).await.unwrap();
        let wanted = if n % 4 == 0 { Status::Faulted } else { Status::Completed };
        assert_eq!(ended.status(), wanted, "{ended:?}");
        let mut last: BTreeMap<(u32, u32), Verdict> = BTreeMap::new();
        for event in world.api.history(id).await.unwrap() {
            if let Some(step) = as_judged(&event) {
                last.insert((step.activation, step.attempt), step.verdict());
            } else if let Kind::StepScheduled(step) = kind(&event) {
                assert!(step.guarded);
            } else if let Kind::StepCompleted(step) = kind(&event) {
                assert_eq!(last.get(&(step.activation, step.attempt)), Some(&Verdict::Allow));
            }
        }
    }
    assert!(world.lab.calls().iter().filter(|call| call.name == "s4").count() >= 30);
    let replay = Replay::read(&world.cluster.nats.url(), 2).await.unwrap();
    replay.expect_api(&world.api).await.unwrap();
    world.end().await.unwrap();
}
