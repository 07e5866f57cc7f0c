//! docs/errors.md explains every stable code that there is, and no other.

#![cfg(test)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use baton_tests::settings;

/// A part of the page: where its codes are born, and what each follows there.
struct Section {
    heading: &'static str,
    sources: &'static [&'static str],
    before: &'static [&'static str],
}

const SECTIONS: [Section; 7] = [
    Section {
        heading: "## Requests",
        sources: &[
            "engine/server/src/error.rs",
            "engine/server/src/api/coded.rs",
            "engine/core/src/command.rs",
        ],
        before: &["=> \"", "Some(\""],
    },
    Section {
        heading: "## Workers",
        sources: &["engine/server/src/partition/intake.rs", "engine/server/src/registry.rs"],
        before: &["=> \"", "refuse(\"", "result_refused(\""],
    },
    Section {
        heading: "## Failed steps",
        sources: &["worker-sdk/rust/src/failure.rs", "worker-sdk/standard/src/fault.rs"],
        before: &["terminal(\"", "retryable(\"", "=> (\""],
    },
    Section {
        heading: "## Documents",
        sources: &["engine/dsl/src"],
        before: &["error(\"", "error_hint(\"", "warn(\"", "findings.push((\""],
    },
    Section {
        heading: "## Scenarios",
        sources: &["engine/cli/src/scenario.rs", "engine/cli/src/scenario"],
        before: &["problem(\""],
    },
    Section {
        heading: "## Audit files",
        sources: &["engine/cli/src/audit"],
        before: &["wrong(\""],
    },
    Section {
        heading: "## Policies",
        sources: &["engine/policy/src/check.rs"],
        before: &["Finding::error(\"", "Err((\"", "String| (\""],
    },
];

#[test]
fn every_code_is_explained_and_every_explanation_has_a_code() {
    let page = fs::read_to_string(settings::root().join("docs/errors.md")).unwrap();
    let explained = explained(&page);
    for Section { heading, sources, before } in SECTIONS {
        let born = sources.iter().flat_map(|source| codes(&settings::root().join(source), before));
        let born = born.collect::<BTreeSet<_>>();
        assert!(!born.is_empty(), "{heading}");
        let none = BTreeSet::new();
        let found = explained.get(heading).unwrap_or(&none);
        // A result can be refused for what an instance's state says, too: that is explained once.
        let elsewhere = explained.values().flatten().collect::<BTreeSet<_>>();
        let missing = born.iter().filter(|code| !elsewhere.contains(code)).collect::<Vec<_>>();
        let stray = found.difference(&born).collect::<Vec<_>>();
        assert!(missing.is_empty() && stray.is_empty(), "{heading}: {missing:?}, stray {stray:?}");
    }
    let known = SECTIONS.map(|section| section.heading).into_iter().collect::<BTreeSet<_>>();
    assert_eq!(explained.keys().copied().collect::<BTreeSet<_>>(), known);
}

/// By heading: the codes in the first column of its table.
fn explained(page: &str) -> BTreeMap<&str, BTreeSet<String>> {
    let mut sections: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    let mut heading = "";
    for line in page.lines() {
        if line.starts_with("## ") {
            heading = line;
        }
        if let Some(rest) = line.strip_prefix("| `") {
            let (code, columns) = rest.split_once('`').unwrap();
            let columns = columns.trim_matches('|').split('|').map(str::trim);
            let columns = columns.filter(|column| !column.is_empty()).count();
            assert_eq!(columns, 2, "what {code} means, and what to do");
            assert!(sections.entry(heading).or_default().insert(code.to_owned()), "{code} twice");
        }
    }
    sections
}

/// The codes that a file, or the files of a folder, give out.
fn codes(path: &Path, before: &[&str]) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for file in files(path) {
        let text = fs::read_to_string(&file).unwrap();
        let text = text.split("#[cfg(test)]").next().unwrap();
        // Where rustfmt broke a call, the code stands on the next line.
        let lines = text.lines().map(str::trim).collect::<Vec<_>>().join(" ");
        let lines = lines.replace("( \"", "(\"").replace("(( \"", "((\"");
        for birthplace in before {
            for (at, _) in lines.match_indices(*birthplace) {
                let rest = &lines[at + birthplace.len()..];
                let code = rest.split('"').next().unwrap();
                let ends = rest[code.len()..].trim_start_matches('"');
                if is_code(code) && ends.starts_with([',', ')', ' ', '}']) {
                    found.insert(code.to_owned());
                }
            }
        }
    }
    found
}

fn files(path: &Path) -> Vec<PathBuf> {
    if path.is_file() {
        return vec![path.to_path_buf()];
    }
    let entries = fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| files(&path)).collect()
}

fn is_code(text: &str) -> bool {
    let word = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_lowercase());
    text.split('-').all(word)
}
