//! The only place where an instance changes. It decides nothing, and reads neither the workflow nor an expression.

mod compensate;
mod events;
mod guard;
mod map;
mod once;

use alloc::{boxed::Box, sync::Arc, vec};

use crate::{
    error::Error,
    event::{Event, Next},
    guard::Verdict,
    id::{ActivationId, Attempt, TaskId, Timestamp},
    instance::{Activation, Compensation, End, Halt, Instance, Phase, Ready, Step, Try},
    json::Json,
    once::{Claim, Key},
};

/// Brings `instance` to after `event`, which happened at `at`.
///
/// # Panics
/// When the event does not follow from the instance: the log's hash chain rules that out, and going on would be worse.
#[expect(clippy::too_many_lines, reason = "one arm for each event")]
pub fn apply(instance: &mut Instance, event: &Event, at: Timestamp) {
    instance.updated_at = at;
    instance.events += 1;
    match event {
        Event::InstanceStarted(_) => unreachable!("an instance starts once: Instance::new"),
        Event::TaskEntered { activation, parent, task, raw_input, input, deadline, branch } => {
            let raw_input =
                raw_input.clone().unwrap_or_else(|| value_of(instance, *activation, *parent));
            let input = input.clone().unwrap_or_else(|| raw_input.clone());
            let entered = Activation {
                branch: *branch,
                deadline: *deadline,
                ..fresh(*task, *parent, raw_input, input, at)
            };
            if instance.compensating.is_some() && *activation != ActivationId::ROOT {
                compensate::entered(instance, *parent);
            }
            enter(instance, *activation, entered);
        }
        Event::TaskSkipped { parent, task: _, next } => skip(instance, *parent, *next),
        Event::TaskCompleted { activation, output, context, next } => {
            if let Some(context) = context {
                instance.context = context.clone();
            }
            complete(instance, *activation, output.as_ref(), *next);
        }
        Event::TaskFaulted { activation, error } => fault(instance, *activation, error),
        Event::StepScheduled { activation, attempt, arguments, guarded, facts, once } => {
            schedule(instance, *activation, *attempt, (arguments.as_ref(), once.as_ref()), at);
            guard::set(instance, *activation, *guarded, facts.as_ref());
        }
        Event::KeyClaimed { activation, attempt: _, guarded } => {
            once::claimed(instance, *activation, *guarded);
        }
        Event::KeyAttached { activation, attempt: _, by: _, output } => {
            get_mut(instance, *activation).value = output.clone();
            answer(instance, *activation, Ready::Exit);
        }
        Event::KeyResolved { activation, happened, .. } => {
            once::resolved(instance, *activation, *happened);
        }
        Event::StepJudged { activation, attempt: _, judgement } => {
            if judgement.verdict == Verdict::Allow {
                once::sent_out(instance, *activation);
            }
            guard::judged(instance, *activation, judgement);
        }
        Event::StepRemedied { activation, attempt: _, remedy, arguments, complete } => {
            guard::remedied(instance, *activation, remedy, arguments.as_ref(), *complete);
        }
        Event::ApprovalAsked { activation, attempt: _, ask } => {
            guard::asked(instance, *activation, ask, at);
        }
        Event::ApprovalClaimed { activation, group, by } => {
            guard::claimed(instance, *activation, group, by.as_ref());
        }
        Event::ApprovalAnswered { activation, attempt: _, group, answer, approves, complete } => {
            guard::answered(instance, *activation, group, answer, (*approves, *complete));
        }
        Event::ApprovalOverdue { activation, attempt: _, policy, complete } => {
            guard::overdue(instance, *activation, policy, *complete);
        }
        Event::ApprovalsVoided { activation, attempt: _ } => guard::voided(instance, *activation),
        Event::StepCompleted { activation, attempt: _, output, report } => {
            instance.case.cost = instance.case.cost.saturating_add(report.cost);
            guard::done(instance, *activation);
            once::done(instance, *activation, output);
            get_mut(instance, *activation).value = output.clone();
            answer(instance, *activation, Ready::Exit);
        }
        Event::StepFailed { activation, attempt: _, error, retry_at, report } => {
            instance.case.cost = instance.case.cost.saturating_add(report.cost);
            if retry_at.is_none() {
                answer(instance, *activation, Ready::Raise(error.clone()));
            } else if let Phase::Step(step) = &mut get_mut(instance, *activation).phase {
                step.retry_at = *retry_at;
            }
        }
        Event::StepHalted { activation, attempt: _, switch } => {
            if let Phase::Step(step) = &mut get_mut(instance, *activation).phase {
                step.halt = Some(Box::new(Halt { switch: Arc::clone(switch), answered: false }));
            }
        }
        Event::ResultFenced { activation, attempt: _, result: _, report } => {
            instance.case.cost = instance.case.cost.saturating_add(report.cost);
            if let Phase::Step(step) = &mut get_mut(instance, *activation).phase
                && let Some(halt) = &mut step.halt
            {
                halt.answered = true;
            }
        }
        Event::StepCancelled { activation, attempt: _ }
        | Event::ChildCancelled { activation, child: _ } => {
            get_mut(instance, *activation).phase = Phase::Plain;
        }
        Event::TimerStarted { activation, fire_at } => {
            get_mut(instance, *activation).phase = Phase::Timer(*fire_at);
            set_ready(instance, *activation, None);
        }
        Event::TimerFired { activation, output } => fire(instance, *activation, output.as_ref()),
        Event::LoopStarted { activation, items } => {
            get_mut(instance, *activation).phase = Phase::Loop { items: items.clone(), next: 0 };
            set_ready(instance, *activation, Some(Ready::Exit));
        }
        Event::LoopIterated { activation, index } => {
            if let Phase::Loop { next, .. } = &mut get_mut(instance, *activation).phase {
                *next = index + 1;
            }
            set_ready(instance, *activation, Some(Ready::Body));
        }
        Event::ForkStarted { activation, branches, compete } => {
            start_fork(instance, *activation, *branches, *compete);
        }
        Event::MapStarted { activation, items, concurrency, collect } => {
            map::begin(instance, *activation, items, *concurrency, *collect);
        }
        Event::MapItemFaulted { activation, error: _, output } => {
            map::fault(instance, *activation, output);
        }
        Event::ErrorCaught { activation, error } => {
            let failed = failed_try(instance, *activation);
            begin_again(instance, *activation, Try { caught: Some(error.clone()), ..failed });
            set_ready(instance, *activation, Some(Ready::Body));
        }
        Event::RetryScheduled { activation, attempt, error: _, fire_at } => {
            let mut failed = failed_try(instance, *activation);
            failed.failures = attempt.0;
            failed.first_failed_at.get_or_insert(at);
            failed.retry_at = Some(*fire_at);
            begin_again(instance, *activation, failed);
            set_ready(instance, *activation, None);
        }
        Event::InstanceSuspended { reason } => {
            instance.suspended = true;
            instance.reason = Some(Arc::clone(reason));
        }
        Event::InstanceResumed => {
            instance.suspended = false;
            instance.reason = None;
        }
        Event::InstanceCompleted { output } => end(instance, at, End::Completed(output.clone())),
        Event::InstanceFaulted { error } => end(instance, at, End::Faulted(error.clone())),
        Event::InstanceCancelled { reason, terminated } => {
            instance.reason = Some(Arc::clone(reason));
            if *terminated {
                once::given_up(instance);
            }
            end(instance, at, End::Cancelled);
        }
        Event::InstanceRerun { task, input, context } => rerun(instance, *task, input, context, at),
        Event::EventEmitted { activation, event } => {
            get_mut(instance, *activation).phase = Phase::Emit(event.clone());
            set_ready(instance, *activation, None);
        }
        Event::EventPublished { activation } => events::published(instance, *activation),
        Event::ListenStarted { activation, correlation, each } => {
            events::listen(instance, *activation, correlation, *each);
        }
        Event::EventTaken { activation, filter, value, correlation, event, over } => {
            events::note(instance, event);
            let heard = events::Heard { filter: *filter, value, correlation, over: *over };
            events::hear(instance, *activation, &heard);
        }
        Event::ListenIterated { activation, index } => {
            events::begin_pass(instance, *activation, *index);
        }
        Event::ListenIterationEnded { activation, output, context } => {
            if let Some(context) = context {
                instance.context = context.clone();
            }
            events::end_pass(instance, *activation, output);
        }
        Event::ChildStarted { activation, child, workflow: _, input: _, awaited } => {
            get_mut(instance, *activation).phase = Phase::Child { id: *child, awaited: *awaited };
            set_ready(instance, *activation, None);
        }
        Event::ChildEnded { activation, result, carried } => {
            guard::flow(&mut instance.case.taint, &carried.taint);
            instance.case.cost = instance.case.cost.saturating_add(carried.cost);
            let ready = match result {
                Ok(output) => {
                    get_mut(instance, *activation).value = output.clone();
                    Ready::Exit
                }
                Err(error) => Ready::Raise(error.clone()),
            };
            answer(instance, *activation, ready);
        }
        Event::CompensationKept { activation, task, input } => {
            once::undoable(instance, *activation);
            instance.compensations.push(Compensation { task: *task, input: input.clone() });
        }
        Event::CompensationStarted { cause } => compensate::begin(instance, cause),
        Event::CompensationFailed { error } => compensate::fail(instance, error),
    }
}

