//! How do the rows get into the table? A snapshot is written whole, as a model is; rows of a growing
//! source are added commit by commit, each with the mark up to which the table has everything.

use std::{
    collections::BTreeMap,
    sync::{Arc, PoisonError},
};

use datafusion::{
    arrow::{
        array::{ArrayRef, RecordBatch, RecordBatchOptions},
        compute::{CastOptions, cast_with_options},
        datatypes::{DataType, Field, Schema, SchemaRef},
    },
    execution::memory_pool::MemoryConsumer,
};
use serde_json::json;
use sextant_core::{ActivityKind, ArtifactKind, Cancel, Digest};
use sextant_data::{
    content,
    table::{self, NewTable},
};
use sextant_lineage::Act;
use sextant_project::{BuildContext, Built};

use super::{
    AdbcAsset, ROWS,
    cursor::{self, Cut, Cutter},
    fault::AdbcFault,
    warehouse::Warehouse,
};
use crate::{
    arrival::{
        self, ArrivalState, BATCH_BYTES_MAX, BATCH_RECORDS_MAX, Change, Contract, Landed, Marks,
        NewColumn, OFFSET, Places, Plan, Rules, Target, txn_app,
    },
    error::{DataError, Result, failpoint},
};

impl AdbcAsset {
    /// The digest of what the database answers to a question.
    pub(super) fn ask(&self, question: &str) -> Result<Digest> {
        let mut answer = Vec::new();
        let schema =
            Warehouse::open(&self.reach)?.query(question, None, &Cancel::new(), |batch| {
                answer.push(batch);
                Ok(())
            })?;
        content::content_digest(&schema, &answer).map_err(DataError::engine)
    }

    /// The whole result as the next version of the table.
    pub(super) fn snapshot(&self, context: &BuildContext<'_>, act: &mut Act) -> Result<Built> {
        act.kind(ActivityKind::Ingest);
        let engine = &self.common.engine;
        let pool = Arc::clone(&engine.environment().memory_pool);
        let held = MemoryConsumer::new(self.common.id.to_string()).register(&pool);
        let mut batches = Vec::new();
        let sql = format!("SELECT * FROM {}", self.rows());
        let mut warehouse = Warehouse::open(&self.reach)?;
        let schema = warehouse.query(&sql, None, context.cancel, |batch| {
            let size = batch.get_array_memory_size();
            held.try_grow(size).map_err(|_| DataError::TooLarge {
                what: format!("the result of {}", self.common.id),
                size: format!("at least {} bytes in memory", held.size() + size),
                limit: "what the memory pool has left; read it with mode = \"incremental\"".into(),
            })?;
            batches.push(batch);
            Ok(())
        })?;
        table::check_columns(&schema)?;
        let (id, name) = (self.common.id.clone(), self.common.id.stem().to_owned());
        let meta =
            engine.write_table(context.cancel, NewTable::new(id, name, &schema, &batches)?)?;
        let version = meta.version()?;
        if let Some(previous) = &context.previous
            && previous.version == version
        {
            let summary = format!("{} rows, the same as before", meta.rows);
            return Ok(Built { version, meta: previous.meta.clone(), summary });
        }
        let body = json!({
            "kind": "source_batch",
            "source": self.common.id,
            "uri": self.uri(),
            "rows": meta.rows,
            "content": meta.content,
            "delta_version": meta.delta_version,
        });
        let batch = act.manifest(ArtifactKind::SourceBatch, &body, &[])?;
        let version = table::record(act, &meta, &[batch])?;
        let summary = format!("{} rows, {} columns", meta.rows, meta.columns.len());
        Ok(Built { version, meta: meta.to_value(), summary })
    }

    /// What has grown since the last build.
    pub(super) fn grow(&self, context: &BuildContext<'_>, act: &mut Act) -> Result<Built> {
        let cursor = self.config.cursor.clone().unwrap_or_default();
        let landed = self.land(&cursor, context.cancel)?;
        let plan = self.plan(&cursor);
        let span =
            |before: &ArrivalState| json!({ "offsets": arrival::offsets(before, &landed.state) });
        arrival::record(&self.common.engine, &plan, &landed, context, act, span)
    }

