//! Every bound of the language, with its unit and its reason.

use std::time::Duration;

/// Bytes of a document: it travels in one message of the broker.
pub(crate) const SOURCE_BYTES_MAX: usize = 1024 * 1024;

/// Collections inside each other in a document.
pub(crate) const SOURCE_DEPTH_MAX: usize = 64;

/// Scalars and collections in a document: what a megabyte of real text holds, and no more.
pub(crate) const NODES_MAX: usize = 400_000;

/// Tasks in a document, those of its functions among them.
pub(crate) const TASKS_MAX: usize = 10_000;

/// Bytes of one expression.
pub(crate) const EXPRESSION_BYTES_MAX: usize = 16 * 1024;

/// Expressions of one document: each keeps a compiled program in memory.
pub(crate) const EXPRESSIONS_MAX: usize = 10_000;

/// Terms inside each other in a parsed expression: the interpreter recurses.
pub(crate) const TERM_DEPTH_MAX: usize = 256;

/// Ways in which one assignment may reach the same place: they multiply.
pub(crate) const PLACES_MAX: usize = 64;

/// Bytes of what one expression gives.
pub(crate) const RESULT_BYTES_MAX: usize = 1024 * 1024;

/// Units of work of what is evaluated for one task: a unit is some 10 ns, a value looked at or made, or some bytes of
/// text. Some 20 ms: the first such decision of a workflow keeps others waiting.
pub(crate) const WORK_MAX: u64 = 2_000_000;

/// Units of work of the filters and correlations of one listener for one event: some 5 ms.
pub(crate) const LISTEN_WORK_MAX: u64 = 500_000;

/// The processor's time that a unit may take on the average, where its price was too low: 24 ms for a whole task.
pub(crate) const WORK_TIME_PER_UNIT: Duration = Duration::from_nanos(12);

/// The same where nobody else waits.
pub(crate) const WORK_TIME_PER_UNIT_BESIDE: Duration = Duration::from_nanos(50);

/// What counts at most of the time from look to look: on a virtual machine the time of a thread goes on while the machine
/// stands still. One filter of 900 was lost to that, each of which took 0.5 ms of the 6 that it may.
pub(crate) const WORK_GAP_MAX: Duration = Duration::from_millis(2);

/// Units of work between two looks at the clock: a look costs a system call, and what is dearest takes some
/// microseconds between two payments.
pub(crate) const WORK_UNTIMED: u64 = 2_500;

/// Units of work, of some 10 ns, that checking a value against a schema may take, and as many again to say what does not
/// match: some 10 ms each, for nothing else of the partition is decided meanwhile.
pub(crate) const CHECK_WORK_MAX: u64 = 1_000_000;

/// Schemas inside each other while a value is checked, those of the levels of the value together: the validator
/// recurses, on a stack of 2 MB, and three times as many were measured to fit.
pub(crate) const CHECK_DEPTH_MAX: usize = 1_000;

/// Bytes of a compiled `pattern` in a schema.
pub(crate) const SCHEMA_PATTERN_BYTES_MAX: usize = 1024 * 1024;

/// Patterns in the schemas of a document: each takes up to some milliseconds to compile.
pub(crate) const SCHEMA_PATTERNS_MAX: usize = 1_000;

/// Collections inside each other in a JSON value: readers and writers recurse.
pub(crate) const JSON_DEPTH_MAX: usize = 128;

/// Characters of one number: big ones take quadratic time to read and to write.
pub(crate) const NUMBER_CHARS_MAX: usize = 1_000;

/// Milliseconds in 100 years: the longest duration that an author may ask for.
pub(crate) const DURATION_MS_MAX: u64 = 100 * 365 * 86_400_000 + 25 * 86_400_000;

/// Bytes of a failed expression's own words in an error: they may quote data.
pub(crate) const DETAIL_BYTES_MAX: usize = 200;

/// Errors, and warnings, of one document: nobody reads more.
pub(crate) const DIAGNOSTICS_MAX: usize = 200;

/// `use.secrets`: a command carries the names that its task refers to.
pub(crate) const SECRETS_MAX: usize = 256;

/// Bytes of a secret's name: it becomes part of a variable's or a file's name.
pub(crate) const SECRET_NAME_BYTES_MAX: usize = 128;

/// Names that are compared to guess which one was meant: a guess is worth no more time.
pub(crate) const GUESSES_MAX: usize = 50_000;

/// `metadata.attempts` of a step.
pub(crate) const ATTEMPTS_MAX: u32 = 100;

/// Bytes of stack for compiling: parsers recurse, and the caller's stack may be small.
pub(crate) const COMPILE_STACK_BYTES: usize = 64 * 1024 * 1024;

/// Functions of the catalog behind one document: each is read and compiled with it.
pub const FUNCTIONS_MAX: usize = 100;

/// Bytes of these functions together: with the document they are kept in one message of the broker.
pub(crate) const FUNCTIONS_BYTES_MAX: usize = 512 * 1024;

/// Functions of the catalog inside each other; a running instance has room for 64 tasks inside each other.
pub(crate) const FUNCTION_DEPTH_MAX: usize = 16;

/// Bytes of a function's version: it becomes part of a key.
pub(crate) const FUNCTION_VERSION_BYTES_MAX: usize = 64;

/// Filters of one listener: each is looked at for each event.
pub(crate) const FILTERS_MAX: usize = 100;

/// Bytes of a compiled regular expression in a filter; matching takes time linear in the text.
pub(crate) const REGEX_BYTES_MAX: usize = 256 * 1024;

/// Bytes of an event's id, source, type and time, each: the engine takes no longer ones from outside either.
pub(crate) const EVENT_ATTRIBUTE_BYTES_MAX: usize = 1024;

/// The shortest pause of a schedule: what is shorter would do nothing else.
pub(crate) const SCHEDULE_MIN: baton_core::Duration = baton_core::Duration(1_000);

/// How late a time of a schedule may be and still count, when the author does not say: a restart of the engine.
pub(crate) const CATCH_UP: baton_core::Duration = baton_core::Duration(60_000);

/// Bytes of a cron expression.
pub(crate) const CRON_BYTES_MAX: usize = 200;

/// Bytes that a mask reads for a unit of work.
pub(crate) const MASKED_BYTES_PER_UNIT: u64 = 16;
