//! Asks policies before a step goes out. What they say is a command to the instance like any other, in the batch in which
//! the step was decided, so that it is in the log before anybody else hears of the step.

use std::{collections::BTreeMap, sync::Arc};

use baton_core::{
    ActivationId, Attempt, Command, Duration, InstanceId, Json,
    guard::{Judgement, Remedy, Standing, Verdict, Wanted, sameness},
    instance::Step,
    limits::TAINT_BEYOND,
    workflow::{Function, Hash},
};
use baton_policy::{
    Decision, Question, Remedy as PolicyRemedy, Verdict as PolicyVerdict, Wanted as PolicyWanted,
    question::{Action, Principal, Resource},
};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::{Exit, lanes::Asker, owner::Owner, resident::Resident};
use crate::{limits, policies::Active, wire::cut};

/// An attempt about which policies are to be asked.
pub(super) struct Unjudged {
    pub id: InstanceId,
    pub step: ActivationId,
    pub attempt: Attempt,
}

impl Owner {
    /// Asks about every step that waits for it, while the batch has room.
    pub(super) async fn judge(&mut self) -> Result<(), Exit> {
        for _ in 0..limits::JUDGED_AT_ONCE {
            if self.batch.is_full() {
                break;
            }
            let Some(Unjudged { id, step, attempt }) = self.unjudged.pop_front() else { break };
            if self.resident(id).await?.is_none() {
                continue;
            }
            let Some(judgement) = self.judgement(id, step, attempt) else { continue };
            let judgement = Arc::new(judgement);
            let command = Command::Judge { activation: step, attempt, judgement };
            self.command(id, command, Asker::Nobody);
        }
        Ok(())
    }

    /// What policies say now. None when nobody waits for it any more.
    pub(super) fn judgement(
        &mut self,
        id: InstanceId,
        step: ActivationId,
        attempt: Attempt,
    ) -> Option<Judgement> {
        let now = self.tell_time();
        let resident = self.residents.get(&id)?;
        let held = resident.instance.guarded_step(step)?;
        if held.attempt != attempt || held.standing() != Some(Standing::Unjudged) {
            return None;
        }
        let function = resident.function(step)?;
        let active = self.engine.policies.active(now);
        // What people approve: this and nothing else.
        let digest = || digest(function, &held.arguments, active.hash());
        let mut question = self.question(resident, held, (step, function));
        let case = &resident.instance.case;
        let agents = || case.done.iter().map(|done| &**done).chain([question.principal.id()]);
        let agreed = || active.confidence_max(agents());
        if let Some((stated, agreed)) = overstated(&question, agreed) {
            self.engine.metrics.overstated_confidence.inc();
            tracing::warn!(
                instance = %id,
                %function,
                stated,
                agreed,
                "A step stated more confidence than was agreed: somebody may be trying something"
            );
            question.facts.insert("confidence".to_owned(), agreed.into());
        }
        if held.guard.as_deref().is_some_and(|guard| guard.people.is_some()) {
            let approved = approved(&question, held, digest(), &active);
            question.facts.insert("approvals".to_owned(), approved);
        }
        let mut judgement = judged(question, function, &active);
        if let Verdict::DenyUnless(_) = judgement.verdict {
            judgement.digest = digest();
        }
        self.engine.metrics.judged(&judgement.verdict);
        if judgement.verdict == Verdict::Deny {
            tracing::info!(
                instance = %id,
                function = %judgement.function,
                policies = ?judgement.determining,
                errors = ?judgement.errors,
                "Policies forbid a step"
            );
        }
        Some(judgement)
    }

    /// Who does what with what, and what is known of it.
    fn question(
        &self,
        resident: &Resident,
        held: &Step,
        (step, function): (ActivationId, &Function),
    ) -> Question {
        let instance = &resident.instance;
        let guard = held.guard.as_deref().expect("what is held has a guard");
        let case = &instance.case;
        let mut facts = declared(&guard.facts);
        let mut add = |name: &str, value: Value| facts.insert(name.to_owned(), value);
        add("attempts", held.attempt.0.into());
        add("sample", self.engine.tokens.sample(instance.id, step).into());
        add("turns", case.turns.into());
        let same = sameness(&function.to_string(), &held.arguments);
        add("repeats", case.seen.get(&same).copied().unwrap_or(0).into());
        add("cost", case.cost.min(COST_MAX).into());
        add("taint", case.taint.iter().map(|class| Value::from(&**class)).collect());
        add("done", case.done.iter().map(|function| Value::from(&**function)).collect());
        add("approvals", Value::Array(Vec::new()));
        for name in ["reviews", "masked", "escalated", "open"] {
            let done = guard.remedies.iter().filter(|remedy| fact_of(remedy) == name);
            add(name, done.map(|remedy| Value::from(&**remedy.parts().1)).collect());
        }
        Question {
            // A worker's department is proved by where it may publish, so that nobody can be another function's agent.
            principal: Principal::Agent { agent: function.to_string(), kind: None },
            action: Action::Dispatch,
            resource: Resource::Function {
                function: function.to_string(),
                effect: self.engine.effects.of(function).to_owned(),
            },
            facts,
        }
    }
}

