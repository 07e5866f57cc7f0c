//! One instance, decided by the core as in the engine, in a world that answers from the scenario.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use baton_core::{
    ActivationId, Attempt, Command, Duration, Effect, Error, Event, Instance, InstanceId, Json,
    TaskId, Timestamp, Workflow,
    command::Timer,
    event::{Origin, Report, Started},
    instance::{self, End, Phase},
    once::{self, State},
    workflow::{Function, Kind},
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
    /// Events that it published, in order.
    pub(super) emitted: Vec<Json>,
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
        parent: None,
        carried: baton_core::guard::Carried::default(),
        by: "".into(),
    });
    let now = scenario.started_at;
    match baton_core::start(workflow, &program.turn(), instance_id(now), started, now) {
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
                emitted: Vec::new(),
                heard: Vec::new(),
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
            emitted: Vec::new(),
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
    answers: BTreeMap<(Timestamp, u64), Due<'s>>,
    /// Attempts that workers were asked for, and everything else that is answered.
    asked: u64,
    /// How many of the answers under a key were used, by the place of the key: the scenario's own first.
    turns: BTreeMap<usize, usize>,
    path: Vec<TaskId>,
    calls: Vec<(Function, Json)>,
    emitted: Vec<Json>,
    /// All events that have come, in order, its own among them.
    heard: Vec<Json>,
    complaints: Vec<String>,
    stuck: bool,
}

/// What the world owes the instance.
#[derive(Clone, Copy)]
enum Due<'s> {
    /// The answer of a worker.
    Step(ActivationId, Attempt, &'s Reaction),
    /// The end of the instance that a `run` waits for; without a reaction it has only begun.
    Child(ActivationId, Option<&'s Reaction>),
    /// The event of an `emit` is stored.
    Published(ActivationId),
    /// What came before a listener.
    Kept(ActivationId),
    /// Whether a step holds its key.
    Key(ActivationId, Attempt),
}

/// What happens next, first what the engine would take first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Source {
    Action,
    Answer,
    Timer,
}

