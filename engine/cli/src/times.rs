//! Times as people and programs read them.

use std::time::Duration;

use prost_types::Timestamp;
use time::{OffsetDateTime, format_description::well_known::Rfc3339, macros::format_description};

/// The one place where this program looks at the clock.
pub(crate) fn now() -> OffsetDateTime {
    OffsetDateTime::now_utc()
}

pub(crate) fn now_ms() -> i64 {
    i64::try_from(now().unix_timestamp_nanos() / 1_000_000).unwrap_or(i64::MAX)
}

/// Unix milliseconds.
pub(crate) fn ms(at: &Timestamp) -> i64 {
    at.seconds.saturating_mul(1_000).saturating_add(i64::from(at.nanos) / 1_000_000)
}

pub(crate) fn timestamp(at: OffsetDateTime) -> Timestamp {
    Timestamp { seconds: at.unix_timestamp(), nanos: i32::try_from(at.nanosecond()).unwrap_or(0) }
}

/// RFC 3339 in UTC with milliseconds; none when it is beyond the calendar.
pub(crate) fn rfc3339(unix_ms: i64) -> Option<String> {
    let form =
        format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");
    from_ms(unix_ms)?.format(&form).ok()
}

/// For people: the date and the time of day in UTC, to the second.
pub(crate) fn readable(unix_ms: i64) -> String {
    let form = format_description!("[year]-[month]-[day] [hour]:[minute]:[second]");
    from_ms(unix_ms).and_then(|at| at.format(&form).ok()).unwrap_or_else(|| "?".into())
}

pub(crate) fn parse(text: &str) -> Option<OffsetDateTime> {
    OffsetDateTime::parse(text, &Rfc3339).ok()
}

/// `90s`, `15m`, `2h`, `3d`, `1w`, `250ms`, or several of them: `1h30m`.
pub(crate) fn parse_duration(text: &str) -> Option<Duration> {
    let mut total = Duration::ZERO;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let count: u64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let unit_end = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        let unit_ms = match &rest[..unit_end] {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            "w" => 604_800_000,
            _ => return None,
        };
        rest = &rest[unit_end..];
        total = total.checked_add(Duration::from_millis(count.checked_mul(unit_ms)?))?;
    }
    (!text.is_empty()).then_some(total)
}

/// A span in at most seven characters, two units at most: `850ms`, `1.4s`, `2m05s`, `3h20m`, `12d4h`.
pub(crate) fn span(ms: i64) -> String {
    let ms = ms.max(0);
    let (s, m, h, d) = (ms / 1_000, ms / 60_000, ms / 3_600_000, ms / 86_400_000);
    if ms < 1_000 {
        format!("{ms}ms")
    } else if s < 60 {
        format!("{s}.{}s", ms % 1_000 / 100)
    } else if m < 60 {
        format!("{m}m{:02}s", s % 60)
    } else if h < 24 {
        format!("{h}h{:02}m", m % 60)
    } else {
        format!("{d}d{}h", h % 24)
    }
}

/// How long ago, in one unit: `4s ago`, `2h ago`.
pub(crate) fn ago(unix_ms: i64, now_ms: i64) -> String {
    let s = now_ms.saturating_sub(unix_ms).max(0) / 1_000;
    match s {
        0 => "now".into(),
        1..60 => format!("{s}s ago"),
        60..3_600 => format!("{}m ago", s / 60),
        3_600..86_400 => format!("{}h ago", s / 3_600),
        _ => format!("{}d ago", s / 86_400),
    }
}

fn from_ms(unix_ms: i64) -> Option<OffsetDateTime> {
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(unix_ms) * 1_000_000).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_short() {
        let spans = [0, 850, 1_449, 59_999, 125_000, 12_000_000, 1_051_200_000].map(span);
        assert_eq!(spans, ["0ms", "850ms", "1.4s", "59.9s", "2m05s", "3h20m", "12d4h"]);
        assert_eq!(span(-5), "0ms");
    }

    #[test]
    fn durations_have_units() {
        let ms = |text: &str| parse_duration(text).map(|d| d.as_millis());
        assert_eq!(ms("2h"), Some(7_200_000));
        assert_eq!(ms("1h30m"), Some(5_400_000));
        assert_eq!(ms("250ms"), Some(250));
        assert_eq!(ms("1w"), Some(604_800_000));
        for wrong in
            ["", "2", "h", "2y", "-2h", "1h 30m", "99999999999999999999s", "18446744073709551615w"]
        {
            assert_eq!(ms(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn times_are_utc_with_milliseconds() {
        assert_eq!(rfc3339(1_769_846_400_007).as_deref(), Some("2026-01-31T08:00:00.007Z"));
        assert_eq!(readable(1_769_846_400_007), "2026-01-31 08:00:00");
        assert_eq!(rfc3339(i64::MAX), None);
        assert_eq!(ms(&Timestamp { seconds: 2, nanos: 5_000_000 }), 2_005);
    }

    #[test]
    fn ago_has_one_unit() {
        let ago = [0, 4_000, 61_000, 7_300_000, 200_000_000].map(|ms| ago(0, ms));
        assert_eq!(ago, ["now", "4s ago", "1m ago", "2h ago", "2d ago"]);
    }
}
