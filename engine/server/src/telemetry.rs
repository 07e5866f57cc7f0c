//! Names and ids of traces: an instance is one trace, and what it holds follows from the log.

use baton_core::{ActivationId, Attempt, InstanceId};
use sha2::{Digest, Sha256};

use crate::wire::hex;

/// The W3C header, on NATS messages as on HTTP.
pub const TRACEPARENT: &str = "traceparent";

/// `namespace/name:version`.
pub const WORKFLOW_NAME: &str = "baton.workflow.name";
pub const INSTANCE_ID: &str = "baton.instance.id";
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

fn unhex<const N: usize>(text: &str) -> Option<[u8; N]> {
    if text.len() != 2 * N || !text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
        return None;
    }
    let mut bytes = [0; N];
    for (i, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * i..2 * i + 2], 16).ok()?;
    }
    Some(bytes)
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
