//! Lifecycle events: what became of each instance and task, once and in order, whatever is killed meanwhile.

use std::collections::{BTreeMap, BTreeSet};

use baton_proto::v1::event::Kind;
use baton_tests::lifecycle::{self, LifecycleEvent};
use baton_tests::{Api, DEADLINE, Setup, World, eventually};
use futures::StreamExt as _;

const INSTANCES: usize = 60;

const TASKS: &str = "- both:
    fork:
      branches:
        - one: { call: add, with: { n: '${ .n }' } }
        - other: { set: { a: '${ .n }' } }
- last: { call: add, with: { n: 1 } }";

fn setup(scope: &str) -> Setup {
    Setup { arguments: vec![format!("--lifecycle-events={scope}")], ..Setup::default() }
}

/// The first of each source and id, as a consumer keeps them, by instance.
fn heard(events: Vec<LifecycleEvent>) -> BTreeMap<String, Vec<LifecycleEvent>> {
    let mut known = BTreeSet::new();
    let mut heard: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for event in events {
        if known.insert((event.source.clone(), event.id.clone())) {
            heard.entry(event.subject.clone()).or_default().push(event);
        }
    }
    heard
}

/// Type and task of what is to be told of an instance, from its history.
#[expect(clippy::wildcard_enum_match_arm, reason = "the rest is not told, or not in these stories")]
async fn expected(world: &World, id: &str) -> Vec<(String, String)> {
    let mut told = Vec::new();
    let mut put = |of: &str, phase: &str, task: &str| {
        told.push((format!("io.serverlessworkflow.{of}.{phase}.v1"), task.to_owned()));
    };
    for event in world.api.history(id).await.unwrap() {
        match event.event.unwrap().kind.unwrap() {
            Kind::InstanceStarted(_) => put("workflow", "started", ""),
            Kind::TaskEntered(entered) if entered.activation > 0 => {
                put("task", "created", &event.task);
                put("task", "started", &event.task);
            }
            Kind::StepScheduled(step) if step.attempt > 1 => put("task", "retried", &event.task),
            Kind::TaskCompleted(_) => put("task", "completed", &event.task),
            Kind::InstanceCompleted(_) => put("workflow", "completed", ""),
            _ => {}
        }
    }
    told
}

