//! Between the core's types and the bytes of the log: the only place where raw numbers and strings become ids.

mod guard;
mod state;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use baton_core::{
    ActivationId, Attempt, Error as WorkflowError, Event, InstanceId, Json, Next, TaskId,
    Timestamp,
    event::{Cause, Origin, Parent, Report, Started},
    guard::Carried,
    once::Key,
    workflow::{Hash, Name},
};
use baton_proto::v1::{self, event::Kind};
use sha2::{Digest, Sha256};

pub use state::{decode_state, encode_state};

use crate::limits;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("a field is missing or malformed: {0}")]
    Malformed(&'static str),
    /// Fetch it and decode again.
    #[error("the large value {} is not at hand", hex(.0))]
    LargeValue([u8; 32]),
}

/// Large values by the SHA-256 of their text: those that an encoding refers to, or that a decoding needs.
pub type LargeValues = HashMap<[u8; 32], Json>;

/// As a policy writes it: `approval:managers`.
pub fn remedy_text(remedy: &v1::Remedy) -> Option<String> {
    guard::decode_remedy(Some(remedy.clone())).ok().map(|remedy| remedy.to_string())
}

/// At most so many bytes, whole characters.
pub fn cut(text: &str, bytes_max: usize) -> &str {
    if text.len() <= bytes_max {
        return text;
    }
    let whole = (0..=bytes_max).rev().find(|end| text.is_char_boundary(*end)).unwrap_or_default();
    &text[..whole]
}

pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// What [`hex`] wrote, if it is that: lower-case, and as long as asked.
pub fn unhex<const N: usize>(text: &str) -> Option<[u8; N]> {
    if text.len() != 2 * N || !text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
        return None;
    }
    let mut bytes = [0; N];
    for (i, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * i..2 * i + 2], 16).ok()?;
    }
    Some(bytes)
}

/// # Errors
/// [`Error`] says what can go wrong.
pub fn instance_id(bytes: &[u8]) -> Result<InstanceId, Error> {
    Ok(InstanceId(bytes.try_into().map_err(|_| Error::Malformed("instance id"))?))
}

fn hash(bytes: &[u8]) -> Result<[u8; 32], Error> {
    bytes.try_into().map_err(|_| Error::Malformed("hash"))
}

pub fn encode_json(json: &Json, large: &mut LargeValues) -> v1::Json {
    let value = if json.len() > limits::INLINE_VALUE_BYTES_MAX {
        let sha256: [u8; 32] = Sha256::digest(json.as_str()).into();
        large.entry(sha256).or_insert_with(|| json.clone());
        v1::json::Value::Large(v1::LargeValue { sha256: sha256.to_vec(), bytes: json.len() as u64 })
    } else {
        v1::json::Value::Text(json.as_str().to_owned())
    };
    v1::Json { value: Some(value) }
}

fn encode_optional(json: Option<&Json>, large: &mut LargeValues) -> Option<v1::Json> {
    json.map(|json| encode_json(json, large))
}

/// # Errors
/// [`Error`] says what can go wrong.
pub fn decode_json(json: Option<v1::Json>, large: &LargeValues) -> Result<Json, Error> {
    decode_optional(json, large)?.ok_or(Error::Malformed("value"))
}

fn decode_optional(json: Option<v1::Json>, large: &LargeValues) -> Result<Option<Json>, Error> {
    let Some(json) = json else { return Ok(None) };
    match json.value.ok_or(Error::Malformed("value"))? {
        v1::json::Value::Text(text) => Ok(Some(Json::from_text(text))),
        v1::json::Value::Large(value) => {
            let sha256 = hash(&value.sha256)?;
            large.get(&sha256).cloned().map(Some).ok_or(Error::LargeValue(sha256))
        }
    }
}

fn encode_map(
    map: &BTreeMap<Arc<str>, Json>,
    large: &mut LargeValues,
) -> BTreeMap<String, v1::Json> {
    map.iter().map(|(key, value)| (key.to_string(), encode_json(value, large))).collect()
}

