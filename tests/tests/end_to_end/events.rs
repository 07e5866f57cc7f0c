//! Events: taken by whoever listens, once, whatever is killed meanwhile.

use std::sync::atomic::{AtomicUsize, Ordering};

use baton_proto::v1::{HistoryEvent, PublishEventRequest, Status, event::Kind};
use baton_tests::world::code;
use baton_tests::{DEADLINE, Setup, World, eventually};
use futures::StreamExt as _;
use serde_json::{Value, json};

fn event(kind: &str, id: &str, data: &Value) -> PublishEventRequest {
    let event =
        json!({ "specversion": "1.0", "id": id, "source": "/tests", "type": kind, "data": data });
    PublishEventRequest { event: event.to_string(), department: String::new() }
}

/// Answers whether the broker knew it.
async fn publish(world: &World, kind: &str, id: &str, data: Value) -> bool {
    let mut events = world.api.events.clone();
    events.publish(event(kind, id, &data)).await.unwrap().into_inner().duplicate
}

async fn waiting(world: &World, id: &str) {
    eventually(DEADLINE, "it waits", async || {
        Ok((world.api.get(id).await?.status() == Status::Waiting).then_some(()))
    })
    .await
    .unwrap();
}

fn kinds(history: &[HistoryEvent], wanted: impl Fn(&Kind) -> bool) -> usize {
    let kinds = history.iter().filter_map(|event| event.event.as_ref()?.kind.as_ref());
    kinds.filter(|kind| wanted(kind)).count()
}

const PAID: &str = "- paid:
    listen:
      to:
        one:
          with: { type: order.paid }
          correlate: { order: { from: .data.order, expect: '${ .order }' } }";

