//! What the arguments of several functions have in common.

use baton_worker::Outcome;
use reqwest::Url;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::fault::Fault;

/// Where something is, and how to be let in.
#[derive(Deserialize)]
#[serde(try_from = "Value")]
pub(crate) struct Endpoint {
    pub(crate) uri: String,
    pub(crate) authentication: Option<Value>,
}

/// A document somewhere else.
#[derive(Deserialize)]
pub(crate) struct Resource {
    pub(crate) endpoint: Endpoint,
}

impl TryFrom<Value> for Endpoint {
    type Error = &'static str;

    fn try_from(value: Value) -> Result<Self, Self::Error> {
        let wanted = "an endpoint must be a URI, or an object with a `uri`";
        match value {
            Value::String(uri) => Ok(Self { uri, authentication: None }),
            Value::Object(mut members) => match members.remove("uri") {
                Some(Value::String(uri)) => {
                    Ok(Self { uri, authentication: given(members.remove("authentication")) })
                }
                _ => Err(wanted),
            },
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) => Err(wanted),
        }
    }
}

impl Endpoint {
    pub(crate) fn url(&self) -> Outcome<Url> {
        // The text is not shown: it may hold secrets, of which only whole ones are scrubbed.
        let url = Url::parse(&self.uri);
        url.map_err(|error| Fault::Input.because(format_args!("the URI cannot be used: {error}")))
    }
}

/// Absent and null are the same.
pub(crate) fn given(value: Option<Value>) -> Option<Value> {
    value.filter(|value| !value.is_null())
}

/// What a text, a number or a boolean looks like in a URL, a header or an argument of a program.
pub(crate) fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(truth) => Some(truth.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

/// A list's members, nothing for null, and anything else alone.
pub(crate) fn items(value: &Value) -> &[Value] {
    match value {
        Value::Array(items) => items,
        Value::Null => &[],
        Value::String(_) | Value::Number(_) | Value::Bool(_) | Value::Object(_) => {
            std::slice::from_ref(value)
        }
    }
}

/// Names with one text each, in order; null leaves a name out.
pub(crate) fn scalars(
    what: &str,
    members: Option<&Map<String, Value>>,
) -> Outcome<Vec<(String, String)>> {
    let members = members.into_iter().flatten().filter(|(_, value)| !value.is_null());
    members
        .map(|(name, value)| {
            let text = scalar(value).ok_or_else(|| {
                Fault::Input
                    .because(format_args!("{what} {name:?} must be a text, number or boolean"))
            })?;
            Ok((name.clone(), text))
        })
        .collect()
}