fn decode_map(
    map: BTreeMap<String, v1::Json>,
    large: &LargeValues,
) -> Result<BTreeMap<Arc<str>, Json>, Error> {
    map.into_iter()
        .map(|(key, value)| Ok((Arc::from(key), decode_json(Some(value), large)?)))
        .collect()
}

/// The items of an array as they stand in its text.
fn split_array(array: &Json) -> Result<Vec<Json>, Error> {
    let items: Vec<&serde_json::value::RawValue> =
        serde_json::from_str(array).map_err(|_| Error::Malformed("array"))?;
    Ok(items.into_iter().map(|item| Json::from_text(item.get())).collect())
}

pub fn encode_error(error: &WorkflowError) -> v1::Error {
    let text = |text: &Option<Arc<str>>| text.as_deref().map(str::to_owned);
    v1::Error {
        r#type: error.kind.to_string(),
        status: error.status.into(),
        title: text(&error.title),
        detail: text(&error.detail),
        instance: text(&error.instance),
    }
}

fn decode_error(error: Option<v1::Error>) -> Result<WorkflowError, Error> {
    let error = error.ok_or(Error::Malformed("error"))?;
    Ok(WorkflowError {
        kind: error.r#type.into(),
        status: u16::try_from(error.status).map_err(|_| Error::Malformed("error status"))?,
        title: error.title.map(Into::into),
        detail: error.detail.map(Into::into),
        instance: error.instance.map(Into::into),
    })
}

fn encode_next(next: Next) -> v1::Next {
    let to = match next {
        Next::Task(task) => v1::next::To::Task(task.0),
        Next::Exit => v1::next::To::Exit(true),
        Next::End => v1::next::To::End(true),
    };
    v1::Next { to: Some(to) }
}

fn decode_next(next: Option<v1::Next>) -> Result<Next, Error> {
    match next.and_then(|next| next.to).ok_or(Error::Malformed("next"))? {
        v1::next::To::Task(task) => Ok(Next::Task(TaskId(task))),
        v1::next::To::Exit(_) => Ok(Next::Exit),
        v1::next::To::End(_) => Ok(Next::End),
    }
}

fn encode_started(started: &Started, large: &mut LargeValues) -> v1::InstanceStarted {
    v1::InstanceStarted {
        workflow: started.workflow.0.to_vec(),
        input: Some(encode_json(&started.input, large)),
        key: started.key.to_string(),
        labels: started
            .labels
            .iter()
            .map(|(key, value)| (key.to_string(), value.to_string()))
            .collect(),
        traceparent: started.traceparent.to_string(),
        namespace: started.name.namespace.to_string(),
        name: started.name.name.to_string(),
        version: started.name.version.to_string(),
        parent: started.parent.map(|parent| v1::Parent {
            instance: parent.instance.0.to_vec(),
            activation: parent.activation.0,
            depth: parent.depth,
            awaited: parent.awaited,
        }),
        taint: guard::encode_texts(&started.carried.taint),
        cost: started.carried.cost,
        by: started.by.to_string(),
    }
}

fn decode_started(
    started: v1::InstanceStarted,
    large: &LargeValues,
) -> Result<Arc<Started>, Error> {
    Ok(Arc::new(Started {
        workflow: Hash(hash(&started.workflow)?),
        name: Name {
            namespace: started.namespace.into(),
            name: started.name.into(),
            version: started.version.into(),
        },
        input: decode_json(started.input, large)?,
        key: started.key.into(),
        labels: started.labels.into_iter().map(|(key, value)| (key.into(), value.into())).collect(),
        traceparent: started.traceparent.into(),
        parent: started.parent.as_ref().map(decode_parent).transpose()?,
        carried: Carried { taint: guard::decode_names(started.taint), cost: started.cost },
        by: started.by.into(),
    }))
}

