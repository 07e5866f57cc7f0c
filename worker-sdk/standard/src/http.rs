//! `call: http`: one request, as the workflow says it.

use std::sync::Arc;

use baton_worker::{Context, Outcome};
use bytes::Bytes;
use reqwest::{
    Method, Url,
    header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue},
};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::{
    Net,
    answer::{self, Form},
    auth::Authentication,
    client::Request,
    exchange::{Call, exchange},
    fault::Fault,
    input::{Endpoint, given, items, scalar},
    limits::HEADERS_MAX,
    time::within,
};

#[derive(Deserialize)]
pub(crate) struct Input {
    method: String,
    endpoint: Endpoint,
    headers: Option<Map<String, Value>>,
    query: Option<Map<String, Value>>,
    body: Option<Value>,
    output: Option<Form>,
    redirect: Option<bool>,
}

/// Headers that say how the message travels, or to whom: they are the client's own business, and another Host could
/// reach what the worker may not call.
const OUR_HEADERS: [&str; 9] = [
    "connection",
    "content-length",
    "host",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

pub(crate) async fn call(net: Arc<Net>, context: Context, input: Input) -> Outcome<Value> {
    let work = async {
        let authentication =
            Authentication::read(input.endpoint.authentication.as_ref(), &context)?;
        let query = query(input.query.as_ref())?;
        let mut headers = headers(input.headers.as_ref())?;
        let body = body(given(input.body), &mut headers)?;
        let request = Request {
            method: method(&input.method)?,
            url: with_query(input.endpoint.url()?, &query),
            headers,
            body,
        };
        let call = Call {
            request,
            shown: shown(&context, &input.endpoint.uri, &query),
            authentication,
            follow: input.redirect.unwrap_or(false),
            bytes_max: net.settings.response_bytes_max,
        };
        let answer = exchange(&net, &context, call).await?;
        answer::output(&context, answer, input.output.unwrap_or_default())
    };
    within(&context, net.settings.timeout, work).await
}

pub(crate) fn method(text: &str) -> Outcome<Method> {
    // CONNECT asks for a tunnel, and there is nobody at its other end.
    let method = Method::from_bytes(text.to_ascii_uppercase().as_bytes());
    method.ok().filter(|method| *method != Method::CONNECT).ok_or_else(|| {
        Fault::Input.because(format_args!("{text:?} is no method that can be called"))
    })
}

/// Arrays give their name several times, null gives nothing.
fn query(members: Option<&Map<String, Value>>) -> Outcome<Vec<(String, String)>> {
    let mut pairs = Vec::new();
    for (name, value) in members.into_iter().flatten() {
        for value in items(value) {
            let text = scalar(value).ok_or_else(|| {
                Fault::Input.because(format_args!(
                    "query parameter {name:?} must be a text, number, boolean, or a list of those"
                ))
            })?;
            pairs.push((name.clone(), text));
        }
    }
    Ok(pairs)
}

pub(crate) fn with_query(mut url: Url, pairs: &[(String, String)]) -> Url {
    if !pairs.is_empty() {
        url.query_pairs_mut().extend_pairs(pairs);
    }
    url
}

/// The URL as it may be shown: scrubbed before it is encoded, for afterwards a secret may not be recognised.
pub(crate) fn shown(context: &Context, uri: &str, query: &[(String, String)]) -> Option<Url> {
    let mut url = Url::parse(&context.scrub(uri)).ok()?;
    if url.password().is_some() {
        // Only a URL without a host refuses this.
        let _ = url.set_password(None);
    }
    let query = query.iter().map(|(name, value)| (context.scrub(name), context.scrub(value)));
    Some(with_query(url, &query.collect::<Vec<_>>()))
}

fn headers(members: Option<&Map<String, Value>>) -> Outcome<HeaderMap> {
    let mut headers = HeaderMap::new();
    for (name, value) in members.into_iter().flatten() {
        for value in items(value) {
            add_header(&mut headers, name, scalar(value).as_deref())?;
        }
    }
    Ok(headers)
}

/// The value is not shown when it is refused: it may hold secrets.
pub(crate) fn add_header(headers: &mut HeaderMap, name: &str, value: Option<&str>) -> Outcome<()> {
    let parsed = HeaderName::from_bytes(name.as_bytes()).ok();
    let parsed = parsed.filter(|name| !OUR_HEADERS.contains(&name.as_str()));
    let Some(parsed) = parsed else {
        return Err(Fault::Input.because(format_args!("header {name:?} cannot be set")));
    };
    let value = value.and_then(|value| HeaderValue::from_bytes(value.as_bytes()).ok());
    let Some(value) = value else {
        return Err(
            Fault::Input.because(format_args!("the value of header {name:?} cannot be sent"))
        );
    };
    if headers.len() == HEADERS_MAX {
        return Err(Fault::Input.because(format_args!("there are more than {HEADERS_MAX} headers")));
    }
    headers.append(parsed, value);
    Ok(())
}

/// A text is sent as it is, everything else as JSON, unless the content type says that it is a form.
fn body(body: Option<Value>, headers: &mut HeaderMap) -> Outcome<Option<Bytes>> {
    let Some(body) = body else { return Ok(None) };
    let content_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let is_form = content_type.is_some_and(|text| answer::media_type(text) == FORM);
    let (bytes, usual) = match body {
        Value::String(text) => (text.into_bytes(), "text/plain; charset=utf-8"),
        Value::Object(members) if is_form => {
            let pairs = query(Some(&members))?;
            let form =
                url::form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish();
            (form.into_bytes(), FORM)
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
            (body.to_string().into_bytes(), "application/json")
        }
    };
    headers.entry(CONTENT_TYPE).or_insert(HeaderValue::from_static(usual));
    Ok(Some(bytes.into()))
}

const FORM: &str = "application/x-www-form-urlencoded";
