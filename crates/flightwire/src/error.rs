//! What can go wrong on the Flight SQL port itself, and which status of gRPC says so?

use std::{io, net::SocketAddr};

use arrow::error::ArrowError;
use sextant_core::{Code, ExitKind, Explain, Failure, Place};
use tonic::{Code as Grpc, Status};

use crate::{limits, port::Fault};

/// An error of the door; errors of the engine pass through as they are.
#[derive(Debug, thiserror::Error)]
pub enum FlightError {
    /// An address that others can reach.
    #[error("the Flight SQL port listens on loopback only, not on {addr}")]
    Exposed {
        /// The address.
        addr: SocketAddr,
    },
    /// The address cannot be listened on.
    #[error("cannot listen for Flight SQL clients on {addr}")]
    Bind {
        /// The address.
        addr: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// No key, or not one that may read.
    #[error("{0}")]
    Unauthenticated(&'static str),
    /// A call that would change something.
    #[error("cannot run {0}: this door is read only")]
    ReadOnly(String),
    /// A message that is not one of the protocol.
    #[error("{0}")]
    Malformed(String),
    /// Over a bound.
    #[error("{what} is larger than the limit of {limit}")]
    TooLarge {
        /// What is too large.
        what: &'static str,
        /// The bound, with its unit.
        limit: String,
    },
    /// A query ran too long.
    #[error("the query was stopped: it took longer than {} s", limits::STATEMENT_SECONDS)]
    TooSlow,
    /// A call that was begun and not gone on with.
    #[error("the client did not send what it had to within {} s", .0.as_secs())]
    Silent(std::time::Duration),
    /// No room for one more query.
    #[error("too many queries at once: {} run already", limits::QUERIES_MAX)]
    Crowded,
    /// A prepared statement that is not there.
    #[error("there is no such prepared statement")]
    Missing,
    /// Values that do not fit the parameters of a statement.
    #[error("{0}")]
    Parameters(String),
    /// A part of Flight SQL that is not here.
    #[error("{0} is not supported here")]
    Unsupported(String),
    /// The server stops.
    #[error("the server stops")]
    Ending,
    /// Rows that cannot be written as Arrow's messages.
    #[error("the rows cannot be sent")]
    Encode(#[from] ArrowError),
    /// A defect of ours.
    #[error("{0}")]
    Internal(String),
}

macro_rules! codes {
    ($($name:ident $number:literal $kind:ident $title:literal $help:literal;)*) => {
        $(const $name: Code = Code {
            number: $number, kind: ExitKind::$kind, title: $title, help: $help,
        };)*
        /// Every code of this crate.
        pub const CODES: &[&Code] = &[$(&$name,)*];
    };
}

codes! {
    EXPOSED 7201 Usage "an open address for Flight SQL clients"
        "The Flight SQL port has no TLS, and a key would cross the network in clear, so it listens on loopback only. From another machine, forward the port: `ssh -L 5434:127.0.0.1:5434 HOST`.";
    BIND 7202 Conflict "the Flight SQL port cannot be listened on"
        "Another program listens there, or the system refuses the port. Choose another with --flight-port; 0 takes a free one.";
    UNAUTHENTICATED 7203 Auth "a key is needed"
        "Give an API key with the role read as the password (the user name does not matter) or as a bearer token. On loopback the user who runs the server needs none, unless the server was started with --require-auth.";
    READ_ONLY 7204 Usage "the Flight SQL port is read only"
        "Queries run here; updates, bulk ingestion and whatever else changes something do not.";
    MALFORMED 7205 Usage "not a message of Flight SQL"
        "The client sent something that the protocol does not allow at this place.";
    TOO_LARGE 7206 Usage "more than the Flight SQL port allows"
        "Messages, statements, results and what a caller keeps prepared are bounded. The message names the bound.";
    TOO_SLOW 7207 Failure "the query took too long"
        "A query and the reading of its result have a bound in time. Ask for less at once.";
    CROWDED 7208 Unavailable "too many queries at once"
        "Try again when others have ended, or send fewer at the same time.";
    MISSING 7209 NotFound "no such prepared statement"
        "It was never made by this caller, was closed, or was not used for an hour. Prepare it again.";
    PARAMETERS 7210 Usage "the values do not fit the parameters"
        "A statement takes one row of values with a column for each of its parameters.";
    UNSUPPORTED 7211 Usage "a part of Flight SQL that is not here"
        "The Flight SQL port answers queries and lists tables. The manual says what else it knows.";
    ENDING 7212 Unavailable "the server stops"
        "Connect again when it runs.";
    ENCODE 7213 Failure "rows that cannot be sent"
        "A column has a type that cannot be written for Flight clients. Cast it in the query.";
    SILENT 7215 Failure "the client was silent in the middle of a call"
        "A message that was begun has to follow within the bound that the manual names. The call is given up; the connection stays usable.";
    INTERNAL 7214 Failure "a defect in the Flight SQL port"
        "This should not happen; please report it with the statement.";
}

impl Explain for FlightError {
    fn code(&self) -> &'static Code {
        match self {
            Self::Exposed { .. } => &EXPOSED,
            Self::Bind { .. } => &BIND,
            Self::Unauthenticated(_) => &UNAUTHENTICATED,
            Self::ReadOnly(_) => &READ_ONLY,
            Self::Malformed(_) => &MALFORMED,
            Self::TooLarge { .. } => &TOO_LARGE,
            Self::TooSlow => &TOO_SLOW,
            Self::Silent(_) => &SILENT,
            Self::Crowded => &CROWDED,
            Self::Missing => &MISSING,
            Self::Parameters(_) => &PARAMETERS,
            Self::Unsupported(_) => &UNSUPPORTED,
            Self::Ending => &ENDING,
            Self::Encode(_) => &ENCODE,
            Self::Internal(_) => &INTERNAL,
        }
    }

    fn hint(&self) -> Option<String> {
        None
    }

    fn place(&self) -> Option<Place> {
        None
    }
}

impl From<FlightError> for Status {
    fn from(error: FlightError) -> Self {
        let code = match &error {
            FlightError::TooLarge { .. } | FlightError::Crowded => Grpc::ResourceExhausted,
            FlightError::TooSlow | FlightError::Silent(_) => Grpc::DeadlineExceeded,
            FlightError::Unsupported(_) => Grpc::Unimplemented,
            other => status_code(other.code().kind),
        };
        Self::new(code, told(&error.into(), None))
    }
}

impl From<Fault> for Status {
    fn from(fault: Fault) -> Self {
        let code = status_code(fault.failure.code().kind);
        Self::new(code, told(&fault.failure, fault.at))
    }
}

fn status_code(kind: ExitKind) -> Grpc {
    match kind {
        ExitKind::Failure => Grpc::Internal,
        ExitKind::Usage => Grpc::InvalidArgument,
        ExitKind::GateRefused => Grpc::FailedPrecondition,
        ExitKind::NotFound => Grpc::NotFound,
        ExitKind::Conflict => Grpc::Aborted,
        ExitKind::Unavailable => Grpc::Unavailable,
        ExitKind::Auth => Grpc::Unauthenticated,
        ExitKind::Integrity => Grpc::DataLoss,
    }
}

/// The code, the message with its causes, the place and the hint. It travels in a header, so it is
/// cut where that would grow too large.
fn told(failure: &Failure, at: Option<(usize, usize)>) -> String {
    let mut text = format!("{}: {}", failure.code(), failure.chain());
    if let Some((line, column)) = at {
        text.push_str(&format!(" (line {line}, column {column})"));
    }
    if let Some(hint) = failure.hint() {
        text.push_str(&format!("; {hint}"));
    }
    text.truncate(text.floor_char_boundary(limits::ERROR_BYTES_MAX));
    text
}
