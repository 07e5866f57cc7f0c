//! Workflows that run others: started once, told of the end, cancelled with their parent.

use std::sync::atomic::{AtomicUsize, Ordering};

use baton_proto::v1::{CancelRequest, Instance, ListRequest, Status};
use baton_tests::replay::Replay;
use baton_tests::{DEADLINE, Setup, World, eventually};
use futures::StreamExt as _;

const CHILD: &str = "- add:\n    call: add\n    with: { n: '${ .n }' }";
const PARENT: &str = "- one:
    run:
      workflow: { namespace: lab, name: child, version: '1.0.0', input: { n: '${ .n }' } }
- two:
    run:
      workflow: { namespace: lab, name: child, version: latest, input: { n: '${ .n }' } }";

/// The instances of `lab/child`, when there are so many: lists follow a moment after.
async fn children(world: &World, count: usize) -> Vec<Instance> {
    let request = ListRequest {
        namespace: "lab".to_owned(),
        name: "child".to_owned(),
        ..ListRequest::default()
    };
    let listed = eventually(DEADLINE, "all children are listed", async || {
        let found = world.api.list(request.clone()).await?;
        Ok((found.len() == count).then_some(found))
    });
    listed.await.unwrap()
}

#[tokio::test]
async fn a_child_gives_its_output_to_its_parent_and_belongs_to_its_trace() {
    let world = World::begin(Setup::default()).await.unwrap();
    world.deploy("child", CHILD).await.unwrap();
    world.deploy("parent", PARENT).await.unwrap();
    let parent = world.run("parent", r#"{"n":3}"#).await.unwrap();
    assert_eq!(parent.output, r#"{"n":5}"#);
    for child in children(&world, 2).await {
        let child = world.api.get(&child.id).await.unwrap();
        assert_eq!((&child.parent, &child.trace_id), (&parent.id, &parent.trace_id));
    }
    world.end().await.unwrap();
}

#[tokio::test]
async fn the_fault_of_a_child_is_an_error_that_its_parent_may_catch() {
    let world = World::begin(Setup::default()).await.unwrap();
    let raise =
        "- no:\n    raise: { error: { type: 'https://x.example/no', status: 418, title: no } }";
    world.deploy("child", raise).await.unwrap();
    let catching = "- try:
    try:
      - run:
          run: { workflow: { namespace: lab, name: child, version: latest, input: {} } }
    catch:
      errors: { with: { status: 418 } }
      do:
        - caught: { set: { caught: '${ $error.title }' } }";
    world.deploy("parent", catching).await.unwrap();
    let parent = world.run("parent", "{}").await.unwrap();
    assert_eq!(parent.output, r#"{"caught":"no"}"#);
    let missing = "- run:\n    run: { workflow: { namespace: lab, name: nobody, version: latest, input: {} } }";
    world.deploy("missing", missing).await.unwrap();
    let missing = world.run("missing", "{}").await.unwrap();
    assert_eq!(missing.status(), Status::Faulted);
    assert!(missing.error.unwrap().r#type.ends_with("/configuration"));
    world.end().await.unwrap();
}

#[tokio::test]
async fn a_workflow_that_runs_itself_comes_to_an_end() {
    let world = World::begin(Setup::default()).await.unwrap();
    let endless = "- again:\n    run: { workflow: { namespace: lab, name: endless, version: latest, input: {} } }";
    world.deploy("endless", endless).await.unwrap();
    let ended = world.run("endless", "{}").await.unwrap();
    assert_eq!(ended.status(), Status::Faulted);
    assert!(ended.error.unwrap().detail.unwrap().contains("inside each other"));
    world.end().await.unwrap();
}

#[tokio::test]
async fn a_cancelled_parent_cancels_what_it_waits_for_and_not_what_it_does_not() {
    let world = World::begin(Setup::default()).await.unwrap();
    let hold = "- hold:\n    call: hold\n    with: { name: held }";
    world.deploy("child", hold).await.unwrap();
    let both = "- free:
    run: { workflow: { namespace: lab, name: child, version: latest, input: {} }, await: false }
- bound:
    run: { workflow: { namespace: lab, name: child, version: latest, input: {} } }";
    world.deploy("parent", both).await.unwrap();
    let id = world.start("parent", "{}").await.unwrap();
    world.lab.begun("held", 2, DEADLINE).await.unwrap();
    let parent = world.api.get(&id).await.unwrap();
    let bound = parent.open_tasks.iter().find(|task| task.name == "bound").unwrap().child.clone();
    let cancel = CancelRequest { id: id.clone(), reason: "enough".to_owned() };
    world.api.workflows.clone().cancel(cancel).await.unwrap();
    assert_eq!(world.api.ended(&bound, DEADLINE).await.unwrap().status(), Status::Cancelled);
    world.lab.release("held");
    let children = children(&world, 2).await;
    let free = children.iter().find(|child| child.id != bound).unwrap();
    assert_eq!(world.api.ended(&free.id, DEADLINE).await.unwrap().status(), Status::Completed);
    world.end().await.unwrap();
}

#[tokio::test]
async fn kills_neither_lose_a_child_nor_start_it_twice() {
    const PARENTS: usize = 300;
    const KILLS: usize = 6;
    let mut world = World::begin(Setup::default()).await.unwrap();
    world.deploy("child", CHILD).await.unwrap();
    world.deploy("parent", PARENT).await.unwrap();
    let World { api, cluster, .. } = &mut world;
    // The kills come while there is still something to start.
    let answered = &AtomicUsize::new(0);
    let load = async {
        let starts = futures::stream::iter(0..PARENTS).map(|n| {
            let api = api.clone();
            async move {
                let (input, key) = (format!(r#"{{"n":{n}}}"#), format!("p-{n}"));
                let id = api.start("lab", "parent", &input, &key).await.unwrap().id;
                answered.fetch_add(1, Ordering::Relaxed);
                (n, id)
            }
        });
        starts.buffer_unordered(32).collect::<Vec<_>>().await
    };
    let kills = async {
        for round in 0..KILLS {
            let enough = PARENTS * (round + 1) / (KILLS + 1);
            let reached = async || Ok((answered.load(Ordering::Relaxed) >= enough).then_some(()));
            eventually(DEADLINE, "starts are answered", reached).await.unwrap();
            cluster.batond.kill().unwrap();
            if round == 3 {
                std::fs::remove_dir_all(cluster.batond.data().join("sled")).unwrap();
            }
            cluster.batond.restart().await.unwrap();
        }
    };
    let (started, ()) = tokio::join!(load, kills);
    for (n, id) in &started {
        let output = world.api.completed(id, DEADLINE).await.unwrap();
        assert_eq!(output, format!(r#"{{"n":{}}}"#, n + 2));
    }
    let replay = Replay::read(&world.cluster.nats.url(), 2).await.unwrap();
    replay.expect_single_results().unwrap();
    assert_eq!(replay.instances.len(), 3 * started.len(), "two children each");
    assert!(replay.instances.values().all(|told| told.output().is_some()));
    replay.expect_api(&world.api).await.unwrap();
    world.end().await.unwrap();
}
