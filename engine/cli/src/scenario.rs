//! `baton test`: runs the scenarios of a workflow on the state machine itself, with a clock that only they move.

mod answers;
mod difference;
mod file;
mod judge;
mod junit;
mod limits;
mod read;
mod report;
mod run;

use std::{
    path::{Path, PathBuf},
    time::Instant,
};

use baton_dsl::{Compiled, Place};

use self::{
    file::{File, Scenario},
    judge::Verdict,
    read::Reader,
};
use crate::{
    args::Folder,
    error::{Error, Outcome},
    finding::Finding,
    input,
    output::Output,
};

/// A file that was run.
struct Tested {
    name: String,
    verdicts: Vec<Verdict>,
    /// What keeps its scenarios from being run.
    broken: Vec<Broken>,
}

/// A file with errors: the scenarios' own, or their workflow's.
struct Broken {
    name: String,
    source: String,
    findings: Vec<Finding>,
}

pub(crate) fn test(files: &[PathBuf], catalog: &Folder, output: &Output) -> Result<Outcome, Error> {
    let mut tested = Vec::new();
    for path in files {
        let one = one(path, catalog);
        report::tell(&one, output)?;
        tested.push(one);
    }
    report::conclude(&tested, output)?;
    let is_broken = tested.iter().any(|one| !one.broken.is_empty());
    let holds = tested.iter().flat_map(|one| &one.verdicts).all(Verdict::holds);
    Ok(match (is_broken, holds) {
        (true, _) => Outcome::Unusable,
        (false, false) => Outcome::Problems,
        (false, true) => Outcome::Well,
    })
}

fn one(path: &Path, catalog: &Folder) -> Tested {
    let name = input::name(path);
    match prepare(path, &name, catalog) {
        Ok((file, compiled)) => {
            let verdicts =
                file.scenarios.iter().map(|scenario| run_one(&file, scenario, &compiled)).collect();
            Tested { name, verdicts, broken: Vec::new() }
        }
        Err(broken) => Tested { name, verdicts: Vec::new(), broken },
    }
}

fn run_one(file: &File, scenario: &Scenario, compiled: &Compiled) -> Verdict {
    let began = Instant::now();
    let ran = run::run(file, scenario, &compiled.workflow, &compiled.program);
    judge::judge(scenario, &compiled.workflow, &ran, began.elapsed())
}

fn prepare(path: &Path, name: &str, catalog: &Folder) -> Result<(File, Compiled), Vec<Broken>> {
    let broken = |source: &str, findings| {
        vec![Broken { name: name.to_owned(), source: source.to_owned(), findings }]
    };
    let unreadable = |place, error: &input::Error| {
        let mut reader = Reader::default();
        reader.problem("unreadable-file", place, error.to_string(), "correct the path");
        reader.findings
    };
    let source = input::read(path).map_err(|error| broken("", unreadable(Place::START, &error)))?;
    let tree = baton_dsl::read(&source).map_err(|found| {
        broken(&source, found.into_iter().map(Finding::from).collect::<Vec<_>>())
    })?;
    let (workflow, place) = file::workflow(&tree).map_err(|found| broken(&source, found))?;
    let folder = path.parent().unwrap_or(Path::new(""));
    let workflow = folder.join(workflow);
    let text =
        input::read(&workflow).map_err(|error| broken(&source, unreadable(place, &error)))?;
    let functions =
        catalog.gather(&text).map_err(|error| broken(&source, unreadable(place, &error)))?;
    let compiled = baton_dsl::compile_with(&text, &functions).map_err(|found| {
        let findings = found.into_iter().map(Finding::from).collect();
        vec![Broken { name: input::name(&workflow), source: text.clone(), findings }]
    })?;
    // Placeholders of secrets are the same in every run.
    let program = compiled.program.with_key(baton_dsl::SecretsKey::new(b"scenarios"));
    let compiled = Compiled { program, ..compiled };
    let file = file::read(&tree, &compiled.workflow).map_err(|found| broken(&source, found))?;
    Ok((file, compiled))
}
