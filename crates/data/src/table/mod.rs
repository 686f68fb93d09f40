//! Where is a version of a table, and how is a new one written? One Delta table per asset.
//!
//! The table of a source or a model is made by its asset: one atomic overwrite per build, with the
//! content's digest in the commit, so that a commit left behind by a crash is recognised and used,
//! or written over. A table of the user's own (`tables/NAME`) is changed in place by [`change`], and
//! each of its commits is recorded by [`commits`], now or at the next start.

pub(crate) mod apply;
pub(crate) mod change;
pub(crate) mod commits;
pub(crate) mod gc;
pub(crate) mod history;
pub(crate) mod log;
pub(crate) mod operations;
pub(crate) mod rows;
pub(crate) mod tags;
pub(crate) mod transaction;

pub use rows::check_columns;

use std::sync::Arc;

use datafusion::{
    arrow::{datatypes::SchemaRef, record_batch::RecordBatch},
    catalog::TableProvider,
    datasource::{MemTable, provider_as_source},
    execution::SessionState,
    logical_expr::LogicalPlanBuilder,
};
use deltalake_core::{
    DeltaTable, DeltaTableError, delta_datafusion::DeltaSessionContext,
    kernel::transaction::CommitProperties, operations::write::SchemaMode, protocol::SaveMode,
};
use futures::TryStreamExt as _;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sextant_core::{ArtifactKind, Cancel, Digest, canonical_json};
use sextant_lineage::Act;
use sextant_project::AssetId;

use crate::{
    DataEngine, catalog,
    content::{self, Column},
    error::{DataError, Result},
    joins::Sized,
    storage::{place::folder_of, staged::StagedFiles},
};

/// The key in a Delta commit that holds the content's digest.
pub const CONTENT_KEY: &str = "sextant.content";
/// How far back a table's log is searched for the content that it holds.
const COMMITS_SEARCHED: usize = 100;
/// How often a commit is tried again when another writer took its version number.
const COMMIT_RETRIES_MAX: usize = 100;

/// Where one version of a table is and what it holds. It is what the data layer records as the
/// `meta` of a built table asset.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableMeta {
    /// The asset that makes it.
    pub asset: AssetId,
    /// Its name in SQL: `documents` for a source of files, the model's name for a model.
    pub table: String,
    /// Its folder, relative to the data folder; its address when it is in a bucket.
    pub path: String,
    /// The Delta version.
    pub delta_version: u64,
    /// How many rows it has.
    pub rows: u64,
    /// Its columns.
    pub columns: Vec<Column>,
    /// The digest of its rows and columns; of its changes when it is `chained`.
    pub content: Digest,
    /// Whether it grows or is changed in place, so that its content is a chain of changes.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
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
            value["chained"] = Value::Bool(true);
        }
        value
    }

    /// What a version's id is the digest of.
    fn body(&self) -> Value {
        json!({
            "kind": "table_version",
            "asset": self.asset,
            "table": self.table,
            "columns": self.columns,
            "rows": self.rows,
            "content": self.content,
        })
    }

    /// The id of this version: equal content of the same table has the same.
    ///
    /// # Errors
    /// When it cannot be written as JSON.
    pub fn version(&self) -> Result<Digest> {
        let bytes = canonical_json(&self.body()).map_err(DataError::engine)?;
        Ok(Digest::of(bytes))
    }
}

/// The rows of a table that is about to be written.
pub struct NewTable {
    pub(crate) asset: AssetId,
    pub(crate) table: String,
    pub(crate) schema: SchemaRef,
    pub(crate) batches: Vec<RecordBatch>,
}

