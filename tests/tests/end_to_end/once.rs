//! What must happen once: no two instances do what has one key, whatever dies meanwhile.

use std::collections::BTreeMap;
use std::time::Duration;

use baton_proto::v1::{GetKeyRequest, HeldKey, Instance, ResolveKeyRequest, Status};
use baton_tests::replay::Replay;
use baton_tests::world::code;
use baton_tests::{DEADLINE, Setup, World, eventually};

fn pay(function: &str, again: &str) -> String {
    format!(
        "- pay:\n    call: {function}\n    with: {{ name: '${{ .invoice }}', by: '${{ .by }}' }}\n    metadata:\n      once: {{ key: '${{ \"pay:\" + .invoice }}', again: {again} }}"
    )
}

fn input(invoice: &str, by: usize) -> String {
    format!(r#"{{"invoice":"{invoice}","by":{by}}}"#)
}

async fn key(world: &World, key: &str) -> HeldKey {
    let request = GetKeyRequest { department: "lab".to_owned(), key: key.to_owned() };
    world.api.once.clone().get_key(request).await.unwrap().into_inner()
}

fn refused(instance: &Instance, how: &str, by: &str) {
    let error = instance.error.as_ref().unwrap();
    assert_eq!((error.status, error.title()), (409, "Done by another"), "{error:?}");
    assert_eq!(error.detail(), format!("pay:4711 is {how} by instance {by}"));
}

#[tokio::test]
async fn two_instances_cannot_pay_one_invoice() {
    let world = World::begin(Setup::default()).await.unwrap();
    world.deploy("pay", &pay("hold", "refuse")).await.unwrap();
    let first = world.start("pay", &input("4711", 1)).await.unwrap();
    world.lab.begun("4711", 1, DEADLINE).await.unwrap();
    refused(&world.run("pay", &input("4711", 2)).await.unwrap(), "claimed", &first);
    let other = world.start("pay", &input("4712", 3)).await.unwrap();
    world.lab.begun("4712", 1, DEADLINE).await.unwrap();
    world.lab.release("4711");
    world.lab.release("4712");
    for id in [&first, &other] {
        assert_eq!(world.api.ended(id, DEADLINE).await.unwrap().status(), Status::Completed);
    }
    refused(&world.run("pay", &input("4711", 4)).await.unwrap(), "committed", &first);
    assert_eq!(world.lab.calls().len(), 2);
    let held = key(&world, "pay:4711").await;
    assert_eq!((held.instance, held.state.as_str()), (first, "committed"));
    let nobody = GetKeyRequest { department: "lab".to_owned(), key: "pay:1".to_owned() };
    let nobody = world.api.once.clone().get_key(nobody).await.unwrap_err();
    assert_eq!(code(&nobody), "unknown-key");
    world.end().await.unwrap();
}

#[tokio::test]
async fn whoever_comes_later_gets_what_the_first_has_done() {
    let world = World::begin(Setup::default()).await.unwrap();
    world.deploy("pay", &pay("hold", "attach")).await.unwrap();
    let first = world.start("pay", &input("4711", 1)).await.unwrap();
    world.lab.begun("4711", 1, DEADLINE).await.unwrap();
    let second = world.start("pay", &input("4711", 2)).await.unwrap();
    tokio::time::sleep(Duration::from_millis(700)).await;
    assert_eq!(world.api.get(&second).await.unwrap().status(), Status::Waiting);
    world.lab.release("4711");
    for id in [first, second] {
        let ended = world.api.ended(&id, DEADLINE).await.unwrap();
        assert_eq!(ended.output, r#"{"name":"4711","by":1}"#);
    }
    let third = world.run("pay", &input("4711", 3)).await.unwrap();
    assert_eq!(third.output, r#"{"name":"4711","by":1}"#);
    assert_eq!(world.lab.calls().len(), 1);
    world.end().await.unwrap();
}

#[tokio::test]
async fn what_may_have_happened_waits_for_somebody_who_looks() {
    let world = World::begin(Setup::default()).await.unwrap();
    world.deploy("pay", &pay("fail", "refuse")).await.unwrap();
    world.deploy("paid", &pay("echo", "refuse")).await.unwrap();
    let first = world.run("pay", &input("4711", 1)).await.unwrap();
    assert_eq!(first.status(), Status::Faulted);
    refused(&world.run("paid", &input("4711", 2)).await.unwrap(), "unknown", &first.id);
    let resolve = |happened| ResolveKeyRequest {
        department: "lab".to_owned(),
        key: "pay:4711".to_owned(),
        happened,
        reason: "the bank says so".to_owned(),
    };
    let resolved = world.api.once.clone().resolve_key(resolve(false)).await.unwrap().into_inner();
    assert_eq!(resolved.state, "free");
    let paid = world.run("paid", &input("4711", 3)).await.unwrap();
    assert_eq!(paid.status(), Status::Completed);
    let again = world.api.once.clone().resolve_key(resolve(false)).await.unwrap_err();
    assert_eq!(code(&again), "not-awaited", "it is known");
    let replay = Replay::read(&world.cluster.nats.url(), 2).await.unwrap();
    replay.expect_api(&world.api).await.unwrap();
    world.end().await.unwrap();
}

#[tokio::test]
async fn what_was_undone_may_be_done_again() {
    let world = World::begin(Setup::default()).await.unwrap();
    let undone = format!(
        "{}\n      compensate:\n      - refund: {{ call: echo, with: {{ name: refund }} }}\n- stop:\n    raise: {{ error: {{ type: 'https://lab.example/stop', status: 500 }} }}",
        pay("echo", "refuse")
    );
    world.deploy("undone", &undone).await.unwrap();
    world.deploy("pay", &pay("echo", "refuse")).await.unwrap();
    let first = world.run("undone", &input("4711", 1)).await.unwrap();
    assert_eq!(first.status(), Status::Faulted);
    assert_eq!(key(&world, "pay:4711").await.state, "free");
    let second = world.run("pay", &input("4711", 2)).await.unwrap();
    assert_eq!(second.status(), Status::Completed);
    assert_eq!(key(&world, "pay:4711").await.instance, second.id);
    world.end().await.unwrap();
}

/// Many want few keys at the same time, in all partitions, and the engine dies over and over.
#[tokio::test]
async fn of_many_that_race_for_a_key_one_does_it_also_when_the_engine_dies() {
    const INVOICES: usize = 20;
    let mut world = World::begin(Setup::default()).await.unwrap();
    world.deploy("pay", &pay("echo", "attach")).await.unwrap();
    let mut ids = BTreeMap::new();
    for round in 0..4_usize {
        for number in 0..60 {
            let invoice = format!("{}", (round * 7 + number) % INVOICES);
            let request = input(&invoice, number);
            // Under a key: what became of it when the engine died is asked again.
            let once = format!("{round}-{number}");
            let started = world.api.start("lab", "pay", &request, &once).await.unwrap();
            ids.insert(started.id, invoice);
        }
        world.cluster.batond.kill().unwrap();
        world.cluster.batond.restart().await.unwrap();
    }
    let mut outputs: BTreeMap<String, String> = BTreeMap::new();
    for (id, invoice) in ids {
        let ended = async || {
            let ended = world.api.ended(&id, DEADLINE).await;
            Ok(ended.ok())
        };
        let ended = eventually(DEADLINE, "it ends", ended).await.unwrap();
        assert_eq!(ended.status(), Status::Completed, "{ended:?}");
        let first = outputs.entry(invoice).or_insert_with(|| ended.output.clone());
        assert_eq!(*first, ended.output, "all have what one has done");
    }
    assert_eq!(outputs.len(), INVOICES);
    // A worker may be given a command twice when the engine dies, but never the commands of two steps.
    let mut steps: BTreeMap<String, (String, u32)> = BTreeMap::new();
    for call in world.lab.calls() {
        let step = (call.instance, call.step);
        let first = steps.entry(call.name).or_insert_with(|| step.clone());
        assert_eq!(*first, step, "one step does it");
    }
    let replay = Replay::read(&world.cluster.nats.url(), 2).await.unwrap();
    replay.expect_single_results().unwrap();
    replay.expect_api(&world.api).await.unwrap();
    world.end().await.unwrap();
}
