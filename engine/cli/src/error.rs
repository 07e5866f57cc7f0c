//! What a command may end with instead of an answer, and the exit status that goes with it.

use std::io;

use serde_json::{Value, json};

use crate::{audit, client, dev, input};

#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error(transparent)]
    Client(#[from] client::Error),
    /// A workflow that the engine refused, with the places to mend.
    #[error("{file}: {message}")]
    RefusedWorkflow {
        file: String,
        code: String,
        message: String,
        diagnostics: Vec<Value>,
        lines: Vec<String>,
    },
    /// A workflow that cannot be worked with here, with the places to mend.
    #[error("{file} has errors")]
    InvalidWorkflow { file: String, diagnostics: Vec<Value>, lines: Vec<String> },
    #[error(transparent)]
    Input(#[from] input::Error),
    #[error(transparent)]
    Dev(#[from] dev::Error),
    #[error(transparent)]
    Audit(#[from] audit::Error),
    #[error("the output could not be written")]
    Output(#[from] io::Error),
    /// How the line should have looked, as clap says it.
    #[error("{0}")]
    Usage(String),
}

/// How a command ended that could do what it was asked to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Well,
    /// What was looked at is not as it should be.
    Problems,
    /// What was to be looked at is not in a form to be looked at.
    Unusable,
    /// The instance that was waited for faulted or was cancelled.
    NotCompleted,
}

impl Outcome {
    pub(crate) fn status(self) -> u8 {
        match self {
            Self::Well => 0,
            Self::Problems => 1,
            Self::Unusable => 2,
            Self::NotCompleted => 3,
        }
    }
}

impl Error {
    pub(crate) fn status(&self) -> u8 {
        match self {
            Self::Client(client::Error::Refused { .. } | client::Error::Unavailable { .. })
            | Self::RefusedWorkflow { .. } => 2,
            Self::Client(_)
            | Self::InvalidWorkflow { .. }
            | Self::Input(_)
            | Self::Dev(_)
            | Self::Audit(_)
            | Self::Output(_)
            | Self::Usage(_) => 1,
        }
    }

    pub(crate) fn code(&self) -> &str {
        match self {
            Self::Client(error) => error.code(),
            Self::RefusedWorkflow { code, .. } => code,
            Self::InvalidWorkflow { .. } => "invalid-workflow",
            Self::Input(_) => "bad-file",
            Self::Dev(error) => error.code(),
            Self::Audit(error) => error.code(),
            Self::Output(_) => "no-output",
            Self::Usage(_) => "usage",
        }
    }

    /// The reader has gone, as in `baton list | head`: nobody is left to tell.
    pub(crate) fn is_broken_pipe(&self) -> bool {
        matches!(self, Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe)
    }

    pub(crate) fn json(&self) -> Value {
        let mut error = json!({ "code": self.code(), "message": self.to_string() });
        if let Self::RefusedWorkflow { file, diagnostics, .. }
        | Self::InvalidWorkflow { file, diagnostics, .. } = self
        {
            error["file"] = json!(file);
            error["diagnostics"] = json!(diagnostics);
        }
        json!({ "error": error })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_two_and_everything_else_is_one() {
        let refused = client::Error::Refused {
            code: "unknown-workflow".into(),
            message: "no sales/order".into(),
        };
        let refused = Error::from(refused);
        assert_eq!(refused.status(), 2);
        assert_eq!(
            refused.json().to_string(),
            r#"{"error":{"code":"unknown-workflow","message":"no sales/order"}}"#
        );
        let unreachable =
            Error::from(client::Error::Unreachable { url: "http://127.0.0.1:7420".into() });
        assert_eq!((unreachable.status(), unreachable.code()), (1, "no-connection"));
        assert!(unreachable.to_string().contains("baton dev"));
    }
}
