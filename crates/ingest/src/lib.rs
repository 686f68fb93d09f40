//! How does data arrive exactly once? `sources/*.toml`: files of text and of records, records over
//! HTTP, topics of Kafka, warehouses. Each way in hands over records with their places; [`arrival`]
//! lands them. `exports/*.toml` goes the other way: tables are written into warehouses.
//!
//! The tables are those of the data layer: this crate writes into them, and knows no other layer.

#![deny(missing_docs)]

mod arrival;
mod catalog;
mod engine;
mod error;
mod exports;
mod sources;
#[cfg(test)]
mod tests;

pub use arrival::{
    ArrivalCommit, Balance, ColumnContract, NewColumn, OffsetRange, QuarantinePage, Quarantined,
    Replayed, TypeName,
};
pub use engine::Ingest;
pub(crate) use error::failpoint;
pub use error::{CODES, IngestError};
pub use exports::{ExportConfig, ExportKind, ExportMode};
pub use sources::{
    Accepted, AdbcConfig, AdbcFault, Follower, KafkaConfig, KafkaFault, KafkaSecurity, OptionText,
    Partition, PostgresConfig, PostgresFault, PushBody, PushConfig, PushLog, PushReply,
    RecordsConfig, RecordsFormat, RegistryAuth, Source, SourceKind, SourceType, Standing, Waiting,
};
