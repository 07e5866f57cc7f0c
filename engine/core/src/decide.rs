//! From a command to the events that follow from it.
//!
//! A decision first looks whether it may refuse, and only then records: each event is applied as it is recorded, so
//! that the next one is decided on what is then true. All that expressions say goes into the events.

mod approve;
mod compensate;
mod enter;
mod events;
mod flow;
mod guard;
mod halt;
mod once;
mod raise;
mod scope;

use alloc::{sync::Arc, vec::Vec};

use self::enter::Entry;
pub use self::events::child_cancelled;
use crate::{
    apply::apply,
    approval::Answer,
    command::{Command, Rejection, Timer},
    error::Error,
    evaluate::{Evaluator, Scope},
    event::{Cause, Event, Report, Started},
    id::{ActivationId, Attempt, Duration, InstanceId, TaskId, Timestamp},
    instance::{Activation, Instance, Phase},
    json::Json,
    limits,
    workflow::{Kind, Task, Workflow},
};

/// A new instance and its first events.
///
/// # Errors
/// [`Rejection::InvalidInput`] with the workflow's own words when the input does not fit.
///
/// # Panics
/// When the workflow has no task at all: a compiled one has its document.
pub fn start(
    workflow: &Workflow,
    evaluator: &dyn Evaluator,
    id: InstanceId,
    started: Arc<Started>,
    now: Timestamp,
) -> Result<(Instance, Vec<Event>), (Rejection, Error)> {
    let mut instance = Instance::new(id, started, now);
    let root = root_entry(workflow, evaluator, &instance, now)
        .map_err(|error| (Rejection::InvalidInput, error))?;
    let started = Event::InstanceStarted(Arc::clone(&instance.started));
    let mut decision = Decision::new(&mut instance, workflow, evaluator, now);
    decision.keep(started);
    decision.record(root);
    decision.advance();
    let events = decision.events;
    Ok((instance, events))
}