fn get(instance: &Instance, id: ActivationId) -> &Activation {
    instance.activations.get(&id).expect("events are recorded of open activations only")
}

fn get_mut(instance: &mut Instance, id: ActivationId) -> &mut Activation {
    instance.activations.get_mut(&id).expect("events are recorded of open activations only")
}

fn value_of(instance: &Instance, entered: ActivationId, parent: ActivationId) -> Json {
    if entered == ActivationId::ROOT {
        return instance.started.input.clone();
    }
    get(instance, parent).value.clone()
}

fn set_ready(instance: &mut Instance, id: ActivationId, ready: Option<Ready>) {
    if ready.is_some() {
        instance.ready.insert(id);
    } else {
        instance.ready.remove(&id);
    }
    get_mut(instance, id).ready = ready;
}

fn fresh(
    task: TaskId,
    parent: ActivationId,
    raw_input: Json,
    input: Json,
    at: Timestamp,
) -> Activation {
    Activation {
        task,
        parent,
        branch: 0,
        raw_input,
        value: input.clone(),
        input,
        started_at: at,
        deadline: None,
        ready: None,
        phase: Phase::Plain,
    }
}

fn enter(instance: &mut Instance, id: ActivationId, mut entered: Activation) {
    let mut ready = Some(Ready::Begin);
    if id != ActivationId::ROOT {
        leave_entry(instance, entered.parent);
    } else if let Some(root) = instance.activations.remove(&id) {
        // A rerun has said where it goes on, and with what.
        entered.value = root.value;
        ready = root.ready;
    }
    instance.activations.insert(id, Box::new(entered));
    // Numbers are never used again, not even after a rerun.
    instance.next_activation = instance.next_activation.max(id.next());
    set_ready(instance, id, ready);
}

