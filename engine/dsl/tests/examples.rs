//! The language's examples run to their end on the state machine itself, in a world that answers whatever they ask.

#![cfg(test)]

#[path = "common/language.rs"]
mod language;

use std::{collections::BTreeMap, sync::Arc};

use baton_core::{
    ActivationId, Command, Duration, Effect, Error, Instance, InstanceId, Json, Timestamp,
    Workflow,
    command::Timer,
    event::{Origin, Report, Started},
    instance::End,
    workflow::Kind,
};
use baton_dsl::{Compiled, compile, read};
use serde_json::{Value, json};

/// Examples that never end, and what they wait for.
const WAITS: [(&str, &str); 1] = [("listen-to-any-forever-foreach.yaml", "its `until` is false")];

/// Examples that fail by what stands in them, and why.
const OWN_FAULTS: [(&str, &str); 2] = [
    ("accumulate-room-readings.yaml", "it takes a field of what a listen gives, which is a list"),
    ("for.yaml", "it takes a field of what a listen gives, which is a list"),
];

/// No example needs more of either.
const EVENTS_MAX: u64 = 1_000;
const TIME_MAX: Duration = Duration(7 * 86_400_000);

/// Times that a listener is given an event for each of its filters: more than any example wants.
const ROUNDS: usize = 8;

#[test]
fn every_example_that_is_taken_runs_to_its_end() {
    let ran = run_all(&Ok(value()), |example, ended| match ended {
        None => assert!(listed(&WAITS, example), "{example} waits for ever"),
        Some(End::Completed(_)) => assert!(!known(example), "{example} has completed after all"),
        Some(End::Faulted(error)) if listed(&OWN_FAULTS, example) => {
            assert!(error.kind.ends_with("/expression"), "{example}: {error:?}");
        }
        Some(End::Faulted(error)) => assert!(example.raised(error), "{example}: {error:?}"),
        Some(End::Cancelled) => panic!("{example}: nobody has cancelled it"),
    });
    assert!(ran.is_none_or(|ran| ran >= 62), "only {ran:?} examples are taken");
}

#[test]
fn every_example_that_is_taken_ends_when_whatever_it_asks_fails() {
    let failure = Error {
        kind: Arc::from("https://example.com/errors/out-of-paper"),
        status: 503,
        title: None,
        detail: None,
        instance: None,
    };
    run_all(&Err(failure.clone()), |example, ended| match ended {
        None => panic!("{example} waits for ever"),
        Some(End::Completed(_)) => {}
        Some(End::Faulted(error)) => {
            let own = listed(&OWN_FAULTS, example) || example.raised(error);
            assert!(own || error.kind == failure.kind, "{example}: {error:?}");
        }
        Some(End::Cancelled) => panic!("{example}: nobody has cancelled it"),
    });
}

fn listed(list: &[(&str, &str)], example: &Example) -> bool {
    list.iter().any(|(name, _)| *name == example.name)
}

fn known(example: &Example) -> bool {
    listed(&WAITS, example) || listed(&OWN_FAULTS, example)
}

/// Runs each example that compiles and judges it; says how many there were.
fn run_all(answer: &Result<Value, Error>, judge: impl Fn(&Example, Option<&End>)) -> Option<usize> {
    let folder = language::folder("examples")?;
    let mut ran = 0;
    for (name, source) in language::files(&folder, "yaml") {
        let Ok(compiled) = compile(&source) else { continue };
        ran += 1;
        let example = Example { name, document: language::json(&read(&source).unwrap()), compiled };
        let mut world = World::new(&example, answer);
        world.live();
        judge(&example, world.instance.ended.as_ref().map(|(_, end)| end));
    }
    Some(ran)
}

struct Example {
    name: String,
    document: Value,
    compiled: Compiled,
}

impl Example {
    fn workflow(&self) -> &Workflow {
        &self.compiled.workflow
    }

    /// Whether the error comes from a `raise` of the example.
    fn raised(&self, error: &Error) -> bool {
        self.workflow().tasks.iter().any(|task| {
            matches!(task.kind, Kind::Raise { .. })
                && error.instance.as_deref() == Some(&*task.pointer)
        })
    }
}

impl std::fmt::Display for Example {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.name)
    }
}

/// Everything that any example looks for, in its input, in what workers answer, and in events.
fn value() -> Value {
    json!({
        "id": 1, "petId": 2, "carId": 3, "roomId": 4, "token": "t", "message": "hello", "vet": "Ann",
        "searchQuery": "luke", "orderType": "physical", "headers": { "accept": "text/plain" },
        "query": { "search": "luke" }, "pet": { "id": 2 }, "pets": [ { "id": 2 } ], "readings": [ 1 ],
        "user": { "preferredDisplayName": "Ann" }, "customer": { "age": 30 }, "bet": 1,
        "patient": { "fullName": "Ann B" }, "room": { "number": 4 }, "temperature": 39, "bpm": 120,
        "content": { "homeworld": "https://swapi.dev/api/planets/1" },
    })
}

fn text(value: &Value) -> Json {
    Json::from_text(value.to_string())
}

/// One instance and its clock.
struct World<'e> {
    example: &'e Example,
    /// Of every worker and every child.
    answer: &'e Result<Value, Error>,
    instance: Instance,
    now: Timestamp,
    began: Timestamp,
    /// Rounds of events that listeners have had.
    rounds: BTreeMap<ActivationId, usize>,
    events: u64,
}

