//! Which messages does Flight consist of? Those of its protocol that queries need, field for field
//! as `Flight.proto` and `FlightSql.proto` number them.

use bytes::Bytes;
use prost::Message;

/// Before every other call, for clients that log in with a name and a password.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Handshake {
    #[prost(uint64, tag = "1")]
    pub protocol_version: u64,
    #[prost(bytes = "bytes", tag = "2")]
    pub payload: Bytes,
}

/// What a client wants to know about or write to.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Descriptor {
    /// 1 is a path, 2 a command.
    #[prost(int32, tag = "1")]
    pub kind: i32,
    #[prost(bytes = "bytes", tag = "2")]
    pub command: Bytes,
    #[prost(string, repeated, tag = "3")]
    pub path: Vec<String>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Ticket {
    #[prost(bytes = "bytes", tag = "1")]
    pub ticket: Bytes,
}

/// Where a result can be fetched. Without a location it is where the question was asked.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Endpoint {
    #[prost(message, optional, tag = "1")]
    pub ticket: Option<Ticket>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Info {
    #[prost(bytes = "bytes", tag = "1")]
    pub schema: Bytes,
    #[prost(message, optional, tag = "2")]
    pub descriptor: Option<Descriptor>,
    #[prost(message, repeated, tag = "3")]
    pub endpoints: Vec<Endpoint>,
    /// -1 when nobody knows.
    #[prost(int64, tag = "4")]
    pub records: i64,
    #[prost(int64, tag = "5")]
    pub bytes: i64,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct SchemaResult {
    #[prost(bytes = "bytes", tag = "1")]
    pub schema: Bytes,
}

/// One message of Arrow's stream format: its header, and the buffers that it describes.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Data {
    #[prost(message, optional, tag = "1")]
    pub descriptor: Option<Descriptor>,
    #[prost(bytes = "bytes", tag = "2")]
    pub header: Bytes,
    #[prost(bytes = "bytes", tag = "3")]
    pub metadata: Bytes,
    #[prost(bytes = "bytes", tag = "1000")]
    pub body: Bytes,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct PutResult {
    #[prost(bytes = "bytes", tag = "1")]
    pub metadata: Bytes,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Action {
    #[prost(string, tag = "1")]
    pub kind: String,
    #[prost(bytes = "bytes", tag = "2")]
    pub body: Bytes,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct ActionType {
    #[prost(string, tag = "1")]
    pub kind: String,
    #[prost(string, tag = "2")]
    pub description: String,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct ActionResult {
    #[prost(bytes = "bytes", tag = "1")]
    pub body: Bytes,
}

#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub(crate) struct Empty {}

/// A message of any type, under its name.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Any {
    #[prost(string, tag = "1")]
    pub type_url: String,
    #[prost(bytes = "bytes", tag = "2")]
    pub value: Bytes,
}

/// `CommandStatementQuery` and `ActionCreatePreparedStatementRequest`, which have the same fields.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct StatementQuery {
    #[prost(string, tag = "1")]
    pub query: String,
    #[prost(bytes = "bytes", optional, tag = "2")]
    pub transaction: Option<Bytes>,
}

/// `TicketStatementQuery`, `CommandPreparedStatementQuery`, `ActionClosePreparedStatementRequest`
/// and `DoPutPreparedStatementResult`: the handle of a statement.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Handle {
    #[prost(bytes = "bytes", tag = "1")]
    pub handle: Bytes,
}

/// `ActionCreatePreparedStatementResult`.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct PreparedResult {
    #[prost(bytes = "bytes", tag = "1")]
    pub handle: Bytes,
    #[prost(bytes = "bytes", tag = "2")]
    pub columns: Bytes,
    #[prost(bytes = "bytes", tag = "3")]
    pub parameters: Bytes,
}

/// `CommandGetDbSchemas`.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct GetSchemas {
    #[prost(string, optional, tag = "1")]
    pub catalog: Option<String>,
    #[prost(string, optional, tag = "2")]
    pub schema_pattern: Option<String>,
}

/// `CommandGetTables`.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct GetTables {
    #[prost(string, optional, tag = "1")]
    pub catalog: Option<String>,
    #[prost(string, optional, tag = "2")]
    pub schema_pattern: Option<String>,
    #[prost(string, optional, tag = "3")]
    pub table_pattern: Option<String>,
    #[prost(string, repeated, tag = "4")]
    pub types: Vec<String>,
    #[prost(bool, tag = "5")]
    pub with_columns: bool,
}

/// `CommandGetSqlInfo`.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct GetSqlInfo {
    #[prost(uint32, repeated, tag = "1")]
    pub info: Vec<u32>,
}
