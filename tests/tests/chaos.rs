//! The crash test at a modest size.

#![cfg(test)]

use baton_tests::chaos::{self, Size};

#[tokio::test]
async fn nothing_is_lost_or_done_twice_while_everything_is_killed() {
    let seed = rand::random();
    let size = Size { instances: 150, kills_each: 2, in_flight: 50, partitions: 2, seed };
    let report = chaos::run(&size, |text| eprintln!("{text}")).await;
    let report = report.unwrap_or_else(|error| panic!("seed {seed}: {error:?}"));
    assert_eq!(report.results_accepted, 150 * 5);
}
