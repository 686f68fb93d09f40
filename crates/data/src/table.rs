//! Where is a version of a table, and how is a new one written? One Delta table per asset, one
//! atomic overwrite per change, and the content's digest in each commit, so that a commit left
//! behind by a crash is recognised and used, or written over.

use std::{path::PathBuf, sync::Arc};

use datafusion::{
    arrow::{datatypes::SchemaRef, record_batch::RecordBatch},
    catalog::TableProvider,
    datasource::{MemTable, provider_as_source},
    logical_expr::LogicalPlanBuilder,
};
use deltalake_core::{
    DeltaTable, DeltaTableBuilder, DeltaTableError, delta_datafusion::DeltaSessionContext,
    ensure_table_uri, kernel::transaction::CommitProperties, operations::write::SchemaMode,
    protocol::SaveMode,
};
use futures::TryStreamExt as _;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sextant_core::{ArtifactKind, Cancel, Digest};
use sextant_lineage::Act;
use sextant_project::AssetId;

use crate::{
    DataEngine, catalog,
    content::{self, Column},
    error::{DataError, Result},
};

/// The key in a Delta commit that holds the content's digest.
pub(crate) const CONTENT_KEY: &str = "sextant.content";
/// How every table is set up: nothing is ever forgotten by itself.
pub(crate) const CONFIGURATION: [(&str, Option<&str>); 3] = [
    ("delta.enableExpiredLogCleanup", Some("false")),
    ("delta.logRetentionDuration", Some("interval 36500 days")),
    ("delta.deletedFileRetentionDuration", Some("interval 36500 days")),
];

/// Where one version of a table is and what it holds. It is what the data layer records as the
/// `meta` of a built table asset.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableMeta {
    /// The asset that makes it.
    pub asset: AssetId,
    /// Its name in SQL: `documents` for a source of files, the model's name for a model.
    pub table: String,
    /// Its folder, relative to the data folder.
    pub path: String,
    /// The Delta version.
    pub delta_version: u64,
    /// How many rows it has.
    pub rows: u64,
    /// Its columns.
    pub columns: Vec<Column>,
    /// The digest of its rows and columns, or of its changes when it is chained.
    pub content: Digest,
    /// Whether `content` is a chain of changes, as in a table that grows, instead of a digest of
    /// all rows.
    #[serde(default)]
    pub chained: bool,
}

impl TableMeta {
    /// From the `meta` of a built asset.
    ///
    /// # Errors
    /// When it is not the meta of a table.
    pub fn from_value(meta: &Value) -> Result<Self> {
        serde_json::from_value(meta.clone()).map_err(|_| DataError::NotFound {
            what: "table",
            name: meta.get("asset").and_then(Value::as_str).unwrap_or("?").to_owned(),
            known: String::new(),
        })
    }

    /// As the `meta` of a built asset.
    pub fn to_value(&self) -> Value {
        let mut value = json!({
            "asset": self.asset,
            "table": self.table,
            "path": self.path,
            "delta_version": self.delta_version,
            "rows": self.rows,
            "columns": self.columns,
            "content": self.content,
        });
        if self.chained {
            value["chained"] = json!(true);
        }
        value
    }
}

/// The rows of a table that is about to be written.
pub(crate) struct NewTable {
    pub(crate) asset: AssetId,
    pub(crate) table: String,
    pub(crate) schema: SchemaRef,
    pub(crate) batches: Vec<RecordBatch>,
}

impl NewTable {
    /// Casts the batches to the stored types.
    pub(crate) fn new(
        asset: AssetId,
        table: String,
        schema: &SchemaRef,
        batches: &[RecordBatch],
    ) -> Result<Self> {
        let schema = content::stored_schema(schema);
        let stored = batches.iter().map(|batch| content::to_stored(batch, &schema));
        let batches = stored.collect::<Result<Vec<_>, _>>().map_err(DataError::engine)?;
        Ok(Self { asset, table, schema, batches })
    }
}

/// A table's folder name: the asset's id without its slash.
pub(crate) fn folder_of(asset: &AssetId) -> String {
    asset.as_str().replace('/', "-")
}

