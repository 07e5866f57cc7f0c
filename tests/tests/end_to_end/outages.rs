//! What dies comes back, and the pages about it tell the truth.

use std::time::Duration;

use baton_proto::v1::Status;
use baton_tests::replay::Replay;
use baton_tests::{Batond, DEADLINE, Setup, World, eventually};
use futures::StreamExt as _;
use tonic::transport::{Channel, Endpoint};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;

const HELD: &str = "- first:\n    call: hold\n    with: { name: one, n: '${ .n }' }\n- second:\n    call: add\n    with: { n: '${ .n }' }";

async fn page_says(batond: &Batond, page: &str, wanted: u16) {
    let what = format!("{page} says {wanted}");
    let says = async || {
        let (status, _) = batond.page(page).await?;
        Ok((status == wanted).then_some(()))
    };
    eventually(DEADLINE, &what, says).await.unwrap();
}

async fn channel(batond: &Batond) -> Channel {
    Endpoint::from_shared(batond.url()).unwrap().connect().await.unwrap()
}

async fn health_says(batond: &Batond, wanted: ServingStatus) {
    let mut health = HealthClient::new(channel(batond).await);
    let says = async || {
        let status = health.check(HealthCheckRequest::default()).await?.into_inner().status();
        Ok((status == wanted).then_some(()))
    };
    eventually(DEADLINE, &format!("gRPC health says {wanted:?}"), says).await.unwrap();
}