impl NewTable {
    /// Casts the batches to the stored types.
    ///
    /// # Errors
    /// When a column cannot be cast.
    pub fn new(
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

/// Where an open table is: its folder relative to the data folder, or its address.
pub fn path_of(table: &DeltaTable, asset: &AssetId) -> String {
    let log = table.log_store();
    let address = log.root_url();
    if address.scheme() == "file" {
        return format!("tables/{}", folder_of(asset));
    }
    address.as_str().trim_end_matches('/').to_owned()
}

/// Old versions are cited by datasets, runs and answers: the log must never forget them. What no
/// longer is cited is removed by [`gc`].
pub const KEEP_ALL: [(&str, &str); 3] = [
    ("delta.enableExpiredLogCleanup", "false"),
    ("delta.logRetentionDuration", "interval 36500 days"),
    ("delta.deletedFileRetentionDuration", "interval 36500 days"),
];

/// How a commit of ours is made, and the one note it carries.
pub(crate) fn properties(key: &str, note: Value) -> CommitProperties {
    CommitProperties::default()
        .with_metadata([(key.to_owned(), note)])
        .with_max_retries(COMMIT_RETRIES_MAX)
        .with_cleanup_expired_logs(Some(false))
}

impl DataEngine {
    /// Writes the rows when they are not already the latest Delta version; the result is durable.
    ///
    /// # Errors
    /// When they cannot be written, and when it is cancelled.
    pub fn write_table(&self, cancel: &Cancel, new: NewTable) -> Result<TableMeta> {
        let content =
            content::content_digest(&new.schema, &new.batches).map_err(DataError::engine)?;
        let engine = self.clone();
        let lock = self.lock_of("write", &new.asset);
        let _turn = lock.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let write = async move { engine.write_unless_latest(new, content).await };
        self.block(Some(cancel), write)
    }

    async fn write_unless_latest(&self, new: NewTable, content: Digest) -> Result<TableMeta> {
        let rows: usize = new.batches.iter().map(RecordBatch::num_rows).sum();
        let mut meta = TableMeta {
            asset: new.asset.clone(),
            table: new.table.clone(),
            path: self.home().path(&new.asset),
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
        Ok(self.content_at(meta).await.is_ok_and(|found| found == meta.content))
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
        table
            .write(Vec::new())
            .with_input_plan(plan)
            .with_session_state(self.delta_session())
            .with_save_mode(SaveMode::Overwrite)
            .with_schema_mode(SchemaMode::Overwrite)
            .with_table_name(new.table)
            .with_configuration(KEEP_ALL.map(|(key, value)| (key, Some(value))))
            .with_commit_properties(properties(CONTENT_KEY, json!(content)))
            .await
    }

    /// A session that knows the steps of the table format's own operations.
    pub(crate) fn delta_session(&self) -> Arc<SessionState> {
        Arc::new(DeltaSessionContext::with_runtime_env(self.environment()).state())
    }

    ///
    /// # Errors
    /// When its log cannot be read.
    pub async fn open_or_start(&self, asset: &AssetId) -> Result<DeltaTable> {
        let failed = |error| DataError::table("open", asset)(error);
        let mut table = self.table(asset)?;
        match table.load().await {
            Ok(()) | Err(DeltaTableError::NotATable(_)) => Ok(table),
            Err(error) => Err(failed(error)),
        }
    }

    /// The table at its pinned version: the newest Delta version that holds it, since compaction
    /// keeps a version's rows and moves them to other files.
    ///
    /// # Errors
    /// When its files cannot be read or were removed.
    pub async fn pinned(&self, meta: &TableMeta) -> Result<Arc<dyn TableProvider>> {
        let place = self.place(meta)?;
        self.provider(&place).await
    }

    /// Where the rows of this version are now.
    pub(crate) fn place(&self, meta: &TableMeta) -> Result<TableMeta> {
        let reader = self.store().read()?;
        let newest = catalog::table_version(&reader, &meta.version()?)?;
        let place = newest.map_or_else(|| meta.clone(), |newest| newest.meta);
        if let Some(at) = history::removed_at(&reader, &place)? {
            return Err(DataError::VersionRemoved {
                table: meta.table.clone(),
                version: meta.delta_version,
                at: at.to_string(),
            });
        }
        Ok(place)
    }

    /// A table that is not loaded yet and may not be there; as a transaction has it, within one.
    fn table(&self, asset: &AssetId) -> Result<DeltaTable> {
        let mut files = self.home().files();
        if let Some(transaction) = self.transaction()
            && transaction.staged.holds(&self.home().root(asset)?)
        {
            files = Arc::new(StagedFiles(Arc::clone(&transaction.staged)));
        }
        let log = self.home().log(asset, files).map_err(DataError::table("open", asset))?;
        Ok(DeltaTable::new(log))
    }

    /// Opens a table at exactly this Delta version.
    pub(crate) async fn open_at(&self, meta: &TableMeta) -> Result<DeltaTable> {
        let failed = |error| DataError::table("open", &meta.asset)(error);
        if !self.home().may_be_there(&meta.asset) {
            return Err(failed(DeltaTableError::NotATable(meta.path.clone())));
        }
        let mut table = self.table(&meta.asset)?;
        table.load_version(meta.delta_version).await.map_err(failed)?;
        Ok(table)
    }

    async fn provider(&self, place: &TableMeta) -> Result<Arc<dyn TableProvider>> {
        let table = self.open_at(place).await?;
        let provider = table.table_provider().with_session(self.scans()).await;
        let provider = provider.map_err(|error| {
            DataError::table("open", &place.asset)(DeltaTableError::from(error))
        })?;
        Ok(Arc::new(Sized::new(provider, table, place.rows)))
    }

    /// The digest of the rows that this very Delta version holds.
    async fn content_at(&self, meta: &TableMeta) -> Result<Digest> {
        let (schema, batches) = self.read(meta, self.provider(meta).await?, None).await?;
        let stored = NewTable::new(meta.asset.clone(), meta.table.clone(), &schema, &batches)?;
        content::content_digest(&stored.schema, &stored.batches).map_err(DataError::engine)
    }

    /// Whether the pinned version still holds what its digest names: its rows, or for a table that
    /// is changed in place, each of its files.
    pub(crate) async fn is_whole(&self, meta: &TableMeta) -> Result<bool> {
        let place = self.place(meta)?;
        if place.chained && place.asset.folder() != commits::OWN_TABLES {
            return self.chain_holds(&place).await;
        }
        if place.chained {
            return self.files_are_whole(&place).await;
        }
        Ok(self.content_at(&place).await? == meta.content)
    }

    /// Whether a chained table still is what its commit says: the commit carries the content, and
    /// every row can be read and counted.
    pub(crate) async fn chain_holds(&self, meta: &TableMeta) -> Result<bool> {
        let failed = |error| DataError::table("open", &meta.asset)(error);
        let table = self.open_at(meta).await?;
        let commits: Vec<_> =
            table.history(Some(COMMITS_SEARCHED)).try_collect().await.map_err(failed)?;
        // A compaction says nothing of the content.
        let said = commits.iter().find_map(|commit| commit.info.get(CONTENT_KEY));
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
    ///
    /// # Errors
    /// When they cannot be read, or are more than memory holds.
    pub async fn read_pinned(
        &self,
        meta: &TableMeta,
        columns: Option<&[String]>,
    ) -> Result<(SchemaRef, Vec<RecordBatch>)> {
        let provider = self.pinned(meta).await?;
        self.read(meta, provider, columns).await
    }

    async fn read(
        &self,
        meta: &TableMeta,
        provider: Arc<dyn TableProvider>,
        columns: Option<&[String]>,
    ) -> Result<(SchemaRef, Vec<RecordBatch>)> {
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
///
/// # Errors
/// When the act refuses the manifest.
pub fn record(act: &mut Act, meta: &TableMeta, derived_from: &[Digest]) -> Result<Digest> {
    let version = act.manifest(ArtifactKind::TableVersion, &meta.body(), derived_from)?;
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
