//! A log that is not what it must be stops its partition, loudly, and only that one.

use baton_proto::v1::{GetRequest, StartRequest};
use baton_tests::world::{code, start_request};
use baton_tests::{DEADLINE, Setup, World, eventually};

#[tokio::test]
async fn a_foreign_message_in_a_log_stops_its_partition_and_no_other() {
    let mut world = World::begin(Setup::default()).await.unwrap();
    world.deploy("sum", "- add:\n    call: add\n    with: { n: '${ .n }' }").await.unwrap();
    let (mut here, mut there) = (Vec::new(), Vec::new());
    for number in 0..10 {
        let id = world.run("sum", &format!(r#"{{"n":{number}}}"#)).await.unwrap().id;
        // The partition stands in an id's last ten bits.
        let last = u16::from_str_radix(&id[id.len() - 4..], 16).unwrap() & 0x3ff;
        if last == 0 { here.push(id) } else { there.push(id) }
    }
    assert!(!here.is_empty() && !there.is_empty());
    let jetstream = async_nats::jetstream::new(world.cluster.nats.connect().await.unwrap());
    jetstream.publish("baton.log.0", "nonsense".into()).await.unwrap().await.unwrap();

    // The owner meets it when it writes next. It may not say that something was started which was not.
    let mut workflows = world.api.workflows.clone();
    let broken = async || {
        for number in 0..8 {
            let key = StartRequest {
                idempotency_key: format!("tampered-{number}"),
                ..start_request("sum", r#"{"n":1}"#)
            };
            if let Err(refusal) = workflows.start(key).await {
                assert_eq!(code(&refusal), "partition-unavailable", "{refusal:?}");
            }
        }
        let (status, body) = world.cluster.batond.page("/readyz").await?;
        Ok((status == 503 && body.contains("partition 0: the log")).then_some(body))
    };
    let body = eventually(DEADLINE, "the partition is stopped", broken).await.unwrap();
    assert!(body.contains("is broken at sequence"), "{body}");
    for restart in [false, true] {
        if restart {
            world.cluster.batond.kill().unwrap();
            world.cluster.batond.process.run().unwrap();
        }
        let told = async || {
            let status = world.api.status().await?;
            let named = status.partitions.iter().map(|partition| partition.state.as_str());
            Ok((named.collect::<Vec<_>>() == ["broken", "leading"]).then_some(status))
        };
        let status = eventually(DEADLINE, "it says so", told).await.unwrap();
        assert!(!status.ready && status.partitions[0].detail.contains("sequence"), "{status:?}");
        let get = GetRequest { id: here[0].clone() };
        let refusal = world.api.workflows.clone().get(get).await.unwrap_err();
        assert_eq!(code(&refusal), "partition-unavailable");
        assert_eq!(world.api.get(&there[0]).await.unwrap().id, there[0]);
    }
    world.end().await.unwrap();
}
