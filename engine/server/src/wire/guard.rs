//! What policies have said of a step, and what is done for it.

use std::{collections::BTreeSet, sync::Arc};

use baton_core::{
    Json,
    guard::{Guard, Judgement, Remedy, Standing, Verdict, Wanted},
    workflow::Hash,
};
use baton_proto::v1::{self, remedy::Kind, step_judged::Verdict as VerdictOnWire};

use super::{Error, LargeValues, decode_json, encode_json, hash};

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
    })
}

fn encode_wanted(wanted: &Wanted) -> v1::WantedRemedy {
    let text = |text: &Option<Arc<str>>| text.as_deref().unwrap_or_default().to_owned();
    v1::WantedRemedy {
        remedy: Some(encode_remedy(&wanted.remedy)),
        policy: wanted.policy.to_string(),
        quorum: wanted.quorum,
        due: text(&wanted.due),
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
        due: text(wanted.due),
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
    })
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