/// What was stated of an agent's confidence, and how much of it counts, when that is less.
fn overstated(question: &Question, agreed: impl FnOnce() -> Option<i64>) -> Option<(i64, i64)> {
    let stated = question.facts.get("confidence")?.as_i64()?;
    agreed().filter(|agreed| *agreed < stated).map(|agreed| (stated, agreed))
}

/// Groups of which every policy that wants them now has enough answers about exactly this. Policies are asked as if nobody
/// had answered, so that each says how many it wants: a fact is only a name.
fn approved(question: &Question, held: &Step, digest: Hash, active: &Active) -> Value {
    let PolicyVerdict::DenyUnless(wanted) = active.decide(question).verdict else {
        return Value::Array(Vec::new());
    };
    let mut groups: BTreeMap<&str, bool> = BTreeMap::new();
    for wanted in &wanted {
        if let PolicyRemedy::Approval(group) = &wanted.remedy {
            let enough = held.guard.as_deref().is_some_and(|guard| {
                guard.has_approved(&wanted.policy, group, wanted.quorum, digest)
            });
            *groups.entry(group).or_insert(true) &= enough;
        }
    }
    groups.into_iter().filter(|(_, enough)| *enough).map(|(group, _)| Value::from(group)).collect()
}

/// Lengths go before what they measure, so that no text can pass for two.
fn digest(function: &Function, arguments: &Json, set: Hash) -> Hash {
    let mut digest = Sha256::new();
    for part in [function.to_string().as_bytes(), arguments.as_bytes(), &set.0] {
        digest.update((part.len() as u64).to_le_bytes());
        digest.update(part);
    }
    Hash(digest.finalize().into())
}

/// Asks, unless there is too much to ask about: all of it is to be in the log, and a commit has its bounds.
fn judged(mut question: Question, function: &Function, active: &Active) -> Judgement {
    let text = |text: &String| Arc::from(cut(text, limits::REASON_TEXT_BYTES_MAX));
    let texts = |texts: &[String]| texts.iter().take(limits::REASONS_MAX).map(text).collect();
    let written =
        |question: &Question| serde_json::to_string(question).expect("names and values are JSON");
    let mut asked = written(&question);
    let decision = match too_much(&question, asked.len()) {
        None => active.decide(&question),
        Some(what) => {
            question.facts.clear();
            asked = written(&question);
            let (determining, errors) = (Vec::new(), vec![what]);
            Decision { verdict: PolicyVerdict::Deny, determining, errors }
        }
    };
    let classes = texts_of(&question, "classes").map(Arc::from).collect();
    let mut judgement = Judgement {
        verdict: verdict(decision.verdict),
        set: active.hash(),
        determining: texts(&decision.determining),
        errors: texts(&decision.errors),
        question: Json::from_text(asked),
        function: function.to_string().into(),
        classes,
        digest: Hash([0; 32]),
    };
    if let Verdict::DenyUnless(wanted) = &judgement.verdict
        && wanted.len() > limits::REASONS_MAX
    {
        let what = format!("policies want {} remedies", wanted.len());
        judgement.verdict = Verdict::Deny;
        judgement.errors.push(what.into());
    }
    judgement
}

fn too_much(question: &Question, bytes: usize) -> Option<String> {
    if bytes > limits::QUESTION_BYTES_MAX {
        return Some(format!("the question has {bytes} bytes, too many to ask"));
    }
    if texts_of(question, "classes").any(|class| class.len() > limits::CLASS_BYTES_MAX) {
        return Some("the name of a class of data is too long".into());
    }
    let beyond = texts_of(question, "taint").any(|class| class == TAINT_BEYOND);
    beyond.then(|| "more classes of data have flowed into the case than can be told apart".into())
}

fn texts_of<'q>(question: &'q Question, fact: &str) -> impl Iterator<Item = &'q str> {
    let values = question.facts.get(fact).and_then(Value::as_array);
    values.into_iter().flatten().filter_map(Value::as_str)
}

