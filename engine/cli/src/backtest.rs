//! What another policy set would have changed.

use std::{collections::BTreeMap, path::Path};

use baton_policy::{
    Set,
    backtest::{Recorded, Report, Said, ask},
};
use baton_proto::v1::{DecisionsRequest, RecordedDecision};
use serde_json::{Value, json};
use time::OffsetDateTime;
use tonic::Request;

use crate::{
    client::Client,
    error::{Error, Outcome},
    output::{Output, Tone},
    policy, progress, times,
};

pub(crate) struct Asked<'a> {
    pub(crate) folder: &'a Path,
    pub(crate) since: OffsetDateTime,
    /// How many of the cases that change are listed.
    pub(crate) list: usize,
}

/// One whose verdict changes.
struct Case {
    instance: String,
    step: u32,
    workflow: String,
    function: String,
    said: Said,
    says: Said,
    because: Vec<String>,
    amount: Option<i64>,
}

pub(crate) async fn backtest(
    client: &Client,
    asked: &Asked<'_>,
    expect_same: bool,
    output: &Output,
) -> Result<Outcome, Error> {
    let set = match Set::compile(&policy::texts(asked.folder)?) {
        Ok(set) => set,
        Err(findings) => {
            policy::tell(asked.folder, &findings, output)?;
            return Ok(Outcome::Problems);
        }
    };
    let spinner = progress::spinner("asking again");
    let request = DecisionsRequest { since: Some(times::timestamp(asked.since)) };
    let answer = client.audit().decisions(Request::new(request)).await;
    let mut stream = answer.map_err(|status| client.error(&status))?.into_inner();
    let (mut report, mut cases) = (Report::default(), Vec::new());
    let mut waits: BTreeMap<String, Vec<i64>> = BTreeMap::new();
    let mut unreadable = 0_u64;
    while let Some(some) = stream.message().await.map_err(|status| client.error(&status))? {
        for wait in some.waits {
            waits.entry(wait.group).or_default().push(wait.waited_ms);
        }
        for decision in some.decisions {
            let said = said(&decision);
            let recorded = Recorded { question: &decision.question, said: said.clone() };
            let Ok(compared) = ask(&set, &recorded) else {
                unreadable += 1;
                continue;
            };
            if report.add(&said, &compared) && cases.len() < asked.list {
                cases.push(Case {
                    instance: decision.instance,
                    step: decision.step,
                    workflow: decision.workflow,
                    function: decision.function,
                    said,
                    says: compared.says,
                    because: compared.determining,
                    amount: compared.amount,
                });
            }
        }
        spinner.set_message(format!("asked {} again", report.decisions));
    }
    spinner.finish_and_clear();
    let medians: BTreeMap<String, i64> =
        waits.into_iter().map(|(group, waits)| (group, median(waits))).collect();
    if output.is_json() {
        output.json(&document(&report, &cases, &medians, unreadable))?;
    } else {
        tell(&report, &cases, &medians, output)?;
        if unreadable > 0 {
            output.line(&format!("{unreadable} could not be read"))?;
        }
    }
    let same = report.same == report.decisions && unreadable == 0;
    Ok(if expect_same && !same { Outcome::Problems } else { Outcome::Well })
}

fn said(decision: &RecordedDecision) -> Said {
    match decision.verdict.as_str() {
        "allow" => Said::Allow,
        "deny-unless" => Said::DenyUnless(decision.remedies.iter().cloned().collect()),
        _ => Said::Deny,
    }
}

fn median(mut waits: Vec<i64>) -> i64 {
    waits.sort_unstable();
    waits.get(waits.len() / 2).copied().unwrap_or(0)
}

/// How much longer it would have taken, as far as the people of a group have answered so far.
fn waiting_ms(counts: &BTreeMap<String, u64>, medians: &BTreeMap<String, i64>) -> i64 {
    let of = |(group, count): (&String, &u64)| {
        let median = medians.get(group).copied().unwrap_or(0);
        median.saturating_mul(i64::try_from(*count).unwrap_or(i64::MAX))
    };
    counts.iter().map(of).fold(0, i64::saturating_add)
}

fn document(
    report: &Report,
    cases: &[Case],
    medians: &BTreeMap<String, i64>,
    unreadable: u64,
) -> Value {
    let case = |case: &Case| {
        json!({
            "instance": case.instance, "step": case.step, "workflow": case.workflow,
            "function": case.function, "said": case.said.to_string(), "says": case.says.to_string(),
            "because": case.because, "amount": case.amount,
        })
    };
    let mut document = serde_json::to_value(report).unwrap_or_default();
    document["unreadable"] = unreadable.into();
    document["median_wait_ms"] = json!(medians);
    document["waiting_added_ms"] = waiting_ms(&report.approvals_added, medians).into();
    document["waiting_removed_ms"] = waiting_ms(&report.approvals_removed, medians).into();
    document["cases"] = cases.iter().map(case).collect();
    document
}

fn tell(
    report: &Report,
    cases: &[Case],
    medians: &BTreeMap<String, i64>,
    output: &Output,
) -> Result<(), Error> {
    let changed = report.decisions - report.same;
    let tone = if changed == 0 { Tone::Good } else { Tone::Warn };
    let head = format!("{changed} of {} decisions change", report.decisions);
    output.line(&output.paint.apply(tone, &head))?;
    for ((from, to), count) in &report.flips {
        output.line(&format!("  {count:>7}  {from} → {to}"))?;
    }
    for (word, counts) in [("more", &report.approvals_added), ("fewer", &report.approvals_removed)]
    {
        for (group, count) in counts {
            let waits = medians.get(group).map_or(String::new(), |median| {
                format!(", who take {} to answer", times::span(*median))
            });
            output.line(&format!("  {count:>7}  {word} requests to {group}{waits}"))?;
        }
    }
    if changed > 0 {
        output.line(&format!("  {:>7}  units of money in what changes", report.amount))?;
        let rows = cases.iter().map(|case| {
            vec![
                (format!("{}/{}", case.instance, case.step), Tone::Bold),
                (case.function.clone(), Tone::Plain),
                (case.amount.map_or(String::new(), |amount| amount.to_string()), Tone::Plain),
                (case.said.to_string(), Tone::Dim),
                (case.says.to_string(), Tone::Warn),
                (case.because.join(", "), Tone::Dim),
            ]
        });
        output.table(
            &["WHICH", "FUNCTION", "AMOUNT", "WAS", "WOULD BE", "BECAUSE OF"],
            rows.collect(),
        )?;
    }
    Ok(())
}