    /// What its commits are recorded as: a source with one partition.
    fn plan(&self, cursor: &str) -> Plan {
        Plan {
            asset: self.common.id.clone(),
            table: self.common.id.stem().to_owned(),
            uri: self.uri(),
            partitions: vec![cursor.to_owned()],
            rules: Arc::new(Rules {
                schema: Default::default(),
                hints: Default::default(),
                on_new_column: NewColumn::Add,
                contract: Contract::default(),
                key: Vec::new(),
                places: Places { partition: None, offset: OFFSET, arrived_at: None, filled: &[] },
                loose: false,
            }),
            decode: arrival::plain(arrival::fields),
            plainly: None,
        }
    }

    fn land(&self, cursor: &str, cancel: &Cancel) -> Result<Landed> {
        let engine = &self.common.engine;
        let lock = engine.arrival_lock(&self.common.id);
        let _turn = lock.lock().unwrap_or_else(PoisonError::into_inner);
        let mut target = self.target(cancel)?;
        if let Some(other) = target.state.marks.keys().find(|known| known.as_str() != cursor) {
            let reason = format!("the table grew by `{other}` until now");
            return Err(AdbcFault::Cursor { cursor: cursor.to_owned(), reason }.into());
        }
        let mark = self.mark(&target, cursor, cancel)?;
        let mut commits = 0;
        let mut cutter = Cutter::new(cursor, mark, BATCH_RECORDS_MAX, BATCH_BYTES_MAX);
        let mut warehouse = Warehouse::open(&self.reach)?;
        let (sql, values) = self.behind(&mut warehouse, cursor, mark, cancel)?;
        let schema = warehouse.query(&sql, values, cancel, |batch| {
            if let Some(cut) = cutter.push(&batch)? {
                target = self.commit(&target, cursor, cut, cancel)?;
                commits += 1;
            }
            Ok(())
        })?;
        let empty = || Cut { rows: RecordBatch::new_empty(Arc::clone(&schema)), mark: i64::MIN };
        // A table without rows is a table.
        let rest = cutter.rest().or_else(|| target.table.version().is_none().then(empty));
        if let Some(cut) = rest {
            target = self.commit(&target, cursor, cut, cancel)?;
            commits += 1;
        }
        let table = target.meta()?;
        let table = table.ok_or_else(|| DataError::engine("a written table has no version"))?;
        Ok(Landed { table, quarantine: None, state: target.state.clone(), commits })
    }

    fn target(&self, cancel: &Cancel) -> Result<Target> {
        let engine = self.common.engine.clone();
        let (asset, name) = (self.common.id.clone(), self.common.id.stem().to_owned());
        let open = async move { engine.target(&asset, &name).await };
        self.common.engine.block(Some(cancel), open)
    }

    /// Up to where the table has everything.
    fn mark(&self, target: &Target, cursor: &str, cancel: &Cancel) -> Result<Option<i64>> {
        let (engine, target) = (self.common.engine.clone(), target.copy());
        let partitions = vec![cursor.to_owned()];
        let read = async move { engine.marks(&target, &partitions).await };
        let marks: Marks = self.common.engine.block(Some(cancel), read)?;
        Ok(marks.get(cursor).copied())
    }

