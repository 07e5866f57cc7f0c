//! References within an OpenAPI document.

use baton_worker::Outcome;
use serde_json::Value;

use crate::{fault::Fault, limits::REFERENCES_MAX};

/// What stands at the end of references; a value that is none is its own end.
pub(super) fn follow<'a>(document: &'a Value, mut value: &'a Value) -> Outcome<&'a Value> {
    for _ in 0..REFERENCES_MAX {
        let Some(reference) = value.get("$ref").and_then(Value::as_str) else { return Ok(value) };
        let pointer = reference.strip_prefix('#').ok_or_else(|| {
            Fault::Unsupported.because(format_args!("{reference:?} refers to another document"))
        })?;
        let pointer = percent_encoding::percent_decode_str(pointer).decode_utf8_lossy();
        value = document.pointer(&pointer).ok_or_else(|| {
            Fault::Document.because(format_args!("{reference:?} refers to nothing"))
        })?;
    }
    Err(Fault::Document.because(format_args!("more than {REFERENCES_MAX} references in a row")))
}
