//! The demo adds up, on its own file and on real purchases.

#![cfg(test)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use baton_policy::cases::Cases;
use baton_policy::{Question, Set, Verdict, folder};
use baton_tests::settings;
use serde_json::Value;

/// Runs the demo as a user does and answers its figures and what it printed.
fn demo(input: Option<&Path>) -> (Value, String) {
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
    let figures = serde_json::from_str(&std::fs::read_to_string(json).unwrap()).unwrap();
    (figures, out.into_owned())
}

fn number(figures: &Value, pointer: &str) -> i64 {
    figures
        .pointer(pointer)
        .and_then(Value::as_i64)
        .unwrap_or_else(|| panic!("{pointer} in {figures:#}"))
}

fn text<'a>(figures: &'a Value, pointer: &str) -> &'a str {
    figures
        .pointer(pointer)
        .and_then(Value::as_str)
        .unwrap_or_else(|| panic!("{pointer} in {figures:#}"))
}

/// There is one line of this name, and it says all of that.
fn line(out: &str, name: &str, wanted: &[&str]) {
    let lines = out.lines().filter(|line| line.split_whitespace().next() == Some(name));
    let [line] = lines.collect::<Vec<_>>()[..] else { panic!("one line {name}:\n{out}") };
    for part in wanted {
        assert!(line.contains(part), "{part:?} in {line:?}");
    }
}

fn steps(count: i64) -> String {
    if count == 1 { "1 step".to_owned() } else { format!("{count} steps") }
}

/// `1,234`, below a million.
fn grouped(count: i64) -> String {
    if count < 1_000 {
        return count.to_string();
    }
    format!("{},{:03}", count / 1_000, count % 1_000)
}

/// What the bank has paid above £5,000, in whole pounds, rounded up as policies are told; the smallest first.
fn above_5000(payments: &Value) -> Vec<i64> {
    let pennies = payments.as_array().unwrap().iter().map(|pennies| pennies.as_i64().unwrap());
    let mut pounds =
        pennies.filter(|it| *it > 500_000).map(|it| (it + 99) / 100).collect::<Vec<_>>();
    pounds.sort_unstable();
    pounds
}

/// A policy set of the demo.
fn set(name: &str) -> Set {
    Set::compile(&texts(name)).unwrap()
}

fn texts(name: &str) -> BTreeMap<String, String> {
    folder::read(&settings::root().join("tests/demo").join(name)).unwrap()
}

#[test]
fn the_policies_of_the_demo_hold_together_and_each_has_its_case() {
    for name in ["policies", "policies-stricter"] {
        let set = set(name);
        assert_eq!(set.warnings, [], "{name}");
        let mut determining = BTreeSet::new();
        for (file, text) in texts(name).iter().filter(|(file, _)| file.starts_with("cases/")) {
            for case in Cases::parse(text).unwrap().cases {
                let outcome = case.run(&set);
                assert!(outcome.passed, "{name}/{file}: {outcome:?}");
                determining.extend(outcome.decision.determining);
            }
        }
        let all = set.policies().map(|policy| policy.id().to_string()).collect::<BTreeSet<_>>();
        assert_eq!(determining, all, "{name}");
    }
}

/// Rows and pounds of a file, counted here in the simplest way there is.
fn rows(path: &Path) -> i64 {
    i64::try_from(csv::Reader::from_path(path).unwrap().records().count()).unwrap()
}

#[test]
fn every_requisition_of_our_own_ends_once_although_engine_and_worker_are_killed() {
    let own = settings::root().join("tests/demo/requisitions.csv");
    let (figures, out) = demo(None);
    assert_eq!(number(&figures, "/rows"), rows(&own));
    assert_eq!(number(&figures, "/repeats_answered"), 12);
    assert_eq!(number(&figures, "/repeats_refused"), 2);
    assert_eq!(number(&figures, "/paid_pennies"), number(&figures, "/expected_pennies"));
    for outcome in ["paid", "refused", "escalated"] {
        assert!(number(&figures, &format!("/outcomes/{outcome}")) > 0, "{figures:#}");
    }
    assert!(figures["outcomes"].get("faulted").is_none(), "{figures:#}");
    five_lines_say_what_was_decided(&figures, &out);
}

