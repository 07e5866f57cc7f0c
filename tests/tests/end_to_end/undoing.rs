//! What was done is undone once, the last first, whatever is killed meanwhile.

use baton_proto::v1::{CancelRequest, Status, event::Kind};
use baton_tests::{DEADLINE, Setup, World, eventually};

const BOOKED: &str = "\
- hotel:
    call: echo
    with: { name: hotel }
    metadata:
      compensate:
      - cancelHotel: { call: echo, with: { name: 'cancel hotel', booked: '${ .output.name }' } }
- flight:
    call: echo
    with: { name: flight }
    metadata:
      compensate:
      - think: { call: hold, with: { name: think } }
      - cancelFlight: { call: echo, with: { name: 'cancel flight' } }
";

/// The names that the worker was given, in order.
fn done(world: &World) -> Vec<String> {
    world.lab.calls().into_iter().map(|call| call.name).collect()
}

async fn undoes_once_although_the_engine_is_killed(last: &str, cancel: bool, status: Status) {
    let mut world = World::begin(Setup::default()).await.unwrap();
    world.deploy("trip", &format!("{BOOKED}{last}")).await.unwrap();
    let id = world.start("trip", "{}").await.unwrap();
    if cancel {
        eventually(DEADLINE, "both are booked", async || {
            Ok((done(&world).len() >= 3).then_some(()))
        })
        .await
        .unwrap();
        let cancel = CancelRequest { id: id.clone(), reason: "no leave".to_owned() };
        let told = world.api.workflows.clone().cancel(cancel.clone()).await.unwrap().into_inner();
        assert!(told.ended_at.is_none(), "it ends when all is undone: {told:?}");
        let again = world.api.workflows.clone().cancel(cancel).await.unwrap_err();
        assert_eq!(baton_tests::world::code(&again), "instance-compensating");
    }
    eventually(DEADLINE, "the flight is about to be cancelled", async || {
        Ok(done(&world).contains(&"think".to_owned()).then_some(()))
    })
    .await
    .unwrap();
    world.cluster.batond.kill().unwrap();
    world.cluster.batond.restart().await.unwrap();
    world.lab.release("think");
    let ended = world.api.ended(&id, DEADLINE).await.unwrap();
    assert_eq!(ended.status(), status, "{ended:?}");
    let calls = done(&world);
    for name in ["hotel", "flight", "cancel flight", "cancel hotel"] {
        assert_eq!(calls.iter().filter(|call| *call == name).count(), 1, "{name}: {calls:?}");
    }
    let place = |name: &str| calls.iter().position(|call| call == name);
    assert!(place("cancel flight") < place("cancel hotel"), "the last first: {calls:?}");
    let history = world.api.history(&id).await.unwrap();
    let kinds = history.iter().filter_map(|event| event.event.as_ref()?.kind.as_ref());
    let begun = kinds.filter(|kind| matches!(kind, Kind::CompensationStarted(_)));
    assert_eq!(begun.count(), 1);
    world.end().await.unwrap();
}

#[tokio::test]
async fn what_was_done_is_undone_once_after_a_fault_although_the_engine_is_killed() {
    let fault =
        "- no: { raise: { error: { type: 'https://x.example/no', status: 409, title: no } } }";
    undoes_once_although_the_engine_is_killed(fault, false, Status::Faulted).await;
}

#[tokio::test]
async fn what_was_done_is_undone_once_when_it_is_cancelled_although_the_engine_is_killed() {
    let pay = "- pay: { call: hold, with: { name: pay } }";
    undoes_once_although_the_engine_is_killed(pay, true, Status::Cancelled).await;
}
