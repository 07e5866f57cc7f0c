//! An idempotency key starts one instance, whatever dies in between.

use baton_proto::v1::{ListRequest, StartRequest};
use baton_tests::world::{code, start_request};
use baton_tests::{Setup, World};
use tonic::Code;

const NOTHING: &str = "- nothing:\n    set: { done: true }";

fn keyed(name: &str, input: &str, key: &str) -> StartRequest {
    StartRequest { idempotency_key: key.to_owned(), ..start_request(name, input) }
}

#[tokio::test]
async fn a_key_gives_the_same_instance_even_after_a_kill() {
    let mut world = World::begin(Setup::default()).await.unwrap();
    world.deploy("one", NOTHING).await.unwrap();
    world.deploy("other", NOTHING).await.unwrap();
    let mut workflows = world.api.workflows.clone();
    let first = workflows.start(keyed("one", r#"{"a":1}"#, "k")).await.unwrap().into_inner();
    let again = workflows.start(keyed("one", r#"{"a":1}"#, "k")).await.unwrap().into_inner();
    assert!(first.created && !again.created);
    assert_eq!(first.id, again.id);
    let elsewhere = workflows.start(keyed("other", r#"{"a":1}"#, "k")).await.unwrap().into_inner();
    assert!(elsewhere.created && elsewhere.id != first.id);

    for _ in 0..2 {
        world.cluster.batond.kill().unwrap();
        world.cluster.batond.restart().await.unwrap();
        let after = world.api.start("lab", "one", r#"{"a":1}"#, "k").await.unwrap();
        assert_eq!((after.id.as_str(), after.created), (first.id.as_str(), false));
        let conflict = workflows.start(keyed("one", r#"{"a":2}"#, "k")).await.unwrap_err();
        assert_eq!((conflict.code(), code(&conflict)), (Code::AlreadyExists, "key-conflict"));
    }

    world.deploy("one", NOTHING).await.unwrap();
    let mut labelled = keyed("one", r#"{"a":1}"#, "k");
    labelled.labels.insert("region".to_owned(), "north".to_owned());
    let conflict = workflows.start(labelled).await.unwrap_err();
    assert_eq!(code(&conflict), "key-conflict");
    world.end().await.unwrap();
}

#[tokio::test]
async fn many_starts_at_once_with_one_key_are_one_instance() {
    let world = World::begin(Setup::default()).await.unwrap();
    world.deploy("one", NOTHING).await.unwrap();
    let starts = (0..50).map(|_| {
        let mut workflows = world.api.workflows.clone();
        async move { workflows.start(keyed("one", "{}", "same")).await.unwrap().into_inner() }
    });
    let started = futures::future::join_all(starts).await;
    assert_eq!(started.iter().filter(|start| start.created).count(), 1);
    assert!(started.iter().all(|start| start.id == started[0].id));
    world.api.completed(&started[0].id, baton_tests::DEADLINE).await.unwrap();

    let all = || world.api.list(ListRequest { name: "one".to_owned(), ..ListRequest::default() });
    let listed = baton_tests::eventually(baton_tests::DEADLINE, "it is listed", async || {
        Ok(Some(all().await?).filter(|found| !found.is_empty()))
    });
    assert_eq!(listed.await.unwrap().len(), 1);
    world.end().await.unwrap();
}
