//! What policies have said of a step, and what is done for it.

use std::{collections::BTreeSet, sync::Arc};

use baton_core::{
    Duration, Json, Timestamp,
    approval::{Answer, Ask, Asking},
    guard::{Guard, Judgement, People, Remedy, Standing, Verdict, Wanted},
    workflow::Hash,
};
use baton_proto::v1::{self, remedy::Kind, step_judged::Verdict as VerdictOnWire};

use super::{Error, LargeValues, at, decode_json, encode_json, hash, ms};

pub(super) fn encode_judgement(judgement: &Judgement, large: &mut LargeValues) -> v1::StepJudged {
    let (verdict, wanted) = match &judgement.verdict {
        Verdict::Allow => (VerdictOnWire::Allow, Vec::new()),
        Verdict::Deny => (VerdictOnWire::Deny, Vec::new()),
        Verdict::DenyUnless(wanted) => {
            (VerdictOnWire::DenyUnless, wanted.iter().map(encode_wanted).collect())
        }
    };
    v1::StepJudged {
        verdict: verdict.into(),
        wanted,
        set: judgement.set.0.to_vec(),
        determining: encode_texts(&judgement.determining),
        errors: encode_texts(&judgement.errors),
        question: Some(encode_json(&judgement.question, large)),
        function: judgement.function.to_string(),
        classes: encode_texts(&judgement.classes),
        digest: encode_digest(judgement.digest),
        ..v1::StepJudged::default()
    }
}

pub(super) fn decode_judgement(
    judged: v1::StepJudged,
    large: &LargeValues,
) -> Result<Judgement, Error> {
    let wanted = judged.wanted.into_iter().map(decode_wanted).collect::<Result<_, _>>()?;
    let verdict = match VerdictOnWire::try_from(judged.verdict) {
        Ok(VerdictOnWire::Allow) => Verdict::Allow,
        Ok(VerdictOnWire::Deny) => Verdict::Deny,
        Ok(VerdictOnWire::DenyUnless) => Verdict::DenyUnless(wanted),
        Ok(VerdictOnWire::Unspecified) | Err(_) => return Err(Error::Malformed("verdict")),
    };
    Ok(Judgement {
        verdict,
        set: Hash(hash(&judged.set)?),
        determining: decode_texts(judged.determining),
        errors: decode_texts(judged.errors),
        question: decode_json(judged.question, large)?,
        function: judged.function.into(),
        classes: decode_texts(judged.classes),
        digest: decode_digest(&judged.digest)?,
    })
}

fn encode_wanted(wanted: &Wanted) -> v1::WantedRemedy {
    let text = |text: &Option<Arc<str>>| text.as_deref().unwrap_or_default().to_owned();
    v1::WantedRemedy {
        remedy: Some(encode_remedy(&wanted.remedy)),
        policy: wanted.policy.to_string(),
        quorum: wanted.quorum,
        due_ms: wanted.due.map(|due| due.0),
        reason: text(&wanted.reason),
        fallback: wanted.fallback.as_ref().map(encode_remedy),
    }
}

fn decode_wanted(wanted: v1::WantedRemedy) -> Result<Wanted, Error> {
    let text = |text: String| (!text.is_empty()).then(|| Arc::from(text));
    Ok(Wanted {
        remedy: decode_remedy(wanted.remedy)?,
        policy: wanted.policy.into(),
        quorum: wanted.quorum,
        due: wanted.due_ms.map(Duration),
        reason: text(wanted.reason),
        fallback: wanted.fallback.map(|remedy| decode_remedy(Some(remedy))).transpose()?,
    })
}

pub(super) fn encode_remedy(remedy: &Remedy) -> v1::Remedy {
    let kind = match remedy {
        Remedy::Approval(group) => Kind::Approval(group.to_string()),
        Remedy::Mask(field) => Kind::Mask(field.to_string()),
        Remedy::Wait(window) => Kind::Wait(window.to_string()),
        Remedy::Review(group) => Kind::Review(group.to_string()),
        Remedy::Escalate(level) => Kind::Escalate(level.to_string()),
    };
    v1::Remedy { kind: Some(kind) }
}

pub(super) fn decode_remedy(remedy: Option<v1::Remedy>) -> Result<Remedy, Error> {
    let kind = remedy.and_then(|remedy| remedy.kind).ok_or(Error::Malformed("remedy"))?;
    Ok(match kind {
        Kind::Approval(group) => Remedy::Approval(group.into()),
        Kind::Mask(field) => Remedy::Mask(field.into()),
        Kind::Wait(window) => Remedy::Wait(window.into()),
        Kind::Review(group) => Remedy::Review(group.into()),
        Kind::Escalate(level) => Remedy::Escalate(level.into()),
    })
}

pub(super) fn encode_guard(guard: &Guard, large: &mut LargeValues) -> v1::GuardState {
    let standing = match guard.standing {
        Standing::Unjudged => v1::guard_state::Standing::Unjudged,
        Standing::Held => v1::guard_state::Standing::Held,
        Standing::Allowed => v1::guard_state::Standing::Allowed,
    };
    v1::GuardState {
        facts: Some(encode_json(&guard.facts, large)),
        standing: standing.into(),
        remedies: guard.remedies.iter().map(encode_remedy).collect(),
        function: guard.function.as_deref().unwrap_or_default().to_owned(),
        people: guard.people.as_deref().map(encode_people),
    }
}

