//! From deployment to history.

use baton_proto::v1::event::Kind;
use baton_proto::v1::{
    DeployRequest, GetDefinitionRequest, HistoryEvent, HistoryRequest, ListDefinitionsRequest,
    StartAndWaitRequest, Status, ValidateRequest, WatchRequest,
};
use baton_tests::world::start_request;
use baton_tests::{DEADLINE, Setup, World, workflow};
use serde_json::{Value, json};

const TWO_ADDS: &str = "- first:\n    call: add\n    with: { n: '${ .n }' }\n- second:\n    call: add\n    with: { n: '${ .n }' }";

#[tokio::test]
async fn a_workflow_runs_and_every_view_of_it_agrees() {
    let world = World::begin(Setup::default()).await.unwrap();
    world.deploy("sum", TWO_ADDS).await.unwrap();

    let mut workflows = world.api.workflows.clone();
    let start = start_request("sum", r#"{"n": 40}"#);
    let request = StartAndWaitRequest { start: Some(start), wait_ms: 30_000 };
    let ended = workflows.start_and_wait(request).await.unwrap().into_inner();
    assert_eq!(ended.status(), Status::Completed);
    assert_eq!(json(&ended.output), json!({"n": 42}));

    assert_eq!(world.api.get(&ended.id).await.unwrap(), ended);

    let history = world.api.history(&ended.id).await.unwrap();
    assert!(matches!(kind(&history[0]), Kind::InstanceStarted(_)), "{history:#?}");
    assert!(matches!(kind(history.last().unwrap()), Kind::InstanceCompleted(_)), "{history:#?}");
    let numbers = history.iter().map(|event| event.number).collect::<Vec<_>>();
    assert_eq!(numbers, (1..=history.len() as u64).collect::<Vec<_>>());
    let steps = history.iter().filter(|event| matches!(kind(event), Kind::StepCompleted(_)));
    let steps = steps.map(|event| (event.task.as_str(), event.function.as_str()));
    assert_eq!(steps.collect::<Vec<_>>(), [("first", "lab.add"), ("second", "lab.add")]);

    let page = HistoryRequest { id: ended.id.clone(), after: 2, limit: 3 };
    let page = workflows.history(page).await.unwrap().into_inner();
    assert_eq!(page.events, history[2..5]);
    assert!(page.more);

    let watch = WatchRequest { id: ended.id.clone(), after: 0 };
    let mut events = workflows.watch(watch).await.unwrap().into_inner();
    let mut watched = Vec::new();
    while let Some(event) = events.message().await.unwrap() {
        watched.push(event);
    }
    assert_eq!(watched, history);

    let calls = world.lab.calls();
    assert_eq!(calls.len(), 2, "{calls:?}");
    world.end().await.unwrap();
}

#[tokio::test]
async fn a_watcher_sees_events_as_they_are_logged() {
    let world = World::begin(Setup::default()).await.unwrap();
    world.deploy("held", "- wait:\n    call: hold\n    with: { name: gate }").await.unwrap();
    let id = world.start("held", "{}").await.unwrap();
    world.lab.begun("gate", 1, DEADLINE).await.unwrap();

    let watch = WatchRequest { id: id.clone(), after: 0 };
    let mut events = world.api.workflows.clone().watch(watch).await.unwrap().into_inner();
    let mut seen = Vec::new();
    while !seen.iter().any(|event| matches!(kind(event), Kind::StepScheduled(_))) {
        seen.push(events.message().await.unwrap().unwrap());
    }
    world.lab.release("gate");
    while let Some(event) = events.message().await.unwrap() {
        seen.push(event);
    }
    assert_eq!(seen, world.api.history(&id).await.unwrap());
    world.end().await.unwrap();
}

#[tokio::test]
async fn a_deployed_version_stays_what_it_is() {
    let world = World::begin(Setup::default()).await.unwrap();
    let mut definitions = world.api.definitions.clone();
    let source = workflow::lab("sum", TWO_ADDS);
    let deploy = |source: String| DeployRequest { source };
    let first = definitions.deploy(deploy(source.clone())).await.unwrap().into_inner();
    let again = definitions.deploy(deploy(source.clone())).await.unwrap().into_inner();
    assert!(first.created && !again.created);
    assert_eq!(first.definition, again.definition);

    let other = workflow::lab("sum", "- nothing:\n    set: { n: 0 }");
    let refused = definitions.deploy(deploy(other)).await.unwrap_err();
    assert_eq!(baton_tests::world::code(&refused), "version-conflict");

    let newer = workflow::version("sum", "1.10.0", "- nothing:\n    set: { n: 0 }");
    let older = workflow::version("sum", "1.9.0", "- nothing:\n    set: { n: 9 }");
    for source in [&newer, &older] {
        definitions.deploy(deploy(source.clone())).await.unwrap();
    }
    let listed = definitions.list_definitions(ListDefinitionsRequest::default()).await.unwrap();
    let listed = listed.into_inner().definitions;
    let versions = listed.iter().map(|definition| definition.version.as_str());
    assert_eq!(versions.collect::<Vec<_>>(), ["1.10.0", "1.9.0", "1.0.0"]);

    let highest = GetDefinitionRequest {
        namespace: "lab".to_owned(),
        name: "sum".to_owned(),
        version: String::new(),
    };
    let highest = definitions.get_definition(highest).await.unwrap().into_inner();
    assert_eq!((highest.version.as_str(), &highest.source), ("1.10.0", &newer));
    assert_eq!(world.run("sum", "{}").await.unwrap().output, r#"{"n":0}"#);

    let broken = "document:\n  dsl: '1.0.3'\n  nonsense: 1\n";
    let found = definitions.validate(ValidateRequest { source: broken.to_owned() }).await.unwrap();
    let found = found.into_inner();
    assert!(!found.valid);
    let unknown = found.diagnostics.iter().find(|finding| finding.pointer == "/document/nonsense");
    assert_eq!(unknown.map(|finding| (finding.line, finding.column)), Some((3, 3)), "{found:?}");
    world.end().await.unwrap();
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

fn kind(event: &HistoryEvent) -> &Kind {
    event.event.as_ref().unwrap().kind.as_ref().unwrap()
}
