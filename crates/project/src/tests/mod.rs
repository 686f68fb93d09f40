//! Does the graph build what is stale, and only that? A made-up layer of text files stands in for
//! the real ones.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod builds;
mod config;
mod fake;
mod faults;
mod releases;
mod selectors;
