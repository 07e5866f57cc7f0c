//! Whatever comes in that is wrong: a stable code, a metric, and nothing changed.

#![cfg(test)]

mod announcements;
mod requests;
mod results;

use baton_tests::{Batond, World};

/// What a metric says for one code; 0 when it does not name it.
async fn refused(batond: &Batond, metric: &str, code: &str) -> f64 {
    let (_, text) = batond.page("/metrics").await.unwrap();
    let label = format!("{metric}{{code=\"{code}\"}} ");
    let value = text.lines().find_map(|line| line.strip_prefix(&label));
    value.map_or(0.0, |value| value.parse().unwrap())
}

/// Where the logs of all partitions end: nothing that changes anything goes without a commit.
async fn log_ends(world: &World) -> Vec<u64> {
    let jetstream = async_nats::jetstream::new(world.cluster.nats.connect().await.unwrap());
    let mut ends = Vec::new();
    for partition in 0..2 {
        let stream = jetstream.get_stream(format!("BATON_LOG_{partition}")).await.unwrap();
        ends.push(stream.cached_info().state.last_sequence);
    }
    ends
}
