//! What a decision of a policy set costs, against Cedar asked about all of its policies; and what is left of the speed when
//! each step is asked about.

use std::fmt::Write as _;
use std::hint::black_box;
use std::io::{self, Write as _};
use std::time::Instant;

use anyhow::{Context as _, Result, anyhow, ensure};
use baton_policy::backtest::{Recorded, Said, ask};
use baton_policy::{Question, SCHEMA, Set, Verdict, set::Texts};
use cedar_policy::{
    Authorizer, Context, Decision, Entities, EntityUid, PolicySet, Request, Schema,
};
use serde_json::{Value, json};

use crate::load::Load;
use crate::meter::median;
use crate::report::{Bar, Report};
use crate::{engine, say};

const ROUNDS: usize = 7;
const DECISIONS: usize = 2_000;
const DEPARTMENTS: [&str; 5] = ["finance", "hr", "helpdesk", "kyc", "claims"];

const BACKTESTED: usize = 100_000;

/// Rounds with and without policies.
const ENGINE_ROUNDS: usize = 3;

/// Answers whether all bars were cleared.
pub(crate) async fn run() -> Result<bool> {
    let policies = policies();
    let texts = Texts::from([("bench.cedar".to_owned(), policies.clone())]);
    let set = Set::compile(&texts).map_err(|findings| anyhow!("{findings:?}"))?;
    ensure!(set.policies().count() == 100, "there are to be 100 policies");
    let asked = questions();
    let questions: Vec<Question> = asked
        .iter()
        .map(|asked| serde_json::from_value(asked.clone()))
        .collect::<Result<_, _>>()?;
    let alone = Alone::new(&policies, &asked)?;

    // Both say the same before either is measured.
    for (n, question) in questions.iter().enumerate() {
        let allowed = set.decide(question).verdict == Verdict::Allow;
        ensure!(allowed == alone.allows(n), "question {n} is answered in two ways");
    }
    let (mut ours, mut theirs, mut kept) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        // No two alike, so that no answer is one that was kept.
        let fresh = fresh(&questions, round * DECISIONS);
        ours.push(p50_us(|n| set.decide(&fresh[n])));
        theirs.push(p50_us(|n| alone.allows(n % asked.len())));
        kept.push(p50_us(|n| set.decide(&questions[n % questions.len()])));
    }
    let (ours, theirs) = (median(ours), median(theirs));

    let mut report = Report::default();
    report.add("policy_decision_p50_us", ours, Bar::None);
    report.add("cedar_alone_p50_us", theirs, Bar::None);
    report.add("policy_decision_ratio", ours / theirs, Bar::AtMost(0.6));
    report.add("policy_decision_kept_p50_us", median(kept), Bar::None);
    backtest(&set, &alone, &asked, &mut report)?;
    throughput(&policies, &mut report).await?;
    let path = report.save("bench-policy")?;
    let mut out = io::stdout().lock();
    report.print(&mut out)?;
    writeln!(
        out,
        "Medians of {ROUNDS} rounds of {DECISIONS}, and of {ENGINE_ROUNDS} rounds of the engine. Written to {}",
        path.display()
    )?;
    Ok(report.all_cleared())
}

/// As many recorded questions asked again, from their text on, no two alike; Cedar evaluates as many, made ready.
fn backtest(set: &Set, alone: &Alone, asked: &[Value], report: &mut Report) -> Result<()> {
    let recorded: Vec<String> = (0..BACKTESTED)
        .map(|n| {
            let mut question = asked[n % asked.len()].clone();
            question["facts"]["amount"] = (n + 2_000_000).into();
            question.to_string()
        })
        .collect();
    let began = Instant::now();
    let mut counted = baton_policy::backtest::Report::default();
    for question in &recorded {
        let said = Said::Allow;
        let compared = ask(set, &Recorded { question, said: said.clone() })?;
        counted.add(&said, &compared);
    }
    let ours = began.elapsed().as_secs_f64();
    let began = Instant::now();
    let mut allowed = 0_u64;
    for n in 0..BACKTESTED {
        allowed += u64::from(black_box(alone.allows(n % asked.len())));
    }
    let theirs = began.elapsed().as_secs_f64();
    ensure!(allowed > 0 && counted.decisions == BACKTESTED as u64, "nothing was asked");
    report.add("backtest_100k_s", ours, Bar::None);
    report.add("cedar_alone_100k_s", theirs, Bar::None);
    report.add("backtest_ratio", ours / theirs, Bar::AtMost(0.7));
    Ok(())
}

/// The same questions with amounts of their own.
fn fresh(questions: &[Question], from: usize) -> Vec<Question> {
    let amounts = (from..from + DECISIONS).map(|n| n + 1_000_000);
    let asked = questions.iter().cycle().zip(amounts);
    asked
        .map(|(question, amount)| {
            let mut question = question.clone();
            question.facts.insert("amount".to_owned(), amount.into());
            question
        })
        .collect()
}

