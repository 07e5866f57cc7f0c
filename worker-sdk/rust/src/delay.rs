//! How long to wait before the next try.

use std::time::Duration;

use backoff::{ExponentialBackoff, ExponentialBackoffBuilder, backoff::Backoff};

use crate::limits::{DELAY_FIRST, DELAY_MAX};

/// Grows by half with every try, spread so that many workers do not knock at the same moment, and never gives up.
pub(crate) struct Delay(ExponentialBackoff);

impl Delay {
    pub(crate) fn new() -> Self {
        let delays = ExponentialBackoffBuilder::new()
            .with_initial_interval(DELAY_FIRST)
            .with_max_interval(DELAY_MAX)
            .with_max_elapsed_time(None)
            .build();
        Self(delays)
    }

    /// The wait before try number `tries`, for callers that only count.
    pub(crate) fn nth(tries: usize) -> Duration {
        // Grown by half each time, the delays have reached their maximum long before the sixteenth.
        let mut delay = Self::new();
        (0..tries.min(16)).map(|_| delay.next()).last().unwrap_or_default()
    }

    pub(crate) fn next(&mut self) -> Duration {
        self.0.next_backoff().unwrap_or(DELAY_MAX)
    }

    pub(crate) fn reset(&mut self) {
        self.0.reset();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_grow_to_a_bound_and_never_end() {
        let mut delay = Delay::new();
        let delays: Vec<_> = (0..1000).map(|_| delay.next()).collect();
        assert!(delays[0] <= DELAY_FIRST * 2);
        assert!(delays.iter().all(|d| *d > Duration::ZERO && *d <= DELAY_MAX * 2));
        assert!(delays[999] >= DELAY_MAX / 2);
        assert_eq!(Delay::nth(0), Duration::ZERO);
    }
}
