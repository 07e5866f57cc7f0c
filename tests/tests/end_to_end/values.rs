//! Large values go by claim check: every view gives them back whole.

use baton_proto::v1::event::Kind;
use baton_proto::v1::json::Value as JsonValue;
use baton_tests::replay::Replay;
use baton_tests::{DEADLINE, Setup, World};
use serde_json::json;

const LARGE: usize = 200 * 1024;

#[tokio::test]
async fn large_inputs_and_outputs_come_back_whole_and_stay_out_of_the_log() {
    let mut world = World::begin(Setup::default()).await.unwrap();
    let tasks = "\
- echo:
    call: echo
    with: { text: '${ .text }' }
- large:
    call: large
    with: { bytes: 204800 }
- hold:
    call: hold
    with: { name: keep, size: '${ .text | length }', text: '${ .text }' }
    output: { as: '${ { size: .size, text: .text } }' }";
    world.deploy("large", tasks).await.unwrap();
    let input = json!({ "text": "é".repeat(LARGE / 2) }).to_string();
    let id = world.start("large", &input).await.unwrap();
    world.lab.begun("keep", 1, DEADLINE).await.unwrap();
    world.cluster.batond.kill().unwrap();
    world.cluster.batond.restart().await.unwrap();
    world.lab.release("keep");
    let ended = world.api.ended(&id, DEADLINE).await.unwrap();
    assert_eq!(ended.input, input);
    let output: serde_json::Value = serde_json::from_str(&ended.output).unwrap();
    assert_eq!(output, json!({ "size": LARGE, "text": "x".repeat(LARGE) }));

    let history = world.api.history(&id).await.unwrap();
    let values = history.iter().filter_map(|event| {
        let kind = event.event.as_ref()?.kind.as_ref()?;
        if let Kind::InstanceStarted(started) = kind {
            started.input.as_ref()
        } else if let Kind::StepCompleted(completed) = kind {
            completed.output.as_ref()
        } else if let Kind::InstanceCompleted(completed) = kind {
            completed.output.as_ref()
        } else {
            None
        }
    });
    let values = values.map(|json| matches!(json.value, Some(JsonValue::Large(_))));
    assert_eq!(values.collect::<Vec<_>>(), [true; 5], "input, three results and the output");

    let replay = Replay::read(&world.cluster.nats.url(), 2).await.unwrap();
    replay.expect_single_results().unwrap();
    replay.expect_api(&world.api).await.unwrap();
    world.end().await.unwrap();
}

#[tokio::test]
async fn an_output_that_no_message_can_carry_faults_the_step() {
    let world = World::begin(Setup::default()).await.unwrap();
    world.deploy("huge", "- huge:\n    call: large\n    with: { bytes: 10000000 }").await.unwrap();
    let ended = world.run("huge", "{}").await.unwrap();
    assert_eq!(ended.error.unwrap().title(), "output-too-large");
    world.end().await.unwrap();
}

#[tokio::test]
async fn many_values_just_below_the_claim_check_never_make_a_commit_too_large() {
    let world = World::begin(Setup::default()).await.unwrap();
    let tasks = "\
- large:
    call: large
    with: { bytes: 60000, text: '${ .text }' }
- both:
    fork:
      branches:
        - left: { call: echo, with: { text: '${ .text }' } }
        - right: { call: echo, with: { text: '${ .text }' } }
- each:
    for: { each: item, in: '[1, 2, 3]' }
    do:
      - echo: { call: echo, with: { n: '${ $item }', text: '${ .[0].text }' }, output: { as: '${ [.] }' } }";
    world.deploy("medium", tasks).await.unwrap();
    let input = json!({ "text": "i".repeat(60_000) }).to_string();
    let starts = (0..100).map(|_| world.start("medium", &input));
    let ids = futures::future::try_join_all(starts).await.unwrap();
    for id in &ids {
        world.api.completed(id, DEADLINE).await.unwrap();
    }
    // Its history has some megabytes: more than one answer may hold.
    let history = world.api.history(&ids[0]).await.unwrap();
    assert!(history.len() > 20);
    world.end().await.unwrap();
}

#[tokio::test]
async fn a_history_of_many_megabytes_is_read_page_by_page() {
    let world = World::begin(Setup::default()).await.unwrap();
    let tasks = "\
- each:
    for: { each: item, in: '[range(120)]' }
    do:
      - echo: { call: large, with: { bytes: 60000, text: '${ $context.text // \"\" }' } }";
    world.deploy("long", tasks).await.unwrap();
    let ended = world.run("long", "{}").await.unwrap();
    assert!(ended.output.len() > 60_000, "{:?}", ended.error);
    let history = world.api.history(&ended.id).await.unwrap();
    let results = history.iter().filter(|event| {
        let kind = event.event.as_ref().and_then(|event| event.kind.as_ref());
        matches!(kind, Some(Kind::StepCompleted(_)))
    });
    assert_eq!(results.count(), 120);
    let numbers = history.iter().map(|event| event.number).collect::<Vec<_>>();
    assert_eq!(numbers, (1..=history.len() as u64).collect::<Vec<_>>());
    world.end().await.unwrap();
}
