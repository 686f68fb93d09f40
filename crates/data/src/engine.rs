//! Who runs the SQL? [`DataEngine`]: one small async runtime, one memory pool and one store of
//! tables, shared by every asset of the data layer and callable from any thread, async or not.

use std::{
    collections::HashMap,
    future::Future,
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock},
};

use datafusion::{
    arrow::{datatypes::SchemaRef, record_batch::RecordBatch},
    catalog::{MemorySchemaProvider, SchemaProvider, TableProvider},
    common::DataFusionError,
    execution::{
        SessionState, SessionStateBuilder,
        memory_pool::{FairSpillPool, MemoryConsumer},
        runtime_env::{RuntimeEnv, RuntimeEnvBuilder},
    },
    physical_plan::SendableRecordBatchStream,
    prelude::{DataFrame, SessionConfig, SessionContext},
};
use futures::StreamExt as _;
use sextant_core::Cancel;
use sextant_lineage::Store;
use sextant_project::AssetId;

use crate::{
    TextFunctions,
    error::{DataError, Result},
    joins,
    storage::{bucket::TablesAt, claim, place::Tables},
    table::transaction::Transaction,
    text,
    workers::{Started, Workers},
};

/// Least memory that all queries of one process share.
const MEMORY_BYTES_MIN: usize = 1 << 30;
/// Disk that sorts and aggregations may spill to.
const SPILL_BYTES_MAX: u64 = 16 << 30;
/// Fewest threads for queries.
const QUERY_THREADS_MIN: usize = 4;

/// How much of the machine the engine may use.
#[derive(Debug, Clone)]
pub struct EngineOptions {
    /// Memory that all queries share, in bytes.
    pub memory_bytes: usize,
    /// Worker threads.
    pub threads: usize,
    /// Where the tables are; in the data folder when absent.
    pub tables: Option<TablesAt>,
}

impl Default for EngineOptions {
    fn default() -> Self {
        let threads = std::thread::available_parallelism().map_or(2, usize::from).min(8);
        Self { memory_bytes: memory_default(), threads, tables: None }
    }
}

/// Runs SQL over the project's tables. Clones share everything.
#[derive(Clone, Debug)]
pub struct DataEngine(Arc<Inner>, Option<Arc<Transaction>>);

#[derive(Debug)]
struct Inner {
    store: Store,
    text: Arc<dyn TextFunctions>,
    workers: Workers,
    /// Threads for the queries of people and programs: one that never yields keeps no build waiting.
    queries: Workers,
    environment: Arc<RuntimeEnv>,
    /// How tables are scanned, see [`scans`].
    scans: Arc<SessionState>,
    tables: Tables,
    /// One lock per table and purpose, so that those who change one table take turns.
    locks: Mutex<HashMap<String, Arc<Mutex<()>>>>,
    /// Whoever changes a table of the user's own shares it; a transaction has it alone.
    changes: RwLock<()>,
    /// A version is not named while it is decided which ones go.
    naming: Mutex<()>,
}

impl DataEngine {
    /// An engine over the tables of this store.
    ///
    /// # Errors
    /// When its tables, folders or threads cannot be made, or its tables cannot be kept where they are.
    pub fn new(store: Store, text: Arc<dyn TextFunctions>) -> Result<Self> {
        Self::with_options(store, text, &EngineOptions::default())
    }

    /// An engine that may use so much of the machine.
    ///
    /// # Errors
    /// When its tables, folders or threads cannot be made, or its tables cannot be kept where they are.
    pub fn with_options(
        store: Store,
        text: Arc<dyn TextFunctions>,
        options: &EngineOptions,
    ) -> Result<Self> {
        store.migrate("data", crate::catalog::MIGRATIONS)?;
        store.migrate("data_tables", crate::catalog::TABLE_MIGRATIONS)?;
        let workers = Workers::new("sextant-data", options.threads)?;
        let tables = match &options.tables {
            None => claim::in_folder(&store)?,
            Some(at) => claim::in_bucket(&workers, &store, at)?,
        };
        let queries = Workers::new("sextant-query", options.threads.max(QUERY_THREADS_MIN))?;
        let environment = RuntimeEnvBuilder::new()
            .with_memory_pool(Arc::new(FairSpillPool::new(options.memory_bytes)))
            .with_temp_file_path(store.area("spill")?)
            .with_max_temp_directory_size(SPILL_BYTES_MAX)
            .build_arc()
            .map_err(DataError::engine)?;
        let inner = Arc::new(Inner {
            store,
            text,
            workers,
            queries,
            environment,
            scans: Arc::new(scans()),
            tables,
            locks: Mutex::default(),
            changes: RwLock::default(),
            naming: Mutex::default(),
        });
        let engine = Self(inner, None);
        engine.settle(None)?;
        engine.adopt_commits()?;
        Ok(engine)
    }

