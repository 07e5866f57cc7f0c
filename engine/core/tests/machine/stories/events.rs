//! Events and other instances: what they are taken for, once, and what becomes of whoever waits.

use baton_core::{ActivationId, Command, Error, Json, error::Standard, instance::Status};

use crate::{
    build::{Enough, Listens, Node, What},
    laws::take,
    story::{attempt, caught_by, fork, given, list, race, set, step, step_with, task},
    table::{Term, text},
};

fn listen(letters: &'static str, until: Enough) -> Node {
    task("listen", What::Listen(Listens { letters, correlate: None, until, body: None }))
}

fn correlated(letters: &'static str, until: Enough, expect: Option<Term>) -> Node {
    let correlate = Some((Term::Value, expect));
    task("listen", What::Listen(Listens { letters, correlate, until, body: None }))
}

fn each(letters: &'static str, until: Enough, body: &[Node]) -> Node {
    let body = Some(body.to_vec());
    task("listen", What::Listen(Listens { letters, correlate: None, until, body }))
}

fn event(text: &str, position: u64) -> Command {
    take(text, position, 0)
}

fn run(awaited: bool) -> Node {
    task("run", What::Run { awaited, input: Term::Value })
}

fn ended(activation: u32, well: bool) -> Command {
    let error = Error::standard(Standard::Runtime, "Broken", "the child");
    let result = if well { Ok(Json::from_text("\"child\"")) } else { Err(error) };
    Command::EndChild {
        activation: ActivationId(activation),
        result,
        carried: baton_core::guard::Carried::default(),
    }
}

#[test]
fn the_first_event_that_fits_ends_a_listen_for_one() {
    given(&[listen("a", Enough::First)])
        .is(Status::Waiting)
        .when(event("\"b\"", 1))
        .refused("not-awaited")
        .when(event("\"a\"", 2))
        .completed("[\"a\"]");
}

#[test]
fn all_takes_one_event_for_each_filter() {
    given(&[listen("ab", Enough::All)])
        .when(event("\"b1\"", 1))
        .when(event("\"b2\"", 2))
        .refused("not-awaited")
        .when(event("\"a\"", 3))
        .completed("[\"b1\",\"a\"]");
}

#[test]
fn any_goes_on_until_its_condition_holds_of_the_events_so_far() {
    given(&[listen("ab", Enough::Holds(Term::ShorterThan(6)))])
        .when(event("\"a\"", 1))
        .completed("[\"a\"]");
    given(&[listen("ab", Enough::Holds(text("false")))])
        .when(event("\"a\"", 1))
        .when(event("\"b\"", 2))
        .is(Status::Waiting);
}

#[test]
fn events_that_only_end_a_listen_are_not_in_its_output() {
    given(&[listen("a", Enough::Events { letters: "xy", all: true })])
        .when(event("\"a\"", 1))
        .when(event("\"x\"", 2))
        .when(event("\"a2\"", 3))
        .when(event("\"y\"", 4))
        .completed("[\"a\",\"a2\"]");
}

#[test]
fn an_instance_takes_an_event_once() {
    given(&[listen("a", Enough::First), listen("a", Enough::First)])
        .when(event("\"a\"", 7))
        .when(event("\"a\"", 7))
        .refused("event-taken")
        .when(event("\"a2\"", 8))
        .completed("[\"a2\"]");
}

#[test]
fn two_that_listen_at_once_both_take_an_event() {
    given(&[fork(&[listen("a", Enough::First), listen("a", Enough::First)])])
        .when(event("\"a\"", 1))
        .completed("[[\"a\"],[\"a\"]]");
}

#[test]
fn the_first_event_says_what_those_after_it_must() {
    given(&[correlated("ab", Enough::All, None)])
        .when(event("\"ab\"", 1))
        .when(event("\"b\"", 2))
        .refused("not-awaited")
        .when(event("\"ab\"", 3))
        .completed("[\"ab\",\"ab\"]");
}

#[test]
fn what_is_expected_is_asked_when_the_listen_begins() {
    given(&[set("\"a7\""), correlated("a", Enough::First, Some(Term::Value))])
        .when(event("\"a8\"", 1))
        .refused("not-awaited")
        .when(event("\"a7\"", 2))
        .completed("[\"a7\"]");
}

#[test]
fn each_event_has_a_pass_of_its_own_one_after_another() {
    let body = [step_with("work", &["item", "index"])];
    given(&[each("a", Enough::Events { letters: "x", all: false }, &body)])
        .when(event("\"a1\"", 1))
        .when(event("\"a2\"", 2))
        .waits_for(&["work"])
        .arguments("work", "[\"a1\",0]")
        .complete("work", "\"one\"")
        .context("\"one\"")
        .arguments("work", "[\"a2\",1]")
        .when(event("\"x\"", 3))
        .complete("work", "\"two\"")
        .completed("[\"one\",\"two\"]");
}

#[test]
fn a_timeout_ends_a_listen() {
    given(&[listen("a", Enough::First).within_ms(500)]).after_ms(600).faulted("/timeout");
    given(&[listen("a", Enough::First).within_ms(500), step("after")])
        .when(event("\"a\"", 1))
        .after_ms(600)
        .waits_for(&["after"]);
}

#[test]
fn a_suspended_instance_takes_events_and_goes_on_later() {
    given(&[listen("a", Enough::First), step("after")])
        .suspend()
        .when(event("\"a\"", 1))
        .waits_for(&[])
        .resume()
        .waits_for(&["after"]);
}

#[test]
fn an_emit_waits_until_its_event_is_stored() {
    let published = Command::PublishedEvent { activation: ActivationId(1) };
    given(&[task("emit", What::Emit(text("7")))])
        .is(Status::Waiting)
        .when(published.clone())
        .completed("[\"/tests/workflow\",7]");
    given(&[step("other")]).when(published).refused("not-awaited");
}

#[test]
fn a_run_that_is_awaited_takes_the_output_of_its_child() {
    given(&[run(true), step("after")])
        .is(Status::Waiting)
        .when(ended(1, true))
        .waits_for(&["after"])
        .arguments("after", "\"child\"")
        .when(ended(1, true))
        .refused("not-awaited");
}

#[test]
fn a_run_that_nobody_awaits_hands_its_input_on() {
    given(&[run(false)]).when(ended(1, true)).completed("\"in\"");
    given(&[run(false)]).when(ended(1, false)).faulted("/runtime");
}

#[test]
fn the_error_of_a_child_is_that_of_its_run() {
    given(&[attempt(&[run(true)], caught_by(&[set("\"caught\"")]))])
        .when(ended(2, false))
        .completed("\"caught\"");
    given(&[run(true)]).when(ended(1, false)).faulted("/runtime");
}

#[test]
fn a_child_that_lost_the_race_is_cancelled() {
    given(&[race(&[run(true), step("fast")])])
        .complete("fast", "1")
        .completed("1")
        .when(ended(2, true))
        .refused("instance-ended");
    given(&[list("around", &[run(true)]).within_ms(100)]).after_ms(200).faulted("/timeout");
}
