//! Steps that go out only when policies allow it.

use std::sync::Arc;

use baton_core::{
    Command, Duration, Effect, Event, Json, effect,
    guard::{Carried, Judgement, Remedy, Standing, Verdict, Wanted},
    instance::Status,
    workflow::Hash,
};

use crate::{
    build::What,
    laws::judgement,
    story::{Story, attempt, caught_by, each, guarded, set, step, step_with, task, wait},
    table::Term,
};

pub(super) const ALLOW: usize = 7;
pub(super) const DENY: usize = 0;
const MASK: usize = 1;
const TELL: usize = 2;
const APPROVE_AND_MASK: usize = 3;
const TWO_APPROVE: usize = 4;
const TWO_GROUPS: usize = 5;
const NIGHT: usize = 6;

impl Story {
    fn answered(self, group: &str, by: &str, approves: bool) -> Self {
        let digest = self.digest();
        self.answered_about(group, by, approves, digest)
    }

    fn answered_about(self, group: &str, by: &str, approves: bool, digest: Hash) -> Self {
        let (activation, _) = self.held();
        let (group, by) = (group.into(), by.into());
        let reason = "because".into();
        self.when(Command::AnswerApproval { activation, group, digest, by, approves, reason })
    }

    fn claimed(self, by: &str, release: bool) -> Self {
        let (activation, _) = self.held();
        let (group, by) = ("managers".into(), by.into());
        self.when(Command::ClaimApproval { activation, group, by, release })
    }

