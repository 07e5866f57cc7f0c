//! Steps in workers' hands.

use baton_core::{Attempt, instance::Status};

use crate::{
    laws::complete,
    story::{given, set, step, unawaited},
    table::{Term, text},
};

#[test]
fn a_redelivered_completion_is_rejected() {
    let story = given(&[step("charge"), step("next")]);
    let charge = story.step("charge");
    story
        .when(complete(charge, "1"))
        .waits_for(&["next"])
        .when(complete(charge, "1"))
        .refused("unknown-step")
        .waits_for(&["next"]);
}

#[test]
fn a_step_that_fails_is_tried_again_after_a_while() {
    given(&[step("charge")])
        .fail("charge")
        .waits_for(&[])
        .is(Status::Waiting)
        .after_ms(999)
        .waits_for(&[])
        .after_ms(1)
        .waits_for(&["charge"])
        .complete("charge", "1")
        .completed("1");
}

#[test]
fn a_late_answer_of_an_earlier_attempt_is_rejected() {
    let story = given(&[step("charge")]);
    let first = story.step("charge");
    story
        .fail("charge")
        .when(complete(first, "1"))
        .refused("stale-attempt")
        .after_ms(1_000)
        .when(complete(first, "1"))
        .refused("stale-attempt")
        .complete("charge", "2")
        .completed("2");
}

#[test]
fn an_attempt_that_was_never_made_is_rejected() {
    let story = given(&[step("charge")]);
    let (id, _) = story.step("charge");
    story.when(complete((id, Attempt(2)), "1")).refused("stale-attempt").waits_for(&["charge"]);
}

#[test]
fn the_last_attempt_faults_the_step() {
    given(&[step("charge")])
        .fail("charge")
        .after_ms(1_000)
        .fail("charge")
        .after_ms(2_000)
        .fail("charge")
        .faulted("communication");
}

#[test]
fn a_failure_for_good_is_not_tried_again() {
    given(&[step("charge")]).fail_for_good("charge").faulted("communication");
}

#[test]
fn a_step_that_nobody_awaits_hands_on_its_input() {
    given(&[set("1"), unawaited("begin").input(text("2")), step("next")])
        .complete("begin", "\"begun\"")
        .waits_for(&["next"])
        .complete("next", "3")
        .completed("3");
    let shaped = unawaited("begin").input(text("2")).output(Term::All(vec![Term::Value]));
    given(&[shaped]).complete("begin", "\"begun\"").completed("[2]");
}

#[test]
fn a_step_that_cannot_begin_faults_though_nobody_awaits_it() {
    given(&[unawaited("begin")]).fail_for_good("begin").faulted("communication");
}
