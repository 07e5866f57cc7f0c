//! Every bound of the core, with its unit and its reason.

/// Events that one decision may record before it yields to others: a loop without waits must not hold a partition.
pub const EVENTS_PER_DECISION: usize = 256;

/// Bytes of values that one decision may record before it yields: a commit stays under NATS' 1 MiB.
pub const BYTES_PER_DECISION: usize = 128 * 1024;

/// Units of an evaluator's work after which a decision yields to others: some 2 ms. One task may take ten times that.
pub const WORK_PER_DECISION: u64 = 200_000;

/// Activations inside each other: deeper is a call that calls itself.
pub const DEPTH_MAX: usize = 64;

/// Activations open at once in one instance: what a fork of forks may reach.
pub const OPEN_ACTIVATIONS_MAX: usize = 20_000;

/// Items of one `for` or map: each is kept until it ends.
pub const LOOP_ITEMS_MAX: usize = 100_000;

/// Bytes of the items of one `for` or map: they are one event, which must fit into a commit (NATS: 1 MiB).
pub const LOOP_BYTES_MAX: usize = 512 * 1024;

/// Items that a map works on at once when its author does not say: some for each of a few workers.
pub const MAP_CONCURRENCY: u32 = 10;

/// Items that a map may work on at once: what a fork of many branches does, too.
pub const MAP_CONCURRENCY_MAX: u32 = 1_000;

/// Bytes of one event that a workflow emits: with the rest of a decision it fits into a commit.
pub const EVENT_BYTES_MAX: usize = 256 * 1024;

/// Events that a `listen` keeps: its output, or those whose pass has not begun.
pub const LISTEN_EVENTS_MAX: usize = 10_000;

/// Bytes of the events that a `listen` keeps.
pub const LISTEN_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Events that are worked off, and outputs of passes, that a `listen` with `foreach` still knows: it may run for years.
pub const LISTEN_KEPT: usize = 1_000;

/// Instances inside each other: deeper is a workflow that runs itself.
pub const CHILDREN_DEPTH_MAX: u32 = 32;

/// Attempts of one step that a worker's retryable failures may use when the author does not say.
pub const STEP_ATTEMPTS: u32 = 3;

/// Before the second attempt, in milliseconds; doubled before each later one.
pub const STEP_BACKOFF_MS: u64 = 1_000;

/// The longest wait between two attempts of one step, in milliseconds.
pub const STEP_BACKOFF_MAX_MS: u64 = 60_000;

/// Tasks that are kept to be undone in one instance, and bytes of their inputs and outputs when another one begins: the
/// instance holds them until it ends.
pub const COMPENSATIONS_MAX: usize = 10_000;
pub const COMPENSATION_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Failures that the error of an instance tells which could not undo everything, and characters of each: its events have
/// them all.
pub const NOT_UNDONE_TOLD: usize = 5;
pub const NOT_UNDONE_CHARS: usize = 200;

/// Bytes of what a fork gathers from its branches, or a map from its items: nobody else bounds it, and forks of forks
/// multiply it.
pub const FORK_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Bytes of the key of what must happen once.
pub const ONCE_KEY_BYTES_MAX: usize = 256;

/// Keys of what must happen once that one instance takes, and bytes of an output that it keeps for others: it remembers them as
/// long as it lives.
pub const ONCE_KEYS_MAX: usize = 1_000;
pub const ONCE_OUTPUT_BYTES_MAX: usize = 16 * 1024;

/// Remedies that are done for one step.
pub const REMEDIES_MAX: usize = 64;

/// Policies that the error of a step names which they forbid: its events have them all.
pub const POLICIES_TOLD: usize = 5;

/// Classes of data that are told apart in one case; where more flow into it, [`TAINT_BEYOND`] stands for the others.
pub const TAINT_MAX: usize = 256;

/// Steps of one case that are told apart to see what repeats.
pub const SEEN_MAX: usize = 1_000;

/// Stands in the taint of a case for classes that it has no room for.
pub const TAINT_BEYOND: &str = "...";