/// The fact that tells what was done.
fn fact_of(remedy: &Remedy) -> &'static str {
    match remedy {
        // Told by what people have answered.
        Remedy::Approval(_) => "approvals",
        Remedy::Review(_) => "reviews",
        Remedy::Mask(_) => "masked",
        Remedy::Escalate(_) => "escalated",
        Remedy::Wait(_) => "open",
    }
}

/// What the task shows: only what an author may say, whatever stands there. A value that is of no use stays as it is, so
/// that it denies.
fn declared(facts: &Json) -> BTreeMap<String, Value> {
    let Ok(Value::Object(shown)) = serde_json::from_str(facts) else { return BTreeMap::new() };
    let shown = shown.into_iter().filter(|(name, _)| baton_dsl::DECLARED_FACTS.contains(&&**name));
    shown
        .map(|(name, value)| {
            let value = match name.as_str() {
                // Rounded to the side of caution.
                "amount" => whole(value, f64::ceil),
                "confidence" => whole(value, f64::floor),
                _ => value,
            };
            (name, value)
        })
        .collect()
}

/// What a policy can compare.
const COST_MAX: u64 = i64::MAX as u64;

/// Numbers that every 64-bit float holds exactly.
const EXACT_MAX: f64 = 9_007_199_254_740_992.0;

fn whole(value: Value, round: fn(f64) -> f64) -> Value {
    if value.is_i64() {
        return value;
    }
    match value.as_f64().map(round).filter(|number| number.abs() < EXACT_MAX) {
        #[expect(clippy::cast_possible_truncation, reason = "it is whole and small enough")]
        Some(number) => Value::from(number as i64),
        None => value,
    }
}

fn verdict(verdict: PolicyVerdict) -> Verdict {
    match verdict {
        PolicyVerdict::Allow => Verdict::Allow,
        PolicyVerdict::Deny => Verdict::Deny,
        PolicyVerdict::DenyUnless(all) => {
            Verdict::DenyUnless(all.into_iter().map(wanted).collect())
        }
    }
}

fn wanted(wanted: PolicyWanted) -> Wanted {
    let text = |text: Option<String>| {
        text.map(|text| Arc::from(cut(&text, limits::REASON_TEXT_BYTES_MAX)))
    };
    Wanted {
        remedy: remedy(&wanted.remedy),
        policy: wanted.policy.into(),
        quorum: wanted.quorum,
        due: wanted.due_ms.map(Duration),
        reason: text(wanted.reason),
        fallback: wanted.fallback.as_ref().map(remedy),
    }
}

fn remedy(remedy: &PolicyRemedy) -> Remedy {
    match remedy {
        PolicyRemedy::Approval(group) => Remedy::Approval(group.as_str().into()),
        PolicyRemedy::Mask(field) => Remedy::Mask(field.as_str().into()),
        PolicyRemedy::Wait(window) => Remedy::Wait(window.as_str().into()),
        PolicyRemedy::Review(group) => Remedy::Review(group.as_str().into()),
        PolicyRemedy::Escalate(level) => Remedy::Escalate(level.as_str().into()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_author_says_only_what_an_author_may() {
        let shown = r#"{"amount":10000.01,"confidence":89.9,"approvals":["managers"],"taint":[],"classes":["internal"]}"#;
        let facts = declared(&Json::from_text(shown));
        let wanted = json!({ "amount": 10001, "confidence": 89, "classes": ["internal"] });
        assert_eq!(serde_json::to_value(facts).unwrap(), wanted);
        assert!(declared(&Json::from_text("[1]")).is_empty());
    }

    #[test]
    fn only_what_is_stated_above_the_bound_is_overstated() {
        let question = |facts: &str| {
            let text = format!(
                r#"{{"principal":{{"agent":"a.b"}},"action":"dispatch","resource":{{"function":"a.b","effect":"read"}},"facts":{facts}}}"#
            );
            serde_json::from_str::<Question>(&text).unwrap()
        };
        let stated = question(r#"{"confidence":81}"#);
        assert_eq!(overstated(&stated, || Some(80)), Some((81, 80)));
        assert_eq!(overstated(&stated, || Some(81)), None);
        assert_eq!(overstated(&stated, || None), None, "nothing was agreed");
        // What is not known, or is no number, denies by itself.
        for other in ["{}", r#"{"confidence":"99"}"#, r#"{"confidence":null}"#] {
            let asked = || panic!("nobody is asked about {other}");
            assert_eq!(overstated(&question(other), asked), None);
        }
    }

    #[test]
    fn an_amount_that_is_no_number_of_ours_stays_as_it_is() {
        for odd in ["1e+300", "\"5\"", "12345678901234567890"] {
            let facts = declared(&Json::from_text(format!("{{\"amount\":{odd}}}")));
            assert_eq!(facts["amount"].to_string(), odd);
        }
    }
}
