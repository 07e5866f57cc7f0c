//! YAML text of a feature as JSON.

use anyhow::{Context, Result};
use serde_json::Value;

/// The value of a document; empty text is null.
pub(crate) fn parse(text: &str) -> Result<Value> {
    if text.trim().is_empty() {
        return Ok(Value::Null);
    }
    // As YAML 1.2 has it: `on` is a text.
    let options = serde_saphyr::options! { strict_booleans: true };
    serde_saphyr::from_str_with_options(text, options).context("not YAML")
}

/// Whether both are the same JSON value: 1 is 1.0, and the order of members does not count.
pub(crate) fn same(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(one), Value::Number(other)) => {
            one == other || one.as_f64().is_some_and(|one| other.as_f64() == Some(one))
        }
        (Value::Array(one), Value::Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| same(one, other))
        }
        (Value::Object(one), Value::Object(other)) => {
            one.len() == other.len()
                && one
                    .iter()
                    .all(|(key, value)| other.get(key).is_some_and(|other| same(value, other)))
        }
        (
            Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::String(_)
            | Value::Array(_)
            | Value::Object(_),
            _,
        ) => one == other,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn yaml_is_read_as_json() {
        let text = "a: [1, 2.5, on]\nb: { c: null, d: true }\ne: '1'\n";
        let expected = json!({"a": [1, 2.5, "on"], "b": {"c": null, "d": true}, "e": "1"});
        assert_eq!(parse(text).unwrap(), expected);
        assert_eq!(parse("").unwrap(), Value::Null);
        assert!(parse("a: 1\n---\nb: 1\n").is_err());
    }

    #[test]
    fn numbers_are_compared_by_value() {
        assert!(same(&json!({"a": [1.0], "b": 2}), &json!({"b": 2, "a": [1]})));
        assert!(!same(&json!({"a": 1}), &json!({"a": 1, "b": 1})));
        assert!(!same(&json!([1]), &json!([1, 1])));
        assert!(!same(&json!("1"), &json!(1)));
    }
}
