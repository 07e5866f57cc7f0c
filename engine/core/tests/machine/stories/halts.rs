//! Steps that a kill switch stops.

use baton_core::{Command, Event, instance::Status};

use crate::{
    laws::{complete, fail},
    story::{Story, fork, given, guarded, step},
};

impl Story {
    fn halted(self, step: &str) -> Self {
        let (activation, attempt) = self.step(step);
        self.when(Command::HaltStep { activation, attempt, switch: "7".into() })
    }

    fn rearmed(self) -> Self {
        let (activation, attempt) = self.stopped();
        self.when(Command::RearmStep { activation, attempt })
    }
}

#[test]
fn a_halted_step_is_nobodys_until_it_is_armed_again() {
    let story = given(&[step("pay")]).halted("pay").waits_for(&[]);
    let story = story.is(Status::Waiting).rearmed().waits_for(&["pay"]);
    assert_eq!(story.step("pay").1.0, 2, "whoever had the first attempt has it no more");
    story.arguments("pay", "\"in\"").complete("pay", "1").completed("1");
}

#[test]
fn a_late_answer_is_on_record_once_and_changes_nothing() {
    let story = given(&[step("pay")]).halted("pay");
    let late = story.stopped();
    let story = story.when(complete(late, "\"paid\"")).waits_for(&[]).is(Status::Waiting);
    assert!(story.tells(|event| matches!(event, Event::ResultFenced { result: Ok(_), .. })));
    let story = story.when(complete(late, "\"paid\"")).refused("stale-attempt");
    let story = story.when(fail(late, true)).refused("stale-attempt");
    // Not even when the step is on its way again.
    let story = story.rearmed().when(complete(late, "\"paid\"")).refused("stale-attempt");
    story.complete("pay", "1").completed("1");
}

#[test]
fn a_step_that_is_armed_again_is_judged_again() {
    let story = guarded(&[step("pay")]).judged(super::guards::ALLOW).halted("pay");
    let story = story.rearmed().waits_for(&[]);
    assert_eq!(story.held().1.0, 2);
    story.judged(super::guards::DENY).faulted("/authorization");
}

#[test]
fn a_halted_step_ends_with_what_is_around_it() {
    let story = given(&[fork(&[step("pay"), step("post")]).within_ms(500)]).halted("pay");
    story.after_ms(500).faulted("/timeout");
    let story = given(&[step("pay")]).halted("pay");
    story.when(Command::Cancel { reason: "enough".into() }).is(Status::Cancelled);
}

#[test]
fn nothing_is_armed_while_the_instance_is_suspended() {
    let story = given(&[step("pay")]).halted("pay").suspend().rearmed();
    story.refused("instance-suspended").resume().rearmed().waits_for(&["pay"]);
}

#[test]
fn only_what_is_out_is_halted() {
    let story = given(&[step("pay")]);
    let (activation, attempt) = story.step("pay");
    let halt = || Command::HaltStep { activation, attempt, switch: "7".into() };
    let story = story.when(halt()).when(halt()).refused("stale-attempt");
    story.rearmed().when(halt()).refused("stale-attempt").waits_for(&["pay"]);
}
