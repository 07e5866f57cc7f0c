//! The language's scenarios, ours and the page about both agree.

#![cfg(test)]

use serde_json::Value;

#[test]
fn the_engine_does_what_the_profile_says_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let json = folder.path().join("figures.json");
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_baton-conformance"));
    let output = command.arg("--json").arg(&json).output().unwrap();
    let (out, err) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{}:\n{out}\n{err}", output.status);
    // What it left out, for want of the language's own files.
    for line in err.lines().filter(|line| line.starts_with("SKIPPED")) {
        eprintln!("{line}");
    }
    let figures: Value = serde_json::from_str(&std::fs::read_to_string(json).unwrap()).unwrap();
    let count = |key: &str| figures[key].as_u64().unwrap_or_else(|| panic!("{key}: {figures:#}"));
    assert_eq!(count("rows_supported") + count("rows_refused"), count("rows_total"));
    assert_eq!(count("scenarios_passed") + count("scenarios_pending"), count("scenarios"));
}