    /// Policies say this of the one step that they are asked about.
    pub(super) fn judged(self, which: usize) -> Self {
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
fn only_an_allowed_verdict_asks_for_a_dispatch() {
    let is_dispatched = |which| {
        let story = guarded(&[step("pay")]).judged(which);
        story.tells(|event| matches!(effect(event), Some(Effect::DispatchStep { .. })))
    };
    assert!(is_dispatched(ALLOW));
    for which in [DENY, MASK, TELL, APPROVE_AND_MASK, TWO_APPROVE, TWO_GROUPS, NIGHT] {
        assert!(!is_dispatched(which), "{which}");
    }
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
    guarded(&[step("pay")]).judged(MASK).judged(ALLOW).arguments("pay", "\"*\"");
}

#[test]
fn what_is_done_and_lifts_nothing_is_not_done_again() {
    guarded(&[step("pay")]).judged(MASK).judged(MASK).faulted("/authorization");
    guarded(&[step("pay")]).judged(TELL).judged(MASK).judged(ALLOW).waits_for(&["pay"]);
}

#[test]
fn what_nobody_can_give_denies() {
    guarded(&[step("pay")]).judged(NIGHT).faulted("/authorization");
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
fn while_people_are_asked_policies_are_not() {
    let story = guarded(&[step("pay")]).judged(TWO_APPROVE);
    story.judged(ALLOW).refused("not-awaited").waits_for(&[]);
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
fn what_has_flowed_into_a_case_goes_with_it_into_what_it_runs_and_comes_back_from_there() {
    let run = task("run", What::Run { awaited: true, input: Term::Value });
    let story = guarded(&[step("pay"), run, wait(10)]).judged(ALLOW).complete("pay", "1");
    assert!(story.carries().taint.contains("internal"));
    let (activation, result) = (story.child(), Ok(Json::null()));
    let carried = Carried { taint: ["secret".into()].into(), cost: 3 };
    let story = story.when(Command::EndChild { activation, result, carried });
    assert!(story.case().taint.contains("secret"));
    assert!(story.carries().taint.contains("secret"), "and on into the next");
}

#[test]
fn what_was_denied_leaves_no_trace_of_its_data() {
    let story = guarded(&[attempt(&[step("pay")], caught_by(&[wait(10)]))]).judged(DENY);
    assert_eq!(story.case().taint.len(), 0);
    assert!(story.tells(|event| matches!(event, Event::StepJudged { .. })));
}

#[test]
fn people_are_asked_when_nothing_else_is_wanted() {
    let story = guarded(&[step("pay")]).judged(APPROVE_AND_MASK);
    assert_eq!(story.asked(), [""; 0], "first the mask");
    let story = story.judged(TWO_GROUPS);
    assert_eq!(story.asked(), ["board", "managers"]);
    story.is(Status::Waiting);
}

#[test]
fn enough_different_people_let_policies_be_asked_again() {
    let story = guarded(&[step("pay")]).judged(TWO_APPROVE);
    let story = story.answered("managers", "person a", true);
    assert_eq!(story.standing(), Standing::Held, "one of two");
    let story = story.answered("managers", "person a", true).refused("four-eyes");
    let story = story.answered("managers", "person b", true);
    assert_eq!(story.standing(), Standing::Unjudged, "people let nothing out: policies do");
    story.judged(ALLOW).waits_for(&["pay"]);
}

#[test]
fn who_started_it_does_not_answer() {
    let story = guarded(&[step("pay")]).judged(TWO_APPROVE);
    story.answered("managers", "person starter", true).refused("four-eyes");
}

#[test]
fn nobody_answers_for_two_groups() {
    let story = guarded(&[step("pay")]).judged(TWO_GROUPS).answered("managers", "person a", true);
    let story = story.answered("board", "person a", true).refused("four-eyes");
    let story = story.answered("board", "person b", true);
    assert_eq!(story.standing(), Standing::Unjudged);
}

#[test]
fn whoever_does_not_approve_ends_it() {
    let story = guarded(&[attempt(&[step("pay")], caught_by(&[set("\"no\"")]))]);
    story.judged(TWO_APPROVE).answered("managers", "person a", false).completed("\"no\"");
}

#[test]
fn only_a_group_that_is_asked_answers() {
    let story = guarded(&[step("pay")]).judged(TWO_APPROVE);
    let story = story.answered("visitors", "person a", true).refused("not-awaited");
    // Nor one that is to answer only once nobody else has.
    let story = story.answered("board", "person b", true).refused("not-awaited");
    let story = story.answered("board", "person b", false).refused("not-awaited");
    assert_eq!(story.standing(), Standing::Held);
}

#[test]
fn an_answer_is_about_what_was_asked_and_nothing_else() {
    let story = guarded(&[step("pay")]).judged(TWO_APPROVE);
    let other = Hash([99; 32]);
    let story = story.answered_about("managers", "person a", true, other);
    let story = story.refused("approval-changed").answered("managers", "person a", true);
    let story = story.answered("managers", "person b", true);
    // Policies want it for something else by now, say another set: what was approved is void.
    let changed = Judgement { digest: other, ..judgement(TWO_APPROVE) };
    let story = story.judged_as(changed).answered("managers", "person a", true);
    assert_eq!(story.standing(), Standing::Held, "one of two again");
}

#[test]
fn what_is_approved_and_forbidden_all_the_same_is_refused() {
    let story = guarded(&[step("pay")]).judged(TWO_APPROVE);
    let story = story.answered("managers", "person a", true).answered("managers", "person b", true);
    story.judged(TWO_APPROVE).faulted("/authorization");
}

#[test]
fn who_claims_it_keeps_others_away() {
    let story = guarded(&[step("pay")]).judged(TWO_APPROVE).claimed("person a", false);
    let story = story.answered("managers", "person b", true).refused("claimed");
    let story = story.claimed("person b", false).refused("claimed");
    // Whoever may claim it may take it from somebody who never comes back.
    let story = story.claimed("person b", true).answered("managers", "person b", true);
    assert_eq!(story.standing(), Standing::Held);
    story.claimed("person starter", false).refused("four-eyes");
}

#[test]
fn when_nobody_answers_others_answer_instead() {
    let story = guarded(&[step("pay")]).judged(TWO_APPROVE).after_ms(500);
    assert_eq!(story.asked(), ["board", "managers"]);
    // Their answers count together.
    let story = story.answered("managers", "person a", true).answered("board", "person b", true);
    assert_eq!(story.standing(), Standing::Unjudged);
    assert!(story.has_approved("policy", "managers", 2), "the board stands for them");
    assert!(!story.has_approved("another", "managers", 2), "for this policy and for no other");
    story.judged(ALLOW).waits_for(&["pay"]);
}

#[test]
fn when_nobody_answers_somebody_is_told() {
    let story = guarded(&[step("pay")]).judged(TWO_GROUPS).after_ms(500);
    assert!(story.remedies().contains(&Remedy::Escalate("lead".into())));
    assert_eq!(story.asked(), ["board", "managers"], "both are still asked");
    assert!(story.tells(|event| matches!(event, Event::ApprovalOverdue { .. })));
}

#[test]
fn people_answer_while_it_is_suspended_and_nothing_goes_out() {
    let story = guarded(&[step("pay")]).judged(TWO_APPROVE).suspend();
    let story = story.answered("managers", "person a", true).answered("managers", "person b", true);
    story
        .waits_for(&[])
        .judged(ALLOW)
        .refused("instance-suspended")
        .resume()
        .judged(ALLOW)
        .waits_for(&["pay"]);
}

#[test]
fn what_was_approved_holds_for_the_next_attempt() {
    let story = guarded(&[step("pay")]).judged(TWO_APPROVE);
    let story = story.answered("managers", "person a", true).answered("managers", "person b", true);
    let story = story.judged(ALLOW).fail("pay").after_ms(1_000);
    assert!(story.has_approved("policy", "managers", 2));
    assert_eq!(story.asked(), [""; 0]);
    story.judged(ALLOW).waits_for(&["pay"]);
}

#[test]
fn all_fallbacks_come_when_they_are_due_together() {
    let ask = |policy: &str, group: &str, level: &str| Wanted {
        remedy: Remedy::Approval(group.into()),
        policy: policy.into(),
        quorum: 1,
        due: Some(Duration(500)),
        reason: None,
        fallback: Some(Remedy::Escalate(level.into())),
    };
    let wanted = vec![ask("a", "managers", "lead"), ask("b", "experts", "head")];
    let asked = Judgement { verdict: Verdict::DenyUnless(wanted), ..judgement(TWO_GROUPS) };
    let story = guarded(&[step("pay")]).judged_as(asked).after_ms(500);
    for level in ["lead", "head"] {
        assert!(story.remedies().contains(&Remedy::Escalate(level.into())), "{level}");
    }
}

#[test]
fn another_set_voids_what_people_were_asked() {
    let story = guarded(&[step("pay")]).judged(TWO_APPROVE).answered("managers", "person a", true);
    let (activation, _) = story.held();
    let void = |set| Command::VoidApprovals { activation, set: Hash([set; 32]) };
    let story = story.when(void(9)).refused("not-awaited").when(void(1));
    assert_eq!(story.standing(), Standing::Unjudged);
    let story = story.judged(TWO_APPROVE);
    assert!(!story.has_approved("policy", "managers", 1), "what was approved is void");
    story.answered("managers", "person a", true);
}

#[test]
fn a_refused_step_stays_refused_when_a_fallback_comes() {
    let story = guarded(&[step("pay")]).judged(TWO_APPROVE).suspend();
    let story = story.answered("managers", "person a", false).after_ms(1_000);
    story.resume().faulted("/authorization");
}

#[test]
fn a_case_knows_its_turns_and_what_repeats() {
    let story = guarded(&[step("pay"), step("post"), each("[1,2]", &[step("ask")])]);
    let mut story = story.judged(ALLOW).fail("pay").after_ms(1_000).judged(ALLOW);
    assert_eq!(story.case().turns, 1, "an attempt more is no other turn");
    story = story.complete("pay", "\"in\"").judged(ALLOW).complete("post", "\"in\"");
    story = story.judged(ALLOW).complete("ask", "\"in\"").judged(ALLOW);
    let seen: Vec<u32> = story.case().seen.values().copied().collect();
    assert_eq!((story.case().turns, seen), (4, vec![4]), "all were asked the same");
}