/// 1,000 instances of five steps in flight, each with an amount of its own: in turn without policies, and with all 100.
async fn throughput(policies: &str, report: &mut Report) -> Result<()> {
    let folder = tempfile::tempdir().context("a temporary folder")?;
    std::fs::write(folder.path().join("bench.cedar"), policies)?;
    let asked = vec!["--policies".to_owned(), folder.path().display().to_string()];
    let (mut off, mut on) = (Vec::new(), Vec::new());
    for round in 1..=ENGINE_ROUNDS {
        for (arguments, figures) in [(Vec::new(), &mut off), (asked.clone(), &mut on)] {
            let plan = Load::Full.plan(false);
            let measured = engine::round_with(Load::Full, false, plan, arguments).await?;
            figures.push(Load::Full.steps_of(&measured.figures) / measured.figures.seconds);
        }
        say(&format!("round {round} of {ENGINE_ROUNDS}: {off:.0?} steps/s without, {on:.0?} with"));
    }
    let (off, on) = (median(off), median(on));
    report.add("policies_off_steps_per_s", off, Bar::None);
    report.add("policies_on_steps_per_s", on, Bar::None);
    report.add("policies_on_ratio", on / off, Bar::AtLeast(0.7));
    Ok(())
}

/// The median of one decision, each measured by itself.
fn p50_us<T>(mut decide: impl FnMut(usize) -> T) -> f64 {
    let took = (0..DECISIONS).map(|n| {
        let began = Instant::now();
        black_box(decide(n));
        began.elapsed().as_secs_f64() * 1e6
    });
    median(took.collect::<Vec<_>>())
}

/// Ten for each of five departments and ten for all are about steps, forty about what people and services do.
fn policies() -> String {
    let mut out = String::new();
    let mut add = |id: &str, policy: &str| {
        let _ = writeln!(out, "@id(\"{id}\")\n{policy}");
    };
    let dispatch = "principal is Baton::Agent, action == Baton::Action::\"dispatch\"";
    add("permit", &format!("permit ({dispatch}, resource is Baton::Function);"));
    for n in 0..9 {
        let when = format!("context.cost > {}000000000 && context.attempts > {n}", n + 1);
        add(
            &format!("all-{n}"),
            &format!("forbid ({dispatch}, resource is Baton::Function) when {{ {when} }};"),
        );
    }
    for department in DEPARTMENTS {
        for n in 0..10 {
            let scope = format!(
                "{dispatch}, resource is Baton::Function in Baton::Department::\"{department}\""
            );
            let when = match n % 3 {
                0 => format!("context.amount > {}00000000", n + 1),
                1 => format!("context.classes.contains(\"class-{n}\")"),
                _ => format!("resource.effect == \"irreversible\" && context.confidence < {n}"),
            };
            let unless = format!("context.approvals.contains(\"group-{n}\")");
            add(
                &format!("{department}-{n}"),
                &format!("forbid ({scope}) when {{ {when} }} unless {{ {unless} }};"),
            );
        }
    }
    for n in 0..40 {
        let action = ["deploy", "start", "read", "cancel"][n % 4];
        let group = format!("principal in Baton::Group::\"group-{n}\"");
        add(
            &format!("people-{n}"),
            &format!("permit ({group}, action == Baton::Action::\"{action}\", resource);"),
        );
    }
    out
}

fn questions() -> Vec<Value> {
    let questions = DEPARTMENTS.iter().enumerate().flat_map(|(d, department)| {
        (0..4).map(move |n| {
            json!({
                "principal": { "agent": format!("agent-{n}"), "kind": "write" },
                "action": "dispatch",
                "resource": { "function": format!("{department}.f{n}"), "effect": "irreversible" },
                "facts": {
                    "amount": 100 * n + 7_000 * d, "customer": "known", "destination": "inside",
                    "classes": ["internal"], "taint": ["internal", "personal"], "confidence": 90, "record": 97,
                    "risk": 12, "cost": 40_000, "attempts": 1, "sample": 4711, "done": ["erp.read", "erp.check"],
                    "approvals": [], "reviews": [], "masked": [], "escalated": [], "open": [], "evidence": [], "marks": [],
                },
            })
        })
    });
    questions.collect()
}

/// Cedar by itself, with everything made ready that can be.
struct Alone {
    authorizer: Authorizer,
    policies: PolicySet,
    asked: Vec<(Request, Entities)>,
}

impl Alone {
    fn new(policies: &str, asked: &[Value]) -> Result<Self> {
        let (schema, _) = Schema::from_cedarschema_str(SCHEMA)?;
        let asked = asked.iter().map(|asked| {
            let uid = |kind: &str, id: &Value| -> Result<EntityUid> {
                Ok(format!("Baton::{kind}::{id}").parse()?)
            };
            let function = asked["resource"]["function"].as_str().context("a function")?;
            let department = function.split('.').next().context("a department")?;
            let request = Request::new(
                uid("Agent", &asked["principal"]["agent"])?,
                uid("Action", &asked["action"])?,
                uid("Function", &asked["resource"]["function"])?,
                Context::from_json_value(asked["facts"].clone(), None)?,
                None,
            )?;
            let entities = json!([
                { "uid": { "type": "Baton::Agent", "id": asked["principal"]["agent"] }, "attrs": { "kind": "write" }, "parents": [] },
                { "uid": { "type": "Baton::Function", "id": function }, "attrs": { "effect": "irreversible" },
                  "parents": [{ "type": "Baton::Department", "id": department }] },
            ]);
            Ok((request, Entities::from_json_value(entities, Some(&schema))?))
        });
        let asked = asked.collect::<Result<Vec<_>>>()?;
        Ok(Self { authorizer: Authorizer::new(), policies: policies.parse()?, asked })
    }

    fn allows(&self, n: usize) -> bool {
        let (request, entities) = &self.asked[n];
        let response = self.authorizer.is_authorized(request, &self.policies, entities);
        response.decision() == Decision::Allow
    }
}
