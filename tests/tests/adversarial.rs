//! Attacks on an engine that is not in development mode. Each is named after what the attacker does; each is refused, is
//! counted as what it is, and changes nothing.

#![cfg(test)]

use std::collections::BTreeMap;

use async_nats::jetstream;
use baton_proto::v1::event::Kind;
use baton_proto::v1::step_result::Outcome;
use baton_proto::v1::{
    self, ActivatePoliciesRequest, AnswerApprovalRequest, ApprovalItem, CancelRequest,
    ClaimApprovalRequest, DecisionsRequest, DeployPoliciesRequest, DeployRequest, ExportRequest,
    GetRequest, HistoryRequest, InboxRequest, Instance, KillRequest, KillSwitch,
    ListPoliciesRequest, ListRequest, ListSwitchesRequest, PolicyActivation, PublishEventRequest,
    RearmRequest, RerunRequest, ResultBatch, RollBackPoliciesRequest, StatusRequest, StepCommand,
    StepResult, SuspendRequest, TerminateRequest, WatchRequest,
};
use baton_tests::governed::Authority;
use baton_tests::world::{code, start_request};
use baton_tests::{Api, DEADLINE, Governed, eventually, workflow};
use futures::TryStreamExt as _;
use prost::Message as _;
use serde_json::Value;
use tonic::{Code, Response, Status};

/// Who may do what, of people and services; and the lab does what it is asked.
const RULES: &str = r#"
@id("the-lab-works")
permit (principal is Baton::Agent, action == Baton::Action::"dispatch", resource in Baton::Department::"lab");

@id("authors-deploy-and-start")
permit (
  principal in Baton::Group::"authors",
  action in [Baton::Action::"deploy", Baton::Action::"start", Baton::Action::"read"],
  resource is Baton::Workflow
);

@id("the-desk-reads-and-stops-what-the-lab-runs")
permit (
  principal in Baton::Group::"desk",
  action in [Baton::Action::"read", Baton::Action::"cancel"],
  resource in Baton::Department::"lab"
);

@id("officers-look-after-policies")
permit (
  principal in Baton::Group::"officers",
  action in [Baton::Action::"deploy", Baton::Action::"read", Baton::Action::"activatePolicy"],
  resource is Baton::PolicySet
);

@id("operators-stop-and-read")
permit (
  principal in Baton::Group::"operators",
  action in [Baton::Action::"kill", Baton::Action::"rearm", Baton::Action::"read"],
  resource
);

@id("nobody-rearms-what-they-stopped")
forbid (principal, action == Baton::Action::"rearm", resource)
when { principal == context.author };

@id("nobody-activates-what-they-wrote")
forbid (principal, action == Baton::Action::"activatePolicy", resource)
when { principal == context.author };
"#;

const ECHO: &str = "- echo: { call: echo, with: { name: echo } }";

fn texts(policies: &str) -> BTreeMap<String, String> {
    BTreeMap::from([("rules.cedar".to_owned(), policies.to_owned())])
}

fn refused<T: std::fmt::Debug>(answer: Result<Response<T>, Status>, wanted: &str) {
    let status = answer.unwrap_err();
    assert_eq!(code(&status), wanted, "{status:?}");
    let grpc =
        if wanted == "unauthenticated" { Code::Unauthenticated } else { Code::PermissionDenied };
    assert_eq!(status.code(), grpc);
}

/// How often requests were refused for this reason.
async fn count(governed: &Governed, code: &str) -> f64 {
    let (_, page) = governed.cluster.batond.page("/metrics").await.unwrap();
    let line = format!("baton_refused_requests_total{{code=\"{code}\"}} ");
    page.lines().find_map(|found| found.strip_prefix(&line)?.parse().ok()).unwrap_or(0.0)
}

/// Every request of the API, and nothing else than requests.
async fn everything_is_refused(api: &Api, wanted: &str) {
    let workflow = workflow::lab("echo", ECHO);
    let id = "01990000-0000-7000-8000-000000000000".to_owned();
    let Api { definitions, events, policies, approvals, audit, kills, once: _, workflows, engine } =
        api;
    let mut definitions = definitions.clone();
    refused(definitions.deploy(DeployRequest { source: workflow }).await, wanted);
    refused(definitions.list_definitions(v1_list()).await, wanted);
    refused(definitions.list_functions(baton_proto::v1::ListFunctionsRequest {}).await, wanted);
    let mut workflows = workflows.clone();
    refused(workflows.start(start_request("echo", "{}")).await, wanted);
    refused(workflows.get(GetRequest { id: id.clone() }).await, wanted);
    refused(workflows.list(ListRequest::default()).await, wanted);
    let history = HistoryRequest { id: id.clone(), ..HistoryRequest::default() };
    refused(workflows.history(history).await, wanted);
    let cancel = CancelRequest { id: id.clone(), ..CancelRequest::default() };
    refused(workflows.cancel(cancel).await, wanted);
    let watched = workflows.watch(WatchRequest { id, ..WatchRequest::default() }).await;
    refused(watched.map(|_| Response::new(())), wanted);
    refused(events.clone().publish(PublishEventRequest::default()).await, wanted);
    refused(engine.clone().status(StatusRequest {}).await, wanted);
    let mut approvals = approvals.clone();
    refused(approvals.inbox(InboxRequest::default()).await, wanted);
    refused(approvals.claim(ClaimApprovalRequest::default()).await, wanted);
    let digest = "0".repeat(64);
    let answer =
        AnswerApprovalRequest { digest, approve: true, ..AnswerApprovalRequest::default() };
    refused(approvals.answer(answer).await, wanted);
    let decisions = audit.clone().decisions(DecisionsRequest::default()).await;
    refused(decisions.map(|_| Response::new(())), wanted);
    let mut kills = kills.clone();
    refused(kills.kill(killing("everything")).await, wanted);
    let drill = KillRequest { drill: true, ..killing("function:lab.echo") };
    refused(kills.kill(drill).await, wanted);
    let exported = audit.clone().export(ExportRequest::default()).await;
    refused(exported.map(|_| Response::new(())), wanted);
    let mut policies = policies.clone();
    refused(policies.list(ListPoliciesRequest {}).await, wanted);
    refused(policies.deploy(DeployPoliciesRequest { texts: texts(RULES) }).await, wanted);
    let activate = ActivatePoliciesRequest { version: 1, ..ActivatePoliciesRequest::default() };
    refused(policies.activate(activate).await, wanted);
    refused(policies.roll_back(RollBackPoliciesRequest::default()).await, wanted);
}

