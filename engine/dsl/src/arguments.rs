//! Calls held against what the workers say of their functions: whether anybody offers them, and what they take.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use baton_core::{
    Workflow,
    workflow::{Function, Kind},
};
use jsonschema::{ValidationError, error::ValidationErrorKind};

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
            Offer::Schema(text) => Some(compiled(&text)),
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

/// `None` when the worker's schema is no schema, which is its worker's business.
fn compiled(text: &str) -> Option<schema::Schema> {
    schema::compile(&tree::parse(text, &mut Sink::default())?, &mut 0).ok()
}

fn mismatches(
    with: &Node,
    function: &Function,
    schema: &schema::Schema,
    loose: bool,
    sink: &mut Sink,
) {
    let mut open = BTreeSet::new();
    let value = literal(with, "", loose, &mut open);
    for error in schema.errors(&value) {
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