    /// The store whose tables it reads.
    pub fn store(&self) -> &Store {
        &self.0.store
    }

    pub(crate) fn text(&self) -> &Arc<dyn TextFunctions> {
        &self.0.text
    }

    /// Where the tables are.
    pub(crate) fn home(&self) -> &Tables {
        &self.0.tables
    }

    /// Where the tables are, for people, and whether several writers may work on them.
    pub fn tables_place(&self) -> (String, bool) {
        self.0.tables.described()
    }

    /// The same engine as a transaction sees it.
    pub(crate) fn inside(&self, transaction: Arc<Transaction>) -> Self {
        Self(Arc::clone(&self.0), Some(transaction))
    }

    /// The transaction that this engine is in.
    pub(crate) fn transaction(&self) -> Option<&Arc<Transaction>> {
        self.1.as_ref()
    }

    /// What those share who change tables of the user's own.
    pub(crate) fn changes(&self) -> &RwLock<()> {
        &self.0.changes
    }

    /// What those share who name versions and who remove them.
    pub(crate) fn naming(&self) -> MutexGuard<'_, ()> {
        self.0.naming.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The lock of a table for this purpose.
    pub fn lock_of(&self, purpose: &str, asset: &AssetId) -> Arc<Mutex<()>> {
        let mut locks = self.0.locks.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(locks.entry(format!("{purpose} {asset}")).or_default())
    }

    /// The memory and the disk that queries share.
    pub fn environment(&self) -> Arc<RuntimeEnv> {
        let own = self.1.as_ref().map(|transaction| &transaction.environment);
        Arc::clone(own.unwrap_or(&self.0.environment))
    }

    /// The settings with which tables are scanned.
    pub(crate) fn scans(&self) -> Arc<SessionState> {
        Arc::clone(&self.0.scans)
    }

    /// Runs async work on our own threads and waits for it. Safe inside another runtime, where
    /// blocking on a future would panic.
    ///
    /// # Errors
    /// Those of the work, and when it is cancelled.
    pub fn block<T: Send + 'static>(
        &self,
        cancel: Option<&Cancel>,
        work: impl Future<Output = Result<T>> + Send + 'static,
    ) -> Result<T> {
        self.0.workers.block(cancel, work)
    }

    /// The same without waiting: the caller goes on and waits later.
    ///
    /// # Errors
    /// When the engine is stopping.
    pub fn start<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T>> + Send + 'static,
    ) -> Result<Started<T>> {
        self.0.workers.start(work)
    }

    /// The same for a query that somebody asked, on threads of its own.
    ///
    /// # Errors
    /// Those of the query, and when it is cancelled.
    pub fn block_query<T: Send + 'static>(
        &self,
        cancel: Option<&Cancel>,
        query: impl Future<Output = Result<T>> + Send + 'static,
    ) -> Result<T> {
        self.0.queries.block(cancel, query)
    }

    /// A fresh session: our functions, no tables, no way to files or the network.
    pub fn session(&self) -> SessionContext {
        let mut config = SessionConfig::new().with_information_schema(false);
        config.options_mut().sql_parser.collect_spans = true;
        // As the table crate advises: pushing join keys down as lists panics on dictionaries.
        config.options_mut().optimizer.hash_join_inlist_pushdown_max_size = 0;
        config.options_mut().optimizer.hash_join_inlist_pushdown_max_distinct_values = 0;
        let context = SessionContext::new_with_config_rt(config, self.environment());
        text::register(&context, self.text());
        joins::register(&context);
        context
    }

    /// Reads a whole stream, counted against the memory pool.
    ///
    /// # Errors
    /// When the query fails, or is larger than what the memory pool has left.
    pub async fn collect(
        &self,
        what: &str,
        mut stream: SendableRecordBatchStream,
    ) -> Result<(SchemaRef, Vec<RecordBatch>), CollectError> {
        let pool = Arc::clone(&self.environment().memory_pool);
        let reservation = MemoryConsumer::new(what.to_owned()).register(&pool);
        let mut batches = Vec::new();
        while let Some(batch) = stream.next().await {
            let batch = batch.map_err(CollectError::Query)?;
            if reservation.try_grow(batch.get_array_memory_size()).is_err() {
                return Err(CollectError::TooLarge {
                    held: reservation.size() + batch.get_array_memory_size(),
                });
            }
            batches.push(batch);
        }
        Ok((stream.schema(), batches))
    }
}

