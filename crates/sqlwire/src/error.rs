//! What can go wrong on the PostgreSQL wire itself, and which SQLSTATE says so?

use std::{io, net::SocketAddr};

use sextant_core::{Code, ExitKind, Explain, Place};

use crate::port::SqlFault;

/// An error of the wire; errors of the engine pass through as they are.
#[derive(Debug, thiserror::Error)]
pub enum WireError {
    /// An address that others can reach.
    #[error("the PostgreSQL port listens on loopback only, not on {addr}")]
    Exposed {
        /// The address.
        addr: SocketAddr,
    },
    /// The address cannot be listened on.
    #[error("cannot listen for PostgreSQL clients on {addr}")]
    Bind {
        /// The address.
        addr: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// No key, or not one that may read.
    #[error("the password is not a valid key for user \"{user}\"")]
    Unauthenticated {
        /// The name that the client gave.
        user: String,
    },
    /// A statement that would change something.
    #[error("cannot run {statement}: this door is read only")]
    ReadOnly {
        /// How the statement begins.
        statement: String,
    },
    /// A message that is not one of the protocol, or at the wrong moment.
    #[error("{0}")]
    Protocol(String),
    /// Over a bound.
    #[error("{what} is larger than the limit of {limit}")]
    TooLarge {
        /// What is too large.
        what: &'static str,
        /// The bound, with its unit.
        limit: String,
    },
    /// A statement was stopped.
    #[error("canceling statement due to {0}")]
    Cancelled(&'static str),
    /// No room for one more connection.
    #[error("too many connections: there are {limit} already")]
    Crowded {
        /// The bound.
        limit: usize,
    },
    /// A parameter's value cannot be read.
    #[error("invalid value for parameter ${number}: {reason}")]
    Value {
        /// Counted from 1.
        number: usize,
        /// What is wrong.
        reason: String,
    },
    /// An earlier statement of the transaction failed.
    #[error("current transaction is aborted, commands ignored until end of transaction block")]
    Aborted,
    /// A feature of PostgreSQL that is not here.
    #[error("{0} is not supported here")]
    Unsupported(String),
    /// SQL that cannot be read.
    #[error("{0}")]
    Syntax(String),
    /// A prepared statement or portal that is not there.
    #[error("{what} \"{name}\" does not exist")]
    Missing {
        /// What.
        what: &'static str,
        /// Its name.
        name: String,
    },
    /// A setting that is not known or cannot have the value.
    #[error("{reason}")]
    Setting {
        /// What is wrong.
        reason: String,
        /// Whether the name is unknown.
        unknown: bool,
    },
    /// The result is not the one that was described.
    #[error("the columns of the result changed since the statement was prepared")]
    Changed,
    /// The connection ends.
    #[error("terminating connection: {0}")]
    Ending(&'static str),
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
    EXPOSED 7101 Usage "an open address for PostgreSQL clients"
        "The PostgreSQL port has no TLS, and a key would cross the network in clear, so it listens on loopback only. From another machine, forward the port: `ssh -L 5433:127.0.0.1:5433 HOST`.";
    BIND 7102 Conflict "the PostgreSQL port cannot be listened on"
        "Another program listens there, or the system refuses the port. Choose another with --pg-port; 0 takes a free one.";
    UNAUTHENTICATED 7103 Auth "a key is needed"
        "Give an API key with the role read as the password; the user name does not matter. On loopback the user who runs the server needs none, unless the server was started with --require-auth.";
    READ_ONLY 7104 Usage "the PostgreSQL port is read only"
        "Queries, EXPLAIN, SHOW and COPY … TO STDOUT run here; whatever creates, changes or drops something does not.";
    PROTOCOL 7105 Usage "not a message of the protocol"
        "The client sent something that version 3 of the PostgreSQL protocol does not allow at this moment.";
    TOO_LARGE 7106 Usage "more than the PostgreSQL port allows"
        "Messages, statements, results and what one connection holds open are bounded. The message names the bound.";
    CANCELLED 7107 Failure "the statement was stopped"
        "The client cancelled it, or it ran longer than a statement may.";
    CROWDED 7108 Unavailable "too many connections"
        "Close some, or use a pool of fewer connections.";
    VALUE 7109 Usage "a parameter cannot be read"
        "The value does not have the form of the parameter's type.";
    ABORTED 7110 Usage "the transaction failed before"
        "A statement of this transaction failed. End it with ROLLBACK.";
    UNSUPPORTED 7111 Usage "a feature of PostgreSQL that is not here"
        "The PostgreSQL port answers queries. The manual lists what else it knows.";
    SYNTAX 7112 Usage "the statement cannot be read"
        "The message says what was expected.";
    MISSING 7113 NotFound "no such prepared statement or portal"
        "It was never made on this connection, or closed.";
    SETTING 7114 Usage "a setting that cannot be read or changed"
        "`SHOW ALL` lists the settings of a connection. Text is always UTF-8.";
    CHANGED 7115 Conflict "the table changed under a prepared statement"
        "Every statement reads the newest tables. Prepare it again.";
    ENDING 7116 Unavailable "the connection ends"
        "The server stops, or the connection was idle for too long. Connect again.";
    INTERNAL 7117 Failure "a defect in the PostgreSQL port"
        "This should not happen; please report it with the statement.";
}

impl WireError {
    /// The SQLSTATE of it.
    pub(crate) fn state(&self) -> &'static str {
        match self {
            Self::Exposed { .. } | Self::Bind { .. } => "08000",
            Self::Unauthenticated { .. } => "28P01",
            Self::ReadOnly { .. } => "25006",
            Self::Protocol(_) => "08P01",
            Self::TooLarge { .. } => "54000",
            Self::Cancelled(_) => "57014",
            Self::Crowded { .. } => "53300",
            Self::Value { .. } => "22P02",
            Self::Aborted => "25P02",
            Self::Unsupported(_) | Self::Changed => "0A000",
            Self::Syntax(_) => "42601",
            Self::Missing { what: "portal", .. } => "34000",
            Self::Missing { .. } => "26000",
            Self::Setting { unknown: true, .. } => "42704",
            Self::Setting { .. } => "22023",
            Self::Ending(_) => "57P01",
            Self::Internal(_) => "XX000",
        }
    }
}

impl From<WireError> for SqlFault {
    fn from(error: WireError) -> Self {
        let state = error.state();
        Self::new(error, state)
    }
}

impl Explain for WireError {
    fn code(&self) -> &'static Code {
        match self {
            Self::Exposed { .. } => &EXPOSED,
            Self::Bind { .. } => &BIND,
            Self::Unauthenticated { .. } => &UNAUTHENTICATED,
            Self::ReadOnly { .. } => &READ_ONLY,
            Self::Protocol(_) => &PROTOCOL,
            Self::TooLarge { .. } => &TOO_LARGE,
            Self::Cancelled(_) => &CANCELLED,
            Self::Crowded { .. } => &CROWDED,
            Self::Value { .. } => &VALUE,
            Self::Aborted => &ABORTED,
            Self::Unsupported(_) => &UNSUPPORTED,
            Self::Syntax(_) => &SYNTAX,
            Self::Missing { .. } => &MISSING,
            Self::Setting { .. } => &SETTING,
            Self::Changed => &CHANGED,
            Self::Ending(_) => &ENDING,
            Self::Internal(_) => &INTERNAL,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Exposed { .. } => {
                Some("leave --host at 127.0.0.1, and forward the port with ssh -L".to_owned())
            }
            Self::Unauthenticated { .. } => {
                Some("the password is an API key, such as the one in .sextant/admin.key".to_owned())
            }
            _ => None,
        }
    }

    fn place(&self) -> Option<Place> {
        None
    }
}