pub(super) fn decode_guard(state: v1::GuardState, large: &LargeValues) -> Result<Guard, Error> {
    let standing = match v1::guard_state::Standing::try_from(state.standing) {
        Ok(v1::guard_state::Standing::Unjudged) => Standing::Unjudged,
        Ok(v1::guard_state::Standing::Held) => Standing::Held,
        Ok(v1::guard_state::Standing::Allowed) => Standing::Allowed,
        Ok(v1::guard_state::Standing::Unspecified) | Err(_) => {
            return Err(Error::Malformed("standing"));
        }
    };
    let facts: Json = decode_json(state.facts, large)?;
    let remedies = state.remedies.into_iter().map(|remedy| decode_remedy(Some(remedy)));
    Ok(Guard {
        facts,
        standing,
        remedies: remedies.collect::<Result<_, _>>()?,
        function: (!state.function.is_empty()).then(|| Arc::from(state.function)),
        people: state.people.map(|people| decode_people(people).map(Box::new)).transpose()?,
    })
}

/// None is all zeros.
fn encode_digest(digest: Hash) -> Vec<u8> {
    if digest == Hash([0; 32]) { Vec::new() } else { digest.0.to_vec() }
}

fn decode_digest(bytes: &[u8]) -> Result<Hash, Error> {
    if bytes.is_empty() { Ok(Hash([0; 32])) } else { Ok(Hash(hash(bytes)?)) }
}

pub(super) fn encode_ask(ask: &Ask) -> v1::ApprovalAsked {
    v1::ApprovalAsked {
        policy: ask.policy.to_string(),
        group: ask.group.to_string(),
        quorum: ask.quorum,
        due_ms: ms(ask.due),
        fallback: ask.fallback.as_ref().map(encode_remedy),
        reason: ask.reason.as_deref().unwrap_or_default().to_owned(),
        digest: ask.digest.0.to_vec(),
        set: ask.set.0.to_vec(),
        ..v1::ApprovalAsked::default()
    }
}

pub(super) fn decode_ask(asked: v1::ApprovalAsked) -> Result<Ask, Error> {
    Ok(Ask {
        policy: asked.policy.into(),
        group: asked.group.into(),
        quorum: asked.quorum,
        due: at(asked.due_ms),
        fallback: asked.fallback.map(|remedy| decode_remedy(Some(remedy))).transpose()?,
        reason: (!asked.reason.is_empty()).then(|| Arc::from(asked.reason)),
        digest: Hash(hash(&asked.digest)?),
        set: Hash(hash(&asked.set)?),
    })
}

pub(super) fn encode_answer(answer: &Answer) -> v1::ApprovalAnswered {
    v1::ApprovalAnswered {
        by: answer.by.to_string(),
        reason: answer.reason.to_string(),
        at_ms: answer.at.0,
        ..v1::ApprovalAnswered::default()
    }
}

pub(super) fn decode_answer(answered: v1::ApprovalAnswered) -> Answer {
    Answer { by: answered.by.into(), reason: answered.reason.into(), at: Timestamp(answered.at_ms) }
}

fn encode_people(people: &People) -> v1::PeopleState {
    let asked = people.asked.values().map(|asking| v1::AskingState {
        ask: Some(encode_ask(&asking.ask)),
        asked_at_ms: asking.asked_at.0,
        overdue: asking.overdue,
    });
    let answers = people.answers.iter().flat_map(|(group, answers)| {
        answers.iter().map(move |answer| v1::ApprovalAnswered {
            group: group.to_string(),
            ..encode_answer(answer)
        })
    });
    let claims = people.claims.iter().map(|(group, by)| (group.to_string(), by.to_string()));
    v1::PeopleState { asked: asked.collect(), answers: answers.collect(), claims: claims.collect() }
}

fn decode_people(state: v1::PeopleState) -> Result<People, Error> {
    let mut people = People::default();
    for asking in state.asked {
        let ask = decode_ask(asking.ask.ok_or(Error::Malformed("what people are asked"))?)?;
        let (policy, asked_at) = (Arc::clone(&ask.policy), Timestamp(asking.asked_at_ms));
        let asking = Asking { ask: Arc::new(ask), asked_at, overdue: asking.overdue };
        people.asked.insert(policy, asking);
    }
    for answer in state.answers {
        let group = Arc::from(answer.group.as_str());
        people.answers.entry(group).or_default().push(decode_answer(answer));
    }
    let claims = state.claims.into_iter().map(|(group, by)| (group.into(), by.into()));
    people.claims = claims.collect();
    Ok(people)
}

pub(super) fn encode_texts<'t>(texts: impl IntoIterator<Item = &'t Arc<str>>) -> Vec<String> {
    texts.into_iter().map(ToString::to_string).collect()
}

fn decode_texts(texts: Vec<String>) -> Vec<Arc<str>> {
    texts.into_iter().map(Arc::from).collect()
}

pub(super) fn decode_names(texts: Vec<String>) -> BTreeSet<Arc<str>> {
    texts.into_iter().map(Arc::from).collect()
}