/// The parent has entered a task: a fork goes on to its next branch and a map to its next item, anything else waits.
fn leave_entry(instance: &mut Instance, parent: ActivationId) {
    let mut ready = None;
    if let Phase::Fork { entered, results, .. } = &mut get_mut(instance, parent).phase {
        *entered += 1;
        ready = ((*entered as usize) < results.len()).then_some(Ready::Branch);
    } else if let Phase::Map(mapping) = &mut get_mut(instance, parent).phase {
        mapping.entered += 1;
        ready = mapping.has_room().then_some(Ready::Branch);
    }
    set_ready(instance, parent, ready);
}

fn skip(instance: &mut Instance, parent: ActivationId, next: Next) {
    if let Phase::Fork { entered: branch, .. } = get(instance, parent).phase {
        leave_entry(instance, parent);
        settle_branch(instance, parent, branch, None);
    } else if let Some(index) = get(instance, parent).phase.mapping().map(|map| map.entered) {
        leave_entry(instance, parent);
        let output = get(instance, parent).value.clone();
        map::settle(instance, parent, index, output);
    } else {
        follow(instance, parent, next);
    }
}

fn complete(instance: &mut Instance, id: ActivationId, output: Option<&Json>, next: Next) {
    let completed = get(instance, id);
    let Activation { parent, branch, .. } = *completed;
    let output = output.unwrap_or(&completed.value).clone();
    remove(instance, id);
    if next == Next::End {
        let root = ActivationId::ROOT;
        instance.activations.retain(|id, _| *id == root);
        instance.ready.clear();
        get_mut(instance, root).value = output;
        set_ready(instance, root, Some(Ready::Exit));
    } else if let Phase::Fork { .. } = get(instance, parent).phase {
        settle_branch(instance, parent, branch, Some(output));
    } else if let Phase::Map(_) = get(instance, parent).phase {
        map::settle(instance, parent, branch, output);
    } else {
        get_mut(instance, parent).value = output;
        follow(instance, parent, next);
    }
}

fn fault(instance: &mut Instance, id: ActivationId, error: &Error) {
    let parent = get(instance, id).parent;
    remove(instance, id);
    // What is decided stays decided: a race has its winner, and the first error is the one that counts.
    if !matches!(get(instance, parent).ready, Some(Ready::Exit | Ready::Raise(_))) {
        set_ready(instance, parent, Some(Ready::Raise(error.clone())));
    }
}

fn follow(instance: &mut Instance, parent: ActivationId, next: Next) {
    let ready = match next {
        Next::Task(task) => Ready::Enter(task),
        Next::Exit | Next::End => Ready::Exit,
    };
    set_ready(instance, parent, Some(ready));
}

