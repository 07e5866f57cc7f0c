//! Time: waits and timeouts, also over a restart.

use std::time::Duration;

use baton_proto::v1::{Instance, Status};
use baton_tests::{DEADLINE, Setup, World};

fn took(instance: &Instance) -> Duration {
    let ms = |at: Option<prost_types::Timestamp>| {
        let at = at.unwrap();
        at.seconds * 1_000 + i64::from(at.nanos) / 1_000_000
    };
    Duration::from_millis((ms(instance.ended_at) - ms(instance.started_at)).try_into().unwrap())
}

#[tokio::test]
async fn a_timer_fires_once_and_not_early_although_the_engine_dies_meanwhile() {
    let mut world = World::begin(Setup::default()).await.unwrap();
    let tasks =
        "- pause:\n    wait: { milliseconds: 1500 }\n- after:\n    call: add\n    with: { n: 1 }";
    world.deploy("pause", tasks).await.unwrap();
    let id = world.start("pause", "{}").await.unwrap();
    let waiting = world.api.get(&id).await.unwrap();
    assert_eq!(waiting.status(), Status::Waiting);
    assert!(waiting.open_tasks[0].until.is_some(), "{waiting:?}");
    world.cluster.batond.kill().unwrap();
    world.cluster.batond.restart().await.unwrap();
    let ended = world.api.ended(&id, DEADLINE).await.unwrap();
    assert_eq!(ended.output, r#"{"n":2}"#);
    assert!(took(&ended) >= Duration::from_millis(1500), "{:?}", took(&ended));
    assert_eq!(world.lab.calls().len(), 1);

    // A timer that came due while nobody was there fires at once.
    let id = world.start("pause", "{}").await.unwrap();
    world.cluster.batond.kill().unwrap();
    tokio::time::sleep(Duration::from_secs(2)).await;
    world.cluster.batond.restart().await.unwrap();
    world.api.completed(&id, DEADLINE).await.unwrap();
    world.end().await.unwrap();
}

#[tokio::test]
async fn a_task_that_takes_too_long_faults_with_a_timeout_and_its_late_result_counts_for_nothing() {
    let mut world = World::begin(Setup::default()).await.unwrap();
    let tasks = "- slow:\n    call: hold\n    with: { name: late }\n    timeout:\n      after: { milliseconds: '${ .ms }' }";
    let tasks = tasks.replace("'${ .ms }'", "700");
    world.deploy("slow", &tasks).await.unwrap();
    let id = world.start("slow", "{}").await.unwrap();
    world.lab.begun("late", 1, DEADLINE).await.unwrap();
    world.cluster.batond.kill().unwrap();
    world.cluster.batond.restart().await.unwrap();
    let ended = world.api.ended(&id, DEADLINE).await.unwrap();
    assert_eq!(ended.status(), Status::Faulted);
    let error = ended.error.clone().unwrap();
    assert!(error.r#type.ends_with("/timeout"), "{error:?}");
    assert_eq!(error.status, 408);
    world.lab.release("late");
    assert_eq!(world.api.get(&id).await.unwrap(), ended);
    world.end().await.unwrap();
}
