//! What can go wrong in a call or a program, and what the workflow is told of it.

use std::fmt::Display;

use baton_worker::{
    AUTHENTICATION_ERROR, AUTHORIZATION_ERROR, COMMUNICATION_ERROR, CONFIGURATION_ERROR, Failure,
    RUNTIME_ERROR, TIMEOUT_ERROR, VALIDATION_ERROR,
};

/// docs/errors.md explains each by its code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The arguments are not what the function takes.
    Input,
    /// The worker may not reach that address.
    AddressRefused,
    /// Only http and https are spoken.
    SchemeRefused,
    Unreachable,
    TimedOut,
    /// A status that the call does not count as success.
    Status(u16),
    /// What came cannot be read as what it says it is.
    Response,
    ResponseTooLarge,
    TooManyRedirects,
    /// The authority gave no token, or no usable one.
    Token,
    /// The document is not what it should be, or has something that is not supported.
    Document,
    /// The document has no such operation, service or method.
    Operation,
    /// The language has this, but this worker does not.
    Unsupported,
    /// The machine lacks a program that this needs.
    ProgramMissing,
    /// A program ended with an error that the workflow would not see otherwise.
    ProgramFailed,
    ProgramOutput,
    /// Too many programs run that nobody awaits.
    Busy,
    Cancelled,
    /// A service's own error, mapped from gRPC: kind of error, status, and whether trying again may help.
    Grpc(&'static str, u16, bool),
}

impl Fault {
    pub(crate) fn because(self, detail: impl Display) -> Failure {
        let (code, kind, status, retryable) = self.told();
        let failure = if retryable { Failure::retryable(code) } else { Failure::terminal(code) };
        failure.with_type(kind).with_status(status.into()).with_detail(detail)
    }

    fn told(self) -> (&'static str, &'static str, u16, bool) {
        match self {
            Self::Input => ("invalid-input", VALIDATION_ERROR, 400, false),
            Self::AddressRefused => ("address-refused", AUTHORIZATION_ERROR, 403, false),
            Self::SchemeRefused => ("scheme-refused", CONFIGURATION_ERROR, 400, false),
            Self::Unreachable => ("unreachable", COMMUNICATION_ERROR, 500, true),
            Self::TimedOut => ("timed-out", TIMEOUT_ERROR, 408, true),
            Self::Status(status) => ("http-status", COMMUNICATION_ERROR, status, passes(status)),
            Self::Response => ("invalid-response", COMMUNICATION_ERROR, 500, false),
            Self::ResponseTooLarge => ("response-too-large", COMMUNICATION_ERROR, 500, false),
            Self::TooManyRedirects => ("too-many-redirects", COMMUNICATION_ERROR, 500, false),
            Self::Token => ("token-refused", AUTHENTICATION_ERROR, 401, false),
            Self::Document => ("invalid-document", CONFIGURATION_ERROR, 400, false),
            Self::Operation => ("unknown-operation", CONFIGURATION_ERROR, 400, false),
            Self::Unsupported => ("unsupported-here", CONFIGURATION_ERROR, 400, false),
            Self::ProgramMissing => ("program-missing", CONFIGURATION_ERROR, 400, false),
            Self::ProgramFailed => ("program-failed", RUNTIME_ERROR, 500, false),
            Self::ProgramOutput => ("program-output-too-large", RUNTIME_ERROR, 500, false),
            Self::Busy => ("too-many-programs", RUNTIME_ERROR, 500, true),
            Self::Cancelled => ("cancelled", RUNTIME_ERROR, 500, false),
            Self::Grpc(kind, status, retryable) => ("grpc-status", kind, status, retryable),
        }
    }
}

/// Whether a service that answers so may answer otherwise soon.
fn passes(status: u16) -> bool {
    matches!(status, 429 | 502 | 503 | 504)
}
