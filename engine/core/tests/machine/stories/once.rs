//! Steps that must happen once, whoever asks for them.

use baton_core::{
    Command, InstanceId, Json,
    instance::Status,
    once::{Answer, State},
};

use super::guards::{ALLOW, DENY};
use crate::{
    laws::fail,
    story::{Story, attempt, caught_by, given, guarded, once, raise, set},
};

const OTHER: InstanceId = InstanceId([8; 16]);

impl Story {
    fn settled(self, answer: Answer) -> Self {
        let (activation, attempt) = self.claiming();
        self.when(Command::SettleKey { activation, attempt, answer })
    }

    fn resolved(self, happened: bool) -> Self {
        let activation = baton_core::ActivationId(1);
        let (by, reason) = ("person ada".into(), "the bank says so".into());
        self.when(Command::ResolveKey { activation, happened, by, reason })
    }
}

#[test]
fn a_step_goes_out_only_when_it_holds_its_key() {
    let story = given(&[once("pay", false)]).waits_for(&[]).is(Status::Waiting);
    assert_eq!(story.key_state(), None);
    let story = story.settled(Answer::Held).waits_for(&["pay"]);
    assert_eq!(story.key_state(), Some(State::Claimed));
    let story = story.complete("pay", "\"paid\"").completed("\"paid\"");
    assert_eq!(story.key_state(), Some(State::Committed(Some(Json::from_text("\"paid\"")))));
}

#[test]
fn a_key_that_another_holds_is_an_error_that_can_be_caught() {
    let refused = || Answer::Refused { by: OTHER, state: State::Unknown };
    given(&[once("pay", false)]).settled(refused()).faulted("/runtime");
    given(&[attempt(&[once("pay", false)], caught_by(&[set("\"paid already\"")]))])
        .settled(refused())
        .completed("\"paid already\"");
}

#[test]
fn what_another_has_done_is_handed_on() {
    let output = Json::from_text("\"receipt\"");
    let story = given(&[once("pay", true)]).settled(Answer::Attached { by: OTHER, output });
    assert_eq!(story.key_state(), None, "the other's key is not this one's");
    story.completed("\"receipt\"");
}

#[test]
fn policies_are_asked_about_what_holds_its_key() {
    let story = guarded(&[once("pay", false)]).settled(Answer::Held).waits_for(&[]);
    let story = story.judged(DENY).faulted("/authorization");
    assert_eq!(story.key_state(), Some(State::Free), "nothing has gone out");
    let story = guarded(&[once("pay", false)]).settled(Answer::Held).judged(ALLOW);
    story.waits_for(&["pay"]).complete("pay", "1").completed("1");
}

#[test]
fn an_attempt_more_keeps_the_key() {
    let story = given(&[once("pay", false)]).settled(Answer::Held).fail("pay").after_ms(1_000);
    story.waits_for(&["pay"]).complete("pay", "1").completed("1");
}

#[test]
fn what_may_have_happened_is_unknown_until_somebody_has_looked() {
    let story = given(&[once("pay", false)]).settled(Answer::Held).fail_for_good("pay");
    assert_eq!(story.key_state(), Some(State::Unknown));
    let story = story.resolved(true);
    assert_eq!(story.key_state(), Some(State::Committed(None)));
    story.resolved(false).refused("not-awaited");
    let story = given(&[once("pay", false)]).settled(Answer::Held).fail_for_good("pay");
    assert_eq!(story.resolved(false).key_state(), Some(State::Free));
}

#[test]
fn what_was_undone_may_happen_again() {
    let mut pay = once("pay", false);
    pay.undo = Some(vec![set("\"refunded\"")]);
    let story = given(&[pay, raise("sad 500")]).settled(Answer::Held).complete("pay", "1");
    assert_eq!(story.key_state(), Some(State::Free));
}

#[test]
fn a_key_is_asked_for_once_and_not_while_it_is_suspended() {
    let story = given(&[once("pay", false)]);
    let claiming = story.claiming();
    let story = story.suspend().settled(Answer::Held).refused("instance-suspended");
    let story = story.resume().settled(Answer::Held);
    let (activation, attempt) = claiming;
    let again = Command::SettleKey { activation, attempt, answer: Answer::Held };
    let story = story.when(again).refused("not-awaited");
    story.when(fail(claiming, false)).faulted("/communication");
}

fn paid_and_undoable() -> crate::build::Node {
    let mut pay = once("pay", false);
    pay.undo = Some(vec![crate::story::step("refund")]);
    pay
}

#[test]
fn what_is_being_undone_or_was_given_up_is_not_free() {
    let story = given(&[paid_and_undoable(), raise("sad 500")]).settled(Answer::Held);
    let story = story.complete("pay", "1").waits_for(&["refund"]);
    assert_eq!(story.key_state(), Some(State::Claimed), "it may be undone in a moment");
    let story = story.when(Command::Terminate { reason: "enough".into() });
    assert_eq!(story.key_state(), Some(State::Committed(Some(Json::from_text("1")))));
    let story = given(&[paid_and_undoable(), raise("sad 500")]).settled(Answer::Held);
    let story = story.complete("pay", "1").fail_for_good("refund");
    assert!(matches!(story.key_state(), Some(State::Committed(_))), "it could not be undone");
}

#[test]
fn what_another_has_done_is_not_undone_with_this_instance() {
    let output = Json::from_text("\"receipt\"");
    let mut pay = once("pay", true);
    pay.undo = Some(vec![set("\"refunded\"")]);
    let story = given(&[pay, raise("sad 500")]);
    let story = story.settled(Answer::Attached { by: OTHER, output }).faulted("sad");
    assert!(!story.tells(|event| matches!(event, baton_core::Event::CompensationKept { .. })));
}

#[test]
fn a_later_step_that_never_went_out_does_not_free_what_an_earlier_one_may_have_done() {
    let tries = attempt(&[once("pay", false)], caught_by(&[once("pay again", false)]));
    let story = given(&[tries]).settled(Answer::Held).fail_for_good("pay");
    let (last, _) = story.claiming();
    let story = story.when(Command::Cancel { reason: "enough".into() }).is(Status::Cancelled);
    assert_eq!(story.word_on("pay:7", last), State::Unknown);
}
