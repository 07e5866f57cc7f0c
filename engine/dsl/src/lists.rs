//! Filters over lists in linear time, where jq's own definitions build each result anew for every element.

use jaq_core::{Error, ValT as _};
use jaq_json::{Map, Val};

type Result<T = Val> = std::result::Result<T, Error<Val>>;

pub(crate) fn add(value: Val) -> Result {
    let mut sum = Val::Null;
    let mut text = Vec::new();
    for item in value.values() {
        sum = match (sum, item?) {
            // jq would copy the text for every element.
            (sum @ Val::TStr(_), Val::TStr(more)) => {
                text.extend_from_slice(&more);
                sum
            }
            (Val::Null, Val::TStr(first)) => {
                text.extend_from_slice(&first);
                Val::TStr(first)
            }
            (sum @ Val::TStr(_), Val::Null) => sum,
            (sum, item) => (sum + item)?,
        };
    }
    Ok(if matches!(sum, Val::TStr(_)) { Val::utf8_str(text) } else { sum })
}

pub(crate) fn join(value: &Val, separator: &Val) -> Result {
    let Val::Arr(items) = value else { return Err(Error::typ(value.clone(), "array")) };
    let Val::TStr(separator) = separator else {
        return Err(Error::typ(separator.clone(), "string"));
    };
    let mut joined = Vec::new();
    for (i, item) in items.iter().enumerate() {
        if i > 0 {
            joined.extend_from_slice(separator);
        }
        match item {
            Val::Null => {}
            Val::TStr(text) => joined.extend_from_slice(text),
            Val::Bool(_) | Val::Num(_) => joined.extend_from_slice(item.to_string().as_bytes()),
            Val::BStr(_) | Val::Arr(_) | Val::Obj(_) => {
                return Err(Error::typ(item.clone(), "string"));
            }
        }
    }
    Ok(Val::utf8_str(joined))
}

/// Takes the spellings of the key that jq takes.
pub(crate) fn from_entries(value: Val) -> Result {
    let named = |entry: &Map, names: [&'static str; 6]| {
        names
            .into_iter()
            .filter_map(|name| entry.get(&key(name)))
            .find(|found| !matches!(found, Val::Null))
            .cloned()
    };
    let mut object = Map::default();
    for entry in value.values() {
        let entry = match entry? {
            Val::Obj(entry) => entry,
            other @ (Val::Null
            | Val::Bool(_)
            | Val::Num(_)
            | Val::BStr(_)
            | Val::TStr(_)
            | Val::Arr(_)) => {
                return Err(Error::typ(other, "object"));
            }
        };
        let name = match named(&entry, ["key", "k", "name", "Name", "Key", "K"]) {
            Some(name @ Val::TStr(_)) => name,
            Some(Val::Null) | None => Val::utf8_str("null"),
            Some(other @ (Val::Bool(_) | Val::Num(_))) => Val::utf8_str(other.to_string()),
            Some(other) => return Err(Error::typ(other, "string")),
        };
        let value = ["value", "v", "Value", "V"]
            .into_iter()
            .find_map(|name| entry.get(&key(name)))
            .cloned();
        object.insert(name, value.unwrap_or(Val::Null));
    }
    Ok(Val::obj(object))
}

pub(crate) fn key(name: &'static str) -> Val {
    Val::utf8_str(name.as_bytes())
}

pub(crate) fn flatten(value: Val, depth: usize) -> Result {
    fn into(items: impl Iterator<Item = Result>, depth: usize, flat: &mut Vec<Val>) -> Result<()> {
        for item in items {
            match item? {
                Val::Arr(inner) if depth > 0 => {
                    into(inner.iter().cloned().map(Ok), depth - 1, flat)?;
                }
                other @ (Val::Null
                | Val::Bool(_)
                | Val::Num(_)
                | Val::BStr(_)
                | Val::TStr(_)
                | Val::Arr(_)
                | Val::Obj(_)) => flat.push(other),
            }
        }
        Ok(())
    }
    let mut flat = Vec::new();
    into(value.values(), depth, &mut flat)?;
    Ok(flat.into_iter().collect())
}

/// At least as many as the states of the pattern's automaton: its length, times all its counted repetitions.
pub(crate) fn pattern_states(pattern: &[u8]) -> u64 {
    let mut states = pattern.len() as u64 + 1;
    for counted in pattern.split(|byte| *byte == b'{').skip(1) {
        let inside = counted.split(|byte| *byte == b'}').next().unwrap_or_default();
        let most = inside
            .split(|byte| !byte.is_ascii_digit())
            .filter(|digits| !digits.is_empty())
            .map(|digits| {
                str::from_utf8(digits)
                    .ok()
                    .and_then(|digits| digits.parse().ok())
                    .unwrap_or(u64::MAX)
            })
            .max();
        states = states.saturating_mul(most.unwrap_or(1).max(1));
    }
    states
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counted_repetitions_multiply() {
        assert_eq!(pattern_states(b"abc"), 4);
        assert_eq!(pattern_states(b"(a{10}){2,20}"), 14 * 200);
        assert_eq!(pattern_states(b"a{99999999999999999999999}"), u64::MAX);
    }
}
