//! What is written is what is read, whatever it holds.

mod broken;

use std::sync::Arc;

use baton_core::{
    ActivationId, Attempt, Duration, Error as WorkflowError, Event, Instance, InstanceId, Json,
    Next, TaskId, Timestamp,
    approval::{Answer, Ask},
    event::{Cause, Origin, Parent, Report, Started},
    guard::{Carried, Judgement, Remedy, Verdict, Wanted},
    workflow::{Hash, Name},
};

use super::*;

fn started(input: Json) -> Arc<Started> {
    Arc::new(Started {
        workflow: Hash([9; 32]),
        name: Name { namespace: "finance".into(), name: "pay".into(), version: "1.2.3".into() },
        input,
        key: "key".into(),
        labels: [("team".into(), "blue".into())].into(),
        traceparent: "".into(),
        parent: Some(Parent {
            instance: InstanceId([8; 16]),
            activation: ActivationId(3),
            depth: 2,
            awaited: true,
        }),
        carried: carried(),
        by: "person alice".into(),
    })
}

fn carried() -> Carried {
    Carried { taint: ["internal".into()].into(), cost: 9 }
}

fn error() -> WorkflowError {
    WorkflowError {
        kind: "urn:broken".into(),
        status: 503,
        title: Some("Broken".into()),
        detail: None,
        instance: Some("/do/0/pay".into()),
    }
}

