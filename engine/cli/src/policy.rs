//! `baton policy`: sets of policies, checked and tried out without an engine.

use std::path::Path;

use baton_policy::{
    Finding, Set, Severity,
    cases::{Cases, Expected, Outcome as Tried},
    folder,
    set::Texts,
};
use serde_json::{Value, json};

use crate::{
    args::{Format, PolicyCommand},
    backtest::{self, Asked},
    client::{self, Client},
    error::{Error, Outcome},
    events::hex,
    input,
    output::{Output, Tone},
    sets,
};

/// The first two need no engine.
pub(crate) async fn policy(
    command: &PolicyCommand,
    client: impl Fn() -> Result<Client, client::Error>,
    output: &Output,
) -> Result<Outcome, Error> {
    match command {
        PolicyCommand::Check { folder } => check(folder, output),
        PolicyCommand::Test { folder } => test(folder, output),
        PolicyCommand::Backtest { policy, since, list, expect_same } => {
            let asked = Asked { folder: policy, since: *since, list: *list };
            backtest::backtest(&client()?, &asked, *expect_same, output).await
        }
        PolicyCommand::Deploy { folder } => sets::deploy(&client()?, folder, output).await,
        PolicyCommand::List => sets::list(&client()?, output).await,
        PolicyCommand::Show { version } => sets::show(&client()?, *version, output).await,
        PolicyCommand::Activate { version, from, reason } => {
            sets::activate(&client()?, *version, *from, reason, output).await
        }
        PolicyCommand::Rollback { reason } => sets::roll_back(&client()?, reason, output).await,
    }
}

fn check(folder: &Path, output: &Output) -> Result<Outcome, Error> {
    let (findings, set) = match Set::compile(&texts(folder)?) {
        Ok(set) => (set.warnings.clone(), Some(set)),
        Err(findings) => (findings, None),
    };
    let hash = set.as_ref().map(|set| hex(&set.sha256));
    let policies = set.as_ref().map(|set| set.policies().count());
    if output.is_json() {
        let valid = set.is_some();
        let document =
            json!({ "valid": valid, "sha256": hash, "policies": policies, "findings": findings });
        output.json(&document)?;
    } else {
        tell(folder, &findings, output)?;
        if let (Some(hash), Some(policies)) = (hash, policies) {
            let well = output.paint.apply(Tone::Good, "is well");
            let name = input::name(folder);
            output.line(&format!("{name} {well}: {policies} policies, sha256 {hash}"))?;
        }
    }
    Ok(if set.is_some() { Outcome::Well } else { Outcome::Problems })
}

fn test(folder: &Path, output: &Output) -> Result<Outcome, Error> {
    let texts = texts(folder)?;
    let set = match Set::compile(&texts) {
        Ok(set) => set,
        Err(findings) => {
            if output.is_json() {
                output.json(&json!({ "valid": false, "findings": findings, "files": [] }))?;
            } else {
                tell(folder, &findings, output)?;
            }
            return Ok(Outcome::Unusable);
        }
    };
    let cases = texts.iter().filter(|(name, _)| is_cases(name));
    let tried: Vec<_> = cases.map(|(name, text)| (name, run(text, &set))).collect();
    let all = tried.iter().filter_map(|(_, tried)| tried.as_ref().ok()).flatten();
    let (passed, count) =
        all.fold((0, 0), |(passed, count), tried| (passed + usize::from(tried.passed), count + 1));
    let broken = tried.iter().any(|(_, tried)| tried.is_err());
    if output.format == Format::Json {
        let files: Vec<_> = tried.iter().map(|(name, tried)| file(name, tried)).collect();
        let document = json!({ "valid": true, "passed": passed, "cases": count, "files": files });
        output.json(&document)?;
    } else {
        for (name, tried) in &tried {
            output.lines(&lines(name, tried, output))?;
        }
        output.line(&format!("{passed} of {count} cases hold"))?;
        if count == 0 {
            output.line("There are none: they stand in cases/*.yaml within the folder")?;
        }
    }
    Ok(match (broken || count == 0, passed == count) {
        (true, _) => Outcome::Unusable,
        (false, false) => Outcome::Problems,
        (false, true) => Outcome::Well,
    })
}

fn run(text: &str, set: &Set) -> Result<Vec<Tried>, String> {
    Ok(Cases::parse(text)?.cases.iter().map(|case| case.run(set)).collect())
}

fn file(name: &str, tried: &Result<Vec<Tried>, String>) -> Value {
    match tried {
        Ok(tried) => json!({ "file": name, "cases": tried }),
        Err(error) => json!({ "file": name, "error": error }),
    }
}

fn lines(name: &str, tried: &Result<Vec<Tried>, String>, output: &Output) -> Vec<String> {
    let paint = output.paint;
    let failed = paint.apply(Tone::Bad, "FAILED");
    let tried = match tried {
        Ok(tried) => tried,
        Err(error) => return vec![format!("{failed} {name}: {error}")],
    };
    let of_one = |tried: &Tried| {
        if tried.passed {
            return vec![format!("{} {name}: {}", paint.apply(Tone::Good, "ok    "), tried.name)];
        }
        let decision = &tried.decision;
        let mut lines = vec![
            format!("{failed} {name}: {}", tried.name),
            format!("         wanted {}, given {}", say(&tried.expected), say(&tried.given())),
        ];
        if !decision.determining.is_empty() {
            lines.push(format!("         because of {}", decision.determining.join(", ")));
        }
        lines.extend(decision.errors.iter().map(|error| format!("         {error}")));
        lines
    };
    tried.iter().flat_map(of_one).collect()
}

fn say(expected: &Expected) -> String {
    match expected {
        Expected::Allow => "allow".into(),
        Expected::Deny => "deny".into(),
        Expected::Remedies(remedies) => {
            let remedies: Vec<_> = remedies.iter().map(ToString::to_string).collect();
            format!("deny unless {}", remedies.join(", "))
        }
    }
}

pub(crate) fn tell(folder: &Path, findings: &[Finding], output: &Output) -> Result<(), Error> {
    for finding in findings {
        let tone = match finding.severity {
            Severity::Error => Tone::Bad,
            Severity::Warning => Tone::Warn,
        };
        let line = format!("{}/{finding}", input::name(folder));
        output.line(&output.paint.apply(tone, &line))?;
    }
    Ok(())
}

fn is_cases(name: &str) -> bool {
    let in_cases = name.split('/').rev().nth(1) == Some("cases");
    in_cases && Path::new(name).extension().is_some_and(|kind| kind == "yaml" || kind == "json")
}

pub(crate) fn texts(folder: &Path) -> Result<Texts, Error> {
    let read = folder::read(folder);
    read.map_err(|folder::Error { path, source }| input::Error::File { path, source }.into())
}