fn decode_parent(parent: &v1::Parent) -> Result<Parent, Error> {
    Ok(Parent {
        instance: instance_id(&parent.instance)?,
        activation: ActivationId(parent.activation),
        depth: parent.depth,
        awaited: parent.awaited,
    })
}

fn encode_key(key: &Key) -> v1::OnceKey {
    v1::OnceKey { text: key.text.to_string(), attach: key.attach }
}

fn decode_key(key: v1::OnceKey) -> Key {
    Key { text: key.text.into(), attach: key.attach }
}

fn encode_report(report: &Report) -> v1::StepReport {
    v1::StepReport {
        worker: report.worker.to_string(),
        service: report.service.to_string(),
        started_ms: report.started.0,
        finished_ms: report.finished.0,
        cost: report.cost,
    }
}

fn decode_report(report: Option<v1::StepReport>) -> Report {
    let report = report.unwrap_or_default();
    Report {
        worker: report.worker.into(),
        service: report.service.into(),
        started: Timestamp(report.started_ms),
        finished: Timestamp(report.finished_ms),
        cost: report.cost,
    }
}

/// Milliseconds, 0 for never.
fn ms(at: Option<Timestamp>) -> i64 {
    at.map_or(0, |at| at.0)
}

fn at(ms: i64) -> Option<Timestamp> {
    (ms != 0).then_some(Timestamp(ms))
}

