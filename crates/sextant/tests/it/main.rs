//! The real binary as a user drives it: projects in temporary folders, commands run in them, and
//! what they print, say and leave behind. Nothing here trains: the projects search by words.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod damage;
mod files;
mod ids;
mod ingest;
mod output;
mod processes;
mod project;
mod releases;
mod selectors;
mod sql;
mod whole_loop;
