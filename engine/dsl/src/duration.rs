//! Durations: ISO 8601 text or the language's own object.

use baton_core::Duration;

use crate::{
    json, limits,
    tree::{Node, Value},
};

pub(crate) const KEYS: [&str; 5] = ["days", "hours", "minutes", "seconds", "milliseconds"];
const UNITS_MS: [u64; 5] = [86_400_000, 3_600_000, 60_000, 1_000, 1];

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Error {
    #[error("an ISO 8601 duration such as PT1H30M was wanted")]
    Syntax,
    #[error("years and months have no fixed length")]
    Calendar,
    #[error("a duration may not be negative")]
    Negative,
    #[error("a duration of at most 100 years was wanted")]
    TooLong,
    #[error("an object of whole days, hours, minutes, seconds and milliseconds was wanted")]
    Object,
}

/// `P2DT3H4M5.678S` or `P2W`; the last number may have a fraction.
pub(crate) fn parse(text: &str) -> Result<Duration, Error> {
    let text = text.trim();
    if text.starts_with('-') {
        return Err(Error::Negative);
    }
    let mut rest = text.strip_prefix('P').ok_or(Error::Syntax)?;
    let (mut total_ms, mut in_time, mut last_unit, mut fraction_seen) =
        (0_u128, false, 0_u128, false);
    if rest.is_empty() || rest.ends_with('T') {
        return Err(Error::Syntax);
    }
    while !rest.is_empty() {
        if let Some(time) = rest.strip_prefix('T') {
            if in_time {
                return Err(Error::Syntax);
            }
            (in_time, rest) = (true, time);
            continue;
        }
        let end = rest
            .find(|c: char| !(c.is_ascii_digit() || c == '.' || c == ',' || c == '-'))
            .ok_or(Error::Syntax)?;
        let (number, after) = rest.split_at(end);
        let mut letters = after.chars();
        let unit_ms: u128 = match (letters.next(), in_time) {
            (Some('W'), false) => 604_800_000,
            (Some('D'), false) => 86_400_000,
            (Some('H'), true) => 3_600_000,
            (Some('M'), true) => 60_000,
            (Some('S'), true) => 1_000,
            (Some('Y' | 'M'), false) => return Err(Error::Calendar),
            _ => return Err(Error::Syntax),
        };
        if number.starts_with('-') {
            return Err(Error::Negative);
        }
        // Units go from large to small, each at most once, and only the last may have a fraction.
        if fraction_seen || (last_unit > 0 && unit_ms >= last_unit) {
            return Err(Error::Syntax);
        }
        last_unit = unit_ms;
        let (whole, fraction) = number.split_once(['.', ',']).unwrap_or((number, "0"));
        fraction_seen = whole.len() < number.len();
        let digits = |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_digit());
        if !digits(whole) || !digits(fraction) {
            return Err(Error::Syntax);
        }
        if whole.len() > 15 {
            return Err(Error::TooLong);
        }
        let fraction = &fraction[..fraction.len().min(9)];
        let parse = |s: &str| s.parse::<u128>().map_err(|_| Error::Syntax);
        total_ms += parse(whole)? * unit_ms
            + parse(fraction)? * unit_ms / 10_u128.pow(u32::try_from(fraction.len()).unwrap_or(9));
        rest = letters.as_str();
    }
    bounded(total_ms)
}

fn bounded(ms: u128) -> Result<Duration, Error> {
    match u64::try_from(ms) {
        Ok(ms) if ms <= limits::DURATION_MS_MAX => Ok(Duration(ms)),
        _ => Err(Error::TooLong),
    }
}

/// The object form in a document.
pub(crate) fn from_node(node: &Node) -> Result<Duration, Error> {
    let Value::Object(members) = &node.value else { return Err(Error::Object) };
    if members.is_empty() {
        return Err(Error::Object);
    }
    let mut total_ms = 0;
    for member in members {
        let Value::Number(number) = &member.value.value else { return Err(Error::Object) };
        total_ms += part(&member.key, number)?;
    }
    bounded(total_ms)
}

/// What an expression gave: ISO 8601 text or the object form.
pub(crate) fn from_json(text: &str) -> Result<Duration, Error> {
    if let Some(iso) = json::as_string(text) {
        return parse(&iso);
    }
    if json::shape(text) != json::Shape::Object {
        return Err(Error::Syntax);
    }
    let mut total_ms = Ok(0_u128);
    let mut empty = true;
    json::members(text, |key, number| {
        empty = false;
        total_ms = total_ms.and_then(|sum| Ok(sum + part(&json::unescape(key), number)?));
    });
    if empty { Err(Error::Object) } else { bounded(total_ms?) }
}

fn part(key: &str, number: &str) -> Result<u128, Error> {
    let unit = KEYS.iter().position(|known| *known == key).ok_or(Error::Object)?;
    if number.starts_with('-') {
        return Err(Error::Negative);
    }
    if !number.bytes().all(|b| b.is_ascii_digit()) {
        return Err(Error::Object);
    }
    let count = number.parse::<u64>().map_err(|_| Error::TooLong)?;
    Ok(u128::from(count) * u128::from(UNITS_MS[unit]))
}

/// As ISO 8601 text.
pub(crate) fn write(duration: Duration) -> String {
    let (seconds, ms) = (duration.0 / 1_000, duration.0 % 1_000);
    if ms == 0 { format!("PT{seconds}S") } else { format!("PT{seconds}.{ms:03}S") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Result<u64, Error>) {
        assert_eq!(parse(text).map(|d| d.0), expected, "{text}");
    }

    #[test]
    fn iso_durations_are_read() {
        check("PT0S", Ok(0));
        check("PT1H30M", Ok(5_400_000));
        check("P2D", Ok(172_800_000));
        check("P1W", Ok(604_800_000));
        check("P1DT2H3M4.567S", Ok(93_784_567));
        check("PT0.5H", Ok(1_800_000));
        check("PT1,5S", Ok(1_500));
        check("P36500D", Ok(36_500 * 86_400_000));
    }

    #[test]
    fn what_is_not_a_duration_is_refused() {
        for text in [
            "", "P", "PT", "P1", "1H", "P1H", "PT1D", "PT1M1H", "PT1H1H", "PT.5S", "PT1.S", "P1DT",
            "PT1.5H3M", "PTT1S",
        ] {
            check(text, Err(Error::Syntax));
        }
        check("P1Y", Err(Error::Calendar));
        check("P1M", Err(Error::Calendar));
        check("-PT1S", Err(Error::Negative));
        check("PT-1S", Err(Error::Negative));
        check("P40000D", Err(Error::TooLong));
        check("PT99999999999999999999S", Err(Error::TooLong));
    }

    #[test]
    fn results_of_expressions_may_be_objects() {
        assert_eq!(from_json(r#"{"hours": 1, "milliseconds": 5}"#), Ok(Duration(3_600_005)));
        assert_eq!(from_json(r#""PT1S""#), Ok(Duration(1_000)));
        assert_eq!(from_json("{}"), Err(Error::Object));
        assert_eq!(from_json(r#"{"hours": -1}"#), Err(Error::Negative));
        assert_eq!(from_json(r#"{"weeks": 1}"#), Err(Error::Object));
        assert_eq!(from_json("5"), Err(Error::Syntax));
        assert_eq!(write(Duration(61_005)), "PT61.005S");
    }
}
