//! The events of an instance, as JSON and as lines for people.

use std::{collections::BTreeMap, fmt::Write as _};

use baton_proto::v1::{
    HistoryEvent, Json, Next, StepReport, child_ended, compensation_started, event::Kind, json,
    next, result_fenced::Result as Fenced,
};
use serde_json::{Value, json};

use crate::{
    judged,
    output::{Paint, Tone, fit},
    shape, times,
};

/// Stable, and the same for every version of the engine.
pub(crate) fn kind(event: &HistoryEvent) -> &'static str {
    match event_kind(event) {
        None => "unknown",
        Some(Kind::InstanceStarted(_)) => "instance-started",
        Some(Kind::TaskEntered(_)) => "task-entered",
        Some(Kind::TaskSkipped(_)) => "task-skipped",
        Some(Kind::TaskCompleted(_)) => "task-completed",
        Some(Kind::TaskFaulted(_)) => "task-faulted",
        Some(Kind::StepScheduled(_)) => "step-scheduled",
        Some(Kind::StepJudged(_)) => "step-judged",
        Some(Kind::StepRemedied(_)) => "step-remedied",
        Some(Kind::ApprovalAsked(_)) => "approval-asked",
        Some(Kind::ApprovalClaimed(_)) => "approval-claimed",
        Some(Kind::ApprovalAnswered(_)) => "approval-answered",
        Some(Kind::ApprovalOverdue(_)) => "approval-overdue",
        Some(Kind::ApprovalsVoided(_)) => "approvals-voided",
        Some(Kind::StepCompleted(_)) => "step-completed",
        Some(Kind::StepFailed(_)) => "step-failed",
        Some(Kind::KeyClaimed(_)) => "key-claimed",
        Some(Kind::KeyAttached(_)) => "key-attached",
        Some(Kind::KeyResolved(_)) => "key-resolved",
        Some(Kind::StepHalted(_)) => "step-halted",
        Some(Kind::ResultFenced(_)) => "result-fenced",
        Some(Kind::StepCancelled(_)) => "step-cancelled",
        Some(Kind::TimerStarted(_)) => "timer-started",
        Some(Kind::TimerFired(_)) => "timer-fired",
        Some(Kind::LoopStarted(_)) => "loop-started",
        Some(Kind::LoopIterated(_)) => "loop-iterated",
        Some(Kind::ErrorCaught(_)) => "error-caught",
        Some(Kind::RetryScheduled(_)) => "retry-scheduled",
        Some(Kind::InstanceSuspended(_)) => "instance-suspended",
        Some(Kind::InstanceResumed(_)) => "instance-resumed",
        Some(Kind::InstanceCompleted(_)) => "instance-completed",
        Some(Kind::InstanceFaulted(_)) => "instance-faulted",
        Some(Kind::InstanceCancelled(_)) => "instance-cancelled",
        Some(Kind::InstanceRerun(_)) => "instance-rerun",
        Some(Kind::ForkStarted(_)) => "fork-started",
        Some(Kind::MapStarted(_)) => "map-started",
        Some(Kind::MapItemFaulted(_)) => "map-item-faulted",
        Some(Kind::EventEmitted(_)) => "event-emitted",
        Some(Kind::EventPublished(_)) => "event-published",
        Some(Kind::ListenStarted(_)) => "listen-started",
        Some(Kind::EventTaken(_)) => "event-taken",
        Some(Kind::ListenIterated(_)) => "listen-iterated",
        Some(Kind::ListenIterationEnded(_)) => "listen-iteration-ended",
        Some(Kind::ChildStarted(_)) => "child-started",
        Some(Kind::ChildEnded(_)) => "child-ended",
        Some(Kind::ChildCancelled(_)) => "child-cancelled",
        Some(Kind::CompensationKept(_)) => "compensation-kept",
        Some(Kind::CompensationStarted(_)) => "compensation-started",
        Some(Kind::CompensationFailed(_)) => "compensation-failed",
    }
}

pub(crate) fn event_kind(event: &HistoryEvent) -> Option<&Kind> {
    event.event.as_ref()?.kind.as_ref()
}

