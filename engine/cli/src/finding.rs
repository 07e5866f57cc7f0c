//! What is wrong with a file, and where: as people and as programs read it.

use std::path::Path;

use baton_proto::v1::{self, diagnostic};
use serde_json::{Value, json};
use tonic::Status;

use crate::{
    client,
    error::Error,
    input,
    output::{Paint, Tone},
    shape::non_empty,
};

/// Characters of a line that are shown: more would wrap on most terminals.
const EXCERPT_CHARS_MAX: usize = 96;

/// The finding whose line is not shown: logs of a CI are read by many.
const SECRET: &str = "secret-literal";

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    pub(crate) severity: Severity,
    /// Stable; docs/errors.md explains it.
    pub(crate) code: String,
    pub(crate) message: String,
    /// From 1; 0: the file as a whole.
    pub(crate) line: u32,
    /// In characters, from 1.
    pub(crate) column: u32,
    /// JSON pointer of the place.
    pub(crate) pointer: String,
    /// What to do about it; may be empty.
    pub(crate) hint: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Severity {
    Error,
    Warning,
}

impl Severity {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
        }
    }
}

impl Finding {
    pub(crate) fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }

    pub(crate) fn json(&self) -> Value {
        json!({
            "severity": self.severity.word(),
            "code": self.code,
            "message": self.message,
            "line": self.line,
            "column": self.column,
            "pointer": self.pointer,
            "hint": non_empty(&self.hint),
        })
    }
}

impl From<&v1::Diagnostic> for Finding {
    fn from(found: &v1::Diagnostic) -> Self {
        let severity = match found.severity() {
            diagnostic::Severity::Warning => Severity::Warning,
            diagnostic::Severity::Error | diagnostic::Severity::Unspecified => Severity::Error,
        };
        Self {
            severity,
            code: found.code.clone(),
            message: found.message.clone(),
            line: found.line,
            column: found.column,
            pointer: found.pointer.clone(),
            hint: found.hint.clone(),
        }
    }
}

impl From<baton_dsl::Diagnostic> for Finding {
    fn from(found: baton_dsl::Diagnostic) -> Self {
        let severity = match found.severity {
            baton_dsl::Severity::Warning => Severity::Warning,
            baton_dsl::Severity::Error => Severity::Error,
        };
        Self {
            severity,
            code: found.code.to_owned(),
            message: found.message,
            line: found.line,
            column: found.column,
            pointer: found.pointer,
            hint: found.hint,
        }
    }
}

/// The engine refuses an invalid file with one code; where it is wrong, it says when asked to `check` it.
pub(crate) async fn refused(
    file: &Path,
    source: &str,
    error: client::Error,
    check: impl Future<Output = Result<Vec<v1::Diagnostic>, Status>>,
    paint: Paint,
) -> Error {
    let client::Error::Refused { code, message } = error else { return error.into() };
    // The refusal stands even where the engine cannot say more.
    let found = check.await.unwrap_or_default();
    let findings: Vec<_> = found.iter().map(Finding::from).filter(Finding::is_error).collect();
    let file = input::name(file);
    let lines = lines(&file, source, &findings, paint);
    let diagnostics = findings.iter().map(Finding::json).collect();
    Error::RefusedWorkflow { file, code, message, diagnostics, lines }
}

/// `FILE:LINE:COLUMN: severity code: message`, as editors and people know it, with the place and the hint below.
pub(crate) fn lines(file: &str, source: &str, findings: &[Finding], paint: Paint) -> Vec<String> {
    let secret: Vec<u32> =
        findings.iter().filter(|found| found.code == SECRET).map(|found| found.line).collect();
    let mut lines = Vec::new();
    for finding in findings {
        let tone = match finding.severity {
            Severity::Error => Tone::Bad,
            Severity::Warning => Tone::Warn,
        };
        let place = if finding.line == 0 {
            file.to_owned()
        } else {
            format!("{file}:{}:{}", finding.line, finding.column)
        };
        let label = paint.apply(tone, &format!("{} {}", finding.severity.word(), finding.code));
        lines.push(format!("{place}: {label}: {}", harmless(&finding.message)));
        if !secret.contains(&finding.line)
            && let Some([text, caret]) = excerpt(source, finding)
        {
            let margin = paint.apply(Tone::Dim, &format!("{:>5} |", finding.line));
            lines.push(format!("{margin} {text}"));
            let margin = paint.apply(Tone::Dim, "      |");
            lines.push(format!("{margin} {}", paint.apply(tone, &caret)));
        }
        if !finding.hint.is_empty() {
            lines.push(paint.apply(Tone::Dim, &format!("    hint: {}", harmless(&finding.hint))));
        }
    }
    lines
}

