//! What people are asked about a step, and what they answer.

use alloc::{format, sync::Arc};

use super::Decision;
use crate::{
    approval::{Answer, Ask, Asking},
    command::Rejection,
    event::Event,
    guard::{Guard, People, Remedy, Wanted},
    id::{ActivationId, Attempt},
    instance::{Instance, Step},
    workflow::Hash,
};

/// The step, and the people who are still asked about it.
fn asked(instance: &Instance, activation: ActivationId) -> Result<(&Step, &People), Rejection> {
    let step = instance.guarded_step(activation).ok_or(Rejection::NotAwaited)?;
    let people = step.guard.as_deref().and_then(Guard::waits_for);
    Ok((step, people.ok_or(Rejection::NotAwaited)?))
}

/// Not who started it, and nobody twice.
fn expect_another(instance: &Instance, people: &People, by: &str) -> Result<(), Rejection> {
    let mut before = people.answers.values().flatten();
    if *instance.started.by == *by || before.any(|answer| *answer.by == *by) {
        return Err(Rejection::FourEyes);
    }
    Ok(())
}

pub(super) fn expect_claimable(
    instance: &Instance,
    activation: ActivationId,
    group: &str,
    by: &str,
    release: bool,
) -> Result<(), Rejection> {
    let (_, people) = asked(instance, activation)?;
    if !people.groups().iter().any(|asked| ***asked == *group) {
        return Err(Rejection::NotAwaited);
    }
    let claimed = people.claims.contains_key(group);
    match (release, claimed) {
        (true, true) => Ok(()),
        (true, false) => Err(Rejection::NotAwaited),
        (false, true) => Err(Rejection::Claimed),
        (false, false) => expect_another(instance, people, by),
    }
}

pub(super) fn expect_answerable(
    instance: &Instance,
    activation: ActivationId,
    group: &str,
    digest: Hash,
    by: &str,
) -> Result<Attempt, Rejection> {
    let (step, people) = asked(instance, activation)?;
    if !people.groups().iter().any(|asked| ***asked == *group) {
        return Err(Rejection::NotAwaited);
    }
    if people.digest() != Some(digest) {
        return Err(Rejection::ApprovalChanged);
    }
    if people.claims.get(group).is_some_and(|claimed_by| **claimed_by != *by) {
        return Err(Rejection::Claimed);
    }
    expect_another(instance, people, by)?;
    Ok(step.attempt)
}

pub(super) fn expect_asked_by_another(
    instance: &Instance,
    activation: ActivationId,
    set: Hash,
) -> Result<Attempt, Rejection> {
    let (step, people) = asked(instance, activation)?;
    if people.asked.values().all(|asking| asking.ask.set == set) {
        return Err(Rejection::NotAwaited);
    }
    // Nothing new begins. Resuming does not ask again, but whoever looks for it does.
    if instance.suspended { Err(Rejection::InstanceSuspended) } else { Ok(step.attempt) }
}

impl Decision<'_> {
    /// Asks people what policies want them to approve.
    pub(super) fn ask_people(
        &mut self,
        activation: ActivationId,
        attempt: Attempt,
        wanted: &[Wanted],
        (digest, set): (Hash, Hash),
    ) {
        for wanted in wanted {
            if let Remedy::Approval(group) = &wanted.remedy {
                let ask = Arc::new(Ask {
                    policy: Arc::clone(&wanted.policy),
                    group: Arc::clone(group),
                    quorum: wanted.quorum.max(1),
                    due: wanted.due.map(|due| self.now.plus(due)),
                    fallback: wanted.fallback.clone(),
                    reason: wanted.reason.clone(),
                    digest,
                    set,
                });
                self.record(Event::ApprovalAsked { activation, attempt, ask });
            }
        }
    }

    /// Whoever does not approve ends it.
    pub(super) fn answer_approval(
        &mut self,
        activation: ActivationId,
        attempt: Attempt,
        group: &Arc<str>,
        answer: Answer,
        approves: bool,
    ) {
        let why = format!("{} of {group} does not approve it: {}", answer.by, answer.reason);
        let complete = approves && self.is_last(activation, group, &answer);
        let group = Arc::clone(group);
        self.record(Event::ApprovalAnswered {
            activation,
            attempt,
            group,
            answer,
            approves,
            complete,
        });
        if !approves {
            self.refuse(activation, attempt, &why);
        }
    }

    /// Whether this answer is the last that is wanted.
    fn is_last(&self, activation: ActivationId, group: &Arc<str>, answer: &Answer) -> bool {
        self.would_be_enough(activation, |people| {
            people.answers.entry(Arc::clone(group)).or_default().push(answer.clone());
        })
    }

    /// Whether nobody is asked any more after a change.
    fn would_be_enough(&self, activation: ActivationId, change: impl FnOnce(&mut People)) -> bool {
        let step = self.instance.guarded_step(activation);
        let people = step.and_then(|step| step.guard.as_deref()?.people.as_deref());
        let Some(mut people) = people.cloned() else { return false };
        change(&mut people);
        people.open().next().is_none()
    }

    /// The fallbacks of all that are due.
    pub(super) fn approvals_overdue(&mut self, activation: ActivationId) {
        while let Some((attempt, asking)) = self.first_overdue(activation) {
            let policy = Arc::clone(&asking.ask.policy);
            let complete = self.would_be_enough(activation, |people| {
                if let Some(asking) = people.asked.get_mut(&policy) {
                    asking.overdue = true;
                }
            });
            self.record(Event::ApprovalOverdue { activation, attempt, policy, complete });
            if let Some(remedy @ (Remedy::Escalate(_) | Remedy::Review(_))) =
                asking.ask.fallback.clone()
            {
                self.record(Event::StepRemedied {
                    activation,
                    attempt,
                    remedy,
                    arguments: None,
                    complete: false,
                });
            }
            if complete {
                return;
            }
        }
    }

    fn first_overdue(&self, activation: ActivationId) -> Option<(Attempt, Asking)> {
        let step = self.instance.guarded_step(activation)?;
        let mut open = step.guard.as_deref()?.waits_for()?.open();
        let overdue = open
            .find(|asking| !asking.overdue && asking.ask.due.is_some_and(|due| due <= self.now));
        Some((step.attempt, overdue?.clone()))
    }
}