#[tokio::test]
async fn an_event_goes_to_the_instance_that_it_is_tied_to() {
    let mut world = World::begin(Setup::default()).await.unwrap();
    world.deploy("paid", PAID).await.unwrap();
    let mut ids = Vec::new();
    for order in 0..40 {
        ids.push(world.start("paid", &format!(r#"{{"order":{order}}}"#)).await.unwrap());
    }
    for id in &ids {
        waiting(&world, id).await;
    }
    for order in (0..40).step_by(2) {
        let (id, data) = (format!("e{order}"), json!({ "order": order, "by": "card" }));
        assert!(!publish(&world, "order.paid", &id, data.clone()).await);
        assert!(publish(&world, "order.paid", &id, data).await, "known by source and id");
    }
    for order in (0..40).step_by(2) {
        let output = world.api.completed(&ids[order], DEADLINE).await.unwrap();
        assert_eq!(output, format!(r#"[{{"order":{order},"by":"card"}}]"#));
    }
    // Those that nobody paid wait on, also for an engine that has lost its cache.
    world.cluster.batond.kill().unwrap();
    std::fs::remove_dir_all(world.cluster.batond.data().join("sled")).unwrap();
    world.cluster.batond.restart().await.unwrap();
    for order in (1..40).step_by(2) {
        assert_eq!(world.api.get(&ids[order]).await.unwrap().status(), Status::Waiting);
        publish(&world, "order.paid", &format!("e{order}"), json!({ "order": order })).await;
    }
    for order in (1..40).step_by(2) {
        let output = world.api.completed(&ids[order], DEADLINE).await.unwrap();
        assert_eq!(output, format!(r#"[{{"order":{order}}}]"#));
    }
    world.end().await.unwrap();
}

#[tokio::test]
async fn an_event_that_comes_before_its_listener_is_kept_for_it() {
    let mut world = World::begin(Setup::default()).await.unwrap();
    world.deploy("paid", PAID).await.unwrap();
    let uncorrelated = "- any:\n    listen: { to: { one: { with: { type: order.paid } } } }";
    world.deploy("any", uncorrelated).await.unwrap();
    for order in 0..10 {
        publish(&world, "order.paid", &format!("e{order}"), json!({ "order": order })).await;
    }
    let early = world.run("paid", r#"{"order":3}"#).await.unwrap();
    assert_eq!(early.output, r#"[{"order":3}]"#);
    // Without a correlation only what comes later counts.
    let any = world.start("any", "{}").await.unwrap();
    waiting(&world, &any).await;
    // Kept also for an engine that was not there, and for each instance that wants it.
    world.cluster.batond.kill().unwrap();
    world.cluster.batond.restart().await.unwrap();
    for order in [3, 4] {
        let late = world.run("paid", &format!(r#"{{"order":{order}}}"#)).await.unwrap();
        assert_eq!(late.output, format!(r#"[{{"order":{order}}}]"#));
    }
    assert_eq!(world.api.get(&any).await.unwrap().status(), Status::Waiting);
    publish(&world, "order.paid", "late", json!({ "order": 99 })).await;
    assert_eq!(world.api.completed(&any, DEADLINE).await.unwrap(), r#"[{"order":99}]"#);
    world.end().await.unwrap();
}

#[tokio::test]
async fn an_instance_takes_an_event_once_although_it_listens_again() {
    let world = World::begin(Setup::default()).await.unwrap();
    let twice = format!(
        "{PAID}\n- again:\n    input: {{ from: $workflow.input }}\n    listen:\n      to:\n        one:\n          with: {{ type: order.paid }}\n          correlate: {{ order: {{ from: .data.order, expect: '${{ .order }}' }} }}"
    );
    world.deploy("twice", &twice).await.unwrap();
    let id = world.start("twice", r#"{"order":1}"#).await.unwrap();
    publish(&world, "order.paid", "first", json!({ "order": 1, "n": 1 })).await;
    publish(&world, "order.paid", "second", json!({ "order": 1, "n": 2 })).await;
    assert_eq!(world.api.completed(&id, DEADLINE).await.unwrap(), r#"[{"order":1,"n":2}]"#);
    let history = world.api.history(&id).await.unwrap();
    assert_eq!(kinds(&history, |kind| matches!(kind, Kind::EventTaken(_))), 2);
    world.end().await.unwrap();
}

#[tokio::test]
async fn what_one_workflow_emits_another_takes_and_a_kill_in_between_loses_nothing() {
    const PAIRS: usize = 120;
    let mut world = World::begin(Setup::default()).await.unwrap();
    let emit = "- tell:
    emit:
      event:
        with: { type: lab.told, order: '${ .n }', data: { n: '${ .n }' } }
- done:
    set: { told: true }";
    world.deploy("tell", emit).await.unwrap();
    let hear = "- hear:
    listen:
      to:
        one:
          with: { type: lab.told }
          correlate: { n: { from: .order, expect: '${ .n }' } }
      read: envelope
    output: { as: '.[0] | { source, data }' }";
    world.deploy("hear", hear).await.unwrap();
    let World { api, cluster, .. } = &mut world;
    // The kills come while there is still something to start.
    let answered = &AtomicUsize::new(0);
    let load = async {
        let pairs = futures::stream::iter(0..PAIRS).map(|n| {
            let api = api.clone();
            async move {
                let input = format!(r#"{{"n":{n}}}"#);
                let key = |of: &str| format!("{of}-{n}");
                let hear = api.start("lab", "hear", &input, &key("hear")).await.unwrap().id;
                let tell = api.start("lab", "tell", &input, &key("tell")).await.unwrap().id;
                answered.fetch_add(1, Ordering::Relaxed);
                (n, hear, tell)
            }
        });
        pairs.buffer_unordered(16).collect::<Vec<_>>().await
    };
    let kills = async {
        for kill in 1..=3 {
            let enough = PAIRS * kill / 4;
            let reached = async || Ok((answered.load(Ordering::Relaxed) >= enough).then_some(()));
            eventually(DEADLINE, "starts are answered", reached).await.unwrap();
            cluster.batond.kill().unwrap();
            cluster.batond.restart().await.unwrap();
        }
        cluster.nats.kill().unwrap();
        cluster.nats.restart().await.unwrap();
    };
    let (pairs, ()) = tokio::join!(load, kills);
    for (n, hear, tell) in &pairs {
        let heard = world.api.completed(hear, DEADLINE).await.unwrap();
        assert_eq!(heard, format!(r#"{{"source":"/lab/tell","data":{{"n":{n}}}}}"#));
        world.api.completed(tell, DEADLINE).await.unwrap();
        let history = world.api.history(hear).await.unwrap();
        assert_eq!(kinds(&history, |kind| matches!(kind, Kind::EventTaken(_))), 1);
    }
    // The id follows from instance and task, so that publishing it again stored nothing more.
    let jetstream = async_nats::jetstream::new(world.cluster.nats.connect().await.unwrap());
    let stream = jetstream.get_stream("BATON_EVENTS").await.unwrap();
    assert_eq!(stream.cached_info().state.messages, pairs.len() as u64);
    world.end().await.unwrap();
}

#[tokio::test]
async fn each_event_is_worked_on_in_turn_until_another_ends_it() {
    let world = World::begin(Setup::default()).await.unwrap();
    let readings = "- readings:
    listen:
      to:
        any: [ { with: { type: room.reading } } ]
        until: { one: { with: { type: room.closed } } }
    foreach:
      item: reading
      at: i
      do:
        - add:
            call: add
            with: { n: '${ $reading.n + $i - 1 }' }";
    world.deploy("readings", readings).await.unwrap();
    let id = world.start("readings", "{}").await.unwrap();
    waiting(&world, &id).await;
    for n in 0..20 {
        publish(&world, "room.reading", &n.to_string(), json!({ "n": n })).await;
    }
    publish(&world, "room.closed", "closed", json!({})).await;
    let output = world.api.completed(&id, DEADLINE).await.unwrap();
    let output: Vec<Value> = serde_json::from_str(&output).unwrap();
    let wanted: Vec<Value> = (0..20).map(|n| json!({ "n": 2 * n })).collect();
    assert_eq!(output, wanted);
    world.end().await.unwrap();
}

#[tokio::test]
async fn what_is_no_event_is_refused_and_stops_nobody() {
    let world = World::begin(Setup::default()).await.unwrap();
    world.deploy("any", "- any:\n    listen: { to: { any: [] } }").await.unwrap();
    let id = world.start("any", "{}").await.unwrap();
    waiting(&world, &id).await;
    let mut events = world.api.events.clone();
    let good = event("t", "1", &json!({})).event;
    for broken in [
        String::new(),
        "nothing".to_owned(),
        "[]".to_owned(),
        good.replace("1.0", "0.3"),
        good.replace(r#""type":"t""#, r#""type":"""#),
        good.replace(r#""id":"1""#, r#""id":7"#),
        good.replace(r#""data":{}"#, &format!(r#""data":"{}""#, "x".repeat(300 * 1024))),
        good.replace(r#""data":{}"#, &format!(r#""data":{}{}"#, "[".repeat(200), "]".repeat(200))),
    ] {
        let request = PublishEventRequest { event: broken, department: String::new() };
        let refused = events.publish(request).await.unwrap_err();
        assert_eq!(code(&refused), "invalid-event", "{}", refused.message());
    }
    let elsewhere = PublishEventRequest { event: good, department: "a.>".to_owned() };
    assert_eq!(code(&events.publish(elsewhere).await.unwrap_err()), "invalid-argument");
    // Whoever writes to the stream itself may write anything.
    let client = world.cluster.nats.connect().await.unwrap();
    for poison in ["", "nothing", "{}", r#"{"specversion":"1.0"}"#] {
        client.publish("baton.event.lab", poison.into()).await.unwrap();
    }
    client.flush().await.unwrap();
    assert_eq!(world.api.get(&id).await.unwrap().status(), Status::Waiting);
    let mut headers = async_nats::HeaderMap::new();
    for (name, value) in
        [("ce-specversion", "1.0"), ("ce-id", "9"), ("ce-source", "/x"), ("ce-type", "t")]
    {
        headers.insert(name, value);
    }
    client.publish_with_headers("baton.event.lab", headers, r#"{"ok":true}"#.into()).await.unwrap();
    assert_eq!(world.api.completed(&id, DEADLINE).await.unwrap(), r#"[{"ok":true}]"#);
    world.end().await.unwrap();
}

/// In the logs of both partitions.
async fn commits(world: &World) -> u64 {
    let jetstream = async_nats::jetstream::new(world.cluster.nats.connect().await.unwrap());
    let mut count = 0;
    for log in ["BATON_LOG_0", "BATON_LOG_1"] {
        count += jetstream.get_stream(log).await.unwrap().cached_info().state.last_sequence;
    }
    count
}

#[tokio::test]
async fn an_event_costs_as_much_as_it_has_listeners() {
    let world = World::begin(Setup::default()).await.unwrap();
    world.deploy("paid", PAID).await.unwrap();
    let ids = futures::stream::iter(0..3_000)
        .map(|order| {
            let api = world.api.clone();
            async move {
                api.start("lab", "paid", &format!(r#"{{"order":{order}}}"#), "").await.unwrap().id
            }
        })
        .buffered(100)
        .collect::<Vec<_>>()
        .await;
    waiting(&world, ids.last().unwrap()).await;
    let before = commits(&world).await;
    let began = std::time::Instant::now();
    // 500 events that nobody waits for: none of them may be shown to 3,000 instances.
    futures::stream::iter(0..500)
        .map(|n| {
            let mut events = world.api.events.clone();
            let event = event("order.paid", &format!("x{n}"), &json!({ "order": 10_000 + n }));
            async move { events.publish(event).await.unwrap() }
        })
        .buffer_unordered(50)
        .collect::<Vec<_>>()
        .await;
    publish(&world, "order.paid", "last", json!({ "order": 2_999 })).await;
    world.api.completed(&ids[2_999], DEADLINE).await.unwrap();
    assert!(began.elapsed().as_secs() < 5, "took {:?}", began.elapsed());
    assert!(commits(&world).await - before < 20, "events that nobody takes need no commits");
    world.end().await.unwrap();
}

#[tokio::test]
async fn a_stream_of_events_that_was_made_anew_is_read_from_its_beginning() {
    let mut world = World::begin(Setup::default()).await.unwrap();
    world.deploy("paid", PAID).await.unwrap();
    for order in 0..20 {
        publish(&world, "order.paid", &format!("e{order}"), json!({ "order": order })).await;
    }
    let early = world.run("paid", r#"{"order":3}"#).await.unwrap();
    assert_eq!(early.output, r#"[{"order":3}]"#);
    let id = world.start("paid", r#"{"order":77}"#).await.unwrap();
    waiting(&world, &id).await;
    world.cluster.batond.terminate().await.unwrap();
    let jetstream = async_nats::jetstream::new(world.cluster.nats.connect().await.unwrap());
    jetstream.delete_stream("BATON_EVENTS").await.unwrap();
    world.cluster.batond.restart().await.unwrap();
    publish(&world, "order.paid", "again", json!({ "order": 77 })).await;
    assert_eq!(world.api.completed(&id, DEADLINE).await.unwrap(), r#"[{"order":77}]"#);
    world.end().await.unwrap();
}

#[tokio::test]
async fn a_listener_that_is_slow_takes_each_event_in_turn_whatever_is_killed() {
    const EVENTS: usize = 300;
    const AT_MOST: usize = 10;
    let mut world = World::begin(Setup { partitions: 1, ..Setup::default() }).await.unwrap();
    let slow = "{ type: lab.n, data: '${ ([range(5000)] | length) == 5000 }' }";
    let until = format!("until: '${{ length == {EVENTS} }}'");
    let tasks =
        format!("- slow: {{ listen: {{ to: {{ any: [ {{ with: {slow} }} ], {until} }} }} }}");
    world.deploy("slow", &tasks).await.unwrap();
    world
        .deploy("any", "- any: { listen: { to: { one: { with: { type: lab.n } } } } }")
        .await
        .unwrap();
    let slow = world.start("slow", "{}").await.unwrap();
    waiting(&world, &slow).await;
    let mut later = Vec::new();
    for n in 0..EVENTS {
        publish(&world, "lab.n", &format!("n{n}"), json!(n)).await;
        if n % 100 == 50 {
            // Others see what comes at once, and nothing that came before them, although the slow one is behind.
            let any = world.start("any", "{}").await.unwrap();
            let history = world.api.history(&slow).await.unwrap();
            later.push((any, n, kinds(&history, |kind| matches!(kind, Kind::EventTaken(_)))));
            world.cluster.batond.kill().unwrap();
            world.cluster.batond.restart().await.unwrap();
        }
    }
    assert!(later.iter().any(|(_, n, seen)| n - seen > 2 * AT_MOST), "it was not slow: {later:?}");
    for (any, n, seen) in later {
        let output = world.api.completed(&any, DEADLINE).await.unwrap();
        let [taken]: [usize; 1] = serde_json::from_str(&output).unwrap();
        // The engine may not have looked at the last ones yet when it began.
        assert!(
            taken + AT_MOST >= n && taken <= n + 1,
            "{taken} after {n}, the slow one was at {seen}"
        );
    }
    let output = world.api.completed(&slow, DEADLINE).await.unwrap();
    let taken: Vec<usize> = serde_json::from_str(&output).unwrap();
    assert_eq!(taken, (0..EVENTS).collect::<Vec<_>>());
    world.end().await.unwrap();
}

#[tokio::test]
async fn listeners_of_one_instance_each_take_what_came_while_no_engine_ran() {
    const EVENTS: usize = 60;
    let mut world = World::begin(Setup { partitions: 1, ..Setup::default() }).await.unwrap();
    let until = "until: { one: { with: { type: lab.end } } }";
    let with = "with: { type: lab.n }";
    let tied = "correlate: { k: { from: .data.k, expect: '${ 1 }' } }";
    let listen = |filter| format!("{{ listen: {{ to: {{ any: [ {{ {filter} }} ], {until} }} }} }}");
    let tasks = format!(
        "- all:\n    fork:\n      branches:\n      - any: {}\n      - tied: {}\n      - again: {}",
        listen(with.to_owned()),
        listen(format!("{with}, {tied}")),
        listen(format!("{with}, {tied}")),
    );
    world.deploy("all", &tasks).await.unwrap();
    // Others whose turn comes before: of many that wait, and of another type.
    let other = listen(
        "with: { type: lab.other }, correlate: { k: { from: .data.k, expect: '${ 1 }' } }".into(),
    );
    world.deploy("other", &format!("- l: {other}")).await.unwrap();
    for _ in 0..20 {
        world.start("other", "{}").await.unwrap();
    }
    let id = world.start("all", "{}").await.unwrap();
    waiting(&world, &id).await;
    world.cluster.batond.kill().unwrap();
    let client = world.cluster.nats.connect().await.unwrap();
    // More in all than one commit may hold.
    let pad = "x".repeat(8 * 1024);
    for n in 0..EVENTS {
        let event = event("lab.n", &n.to_string(), &json!({ "k": 1, "n": n, "pad": pad })).event;
        client.publish("baton.event.lab", event.into()).await.unwrap();
    }
    let end = event("lab.end", "end", &json!({})).event;
    client.publish("baton.event.lab", end.into()).await.unwrap();
    client.flush().await.unwrap();
    world.cluster.batond.restart().await.unwrap();
    let output = world.api.completed(&id, DEADLINE).await.unwrap();
    let taken: Vec<Vec<Value>> = serde_json::from_str(&output).unwrap();
    let numbers = |events: &Vec<Value>| events.iter().map(|e| e["n"].as_u64()).collect::<Vec<_>>();
    let all = (0..EVENTS as u64).map(Some).collect::<Vec<_>>();
    assert_eq!(taken.iter().map(numbers).collect::<Vec<_>>(), vec![all; 3]);
    world.end().await.unwrap();
}

#[tokio::test]
async fn a_slow_instance_that_listens_hears_its_timeout_although_no_event_ever_came() {
    let world = World::begin(Setup { partitions: 1, ..Setup::default() }).await.unwrap();
    let slow = "{ set: { n: '${ [range(20000)] | length }' } }";
    let listen = "{ listen: { to: { one: { with: { type: lab.n } } } }, timeout: { after: { milliseconds: 300 } } }";
    let tasks = format!(
        "- slow: {slow}\n- again: {slow}\n- heard:\n    try: [ {{ l: {listen} }} ]\n    catch: {{ do: [ {{ none: {{ set: {{ heard: false }} }} }} ] }}"
    );
    world.deploy("slow", &tasks).await.unwrap();
    // The second time it is known that it is slow.
    for _ in 0..2 {
        let ended = world.run("slow", "{}").await.unwrap();
        assert_eq!(ended.output, r#"{"heard":false}"#, "{ended:?}");
    }
    world.end().await.unwrap();
}
