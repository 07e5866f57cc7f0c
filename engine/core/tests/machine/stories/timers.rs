//! Waits and timeouts, also while the instance is suspended.

use baton_core::{ActivationId, Command, command::Timer, instance::Status};

use crate::build::What;
use crate::story::{given, given_document, list, set, step, task, wait};

#[test]
fn a_wait_goes_on_in_time_and_not_before() {
    given(&[wait(100), step("next")])
        .is(Status::Waiting)
        .when(Command::FireTimer { activation: ActivationId(1), timer: Timer::Due })
        .refused("stale-timer")
        .after_ms(100)
        .waits_for(&["next"]);
}

#[test]
fn the_timeout_of_the_document_faults_the_instance() {
    given_document(&list("document", &[step("work")]).within_ms(100))
        .after_ms(100)
        .faulted("timeout");
}

#[test]
fn a_timeout_between_two_attempts_ends_the_step() {
    given(&[step("work").within_ms(500)]).fail("work").after_ms(500).faulted("timeout");
}

#[test]
fn nothing_new_begins_while_suspended() {
    given(&[step("first"), step("second")])
        .suspend()
        .is(Status::Suspended)
        .suspend()
        .refused("instance-suspended")
        .complete("first", "1")
        .waits_for(&[])
        .resume()
        .waits_for(&["second"])
        .resume()
        .refused("instance-not-suspended");
}

#[test]
fn an_attempt_that_is_due_while_suspended_goes_out_when_resumed() {
    given(&[step("work")])
        .fail("work")
        .suspend()
        .after_ms(1_000)
        .refused("instance-suspended")
        .waits_for(&[])
        .resume()
        .after_ms(0)
        .waits_for(&["work"]);
}

#[test]
fn time_stands_still_while_suspended_but_answers_count() {
    given(&[step("work").within_ms(100)])
        .suspend()
        .after_ms(200)
        .refused("instance-suspended")
        .waits_for(&["work"])
        .complete("work", "1")
        .resume()
        .completed("1");
}

#[test]
fn what_was_due_while_suspended_is_due_when_resumed() {
    given(&[step("work").within_ms(100)])
        .suspend()
        .after_ms(200)
        .resume()
        .waits_for(&["work"])
        .after_ms(0)
        .faulted("timeout");
    given(&[wait(100), step("next")])
        .suspend()
        .after_ms(200)
        .resume()
        .is(Status::Waiting)
        .after_ms(0)
        .waits_for(&["next"]);
}

#[test]
fn a_schedule_counts_from_the_time_before_whenever_it_is_told() {
    let tick = task("tick", What::Tick(700));
    given(&[tick, step("work")])
        .is(Status::Waiting)
        .after_ms(10_000)
        .waits_for(&["work"])
        .arguments("work", "1000700");
    given(&[set("1009000"), task("tick", What::Tick(700))]).after_ms(9_700).completed("1009700");
}

#[test]
fn a_schedule_without_a_time_ends_its_workflow() {
    given(&[task("tick", What::Tick(0)), step("never")]).completed("\"in\"");
}
