//! What a workflow gets of an HTTP answer.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use baton_worker::{Context, Outcome};
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, COOKIE, HeaderMap, PROXY_AUTHORIZATION};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::{client::Response, exchange::Answer, fault::Fault, limits::EXCERPT_BYTES_MAX};

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Form {
    /// Base64 of the bytes.
    Raw,
    #[default]
    Content,
    /// Also status, headers and the request.
    Response,
}

pub(crate) fn output(context: &Context, answer: Answer, form: Form) -> Outcome<Value> {
    let Answer { response, request, shown } = answer;
    match form {
        Form::Raw if response.body.is_empty() => Ok(Value::Null),
        Form::Raw => Ok(encoded(context, &response.body)),
        Form::Content => content(context, &response),
        Form::Response => {
            let mut sent = headers(&request.headers);
            for name in [AUTHORIZATION, COOKIE, PROXY_AUTHORIZATION] {
                if let Some(value) = sent.get_mut(name.as_str()) {
                    *value = "***".into();
                }
            }
            let uri = shown.map_or_else(String::new, String::from);
            Ok(json!({
                "request": {
                    "method": request.method.as_str(),
                    "uri": context.scrub(&uri),
                    "headers": sent,
                },
                "statusCode": response.status.as_u16(),
                "headers": headers(&response.headers),
                "content": content(context, &response)?,
            }))
        }
    }
}

/// By content type: JSON as what it is, text as text, everything else in Base64.
fn content(context: &Context, response: &Response) -> Outcome<Value> {
    if response.body.is_empty() {
        return Ok(Value::Null);
    }
    let content_type = response
        .headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let media_type = media_type(content_type);
    if is_json(&media_type) {
        return serde_json::from_slice(&response.body).map_err(|error| {
            Fault::Response
                .because(format_args!("the answer is not the JSON that it says: {error}"))
        });
    }
    let text = if is_text(&media_type) { text(&response.body, content_type) } else { None };
    Ok(text.map_or_else(|| encoded(context, &response.body), Value::from))
}

/// Without parameters, in lower case.
pub(crate) fn media_type(content_type: &str) -> String {
    content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

pub(crate) fn is_json(media_type: &str) -> bool {
    media_type.ends_with("+json") || matches!(media_type, "application/json" | "text/json")
}

fn is_text(media_type: &str) -> bool {
    let known = [
        "application/javascript",
        "application/x-www-form-urlencoded",
        "application/xml",
        "application/yaml",
    ];
    media_type.starts_with("text/")
        || media_type.ends_with("+xml")
        || media_type.ends_with("+yaml")
        || known.contains(&media_type)
}

/// None: the bytes are no text in that character set, or it is not known here.
fn text(body: &[u8], content_type: &str) -> Option<String> {
    let charset = content_type.split(';').skip(1).find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        let value = value.trim().trim_matches('"').to_ascii_lowercase();
        name.trim().eq_ignore_ascii_case("charset").then_some(value)
    });
    match charset.as_deref() {
        None | Some("utf-8" | "utf8" | "us-ascii") => String::from_utf8(body.to_vec()).ok(),
        Some("iso-8859-1" | "latin1") => Some(body.iter().copied().map(char::from).collect()),
        Some(_) => None,
    }
}

/// A header that comes several times is one text, as RFC 9110 lets it be.
fn headers(headers: &HeaderMap) -> Map<String, Value> {
    headers
        .keys()
        .map(|name| {
            let values =
                headers.get_all(name).iter().map(|value| String::from_utf8_lossy(value.as_bytes()));
            (name.to_string(), values.collect::<Vec<_>>().join(", ").into())
        })
        .collect()
}

/// How the answer begins, to be put behind its status. It is scrubbed before it is cut, for half a secret would not be
/// recognised.
pub(crate) fn excerpt(context: &Context, response: &Response) -> String {
    excerpt_of(&context.scrub(&String::from_utf8_lossy(&response.body)))
}

fn excerpt_of(text: &str) -> String {
    let text = text.trim();
    let end = (0..=EXCERPT_BYTES_MAX.min(text.len())).rev().find(|end| text.is_char_boundary(*end));
    let text = &text[..end.unwrap_or(0)];
    if text.is_empty() || text.contains(|c: char| c.is_control() && !c.is_whitespace()) {
        return String::new();
    }
    format!(": {text}")
}

/// Base64, in which a secret would not be recognised any more.
fn encoded(context: &Context, body: &[u8]) -> Value {
    match std::str::from_utf8(body) {
        Ok(text) => BASE64_STANDARD.encode(context.scrub(text)).into(),
        Err(_) => BASE64_STANDARD.encode(body).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_read_in_its_character_set() {
        assert_eq!(text("café".as_bytes(), "text/plain").as_deref(), Some("café"));
        assert_eq!(text(b"caf\xe9", "text/plain; charset=\"ISO-8859-1\"").as_deref(), Some("café"));
        assert_eq!(text(b"caf\xe9", "text/plain"), None);
        assert_eq!(text(b"cafe", "text/plain; charset=utf-16"), None);
    }

    #[test]
    fn an_excerpt_is_short_and_no_binary() {
        assert_eq!(excerpt_of(" no such pet\n"), ": no such pet");
        assert_eq!(excerpt_of("\0\x01"), "");
        assert_eq!(excerpt_of(&"é".repeat(5000)).len(), EXCERPT_BYTES_MAX + 2);
    }
}