fn killing(scope: &str) -> KillRequest {
    KillRequest { scope: scope.to_owned(), ..KillRequest::default() }
}

fn v1_list() -> baton_proto::v1::ListDefinitionsRequest {
    baton_proto::v1::ListDefinitionsRequest::default()
}

/// The version of a set that somebody deploys.
async fn deployed(api: &Api, policies: &str) -> u32 {
    let request = DeployPoliciesRequest { texts: texts(policies) };
    let answer = api.policies.clone().deploy(request).await.unwrap();
    answer.into_inner().set.unwrap().version
}

async fn activate(api: &Api, version: u32) -> Result<Response<PolicyActivation>, Status> {
    let request = ActivatePoliciesRequest { version, ..ActivatePoliciesRequest::default() };
    api.policies.clone().activate(request).await
}

#[tokio::test]
async fn calling_without_a_token_or_with_a_forged_one() {
    let governed = Governed::begin(RULES).await.unwrap();
    let url = governed.cluster.batond.url();
    let before = count(&governed, "unauthenticated").await;
    everything_is_refused(&Api::new(&url).unwrap(), "unauthenticated").await;
    // Development mode's way to say who one is counts for nothing here.
    everything_is_refused(&Api::called_by(&url, "olga").unwrap(), "unauthenticated").await;
    let forged = Authority::default().token("person", "olga", &["authors", "officers"]).unwrap();
    everything_is_refused(&Api::with_token(&url, &forged).unwrap(), "unauthenticated").await;
    assert!(count(&governed, "unauthenticated").await >= before + 60.0);
    governed.end().await.unwrap();
}

#[tokio::test]
async fn asking_for_what_one_may_not() {
    let governed = Governed::begin(RULES).await.unwrap();
    let author = governed.person("anna", &["authors"]).unwrap();
    let desk = governed.person("dora", &["desk"]).unwrap();
    let stranger = governed.person("hugo", &["visitors"]).unwrap();
    author.deploy(&workflow::lab("echo", ECHO)).await.unwrap();
    let id = author.start("lab", "echo", "{}", "").await.unwrap().id;
    let ended = desk.ended(&id, DEADLINE).await.unwrap();

    let before = count(&governed, "forbidden").await;
    let get = || GetRequest { id: id.clone() };
    refused(stranger.workflows.clone().get(get()).await, "forbidden");
    refused(stranger.workflows.clone().start(start_request("echo", "{}")).await, "forbidden");
    refused(desk.workflows.clone().start(start_request("echo", "{}")).await, "forbidden");
    refused(author.workflows.clone().get(get()).await, "forbidden");
    let cancel = CancelRequest { id: id.clone(), ..CancelRequest::default() };
    refused(author.workflows.clone().cancel(cancel).await, "forbidden");
    let deploy = DeployRequest { source: workflow::lab("mine", ECHO) };
    refused(desk.definitions.clone().deploy(deploy).await, "forbidden");
    let event = PublishEventRequest {
        event: r#"{"specversion":"1.0","id":"1","source":"/x","type":"t"}"#.to_owned(),
        department: "lab".to_owned(),
    };
    refused(author.events.clone().publish(event).await, "forbidden");
    assert!((count(&governed, "forbidden").await - before - 7.0).abs() < 0.1, "each counts");

    assert!(stranger.list(ListRequest::default()).await.unwrap().is_empty(), "nor is it listed");
    let listed = stranger.definitions.clone().list_definitions(v1_list()).await.unwrap();
    assert!(listed.into_inner().definitions.is_empty());
    assert_eq!(desk.get(&id).await.unwrap(), ended, "nothing has changed");
    assert_eq!(governed.lab.calls().len(), 1);
    governed.end().await.unwrap();
}

