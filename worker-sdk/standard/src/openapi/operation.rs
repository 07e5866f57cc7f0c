//! An operation of an OpenAPI document of version 2.0 or 3.

use baton_worker::Outcome;
use reqwest::{Method, Url};
use serde_json::Value;

use super::{
    parameter::{Parameter, Place},
    reference::follow,
    server,
};
use crate::{
    answer::{is_json, media_type},
    fault::Fault,
};

pub(super) const FORM: &str = "application/x-www-form-urlencoded";

pub(super) struct Operation<'a> {
    pub(super) method: Method,
    pub(super) path: &'a str,
    pub(super) parameters: Vec<Parameter<'a>>,
    pub(super) body: Option<Body>,
    server: String,
}

pub(super) struct Body {
    pub(super) required: bool,
    pub(super) media_type: String,
    /// Swagger 2.0: one of the parameters is the body.
    pub(super) is_named: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Version {
    Two,
    Three,
}

const METHODS: [&str; 8] = ["get", "put", "post", "delete", "options", "head", "patch", "trace"];

impl<'a> Operation<'a> {
    /// `home` is where the document was found.
    pub(super) fn find(document: &'a Value, home: &'a Url, id: &str) -> Outcome<Self> {
        let version = version(document)?;
        for (path, item) in document.get("paths").and_then(Value::as_object).into_iter().flatten() {
            let item = follow(document, item)?;
            for method in METHODS {
                let Some(operation) = item.get(method) else { continue };
                if operation.get("operationId").and_then(Value::as_str) == Some(id) {
                    return Self::read(Found {
                        document,
                        home,
                        version,
                        path,
                        method,
                        item,
                        operation,
                    });
                }
            }
        }
        Err(Fault::Operation.because(format_args!("the document has no operation {id:?}")))
    }

    fn read(found: Found<'a>) -> Outcome<Self> {
        let Found { document, home, version, path, method, item, operation } = found;
        let mut parameters: Vec<Parameter<'a>> = Vec::new();
        for level in [item, operation] {
            for declared in level.get("parameters").and_then(Value::as_array).into_iter().flatten()
            {
                let declared = follow(document, declared)?;
                let parameter = match version {
                    Version::Two => Parameter::v2(declared)?,
                    Version::Three => Parameter::v3(declared)?,
                };
                // What the operation says counts more than what its path says.
                parameters
                    .retain(|known| (known.name, known.place) != (parameter.name, parameter.place));
                parameters.push(parameter);
            }
        }
        let body = match version {
            Version::Two => body_v2(document, operation, &parameters)?,
            Version::Three => body_v3(document, operation)?,
        };
        Ok(Self {
            method: Method::from_bytes(method.to_ascii_uppercase().as_bytes())?,
            path,
            parameters,
            body,
            server: server::of(document, version, home, item, operation)?,
        })
    }

    pub(super) fn url(&self, path: &str) -> Outcome<Url> {
        let text = format!("{}{path}", self.server.trim_end_matches('/'));
        Url::parse(&text).map_err(|error| {
            Fault::Document.because(format_args!("the operation's URL cannot be used: {error}"))
        })
    }
}

/// An operation in its surroundings.
#[derive(Clone, Copy)]
struct Found<'a> {
    document: &'a Value,
    home: &'a Url,
    version: Version,
    path: &'a str,
    method: &'a str,
    item: &'a Value,
    operation: &'a Value,
}

fn version(document: &Value) -> Outcome<Version> {
    let text = |member| document.get(member).and_then(scalar_text);
    match (text("swagger"), text("openapi")) {
        (Some(version), None) if version.starts_with('2') => Ok(Version::Two),
        (None, Some(version)) if version.starts_with("3.") => Ok(Version::Three),
        _ => Err(Fault::Document.because("the document is neither Swagger 2.0 nor OpenAPI 3")),
    }
}

/// YAML reads 2.0 as a number.
fn scalar_text(value: &Value) -> Option<String> {
    crate::input::scalar(value)
}

fn body_v2(
    document: &Value,
    operation: &Value,
    parameters: &[Parameter<'_>],
) -> Outcome<Option<Body>> {
    let consumed = operation.get("consumes").or_else(|| document.get("consumes"));
    let consumed =
        consumed.and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
    let consumed = consumed.collect::<Vec<_>>();
    if parameters.iter().any(|parameter| parameter.place == Place::Form)
        && !consumed.is_empty()
        && !consumed.contains(&FORM)
    {
        return Err(unsupported(&consumed));
    }
    let Some(body) = parameters.iter().find(|parameter| parameter.place == Place::Body) else {
        return Ok(None);
    };
    let media_type = chosen(&consumed)?.unwrap_or("application/json").to_owned();
    Ok(Some(Body { required: body.required, media_type, is_named: true }))
}

fn body_v3(document: &Value, operation: &Value) -> Outcome<Option<Body>> {
    let Some(declared) = operation.get("requestBody") else { return Ok(None) };
    let declared = follow(document, declared)?;
    let content = declared.get("content").and_then(Value::as_object);
    let types = content.into_iter().flatten().map(|(name, _)| name.as_str()).collect::<Vec<_>>();
    let media_type = chosen(&types)?
        .ok_or_else(|| Fault::Document.because("the operation's body has no content type"))?;
    let required = declared.get("required").and_then(Value::as_bool).unwrap_or(false);
    Ok(Some(Body { required, media_type: media_type.to_owned(), is_named: false }))
}

/// JSON where it may be, then a form, then whatever is one text.
fn chosen<'a>(types: &[&'a str]) -> Outcome<Option<&'a str>> {
    if types.is_empty() {
        return Ok(None);
    }
    let find =
        |fits: &dyn Fn(&str) -> bool| types.iter().copied().find(|name| fits(&media_type(name)));
    let any = |name: &str| !name.starts_with("multipart/") && !name.contains('*');
    if types.contains(&"*/*") || types.contains(&"application/*") {
        return Ok(Some("application/json"));
    }
    let found = find(&is_json).or_else(|| find(&|name| name == FORM)).or_else(|| find(&any));
    found.map(Some).ok_or_else(|| unsupported(types))
}

fn unsupported(types: &[&str]) -> baton_worker::Failure {
    Fault::Unsupported
        .because(format_args!("bodies of type {} are not supported here", types.join(", ")))
}
