//! Where do rows go that do not fit? Into the table `NAME__quarantine`, with the rule they break,
//! the reason in words, what arrived and where from. A row is never taken out: when it was put
//! through again, `replayed_at` says so.

use std::{collections::HashSet, sync::Arc};

use datafusion::{
    arrow::{
        array::{
            Array as _, ArrayRef, AsArray as _, Int64Array, RecordBatch, StringArray,
            TimestampMicrosecondArray,
        },
        compute::cast,
        datatypes::{DataType, Field, Int64Type, Schema, SchemaRef, TimestampMicrosecondType},
    },
    prelude::{DataFrame, col, lit},
};
use serde::Serialize;
use sextant_core::{Cancel, Timestamp};

use super::{Format, Plan, QUARANTINE_SUFFIX, Record, rules::instant, shape::Fault};
use crate::{
    Ingest, catalog,
    error::{DataError, Result},
};
use sextant_data::{TableMeta, latest_table};

/// One row of a quarantine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Quarantined {
    /// The partition it came from.
    pub partition: String,
    /// Its place there.
    pub offset: i64,
    /// The rule it breaks, as one word.
    pub rule: String,
    /// Why, in words.
    pub reason: String,
    /// How the payload is to be read.
    pub format: String,
    /// What arrived.
    pub payload: String,
    /// When it arrived.
    pub arrived_at: String,
    /// When it went into the table after all.
    pub replayed_at: Option<String>,
    #[serde(skip)]
    pub(crate) arrived_us: i64,
}

/// A page of a quarantine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct QuarantinePage {
    /// The rows, by partition and offset.
    pub rows: Vec<Quarantined>,
    /// How many rows wait in all.
    pub waiting: u64,
    /// How many went into the table after all.
    pub replayed: u64,
    /// Whether there are rows behind these.
    pub more: bool,
}

const TEXTS: [&str; 5] = ["partition", "rule", "reason", "format", "payload"];

pub(crate) fn schema() -> SchemaRef {
    let text = |name: &str| Field::new(name, DataType::Utf8, true);
    Arc::new(Schema::new(vec![
        text("partition"),
        Field::new("offset", DataType::Int64, true),
        text("rule"),
        text("reason"),
        text("format"),
        text("payload"),
        Field::new("arrived_at", instant(), true),
        Field::new("replayed_at", instant(), true),
    ]))
}

/// The records that do not fit, as rows.
pub(crate) fn rows(bad: &[(Record, Fault)]) -> Result<RecordBatch> {
    let text = |value: &dyn Fn(&(Record, Fault)) -> String| -> ArrayRef {
        Arc::new(StringArray::from_iter_values(bad.iter().map(value)))
    };
    let payloads = bad.iter().map(|(record, _)| record.text().map(std::borrow::Cow::into_owned));
    let payloads = payloads.collect::<Result<Vec<String>>>()?;
    let times = bad.iter().map(|(record, _)| record.arrived_at);
    let never = vec![None; bad.len()];
    let columns: Vec<ArrayRef> = vec![
        text(&|(record, _)| record.partition.to_string()),
        Arc::new(Int64Array::from_iter_values(bad.iter().map(|(record, _)| record.offset))),
        text(&|(_, fault)| fault.rule.to_owned()),
        text(&|(_, fault)| fault.reason.clone()),
        text(&|(record, _)| record.format.as_str().to_owned()),
        Arc::new(StringArray::from(payloads)),
        Arc::new(TimestampMicrosecondArray::from_iter_values(times).with_timezone("UTC")),
        Arc::new(TimestampMicrosecondArray::from(never).with_timezone("UTC")),
    ];
    RecordBatch::try_new(schema(), columns).map_err(DataError::engine)
}

impl Ingest {
    /// The places of this partition behind `mark` that lie in quarantine.
    pub(crate) async fn held_behind(
        &self,
        quarantine: &TableMeta,
        partition: &str,
        mark: i64,
    ) -> Result<HashSet<i64>> {
        let provider = self.pinned(quarantine).await?;
        let frame = self.session().read_table(provider).map_err(DataError::engine)?;
        let wanted = col("partition").eq(lit(partition)).and(col("offset").gt(lit(mark)));
        let frame = frame.filter(wanted).and_then(|frame| frame.select(vec![col("offset")]));
        let batches = self.held_rows(frame.map_err(DataError::engine)?).await?;
        let mut held = HashSet::new();
        for batch in batches {
            held.extend(batch.column(0).as_primitive::<Int64Type>().iter().flatten());
        }
        Ok(held)
    }

