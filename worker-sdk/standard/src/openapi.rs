//! `call: openapi`: one operation of a described service.

mod operation;
mod parameter;
mod reference;
mod server;

use std::sync::Arc;

use baton_worker::{Context, Outcome};
use reqwest::{
    Url,
    header::{ACCEPT, CONTENT_TYPE, COOKIE, HeaderMap, HeaderValue},
};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::{
    Net,
    answer::{self, Form, is_json, media_type},
    auth::Authentication,
    client::Request,
    document,
    exchange::{Call, exchange},
    fault::Fault,
    http::add_header,
    input::{Resource, given, scalar},
    time::within,
};
use operation::{Body, Operation};
use parameter::{Parameter, Place};

#[derive(Deserialize)]
pub(crate) struct Input {
    document: Resource,
    #[serde(rename = "operationId")]
    operation: String,
    parameters: Option<Map<String, Value>>,
    authentication: Option<Value>,
    output: Option<Form>,
    redirect: Option<bool>,
}

pub(crate) async fn call(net: Arc<Net>, context: Context, input: Input) -> Outcome<Value> {
    let work = async {
        let document = described(&net, &context, &input.document).await?;
        let home = input.document.endpoint.url()?;
        let operation = Operation::find(&document, &home, &input.operation)?;
        let given = input.parameters.unwrap_or_default();
        let authentication = Authentication::read(input.authentication.as_ref(), &context)?;
        let request = request(&operation, given.clone())?;
        let shown = request_for_showing(&context, &operation, given);
        let call = Call {
            request,
            shown,
            authentication,
            follow: input.redirect.unwrap_or(false),
            bytes_max: net.settings.response_bytes_max,
        };
        let answer = exchange(&net, &context, call).await?;
        answer::output(&context, answer, input.output.unwrap_or_default())
    };
    within(&context, net.settings.timeout, work).await
}

async fn described(net: &Net, context: &Context, resource: &Resource) -> Outcome<Arc<Value>> {
    let endpoint = &resource.endpoint;
    let key = document::key("openapi", endpoint, context);
    if let Some(document) = net.documents.get(&key) {
        return Ok(document);
    }
    let authentication = Authentication::read(endpoint.authentication.as_ref(), context)?;
    let text = document::fetch(net, context, endpoint.url()?, authentication).await?;
    // A large document takes a while to read.
    let parsed = tokio::task::spawn_blocking(move || parse(&text)).await?;
    let document = Arc::new(parsed.map_err(|error| {
        Fault::Document.because(format_args!("the document is neither JSON nor YAML: {error}"))
    })?);
    net.documents.keep(key, document.clone());
    Ok(document)
}

fn parse(text: &str) -> Result<Value, String> {
    if text.trim_start().starts_with('{') {
        return serde_json::from_str(text).map_err(|error| error.to_string());
    }
    // Its usual limits on aliases, depth and size hold.
    serde_saphyr::from_str(text).map_err(|error| error.to_string())
}

/// The same request with scrubbed parameters, of which only the URL is used.
fn request_for_showing(
    context: &Context,
    operation: &Operation<'_>,
    given: Map<String, Value>,
) -> Option<Url> {
    let scrubbed = context.scrub(&Value::Object(given).to_string());
    let Ok(Value::Object(given)) = serde_json::from_str(&scrubbed) else { return None };
    request(operation, given).ok().map(|request| request.url)
}

