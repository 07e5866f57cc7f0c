//! Schedules: each time and each event starts one instance, whatever is killed meanwhile.

use baton_proto::v1::{
    CancelRequest, HistoryEvent, Instance, ListRequest, PublishEventRequest, event::Kind, json,
};
use baton_tests::{DEADLINE, Setup, World, eventually};
use serde_json::json;

async fn list(world: &World, name: &str) -> anyhow::Result<Vec<Instance>> {
    let request = ListRequest {
        namespace: "lab".to_owned(),
        name: name.to_owned(),
        ..ListRequest::default()
    };
    world.api.list(request).await
}

async fn listed(world: &World, name: &str, count: usize) -> Vec<Instance> {
    let what = format!("{count} instances of {name} are listed");
    let found = eventually(DEADLINE, &what, async || {
        let found = list(world, name).await?;
        Ok((found.len() >= count).then_some(found))
    });
    found.await.unwrap()
}

fn document(version: &str, schedule: &str) -> String {
    format!(
        "document: {{ dsl: 1.0.3, namespace: lab, name: timed, version: {version} }}\nschedule: {schedule}\ndo: [ {{ a: {{ set: '${{ . }}' }} }} ]\n"
    )
}

/// The times that a schedule came to, Unix milliseconds.
fn ticks(history: &[HistoryEvent]) -> Vec<i64> {
    let fired = history.iter().filter_map(|event| {
        let Kind::TimerFired(fired) = event.event.as_ref()?.kind.as_ref()? else { return None };
        let json::Value::Text(text) = fired.output.as_ref()?.value.as_ref()? else { return None };
        text.parse().ok()
    });
    fired.collect()
}

#[tokio::test]
async fn each_time_of_a_schedule_starts_one_instance_although_the_engine_is_killed() {
    let mut world = World::begin(Setup::default()).await.unwrap();
    world.api.deploy(&document("1.0.0", "{ every: PT1S }")).await.unwrap();
    listed(&world, "timed", 1).await;
    let trigger = listed(&world, "timed.schedule", 1).await.remove(0).id;
    for _ in 0..3 {
        world.cluster.batond.kill().unwrap();
        world.cluster.batond.restart().await.unwrap();
        // Not by lists: they may be a moment behind what they showed before.
        let before = ticks(&world.api.history(&trigger).await.unwrap()).len();
        eventually(DEADLINE, "the schedule comes to its next time", async || {
            let now = ticks(&world.api.history(&trigger).await?).len();
            Ok((now > before).then_some(()))
        })
        .await
        .unwrap();
    }
    let triggers = listed(&world, "timed.schedule", 1).await;
    assert_eq!(triggers.len(), 1, "one schedule, however often the engine begins");
    let cancel = CancelRequest { id: trigger.clone(), reason: "enough".to_owned() };
    world.api.workflows.clone().cancel(cancel).await.unwrap();
    let ticks = ticks(&world.api.history(&trigger).await.unwrap());
    assert!(ticks.len() >= 4, "{ticks:?}");
    assert!(ticks.windows(2).all(|two| two[1] > two[0] && (two[1] - two[0]) % 1_000 == 0));
    let started = listed(&world, "timed", ticks.len()).await;
    assert_eq!(started.len(), ticks.len(), "one instance for each time");
    assert!(started.iter().all(|instance| instance.version == "1.0.0"));
    world.end().await.unwrap();
}

#[tokio::test]
async fn the_schedule_of_a_new_version_takes_the_place_of_the_old_one() {
    let world = World::begin(Setup::default()).await.unwrap();
    world.api.deploy(&document("1.0.0", "{ every: P1D }")).await.unwrap();
    listed(&world, "timed.schedule", 1).await;
    world.api.deploy(&document("1.1.0", "{ after: PT1S }")).await.unwrap();
    let open = eventually(DEADLINE, "only the new schedule is open", async || {
        let open = list(&world, "timed.schedule").await?.into_iter();
        let open: Vec<_> = open.filter(|instance| instance.ended_at.is_none()).collect();
        Ok((open.len() == 1 && open[0].version == "1.1.0").then_some(open))
    });
    open.await.unwrap();
    let started = listed(&world, "timed", 2).await;
    assert!(started.iter().all(|instance| instance.version == "1.1.0"));
    // A version without a schedule ends it.
    let plain = "document: { dsl: 1.0.3, namespace: lab, name: timed, version: 1.2.0 }\ndo: []\n";
    world.api.deploy(plain).await.unwrap();
    eventually(DEADLINE, "no schedule is open", async || {
        let all = list(&world, "timed.schedule").await?;
        Ok(all.iter().all(|instance| instance.ended_at.is_some()).then_some(()))
    })
    .await
    .unwrap();
    world.end().await.unwrap();
}

#[tokio::test]
async fn each_event_of_a_schedule_starts_one_instance_with_itself_as_input() {
    let mut world = World::begin(Setup::default()).await.unwrap();
    let on = "{ on: { any: [ { with: { type: lab.a } }, { with: { type: lab.b } } ] } }";
    world.api.deploy(&document("1.0.0", on)).await.unwrap();
    listed(&world, "timed.schedule", 1).await;
    for n in 0..60 {
        let kind = if n % 2 == 0 { "lab.a" } else { "lab.b" };
        let event = json!({
            "specversion": "1.0", "id": n.to_string(), "source": "/t", "type": kind, "data": { "n": n },
        });
        let request = PublishEventRequest { event: event.to_string(), department: String::new() };
        let mut events = world.api.events.clone();
        eventually(DEADLINE, "the event is stored", async || {
            Ok(events.publish(request.clone()).await.is_ok().then_some(()))
        })
        .await
        .unwrap();
        if n % 20 == 10 {
            world.cluster.batond.kill().unwrap();
            world.cluster.batond.restart().await.unwrap();
        }
    }
    let started = listed(&world, "timed", 60).await;
    assert_eq!(started.len(), 60);
    let mut seen = Vec::new();
    for instance in started {
        let output = world.api.completed(&instance.id, DEADLINE).await.unwrap();
        let output: serde_json::Value = serde_json::from_str(&output).unwrap();
        seen.push(output[0]["n"].as_i64().unwrap());
    }
    seen.sort_unstable();
    assert_eq!(seen, (0..60).collect::<Vec<_>>());
    world.end().await.unwrap();
}
