//! Maps: the same for each item of a list, some at a time.

use baton_proto::v1::Status;
use baton_proto::v1::event::Kind;
use baton_tests::replay::Replay;
use baton_tests::{DEADLINE, Setup, World};
use serde_json::{Value, json};

const ITEMS: usize = 500;
const AT_ONCE: usize = 20;

const ALL: &str = "\
- all:
    call: map
    with:
      in: ${ [range(0; .items)] }
      each: number
      concurrency: 20
      do:
        - work:
            call: hold
            with:
              name: '${ if $number < 250 then \"first\" else \"second\" end }'
              n: ${ $number }
        - shape:
            set: { n: '${ .n }', place: '${ $index }' }";

#[tokio::test]
async fn a_map_keeps_its_bound_and_its_order_though_the_engine_is_killed() {
    let mut world = World::begin(Setup::default()).await.unwrap();
    world.deploy("all", ALL).await.unwrap();
    let id = world.start("all", &format!(r#"{{"items":{ITEMS}}}"#)).await.unwrap();
    world.lab.begun("first", AT_ONCE, DEADLINE).await.unwrap();
    let instance = world.api.get(&id).await.unwrap();
    let open = instance.open_tasks.iter().filter(|task| task.function == "lab.hold");
    assert_eq!(open.count(), AT_ONCE, "no more are handed out while these are held");
    assert_eq!(world.lab.calls().len(), AT_ONCE);

    world.lab.release("first");
    world.lab.begun("first", 100, DEADLINE).await.unwrap();
    world.cluster.batond.kill().unwrap();
    world.cluster.batond.restart().await.unwrap();
    world.lab.begun("second", AT_ONCE, DEADLINE).await.unwrap();
    world.cluster.batond.kill().unwrap();
    world.cluster.batond.restart().await.unwrap();
    world.lab.release("second");

    let output: Value =
        serde_json::from_str(&world.api.completed(&id, DEADLINE).await.unwrap()).unwrap();
    let wanted: Vec<Value> = (0..ITEMS).map(|n| json!({ "n": n, "place": n })).collect();
    assert_eq!(output, Value::Array(wanted));

    // A step is in somebody's hands at most from its event in the log to the next one.
    let (mut open, mut most) = (0_usize, 0_usize);
    for event in world.api.history(&id).await.unwrap() {
        match event.event.and_then(|event| event.kind) {
            Some(Kind::StepScheduled(_)) => open += 1,
            Some(Kind::StepCompleted(_)) => open -= 1,
            Some(_) | None => {}
        }
        most = most.max(open);
    }
    assert_eq!((open, most), (0, AT_ONCE));
    let replay = Replay::read(&world.cluster.nats.url(), 2).await.unwrap();
    replay.expect_single_results().unwrap();
    world.end().await.unwrap();
}

#[tokio::test]
async fn the_first_error_ends_a_map_unless_it_collects() {
    let world = World::begin(Setup::default()).await.unwrap();
    let tasks = |on_error: &str| {
        format!(
            "\
- all:
    call: map
    with:
      in: ${{ .types }}
      each: type
      concurrency: 1
      onError: {on_error}
      do:
        - unless: {{ switch: [{{ fine: {{ when: '$type == null', then: exit }} }}, {{ bad: {{ then: fail }} }}] }}
        - fail: {{ call: fail, with: {{ type: '${{ $type }}', status: 409, title: clash }} }}"
        )
    };
    world.deploy("fails", &tasks("fail")).await.unwrap();
    let input = r#"{"types":["https://x.example/a",null,"https://x.example/b"]}"#;
    let ended = world.run("fails", input).await.unwrap();
    assert_eq!(ended.status(), Status::Faulted);
    let error = ended.error.unwrap();
    assert_eq!(error.r#type, "https://x.example/a");
    assert_eq!(error.instance(), "/do/0/all/with/do/1/fail");
    assert_eq!(world.lab.calls().len(), 1);

    world.deploy("collects", &tasks("collect")).await.unwrap();
    let ended = world.run("collects", input).await.unwrap();
    let output: Value = serde_json::from_str(&ended.output).unwrap();
    assert_eq!(output[0]["error"]["type"], "https://x.example/a");
    assert_eq!(output[0]["error"]["instance"], "/do/0/all/with/do/1/fail");
    assert_eq!(output[1], serde_json::from_str::<Value>(input).unwrap());
    assert_eq!(output[2]["error"]["status"], 409);
    world.end().await.unwrap();
}
