//! How does data arrive exactly once? A source hands over records with their places (partition and
//! offset); each batch becomes one commit of the table, which carries the last offset of every
//! partition in the same log entry as the rows, so neither can be there without the other.
//!
//! **Order.** The table's own mark is what counts. Rows that do not fit go to the table
//! `NAME__quarantine` first, the good ones follow in the commit that moves the mark. A crash in
//! between leaves rows of the quarantine ahead of the mark: the next run reads the records behind
//! the mark again, leaves out those that lie in quarantine already, and lands the rest. So every
//! record ends in exactly one of the two tables, whatever was changed in between:
//! `arrived = landed + quarantined`, which [`Balance::is_even`] checks.
//!
//! **Acts.** A commit of the table that no act has recorded, left by a crash or made while another
//! build was running, is adopted by the next build from what the commit says of itself.

mod append;
mod balance;
mod commit;
mod commits;
mod contract;
mod history;
mod land;
mod payload;
mod quarantine;
mod record;
mod replay;
mod rewrite;
mod rules;
mod shape;
mod straight;
#[cfg(test)]
mod tests;
mod values;

use std::{collections::BTreeMap, sync::Arc};

use serde::{Deserialize, Serialize};
use sextant_core::Digest;
use sextant_project::AssetId;

pub use self::{
    balance::Balance,
    commits::{ArrivalCommit, OffsetRange},
    contract::ColumnContract,
    quarantine::{QuarantinePage, Quarantined},
    replay::Replayed,
    rules::{NewColumn, TypeName},
};
pub(crate) use self::{
    commit::{Change, Target, lost_the_race, properties, txn_app},
    contract::Contract,
    history::txn_mark,
    land::Pair,
    payload::{Parts, Payload, Record},
    quarantine::rows as quarantine_rows,
    record::{build, offsets, record, record_quarantine},
    rules::{Filled, Places, Rules, instant},
    shape::{Fault, Fields, Parsed, Sorted, sort},
    straight::{Plain, Plainly},
    values::widened,
};
use crate::error::{DataError, Result};
use sextant_data::TableMeta;

/// Most records in one commit of a table.
pub(crate) const BATCH_RECORDS_MAX: usize = 50_000;
/// Most bytes of records in one commit of a table.
pub(crate) const BATCH_BYTES_MAX: usize = 32 << 20;
/// Most columns that a source may make.
pub(crate) const COLUMNS_MAX: usize = 500;
/// What is added to a table's name for its quarantine.
pub(crate) const QUARANTINE_SUFFIX: &str = "__quarantine";
/// The column with the offset of a row, in a table that grows by offsets.
pub(crate) const OFFSET: &str = "_offset";
/// The column with the time a row arrived.
pub(crate) const ARRIVED_AT: &str = "_arrived_at";

/// What one source lands, and by which rules.
#[derive(Clone)]
pub(crate) struct Plan {
    /// The source.
    pub(crate) asset: AssetId,
    /// The name of its table.
    pub(crate) table: String,
    /// Where it comes from, for the lineage: `push:orders`.
    pub(crate) uri: String,
    /// Its partitions, each with its own mark.
    pub(crate) partitions: Vec<String>,
    /// What a record must be.
    pub(crate) rules: Arc<Rules>,
    /// Turns what arrived into fields.
    pub(crate) decode: Decode,
    /// Finds the records whose fields need not be taken apart to become a row.
    pub(crate) plainly: Option<Plainly>,
}

/// The fields of a record, or why it is none. An error of the second kind is not the record's: it
/// stops the landing.
pub(crate) type Decode = Arc<dyn Fn(&Record) -> Result<Result<Parsed, Fault>> + Send + Sync>;

/// A way to fields that needs nothing but the text.
pub(crate) fn plain(decode: fn(Format, &str) -> Result<Fields, Fault>) -> Decode {
    Arc::new(move |record| Ok(decode(record.format, &record.text()?).map(Parsed::from)))
}

/// The object of a record that arrived as the text of one.
pub(crate) fn plain_json(record: &Record) -> Option<Plain<'_>> {
    match &record.payload {
        Payload::Text(json) if record.format == Format::Json => {
            Some(Plain { json, filled: [None, None] })
        }
        _ => None,
    }
}

impl Plan {
    /// The asset under which its quarantine is listed.
    pub(crate) fn quarantine(&self) -> Result<AssetId> {
        let id = format!("{}{QUARANTINE_SUFFIX}", self.asset);
        id.parse().map_err(DataError::engine)
    }
}

/// How the text of a record is to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// A JSON object.
    Json,
    /// A CloudEvent as one JSON object.
    CloudEvent,
    /// A line that could not be cut into fields.
    Raw,
    /// A record of Kafka with its key, headers and value.
    Kafka,
    /// A change of a row in PostgreSQL.
    Postgres,
}

impl Format {
    const ALL: [Self; 5] = [Self::Json, Self::CloudEvent, Self::Raw, Self::Kafka, Self::Postgres];

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::CloudEvent => "cloudevent",
            Self::Raw => "raw",
            Self::Kafka => "kafka",
            Self::Postgres => "postgres",
        }
    }

    fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|format| format.as_str() == word)
    }
}

/// The fields of a record that is one JSON object.
pub(crate) fn fields(format: Format, text: &str) -> Result<Fields, Fault> {
    if format == Format::Raw {
        let reason = "it has not as many fields as the first line, or is not UTF-8";
        return Err(Fault::new("csv", reason));
    }
    let value: serde_json::Value = serde_json::from_str(text)
        .map_err(|error| Fault::new("json", format!("it is not JSON: {error}")))?;
    match value {
        serde_json::Value::Object(fields) => Ok(fields),
        _ => Err(Fault::new("object", "it is not a JSON object")),
    }
}

/// The last offset landed of each partition.
pub(crate) type Marks = BTreeMap<String, i64>;

/// Hands over what has arrived.
pub(crate) trait Feed {
    /// The records behind these marks, oldest first within a partition, at most one batch; none
    /// when all is landed.
    fn next(&mut self, marks: &Marks) -> Result<Vec<Record>>;
}

/// What a commit of a table says of itself: how much had arrived when it was made.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ArrivalState {
    /// The last offset of each partition.
    pub(crate) marks: Marks,
    /// Records that arrived.
    pub(crate) arrived: u64,
    /// Those that went into the table.
    pub(crate) landed: u64,
    /// Those that went into quarantine.
    pub(crate) quarantined: u64,
    /// Those of the quarantine that went into the table later.
    pub(crate) replayed: u64,
    /// How often the quarantine was put through again.
    #[serde(default)]
    pub(crate) replays: u64,
    /// The files whose rows this commit replaced.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) files: Vec<String>,
    /// The rows that this commit took out of quarantine.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) released: Vec<(String, i64)>,
    /// What the source itself must find again to go on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) note: Option<serde_json::Value>,
}

/// The tables of a source as they stand.
#[derive(Debug, Clone)]
pub(crate) struct Landed {
    pub(crate) table: TableMeta,
    pub(crate) quarantine: Option<TableMeta>,
    pub(crate) state: ArrivalState,
    /// Commits that were made just now.
    pub(crate) commits: u64,
}

/// What an act has recorded of a source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Recorded {
    pub(crate) delta_version: u64,
    pub(crate) quarantine: Option<u64>,
    pub(crate) version: Digest,
    pub(crate) state: ArrivalState,
}