/// Brings `instance` to after `command` and says what happened. `now` never goes back. The evaluator is for this decision
/// alone: what it has spent counts.
///
/// # Errors
/// A [`Rejection`]; the instance is as it was.
#[expect(clippy::too_many_lines, reason = "one arm for each command")]
pub fn decide(
    instance: &mut Instance,
    workflow: &Workflow,
    evaluator: &dyn Evaluator,
    now: Timestamp,
    command: Command,
) -> Result<Vec<Event>, Rejection> {
    match command {
        Command::Rerun { .. } => expect_ended(instance)?,
        // Whether it has happened is found out when it is, most often later.
        Command::ResolveKey { .. } => {}
        Command::Continue
        | Command::CompleteStep { .. }
        | Command::FailStep { .. }
        | Command::Judge { .. }
        | Command::ClaimApproval { .. }
        | Command::AnswerApproval { .. }
        | Command::VoidApprovals { .. }
        | Command::SettleKey { .. }
        | Command::HaltStep { .. }
        | Command::RearmStep { .. }
        | Command::FireTimer { .. }
        | Command::Cancel { .. }
        | Command::Terminate { .. }
        | Command::Suspend { .. }
        | Command::Resume
        | Command::TakeEvent { .. }
        | Command::PublishedEvent { .. }
        | Command::EndChild { .. } => expect_open(instance)?,
    }
    let mut decision = Decision::new(instance, workflow, evaluator, now);
    match command {
        Command::Continue => {
            if decision.instance.suspended || decision.instance.ready.is_empty() {
                return Err(Rejection::Idle);
            }
        }
        Command::CompleteStep { activation, attempt, output, report }
            if halt::is_late(decision.instance, activation, attempt) =>
        {
            let result = Ok(output);
            decision.record(Event::ResultFenced { activation, attempt, result, report });
        }
        Command::FailStep { activation, attempt, error, report, .. }
            if halt::is_late(decision.instance, activation, attempt) =>
        {
            let result = Err(error);
            decision.record(Event::ResultFenced { activation, attempt, result, report });
        }
        Command::CompleteStep { activation, attempt, output, report } => {
            expect_step(decision.instance, activation, attempt)?;
            decision.record(Event::StepCompleted { activation, attempt, output, report });
        }
        Command::FailStep { activation, attempt, error, retryable, report } => {
            expect_step(decision.instance, activation, attempt)?;
            decision.fail_step(activation, attempt, error, retryable, report);
        }
        Command::Judge { activation, attempt, judgement } => {
            guard::expect_unjudged(decision.instance, activation, attempt)?;
            decision.judge(activation, attempt, &judgement);
        }
        Command::ClaimApproval { activation, group, by, release } => {
            approve::expect_claimable(decision.instance, activation, &group, &by, release)?;
            let by = (!release).then_some(by);
            decision.record(Event::ApprovalClaimed { activation, group, by });
        }
        Command::VoidApprovals { activation, set } => {
            let attempt = approve::expect_asked_by_another(decision.instance, activation, set)?;
            decision.record(Event::ApprovalsVoided { activation, attempt });
        }
        Command::AnswerApproval { activation, group, digest, by, approves, reason } => {
            let attempt =
                approve::expect_answerable(decision.instance, activation, &group, digest, &by)?;
            let answer = Answer { by, reason, at: now };
            decision.answer_approval(activation, attempt, &group, answer, approves);
        }
        Command::SettleKey { activation, attempt, answer } => {
            once::expect_claiming(decision.instance, activation, attempt)?;
            decision.settle_key(activation, attempt, answer);
        }
        Command::ResolveKey { activation, happened, by, reason } => {
            once::expect_unknown(decision.instance, activation)?;
            decision.record(Event::KeyResolved { activation, happened, by, reason });
        }
        Command::HaltStep { activation, attempt, switch } => {
            expect_step(decision.instance, activation, attempt)?;
            decision.record(Event::StepHalted { activation, attempt, switch });
        }
        Command::RearmStep { activation, attempt } => {
            halt::expect_halted(decision.instance, activation, attempt)?;
            decision.begin_attempt(activation, attempt.next());
        }
        Command::FireTimer { activation, timer } => {
            expect_timer(decision.instance, activation, timer, now)?;
            decision.fire(activation, timer);
        }
        Command::Cancel { reason } => {
            if decision.instance.compensating.is_some() {
                return Err(Rejection::InstanceCompensating);
            }
            decision.cancel(reason, false);
        }
        Command::Terminate { reason } => decision.cancel(reason, true),
        Command::Suspend { reason } => {
            if decision.instance.suspended {
                return Err(Rejection::InstanceSuspended);
            }
            decision.record(Event::InstanceSuspended { reason });
        }
        Command::Resume => {
            if !decision.instance.suspended {
                return Err(Rejection::InstanceNotSuspended);
            }
            decision.record(Event::InstanceResumed);
        }
        Command::Rerun { task, input, context } => {
            if !workflow.is_outermost(task) {
                return Err(Rejection::UnknownTask);
            }
            let root = root_entry(workflow, evaluator, decision.instance, now)
                .map_err(|_| Rejection::InvalidInput)?;
            decision.record(Event::InstanceRerun { task, input, context });
            decision.record(root);
        }
        Command::TakeEvent { event, origin, listener } => {
            decision.take_event(&event, &origin, listener)?;
        }
        Command::PublishedEvent { activation } => {
            expect_waiting(decision.instance, activation, |phase| matches!(phase, Phase::Emit(_)))?;
            decision.record(Event::EventPublished { activation });
        }
        Command::EndChild { activation, result, carried } => {
            expect_waiting(decision.instance, activation, |phase| {
                matches!(phase, Phase::Child { .. })
            })?;
            decision.end_child(activation, result, carried);
        }
    }
    decision.advance();
    Ok(decision.events)
}

fn expect_open(instance: &Instance) -> Result<(), Rejection> {
    if instance.ended.is_some() { Err(Rejection::InstanceEnded) } else { Ok(()) }
}

fn expect_ended(instance: &Instance) -> Result<(), Rejection> {
    if instance.ended.is_none() { Err(Rejection::InstanceOpen) } else { Ok(()) }
}

fn expect_step(
    instance: &Instance,
    activation: ActivationId,
    attempt: Attempt,
) -> Result<(), Rejection> {
    let found = instance.activations.get(&activation);
    let step =
        found.and_then(|activation| activation.phase.step()).ok_or(Rejection::UnknownStep)?;
    // Between two attempts, the one that is answered has been answered.
    let open = found.and_then(|activation| activation.open_step()).is_some();
    if open && step.attempt == attempt { Ok(()) } else { Err(Rejection::StaleAttempt) }
}

fn expect_timer(
    instance: &Instance,
    id: ActivationId,
    timer: Timer,
    now: Timestamp,
) -> Result<(), Rejection> {
    let at = instance.activations.get(&id).and_then(|activation| activation.timer(timer));
    if at.is_none_or(|at| at > now) {
        return Err(Rejection::StaleTimer);
    }
    // Time stands still, but answers count. Resuming sets the timers again.
    if instance.suspended { Err(Rejection::InstanceSuspended) } else { Ok(()) }
}

fn expect_waiting(
    instance: &Instance,
    id: ActivationId,
    wanted: impl FnOnce(&Phase) -> bool,
) -> Result<(), Rejection> {
    let found = instance.activations.get(&id).filter(|activation| activation.ready.is_none());
    if found.is_some_and(|activation| wanted(&activation.phase)) {
        Ok(())
    } else {
        Err(Rejection::NotAwaited)
    }
}

