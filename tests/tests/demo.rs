//! The demo adds up, on its own file and on real purchases.

#![cfg(test)]

use std::path::{Path, PathBuf};

use baton_tests::settings;
use serde_json::Value;

/// Runs the demo as a user does and answers its figures.
fn demo(input: Option<&Path>) -> Value {
    let folder = tempfile::tempdir().unwrap();
    let json = folder.path().join("figures.json");
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_baton-demo"));
    command.arg("--json").arg(&json);
    if let Some(input) = input {
        command.arg("--input").arg(input);
    }
    let output = command.output().unwrap();
    let (out, err) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "the demo failed ({}):\n{out}\n{err}", output.status);
    serde_json::from_str(&std::fs::read_to_string(json).unwrap()).unwrap()
}

fn number(figures: &Value, pointer: &str) -> i64 {
    figures
        .pointer(pointer)
        .and_then(Value::as_i64)
        .unwrap_or_else(|| panic!("{pointer} in {figures:#}"))
}

/// Rows and pounds of a file, counted here in the simplest way there is.
fn rows(path: &Path) -> i64 {
    i64::try_from(csv::Reader::from_path(path).unwrap().records().count()).unwrap()
}

#[test]
fn every_requisition_of_our_own_ends_once_although_engine_and_worker_are_killed() {
    let own = settings::root().join("tests/demo/requisitions.csv");
    let figures = demo(None);
    assert_eq!(number(&figures, "/rows"), rows(&own));
    assert_eq!(number(&figures, "/repeats_answered"), 12);
    assert_eq!(number(&figures, "/repeats_refused"), 2);
    assert_eq!(number(&figures, "/paid_pennies"), number(&figures, "/expected_pennies"));
    for outcome in ["paid", "refused", "escalated"] {
        assert!(number(&figures, &format!("/outcomes/{outcome}")) > 0, "{figures:#}");
    }
    assert!(figures["outcomes"].get("faulted").is_none(), "{figures:#}");
}

#[test]
fn real_purchases_are_paid_to_the_penny() {
    let Some(file) = real_purchases() else {
        eprintln!("SKIPPED: no real purchases here; BATON_REAL_PURCHASES names a file of them");
        return;
    };
    let figures = demo(Some(&file));
    assert_eq!(number(&figures, "/rows"), rows(&file));
    assert_eq!(number(&figures, "/requisitions"), rows(&file));
    assert_eq!(number(&figures, "/paid_pennies"), within_the_limit(&file));
}

fn real_purchases() -> Option<PathBuf> {
    let named = settings::variable("BATON_REAL_PURCHASES").map(PathBuf::from);
    if let Some(file) = &named {
        assert!(file.is_file(), "BATON_REAL_PURCHASES names {}, which is no file", file.display());
    }
    let beside = settings::root().join("../shared/data/procurement-card-2020.csv");
    named.or_else(|| beside.is_file().then_some(beside))
}

/// The sum of a file's amounts up to £20,000 in pennies: nothing else can stop a purchase that has no details.
fn within_the_limit(file: &Path) -> i64 {
    let mut reader = csv::Reader::from_path(file).unwrap();
    let column = reader.headers().unwrap().iter().position(|name| name == "amount_gbp").unwrap();
    let amounts = reader.records().map(|record| {
        let record = record.unwrap();
        let (whole, part) = record[column].split_once('.').unwrap();
        assert_eq!(part.len(), 2, "{record:?}");
        format!("{whole}{part}").parse::<i64>().unwrap()
    });
    amounts.filter(|amount| *amount <= 2_000_000).sum()
}