    /// Rows of a quarantine that wait, by partition and offset.
    pub(crate) async fn waiting(
        &self,
        quarantine: &TableMeta,
        skip: usize,
        limit: usize,
    ) -> Result<Vec<Quarantined>> {
        let provider = self.pinned(quarantine).await?;
        let frame = self.session().read_table(provider).map_err(DataError::engine)?;
        let by_place = vec![col("partition").sort(true, true), col("offset").sort(true, true)];
        let frame = frame
            .filter(col("replayed_at").is_null())
            .and_then(|frame| frame.sort(by_place))
            .and_then(|frame| frame.limit(skip, Some(limit)))
            .map_err(DataError::engine)?;
        let mut found = Vec::new();
        for batch in self.held_rows(frame).await? {
            read(&batch, &mut found)?;
        }
        Ok(found)
    }

    /// How many rows went into the table after all.
    pub(crate) async fn released_count(&self, quarantine: &TableMeta) -> Result<u64> {
        let provider = self.pinned(quarantine).await?;
        let frame = self.session().read_table(provider).map_err(DataError::engine)?;
        let frame = frame.filter(col("replayed_at").is_not_null()).map_err(DataError::engine)?;
        Ok(frame.count().await.map_err(DataError::engine)? as u64)
    }

    async fn held_rows(&self, frame: DataFrame) -> Result<Vec<RecordBatch>> {
        let stream = frame.execute_stream().await.map_err(DataError::engine)?;
        let what = "a quarantine";
        let collected = self.collect(what, stream).await;
        Ok(collected.map_err(|error| error.explain(what, DataError::engine))?.1)
    }

    /// A page of the rows that wait in a source's quarantine.
    ///
    /// # Errors
    /// When the quarantine cannot be read.
    pub(crate) fn quarantine_page(
        &self,
        plan: &Plan,
        skip: usize,
        limit: usize,
        cancel: &Cancel,
    ) -> Result<QuarantinePage> {
        let reader = self.store().read()?;
        let asset = plan.quarantine()?;
        let empty = QuarantinePage { rows: Vec::new(), waiting: 0, replayed: 0, more: false };
        let Some(latest) = latest_table(&reader, asset.as_str())? else {
            return Ok(empty);
        };
        let replayed =
            catalog::arrival(&reader, plan.asset.as_str())?.map_or(0, |known| known.state.replayed);
        let engine = self.clone();
        let meta = latest.meta;
        let total = meta.rows;
        let read = async move { engine.waiting(&meta, skip, limit.saturating_add(1)).await };
        let mut rows = self.block(Some(cancel), read)?;
        let more = rows.len() > limit;
        rows.truncate(limit);
        Ok(QuarantinePage { rows, waiting: total.saturating_sub(replayed), replayed, more })
    }
}

fn read(batch: &RecordBatch, found: &mut Vec<Quarantined>) -> Result<()> {
    let column = |name: &str, kind: &DataType| -> Result<ArrayRef> {
        let column = batch.column_by_name(name);
        let column = column.ok_or_else(|| {
            DataError::engine(format!("a table ending in {QUARANTINE_SUFFIX} has no `{name}`"))
        })?;
        cast(column, kind).map_err(DataError::engine)
    };
    let texts =
        TEXTS.iter().map(|name| column(name, &DataType::Utf8)).collect::<Result<Vec<_>>>()?;
    let text = |at: usize, row: usize| texts[at].as_string::<i32>().value(row).to_owned();
    let offsets = column("offset", &DataType::Int64)?;
    let arrived = column("arrived_at", &instant())?;
    let replayed = column("replayed_at", &instant())?;
    let replayed = replayed.as_primitive::<TimestampMicrosecondType>();
    for row in 0..batch.num_rows() {
        let arrived_us = arrived.as_primitive::<TimestampMicrosecondType>().value(row);
        let at = |micros: i64| Timestamp::from_micros(micros).to_string();
        found.push(Quarantined {
            partition: text(0, row),
            offset: offsets.as_primitive::<Int64Type>().value(row),
            rule: text(1, row),
            reason: text(2, row),
            format: text(3, row),
            payload: text(4, row),
            arrived_at: at(arrived_us),
            replayed_at: replayed.is_valid(row).then(|| at(replayed.value(row))),
            arrived_us,
        });
    }
    Ok(())
}

impl Quarantined {
    /// The record as it arrived; `None` when its format is not known.
    pub(crate) fn record(&self) -> Option<Record> {
        Some(Record {
            partition: self.partition.as_str().into(),
            offset: self.offset,
            arrived_at: self.arrived_us,
            format: Format::parse(&self.format)?,
            payload: self.payload.clone().into(),
        })
    }
}
