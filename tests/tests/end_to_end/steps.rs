//! Steps: failures, retries, catches, forks.

use baton_proto::v1::Status;
use baton_proto::v1::event::Kind;
use baton_tests::{DEADLINE, Setup, World, eventually};

#[tokio::test]
async fn a_worker_that_fails_is_asked_again_and_a_step_that_fails_for_good_faults() {
    let world = World::begin(Setup::default()).await.unwrap();
    let flaky = "- flaky:\n    call: flaky\n    with: { failures: '${ .failures }' }";
    world.deploy("flaky", flaky).await.unwrap();
    let ended = world.run("flaky", r#"{"failures":2}"#).await.unwrap();
    assert_eq!(ended.output, r#"{"attempt":3}"#);
    let history = world.api.history(&ended.id).await.unwrap();
    let failed = history.iter().filter(|event| {
        matches!(event.event.as_ref().and_then(|e| e.kind.as_ref()), Some(Kind::StepFailed(_)))
    });
    assert_eq!(failed.count(), 2);

    let ended = world.run("flaky", r#"{"failures":100}"#).await.unwrap();
    assert_eq!(ended.status(), Status::Faulted);
    assert_eq!(ended.error.unwrap().title(), "not-yet");

    let fail = "- fail:\n    call: fail\n    with: { type: 'https://x.example/broken', status: 422, title: broken }";
    world.deploy("fail", fail).await.unwrap();
    let ended = world.run("fail", "{}").await.unwrap();
    assert_eq!(ended.status(), Status::Faulted);
    let error = ended.error.unwrap();
    assert_eq!((error.r#type.as_str(), error.status), ("https://x.example/broken", 422));
    assert_eq!(error.instance(), "/do/0/fail");
    let calls = world.lab.calls();
    assert_eq!(calls.iter().filter(|call| call.function == "fail").count(), 1);
    world.end().await.unwrap();
}

#[tokio::test]
async fn a_caught_error_is_handled_and_another_is_not() {
    let world = World::begin(Setup::default()).await.unwrap();
    let tasks = "\
- careful:
    try:
      - risky:
          call: fail
          with: { type: '${ .type }', status: 409, title: clash }
    catch:
      errors:
        with:
          type: https://x.example/clash
      as: problem
      do:
        - mend:
            set: { mended: '${ $problem.title }', status: '${ $problem.status }' }";
    world.deploy("careful", tasks).await.unwrap();
    let ended = world.run("careful", r#"{"type":"https://x.example/clash"}"#).await.unwrap();
    assert_eq!(ended.output, r#"{"mended":"clash","status":409}"#);
    let ended = world.run("careful", r#"{"type":"https://x.example/other"}"#).await.unwrap();
    assert_eq!(ended.error.unwrap().r#type, "https://x.example/other");
    world.end().await.unwrap();
}

#[tokio::test]
async fn a_fork_waits_for_all_and_a_race_for_the_first() {
    let world = World::begin(Setup::default()).await.unwrap();
    let all = "\
- both:
    fork:
      branches:
        - left:
            call: add
            with: { n: 1 }
        - right:
            call: add
            with: { n: 2 }";
    world.deploy("all", all).await.unwrap();
    assert_eq!(world.run("all", "{}").await.unwrap().output, r#"[{"n":2},{"n":3}]"#);

    let race = "\
- race:
    fork:
      compete: true
      branches:
        - slow:
            call: hold
            with: { name: never }
        - fast:
            call: hold
            with: { name: fast }";
    world.deploy("race", race).await.unwrap();
    let id = world.start("race", "{}").await.unwrap();
    world.lab.begun("never", 1, DEADLINE).await.unwrap();
    world.lab.begun("fast", 1, DEADLINE).await.unwrap();
    world.lab.release("fast");
    assert_eq!(world.api.completed(&id, DEADLINE).await.unwrap(), r#"{"name":"fast"}"#);
    let history = world.api.history(&id).await.unwrap();
    let cancelled = history.iter().filter(|event| {
        matches!(event.event.as_ref().and_then(|e| e.kind.as_ref()), Some(Kind::StepCancelled(_)))
    });
    assert_eq!(cancelled.map(|event| event.task.as_str()).collect::<Vec<_>>(), ["slow"]);
    world.end().await.unwrap();
}

#[tokio::test]
async fn a_function_that_nobody_serves_shows() {
    let world = World::begin(Setup::default()).await.unwrap();
    world.deploy("nobody", "- ask:\n    call: nobody\n    with: {}").await.unwrap();
    let id = world.start("nobody", "{}").await.unwrap();
    let shown = async || {
        let status = world.api.status().await?;
        Ok(Some(status.unserved_functions).filter(|unserved| !unserved.is_empty()))
    };
    let unserved = eventually(DEADLINE, "the function shows as unserved", shown).await.unwrap();
    assert_eq!(unserved, ["lab.nobody"]);
    let instance = world.api.get(&id).await.unwrap();
    assert_eq!(instance.status(), Status::Running);
    let task = &instance.open_tasks[0];
    assert_eq!((task.name.as_str(), task.function.as_str()), ("ask", "lab.nobody"));
    assert!(task.unserved);
    world.end().await.unwrap();
}
