//! The trace context that a handler hands on: that of its own work.

use std::fmt::Write as _;

use sha2::{Digest, Sha256};

/// The command's header names the span of its publication. The engine writes the span of the work on it, and both know
/// that span's id: the first 8 bytes of SHA-256 over `process` and the id of the publication's.
pub(crate) fn under_process(published: &str) -> Option<String> {
    let mut parts = published.trim().split('-');
    let (version, trace, span, flags) =
        (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let is_hex = |text: &str, digits| {
        text.len() == digits && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
    };
    if !(is_hex(version, 2) && is_hex(trace, 32) && is_hex(span, 16) && is_hex(flags, 2)) {
        return None;
    }
    let span = u64::from_str_radix(span, 16).ok()?;
    let digest = Sha256::digest([b"process".as_slice(), &span.to_be_bytes()].concat());
    let mut handed_on = format!("00-{trace}-");
    for byte in &digest[..8] {
        write!(handed_on, "{byte:02x}").ok()?;
    }
    handed_on.push('-');
    handed_on.push_str(flags);
    Some(handed_on)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_handed_on_stands_under_the_work_and_not_under_the_publication() {
        assert_eq!(
            under_process("00-0193b0c47a007000800000000000000a-00f067aa0ba902b7-01").unwrap(),
            "00-0193b0c47a007000800000000000000a-1a3025621a0d5a6f-01"
        );
    }

    #[test]
    fn what_is_no_trace_context_is_not_handed_on() {
        for text in ["", "00", "00-xx-00f067aa0ba902b7-01", "00-0193b0c4-00f067aa0ba902b7-01"] {
            assert_eq!(under_process(text), None, "{text}");
        }
    }
}
