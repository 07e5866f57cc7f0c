//! The packs that come with Baton are well, and say what their cases want.

#![cfg(test)]

use std::{collections::BTreeMap, fs, path::Path};

use baton_policy::{Set, cases::Cases, set::Texts};

fn texts(folder: &str) -> Texts {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../policies/packs").join(folder);
    let files = fs::read_dir(folder).unwrap().map(Result::unwrap);
    let files = files.filter(|file| file.file_type().unwrap().is_file());
    files
        .map(|file| {
            let name = file.file_name().into_string().unwrap();
            (name, fs::read_to_string(file.path()).unwrap())
        })
        .collect::<BTreeMap<_, _>>()
}

#[test]
fn the_packs_hold_together_without_a_doubt() {
    let set = Set::compile(&texts("")).unwrap();
    assert_eq!(set.warnings, []);
    assert!(set.policies().count() > 15);
}

#[test]
fn their_cases_come_out_as_wanted_and_reach_every_policy_that_denies() {
    let set = Set::compile(&texts("")).unwrap();
    let mut determining = std::collections::BTreeSet::new();
    for (name, text) in texts("cases") {
        for case in Cases::parse(&text).unwrap().cases {
            let outcome = case.run(&set);
            assert!(outcome.passed, "{name}: {outcome:?}");
            determining.extend(outcome.decision.determining);
        }
    }
    let forbids = set.policies().filter(|policy| policy.effect() == cedar_policy::Effect::Forbid);
    for policy in forbids {
        let id = policy.id().to_string();
        assert!(determining.contains(&id), "no case for {id}");
    }
}