impl DataEngine {
    /// Writes the rows when they are not already the latest Delta version; the result is durable.
    pub(crate) fn write_table(&self, cancel: &Cancel, new: NewTable) -> Result<TableMeta> {
        let content =
            content::content_digest(&new.schema, &new.batches).map_err(DataError::engine)?;
        let engine = self.clone();
        let write = async move { engine.write_unless_latest(new, content).await };
        self.block(Some(cancel), write)
    }

    async fn write_unless_latest(&self, new: NewTable, content: Digest) -> Result<TableMeta> {
        let rows: usize = new.batches.iter().map(RecordBatch::num_rows).sum();
        let mut meta = TableMeta {
            asset: new.asset.clone(),
            table: new.table.clone(),
            path: format!("tables/{}", folder_of(&new.asset)),
            delta_version: 0,
            rows: rows as u64,
            columns: content::columns(&new.schema),
            content,
            chained: false,
        };
        let table = self.open_or_start(&new.asset).await?;
        if self.holds(&table, &mut meta).await? {
            return Ok(meta);
        }
        let written = self
            .overwrite(table, new, content)
            .await
            .map_err(DataError::table("write", &meta.asset))?;
        failpoint("data.after_delta_commit")?;
        meta.delta_version =
            written.version().ok_or_else(|| DataError::engine("a written table has no version"))?;
        Ok(meta)
    }

    /// Whether the latest Delta version holds this content; notes its number when it does. A
    /// version that no act recorded was left by a crash: its bytes are checked, not believed.
    async fn holds(&self, table: &DeltaTable, meta: &mut TableMeta) -> Result<bool> {
        let Some(version) = table.version() else { return Ok(false) };
        let failed = DataError::table("read the history of", &meta.asset);
        let commits: Vec<_> = table.history(Some(1)).try_collect().await.map_err(failed)?;
        let expected = meta.content.to_string();
        let latest = commits.first().and_then(|commit| commit.info.get(CONTENT_KEY));
        if latest.and_then(Value::as_str) != Some(expected.as_str()) {
            return Ok(false);
        }
        meta.delta_version = version;
        let reader = self.store().read()?;
        if catalog::knows_delta_version(&reader, meta.asset.as_str(), version)? {
            return Ok(true);
        }
        Ok(self.content_of(meta).await.is_ok_and(|found| found == meta.content))
    }

    async fn overwrite(
        &self,
        table: DeltaTable,
        new: NewTable,
        content: Digest,
    ) -> Result<DeltaTable, DeltaTableError> {
        let rows = MemTable::try_new(new.schema, vec![new.batches])?;
        let source = provider_as_source(Arc::new(rows));
        let plan = LogicalPlanBuilder::scan("rows", source, None)?.build()?;
        let session = DeltaSessionContext::with_runtime_env(self.environment());
        // Old versions are cited by datasets, runs and answers: the log must never forget them.
        let commit = CommitProperties::default()
            .with_metadata([(CONTENT_KEY.to_owned(), json!(content))])
            .with_cleanup_expired_logs(Some(false));
        table
            .write(Vec::new())
            .with_input_plan(plan)
            .with_session_state(Arc::new(session.state()))
            .with_save_mode(SaveMode::Overwrite)
            .with_schema_mode(SchemaMode::Overwrite)
            .with_table_name(new.table)
            .with_configuration(CONFIGURATION)
            .with_commit_properties(commit)
            .await
    }

    pub(crate) async fn open_or_start(&self, asset: &AssetId) -> Result<DeltaTable> {
        let failed = |error| DataError::table("open", asset)(error);
        let mut table = self
            .builder(&self.tables_folder().join(folder_of(asset)))
            .and_then(DeltaTableBuilder::build)
            .map_err(failed)?;
        match table.load().await {
            Ok(()) | Err(DeltaTableError::NotATable(_)) => Ok(table),
            Err(error) => Err(failed(error)),
        }
    }

    fn builder(&self, folder: &std::path::Path) -> Result<DeltaTableBuilder, DeltaTableError> {
        let url = ensure_table_uri(folder.to_string_lossy())?;
        let builder = DeltaTableBuilder::from_url(url.clone())?;
        Ok(builder.with_storage_backend(Arc::new(self.files()), url))
    }

    fn folder(&self, meta: &TableMeta) -> PathBuf {
        self.tables_folder().join(folder_of(&meta.asset))
    }

