//! What another set would have said to questions that were asked.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::{Question, Set, Verdict, remedy::Remedy};

/// What was asked and said.
#[derive(Clone, Debug)]
pub struct Recorded<'a> {
    /// In JSON, as [`Question`] is written.
    pub question: &'a str,
    pub said: Said,
}

/// A verdict, as far as two of them are compared.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Said {
    Allow,
    Deny,
    DenyUnless(BTreeSet<String>),
}

/// What became of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compared {
    pub says: Said,
    /// Ids of the policies that lead to it.
    pub determining: Vec<String>,
    /// Whole units of money, where the question knows them.
    pub amount: Option<i64>,
}

/// Counts what changes.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    pub decisions: u64,
    pub same: u64,
    /// From what was said to what is said: how often.
    #[serde(serialize_with = "by_change")]
    pub flips: BTreeMap<(Said, Said), u64>,
    /// Questions for which people would be asked who were not, by group; and the other way round.
    pub approvals_added: BTreeMap<String, u64>,
    pub approvals_removed: BTreeMap<String, u64>,
    /// Whole units of money in questions whose verdict changes.
    pub amount: i64,
}

/// Asks the set the same again.
///
/// # Errors
/// When it is no question.
pub fn ask(set: &Set, recorded: &Recorded<'_>) -> Result<Compared, serde_json::Error> {
    let question: Question = serde_json::from_str(recorded.question)?;
    let amount = question.facts.get("amount").and_then(serde_json::Value::as_i64);
    let decision = set.decide(&question);
    Ok(Compared { says: Said::of(&decision.verdict), determining: decision.determining, amount })
}

impl Said {
    pub fn of(verdict: &Verdict) -> Self {
        match verdict {
            Verdict::Allow => Self::Allow,
            Verdict::Deny => Self::Deny,
            Verdict::DenyUnless(wanted) => {
                Self::DenyUnless(wanted.iter().map(|one| one.remedy.to_string()).collect())
            }
        }
    }

    /// Groups that are asked.
    pub fn groups(&self) -> impl Iterator<Item = String> {
        let remedies = if let Self::DenyUnless(remedies) = self { Some(remedies) } else { None };
        remedies.into_iter().flatten().filter_map(|remedy| match remedy.parse() {
            Ok(Remedy::Approval(group)) => Some(group),
            Ok(_) | Err(_) => None,
        })
    }
}

/// `allow`, `deny`, or `deny unless approval:managers`.
impl std::fmt::Display for Said {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Allow => f.write_str("allow"),
            Self::Deny => f.write_str("deny"),
            Self::DenyUnless(remedies) => {
                let all: Vec<&str> = remedies.iter().map(String::as_str).collect();
                write!(f, "deny unless {}", all.join(", "))
            }
        }
    }
}

impl Report {
    /// Whether the verdict changes.
    pub fn add(&mut self, said: &Said, compared: &Compared) -> bool {
        self.decisions += 1;
        if *said == compared.says {
            self.same += 1;
            return false;
        }
        *self.flips.entry((said.clone(), compared.says.clone())).or_default() += 1;
        self.amount = self.amount.saturating_add(compared.amount.unwrap_or(0));
        let before: BTreeSet<String> = said.groups().collect();
        let after: BTreeSet<String> = compared.says.groups().collect();
        for group in after.difference(&before) {
            *self.approvals_added.entry(group.clone()).or_default() += 1;
        }
        for group in before.difference(&after) {
            *self.approvals_removed.entry(group.clone()).or_default() += 1;
        }
        true
    }
}

fn by_change<S: serde::Serializer>(
    flips: &BTreeMap<(Said, Said), u64>,
    to: S,
) -> Result<S::Ok, S::Error> {
    #[derive(Serialize)]
    struct Flip {
        from: String,
        to: String,
        count: u64,
    }
    let flip = |((from, to), count): (&(Said, Said), &u64)| Flip {
        from: from.to_string(),
        to: to.to_string(),
        count: *count,
    };
    to.collect_seq(flips.iter().map(flip))
}