/// After this event nothing follows, unless somebody asks for a rerun.
pub(crate) fn is_end(event: &HistoryEvent) -> bool {
    matches!(
        event_kind(event),
        Some(Kind::InstanceCompleted(_) | Kind::InstanceFaulted(_) | Kind::InstanceCancelled(_))
    )
}

pub(crate) fn at_ms(event: &HistoryEvent) -> i64 {
    event.at.as_ref().map_or(0, times::ms)
}

pub(crate) fn shape(event: &HistoryEvent) -> Value {
    json!({
        "number": event.number,
        "at": times::rfc3339(at_ms(event)),
        "kind": kind(event),
        "task": shape::non_empty(&event.task),
        "pointer": shape::non_empty(&event.pointer),
        "function": shape::non_empty(&event.function),
        "partition": event.partition,
        "sequence": event.sequence,
        "data": data(event),
    })
}

/// One line of at most `width` columns.
pub(crate) fn line(event: &HistoryEvent, start_ms: i64, width: usize, paint: Paint) -> String {
    let since = format!("+{}", times::span(at_ms(event).saturating_sub(start_ms)));
    let task = if event.function.is_empty() {
        event.task.clone()
    } else {
        format!("{} ({})", event.task, event.function)
    };
    let head = format!("{:>5}  {since:>8}  ", event.number);
    let room = width.saturating_sub(head.chars().count() + 20);
    let details = match event_kind(event) {
        Some(Kind::StepJudged(judged)) => judged::line(judged),
        Some(_) | None => details(&data(event)),
    };
    let rest = fit(format!("{task}  {details}").trim(), room);
    format!(
        "{}{} {rest}",
        paint.apply(Tone::Dim, &head),
        paint.apply(tone(event), &format!("{:<19}", kind(event)))
    )
    .trim_end()
    .to_owned()
}

fn tone(event: &HistoryEvent) -> Tone {
    match kind(event) {
        "step-completed" | "instance-completed" | "event-taken" => Tone::Good,
        "step-failed" | "task-faulted" | "instance-faulted" => Tone::Bad,
        "step-cancelled" | "child-cancelled" | "instance-cancelled" | "instance-suspended"
        | "retry-scheduled" | "error-caught" | "step-remedied" | "approval-overdue"
        | "approvals-voided" => Tone::Warn,
        "step-judged" => judged::tone(event_kind(event)),
        "step-scheduled" | "child-started" | "approval-asked" => Tone::Busy,
        _ => Tone::Plain,
    }
}

/// `key=value` of what the event holds and a person may want; the numbers of tasks are not among it.
fn details(data: &Value) -> String {
    let mut text = String::new();
    for (key, value) in data.as_object().into_iter().flatten() {
        let is_number_of_task = matches!(
            key.as_str(),
            "activation" | "parent" | "task" | "branch" | "workflow_hash" | "next" | "guarded"
        );
        if is_number_of_task || value.is_null() || *value == json!({}) || *value == json!("") {
            continue;
        }
        // Writing to a string cannot fail.
        let _ = match value {
            Value::String(plain) => write!(text, "{key}={plain} "),
            Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::Array(_)
            | Value::Object(_) => {
                write!(text, "{key}={value} ")
            }
        };
    }
    text
}

