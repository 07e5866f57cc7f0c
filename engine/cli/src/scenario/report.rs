//! What came of the scenarios, for people and for programs.

use baton_core::Duration;
use serde_json::{Value, json};

use super::{Tested, Verdict, junit};
use crate::{
    args::Format,
    error::Error,
    finding::{self, Finding},
    output::{Output, Tone},
};

/// As soon as a file has been run, for people.
pub(super) fn tell(tested: &Tested, output: &Output) -> Result<(), Error> {
    if output.format != Format::Text {
        return Ok(());
    }
    for broken in &tested.broken {
        let lines = finding::lines(&broken.name, &broken.source, &broken.findings, output.paint);
        output.lines(&lines)?;
    }
    for verdict in &tested.verdicts {
        output.lines(&lines(&tested.name, verdict, output))?;
    }
    Ok(())
}

fn lines(file: &str, verdict: &Verdict, output: &Output) -> Vec<String> {
    let Verdict { name, status, took, steps, failures, .. } = verdict;
    let paint = output.paint;
    if failures.is_empty() {
        let plural = if *steps == 1 { "" } else { "s" };
        let about = format!("({status} after {}, {steps} step{plural})", iso(*took));
        let word = paint.apply(Tone::Good, "ok    ");
        return vec![format!("{word} {file}: {name} {}", paint.apply(Tone::Dim, &about))];
    }
    let word = paint.apply(Tone::Bad, "FAILED");
    let mut lines = vec![format!("{word} {file}:{}: {name}", verdict.place.line)];
    lines.extend(failures.iter().map(|failure| format!("         {failure}")));
    lines
}

/// When all files have been run.
pub(super) fn conclude(tested: &[Tested], output: &Output) -> Result<(), Error> {
    match output.format {
        Format::Text => {
            let verdicts = tested.iter().flat_map(|one| &one.verdicts);
            let (hold, all) = verdicts.fold((0, 0), |(hold, all), verdict| {
                (hold + usize::from(verdict.holds()), all + 1)
            });
            let broken = tested.iter().filter(|one| !one.broken.is_empty()).count();
            let mut text = format!("{hold} of {all} scenarios hold");
            if broken > 0 {
                text = format!("{text}; {broken} of {} files cannot be used", tested.len());
            }
            output.line(&text)?;
        }
        Format::Json => {
            let files: Vec<_> = tested.iter().map(file).collect();
            let passed = tested
                .iter()
                .all(|one| one.broken.is_empty() && one.verdicts.iter().all(Verdict::holds));
            output.json(&json!({ "passed": passed, "files": files }))?;
        }
        Format::Junit => output.line(junit::write(tested).trim_end())?,
        Format::Sarif => {}
    }
    Ok(())
}

fn file(tested: &Tested) -> Value {
    let diagnostics = tested.broken.iter().flat_map(|broken| {
        broken.findings.iter().map(|finding| {
            let mut shape = Finding::json(finding);
            shape["file"] = json!(broken.name);
            shape
        })
    });
    let scenarios = tested.verdicts.iter().map(|verdict| {
        json!({
            "name": verdict.name,
            "line": verdict.place.line,
            "passed": verdict.holds(),
            "status": verdict.status,
            "took": iso(verdict.took),
            "took_ms": verdict.took.0,
            "steps": verdict.steps,
            "failures": verdict.failures,
        })
    });
    json!({
        "file": tested.name,
        "diagnostics": diagnostics.collect::<Vec<_>>(),
        "scenarios": scenarios.collect::<Vec<_>>(),
    })
}

/// As ISO 8601 writes it, in days, hours, minutes and seconds.
pub(super) fn iso(duration: Duration) -> String {
    let (days, ms) = (duration.0 / 86_400_000, duration.0 % 86_400_000);
    let (hours, ms) = (ms / 3_600_000, ms % 3_600_000);
    let (minutes, ms) = (ms / 60_000, ms % 60_000);
    let (seconds, ms) = (ms / 1_000, ms % 1_000);
    let mut out = String::from("P");
    if days > 0 {
        out = format!("{out}{days}D");
    }
    if (hours, minutes, seconds, ms) != (0, 0, 0, 0) || days == 0 {
        out.push('T');
    }
    for (count, unit) in [(hours, 'H'), (minutes, 'M')] {
        if count > 0 {
            out = format!("{out}{count}{unit}");
        }
    }
    if ms > 0 {
        let fraction = format!("{ms:03}");
        out = format!("{out}{seconds}.{}S", fraction.trim_end_matches('0'));
    } else if seconds > 0 || duration.0 == 0 {
        out = format!("{out}{seconds}S");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_written_in_their_units() {
        let written = |ms| iso(Duration(ms));
        assert_eq!(written(0), "PT0S");
        assert_eq!(written(1_500), "PT1.5S");
        assert_eq!(written(7), "PT0.007S");
        assert_eq!(written(365 * 86_400_000), "P365D");
        assert_eq!(written(86_400_000 + 7_260_000), "P1DT2H1M");
    }
}
