//! Every bound of the SDK, with its unit and its reason.

use std::time::Duration;

/// Handlers of one function that run at once, unless said otherwise.
pub(crate) const CONCURRENCY_DEFAULT: usize = 256;

/// Results in one message; the engine decides over them in one turn.
pub(crate) const RESULTS_PER_MESSAGE_MAX: usize = 512;

/// Bytes of results in one message: well under the broker's usual 1 MiB, so that headers fit too.
pub(crate) const MESSAGE_BYTES_MAX: usize = 700 * 1024;

/// Bytes of one output; a larger one could not be published at all.
pub(crate) const OUTPUT_BYTES_MAX: usize = 900 * 1024;

/// What a result needs beside its output, when the broker's maximum payload is below the usual one.
pub(crate) const RESULT_OVERHEAD_BYTES: usize = 16 * 1024;

/// Bytes of a failure's title or detail; the rest is cut off.
pub(crate) const FAILURE_TEXT_BYTES_MAX: usize = 16 * 1024;

/// Secrets that one command may name; a task names few.
pub(crate) const SECRETS_MAX: usize = 64;
/// Bytes of one secret: keys and certificates are far smaller.
pub(crate) const SECRET_BYTES_MAX: usize = 64 * 1024;
/// Bytes of an input with its secrets put in: a placeholder that stands a thousand times must not fill the memory.
pub(crate) const REVEALED_BYTES_MAX: usize = 4 * 1024 * 1024;
/// A secret, or a part of one, that is shorter is not looked for in what goes out: it would hit ordinary words.
pub(crate) const SCRUBBED_BYTES_MIN: usize = 4;

/// Commands that wait behind the running ones: as many as the handlers do in this time, so that a fast handler never
/// waits for the broker and a slow one hoards nothing.
pub(crate) const PREFETCH_TIME: Duration = Duration::from_millis(200);
pub(crate) const PREFETCH_MAX: usize = 1024;

/// Commands whose result waits to be stored, over all functions; above it the worker stops pulling.
pub(crate) const UNSETTLED_MAX: usize = 16 * 1024;

/// Handlers that end at once share a turn; after this their results go out, however many more commands wait.
pub(crate) const TURN_TIME: Duration = Duration::from_millis(2);
pub(crate) const TURN_STEPS: usize = 512;

/// Result messages under way to the broker at once.
pub(crate) const PUBLISHES_IN_FLIGHT_MAX: usize = 64;

/// Turns that wait for the settler; it takes many at a time.
pub(crate) const TURNS_WAITING_MAX: usize = 256;

/// How long a pull request lives at the broker.
pub(crate) const PULL_EXPIRES: Duration = Duration::from_secs(30);
/// How often the broker says that a pull request is still alive; NATS: at most half of its life.
pub(crate) const PULL_HEARTBEAT: Duration = Duration::from_secs(5);
/// After two missed heartbeats the request counts as lost.
pub(crate) const PULL_SILENCE_MAX: Duration = Duration::from_secs(12);

/// Waits between tries (reconnecting, announcing, pulling after an error, storing a result) begin and end here.
pub(crate) const DELAY_FIRST: Duration = Duration::from_millis(50);
pub(crate) const DELAY_MAX: Duration = Duration::from_secs(3);

/// How long a request to the engine or the broker may take.
pub(crate) const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

/// How often to announce when the engine does not say.
pub(crate) const ANNOUNCE_EVERY_DEFAULT: Duration = Duration::from_secs(10);
/// Never more often, whatever the engine says.
pub(crate) const ANNOUNCE_EVERY_MIN: Duration = Duration::from_millis(100);

/// The lease of a command when the engine does not say.
pub(crate) const ACK_WAIT_DEFAULT: Duration = Duration::from_secs(30);

/// How long a drain waits for running handlers, unless said otherwise: under the 30 s that Kubernetes gives.
pub(crate) const GRACE_DEFAULT: Duration = Duration::from_secs(25);
/// How long a drain waits for what the broker had sent before it was told to stop.
pub(crate) const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);
/// How long a drain then waits for the last results to be stored and acknowledged.
pub(crate) const SETTLE_GRACE: Duration = Duration::from_secs(3);

/// Messages on their way to the connection.
pub(crate) const CLIENT_CAPACITY: usize = 16 * 1024;

/// How long an attempt that was cancelled before its command came is remembered: what is on its way comes by then.
pub(crate) const UNWANTED_TIME: Duration = Duration::from_secs(10);

/// Attempts that are remembered so, some 200 KiB: every worker of a department hears of all that are cancelled there.
pub(crate) const UNWANTED_MAX: usize = 4_096;
