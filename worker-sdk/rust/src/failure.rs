//! What a handler answers when it has no output.

use std::{error::Error, fmt};

use baton_proto::v1;

use crate::limits::FAILURE_TEXT_BYTES_MAX;

/// Something went wrong while the step ran.
pub const RUNTIME_ERROR: &str = "https://open-workflow-specification.org/dsl/errors/types/runtime";
/// The step's arguments are not what the function takes.
pub const VALIDATION_ERROR: &str =
    "https://open-workflow-specification.org/dsl/errors/types/validation";
/// Settings, of the step or of the worker, with which the work cannot be done.
pub const CONFIGURATION_ERROR: &str =
    "https://open-workflow-specification.org/dsl/errors/types/configuration";
/// Somebody does not believe who is asking.
pub const AUTHENTICATION_ERROR: &str =
    "https://open-workflow-specification.org/dsl/errors/types/authentication";
/// The step may not do this.
pub const AUTHORIZATION_ERROR: &str =
    "https://open-workflow-specification.org/dsl/errors/types/authorization";
/// It took too long.
pub const TIMEOUT_ERROR: &str = "https://open-workflow-specification.org/dsl/errors/types/timeout";
/// A service was not reached, or did not answer as it should.
pub const COMMUNICATION_ERROR: &str =
    "https://open-workflow-specification.org/dsl/errors/types/communication";

/// What a handler returns.
pub type Outcome<T> = Result<T, Failure>;

/// Why a step has no output. A workflow can catch it by its type and status.
///
/// Any [`std::error::Error`] becomes a retryable one by `?`; an `anyhow::Error` by `.map_err(Failure::retryable)`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// URI of the kind of error.
    pub kind: String,
    /// As an HTTP status.
    pub status: u32,
    /// A few words.
    pub title: String,
    /// What a person needs to know to mend it; may be empty.
    pub detail: String,
    /// Another attempt may go better: the engine schedules one, within its bounds, before the task faults.
    pub retryable: bool,
}

impl Failure {
    /// Another attempt may go better: a time-out, a service that is away.
    pub fn retryable(title: impl fmt::Display) -> Self {
        Self {
            kind: RUNTIME_ERROR.into(),
            status: 500,
            title: title.to_string(),
            detail: String::new(),
            retryable: true,
        }
    }

    /// No other attempt can go better: the task faults, and the workflow may catch it.
    pub fn terminal(title: impl fmt::Display) -> Self {
        Self { retryable: false, ..Self::retryable(title) }
    }

    /// The arguments are not what the function takes.
    pub(crate) fn validation(detail: impl fmt::Display) -> Self {
        Self::terminal("invalid-input")
            .with_type(VALIDATION_ERROR)
            .with_status(400)
            .with_detail(detail)
    }

    /// A secret that the step names is not to be had here.
    pub(crate) fn secret_missing(detail: impl fmt::Display) -> Self {
        Self::terminal("secret-missing")
            .with_type(AUTHORIZATION_ERROR)
            .with_status(403)
            .with_detail(detail)
    }

    /// The output cannot be given back.
    pub(crate) fn output_too_large(detail: impl fmt::Display) -> Self {
        Self::terminal("output-too-large").with_detail(detail)
    }

    pub(crate) fn panicked(detail: impl fmt::Display) -> Self {
        Self::retryable("handler-panicked").with_detail(detail)
    }

    /// The URI by which a workflow catches this kind of error.
    pub fn with_type(mut self, uri: impl Into<String>) -> Self {
        self.kind = uri.into();
        self
    }

    /// As an HTTP status; 500 unless said.
    pub fn with_status(mut self, status: u32) -> Self {
        self.status = status;
        self
    }

    pub fn with_detail(mut self, detail: impl fmt::Display) -> Self {
        self.detail = detail.to_string();
        self
    }

    pub(crate) fn into_wire(self) -> v1::Failure {
        v1::Failure {
            r#type: cut(self.kind),
            status: self.status,
            title: cut(self.title),
            detail: cut(self.detail),
            retryable: self.retryable,
        }
    }
}

/// A retryable runtime error; what caused it stands in the detail.
impl<E: Error> From<E> for Failure {
    fn from(error: E) -> Self {
        let mut causes = Vec::new();
        let mut source = error.source();
        while let Some(cause) = source {
            causes.push(cause.to_string());
            source = cause.source();
        }
        Self::retryable(&error).with_detail(causes.join(": "))
    }
}

fn cut(mut text: String) -> String {
    if text.len() > FAILURE_TEXT_BYTES_MAX {
        let end =
            (0..=FAILURE_TEXT_BYTES_MAX).rev().find(|i| text.is_char_boundary(*i)).unwrap_or(0);
        text.truncate(end);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_error_becomes_a_retryable_runtime_error() {
        let failure = Failure::from(std::io::Error::other("no route"));
        assert_eq!(failure, Failure::retryable("no route"));
        assert_eq!((failure.kind.as_str(), failure.status), (RUNTIME_ERROR, 500));
    }

    #[test]
    fn long_texts_are_cut_between_characters() {
        let wire =
            Failure::terminal("é".repeat(FAILURE_TEXT_BYTES_MAX)).with_detail("short").into_wire();
        assert!(wire.title.len() <= FAILURE_TEXT_BYTES_MAX && wire.title.chars().all(|c| c == 'é'));
        assert_eq!(wire.detail, "short");
    }
}
