//! The four laws over random stories; [`World`] looks at them after every command.

use std::{
    collections::{BTreeSet, HashMap},
    mem::discriminant,
    sync::{Arc, Mutex},
    thread,
};

use baton_core::{
    ActivationId, Attempt, Command, Duration, Effect, Error, InstanceId, Json, Rejection, TaskId,
    command::Timer,
    error::Standard,
    event::{Origin, Report},
    guard::{Judgement, Remedy, Verdict, Wanted},
    once::{Answer, State},
    pending,
    workflow::Hash,
};
use proptest::{
    prelude::any,
    test_runner::{Config, TestRunner},
};

use crate::{
    build::Node,
    random::{Move, moves, root},
    world::World,
};

/// So many that the rarest kind of event comes up. `PROPTEST_CASES` multiplies them.
const STORIES: u32 = 20;

#[test]
fn the_laws_hold_in_every_story() {
    let seen = Arc::new(Mutex::new(HashMap::new()));
    let told = Arc::clone(&seen);
    // Random trees are built by recursion, with large frames where nothing is optimized.
    let teller = thread::Builder::new().stack_size(64 << 20).spawn(move || {
        let config = Config { failure_persistence: None, ..Config::default() };
        let config = Config { cases: config.cases * STORIES, ..config };
        TestRunner::new(config)
            .run(&(root(), any::<bool>(), moves()), |(root, guarded, moves)| {
                let world = tell(&root, guarded, moves);
                for event in world.iter().flat_map(|world| &world.events) {
                    *told.lock().unwrap().entry(discriminant(event)).or_insert(0_usize) += 1;
                }
                Ok(())
            })
            .map_err(|broken| broken.to_string())
    });
    let end = teller.expect("a thread can be started").join().expect("the runner catches panics");
    assert_eq!(end, Ok(()));
    let seen = seen.lock().unwrap();
    assert_eq!(seen.len(), 48, "the stories tell of every kind of event");
}

/// A start may be refused, and then there is no story.
fn tell(root: &Node, guarded: bool, moves: Vec<Move>) -> Option<World> {
    let world =
        if guarded { World::guarded(root, "\"in\"") } else { World::try_new(root, "\"in\"", true) };
    let mut world = world.ok()?;
    let mut last = None;
    for one in moves {
        play(&mut world, one, &mut last);
    }
    Some(world)
}

fn play(world: &mut World, one: Move, last: &mut Option<Command>) {
    if matches!(one, Move::Repeat) {
        if let Some(command) = last.take() {
            repeat(world, &command);
        }
        return;
    }
    let Some(command) = command(world, one) else { return };
    *last = world.give(command.clone()).is_ok().then_some(command);
}

/// Repetition: a command that counted does not count again.
fn repeat(world: &mut World, command: &Command) {
    let due_again = match command {
        // A timer may be due again, and there may be more to go on with.
        Command::FireTimer { activation, timer } => {
            let found = world.instance.activations.get(activation);
            found.and_then(|found| found.timer(*timer)).is_some_and(|at| at <= world.now)
        }
        Command::Continue => pending(&world.instance).contains(&Effect::Continue),
        // What lifts a denial may be done by then.
        Command::Judge { activation, attempt, .. } => {
            let (activation, attempt) = (*activation, *attempt);
            pending(&world.instance).contains(&Effect::AskPolicies { activation, attempt })
        }
        // It may have ended at once, and is then run again.
        Command::Rerun { .. } => world.instance.ended.is_some(),
        Command::CompleteStep { .. }
        | Command::FailStep { .. }
        | Command::ClaimApproval { .. }
        | Command::AnswerApproval { .. }
        | Command::VoidApprovals { .. }
        | Command::SettleKey { .. }
        | Command::ResolveKey { .. }
        | Command::HaltStep { .. }
        | Command::RearmStep { .. }
        | Command::Cancel { .. }
        | Command::Terminate { .. }
        | Command::Suspend { .. }
        | Command::Resume
        | Command::TakeEvent { .. }
        | Command::PublishedEvent { .. }
        | Command::EndChild { .. } => false,
    };
    let again = world.give(command.clone());
    assert!(due_again || again.is_err(), "repetition: {command:?} counted twice");
}