#[tokio::test]
async fn a_policy_set_activated_by_its_author() {
    let governed = Governed::begin(RULES).await.unwrap();
    let olga = governed.person("olga", &["officers"]).unwrap();
    let otto = governed.person("otto", &["officers"]).unwrap();
    let author = governed.person("anna", &["authors"]).unwrap();
    author.deploy(&workflow::lab("echo", ECHO)).await.unwrap();

    // Everything that the engine's own set allows, and nothing for the lab any more.
    let stricter =
        RULES.replacen("permit (principal is Baton::Agent", "forbid (principal is Baton::Agent", 1);
    let version = deployed(&olga, &stricter).await;
    let before = count(&governed, "forbidden").await;
    refused(activate(&olga, version).await, "forbidden");
    assert!((count(&governed, "forbidden").await - before - 1.0).abs() < 0.1);
    let list = otto.policies.clone().list(ListPoliciesRequest {}).await.unwrap().into_inner();
    assert_eq!((list.active, list.activations.len()), (0, 0), "nothing has changed");

    // Somebody else may, and then it counts at once, also after a crash.
    activate(&otto, version).await.unwrap();
    let run = async |governed: &Governed| {
        let id = author.start("lab", "echo", "{}", "").await.unwrap().id;
        governed.person("dora", &["desk"]).unwrap().ended(&id, DEADLINE).await.unwrap()
    };
    let error = run(&governed).await.error.unwrap();
    assert_eq!(error.detail(), "forbidden by the-lab-works");
    let mut governed = governed;
    governed.cluster.batond.kill().unwrap();
    governed.cluster.batond.restart().await.unwrap();
    assert_eq!(run(&governed).await.error.unwrap().detail(), "forbidden by the-lab-works");
    assert!(governed.lab.calls().is_empty());

    // There was no other set before this one.
    let back = olga.policies.clone().roll_back(RollBackPoliciesRequest::default()).await;
    assert_eq!(code(&back.unwrap_err()), "nothing-to-roll-back");
    let version = deployed(&otto, RULES).await;
    activate(&olga, version).await.unwrap();
    assert!(run(&governed).await.error.is_none());
    otto.policies.clone().roll_back(RollBackPoliciesRequest::default()).await.unwrap();
    assert!(run(&governed).await.error.is_some(), "rolled back to the stricter set");
    let back = olga.policies.clone().roll_back(RollBackPoliciesRequest::default()).await;
    assert_eq!(code(&back.unwrap_err()), "nothing-to-roll-back", "twice goes back further");

    // A service is no person who could be the author, and does not activate what it has deployed either.
    let robot = governed.caller("service", "ci", &["officers"]).unwrap();
    let version = deployed(&robot, &format!("{RULES}// of a robot\n")).await;
    refused(activate(&robot, version).await, "forbidden");
    let person = governed.person("ci", &["officers"]).unwrap();
    activate(&person, version).await.unwrap();

    // What is planned comes in its time, whatever is changed until then.
    let soon = version_from_now(&olga, &person, RULES).await;
    activate(&otto, version).await.unwrap();
    let planned = eventually(DEADLINE, "the planned set counts", async || {
        let list = otto.policies.clone().list(ListPoliciesRequest {}).await?.into_inner();
        Ok((list.active == soon).then_some(()))
    });
    planned.await.unwrap();
    governed.end().await.unwrap();
}

/// A set that counts from a second on.
async fn version_from_now(author: &Api, other: &Api, policies: &str) -> u32 {
    let version = deployed(author, &format!("{policies}// planned\n")).await;
    let at_ms = baton_tests::clock::now_ms() + 1_000;
    let nanos = i32::try_from(at_ms % 1_000 * 1_000_000).unwrap();
    let from = Some(prost_types::Timestamp { seconds: at_ms / 1_000, nanos });
    let request = ActivatePoliciesRequest { version, from, reason: "planned".to_owned() };
    other.policies.clone().activate(request).await.unwrap();
    version
}

#[tokio::test]
async fn using_an_engine_that_has_no_policies() {
    let governed = Governed::begin("").await.unwrap();
    let olga = governed.person("olga", &["authors", "officers", "desk"]).unwrap();
    let deploy = DeployRequest { source: workflow::lab("echo", ECHO) };
    refused(olga.definitions.clone().deploy(deploy).await, "forbidden");
    let set = DeployPoliciesRequest { texts: texts(RULES) };
    refused(olga.policies.clone().deploy(set).await, "forbidden");
    assert!(olga.status().await.unwrap().weaknesses.iter().any(|weak| weak == "no policies count"));
    governed.end().await.unwrap();
}

/// Whatever the lab is to echo needs two managers, who are told of by entities and not by tokens.
const APPROVED: &str = r#"
@id("two-managers-approve") @remedy("approval:managers") @quorum("2") @due("PT8H") @fallback("escalate:board")
forbid (principal, action == Baton::Action::"dispatch", resource == Baton::Function::"lab.echo")
unless { context.approvals.contains("managers") };

@id("managers-answer")
permit (principal is Baton::Person, action in [Baton::Action::"claim", Baton::Action::"decide"], resource is Baton::Instance)
when { principal in context.group };
"#;