    /// The table at its pinned version.
    pub(crate) async fn pinned(&self, meta: &TableMeta) -> Result<Arc<dyn TableProvider>> {
        let failed = |error| DataError::table("open", &meta.asset)(error);
        let folder = self.folder(meta);
        if !folder.is_dir() {
            return Err(failed(DeltaTableError::NotATable(folder.display().to_string())));
        }
        let table = self
            .builder(&folder)
            .map_err(failed)?
            .with_version(meta.delta_version)
            .load()
            .await
            .map_err(failed)?;
        let provider = table.table_provider().await;
        provider.map_err(|error| failed(DeltaTableError::from(error)))
    }

    /// The digest of what the pinned version really holds.
    pub(crate) async fn content_of(&self, meta: &TableMeta) -> Result<Digest> {
        let (schema, batches) = self.read_pinned(meta, None).await?;
        let stored = NewTable::new(meta.asset.clone(), meta.table.clone(), &schema, &batches)?;
        content::content_digest(&stored.schema, &stored.batches).map_err(DataError::engine)
    }

    /// Whether a chained table still is what its commit says: the commit carries the content, and
    /// every row can be read and counted.
    pub(crate) async fn chain_holds(&self, meta: &TableMeta) -> Result<bool> {
        let failed = |error| DataError::table("open", &meta.asset)(error);
        let builder = self.builder(&self.folder(meta)).map_err(failed)?;
        let table = builder.with_version(meta.delta_version).load().await.map_err(failed)?;
        let commits: Vec<_> = table.history(Some(1)).try_collect().await.map_err(failed)?;
        let said = commits.first().and_then(|commit| commit.info.get(CONTENT_KEY));
        if said.and_then(Value::as_str) != Some(meta.content.to_string().as_str()) {
            return Ok(false);
        }
        let provider = self.pinned(meta).await?;
        let frame = self.session().read_table(provider).map_err(DataError::engine)?;
        let mut stream = frame.execute_stream().await.map_err(DataError::engine)?;
        let mut rows = 0;
        while let Some(batch) = stream.try_next().await.map_err(DataError::engine)? {
            rows += batch.num_rows() as u64;
        }
        Ok(rows == meta.rows)
    }

    /// The rows of the pinned version; all columns when none are named.
    pub(crate) async fn read_pinned(
        &self,
        meta: &TableMeta,
        columns: Option<&[String]>,
    ) -> Result<(SchemaRef, Vec<RecordBatch>)> {
        let provider = self.pinned(meta).await?;
        let context = self.session();
        let frame = context.read_table(provider).map_err(DataError::engine)?;
        let frame = match columns {
            None => frame,
            Some(columns) => {
                let exprs = columns.iter().map(|name| {
                    datafusion::prelude::Expr::Column(datafusion::common::Column::from_name(name))
                });
                frame.select(exprs.collect::<Vec<_>>()).map_err(|error| DataError::Sql {
                    place: None,
                    message: error.strip_backtrace(),
                    compiled: None,
                })?
            }
        };
        let stream = frame.execute_stream().await.map_err(DataError::engine)?;
        let what = meta.asset.as_str();
        let collected = self.collect(what, stream).await;
        collected.map_err(|error| error.explain(what, DataError::engine))
    }
}

/// Records a table version in the act: the artifact, our own rows, and its name. Equal rows of the
/// same table make an equal id.
pub(crate) fn record(act: &mut Act, meta: &TableMeta, derived_from: &[Digest]) -> Result<Digest> {
    let body = json!({
        "kind": "table_version",
        "asset": meta.asset,
        "table": meta.table,
        "columns": meta.columns,
        "rows": meta.rows,
        "content": meta.content,
    });
    let version = act.manifest(ArtifactKind::TableVersion, &body, derived_from)?;
    act.note("delta_version", meta.delta_version);
    act.note("path", &meta.path);
    catalog::put_table(act, version, meta);
    Ok(version)
}

/// A place where the torture runs may stop the process: between two commits.
pub(crate) fn failpoint(name: &'static str) -> Result<()> {
    fail::fail_point!(name, |_| Err(DataError::engine(format!("failpoint {name}"))));
    #[cfg(test)]
    crate::tests::stop_at(name)?;
    let _ = name;
    Ok(())
}
