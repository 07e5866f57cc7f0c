//! The way through lists, conditions, loops and jumps.

use baton_core::instance::Status;

use crate::{
    build::{Go, What},
    story::{each, fork, given, list, set, step, step_with, task, wait},
    table::{Term, text},
};

#[test]
fn tasks_run_one_after_the_other_and_hand_on_their_output() {
    given(&[step("first"), step("second")])
        .waits_for(&["first"])
        .complete("first", "1")
        .waits_for(&["second"])
        .arguments("second", "1")
        .complete("second", "2")
        .completed("2");
}

#[test]
fn an_empty_workflow_hands_on_its_input() {
    given(&[]).completed("\"in\"");
}

#[test]
fn empty_lists_hand_on_their_input() {
    given(&[list("list", &[]), each("[1,2]", &[]), each("[]", &[set("1")])]).completed("\"in\"");
}

#[test]
fn skipped_tasks_hand_on_their_input() {
    let no = || text("false");
    given(&[set("1").only_if(no()), step("between"), set("2").only_if(no())])
        .arguments("between", "\"in\"")
        .complete("between", "3")
        .completed("3");
}

#[test]
fn a_loop_gives_each_item_and_its_place() {
    given(&[each("[5,6]", &[step_with("work", &["item", "index"])])])
        .arguments("work", "[5,0]")
        .complete("work", "1")
        .arguments("work", "[6,1]")
        .complete("work", "2")
        .completed("2");
}

#[test]
fn a_loop_ends_when_while_does_not_hold() {
    let body = vec![step("work")];
    let condition = Some(Term::ShorterThan(5));
    given(&[task("for", What::For { items: text("[1,2,3]"), condition, body })])
        .complete("work", "1")
        .complete("work", "\"long enough\"")
        .completed("\"long enough\"");
}

#[test]
fn inner_variables_hide_outer_ones() {
    given(&[each("[1,2]", &[each("[7]", &[step_with("work", &["item"])])])])
        .arguments("work", "[7]")
        .complete("work", "1")
        .complete("work", "2")
        .completed("2");
}

#[test]
fn a_switch_takes_the_first_case_that_holds() {
    let cases =
        vec![(Some(text("false")), Go::End), (Some(text("true")), Go::To(2)), (None, Go::To(1))];
    given(&[task("switch", What::Switch(cases)), step("passed-over"), step("taken")])
        .waits_for(&["taken"]);
}

#[test]
fn a_switch_without_a_match_goes_on() {
    given(&[task("switch", What::Switch(vec![(Some(text("false")), Go::End)])), step("next")])
        .waits_for(&["next"]);
}

#[test]
fn exit_leaves_the_list_only() {
    given(&[list("list", &[set("1").then(Go::Exit), step("left-out")]), step("next")])
        .waits_for(&["next"])
        .arguments("next", "1");
}

#[test]
fn end_ends_the_workflow_at_any_depth_and_withdraws_what_is_open() {
    let deep = list("outer", &[each("[1]", &[list("inner", &[step("last").then(Go::End)])])]);
    given(&[fork(&[step("other"), deep, wait(1_000)]), step("never")])
        .waits_for(&["other", "last"])
        .complete("last", "9")
        .completed("9");
}

#[test]
fn a_jump_back_begins_anew() {
    given(&[step("work").then(Go::To(0))])
        .complete("work", "1")
        .complete("work", "2")
        .waits_for(&["work"])
        .arguments("work", "2")
        .is(Status::Running);
}

#[test]
fn an_export_replaces_the_context() {
    let mut exported = set("1");
    exported.export = Some(Term::All(vec![Term::Value, Term::Context]));
    given(&[exported.clone(), exported]).context("[1,[1,{}]]");
}

#[test]
fn the_documents_own_output_is_made_at_its_end() {
    let mut document = list("document", &[set("1").then(Go::End), step("never")]);
    document.input = Some(text("2"));
    document.output = Some(Term::All(vec![Term::Input, Term::Value]));
    crate::story::given_document(&document).completed("[2,1]");
}

#[test]
fn a_task_may_begin_with_the_input_of_the_task_around_it() {
    let inside = [set("1"), step("work").begins_anew()];
    given(&[set("0"), list("list", &inside)])
        .arguments("work", "0")
        .complete("work", "2")
        .completed("2");
}

#[test]
fn what_an_extension_adds_speaks_of_the_task_that_it_extends() {
    let about = |id| task("added", What::Set(Term::Task)).about(id);
    given(&[set("0"), list("extended", &[set("1"), about(2)])]).completed("[\"extended\",0]");
    given(&[about(7)]).completed("[\"added\",\"in\"]");
}
