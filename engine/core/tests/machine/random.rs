//! Random workflows and random commands.

use proptest::{collection::vec, option, prelude::*};

use crate::{
    build::{Enough, Go, Handler, Listens, Node, Retries, What, node},
    table::{Term, text},
};

/// What somebody does next; numbers choose among what there is.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Move {
    Complete(usize),
    Fail { which: usize, retryable: bool },
    Judge { which: usize, verdict: usize },
    Answer { which: usize, group: usize, by: usize, approves: bool },
    Claim { which: usize, by: usize, release: bool },
    Void { which: usize },
    Settle { which: usize, answer: usize },
    Resolve { which: usize, happened: bool },
    Halt(usize),
    Late { which: usize, well: bool },
    Rearm(usize),
    StaleAttempt { which: usize, off: u32 },
    AnyStep { activation: u32, attempt: u32 },
    Fire(usize),
    FireLate { which: usize, late_ms: u64 },
    AnyTimer { activation: u32, deadline: bool },
    Pass { ms: u64 },
    Continue,
    Suspend,
    Resume,
    Cancel,
    Terminate,
    Rerun(u32),
    Event { letter: usize, position: u64, floor: u64 },
    Published(usize),
    ChildEnded { which: usize, well: bool },
    AnyEnd { activation: u32 },
    Repeat,
}

pub(crate) fn moves() -> impl Strategy<Value = Vec<Move>> {
    let which = 0usize..8;
    let one = prop_oneof![
        8 => which.clone().prop_map(Move::Complete),
        4 => (which.clone(), any::<bool>())
            .prop_map(|(which, retryable)| Move::Fail { which, retryable }),
        14 => (which.clone(), 0usize..10)
            .prop_map(|(which, verdict)| Move::Judge { which, verdict }),
        8 => (which.clone(), 0usize..2, 0usize..4, prop::bool::weighted(0.8))
            .prop_map(|(which, group, by, approves)| Move::Answer { which, group, by, approves }),
        4 => (which.clone(), 0usize..3, prop::bool::weighted(0.3))
            .prop_map(|(which, by, release)| Move::Claim { which, by, release }),
        1 => which.clone().prop_map(|which| Move::Void { which }),
        14 => (which.clone(), 0usize..8)
            .prop_map(|(which, answer)| Move::Settle { which, answer }),
        2 => (which.clone(), any::<bool>())
            .prop_map(|(which, happened)| Move::Resolve { which, happened }),
        3 => which.clone().prop_map(Move::Halt),
        2 => (which.clone(), any::<bool>()).prop_map(|(which, well)| Move::Late { which, well }),
        4 => which.clone().prop_map(Move::Rearm),
        1 => (which.clone(), 0u32..3).prop_map(|(which, off)| Move::StaleAttempt { which, off }),
        1 => (any::<u32>(), any::<u32>())
            .prop_map(|(activation, attempt)| Move::AnyStep { activation, attempt }),
        1 => which.clone().prop_map(Move::Fire),
        5 => (which, 0u64..5_000).prop_map(|(which, late_ms)| Move::FireLate { which, late_ms }),
        1 => (0u32..30, any::<bool>())
            .prop_map(|(activation, deadline)| Move::AnyTimer { activation, deadline }),
        1 => (0u64..3_000).prop_map(|ms| Move::Pass { ms }),
        3 => Just(Move::Continue),
        1 => Just(Move::Suspend),
        2 => Just(Move::Resume),
        1 => prop_oneof![5 => Just(Move::Continue), 1 => Just(Move::Cancel)],
        1 => prop_oneof![5 => Just(Move::Continue), 1 => Just(Move::Terminate)],
        1 => (0u32..12).prop_map(Move::Rerun),
        6 => (0usize..4, 1u64..40, 0u64..20)
            .prop_map(|(letter, position, floor)| Move::Event { letter, position, floor }),
        3 => (0usize..4).prop_map(Move::Published),
        3 => (0usize..4, any::<bool>())
            .prop_map(|(which, well)| Move::ChildEnded { which, well }),
        1 => (0u32..30).prop_map(|activation| Move::AnyEnd { activation }),
        4 => Just(Move::Repeat),
    ];
    vec(one, 1..40)
}

/// A document.
pub(crate) fn root() -> impl Strategy<Value = Node> {
    (list(tasks()), option::weighted(0.2, 1u64..4_000), option::weighted(0.1, term())).prop_map(
        |(body, timeout_ms, output)| Node { output, timeout_ms, ..node("root", What::Do(body)) },
    )
}

fn tasks() -> BoxedStrategy<Node> {
    dress(leaf())
        .prop_recursive(4, 24, 4, |inner| {
            dress(prop_oneof![
                2 => list(inner.clone()).prop_map(What::Do),
                2 => (items(), option::weighted(0.3, condition()), list(inner.clone()))
                    .prop_map(|(items, condition, body)| What::For { items, condition, body }),
                3 => (any::<bool>(), list(inner.clone()))
                    .prop_map(|(compete, branches)| What::Fork { compete, branches }),
                3 => (items(), 1u32..4, any::<bool>(), inner.clone()).prop_map(
                    |(items, concurrency, collect, body)| What::Map {
                        items,
                        concurrency,
                        collect,
                        body: Box::new(body),
                    }
                ),
                3 => (list(inner.clone()), handler(inner.clone()))
                    .prop_map(|(body, handler)| What::Try { body, handler }),
                2 => (listens(), list(inner))
                    .prop_map(|(listens, body)| What::Listen(Listens { body: Some(body), ..listens })),
            ])
        })
        .boxed()
}