impl<'e> World<'e> {
    fn new(example: &'e Example, answer: &'e Result<Value, Error>) -> Self {
        let started = Arc::new(Started {
            workflow: example.workflow().hash,
            name: example.workflow().name.clone(),
            input: text(&value()),
            key: Arc::from(""),
            labels: BTreeMap::new(),
            traceparent: Arc::from(""),
            parent: None,
            carried: baton_core::guard::Carried::default(),
            by: "".into(),
        });
        let began = Timestamp(1_700_000_000_000);
        let program = &example.compiled.program.turn();
        let id = InstanceId([7; 16]);
        let (instance, _) = baton_core::start(example.workflow(), program, id, started, began)
            .unwrap_or_else(|(_, error)| panic!("{example}: {error:?}"));
        let rounds = BTreeMap::new();
        Self { example, answer, instance, now: began, began, rounds, events: 0 }
    }

    /// Until it has ended or only events that there are not could move it.
    fn live(&mut self) {
        loop {
            while self.instance.ended.is_none() && !self.instance.ready.is_empty() {
                self.decide(Command::Continue);
            }
            let example = self.example;
            assert!(self.instance.events <= EVENTS_MAX, "{example}: too many events");
            assert!(self.now.since(self.began) <= TIME_MAX, "{example}: too much time");
            if self.instance.ended.is_some() || !self.act() {
                return;
            }
        }
    }

    fn decide(&mut self, command: Command) {
        let (workflow, program) = (self.example.workflow(), &self.example.compiled.program.turn());
        // An event that nobody wants is refused.
        let _events = baton_core::decide(&mut self.instance, workflow, program, self.now, command);
    }

    /// Does what is asked for: first what needs no time, then the next timer. False when there is nothing to do.
    fn act(&mut self) -> bool {
        let mut timers = Vec::<(Timestamp, ActivationId, Timer)>::new();
        for effect in baton_core::pending(&self.instance) {
            match effect {
                Effect::DispatchStep { activation, attempt } => {
                    let report = Report::default();
                    self.decide(match self.answer {
                        Ok(output) => {
                            let output = text(output);
                            Command::CompleteStep { activation, attempt, output, report }
                        }
                        Err(error) => Command::FailStep {
                            activation,
                            attempt,
                            error: error.clone(),
                            retryable: true,
                            report,
                        },
                    });
                    return true;
                }
                Effect::ClaimKey { activation, attempt } => {
                    let answer = baton_core::once::Answer::Held;
                    self.decide(Command::SettleKey { activation, attempt, answer });
                    return true;
                }
                Effect::RunChild { activation } => {
                    let result = self.answer.as_ref().map(text).map_err(Clone::clone);
                    self.decide(Command::EndChild {
                        activation,
                        result,
                        carried: baton_core::guard::Carried::default(),
                    });
                    return true;
                }
                Effect::PublishEvent { activation } => {
                    self.decide(Command::PublishedEvent { activation });
                    return true;
                }
                Effect::Listen { activation } => {
                    if self.tell(activation) {
                        return true;
                    }
                }
                Effect::SetTimer { activation, timer, at } => timers.push((at, activation, timer)),
                Effect::Continue
                | Effect::AskPolicies { .. }
                | Effect::WithdrawStep { .. }
                | Effect::CancelChild { .. }
                | Effect::Rearm
                | Effect::End => {}
            }
        }
        let Some((at, activation, timer)) = timers.into_iter().min() else { return false };
        self.now = self.now.max(at);
        self.decide(Command::FireTimer { activation, timer });
        true
    }

    /// Gives a listener one event for each filter that stands in it; false when it has had enough of them.
    fn tell(&mut self, listener: ActivationId) -> bool {
        let round = self.rounds.entry(listener).or_default();
        *round += 1;
        if *round > ROUNDS {
            return false;
        }
        let task = self.instance.activations[&listener].task;
        let pointer = self.example.workflow().task(task).unwrap().pointer.clone();
        let to = self.example.document.pointer(&format!("{pointer}/listen/to")).unwrap();
        let mut events = Vec::new();
        fitting(to, &mut events);
        if events.is_empty() {
            events.push(event(&json!({})));
        }
        for event in events {
            self.events += 1;
            let id: Arc<str> = Arc::from(format!("event-{}", self.events));
            let origin = Origin {
                position: self.events,
                floor: 0,
                id,
                source: Arc::from(event["source"].as_str().unwrap_or_default()),
                kind: Arc::from(event["type"].as_str().unwrap_or_default()),
            };
            self.decide(Command::TakeEvent { event: text(&event), origin, listener: None });
        }
        true
    }
}

/// An event for each filter, in the order in which they stand.
fn fitting(strategy: &Value, events: &mut Vec<Value>) {
    match strategy {
        Value::Object(members) => match members.get("with") {
            Some(with) => events.push(event(with)),
            None => members.values().for_each(|inside| fitting(inside, events)),
        },
        Value::Array(items) => items.iter().for_each(|item| fitting(item, events)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// With the attributes that stand in a filter as they are; expressions are about data.
fn event(with: &Value) -> Value {
    let mut event = json!({
        "specversion": "1.0", "id": "e", "source": "https://example.com", "type": "any",
        "time": "2026-01-01T00:00:00Z", "roomid": "4", "data": value(),
    });
    for (name, wanted) in with.as_object().into_iter().flatten() {
        if !wanted.as_str().is_some_and(|text| text.starts_with("${")) {
            event[name] = wanted.clone();
        }
    }
    event
}
