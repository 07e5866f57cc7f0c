//! Attacks on an engine that is not in development mode. Each is named after what the attacker does; each is refused, is
//! counted as what it is, and changes nothing.

#![cfg(test)]

use std::collections::BTreeMap;

use baton_proto::v1::{
    ActivatePoliciesRequest, CancelRequest, DeployPoliciesRequest, DeployRequest, GetRequest,
    HistoryRequest, ListPoliciesRequest, ListRequest, PolicyActivation, PublishEventRequest,
    RollBackPoliciesRequest, StatusRequest, WatchRequest,
};
use baton_tests::governed::Authority;
use baton_tests::world::{code, start_request};
use baton_tests::{Api, DEADLINE, Governed, workflow};
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
    let Api { definitions, events, policies, workflows, engine } = api;
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
    let mut policies = policies.clone();
    refused(policies.list(ListPoliciesRequest {}).await, wanted);
    refused(policies.deploy(DeployPoliciesRequest { texts: texts(RULES) }).await, wanted);
    let activate = ActivatePoliciesRequest { version: 1, ..ActivatePoliciesRequest::default() };
    refused(policies.activate(activate).await, wanted);
    refused(policies.roll_back(RollBackPoliciesRequest::default()).await, wanted);
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
    assert!(count(&governed, "unauthenticated").await >= before + 45.0);
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
    governed.end().await.unwrap();
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
