//! The documents of the language's own repository, and those of our scenarios.

#![allow(dead_code, reason = "each test binary uses its own part")]

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
};

use baton_dsl::{Node, Value as Tree};
use serde_json::Value;

/// A folder of the language's repository, which is not part of ours. Without it a test has nothing to look at, and says
/// so past the capture of the test runner.
pub(crate) fn folder(name: &str) -> Option<PathBuf> {
    let language = std::env::var_os("BATON_OPENWORKFLOW").map(PathBuf::from);
    let language = language.unwrap_or_else(|| root().join("../shared/openworkflow"));
    let folder = language.join(name);
    if folder.is_dir() {
        return Some(folder);
    }
    writeln!(std::io::stderr().lock(), "SKIPPED: there is no {}", folder.display()).unwrap();
    None
}

/// Every file of a folder with such a name, in order, with its text.
pub(crate) fn files(folder: &Path, extension: &str) -> Vec<(String, String)> {
    let mut paths: Vec<_> =
        fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|found| found == extension));
    paths.sort();
    let named = paths.into_iter().map(|path| {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        (name, fs::read_to_string(path).unwrap())
    });
    named.collect()
}

/// The documents in the texts of features, with the place of each.
pub(crate) fn in_features(folder: &Path) -> Vec<(String, String)> {
    let mut documents = Vec::new();
    for (name, feature) in files(folder, "feature") {
        let mut text: Option<(usize, String)> = None;
        for (line, content) in feature.lines().enumerate() {
            let fence = content.trim_start().starts_with("\"\"\"");
            text = match text {
                None if fence => Some((line + 1, String::new())),
                None => None,
                Some((from, text)) if fence => {
                    if text.contains("document:") && text.contains("do:") {
                        documents.push((format!("{name}:{from}"), text));
                    }
                    None
                }
                Some((from, text)) => Some((from, text + content + "\n")),
            };
        }
    }
    documents
}

pub(crate) fn own_features() -> PathBuf {
    root().join("tests/conformance/features")
}

/// As JSON; a number keeps its digits.
pub(crate) fn json(node: &Node) -> Value {
    match &node.value {
        Tree::Null => Value::Null,
        Tree::Bool(value) => Value::Bool(*value),
        Tree::Number(text) => serde_json::from_str(text).unwrap(),
        Tree::String(text) => Value::String(text.clone()),
        Tree::Array(items) => items.iter().map(json).collect(),
        Tree::Object(members) => {
            Value::Object(members.iter().map(|m| (m.key.clone(), json(&m.value))).collect())
        }
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}
