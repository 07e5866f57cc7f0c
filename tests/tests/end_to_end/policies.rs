//! Policies before every step: what they forbid never reaches a worker, whatever dies meanwhile.

use std::collections::BTreeMap;
use std::path::Path;

use baton_policy::Set;
use baton_policy::backtest::{Recorded, Said, ask};
use baton_proto::v1::event::Kind;
use baton_proto::v1::step_judged::Verdict;
use baton_proto::v1::{
    AnswerApprovalRequest, ApprovalItem, DecisionsRequest, HistoryEvent, InboxRequest, Status,
    StepJudged,
};
use baton_tests::replay::Replay;
use baton_tests::world::code;
use baton_tests::{Api, DEADLINE, Setup, World, eventually, settings};
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

const APPROVED: &str = r#"
@id("the-lab-works")
permit (principal is Baton::Agent, action == Baton::Action::"dispatch", resource);

@id("managers-approve") @remedy("approval:managers") @due("PT1S") @fallback("approval:board") @reason("it is much")
forbid (principal, action == Baton::Action::"dispatch", resource)
when { context.amount > 100 }
unless { context.approvals.contains("managers") };
"#;

const PAY: &str =
    "- pay: { call: echo, with: { name: pay }, metadata: { facts: { amount: '${ .amount }' } } }";

async fn inbox(world: &World, wanted: impl Fn(&[ApprovalItem]) -> bool) -> Vec<ApprovalItem> {
    let items = eventually(DEADLINE, "people are asked", async || {
        let items = world.api.approvals.clone().inbox(InboxRequest::default()).await;
        // The engine may be away.
        let Ok(items) = items else { return Ok(None) };
        let items = items.into_inner().items;
        Ok(wanted(&items).then_some(items))
    });
    items.await.unwrap()
}

fn answer(item: &ApprovalItem, approve: bool) -> AnswerApprovalRequest {
    AnswerApprovalRequest {
        instance: item.instance.clone(),
        step: item.step,
        group: item.group.clone(),
        digest: item.digest.clone(),
        approve,
        reason: "too much".to_owned(),
    }
}

