//! What workers say of themselves, and ask.

use baton_proto::v1::{
    Announcement, AnnouncementReply, AttemptQuery, DeployRequest, Diagnostic, FunctionOffer,
    ValidateRequest,
};
use baton_tests::{Setup, World};
use futures::{FutureExt as _, StreamExt as _};
use prost::Message as _;

use crate::refused;

async fn announce(world: &World, subject: &str, payload: Vec<u8>) -> AnnouncementReply {
    let client = world.cluster.nats.connect().await.unwrap();
    let answer = client.request(subject.to_owned(), payload.into()).await.unwrap();
    AnnouncementReply::decode(answer.payload).unwrap()
}

fn announcement(worker: &str, functions: &[&str]) -> Vec<u8> {
    let offer = |name: &&str| FunctionOffer { name: (*name).to_owned(), ..Default::default() };
    let announcement = Announcement {
        worker: worker.to_owned(),
        build: "1".to_owned(),
        department: "office".to_owned(),
        functions: functions.iter().map(offer).collect(),
    };
    announcement.encode_to_vec()
}

#[tokio::test]
async fn an_announcement_that_cannot_be_is_refused() {
    let world = World::begin(Setup::default()).await.unwrap();
    let (office, lab) = ("baton.announce.office", "baton.announce.lab");
    let many = (0..257).map(|number| format!("f{number}")).collect::<Vec<_>>();
    let many = many.iter().map(String::as_str).collect::<Vec<_>>();
    let long = "w".repeat(64);
    let cases = [
        ("garbage", office, vec![0xff; 100], "malformed-announcement"),
        ("another department", lab, announcement("w", &["ask"]), "wrong-department"),
        ("a wildcard", office, announcement("w", &["ask.>"]), "invalid-name"),
        ("no name", office, announcement("", &["ask"]), "invalid-name"),
        ("a long name", office, announcement(&long, &["ask"]), "invalid-name"),
        ("many functions", office, announcement("w", &many), "too-many-functions"),
    ];
    for (what, subject, payload, code) in cases {
        let reply = announce(&world, subject, payload).await;
        assert_eq!(reply.code, code, "{what}: {reply:?}");
        assert!(!reply.error.is_empty() && reply.queues.is_empty(), "{what}: {reply:?}");
    }
    let status = world.api.status().await.unwrap();
    assert_eq!(status.workers.len(), 1, "only the lab: {status:?}");

    let reply = announce(&world, office, announcement("w", &["ask"])).await;
    assert_eq!((reply.code.as_str(), reply.queues.len()), ("", 1));
    world.end().await.unwrap();
}

#[tokio::test]
async fn a_call_that_does_not_fit_what_its_worker_announced_is_mentioned() {
    let world = World::begin(Setup::default()).await.unwrap();
    let schema = r#"{"type":"object","properties":{"amount":{"type":"integer"}}}"#;
    let offer = FunctionOffer {
        name: "pay".to_owned(),
        input_schema: schema.to_owned(),
        ..Default::default()
    };
    let announcement = Announcement {
        worker: "w".to_owned(),
        department: "office".to_owned(),
        functions: vec![offer],
        ..Default::default()
    };
    let reply = announce(&world, "baton.announce.office", announcement.encode_to_vec()).await;
    assert_eq!(reply.code, "");

    let source = "document: { dsl: '1.0.3', namespace: office, name: p, version: '1.0.0' }\n\
        do:\n- pay: { call: pay, with: { amount: two } }\n- post: { call: post }\n";
    let codes = |found: Vec<Diagnostic>| {
        found.into_iter().map(|found| (found.code, found.line)).collect::<Vec<_>>()
    };
    let mismatch = ("argument-mismatch".to_owned(), 3);
    let mut definitions = world.api.definitions.clone();
    let checked = definitions.validate(ValidateRequest { source: source.to_owned() }).await;
    let checked = checked.unwrap().into_inner();
    assert!(checked.valid);
    assert_eq!(codes(checked.diagnostics), [mismatch.clone(), ("unserved-function".to_owned(), 4)]);
    let deployed = definitions.deploy(DeployRequest { source: source.to_owned() }).await;
    let warnings = deployed.unwrap().into_inner().warnings;
    assert_eq!(codes(warnings), [mismatch], "a workflow may be deployed before its workers start");
    world.end().await.unwrap();
}

#[tokio::test]
async fn a_question_about_an_attempt_with_a_wrong_token_gets_no_answer() {
    let world = World::begin(Setup::default()).await.unwrap();
    let client = world.cluster.nats.connect().await.unwrap();
    let batond = &world.cluster.batond;
    let inbox = client.new_inbox();
    let mut answers = client.subscribe(inbox.clone()).await.unwrap();
    let query = AttemptQuery { instance: vec![1; 16], step: 1, attempt: 1, token: vec![0; 16] };
    for payload in [query.encode_to_vec(), vec![0xff; 100], Vec::new()] {
        client
            .publish_with_reply("baton.attempt.office", inbox.clone(), payload.into())
            .await
            .unwrap();
    }
    let counted = async || {
        let count = refused(batond, "baton_refused_results_total", "wrong-token").await;
        Ok((count > 0.5).then_some(()))
    };
    baton_tests::eventually(baton_tests::DEADLINE, "it is counted", counted).await.unwrap();
    // Whatever was going to be answered has been by the time that the engine answers something else.
    world.api.status().await.unwrap();
    assert!(answers.next().now_or_never().is_none());
    world.end().await.unwrap();
}
