//! The data layer: files of text become tables, SQL makes tables from tables, checks guard them,
//! and datasets freeze them for training.
//!
//! Every table is a Delta table that anybody can read in place; every version of it is pinned by
//! its Delta version and named by the digest of its rows. This crate must not know any other layer:
//! what SQL may do with text is plugged in through [`TextFunctions`].

#![deny(missing_docs)]

mod catalog;
mod checks;
pub mod content;
mod dataset;
mod documents;
mod engine;
mod error;
mod joins;
mod query;
pub mod scan;
mod sql;
mod statement;
mod storage;
pub mod table;
#[cfg(test)]
mod tests;
mod text;
mod workers;

pub use catalog::{FileRow, LatestTable, latest_table, rows_before};
pub use checks::ChecksKind;
pub use content::Column;
pub use dataset::{
    DatasetConfig, DatasetKind, DatasetSnapshot, SplitBlob, read_dataset, read_manifest,
};
pub use documents::{DOCUMENTS, FileAt, FilesAsset, FilesAt, FilesConfig, FilesType, source_id};
pub use engine::{CollectError, DataEngine, EngineOptions, register_table};
pub use error::{CODES, DataError, Result};
pub use query::{
    Described, QUERY_ROWS_MAX, QueryResult, TableInfo, bare_names, describe, is_of_storage,
    json_objects,
};
pub use sql::SqlKind;
pub use statement::{SqlOptions, SqlOutcome, only_reads_tables};
pub use storage::{
    bucket::{TablesAt, open_bucket},
    fault::StoreFault,
};
pub use table::{
    TableMeta,
    change::Changed,
    gc::{GcOptions, GcReport, HeldVersion, Holder, RemovedVersion},
    history::{HistoryRow, ShownVersion},
    tags::{TagInfo, TagKind},
};
pub use text::{TextFunctions, TextSection};
pub use workers::Started;
