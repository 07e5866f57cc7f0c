//! Every bound of the server, with its unit and its reason.

use std::time::Duration;

/// Bytes of a value that stays in the log; larger ones go to the object store. DESIGN: claim check.
pub const INLINE_VALUE_BYTES_MAX: usize = 64 * 1024;

/// Bytes of events after which a batch is closed: with the last decision on top a commit stays under NATS' 1 MiB.
pub const BATCH_BYTES: usize = 384 * 1024;

/// Decisions after which a batch is closed: what is answered first must not wait for ever.
pub const BATCH_DECISIONS: usize = 2_000;

/// Units of work of expressions after which a batch is closed, some 10 ns each: what is answered first must not wait for
/// ever.
pub const BATCH_WORK: u64 = 500_000;

/// Units of work of expressions after which a decision counts as long, some 0.5 ms: those of its workflow are made beside
/// the loop from then on, which costs each some 0.1 ms.
pub const SLOW_WORK: u64 = 50_000;

/// The same of the filters and correlations for one event: each event is shown to many.
pub const SLOW_FILTER_WORK: u64 = 20_000;

/// Instances that may be behind with events while others have seen them: a commit names each, with some 30 bytes.
pub const BEHIND_MAX: usize = 1_000;

/// Bytes of results that wait for decisions beside the loop: what finds no room is read from the inbox again.
pub const HELD_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Clients of a partition that wait for decisions beside the loop: each holds what it asked.
pub const CLIENTS_HELD_MAX: usize = 1_000;

/// Positions of kept events that a lane holds at once.
pub const KEPT_AT_ONCE: usize = 1_000;

/// Events that are fetched from the stream at once for one instance, in some 1 ms each.
pub const EVENTS_FETCHED_AT_ONCE: usize = 3;

/// Events that an instance which catches up is shown at once: then it is the turn of what comes for others.
pub const CATCH_UP_AT_ONCE: usize = 100;

/// Events that an instance which catches up passes over at once because it cannot want them, each a fraction of 1 us.
pub const EVENTS_PASSED_AT_ONCE: usize = 1_000;

/// Things to do after one commit, answers to readers among them: each holds what it will say.
pub const BATCH_ANSWERS: usize = 20_000;

/// Bytes of an instance's input: what one gRPC message may hold with room to spare.
pub const INPUT_BYTES_MAX: usize = 1024 * 1024;

/// Bytes of a workflow's source.
pub const SOURCE_BYTES_MAX: usize = 1024 * 1024;

/// Bytes of a function of the catalog; those behind one workflow are bounded together, too.
pub const FUNCTION_BYTES_MAX: usize = 256 * 1024;

/// Functions in the catalog: a list of them is one answer.
pub const FUNCTIONS_MAX: usize = 10_000;

/// Names that are looked up for one text: more than may be called, for data may look like a call.
pub const FUNCTIONS_ASKED_MAX: usize = 1_000;

/// Bytes of a workflow as it is stored with its functions: it fits one NATS message.
pub const STORED_BYTES_MAX: usize = 1024 * 1024 - 4 * 1024;

/// Bytes of a step's output: a result fits one NATS message.
pub const OUTPUT_BYTES_MAX: usize = 960 * 1024;

/// Bytes of a command: it fits one NATS message.
pub const COMMAND_BYTES_MAX: usize = 1_000_000;

/// Bytes of each text of a worker's failure; longer ones are cut.
pub const FAILURE_TEXT_BYTES_MAX: usize = 4 * 1024;

/// Bytes of an idempotency key.
pub const KEY_BYTES_MAX: usize = 256;

/// Bytes of a reason that somebody gives.
pub const REASON_BYTES_MAX: usize = 1024;

/// Labels of an instance, and the bytes of each key and value.
pub const LABELS_MAX: usize = 16;
pub const LABEL_KEY_BYTES_MAX: usize = 63;
pub const LABEL_VALUE_BYTES_MAX: usize = 256;

/// Partitions of a new deployment: enough for several engines of a few cores each to share one day.
pub const PARTITIONS_DEFAULT: u32 = 4;

/// Requests that wait for a partition's owner; more are refused with `overloaded`.
pub const REQUESTS_WAITING_MAX: usize = 16 * 1024;

/// Instances that a partition has in memory for those that only wait to leave it as soon as the cache has them.
pub const IDLE_RESIDENT_MAX: usize = 2_000;

/// Instances, and bytes of the log about them, that a recovery holds before it hands them to the cache: some tens of
/// mebibytes a partition.
pub const REPLAY_INSTANCES_MAX: usize = 5_000;
pub const REPLAY_BYTES_MAX: usize = 32 * 1024 * 1024;

