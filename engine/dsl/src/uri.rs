//! URI templates: RFC 6570's simple expansion of the input's top-level keys, and nothing else of it.

use std::fmt::Write as _;

use baton_core::Json;

use crate::json::{self, Shape};

pub(crate) struct Template(Vec<Part>);

enum Part {
    Text(String),
    Name(String),
}

impl Template {
    /// What is wrong with the text, as a clause.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Err("a URI was wanted, and an empty text found".into());
        }
        if let Some(bad) = text.chars().find(|c| c.is_whitespace() || c.is_control()) {
            return Err(format!("a URI cannot hold {bad:?}"));
        }
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some(at) = rest.find(['{', '}']) {
            let (before, from) = rest.split_at(at);
            let named = from.strip_prefix('{').and_then(|inside| inside.split_once('}'));
            let Some((name, after)) = named else {
                return Err("a brace of this URI has no partner".into());
            };
            if !is_name(name) {
                return Err(format!("`{{{name}}}` is not the name of one key"));
            }
            if !before.is_empty() {
                parts.push(Part::Text(before.to_owned()));
            }
            parts.push(Part::Name(name.to_owned()));
            rest = after;
        }
        if !rest.is_empty() {
            parts.push(Part::Text(rest.to_owned()));
        }
        Ok(Self(parts))
    }

    /// The text, when nothing in it is to be replaced.
    pub(crate) fn constant(&self) -> Option<&str> {
        if let [Part::Text(text)] = self.0.as_slice() { Some(text) } else { None }
    }

    /// What is missing or null leaves nothing behind.
    pub(crate) fn expand(&self, input: &Json) -> Result<String, String> {
        let mut uri = String::new();
        for part in &self.0 {
            match part {
                Part::Text(text) => uri.push_str(text),
                Part::Name(name) => expand(name, input, &mut uri)?,
            }
        }
        Ok(uri)
    }
}

/// RFC 6570 has operators, lists and modifiers, all with other signs; the names of the language are single keys, taken as
/// they stand.
fn is_name(name: &str) -> bool {
    let plain = name.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | '.'));
    plain && !name.is_empty() && !name.starts_with('.')
}

fn expand(name: &str, input: &Json, uri: &mut String) -> Result<(), String> {
    if json::shape(input) != Shape::Object {
        return Ok(());
    }
    let Some(value) = json::member(input, name) else { return Ok(()) };
    match json::shape(value) {
        Shape::Null => {}
        Shape::Array | Shape::Object => {
            return Err(format!(
                "the URI's `{{{name}}}` must be a text, number or boolean, not a list or an object"
            ));
        }
        Shape::False | Shape::Other(_) => match json::as_string(value) {
            Some(text) => encode(&text, uri),
            None => encode(value, uri),
        },
    }
    Ok(())
}

/// RFC 3986's unreserved characters stay.
fn encode(text: &str, uri: &mut String) {
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            uri.push(char::from(byte));
        } else {
            // Writing to a string cannot fail.
            let _infallible = write!(uri, "%{byte:02X}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expanded(template: &str, input: &str) -> Result<String, String> {
        Template::parse(template).unwrap().expand(&Json::from_text(input))
    }

    #[test]
    fn keys_of_the_input_are_put_in_and_encoded() {
        let input =
            r#"{"id": 7, "name": "Émile & co/x", "on": true, "no": null, "a.b": "c", "x": 1.50}"#;
        assert_eq!(expanded("https://h/{id}", input).unwrap(), "https://h/7");
        assert_eq!(
            expanded("/{name}?on={on}", input).unwrap(),
            "/%C3%89mile%20%26%20co%2Fx?on=true"
        );
        assert_eq!(expanded("{no}/{missing}/{a.b}", input).unwrap(), "//c");
        assert_eq!(expanded("{x}", input).unwrap(), "1.50");
        assert_eq!(expanded("https://h/{id}", "\"text\"").unwrap(), "https://h/");
        assert_eq!(Template::parse("https://h/x").unwrap().constant(), Some("https://h/x"));
        assert_eq!(Template::parse("https://h/{x}").unwrap().constant(), None);
    }

    #[test]
    fn lists_and_objects_cannot_be_put_in() {
        assert!(expanded("/{a}", r#"{"a": [1]}"#).is_err());
        assert!(expanded("/{a}", r#"{"a": {}}"#).is_err());
    }

    #[test]
    fn what_is_no_template_of_the_language_is_refused() {
        for text in [
            "", "a b", "{", "}", "{}", "{a", "a}b", "{{a}}", "{+a}", "{a,b}", "{a:3}", "{a*}",
            "{.a}",
        ] {
            assert!(Template::parse(text).is_err(), "{text}");
        }
    }
}
