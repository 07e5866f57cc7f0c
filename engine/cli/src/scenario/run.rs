//! One instance, decided by the core as in the engine, in a world that answers from the scenario.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use baton_core::{
    ActivationId, Attempt, Command, Duration, Effect, Error, Event, Instance, InstanceId, Json,
    TaskId, Timestamp, Workflow,
    command::Timer,
    event::{Report, Started},
    instance::{End, Status as Phase},
    workflow::Function,
};
use baton_dsl::Program;

use super::{
    answers::{Answer, Answers, Reaction},
    difference::{self, Extent},
    file::{Action, File, Scenario, Status},
    limits,
    report::iso,
};

/// What came of a scenario.
pub(super) struct Ran {
    pub(super) status: Status,
    pub(super) output: Option<Json>,
    pub(super) error: Option<Error>,
    /// In the order in which they were entered.
    pub(super) path: Vec<TaskId>,
    /// Steps that workers were asked for, whatever the number of their attempts.
    pub(super) calls: Vec<(Function, Json)>,
    /// By the scenario's clock, until the last thing that happened.
    pub(super) took: Duration,
    /// What did not go as the scenario says, on the way.
    pub(super) complaints: Vec<String>,
    /// It could not go on for one of these.
    pub(super) stuck: bool,
}

pub(super) fn run(file: &File, scenario: &Scenario, workflow: &Workflow, program: &Program) -> Ran {
    let started = Arc::new(Started {
        workflow: workflow.hash,
        name: workflow.name.clone(),
        input: scenario.input.clone(),
        key: Arc::from(""),
        labels: BTreeMap::new(),
        traceparent: Arc::from(""),
    });
    let now = scenario.started_at;
    match baton_core::start(workflow, program, instance_id(now), started, now) {
        Ok((instance, events)) => {
            let mut world = World {
                file,
                scenario,
                workflow,
                program,
                instance,
                now,
                timers: BTreeSet::new(),
                answers: BTreeMap::new(),
                turns: BTreeMap::new(),
                path: Vec::new(),
                calls: Vec::new(),
                complaints: Vec::new(),
                stuck: false,
                asked: 0,
            };
            world.follow(&events);
            world.live();
            world.end()
        }
        Err((_, error)) => Ran {
            status: Status::Refused,
            output: None,
            error: Some(error),
            path: Vec::new(),
            calls: Vec::new(),
            took: Duration(0),
            complaints: Vec::new(),
            stuck: false,
        },
    }
}

/// Always the same, so that jitter is, too: a `UUIDv7` of the start's time.
fn instance_id(at: Timestamp) -> InstanceId {
    let mut id = [0; 16];
    id[..6].copy_from_slice(&at.0.to_be_bytes()[2..]);
    (id[6], id[8], id[15]) = (0x70, 0x80, 1);
    InstanceId(id)
}

struct World<'s> {
    file: &'s File,
    scenario: &'s Scenario,
    workflow: &'s Workflow,
    program: &'s Program,
    instance: Instance,
    now: Timestamp,
    timers: BTreeSet<(Timestamp, ActivationId, Timer)>,
    /// When workers will have answered; of the same time, in the order in which they were asked.
    answers: BTreeMap<(Timestamp, u64), (ActivationId, Attempt, &'s Reaction)>,
    /// Attempts that workers were asked for.
    asked: u64,
    /// How many of the answers under a key were used, by the place of the key: the scenario's own first.
    turns: BTreeMap<usize, usize>,
    path: Vec<TaskId>,
    calls: Vec<(Function, Json)>,
    complaints: Vec<String>,
    stuck: bool,
}

/// What happens next, first what the engine would take first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Source {
    Action,
    Answer,
    Timer,
}

