//! YAML text of a feature as JSON.

use anyhow::{Context, Result, bail};
use saphyr::{LoadableYamlNode as _, ScalarOwned, YamlOwned};
use serde_json::{Number, Value};

/// The value of a document; empty text is null.
pub(crate) fn parse(text: &str) -> Result<Value> {
    let documents = YamlOwned::load_from_str(text).context("not YAML")?;
    match documents.as_slice() {
        [] => Ok(Value::Null),
        [document] => value(document),
        [_, _, ..] => bail!("one document was wanted"),
    }
}

fn value(node: &YamlOwned) -> Result<Value> {
    match node {
        YamlOwned::Value(scalar) => self::scalar(scalar),
        YamlOwned::Sequence(items) => items.iter().map(value).collect(),
        YamlOwned::Mapping(members) => {
            let members = members.iter().map(|(key, member)| {
                let key = key.as_str().context("a key must be text")?;
                Ok((key.to_owned(), value(member)?))
            });
            Ok(Value::Object(members.collect::<Result<_>>()?))
        }
        YamlOwned::Tagged(..)
        | YamlOwned::Alias(_)
        | YamlOwned::Representation(..)
        | YamlOwned::BadValue => bail!("plain values were wanted: {node:?}"),
    }
}

fn scalar(scalar: &ScalarOwned) -> Result<Value> {
    Ok(match scalar {
        ScalarOwned::Null => Value::Null,
        ScalarOwned::Boolean(truth) => Value::Bool(*truth),
        ScalarOwned::Integer(number) => Value::from(*number),
        ScalarOwned::FloatingPoint(number) => {
            Value::Number(Number::from_f64(number.into_inner()).context("a number was wanted")?)
        }
        ScalarOwned::String(text) => Value::String(text.clone()),
    })
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
        let text = "a: [1, 2.5, x]\nb: { c: null, d: true }\ne: '1'\n";
        let expected = json!({"a": [1, 2.5, "x"], "b": {"c": null, "d": true}, "e": "1"});
        assert_eq!(parse(text).unwrap(), expected);
        assert_eq!(parse("").unwrap(), Value::Null);
        assert!(parse("a: &b 1\nc: *b\n---\nd: 1\n").is_err());
    }

    #[test]
    fn numbers_are_compared_by_value() {
        assert!(same(&json!({"a": [1.0], "b": 2}), &json!({"b": 2, "a": [1]})));
        assert!(!same(&json!({"a": 1}), &json!({"a": 1, "b": 1})));
        assert!(!same(&json!([1]), &json!([1, 1])));
        assert!(!same(&json!("1"), &json!(1)));
    }
}
