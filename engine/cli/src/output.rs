//! Where answers go: the standard output, as text for people or as JSON for programs.

use std::io::{self, IsTerminal, Stdout, Write};

use comfy_table::{Attribute, Cell, Color, ContentArrangement, Table, presets};
use serde_json::Value;

use crate::args::{Common, Format};

/// Columns when the output is not a terminal.
const WIDTH: usize = 100;

pub(crate) struct Output {
    pub(crate) format: Format,
    pub(crate) paint: Paint,
    /// Columns of the terminal.
    pub(crate) width: usize,
    terminal: bool,
    stdout: Stdout,
}

/// Colours, or none.
#[derive(Clone, Copy)]
pub(crate) struct Paint {
    pub(crate) color: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tone {
    Plain,
    Bold,
    Dim,
    Good,
    Warn,
    Bad,
    Busy,
}

impl Output {
    pub(crate) fn new(common: &Common) -> Self {
        let terminal = io::stdout().is_terminal();
        let width = Table::new().width().map_or(WIDTH, usize::from);
        Self {
            format: common.output,
            paint: Paint { color: terminal && !common.no_color },
            width,
            terminal,
            stdout: io::stdout(),
        }
    }

    pub(crate) fn is_json(&self) -> bool {
        self.format == Format::Json
    }

    /// One document, spread out where a person looks at it.
    pub(crate) fn json(&self, value: &Value) -> io::Result<()> {
        if self.terminal { self.line(&format!("{value:#}")) } else { self.line(&value.to_string()) }
    }

    pub(crate) fn line(&self, text: &str) -> io::Result<()> {
        writeln!(self.stdout.lock(), "{text}")
    }

    pub(crate) fn lines(&self, lines: &[String]) -> io::Result<()> {
        let mut out = self.stdout.lock();
        lines.iter().try_for_each(|line| writeln!(out, "{line}"))
    }

    /// A table that keeps to the terminal's width; where there is none, rows stay on one line each.
    pub(crate) fn table(&self, header: &[&str], rows: Vec<Vec<(String, Tone)>>) -> io::Result<()> {
        let mut table = Table::new();
        table.load_style(presets::NOTHING);
        if self.terminal {
            table.set_content_arrangement(ContentArrangement::Dynamic);
        }
        if self.paint.color {
            table.enforce_styling();
        } else {
            table.force_no_tty();
        }
        table.set_header(header.iter().map(|title| tinted(title, Tone::Dim)).collect::<Vec<_>>());
        for row in rows {
            table.add_row(
                row.into_iter().map(|(text, tone)| tinted(&text, tone)).collect::<Vec<_>>(),
            );
        }
        for column in table.column_iter_mut() {
            column.set_padding((0, 2));
        }
        self.line(&table.trim_fmt())
    }
}

impl Paint {
    pub(crate) fn apply(self, tone: Tone, text: &str) -> String {
        let code = match tone {
            Tone::Plain => return text.to_owned(),
            Tone::Bold => "1",
            Tone::Dim => "2",
            Tone::Good => "32",
            Tone::Warn => "33",
            Tone::Bad => "31",
            Tone::Busy => "36",
        };
        if self.color && !text.is_empty() {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }
}

/// At most `width` characters, on one line; what is left out shows as `…`.
pub(crate) fn fit(text: &str, width: usize) -> String {
    let mut flat = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    let mut fitted: String = flat.by_ref().take(width).collect();
    if flat.next().is_some() {
        fitted.pop();
        fitted.push('…');
    }
    fitted
}

fn tinted(text: &str, tone: Tone) -> Cell {
    let cell = Cell::new(text);
    match tone {
        Tone::Plain => cell,
        Tone::Bold => cell.add_attribute(Attribute::Bold),
        Tone::Dim => cell.add_attribute(Attribute::Dim),
        Tone::Good => cell.fg(Color::DarkGreen),
        Tone::Warn => cell.fg(Color::DarkYellow),
        Tone::Bad => cell.fg(Color::DarkRed),
        Tone::Busy => cell.fg(Color::DarkCyan),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_text_is_cut_to_one_line() {
        assert_eq!(fit("abc", 3), "abc");
        assert_eq!(fit("abcd", 3), "ab…");
        assert_eq!(fit("a\nb", 3), "a b");
    }

    #[test]
    fn without_colour_there_are_no_escapes() {
        assert_eq!(Paint { color: false }.apply(Tone::Bad, "x"), "x");
        assert_eq!(Paint { color: true }.apply(Tone::Bad, "x"), "\x1b[31mx\x1b[0m");
    }
}
