//! JSON Schemas of a document: compiled at deploy, and never fetched from anywhere.

use jsonschema::{Draft, PatternOptions, Validator};

use crate::{
    json, limits,
    tree::{Node, Value},
};

pub(crate) fn compile(node: &Node) -> Result<Validator, String> {
    if let Some(reference) = foreign_reference(node) {
        return Err(format!(
            "the reference `{reference}` leads out of the schema; only those that begin with # are followed"
        ));
    }
    let mut text = String::new();
    node.write_json(&mut text);
    let schema: serde_json::Value =
        serde_json::from_str(&text).map_err(|error| error.to_string())?;
    jsonschema::options()
        .with_draft(Draft::Draft202012)
        .with_pattern_options(PatternOptions::regex().size_limit(1024 * 1024))
        .offline()
        .build(&schema)
        .map_err(|error| format!("not a JSON Schema: {}", shorten(&error.to_string())))
}

fn foreign_reference(node: &Node) -> Option<&str> {
    match &node.value {
        Value::Object(members) => members.iter().find_map(|member| {
            if matches!(member.key.as_str(), "$ref" | "$dynamicRef" | "$recursiveRef")
                && let Some(reference) = member.value.as_str()
                && !reference.starts_with('#')
            {
                return Some(reference);
            }
            foreign_reference(&member.value)
        }),
        Value::Array(items) => items.iter().find_map(foreign_reference),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
    }
}

/// Says which place of the value breaks which rule, without quoting the value.
pub(crate) fn check(schema: &Validator, text: &str) -> Result<(), String> {
    let value: serde_json::Value = serde_json::from_str(text).map_err(|error| error.to_string())?;
    schema.validate(&value).map_err(|error| {
        let place = match error.instance_path().as_str() {
            "" => "the value",
            place => place,
        };
        shorten(&format!("{place}: {}", error.masked())).to_owned()
    })
}

fn shorten(text: &str) -> &str {
    json::cut(text, 2 * limits::DETAIL_BYTES_MAX)
}
