//! Cases of a set: questions with the answers that are wanted, in `cases/*.yaml` beside the policies.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    question::{Action, Principal, Question, Resource},
    remedy::Remedy,
    set::{Decision, Set, Verdict},
};

/// A file of cases.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cases {
    pub cases: Vec<Case>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    pub name: String,
    pub principal: Principal,
    pub action: Action,
    pub resource: Resource,
    #[serde(default)]
    pub facts: BTreeMap<String, Value>,
    pub expect: Expected,
    /// Ids of the policies that must determine it, all of them; without, any may.
    #[serde(default)]
    pub because: Option<Vec<String>>,
}

/// `allow`, `deny`, or `{ remedies: [ "approval:GROUP" ] }`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Expected {
    Allow,
    Deny,
    Remedies(Vec<Remedy>),
}

/// How a case went.
#[derive(Clone, Debug, Serialize)]
pub struct Outcome {
    pub name: String,
    pub passed: bool,
    pub expected: Expected,
    pub decision: Decision,
}

impl Cases {
    /// # Errors
    /// What is wrong with the text, with its line.
    pub fn parse(text: &str) -> Result<Self, String> {
        serde_saphyr::from_str(text).map_err(|error| error.to_string())
    }
}

impl Outcome {
    /// The decision, in the words of a case.
    pub fn given(&self) -> Expected {
        given(&self.decision)
    }
}

fn given(decision: &Decision) -> Expected {
    match &decision.verdict {
        Verdict::Allow => Expected::Allow,
        Verdict::Deny => Expected::Deny,
        Verdict::DenyUnless(wanted) => {
            Expected::Remedies(wanted.iter().map(|wanted| wanted.remedy.clone()).collect())
        }
    }
}

impl Case {
    pub fn run(&self, set: &Set) -> Outcome {
        let question = Question {
            principal: self.principal.clone(),
            action: self.action,
            resource: self.resource.clone(),
            facts: self.facts.clone(),
        };
        let decision = set.decide(&question);
        let given = given(&decision);
        let because = self.because.as_ref().is_none_or(|wanted| {
            let mut wanted = wanted.clone();
            wanted.sort();
            wanted == decision.determining && decision.errors.is_empty()
        });
        let passed = same(&given, &self.expect) && because;
        Outcome { name: self.name.clone(), passed, expected: self.expect.clone(), decision }
    }
}

/// The order of remedies says nothing.
fn same(given: &Expected, wanted: &Expected) -> bool {
    match (given, wanted) {
        (Expected::Remedies(given), Expected::Remedies(wanted)) => {
            let (mut given, mut wanted) = (given.clone(), wanted.clone());
            given.sort();
            given.dedup();
            wanted.sort();
            given == wanted
        }
        (given, wanted) => given == wanted,
    }
}
