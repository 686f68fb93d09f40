//! How is a version written? Its rows are read as a stream and handed to the driver as it takes
//! them, in one transaction where the driver has any.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use adbc_core::options::{IngestMode, OptionStatement};
use datafusion::{
    arrow::{
        datatypes::SchemaRef,
        error::ArrowError,
        record_batch::{RecordBatch, RecordBatchReader},
    },
    catalog::TableProvider,
};
use futures::StreamExt as _;
use serde_json::json;
use sextant_core::{ActivityKind, ArtifactKind, Cancel, Digest};
use sextant_data::{DataEngine, TableMeta, content};
use sextant_lineage::Act;
use sextant_project::{BuildContext, Built};
use tokio::sync::mpsc;

use super::{ExportAsset, ExportMode};
use crate::{
    error::{DataError, Result, failpoint},
    sources::adbc::{AdbcFault, warehouse::Warehouse},
};

/// Batches that wait for the driver; the reading waits when there are more.
const BATCHES_WAITING_MAX: usize = 2;
/// The table of the warehouse that says which versions were added.
const ADDED: &str = "sextant_exports";

impl ExportAsset {
    /// Writes the version that the build recorded.
    pub(super) fn write(&self, context: &BuildContext<'_>, act: &mut Act) -> Result<Built> {
        act.kind(ActivityKind::Export);
        let input = context.input(&self.from).map_err(DataError::Source)?;
        let meta = TableMeta::from_value(&input.meta)?;
        let mut warehouse = Warehouse::open(&self.reach)?;
        let whole = warehouse.begin()?;
        let written = match self.config.mode {
            ExportMode::Replace => {
                Some(self.ingest(&mut warehouse, &meta, IngestMode::Replace, context.cancel)?)
            }
            ExportMode::Append if !whole => {
                let reason = "it has no transactions, so an append could be there twice".to_owned();
                return Err(AdbcFault::Lacking { reason }.into());
            }
            ExportMode::Append => self.append(&mut warehouse, &meta, &input.version, context)?,
        };
        if whole {
            warehouse.commit()?;
        }
        failpoint("ingest.after_export")?;
        let body = json!({
            "kind": "export",
            "asset": self.id,
            "from": self.from,
            "version": input.version,
            "uri": self.place(),
            "mode": format!("{:?}", self.config.mode).to_lowercase(),
            "rows": meta.rows,
        });
        let version = act.manifest(ArtifactKind::Export, &body, &[input.version])?;
        act.note("in_one_transaction", whole);
        let place = &self.config.table;
        let summary = match written {
            Some(rows) => format!("{rows} rows written to {place}"),
            None => format!("this version is in {place} already"),
        };
        Ok(Built { version, meta: body, summary })
    }

    /// Where the rows go, for the lineage.
    fn place(&self) -> String {
        let schema = self.config.schema.as_ref().map(|name| format!("{name}.")).unwrap_or_default();
        format!("adbc:{}:{schema}{}", self.reach.library(), self.config.table)
    }

    /// Under which name the table of notes knows this export: another target is another name.
    fn note_name(&self) -> String {
        let target = json!([self.config.schema, self.config.table]).to_string();
        let target = Digest::of(target).to_string();
        let short: String = target.trim_start_matches("sha256:").chars().take(12).collect();
        let name: String = self.id.as_str().chars().take(200).collect();
        format!("{name} {short}")
    }

