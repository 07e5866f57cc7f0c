//! Literals that look like secrets: a warning, for a name and a shape prove nothing.

use crate::{
    diagnostic::Sink,
    tree::{Node, Value},
};

/// Ends of keys, in lower case and without `_` and `-`, that usually hold a secret.
const KEYS: [&str; 11] = [
    "password",
    "passwd",
    "passphrase",
    "secret",
    "token",
    "apikey",
    "accesskey",
    "privatekey",
    "credential",
    "credentials",
    "authorization",
];

/// Shorter ones are words, not secrets.
const SECRET_CHARS_MIN: usize = 6;

/// How tokens of well-known services begin, and how many characters follow at least.
const SHAPES: [(&str, usize, &str); 17] = [
    ("AKIA", 16, "an access key of AWS"),
    ("ASIA", 16, "an access key of AWS"),
    ("ghp_", 30, "a token of GitHub"),
    ("gho_", 30, "a token of GitHub"),
    ("ghu_", 30, "a token of GitHub"),
    ("ghs_", 30, "a token of GitHub"),
    ("github_pat_", 30, "a token of GitHub"),
    ("glpat-", 20, "a token of GitLab"),
    ("xoxb-", 20, "a token of Slack"),
    ("xoxp-", 20, "a token of Slack"),
    ("xoxa-", 20, "a token of Slack"),
    ("sk_live_", 16, "a key of Stripe"),
    ("rk_live_", 16, "a key of Stripe"),
    ("sk-", 32, "a key of a model's API"),
    ("AIza", 35, "a key of Google's API"),
    ("npm_", 36, "a token of npm"),
    ("hf_", 30, "a token of Hugging Face"),
];

pub(crate) fn check(node: &Node, sink: &mut Sink) {
    match &node.value {
        Value::String(text) => {
            if let Some(what) = shape(text) {
                warn(node, what, sink);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| check(item, sink)),
        Value::Object(members) => {
            for member in members {
                // A schema describes values and has none.
                if member.key == "schema" && member.value.get("document").is_some() {
                    continue;
                }
                match member.value.as_str() {
                    Some(text) if is_secret(&member.key, text) => {
                        warn(&member.value, "a secret, by its key", sink);
                    }
                    _ => check(&member.value, sink),
                }
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// The text itself is not repeated.
fn warn(node: &Node, what: &str, sink: &mut Sink) {
    let message = format!("this looks like {what}; whoever may read the workflow can read it");
    let hint = "keep the value with the worker, and write only its name here";
    sink.warn("secret-literal", node.place, message, hint);
}

fn is_secret(key: &str, text: &str) -> bool {
    let key: String =
        key.chars().filter(|c| !matches!(c, '_' | '-')).flat_map(char::to_lowercase).collect();
    let text = text.trim();
    let schemes = ["Basic ", "Bearer ", "basic ", "bearer "];
    let text = schemes.into_iter().find_map(|scheme| text.strip_prefix(scheme)).unwrap_or(text);
    let is_expression = text.contains("${") || text.starts_with(['.', '$', '{']);
    let is_address = text.starts_with('/') || text.contains("://");
    KEYS.iter().any(|end| key.ends_with(end))
        && !is_expression
        && !is_address
        && text.chars().count() >= SECRET_CHARS_MIN
        && !text.contains(char::is_whitespace)
}

fn shape(text: &str) -> Option<&'static str> {
    if text.contains("-----BEGIN") && text.contains("PRIVATE KEY-----") {
        return Some("a private key");
    }
    if has_password(text) {
        return Some("an address with a password");
    }
    text.split(|c: char| !is_token(c)).find_map(|word| {
        let known = SHAPES.iter().find(|(start, rest, _)| {
            word.strip_prefix(start).is_some_and(|after| after.len() >= *rest)
        });
        known.map(|(_, _, what)| *what).or_else(|| is_web_token(word).then_some("a JSON web token"))
    })
}

fn is_token(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.')
}

/// Header, payload and signature, of which the first two begin with `{"` in base64.
fn is_web_token(word: &str) -> bool {
    let parts: Vec<_> = word.split('.').collect();
    parts.len() == 3
        && parts.iter().all(|part| part.len() >= 10)
        && parts[..2].iter().all(|part| part.starts_with("eyJ"))
}

/// `https://user:password@host`.
fn has_password(text: &str) -> bool {
    text.match_indices("://").any(|(at, _)| {
        let rest = &text[at + 3..];
        let authority = &rest[..rest.find(['/', '?', '#', ' ']).unwrap_or(rest.len())];
        let user = authority.rsplit_once('@').map(|(user, _)| user);
        let password = user.and_then(|user| user.split_once(':')).map(|(_, password)| password);
        password.is_some_and(|password| !password.is_empty() && !password.contains(['{', '$', '(']))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_known_by_their_shape() {
        // Put together here, so that no scanner of this repository takes them for real ones.
        let tail = "a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R8s9";
        for start in ["AKIA", "ghp_", "glpat-", "xoxb-", "sk_live_", "sk-", "AIza", "npm_", "hf_"] {
            assert!(shape(&format!("use {start}{tail} here")).is_some(), "{start}");
            assert_eq!(shape(&format!("{start}short")), None);
            assert_eq!(shape(&format!("x{start}{tail}")), None, "in the middle of a word");
        }
        let part = format!("eyJ{tail}");
        assert_eq!(shape(&format!("{part}.{part}.{tail}")), Some("a JSON web token"));
        assert_eq!(shape(&format!("-----BEGIN {}PRIVATE KEY-----", "RSA ")), Some("a private key"));
    }

    #[test]
    fn an_address_may_have_a_user_and_no_password() {
        assert!(has_password("https://ann:hunter@example.com/x"));
        for fine in [
            "https://ann@example.com",
            "https://example.com/a:b@c",
            "https://ann:{password}@example.com",
            "${ \"https://ann:\\($secrets.x)@example.com\" }",
            "://",
        ] {
            assert!(!has_password(fine), "{fine}");
        }
    }

    #[test]
    fn a_key_alone_makes_no_secret_of_an_expression_an_address_or_a_word() {
        assert!(is_secret("api_key", "0123456789"));
        assert!(is_secret("Authorization", "Bearer 0123456789"));
        assert!(is_secret("clientSecret", "hunter2"));
        for (key, text) in [
            ("password", "${ $secrets.erp }"),
            ("token", "/oauth2/token"),
            ("token", ".token"),
            ("password", "none"),
            ("secret", "kept with the worker"),
            ("maxTokens", "0123456789"),
        ] {
            assert!(!is_secret(key, text), "{key}: {text}");
        }
    }
}