/// How long nothing must have happened to an instance before it leaves memory.
pub const IDLE_AFTER: Duration = Duration::from_secs(10);

/// How often what has changed is written to the cache, when little has: lists are then that fresh.
pub const CACHE_EVERY: Duration = Duration::from_millis(250);

/// What counts as little, in instances.
pub const CACHE_CHANGES_FEW: usize = 200;

/// How often when much has: most instances then end before they are written, and are written once.
pub const CACHE_EVERY_BUSY: Duration = Duration::from_secs(1);

/// Instances of a partition that may have changed since the cache was told; then the cache is told at once, and nothing
/// more is decided before: what it does not have stays in memory.
pub const CACHE_CHANGES_MAX: usize = 2_500;

/// How long the broker may take to answer an append before the owner asks what became of it.
pub const APPEND_TIMEOUT: Duration = Duration::from_secs(5);

/// How often an append is tried again before the owner gives the partition up and claims it anew.
pub const APPEND_TRIES: u32 = 60;

/// A lease lives this long without its holder; longer than a restart of the broker would only delay a takeover.
pub const LEASE_TTL: Duration = Duration::from_secs(6);

/// How often whoever waits for a lease asks for it.
pub const LEASE_AGAIN: Duration = Duration::from_millis(100);

/// How often a holder renews its lease.
pub const LEASE_EVERY: Duration = Duration::from_secs(2);

/// How often an owner may fall over in a row before its partition is stopped for a person to look.
pub const PANICS_MAX: u32 = 3;

/// How long an owner must have led for its earlier falls to be forgotten.
pub const PANICS_FORGOTTEN: Duration = Duration::from_secs(60);

/// Commands that one queue lets workers hold at once.
pub const QUEUE_IN_HAND_MAX: i64 = 20_000;

/// How long a worker may hold a command without a sign of life before another gets it.
pub const QUEUE_ACK_WAIT: Duration = Duration::from_secs(15);

/// How often workers announce themselves; they are forgotten after three times that.
pub const ANNOUNCE_EVERY: Duration = Duration::from_secs(5);

/// Workers and functions that are remembered: an announcement from outside must not fill memory.
pub const WORKERS_MAX: usize = 10_000;
pub const FUNCTIONS_PER_WORKER_MAX: usize = 256;

/// Bytes of the schema of a function's input; of a larger one nothing is remembered.
pub const SCHEMA_BYTES_MAX: usize = 16 * 1024;

/// Functions whose schemas are remembered: 64 MiB at most.
pub const SCHEMAS_MAX: usize = 4 * 1024;

/// How often the inbox is purged up to what the log has.
pub const PURGE_EVERY: Duration = Duration::from_secs(10);

/// How long a client may wait in `StartAndWait`, and how long it does when it does not say.
pub const WAIT_MAX: Duration = Duration::from_secs(3600);
pub const WAIT_DEFAULT: Duration = Duration::from_secs(60);

/// Instances on one page of a list.
pub const PAGE_MAX: u32 = 1_000;
pub const PAGE_DEFAULT: u32 = 50;

/// Events in one answer of `History`.
pub const HISTORY_MAX: u32 = 10_000;
pub const HISTORY_DEFAULT: u32 = 1_000;

/// Bytes after which an answer of `History` is closed: gRPC clients take 4 MiB unless told otherwise.
pub const HISTORY_BYTES: usize = 2 * 1024 * 1024;

/// Events that one watcher may lag behind before it is told to begin again.
pub const WATCH_LAG_MAX: usize = 1_024;

/// How long open requests may take when the process is asked to stop.
pub const SHUTDOWN_GRACE: Duration = Duration::from_secs(10);

/// Batches of spans that wait for the collector; more are dropped.
pub const SPAN_BATCHES_WAITING_MAX: usize = 16 * 1024;

/// Spans that wait for the collector, about a kilobyte of memory each; more are dropped.
pub const SPANS_WAITING_MAX: usize = 64 * 1024;

/// Batches of spans that are taken together.
pub const SPAN_BATCHES_AT_ONCE: usize = 1024;

/// Spans in one request: a collector takes 4 MiB, and OpenTelemetry's own exporters send so many.
pub const SPANS_A_REQUEST: usize = 512;

/// How long the collector may take to answer.
pub const SPAN_FLUSH: Duration = Duration::from_secs(2);

/// Services whose exporters are kept: names come from workers.
pub const SPAN_SERVICES_MAX: usize = 256;

/// How old a commit may be for its spans to be written again when it is replayed.
pub const SPAN_REPLAY: Duration = Duration::from_secs(600);

