//! What went wrong in a workflow, as RFC 9457 problem details: the only errors that an author can catch.

use alloc::{string::String, sync::Arc};

/// Where the standard errors' URIs begin (Open Workflow DSL reference, "Standard error types").
pub const TYPES: &str = "https://open-workflow-specification.org/dsl/errors/types/";
/// Where they begin elsewhere in the specification and where they did before it moved; filters may use each of them.
pub const TYPES_ELSEWHERE: [&str; 3] = [
    "https://open-workflow-specification.org/spec/1.0.0/errors/",
    "https://serverlessworkflow.io/spec/1.0.0/errors/",
    "https://serverlessworkflow.io/dsl/errors/types/",
];

/// An error of the workflow, which its author may catch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    /// URI of the kind of error.
    pub kind: Arc<str>,
    /// As an HTTP status.
    pub status: u16,
    /// A short summary for people.
    pub title: Option<Arc<str>>,
    /// What happened this time, for people.
    pub detail: Option<Arc<str>>,
    /// JSON pointer of the task that raised it.
    pub instance: Option<Arc<str>>,
}

/// The kinds that the language names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standard {
    /// The workflow itself is wrong.
    Configuration,
    /// A value does not fit its schema.
    Validation,
    /// An expression failed.
    Expression,
    /// Who asks is not known.
    Authentication,
    /// Who asks may not.
    Authorization,
    /// It took too long.
    Timeout,
    /// Somebody else could not be reached or failed.
    Communication,
    /// The engine could not go on.
    Runtime,
}

impl Standard {
    /// As it ends the URI.
    pub fn name(self) -> &'static str {
        match self {
            Self::Configuration => "configuration",
            Self::Validation => "validation",
            Self::Expression => "expression",
            Self::Authentication => "authentication",
            Self::Authorization => "authorization",
            Self::Timeout => "timeout",
            Self::Communication => "communication",
            Self::Runtime => "runtime",
        }
    }

    /// As an HTTP status.
    pub fn status(self) -> u16 {
        match self {
            Self::Configuration | Self::Validation | Self::Expression => 400,
            Self::Authentication => 401,
            Self::Authorization => 403,
            Self::Timeout => 408,
            Self::Communication | Self::Runtime => 500,
        }
    }
}

impl Error {
    /// One of the standard errors, raised nowhere yet.
    pub fn standard(standard: Standard, title: &str, detail: &str) -> Self {
        let mut kind = String::from(TYPES);
        kind.push_str(standard.name());
        Self {
            kind: kind.into(),
            status: standard.status(),
            title: Some(title.into()),
            detail: Some(detail.into()),
            instance: None,
        }
    }

    /// What a timeout raises (Open Workflow DSL, "Timeouts").
    pub fn timeout() -> Self {
        Self::standard(Standard::Timeout, "Timeout", "the task took longer than its timeout allows")
    }

    /// Of its texts together.
    pub fn bytes(&self) -> usize {
        let text = |text: &Option<Arc<str>>| text.as_ref().map_or(0, |text| text.len());
        self.kind.len() + text(&self.title) + text(&self.detail) + text(&self.instance)
    }

    /// Says where it was raised, unless it already says so.
    pub fn at(mut self, pointer: &Arc<str>) -> Self {
        self.instance.get_or_insert_with(|| Arc::clone(pointer));
        self
    }
}