#[expect(clippy::too_many_lines, reason = "one arm for each event")]
pub fn encode_event(event: &Event, large: &mut LargeValues) -> v1::Event {
    let kind = match event {
        Event::InstanceStarted(started) => Kind::InstanceStarted(encode_started(started, large)),
        Event::TaskEntered { activation, parent, task, raw_input, input, deadline, branch } => {
            Kind::TaskEntered(v1::TaskEntered {
                activation: activation.0,
                parent: parent.0,
                task: task.0,
                raw_input: encode_optional(raw_input.as_ref(), large),
                input: encode_optional(input.as_ref(), large),
                deadline_ms: ms(*deadline),
                branch: *branch,
            })
        }
        Event::TaskSkipped { parent, task, next } => Kind::TaskSkipped(v1::TaskSkipped {
            parent: parent.0,
            task: task.0,
            next: Some(encode_next(*next)),
        }),
        Event::TaskCompleted { activation, output, context, next } => {
            Kind::TaskCompleted(v1::TaskCompleted {
                activation: activation.0,
                output: encode_optional(output.as_ref(), large),
                context: encode_optional(context.as_ref(), large),
                next: Some(encode_next(*next)),
            })
        }
        Event::TaskFaulted { activation, error } => Kind::TaskFaulted(v1::TaskFaulted {
            activation: activation.0,
            error: Some(encode_error(error)),
        }),
        Event::StepScheduled { activation, attempt, arguments, guarded, facts, once } => {
            Kind::StepScheduled(v1::StepScheduled {
                activation: activation.0,
                attempt: attempt.0,
                arguments: encode_optional(arguments.as_ref(), large),
                guarded: *guarded,
                facts: encode_optional(facts.as_ref(), large),
                once: once.as_ref().map(encode_key),
            })
        }
        Event::KeyClaimed { activation, attempt, guarded } => Kind::KeyClaimed(v1::KeyClaimed {
            activation: activation.0,
            attempt: attempt.0,
            guarded: *guarded,
        }),
        Event::KeyAttached { activation, attempt, by, output } => {
            Kind::KeyAttached(v1::KeyAttached {
                activation: activation.0,
                attempt: attempt.0,
                by: by.0.to_vec(),
                output: Some(encode_json(output, large)),
            })
        }
        Event::KeyResolved { activation, happened, by, reason } => {
            Kind::KeyResolved(v1::KeyResolved {
                activation: activation.0,
                happened: *happened,
                by: by.to_string(),
                reason: reason.to_string(),
            })
        }
        Event::StepJudged { activation, attempt, judgement } => Kind::StepJudged(v1::StepJudged {
            activation: activation.0,
            attempt: attempt.0,
            ..guard::encode_judgement(judgement, large)
        }),
        Event::StepRemedied { activation, attempt, remedy, arguments, complete } => {
            Kind::StepRemedied(v1::StepRemedied {
                activation: activation.0,
                attempt: attempt.0,
                remedy: Some(guard::encode_remedy(remedy)),
                arguments: encode_optional(arguments.as_ref(), large),
                complete: *complete,
            })
        }
        Event::ApprovalAsked { activation, attempt, ask } => {
            Kind::ApprovalAsked(v1::ApprovalAsked {
                activation: activation.0,
                attempt: attempt.0,
                ..guard::encode_ask(ask)
            })
        }
        Event::ApprovalClaimed { activation, group, by } => {
            Kind::ApprovalClaimed(v1::ApprovalClaimed {
                activation: activation.0,
                group: group.to_string(),
                by: by.as_deref().unwrap_or_default().to_owned(),
            })
        }
        Event::ApprovalAnswered { activation, attempt, group, answer, approves, complete } => {
            Kind::ApprovalAnswered(v1::ApprovalAnswered {
                activation: activation.0,
                attempt: attempt.0,
                group: group.to_string(),
                approves: *approves,
                complete: *complete,
                ..guard::encode_answer(answer)
            })
        }
        Event::ApprovalOverdue { activation, attempt, policy, complete } => {
            Kind::ApprovalOverdue(v1::ApprovalOverdue {
                activation: activation.0,
                attempt: attempt.0,
                policy: policy.to_string(),
                complete: *complete,
            })
        }
        Event::ApprovalsVoided { activation, attempt } => {
            Kind::ApprovalsVoided(v1::ApprovalsVoided {
                activation: activation.0,
                attempt: attempt.0,
            })
        }
        Event::StepCompleted { activation, attempt, output, report } => {
            Kind::StepCompleted(v1::StepCompleted {
                activation: activation.0,
                attempt: attempt.0,
                output: Some(encode_json(output, large)),
                report: Some(encode_report(report)),
            })
        }
        Event::StepFailed { activation, attempt, error, retry_at, report } => {
            Kind::StepFailed(v1::StepFailed {
                activation: activation.0,
                attempt: attempt.0,
                error: Some(encode_error(error)),
                retry_at_ms: ms(*retry_at),
                report: Some(encode_report(report)),
            })
        }
        Event::StepHalted { activation, attempt, switch } => Kind::StepHalted(v1::StepHalted {
            activation: activation.0,
            attempt: attempt.0,
            switch: switch.to_string(),
        }),
        Event::ResultFenced { activation, attempt, result, report } => {
            Kind::ResultFenced(v1::ResultFenced {
                activation: activation.0,
                attempt: attempt.0,
                result: Some(match result {
                    Ok(output) => v1::result_fenced::Result::Output(encode_json(output, large)),
                    Err(error) => v1::result_fenced::Result::Error(encode_error(error)),
                }),
                report: Some(encode_report(report)),
            })
        }
        Event::StepCancelled { activation, attempt } => {
            Kind::StepCancelled(v1::StepCancelled { activation: activation.0, attempt: attempt.0 })
        }
        Event::TimerStarted { activation, fire_at } => {
            Kind::TimerStarted(v1::TimerStarted { activation: activation.0, fire_at_ms: fire_at.0 })
        }
        Event::TimerFired { activation, output } => Kind::TimerFired(v1::TimerFired {
            activation: activation.0,
            output: encode_optional(output.as_ref(), large),
        }),
        Event::LoopStarted { activation, items } => Kind::LoopStarted(v1::LoopStarted {
            activation: activation.0,
            items: Some(encode_json(&Json::array(items), large)),
        }),
        Event::LoopIterated { activation, index } => {
            Kind::LoopIterated(v1::LoopIterated { activation: activation.0, index: *index })
        }
        Event::ForkStarted { activation, branches, compete } => {
            Kind::ForkStarted(v1::ForkStarted {
                activation: activation.0,
                branches: *branches,
                compete: *compete,
            })
        }
        Event::MapStarted { activation, items, concurrency, collect } => {
            Kind::MapStarted(v1::MapStarted {
                activation: activation.0,
                items: Some(encode_json(&Json::array(items), large)),
                concurrency: *concurrency,
                collect: *collect,
            })
        }
        Event::MapItemFaulted { activation, error, output } => {
            Kind::MapItemFaulted(v1::MapItemFaulted {
                activation: activation.0,
                error: Some(encode_error(error)),
                output: Some(encode_json(output, large)),
            })
        }
        Event::ErrorCaught { activation, error } => Kind::ErrorCaught(v1::ErrorCaught {
            activation: activation.0,
            error: Some(encode_error(error)),
        }),
        Event::RetryScheduled { activation, attempt, error, fire_at } => {
            Kind::RetryScheduled(v1::RetryScheduled {
                activation: activation.0,
                attempt: attempt.0,
                error: Some(encode_error(error)),
                fire_at_ms: fire_at.0,
            })
        }
        Event::InstanceSuspended { reason } => {
            Kind::InstanceSuspended(v1::InstanceSuspended { reason: reason.to_string() })
        }
        Event::InstanceResumed => Kind::InstanceResumed(v1::InstanceResumed {}),
        Event::InstanceCompleted { output } => Kind::InstanceCompleted(v1::InstanceCompleted {
            output: Some(encode_json(output, large)),
        }),
        Event::InstanceFaulted { error } => {
            Kind::InstanceFaulted(v1::InstanceFaulted { error: Some(encode_error(error)) })
        }
        Event::InstanceCancelled { reason, terminated } => {
            Kind::InstanceCancelled(v1::InstanceCancelled {
                reason: reason.to_string(),
                terminated: *terminated,
            })
        }
        Event::InstanceRerun { task, input, context } => Kind::InstanceRerun(v1::InstanceRerun {
            task: task.0,
            input: Some(encode_json(input, large)),
            context: Some(encode_json(context, large)),
        }),
        Event::EventEmitted { activation, event } => Kind::EventEmitted(v1::EventEmitted {
            activation: activation.0,
            event: Some(encode_json(event, large)),
        }),
        Event::EventPublished { activation } => {
            Kind::EventPublished(v1::EventPublished { activation: activation.0 })
        }
        Event::ListenStarted { activation, correlation, each } => {
            Kind::ListenStarted(v1::ListenStarted {
                activation: activation.0,
                correlation: encode_map(correlation, large),
                each: *each,
            })
        }
        Event::EventTaken { activation, filter, value, correlation, event, over } => {
            Kind::EventTaken(v1::EventTaken {
                activation: activation.0,
                filter: *filter,
                value: encode_optional(value.as_ref(), large),
                correlation: encode_map(correlation, large),
                position: event.position,
                floor: event.floor,
                id: event.id.to_string(),
                source: event.source.to_string(),
                r#type: event.kind.to_string(),
                over: *over,
            })
        }
        Event::ListenIterated { activation, index } => {
            Kind::ListenIterated(v1::ListenIterated { activation: activation.0, index: *index })
        }
        Event::ListenIterationEnded { activation, output, context } => {
            Kind::ListenIterationEnded(v1::ListenIterationEnded {
                activation: activation.0,
                output: Some(encode_json(output, large)),
                context: encode_optional(context.as_ref(), large),
            })
        }
        Event::ChildStarted { activation, child, workflow, input, awaited } => {
            Kind::ChildStarted(v1::ChildStarted {
                activation: activation.0,
                child: child.0.to_vec(),
                namespace: workflow.namespace.to_string(),
                name: workflow.name.to_string(),
                version: workflow.version.to_string(),
                input: Some(encode_json(input, large)),
                awaited: *awaited,
            })
        }
        Event::ChildEnded { activation, result, carried } => {
            let result = match result {
                Ok(output) => v1::child_ended::Result::Output(encode_json(output, large)),
                Err(error) => v1::child_ended::Result::Error(encode_error(error)),
            };
            Kind::ChildEnded(v1::ChildEnded {
                activation: activation.0,
                result: Some(result),
                taint: guard::encode_texts(&carried.taint),
                cost: carried.cost,
            })
        }
        Event::ChildCancelled { activation, child } => Kind::ChildCancelled(v1::ChildCancelled {
            activation: activation.0,
            child: child.0.to_vec(),
        }),
        Event::CompensationKept { activation, task, input } => {
            Kind::CompensationKept(v1::CompensationKept {
                activation: activation.0,
                task: task.0,
                input: Some(encode_json(input, large)),
            })
        }
        Event::CompensationStarted { cause } => Kind::CompensationStarted(encode_cause(cause)),
        Event::CompensationFailed { error } => {
            Kind::CompensationFailed(v1::CompensationFailed { error: Some(encode_error(error)) })
        }
    };
    v1::Event { kind: Some(kind) }
}

