//! What is wrong with a document, and where.

use std::fmt;

use crate::limits;

/// One finding, as a person or an editor wants it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    pub severity: Severity,
    /// Stable, for programs.
    pub code: &'static str,
    pub message: String,
    /// From 1.
    pub line: u32,
    /// In characters, from 1.
    pub column: u32,
    /// JSON pointer of the node.
    pub pointer: String,
    /// What to do about it.
    pub hint: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    Error,
    Warning,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Error => "error",
            Self::Warning => "warning",
        })
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}:{}: {}[{}]: {}",
            self.line, self.column, self.severity, self.code, self.message
        )?;
        if !self.hint.is_empty() {
            write!(f, " ({})", self.hint)?;
        }
        Ok(())
    }
}

/// A place in the source: of a key or of a value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// From 1.
    pub line: u32,
    /// In characters, from 1.
    pub column: u32,
    /// Of a key, not of its value.
    pub key: bool,
}

impl Place {
    /// Of the text as a whole.
    pub const START: Self = Self { line: 1, column: 1, key: false };
}

/// Collects findings; their pointers are looked up at the end, from the places.
#[derive(Default)]
pub(crate) struct Sink {
    pub found: Vec<(Place, Diagnostic)>,
    /// What is walked now is the text of a function, not the document's.
    pub within: Option<Within>,
}

/// A function of the catalog, and the place of its call in the document.
pub(crate) struct Within {
    pub name: String,
    pub place: Place,
}

impl Sink {
    pub(crate) fn error(&mut self, code: &'static str, at: Place, message: impl Into<String>) {
        self.add(Severity::Error, code, at, message.into(), String::new());
    }

    pub(crate) fn error_hint(
        &mut self,
        code: &'static str,
        at: Place,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) {
        self.add(Severity::Error, code, at, message.into(), hint.into());
    }

    pub(crate) fn warn(
        &mut self,
        code: &'static str,
        at: Place,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) {
        self.add(Severity::Warning, code, at, message.into(), hint.into());
    }

    /// Where in the document that is.
    pub(crate) fn place(&self, at: Place) -> Place {
        self.within.as_ref().map_or(at, |within| within.place)
    }

    pub(crate) fn has_errors(&self) -> bool {
        self.found.iter().any(|(_, found)| found.severity == Severity::Error)
    }

    fn add(
        &mut self,
        severity: Severity,
        code: &'static str,
        mut at: Place,
        mut message: String,
        mut hint: String,
    ) {
        if let Some(within) = &self.within {
            // What was only a warning was said when the function was deployed.
            if severity == Severity::Warning {
                return;
            }
            message =
                format!("in the function {}, at {}:{}: {message}", within.name, at.line, at.column);
            at = within.place;
        }
        if hint.is_empty() {
            usual_hint(code).clone_into(&mut hint);
        }
        // Counted by severity: warnings must never crowd out the error that forbids a deployment.
        let alike = self.found.iter().filter(|(_, known)| known.severity == severity).count();
        if alike >= limits::DIAGNOSTICS_MAX {
            return;
        }
        let Place { line, column, .. } = at;
        let diagnostic =
            Diagnostic { severity, code, message, line, column, pointer: String::new(), hint };
        // A retry policy that is used twice is compiled twice.
        if !self.found.iter().any(|(_, known)| *known == diagnostic) {
            self.found.push((at, diagnostic));
        }
    }
}

/// What helps against most findings of a code, where nothing better is known.
fn usual_hint(code: &str) -> &'static str {
    match code {
        "syntax" => "look for a missing quote, bracket or indentation before this place",
        "unsupported" => "docs/profile.md lists what of the language is supported",
        "missing-key" => "add it; docs/workflows.md shows each form",
        "duplicate-key" => "remove one of the two",
        "invalid-type" | "invalid-value" => "docs/workflows.md shows what may stand here",
        "invalid-duration" => "write PT5M or { minutes: 5 }",
        "invalid-schema" => "write a JSON Schema of draft 2020-12 that refers only to itself",
        "too-deep" => "flatten it, or use functions under `use`",
        "too-large" => "split the workflow",
        "duplicate-task" | "duplicate-case" => "rename one of the two",
        "duplicate-default" => "give one of them a `when`, or remove it",
        "expression-syntax" => "look for a missing operand, quote or bracket",
        "unknown-function" => "correct the name; jq's own manual lists what it has",
        _ => "docs/errors.md explains the code",
    }
}
