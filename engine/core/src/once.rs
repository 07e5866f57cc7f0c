//! What must happen once, whoever asks for it: a step with a key goes out only when no other step anywhere holds the key.

use alloc::{format, string::String, sync::Arc};

use crate::{
    error::{Error, TYPES},
    id::InstanceId,
    json::Json,
};

/// The key of a step, as its task says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// Unique in the department of the step's function: `pay:invoice:4711`.
    pub text: Arc<str>,
    /// When another step has done it, its output is that of this step, too; else this step fails.
    pub attach: bool,
}

/// The key of a step, and whether the step holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The key.
    pub key: Key,
    /// Nobody else may do it.
    pub held: bool,
}

/// What became of a key that a step of an instance held.
#[derive(Clone, Debug, PartialEq)]
pub struct Kept {
    /// The text of the key.
    pub key: Arc<str>,
    /// How far it came.
    pub fate: Fate,
    /// Its task can be undone.
    pub undoable: bool,
}

/// How far what has a key came.
#[derive(Clone, Debug, PartialEq)]
pub enum Fate {
    /// Nothing has gone out.
    Claimed,
    /// A worker may have done it.
    Out,
    /// A worker has done it, with this output, unless that is too large to be kept.
    Done(Option<Json>),
    /// It was undone, or somebody has looked and it has not happened.
    Undone,
}

/// How it stands with a key, for whoever else wants it.
#[derive(Clone, Debug, PartialEq)]
pub enum State {
    /// The step is on its way.
    Claimed,
    /// It is done, with this output, if that was kept.
    Committed(Option<Json>),
    /// The step has ended otherwise, and a worker may have done it: somebody must look.
    Unknown,
    /// It was undone, or has never been done.
    Free,
}

impl State {
    /// Stable.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Claimed => "claimed",
            Self::Committed(_) => "committed",
            Self::Unknown => "unknown",
            Self::Free => "free",
        }
    }
}

/// What is said to a step that wants to hold its key.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// It holds it now, and nobody else does.
    Held,
    /// A step of this instance holds it.
    Refused { by: InstanceId, state: State },
    /// A step of this instance has done it, with this output.
    Attached { by: InstanceId, output: Json },
}

/// That a key is another's. A workflow catches it by its status.
pub(crate) fn refused(key: &str, by: InstanceId, state: &State) -> Error {
    let detail = format!("{key} is {} by instance {by}", state.name());
    Error {
        kind: Arc::from(format!("{TYPES}runtime")),
        status: 409,
        title: Some(Arc::from("Done by another")),
        detail: Some(Arc::from(detail)),
        instance: None,
    }
}

/// The text of a key that an expression gave: a text without what JSON must escape, or a number.
pub(crate) fn text_of(value: &Json, bytes_max: usize) -> Option<Arc<str>> {
    let text = value.as_str();
    let inner = match text.strip_prefix('"') {
        Some(rest) => rest.strip_suffix('"')?,
        None if text.starts_with(|first: char| first == '-' || first.is_ascii_digit()) => text,
        None => return None,
    };
    let fits = !inner.is_empty() && inner.len() <= bytes_max && !inner.contains('\\');
    fits.then(|| Arc::from(String::from(inner)))
}
