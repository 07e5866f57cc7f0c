//! The words in which stories are told.

use std::collections::BTreeSet;

use baton_core::{
    ActivationId, Attempt, Command, Duration, Event, Json, TaskId,
    guard::{Carried, Case, Guard, People, Remedy, Standing},
    instance::{End, Status},
    once::State,
    workflow::Hash,
};

use crate::{
    build::{Go, Handler, Node, What, node},
    laws::{complete, fail},
    table::{Term, text},
    world::World,
};

pub(crate) struct Story {
    world: World,
    refused: Option<&'static str>,
}

/// A workflow of these tasks is started with the input `"in"`.
pub(crate) fn given(tasks: &[Node]) -> Story {
    given_document(&task("document", What::Do(tasks.to_vec())))
}

pub(crate) fn given_document(root: &Node) -> Story {
    let mut world = World::new(root, "\"in\"");
    world.go_on(1_000);
    Story { world, refused: None }
}

/// The same, whose steps go out only when policies allow it.
pub(crate) fn guarded(tasks: &[Node]) -> Story {
    let root = task("document", What::Do(tasks.to_vec()));
    let mut world = World::guarded(&root, "\"in\"").expect("the input fits");
    world.go_on(1_000);
    Story { world, refused: None }
}

impl Story {
    /// The one step that must not go out, or not yet.
    pub(crate) fn held(&self) -> (ActivationId, Attempt) {
        let mut held = self.world.instance.guarded_steps();
        held.next().map(|(id, step)| (id, step.attempt)).expect("a step is held")
    }

    /// The one step that a kill switch has stopped.
    pub(crate) fn stopped(&self) -> (ActivationId, Attempt) {
        let mut halted = self.world.instance.halted_steps();
        halted.next().map(|(id, step)| (id, step.attempt)).expect("a step is halted")
    }

    /// The one step that waits for its key.
    pub(crate) fn claiming(&self) -> (ActivationId, Attempt) {
        let mut claiming = self.world.instance.claiming_steps();
        claiming.next().map(|(id, step)| (id, step.attempt)).expect("a step wants its key")
    }

    /// What the instance says of a key that this step was the last to hold.
    pub(crate) fn word_on(&self, key: &str, last: ActivationId) -> State {
        self.world.instance.word_on_key(key, last)
    }

    /// How it stands with the one key that was held.
    pub(crate) fn key_state(&self) -> Option<State> {
        let (id, _) = self.world.instance.keys.first_key_value()?;
        self.world.instance.key_state(*id)
    }

    fn guard(&self) -> &Guard {
        let step = self.world.instance.guarded_step(self.held().0);
        step.and_then(|step| step.guard.as_deref()).expect("it is guarded")
    }

    pub(crate) fn standing(&self) -> Standing {
        self.guard().standing
    }

    pub(crate) fn remedies(&self) -> &BTreeSet<Remedy> {
        &self.guard().remedies
    }

    /// The groups that are still asked.
    pub(crate) fn asked(&self) -> Vec<String> {
        let people = self.guard().waits_for();
        people.into_iter().flat_map(People::groups).map(ToString::to_string).collect()
    }

    /// What people are asked about.
    pub(crate) fn digest(&self) -> Hash {
        let people = self.guard().people.as_deref();
        people.and_then(People::digest).expect("people are asked")
    }

    /// Whether so many of a group have approved what a policy wanted last.
    pub(crate) fn has_approved(&self, policy: &str, group: &str, quorum: u32) -> bool {
        let people = self.guard().people.as_deref();
        people.is_some_and(|people| people.are_enough(policy, group, quorum))
    }

    /// What goes with it into what it runs.
    pub(crate) fn carries(&self) -> Carried {
        self.world.instance.carries()
    }

    /// The one activation that runs another instance.
    pub(crate) fn child(&self) -> ActivationId {
        let instance = &self.world.instance;
        let mut ids = instance.activations.keys().copied();
        ids.find(|id| instance.open_child(*id).is_some()).expect("it runs another")
    }

    pub(crate) fn case(&self) -> &Case {
        &self.world.instance.case
    }

    pub(crate) fn tells(&self, wanted: impl Fn(&Event) -> bool) -> bool {
        self.world.events.iter().any(wanted)
    }

    pub(crate) fn when(mut self, command: Command) -> Self {
        self.refused = self.world.give(command).err().map(baton_core::Rejection::code);
        self.world.go_on(1_000);
        self
    }

    pub(crate) fn complete(self, step: &str, output: &str) -> Self {
        let found = self.step(step);
        self.when(complete(found, output))
    }

    /// Another attempt may go better.
    pub(crate) fn fail(self, step: &str) -> Self {
        let found = self.step(step);
        self.when(fail(found, true))
    }

    pub(crate) fn fail_for_good(self, step: &str) -> Self {
        let found = self.step(step);
        self.when(fail(found, false))
    }

    /// Time goes by, and what is due on the way is told in order.
    pub(crate) fn after_ms(mut self, ms: u64) -> Self {
        let until = self.world.now.plus(Duration(ms));
        let mut tried = Vec::new();
        while let Some((at, timer)) = self
            .world
            .timers()
            .into_iter()
            .find(|(at, timer)| *at <= until && !tried.contains(&format!("{at:?}{timer:?}")))
        {
            tried.push(format!("{at:?}{timer:?}"));
            self.world.now = self.world.now.max(at);
            self = self.when(timer);
        }
        self.world.now = until;
        self
    }

    pub(crate) fn suspend(self) -> Self {
        self.when(Command::Suspend { reason: "pause".into() })
    }

    pub(crate) fn resume(self) -> Self {
        self.when(Command::Resume)
    }

