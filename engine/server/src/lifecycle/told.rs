//! What an event of the log says of lives, as the `CloudEvents` that the language names.

use std::{collections::BTreeMap, fmt::Write, sync::Arc};

use baton_core::{
    ActivationId, Event, Instance, InstanceId, Json, TaskId, Timestamp,
    error::Error,
    event::{Next, Started},
    workflow::Task,
};

use crate::{limits, telemetry, wire};

/// One lifecycle event.
#[derive(Clone, Debug)]
pub struct Told {
    instance: InstanceId,
    started: Arc<Started>,
    /// Of the event of the log, from 1.
    number: u64,
    /// Among those that the event of the log tells, from 0.
    place: usize,
    at: Timestamp,
    /// Number and JSON pointer; `None`: of the workflow itself.
    task: Option<(ActivationId, Arc<str>)>,
    phase: Phase,
}

#[derive(Clone, Debug)]
enum Phase {
    Created,
    Started,
    Suspended,
    Resumed,
    CorrelationStarted,
    CorrelationCompleted(BTreeMap<Arc<str>, Json>),
    Retried,
    Cancelled,
    Faulted(Error),
    Completed(Json),
}

impl Phase {
    /// As it ends the type.
    fn name(&self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Started => "started",
            Self::Suspended => "suspended",
            Self::Resumed => "resumed",
            Self::CorrelationStarted => "correlation-started",
            Self::CorrelationCompleted(_) => "correlation-completed",
            Self::Retried => "retried",
            Self::Cancelled => "cancelled",
            Self::Faulted(_) => "faulted",
            Self::Completed(_) => "completed",
        }
    }

    /// The member that says when.
    fn time(&self) -> &'static str {
        match self {
            Self::Created => "createdAt",
            Self::Started | Self::CorrelationStarted => "startedAt",
            Self::Suspended => "suspendedAt",
            Self::Resumed => "resumedAt",
            Self::Retried => "retriedAt",
            Self::Cancelled => "cancelledAt",
            Self::Faulted(_) => "faultedAt",
            Self::Completed(_) | Self::CorrelationCompleted(_) => "completedAt",
        }
    }
}

/// An instance begins: the first event of the log that tells of it.
pub fn started(instance: InstanceId, started: &Arc<Started>, at: Timestamp) -> Vec<Told> {
    vec![Told {
        instance,
        started: Arc::clone(started),
        number: 1,
        place: 0,
        at,
        task: None,
        phase: Phase::Started,
    }]
}

/// What an event tells, in order, from the instance as it was before the event. A task that ends with another one, and
/// not by itself, is cancelled.
pub fn tell<'a>(
    before: &Instance,
    task: impl Fn(TaskId) -> Option<&'a Task>,
    event: &Event,
    at: Timestamp,
) -> Vec<Told> {
    let mut telling = Telling { before, task, at, told: Vec::new() };
    telling.event(event);
    telling.told
}

struct Telling<'b, F> {
    before: &'b Instance,
    task: F,
    at: Timestamp,
    told: Vec<Told>,
}

