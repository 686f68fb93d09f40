//! The crate from outside: an index as an asset of a project, and retrieval quality on a public
//! test collection.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]

mod index_asset;
mod vaswani;
