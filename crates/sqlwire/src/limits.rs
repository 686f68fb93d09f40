//! Which bounds hold on the PostgreSQL wire? All of them, named, with units last.

/// Open connections; one more is told so and closed.
pub const CONNECTIONS_MAX: usize = 64;
/// A message before login: the start-up packet or the password.
pub const LOGIN_BYTES_MAX: usize = 10_000;
/// How long a client may take to log in.
pub const LOGIN_SECONDS: u64 = 30;
/// A message after login.
pub const MESSAGE_BYTES_MAX: usize = 4 << 20;
/// The text of one message's statements.
pub const STATEMENT_BYTES_MAX: usize = 1 << 20;
/// Rows that one query may return; one more is an error, never a shortened result.
pub const ROWS_MAX: u64 = 10_000_000;
/// How long one statement may run, its reader's slowness included.
pub const STATEMENT_SECONDS: u64 = 600;
/// How long a connection may wait between two statements.
pub const IDLE_SECONDS: u64 = 3600;
/// How long a client may take to accept what is written to it.
pub const WRITE_SECONDS: u64 = 60;
/// Prepared statements of one connection.
pub const STATEMENTS_MAX: usize = 256;
/// Open portals of one connection.
pub const PORTALS_MAX: usize = 64;
/// Settings that one connection may set.
pub const SETTINGS_MAX: usize = 64;
/// Parameters of one statement.
pub const PARAMETERS_MAX: usize = 1024;
/// Portions of rows that wait for a slow reader; the query waits when they are full.
pub const PORTIONS_WAITING_MAX: usize = 4;
/// Bytes that are gathered before they are written.
pub const WRITE_BYTES: usize = 64 << 10;
/// Bytes that are read ahead while a statement runs.
pub const READ_AHEAD_BYTES_MAX: usize = 64 << 10;
