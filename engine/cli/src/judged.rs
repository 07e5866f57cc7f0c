//! What policies have said of a step, for people and programs.

use baton_proto::v1::{
    Remedy, StepJudged, WantedRemedy, event::Kind as Event, remedy::Kind, step_judged::Verdict,
};
use serde_json::{Value, json};

use crate::{output::Tone, shape};

/// `allow`, `deny` or `deny-unless`.
pub(crate) fn verdict(judged: &StepJudged) -> &'static str {
    match judged.verdict() {
        Verdict::Unspecified => "unknown",
        Verdict::Allow => "allow",
        Verdict::Deny => "deny",
        Verdict::DenyUnless => "deny-unless",
    }
}

/// As a policy writes it: `approval:managers`.
pub(crate) fn remedy(remedy: &Remedy) -> Option<String> {
    Some(match remedy.kind.as_ref()? {
        Kind::Approval(group) => format!("approval:{group}"),
        Kind::Mask(field) => format!("mask:{field}"),
        Kind::Wait(window) => format!("wait:{window}"),
        Kind::Review(group) => format!("review:{group}"),
        Kind::Escalate(level) => format!("escalate:{level}"),
    })
}

pub(crate) fn wanted(wanted: &WantedRemedy) -> Value {
    json!({
        "remedy": wanted.remedy.as_ref().and_then(remedy), "policy": wanted.policy,
        "quorum": wanted.quorum, "due_ms": wanted.due_ms,
        "reason": shape::non_empty(&wanted.reason),
        "fallback": wanted.fallback.as_ref().and_then(remedy),
    })
}

/// One line for people.
pub(crate) fn line(judged: &StepJudged) -> String {
    let why = if !judged.errors.is_empty() {
        judged.errors.join("; ")
    } else if judged.determining.is_empty() {
        "no policy allows it".to_owned()
    } else {
        judged.determining.join(", ")
    };
    match judged.verdict() {
        Verdict::DenyUnless => {
            let all: Vec<_> =
                judged.wanted.iter().filter_map(|w| remedy(w.remedy.as_ref()?)).collect();
            format!("denied unless {} ({why})", all.join(", "))
        }
        Verdict::Allow => format!("allowed ({why})"),
        Verdict::Deny | Verdict::Unspecified => format!("denied ({why})"),
    }
}

/// What stops something is to be seen.
pub(crate) fn tone(event: Option<&Event>) -> Tone {
    match event {
        Some(Event::StepJudged(judged)) => match judged.verdict() {
            Verdict::Allow => Tone::Dim,
            Verdict::DenyUnless => Tone::Warn,
            Verdict::Deny | Verdict::Unspecified => Tone::Bad,
        },
        Some(_) | None => Tone::Plain,
    }
}
