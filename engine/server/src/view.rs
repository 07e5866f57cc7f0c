//! An instance as the API shows it.

use baton_core::{
    Instance, Timestamp,
    instance::{End, Phase, Status},
};
use baton_proto::v1;

use crate::{
    cache::Summary,
    definitions::Definition,
    telemetry::trace_id,
    wire::{encode_error, hex},
};

pub fn timestamp(at: Timestamp) -> prost_types::Timestamp {
    prost_types::Timestamp {
        seconds: at.0.div_euclid(1_000),
        nanos: i32::try_from(at.0.rem_euclid(1_000) * 1_000_000).unwrap_or_default(),
    }
}

/// `None` when it is not a time that fits.
pub fn from_timestamp(at: &prost_types::Timestamp) -> Option<Timestamp> {
    let ms = at.seconds.checked_mul(1_000)?.checked_add(i64::from(at.nanos) / 1_000_000)?;
    Some(Timestamp(ms))
}

pub fn status_of(instance: &Instance) -> v1::Status {
    match instance.status() {
        Status::Running => v1::Status::Running,
        Status::Waiting => v1::Status::Waiting,
        Status::Suspended => v1::Status::Suspended,
        Status::Cancelled => v1::Status::Cancelled,
        Status::Faulted => v1::Status::Faulted,
        Status::Completed => v1::Status::Completed,
    }
}

/// `served`: whether a live worker offers a function.
pub fn instance(
    instance: &Instance,
    definition: Option<&Definition>,
    served: impl Fn(&str, &str) -> bool,
) -> v1::Instance {
    let started = &instance.started;
    let (output, error) = match &instance.ended {
        Some((_, End::Completed(output))) => (output.as_str().to_owned(), None),
        Some((_, End::Faulted(error))) => (String::new(), Some(encode_error(error))),
        Some((_, End::Cancelled)) | None => (String::new(), None),
    };
    v1::Instance {
        id: instance.id.to_string(),
        namespace: started.name.namespace.to_string(),
        name: started.name.name.to_string(),
        version: started.name.version.to_string(),
        status: status_of(instance).into(),
        started_at: Some(timestamp(instance.started_at)),
        updated_at: Some(timestamp(instance.updated_at)),
        ended_at: instance.ended.as_ref().map(|(at, _)| timestamp(*at)),
        input: started.input.as_str().to_owned(),
        output,
        error,
        labels: started
            .labels
            .iter()
            .map(|(key, value)| (key.to_string(), value.to_string()))
            .collect(),
        idempotency_key: started.key.to_string(),
        trace_id: trace_id(instance.id, &started.traceparent),
        open_tasks: definition
            .map(|definition| open_tasks(instance, definition, served))
            .unwrap_or_default(),
        reason: instance.reason.as_deref().unwrap_or_default().to_owned(),
        workflow_hash: hex(&started.workflow.0),
        parent: started.parent.map(|parent| parent.instance.to_string()).unwrap_or_default(),
    }
}

fn open_tasks(
    instance: &Instance,
    definition: &Definition,
    served: impl Fn(&str, &str) -> bool,
) -> Vec<v1::OpenTask> {
    let tasks = instance.activations.iter().skip(1).filter_map(|(id, activation)| {
        let task = definition.workflow.task(activation.task)?;
        let function = task.kind.function();
        let (attempt, since, until) = match &activation.phase {
            Phase::Step(step) => (step.attempt.0, step.scheduled_at, step.retry_at),
            Phase::Timer(at) => (0, activation.started_at, Some(*at)),
            Phase::Try(attempt) => (attempt.failures, activation.started_at, attempt.retry_at),
            Phase::Plain
            | Phase::Loop { .. }
            | Phase::Fork { .. }
            | Phase::Map(_)
            | Phase::Emit(_)
            | Phase::Listen(_)
            | Phase::Child { .. } => (0, activation.started_at, None),
        };
        Some(v1::OpenTask {
            name: task.name.to_string(),
            pointer: task.pointer.to_string(),
            activation: id.0,
            function: function.map(ToString::to_string).unwrap_or_default(),
            attempt,
            since: Some(timestamp(since)),
            until: until.or(activation.deadline).map(timestamp),
            unserved: function.is_some_and(|f| !served(&f.department, &f.name)),
            child: instance.open_child(*id).map(|(child, _)| child.to_string()).unwrap_or_default(),
        })
    });
    tasks.collect()
}

/// As lists show it: without values.
pub fn listed(id: [u8; 16], summary: Summary) -> v1::Instance {
    v1::Instance {
        id: baton_core::InstanceId(id).to_string(),
        namespace: summary.namespace,
        name: summary.name,
        version: summary.version,
        status: i32::from(summary.status),
        started_at: Some(timestamp(Timestamp(summary.started_at_ms))),
        updated_at: Some(timestamp(Timestamp(summary.updated_at_ms))),
        ended_at: (summary.ended_at_ms != 0).then(|| timestamp(Timestamp(summary.ended_at_ms))),
        labels: summary.labels,
        idempotency_key: summary.key,
        reason: summary.reason,
        trace_id: summary.trace_id,
        workflow_hash: hex(&summary.workflow_hash),
        ..Default::default()
    }
}
