//! The types that other tools speak on the wire, one module a protocol: requests, replies, errors.
//!
//! Types only. This crate must not know HTTP, async, storage or any layer, so that a protocol can
//! be read, tested and changed without building anything else.

#![deny(missing_docs)]

pub mod openai;
pub mod otlp;
