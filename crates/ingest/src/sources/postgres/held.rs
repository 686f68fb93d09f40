//! What does the quarantine keep of a change? All that is needed to put it through again: the values that
//! were sent, those that it has taken from the row before it, and which were nowhere.

use std::collections::{BTreeMap, BTreeSet};

use datafusion::arrow::{
    array::{Array as _, ArrayRef, AsArray as _},
    datatypes::DataType,
    util::display::array_value_to_string,
};
use serde::{Deserialize, Serialize};

use super::{
    batch::{KeyHash, Row, key_hash},
    lsn::Lsn,
    pgoutput::Cell,
    subject::Column,
};
use crate::error::{DataError, Result};

/// What a change does that gives a row another key.
pub(super) const MOVE: &str = "move";
/// What a change does that leaves the key as it is.
pub(super) const UPDATE: &str = "update";

type Texts = BTreeMap<String, Option<String>>;

/// A change as it lies in quarantine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Held {
    pub(super) op: String,
    pub(super) lsn: Lsn,
    /// The values that were sent, as the server writes them.
    pub(super) row: Texts,
    /// Those that were taken from the row before it, as the table has them. A change that was set aside
    /// before there was a replay has no list of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) kept: Option<Texts>,
    /// The columns whose values were nowhere.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub(super) unsent: BTreeSet<String>,
}

impl Held {
    /// Of a change whose values are these; `taken` says whether it has those that it did not send.
    pub(super) fn new(
        row: &Row,
        columns: &[Column],
        values: &[ArrayRef],
        at: usize,
        taken: bool,
    ) -> Result<Self> {
        let op = row.op.to_owned();
        let mut held =
            Self { op, lsn: row.place.lsn, row: Texts::new(), kept: None, unsent: BTreeSet::new() };
        let mut kept = Texts::new();
        for ((column, cell), values) in columns.iter().zip(&row.cells).zip(values) {
            let name = column.name().to_owned();
            match cell {
                Cell::Text(bytes) => {
                    let text = String::from_utf8_lossy(bytes).into_owned();
                    if text.as_bytes() != &**bytes {
                        // It is shown as far as it can be, and is not the value.
                        held.unsent.insert(name.clone());
                    }
                    held.row.insert(name, Some(text));
                }
                Cell::Null => drop(held.row.insert(name, None)),
                Cell::Unchanged if taken => drop(kept.insert(name, text_of(values, at)?)),
                Cell::Unchanged => drop(held.unsent.insert(name)),
            }
        }
        held.kept = Some(kept);
        Ok(held)
    }

    /// As the quarantine has it; `None` for what is no change of ours.
    pub(super) fn read(payload: &str) -> Option<Self> {
        serde_json::from_str(payload).ok()
    }

    pub(super) fn to_text(&self) -> Result<String> {
        serde_json::to_string(self).map_err(DataError::engine)
    }

    /// Which row of the source it changes.
    pub(super) fn key(&self, names: &[String]) -> Option<KeyHash> {
        let texts: Option<Vec<_>> = names.iter().map(|name| self.row.get(name)).collect();
        Some(key_hash(texts?.into_iter().map(|text| text.as_ref().map(String::as_bytes))))
    }

    /// What it has not sent, from the change of the same row that was set aside before it: nothing has
    /// brought the row into the table in between.
    pub(super) fn fill(&mut self, before: &Self) {
        if self.op != UPDATE {
            return;
        }
        let Some(kept) = &mut self.kept else { return };
        let row = &mut self.row;
        self.unsent.retain(|name| match (before.row.get(name), &before.kept) {
            _ if row.contains_key(name) || before.unsent.contains(name) => true,
            // A value that was sent is written as the server does: it stays one.
            (Some(text), _) => {
                row.insert(name.clone(), text.clone());
                false
            }
            (None, Some(taken)) if taken.contains_key(name) => {
                kept.insert(name.clone(), taken.get(name).cloned().flatten());
                false
            }
            (None, _) => true,
        });
    }
}

/// A value of the table as a text from which it can be read again.
fn text_of(values: &ArrayRef, at: usize) -> Result<Option<String>> {
    if values.is_null(at) {
        return Ok(None);
    }
    Ok(Some(match values.data_type() {
        DataType::Binary => format!("\\x{}", hex::encode(values.as_binary::<i32>().value(at))),
        _ => array_value_to_string(values, at).map_err(DataError::engine)?,
    }))
}