impl<'a, F: Fn(TaskId) -> Option<&'a Task>> Telling<'_, F> {
    fn event(&mut self, event: &Event) {
        match event {
            Event::TaskEntered { activation, task, .. } => {
                self.task(*activation, *task, Phase::Created);
                self.task(*activation, *task, Phase::Started);
            }
            Event::TaskCompleted { activation, output, next, .. } => {
                let output = output.as_ref().or_else(|| self.value(*activation)).cloned();
                if *next == Next::End {
                    self.all_but(Some(*activation), &Phase::Cancelled);
                } else {
                    self.below(*activation);
                }
                self.open(*activation, Phase::Completed(output.unwrap_or_else(Json::null)));
            }
            Event::TaskFaulted { activation, error }
            | Event::MapItemFaulted { activation, error, .. } => {
                self.below(*activation);
                self.open(*activation, Phase::Faulted(error.clone()));
            }
            Event::StepScheduled { activation, attempt, .. } if attempt.0 > 1 => {
                self.open(*activation, Phase::Retried);
            }
            // The next try of a `try`; a `wait` that is over goes on to complete.
            Event::TimerFired { activation, .. } if self.is_try(*activation) => {
                self.open(*activation, Phase::Retried);
            }
            Event::ErrorCaught { activation, .. } | Event::RetryScheduled { activation, .. } => {
                self.below(*activation);
            }
            // It goes on with what undoes the rest.
            Event::CompensationStarted { .. } => self.all_but(None, &Phase::Cancelled),
            Event::InstanceSuspended { .. } => {
                self.all_but(None, &Phase::Suspended);
                self.workflow(Phase::Suspended);
            }
            Event::InstanceResumed => {
                self.workflow(Phase::Resumed);
                self.all_but(None, &Phase::Resumed);
            }
            Event::InstanceRerun { .. } => self.workflow(Phase::Resumed),
            Event::InstanceCompleted { output } => {
                self.all_but(None, &Phase::Cancelled);
                self.workflow(Phase::Completed(output.clone()));
            }
            Event::InstanceFaulted { error } => {
                self.all_but(None, &Phase::Cancelled);
                self.workflow(Phase::Faulted(error.clone()));
            }
            Event::InstanceCancelled { .. } => {
                self.all_but(None, &Phase::Cancelled);
                self.workflow(Phase::Cancelled);
            }
            Event::ListenStarted { .. } => self.workflow(Phase::CorrelationStarted),
            Event::EventTaken { activation, correlation, over: true, .. } => {
                let listening = self.before.activations.get(activation);
                let listening = listening.and_then(|found| found.phase.listening());
                let mut keys = listening.map(|found| found.correlation.clone()).unwrap_or_default();
                keys.extend(correlation.clone());
                self.workflow(Phase::CorrelationCompleted(keys));
            }
            // `started` tells of the first; the others are steps on a task's way that the language has no name for.
            Event::InstanceStarted(_)
            | Event::TaskSkipped { .. }
            | Event::StepScheduled { .. }
            | Event::StepJudged { .. }
            | Event::StepRemedied { .. }
            | Event::ApprovalAsked { .. }
            | Event::ApprovalClaimed { .. }
            | Event::ApprovalAnswered { .. }
            | Event::ApprovalOverdue { .. }
            | Event::ApprovalsVoided { .. }
            | Event::StepCompleted { .. }
            | Event::StepFailed { .. }
            | Event::KeyClaimed { .. }
            | Event::KeyAttached { .. }
            | Event::KeyResolved { .. }
            | Event::StepHalted { .. }
            | Event::ResultFenced { .. }
            | Event::StepCancelled { .. }
            | Event::TimerStarted { .. }
            | Event::TimerFired { .. }
            | Event::LoopStarted { .. }
            | Event::LoopIterated { .. }
            | Event::ForkStarted { .. }
            | Event::MapStarted { .. }
            | Event::EventEmitted { .. }
            | Event::EventPublished { .. }
            | Event::EventTaken { .. }
            | Event::ListenIterated { .. }
            | Event::ListenIterationEnded { .. }
            | Event::ChildStarted { .. }
            | Event::ChildEnded { .. }
            | Event::ChildCancelled { .. }
            | Event::CompensationKept { .. }
            | Event::CompensationFailed { .. } => {}
        }
    }

    fn value(&self, activation: ActivationId) -> Option<&Json> {
        self.before.activations.get(&activation).map(|found| &found.value)
    }

    fn is_try(&self, activation: ActivationId) -> bool {
        let found = self.before.activations.get(&activation);
        found.is_some_and(|found| found.phase.failed_try().is_some())
    }

    /// Those inside it are gone with this event, the innermost first.
    fn below(&mut self, activation: ActivationId) {
        for inside in self.before.below(activation).into_iter().rev() {
            self.open(inside, Phase::Cancelled);
        }
    }

    /// The innermost first, as they end.
    fn all_but(&mut self, one: Option<ActivationId>, phase: &Phase) {
        for activation in self.before.activations.keys().rev() {
            if Some(*activation) != one {
                self.open(*activation, phase.clone());
            }
        }
    }

    fn open(&mut self, activation: ActivationId, phase: Phase) {
        if let Some(found) = self.before.activations.get(&activation) {
            self.task(activation, found.task, phase);
        }
    }

    fn task(&mut self, activation: ActivationId, task: TaskId, phase: Phase) {
        // The root is the workflow.
        if activation != ActivationId::ROOT
            && let Some(task) = (self.task)(task)
        {
            self.put(Some((activation, Arc::clone(&task.pointer))), phase);
        }
    }

    fn workflow(&mut self, phase: Phase) {
        self.put(None, phase);
    }

    fn put(&mut self, task: Option<(ActivationId, Arc<str>)>, phase: Phase) {
        self.told.push(Told {
            instance: self.before.id,
            started: Arc::clone(&self.before.started),
            number: self.before.events + 1,
            place: self.told.len(),
            at: self.at,
            task,
            phase,
        });
    }
}

