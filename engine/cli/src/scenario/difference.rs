//! Where two JSON values differ, in words.

use baton_core::Json;
use serde_json::{Number, Value};

use super::limits;
use crate::output::fit;

/// How much of the found value counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Extent {
    Whole,
    /// Objects may have more keys than are wanted.
    Part,
}

/// One text for each place: `: wanted 1, got 2` or ` at /a/0: wanted 1, got 2`.
pub(super) fn between(wanted: &Json, found: &Json, extent: Extent) -> Vec<String> {
    let value = |json: &Json| {
        serde_json::from_str(json).unwrap_or_else(|_| Value::String(json.as_str().into()))
    };
    let mut differences = Vec::new();
    compare(&value(wanted), &value(found), extent, &mut String::new(), &mut differences);
    if differences.len() > limits::DIFFERENCES_MAX {
        differences.truncate(limits::DIFFERENCES_MAX);
        differences.push(": and more".into());
    }
    differences
}

fn compare(
    wanted: &Value,
    found: &Value,
    extent: Extent,
    pointer: &mut String,
    out: &mut Vec<String>,
) {
    if out.len() > limits::DIFFERENCES_MAX {
        return;
    }
    match (wanted, found) {
        (Value::Object(wanted), Value::Object(found)) => {
            for (key, value) in wanted {
                at(pointer, &key.replace('~', "~0").replace('/', "~1"), |pointer| {
                    match found.get(key) {
                        Some(found) => compare(value, found, extent, pointer, out),
                        None => out.push(apart(pointer, &show(value), "nothing")),
                    }
                });
            }
            if extent == Extent::Whole {
                for (key, value) in found.iter().filter(|(key, _)| !wanted.contains_key(*key)) {
                    at(pointer, &key.replace('~', "~0").replace('/', "~1"), |pointer| {
                        out.push(apart(pointer, "nothing", &show(value)));
                    });
                }
            }
        }
        (Value::Array(wanted), Value::Array(found)) => {
            for place in 0..wanted.len().max(found.len()) {
                at(pointer, &place.to_string(), |pointer| {
                    match (wanted.get(place), found.get(place)) {
                        (Some(wanted), Some(found)) => compare(wanted, found, extent, pointer, out),
                        (Some(wanted), None) => out.push(apart(pointer, &show(wanted), "nothing")),
                        (None, Some(found)) => out.push(apart(pointer, "nothing", &show(found))),
                        (None, None) => {}
                    }
                });
            }
        }
        (Value::Number(one), Value::Number(other)) if is_same(one, other) => {}
        _ if wanted == found => {}
        _ => out.push(apart(pointer, &show(wanted), &show(found))),
    }
}

/// Does something one step deeper.
fn at(pointer: &mut String, token: &str, inside: impl FnOnce(&mut String)) {
    let length = pointer.len();
    pointer.push('/');
    pointer.push_str(token);
    inside(pointer);
    pointer.truncate(length);
}

fn apart(pointer: &str, wanted: &str, found: &str) -> String {
    let place = if pointer.is_empty() { String::new() } else { format!(" at {pointer}") };
    format!("{place}: wanted {wanted}, got {found}")
}

fn show(value: &Value) -> String {
    fit(&value.to_string(), limits::VALUE_CHARS_MAX)
}

/// `1` and `1.0` are one number; long ones are compared as they are written, for a float would lose digits.
fn is_same(one: &Number, other: &Number) -> bool {
    const DIGITS_OF_A_FLOAT: usize = 15;
    let (one_text, other_text) = (one.to_string(), other.to_string());
    let is_short = one_text.len() <= DIGITS_OF_A_FLOAT && other_text.len() <= DIGITS_OF_A_FLOAT;
    one_text == other_text
        || (is_short
            && one.as_f64().zip(other.as_f64()).is_some_and(|(one, other)| {
                one.partial_cmp(&other) == Some(std::cmp::Ordering::Equal)
            }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn apart(wanted: &str, found: &str, extent: Extent) -> Vec<String> {
        between(&Json::from_text(wanted), &Json::from_text(found), extent)
    }

    #[test]
    fn every_place_that_differs_is_told() {
        assert_eq!(
            apart(r#"{"a":[1,2],"b":"x","c/d":null}"#, r#"{"a":[1,3,4],"b":"x"}"#, Extent::Whole),
            [
                " at /a/1: wanted 2, got 3",
                " at /a/2: wanted nothing, got 4",
                " at /c~1d: wanted null, got nothing",
            ]
        );
        assert_eq!(apart("1", "\"1\"", Extent::Whole), [": wanted 1, got \"1\""]);
    }

    #[test]
    fn a_part_may_stand_among_other_keys() {
        let (wanted, found) = (r#"{"a":{"b":1}}"#, r#"{"a":{"b":1.0,"c":2},"d":3}"#);
        assert_eq!(apart(wanted, found, Extent::Part), [""; 0]);
        assert_eq!(
            apart(wanted, found, Extent::Whole),
            [" at /a/c: wanted nothing, got 2", " at /d: wanted nothing, got 3"]
        );
        assert_eq!(apart("[1]", "[1,2]", Extent::Part), [" at /1: wanted nothing, got 2"]);
    }

    #[test]
    fn numbers_are_equal_by_what_they_say() {
        for (wanted, found) in
            [("1", "1.0"), ("1e2", "100"), ("12345678901234567890", "12345678901234567890")]
        {
            assert_eq!(apart(wanted, found, Extent::Whole), [""; 0], "{wanted} {found}");
        }
        assert_eq!(apart("12345678901234567890", "12345678901234567891", Extent::Whole).len(), 1);
    }

    #[test]
    fn a_long_tale_is_cut() {
        let many: Vec<_> = (0..100).map(|n| n.to_string()).collect();
        let differences = apart(&format!("[{}]", many.join(",")), "[]", Extent::Whole);
        assert_eq!(differences.len(), limits::DIFFERENCES_MAX + 1);
    }
}
