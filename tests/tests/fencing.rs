//! Two engines on the same partitions: one leads, the other waits, and nothing happens twice.

#![cfg(test)]

use baton_proto::v1::{GetRequest, Status};
use baton_tests::replay::Replay;
use baton_tests::world::code;
use baton_tests::{Api, Batond, DEADLINE, Setup, World, eventually};
use futures::StreamExt as _;

const HELD: &str = "- first:\n    call: hold\n    with: { name: '${ .gate }', gate: '${ .gate }' }\n- second:\n    call: echo\n    with: { gate: '${ .gate }' }";

async fn says(batond: &Batond, text: &str) {
    let what = format!("{} says: {text}", batond.process.recipe.name);
    let found = async || Ok(batond.process.tail(2_000).contains(text).then_some(()));
    eventually(DEADLINE, &what, found).await.unwrap();
}

async fn not_ready(batond: &Batond, because: &str) {
    let what = format!("it is not ready because {because}");
    let not_ready = async || {
        let (status, body) = batond.page("/readyz").await?;
        Ok((status == 503 && body.contains(because)).then_some(()))
    };
    eventually(DEADLINE, &what, not_ready).await.unwrap();
}

#[tokio::test]
async fn a_second_engine_stands_by_takes_over_and_gives_back() {
    let mut world = World::begin(Setup::default()).await.unwrap();
    world.deploy("held", HELD).await.unwrap();
    let mut ids = Vec::new();
    for _ in 0..20 {
        ids.push(world.start("held", r#"{"gate":"one"}"#).await.unwrap());
    }
    world.lab.begun("one", 20, DEADLINE).await.unwrap();

    let mut second = world.cluster.second_batond("batond-2").unwrap();
    says(&second, "held by another engine; standing by").await;
    not_ready(&second, "held by engine batond-1").await;
    let other = Api::new(&second.url()).unwrap();
    let asked = other.workflows.clone().get(GetRequest { id: ids[0].clone() }).await.unwrap_err();
    assert_eq!(code(&asked), "partition-unavailable");

    world.cluster.batond.process.freeze().unwrap();
    second.ready().await.unwrap();
    world.lab.release("one");
    for id in &ids {
        assert_eq!(other.completed(id, DEADLINE).await.unwrap(), r#"{"gate":"one"}"#);
    }
    for _ in 0..20 {
        ids.push(other.start("lab", "held", r#"{"gate":"two"}"#, "").await.unwrap().id);
    }
    world.lab.begun("two", 20, DEADLINE).await.unwrap();

    world.cluster.batond.process.thaw().unwrap();
    not_ready(&world.cluster.batond, "held by engine batond-2").await;
    says(&world.cluster.batond, "held by another engine; standing by").await;

    second.kill().unwrap();
    world.cluster.batond.ready().await.unwrap();
    world.lab.release("two");
    for id in &ids {
        assert_eq!(world.api.ended(id, DEADLINE).await.unwrap().status(), Status::Completed);
    }
    let replay = Replay::read(&world.cluster.nats.url(), 2).await.unwrap();
    replay.expect_single_results().unwrap();
    assert_eq!(replay.instances.len(), ids.len());
    let calls = world.lab.calls();
    assert_eq!(calls.len(), 2 * ids.len(), "no handler ran twice");
    let data = world.cluster.batond.data().to_path_buf();
    world.cluster.batond.terminate().await.unwrap();
    replay.expect_cache(&data).unwrap();
    world.end().await.unwrap();
}

#[tokio::test]
async fn an_engine_frozen_in_the_middle_of_its_work_is_fenced_and_loses_nothing() {
    let mut world = World::begin(Setup::default()).await.unwrap();
    let tasks = "- first:\n    call: add\n    with: { n: '${ .n }' }\n- second:\n    call: add\n    with: { n: '${ .n }' }";
    world.deploy("sum", tasks).await.unwrap();
    let mut second = world.cluster.second_batond("batond-2").unwrap();
    says(&second, "held by another engine; standing by").await;
    let World { api, cluster, lab } = &mut world;
    let load = async {
        let starts = futures::stream::iter(0..600).map(|number| {
            let api = api.clone();
            async move {
                let (input, key) = (format!(r#"{{"n":{number}}}"#), format!("load-{number}"));
                (number, api.start("lab", "sum", &input, &key).await.unwrap().id)
            }
        });
        starts.buffer_unordered(64).collect::<Vec<_>>().await
    };
    let takeover = async {
        let reached = async || Ok((lab.calls().len() >= 200).then_some(()));
        eventually(DEADLINE, "handlers have begun", reached).await.unwrap();
        cluster.batond.process.freeze().unwrap();
        second.ready().await.unwrap();
        cluster.batond.process.thaw().unwrap();
        not_ready(&cluster.batond, "held by engine batond-2").await;
        second.terminate().await.unwrap();
        cluster.batond.ready().await.unwrap();
    };
    let (started, ()) = tokio::join!(load, takeover);
    for (number, id) in &started {
        let output = world.api.completed(id, DEADLINE).await.unwrap();
        assert_eq!(output, format!(r#"{{"n":{}}}"#, number + 2));
    }
    let replay = Replay::read(&world.cluster.nats.url(), 2).await.unwrap();
    replay.expect_single_results().unwrap();
    assert_eq!(replay.instances.len(), 600);
    replay.expect_api(&world.api).await.unwrap();
    world.end().await.unwrap();
}