impl Told {
    pub(super) fn is_of_workflow(&self) -> bool {
        self.task.is_none()
    }

    pub(super) fn namespace(&self) -> &str {
        &self.started.name.namespace
    }

    pub(super) fn name(&self) -> &str {
        &self.started.name.name
    }

    /// Instance, number of the event in its history, and what of it: the same whoever tells it, and whenever.
    pub(super) fn id(&self) -> String {
        let (instance, number, phase) = (self.instance, self.number, self.phase.name());
        match &self.task {
            Some((activation, _)) => format!("{instance}/{number}/{}.{phase}", activation.0),
            None => format!("{instance}/{number}/{phase}"),
        }
    }

    /// Under the instance's root span.
    pub(super) fn traceparent(&self) -> String {
        telemetry::child_traceparent(self.instance, &self.started.traceparent)
    }

    /// A `CloudEvent` in its JSON form.
    pub(super) fn to_json(&self) -> String {
        let of = if self.task.is_some() { "task" } else { "workflow" };
        let kind = format!("io.serverlessworkflow.{of}.{}.v1", self.phase.name());
        let source = format!("/{}/{}/{}", self.namespace(), self.name(), self.instance);
        let mut event = Object::default();
        event.text("specversion", "1.0");
        event.text("id", &self.id());
        event.text("source", &source);
        event.text("type", &kind);
        event.text("subject", &self.instance.to_string());
        event.text("time", &baton_dsl::iso8601(self.at));
        event.text("datacontenttype", "application/json");
        event.text("traceparent", &self.traceparent());
        event.text("sequence", &format!("{:010}.{:05}", self.number, self.place));
        event.raw("data", &self.data());
        event.end()
    }

    fn data(&self) -> String {
        let mut data = Object::default();
        let name = &self.started.name;
        let qualified = format!("{}-{}.{}", name.name, self.instance, name.namespace);
        match &self.task {
            Some((_, pointer)) => {
                data.text("workflow", &qualified);
                data.text("task", pointer);
            }
            None => data.text("name", &qualified),
        }
        if let (None, Phase::Started) = (&self.task, &self.phase) {
            let mut definition = Object::default();
            definition.text("name", &name.name);
            definition.text("version", &name.version);
            definition.text("namespace", &name.namespace);
            data.raw("definition", &definition.end());
        }
        data.text(self.phase.time(), &baton_dsl::iso8601(self.at));
        match &self.phase {
            Phase::Completed(output) if output.len() <= limits::LIFECYCLE_VALUE_BYTES_MAX => {
                data.raw("output", output);
            }
            Phase::Completed(_) => {
                let instance = self.instance;
                let uri = match &self.task {
                    Some(_) => format!("baton:/instances/{instance}/history/{}", self.number),
                    None => format!("baton:/instances/{instance}/output"),
                };
                data.text("outputUri", &uri);
            }
            Phase::Faulted(error) => data.raw("error", &problem(error)),
            Phase::CorrelationCompleted(keys) => {
                let mut values = Object::default();
                for (key, value) in keys {
                    values.raw(key, value);
                }
                let values = values.end();
                if !keys.is_empty() && values.len() <= limits::LIFECYCLE_VALUE_BYTES_MAX {
                    data.raw("correlationKeys", &values);
                }
            }
            Phase::Created
            | Phase::Started
            | Phase::Suspended
            | Phase::Resumed
            | Phase::CorrelationStarted
            | Phase::Retried
            | Phase::Cancelled => {}
        }
        data.end()
    }
}

fn problem(error: &Error) -> String {
    let mut problem = Object::default();
    let cut = |text| wire::cut(text, limits::FAILURE_TEXT_BYTES_MAX);
    problem.text("type", cut(&error.kind));
    problem.raw("status", &error.status.to_string());
    for (key, text) in
        [("title", &error.title), ("detail", &error.detail), ("instance", &error.instance)]
    {
        if let Some(text) = text {
            problem.text(key, cut(text));
        }
    }
    problem.end()
}