/// Puts each parameter where the operation declares it.
fn request(operation: &Operation<'_>, mut given: Map<String, Value>) -> Outcome<Request> {
    let mut path = operation.path.to_owned();
    let mut headers =
        HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static("application/json, */*;q=0.5"))]);
    let (mut query, mut cookies, mut form) = (Vec::new(), Vec::new(), Vec::new());
    let mut body = None;
    for parameter in &operation.parameters {
        let value = given.remove(parameter.name).filter(|value| !value.is_null());
        let Some(value) = value else {
            if parameter.required {
                return Err(missing("parameter", parameter.name));
            }
            continue;
        };
        match parameter.place {
            Place::Path => path = expand(&path, parameter, &value)?,
            Place::Query => query.extend(parameter.pairs(&value)?),
            Place::Form => form.extend(parameter.pairs(&value)?),
            Place::Cookie => {
                let pairs = parameter.pairs(&value)?;
                cookies
                    .extend(pairs.iter().map(|(name, value)| format!("{name}={}", encode(value))));
            }
            Place::Header => {
                headers.remove(parameter.name);
                for (_, value) in parameter.pairs(&value)? {
                    add_header(&mut headers, parameter.name, Some(&value))?;
                }
            }
            Place::Body => body = Some(value),
        }
    }
    if let Some(name) = path.split_once('{').and_then(|(_, rest)| rest.split('}').next()) {
        return Err(
            Fault::Document.because(format_args!("the path's parameter {name:?} is not declared"))
        );
    }
    if !cookies.is_empty() {
        add_header(&mut headers, COOKIE.as_str(), Some(&cookies.join("; ")))?;
    }
    let mut url = operation.url(&path)?;
    if !query.is_empty() {
        url.query_pairs_mut().extend_pairs(query);
    }
    let body = match &operation.body {
        Some(declared) if declared.is_named => declared.encode(body)?,
        Some(declared) => declared.encode(rest_as_body(declared, &mut given)?)?,
        None if form.is_empty() => None,
        None => {
            let form =
                url::form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
            Some((operation::FORM.to_owned(), form.into_bytes()))
        }
    };
    if let Some(name) = given.keys().next() {
        return Err(Fault::Input.because(format_args!("the operation has no parameter {name:?}")));
    }
    let body = match body {
        Some((content_type, bytes)) => {
            headers.remove(CONTENT_TYPE);
            add_header(&mut headers, CONTENT_TYPE.as_str(), Some(&content_type))?;
            Some(bytes.into())
        }
        None => None,
    };
    Ok(Request { method: operation.method.clone(), url, headers, body })
}

fn missing(what: &str, name: &str) -> baton_worker::Failure {
    Fault::Input.because(format_args!("the operation's {what} {name:?} is required"))
}

/// OpenAPI 3 gives the body no name: it is the parameter `body`, or everything that is no declared parameter.
fn rest_as_body(declared: &Body, given: &mut Map<String, Value>) -> Outcome<Option<Value>> {
    let rest = std::mem::take(given);
    match (rest.len(), rest.contains_key("body")) {
        (0, _) => Ok(None),
        (1, true) => Ok(crate::input::given(rest.into_iter().next().map(|(_, body)| body))),
        (_, true) => Err(Fault::Input
            .because("beside `body` there are parameters that the operation does not have")),
        (_, false) if is_json(&declared.media_type) || declared.media_type == operation::FORM => {
            Ok(Some(Value::Object(rest)))
        }
        (_, false) => Err(Fault::Input.because(format_args!(
            "a body of type {:?} must be given as `body`",
            declared.media_type
        ))),
    }
}

impl Body {
    /// The content type and the bytes.
    fn encode(&self, body: Option<Value>) -> Outcome<Option<(String, Vec<u8>)>> {
        let Some(body) = given(body) else {
            if self.required {
                return Err(missing("body", "body"));
            }
            return Ok(None);
        };
        let media_type = media_type(&self.media_type);
        let bytes = match body {
            _ if is_json(&media_type) => body.to_string().into_bytes(),
            Value::Object(members) if media_type == operation::FORM => {
                let mut form = url::form_urlencoded::Serializer::new(String::new());
                for (name, value) in &members {
                    form.extend_pairs(Parameter::form(name).pairs(value)?);
                }
                form.finish().into_bytes()
            }
            Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::String(_)
            | Value::Array(_)
            | Value::Object(_) => match scalar(&body) {
                Some(text) => text.into_bytes(),
                None => {
                    return Err(Fault::Unsupported.because(format_args!(
                        "a body of type {media_type:?} cannot be made of an object or list here"
                    )));
                }
            },
        };
        Ok(Some((self.media_type.clone(), bytes)))
    }
}

fn expand(path: &str, parameter: &Parameter<'_>, value: &Value) -> Outcome<String> {
    let pairs = parameter.encoded(value, &encode)?;
    let text = pairs.into_iter().map(|(_, value)| value).collect::<Vec<_>>().join(",");
    // A URL would take these for steps between folders, encoded or not.
    if matches!(text.as_str(), "" | "." | "..") {
        return Err(Fault::Input.because(format_args!("{text:?} cannot stand in the path")));
    }
    Ok(path.replace(&format!("{{{}}}", parameter.name), &text))
}

fn encode(text: &str) -> String {
    use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
    const RESERVED: &AsciiSet =
        &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
    utf8_percent_encode(text, RESERVED).to_string()
}
