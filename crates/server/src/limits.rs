//! Which bounds does the server put on what strangers send? All of them, named, with units last.

/// All header lines of a request together.
pub const HEADER_BYTES_MAX: usize = 32 << 10;
/// Header lines of a request.
pub const HEADERS_MAX: usize = 100;
/// How long a connection may take to send the next request head; idle connections end here too.
pub const HEADER_READ_SECONDS: u64 = 30;
/// Nesting of a JSON body.
pub const JSON_DEPTH_MAX: usize = 64;
/// A compressed body after it was decompressed.
pub const UNPACKED_BYTES_MAX: usize = 6 << 20;
/// A body of OTLP, and what it is after it was decompressed.
pub const OTLP_BYTES_MAX: usize = 8 << 20;
/// Bodies of OTLP that are taken apart at once: what is small in protobuf may be large in memory.
pub const OTLP_AT_ONCE: usize = 8;
/// An idempotency key.
pub const IDEMPOTENCY_KEY_BYTES_MAX: usize = 256;
/// Body of a form.
pub const FORM_BYTES_MAX: usize = 16 << 10;
/// A file of MLflow's own pages.
pub const PAGES_FILE_BYTES_MAX: u64 = 64 << 20;
/// How long a request that does not stream may take.
pub const REQUEST_SECONDS: u64 = 60;
/// How long one answer may take when it does not stream.
pub const ANSWER_SECONDS: u64 = 120;
/// How long a file may take to be stored.
pub const FILE_SECONDS: u64 = 6 * 60 * 60;
/// How long the body of a file may be silent while it is sent.
pub const FILE_SILENCE_SECONDS: u64 = 60;
/// Pieces of a file waiting for the disk; the sender waits when they are full.
pub const FILE_PIECES_WAITING_MAX: usize = 16;
/// A piece of a file that is sent.
pub const FILE_PIECE_BYTES: usize = 256 << 10;
/// Open connections.
pub const CONNECTIONS_MAX: usize = 1024;
/// Requests in progress, all callers together; one more is told 503.
pub const REQUESTS_MAX: usize = 128;
/// Requests in progress of one caller; one more is told 429.
pub const REQUESTS_PER_CALLER_MAX: usize = 64;
/// What `Retry-After` says.
pub const RETRY_AFTER_SECONDS: u64 = 1;
/// Events waiting for a slow reader of an operation's stream; later progress lines are dropped.
pub const EVENTS_WAITING_MAX: usize = 1024;
/// Pieces of an answer waiting for a slow reader; the answer waits when they are full.
pub const DELTAS_WAITING_MAX: usize = 64;
/// How long requests may go on after shutdown began.
pub const DRAIN_SECONDS: u64 = 30;
/// Browser sessions held at once; the oldest is ended for a new one.
pub const SESSIONS_MAX: usize = 256;
/// How long a browser stays logged in.
pub const SESSION_SECONDS: u64 = 12 * 60 * 60;
/// Keys in the key file.
pub const KEYS_MAX: usize = 1000;
/// Assets drawn as a graph; a larger project is shown as a table only.
pub const GRAPH_NODES_MAX: usize = 400;
