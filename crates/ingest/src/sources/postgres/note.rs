//! What does a source note in each commit of its table, so that the next build can go on? And what does
//! it need while it runs? The server's own number, the place in its log, the columns as they were.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sextant_core::Digest;
use sextant_project::AssetId;

use super::{
    LSN, Mode, OnUnfit, PostgresConfig,
    address::Address,
    batch::Layout,
    fault::PostgresFault,
    lsn::Lsn,
    slot,
    spill::DELETED,
    subject::{Column, Subject},
    wire::{Connection, Described},
};
use crate::{
    Ingest,
    arrival::ArrivalState,
    error::{DataError, Result},
};

/// Characters that a column of a table cannot have in its name.
const NAME_REFUSED: &[char] = &[' ', ',', ';', '{', '}', '(', ')', '=', '\n', '\t'];

/// Where a table stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Note {
    pub(super) mode: Mode,
    /// The server's own number.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(super) system: String,
    /// The table's number in its database; 0 for a query.
    pub(super) oid: u32,
    /// The end of what has landed of the log of changes.
    pub(super) lsn: Lsn,
    /// Where all rows were copied.
    pub(super) copied: Lsn,
    pub(super) columns: Vec<Described>,
    /// What rows have in columns that were added behind them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) filled: BTreeMap<String, String>,
    pub(super) key: Vec<String>,
    /// What happened to values that do not fit.
    pub(super) on_unfit: OnUnfit,
    /// The highest cursor seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) cursor: Option<String>,
    /// The digest of the rows: all of a snapshot, those at the cursor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) digest: Option<Digest>,
    /// The number of the next row, where rows are not numbered as they arrive: those that are read again
    /// after a stop get other numbers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) next: Option<i64>,
}

impl Note {
    /// The note of a commit.
    pub(super) fn of(state: &ArrivalState) -> Option<Self> {
        serde_json::from_value(state.note.clone()?).ok()
    }

    /// The note of a table that was filled in this mode.
    pub(super) fn in_mode(state: &ArrivalState, mode: Mode) -> Option<Self> {
        Self::of(state).filter(|note| note.mode == mode)
    }

    /// The number behind the last change that has landed.
    pub(super) fn landed_end(&self, state: &ArrivalState) -> i64 {
        self.next.unwrap_or_else(|| i64::try_from(state.arrived).unwrap_or(i64::MAX))
    }

    pub(super) fn to_value(&self) -> Value {
        json!(self)
    }

    /// What came in since an older note, for the lineage.
    pub(super) fn span(&self, before: Option<&Self>) -> Value {
        let before = before.filter(|before| before.mode == self.mode);
        if self.mode == Mode::Incremental {
            let from = before.and_then(|before| before.cursor.clone());
            return json!({ "cursor": { "from": from, "to": self.cursor } });
        }
        let copied = before.is_none_or(|before| before.copied != self.copied);
        let from = before.filter(|_| !copied).map_or(self.copied, |before| before.lsn);
        json!({ "lsn": { "from": from, "to": self.lsn, "copied": copied } })
    }

    /// Why the table that is there now cannot be the one that was noted.
    pub(super) fn differs(&self, now: &Subject, key: &[String]) -> Option<PostgresFault> {
        let reshaped = |message: String| Some(PostgresFault::Reshaped { message });
        if self.oid != now.oid {
            return reshaped(
                "it was dropped and made again, or `table` names another one".to_owned(),
            );
        }
        if self.key != key {
            return reshaped(format!("its key was {}", self.key.join(", ")));
        }
        for known in &self.columns {
            let found = now.columns.iter().find(|it| it.described.number == known.number);
            let Some(found) = found.filter(|found| found.name() == known.name) else {
                return reshaped(format!("the column `{}` is gone", known.name));
            };
            // A text that may be longer is the same type here.
            let wider = found.described.type_oid == known.type_oid;
            if !wider || (known.type_oid == 1700 && found.described.modifier != known.modifier) {
                return reshaped(format!("the column `{}` has another type", known.name));
            }
        }
        None
    }
}

/// One build of a source.
pub(super) struct Job {
    pub(super) engine: Ingest,
    pub(super) asset: AssetId,
    pub(super) quarantine: AssetId,
    pub(super) config: Arc<PostgresConfig>,
    pub(super) address: Address,
    pub(super) ca: Option<PathBuf>,
}

impl Job {
    pub(super) async fn connect(&self, replication: bool) -> Result<Connection, PostgresFault> {
        Connection::open(&self.address, replication, self.ca.as_deref()).await
    }

    /// The name of the slot.
    pub(super) fn slot(&self) -> String {
        let small = |c: char| match c.to_ascii_lowercase() {
            c if c.is_ascii_alphanumeric() => c,
            _ => '_',
        };
        let own = || {
            let name: String = self.asset.stem().chars().map(small).collect();
            format!("sextant_{name}").chars().take(slot::NAME_MAX).collect()
        };
        self.config.slot.clone().unwrap_or_else(own)
    }

    pub(super) fn publication(&self) -> String {
        self.config.publication.clone().unwrap_or_else(|| self.slot())
    }

    /// How rows with these columns are kept.
    pub(super) fn layout(&self, columns: Vec<Column>, key: &[String]) -> Result<Layout> {
        check_names(&columns)?;
        let place = |name: &String| {
            let found = columns.iter().position(|column| column.name() == name);
            found.ok_or_else(|| PostgresFault::NotThere { what: format!("column `{name}` here") })
        };
        Ok(Layout {
            key: key.iter().map(place).collect::<Result<_, _>>()?,
            columns,
            on_unfit: self.config.on_unfit,
            folder: self.engine.store().area("spill")?,
        })
    }
}

/// Refuses columns that a table cannot have.
fn check_names(columns: &[Column]) -> Result<()> {
    let mut seen = std::collections::BTreeSet::new();
    for column in columns {
        let name = column.name();
        let ours = [LSN, DELETED].iter().any(|own| own.eq_ignore_ascii_case(name));
        let twice = !seen.insert(name.to_lowercase());
        if ours || twice || name.contains(NAME_REFUSED) {
            return Err(DataError::from(PostgresFault::Unfit {
                message: format!("a table here cannot have a column `{name}` like this"),
                fix: "rename it, or read a query or a view that does".to_owned(),
            }));
        }
    }
    Ok(())
}