/// The document itself is entered: the same way whenever it is, because only the input has a say.
fn root_entry(
    workflow: &Workflow,
    evaluator: &dyn Evaluator,
    instance: &Instance,
    now: Timestamp,
) -> Result<Event, Error> {
    let root = workflow.tasks.first().expect("a compiled workflow has its document as first task");
    let begun = Instance::new(instance.id, Arc::clone(&instance.started), instance.started_at);
    let scope = Scope {
        workflow,
        instance: &begun,
        value: &begun.started.input,
        input: None,
        output: None,
        task: None,
        variables: &[],
    };
    let entry = Entry::of(root, evaluator, &scope, now).map_err(|error| error.at(&root.pointer))?;
    Ok(Event::TaskEntered {
        activation: ActivationId::ROOT,
        parent: ActivationId::ROOT,
        task: TaskId::ROOT,
        raw_input: None,
        input: entry.input,
        deadline: entry.deadline,
        branch: 0,
    })
}

/// A decision in the making.
struct Decision<'a> {
    instance: &'a mut Instance,
    workflow: &'a Workflow,
    evaluator: &'a dyn Evaluator,
    now: Timestamp,
    events: Vec<Event>,
    /// Bytes of values that the events hold.
    bytes: usize,
}

impl<'a> Decision<'a> {
    fn new(
        instance: &'a mut Instance,
        workflow: &'a Workflow,
        evaluator: &'a dyn Evaluator,
        now: Timestamp,
    ) -> Self {
        Self { instance, workflow, evaluator, now, events: Vec::new(), bytes: 0 }
    }

    fn record(&mut self, event: Event) {
        apply(self.instance, &event, self.now);
        self.keep(event);
    }

    fn keep(&mut self, event: Event) {
        self.bytes += size(&event);
        self.events.push(event);
    }

    /// Goes on until everything waits, the instance has ended, or this decision is long enough.
    fn advance(&mut self) {
        while !self.instance.suspended
            && self.events.len() < limits::EVENTS_PER_DECISION
            && self.bytes < limits::BYTES_PER_DECISION
            && self.evaluator.spent() < limits::WORK_PER_DECISION
        {
            let Some(id) = self.instance.ready.first().copied() else { return };
            self.evaluator.refill();
            self.proceed(id);
        }
    }

    fn activation(&self, id: ActivationId) -> &Activation {
        self.instance.activations.get(&id).expect("what is decided about is open")
    }

    fn task(&self, id: ActivationId) -> &'a Task {
        self.workflow
            .task(self.activation(id).task)
            .expect("activations are of tasks of their workflow")
    }

    fn fail_step(
        &mut self,
        activation: ActivationId,
        attempt: Attempt,
        error: Error,
        retryable: bool,
        report: Report,
    ) {
        let task = self.task(activation);
        let attempts_max =
            if let Kind::Step { attempts_max, .. } = task.kind { attempts_max } else { 1 };
        let retry_at =
            (retryable && attempt.0 < attempts_max).then(|| self.now.plus(step_backoff(attempt)));
        let error = error.at(&task.pointer);
        self.record(Event::StepFailed { activation, attempt, error, retry_at, report });
    }

    fn fire(&mut self, id: ActivationId, timer: Timer) {
        match timer {
            Timer::Deadline => self.fault(id, Error::timeout().at(&self.task(id).pointer)),
            Timer::Due if self.instance.guarded_step(id).is_some() => self.approvals_overdue(id),
            Timer::Due => {
                if let Some(step) = self.activation(id).phase.step() {
                    self.begin_attempt(id, step.attempt.next());
                } else {
                    let output = self.tick_of(id);
                    self.record(Event::TimerFired { activation: id, output });
                }
            }
        }
    }

    /// One more attempt at a step.
    fn begin_attempt(&mut self, id: ActivationId, attempt: Attempt) {
        let step = self.activation(id).phase.step();
        let is_guarded = step.is_some_and(|step| step.guard.is_some());
        let guarded = self.evaluator.guards();
        let facts = if guarded && !is_guarded { self.facts(id) } else { Ok(None) };
        match facts {
            Ok(facts) => self.record(Event::StepScheduled {
                activation: id,
                attempt,
                arguments: None,
                guarded,
                facts,
                once: None,
            }),
            Err(error) => self.fault(id, error),
        }
    }

    /// The time that a schedule has come to.
    fn tick_of(&self, id: ActivationId) -> Option<Json> {
        let at = self.activation(id).phase.due()?;
        matches!(self.task(id).kind, Kind::Tick { .. })
            .then(|| Json::from_text(alloc::format!("{}", at.0)))
    }

    fn cancel(&mut self, reason: Arc<str>, terminated: bool) {
        self.cancel_steps(ActivationId::ROOT);
        if terminated || self.instance.compensations.is_empty() {
            self.record(Event::InstanceCancelled { reason, terminated });
        } else {
            self.record(Event::CompensationStarted { cause: Cause::Cancelled(reason) });
        }
    }

    /// The steps and children of an activation and of all inside it are no longer wanted.
    fn cancel_steps(&mut self, id: ActivationId) {
        let mut inside = self.instance.below(id);
        inside.push(id);
        for activation in inside {
            if let Some(attempt) = self.instance.open_step(activation).map(|step| step.attempt) {
                self.record(Event::StepCancelled { activation, attempt });
            } else if let Some((child, true)) = self.instance.open_child(activation) {
                self.record(Event::ChildCancelled { activation, child });
            }
        }
    }
}

