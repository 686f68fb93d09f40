//! What is a batch made of, and which columns do its rows have?

use std::{path::PathBuf, sync::Arc};

use datafusion::arrow::datatypes::{DataType, Field, Schema};
use sextant_core::Digest;

use super::{
    LSN, OnUnfit,
    lsn::Lsn,
    overtaken::Overtaking,
    pgoutput::Cell,
    spill::{DELETED, Spill},
    subject::Column,
};

/// Where a change stands.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    pub(super) lsn: Lsn,
    /// When it was committed.
    pub(super) at_us: i64,
}

/// One change.
pub(super) struct Row {
    pub(super) cells: Vec<Cell>,
    pub(super) deleted: bool,
    pub(super) place: Place,
    /// The number of the change among all that arrived; none for the half of a change of key.
    pub(super) number: Option<i64>,
    pub(super) op: &'static str,
    /// Where the values are that were not sent.
    pub(super) base: Option<Base>,
}

impl Row {
    /// About how much memory it takes.
    pub(super) fn bytes(&self) -> usize {
        let size = |cell: &Cell| cell.bytes().map_or(8, |bytes| bytes.len() + 40);
        self.cells.iter().map(size).sum()
    }
}

/// Where values are that a change has not sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Base {
    /// In this row of those that are closed.
    Closed(usize),
    /// In the table, in the row with this one of the keys that are looked up.
    Table(usize),
    /// Nowhere: the row is not in the table.
    Nowhere,
}

/// How a batch makes rows.
#[derive(Clone)]
pub(super) struct Layout {
    pub(super) columns: Vec<Column>,
    /// Which of the columns name a row; empty when every row stands for itself.
    pub(super) key: Vec<usize>,
    pub(super) on_unfit: OnUnfit,
    pub(super) folder: PathBuf,
}

impl Layout {
    /// The schema of the rows: the columns, their place, and whether they are to be taken away.
    fn schema(&self) -> Arc<Schema> {
        let own = self.columns.iter().map(|it| Field::new(it.name(), it.kind.data_type(), true));
        let ours =
            [Field::new(LSN, DataType::Int64, true), Field::new(DELETED, DataType::Boolean, true)];
        Arc::new(Schema::new(own.chain(ours).collect::<Vec<_>>()))
    }

    pub(super) fn spill(&self) -> Spill {
        Spill::new(self.folder.clone(), self.schema(), self.columns.len())
    }
}

/// What a batch has counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) arrived: u64,
    pub(super) quarantined: u64,
}

/// A batch that is ready to be written.
pub(super) struct Ready {
    pub(super) rows: Spill,
    pub(super) keep: Vec<bool>,
    pub(super) bad: Spill,
    pub(super) counts: Counts,
    /// The number of the last change.
    pub(super) last: i64,
    /// Whether all rows of the table go away first.
    pub(super) truncated: bool,
    /// Whether all rows are new to the table.
    pub(super) only_inserts: bool,
    /// What of the quarantine it overtakes.
    pub(super) overtaking: Overtaking,
    /// The digest of the rows that were copied, as they were sent.
    pub(super) sent: Digest,
}
