//! Kill switches: what they stop begins no more, whatever dies meanwhile, and goes on when they are armed again.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use baton_proto::v1::event::Kind;
use baton_proto::v1::{
    KillRequest, KillSwitch, ListSwitchesRequest, RearmRequest, StartRequest, Status,
};
use baton_tests::lab::Lab;
use baton_tests::replay::Replay;
use baton_tests::world::{code, start_request};
use baton_tests::{Api, DEADLINE, Setup, World, eventually};

const HOLD: &str = "- hold: { call: hold, with: { name: '${ .name }' } }";
const ECHO: &str = "- echo: { call: echo, with: { name: '${ .name }' } }";

async fn kill(api: &Api, scope: &str) -> KillSwitch {
    let request =
        KillRequest { scope: scope.to_owned(), reason: "it does harm".to_owned(), drill: false };
    api.kills.clone().kill(request).await.unwrap().into_inner()
}

async fn rearm(api: &Api, number: u32) -> KillSwitch {
    let request = RearmRequest { number, reason: "it is well again".to_owned() };
    api.kills.clone().rearm(request).await.unwrap().into_inner()
}

async fn switches(api: &Api, all: bool) -> Vec<KillSwitch> {
    api.kills
        .clone()
        .list_switches(ListSwitchesRequest { all })
        .await
        .unwrap()
        .into_inner()
        .switches
}

