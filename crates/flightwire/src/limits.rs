//! Which bounds hold on the Flight SQL port? All of them, named, with units last.

/// Open connections; the rest waits in the kernel's queue.
pub const CONNECTIONS_MAX: usize = 64;
/// Calls in progress on one connection; a client waits with the next.
pub const CALLS_PER_CONNECTION_MAX: u32 = 32;
/// Queries that run or are planned at once, all clients together; one more is refused.
pub const QUERIES_MAX: usize = 32;
/// A message of a client, and all values that it binds to a statement.
pub const MESSAGE_BYTES_MAX: usize = 4 << 20;
/// Messages with which a client may bind values.
pub const BIND_MESSAGES_MAX: usize = 64;
/// All header lines of a call together.
pub const HEADER_BYTES_MAX: u32 = 32 << 10;
/// The text of a statement.
pub const STATEMENT_BYTES_MAX: usize = 1 << 20;
/// Rows that one query may return; one more is an error, never a shortened result.
pub const ROWS_MAX: u64 = 10_000_000;
/// How long one statement may run, its reader's slowness included.
pub const STATEMENT_SECONDS: u64 = 600;
/// How long a connection may stand without a call that was let in.
pub const LOGIN_SECONDS: u64 = 30;
/// How long a client may be silent within a message that it sends.
pub const MESSAGE_SECONDS: u64 = 30;
/// How long a client may take to send all values that it binds.
pub const PUT_SECONDS: u64 = 60;
/// How long a connection may stand between two calls.
pub const IDLE_SECONDS: u64 = 3600;
/// How often an open connection is asked whether its client is still there, and for how long.
pub const PING_SECONDS: u64 = 30;
/// How long what runs may take to end after the server was told to stop.
pub const DRAIN_SECONDS: u64 = 10;
/// Prepared statements of one caller.
pub const STATEMENTS_PER_CALLER_MAX: usize = 256;
/// Prepared statements in all.
pub const STATEMENTS_MAX: usize = 1024;
/// How long a prepared statement is kept that nobody uses.
pub const STATEMENT_IDLE_SECONDS: u64 = 3600;
/// Parameters of one statement.
pub const PARAMETERS_MAX: usize = 1024;
/// Batches of rows that wait for a slow reader; the query waits when they are full.
pub const PORTIONS_WAITING_MAX: usize = 4;
/// About how large one message of rows is: clients often take no more than 4 MiB.
pub const BATCH_BYTES: usize = 1 << 20;
/// What is said about an error, with its causes.
pub const ERROR_BYTES_MAX: usize = 4 << 10;