    /// Adds a version that is not there yet; how many rows that were.
    fn append(
        &self,
        warehouse: &mut Warehouse,
        meta: &TableMeta,
        version: &Digest,
        context: &BuildContext<'_>,
    ) -> Result<Option<u64>> {
        let cancel = context.cancel;
        let columns = "export_name VARCHAR(250), version VARCHAR(100)";
        warehouse.run(&format!("CREATE TABLE IF NOT EXISTS {ADDED} ({columns})"), cancel)?;
        // Ids and digests hold no character that SQL would read in another way.
        let (name, id) = (self.note_name(), version.to_string());
        let of_it = format!("export_name = '{name}' AND version = '{id}'");
        let mut known = 0;
        let look = format!("SELECT version FROM {ADDED} WHERE {of_it}");
        warehouse.query(&look, None, cancel, |batch| {
            known += batch.num_rows();
            Ok(())
        })?;
        if known > 0 {
            return Ok(None);
        }
        let rows = self.ingest(warehouse, meta, IngestMode::CreateAppend, cancel)?;
        let note = format!("INSERT INTO {ADDED} (export_name, version) VALUES ('{name}', '{id}')");
        warehouse.run(&note, cancel)?;
        Ok(Some(rows))
    }

    fn ingest(
        &self,
        warehouse: &mut Warehouse,
        meta: &TableMeta,
        mode: IngestMode,
        cancel: &Cancel,
    ) -> Result<u64> {
        let (rows, count) = Rows::open(&self.engine, meta, cancel)?;
        let mut settings = vec![
            (OptionStatement::IngestMode, String::from(mode)),
            (OptionStatement::TargetTable, self.config.table.clone()),
        ];
        if let Some(schema) = &self.config.schema {
            settings.push((OptionStatement::TargetDbSchema, schema.clone()));
        }
        warehouse.ingest(settings, Box::new(rows), cancel)?;
        let count = count.load(Ordering::Acquire);
        if count == meta.rows {
            return Ok(count);
        }
        let reason = format!("the driver took {count} of {} rows", meta.rows);
        Err(AdbcFault::Failed { reason }.into())
    }
}

/// The rows of a version, as a driver takes them.
struct Rows {
    schema: SchemaRef,
    batches: mpsc::Receiver<Result<RecordBatch, ArrowError>>,
    count: Arc<AtomicU64>,
}

impl Rows {
    /// Begins to read a version. What was handed over is counted.
    fn open(
        engine: &DataEngine,
        meta: &TableMeta,
        cancel: &Cancel,
    ) -> Result<(Self, Arc<AtomicU64>)> {
        let (reader, of) = (engine.clone(), meta.clone());
        let open = async move { reader.pinned(&of).await };
        let provider: Arc<dyn TableProvider> = engine.block(Some(cancel), open)?;
        let schema = content::stored_schema(&provider.schema());
        let (sender, batches) = mpsc::channel(BATCHES_WAITING_MAX);
        let (engine, cancel, stored) = (engine.clone(), cancel.clone(), Arc::clone(&schema));
        let read = move || {
            let told = sender.clone();
            let frame = engine.session().read_table(provider).map_err(DataError::engine);
            let stream = async move {
                let mut stream = frame?.execute_stream().await.map_err(DataError::engine)?;
                while let Some(batch) = stream.next().await {
                    let batch = batch.map_err(|error| ArrowError::ExternalError(Box::new(error)));
                    let batch = batch.and_then(|batch| content::to_stored(&batch, &stored));
                    // The driver takes no more: it says why itself.
                    if sender.send(batch).await.is_err() {
                        break;
                    }
                }
                Ok(())
            };
            if let Err(error) = engine.block(Some(&cancel), stream) {
                let _ = told.blocking_send(Err(ArrowError::ExternalError(Box::new(error))));
            }
        };
        let spawned = std::thread::Builder::new().name("export".to_owned()).spawn(read);
        spawned.map_err(DataError::engine)?;
        let count = Arc::new(AtomicU64::new(0));
        Ok((Self { schema, batches, count: Arc::clone(&count) }, count))
    }
}

impl Iterator for Rows {
    type Item = Result<RecordBatch, ArrowError>;

    fn next(&mut self) -> Option<Self::Item> {
        let batch = self.batches.blocking_recv()?;
        if let Ok(batch) = &batch {
            self.count.fetch_add(batch.num_rows() as u64, Ordering::AcqRel);
        }
        Some(batch)
    }
}

impl RecordBatchReader for Rows {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }
}
