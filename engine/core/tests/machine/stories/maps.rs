//! The same for each item of a list, some at a time.

use baton_core::limits;

use crate::{
    build::Go,
    story::{attempt, caught_by, collecting, each, given, list, map, raise, set, step, step_with},
    table::{Term, text},
};

#[test]
fn a_map_gathers_its_outputs_in_the_order_of_its_items() {
    let body = list("body", &[step_with("a", &["item", "index"])]);
    given(&[map("[7,8]", 10, body)])
        .waits_for(&["a", "a"])
        .arguments("a", "[7,0]")
        .complete("a", "1")
        .arguments("a", "[8,1]")
        .complete("a", "2")
        .completed("[1,2]");
    // The second item is done before the first one.
    let body = list("body", &[step("a").only_if(Term::Variable("item"))]);
    given(&[map("[1,null]", 2, body)]).complete("a", "1").completed("[1,\"in\"]");
}

#[test]
fn no_more_than_the_bound_are_worked_on_at_once() {
    given(&[map("[1,2,3]", 2, step_with("a", &["item"]))])
        .waits_for(&["a", "a"])
        .complete("a", "1")
        .waits_for(&["a", "a"])
        .complete("a", "2")
        .waits_for(&["a"])
        .arguments("a", "[3]")
        .complete("a", "3")
        .completed("[1,2,3]");
}

#[test]
fn the_input_of_each_item_is_that_of_the_map() {
    let body = list("body", &[step("a"), step_with("b", &["item"])]);
    given(&[set("0"), map("[7]", 1, body)])
        .arguments("a", "0")
        .complete("a", "1")
        .arguments("b", "[7]")
        .complete("b", "2")
        .completed("[2]");
}

#[test]
fn a_map_without_items_is_done() {
    given(&[map("[]", 1, step("a"))]).completed("[]");
}

#[test]
fn a_list_without_tasks_hands_on_the_input_for_each_item() {
    given(&[map("[1,2]", 1, list("body", &[]))]).completed("[\"in\",\"in\"]");
    given(&[map("[1,2]", 1, set("7").only_if(text("false")))]).completed("[\"in\",\"in\"]");
}

#[test]
fn the_first_error_ends_a_map_and_withdraws_the_rest() {
    let steps = map("[1,2,3]", 2, list("body", &[step("a")]));
    given(&[attempt(&[steps], caught_by(&[step("handle")]))])
        .fail_for_good("a")
        .waits_for(&["handle"]);
    given(&[map("[1,2]", 1, raise("sad 500"))]).faulted("sad");
}

#[test]
fn a_map_that_collects_has_the_errors_in_the_places_of_their_items() {
    given(&[collecting("[1,2,3]", 2, list("body", &[step("a")]))])
        .fail_for_good("a")
        .waits_for(&["a", "a"])
        .complete("a", "2")
        .fail_for_good("a")
        .completed(r#"[{"error":"communication"},2,{"error":"communication"}]"#);
    given(&[collecting("[1,2]", 1, set("1").only_if(Term::Fails))])
        .completed(r#"[{"error":"expression"},{"error":"expression"}]"#);
}

#[test]
fn the_timeout_of_a_map_withdraws_all_of_it_even_when_it_collects() {
    let map = collecting("[1,2,3]", 2, step("a")).within_ms(10);
    given(&[attempt(&[map], caught_by(&[step("b")]))]).after_ms(10).waits_for(&["b"]);
}

#[test]
fn an_item_that_takes_too_long_is_collected_alone() {
    given(&[collecting("[1,2]", 1, step("a").within_ms(10))])
        .after_ms(10)
        .waits_for(&["a"])
        .complete("a", "2")
        .completed(r#"[{"error":"timeout"},2]"#);
}

#[test]
fn exit_ends_the_item_and_end_ends_the_workflow() {
    let body = list("body", &[set("1").then(Go::Exit), step("left-out")]);
    given(&[map("[1,2]", 1, body)]).completed("[1,1]");
    let body = list("body", &[step("a").then(Go::End)]);
    given(&[map("[1,2]", 2, body), step("never")])
        .waits_for(&["a", "a"])
        .complete("a", "9")
        .completed("9");
}

#[test]
fn maps_inside_maps_and_loops_see_the_innermost_item() {
    let inner = map("[3,4]", 1, step_with("a", &["item", "index"]));
    given(&[map("[1]", 1, list("body", &[each("[2]", &[inner])]))])
        .arguments("a", "[3,0]")
        .complete("a", "1")
        .arguments("a", "[4,1]")
        .complete("a", "2")
        .completed("[[1,2]]");
    let inner = each("[3]", &[step_with("a", &["item", "index"])]);
    given(&[map("[1]", 1, inner)]).arguments("a", "[3,0]");
}

#[test]
fn what_stands_behind_an_item_is_not_seen_outside() {
    given(&[map("[1]", 1, set("2")).output(Term::Variable("item"))]).completed("null");
}

#[test]
fn a_suspended_map_begins_no_further_item() {
    given(&[map("[1,2,3]", 1, step_with("a", &["item"]))])
        .suspend()
        .complete("a", "1")
        .waits_for(&[])
        .resume()
        .arguments("a", "[2]");
}

#[test]
fn items_that_are_too_many_or_too_large_are_an_error() {
    let many = vec!["1"; limits::LOOP_ITEMS_MAX + 1].join(",");
    given(&[map(&format!("[{many}]"), 1, set("1"))]).faulted("runtime");
    let large = format!("[\"{}\"]", "x".repeat(limits::LOOP_BYTES_MAX));
    given(&[map(&large, 1, set("1"))]).faulted("runtime");
}

#[test]
fn outputs_that_are_too_large_together_are_an_error_even_when_they_are_collected() {
    let large = format!("\"{}\"", "x".repeat(limits::FORK_BYTES_MAX / 2));
    given(&[map("[1,2]", 1, set(&large))]).faulted("runtime");
    given(&[collecting("[1,2]", 1, set(&large))])
        .completed(&format!("[{large},{}]", r#"{"error":"runtime"}"#));
    let full = format!("\"{}\"", "x".repeat(limits::FORK_BYTES_MAX - 2));
    given(&[collecting("[1,2]", 1, set(&full))]).faulted("runtime");
}