fn list(task: impl Strategy<Value = Node> + Clone + 'static) -> impl Strategy<Value = Vec<Node>> {
    vec(task, 0..4)
}

fn leaf() -> impl Strategy<Value = What> {
    prop_oneof![
        6 => (1u32..4, option::weighted(0.3, term()), prop::bool::weighted(0.9), once())
            .prop_map(|(attempts_max, arguments, awaits, once)| What::Step {
                attempts_max,
                arguments,
                awaits,
                once,
            }),
        2 => term().prop_map(What::Set),
        1 => vec((option::weighted(0.7, condition()), go()), 0..3).prop_map(What::Switch),
        1 => prop_oneof![Just("sad 500"), Just("odd 418")].prop_map(|error| What::Raise(text(error))),
        2 => prop_oneof![Just("0"), Just("700")].prop_map(|after| What::Wait(text(after))),
        1 => prop_oneof![Just(0), Just(700)].prop_map(What::Tick),
        1 => term().prop_map(What::Emit),
        3 => listens().prop_map(What::Listen),
        2 => (any::<bool>(), term()).prop_map(|(awaited, input)| What::Run { awaited, input }),
    ]
}

fn once() -> impl Strategy<Value = Option<(Term, bool)>> {
    let key = prop_oneof![4 => Just("\"key\""), 1 => Just("7"), 1 => Just("null")];
    option::weighted(0.3, (key.prop_map(text), any::<bool>()))
}

fn listens() -> impl Strategy<Value = Listens> {
    let letters = prop_oneof![Just("a"), Just("ab")];
    let expect = option::weighted(0.3, Just(text("\"a\"")));
    let correlate = option::weighted(0.3, (Just(Term::Value), expect));
    (letters, correlate, enough()).prop_map(|(letters, correlate, until)| Listens {
        letters,
        correlate,
        until,
        body: None,
    })
}

fn enough() -> impl Strategy<Value = Enough> {
    prop_oneof![
        Just(Enough::First),
        Just(Enough::All),
        condition().prop_map(Enough::Holds),
        any::<bool>().prop_map(|all| Enough::Events { letters: "bc", all }),
    ]
}

/// With the properties that every task can have.
fn dress(what: impl Strategy<Value = What> + 'static) -> BoxedStrategy<Node> {
    let terms = (
        option::weighted(0.15, condition()),
        option::weighted(0.1, term()),
        option::weighted(0.1, term()),
        option::weighted(0.1, term()),
    );
    let timeout = option::weighted(0.2, 0u64..3_000);
    let undo = leaf().prop_map(|what| node("undoing", what));
    let undo = option::weighted(0.2, vec(undo, 0..3));
    let schema = option::weighted(0.05, 1u32..60);
    (what, terms, (timeout, undo), schema, (go(), prop::bool::weighted(0.1)))
        .prop_map(|(what, (condition, input, output, export), (timeout_ms, undo), most, after)| {
            Node {
                condition,
                input,
                output,
                export,
                timeout_ms,
                undo,
                output_bytes_max: most,
                then: after.0,
                from_around: after.1,
                ..node("task", what)
            }
        })
        .boxed()
}

fn handler(inner: impl Strategy<Value = Node> + Clone + 'static) -> impl Strategy<Value = Handler> {
    let filter = (option::weighted(0.3, prop_oneof![Just(500), Just(418), Just(408)]), condition());
    let retries = option::weighted(0.6, retries());
    (filter, any::<bool>(), retries, list(inner), option::weighted(0.2, end_or_on())).prop_map(
        |((status, when), asks, retries, body, then)| Handler {
            status,
            when: asks.then_some(when),
            retries,
            body,
            then,
        },
    )
}

fn retries() -> impl Strategy<Value = Retries> {
    (0u64..1_000, any::<bool>(), option::of(0u64..50), option::of(1u32..4), option::of(0u64..2_000))
        .prop_map(|(delay_ms, exponential, jitter_ms, attempts_max, duration_max_ms)| Retries {
            when: None,
            delay_ms,
            exponential,
            jitter_ms,
            attempts_max,
            duration_max_ms,
        })
}

fn go() -> impl Strategy<Value = Go> {
    prop_oneof![
        20 => Just(Go::On),
        2 => Just(Go::Exit),
        1 => Just(Go::End),
        2 => (0usize..4).prop_map(Go::To),
    ]
}

fn end_or_on() -> impl Strategy<Value = Go> {
    prop_oneof![Just(Go::On), Just(Go::Exit), Just(Go::End)]
}

fn items() -> impl Strategy<Value = Term> {
    prop_oneof![Just("[]"), Just("[1]"), Just("[1,2,3]")].prop_map(text)
}

fn condition() -> impl Strategy<Value = Term> {
    prop_oneof![
        4 => Just(text("true")),
        2 => Just(text("false")),
        2 => (1usize..40).prop_map(Term::ShorterThan),
        1 => Just(Term::Fails),
    ]
}

fn term() -> impl Strategy<Value = Term> {
    prop_oneof![
        3 => Just(text("7")),
        1 => Just(Term::Value),
        1 => Just(Term::Input),
        1 => Just(Term::Context),
        1 => Just(Term::All(vec![Term::Variable("item"), Term::Variable("error")])),
        1 => Just(Term::Fails),
    ]
}