/// A JSON object as it is written: values of the log go in as they are.
#[derive(Default)]
struct Object(String);

impl Object {
    fn text(&mut self, key: &str, value: &str) {
        self.raw(key, &serde_json::Value::from(value).to_string());
    }

    /// `value` is JSON.
    fn raw(&mut self, key: &str, value: &str) {
        let before = if self.0.is_empty() { '{' } else { ',' };
        // Writing to a string cannot fail.
        let _infallible = write!(self.0, "{before}{}:{value}", serde_json::Value::from(key));
    }

    fn end(self) -> String {
        if self.0.is_empty() { "{}".into() } else { self.0 + "}" }
    }
}

#[cfg(test)]
mod tests {
    use baton_core::{Attempt, Command, workflow::Name};
    use serde_json::{Value, json};

    use super::*;

    const DOCUMENT: &str = "
document: { dsl: 1.0.3, namespace: lab, name: life, version: 1.2.3 }
do:
  - both:
      fork:
        compete: true
        branches:
          - slow: { do: [{ nap: { wait: PT1H } }] }
          - quick:
              try: [{ ask: { call: ask, with: {} } }]
              catch: { retry: { delay: PT1S, limit: { attempt: { count: 2 } } } }
  - last: { set: { done: true } }
";

    /// A workflow that is decided about here, and everything that it tells.
    struct Story {
        definition: baton_dsl::Compiled,
        instance: Instance,
        told: Vec<Told>,
        now: Timestamp,
    }

    impl Story {
        fn begin() -> Self {
            let definition = baton_dsl::compile(DOCUMENT).unwrap();
            let begun = Started {
                workflow: definition.workflow.hash,
                name: Name::clone(&definition.workflow.name),
                input: Json::empty_object(),
                key: "".into(),
                labels: BTreeMap::new(),
                traceparent: "".into(),
                parent: None,
                carried: baton_core::guard::Carried::default(),
                by: "".into(),
            };
            let (id, now) = (InstanceId([7; 16]), Timestamp(0));
            let Ok((instance, events)) = baton_core::start(
                &definition.workflow,
                &definition.program.turn(),
                id,
                Arc::new(begun),
                now,
            ) else {
                panic!("the input fits")
            };
            let begun = Instance::new(id, Arc::clone(&instance.started), now);
            let told = started(id, &instance.started, now);
            let mut story = Self { definition, instance, told, now };
            story.follow(begun, &events[1..]);
            story
        }

        fn follow(&mut self, mut before: Instance, events: &[Event]) {
            for event in events {
                let task = |task| self.definition.workflow.task(task);
                self.told.extend(tell(&before, task, event, self.now));
                baton_core::apply(&mut before, event, self.now);
            }
            assert_eq!(before, self.instance);
        }

        fn give(&mut self, command: Command) {
            let before = self.instance.clone();
            let (workflow, program) = (&self.definition.workflow, &self.definition.program);
            let events = baton_core::decide(
                &mut self.instance,
                workflow,
                &program.turn(),
                self.now,
                command,
            )
            .unwrap();
            self.follow(before, &events);
        }

        fn step(&self) -> (ActivationId, Attempt) {
            let (activation, step) = self.instance.open_steps().next().unwrap();
            (activation, step.attempt)
        }

        /// Type without what all have in common, and the task's name.
        fn lines(&self) -> Vec<String> {
            let events = self.told.iter().map(|told| {
                let event: Value = serde_json::from_str(&told.to_json()).unwrap();
                let kind = event["type"].as_str().unwrap();
                let kind = kind.strip_prefix("io.serverlessworkflow.").unwrap();
                let task = event["data"]["task"].as_str().unwrap_or_default();
                let name = task.rsplit('/').next().unwrap_or_default();
                format!("{} {name}", kind.strip_suffix(".v1").unwrap()).trim_end().to_owned()
            });
            events.collect()
        }
    }