#[tokio::test]
async fn readiness_tells_the_truth_about_the_broker_and_lost_commands_come_back() {
    let mut world = World::begin(Setup::default()).await.unwrap();
    world.deploy("held", HELD).await.unwrap();
    health_says(&world.cluster.batond, ServingStatus::Serving).await;
    let mut ids = Vec::new();
    for number in 0..20 {
        ids.push(world.start("held", &format!(r#"{{"n":{number}}}"#)).await.unwrap());
    }
    world.lab.begun("one", 20, DEADLINE).await.unwrap();
    // A command that nobody has taken is only in the broker's memory.
    world.deploy("nobody", "- ask:\n    call: nobody\n    with: {}").await.unwrap();
    world.start("nobody", "{}").await.unwrap();

    world.cluster.nats.kill().unwrap();
    page_says(&world.cluster.batond, "/readyz", 503).await;
    page_says(&world.cluster.batond, "/healthz", 200).await;
    health_says(&world.cluster.batond, ServingStatus::NotServing).await;
    world.cluster.nats.restart().await.unwrap();
    page_says(&world.cluster.batond, "/readyz", 200).await;
    let back = async || {
        let jetstream = async_nats::jetstream::new(world.cluster.nats.connect().await?);
        let stream = jetstream.get_stream("BATON_WORK").await?;
        let unserved = stream.info_with_subjects("baton.work.lab.nobody.>").await?;
        Ok((unserved.count().await == 1).then_some(()))
    };
    eventually(DEADLINE, "the command is queued again", back).await.unwrap();

    world.lab.release("one");
    for (number, id) in ids.iter().enumerate() {
        let output = world.api.completed(id, DEADLINE).await.unwrap();
        assert_eq!(output, format!(r#"{{"n":{}}}"#, number + 1));
    }
    let replay = Replay::read(&world.cluster.nats.url(), 2).await.unwrap();
    replay.expect_single_results().unwrap();
    world.end().await.unwrap();
}

#[tokio::test]
async fn a_restarted_engine_and_broker_go_on_where_they_were() {
    let mut world = World::begin(Setup::default()).await.unwrap();
    world.deploy("held", HELD).await.unwrap();
    let id = world.start("held", r#"{"n":1}"#).await.unwrap();
    world.lab.begun("one", 1, DEADLINE).await.unwrap();
    world.cluster.batond.kill().unwrap();
    world.cluster.nats.kill().unwrap();
    world.cluster.nats.restart().await.unwrap();
    world.cluster.batond.restart().await.unwrap();
    world.lab.release("one");
    assert_eq!(world.api.completed(&id, DEADLINE).await.unwrap(), r#"{"n":2}"#);
    world.end().await.unwrap();
}

#[tokio::test]
async fn an_engine_asked_to_stop_under_load_loses_nothing_and_tells_nothing_wrong() {
    let mut world = World::begin(Setup::default()).await.unwrap();
    let tasks = "- first:\n    call: add\n    with: { n: '${ .n }' }\n- second:\n    call: add\n    with: { n: '${ .n }' }";
    world.deploy("sum", tasks).await.unwrap();
    let api = world.api.clone();
    let load = async {
        let starts = futures::stream::iter(0..400).map(|number| {
            let api = api.clone();
            async move {
                let input = format!(r#"{{"n":{number}}}"#);
                let key = format!("load-{number}");
                let id = api.start("lab", "sum", &input, &key).await.unwrap().id;
                (number, key, id)
            }
        });
        starts.buffer_unordered(32).collect::<Vec<_>>().await
    };
    let World { cluster, lab, .. } = &mut world;
    let stops = async {
        for stop in 1..=2 {
            let reached = async || Ok((lab.calls().len() >= 100 * stop).then_some(()));
            eventually(DEADLINE, "handlers have begun", reached).await.unwrap();
            let status = cluster.batond.terminate().await.unwrap().unwrap();
            assert!(status.success(), "{status}: {}", cluster.batond.process.tail(20));
            cluster.batond.restart().await.unwrap();
        }
    };
    let (started, ()) = tokio::join!(load, stops);
    assert_eq!(started.len(), 400);
    for (number, key, id) in &started {
        let output = world.api.completed(id, DEADLINE).await.unwrap();
        assert_eq!(output, format!(r#"{{"n":{}}}"#, number + 2));
        let again = world.api.start("lab", "sum", &format!(r#"{{"n":{number}}}"#), key).await;
        let again = again.unwrap();
        assert_eq!((&again.id, again.created), (id, false));
    }
    let replay = Replay::read(&world.cluster.nats.url(), 2).await.unwrap();
    assert_eq!(replay.instances.len(), 400);
    replay.expect_single_results().unwrap();
    let data = world.cluster.batond.data().to_path_buf();
    world.cluster.batond.terminate().await.unwrap();
    replay.expect_cache(&data).unwrap();
    world.end().await.unwrap();
}

#[tokio::test]
async fn a_start_that_waits_is_answered_before_the_engine_stops() {
    let mut world = World::begin(Setup::default()).await.unwrap();
    world.deploy("held", HELD).await.unwrap();
    let id = world.start("held", r#"{"n":1}"#).await.unwrap();
    world.lab.begun("one", 1, DEADLINE).await.unwrap();
    world.cluster.batond.terminate().await.unwrap();
    world.lab.release("one");
    world.cluster.batond.restart().await.unwrap();
    let ended = world.api.ended(&id, Duration::from_secs(60)).await.unwrap();
    assert_eq!(ended.status(), Status::Completed);
    world.end().await.unwrap();
}

#[tokio::test]
async fn reflection_names_every_service() {
    let world = World::begin(Setup::default()).await.unwrap();
    let mut client = ServerReflectionClient::new(channel(&world.cluster.batond).await);
    let request = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let answers = client.server_reflection_info(futures::stream::iter([request])).await.unwrap();
    let answer = answers.into_inner().message().await.unwrap().unwrap();
    let Some(MessageResponse::ListServicesResponse(services)) = answer.message_response else {
        panic!("{answer:?}");
    };
    let names = services.service.into_iter().map(|service| service.name).collect::<Vec<_>>();
    for service in ["DefinitionService", "WorkflowService", "EngineService"] {
        assert!(names.contains(&format!("baton.v1.{service}")), "{names:?}");
    }
    world.end().await.unwrap();
}
