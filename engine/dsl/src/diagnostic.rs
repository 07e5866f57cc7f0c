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
    /// What to do about it; may be empty.
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    pub line: u32,
    pub column: u32,
    pub key: bool,
}

impl Place {
    pub(crate) const START: Self = Self { line: 1, column: 1, key: false };
}

/// Collects findings; their pointers are looked up at the end, from the places.
#[derive(Default)]
pub(crate) struct Sink {
    pub found: Vec<(Place, Diagnostic)>,
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

    fn add(
        &mut self,
        severity: Severity,
        code: &'static str,
        at: Place,
        message: String,
        hint: String,
    ) {
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
