//! The API's messages as JSON, with keys that stay.

use baton_proto::v1::{
    CatalogFunction, Definition, Error, Instance, OpenTask, PartitionStatus, Status, WorkerStatus,
};
use prost_types::Timestamp;
use serde_json::{Value, json};

use crate::times;

/// A status in one lower-case word.
pub(crate) fn status(instance: &Instance) -> &'static str {
    match instance.status() {
        Status::Unspecified => "unknown",
        Status::Pending => "pending",
        Status::Running => "running",
        Status::Waiting => "waiting",
        Status::Suspended => "suspended",
        Status::Cancelled => "cancelled",
        Status::Faulted => "faulted",
        Status::Completed => "completed",
    }
}

pub(crate) fn has_ended(instance: &Instance) -> bool {
    match instance.status() {
        Status::Cancelled | Status::Faulted | Status::Completed => true,
        Status::Unspecified
        | Status::Pending
        | Status::Running
        | Status::Waiting
        | Status::Suspended => false,
    }
}

/// `namespace/name:version`.
pub(crate) fn workflow(instance: &Instance) -> String {
    format!("{}/{}:{}", instance.namespace, instance.name, instance.version)
}

/// JSON text as a value, numbers as they were written; text that is not JSON as a string; nothing as null.
pub(crate) fn value(text: &str) -> Value {
    if text.is_empty() {
        return Value::Null;
    }
    serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.to_owned()))
}

pub(crate) fn instance(instance: &Instance) -> Value {
    json!({
        "id": instance.id,
        "namespace": instance.namespace,
        "name": instance.name,
        "version": instance.version,
        "workflow_hash": instance.workflow_hash,
        "status": status(instance),
        "reason": non_empty(&instance.reason),
        "started_at": time(instance.started_at.as_ref()),
        "updated_at": time(instance.updated_at.as_ref()),
        "ended_at": time(instance.ended_at.as_ref()),
        "input": value(&instance.input),
        "output": value(&instance.output),
        "error": instance.error.as_ref().map(problem),
        "labels": instance.labels,
        "idempotency_key": non_empty(&instance.idempotency_key),
        "trace_id": non_empty(&instance.trace_id),
        "parent": non_empty(&instance.parent),
        "open_tasks": instance.open_tasks.iter().map(open_task).collect::<Vec<_>>(),
    })
}

/// What `start --wait` answers.
pub(crate) fn result(instance: &Instance) -> Value {
    json!({
        "id": instance.id,
        "status": status(instance),
        "output": value(&instance.output),
        "error": instance.error.as_ref().map(problem),
    })
}

/// RFC 9457 problem details.
pub(crate) fn problem(error: &Error) -> Value {
    let mut problem = json!({ "type": error.r#type, "status": error.status });
    let members =
        [("title", &error.title), ("detail", &error.detail), ("instance", &error.instance)];
    for (key, member) in members {
        if let Some(member) = member {
            problem[key] = json!(member);
        }
    }
    problem
}

/// An error in one line, for people.
pub(crate) fn problem_text(error: &Error) -> String {
    let kind = error.r#type.rsplit('/').next().unwrap_or_default();
    let mut text = format!("{kind} {}", error.status);
    for part in [&error.title, &error.detail].into_iter().flatten() {
        text.push_str(": ");
        text.push_str(part);
    }
    text
}

pub(crate) fn function(function: &CatalogFunction) -> Value {
    let mut shape = json!({
        "name": function.name,
        "version": function.version,
        "hash": function.hash,
        "deployed_at": time(function.deployed_at.as_ref()),
    });
    if !function.source.is_empty() {
        shape["source"] = json!(function.source);
    }
    shape
}

pub(crate) fn definition(definition: &Definition) -> Value {
    let mut shape = json!({
        "namespace": definition.namespace,
        "name": definition.name,
        "version": definition.version,
        "hash": definition.hash,
        "title": non_empty(&definition.title),
        "deployed_at": time(definition.deployed_at.as_ref()),
    });
    if !definition.source.is_empty() {
        shape["source"] = json!(definition.source);
    }
    shape
}

pub(crate) fn partition(partition: &PartitionStatus) -> Value {
    json!({
        "partition": partition.partition,
        "state": partition.state,
        "epoch": partition.epoch,
        "log_position": partition.log_position,
        "open_instances": partition.open_instances,
        "detail": non_empty(&partition.detail),
    })
}

pub(crate) fn worker(worker: &WorkerStatus) -> Value {
    json!({
        "worker": worker.worker,
        "department": worker.department,
        "build": worker.build,
        "functions": worker.functions,
        "last_seen": time(worker.last_seen.as_ref()),
    })
}

pub(crate) fn non_empty(text: &str) -> Option<&str> {
    (!text.is_empty()).then_some(text)
}

fn open_task(task: &OpenTask) -> Value {
    json!({
        "name": task.name,
        "pointer": task.pointer,
        "activation": task.activation,
        "function": non_empty(&task.function),
        "attempt": task.attempt,
        "since": time(task.since.as_ref()),
        "until": time(task.until.as_ref()),
        "unserved": task.unserved,
        "child": non_empty(&task.child),
    })
}

fn time(at: Option<&Timestamp>) -> Option<String> {
    at.and_then(|at| times::rfc3339(times::ms(at)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_result_holds_values_and_not_strings_with_numbers_as_written() {
        let instance = Instance {
            id: "0199".into(),
            status: Status::Completed.into(),
            output: r#"{"paid":1234567890.12345678901234567890,"big":18446744073709551616}"#.into(),
            ..Instance::default()
        };
        assert_eq!(
            result(&instance).to_string(),
            r#"{"id":"0199","status":"completed","output":{"paid":1234567890.12345678901234567890,"big":18446744073709551616},"error":null}"#
        );
    }

    #[test]
    fn an_error_is_problem_details_without_the_members_it_lacks() {
        let error = Error {
            r#type: "https://example.com/errors/budget".into(),
            status: 400,
            title: Some("Over budget".into()),
            detail: None,
            instance: Some("/do/0/check".into()),
        };
        assert_eq!(
            problem(&error),
            json!({ "type": "https://example.com/errors/budget", "status": 400, "title": "Over budget",
                "instance": "/do/0/check" })
        );
        assert_eq!(problem_text(&error), "budget 400: Over budget");
    }

    #[test]
    fn an_instance_has_all_its_keys_also_when_there_is_nothing_to_say() {
        let shape = instance(&Instance { status: Status::Running.into(), ..Instance::default() });
        for key in ["reason", "ended_at", "input", "output", "error", "idempotency_key", "trace_id"]
        {
            assert_eq!(shape.get(key), Some(&Value::Null), "{key}");
        }
        assert_eq!(shape["status"], "running");
        assert_eq!(shape["labels"], json!({}));
    }
}