/// # Errors
/// [`Error`] says what can go wrong.
#[expect(clippy::too_many_lines, reason = "one arm for each event")]
pub fn decode_event(event: v1::Event, large: &LargeValues) -> Result<Event, Error> {
    let activation = ActivationId;
    Ok(match event.kind.ok_or(Error::Malformed("event of an unknown kind"))? {
        Kind::InstanceStarted(e) => Event::InstanceStarted(decode_started(e, large)?),
        Kind::TaskEntered(e) => Event::TaskEntered {
            activation: activation(e.activation),
            parent: activation(e.parent),
            task: TaskId(e.task),
            raw_input: decode_optional(e.raw_input, large)?,
            input: decode_optional(e.input, large)?,
            deadline: at(e.deadline_ms),
            branch: e.branch,
        },
        Kind::TaskSkipped(e) => Event::TaskSkipped {
            parent: activation(e.parent),
            task: TaskId(e.task),
            next: decode_next(e.next)?,
        },
        Kind::TaskCompleted(e) => Event::TaskCompleted {
            activation: activation(e.activation),
            output: decode_optional(e.output, large)?,
            context: decode_optional(e.context, large)?,
            next: decode_next(e.next)?,
        },
        Kind::TaskFaulted(e) => Event::TaskFaulted {
            activation: activation(e.activation),
            error: decode_error(e.error)?,
        },
        Kind::StepScheduled(e) => Event::StepScheduled {
            activation: activation(e.activation),
            attempt: Attempt(e.attempt),
            arguments: decode_optional(e.arguments, large)?,
            guarded: e.guarded,
            facts: decode_optional(e.facts, large)?,
            once: e.once.map(decode_key),
        },
        Kind::StepJudged(e) => Event::StepJudged {
            activation: activation(e.activation),
            attempt: Attempt(e.attempt),
            judgement: Arc::new(guard::decode_judgement(e, large)?),
        },
        Kind::StepRemedied(e) => Event::StepRemedied {
            activation: activation(e.activation),
            attempt: Attempt(e.attempt),
            remedy: guard::decode_remedy(e.remedy)?,
            arguments: decode_optional(e.arguments, large)?,
            complete: e.complete,
        },
        Kind::ApprovalAsked(e) => Event::ApprovalAsked {
            activation: activation(e.activation),
            attempt: Attempt(e.attempt),
            ask: Arc::new(guard::decode_ask(e)?),
        },
        Kind::ApprovalClaimed(e) => Event::ApprovalClaimed {
            activation: activation(e.activation),
            group: e.group.into(),
            by: (!e.by.is_empty()).then(|| Arc::from(e.by)),
        },
        Kind::ApprovalAnswered(e) => Event::ApprovalAnswered {
            activation: activation(e.activation),
            attempt: Attempt(e.attempt),
            group: e.group.as_str().into(),
            approves: e.approves,
            complete: e.complete,
            answer: guard::decode_answer(e),
        },
        Kind::ApprovalOverdue(e) => Event::ApprovalOverdue {
            activation: activation(e.activation),
            attempt: Attempt(e.attempt),
            policy: e.policy.into(),
            complete: e.complete,
        },
        Kind::ApprovalsVoided(e) => Event::ApprovalsVoided {
            activation: activation(e.activation),
            attempt: Attempt(e.attempt),
        },
        Kind::StepCompleted(e) => Event::StepCompleted {
            activation: activation(e.activation),
            attempt: Attempt(e.attempt),
            output: decode_json(e.output, large)?,
            report: decode_report(e.report),
        },
        Kind::StepFailed(e) => Event::StepFailed {
            activation: activation(e.activation),
            attempt: Attempt(e.attempt),
            error: decode_error(e.error)?,
            retry_at: at(e.retry_at_ms),
            report: decode_report(e.report),
        },
        Kind::KeyClaimed(e) => Event::KeyClaimed {
            activation: activation(e.activation),
            attempt: Attempt(e.attempt),
            guarded: e.guarded,
        },
        Kind::KeyAttached(e) => Event::KeyAttached {
            activation: activation(e.activation),
            attempt: Attempt(e.attempt),
            by: instance_id(&e.by)?,
            output: decode_json(e.output, large)?,
        },
        Kind::KeyResolved(e) => Event::KeyResolved {
            activation: activation(e.activation),
            happened: e.happened,
            by: e.by.into(),
            reason: e.reason.into(),
        },
        Kind::StepHalted(e) => Event::StepHalted {
            activation: activation(e.activation),
            attempt: Attempt(e.attempt),
            switch: e.switch.into(),
        },
        Kind::ResultFenced(e) => Event::ResultFenced {
            activation: activation(e.activation),
            attempt: Attempt(e.attempt),
            result: match e.result.ok_or(Error::Malformed("result"))? {
                v1::result_fenced::Result::Output(output) => Ok(decode_json(Some(output), large)?),
                v1::result_fenced::Result::Error(error) => Err(decode_error(Some(error))?),
            },
            report: decode_report(e.report),
        },
        Kind::StepCancelled(e) => Event::StepCancelled {
            activation: activation(e.activation),
            attempt: Attempt(e.attempt),
        },
        Kind::TimerStarted(e) => Event::TimerStarted {
            activation: activation(e.activation),
            fire_at: Timestamp(e.fire_at_ms),
        },
        Kind::TimerFired(e) => Event::TimerFired {
            activation: activation(e.activation),
            output: decode_optional(e.output, large)?,
        },
        Kind::LoopStarted(e) => Event::LoopStarted {
            activation: activation(e.activation),
            items: split_array(&decode_json(e.items, large)?)?,
        },
        Kind::LoopIterated(e) => {
            Event::LoopIterated { activation: activation(e.activation), index: e.index }
        }
        Kind::ForkStarted(e) => Event::ForkStarted {
            activation: activation(e.activation),
            branches: e.branches,
            compete: e.compete,
        },
        Kind::MapStarted(e) => Event::MapStarted {
            activation: activation(e.activation),
            items: split_array(&decode_json(e.items, large)?)?,
            concurrency: e.concurrency,
            collect: e.collect,
        },
        Kind::MapItemFaulted(e) => Event::MapItemFaulted {
            activation: activation(e.activation),
            error: decode_error(e.error)?,
            output: decode_json(e.output, large)?,
        },
        Kind::ErrorCaught(e) => Event::ErrorCaught {
            activation: activation(e.activation),
            error: decode_error(e.error)?,
        },
        Kind::RetryScheduled(e) => Event::RetryScheduled {
            activation: activation(e.activation),
            attempt: Attempt(e.attempt),
            error: decode_error(e.error)?,
            fire_at: Timestamp(e.fire_at_ms),
        },
        Kind::InstanceSuspended(e) => Event::InstanceSuspended { reason: e.reason.into() },
        Kind::InstanceResumed(_) => Event::InstanceResumed,
        Kind::InstanceCompleted(e) => {
            Event::InstanceCompleted { output: decode_json(e.output, large)? }
        }
        Kind::InstanceFaulted(e) => Event::InstanceFaulted { error: decode_error(e.error)? },
        Kind::InstanceCancelled(e) => {
            Event::InstanceCancelled { reason: e.reason.into(), terminated: e.terminated }
        }
        Kind::InstanceRerun(e) => Event::InstanceRerun {
            task: TaskId(e.task),
            input: decode_json(e.input, large)?,
            context: decode_json(e.context, large)?,
        },
        Kind::EventEmitted(e) => Event::EventEmitted {
            activation: activation(e.activation),
            event: decode_json(e.event, large)?,
        },
        Kind::EventPublished(e) => Event::EventPublished { activation: activation(e.activation) },
        Kind::ListenStarted(e) => Event::ListenStarted {
            activation: activation(e.activation),
            correlation: decode_map(e.correlation, large)?,
            each: e.each,
        },
        Kind::EventTaken(e) => Event::EventTaken {
            activation: activation(e.activation),
            filter: e.filter,
            value: decode_optional(e.value, large)?,
            correlation: decode_map(e.correlation, large)?,
            event: Origin {
                position: e.position,
                floor: e.floor,
                id: e.id.into(),
                source: e.source.into(),
                kind: e.r#type.into(),
            },
            over: e.over,
        },
        Kind::ListenIterated(e) => {
            Event::ListenIterated { activation: activation(e.activation), index: e.index }
        }
        Kind::ListenIterationEnded(e) => Event::ListenIterationEnded {
            activation: activation(e.activation),
            output: decode_json(e.output, large)?,
            context: decode_optional(e.context, large)?,
        },
        Kind::ChildStarted(e) => Event::ChildStarted {
            activation: activation(e.activation),
            child: instance_id(&e.child)?,
            workflow: Name {
                namespace: e.namespace.into(),
                name: e.name.into(),
                version: e.version.into(),
            },
            input: decode_json(e.input, large)?,
            awaited: e.awaited,
        },
        Kind::ChildEnded(e) => Event::ChildEnded {
            activation: activation(e.activation),
            result: match e.result.ok_or(Error::Malformed("end of a child"))? {
                v1::child_ended::Result::Output(output) => Ok(decode_json(Some(output), large)?),
                v1::child_ended::Result::Error(error) => Err(decode_error(Some(error))?),
            },
            carried: Carried { taint: guard::decode_names(e.taint), cost: e.cost },
        },
        Kind::ChildCancelled(e) => Event::ChildCancelled {
            activation: activation(e.activation),
            child: instance_id(&e.child)?,
        },
        Kind::CompensationKept(e) => Event::CompensationKept {
            activation: activation(e.activation),
            task: TaskId(e.task),
            input: decode_json(e.input, large)?,
        },
        Kind::CompensationStarted(e) => Event::CompensationStarted { cause: decode_cause(e)? },
        Kind::CompensationFailed(e) => Event::CompensationFailed { error: decode_error(e.error)? },
    })
}

fn encode_cause(cause: &Cause) -> v1::CompensationStarted {
    let cause = match cause {
        Cause::Faulted(error) => v1::compensation_started::Cause::Faulted(encode_error(error)),
        Cause::Cancelled(reason) => v1::compensation_started::Cause::Cancelled(reason.to_string()),
    };
    v1::CompensationStarted { cause: Some(cause) }
}

fn decode_cause(started: v1::CompensationStarted) -> Result<Cause, Error> {
    Ok(match started.cause.ok_or(Error::Malformed("cause of a compensation"))? {
        v1::compensation_started::Cause::Faulted(error) => {
            Cause::Faulted(decode_error(Some(error))?)
        }
        v1::compensation_started::Cause::Cancelled(reason) => Cause::Cancelled(reason.into()),
    })
}