/// `bobby` is another account of `bob`.
const PEOPLE: &str = r#"[
  { "uid": { "type": "Baton::Group", "id": "managers" }, "attrs": {}, "parents": [] },
  { "uid": { "type": "Baton::Group", "id": "authors" }, "attrs": {}, "parents": [] },
  { "uid": { "type": "Baton::Person", "id": "anna" }, "attrs": {},
    "parents": [{ "type": "Baton::Group", "id": "managers" }, { "type": "Baton::Group", "id": "authors" }] },
  { "uid": { "type": "Baton::Person", "id": "bob" }, "attrs": {}, "parents": [{ "type": "Baton::Group", "id": "managers" }] },
  { "uid": { "type": "Baton::Person", "id": "bobby" },
    "attrs": { "sameAs": { "__entity": { "type": "Baton::Person", "id": "bob" } } },
    "parents": [{ "type": "Baton::Group", "id": "managers" }] },
  { "uid": { "type": "Baton::Person", "id": "carl" }, "attrs": {}, "parents": [{ "type": "Baton::Group", "id": "managers" }] }
]"#;

/// An instance that Anna has started, whose step waits for two managers.
struct Asked {
    governed: Governed,
    id: String,
}

impl Asked {
    async fn begin() -> Self {
        let policies = format!("{RULES}{APPROVED}");
        let governed = Governed::with_entities(&policies, PEOPLE).await.unwrap();
        let anna = governed.person("anna", &[]).unwrap();
        anna.deploy(&workflow::lab("echo", ECHO)).await.unwrap();
        let id = anna.start("lab", "echo", "{}", "").await.unwrap().id;
        Self { governed, id }
    }

    fn person(&self, name: &str) -> Api {
        self.governed.person(name, &[]).unwrap()
    }

    async fn item(&self, who: &str) -> ApprovalItem {
        let mut items = self.inbox(&self.person(who)).await;
        items.pop().unwrap()
    }

    async fn inbox(&self, api: &Api) -> Vec<ApprovalItem> {
        let answer = api.approvals.clone().inbox(InboxRequest::default()).await.unwrap();
        answer.into_inner().items
    }

    async fn answers(&self, who: &Api, item: &ApprovalItem) -> Result<Response<Instance>, Status> {
        let request = AnswerApprovalRequest {
            instance: item.instance.clone(),
            step: item.step,
            group: item.group.clone(),
            digest: item.digest.clone(),
            approve: true,
            reason: String::new(),
        };
        who.approvals.clone().answer(request).await
    }

    /// The answer is refused so, is counted, and changes nothing.
    async fn refuses(&self, who: &Api, item: &ApprovalItem, wanted: &str) {
        let (before, counted) = (self.item("carl").await, count(&self.governed, wanted).await);
        let status = self.answers(who, item).await.unwrap_err();
        assert_eq!(code(&status), wanted, "{status:?}");
        assert!((count(&self.governed, wanted).await - counted - 1.0).abs() < 0.1);
        assert_eq!(self.item("carl").await, before, "nothing has changed");
        assert!(self.governed.lab.calls().is_empty());
    }

    /// Another set counts, which says this of people.
    async fn activate_another(&self, people: &str) {
        let olga = self.governed.person("olga", &["officers"]).unwrap();
        let otto = self.governed.person("otto", &["officers"]).unwrap();
        let mut texts = texts(&format!("{RULES}{APPROVED}// another\n"));
        texts.insert("entities.json".to_owned(), people.to_owned());
        let deployed = olga.policies.clone().deploy(DeployPoliciesRequest { texts }).await.unwrap();
        activate(&otto, deployed.into_inner().set.unwrap().version).await.unwrap();
    }

    /// What is asked instead of this.
    async fn anew(&self, old: &ApprovalItem) -> ApprovalItem {
        let again = async || {
            let items = self.inbox(&self.person("bob")).await;
            Ok(items.into_iter().find(|item| item.digest != old.digest))
        };
        eventually(DEADLINE, "it is asked again", again).await.unwrap()
    }

    async fn ends(self) -> Instance {
        let desk = self.governed.person("dora", &["desk"]).unwrap();
        let ended = desk.ended(&self.id, DEADLINE).await.unwrap();
        self.governed.end().await.unwrap();
        ended
    }
}

#[tokio::test]
async fn approving_ones_own_request() {
    let asked = Asked::begin().await;
    let item = asked.item("anna").await;
    assert_eq!((item.not_yours.as_str(), item.started_by.as_str()), ("four-eyes", "person anna"));
    asked.refuses(&asked.person("anna"), &item, "four-eyes").await;
    asked.answers(&asked.person("bob"), &item).await.unwrap();
    asked.answers(&asked.person("carl"), &item).await.unwrap();
    assert!(asked.ends().await.error.is_none());
}

#[tokio::test]
async fn approving_twice_under_two_names_of_one_person() {
    let asked = Asked::begin().await;
    let item = asked.item("bob").await;
    asked.answers(&asked.person("bob"), &item).await.unwrap();
    let item = asked.item("bobby").await;
    assert_eq!((&item.approved_by[..], item.quorum), (&["person bob".to_owned()][..], 2));
    asked.refuses(&asked.person("bobby"), &item, "four-eyes").await;
    asked.refuses(&asked.person("bob"), &item, "four-eyes").await;
    asked.answers(&asked.person("carl"), &item).await.unwrap();
    assert!(asked.ends().await.error.is_none());
}