#[tokio::test]
async fn a_step_waits_for_people_whatever_dies_and_goes_out_when_they_approve() {
    let (mut world, _folder) = governed(&APPROVED.replace("PT1S", "PT8H")).await;
    deploy(&world, "pay", PAY).await;
    let mut ids = Vec::new();
    for n in 0..6 {
        ids.push(world.start("pay", &format!(r#"{{"amount":{}}}"#, 1_000 + n)).await.unwrap());
    }
    let items = inbox(&world, |items| items.len() == 6).await;
    let amounts: Vec<_> = items.iter().map(|item| item.facts.clone()).collect();
    assert!(amounts[0].contains("1005"), "the largest first: {amounts:?}");
    assert_eq!((items[0].group.as_str(), items[0].reason.as_str()), ("managers", "it is much"));
    assert_eq!(items[0].arguments, r#"{"name":"pay"}"#);
    world.cluster.batond.kill().unwrap();
    world.cluster.batond.restart().await.unwrap();
    // Also when nothing is left of the cache.
    world.cluster.batond.kill().unwrap();
    std::fs::remove_dir_all(world.cluster.batond.data().join("sled")).unwrap();
    world.cluster.batond.restart().await.unwrap();
    let again = inbox(&world, |items| items.len() == 6).await;
    assert_eq!(again, items, "the same is asked after two crashes");
    assert!(world.lab.calls().is_empty());

    let boss = Api::called_by(&world.cluster.batond.url(), "boss").unwrap();
    let own = world.api.approvals.clone().answer(answer(&items[0], true)).await;
    assert_eq!(code(&own.unwrap_err()), "four-eyes", "also in development mode");
    for (n, item) in items.iter().enumerate() {
        let approve = n % 2 == 0;
        boss.approvals.clone().answer(answer(item, approve)).await.unwrap();
        let twice = boss.approvals.clone().answer(answer(item, approve)).await;
        assert!(["not-awaited", "instance-ended"].contains(&code(&twice.unwrap_err())));
        let ended = world.api.ended(&item.instance, DEADLINE).await.unwrap();
        if approve {
            assert_eq!(ended.status(), Status::Completed);
        } else {
            let error = ended.error.unwrap();
            let wanted = "person boss of managers does not approve it: too much";
            assert_eq!((error.status, error.detail()), (403, wanted));
        }
    }
    assert_eq!(world.lab.calls().len(), 3);
    assert!(inbox(&world, <[_]>::is_empty).await.is_empty());
    let replay = Replay::read(&world.cluster.nats.url(), 2).await.unwrap();
    replay.expect_api(&world.api).await.unwrap();
    world.end().await.unwrap();
}

#[tokio::test]
async fn when_nobody_answers_in_time_others_are_asked() {
    let (mut world, _folder) = governed(APPROVED).await;
    deploy(&world, "pay", PAY).await;
    let id = world.start("pay", r#"{"amount":1000}"#).await.unwrap();
    inbox(&world, |items| !items.is_empty()).await;
    // The time goes by while nobody is there.
    world.cluster.batond.kill().unwrap();
    tokio::time::sleep(std::time::Duration::from_millis(1_200)).await;
    world.cluster.batond.restart().await.unwrap();
    let items = inbox(&world, |items| items.len() == 2).await;
    let board = items.iter().find(|item| item.group == "board").unwrap();
    assert_eq!(board.instead_of, "managers");
    let boss = Api::called_by(&world.cluster.batond.url(), "boss").unwrap();
    boss.approvals.clone().answer(answer(board, true)).await.unwrap();
    let ended = world.api.ended(&id, DEADLINE).await.unwrap();
    assert_eq!(ended.status(), Status::Completed);
    world.end().await.unwrap();
}

/// Half of the limit of [`POLICIES`], and above it people are asked.
const STRICTER: &str = r#"
@id("people-approve") @remedy("approval:managers") @fallback("escalate:board")
forbid (principal, action == Baton::Action::"dispatch", resource)
when { context.amount > 50 }
unless { context.approvals.contains("managers") };
"#;

/// What was said first about each amount.
async fn said_first(world: &World) -> BTreeMap<i64, (String, Said)> {
    let mut stream =
        world.api.audit.clone().decisions(DecisionsRequest::default()).await.unwrap().into_inner();
    let mut all = BTreeMap::new();
    while let Some(some) = stream.message().await.unwrap() {
        for decision in some.decisions {
            let question: Value = serde_json::from_str(&decision.question).unwrap();
            let said = match decision.verdict.as_str() {
                "allow" => Said::Allow,
                "deny" => Said::Deny,
                _ => Said::DenyUnless(decision.remedies.into_iter().collect()),
            };
            let amount = question["facts"]["amount"].as_i64().unwrap();
            all.entry(amount).or_insert((decision.question, said));
        }
    }
    all
}

#[tokio::test]
async fn a_backtest_says_what_the_other_set_says_live() {
    let pay = "- pay: { call: echo, with: { name: pay, iban: '1' }, metadata: { facts: { amount: '${ .amount }', classes: '${ .classes }' } } }";
    let inputs: Vec<_> = (1..=24)
        .map(|n| json!({ "amount": n * 7, "classes": if n % 3 == 0 { vec!["confidential"] } else { vec![] } }))
        .collect();
    let run = async |world: &World| {
        deploy(world, "pay", pay).await;
        for input in &inputs {
            world.start("pay", &input.to_string()).await.unwrap();
        }
        let all = async || {
            let said = said_first(world).await;
            Ok((said.len() == inputs.len()).then_some(said))
        };
        eventually(DEADLINE, "all was asked", all).await.unwrap()
    };
    let (before, _folder) = governed(POLICIES).await;
    let recorded = run(&before).await;
    let stricter = format!("{POLICIES}{STRICTER}");
    let (after, folder) = governed(&stricter).await;
    let live = run(&after).await;

    let texts = [("rules.cedar".to_owned(), stricter)].into();
    let set = Set::compile(&texts).unwrap();
    let mut flips = 0;
    for (amount, (question, said)) in &recorded {
        let again = ask(&set, &Recorded { question, said: said.clone() }).unwrap();
        assert_eq!(again.says, live[amount].1, "{question}");
        flips += u64::from(again.says != *said);
    }
    assert!((5..20).contains(&flips), "{flips} of {} change", recorded.len());

    // The same through the command line, over all decisions and not only the first of each.
    let output = std::process::Command::new(settings::binary("baton").unwrap())
        .args(["policy", "backtest", "-o", "json", "--since", "1h", "--policy"])
        .arg(folder.path())
        .args(["--url", &before.cluster.batond.url()])
        .output()
        .unwrap();
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let counted = report["flips"].as_array().unwrap().iter();
    let counted: u64 = counted.map(|flip| flip["count"].as_u64().unwrap()).sum();
    let decisions = report["decisions"].as_u64().unwrap();
    assert_eq!(decisions - report["same"].as_u64().unwrap(), counted, "{report}");
    assert!(decisions >= 24 && counted >= flips, "{report}");
    let added = report["approvals_added"]["managers"].as_u64().unwrap();
    assert!(added >= 5 && report["amount"].as_i64().unwrap() > 0, "{report}");
    before.end().await.unwrap();
    after.end().await.unwrap();
}

#[tokio::test]
async fn agents_that_hand_a_case_to_and_fro_are_stopped() {
    let round = r#"
@id("the-lab-works")
permit (principal is Baton::Agent, action == Baton::Action::"dispatch", resource);
@id("nothing-a-third-time")
forbid (principal, action == Baton::Action::"dispatch", resource)
when { context.repeats >= 2 };
@id("seven-turns-are-enough")
forbid (principal, action == Baton::Action::"dispatch", resource)
when { context.turns >= 7 };
"#;
    let (world, _folder) = governed(round).await;
    let to_and_fro = "- round:
    for: { each: n, in: '[range(9)]' }
    do:
    - ask: { call: echo, with: { name: ask } }
    - answer: { call: add, with: { n: 1 } }";
    deploy(&world, "round", to_and_fro).await;
    let ended = world.run("round", "{}").await.unwrap();
    assert_eq!(ended.error.unwrap().detail(), "forbidden by nothing-a-third-time");
    assert_eq!(world.lab.calls().len(), 4, "each was asked twice");

    let always_new = "- round:
    for: { each: n, in: '[range(9)]' }
    do:
    - ask: { call: echo, with: { name: '${ $n | tostring }' } }";
    deploy(&world, "new", always_new).await;
    let ended = world.run("new", "{}").await.unwrap();
    assert_eq!(ended.error.unwrap().detail(), "forbidden by seven-turns-are-enough");
    assert_eq!(world.lab.calls().len(), 4 + 7);
    world.end().await.unwrap();
}
