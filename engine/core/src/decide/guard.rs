//! What follows from what policies say.

use alloc::{format, string::String, sync::Arc, vec::Vec};

use super::Decision;
use crate::{
    command::Rejection,
    error::{Error, Standard},
    event::{Event, Report},
    guard::{Judgement, Remedy, Standing, Verdict, Wanted},
    id::{ActivationId, Attempt},
    instance::{Instance, Step},
    json::Json,
    limits,
    workflow::Hash,
};

/// Policies have been asked about this attempt and have not answered.
pub(super) fn expect_unjudged(
    instance: &Instance,
    activation: ActivationId,
    attempt: Attempt,
) -> Result<(), Rejection> {
    let step = instance.guarded_step(activation).ok_or(Rejection::NotAwaited)?;
    if step.attempt != attempt || step.standing() != Some(Standing::Unjudged) {
        return Err(Rejection::NotAwaited);
    }
    // Nothing new begins. Resuming asks again.
    if instance.suspended { Err(Rejection::InstanceSuspended) } else { Ok(()) }
}

impl Decision<'_> {
    /// Only [`Verdict::Allow`] lets the step go out.
    pub(super) fn judge(
        &mut self,
        activation: ActivationId,
        attempt: Attempt,
        judgement: &Arc<Judgement>,
    ) {
        self.record(Event::StepJudged { activation, attempt, judgement: Arc::clone(judgement) });
        match &judgement.verdict {
            Verdict::Allow => {}
            Verdict::Deny => self.refuse(activation, attempt, &denied(judgement)),
            Verdict::DenyUnless(wanted) => {
                self.remedy(activation, attempt, wanted, (judgement.digest, judgement.set));
            }
        }
    }

    /// Does what is wanted and has policies asked again. People are asked only when nothing else is wanted: they approve
    /// what then goes out.
    fn remedy(
        &mut self,
        activation: ActivationId,
        attempt: Attempt,
        wanted: &[Wanted],
        (digest, set): (Hash, Hash),
    ) {
        let in_force = |wanted: &&Wanted| {
            let guard = self.held(activation).guard.as_deref();
            guard.is_some_and(|guard| match &wanted.remedy {
                Remedy::Approval(group) => {
                    guard.has_approved(&wanted.policy, group, wanted.quorum, digest)
                }
                Remedy::Mask(_) | Remedy::Wait(_) | Remedy::Review(_) | Remedy::Escalate(_) => {
                    guard.remedies.contains(&wanted.remedy)
                }
            })
        };
        if let Some(one) = wanted.iter().find(in_force) {
            let what =
                format!("{} is done, and {} forbids it all the same", one.remedy, one.policy);
            return self.refuse(activation, attempt, &what);
        }
        let mut remedies: Vec<_> = wanted.iter().map(|wanted| &wanted.remedy).collect();
        remedies.sort();
        remedies.dedup();
        let done = self.held(activation).guard.as_ref().map_or(0, |guard| guard.remedies.len());
        if remedies.is_empty() || done + remedies.len() > limits::REMEDIES_MAX {
            let what = format!("more than {} remedies are wanted", limits::REMEDIES_MAX);
            return self.refuse(activation, attempt, &what);
        }
        if let Some(remedy) = remedies.iter().find(|remedy| matches!(remedy, Remedy::Wait(_))) {
            let what = format!("it takes {remedy}, which this engine cannot wait for");
            return self.refuse(activation, attempt, &what);
        }
        remedies.retain(|remedy| !matches!(remedy, Remedy::Approval(_)));
        if remedies.is_empty() {
            return self.ask_people(activation, attempt, wanted, (digest, set));
        }
        // The arguments may be large: only the last event has them.
        let mut masked = self.masked(activation, &remedies);
        let last = remedies.len() - 1;
        for (n, remedy) in remedies.into_iter().enumerate() {
            let complete = n == last;
            self.record(Event::StepRemedied {
                activation,
                attempt,
                remedy: remedy.clone(),
                arguments: if complete { masked.take() } else { None },
                complete,
            });
        }
    }

    /// `None`: the arguments stay as they are.
    fn masked(&self, activation: ActivationId, remedies: &[&Remedy]) -> Option<Json> {
        let arguments = &self.held(activation).arguments;
        let mut masked = None;
        for remedy in remedies {
            if let Remedy::Mask(field) = remedy {
                masked = Some(self.evaluator.mask(masked.as_ref().unwrap_or(arguments), field));
            }
        }
        masked.filter(|masked| masked != arguments)
    }

    fn held(&self, activation: ActivationId) -> &Step {
        self.instance.guarded_step(activation).expect("what is judged is held")
    }

    /// The step fails, and its author may catch that.
    pub(super) fn refuse(&mut self, activation: ActivationId, attempt: Attempt, why: &str) {
        let error = Error::standard(Standard::Authorization, "Refused by policy", why)
            .at(&self.task(activation).pointer);
        let report = Report::default();
        self.record(Event::StepFailed { activation, attempt, error, retry_at: None, report });
    }
}

fn denied(judgement: &Judgement) -> String {
    if !judgement.errors.is_empty() {
        return String::from("a policy could not be evaluated, and what errs denies");
    }
    if judgement.determining.is_empty() {
        return String::from("no policy allows it");
    }
    let first: Vec<&str> =
        judgement.determining.iter().take(limits::POLICIES_TOLD).map(|id| &**id).collect();
    format!("forbidden by {}", first.join(", "))
}
