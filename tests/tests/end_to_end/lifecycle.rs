//! Cancel, terminate, suspend, resume and rerun.

use baton_proto::v1::event::Kind;
use baton_proto::v1::{
    CancelRequest, RerunRequest, ResumeRequest, Status, SuspendRequest, TerminateRequest,
};
use baton_tests::world::code;
use baton_tests::{DEADLINE, Setup, World, eventually};

const HELD: &str = "- first:\n    call: hold\n    with: { name: one, n: '${ .n }' }\n- second:\n    call: hold\n    with: { name: two, n: '${ .n }' }";

fn id(text: &str) -> String {
    text.to_owned()
}

#[tokio::test]
async fn a_cancelled_instance_ends_and_its_worker_is_told() {
    let world = World::begin(Setup::default()).await.unwrap();
    world.deploy("held", HELD).await.unwrap();
    let mut workflows = world.api.workflows.clone();
    let held = world.start("held", r#"{"n":1}"#).await.unwrap();
    world.lab.begun("one", 1, DEADLINE).await.unwrap();

    let request = CancelRequest { id: held.clone(), reason: id("no longer wanted") };
    let cancelled = workflows.cancel(request.clone()).await.unwrap().into_inner();
    assert_eq!(cancelled.status(), Status::Cancelled);
    assert_eq!(cancelled.reason, "no longer wanted");
    assert!(cancelled.open_tasks.is_empty(), "{cancelled:?}");
    assert_eq!(world.api.get(&held).await.unwrap(), cancelled);
    // The handler lets go only when it is told, or released; nobody releases it. Its queue is empty then.
    let empty = async || {
        let client = world.cluster.nats.connect().await?;
        let jetstream = async_nats::jetstream::new(client);
        let stream = jetstream.get_stream("BATON_WORK").await?;
        Ok((stream.cached_info().state.messages == 0).then_some(()))
    };
    eventually(DEADLINE, "the command is out of the queue", empty).await.unwrap();

    let again = workflows.cancel(request).await.unwrap_err();
    assert_eq!(code(&again), "instance-ended");
    let request = TerminateRequest { id: held.clone(), reason: String::new() };
    assert_eq!(code(&workflows.terminate(request).await.unwrap_err()), "instance-ended");

    let other = world.start("held", r#"{"n":2}"#).await.unwrap();
    let request = TerminateRequest { id: other.clone(), reason: id("at once") };
    let terminated = workflows.terminate(request).await.unwrap().into_inner();
    assert_eq!((terminated.status(), terminated.reason.as_str()), (Status::Cancelled, "at once"));
    world.end().await.unwrap();
}

#[tokio::test]
async fn a_suspended_instance_takes_results_and_begins_nothing_until_it_is_resumed() {
    let mut world = World::begin(Setup::default()).await.unwrap();
    world.deploy("held", HELD).await.unwrap();
    let mut workflows = world.api.workflows.clone();
    let held = world.start("held", r#"{"n":1}"#).await.unwrap();
    world.lab.begun("one", 1, DEADLINE).await.unwrap();

    let suspend = SuspendRequest { id: held.clone(), reason: id("audit") };
    let suspended = workflows.suspend(suspend.clone()).await.unwrap().into_inner();
    assert_eq!((suspended.status(), suspended.reason.as_str()), (Status::Suspended, "audit"));
    assert_eq!(code(&workflows.suspend(suspend).await.unwrap_err()), "instance-suspended");

    world.lab.release("one");
    world.lab.release("two");
    let taken = async || {
        let history = world.api.history(&held).await?;
        let kinds = history.iter().filter_map(|event| event.event.as_ref()?.kind.as_ref());
        let mut completed = kinds.filter(|kind| matches!(kind, Kind::StepCompleted(_)));
        Ok(completed.next().map(|_| ()))
    };
    eventually(DEADLINE, "the result is taken", taken).await.unwrap();
    // It stays so over a restart.
    world.cluster.batond.kill().unwrap();
    world.cluster.batond.restart().await.unwrap();
    assert_eq!(world.api.get(&held).await.unwrap().status(), Status::Suspended);
    assert!(world.lab.calls().iter().all(|call| call.name == "one"));

    let resume = ResumeRequest { id: held.clone() };
    workflows.resume(resume.clone()).await.unwrap();
    let output = world.api.completed(&held, DEADLINE).await.unwrap();
    assert_eq!(output, r#"{"name":"two","n":1}"#);
    assert_eq!(code(&workflows.resume(resume.clone()).await.unwrap_err()), "instance-ended");
    let open = world.start("held", r#"{"n":3}"#).await.unwrap();
    world.api.completed(&open, DEADLINE).await.unwrap();
    world.end().await.unwrap();
}

#[tokio::test]
async fn an_ended_instance_runs_again_from_a_task_with_the_input_that_it_had() {
    let mut world = World::begin(Setup::default()).await.unwrap();
    let tasks = "- first:\n    call: add\n    with: { n: '${ .n }' }\n- second:\n    call: hold\n    with: { name: two, n: '${ .n }' }";
    world.deploy("again", tasks).await.unwrap();
    let mut workflows = world.api.workflows.clone();
    let rerun = world.start("again", r#"{"n":1}"#).await.unwrap();
    world.lab.begun("two", 1, DEADLINE).await.unwrap();
    let from = |task: &str| RerunRequest { id: rerun.clone(), task: id(task) };
    assert_eq!(code(&workflows.rerun(from("second")).await.unwrap_err()), "instance-open");
    let cancel = CancelRequest { id: rerun.clone(), reason: String::new() };
    workflows.cancel(cancel).await.unwrap();
    assert_eq!(code(&workflows.rerun(from("third")).await.unwrap_err()), "unknown-task");

    world.cluster.batond.kill().unwrap();
    world.cluster.batond.restart().await.unwrap();
    let running = workflows.rerun(from("second")).await.unwrap().into_inner();
    assert_eq!(running.status(), Status::Running, "{running:?}");
    world.lab.release("two");
    let output = world.api.completed(&rerun, DEADLINE).await.unwrap();
    assert_eq!(output, r#"{"name":"two","n":2}"#);
    let first = world.lab.calls().iter().filter(|call| call.function == "add").count();
    assert_eq!(first, 1, "what came before the task is not run again");
    world.end().await.unwrap();
}
