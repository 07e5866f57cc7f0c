//! Takes out of a value what somebody must not see.

use crate::json::{self, Shape};

/// What stands in the place of a masked value, as JSON.
pub(crate) const MASKED: &str = "\"***\"";

/// The value with [`MASKED`] in every member called `field`, at any depth. With dots, `a.b` is a member `b` of a member
/// `a`, and so on. All else stays as it is written.
pub(crate) fn mask(value: &str, field: &str) -> String {
    let path: Vec<&str> = field.split('.').collect();
    let mut out = String::with_capacity(value.len());
    write(value, &path, &mut Vec::new(), &mut out);
    out
}

/// `around`: the names of the members around the value, outermost first.
fn write<'v>(value: &'v str, path: &[&str], around: &mut Vec<&'v str>, out: &mut String) {
    match json::shape(value) {
        Shape::Object => {
            out.push('{');
            let mut first = true;
            json::members(value, |name, member| {
                if !std::mem::take(&mut first) {
                    out.push(',');
                }
                out.push('"');
                out.push_str(name);
                out.push_str("\":");
                around.push(name);
                if ends_with(around, path) {
                    out.push_str(MASKED);
                } else {
                    write(member, path, around, out);
                }
                around.pop();
            });
            out.push('}');
        }
        Shape::Array => {
            out.push('[');
            for (n, element) in json::elements(value).into_iter().enumerate() {
                if n > 0 {
                    out.push(',');
                }
                write(element, path, around, out);
            }
            out.push(']');
        }
        Shape::Null | Shape::False | Shape::Other(_) => out.push_str(value),
    }
}

fn ends_with(around: &[&str], path: &[&str]) -> bool {
    around.len() >= path.len()
        && around[around.len() - path.len()..]
            .iter()
            .zip(path)
            .all(|(name, wanted)| json::unescape(name) == *wanted)
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
            (r#"{"ibans":1}"#, "iban", r#"{"ibans":1}"#),
            (r#""iban""#, "iban", r#""iban""#),
            ("12345678901234567890.10", "iban", "12345678901234567890.10"),
        ] {
            assert_eq!(mask(value, field), masked, "{field} in {value}");
        }
    }
}