/// When the queue is looked at again after the broker did not answer.
pub const RECONCILE_AGAIN: Duration = Duration::from_millis(500);

/// When NATS is tried again while it cannot be reached at the start.
pub const REACH_AGAIN: Duration = Duration::from_millis(250);

/// How long an event stays in the stream, for a listener or an engine that comes later.
pub const EVENTS_AGE_MAX: Duration = Duration::from_secs(24 * 3600);

/// Events, and their bytes, in the stream: beyond it the oldest go.
pub const EVENTS_MAX: i64 = 1_000_000;
pub const EVENTS_BYTES_MAX: i64 = 1 << 30;

/// How long the broker knows an event again by its source and id.
pub const EVENTS_REMEMBERED: Duration = Duration::from_secs(3600);

/// The last events, and their bytes, that a process holds for listeners that come after them.
pub const EVENTS_KEPT: usize = 10_000;
pub const EVENTS_KEPT_BYTES: usize = 64 * 1024 * 1024;

/// Bytes of an event's id, source and type, each.
pub const EVENT_ATTRIBUTE_BYTES_MAX: usize = 1024;

/// When the events are read or written again after the broker did not answer.
pub const EVENTS_AGAIN: Duration = Duration::from_secs(1);

/// Events that may be seen before a commit says so although it has nothing else to say: so many are looked at again
/// after a restart.
pub const EVENTS_UNNOTED_MAX: u64 = 1_000;

/// Events of workflows on their way to the broker at once.
pub const EVENTS_IN_FLIGHT_MAX: usize = 256;

/// How often schedules are looked after, besides after each deployment.
pub const SCHEDULES_EVERY: Duration = Duration::from_secs(2);

/// How often a schedule is looked after: lists follow a moment after, and must show those of other versions.
pub const SCHEDULE_PASSES: u32 = 4;

/// How long a lifecycle event stays in the stream, for a consumer that comes later.
pub const LIFECYCLE_AGE_MAX: Duration = Duration::from_secs(24 * 3600);

/// Lifecycle events, and their bytes, in the stream: beyond it the oldest go.
pub const LIFECYCLE_MAX: i64 = 5_000_000;
pub const LIFECYCLE_BYTES_MAX: i64 = 1 << 30;

/// Bytes of one lifecycle event: its texts and values are bounded below this.
pub const LIFECYCLE_EVENT_BYTES_MAX: i32 = 256 * 1024;

/// How long the broker knows a lifecycle event again by its id: what a restart publishes again is younger, and every id
/// is memory of the broker.
pub const LIFECYCLE_REMEMBERED: Duration = Duration::from_secs(120);

/// Bytes of an output that a lifecycle event carries: CloudEvents wants events of at most 64 KiB to be forwarded.
pub const LIFECYCLE_VALUE_BYTES_MAX: usize = 32 * 1024;

/// Commits whose lifecycle events wait for the broker; those of more are dropped.
pub const LIFECYCLE_BATCHES_WAITING_MAX: usize = 16 * 1024;

/// Lifecycle events that wait for the broker, some hundred bytes each beside the values that they share with instances;
/// more are dropped.
pub const LIFECYCLE_WAITING_MAX: usize = 128 * 1024;

/// Lifecycle events on their way to the broker at once.
pub const LIFECYCLE_IN_FLIGHT: usize = 256;

/// How often the broker is asked to take a lifecycle event before it is dropped: about a minute when it is there and
/// refuses.
pub const LIFECYCLE_TRIES: u32 = 60;

/// How long a write to the cache waits for the lifecycle events before it.
pub const LIFECYCLE_FLUSH: Duration = Duration::from_secs(2);

/// How old a commit may be for its lifecycle events to be published again when it is replayed: an engine that was away
/// for longer loses the last of them, and a lost cache does not tell the past once more.
pub const LIFECYCLE_REPLAY: Duration = Duration::from_secs(3600);

/// How often an engine looks for policy sets that others have deployed or activated.
pub const POLICIES_EVERY: Duration = Duration::from_secs(1);

/// How often a deployment or an activation is tried while others do the same.
pub const POLICY_TRIES: usize = 10;

/// Functions whose class of effect is remembered.
pub const EFFECTS_MAX: usize = 100_000;

/// Bytes of a caller's token.
pub const TOKEN_BYTES_MAX: usize = 16 * 1024;

/// Bytes of the name of who calls.
pub const PRINCIPAL_BYTES_MAX: usize = 256;

/// Groups that a token names.
pub const GROUPS_MAX: usize = 256;

/// When the keys of callers are read again because one is not known.
pub const KEYS_AGAIN: Duration = Duration::from_secs(5);