#[expect(clippy::too_many_lines, reason = "one arm for each move")]
fn command(world: &mut World, one: Move) -> Option<Command> {
    let open: Vec<(ActivationId, Attempt)> =
        world.instance.open_steps().map(|(id, step)| (id, step.attempt)).collect();
    let step = |which: usize| (!open.is_empty()).then(|| open[which % open.len()]);
    Some(match one {
        Move::Complete(which) => complete(step(which)?, "\"out\""),
        Move::Fail { which, retryable } => fail(step(which)?, retryable),
        Move::StaleAttempt { which, off } => {
            let (id, attempt) = step(which)?;
            complete((id, Attempt(attempt.0 + off)), "\"stale?\"")
        }
        Move::AnyStep { activation, attempt } => {
            complete((ActivationId(activation), Attempt(attempt)), "\"made up\"")
        }
        Move::Judge { which, verdict } => {
            let held: Vec<_> =
                world.instance.guarded_steps().map(|(id, s)| (id, s.attempt)).collect();
            let (activation, attempt) = *held.get(which % held.len().max(1))?;
            Command::Judge { activation, attempt, judgement: Arc::new(judgement(verdict)) }
        }
        Move::Answer { which, group, by, approves } => {
            let asked: Vec<_> = asked_people(world);
            let (activation, of, digest) = asked.get(which % asked.len().max(1))?.clone();
            let group = if group == 0 { of } else { "board".into() };
            let by = ["person starter", "person a", "person b", "person c"][by % 4].into();
            Command::AnswerApproval { activation, group, digest, by, approves, reason: "so".into() }
        }
        Move::Void { which } => {
            let asked: Vec<_> = asked_people(world);
            let (activation, ..) = asked.get(which % asked.len().max(1))?.clone();
            Command::VoidApprovals { activation, set: Hash([1; 32]) }
        }
        Move::Settle { which, answer } => {
            let claiming: Vec<_> =
                world.instance.claiming_steps().map(|(id, step)| (id, step.attempt)).collect();
            let (activation, attempt) = *claiming.get(which % claiming.len().max(1))?;
            Command::SettleKey { activation, attempt, answer: answer_of(answer) }
        }
        Move::Resolve { which, happened } => {
            let keys: Vec<_> = world.instance.keys.keys().copied().collect();
            let activation = *keys.get(which % keys.len().max(1))?;
            let (by, reason) = ("person a".into(), "looked".into());
            Command::ResolveKey { activation, happened, by, reason }
        }
        Move::Halt(which) => {
            let (activation, attempt) = step(which)?;
            Command::HaltStep { activation, attempt, switch: "7".into() }
        }
        Move::Late { which, well } => {
            let late = halted(world, which)?;
            if well { complete(late, "\"late\"") } else { fail(late, true) }
        }
        Move::Rearm(which) => {
            let (activation, attempt) = halted(world, which)?;
            Command::RearmStep { activation, attempt }
        }
        Move::Claim { which, by, release } => {
            let asked: Vec<_> = asked_people(world);
            let (activation, group, _) = asked.get(which % asked.len().max(1))?.clone();
            let by = ["person a", "person b", "person c"][by % 3].into();
            Command::ClaimApproval { activation, group, by, release }
        }
        Move::Fire(which) => {
            let timers = world.timers();
            timers.get(which % timers.len().max(1))?.1.clone()
        }
        Move::FireLate { which, late_ms } => {
            let timers = world.timers();
            let (at, command) = timers.get(which % timers.len().max(1))?;
            world.now = world.now.max(at.plus(Duration(late_ms)));
            command.clone()
        }
        Move::AnyTimer { activation, deadline } => Command::FireTimer {
            activation: ActivationId(activation),
            timer: if deadline { Timer::Deadline } else { Timer::Due },
        },
        Move::Pass { ms } => {
            world.now = world.now.plus(Duration(ms));
            return None;
        }
        Move::Continue => Command::Continue,
        Move::Suspend => Command::Suspend { reason: "pause".into() },
        Move::Resume => Command::Resume,
        Move::Cancel => Command::Cancel { reason: "enough".into() },
        Move::Terminate => Command::Terminate { reason: "enough".into() },
        Move::Rerun(task) => Command::Rerun {
            task: TaskId(task),
            input: Json::from_text("\"again\""),
            context: Json::empty_object(),
        },
        Move::Event { letter, position, floor } => {
            take(["\"a\"", "\"b\"", "\"ab\"", "\"c\""][letter % 4], position, floor)
        }
        Move::Published(which) => {
            let emits = asked(world, |effect| {
                if let Effect::PublishEvent { activation } = effect {
                    Some(*activation)
                } else {
                    None
                }
            });
            let activation = *emits.get(which % emits.len().max(1))?;
            Command::PublishedEvent { activation }
        }
        Move::ChildEnded { which, well } => {
            let runs = asked(world, |effect| {
                if let Effect::RunChild { activation } = effect { Some(*activation) } else { None }
            });
            let activation = *runs.get(which % runs.len().max(1))?;
            let error = Error::standard(Standard::Runtime, "Broken", "the child");
            let result = if well { Ok(Json::from_text("\"child\"")) } else { Err(error) };
            Command::EndChild {
                activation,
                result,
                carried: baton_core::guard::Carried {
                    taint: BTreeSet::from(["public".into()]),
                    cost: 3,
                },
            }
        }
        Move::AnyEnd { activation } => Command::EndChild {
            activation: ActivationId(activation),
            result: Ok(Json::from_text("\"made up\"")),
            carried: baton_core::guard::Carried::default(),
        },
        Move::Repeat => return None,
    })
}

