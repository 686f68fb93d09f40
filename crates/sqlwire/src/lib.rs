//! How do psql, drivers and BI tools read the tables? Over version 3 of the PostgreSQL protocol,
//! spoken here and nowhere else.
//!
//! This crate must not know tables, storage or an SQL engine. A port of its own, [`SqlEngine`],
//! plans and runs queries; a [`sextant_core::Gatekeeper`] says who may ask. It listens on loopback
//! only, because it has no TLS and a key would cross the network in clear; nothing but queries
//! reaches the engine; every message, statement, row count and wait has a bound, named in
//! [`limits`].

#![deny(missing_docs)]

mod connection;
mod copy;
mod error;
mod extended;
mod input;
mod lex;
pub mod limits;
mod output;
mod port;
mod run;
mod server;
mod session;
mod startup;
mod statement;
#[cfg(test)]
mod tests;
mod value;

pub use error::{CODES, WireError};
pub use port::{Cell, Column, Kind, Parameter, Portion, Prepared, Row, SqlEngine, SqlFault};
pub use server::{SqlServer, serve};
