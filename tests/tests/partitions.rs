//! Partitions: added, taken over together, and recovered from a long log without holding all of it.

#![cfg(test)]

use baton_proto::v1::{ListRequest, Status};
use baton_tests::replay::Replay;
use baton_tests::world::{code, start_request};
use baton_tests::{Api, Batond, DEADLINE, Setup, World, eventually};
use futures::StreamExt as _;

/// The engine's next start is with so many partitions.
fn set_partitions(batond: &mut Batond, count: u32) {
    let arguments = &mut batond.process.recipe.arguments;
    let at = arguments.iter().position(|argument| argument == "--partitions").unwrap();
    arguments[at + 1] = count.to_string();
}

fn keyed(number: usize) -> baton_proto::v1::StartRequest {
    let mut request = start_request("quick", &format!(r#"{{"n":{number}}}"#));
    request.idempotency_key = format!("key-{number}");
    request
}

#[tokio::test]
async fn a_key_that_was_used_before_partitions_were_added_starts_nothing_new() {
    let mut world = World::begin(Setup::default()).await.unwrap();
    world.deploy("quick", "- quick:\n    set: { done: true }").await.unwrap();
    let mut workflows = world.api.workflows.clone();
    let mut before = Vec::new();
    for number in 0..40 {
        before.push(workflows.start(keyed(number)).await.unwrap().into_inner().id);
    }
    for (partitions, fresh) in [(3, 100), (5, 200)] {
        world.cluster.batond.terminate().await.unwrap();
        set_partitions(&mut world.cluster.batond, partitions);
        world.cluster.batond.restart().await.unwrap();
        for (number, id) in before.iter().enumerate() {
            let again = workflows.start(keyed(number)).await.unwrap().into_inner();
            assert_eq!((&again.id, again.created), (id, false), "key {number}");
            let mut other = keyed(number);
            other.input = r#"{"n":"another"}"#.to_owned();
            let refused = workflows.start(other).await.unwrap_err();
            assert_eq!(code(&refused), "key-conflict", "key {number}");
        }
        for number in fresh..fresh + 20 {
            let created = workflows.start(keyed(number)).await.unwrap().into_inner();
            assert!(created.created);
            let again = workflows.start(keyed(number)).await.unwrap().into_inner();
            assert_eq!((again.id, again.created), (created.id, false));
        }
    }
    // They cannot be taken away, and nobody has to remember how many there are.
    world.cluster.batond.terminate().await.unwrap();
    set_partitions(&mut world.cluster.batond, 2);
    world.cluster.batond.restart().await.unwrap_err();
    let log = world.cluster.batond.process.tail(100);
    assert!(log.contains("there are 5 partitions, 2 are too few"), "{log}");
    let arguments = &mut world.cluster.batond.process.recipe.arguments;
    let at = arguments.iter().position(|argument| argument == "--partitions").unwrap();
    arguments.drain(at..at + 2);
    world.cluster.batond.restart().await.unwrap();
    assert_eq!(world.api.status().await.unwrap().partitions.len(), 5);
    assert_eq!(world.api.list(ListRequest::default()).await.unwrap().len(), 80);
    world.end().await.unwrap();
}

#[tokio::test]
async fn of_two_engines_that_start_together_one_leads_everything() {
    let mut world = World::begin(Setup { partitions: 6, ..Setup::default() }).await.unwrap();
    world.deploy("quick", "- quick:\n    set: { done: true }").await.unwrap();
    let mut second = world.cluster.second_batond("batond-2").unwrap();
    for _ in 0..3 {
        world.cluster.batond.kill().unwrap();
        second.kill().unwrap();
        world.cluster.batond.process.run().unwrap();
        second.process.run().unwrap();
        let leader = eventually(DEADLINE, "one of the two is ready", async || {
            let mut ready = Vec::new();
            for batond in [&world.cluster.batond, &second] {
                if batond.page("/readyz").await?.0 == 200 {
                    ready.push(batond.url());
                }
            }
            assert!(ready.len() < 2, "both lead");
            Ok(ready.pop())
        });
        let leader = Api::new(&leader.await.unwrap()).unwrap();
        for number in 0..12 {
            let id = leader.start("lab", "quick", &number.to_string(), "").await.unwrap().id;
            leader.completed(&id, DEADLINE).await.unwrap();
        }
    }
    second.kill().unwrap();
    world.cluster.batond.ready().await.unwrap();
    world.end().await.unwrap();
}

/// More than a recovery holds in memory at once.
const MANY: usize = 5_600;

#[tokio::test]
async fn a_log_that_is_longer_than_memory_should_be_is_recovered_piece_by_piece() {
    let mut world = World::begin(Setup { partitions: 1, ..Setup::default() }).await.unwrap();
    world.deploy("quick", "- quick:\n    set: { done: true }").await.unwrap();
    let waits = "- long:\n    wait: { hours: 1 }\n- add:\n    call: add\n    with: { n: 1 }";
    world.deploy("long", waits).await.unwrap();
    let ids = futures::stream::iter(0..MANY)
        .map(|number| {
            let mut workflows = world.api.workflows.clone();
            async move {
                let mut request = keyed(number);
                if number % 2 == 1 {
                    request.name = "long".to_owned();
                }
                workflows.start(request).await.unwrap().into_inner().id
            }
        })
        .buffered(200)
        .collect::<Vec<_>>()
        .await;
    world.cluster.batond.kill().unwrap();
    std::fs::remove_dir_all(world.cluster.batond.data().join("sled")).unwrap();
    world.cluster.batond.restart().await.unwrap();
    let listed = async |status: Status| {
        let request = ListRequest { status: status.into(), ..ListRequest::default() };
        anyhow::Ok(world.api.list(request).await?.len())
    };
    eventually(DEADLINE, "all are listed", async || {
        let counts = (listed(Status::Completed).await?, listed(Status::Waiting).await?);
        Ok((counts == (MANY / 2, MANY / 2)).then_some(()))
    })
    .await
    .unwrap();
    // Those that the cache had taken in the middle are whole: history, key and timer.
    for number in [0, 1, MANY / 2, MANY - 2, MANY - 1] {
        let instance = world.api.get(&ids[number]).await.unwrap();
        let wanted = if number % 2 == 1 { Status::Waiting } else { Status::Completed };
        assert_eq!(instance.status(), wanted, "instance {number}");
        let mut request = keyed(number);
        if number % 2 == 1 {
            request.name = "long".to_owned();
        }
        let again = world.api.workflows.clone().start(request).await.unwrap().into_inner();
        assert_eq!((&again.id, again.created), (&ids[number], false), "key {number}");
        assert!(world.api.history(&ids[number]).await.unwrap().len() >= 3);
    }
    let replay = Replay::read(&world.cluster.nats.url(), 1).await.unwrap();
    let data = world.cluster.batond.data().to_path_buf();
    world.cluster.batond.terminate().await.unwrap();
    replay.expect_cache(&data).unwrap();
    world.end().await.unwrap();
}

#[tokio::test]
async fn instances_whose_workflow_is_gone_stand_still_and_the_others_go_on() {
    let mut world = World::begin(Setup::default()).await.unwrap();
    world.deploy("kept", "- add:\n    call: add\n    with: { n: '${ .n }' }").await.unwrap();
    let held = "- hold:\n    call: hold\n    with: { name: gone, n: '${ .n }' }";
    world.deploy("gone", held).await.unwrap();
    let mut ids = Vec::new();
    for _ in 0..8 {
        ids.push(world.start("gone", r#"{"n":1}"#).await.unwrap());
    }
    world.lab.begun("gone", 8, DEADLINE).await.unwrap();
    world.cluster.batond.terminate().await.unwrap();
    // As if this engine's compiler refused it.
    let jetstream = async_nats::jetstream::new(world.cluster.nats.connect().await.unwrap());
    let bucket = jetstream.get_key_value("BATON_DEFINITIONS").await.unwrap();
    let stored = bucket.get("lab.gone.1.0.0").await.unwrap().unwrap();
    bucket.put("lab.gone.1.0.0", "{}".into()).await.unwrap();
    world.cluster.batond.restart().await.unwrap();

    let kept = world.run("kept", r#"{"n":4}"#).await.unwrap();
    assert_eq!(kept.output, r#"{"n":5}"#);
    let standing = world.api.get(&ids[0]).await.unwrap();
    assert_eq!(standing.status(), Status::Running);
    let cancel =
        baton_proto::v1::CancelRequest { id: ids[0].clone(), reason: "no more".to_owned() };
    let refused = world.api.workflows.clone().cancel(cancel).await.unwrap_err();
    assert_eq!(code(&refused), "unknown-workflow");

    world.cluster.batond.terminate().await.unwrap();
    bucket.put("lab.gone.1.0.0", stored).await.unwrap();
    world.cluster.batond.restart().await.unwrap();
    world.lab.release("gone");
    for id in &ids {
        assert_eq!(world.api.ended(id, DEADLINE).await.unwrap().status(), Status::Completed);
    }
    world.end().await.unwrap();
}
