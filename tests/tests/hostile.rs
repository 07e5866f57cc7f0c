//! An expression that takes all it can get: the other instances of its partition hardly notice.
//!
//! Alone in its program and one after the other, because times are measured and other tests would share the machine.

#![cfg(test)]

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use baton_proto::v1::{
    CancelRequest, GetRequest, PublishEventRequest, StartAndWaitRequest, Status,
};
use baton_tests::{DEADLINE, Setup, World, eventually, world::start_request};
use serde_json::json;

/// By how much a hostile expression may delay anybody else.
const DELAY_MAX: Duration = Duration::from_millis(50);

/// Something else on the machine may delay a round; a hostile expression delays each.
const ROUNDS: usize = 4;
const PROBES: usize = 60;

static TURN: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

const HEAVY: &str = "[range(1000000000) | .|.|.|.|.|.|.|.|.|.|.|.|.|.|.|.|.|.] | length";

/// How long the slowest of some small instances takes from its start to its end, and the slowest look at one.
async fn slowest(world: &World) -> Duration {
    let mut workflows = world.api.workflows.clone();
    let mut slowest = Duration::ZERO;
    for n in 0..PROBES {
        let start = Some(start_request("small", &json!({ "n": n }).to_string()));
        let began = Instant::now();
        let request = StartAndWaitRequest { start, wait_ms: 0 };
        let ended = workflows.start_and_wait(request).await.unwrap().into_inner();
        slowest = slowest.max(began.elapsed());
        assert_eq!((ended.status(), ended.output), (Status::Completed, format!(r#"{{"n":{n}}}"#)));
        let began = Instant::now();
        workflows.get(GetRequest { id: ended.id }).await.unwrap();
        slowest = slowest.max(began.elapsed());
    }
    slowest
}

/// Compares with and without, in alternation. `work` is told when to begin and when to end.
async fn delays_nobody(world: &World, hostile: impl AsyncFn(bool)) {
    let mut seen = Vec::new();
    for _ in 0..ROUNDS {
        let quiet = slowest(world).await;
        hostile(true).await;
        let disturbed = slowest(world).await;
        hostile(false).await;
        seen.push((quiet, disturbed));
        if disturbed.saturating_sub(quiet) <= DELAY_MAX {
            return;
        }
    }
    panic!("the slowest without and with it, round by round: {seen:?}");
}

async fn world() -> World {
    let world = World::begin(Setup { partitions: 1, ..Setup::default() }).await.unwrap();
    world.deploy("small", "- s: { set: { n: '${ .n }' } }").await.unwrap();
    slowest(&world).await;
    world
}

/// An instance of `hostile` for as long as it is wanted.
async fn while_it_runs(world: &World) {
    let running = std::cell::RefCell::new(String::new());
    delays_nobody(world, async |begin| {
        if begin {
            let id = world.start("hostile", "{}").await.unwrap();
            running.replace(id);
            return;
        }
        let id = running.take();
        let instance = world.api.get(&id).await.unwrap();
        assert!(instance.ended_at.is_none(), "it was to be there all the time: {instance:?}");
        let cancel = CancelRequest { id: id.clone(), reason: "enough".to_owned() };
        world.api.workflows.clone().cancel(cancel).await.unwrap();
        world.api.ended(&id, DEADLINE).await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn a_loop_of_expressions_that_take_all_they_can_get_delays_nobody() {
    let _turn = TURN.lock().await;
    let world = world().await;
    let tasks = format!(
        "- toil:\n    for: {{ in: '${{ [range(10000)] }}' }}\n    do:\n    - once:\n        try: [ {{ it: {{ set: {{ v: '${{ {HEAVY} }}' }} }} }} ]\n        catch: {{}}"
    );
    world.deploy("hostile", &tasks).await.unwrap();
    while_it_runs(&world).await;
    world.end().await.unwrap();
}

#[tokio::test]
async fn results_that_each_ask_for_much_delay_nobody() {
    let _turn = TURN.lock().await;
    let world = world().await;
    let mut tasks = String::from(
        "- again:\n    for: { in: '${ [range(1000)] }' }\n    do:\n    - all:\n        fork:\n          branches:\n",
    );
    for n in 0..200 {
        let step =
            format!("{{ call: echo, with: {{ n: {n} }}, output: {{ as: '${{ {HEAVY} }}' }} }}");
        let _ = writeln!(tasks, "          - b{n}: {{ try: [ {{ it: {step} }} ], catch: {{}} }}");
    }
    world.deploy("hostile", &tasks).await.unwrap();
    while_it_runs(&world).await;
    world.end().await.unwrap();
}

#[tokio::test]
async fn a_filter_that_takes_all_it_can_get_delays_nobody() {
    let _turn = TURN.lock().await;
    let world = world().await;
    let filter = format!("{{ with: {{ type: lab.noise, data: '${{ ({HEAVY}) == 1 }}' }} }}");
    let tasks = format!("- l: {{ listen: {{ to: {{ one: {filter} }} }} }}");
    world.deploy("hostile", &tasks).await.unwrap();
    let id = world.start("hostile", "{}").await.unwrap();
    let (events, url) = (world.api.events.clone(), "/noise");
    let noise = std::cell::RefCell::new(None);
    delays_nobody(&world, async |begin| {
        if !begin {
            let task: Option<tokio::task::JoinHandle<()>> = noise.take();
            task.expect("it was begun").abort();
            return;
        }
        let mut events = events.clone();
        noise.replace(Some(tokio::spawn(async move {
            for n in 0_u64.. {
                let event = json!({
                    "specversion": "1.0", "id": format!("{n}-{:?}", Instant::now()), "source": url, "type": "lab.noise", "data": n,
                });
                let request =
                    PublishEventRequest { event: event.to_string(), department: String::new() };
                events.publish(request).await.unwrap();
            }
        })));
    })
    .await;
    let open = world.api.get(&id).await.unwrap();
    assert!(open.ended_at.is_none(), "no event fits: {open:?}");
    // What is behind is worked off, and then an event that fits nothing hostile comes through.
    eventually(DEADLINE, "the engine still answers", async || {
        Ok((slowest(&world).await < Duration::from_secs(1)).then_some(()))
    })
    .await
    .unwrap();
    world.end().await.unwrap();
}