#[expect(clippy::too_many_lines, reason = "one arm for each event")]
fn data(event: &HistoryEvent) -> Value {
    let Some(kind) = event_kind(event) else { return Value::Null };
    match kind {
        Kind::InstanceStarted(e) => json!({
            "workflow_hash": hex(&e.workflow), "namespace": e.namespace, "name": e.name, "version": e.version,
            "input": value(e.input.as_ref()), "key": shape::non_empty(&e.key), "labels": e.labels,
            "traceparent": shape::non_empty(&e.traceparent),
            "parent_instance": e.parent.as_ref().map(|parent| id(&parent.instance)),
        }),
        Kind::TaskEntered(e) => json!({
            "activation": e.activation, "parent": e.parent, "task": e.task, "branch": e.branch,
            "raw_input": value(e.raw_input.as_ref()), "input": value(e.input.as_ref()), "deadline": time(e.deadline_ms),
        }),
        Kind::TaskSkipped(e) => {
            json!({ "parent": e.parent, "task": e.task, "next": next(e.next.as_ref()) })
        }
        Kind::TaskCompleted(e) => json!({
            "activation": e.activation, "output": value(e.output.as_ref()), "context": value(e.context.as_ref()),
            "next": next(e.next.as_ref()),
        }),
        Kind::TaskFaulted(e) => {
            json!({ "activation": e.activation, "error": e.error.as_ref().map(shape::problem) })
        }
        Kind::StepScheduled(e) => json!({
            "activation": e.activation, "attempt": e.attempt, "arguments": value(e.arguments.as_ref()),
            "guarded": e.guarded, "facts": value(e.facts.as_ref()),
        }),
        Kind::StepJudged(e) => json!({
            "activation": e.activation, "attempt": e.attempt, "verdict": judged::verdict(e),
            "wanted": e.wanted.iter().map(judged::wanted).collect::<Vec<_>>(), "set": hex(&e.set),
            "determining": e.determining, "errors": e.errors, "question": value(e.question.as_ref()),
        }),
        Kind::StepRemedied(e) => json!({
            "activation": e.activation, "attempt": e.attempt,
            "remedy": e.remedy.as_ref().and_then(judged::remedy), "arguments": value(e.arguments.as_ref()),
            "complete": e.complete,
        }),
        Kind::ApprovalAsked(e) => json!({
            "activation": e.activation, "attempt": e.attempt, "group": e.group, "quorum": e.quorum,
            "due": time(e.due_ms), "fallback": e.fallback.as_ref().and_then(judged::remedy),
            "reason": shape::non_empty(&e.reason), "policy": e.policy, "digest": hex(&e.digest),
        }),
        Kind::ApprovalClaimed(e) => json!({
            "activation": e.activation, "group": e.group, "by": shape::non_empty(&e.by),
        }),
        Kind::ApprovalAnswered(e) => json!({
            "activation": e.activation, "attempt": e.attempt, "group": e.group, "by": e.by,
            "approves": e.approves, "reason": shape::non_empty(&e.reason), "complete": e.complete,
        }),
        Kind::ApprovalOverdue(e) => json!({
            "activation": e.activation, "attempt": e.attempt, "policy": e.policy, "complete": e.complete,
        }),
        Kind::ApprovalsVoided(e) => json!({ "activation": e.activation, "attempt": e.attempt }),
        Kind::StepCompleted(e) => json!({
            "activation": e.activation, "attempt": e.attempt, "output": value(e.output.as_ref()),
            "report": e.report.as_ref().map(report),
        }),
        Kind::StepFailed(e) => json!({
            "activation": e.activation, "attempt": e.attempt, "error": e.error.as_ref().map(shape::problem),
            "retry_at": time(e.retry_at_ms), "report": e.report.as_ref().map(report),
        }),
        Kind::KeyClaimed(e) => json!({
            "activation": e.activation, "attempt": e.attempt, "guarded": e.guarded,
        }),
        Kind::KeyAttached(e) => json!({
            "activation": e.activation, "attempt": e.attempt, "by": id(&e.by),
            "output": value(e.output.as_ref()),
        }),
        Kind::KeyResolved(e) => json!({
            "activation": e.activation, "happened": e.happened, "by": e.by, "reason": e.reason,
        }),
        Kind::StepHalted(e) => json!({
            "activation": e.activation, "attempt": e.attempt, "switch": e.switch,
        }),
        Kind::ResultFenced(e) => {
            let (output, error) = match &e.result {
                Some(Fenced::Output(output)) => (value(Some(output)), None),
                Some(Fenced::Error(error)) => (Value::Null, Some(shape::problem(error))),
                None => (Value::Null, None),
            };
            json!({
                "activation": e.activation, "attempt": e.attempt, "output": output, "error": error,
                "report": e.report.as_ref().map(report),
            })
        }
        Kind::StepCancelled(e) => json!({ "activation": e.activation, "attempt": e.attempt }),
        Kind::TimerStarted(e) => {
            json!({ "activation": e.activation, "fires_at": time(e.fire_at_ms) })
        }
        Kind::TimerFired(e) => {
            json!({ "activation": e.activation, "output": value(e.output.as_ref()) })
        }
        Kind::LoopStarted(e) => json!({
            "activation": e.activation, "items": e.items.iter().map(|item| value(Some(item))).collect::<Vec<_>>(),
        }),
        Kind::LoopIterated(e) => json!({ "activation": e.activation, "index": e.index }),
        Kind::ForkStarted(e) => {
            json!({ "activation": e.activation, "branches": e.branches, "compete": e.compete })
        }
        Kind::MapStarted(e) => json!({
            "activation": e.activation, "items": value(e.items.as_ref()), "concurrency": e.concurrency,
            "collect": e.collect,
        }),
        Kind::MapItemFaulted(e) => json!({
            "activation": e.activation, "error": e.error.as_ref().map(shape::problem),
            "output": value(e.output.as_ref()),
        }),
        Kind::ErrorCaught(e) => {
            json!({ "activation": e.activation, "error": e.error.as_ref().map(shape::problem) })
        }
        Kind::RetryScheduled(e) => json!({
            "activation": e.activation, "attempt": e.attempt, "error": e.error.as_ref().map(shape::problem),
            "fires_at": time(e.fire_at_ms),
        }),
        Kind::InstanceSuspended(e) => json!({ "reason": shape::non_empty(&e.reason) }),
        Kind::InstanceResumed(_) => json!({}),
        Kind::InstanceCompleted(e) => json!({ "output": value(e.output.as_ref()) }),
        Kind::InstanceFaulted(e) => json!({ "error": e.error.as_ref().map(shape::problem) }),
        Kind::InstanceCancelled(e) => {
            json!({ "reason": shape::non_empty(&e.reason), "terminated": e.terminated })
        }
        Kind::InstanceRerun(e) => json!({
            "task": e.task, "input": value(e.input.as_ref()), "context": value(e.context.as_ref()),
        }),
        Kind::EventEmitted(e) => {
            json!({ "activation": e.activation, "event": value(e.event.as_ref()) })
        }
        Kind::EventPublished(e) => json!({ "activation": e.activation }),
        Kind::ListenStarted(e) => json!({
            "activation": e.activation, "correlation": values(&e.correlation), "each": e.each,
        }),
        Kind::EventTaken(e) => json!({
            "activation": e.activation, "filter": e.filter, "type": e.r#type, "source": e.source, "id": e.id,
            "position": e.position, "value": value(e.value.as_ref()), "correlation": values(&e.correlation),
            "over": e.over,
        }),
        Kind::ListenIterated(e) => json!({ "activation": e.activation, "index": e.index }),
        Kind::ListenIterationEnded(e) => json!({
            "activation": e.activation, "output": value(e.output.as_ref()), "context": value(e.context.as_ref()),
        }),
        Kind::ChildStarted(e) => json!({
            "activation": e.activation, "child": id(&e.child), "namespace": e.namespace, "name": e.name,
            "version": shape::non_empty(&e.version), "input": value(e.input.as_ref()), "awaited": e.awaited,
        }),
        Kind::ChildEnded(e) => match &e.result {
            Some(child_ended::Result::Output(output)) => {
                json!({ "activation": e.activation, "output": value(Some(output)) })
            }
            Some(child_ended::Result::Error(error)) => {
                json!({ "activation": e.activation, "error": shape::problem(error) })
            }
            None => json!({ "activation": e.activation }),
        },
        Kind::ChildCancelled(e) => json!({ "activation": e.activation, "child": id(&e.child) }),
        Kind::CompensationKept(e) => {
            json!({ "activation": e.activation, "task": e.task, "input": value(e.input.as_ref()) })
        }
        Kind::CompensationStarted(e) => match &e.cause {
            Some(compensation_started::Cause::Faulted(error)) => {
                json!({ "faulted": shape::problem(error) })
            }
            Some(compensation_started::Cause::Cancelled(reason)) => json!({ "cancelled": reason }),
            None => json!({}),
        },
        Kind::CompensationFailed(e) => json!({ "error": e.error.as_ref().map(shape::problem) }),
    }
}