/// How long a question about an attempt waits for the inbox to be taken.
pub const QUERY_WAIT: Duration = Duration::from_secs(5);

/// Bytes of a question to policies: each is in the log. What a task shows, and what a case has done, fits many times.
pub const QUESTION_BYTES_MAX: usize = 16 * 1024;

/// Bytes of the name of a class of data.
pub const CLASS_BYTES_MAX: usize = 128;

/// Reasons of a verdict that the log keeps: policies, remedies and errors, each; and bytes of a text among them.
pub const REASONS_MAX: usize = 64;
pub const REASON_TEXT_BYTES_MAX: usize = 256;

/// Steps about which policies are asked before an owner does something else.
pub const JUDGED_AT_ONCE: usize = 1_000;

/// How far apart two deadlines must be for the earlier one to be more urgent, in milliseconds.
pub const URGENCY_MS: i64 = 15 * 60 * 1_000;

/// Policy sets that are kept.
pub const POLICY_SETS_MAX: usize = 1_000;

/// How long a policy set is kept ready after it has counted: for whoever asks about a little earlier.
pub const POLICIES_KEPT: Duration = Duration::from_secs(600);

/// How long the keys of callers are believed without looking at the file again: one may have been taken out.
pub const KEYS_BELIEVED: Duration = Duration::from_secs(60);

/// Bytes of what a worker calls its build.
pub const BUILD_BYTES_MAX: usize = 256;

/// Commits that are read at the same time for what is on record.
pub const AUDIT_READS: usize = 32;

/// Decisions that go out in one message.
pub const DECISIONS_TOGETHER: usize = 500;

/// Instances of which is remembered whether a caller may export them.
pub const AUDIT_KNOWN: usize = 100_000;

/// How often the policy sets are read again although nothing seems to have changed: a copy of the bucket may lag behind.
pub const POLICIES_READ_AGAIN: Duration = Duration::from_secs(30);

/// Kill switches that are on record: each engine has all of them in memory. The oldest that stop nothing go first.
pub const SWITCHES_MAX: usize = 10_000;

/// Kill switches that stop something: each command is held against each of them.
pub const SWITCHES_ACTIVE_MAX: usize = 1_000;

/// How often an engine looks for kill switches that others have thrown.
pub const SWITCHES_EVERY: Duration = Duration::from_millis(500);

/// How often throwing one is tried while others do the same.
pub const SWITCH_TRIES: usize = 10;

/// Bytes of the scope of a kill switch.
pub const SCOPE_BYTES_MAX: usize = 512;

/// How long whoever throws a switch waits for the partitions: one that is recovering looks at the switches before it sends
/// anything out.
pub const STOP_WAIT: Duration = Duration::from_secs(5);

/// How long a request that stops something waits before it asks a partition again.
pub const ASK_AGAIN: Duration = Duration::from_millis(50);

/// Purges of single commands that are under way together.
pub const PURGES_AT_ONCE: usize = 32;

/// Keys that one partition asks for at the same time.
pub const CLAIMS_AT_ONCE: usize = 64;

/// How long until somebody asks again for a key that another still works on, or that could not be asked for.
pub const CLAIM_AGAIN: Duration = Duration::from_millis(500);

/// Steps that are held against kill switches in one turn of an owner: each may have to be read from the cache.
pub const HALTED_AT_ONCE: usize = 256;

/// Attempts of one step until it waits for the switch: a worker that does not listen may have had each of them.
pub const STOPPED_WORKERS_ATTEMPTS_MAX: u32 = 10;

/// How often commands are taken out of the queue that the broker does not let go, and how long between.
pub const WITHDRAW_TRIES: usize = 10;
pub const WITHDRAW_AGAIN: Duration = Duration::from_millis(200);

/// How often the end of a partition's log is signed when it has moved: so much of it could be rewritten unnoticed.
pub const HEADS_EVERY: Duration = Duration::from_secs(60);

/// How often is looked whether it is time to sign: a log that begins to move is signed as soon.
pub const HEADS_LOOK: Duration = Duration::from_secs(1);

/// How long a process that stops may take to sign where its logs end: what is not signed then is by the next one.
pub const HEADS_LAST: Duration = Duration::from_secs(3);

/// Signed heads of one partition, a message of some 250 bytes each: two years of one a minute. Then the oldest go.
pub const HEADS_MAX: i64 = 1 << 20;

/// Bytes of a signed head: two numbers, a time, a hash, a key and a signature.
pub const HEAD_BYTES_MAX: i32 = 1024;

/// Bytes of an audit file after which a message of an export is closed: with a line of at most 2 MiB it stays under the 4 MiB
/// that gRPC clients take.
pub const EXPORT_BYTES: usize = 256 * 1024;
