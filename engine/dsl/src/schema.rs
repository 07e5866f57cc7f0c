//! JSON Schemas of a document: compiled at deploy, and never fetched from anywhere.

mod rules;
mod work;

use jsonschema::{Draft, PatternOptions, ValidationError, Validator};

use crate::{
    json, limits,
    meter::Meter,
    tree::{Node, Value},
};
use work::Work;

/// A JSON Schema that checks values, and knows what that takes.
pub(crate) struct Schema {
    validator: Validator,
    work: Work,
}

/// Counts the patterns of the schemas of one document on.
pub(crate) fn compile(node: &Node, patterns: &mut usize) -> Result<Schema, String> {
    if let Some(reference) = foreign_reference(node) {
        return Err(format!(
            "the reference `{reference}` leads out of the schema; only those that begin with # are followed"
        ));
    }
    let mut text = String::new();
    node.write_json(&mut text);
    let schema: serde_json::Value =
        serde_json::from_str(&text).map_err(|error| error.to_string())?;
    let work =
        Work::of(&schema, patterns).map_err(|problem| format!("not a JSON Schema: {problem}"))?;
    let validator = jsonschema::options()
        .with_draft(Draft::Draft202012)
        .with_pattern_options(PatternOptions::regex().size_limit(limits::SCHEMA_PATTERN_BYTES_MAX))
        .offline()
        .build(&schema)
        .map_err(|error| format!("not a JSON Schema: {}", shorten(&error.to_string())))?;
    Ok(Schema { validator, work })
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

impl Schema {
    /// Says which place of the value breaks which rule, without quoting the value.
    pub(crate) fn check(&self, text: &str, meter: &Meter) -> Result<(), String> {
        let value: serde_json::Value =
            serde_json::from_str(text).map_err(|error| error.to_string())?;
        let paid = |units: Option<u64>| units.is_some_and(|units| meter.pay(units));
        if !meter.pay(text.len() as u64 / BYTES_PER_UNIT) || !paid(self.work.to_ask(&value)) {
            return Err("the value takes too much work to check".into());
        }
        if self.validator.is_valid(&value) {
            return Ok(());
        }
        if !paid(self.work.to_tell(&value)) {
            return Err("the value does not match; where takes too much work to say".into());
        }
        self.validator.validate(&value).map_err(|error| {
            let place = match error.instance_path().as_str() {
                "" => "the value",
                place => place,
            };
            shorten(&format!("{place}: {}", error.masked())).to_owned()
        })
    }

    /// All that breaks a rule; nothing where it takes too much work to say.
    pub(crate) fn errors<'v>(
        &'v self,
        value: &'v serde_json::Value,
    ) -> impl Iterator<Item = ValidationError<'v>> {
        let checkable = self.work.to_tell_all(value).is_some();
        checkable.then(|| self.validator.iter_errors(value)).into_iter().flatten()
    }
}

/// Reading a value takes a unit of work for these.
const BYTES_PER_UNIT: u64 = 8;

fn shorten(text: &str) -> &str {
    json::cut(text, 2 * limits::DETAIL_BYTES_MAX)
}