/// One of each kind, in an order that an instance could live through.
#[expect(clippy::too_many_lines, reason = "one of each kind")]
fn story() -> Vec<Event> {
    let (step, root) = (ActivationId(1), ActivationId::ROOT);
    let json = |text: &str| Json::from_text(text);
    let entered = |activation, parent, task| Event::TaskEntered {
        activation,
        parent,
        task: TaskId(task),
        raw_input: Some(json(r#"{"a":1}"#)),
        input: Some(json("[1.50]")),
        deadline: Some(Timestamp(99)),
        branch: 0,
    };
    let child = |awaited| Event::ChildStarted {
        activation: ActivationId(5),
        child: InstanceId([4; 16]),
        workflow: Name { namespace: "a".into(), name: "b".into(), version: "".into() },
        input: json("{}"),
        awaited,
    };
    let report = Report {
        worker: "w".into(),
        service: "s".into(),
        started: Timestamp(3),
        finished: Timestamp(4),
        cost: 5,
    };
    let remedies = [
        Remedy::Approval("managers".into()),
        Remedy::Mask("iban".into()),
        Remedy::Wait("office-hours".into()),
        Remedy::Review("peers".into()),
        Remedy::Escalate("board".into()),
    ];
    let wanted = remedies.iter().map(|remedy| Wanted {
        remedy: remedy.clone(),
        policy: "p".into(),
        quorum: 2,
        due: Some(Duration(28_800_000)),
        reason: None,
        fallback: Some(remedies[4].clone()),
    });
    let unless = Verdict::DenyUnless(wanted.collect());
    let judged = |verdict| Event::StepJudged {
        activation: step,
        attempt: Attempt(1),
        judgement: Arc::new(Judgement {
            verdict,
            set: Hash([6; 32]),
            determining: vec!["b".into(), "a".into()],
            errors: vec!["e".into()],
            question: json(r#"{"action":"dispatch"}"#),
            function: "a.b".into(),
            classes: vec!["internal".into()],
            digest: Hash([5; 32]),
        }),
    };
    let asked = |policy: &str| Event::ApprovalAsked {
        activation: step,
        attempt: Attempt(1),
        ask: Arc::new(Ask {
            policy: policy.into(),
            group: "managers".into(),
            quorum: 2,
            due: Some(Timestamp(60)),
            fallback: Some(Remedy::Approval("board".into())),
            reason: Some("much".into()),
            digest: Hash([5; 32]),
            set: Hash([6; 32]),
        }),
    };
    let overdue = |complete| Event::ApprovalOverdue {
        activation: step,
        attempt: Attempt(1),
        policy: "a".into(),
        complete,
    };
    let answered = |complete| Event::ApprovalAnswered {
        activation: step,
        attempt: Attempt(1),
        group: "managers".into(),
        answer: Answer { by: "person bob".into(), reason: "".into(), at: Timestamp(2) },
        approves: true,
        complete,
    };
    vec![
        entered(root, root, 0),
        Event::TaskSkipped { parent: root, task: TaskId(1), next: Next::Task(TaskId(2)) },
        entered(step, root, 2),
        Event::StepScheduled {
            activation: step,
            attempt: Attempt(1),
            arguments: Some(json("2")),
            guarded: true,
            facts: Some(json(r#"{"amount":5}"#)),
            once: None,
        },
        judged(unless),
        asked("a"),
        asked("b"),
        Event::ApprovalClaimed {
            activation: step,
            group: "managers".into(),
            by: Some("person bob".into()),
        },
        Event::ApprovalClaimed { activation: step, group: "managers".into(), by: None },
        answered(false),
        overdue(false),
        overdue(true),
        Event::ApprovalsVoided { activation: step, attempt: Attempt(1) },
        asked("a"),
        answered(true),
        judged(Verdict::Deny),
        Event::StepRemedied {
            activation: step,
            attempt: Attempt(1),
            remedy: Remedy::Mask("iban".into()),
            arguments: Some(json("3")),
            complete: false,
        },
        Event::StepRemedied {
            activation: step,
            attempt: Attempt(1),
            remedy: Remedy::Review("peers".into()),
            arguments: None,
            complete: true,
        },
        judged(Verdict::Allow),
        Event::StepScheduled {
            activation: step,
            attempt: Attempt(1),
            arguments: None,
            guarded: true,
            facts: None,
            once: Some(Key { text: "pay:7".into(), attach: true }),
        },
        Event::KeyAttached {
            activation: step,
            attempt: Attempt(1),
            by: InstanceId([5; 16]),
            output: Json::from_text("1"),
        },
        Event::StepScheduled {
            activation: step,
            attempt: Attempt(1),
            arguments: None,
            guarded: true,
            facts: None,
            once: Some(Key { text: "pay:7".into(), attach: false }),
        },
        Event::KeyClaimed { activation: step, attempt: Attempt(1), guarded: true },
        judged(Verdict::Allow),
        Event::StepHalted { activation: step, attempt: Attempt(1), switch: "7".into() },
        Event::ResultFenced {
            activation: step,
            attempt: Attempt(1),
            result: Ok(Json::from_text("1")),
            report: report.clone(),
        },
        Event::ResultFenced {
            activation: step,
            attempt: Attempt(1),
            result: Err(error()),
            report: report.clone(),
        },
        Event::StepScheduled {
            activation: step,
            attempt: Attempt(1),
            arguments: None,
            guarded: true,
            facts: None,
            once: None,
        },
        judged(Verdict::Allow),
        Event::StepFailed {
            activation: step,
            attempt: Attempt(1),
            error: error(),
            retry_at: Some(Timestamp(50)),
            report: report.clone(),
        },
        Event::StepScheduled {
            activation: step,
            attempt: Attempt(2),
            arguments: None,
            guarded: true,
            facts: None,
            once: None,
        },
        judged(Verdict::Deny),
        Event::StepScheduled {
            activation: step,
            attempt: Attempt(2),
            arguments: None,
            guarded: false,
            facts: None,
            once: None,
        },
        Event::StepCompleted {
            activation: step,
            attempt: Attempt(2),
            output: json("\"ü\""),
            report,
        },
        Event::TaskCompleted {
            activation: step,
            output: None,
            context: Some(json("{}")),
            next: Next::Task(TaskId(3)),
        },
        entered(ActivationId(2), root, 3),
        Event::LoopStarted {
            activation: ActivationId(2),
            items: vec![json("1"), json("{\"b\": [2]}"), json("1e400")],
        },
        Event::LoopIterated { activation: ActivationId(2), index: 0 },
        Event::TaskCompleted {
            activation: ActivationId(2),
            output: Some(json("7")),
            context: None,
            next: Next::Exit,
        },
        entered(ActivationId(3), root, 4),
        Event::ForkStarted { activation: ActivationId(3), branches: 2, compete: false },
        entered(ActivationId(4), ActivationId(3), 5),
        Event::TimerStarted { activation: ActivationId(4), fire_at: Timestamp(1_000) },
        Event::TimerFired { activation: ActivationId(4), output: Some(json("1000")) },
        Event::TaskFaulted { activation: ActivationId(4), error: error() },
        Event::RetryScheduled {
            activation: ActivationId(3),
            attempt: Attempt(1),
            error: error(),
            fire_at: Timestamp(7),
        },
        Event::ErrorCaught { activation: ActivationId(3), error: error() },
        entered(ActivationId(5), ActivationId(3), 6),
        Event::EventEmitted { activation: ActivationId(5), event: json(r#"{"id":"1"}"#) },
        Event::EventPublished { activation: ActivationId(5) },
        Event::ListenStarted {
            activation: ActivationId(5),
            correlation: [("order".into(), json("7"))].into(),
            each: true,
        },
        Event::EventTaken {
            activation: ActivationId(5),
            filter: 2,
            value: Some(json("[1]")),
            correlation: [("room".into(), json("\"a\""))].into(),
            event: Origin {
                position: 40,
                floor: 30,
                id: "1".into(),
                source: "/s".into(),
                kind: "t".into(),
            },
            over: false,
        },
        Event::ListenIterated { activation: ActivationId(5), index: 0 },
        Event::ListenIterationEnded {
            activation: ActivationId(5),
            output: json("2"),
            context: Some(json("{}")),
        },
        child(true),
        Event::ChildEnded {
            activation: ActivationId(5),
            result: Ok(json("3")),
            carried: carried(),
        },
        child(false),
        Event::ChildEnded {
            activation: ActivationId(5),
            result: Err(error()),
            carried: baton_core::guard::Carried::default(),
        },
        child(true),
        Event::ChildCancelled { activation: ActivationId(5), child: InstanceId([4; 16]) },
        Event::TaskCompleted {
            activation: ActivationId(5),
            output: None,
            context: None,
            next: Next::Exit,
        },
        entered(ActivationId(6), ActivationId(3), 7),
        Event::MapStarted {
            activation: ActivationId(6),
            items: vec![json("1"), json("{\"b\": [2]}"), json("1e400")],
            concurrency: 2,
            collect: true,
        },
        entered(ActivationId(7), ActivationId(6), 8),
        Event::MapItemFaulted {
            activation: ActivationId(7),
            error: error(),
            output: json("{\"error\":1}"),
        },
        Event::CompensationKept {
            activation: ActivationId(6),
            task: TaskId(9),
            input: json("{\"input\":1,\"output\":2}"),
        },
        Event::InstanceSuspended { reason: "look".into() },
        Event::InstanceResumed,
        Event::CompensationStarted { cause: Cause::Faulted(error()) },
        Event::CompensationFailed { error: error() },
        Event::CompensationStarted { cause: Cause::Cancelled("enough".into()) },
        Event::InstanceCancelled { reason: "enough".into(), terminated: true },
        Event::InstanceRerun { task: TaskId(2), input: json("{}"), context: json("null") },
        Event::InstanceFaulted { error: error() },
    ]
}

#[test]
fn every_event_and_every_state_comes_back() {
    let mut instance =
        Instance::new(InstanceId([1; 16]), started(Json::from_text("{}")), Timestamp(1));
    let mut large = LargeValues::new();
    for event in story() {
        let encoded = encode_event(&event, &mut large);
        assert_eq!(decode_event(encoded, &LargeValues::new()).unwrap(), event);
        baton_core::apply(&mut instance, &event, Timestamp(2));
        let state = encode_state(&instance, &mut large);
        let decoded = decode_state(&state, &LargeValues::new()).unwrap();
        assert_eq!(decoded, instance, "after {event:?}");
        assert_eq!(encode_state(&decoded, &mut large), state, "the bytes are canonical");
    }
    assert!(large.is_empty());
}

#[test]
fn a_large_value_stands_elsewhere_under_its_hash() {
    let value = Json::from_text(format!("\"{}\"", "x".repeat(limits::INLINE_VALUE_BYTES_MAX)));
    let event = Event::InstanceStarted(started(value.clone()));
    let mut large = LargeValues::new();
    let encoded = encode_event(&event, &mut large);
    assert_eq!(large.values().collect::<Vec<_>>(), [&value]);
    let missing = decode_event(encoded.clone(), &LargeValues::new()).unwrap_err();
    let Error::LargeValue(sha256) = missing else { panic!("{missing}") };
    assert!(large.contains_key(&sha256));
    assert_eq!(decode_event(encoded, &large).unwrap(), event);
}
