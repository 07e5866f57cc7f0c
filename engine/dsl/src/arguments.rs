//! Calls held against what the workers say of their functions: whether anybody offers them, and what they take.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use baton_core::{
    Workflow,
    workflow::{Function, Kind},
};
use jsonschema::{ValidationError, Validator, error::ValidationErrorKind};

use crate::{
    builder::inside,
    calls::protocol,
    diagnostic::{Diagnostic, Sink},
    json::escape_pointer,
    located, schema,
    tree::{self, Node, Value},
};

/// What is known of a function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Offer {
    /// No worker offers it now.
    None,
    /// Of its arguments, nothing is known.
    Anything,
    /// The JSON Schema of its arguments, as its worker wrote it.
    Schema(Arc<str>),
}

/// Warnings about the calls of a workflow that was compiled from `source`. Only what is literally there is looked at:
/// what an expression will give is not known yet.
pub fn check_arguments(
    workflow: &Workflow,
    source: &str,
    offer: impl Fn(&Function) -> Offer,
) -> Vec<Diagnostic> {
    let mut sink = Sink::default();
    let Some(tree) = tree::parse(source, &mut sink) else { return Vec::new() };
    let mode = tree.get("evaluate").and_then(|evaluate| evaluate.get("mode"));
    let loose = mode.and_then(Node::as_str) == Some("loose");
    // Asked once for each function, which a long workflow may call ten thousand times: `None` when nobody offers it,
    // `Some(None)` when nothing is known of its arguments.
    let mut known = BTreeMap::new();
    for task in &workflow.tasks {
        let Kind::Step { function, .. } = &task.kind else { continue };
        let Some(node) = tree.at(&task.pointer) else { continue };
        let call = node.get("call");
        let taken = known.entry(function).or_insert_with(|| match offer(function) {
            Offer::None => None,
            Offer::Anything => Some(None),
            Offer::Schema(text) => Some(validator(&text)),
        });
        let Some(schema) = taken else {
            sink.warn(
                "unserved-function",
                call.unwrap_or(node).place,
                format!("no worker offers `{function}` now"),
                "start its worker, or correct the name",
            );
            continue;
        };
        // What a call of the language itself holds is not what its worker gets.
        let own = call.and_then(Node::as_str).is_none_or(|call| protocol(call).is_some());
        if !own
            && let Some(with) = node.get("with")
            && let Some(schema) = schema
        {
            mismatches(with, function, schema, loose, &mut sink);
        }
    }
    located(sink, Some(&tree))
}

/// `None` when the worker's schema is no schema, which is its worker's business, or could take for ever.
fn validator(text: &str) -> Option<Validator> {
    let schema = tree::parse(text, &mut Sink::default())?;
    if !is_bounded(&schema) {
        return None;
    }
    schema::compile(&schema).ok()
}

/// Definitions that refer to definitions may double the work each time: whoever announces a function must not be able
/// to hold up those who deploy a workflow that calls it. So only the schema itself may refer, and only to `$defs`.
fn is_bounded(schema: &Node) -> bool {
    const DEFINITIONS: [&str; 2] = ["$defs", "definitions"];
    let Value::Object(members) = &schema.value else { return true };
    members.iter().all(|member| match member.key.as_str() {
        key if DEFINITIONS.contains(&key) => refers_at_most(&member.value, &|_| false),
        "$id" => true,
        "$ref" => member.value.as_str().is_some_and(is_definition),
        _ => refers_at_most(&member.value, &is_definition),
    })
}

fn is_definition(reference: &str) -> bool {
    reference.starts_with("#/$defs/") || reference.starts_with("#/definitions/")
}

/// Whether all references below are allowed, and none is relative to anything but the whole.
fn refers_at_most(node: &Node, allowed: &dyn Fn(&str) -> bool) -> bool {
    match &node.value {
        Value::Object(members) => members.iter().all(|member| match member.key.as_str() {
            "$ref" => member.value.as_str().is_none_or(allowed),
            "$dynamicRef" | "$recursiveRef" | "$id" => false,
            _ => refers_at_most(&member.value, allowed),
        }),
        Value::Array(items) => items.iter().all(|item| refers_at_most(item, allowed)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => true,
    }
}

fn mismatches(
    with: &Node,
    function: &Function,
    validator: &Validator,
    loose: bool,
    sink: &mut Sink,
) {
    let mut open = BTreeSet::new();
    let value = literal(with, "", loose, &mut open);
    for error in validator.iter_errors(&value) {
        let pointer = error.instance_path().as_str();
        if is_certain(&error, pointer, &open) {
            let place = with.at(pointer).unwrap_or(with).place;
            let message = format!("`{function}` does not take this: {}", error.masked());
            let hint = "correct the argument, or the schema that its worker announces";
            sink.warn("argument-mismatch", place, message, hint);
        }
    }
}

/// The arguments, with `null` where an expression stands; `open` gets the pointers of those.
fn literal(
    node: &Node,
    pointer: &str,
    loose: bool,
    open: &mut BTreeSet<String>,
) -> serde_json::Value {
    match &node.value {
        Value::Null => serde_json::Value::Null,
        Value::Bool(bool) => (*bool).into(),
        Value::Number(text) => serde_json::from_str(text).unwrap_or_default(),
        Value::String(text) if loose || inside(text).is_some() => {
            open.insert(pointer.to_owned());
            serde_json::Value::Null
        }
        Value::String(text) => text.as_str().into(),
        Value::Array(items) => {
            let items = items.iter().enumerate();
            items.map(|(i, item)| literal(item, &format!("{pointer}/{i}"), loose, open)).collect()
        }
        Value::Object(members) => {
            let members = members.iter().map(|member| {
                let pointer = format!("{pointer}/{}", escape_pointer(&member.key));
                (member.key.clone(), literal(&member.value, &pointer, loose, open))
            });
            serde_json::Value::Object(members.collect())
        }
    }
}

/// Whether the error stands whatever the expressions will give.
fn is_certain(error: &ValidationError<'_>, pointer: &str, open: &BTreeSet<String>) -> bool {
    if open.contains(pointer) {
        return false;
    }
    let below = format!("{pointer}/");
    if !open.iter().any(|expression| expression.starts_with(&below)) {
        return true;
    }
    let path = error.schema_path().as_str();
    let is_conditional = path.split('/').any(|part| matches!(part, "then" | "else"));
    !is_conditional
        && matches!(
            error.kind(),
            ValidationErrorKind::Required { .. }
                | ValidationErrorKind::AdditionalProperties { .. }
                | ValidationErrorKind::Type { .. }
        )
}