    /// The query for what lies behind the mark, in order. The database compares with a value of the
    /// column's own type, which an empty result tells.
    fn behind(
        &self,
        warehouse: &mut Warehouse,
        cursor: &str,
        mark: Option<i64>,
        cancel: &Cancel,
    ) -> Result<(String, Option<RecordBatch>)> {
        let (rows, at) = (self.rows(), format!("{ROWS}.{cursor}"));
        let Some(mark) = mark else {
            let sql = format!("SELECT * FROM {rows} WHERE {at} IS NOT NULL ORDER BY {at}");
            return Ok((sql, None));
        };
        let probe = format!("SELECT {at} FROM {rows} WHERE 1 = 0");
        let schema = warehouse.query(&probe, None, cancel, |_| Ok(()))?;
        let of = schema.fields().first().map_or(DataType::Null, |field| field.data_type().clone());
        let values = cursor::parameter(mark, &of).map_err(DataError::engine)?;
        let place = &self.config.placeholder;
        let sql = format!("SELECT * FROM {rows} WHERE {at} > {place} ORDER BY {at}");
        Ok((sql, Some(values)))
    }

    /// Some databases only guess the types of a result without rows: as long as nothing has arrived,
    /// the columns get the types of the first rows.
    fn settle(&self, target: &Target, rows: &RecordBatch, cancel: &Cancel) -> Result<Target> {
        let (Some(known), Some(meta)) = (target.schema(), target.meta()?) else {
            return Ok(target.copy());
        };
        let wanted = content::stored_schema(&rows.schema());
        let other = |field: &&Arc<Field>| {
            let known = known.field_with_name(field.name());
            known.is_ok_and(|known| known.data_type() != field.data_type())
        };
        let changed = wanted.fields().iter().filter(other);
        let changed: BTreeMap<String, DataType> =
            changed.map(|field| (field.name().clone(), field.data_type().clone())).collect();
        if target.state.arrived > 0 || changed.is_empty() {
            return Ok(target.copy());
        }
        let (engine, taken) = (self.common.engine.clone(), target.copy());
        let retype = async move { engine.retype(taken, &meta, &changed).await };
        self.common.engine.block(Some(cancel), retype)
    }

    fn commit(&self, target: &Target, cursor: &str, cut: Cut, cancel: &Cancel) -> Result<Target> {
        let target = self.settle(target, &cut.rows, cancel)?;
        let rows = conform(&cut.rows, target.schema().as_deref())?;
        let mut state = target.state.clone();
        let mut marks = Vec::new();
        if rows.num_rows() > 0 {
            state.marks.insert(cursor.to_owned(), cut.mark);
            marks.push((txn_app(&self.common.id, cursor), cut.mark));
        }
        state.arrived += rows.num_rows() as u64;
        state.landed += rows.num_rows() as u64;
        let (engine, taken) = (self.common.engine.clone(), target.copy());
        let append = async move { engine.append(taken, Change { rows, marks, state }).await };
        let written = self.common.engine.block(Some(cancel), append)?;
        failpoint("data.arrival.after_commit")?;
        Ok(written)
    }
}

/// The rows in the types that the table has, or in those that tables are stored with.
fn conform(rows: &RecordBatch, table: Option<&Schema>) -> Result<RecordBatch> {
    let stored = content::stored_schema(&rows.schema());
    let same = |name: &str| {
        let fields = table.into_iter().flat_map(|table| table.fields());
        fields.into_iter().find(|field| field.name().eq_ignore_ascii_case(name)).cloned()
    };
    let fields: Vec<Arc<Field>> = stored
        .fields()
        .iter()
        .map(|field| same(field.name()).unwrap_or_else(|| Arc::clone(field)))
        .collect();
    let schema: SchemaRef = Arc::new(Schema::new(fields));
    table::check_columns(&schema)?;
    let cast = |(array, field): (&ArrayRef, &Arc<Field>)| {
        let options = CastOptions { safe: false, ..CastOptions::default() };
        cast_with_options(array, field.data_type(), &options).map_err(|error| {
            let (column, reason) = (field.name().clone(), error.to_string());
            DataError::from(AdbcFault::Types { column, reason })
        })
    };
    let arrays = rows.columns().iter().zip(schema.fields()).map(cast).collect::<Result<_>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
    RecordBatch::try_new_with_options(schema, arrays, &options).map_err(DataError::engine)
}
