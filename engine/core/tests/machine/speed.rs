//! Wide and long instances stay cheap: a bound far above what they take, far below what quadratic work would.

use std::time::{Duration, Instant};

use baton_core::instance::Status;

use crate::{
    build::{Go, What},
    laws::complete,
    story::{attempt, caught_by, each, fork, list, map, set, step, task},
    world::World,
};

#[test]
fn a_fork_of_a_thousand_steps_is_quick() {
    let branches: Vec<_> = (0..1_000).map(|i| step(&format!("step-{i}"))).collect();
    check(fork(&branches), Duration::from_secs(2));
}

#[test]
fn a_fork_of_a_thousand_lists_is_quick() {
    let branches: Vec<_> =
        (0..1_000).map(|i| list(&format!("list-{i}"), &[step("step")])).collect();
    check(fork(&branches), Duration::from_secs(2));
}

#[test]
fn a_loop_over_ten_thousand_items_is_quick() {
    let items = vec!["1"; 10_000].join(",");
    check(each(&format!("[{items}]"), &[set("2")]), Duration::from_secs(2));
}

#[test]
fn a_map_over_ten_thousand_items_is_quick() {
    let items = vec!["1"; 10_000].join(",");
    check(map(&format!("[{items}]"), 20, list("body", &[set("2")])), Duration::from_secs(2));
    let items = vec!["1"; 1_000].join(",");
    check(map(&format!("[{items}]"), 1_000, step("step")), Duration::from_secs(2));
}

#[test]
fn a_loop_that_never_waits_yields() {
    let document = task("document", What::Do(vec![set("1").then(Go::To(0))]));
    let mut world = World::new(&document, "1");
    world.go_on(20);
    assert_eq!(world.instance.status(), Status::Running);
}

#[test]
fn too_many_open_tasks_are_an_error_that_can_be_caught() {
    let steps: Vec<_> = (0..150).map(|i| step(&format!("step-{i}"))).collect();
    let forks: Vec<_> = (0..150).map(|_| fork(&steps)).collect();
    let what = attempt(&[fork(&forks)], caught_by(&[set("\"too many\"")]));
    let document = task("document", What::Do(vec![what]));
    let mut world = World::try_new(&document, "1", false).expect("the input fits");
    world.go_on(1_000);
    assert_eq!(world.instance.status(), Status::Completed);
    world.check();
}

fn check(what: crate::build::Node, most: Duration) {
    let document = task("document", What::Do(vec![what]));
    let begun = Instant::now();
    let mut world = World::try_new(&document, "1", false).expect("the input fits");
    world.go_on(1_000);
    let mut open: Vec<_> =
        world.instance.open_steps().map(|(id, step)| (id, step.attempt)).collect();
    while let Some(step) = open.pop() {
        world.give(complete(step, "1")).expect("the step is open");
        world.go_on(1_000);
    }
    let took = begun.elapsed();
    assert_eq!(world.instance.status(), Status::Completed);
    assert!(took < most, "took {took:?}");
    world.check();
}
