//! Takes out of a value what somebody must not see.

use crate::json;

/// What stands in the place of a masked value, as JSON.
pub(crate) const MASKED: &str = "\"***\"";

/// The value with [`MASKED`] in every member called `field`, at any depth. With dots, `a.b` is a member `b` of a member
/// `a`, or one whose own name is `a.b`, and so on. All else stays as it is written. Reads the value once.
pub(crate) fn mask(value: &str, field: &str) -> String {
    let bytes = value.as_bytes();
    let mut out = String::with_capacity(value.len());
    let (mut at, mut copied) = (0, 0);
    // The names around, with dots between them, and for each object or array how many bytes of them stand outside.
    let mut path = String::new();
    let mut around: Vec<(bool, usize)> = Vec::new();
    let mut name_comes = false;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'{' | b'[' => {
                name_comes = *byte == b'{';
                around.push((name_comes, path.len()));
                at += 1;
            }
            b'}' | b']' => {
                path.truncate(around.pop().map_or(0, |(_, outside)| outside));
                name_comes = false;
                at += 1;
            }
            b',' => {
                name_comes = around.last().is_some_and(|(is_object, _)| *is_object);
                at += 1;
            }
            b'"' if name_comes => {
                name_comes = false;
                let end = json::skip(bytes, at);
                path.truncate(around.last().map_or(0, |(_, outside)| *outside));
                if !path.is_empty() {
                    path.push('.');
                }
                path.push_str(&json::unescape(&value[at + 1..end - 1]));
                at = json::space(bytes, json::space(bytes, end) + 1);
                if is_called(&path, field) {
                    out.push_str(&value[copied..at]);
                    out.push_str(MASKED);
                    at = json::skip(bytes, at);
                    copied = at;
                }
            }
            b'"' => at = json::skip(bytes, at),
            _ => at += 1,
        }
    }
    out.push_str(&value[copied..]);
    out
}

fn is_called(path: &str, field: &str) -> bool {
    path.strip_suffix(field).is_some_and(|before| before.is_empty() || before.ends_with('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_masked_wherever_it_stands() {
        for (value, field, masked) in [
            (r#"{"iban":"DE1","n":1.50}"#, "iban", r#"{"iban":"***","n":1.50}"#),
            (r#"[{"a":{"iban":{"x":1}}},2]"#, "iban", r#"[{"a":{"iban":"***"}},2]"#),
            (
                r#"{"payer":{"name":"A"},"payee":{"name":"B"}}"#,
                "payer.name",
                r#"{"payer":{"name":"***"},"payee":{"name":"B"}}"#,
            ),
            (r#"{"payer":[{"name":"A"}]}"#, "payer.name", r#"{"payer":[{"name":"***"}]}"#),
            // Written otherwise it is the same name.
            (r#"{"\u0069ban":7}"#, "iban", r#"{"\u0069ban":"***"}"#),
            (r#"{"payee.iban":7}"#, "payee.iban", r#"{"payee.iban":"***"}"#),
            (
                r#"{"a" : [1, "iban", {"b":"iban"}], "iban" : "x,}" }"#,
                "iban",
                r#"{"a" : [1, "iban", {"b":"iban"}], "iban" : "***" }"#,
            ),
            (
                r#"{"iban":[{"iban":1}],"b":{"iban":2}}"#,
                "iban",
                r#"{"iban":"***","b":{"iban":"***"}}"#,
            ),
            (r#"{"ibans":1,"xiban":2}"#, "iban", r#"{"ibans":1,"xiban":2}"#),
            ("{}", "iban", "{}"),
            (r#""iban""#, "iban", r#""iban""#),
            ("12345678901234567890.10", "iban", "12345678901234567890.10"),
        ] {
            assert_eq!(mask(value, field), masked, "{field} in {value}");
        }
    }
}
