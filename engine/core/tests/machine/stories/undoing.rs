//! What was done is undone before the instance ends, unless it ends well.

use baton_core::{Command, instance::Status};

use crate::{
    build::{Go, Node},
    story::{attempt, caught_by, each, fork, given, given_document, list, raise, set, step, wait},
};

/// A step that another step undoes.
fn undoable(name: &str) -> Node {
    Node { undo: Some(vec![step(&format!("undo {name}"))]), ..step(name) }
}

fn cancel() -> Command {
    Command::Cancel { reason: "enough".into() }
}

#[test]
fn a_fault_undoes_what_was_done_the_last_first_and_keeps_its_error() {
    given(&[undoable("reserve"), step("look"), undoable("pay"), raise("sad 500")])
        .complete("reserve", "\"r\"")
        .complete("look", "1")
        .complete("pay", "\"p\"")
        .waits_for(&["undo pay"])
        .is(Status::Running)
        .arguments("undo pay", "{\"input\":1,\"output\":\"p\"}")
        .complete("undo pay", "null")
        .waits_for(&["undo reserve"])
        .arguments("undo reserve", "{\"input\":\"in\",\"output\":\"r\"}")
        .complete("undo reserve", "null")
        .faulted("sad");
}

#[test]
fn cancelling_withdraws_what_is_open_and_undoes_what_was_done() {
    given(&[undoable("pay"), undoable("ship")])
        .complete("pay", "1")
        .waits_for(&["ship"])
        .when(cancel())
        // What has not completed is not undone.
        .waits_for(&["undo pay"])
        .when(cancel())
        .refused("instance-compensating")
        .complete("undo pay", "2")
        .is(Status::Cancelled);
}

#[test]
fn terminating_undoes_nothing_not_even_the_rest() {
    given(&[undoable("pay"), step("ship")])
        .complete("pay", "1")
        .when(Command::Terminate { reason: "now".into() })
        .is(Status::Cancelled)
        .waits_for(&[]);
    given(&[undoable("a"), undoable("b"), step("ship")])
        .complete("a", "1")
        .complete("b", "1")
        .when(cancel())
        .waits_for(&["undo b"])
        .when(Command::Terminate { reason: "now".into() })
        .is(Status::Cancelled)
        .waits_for(&[]);
}

#[test]
fn a_good_end_and_an_error_that_is_caught_undo_nothing() {
    given(&[undoable("pay")]).complete("pay", "1").completed("1");
    given(&[attempt(&[undoable("pay"), raise("sad 500")], caught_by(&[])), step("go on")])
        .complete("pay", "1")
        .waits_for(&["go on"]);
}

#[test]
fn what_cannot_be_undone_shows_and_the_rest_is_undone() {
    for begin in [false, true] {
        let story = given(&[undoable("a"), undoable("b"), step("work")]);
        let story = story.complete("a", "1").complete("b", "1");
        let story = if begin { story.when(cancel()) } else { story.fail_for_good("work") };
        story
            .fail_for_good("undo b")
            .waits_for(&["undo a"])
            .complete("undo a", "1")
            .faulted("runtime");
    }
}

#[test]
fn a_suspended_instance_undoes_when_it_is_cancelled_and_can_be_suspended_meanwhile() {
    given(&[undoable("pay"), wait(5)])
        .complete("pay", "1")
        .suspend()
        .when(cancel())
        .waits_for(&["undo pay"])
        .suspend()
        .complete("undo pay", "1")
        .is(Status::Suspended)
        .resume()
        .is(Status::Cancelled);
}

#[test]
fn the_timeout_of_the_whole_ends_the_work_and_not_the_undoing() {
    given_document(&list("document", &[undoable("pay"), step("ship")]).within_ms(1_000))
        .complete("pay", "1")
        .after_ms(1_000)
        .waits_for(&["undo pay"])
        .after_ms(60_000)
        .complete("undo pay", "1")
        .faulted("timeout");
}

#[test]
fn each_branch_and_each_pass_is_undone() {
    given(&[fork(&[undoable("a"), undoable("b")]), raise("sad 500")])
        .complete("b", "1")
        .complete("a", "1")
        .waits_for(&["undo a"])
        .complete("undo a", "1")
        .waits_for(&["undo b"])
        .complete("undo b", "1")
        .faulted("sad");
    let one = Node { undo: Some(vec![step("undo one")]), ..set("1") };
    given(&[each("[1, 2]", &[one]), raise("sad 500")])
        .complete("undo one", "1")
        .complete("undo one", "1")
        .faulted("sad");
}

#[test]
fn ending_in_what_undoes_ends_only_that() {
    let undo = vec![step("undo b").then(Go::End), step("never")];
    given(&[undoable("a"), Node { undo: Some(undo), ..step("b") }, raise("sad 500")])
        .complete("a", "1")
        .complete("b", "1")
        .complete("undo b", "1")
        .waits_for(&["undo a"])
        .complete("undo a", "1")
        .faulted("sad");
}

#[test]
fn a_rerun_begins_with_nothing_to_undo() {
    given(&[undoable("pay"), step("ship")])
        .complete("pay", "1")
        .fail_for_good("ship")
        .complete("undo pay", "1")
        .rerun(1, "2")
        .complete("pay", "3")
        .complete("ship", "4")
        .completed("4");
}