fn values(map: &BTreeMap<String, Json>) -> Value {
    map.iter().map(|(key, json)| (key.clone(), value(Some(json)))).collect()
}

/// An instance's id as it is given out.
fn id(bytes: &[u8]) -> Option<String> {
    uuid::Uuid::from_slice(bytes).ok().map(|id| id.to_string())
}

fn value(json: Option<&Json>) -> Value {
    match json.and_then(|json| json.value.as_ref()) {
        None => Value::Null,
        Some(json::Value::Text(text)) => shape::value(text),
        Some(json::Value::Large(large)) => {
            json!({ "large": { "sha256": hex(&large.sha256), "bytes": large.bytes } })
        }
    }
}

fn next(next: Option<&Next>) -> Value {
    match next.and_then(|next| next.to.as_ref()) {
        None => Value::Null,
        Some(next::To::Task(task)) => json!({ "task": task }),
        Some(next::To::Exit(_)) => json!("exit"),
        Some(next::To::End(_)) => json!("end"),
    }
}

fn report(report: &StepReport) -> Value {
    json!({
        "worker": shape::non_empty(&report.worker), "service": shape::non_empty(&report.service),
        "started_at": time(report.started_ms), "finished_at": time(report.finished_ms),
    })
}

/// None for 0, which means never.
fn time(unix_ms: i64) -> Option<String> {
    if unix_ms == 0 { None } else { times::rfc3339(unix_ms) }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use baton_proto::v1::{Event, LargeValue, StepCompleted, StepScheduled};
    use prost_types::Timestamp;

    use super::*;

    fn event(kind: Kind) -> HistoryEvent {
        HistoryEvent {
            number: 7,
            at: Some(Timestamp { seconds: 1_769_846_401, nanos: 500_000_000 }),
            task: "charge".into(),
            pointer: "/do/0/charge".into(),
            event: Some(Event { kind: Some(kind) }),
            partition: 1,
            sequence: 42,
            function: "finance.charge".into(),
        }
    }

    #[test]
    fn an_event_has_its_place_its_kind_and_its_data() {
        let arguments = Some(Json { value: Some(json::Value::Text(r#"{"amount":1.10}"#.into())) });
        let scheduled = event(Kind::StepScheduled(StepScheduled {
            activation: 3,
            attempt: 1,
            arguments,
            ..StepScheduled::default()
        }));
        assert_eq!(
            shape(&scheduled).to_string(),
            r#"{"number":7,"at":"2026-01-31T08:00:01.500Z","kind":"step-scheduled","task":"charge","pointer":"/do/0/charge","function":"finance.charge","partition":1,"sequence":42,"data":{"activation":3,"attempt":1,"arguments":{"amount":1.10},"guarded":false,"facts":null}}"#
        );
    }

    #[test]
    fn a_large_value_is_a_reference() {
        let output = Some(Json {
            value: Some(json::Value::Large(LargeValue { sha256: vec![0xab, 1], bytes: 70_000 })),
        });
        let done = event(Kind::StepCompleted(StepCompleted {
            activation: 3,
            attempt: 1,
            output,
            report: None,
        }));
        assert_eq!(
            shape(&done)["data"]["output"],
            json!({ "large": { "sha256": "ab01", "bytes": 70_000 } })
        );
    }

    #[test]
    fn a_line_says_when_what_and_where_and_keeps_its_width() {
        let arguments = Some(Json { value: Some(json::Value::Text(r#"{"amount":1.10}"#.into())) });
        let scheduled = event(Kind::StepScheduled(StepScheduled {
            activation: 3,
            attempt: 2,
            arguments,
            ..StepScheduled::default()
        }));
        let plain = |width| line(&scheduled, 1_769_846_400_000, width, Paint { color: false });
        assert_eq!(
            plain(120),
            "    7     +1.5s  step-scheduled      charge (finance.charge)  attempt=2 arguments={\"amount\":1.10}"
        );
        assert_eq!(plain(60), "    7     +1.5s  step-scheduled      charge (finance.charge…");
    }
}
