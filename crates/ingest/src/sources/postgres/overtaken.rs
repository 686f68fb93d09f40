//! Which changes in quarantine does nobody need any more? Those whose row a later change has brought into
//! the table, or has taken away: put through again, they would undo it. They are marked before the commit
//! with the later change. A build that is stopped in between reads that change again.

use std::{collections::HashMap, ops::Range};

use datafusion::{
    arrow::array::{AsArray as _, RecordBatch},
    arrow::{compute::cast, datatypes::DataType, datatypes::Int64Type},
    execution::SendableRecordBatchStream,
    prelude::{Expr, col, lit},
};
use deltalake_core::DeltaTableError;
use futures::TryStreamExt as _;

use super::{PARTITION, batch::KeyHash, held::Held, land::Tables, session};
use crate::{
    arrival::{ArrivalState, txn_app},
    error::{DataError, Result},
};

/// Most changes that one commit marks.
const MARKED_MAX: usize = 5_000;

/// What a batch does to the changes that lie in quarantine.
#[derive(Default)]
pub(super) struct Overtaking {
    /// The last change of each row.
    pub(super) last: HashMap<KeyHash, usize>,
    /// Which changes were set aside themselves.
    pub(super) unfit: Vec<bool>,
    /// The number of the last change that took all rows away.
    pub(super) truncated: Option<i64>,
    /// The numbers of its changes.
    pub(super) numbers: Range<i64>,
    /// From which number on, up to its first, a build that was stopped has set aside what this one has
    /// read again, under other numbers.
    pub(super) again: i64,
}

impl Overtaking {
    /// Whether the row of a change with this number is another one after the batch.
    fn has(&self, number: i64, key: Option<KeyHash>) -> bool {
        // Set aside by a build that was stopped, and still to come for this one.
        if number >= self.numbers.end {
            return false;
        }
        let again = (self.again..self.numbers.start).contains(&number);
        let later = key.and_then(|key| self.last.get(&key));
        self.truncated.is_some_and(|truncated| number < truncated)
            || later.is_some_and(|at| again || !self.unfit.get(*at).copied().unwrap_or(false))
    }
}

impl Tables {
    /// Marks what a batch overtakes, and brings the account to how much is marked in all.
    pub(super) async fn mark_overtaken(
        &mut self,
        overtaking: &Overtaking,
        key: &[String],
        state: &mut ArrivalState,
    ) -> Result<()> {
        if self.quarantine.table.version().is_none() {
            return Ok(());
        }
        if !(key.is_empty() || overtaking.last.is_empty() && overtaking.truncated.is_none()) {
            let mut numbers = Vec::new();
            let mut waiting = self.waiting(lit(true)).await?;
            while let Some(rows) = waiting.try_next().await.map_err(DataError::engine)? {
                each(&rows, |number, payload| {
                    let held = Held::read(payload);
                    if overtaking.has(number, held.and_then(|held| held.key(key))) {
                        numbers.push(number);
                    }
                })?;
                if numbers.len() >= MARKED_MAX {
                    self.mark(&std::mem::take(&mut numbers)).await?;
                }
            }
            self.mark(&numbers).await?;
        }
        state.replayed = self.marked().await?;
        Ok(())
    }

    /// How many changes of the quarantine are marked.
    pub(super) async fn marked(&self) -> Result<u64> {
        match self.quarantine.meta()? {
            Some(meta) => self.engine.released_count(&meta).await,
            None => Ok(0),
        }
    }

    /// The numbers and payloads of the changes that wait, in the order of their numbers.
    pub(super) async fn waiting(&self, wanted: Expr) -> Result<SendableRecordBatchStream> {
        let context = session::to_look_up(&self.engine)?;
        let provider = self.quarantine.table.table_provider().await;
        let provider = provider.map_err(|error| {
            DataError::table("open", &self.quarantine.asset)(DeltaTableError::from(error))
        })?;
        let rows = context
            .read_table(provider)
            .and_then(|rows| rows.filter(col("replayed_at").is_null().and(wanted)))
            .and_then(|rows| rows.select_columns(&["offset", "payload"]))
            .and_then(|rows| rows.sort(vec![col("offset").sort(true, true)]));
        rows.map_err(DataError::engine)?.execute_stream().await.map_err(DataError::engine)
    }

    /// Marks changes of the quarantine as no longer waiting.
    pub(super) async fn mark(&mut self, numbers: &[i64]) -> Result<()> {
        let now = self.engine.store().now().micros();
        for some in numbers.chunks(MARKED_MAX) {
            let places: Vec<_> =
                some.iter().map(|number| (PARTITION.to_owned(), *number)).collect();
            let app = txn_app(&self.quarantine.asset, PARTITION);
            let mark = self.quarantine_mark().await?.unwrap_or(0);
            let target = self.quarantine.copy();
            self.quarantine = self.engine.release(target, &places, (app, mark), now).await?;
        }
        Ok(())
    }
}

/// Goes through numbers and payloads.
pub(super) fn each(rows: &RecordBatch, mut one: impl FnMut(i64, &str)) -> Result<()> {
    let numbers = rows.column(0).as_primitive::<Int64Type>();
    let payloads = cast(rows.column(1), &DataType::Utf8).map_err(DataError::engine)?;
    for (number, payload) in numbers.iter().zip(payloads.as_string::<i32>()) {
        if let (Some(number), Some(payload)) = (number, payload) {
            one(number, payload);
        }
    }
    Ok(())
}
