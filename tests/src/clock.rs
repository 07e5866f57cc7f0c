//! The wall clock, for what is compared with times that the engine wrote.

use std::time::{SystemTime, UNIX_EPOCH};

/// Unix milliseconds.
#[expect(clippy::disallowed_methods, reason = "this is the clock of the tests")]
pub fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
