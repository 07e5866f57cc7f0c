//! Branches at the same time.

use crate::{
    build::Go,
    story::{attempt, caught_by, fork, given, list, race, raise, set, step, wait},
    table::{Term, text},
};

#[test]
fn a_fork_gathers_its_outputs_in_the_order_of_its_branches() {
    given(&[fork(&[step("a"), step("b"), set("3")])])
        .waits_for(&["a", "b"])
        .complete("b", "2")
        .complete("a", "1")
        .completed("[1,2,3]");
}

#[test]
fn a_skipped_branch_hands_on_its_input() {
    let no = || text("false");
    given(&[fork(&[set("1").only_if(no()), step("a"), set("3").only_if(no())])])
        .complete("a", "2")
        .completed("[\"in\",2,\"in\"]");
    given(&[fork(&[set("1").only_if(no())])]).completed("[\"in\"]");
}

#[test]
fn a_fork_without_branches_is_done() {
    given(&[fork(&[])]).completed("[]");
}

#[test]
fn a_race_is_won_by_the_first_and_the_others_are_withdrawn() {
    given(&[race(&[step("a"), list("list", &[step("b")]), wait(10)]), step("next")])
        .complete("b", "2")
        .waits_for(&["next"])
        .arguments("next", "2");
}

#[test]
fn a_skipped_branch_does_not_win_a_race() {
    let no = || text("false");
    given(&[race(&[set("1").only_if(no()), step("a")])])
        .waits_for(&["a"])
        .complete("a", "2")
        .completed("2");
    given(&[race(&[set("1").only_if(no()), set("2").only_if(no())])]).completed("\"in\"");
}

#[test]
fn a_race_that_is_won_stays_won() {
    given(&[race(&[step("a"), step("b").within_ms(50)])])
        .suspend()
        .complete("a", "1")
        .after_ms(50)
        .resume()
        .completed("1");
    given(&[race(&[set("1"), raise("sad 500")])]).completed("1");
    given(&[race(&[raise("sad 500"), set("1")])]).faulted("sad");
}

#[test]
fn an_error_in_a_branch_ends_the_fork_and_withdraws_the_rest() {
    given(&[attempt(&[fork(&[step("a"), step("b"), step("c")])], caught_by(&[step("handle")]))])
        .fail_for_good("b")
        .waits_for(&["handle"]);
}

#[test]
fn an_error_before_all_branches_are_entered_ends_the_fork() {
    given(&[fork(&[set("1").only_if(Term::Fails), step("never")])]).faulted("expression");
}

#[test]
fn exit_in_a_branch_ends_the_branch_only() {
    given(&[fork(&[list("list", &[set("1").then(Go::Exit), step("left-out")]), step("a")])])
        .waits_for(&["a"])
        .complete("a", "2")
        .completed("[1,2]");
}

#[test]
fn the_timeout_of_a_fork_withdraws_all_branches() {
    given(&[attempt(&[fork(&[step("a"), step("b")]).within_ms(10)], caught_by(&[step("c")]))])
        .after_ms(10)
        .waits_for(&["c"]);
}

#[test]
fn forks_that_multiply_their_value_fault_at_the_bound() {
    let no = || text("false");
    let skipped = [set("1").only_if(no()), set("2").only_if(no())];
    given(&[fork(&skipped).then(Go::To(0))]).faulted("runtime");
}