/// The line of the finding, and a caret below its column.
fn excerpt(source: &str, finding: &Finding) -> Option<[String; 2]> {
    let line = source.lines().nth(usize::try_from(finding.line).ok()?.checked_sub(1)?)?;
    let column = usize::try_from(finding.column).ok()?.checked_sub(1)?;
    if line.trim().is_empty() || column > line.chars().count() {
        return None;
    }
    // Of a long line, what is around the place.
    let from = column.saturating_sub(EXCERPT_CHARS_MAX * 2 / 3);
    let mut rest = line.chars().skip(from);
    let mut text: String = rest.by_ref().take(EXCERPT_CHARS_MAX).map(visible).collect();
    if rest.next().is_some() {
        text.push('…');
    }
    let before = if from > 0 { "…" } else { "" };
    let caret = format!("{}^", " ".repeat(before.chars().count() + column - from));
    Some([format!("{before}{}", text.trim_end()), caret])
}

/// A file may hold what makes a terminal misbehave.
fn harmless(text: &str) -> String {
    text.chars().map(visible).collect()
}

fn visible(c: char) -> char {
    if c.is_control() { ' ' } else { c }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Paint = Paint { color: false };

    fn at(line: u32, column: u32) -> Finding {
        Finding {
            severity: Severity::Error,
            code: "unknown-key".into(),
            message: "`retires` is not a key of a call".into(),
            line,
            column,
            pointer: String::new(),
            hint: "did you mean `retries`?".into(),
        }
    }

    #[test]
    fn a_finding_is_a_line_that_editors_understand_with_the_place_below() {
        assert_eq!(
            lines("a.yaml", "do:\n- a:\n    retires: 1\n", &[at(3, 5)], PLAIN),
            [
                "a.yaml:3:5: error unknown-key: `retires` is not a key of a call",
                "    3 |     retires: 1",
                "      |     ^",
                "    hint: did you mean `retries`?"
            ]
        );
        assert!(lines("a.yaml", "", &[at(0, 0)], PLAIN)[0].starts_with("a.yaml: error"));
    }

    #[test]
    fn a_place_beyond_the_text_has_no_excerpt() {
        assert_eq!(lines("a", "x: 1", &[at(9, 1)], PLAIN).len(), 2);
        assert_eq!(lines("a", "x: 1", &[at(1, 80)], PLAIN).len(), 2);
        assert_eq!(lines("a", "x: 1", &[at(1, 5)], PLAIN)[2], "      |     ^", "right behind it");
    }

    #[test]
    fn a_long_line_is_shown_around_the_place() {
        let source = format!("{}here{}", "x".repeat(500), "y".repeat(500));
        let shown = lines("a", &source, &[at(1, 501)], PLAIN);
        let place = shown[2].chars().position(|c| c == '^').unwrap();
        assert_eq!(shown[1].chars().skip(place).take(4).collect::<String>(), "here");
        assert!(shown[1].chars().count() < 120, "{}", shown[1]);
    }

    #[test]
    fn nothing_in_a_file_reaches_the_terminal_as_a_command() {
        let mut odd = at(1, 1);
        odd.message = "\u{1b}[2J".into();
        let shown = lines("a", "x\u{1b}[2J: 1", &[odd], PLAIN).concat();
        assert!(!shown.contains('\u{1b}'), "{shown:?}");
    }

    #[test]
    fn the_line_of_a_secret_is_not_shown() {
        let secret = Finding { code: SECRET.into(), ..at(1, 11) };
        let shown = lines("a", "password: hunter2", &[at(1, 1), secret], PLAIN).concat();
        assert!(!shown.contains("hunter2"), "{shown}");
    }
}