#[tokio::test]
async fn answering_for_a_group_that_one_is_not_in() {
    let asked = Asked::begin().await;
    let item = asked.item("bob").await;
    // The set knows nothing of her; her token tells of another group, and a service is no person.
    let stranger = asked.governed.person("dora", &["desk"]).unwrap();
    assert!(asked.inbox(&stranger).await.is_empty());
    asked.refuses(&stranger, &item, "forbidden").await;
    asked.refuses(&asked.governed.service("bob").unwrap(), &item, "forbidden").await;
    // What the set says of somebody counts, whatever a token says.
    let named = asked.governed.person("anna", &["managers"]).unwrap();
    asked.refuses(&named, &item, "four-eyes").await;
    let asks =
        AnswerApprovalRequest { group: "board".to_owned(), ..AnswerApprovalRequest::default() };
    let request = AnswerApprovalRequest {
        instance: item.instance.clone(),
        step: item.step,
        digest: item.digest.clone(),
        approve: true,
        ..asks
    };
    let answer = asked.person("bob").approvals.clone().answer(request).await;
    assert_eq!(code(&answer.unwrap_err()), "forbidden");
    asked.governed.end().await.unwrap();
}

#[tokio::test]
async fn replaying_an_old_approval_after_what_it_was_about_has_changed() {
    let asked = Asked::begin().await;
    let old = asked.item("bob").await;
    asked.answers(&asked.person("bob"), &old).await.unwrap();
    // What was approved was approved under the old one.
    asked.activate_another(PEOPLE).await;
    let new = asked.anew(&old).await;
    assert!(new.approved_by.is_empty(), "what was approved is void");
    asked.refuses(&asked.person("bob"), &old, "approval-changed").await;
    asked.refuses(&asked.person("carl"), &old, "approval-changed").await;
    asked.answers(&asked.person("bob"), &new).await.unwrap();
    asked.answers(&asked.person("carl"), &new).await.unwrap();
    assert!(asked.ends().await.error.is_none());
}