/// What might be said to a step that wants its key.
pub(crate) fn answer_of(which: usize) -> Answer {
    let by = InstanceId([8; 16]);
    match which {
        0 => Answer::Refused { by, state: State::Claimed },
        1 => Answer::Refused { by, state: State::Unknown },
        2 => Answer::Attached { by, output: Json::from_text("\"another's\"") },
        _ => Answer::Held,
    }
}

fn halted(world: &World, which: usize) -> Option<(ActivationId, Attempt)> {
    let halted: Vec<_> =
        world.instance.halted_steps().map(|(id, step)| (id, step.attempt)).collect();
    halted.get(which % halted.len().max(1)).copied()
}

fn asked(world: &World, wanted: impl Fn(&Effect) -> Option<ActivationId>) -> Vec<ActivationId> {
    pending(&world.instance).iter().filter_map(wanted).collect()
}

/// What people are asked: step, group and digest.
fn asked_people(world: &World) -> Vec<(ActivationId, Arc<str>, Hash)> {
    let held = world.instance.guarded_steps();
    held.flat_map(|(id, step)| {
        let guard = step.guard.as_deref().expect("it is guarded");
        let people = guard.waits_for().into_iter();
        let asked = people.flat_map(|people| {
            let digest = people.digest().expect("something is asked");
            people.groups().into_iter().map(move |group| (id, Arc::clone(group), digest))
        });
        asked.collect::<Vec<_>>()
    })
    .collect()
}

/// What policies might say.
pub(crate) fn judgement(which: usize) -> Judgement {
    let unless = |remedies: &[Remedy]| {
        let wanted = remedies.iter().map(|remedy| Wanted {
            remedy: remedy.clone(),
            policy: "policy".into(),
            quorum: 1,
            due: None,
            reason: None,
            fallback: None,
        });
        Verdict::DenyUnless(wanted.collect())
    };
    let approval = |quorum, fallback: Option<Remedy>| Wanted {
        remedy: Remedy::Approval("managers".into()),
        policy: "policy".into(),
        quorum,
        due: fallback.is_some().then_some(Duration(500)),
        reason: None,
        fallback,
    };
    let verdict = match which {
        0 => Verdict::Deny,
        1 => unless(&[Remedy::Mask("in".into())]),
        2 => unless(&[Remedy::Escalate("board".into()), Remedy::Review("peers".into())]),
        3 => unless(&[Remedy::Approval("managers".into()), Remedy::Mask("out".into())]),
        4 => Verdict::DenyUnless(vec![approval(2, Some(Remedy::Approval("board".into())))]),
        5 => {
            let board = Wanted {
                remedy: Remedy::Approval("board".into()),
                policy: "another".into(),
                ..approval(1, None)
            };
            Verdict::DenyUnless(vec![approval(1, Some(Remedy::Escalate("lead".into()))), board])
        }
        6 => unless(&[Remedy::Wait("night".into())]),
        _ => Verdict::Allow,
    };
    Judgement {
        verdict,
        set: Hash([9; 32]),
        determining: vec!["policy".into()],
        errors: Vec::new(),
        question: Json::empty_object(),
        function: "tests.function".into(),
        classes: vec!["internal".into()],
        digest: Hash([u8::from(which == 4); 32]),
    }
}

/// The event of this text comes at this place.
pub(crate) fn take(event: &str, position: u64, floor: u64) -> Command {
    let origin = Origin {
        position,
        floor: floor.min(position),
        id: "id".into(),
        source: "source".into(),
        kind: "type".into(),
    };
    Command::TakeEvent { event: Json::from_text(event), origin, listener: None }
}

pub(crate) fn complete((activation, attempt): (ActivationId, Attempt), output: &str) -> Command {
    Command::CompleteStep {
        activation,
        attempt,
        output: Json::from_text(output),
        report: Report::default(),
    }
}

pub(crate) fn fail((activation, attempt): (ActivationId, Attempt), retryable: bool) -> Command {
    let error = Error::standard(Standard::Communication, "Down", "no answer");
    Command::FailStep { activation, attempt, error, retryable, report: Report::default() }
}

#[test]
fn a_refusal_has_a_code_of_its_own() {
    let all = [
        Rejection::InstanceEnded,
        Rejection::InstanceOpen,
        Rejection::InstanceSuspended,
        Rejection::InstanceNotSuspended,
        Rejection::UnknownStep,
        Rejection::StaleAttempt,
        Rejection::StaleTimer,
        Rejection::UnknownTask,
        Rejection::InvalidInput,
        Rejection::Idle,
        Rejection::NotAwaited,
        Rejection::EventTaken,
    ];
    let codes: std::collections::BTreeSet<_> = all.iter().map(|one| one.code()).collect();
    assert_eq!(codes.len(), all.len());
}
