//! The data layer: folders of files become tables, SQL makes tables from tables, checks guard them,
//! and datasets freeze them for training.
//!
//! Every table is a Delta table that anybody can read in place; every version of it is pinned by
//! its Delta version and named by the digest of its rows. This crate must not know any other layer:
//! what SQL may do with text is plugged in through [`TextFunctions`].

#![deny(missing_docs)]

mod catalog;
mod checks;
mod content;
mod dataset;
mod door;
mod engine;
mod error;
mod files;
mod query;
mod sql;
mod storage;
mod table;
#[cfg(test)]
mod tests;
mod text;

pub use checks::ChecksKind;
pub use content::Column;
pub use dataset::{
    DatasetConfig, DatasetKind, DatasetSnapshot, SplitBlob, read_dataset, read_manifest,
};
pub use door::SqlDoor;
pub use engine::{DataEngine, EngineOptions};
pub use error::{CODES, DataError};
pub use files::{DOCUMENTS, FilesConfig, FilesKind, SourceType};
pub use query::{QUERY_ROWS_MAX, QueryResult, TableInfo};
pub use sql::SqlKind;
pub use table::TableMeta;
pub use text::{TextFunctions, TextSection};
