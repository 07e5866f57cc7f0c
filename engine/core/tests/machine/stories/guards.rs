//! Steps that go out only when policies allow it.

use std::sync::Arc;

use baton_core::{
    Command, Event,
    guard::{Judgement, Remedy, Standing, Verdict},
    instance::Status,
};

use crate::{
    laws::judgement,
    story::{Story, attempt, caught_by, guarded, set, step, step_with, wait},
};

const ALLOW: usize = 7;
const DENY: usize = 0;
const MASK: usize = 1;
const TELL: usize = 2;
const APPROVE: usize = 3;

impl Story {
    /// Policies say this of the one step that they are asked about.
    fn judged(self, which: usize) -> Self {
        self.judged_as(judgement(which))
    }

    fn judged_as(self, judgement: Judgement) -> Self {
        let (activation, attempt) = self.held();
        self.when(Command::Judge { activation, attempt, judgement: Arc::new(judgement) })
    }
}

#[test]
fn a_step_goes_out_only_when_it_is_allowed() {
    let story = guarded(&[step("pay")]).waits_for(&[]).is(Status::Waiting);
    let (activation, attempt) = story.held();
    // Nobody was asked for it, so nobody can have done it.
    let story = story.when(crate::laws::complete((activation, attempt), "1"));
    story
        .refused("stale-attempt")
        .judged(ALLOW)
        .waits_for(&["pay"])
        .complete("pay", "1")
        .completed("1");
}

#[test]
fn a_denied_step_fails_in_a_way_that_can_be_caught() {
    guarded(&[step("pay")]).judged(DENY).faulted("/authorization");
    guarded(&[attempt(&[step("pay")], caught_by(&[set("\"refused\"")]))])
        .judged(DENY)
        .completed("\"refused\"");
}

#[test]
fn a_mask_takes_the_field_out_before_policies_are_asked_again() {
    let story = guarded(&[step_with("pay", &["in"])]);
    let story = story.judged(MASK).waits_for(&[]);
    assert_eq!(story.standing(), Standing::Unjudged);
    story.judged(ALLOW).waits_for(&["pay"]);
}

#[test]
fn what_is_done_and_lifts_nothing_is_not_done_again() {
    guarded(&[step("pay")]).judged(MASK).judged(MASK).faulted("/authorization");
    guarded(&[step("pay")]).judged(TELL).judged(MASK).judged(ALLOW).waits_for(&["pay"]);
}

#[test]
fn what_nobody_can_give_denies() {
    guarded(&[step("pay")]).judged(APPROVE).faulted("/authorization");
    let nothing = Judgement { verdict: Verdict::DenyUnless(Vec::new()), ..judgement(DENY) };
    guarded(&[step("pay")]).judged_as(nothing).faulted("/authorization");
}

#[test]
fn each_attempt_is_judged() {
    let story = guarded(&[step("pay")]).judged(TELL).judged(ALLOW).fail("pay").after_ms(1_000);
    let story = story.waits_for(&[]);
    assert_eq!(story.held().1.0, 2);
    // What was done for the first attempt is done.
    assert!(story.remedies().contains(&Remedy::Review("peers".into())));
    story.judged(DENY).faulted("/authorization");
}

#[test]
fn an_answer_of_policies_counts_once() {
    let story = guarded(&[step("pay")]);
    let (activation, attempt) = story.held();
    let late = Command::Judge { activation, attempt, judgement: Arc::new(judgement(DENY)) };
    story.judged(ALLOW).when(late).refused("not-awaited").waits_for(&["pay"]);
}

#[test]
fn nothing_goes_out_while_it_is_suspended() {
    let story = guarded(&[step("pay")]).suspend().judged(ALLOW).refused("instance-suspended");
    story.resume().judged(ALLOW).waits_for(&["pay"]);
}

#[test]
fn what_policies_know_of_a_case_grows_with_it() {
    let story = guarded(&[step("pay"), wait(10)]);
    assert_eq!(story.case().taint.len(), 0);
    let story = story.judged(ALLOW);
    assert!(story.case().taint.contains("internal"), "its data has flowed into the case");
    assert_eq!(story.case().done.len(), 0, "nobody has answered");
    let story = story.complete("pay", "1");
    assert!(story.case().done.contains("tests.function"));
}

#[test]
fn what_was_denied_leaves_no_trace_of_its_data() {
    let story = guarded(&[attempt(&[step("pay")], caught_by(&[wait(10)]))]).judged(DENY);
    assert_eq!(story.case().taint.len(), 0);
    assert!(story.tells(|event| matches!(event, Event::StepJudged { .. })));
}
