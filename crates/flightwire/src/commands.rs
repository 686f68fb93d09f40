//! What does a client ask for? A command or ticket is a message under its name; here it becomes one
//! of the few things that this door does. Nothing else is guessed.

use bytes::Bytes;
use prost::Message;

use crate::{
    error::FlightError,
    limits,
    listing::Listing,
    messages::{Any, GetSchemas, GetSqlInfo, GetTables, Handle, StatementQuery},
};

const PREFIX: &str = "type.googleapis.com/arrow.flight.protocol.sql.";

/// What a descriptor or ticket means.
#[derive(Debug, PartialEq)]
pub(crate) enum Command {
    /// A query by its text.
    Query(String),
    /// A prepared statement by its handle.
    Prepared(Bytes),
    /// What is here.
    Listing(Listing),
}

impl Command {
    /// Reads a descriptor's command or a ticket.
    pub fn read(bytes: &[u8]) -> Result<Self, FlightError> {
        let (name, value) = named(bytes)?;
        Ok(match name.as_str() {
            "CommandStatementQuery" => Self::Query(statement(value)?),
            "TicketStatementQuery" => {
                let handle: Handle = decode(value)?;
                let text = String::from_utf8(handle.handle.into());
                let wrong = |_| FlightError::Malformed("the ticket is not one of ours".to_owned());
                Self::Query(bounded(text.map_err(wrong)?)?)
            }
            "CommandPreparedStatementQuery" => Self::Prepared(decode::<Handle>(value)?.handle),
            "CommandGetCatalogs" => Self::Listing(Listing::Catalogs),
            "CommandGetDbSchemas" => Self::Listing(Listing::Schemas(decode::<GetSchemas>(value)?)),
            "CommandGetTables" => Self::Listing(Listing::Tables(decode::<GetTables>(value)?)),
            "CommandGetTableTypes" => Self::Listing(Listing::TableTypes),
            "CommandGetSqlInfo" => {
                Self::Listing(Listing::SqlInfo(decode::<GetSqlInfo>(value)?.info))
            }
            "CommandGetPrimaryKeys" => Self::Listing(Listing::PrimaryKeys),
            "CommandGetExportedKeys" | "CommandGetImportedKeys" | "CommandGetCrossReference" => {
                Self::Listing(Listing::ForeignKeys)
            }
            "CommandStatementUpdate" => return Err(FlightError::ReadOnly("an update".to_owned())),
            "CommandPreparedStatementUpdate" => {
                return Err(FlightError::ReadOnly("a prepared update".to_owned()));
            }
            "CommandStatementIngest" => {
                return Err(FlightError::ReadOnly("a bulk ingestion".to_owned()));
            }
            other => return Err(FlightError::Unsupported(other.to_owned())),
        })
    }

    /// The ticket by which the result of a query can be fetched: its text, which is judged anew.
    pub fn ticket(sql: &str) -> Bytes {
        let handle = Handle { handle: Bytes::copy_from_slice(sql.as_bytes()) };
        wrap("TicketStatementQuery", &handle)
    }
}

/// The query of a request to prepare one.
pub(crate) fn to_prepare(body: &[u8]) -> Result<String, FlightError> {
    statement(expect("ActionCreatePreparedStatementRequest", body)?)
}

/// The handle of a request to close a statement.
pub(crate) fn to_close(body: &[u8]) -> Result<Bytes, FlightError> {
    Ok(decode::<Handle>(expect("ActionClosePreparedStatementRequest", body)?)?.handle)
}

/// A message under its name.
pub(crate) fn wrap(name: &str, message: &impl Message) -> Bytes {
    let value = Bytes::from(message.encode_to_vec());
    Bytes::from(Any { type_url: format!("{PREFIX}{name}"), value }.encode_to_vec())
}

fn named(bytes: &[u8]) -> Result<(String, Bytes), FlightError> {
    let any: Any = decode(Bytes::copy_from_slice(bytes))?;
    match any.type_url.strip_prefix(PREFIX) {
        Some(name) => Ok((name.to_owned(), any.value)),
        None => Err(FlightError::Malformed("this is no command of Flight SQL".to_owned())),
    }
}

fn expect(wanted: &str, body: &[u8]) -> Result<Bytes, FlightError> {
    let (name, value) = named(body)?;
    if name == wanted {
        return Ok(value);
    }
    Err(FlightError::Malformed(format!("the action holds a message of another kind: {name}")))
}

fn decode<T: Message + Default>(value: Bytes) -> Result<T, FlightError> {
    T::decode(value).map_err(|error| FlightError::Malformed(format!("a damaged message: {error}")))
}

fn statement(value: Bytes) -> Result<String, FlightError> {
    let query: StatementQuery = decode(value)?;
    if query.transaction.is_some_and(|id| !id.is_empty()) {
        return Err(FlightError::Unsupported("a transaction".to_owned()));
    }
    bounded(query.query)
}

fn bounded(sql: String) -> Result<String, FlightError> {
    if sql.len() > limits::STATEMENT_BYTES_MAX {
        let limit = format!("{} bytes", limits::STATEMENT_BYTES_MAX);
        return Err(FlightError::TooLarge { what: "the statement", limit });
    }
    Ok(sql)
}
