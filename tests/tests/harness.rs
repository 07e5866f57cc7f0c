//! The harness itself: what it starts it can kill, and what it leaves it stops.

#![cfg(test)]

use std::time::Duration;

use baton_tests::process::{Process, Recipe};
use baton_tests::{Nats, eventually};

fn sleeper(folder: &std::path::Path) -> Recipe {
    Recipe {
        name: "sleeper".to_owned(),
        program: "/bin/sh".into(),
        arguments: ["-c", "echo begun; exec sleep 1000"].map(ToOwned::to_owned).to_vec(),
        environment: Vec::new(),
        log: folder.join("sleeper.log"),
    }
}

#[tokio::test]
async fn a_broker_keeps_its_streams_over_a_kill() {
    let folder = tempfile::tempdir().unwrap();
    let mut nats = Nats::start(folder.path(), true).await.unwrap();
    let jetstream = async_nats::jetstream::new(nats.connect().await.unwrap());
    let config =
        async_nats::jetstream::stream::Config { name: "KEPT".to_owned(), ..Default::default() };
    jetstream.create_stream(config).await.unwrap();
    jetstream.publish("KEPT", "x".into()).await.unwrap().await.unwrap();

    nats.kill().unwrap();
    nats.restart().await.unwrap();

    let jetstream = async_nats::jetstream::new(nats.connect().await.unwrap());
    let mut stream = jetstream.get_stream("KEPT").await.unwrap();
    assert_eq!(stream.info().await.unwrap().state.messages, 1);
}

#[tokio::test]
async fn a_process_ends_after_sigterm_and_can_run_again() {
    let folder = tempfile::tempdir().unwrap();
    let mut process = Process::start(sleeper(folder.path())).unwrap();
    let status = process.terminate(Duration::from_secs(10)).await.unwrap();
    assert!(status.is_some_and(|status| !status.success()), "{status:?}");
    assert!(!process.is_running());

    process.run().unwrap();
    assert!(process.is_running());
    process.kill().unwrap();
    assert_eq!(process.id(), None);
}

#[tokio::test]
async fn a_dropped_process_is_gone() {
    let folder = tempfile::tempdir().unwrap();
    let process = Process::start(sleeper(folder.path())).unwrap();
    let id = process.id().unwrap();
    drop(process);
    let gone = format!("process {id} is gone");
    let proc = format!("/proc/{id}");
    eventually(Duration::from_secs(5), &gone, async || {
        Ok((!std::path::Path::new(&proc).exists()).then_some(()))
    })
    .await
    .unwrap();
}
