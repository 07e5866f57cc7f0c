//! Every bound of the standard workers, with its unit and its reason.

use std::time::Duration;

/// A service that takes longer to connect to is not there.
pub(crate) const CONNECT_TIMEOUT_DEFAULT: Duration = Duration::from_secs(10);
/// A call that takes longer belongs into a worker that says how far it has come.
pub(crate) const TIMEOUT_DEFAULT: Duration = Duration::from_secs(60);
/// A connection that nobody uses for so long is closed.
pub(crate) const IDLE_TIMEOUT: Duration = Duration::from_secs(60);
/// Idle connections that are kept for one service.
pub(crate) const IDLE_CONNECTIONS_MAX: usize = 16;

/// Bytes of one answer: an output of a step may have 900 KiB, and JSON may come with white space.
pub(crate) const RESPONSE_BYTES_DEFAULT: usize = 1024 * 1024;
/// Bytes of an answer that is shown when it is an error.
pub(crate) const EXCERPT_BYTES_MAX: usize = 1024;
/// Bytes of an answer with a token.
pub(crate) const TOKEN_BYTES_MAX: usize = 64 * 1024;
/// Bytes of an OpenAPI document, a .proto file or a script.
pub(crate) const DOCUMENT_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Headers of one request; services take about 100.
pub(crate) const HEADERS_MAX: usize = 256;

/// As browsers and curl do it, or fewer.
pub(crate) const REDIRECTS_MAX: u32 = 10;

/// A document or a connection is kept so long; whoever changes a document waits so long.
pub(crate) const DOCUMENT_AGE_MAX: Duration = Duration::from_secs(5 * 60);
/// Documents, tokens or connections that are kept, of each kind.
pub(crate) const CACHED_MAX: usize = 64;
/// A token is given up so long before it expires, for it must still arrive.
pub(crate) const TOKEN_MARGIN: Duration = Duration::from_secs(10);
/// A token is kept no longer, whatever its issuer says.
pub(crate) const TOKEN_AGE_MAX: Duration = Duration::from_secs(3600);

/// References that lead from one place of an OpenAPI document to the next.
pub(crate) const REFERENCES_MAX: usize = 16;
/// Files that a .proto file imports, and their imports.
pub(crate) const PROTO_FILES_MAX: usize = 64;
/// Messages of a gRPC stream that are gathered into one output.
pub(crate) const STREAM_MESSAGES_MAX: usize = 10_000;

/// Programs of one function that run at once: each is a process of the machine.
pub(crate) const PROCESSES_MAX: usize = 16;
/// Programs that run on although nobody awaits them.
pub(crate) const UNAWAITED_MAX: usize = 64;
pub(crate) const PROCESS_TIMEOUT_DEFAULT: Duration = Duration::from_secs(3600);
/// Bytes of each of a program's two outputs: both fit into an output of a step.
pub(crate) const PROCESS_OUTPUT_BYTES_DEFAULT: usize = 400 * 1024;
/// What still holds a program's outputs open so long after its end was left behind by it.
pub(crate) const OUTPUT_GRACE: Duration = Duration::from_secs(2);
/// Bytes of a failed program's error output that are shown.
pub(crate) const STDERR_SHOWN_BYTES: usize = 2 * 1024;
