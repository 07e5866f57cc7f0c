//! Figures, the bars that they must clear, and how both are told.

use std::io::{self, Write};
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use baton_tests::settings;
use comfy_table::{CellAlignment, Table, presets};

/// What a figure must be.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Bar {
    None,
    AtLeast(f64),
    AtMost(f64),
    Below(f64),
}

/// Named figures in the order in which they are told.
#[derive(Debug, Default)]
pub(crate) struct Report {
    figures: Vec<(&'static str, f64, Bar)>,
}

impl Report {
    pub(crate) fn add(&mut self, key: &'static str, value: f64, bar: Bar) {
        self.figures.push((key, value, bar));
    }

    pub(crate) fn all_cleared(&self) -> bool {
        self.figures.iter().all(|(_, value, bar)| bar.is_cleared_by(*value))
    }

    /// Writes `target/<name>.json`, one object, and answers where that is.
    pub(crate) fn save(&self, name: &str) -> Result<PathBuf> {
        let pairs = self.figures.iter().map(|(key, value, _)| ((*key).to_owned(), rounded(*value)));
        let object = pairs.collect::<serde_json::Map<_, _>>();
        let folder = settings::root().join("target");
        std::fs::create_dir_all(&folder)
            .with_context(|| format!("cannot make {}", folder.display()))?;
        let path = folder.join(format!("{name}.json"));
        std::fs::write(&path, serde_json::to_string_pretty(&object)? + "\n")
            .with_context(|| format!("cannot write {}", path.display()))?;
        Ok(path)
    }

    pub(crate) fn print(&self, out: &mut impl Write) -> io::Result<()> {
        let mut table = table(&["figure", "value", "must be", ""]);
        for (key, value, bar) in &self.figures {
            let verdict =
                match bar {
                    Bar::None => "",
                    Bar::AtLeast(_) | Bar::AtMost(_) | Bar::Below(_) => {
                        if bar.is_cleared_by(*value) { "yes" } else { "MISSED" }
                    }
                };
            table.add_row([(*key).to_owned(), short(*value), bar.to_string(), verdict.to_owned()]);
        }
        align(&mut table, 1);
        writeln!(out, "{table}")
    }
}

impl Bar {
    /// A figure that is no number clears no bar.
    fn is_cleared_by(self, value: f64) -> bool {
        match self {
            Self::None => true,
            Self::AtLeast(bound) => value >= bound,
            Self::AtMost(bound) => value <= bound,
            Self::Below(bound) => value < bound,
        }
    }
}

impl std::fmt::Display for Bar {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::None => Ok(()),
            Self::AtLeast(bound) => write!(f, "at least {bound}"),
            Self::AtMost(bound) => write!(f, "at most {bound}"),
            Self::Below(bound) => write!(f, "below {bound}"),
        }
    }
}

pub(crate) fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED).set_header(header);
    table
}

/// To the right, as numbers want it.
pub(crate) fn align(table: &mut Table, column: usize) {
    if let Some(column) = table.column_mut(column) {
        column.set_cell_alignment(CellAlignment::Right);
    }
}

/// With as many digits as mean something.
pub(crate) fn short(value: f64) -> String {
    match value.abs() {
        large if large >= 100.0 => format!("{value:.0}"),
        middle if middle >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.3}"),
    }
}

/// Four digits behind the point; what is no number becomes null.
fn rounded(value: f64) -> serde_json::Value {
    serde_json::json!((value * 1e4).round() / 1e4)
}
