//! Names and ids of traces: an instance is one trace, and what it holds follows from the log.

use baton_core::{ActivationId, Attempt, InstanceId};
use sha2::{Digest, Sha256};

use crate::wire::{hex, unhex};

/// The W3C header, on NATS messages as on HTTP.
pub const TRACEPARENT: &str = "traceparent";

/// `namespace/name:version`.
pub const WORKFLOW_NAME: &str = "baton.workflow.name";
pub const INSTANCE_ID: &str = "baton.instance.id";
/// The task's name.
pub const STEP_NAME: &str = "baton.step.name";
pub const STEP_ATTEMPT: &str = "baton.step.attempt";

/// A W3C trace context: version 00, trace id, span id, flags. `None` when it is not one.
pub fn parse_traceparent(text: &str) -> Option<([u8; 16], [u8; 8], u8)> {
    let mut parts = text.trim().split('-');
    let (version, trace, span, flags) =
        (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    if version.len() != 2 || version == "ff" || (version == "00" && parts.next().is_some()) {
        return None;
    }
    let trace: [u8; 16] = unhex(trace)?;
    let span: [u8; 8] = unhex(span)?;
    let [flags] = unhex(flags)?;
    (trace != [0; 16] && span != [0; 8]).then_some((trace, span, flags))
}

/// The caller's trace, or one whose id is the instance's own.
pub fn trace_id(instance: InstanceId, traceparent: &str) -> String {
    hex(&parse_traceparent(traceparent).map_or(instance.0, |(trace, ..)| trace))
}

/// A span's id follows from what it is about, so that writing it twice doubles nothing.
pub fn span_id(instance: InstanceId, what: &str, step: ActivationId, attempt: Attempt) -> [u8; 8] {
    let mut hash = Sha256::new();
    hash.update(instance.0);
    hash.update(what.as_bytes());
    hash.update(step.0.to_le_bytes());
    hash.update(attempt.0.to_le_bytes());
    let mut id = [0; 8];
    id.copy_from_slice(&hash.finalize()[..8]);
    id
}

/// The span of a worker's work on a command, from the span in the command's header: worker and engine both know it.
pub fn process_span_id(publish: [u8; 8]) -> [u8; 8] {
    let mut id = [0; 8];
    id.copy_from_slice(&Sha256::digest([b"process".as_slice(), &publish].concat())[..8]);
    id
}

/// Whether the caller wants its trace not to be recorded.
pub fn is_unsampled(traceparent: &str) -> bool {
    parse_traceparent(traceparent).is_some_and(|(.., flags)| flags & 1 == 0)
}

/// The trace context of an instance that another one runs: in the same trace, under the other one's root.
pub fn child_traceparent(parent: InstanceId, traceparent: &str) -> String {
    let flags = parse_traceparent(traceparent).map_or(1, |(.., flags)| flags);
    let span = span_id(parent, "start", ActivationId::ROOT, Attempt::FIRST);
    format!("00-{}-{}-{flags:02x}", trace_id(parent, traceparent), hex(&span))
}

/// What a command's header says: the span of its publication, for the worker's span to stand under.
pub fn step_traceparent(
    instance: InstanceId,
    traceparent: &str,
    step: ActivationId,
    attempt: Attempt,
) -> String {
    let flags = parse_traceparent(traceparent).map_or(1, |(.., flags)| flags);
    let span = span_id(instance, "publish", step, attempt);
    format!("00-{}-{}-{flags:02x}", trace_id(instance, traceparent), hex(&span))
}

#[cfg(test)]
mod tests {
    use super::*;

    const CALLER: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    fn id() -> InstanceId {
        InstanceId([7; 16])
    }

    #[test]
    fn a_callers_trace_is_continued() {
        assert_eq!(trace_id(id(), CALLER), "0af7651916cd43dd8448eb211c80319c");
        let header = step_traceparent(id(), CALLER, ActivationId(3), Attempt(1));
        let (trace, span, flags) = parse_traceparent(&header).expect("we write what we read");
        assert_eq!((hex(&trace).as_str(), flags), ("0af7651916cd43dd8448eb211c80319c", 1));
        assert_eq!(span, span_id(id(), "publish", ActivationId(3), Attempt(1)));
    }

    #[test]
    fn without_a_caller_the_instance_names_the_trace() {
        assert_eq!(trace_id(id(), ""), "07".repeat(16));
    }

    #[test]
    fn what_is_no_trace_context_is_none() {
        let zero_trace = format!("00-{}-b7ad6b7169203331-01", "0".repeat(32));
        let upper = CALLER.to_uppercase();
        let long = format!("{CALLER}-extra");
        for text in [
            "",
            "00",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            &zero_trace,
            &upper,
            &long,
        ] {
            assert_eq!(parse_traceparent(text), None, "{text}");
        }
        // A later version may have more parts.
        assert!(
            parse_traceparent(&CALLER.replacen("00", "01", 1).replace("-01", "-01-more")).is_some()
        );
    }

    #[test]
    fn spans_of_different_attempts_differ() {
        let span = |step, attempt| span_id(id(), "publish", ActivationId(step), Attempt(attempt));
        assert_eq!(span(1, 1), span(1, 1));
        assert_ne!(span(1, 1), span(1, 2));
        assert_ne!(span(1, 1), span(2, 1));
        assert_ne!(process_span_id(span(1, 1)), span(1, 1));
    }

    #[test]
    fn the_span_of_the_work_is_the_one_that_workers_compute() {
        let published = 0x00f0_67aa_0ba9_02b7_u64.to_be_bytes();
        assert_eq!(process_span_id(published), 0x1a30_2562_1a0d_5a6f_u64.to_be_bytes());
    }

    #[test]
    fn a_caller_may_want_its_trace_not_to_be_recorded() {
        let caller = "00-0193b0c47a007000800000000000000a-00f067aa0ba902b7-0";
        assert!(is_unsampled(&format!("{caller}0")));
        assert!(!is_unsampled(&format!("{caller}1")));
        assert!(!is_unsampled(""));
    }
}
