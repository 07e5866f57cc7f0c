//! What is wrong with a set, and where.

use std::fmt;

use serde::Serialize;

/// One finding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    pub severity: Severity,
    /// Stable; docs/errors.md explains it.
    pub code: &'static str,
    pub message: String,
    /// Name of the text within the set.
    pub file: String,
    /// From 1; 0: the whole text.
    pub line: u32,
    /// In characters, from 1.
    pub column: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    Error,
    Warning,
}

impl Finding {
    pub(crate) fn error(code: &'static str, file: &str, message: impl fmt::Display) -> Self {
        Self {
            severity: Severity::Error,
            code,
            message: message.to_string(),
            file: file.to_owned(),
            line: 0,
            column: 0,
        }
    }

    /// At an offset in bytes of the text that it is about.
    pub(crate) fn at(mut self, text: &str, offset: Option<usize>) -> Self {
        if let Some(before) = offset.and_then(|offset| text.get(..offset)) {
            let line_start = before.rfind('\n').map_or(0, |at| at + 1);
            self.line = u32::try_from(before.matches('\n').count() + 1).unwrap_or(u32::MAX);
            let column = before[line_start..].chars().count() + 1;
            self.column = u32::try_from(column).unwrap_or(u32::MAX);
        }
        self
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if self.line > 0 {
            write!(f, ":{}:{}", self.line, self.column)?;
        }
        let severity = match self.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        write!(f, ": {severity}[{}]: {}", self.code, self.message)
    }
}
