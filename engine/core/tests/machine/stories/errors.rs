//! The way of errors.

use std::slice::from_ref;

use crate::{
    build::{Go, Handler, Node, Retries, What},
    story::{attempt, caught_by, each, fork, given, list, raise, set, step, step_with, task, wait},
    table::{Term, text},
};

fn retries(attempts_max: u32) -> Retries {
    Retries {
        when: None,
        delay_ms: 100,
        exponential: true,
        jitter_ms: None,
        attempts_max: Some(attempts_max),
        duration_max_ms: None,
    }
}

#[test]
fn an_error_that_nobody_catches_faults_the_instance() {
    given(&[list("list", &[raise("sad 500"), step("never")])]).faulted("sad");
}

#[test]
fn a_handler_sees_the_error_and_its_output_goes_on() {
    given(&[attempt(&[raise("sad 500")], caught_by(&[step_with("handle", &["error"])]))])
        .arguments("handle", "[\"sad\"]")
        .complete("handle", "1")
        .completed("1");
}

#[test]
fn a_catch_without_tasks_hands_on_the_input_of_the_try() {
    given(&[attempt(&[set("1"), raise("sad 500")], Handler::default())]).completed("\"in\"");
}

#[test]
fn a_filter_lets_other_errors_pass() {
    let only = |status| Handler { status: Some(status), ..caught_by(&[set("1")]) };
    given(&[attempt(&[raise("sad 500")], only(418))]).faulted("sad");
    given(&[attempt(&[raise("sad 500")], only(500))]).completed("1");
}

#[test]
fn an_error_of_the_handler_goes_on() {
    let inner = attempt(&[raise("sad 500")], caught_by(&[raise("odd 418")]));
    given(from_ref(&inner)).faulted("odd");
    given(&[attempt(&[inner], caught_by(&[step_with("handle", &["error"])]))])
        .arguments("handle", "[\"odd\"]");
}

#[test]
fn catch_then_overrides_the_tasks_own() {
    let handler = Handler { then: Some(Go::End), ..caught_by(&[set("1")]) };
    given(&[attempt(&[raise("sad 500")], handler), step("never")]).completed("1");
}

#[test]
fn retries_wait_longer_each_time_and_then_the_handler_runs() {
    let handler = Handler { retries: Some(retries(3)), ..caught_by(&[set("\"handled\"")]) };
    given(&[attempt(&[step("work")], handler)])
        .fail_for_good("work")
        .after_ms(99)
        .waits_for(&[])
        .after_ms(1)
        .fail_for_good("work")
        .after_ms(199)
        .waits_for(&[])
        .after_ms(1)
        .fail_for_good("work")
        .completed("\"handled\"");
}

#[test]
fn a_retry_begins_with_the_input_of_the_try() {
    let handler = Handler { retries: Some(retries(2)), ..Handler::default() };
    given(&[attempt(&[step("first"), step("second")], handler)])
        .complete("first", "1")
        .fail_for_good("second")
        .after_ms(100)
        .waits_for(&["first"])
        .arguments("first", "\"in\"")
        .complete("first", "2")
        .complete("second", "3")
        .completed("3");
}

#[test]
fn no_retry_begins_after_its_duration() {
    let limited = Retries { duration_max_ms: Some(250), attempts_max: None, ..retries(0) };
    let handler = Handler { retries: Some(limited), ..caught_by(&[set("\"handled\"")]) };
    given(&[attempt(&[raise("sad 500")], handler)])
        .waits_for(&[])
        .after_ms(100)
        .completed("\"handled\"");
}

#[test]
fn the_timeout_of_a_try_is_not_its_own_to_catch() {
    let inner = attempt(&[step("work")], caught_by(&[set("1")])).within_ms(50);
    given(from_ref(&inner)).after_ms(50).faulted("timeout");
    given(&[attempt(&[inner], caught_by(&[set("2")]))]).after_ms(50).completed("2");
}

#[test]
fn the_timeout_of_a_task_inside_is_caught() {
    given(&[attempt(&[step("work").within_ms(50)], caught_by(&[step_with("handle", &["error"])]))])
        .after_ms(50)
        .arguments("handle", "[\"timeout\"]");
}

#[test]
fn an_expression_that_fails_is_an_error_of_its_task() {
    let broken: Vec<Node> = vec![
        set("1").only_if(Term::Fails),
        Node { input: Some(Term::Fails), ..set("1") },
        Node { output: Some(Term::Fails), ..set("1") },
        Node { export: Some(Term::Fails), ..set("1") },
        task("set", What::Set(Term::Fails)),
        task("wait", What::Wait(Term::Fails)),
        task("raise", What::Raise(Term::Fails)),
        task("switch", What::Switch(vec![(Some(Term::Fails), Go::On)])),
        task(
            "step",
            What::Step { attempts_max: 1, arguments: Some(Term::Fails), awaits: true, once: None },
        ),
        task("for", What::For { items: Term::Fails, condition: None, body: vec![set("1")] }),
        task(
            "for",
            What::For { items: text("[1]"), condition: Some(Term::Fails), body: vec![set("1")] },
        ),
    ];
    for task in broken {
        given(from_ref(&task)).faulted("expression");
        given(&[attempt(from_ref(&task), caught_by(&[set("2")]))]).completed("2");
        given(&[fork(&[step("other"), task.clone(), wait(5)])]).faulted("expression");
        given(&[each("[1]", &[attempt(&[task], caught_by(&[set("3")]))])]).completed("3");
    }
}

#[test]
fn a_broken_condition_of_a_catch_is_the_error_that_goes_on() {
    let handler = Handler { when: Some(Term::Fails), ..caught_by(&[set("1")]) };
    given(&[attempt(&[raise("sad 500")], handler)]).faulted("expression");
}

#[test]
fn a_value_that_does_not_fit_its_schema_faults_the_task() {
    let strict = Node { output_bytes_max: Some(3), ..step("work") };
    given(from_ref(&strict)).complete("work", "123").completed("123");
    given(&[strict]).complete("work", "1234").faulted("validation");
}

#[test]
fn a_workflow_that_calls_itself_faults_at_the_bound() {
    given(&[list("itself", &[task("again", What::CallFirst)])]).faulted("runtime");
    let catching = attempt(&[task("again", What::CallFirst)], caught_by(&[set("1")]));
    given(&[catching]).completed("1");
}