impl DataEngine {
    /// Runs a planned query to its rows. A join holds one side in memory; when that is more than
    /// queries may use, it is planned again with joins that sort both sides and spill.
    ///
    /// # Errors
    /// When the query fails, or is larger than what the memory pool has left.
    pub async fn gather(
        &self,
        what: &str,
        frame: DataFrame,
    ) -> Result<(SchemaRef, Vec<RecordBatch>), CollectError> {
        let (mut state, plan) = frame.clone().into_parts();
        match self.gather_as_planned(what, frame).await {
            Err(CollectError::Query(error)) if is_out_of_memory(&error) => {
                state.config_mut().options_mut().optimizer.prefer_hash_join = false;
                self.gather_as_planned(what, DataFrame::new(state, plan)).await
            }
            gathered => gathered,
        }
    }

    async fn gather_as_planned(
        &self,
        what: &str,
        frame: DataFrame,
    ) -> Result<(SchemaRef, Vec<RecordBatch>), CollectError> {
        let stream = frame.execute_stream().await.map_err(CollectError::Query)?;
        self.collect(what, stream).await
    }
}

/// Whether a query wanted more memory than there is for queries.
pub(crate) fn is_out_of_memory(error: &DataFusionError) -> bool {
    matches!(error.find_root(), DataFusionError::ResourcesExhausted(_))
}

/// Filters skip files, row groups and pages, and hold for rows in a step of their own. Left to itself
/// the table crate holds each of them for every row twice while decoding. `benches/tpch` shows what it
/// costs.
fn scans() -> SessionState {
    let mut config = SessionConfig::new();
    config.options_mut().execution.parquet.pushdown_filters = false;
    SessionStateBuilder::new().with_config(config).build()
}

/// Memory that queries may use unless told otherwise: a quarter of the machine's, at least 1 GiB.
fn memory_default() -> usize {
    let info = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let total = info.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let kilobytes = total.and_then(|text| text.trim().strip_suffix("kB")?.trim().parse().ok());
    kilobytes
        .map_or(MEMORY_BYTES_MIN, |kilobytes: usize| kilobytes.saturating_mul(1024) / 4)
        .max(MEMORY_BYTES_MIN)
}

/// Why a result could not be collected: the query's own fault, or its size.
#[derive(Debug)]
pub enum CollectError {
    /// The query failed.
    Query(DataFusionError),
    /// The memory pool has no more.
    TooLarge {
        /// How many bytes were held.
        held: usize,
    },
}

impl CollectError {
    /// Names what was collected; `query` turns the engine's words into an error with a place.
    pub fn explain(
        self,
        what: &str,
        query: impl FnOnce(DataFusionError) -> DataError,
    ) -> DataError {
        match self {
            Self::Query(error) => query(error),
            Self::TooLarge { held } => DataError::TooLarge {
                what: format!("the result of {what}"),
                size: format!("at least {held} bytes in memory"),
                limit: "what the memory pool has left".to_owned(),
            },
        }
    }
}

/// Makes a table visible as `name` or `schema.name`.
///
/// # Errors
/// When the session refuses the name.
pub fn register_table(
    context: &SessionContext,
    schema: Option<&str>,
    name: &str,
    table: Arc<dyn TableProvider>,
) -> Result<()> {
    let Some(schema) = schema else {
        let bare = datafusion::common::TableReference::bare(name);
        return context.register_table(bare, table).map(drop).map_err(DataError::engine);
    };
    let catalog =
        context.catalog("datafusion").ok_or_else(|| DataError::engine("no default catalog"))?;
    let tables: Arc<dyn SchemaProvider> = match catalog.schema(schema) {
        Some(tables) => tables,
        None => {
            let tables = Arc::new(MemorySchemaProvider::new());
            let added: Arc<dyn SchemaProvider> = tables;
            catalog.register_schema(schema, Arc::clone(&added)).map_err(DataError::engine)?;
            added
        }
    };
    tables.register_table(name.to_owned(), table).map(drop).map_err(DataError::engine)
}