impl<'s> World<'s> {
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
        let events =
            baton_core::decide(&mut self.instance, workflow, &program.turn(), self.now, command)?;
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
                Some(Effect::ClaimKey { activation, attempt }) => {
                    self.owe(Duration(0), Due::Key(activation, attempt));
                }
                Some(Effect::SetTimer { activation, timer, at }) => {
                    self.timers.insert((at, activation, timer));
                }
                Some(Effect::Rearm) => {
                    for effect in baton_core::pending(&self.instance) {
                        if let Effect::SetTimer { activation, timer, at } = effect {
                            self.timers.insert((at, activation, timer));
                        } else if let Effect::ClaimKey { activation, attempt } = effect {
                            self.owe(Duration(0), Due::Key(activation, attempt));
                        }
                    }
                }
                Some(Effect::PublishEvent { activation }) => {
                    if let Event::EventEmitted { event, .. } = event {
                        self.emitted.push(event.clone());
                        self.owe(Duration(0), Due::Published(activation));
                    }
                }
                Some(Effect::Listen { activation }) => {
                    self.owe(Duration(0), Due::Kept(activation));
                }
                Some(Effect::RunChild { activation }) => self.run_child(activation),
                // A result that nobody wants any more is refused when it comes, and no scenario has policies.
                Some(
                    Effect::AskPolicies { .. }
                    | Effect::WithdrawStep { .. }
                    | Effect::CancelChild { .. }
                    | Effect::End
                    | Effect::Continue,
                )
                | None => {}
            }
        }
    }

    fn owe(&mut self, after: Duration, due: Due<'s>) {
        self.asked += 1;
        self.answers.insert((self.now.plus(after), self.asked), due);
    }

    /// No other instance holds a key here; another step of this one may.
    fn settle_key(&mut self, activation: ActivationId, attempt: Attempt) {
        let wanted = self.instance.claiming_step(activation);
        let wanted = wanted.and_then(|step| step.once.as_deref()).map(|claim| claim.key.clone());
        let Some(wanted) = wanted else { return };
        let by = self.instance.id;
        let mut held = self.instance.keys.iter().filter(|(_, kept)| kept.key == wanted.text);
        let answer = match held.find_map(|(step, _)| self.instance.key_state(*step)) {
            None | Some(State::Free | State::Unknown) => once::Answer::Held,
            Some(State::Committed(Some(output))) if wanted.attach => {
                once::Answer::Attached { by, output }
            }
            Some(state @ (State::Claimed | State::Committed(_))) => {
                once::Answer::Refused { by, state }
            }
        };
        let _is_taken = self.decide(Command::SettleKey { activation, attempt, answer });
    }

    /// Another workflow is not run: the scenario says what it gives.
    fn run_child(&mut self, activation: ActivationId) {
        let Some((_, awaited)) = self.instance.open_child(activation) else { return };
        let workflow = self.workflow;
        let task = self.instance.activations[&activation].task;
        let Some(found) = workflow.task(task).filter(|_| awaited) else {
            return self.owe(Duration(0), Due::Child(activation, None));
        };
        let step = format!("run `{}` ({})", found.name, found.pointer);
        if let Some(answer) = self.reaction(&step, task)
            && answer.reaction != Reaction::Hangs
        {
            self.owe(answer.takes, Due::Child(activation, Some(&answer.reaction)));
        }
    }

    /// Asks a worker for an attempt.
    fn ask(&mut self, activation: ActivationId, attempt: Attempt) {
        // What was asked for and withdrawn in one decision nobody sees.
        let Some(found) = self.instance.activations.get(&activation) else { return };
        let (Some(step), task) = (found.open_step(), found.task) else { return };
        let arguments = step.arguments.clone();
        let workflow = self.workflow;
        let Some(task_found) = workflow.task(task) else { return };
        let Some(function) = task_found.kind.function() else { return };
        if attempt == Attempt::FIRST {
            self.calls.push((function.clone(), arguments.clone()));
        }
        let step = format!("step `{}` ({}, {function})", task_found.name, task_found.pointer);
        let Some(answer) = self.reaction(&step, task) else { return };
        self.check(&step, answer, &arguments);
        if answer.reaction != Reaction::Hangs {
            self.owe(answer.takes, Due::Step(activation, attempt, &answer.reaction));
        }
    }

    /// What the scenario has for a task now; without anything it cannot go on.
    fn reaction(&mut self, step: &str, task: TaskId) -> Option<&'s Answer> {
        let (file, scenario, workflow) = (self.file, self.scenario, self.workflow);
        let mut all = scenario.answers.iter().chain(&file.answers).enumerate();
        let Some((key, answers)) = all.find(|(_, answers)| answers.target.is(workflow, task))
        else {
            self.stick(format!("{step}: the scenario has no answer; add it to `steps`"));
            return None;
        };
        let turn = self.turns.entry(key).or_default();
        let place = if answers.in_turn { *turn } else { 0 };
        *turn += 1;
        let Some(answer) = answers.items.get(place) else {
            let Answers { key, items, .. } = answers;
            let count = items.len();
            self.stick(format!("{step}: asked once more than `{key}` has answers ({count})"));
            return None;
        };
        Some(answer)
    }

    fn check(&mut self, step: &str, answer: &Answer, arguments: &Json) {
        if let Some(with) = &answer.with {
            let apart = difference::between(with, arguments, Extent::Part);
            self.complaints.extend(apart.into_iter().map(|apart| format!("{step}, `with`{apart}")));
        }
    }

    fn answer(&mut self) {
        let Some((_, due)) = self.answers.pop_first() else { return };
        let (activation, attempt, reaction) = match due {
            Due::Step(activation, attempt, reaction) => (activation, attempt, reaction),
            Due::Child(activation, reaction) => return self.end_child(activation, reaction),
            Due::Published(activation) => return self.publish(activation),
            Due::Kept(listener) => return self.hear_kept(listener),
            Due::Key(activation, attempt) => return self.settle_key(activation, attempt),
        };
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

    fn end_child(&mut self, activation: ActivationId, reaction: Option<&Reaction>) {
        let result = match reaction {
            Some(Reaction::Output(output)) => Ok(output.clone()),
            Some(Reaction::Failure { error, .. }) => Err(error.clone()),
            Some(Reaction::Hangs) | None => Ok(Json::null()),
        };
        // Refused when nobody waits for it any more.
        let _is_taken = self.decide(Command::EndChild {
            activation,
            result,
            carried: baton_core::guard::Carried::default(),
        });
    }

    fn publish(&mut self, activation: ActivationId) {
        let event = self.instance.activations.get(&activation).and_then(|emitting| {
            let Phase::Emit(event) = &emitting.phase else { return None };
            Some(event.clone())
        });
        let _is_taken = self.decide(Command::PublishedEvent { activation });
        if let Some(event) = event {
            self.hear(event);
        }
    }

    /// An event has come: whoever listens takes it.
    fn hear(&mut self, event: Json) {
        self.heard.push(event.clone());
        let command = take(self.heard.len(), event, None);
        let _is_taken = self.decide(command);
    }

    /// As in the engine: only what a correlation ties to the listener is kept for it.
    fn hear_kept(&mut self, listener: ActivationId) {
        let Some(activation) = self.instance.activations.get(&listener) else { return };
        let kind = self.workflow.task(activation.task).map(|task| &task.kind);
        let Some(Kind::Listen(listen)) = kind else { return };
        if !listen.filters.iter().any(|filter| !filter.correlate.is_empty()) {
            return;
        }
        for (place, event) in self.heard.clone().into_iter().enumerate() {
            let _is_taken = self.decide(take(place + 1, event, Some(listener)));
        }
    }

    fn fire(&mut self) {
        if let Some((_, activation, timer)) = self.timers.pop_first() {
            // Refused when nothing waits for it any more, and while the instance is suspended.
            let _is_taken = self.decide(Command::FireTimer { activation, timer });
        }
    }

    fn act(&mut self, at: Duration, action: &Action) {
        let command = match action {
            Action::Event(event) => return self.hear(event.clone()),
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
            instance::Status::Completed => Status::Completed,
            instance::Status::Faulted => Status::Faulted,
            instance::Status::Cancelled => Status::Cancelled,
            instance::Status::Running => Status::Running,
            instance::Status::Waiting => Status::Waiting,
            instance::Status::Suspended => Status::Suspended,
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
            emitted: self.emitted,
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
        Action::Event(_) => "event",
    }
}

fn take(position: usize, event: Json, listener: Option<ActivationId>) -> Command {
    let text = |key: &str| {
        let value = serde_json::from_str::<serde_json::Value>(&event).unwrap_or_default();
        Arc::from(value[key].as_str().unwrap_or_default())
    };
    let origin = Origin {
        position: position as u64,
        floor: 0,
        id: text("id"),
        source: text("source"),
        kind: text("type"),
    };
    Command::TakeEvent { event, origin, listener }
}