#[tokio::test]
async fn approving_what_one_has_started_under_a_name_that_turns_out_to_be_ones_own() {
    let asked = Asked::begin().await;
    let old = asked.item("bob").await;
    let is_carl =
        r#""attrs": { "sameAs": { "__entity": { "type": "Baton::Person", "id": "carl" } } }"#;
    let people = PEOPLE.replacen(
        r#""id": "anna" }, "attrs": {}"#,
        &format!(r#""id": "anna" }}, {is_carl}"#),
        1,
    );
    assert_ne!(people, PEOPLE);
    asked.activate_another(&people).await;
    let item = asked.anew(&old).await;
    asked.refuses(&asked.person("carl"), &item, "four-eyes").await;
    asked.governed.end().await.unwrap();
}

/// For those who have several names.
const MANAGERS: &str = r#"
@id("managers-deploy-and-stop")
permit (
  principal in Baton::Group::"managers",
  action in [Baton::Action::"deploy", Baton::Action::"activatePolicy", Baton::Action::"kill", Baton::Action::"rearm"],
  resource
);
"#;

#[tokio::test]
async fn doing_what_takes_somebody_else_under_another_name_of_ones_own() {
    let policies = format!("{RULES}{MANAGERS}");
    let governed = Governed::with_entities(&policies, PEOPLE).await.unwrap();
    let person = |name: &str| governed.person(name, &[]).unwrap();
    let (bob, bobby, carl) = (person("bob"), person("bobby"), person("carl"));
    for (n, (one, same)) in [(&bob, &bobby), (&bobby, &bob)].into_iter().enumerate() {
        let version = deployed(one, &format!("{RULES}// {n}\n")).await;
        refused(activate(same, version).await, "forbidden");
        let switch = kill(one, "function:lab.echo").await;
        let request = RearmRequest { number: switch.number, ..RearmRequest::default() };
        refused(same.kills.clone().rearm(request.clone()).await, "forbidden");
        carl.kills.clone().rearm(request).await.unwrap();
    }
    activate(&carl, 1).await.unwrap();
    governed.end().await.unwrap();
}

#[tokio::test]
async fn asking_about_an_instance_of_which_one_only_knows_the_id() {
    let governed = Governed::begin(RULES).await.unwrap();
    let id = holding(&governed).await;
    let stranger = governed.person("hugo", &["visitors"]).unwrap();
    let (reason, after) = (String::new(), 0);
    let mut workflows = stranger.workflows.clone();
    let history = HistoryRequest { id: id.clone(), ..HistoryRequest::default() };
    refused(workflows.history(history).await, "forbidden");
    let watched = workflows.watch(WatchRequest { id: id.clone(), after }).await;
    refused(watched.map(|_| Response::new(())), "forbidden");
    let suspend = SuspendRequest { id: id.clone(), reason: reason.clone() };
    refused(workflows.suspend(suspend).await, "forbidden");
    refused(workflows.terminate(TerminateRequest { id: id.clone(), reason }).await, "forbidden");
    let rerun = RerunRequest { id: id.clone(), task: "hold".to_owned() };
    refused(workflows.rerun(rerun).await, "forbidden");
    let answer = AnswerApprovalRequest {
        instance: id.clone(),
        group: "managers".to_owned(),
        digest: "0".repeat(64),
        approve: true,
        ..AnswerApprovalRequest::default()
    };
    refused(stranger.approvals.clone().answer(answer).await, "forbidden");
    let decisions = stranger.audit.clone().decisions(DecisionsRequest::default()).await.unwrap();
    let decisions: Vec<_> = decisions.into_inner().try_collect().await.unwrap();
    assert!(decisions.iter().all(|page| page.decisions.is_empty()), "{decisions:?}");
    let set = DeployPoliciesRequest { texts: texts(RULES) };
    refused(stranger.policies.clone().deploy(set).await, "forbidden");
    governed.lab.release("one");
    let olga = governed.person("olga", &["operators"]).unwrap();
    assert!(olga.ended(&id, DEADLINE).await.unwrap().error.is_none(), "nothing has changed");
    governed.end().await.unwrap();
}

/// Writes over a record of the engine's, as whoever gets at the broker could.
async fn tear_up(governed: &Governed, bucket: &str, key: &str) {
    let jetstream = jetstream::new(governed.cluster.nats.connect().await.unwrap());
    let store = jetstream.get_key_value(bucket).await.unwrap();
    store.put(key, "torn".into()).await.unwrap();
}

#[tokio::test]
async fn tearing_up_the_record_of_which_policies_count() {
    let governed = Governed::begin(RULES).await.unwrap();
    let anna = governed.person("anna", &["authors"]).unwrap();
    anna.deploy(&workflow::lab("echo", ECHO)).await.unwrap();
    tear_up(&governed, "BATON_POLICIES", "activation.1").await;
    let refused = async || {
        let started = anna.workflows.clone().start(start_request("echo", "{}")).await;
        Ok(started.err().filter(|status| code(status) == "forbidden"))
    };
    eventually(DEADLINE, "nothing is allowed any more", refused).await.unwrap();
    governed.end().await.unwrap();
}

#[tokio::test]
async fn tearing_up_the_record_of_what_is_stopped() {
    let governed = Governed::begin(RULES).await.unwrap();
    let id = holding(&governed).await;
    tear_up(&governed, "BATON_SWITCHES", "1").await;
    let olga = governed.person("olga", &["operators"]).unwrap();
    let stopped = async || {
        let history = olga.history(&id).await?;
        let mut kinds = history.into_iter().filter_map(|event| event.event?.kind);
        Ok(kinds.any(|kind| matches!(kind, Kind::StepHalted(_))).then_some(()))
    };
    eventually(DEADLINE, "everything is stopped", stopped).await.unwrap();
    governed.end().await.unwrap();
}

/// The command that is in somebody's hands, as a copy of it in the queue shows it.
async fn command_of(governed: &Governed, id: &str) -> StepCommand {
    let client = governed.cluster.nats.connect().await.unwrap();
    let stream = jetstream::new(client).get_stream("BATON_WORK").await.unwrap();
    let filter = format!("baton.work.lab.hold.{id}.>");
    let command = async || {
        let subjects: Vec<_> = stream.info_with_subjects(&filter).await?.try_collect().await?;
        let Some((subject, _)) = subjects.first() else { return Ok(None) };
        let message = stream.get_last_raw_message_by_subject(subject).await?;
        Ok(Some(StepCommand::decode(message.payload)?))
    };
    eventually(DEADLINE, "the command is queued", command).await.unwrap()
}

async fn kill(api: &Api, scope: &str) -> KillSwitch {
    api.kills.clone().kill(killing(scope)).await.unwrap().into_inner()
}

const HOLD: &str = "- hold: { call: hold, with: { name: one } }";

/// An instance of `lab/hold:1.0.0` whose step is in the lab's hands.
async fn holding(governed: &Governed) -> String {
    let anna = governed.person("anna", &["authors"]).unwrap();
    anna.deploy(&workflow::lab("hold", HOLD)).await.unwrap();
    let id = anna.start("lab", "hold", "{}", "").await.unwrap().id;
    governed.lab.begun("one", 1, DEADLINE).await.unwrap();
    id
}

/// How often results were refused for this reason.
async fn results_refused(governed: &Governed, code: &str) -> f64 {
    let (_, page) = governed.cluster.batond.page("/metrics").await.unwrap();
    let line = format!("baton_refused_results_total{{code=\"{code}\"}} ");
    page.lines().find_map(|found| found.strip_prefix(&line)?.parse().ok()).unwrap_or(0.0)
}

/// What a worker would have for it, with the token of its attempt.
fn answer_to(command: &StepCommand, worker: &str) -> StepResult {
    StepResult {
        instance: command.instance.clone(),
        step: command.step,
        attempt: command.attempt,
        token: command.token.clone(),
        outcome: Some(Outcome::Output(b"\"paid to me\"".to_vec())),
        worker: worker.to_owned(),
        cost: 7,
        ..StepResult::default()
    }
}

async fn send(governed: &Governed, subject: String, results: Vec<StepResult>) {
    let jetstream = jetstream::new(governed.cluster.nats.connect().await.unwrap());
    let payload = ResultBatch { results }.encode_to_vec();
    jetstream.publish(subject, payload.into()).await.unwrap().await.unwrap();
}

/// How often a result of an instance was put on record and led to nothing.
async fn fenced(api: &Api, id: &str) -> usize {
    let history = api.history(id).await.unwrap();
    let kinds = history.iter().filter_map(|event| event.event.as_ref()?.kind.as_ref());
    kinds.filter(|kind| matches!(kind, Kind::ResultFenced(_))).count()
}

#[tokio::test]
async fn the_late_result_of_a_killed_agent() {
    let governed = Governed::begin(RULES).await.unwrap();
    let id = holding(&governed).await;
    let command = command_of(&governed, &id).await;
    let olga = governed.person("olga", &["operators"]).unwrap();
    let switch = kill(&olga, "function:lab.hold").await;
    assert_eq!(switch.stopped, 1);

    // It has the token of its attempt, and does not listen to being stopped.
    let before = olga.get(&id).await.unwrap();
    let late = answer_to(&command, "lab-1");
    // Nor does another department speak for it.
    let elsewhere = command.reply_subject.replace("lab", "office");
    send(&governed, elsewhere, vec![late.clone()]).await;
    let counted =
        async || Ok((results_refused(&governed, "wrong-department").await > 0.5).then_some(()));
    eventually(DEADLINE, "it is another department's", counted).await.unwrap();
    send(&governed, command.reply_subject.clone(), vec![late.clone(), late]).await;
    let counted = async || {
        let (halted, stale) = tokio::join!(
            results_refused(&governed, "halted"),
            results_refused(&governed, "stale-attempt")
        );
        Ok((halted > 0.5 && stale > 0.5).then_some(()))
    };
    eventually(DEADLINE, "it counts as what it is, and once", counted).await.unwrap();
    let after = olga.get(&id).await.unwrap();
    assert_eq!((after.status(), after.output), (before.status(), before.output));
    assert_eq!(fenced(&olga, &id).await, 1, "it is on record");

    // Who stopped it does not let it go on.
    let request = RearmRequest { number: switch.number, ..RearmRequest::default() };
    refused(olga.kills.clone().rearm(request.clone()).await, "forbidden");
    let otto = governed.person("otto", &["operators"]).unwrap();
    let rearmed = otto.kills.clone().rearm(request).await.unwrap().into_inner();
    assert_eq!((rearmed.held, rearmed.late), (1, 1));
    governed.lab.begun("one", 2, DEADLINE).await.unwrap();
    governed.lab.release("one");
    let ended = olga.ended(&id, DEADLINE).await.unwrap();
    assert_eq!(ended.output, r#"{"name":"one"}"#);
    governed.end().await.unwrap();
}

#[tokio::test]
async fn answering_under_the_name_of_a_stopped_worker() {
    let governed = Governed::begin(RULES).await.unwrap();
    let id = holding(&governed).await;
    let command = command_of(&governed, &id).await;
    let olga = governed.person("olga", &["operators"]).unwrap();
    kill(&olga, "worker:lab-9").await;
    send(&governed, command.reply_subject.clone(), vec![answer_to(&command, "lab-9")]).await;
    let counted = async || Ok((results_refused(&governed, "halted").await > 0.5).then_some(()));
    eventually(DEADLINE, "it counts as what it is", counted).await.unwrap();
    assert_eq!(fenced(&olga, &id).await, 1, "it is on record");
    // Another worker has the step anew.
    governed.lab.begun("one", 2, DEADLINE).await.unwrap();
    governed.lab.release("one");
    assert_eq!(olga.ended(&id, DEADLINE).await.unwrap().output, r#"{"name":"one"}"#);
    governed.end().await.unwrap();
}

#[tokio::test]
async fn running_on_under_a_version_that_was_withdrawn_meanwhile() {
    let governed = Governed::begin(RULES).await.unwrap();
    let id = holding(&governed).await;
    let olga = governed.person("olga", &["operators"]).unwrap();
    kill(&olga, "workflow:lab/hold:1.0.0").await;
    governed.lab.release("one");
    let anna = governed.person("anna", &["authors"]).unwrap();
    let started = anna.workflows.clone().start(start_request("hold", "{}")).await.unwrap_err();
    assert_eq!(code(&started), "workflow-stopped");
    assert!((count(&governed, "workflow-stopped").await - 1.0).abs() < 0.1);
    // Another version is another matter.
    anna.deploy(&workflow::version("hold", "1.0.1", HOLD)).await.unwrap();
    let other = anna.start("lab", "hold", "{}", "").await.unwrap().id;
    olga.ended(&other, DEADLINE).await.unwrap();
    let held = olga.get(&id).await.unwrap();
    assert_eq!((held.status(), held.ended_at), (v1::Status::Waiting, None));
    assert_eq!(governed.lab.calls().len(), 2, "once before, and once of the other version");
    governed.end().await.unwrap();
}

#[tokio::test]
async fn stopping_another_departments_work() {
    let scoped = RULES.replace(
        "  action in [Baton::Action::\"kill\", Baton::Action::\"rearm\", Baton::Action::\"read\"],\n  resource\n",
        "  action in [Baton::Action::\"kill\", Baton::Action::\"rearm\", Baton::Action::\"read\"],\n  resource in Baton::Department::\"lab\"\n",
    );
    assert_ne!(scoped, RULES);
    let governed = Governed::begin(&scoped).await.unwrap();
    let olga = governed.person("olga", &["operators"]).unwrap();
    for scope in [
        "everything",
        "department:finance",
        "function:finance.pay",
        "workflow:finance/purchase",
        "label:customer=7",
        "class:personal",
        "worker:lab-1",
    ] {
        refused(olga.kills.clone().kill(killing(scope)).await, "forbidden");
    }
    for scope in ["department:lab", "function:lab.echo", "workflow:lab/hold:1.0.0"] {
        kill(&olga, scope).await;
    }
    let listed = olga.kills.clone().list_switches(ListSwitchesRequest { all: true }).await;
    assert_eq!(listed.unwrap().into_inner().switches.len(), 3);
    governed.end().await.unwrap();
}

/// What the lab adds goes out without people only with much confidence.
const CONFIDENT: &str = r#"
@id("doubts-need-people") @remedy("approval:managers") @fallback("escalate:board")
forbid (principal, action == Baton::Action::"dispatch", resource == Baton::Function::"lab.add")
when { context.confidence < 90 }
unless { context.approvals.contains("managers") };
"#;

const AGENTS: &str = r#"[
  { "uid": { "type": "Baton::Agent", "id": "lab.echo" }, "attrs": { "kind": "write", "confidenceMax": 80 }, "parents": [] },
  { "uid": { "type": "Baton::Agent", "id": "lab.hold" }, "attrs": { "kind": "write", "confidenceMax": 95 }, "parents": [] },
  { "uid": { "type": "Baton::Agent", "id": "lab.add" }, "attrs": { "kind": "write" }, "parents": [] }
]"#;

/// What policies were told of confidence when they were last asked about an instance.
async fn told_confidence(api: &Api, id: &str) -> Value {
    let history = api.history(id).await.unwrap();
    let mut kinds = history.into_iter().rev().filter_map(|event| event.event?.kind);
    let judged = kinds.find_map(|kind| {
        if let Kind::StepJudged(judged) = kind { judged.question?.value } else { None }
    });
    let Some(v1::json::Value::Text(question)) = judged else { panic!("nobody was asked") };
    serde_json::from_str::<Value>(&question).unwrap()["facts"]["confidence"].take()
}

#[tokio::test]
async fn a_worker_raising_its_own_confidence_past_the_agreed_bound() {
    let policies = format!("{RULES}{CONFIDENT}");
    let governed = Governed::with_entities(&policies, AGENTS).await.unwrap();
    let anna = governed.person("anna", &["authors"]).unwrap();
    let desk = governed.person("dora", &["desk"]).unwrap();
    for function in ["echo", "hold"] {
        let tasks = format!(
            "- assess: {{ call: {function}, with: {{ name: assess, confidence: '${{ .confidence }}' }} }}
- pay: {{ call: add, with: {{ name: pay }}, metadata: {{ facts: {{ confidence: '${{ .confidence }}' }} }} }}"
        );
        anna.deploy(&workflow::lab(function, &tasks)).await.unwrap();
    }
    governed.lab.release("assess");
    let assessed = async |by: &str, confidence: u32| {
        let input = format!(r#"{{"confidence":{confidence}}}"#);
        anna.start("lab", by, &input, "").await.unwrap().id
    };
    let paid = || governed.lab.calls().iter().filter(|call| call.name == "pay").count();
    let overstated = async || {
        let (_, page) = governed.cluster.batond.page("/metrics").await.unwrap();
        let lines =
            page.lines().filter_map(|l| l.strip_prefix("baton_overstated_confidence_total "));
        lines.map(|count| count.parse::<u64>().unwrap()).sum::<u64>()
    };

    // It says that it is as good as certain, and it was agreed that it never is.
    let bold = assessed("echo", 99).await;
    let asked = async || {
        let history = desk.history(&bold).await?;
        let mut kinds = history.into_iter().filter_map(|event| event.event?.kind);
        Ok(kinds.any(|kind| matches!(kind, Kind::ApprovalAsked(_))).then_some(()))
    };
    eventually(DEADLINE, "people are asked about the payment", asked).await.unwrap();
    assert_eq!((paid(), overstated().await), (0, 1));
    assert_eq!(told_confidence(&desk, &bold).await, 80);

    // Within the bound it counts as it was stated.
    let sure = assessed("hold", 92).await;
    assert!(desk.ended(&sure, DEADLINE).await.unwrap().error.is_none());
    assert_eq!((paid(), overstated().await), (1, 1));
    assert_eq!(told_confidence(&desk, &sure).await, 92);
    governed.end().await.unwrap();
}

#[tokio::test]
async fn a_service_that_arms_again_what_it_has_stopped() {
    let services = RULES.replace(
        "  principal in Baton::Group::\"operators\",\n  action in [Baton::Action::\"kill\"",
        "  principal is Baton::Service,\n  action in [Baton::Action::\"kill\"",
    );
    assert_ne!(services, RULES);
    let governed = Governed::begin(&services).await.unwrap();
    let watchdog = governed.service("watchdog").unwrap();
    let switch = kill(&watchdog, "department:lab").await;
    let request = RearmRequest { number: switch.number, ..RearmRequest::default() };
    refused(watchdog.kills.clone().rearm(request.clone()).await, "forbidden");
    assert!((count(&governed, "forbidden").await - 1.0).abs() < 0.1);
    let listed = watchdog.kills.clone().list_switches(ListSwitchesRequest { all: false }).await;
    assert_eq!(listed.unwrap().into_inner().switches.len(), 1, "it stops what it stopped");
    governed.service("another").unwrap().kills.clone().rearm(request).await.unwrap();
    governed.end().await.unwrap();
}
