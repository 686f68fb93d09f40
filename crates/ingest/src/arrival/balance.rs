//! Has every record that arrived ended in exactly one place?

use serde::Serialize;
use sextant_core::Cancel;

use super::Plan;
use crate::{Ingest, error::Result};

/// The account of a source, from the log of its table and from the rows that its tables hold.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Balance {
    /// Records that arrived up to the table's marks.
    pub arrived: u64,
    /// Those that went into the table.
    pub landed: u64,
    /// Those that went into quarantine.
    pub quarantined: u64,
    /// Those of the quarantine that went into the table later.
    pub replayed: u64,
    /// Rows that the table has.
    pub table_rows: u64,
    /// Rows that the quarantine has.
    pub quarantine_rows: u64,
    /// Whether rows are replaced by their key, so that there are fewer than have landed.
    pub keyed: bool,
}

impl Balance {
    /// Whether nothing is missing and nothing is there twice.
    pub fn is_even(&self) -> bool {
        let rows = self.landed + self.replayed;
        let all_there = if self.keyed { self.table_rows <= rows } else { self.table_rows == rows };
        // A crash between the two commits leaves the quarantine ahead until the next landing.
        all_there
            && self.arrived == self.landed + self.quarantined
            && self.quarantine_rows >= self.quarantined
            && self.replayed <= self.quarantined
    }
}

impl Ingest {
    /// The account of a source.
    pub(crate) fn balance(&self, plan: &Plan, cancel: &Cancel) -> Result<Balance> {
        let pair = self.open_pair(plan, cancel)?;
        let state = &pair.main.state;
        Ok(Balance {
            arrived: state.arrived,
            landed: state.landed,
            quarantined: state.quarantined,
            replayed: state.replayed,
            table_rows: pair.main.meta()?.map_or(0, |meta| meta.rows),
            quarantine_rows: pair.quarantine.meta()?.map_or(0, |meta| meta.rows),
            keyed: !plan.rules.key.is_empty(),
        })
    }
}
