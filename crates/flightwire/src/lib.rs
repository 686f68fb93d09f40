//! How do ADBC and Flight clients read the tables? Over Arrow Flight SQL: gRPC that carries columns
//! as Arrow has them in memory, spoken here and nowhere else.
//!
//! This crate must not know tables, storage or an SQL engine. A port of its own, [`FlightEngine`],
//! plans and runs queries; a [`sextant_core::Gatekeeper`] says who may ask, and is asked at every
//! call. It listens on loopback only, because it has no TLS and a key would cross the network in
//! clear. A ticket is only the text of a query: whoever brings one is judged as if he had sent the
//! query. Messages, statements and row counts have bounds, named in [`limits`]; so has
//! every wait but that for a message whose call has begun.

#![deny(missing_docs)]

mod admit;
mod batches;
mod bind;
mod calls;
mod commands;
mod door;
mod error;
pub mod limits;
mod listing;
mod messages;
mod patient;
mod port;
mod run;
mod server;
mod service;
mod statements;
#[cfg(test)]
mod tests;

pub use error::{CODES, FlightError};
pub use port::{Described, Fault, FlightEngine, Portion, Query, TableName};
pub use server::{FlightServer, serve};
