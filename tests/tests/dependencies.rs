//! The arrows between our crates, as data: whoever adds one adds it here, with a reason in an ADR.

#![cfg(test)]

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use baton_tests::settings;
use serde_json::Value;

/// Each crate and what of ours it may use. The tests look at everything from outside, and so may use everything.
const ARROWS: [(&str, &[&str]); 9] = [
    ("baton-core", &[]),
    ("baton-proto", &[]),
    ("baton-dsl", &["baton-core"]),
    ("baton-policy", &["baton-dsl"]),
    ("baton-server", &["baton-core", "baton-dsl", "baton-policy", "baton-proto"]),
    ("baton-cli", &["baton-core", "baton-dsl", "baton-policy", "baton-proto"]),
    ("baton-worker", &["baton-proto"]),
    ("baton-standard", &["baton-worker"]),
    (
        "baton-tests",
        &["baton-core", "baton-dsl", "baton-policy", "baton-proto", "baton-server", "baton-worker"],
    ),
];

/// What the pure state machine may use of others', and what may test it.
const CORE_USES: [&str; 0] = [];

fn packages() -> Vec<Value> {
    let cargo = settings::variable("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["metadata", "--no-deps", "--offline", "--format-version", "1"])
        .current_dir(settings::root())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    metadata["packages"].as_array().unwrap().clone()
}

fn names(package: &Value, wanted: impl Fn(&Value) -> bool) -> BTreeSet<&str> {
    let dependencies = package["dependencies"].as_array().unwrap().iter();
    dependencies
        .filter(|found| wanted(found))
        .map(|found| found["name"].as_str().unwrap())
        .collect()
}

#[test]
fn the_crates_use_each_other_only_along_the_arrows() {
    let packages = packages();
    let found = packages.iter().map(|package| {
        // A dependency of ours has a path; tests and build scripts count like everything else.
        let used = names(package, |dependency| dependency["path"].is_string());
        (package["name"].as_str().unwrap(), used)
    });
    let found = found.collect::<BTreeMap<_, _>>();
    let known = ARROWS.map(|(name, used)| (name, used.iter().copied().collect::<BTreeSet<_>>()));
    let known = known.into_iter().collect::<BTreeMap<_, _>>();
    assert_eq!(found, known);
}

#[test]
fn the_state_machine_uses_nothing_that_touches_the_world() {
    let packages = packages();
    let core = packages.iter().find(|package| package["name"] == "baton-core").unwrap();
    let used = names(core, |dependency| dependency["kind"].is_null());
    assert_eq!(used, CORE_USES.into_iter().collect());
    let source = std::fs::read_to_string(settings::root().join("engine/core/src/lib.rs")).unwrap();
    assert!(source.contains("\n#![no_std]\n"), "then the compiler says so too");
}