/// How long a step waits after an attempt before the next one: doubles from attempt to attempt, up to a bound.
pub fn step_backoff(attempt: Attempt) -> Duration {
    let doublings = attempt.0.saturating_sub(1).min(16);
    Duration((limits::STEP_BACKOFF_MS << doublings).min(limits::STEP_BACKOFF_MAX_MS))
}

/// Bytes of the values and texts that an event holds.
fn size(event: &Event) -> usize {
    let value = |value: &Option<Json>| value.as_ref().map_or(0, |value| value.len());
    match event {
        Event::InstanceStarted(started) => started.input.len(),
        Event::TaskEntered { raw_input, input, .. } => value(raw_input) + value(input),
        Event::TaskCompleted { output, context, .. } => value(output) + value(context),
        Event::StepScheduled { arguments, facts, once, .. } => {
            let key = once.as_ref().map_or(0, |once| once.text.len());
            value(arguments) + value(facts) + key
        }
        Event::KeyResolved { by, reason, .. } => by.len() + reason.len(),
        Event::StepJudged { judgement, .. } => judgement.question.len(),
        Event::StepRemedied { arguments, .. } => value(arguments),
        Event::ApprovalAsked { ask, .. } => ask.reason.as_ref().map_or(0, |reason| reason.len()),
        Event::ApprovalAnswered { answer, .. } => answer.by.len() + answer.reason.len(),
        Event::TimerFired { output, .. } => value(output),
        Event::StepCompleted { output, .. }
        | Event::KeyAttached { output, .. }
        | Event::InstanceCompleted { output } => output.len(),
        Event::LoopStarted { items, .. } | Event::MapStarted { items, .. } => {
            items.iter().map(|item| item.len()).sum()
        }
        Event::MapItemFaulted { error, output, .. } => error.bytes() + output.len(),
        Event::InstanceRerun { input, context, .. } => input.len() + context.len(),
        Event::TaskFaulted { error, .. }
        | Event::StepFailed { error, .. }
        | Event::ErrorCaught { error, .. }
        | Event::RetryScheduled { error, .. }
        | Event::CompensationFailed { error }
        | Event::InstanceFaulted { error } => error.bytes(),
        Event::InstanceSuspended { reason } | Event::InstanceCancelled { reason, .. } => {
            reason.len()
        }
        Event::EventEmitted { event, .. } => event.len(),
        Event::ListenStarted { correlation, .. } => correlation.values().map(|v| v.len()).sum(),
        Event::EventTaken { value: taken, correlation, event, .. } => {
            value(taken)
                + correlation.values().map(|v| v.len()).sum::<usize>()
                + event.id.len()
                + event.source.len()
                + event.kind.len()
        }
        Event::ListenIterationEnded { output, context, .. } => output.len() + value(context),
        Event::ChildStarted { input, .. } | Event::CompensationKept { input, .. } => input.len(),
        Event::CompensationStarted { cause } => match cause {
            Cause::Faulted(error) => error.bytes(),
            Cause::Cancelled(reason) => reason.len(),
        },
        Event::ChildEnded { result, .. } | Event::ResultFenced { result, .. } => match result {
            Ok(output) => output.len(),
            Err(error) => error.bytes(),
        },
        Event::TaskSkipped { .. }
        | Event::StepHalted { .. }
        | Event::KeyClaimed { .. }
        | Event::ApprovalClaimed { .. }
        | Event::ApprovalOverdue { .. }
        | Event::ApprovalsVoided { .. }
        | Event::StepCancelled { .. }
        | Event::TimerStarted { .. }
        | Event::LoopIterated { .. }
        | Event::ForkStarted { .. }
        | Event::InstanceResumed
        | Event::EventPublished { .. }
        | Event::ListenIterated { .. }
        | Event::ChildCancelled { .. } => 0,
    }
}