fn named(name: &str) -> String {
    format!(r#"{{"name":"{name}"}}"#)
}

/// How often something was begun under this name.
fn begun(lab: &Lab, name: &str) -> usize {
    lab.calls().iter().filter(|call| call.name == name).count()
}

/// Waits until a step of the instance is stopped.
async fn halted(api: &Api, id: &str) {
    let halted = async || {
        let history = api.history(id).await?;
        let kind = |event: &baton_proto::v1::HistoryEvent| event.event.clone()?.kind;
        let halted = |kind: Kind| matches!(kind, Kind::StepHalted(_)).then_some(());
        Ok(history.iter().filter_map(kind).find_map(halted))
    };
    eventually(DEADLINE, "a step is stopped", halted).await.unwrap();
}

#[tokio::test]
async fn what_is_stopped_begins_no_more_until_it_is_armed_again() {
    let world = World::begin(Setup::default()).await.unwrap();
    world.deploy("hold", HOLD).await.unwrap();
    world.deploy("echo", ECHO).await.unwrap();
    let running = world.start("hold", &named("before")).await.unwrap();
    world.lab.begun("before", 1, DEADLINE).await.unwrap();

    let switch = kill(&world.api, "function:lab.hold").await;
    assert_eq!((switch.number, switch.stopped, switch.held, switch.late), (1, 1, 1, 0));
    assert!(switch.elsewhere.is_empty(), "{switch:?}");
    halted(&world.api, &running).await;
    // What is asked for now waits, and what is no part of it does not.
    let later = world.start("hold", &named("after")).await.unwrap();
    halted(&world.api, &later).await;
    assert_eq!(world.run("echo", &named("else")).await.unwrap().status(), Status::Completed);
    assert_eq!((begun(&world.lab, "before"), begun(&world.lab, "after")), (1, 0));
    assert_eq!(world.api.get(&running).await.unwrap().status(), Status::Waiting);
    let [listed] = &switches(&world.api, false).await[..] else { panic!("one switch") };
    assert_eq!((listed.held, listed.scope.as_str()), (2, "function:lab.hold"));

    let armed = rearm(&world.api, 1).await;
    assert_eq!((armed.held, armed.late), (2, 0));
    world.lab.begun("before", 2, DEADLINE).await.unwrap();
    world.lab.begun("after", 1, DEADLINE).await.unwrap();
    world.lab.release("before");
    world.lab.release("after");
    for id in [running, later] {
        assert_eq!(world.api.ended(&id, DEADLINE).await.unwrap().status(), Status::Completed);
    }
    assert!(switches(&world.api, false).await.is_empty());
    assert_eq!(switches(&world.api, true).await.len(), 1);
    let again = RearmRequest { number: 1, reason: String::new() };
    let again = world.api.kills.clone().rearm(again).await.unwrap_err();
    assert_eq!(code(&again), "unknown-switch");
    let replay = Replay::read(&world.cluster.nats.url(), 2).await.unwrap();
    replay.expect_single_results().unwrap();
    replay.expect_api(&world.api).await.unwrap();
    world.end().await.unwrap();
}

#[tokio::test]
async fn no_restart_forgets_a_switch() {
    let mut world = World::begin(Setup::default()).await.unwrap();
    world.deploy("hold", HOLD).await.unwrap();
    let before = world.start("hold", &named("before")).await.unwrap();
    world.lab.begun("before", 1, DEADLINE).await.unwrap();
    kill(&world.api, "everything").await;
    world.cluster.batond.kill().unwrap();
    world.cluster.batond.restart().await.unwrap();

    let after = async || {
        let mut workflows = world.api.workflows.clone();
        let started = workflows.start(start_request("hold", &named("after"))).await;
        Ok(started.ok().map(|answer| answer.into_inner().id))
    };
    let after = eventually(DEADLINE, "it takes starts again", after).await.unwrap();
    halted(&world.api, &after).await;
    let [listed] = &switches(&world.api, false).await[..] else { panic!("one switch") };
    assert_eq!(listed.held, 2);
    rearm(&world.api, 1).await;
    world.cluster.batond.kill().unwrap();
    world.cluster.batond.restart().await.unwrap();
    world.lab.release("before");
    world.lab.release("after");
    for id in [before, after] {
        assert_eq!(world.api.ended(&id, DEADLINE).await.unwrap().status(), Status::Completed);
    }
    world.end().await.unwrap();
}

#[tokio::test]
async fn a_stopped_worker_leaves_its_steps_to_another() {
    let world = World::begin(Setup::default()).await.unwrap();
    let other = Lab::open(&world.cluster.nats.url(), "lab-2").unwrap();
    let announced = async || {
        let workers = world.api.status().await?.workers;
        Ok((workers.len() == 2).then_some(()))
    };
    eventually(DEADLINE, "both are announced", announced).await.unwrap();
    world.deploy("hold", HOLD).await.unwrap();
    let mut ids = Vec::new();
    for _ in 0..20 {
        ids.push(world.start("hold", &named("one")).await.unwrap());
    }
    let begun_by_both = async || {
        let (first, second) = (begun(&world.lab, "one"), begun(&other, "one"));
        Ok((first > 0 && first + second == 20).then_some(()))
    };
    eventually(DEADLINE, "all have begun, some with the first", begun_by_both).await.unwrap();

    let switch = kill(&world.api, "worker:lab-1").await;
    let all_with_other = async || Ok((begun(&other, "one") == 20).then_some(()));
    eventually(DEADLINE, "the other has all of them", all_with_other).await.unwrap();
    let with_first = begun(&world.lab, "one");
    for _ in 0..20 {
        ids.push(world.start("hold", &named("one")).await.unwrap());
    }
    let more = async || Ok((begun(&other, "one") == 40).then_some(()));
    eventually(DEADLINE, "the other gets what is new", more).await.unwrap();
    assert_eq!(begun(&world.lab, "one"), with_first, "it is given nothing");
    world.lab.release("one");
    other.release("one");
    for id in ids {
        assert_eq!(world.api.ended(&id, DEADLINE).await.unwrap().status(), Status::Completed);
    }

    rearm(&world.api, switch.number).await;
    other.close().await.unwrap();
    world.start("hold", &named("two")).await.unwrap();
    world.lab.begun("two", 1, DEADLINE).await.unwrap();
    world.lab.release("two");
    world.end().await.unwrap();
}

#[tokio::test]
async fn a_switch_stops_what_is_in_its_scope_and_nothing_else() {
    let world = World::begin(Setup::default()).await.unwrap();
    for version in ["1.0.0", "1.1.0"] {
        let source = baton_tests::workflow::version("echo", version, ECHO);
        world.api.deploy(&source).await.unwrap();
    }
    let labelled = |customer: &str| StartRequest {
        labels: BTreeMap::from([("customer".to_owned(), customer.to_owned())]),
        ..start_request("echo", &named(customer))
    };
    let start = async |request: StartRequest| {
        world.api.workflows.clone().start(request).await.map(|answer| answer.into_inner().id)
    };
    kill(&world.api, "label:customer=7").await;
    let held = start(labelled("7")).await.unwrap();
    let free = start(labelled("77")).await.unwrap();
    assert_eq!(world.api.ended(&free, DEADLINE).await.unwrap().status(), Status::Completed);
    halted(&world.api, &held).await;

    let switch = kill(&world.api, "workflow:lab/echo:1.1.0").await;
    let refused = start(start_request("echo", "{}")).await.unwrap_err();
    assert_eq!(code(&refused), "workflow-stopped");
    let old = StartRequest { version: "1.0.0".to_owned(), ..start_request("echo", &named("old")) };
    let old = start(old).await.unwrap();
    assert_eq!(world.api.ended(&old, DEADLINE).await.unwrap().status(), Status::Completed);
    // Held by both, it goes on when the last is armed again.
    rearm(&world.api, 1).await;
    let still = world.api.get(&held).await.unwrap();
    assert_eq!((still.status(), begun(&world.lab, "7")), (Status::Waiting, 0));
    rearm(&world.api, switch.number).await;
    assert_eq!(world.api.ended(&held, DEADLINE).await.unwrap().status(), Status::Completed);

    let nonsense = KillRequest { scope: "everyone".to_owned(), ..KillRequest::default() };
    let nonsense = world.api.kills.clone().kill(nonsense).await.unwrap_err();
    assert_eq!(code(&nonsense), "invalid-argument");
    world.end().await.unwrap();
}

#[tokio::test]
async fn a_drill_says_what_would_be_stopped_and_stops_nothing() {
    let world = World::begin(Setup::default()).await.unwrap();
    world.deploy("hold", HOLD).await.unwrap();
    let id = world.start("hold", &named("one")).await.unwrap();
    world.lab.begun("one", 1, DEADLINE).await.unwrap();
    let drill =
        |scope: &str| KillRequest { scope: scope.to_owned(), drill: true, ..Default::default() };
    for (scope, steps) in [
        ("everything", 1),
        ("department:lab", 1),
        ("workflow:lab/hold", 1),
        ("label:a=b", 0),
        ("function:lab.echo", 0),
    ] {
        let drilled = world.api.kills.clone().kill(drill(scope)).await.unwrap().into_inner();
        assert_eq!((drilled.stopped, drilled.held, drilled.drill), (steps, 0, true), "{scope}");
    }
    assert!(switches(&world.api, false).await.is_empty());
    assert_eq!(switches(&world.api, true).await.len(), 5, "it is on record");
    world.lab.release("one");
    assert_eq!(world.api.ended(&id, DEADLINE).await.unwrap().status(), Status::Completed);
    assert_eq!(begun(&world.lab, "one"), 1);
    world.end().await.unwrap();
}

/// The bar: a second after the answer, nothing begins any more.
#[tokio::test]
async fn at_a_thousand_in_flight_nothing_begins_after_the_stop() {
    const INSTANCES: usize = 1_000;
    let world = World::begin(Setup::default()).await.unwrap();
    let tasks: Vec<_> =
        (0..12).map(|n| format!("- echo{n}: {{ call: echo, with: {{ name: x }} }}")).collect();
    world.deploy("many", &tasks.join("\n")).await.unwrap();
    let mut starts = tokio::task::JoinSet::new();
    for _ in 0..INSTANCES {
        let mut workflows = world.api.workflows.clone();
        starts.spawn(async move { workflows.start(start_request("many", "{}")).await });
    }
    let ids = starts.join_all().await;
    let ids: Vec<_> = ids.into_iter().map(|started| started.unwrap().into_inner().id).collect();
    let count = || world.lab.calls().len();
    assert!(count() < INSTANCES * 12, "they are under way");

    let switch = kill(&world.api, "department:lab").await;
    let (answered, mut last, mut seen) = (Instant::now(), Duration::ZERO, count());
    while answered.elapsed() < Duration::from_secs(3) {
        tokio::time::sleep(Duration::from_millis(2)).await;
        if count() > seen {
            (seen, last) = (count(), answered.elapsed());
        }
    }
    println!(
        "{} steps stopped in {} ms, the last one began {} ms after the answer",
        switch.stopped,
        switch.stop_ms,
        last.as_millis()
    );
    assert!(switch.stopped > 0, "{switch:?}");
    assert!(last < Duration::from_secs(1), "{last:?}");
    rearm(&world.api, switch.number).await;
    for id in &ids {
        assert_eq!(world.api.ended(id, DEADLINE).await.unwrap().status(), Status::Completed);
    }
    let replay = Replay::read(&world.cluster.nats.url(), 2).await.unwrap();
    replay.expect_single_results().unwrap();
    world.end().await.unwrap();
}

/// Wherever it dies between the switch's being on record and the answer: a worker that comes later begins nothing.
#[tokio::test]
async fn an_engine_that_dies_while_it_stops_goes_on_stopping() {
    let World { lab, api, mut cluster } = World::begin(Setup::default()).await.unwrap();
    api.deploy(&baton_tests::workflow::lab("echo", ECHO)).await.unwrap();
    lab.close().await.unwrap();
    let mut ids = Vec::new();
    let mut thrown = 0;
    for round in 0..6_u64 {
        // Their commands wait in the queue.
        for _ in 0..60 {
            ids.push(api.start("lab", "echo", &named("x"), "").await.unwrap().id);
        }
        let mut kills = api.kills.clone();
        let scope = ["everything", "function:lab.echo", "workflow:lab/echo"][(round % 3) as usize];
        let request = KillRequest { scope: scope.to_owned(), ..KillRequest::default() };
        let killed = tokio::spawn(async move { kills.kill(request).await });
        tokio::time::sleep(Duration::from_millis(3 + 5 * round)).await;
        cluster.batond.kill().unwrap();
        let answered = killed.await.unwrap().is_ok();
        cluster.batond.restart().await.unwrap();
        let listed = async || {
            let request = ListSwitchesRequest { all: false };
            let listed = api.kills.clone().list_switches(request).await;
            Ok(listed.ok().map(|listed| listed.into_inner().switches))
        };
        let active = eventually(DEADLINE, "the switches are listed", listed).await.unwrap();
        assert!(!answered || !active.is_empty(), "what was answered is on record");
        let ready = async || Ok((cluster.batond.page("/readyz").await?.0 == 200).then_some(()));
        eventually(DEADLINE, "all partitions are led", ready).await.unwrap();
        let late = Lab::open(&cluster.nats.url(), &format!("lab-{round}")).unwrap();
        let announced = async || {
            let workers = api.status().await?.workers;
            Ok(workers.iter().any(|found| found.worker == format!("lab-{round}")).then_some(()))
        };
        eventually(DEADLINE, "a worker is there", announced).await.unwrap();
        if let Some(switch) = active.first() {
            thrown += 1;
            tokio::time::sleep(Duration::from_millis(700)).await;
            assert_eq!(late.calls().len(), 0, "nothing begins under {scope}");
            rearm(&api, switch.number).await;
        }
        for id in ids.drain(..) {
            assert_eq!(api.ended(&id, DEADLINE).await.unwrap().status(), Status::Completed);
        }
        late.close().await.unwrap();
    }
    assert!(thrown > 0, "no switch was on record before the engine died");
    let replay = Replay::read(&cluster.nats.url(), 2).await.unwrap();
    replay.expect_single_results().unwrap();
    cluster.stop().await.unwrap();
}
