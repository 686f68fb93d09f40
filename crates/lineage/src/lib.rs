//! The spine: the only door to storage, and the keeper of the chain of lineage.
//!
//! A layer opens an [`Act`] (an activity with declared inputs), writes its artifacts, blobs and own
//! rows through it, and commits. Facts, edges, audit record and outbox entry become visible in one
//! transaction or not at all; outputs without an input are refused. Immutable bytes live in a
//! content-addressed blob folder; what arrives fast lives in the durable [`Log`].
//!
//! This crate must not know any layer: it sees digests, kinds and rows.

#![deny(missing_docs)]

mod act;
mod blobs;
mod catalog;
mod cell;
mod content;
mod error;
mod fsck;
mod incoming;
mod log;
mod reader;
mod schema;
mod sqlite;
mod store;

pub use act::{Act, Expect, NewArtifact, Outcome};
pub use cell::{Cell, Row};
pub use content::BlobReader;
pub use error::{CODES, LineageError};
pub use fsck::{FsckReport, Problem};
pub use incoming::{Aside, Incoming};
pub use log::{Log, LogRecord, Pending, Visitor};
pub use reader::{Activity, Artifact, AuditRecord, Edge, Hole, NameChange, Reader, Waiting};
pub use store::{FORMAT_VERSION, OpenOptions, Store, is_held};

/// A place where the torture runs may stop or fail the process: `FAILPOINTS=name=return` makes the
/// call answer with an IO error. Compiled to nothing without the feature `failpoints`.
pub(crate) fn failpoint(name: &'static str) -> std::io::Result<()> {
    fail::fail_point!(name, |_| Err(std::io::Error::other(format!("failpoint {name}"))));
    let _ = name;
    Ok(())
}

/// Writes a new file so that it exists whole or not at all, through any crash: temporary file,
/// fsync, rename, fsync of the folder.
///
/// # Errors
/// Any error of the file system; the target is untouched then.
pub fn write_atomically(path: &std::path::Path, bytes: &[u8]) -> std::io::Result<()> {
    use std::io::Write as _;
    let folder = path.parent().unwrap_or_else(|| std::path::Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    sync_folder(folder)
}

/// Makes renames inside this folder durable.
///
/// # Errors
/// Any error of the file system.
pub fn sync_folder(folder: &std::path::Path) -> std::io::Result<()> {
    std::fs::File::open(folder)?.sync_all()
}