fn start_fork(instance: &mut Instance, id: ActivationId, branches: u32, compete: bool) {
    let results = vec![None; branches as usize];
    let fork = get_mut(instance, id);
    fork.phase = Phase::Fork { compete, entered: 0, settled: 0, results };
    if branches == 0 {
        fork.value = Json::array([]);
    }
    let ready = if branches == 0 { Ready::Exit } else { Ready::Branch };
    set_ready(instance, id, Some(ready));
}

/// Without an output the branch was skipped: it hands on what came in, and does not win a race.
fn settle_branch(instance: &mut Instance, fork: ActivationId, branch: u32, output: Option<Json>) {
    let around = get_mut(instance, fork);
    let Phase::Fork { compete, settled, results, .. } = &mut around.phase else {
        return;
    };
    *settled += 1;
    let all = *settled as usize == results.len();
    let done = if *compete {
        let won = output.is_some();
        if let Some(output) = output {
            around.value = output;
        }
        won || all
    } else {
        results[branch as usize] = Some(output.unwrap_or_else(|| around.value.clone()));
        if all {
            around.value = Json::array(results.iter().flatten());
        }
        all
    };
    if done {
        set_ready(instance, fork, Some(Ready::Exit));
    }
}

fn schedule(
    instance: &mut Instance,
    id: ActivationId,
    attempt: Attempt,
    (arguments, once): (Option<&Json>, Option<&Key>),
    at: Timestamp,
) {
    let scheduled = get_mut(instance, id);
    let before = scheduled.phase.step();
    let arguments = arguments
        .unwrap_or_else(|| before.map_or(&scheduled.input, |step| &step.arguments))
        .clone();
    let guard = before.and_then(|step| step.guard.clone());
    let claim = |key: &Key| Box::new(Claim { key: key.clone(), held: false });
    let once = once.map(claim).or_else(|| before.and_then(|step| step.once.clone()));
    let (scheduled_at, retry_at, halt) = (at, None, None);
    scheduled.phase =
        Phase::Step(Step { attempt, arguments, scheduled_at, retry_at, guard, once, halt });
    set_ready(instance, id, None);
}

/// What it waited for came in time: its own timeout is over, however long it takes to go on.
fn answer(instance: &mut Instance, id: ActivationId, ready: Ready) {
    get_mut(instance, id).deadline = None;
    set_ready(instance, id, Some(ready));
}

fn fire(instance: &mut Instance, id: ActivationId, output: Option<&Json>) {
    let fired = get_mut(instance, id);
    if let Phase::Try(failed) = &mut fired.phase {
        failed.retry_at = None;
        set_ready(instance, id, Some(Ready::Body));
    } else {
        fired.phase = Phase::Plain;
        if let Some(output) = output {
            fired.value = output.clone();
        }
        answer(instance, id, Ready::Exit);
    }
}

fn failed_try(instance: &Instance, id: ActivationId) -> Try {
    get(instance, id).phase.failed_try().cloned().unwrap_or_default()
}

fn begin_again(instance: &mut Instance, id: ActivationId, failed: Try) {
    remove_below(instance, id);
    let around = get_mut(instance, id);
    around.value = around.input.clone();
    around.phase = Phase::Try(failed);
}

/// With all that is inside it.
fn remove(instance: &mut Instance, id: ActivationId) {
    remove_below(instance, id);
    instance.activations.remove(&id);
    instance.ready.remove(&id);
}

fn remove_below(instance: &mut Instance, id: ActivationId) {
    for inside in instance.below(id) {
        instance.activations.remove(&inside);
        instance.ready.remove(&inside);
    }
}

fn end(instance: &mut Instance, at: Timestamp, end: End) {
    instance.ended = Some((at, end));
    instance.suspended = false;
    let compensated = instance.compensating.take();
    once::ended(instance, compensated.is_some_and(|it| it.failed.is_empty()));
    if matches!(instance.ended, Some((_, End::Completed(_)))) {
        instance.compensations.clear();
    }
    instance.activations.clear();
    instance.ready.clear();
}

/// Its root is then entered again, for its input and timeout.
fn rerun(instance: &mut Instance, task: TaskId, input: &Json, context: &Json, at: Timestamp) {
    instance.ended = None;
    instance.reason = None;
    instance.context = context.clone();
    let raw_input = instance.started.input.clone();
    let root = fresh(TaskId::ROOT, ActivationId::ROOT, raw_input, input.clone(), at);
    instance.activations.insert(ActivationId::ROOT, Box::new(root));
    set_ready(instance, ActivationId::ROOT, Some(Ready::Enter(task)));
}
