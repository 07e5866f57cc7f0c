//! Every bound of a test, with its unit and its reason.

/// Events of one scenario: a workflow that never ends must not hang its tests. Some seconds.
pub(super) const EVENTS_MAX: u64 = 1_000_000;

/// Differences that one comparison tells: nobody reads more.
pub(super) const DIFFERENCES_MAX: usize = 20;

/// Characters of one value in a difference.
pub(super) const VALUE_CHARS_MAX: usize = 200;

/// Tasks of the path that a failure tells.
pub(super) const PATH_TOLD_MAX: usize = 100;

/// Characters of a scenario's name: it is a line of the report.
pub(super) const NAME_CHARS_MAX: usize = 200;
