//! What a guarded step is after policies were asked.

use alloc::{boxed::Box, collections::BTreeSet, sync::Arc};

use super::get_mut;
use crate::{
    approval::{Answer, Ask, Asking},
    guard::{Case, Guard, Judgement, People, Remedy, Standing, Verdict, sameness},
    id::{ActivationId, Attempt, Timestamp},
    instance::{Instance, Phase, Step},
    json::Json,
    limits,
};

/// A new attempt begins with a guard of its own, or without one. What was done for an earlier one is done.
pub(super) fn set(instance: &mut Instance, id: ActivationId, guarded: bool, facts: Option<&Json>) {
    let Some(step) = step(instance, id) else { return };
    let before = step.guard.take().filter(|_| guarded);
    step.guard = guarded.then(|| {
        let mut guard = before.unwrap_or_else(|| {
            Box::new(Guard {
                facts: Json::null(),
                standing: Standing::Unjudged,
                remedies: BTreeSet::new(),
                people: None,
                function: None,
            })
        });
        if let Some(facts) = facts {
            guard.facts = facts.clone();
        }
        guard.standing = Standing::Unjudged;
        guard.function = None;
        guard
    });
}

pub(super) fn judged(instance: &mut Instance, id: ActivationId, judgement: &Judgement) {
    let allowed = judgement.verdict == Verdict::Allow;
    if let Some(guard) = guard(step(instance, id)) {
        guard.standing = if allowed { Standing::Allowed } else { Standing::Held };
        guard.function = allowed.then(|| Arc::clone(&judgement.function));
    }
    let first = step(instance, id).filter(|step| allowed && step.attempt == Attempt::FIRST);
    if let Some(step) = first {
        let hash = sameness(&judgement.function, &step.arguments);
        turn(&mut instance.case, hash);
    }
    if allowed {
        flow(&mut instance.case.taint, &judgement.classes);
    }
}

/// One more step goes out.
fn turn(case: &mut Case, hash: u64) {
    case.turns = case.turns.saturating_add(1);
    if case.seen.len() < limits::SEEN_MAX || case.seen.contains_key(&hash) {
        *case.seen.entry(hash).or_default() += 1;
    }
}

pub(super) fn remedied(
    instance: &mut Instance,
    id: ActivationId,
    remedy: &Remedy,
    arguments: Option<&Json>,
    complete: bool,
) {
    let Some(step) = step(instance, id) else { return };
    if let Some(arguments) = arguments {
        step.arguments = arguments.clone();
    }
    if let Some(guard) = guard(Some(step)) {
        guard.remedies.insert(remedy.clone());
        if complete {
            guard.standing = Standing::Unjudged;
        }
    }
}

/// What people were asked about something else is void.
pub(super) fn asked(instance: &mut Instance, id: ActivationId, ask: &Arc<Ask>, at: Timestamp) {
    let Some(guard) = guard(step(instance, id)) else { return };
    let people = guard.people.get_or_insert_default();
    if people.digest().is_some_and(|digest| digest != ask.digest) {
        **people = People::default();
    }
    let asking = Asking { ask: Arc::clone(ask), asked_at: at, overdue: false };
    people.asked.insert(Arc::clone(&ask.policy), asking);
}

pub(super) fn claimed(
    instance: &mut Instance,
    id: ActivationId,
    group: &Arc<str>,
    by: Option<&Arc<str>>,
) {
    if let Some(people) = people(instance, id) {
        match by {
            Some(by) => people.claims.insert(Arc::clone(group), Arc::clone(by)),
            None => people.claims.remove(group),
        };
    }
}

pub(super) fn answered(
    instance: &mut Instance,
    id: ActivationId,
    group: &Arc<str>,
    answer: &Answer,
    (approves, complete): (bool, bool),
) {
    if let Some(people) = people(instance, id) {
        people.claims.remove(group);
        if approves {
            people.answers.entry(Arc::clone(group)).or_default().push(answer.clone());
        }
    }
    ask_again(instance, id, complete);
}

pub(super) fn overdue(instance: &mut Instance, id: ActivationId, policy: &str, complete: bool) {
    if let Some(people) = people(instance, id)
        && let Some(asking) = people.asked.get_mut(policy)
    {
        asking.overdue = true;
        // Who works on it was not in time.
        let group = Arc::clone(&asking.ask.group);
        people.claims.remove(&group);
    }
    ask_again(instance, id, complete);
}

pub(super) fn voided(instance: &mut Instance, id: ActivationId) {
    if let Some(guard) = guard(step(instance, id)) {
        guard.people = None;
    }
    ask_again(instance, id, true);
}

fn ask_again(instance: &mut Instance, id: ActivationId, complete: bool) {
    if complete && let Some(guard) = guard(step(instance, id)) {
        guard.standing = Standing::Unjudged;
    }
}

fn people(instance: &mut Instance, id: ActivationId) -> Option<&mut People> {
    guard(step(instance, id))?.people.as_deref_mut()
}

/// A worker has answered.
pub(super) fn done(instance: &mut Instance, id: ActivationId) {
    let function = guard(step(instance, id)).and_then(|guard| guard.function.take());
    instance.case.done.extend(function);
}

/// Classes of data flow into a case.
pub(super) fn flow<'c>(
    taint: &mut BTreeSet<Arc<str>>,
    classes: impl IntoIterator<Item = &'c Arc<str>>,
) {
    for class in classes {
        if taint.len() < limits::TAINT_MAX {
            taint.insert(Arc::clone(class));
        } else if !taint.contains(class) {
            taint.insert(Arc::from(limits::TAINT_BEYOND));
        }
    }
}

fn step(instance: &mut Instance, id: ActivationId) -> Option<&mut Step> {
    if let Phase::Step(step) = &mut get_mut(instance, id).phase { Some(step) } else { None }
}

fn guard(step: Option<&mut Step>) -> Option<&mut Guard> {
    step?.guard.as_deref_mut()
}
