//! The end of an instance, and the way back from it.

use baton_core::{Command, instance::Status};

use crate::{
    story::{given, given_document, list, step, wait},
    table::{Term, text},
};

#[test]
fn a_cancelled_instance_withdraws_its_steps_and_takes_nothing_more() {
    let story = given(&[step("work")]);
    let work = story.step("work");
    story
        .when(Command::Cancel { reason: "enough".into() })
        .is(Status::Cancelled)
        .when(crate::laws::complete(work, "1"))
        .refused("instance-ended")
        .when(Command::Cancel { reason: "enough".into() })
        .refused("instance-ended");
}

#[test]
fn a_suspended_instance_can_be_terminated() {
    given(&[wait(5)])
        .suspend()
        .when(Command::Terminate { reason: "enough".into() })
        .is(Status::Cancelled);
}

#[test]
fn there_is_nothing_to_go_on_with_while_it_waits() {
    given(&[step("work")]).when(Command::Continue).refused("idle");
}

#[test]
fn a_rerun_goes_on_from_its_task_whatever_the_end_was() {
    let tasks = [step("first"), step("second")];
    let ended = [
        given(&tasks).complete("first", "1").complete("second", "2"),
        given(&tasks).fail_for_good("first"),
        given(&tasks).when(Command::Cancel { reason: "enough".into() }),
    ];
    for story in ended {
        story
            .rerun(2, "\"again\"")
            .waits_for(&["second"])
            .arguments("second", "\"again\"")
            .context("\"context\"")
            .complete("second", "3")
            .completed("3");
    }
}

#[test]
fn a_rerun_gives_new_numbers_so_that_old_answers_are_not_taken() {
    let story = given(&[step("work")]);
    let before = story.step("work");
    let story = story.complete("work", "1").rerun(1, "2").waits_for(&["work"]);
    assert_ne!(story.step("work").0, before.0);
    story.when(crate::laws::complete(before, "3")).refused("unknown-step");
}

#[test]
fn a_rerun_has_the_documents_own_input_and_timeout_again() {
    let mut document = list("document", &[step("work")]).within_ms(100);
    document.input = Some(text("5"));
    document.output = Some(Term::All(vec![Term::Input, Term::Value]));
    given_document(&document)
        .complete("work", "1")
        .completed("[5,1]")
        .rerun(1, "2")
        .complete("work", "3")
        .completed("[5,3]")
        .rerun(1, "2")
        .after_ms(100)
        .faulted("timeout");
}

#[test]
fn only_an_ended_instance_is_rerun_and_only_from_a_task_of_its_list() {
    given(&[list("list", &[step("inner")])])
        .rerun(1, "1")
        .refused("instance-open")
        .complete("inner", "1")
        .rerun(2, "1")
        .refused("unknown-task")
        .rerun(0, "1")
        .refused("unknown-task")
        .rerun(99, "1")
        .refused("unknown-task");
}
