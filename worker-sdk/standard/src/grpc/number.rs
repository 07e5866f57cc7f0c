//! Numbers as a reader of messages understands them.

use serde_json::{Number, Value};

/// A number with its own digits, such as 1.50, reaches a reader as something else than a number unless it is written
/// as the reader would write it.
pub(super) fn plain(value: Value) -> Value {
    match value {
        Value::Number(number) if number.as_i64().is_none() && number.as_u64().is_none() => {
            Value::Number(number.as_f64().and_then(Number::from_f64).unwrap_or(number))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value,
        Value::Array(items) => items.into_iter().map(plain).collect(),
        Value::Object(members) => {
            members.into_iter().map(|(name, member)| (name, plain(member))).collect()
        }
    }
}