/// The ids of all instances, started with such keys, once they have completed.
async fn completed(api: Api, keys: &str) -> Vec<String> {
    let runs = futures::stream::iter(0..INSTANCES).map(|number| {
        let api = api.clone();
        async move {
            let (input, key) = (format!(r#"{{"n":{number}}}"#), format!("{keys}-{number}"));
            let id = api.start("lab", "told", &input, &key).await.unwrap().id;
            api.completed(&id, DEADLINE).await.unwrap();
            id
        }
    });
    runs.buffer_unordered(8).collect().await
}

fn line(event: &LifecycleEvent) -> (String, String) {
    let task = event.data["task"].as_str().unwrap_or_default();
    (event.kind.clone(), task.rsplit('/').next().unwrap_or_default().to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn each_life_is_told_once_and_in_order_although_the_engine_is_killed() {
    let mut world = World::begin(setup("all")).await.unwrap();
    world.deploy("told", TASKS).await.unwrap();
    let load = completed(world.api.clone(), "told");
    let World { cluster, lab, .. } = &mut world;
    let kills = async {
        for kill in 1..=2 {
            let reached = async || Ok((lab.calls().len() >= INSTANCES / 2 * kill).then_some(()));
            eventually(DEADLINE, "handlers have begun", reached).await.unwrap();
            cluster.batond.kill().unwrap();
            cluster.batond.restart().await.unwrap();
        }
    };
    let (ids, ()) = tokio::join!(load, kills);
    let mut wanted = BTreeMap::new();
    for id in &ids {
        wanted.insert(id.clone(), expected(&world, id).await);
    }
    let all: usize = wanted.values().map(Vec::len).sum();
    assert!(all >= INSTANCES * 12, "{all}");
    let found = async || {
        let heard = heard(lifecycle::read(&world.cluster.nats).await?);
        Ok((heard.values().map(Vec::len).sum::<usize>() >= all).then_some(heard))
    };
    let heard = eventually(DEADLINE, "all is told", found).await.unwrap();
    assert_eq!(heard.len(), INSTANCES);
    for (id, wanted) in &wanted {
        let told: Vec<_> = heard[id].iter().map(line).collect();
        assert_eq!(&told, wanted, "{id}");
        let sequences: Vec<_> = heard[id].iter().map(|event| &event.sequence).collect();
        assert!(sequences.is_sorted_by(|one, other| one < other), "{sequences:?}");
        let (last, trace) = (heard[id].last().unwrap(), id.replace('-', ""));
        assert_eq!(last.traceparent.split('-').nth(1), Some(trace.as_str()));
        assert_eq!(last.data["name"], format!("told-{id}.lab"));
        assert!(last.data["output"]["n"].is_number(), "{last:?}");
    }
    let dropped =
        world.cluster.batond.metric("baton_lifecycle_events_dropped_total").await.unwrap();
    assert!(dropped < 1.0, "{dropped}");

    // Without its cache the engine reads the whole log, and the broker knows what it publishes again.
    world.cluster.batond.kill().unwrap();
    std::fs::remove_dir_all(world.cluster.batond.data().join("sled")).unwrap();
    world.cluster.batond.restart().await.unwrap();
    let again = async || {
        let published =
            world.cluster.batond.metric("baton_lifecycle_events_published_total").await?;
        #[expect(clippy::cast_precision_loss, reason = "there are few")]
        Ok((published >= all as f64).then_some(()))
    };
    eventually(DEADLINE, "all is published again", again).await.unwrap();
    let events = lifecycle::read(&world.cluster.nats).await.unwrap();
    assert_eq!(self::heard(events), heard);
    world.end().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_of_the_broker_leaves_no_gap() {
    let mut world = World::begin(setup("all")).await.unwrap();
    world.deploy("told", TASKS).await.unwrap();
    let load = completed(world.api.clone(), "gap");
    let World { cluster, lab, .. } = &mut world;
    let outage = async {
        let reached = async || Ok((lab.calls().len() >= INSTANCES / 2).then_some(()));
        eventually(DEADLINE, "handlers have begun", reached).await.unwrap();
        cluster.nats.kill().unwrap();
        cluster.nats.restart().await.unwrap();
    };
    let (ids, ()) = tokio::join!(load, outage);
    for id in &ids {
        let wanted = expected(&world, id).await;
        let told = async || {
            let mut own = heard(lifecycle::read(&world.cluster.nats).await?).remove(id);
            let own = own.get_or_insert_default();
            // What was on its way when the broker went may come behind what came later.
            own.sort_by(|one, other| one.sequence.cmp(&other.sequence));
            let lines: Vec<_> = own.iter().map(line).collect();
            Ok((lines == wanted).then_some(()))
        };
        eventually(DEADLINE, &format!("the life of {id} is told"), told).await.unwrap();
    }
    world.end().await.unwrap();
}

#[tokio::test]
async fn lives_are_told_only_as_far_as_they_are_asked_for() {
    let world = World::begin(setup("workflows")).await.unwrap();
    world.deploy("told", TASKS).await.unwrap();
    let id = world.run("told", r#"{"n":1}"#).await.unwrap().id;
    let found = async || {
        let events = lifecycle::read(&world.cluster.nats).await?;
        Ok((events.len() >= 2).then_some(events))
    };
    let events = eventually(DEADLINE, "its start and its end are told", found).await.unwrap();
    let kinds: Vec<_> = events.iter().map(|event| event.kind.as_str()).collect();
    let workflow = "io.serverlessworkflow.workflow";
    assert_eq!(kinds, [format!("{workflow}.started.v1"), format!("{workflow}.completed.v1")]);
    assert!(events.iter().all(|event| event.subject == id));
    world.end().await.unwrap();

    let world = World::begin(Setup::default()).await.unwrap();
    world.deploy("told", TASKS).await.unwrap();
    world.run("told", r#"{"n":1}"#).await.unwrap();
    assert!(lifecycle::read(&world.cluster.nats).await.is_err(), "there is a stream");
    world.end().await.unwrap();
}
