//! The figures of a run, and how they are told.

use std::io::Write as _;
use std::path::Path;

use anyhow::{Context, Result};
use comfy_table::{CellAlignment, Table, presets};
use serde_json::{Map, Value};

use crate::examples::Example;
use crate::profile::{Profile, Support};
use crate::stories::Story;

/// Named counts in the order in which they are told.
#[derive(Debug)]
pub(crate) struct Report(Vec<(&'static str, usize)>);

impl Report {
    pub(crate) fn of(page: &Profile, own: &[Story], kit: &[Story], examples: &[Example]) -> Self {
        let rows = |wanted: &[Support]| {
            page.rows.iter().filter(|row| wanted.contains(&row.support)).count()
        };
        let passed = |stories: &[Story]| stories.iter().filter(|story| story.has_passed()).count();
        let refused = examples.iter().filter(|example| example.refusal.is_some()).count();
        Self(vec![
            ("ctk_passed", passed(kit)),
            ("ctk_total", kit.len()),
            ("rows_supported", rows(&[Support::Yes, Support::InPart])),
            ("rows_in_part", rows(&[Support::InPart])),
            ("rows_refused", rows(&[Support::No, Support::NotYet])),
            ("rows_not_yet", rows(&[Support::NotYet])),
            ("rows_total", page.rows.len()),
            ("examples_accepted", examples.len() - refused),
            ("examples_refused", refused),
            ("scenarios", own.len()),
            ("scenarios_passed", passed(own)),
            ("scenarios_pending", own.iter().filter(|story| story.is_pending()).count()),
            ("scenarios_undefined", own.iter().filter(|story| story.is_undefined()).count()),
        ])
    }

    pub(crate) fn save(&self, path: &Path) -> Result<()> {
        let figures = self.0.iter().map(|(key, count)| ((*key).to_owned(), Value::from(*count)));
        let text = serde_json::to_string_pretty(&figures.collect::<Map<_, _>>())? + "\n";
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).context("a folder for the figures")?;
        }
        std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
    }

    pub(crate) fn print(&self) -> Result<()> {
        let mut table = Table::new();
        table.load_style(presets::UTF8_FULL_CONDENSED).set_header(["figure", "count"]);
        for (key, count) in &self.0 {
            table.add_row([(*key).to_owned(), count.to_string()]);
        }
        if let Some(column) = table.column_mut(1) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        writeln!(std::io::stdout().lock(), "{table}")?;
        Ok(())
    }
}