impl World<'_> {
    /// Until the instance has ended or nothing can happen any more.
    fn live(&mut self) {
        let mut actions = self.scenario.actions.iter().peekable();
        while self.settle() {
            let action = actions.peek().map(|(at, _)| self.scenario.started_at.plus(*at));
            let answer = self.answers.first_key_value().map(|((at, ..), _)| *at);
            let timer = self.timers.first().map(|(at, ..)| *at);
            let sources =
                [(action, Source::Action), (answer, Source::Answer), (timer, Source::Timer)];
            let next = sources.into_iter().filter_map(|(at, source)| Some((at?, source))).min();
            let Some((at, source)) = next else { return };
            self.now = self.now.max(at);
            match source {
                Source::Action => {
                    if let Some((at, action)) = actions.next() {
                        self.act(*at, action);
                    }
                }
                Source::Answer => self.answer(),
                Source::Timer => self.fire(),
            }
        }
        if !self.stuck {
            for (at, action) in actions {
                let what = format!("{} at {}", word(action), iso(*at));
                self.complaints.push(format!("{what}: the instance had ended before"));
            }
        }
    }

    fn stick(&mut self, complaint: String) {
        self.complaints.push(complaint);
        self.stuck = true;
    }

    /// Gives the instance time to decide; false when the scenario is over.
    fn settle(&mut self) -> bool {
        while !self.stuck
            && self.instance.ended.is_none()
            && !self.instance.suspended
            && !self.instance.ready.is_empty()
        {
            if self.instance.events > limits::EVENTS_MAX {
                let message = format!(
                    "not ended after {} events: does it go round in circles?",
                    limits::EVENTS_MAX
                );
                self.stick(message);
                break;
            }
            let _is_taken = self.decide(Command::Continue);
        }
        self.instance.ended.is_none() && !self.stuck
    }

    fn decide(&mut self, command: Command) -> Result<(), baton_core::Rejection> {
        let (workflow, program) = (self.workflow, self.program);
        let events = baton_core::decide(&mut self.instance, workflow, program, self.now, command)?;
        self.follow(&events);
        Ok(())
    }

    /// What the owner of a partition does about events, without a log.
    fn follow(&mut self, events: &[Event]) {
        for event in events {
            if let Event::TaskEntered { task, .. } = event
                && *task != TaskId::ROOT
            {
                self.path.push(*task);
            }
            match baton_core::effect(event) {
                Some(Effect::DispatchStep { activation, attempt }) => {
                    self.ask(activation, attempt);
                }
                Some(Effect::SetTimer { activation, timer, at }) => {
                    self.timers.insert((at, activation, timer));
                }
                Some(Effect::Rearm) => {
                    for effect in baton_core::pending(&self.instance) {
                        if let Effect::SetTimer { activation, timer, at } = effect {
                            self.timers.insert((at, activation, timer));
                        }
                    }
                }
                // A result that nobody wants any more is refused when it comes.
                Some(Effect::WithdrawStep { .. } | Effect::End | Effect::Continue) | None => {}
            }
        }
    }

    /// Asks a worker for an attempt.
    fn ask(&mut self, activation: ActivationId, attempt: Attempt) {
        // What was asked for and withdrawn in one decision nobody sees.
        let Some(found) = self.instance.activations.get(&activation) else { return };
        let (Some(step), task) = (found.open_step(), found.task) else { return };
        let arguments = step.arguments.clone();
        let (file, scenario, workflow) = (self.file, self.scenario, self.workflow);
        let Some(task_found) = workflow.task(task) else { return };
        let Some(function) = task_found.kind.function() else { return };
        if attempt == Attempt::FIRST {
            self.calls.push((function.clone(), arguments.clone()));
        }
        let step = format!("step `{}` ({}, {function})", task_found.name, task_found.pointer);
        let mut all = scenario.answers.iter().chain(&file.answers).enumerate();
        let Some((key, answers)) = all.find(|(_, answers)| answers.target.is(workflow, task))
        else {
            return self.stick(format!("{step}: the scenario has no answer; add it to `steps`"));
        };
        let turn = self.turns.entry(key).or_default();
        let place = if answers.in_turn { *turn } else { 0 };
        *turn += 1;
        let Some(answer) = answers.items.get(place) else {
            let Answers { key, items, .. } = answers;
            let count = items.len();
            return self
                .stick(format!("{step}: asked once more than `{key}` has answers ({count})"));
        };
        self.check(&step, answer, &arguments);
        if answer.reaction != Reaction::Hangs {
            self.asked += 1;
            let at = self.now.plus(answer.takes);
            self.answers.insert((at, self.asked), (activation, attempt, &answer.reaction));
        }
    }

    fn check(&mut self, step: &str, answer: &Answer, arguments: &Json) {
        if let Some(with) = &answer.with {
            let apart = difference::between(with, arguments, Extent::Part);
            self.complaints.extend(apart.into_iter().map(|apart| format!("{step}, `with`{apart}")));
        }
    }

    fn answer(&mut self) {
        let Some((_, (activation, attempt, reaction))) = self.answers.pop_first() else { return };
        let report = Report { started: self.now, finished: self.now, ..Report::default() };
        let command = match reaction {
            Reaction::Output(output) => {
                Command::CompleteStep { activation, attempt, output: output.clone(), report }
            }
            Reaction::Failure { error, retryable } => Command::FailStep {
                activation,
                attempt,
                error: error.clone(),
                retryable: *retryable,
                report,
            },
            Reaction::Hangs => return,
        };
        // Refused when the step was withdrawn meanwhile, as in the engine.
        let _is_taken = self.decide(command);
    }

    fn fire(&mut self) {
        if let Some((_, activation, timer)) = self.timers.pop_first() {
            // Refused when nothing waits for it any more, and while the instance is suspended.
            let _is_taken = self.decide(Command::FireTimer { activation, timer });
        }
    }

    fn act(&mut self, at: Duration, action: &Action) {
        let command = match action {
            Action::Cancel(reason) => Command::Cancel { reason: reason.as_str().into() },
            Action::Terminate(reason) => Command::Terminate { reason: reason.as_str().into() },
            Action::Suspend(reason) => Command::Suspend { reason: reason.as_str().into() },
            Action::Resume => Command::Resume,
        };
        if let Err(rejection) = self.decide(command) {
            let what = format!("{} at {}", word(action), iso(at));
            self.complaints.push(format!("{what}: {rejection} ({})", rejection.code()));
        }
    }

    fn end(self) -> Ran {
        let instance = self.instance;
        let status = match instance.status() {
            Phase::Completed => Status::Completed,
            Phase::Faulted => Status::Faulted,
            Phase::Cancelled => Status::Cancelled,
            Phase::Running => Status::Running,
            Phase::Waiting => Status::Waiting,
            Phase::Suspended => Status::Suspended,
        };
        let (output, error) = match instance.ended {
            Some((_, End::Completed(output))) => (Some(output), None),
            Some((_, End::Faulted(error))) => (None, Some(error)),
            Some((_, End::Cancelled)) | None => (None, None),
        };
        Ran {
            status,
            output,
            error,
            path: self.path,
            calls: self.calls,
            took: instance.updated_at.since(instance.started_at),
            complaints: self.complaints,
            stuck: self.stuck,
        }
    }
}

fn word(action: &Action) -> &'static str {
    match action {
        Action::Cancel(_) => "cancel",
        Action::Terminate(_) => "terminate",
        Action::Suspend(_) => "suspend",
        Action::Resume => "resume",
    }
}