/// The demo's own run, since it takes its time: what policies said is asked again here, of the same folder.
fn five_lines_say_what_was_decided(figures: &Value, out: &str) {
    let governed = &figures["governed"];
    let set = set("policies");
    let says = |asked: &Value| {
        let question: Question = serde_json::from_value(asked["question"].clone()).unwrap();
        let decision = set.decide(&question);
        assert_eq!(asked["policies"], serde_json::json!(decision.determining));
        (decision.verdict, decision.determining.concat())
    };
    let remedies = |verdict: &Verdict| match verdict {
        Verdict::DenyUnless(wanted) => {
            wanted.iter().map(|one| one.remedy.to_string()).collect::<Vec<_>>()
        }
        Verdict::Allow | Verdict::Deny => Vec::new(),
    };

    let approval = &governed["approval"];
    let (verdict, policy) = says(&approval["asked"]);
    assert_eq!(remedies(&verdict), ["approval:managers"]);
    assert_eq!(approval["payment"]["amount_pennies"], approval["bank"]["paid_pennies"]);
    let people = [text(approval, "/started_by"), text(approval, "/approved_by")];
    assert_eq!(people, ["person dora", "person max"]);
    let people = ["dora, who wanted it, was refused (four-eyes)", "max approved"];
    line(out, "approval", &[&policy, people[0], people[1], "the bank paid £61,250.00"]);

    let denial = &governed["denial"];
    let (verdict, policy) = says(&denial["asked"]);
    assert_eq!(verdict, Verdict::Deny);
    assert_eq!((number(denial, "/status"), number(denial, "/bank/asked")), (403, 0));
    line(out, "denial", &[&policy, "£3,480.00", "authorization, 403", "asked 0 times"]);

    let mask = &governed["mask"];
    let (verdict, policy) = says(&mask["asked"]);
    assert_eq!(remedies(&verdict), ["mask:iban"]);
    let (iban, booked) = (text(mask, "/value"), text(mask, "/booked"));
    assert!(booked.ends_with(", ***") && !booked.contains(iban), "{mask}");
    line(out, "mask", &[&policy, iban, booked]);

    let switch = &governed["switch"];
    let (would_stop, stopped) = (number(switch, "/would_stop"), number(switch, "/stopped"));
    // Of 24 requisitions at once, each is at one step, or at two while goods and invoice come in.
    assert!((1..=48).contains(&would_stop) && (1..=48).contains(&stopped), "{switch}");
    assert!(number(switch, "/went_on") >= stopped, "{switch}");
    assert_eq!(number(switch, "/ended_meanwhile"), 0);
    let known = format!("stop: {}, known in {} ms", steps(would_stop), number(switch, "/known_ms"));
    let thrown = format!("it stopped {stopped} in {} ms", number(switch, "/stop_ms"));
    let rearmed = format!("all {} that waited by then", number(switch, "/went_on"));
    line(out, "drill", &["everything", &known, &thrown, &rearmed]);

    stricter_policies_ask_about_what_is_above_5000(governed, &figures["payments"], out);
}

fn stricter_policies_ask_about_what_is_above_5000(governed: &Value, payments: &Value, out: &str) {
    let backtest = &governed["backtest"];
    let cases = backtest["cases"].as_array().unwrap();
    let flips = number(backtest, "/decisions") - number(backtest, "/same");
    assert_eq!(
        (cases.len(), number(backtest, "/unreadable")),
        (usize::try_from(flips).unwrap(), 0)
    );
    // A step that the kill switch stopped is asked about once more.
    let paid = cases.iter().map(|case| {
        assert_eq!(case["function"], "finance.pay");
        (text(case, "/instance"), number(case, "/amount"))
    });
    let mut paid = paid.collect::<BTreeMap<_, _>>().into_values().collect::<Vec<_>>();
    paid.sort_unstable();
    assert_eq!(paid, above_5000(payments));
    let managers = format!("managers would be asked {flips} times more");
    let changed = format!("{flips} of {}", grouped(number(backtest, "/decisions")));
    let pounds = format!("£{}", grouped(number(backtest, "/amount")));
    line(out, "backtest", &[&changed, &managers, &pounds]);
}

#[test]
fn real_purchases_are_paid_to_the_penny() {
    let Some(file) = real_purchases() else {
        eprintln!("SKIPPED: no real purchases here; BATON_REAL_PURCHASES names a file of them");
        return;
    };
    let (figures, _) = demo(Some(&file));
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