    pub(crate) fn rerun(self, task: u32, input: &str) -> Self {
        let (input, context) = (Json::from_text(input), Json::from_text("\"context\""));
        self.when(Command::Rerun { task: TaskId(task), input, context })
    }

    /// The names of the open steps.
    pub(crate) fn waits_for(self, steps: &[&str]) -> Self {
        let open: Vec<String> = self
            .world
            .instance
            .open_steps()
            .map(|(id, _)| self.world.name_of(self.world.instance.activations[&id].task))
            .collect();
        assert_eq!(open, steps);
        self
    }

    pub(crate) fn is(self, status: Status) -> Self {
        assert_eq!(self.world.instance.status(), status, "{:#?}", self.world.instance);
        self
    }

    pub(crate) fn refused(self, code: &str) -> Self {
        assert_eq!(self.refused, Some(code));
        self
    }

    pub(crate) fn completed(self, output: &str) -> Self {
        let ended = self.world.instance.ended.as_ref().map(|(_, end)| end);
        assert_eq!(ended, Some(&End::Completed(Json::from_text(output))));
        self
    }

    /// With an error whose type ends so.
    pub(crate) fn faulted(self, kind: &str) -> Self {
        let ended = self.world.instance.ended.as_ref().map(|(_, end)| end);
        assert!(
            matches!(ended, Some(End::Faulted(error)) if error.kind.ends_with(kind)),
            "{ended:?}"
        );
        self
    }

    pub(crate) fn step(&self, name: &str) -> (ActivationId, Attempt) {
        let instance = &self.world.instance;
        let named = |id| self.world.name_of(instance.activations[&id].task) == name;
        let (id, step) =
            instance.open_steps().find(|(id, _)| named(*id)).expect("a step of that name is open");
        (id, step.attempt)
    }

    pub(crate) fn arguments(self, step: &str, wanted: &str) -> Self {
        let (id, _) = self.step(step);
        let arguments = &self.world.instance.open_step(id).expect("open").arguments;
        assert_eq!(arguments.as_str(), wanted);
        self
    }

    pub(crate) fn context(self, wanted: &str) -> Self {
        assert_eq!(self.world.instance.context.as_str(), wanted);
        self
    }
}

pub(crate) fn task(name: &str, what: What) -> Node {
    node(name, what)
}

pub(crate) fn step(name: &str) -> Node {
    task(name, What::Step { attempts_max: 3, arguments: None, awaits: true, once: None })
}

/// A step that must happen once; `attach`: what another has done is enough.
pub(crate) fn once(name: &str, attach: bool) -> Node {
    let once = Some((text("\"pay:7\""), attach));
    task(name, What::Step { attempts_max: 3, arguments: None, awaits: true, once })
}

/// A step that only begins something.
pub(crate) fn unawaited(name: &str) -> Node {
    task(name, What::Step { attempts_max: 3, arguments: None, awaits: false, once: None })
}

/// A step that is given the values of these variables.
pub(crate) fn step_with(name: &str, variables: &[&'static str]) -> Node {
    let terms = variables.iter().map(|name| Term::Variable(name)).collect();
    task(
        name,
        What::Step { attempts_max: 3, arguments: Some(Term::All(terms)), awaits: true, once: None },
    )
}

pub(crate) fn set(value: &str) -> Node {
    task("set", What::Set(text(value)))
}

pub(crate) fn wait(ms: u64) -> Node {
    task("wait", What::Wait(text(&ms.to_string())))
}

pub(crate) fn raise(error: &str) -> Node {
    task("raise", What::Raise(text(error)))
}

pub(crate) fn list(name: &str, body: &[Node]) -> Node {
    task(name, What::Do(body.to_vec()))
}

pub(crate) fn fork(branches: &[Node]) -> Node {
    task("fork", What::Fork { compete: false, branches: branches.to_vec() })
}

pub(crate) fn race(branches: &[Node]) -> Node {
    task("race", What::Fork { compete: true, branches: branches.to_vec() })
}

pub(crate) fn each(items: &str, body: &[Node]) -> Node {
    task("for", What::For { items: text(items), condition: None, body: body.to_vec() })
}

/// The body for each item, so many at once.
pub(crate) fn map(items: &str, concurrency: u32, body: Node) -> Node {
    let (items, body) = (text(items), Box::new(body));
    task("map", What::Map { items, concurrency, collect: false, body })
}

/// An item that fails does not end it.
pub(crate) fn collecting(items: &str, concurrency: u32, body: Node) -> Node {
    let (items, body) = (text(items), Box::new(body));
    task("map", What::Map { items, concurrency, collect: true, body })
}

pub(crate) fn attempt(body: &[Node], handler: Handler) -> Node {
    task("try", What::Try { body: body.to_vec(), handler })
}

/// Catches everything and then does this.
pub(crate) fn caught_by(body: &[Node]) -> Handler {
    Handler { body: body.to_vec(), ..Handler::default() }
}

impl Node {
    pub(crate) fn only_if(self, condition: Term) -> Self {
        Self { condition: Some(condition), ..self }
    }

    pub(crate) fn within_ms(self, ms: u64) -> Self {
        Self { timeout_ms: Some(ms), ..self }
    }

    pub(crate) fn then(self, go: Go) -> Self {
        Self { then: go, ..self }
    }

    pub(crate) fn input(self, from: Term) -> Self {
        Self { input: Some(from), ..self }
    }

    pub(crate) fn output(self, shaped: Term) -> Self {
        Self { output: Some(shaped), ..self }
    }

    pub(crate) fn begins_anew(self) -> Self {
        Self { from_around: true, ..self }
    }

    /// `$task` tells of the task of this number; the document is 0.
    pub(crate) fn about(self, subject: u32) -> Self {
        Self { subject: Some(subject), ..self }
    }
}
