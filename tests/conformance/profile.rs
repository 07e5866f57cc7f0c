//! What docs/profile.md says, as data.

use std::fmt;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};

/// The tables of the page.
#[derive(Debug, Default)]
pub(crate) struct Profile {
    pub rows: Vec<Row>,
    pub traps: Vec<Trap>,
    /// Scenarios of the language's kit that do not pass.
    pub kit: Vec<Exception>,
    /// Examples that do not deploy.
    pub examples: Vec<Exception>,
}

/// A feature of the language.
#[derive(Debug)]
pub(crate) struct Row {
    pub number: String,
    pub support: Support,
    pub shown: Shown,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Support {
    Yes,
    /// Some of it, and the answer says what.
    InPart,
    /// Refused, and meant to come.
    NotYet,
    /// Refused, for the reason that the answer gives.
    No,
}

/// Something that the language leaves open or contradicts itself in.
#[derive(Debug)]
pub(crate) struct Trap {
    pub name: String,
    pub row: String,
    pub shown: Shown,
}

/// The file and the name of a scenario.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Shown {
    pub feature: String,
    pub name: String,
}

/// Something of the language's own that we do not take, and the row that is why.
#[derive(Debug)]
pub(crate) struct Exception {
    pub name: String,
    pub row: String,
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.feature, self.name)
    }
}

pub(crate) fn read(path: &Path) -> Result<Profile> {
    let text =
        std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    parse(&text)
}

fn parse(text: &str) -> Result<Profile> {
    let mut profile = Profile::default();
    let mut heading = "";
    for line in text.lines() {
        if let Some(found) = line.strip_prefix("## ") {
            heading = found;
        } else if let Some(cells) = cells(line) {
            profile.take(heading, &cells).with_context(|| format!("in `{line}`"))?;
        }
    }
    Ok(profile)
}

/// Of a row that is neither a table's head nor the line below it.
fn cells(line: &str) -> Option<Vec<&str>> {
    let inner = line.strip_prefix("| ")?.strip_suffix(" |")?;
    let cells = inner.split(" | ").map(str::trim).collect::<Vec<_>>();
    let is_head = matches!(cells[0], "row" | "trap" | "scenario" | "example");
    (!is_head).then_some(cells)
}

impl Profile {
    fn take(&mut self, heading: &str, cells: &[&str]) -> Result<()> {
        match (heading, cells) {
            ("The matrix", [number, _, support, _, shown]) => self.rows.push(Row {
                number: (*number).to_owned(),
                support: self::support(support)?,
                shown: self::shown(shown)?,
            }),
            ("Traps", [name, row, _, _, shown]) => self.traps.push(Trap {
                name: name.trim_matches('`').to_owned(),
                row: (*row).to_owned(),
                shown: self::shown(shown)?,
            }),
            ("The conformance kit", [name, row, _]) => self.kit.push(exception(name, row)),
            ("Examples", [name, row, _]) => self.examples.push(exception(name, row)),
            ("The matrix" | "Traps" | "The conformance kit" | "Examples", _) => {
                bail!("the table has another number of columns")
            }
            _ => {}
        }
        Ok(())
    }
}

fn support(text: &str) -> Result<Support> {
    Ok(match text {
        "yes" => Support::Yes,
        "in part" => Support::InPart,
        "not yet" => Support::NotYet,
        "no" => Support::No,
        other => bail!("yes, in part, not yet or no was wanted, not {other}"),
    })
}

fn shown(text: &str) -> Result<Shown> {
    let (feature, name) = text.split_once(": ").context("`file: scenario` was wanted")?;
    ensure!(feature.ends_with(".feature"), "{feature} is no feature");
    Ok(Shown { feature: feature.to_owned(), name: name.to_owned() })
}

fn exception(name: &str, row: &str) -> Exception {
    Exception { name: name.trim_matches('`').to_owned(), row: row.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "\
## The matrix

| row | feature | supported | our answer | shown by |
|---|---|---|---|---|
| 1 | doc: `x` | in part | none | a.feature: It is so |

## Traps

| trap | row | what is open | our answer, and why | shown by |
|---|---|---|---|---|
| `a-trap` | 1 | this | that | a.feature: It is so |

## Examples

| example | row | why |
|---|---|---|
| `x.yaml` | 1 | so |
";

    #[test]
    fn the_pages_tables_are_read() {
        let profile = parse(PAGE).unwrap();
        let row = &profile.rows[0];
        assert_eq!((row.number.as_str(), row.support), ("1", Support::InPart));
        let shown = Shown { feature: "a.feature".into(), name: "It is so".into() };
        assert_eq!(row.shown, shown);
        assert_eq!((profile.traps[0].name.as_str(), &profile.traps[0].shown), ("a-trap", &shown));
        assert_eq!(profile.examples[0].name, "x.yaml");
        assert!(profile.kit.is_empty());
    }

    #[test]
    fn a_table_that_is_written_wrongly_is_an_error() {
        assert!(parse(&PAGE.replace("in part", "perhaps")).is_err());
        assert!(parse(&PAGE.replace("a.feature", "nowhere")).is_err());
        assert!(parse(&PAGE.replace(" | so |", " |")).is_err());
    }
}
