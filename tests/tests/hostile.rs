//! An expression that takes all it can get: the other instances of its partition hardly notice, wherever it stands.
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

/// Something else on the machine may delay a round: so many must be good before as many are bad.
const ROUNDS: usize = 2;
const PROBES: usize = 30;

/// Events that were there before their listener.
const KEPT: usize = 1_000;

static TURN: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

const HEAVY: &str = "[range(1000000000) | .|.|.|.|.|.|.|.|.|.|.|.|.|.|.|.|.|.] | length";

/// The slowest of some that are like each other, of each kind that there is.
#[derive(Clone, Copy, Debug, Default)]
struct Slowest {
    /// A small instance, from its start to its end.
    start: Duration,
    look: Duration,
    /// An instance of ten steps, one after the other.
    process: Duration,
    /// From the event that an instance listens for to its end.
    event: Duration,
}

impl Slowest {
    fn delayed(self, quiet: Self) -> bool {
        let pairs = [
            (self.start, quiet.start),
            (self.look, quiet.look),
            (self.process, quiet.process),
            (self.event, quiet.event),
        ];
        pairs.iter().any(|(now, before)| now.saturating_sub(*before) > DELAY_MAX)
    }
}

async fn slowest(world: &World) -> Slowest {
    let mut workflows = world.api.workflows.clone();
    let mut slowest = Slowest::default();
    for n in 0..PROBES {
        let input = json!({ "n": n }).to_string();
        let run =
            |name| StartAndWaitRequest { start: Some(start_request(name, &input)), wait_ms: 0 };
        let began = Instant::now();
        let ended = workflows.start_and_wait(run("small")).await.unwrap().into_inner();
        slowest.start = slowest.start.max(began.elapsed());
        assert_eq!((ended.status(), ended.output), (Status::Completed, format!(r#"{{"n":{n}}}"#)));
        let began = Instant::now();
        workflows.get(GetRequest { id: ended.id }).await.unwrap();
        slowest.look = slowest.look.max(began.elapsed());
        let began = Instant::now();
        let ended = workflows.start_and_wait(run("process")).await.unwrap().into_inner();
        slowest.process = slowest.process.max(began.elapsed());
        assert_eq!(ended.status(), Status::Completed);
        slowest.event = slowest.event.max(heard(world).await);
    }
    slowest
}

/// How long it takes from an event to the end of the instance that listens for it.
async fn heard(world: &World) -> Duration {
    let order = uuid::Uuid::now_v7().to_string();
    let mut start = start_request("listener", &json!({ "order": order }).to_string());
    start.idempotency_key.clone_from(&order);
    let mut workflows = world.api.workflows.clone();
    let id = workflows.start(start.clone()).await.unwrap().into_inner().id;
    eventually(DEADLINE, "it waits", async || {
        Ok((world.api.get(&id).await?.status() == Status::Waiting).then_some(()))
    })
    .await
    .unwrap();
    let began = Instant::now();
    publish(world, "lab.order", &json!({ "order": order })).await;
    let request = StartAndWaitRequest { start: Some(start), wait_ms: 0 };
    let ended = workflows.start_and_wait(request).await.unwrap().into_inner();
    assert_eq!((ended.status(), ended.id), (Status::Completed, id));
    began.elapsed()
}

async fn publish(world: &World, kind: &str, data: &serde_json::Value) {
    let id = uuid::Uuid::now_v7().to_string();
    let event =
        json!({ "specversion": "1.0", "id": id, "source": "/tests", "type": kind, "data": data });
    let request = PublishEventRequest { event: event.to_string(), department: String::new() };
    world.api.events.clone().publish(request).await.unwrap();
}

/// Compares with and without, in alternation. `work` is told when to begin and when to end.
async fn delays_nobody(world: &World, hostile: impl AsyncFn(bool)) {
    let (mut good, mut bad) = (0, Vec::new());
    while good < ROUNDS {
        let quiet = slowest(world).await;
        hostile(true).await;
        let disturbed = slowest(world).await;
        hostile(false).await;
        if disturbed.delayed(quiet) {
            bad.push((quiet, disturbed));
            assert!(bad.len() < ROUNDS, "the slowest without and with it, round by round: {bad:?}");
        } else {
            good += 1;
        }
    }
}

async fn world() -> World {
    let world = World::begin(Setup { partitions: 1, ..Setup::default() }).await.unwrap();
    world.deploy("small", "- s: { set: { n: '${ .n }' } }").await.unwrap();
    let steps = (0..10).map(|n| format!("- s{n}: {{ call: echo, with: {{ n: {n} }} }}"));
    world.deploy("process", &steps.collect::<Vec<_>>().join("\n")).await.unwrap();
    let filter = "{ with: { type: lab.order }, correlate: { order: { from: .data.order, expect: '${ .order }' } } }";
    let listener = format!("- l: {{ listen: {{ to: {{ one: {filter} }} }} }}");
    world.deploy("listener", &listener).await.unwrap();
    slowest(&world).await;
    world
}

/// A workflow that tries a task 10,000 times, whatever comes of it.
fn again_and_again(task: &str) -> String {
    format!(
        "- toil:\n    for: {{ in: '${{ [range(10000)] }}' }}\n    do:\n    - once:\n        try: [ {{ it: {task} }} ]\n        catch: {{}}"
    )
}

/// Some instances of these tasks, for as long as they are wanted.
async fn nobody_is_delayed_by(world: World, count: usize, tasks: &str) {
    world.deploy("hostile", tasks).await.unwrap();
    let running = std::cell::RefCell::new(Vec::new());
    delays_nobody(&world, async |begin| {
        if begin {
            for _ in 0..count {
                let id = world.start("hostile", "{}").await.unwrap();
                running.borrow_mut().push(id);
            }
            return;
        }
        for id in running.take() {
            let instance = world.api.get(&id).await.unwrap();
            assert!(instance.ended_at.is_none(), "it was to be there all the time: {instance:?}");
            let cancel = CancelRequest { id: id.clone(), reason: "enough".to_owned() };
            world.api.workflows.clone().cancel(cancel).await.unwrap();
            world.api.ended(&id, DEADLINE).await.unwrap();
        }
    })
    .await;
    world.end().await.unwrap();
}

#[tokio::test]
async fn a_loop_of_expressions_that_take_all_they_can_get_delays_nobody() {
    let _turn = TURN.lock().await;
    let world = world().await;
    let tasks = again_and_again(&format!("{{ set: {{ v: '${{ {HEAVY} }}' }} }}"));
    nobody_is_delayed_by(world, 1, &tasks).await;
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
    nobody_is_delayed_by(world, 1, &tasks).await;
}

#[tokio::test]
async fn a_filter_that_takes_all_it_can_get_delays_nobody() {
    let _turn = TURN.lock().await;
    let world = world().await;
    let filter = format!("{{ with: {{ type: lab.noise, data: '${{ ({HEAVY}) == 1 }}' }} }}");
    let tasks = format!("- l: {{ listen: {{ to: {{ one: {filter} }} }} }}");
    world.deploy("hostile", &tasks).await.unwrap();
    let id = world.start("hostile", "{}").await.unwrap();
    let world = std::rc::Rc::new(world);
    let noise = std::cell::RefCell::new(None);
    let local = tokio::task::LocalSet::new();
    local
        .run_until(delays_nobody(&world, async |begin| {
            if !begin {
                let task: Option<tokio::task::JoinHandle<()>> = noise.take();
                task.expect("it was begun").abort();
                return;
            }
            let world = std::rc::Rc::clone(&world);
            noise.replace(Some(tokio::task::spawn_local(async move {
                loop {
                    publish(&world, "lab.noise", &json!(0)).await;
                }
            })));
        }))
        .await;
    drop(local);
    let world = std::rc::Rc::into_inner(world).expect("nobody else has it any more");
    let open = world.api.get(&id).await.unwrap();
    assert!(open.ended_at.is_none(), "no event fits: {open:?}");
    world.end().await.unwrap();
}

#[tokio::test]
async fn many_that_start_at_once_delay_nobody() {
    let _turn = TURN.lock().await;
    let world = world().await;
    let tasks = again_and_again(&format!("{{ set: {{ v: '${{ {HEAVY} }}' }} }}"));
    nobody_is_delayed_by(world, 50, &tasks).await;
}

#[tokio::test]
async fn an_input_that_takes_all_it_can_get_delays_nobody_however_often_it_is_run() {
    let _turn = TURN.lock().await;
    let world = world().await;
    world.deploy("child", &format!("- it: {{ set: {{ v: '${{ {HEAVY} }}' }} }}")).await.unwrap();
    let child = "{ run: { workflow: { namespace: lab, name: child, version: 1.0.0 } } }";
    let tasks = again_and_again(child);
    nobody_is_delayed_by(world, 1, &tasks).await;
}

#[tokio::test]
async fn errors_that_take_long_to_catch_delay_nobody() {
    let _turn = TURN.lock().await;
    let world = world().await;
    let tasks = again_and_again(&format!(
        "{{ try: [ {{ it: {{ call: fail, with: {{}} }} }} ], catch: {{ when: '${{ ({HEAVY}) == 1 }}' }} }}"
    ));
    nobody_is_delayed_by(world, 1, &tasks).await;
}

#[tokio::test]
async fn a_listener_that_catches_up_slowly_delays_nobody() {
    let _turn = TURN.lock().await;
    let world = world().await;
    for n in 0..KEPT {
        publish(&world, "lab.noise", &json!(n)).await;
    }
    let tied = format!("{{ n: {{ from: '${{ {HEAVY} }}', expect: '${{ 1 }}' }} }}");
    let tasks = format!(
        "- l: {{ listen: {{ to: {{ one: {{ with: {{ type: lab.noise }}, correlate: {tied} }} }} }} }}"
    );
    nobody_is_delayed_by(world, 1, &tasks).await;
}