    #[test]
    fn a_life_is_told_from_its_start_to_its_end() {
        let mut story = Story::begin();
        let (activation, attempt) = story.step();
        let error = Error::timeout();
        let report = baton_core::event::Report::default();
        let failure = Command::FailStep {
            activation,
            attempt,
            error,
            retryable: false,
            report: report.clone(),
        };
        story.give(failure);
        story.now = Timestamp(1_000);
        let quick = story.instance.activations.iter();
        let (quick, _) =
            quick.clone().find(|(_, found)| found.phase.failed_try().is_some()).unwrap();
        let timer = baton_core::command::Timer::Due;
        story.give(Command::FireTimer { activation: *quick, timer });
        let (activation, attempt) = story.step();
        story.give(Command::Suspend { reason: "a look".into() });
        story.give(Command::Resume);
        let output = Json::from_text("{\"a\":1}");
        story.give(Command::CompleteStep { activation, attempt, output, report });
        let expected = "workflow.started
task.created both, task.started both
task.created slow, task.started slow
task.created quick, task.started quick
task.created nap, task.started nap
task.created ask, task.started ask
task.faulted ask
task.retried quick
task.created ask, task.started ask
task.suspended ask, task.suspended nap, task.suspended quick, task.suspended slow, task.suspended both
workflow.suspended
workflow.resumed
task.resumed ask, task.resumed nap, task.resumed quick, task.resumed slow, task.resumed both
task.completed ask
task.completed quick
task.cancelled nap, task.cancelled slow
task.completed both
task.created last, task.started last
task.completed last
workflow.completed";
        let expected: Vec<_> = expected.lines().flat_map(|line| line.split(", ")).collect();
        assert_eq!(story.lines(), expected);
        let mut ids: Vec<_> = story.told.iter().map(Told::id).collect();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), story.told.len());
    }

    #[test]
    fn what_is_open_at_a_cancel_is_cancelled_with_it() {
        let mut story = Story::begin();
        story.give(Command::Cancel { reason: "no longer wanted".into() });
        let lines = story.lines();
        let count = |kind: &str| lines.iter().filter(|line| line.starts_with(kind)).count();
        assert_eq!((count("task.created"), count("task.cancelled")), (5, 5));
        assert_eq!(lines.last().unwrap(), "workflow.cancelled");
    }

    #[test]
    fn a_large_output_is_named_and_not_carried() {
        let story = Story::begin();
        let mut told = story.told[0].clone();
        let event = |told: &Told| serde_json::from_str::<Value>(&told.to_json()).unwrap();
        told.phase = Phase::Completed(Json::from_text("[1.50]"));
        assert_eq!(event(&told)["data"]["output"].to_string(), "[1.50]");
        let large = format!("\"{}\"", "x".repeat(limits::LIFECYCLE_VALUE_BYTES_MAX));
        told.phase = Phase::Completed(Json::from_text(large));
        let data = &event(&told)["data"];
        let id = "07070707-0707-0707-0707-070707070707";
        assert_eq!(data.get("output"), None);
        assert_eq!(data["outputUri"], format!("baton:/instances/{id}/output"));
    }

    #[test]
    fn an_event_says_what_the_language_wants() {
        let story = Story::begin();
        let event: Value = serde_json::from_str(&story.told[0].to_json()).unwrap();
        let id = "07070707-0707-0707-0707-070707070707";
        let expected = json!({
            "specversion": "1.0",
            "id": format!("{id}/1/started"),
            "source": format!("/lab/life/{id}"),
            "type": "io.serverlessworkflow.workflow.started.v1",
            "subject": id,
            "time": "1970-01-01T00:00:00.000Z",
            "datacontenttype": "application/json",
            "traceparent": telemetry::child_traceparent(InstanceId([7; 16]), ""),
            "sequence": "0000000001.00000",
            "data": {
                "name": format!("life-{id}.lab"),
                "definition": { "name": "life", "version": "1.2.3", "namespace": "lab" },
                "startedAt": "1970-01-01T00:00:00.000Z",
            },
        });
        assert_eq!(event, expected);
        let event: Value = serde_json::from_str(&story.told[1].to_json()).unwrap();
        let data = json!({
            "workflow": format!("life-{id}.lab"),
            "task": "/do/0/both",
            "createdAt": "1970-01-01T00:00:00.000Z",
        });
        assert_eq!((&event["data"], &event["id"]), (&data, &format!("{id}/3/1.created").into()));
    }
}
