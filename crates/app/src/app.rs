//! How does an application come to be? From a project folder: configuration, store, ports, kinds.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use serde_json::{Value, json};
use sextant_agent::{AgentKind, EvalKind, PromptKind};
use sextant_compute::TrainKind;
use sextant_core::{Cancel, Digest, Events, Failure};
use sextant_data::{ChecksKind, DataEngine, DatasetKind, EngineOptions, SqlKind, TablesAt};
use sextant_ingest::{ExportKind, Ingest, SourceKind};
use sextant_lineage::{Log, OpenOptions, Store};
use sextant_mlflow::Mlflow;
use sextant_pgcatalog::SqlDoor;
use sextant_project::{
    AssetKind, BuildOptions, Config, Project, State,
    config::{config_check, config_schema, config_show, load_config, process_environment},
};
use sextant_retrieve::IndexKind;
use sextant_track::Tracker;

use crate::{
    AppError, Op,
    arrivals::Arrivals,
    plug::{
        EncoderTrainer, IndexSearchers, MarkdownFunctions, SectionRows, TrackedRuns,
        TrainedEmbedders,
    },
    serving::ServingCache,
};

/// How to open a project.
#[derive(Debug, Clone, Default)]
pub struct OpenProject {
    /// The profile of `sextant.toml` to use.
    pub profile: Option<String>,
}

/// An open project.
pub struct App {
    pub(crate) root: PathBuf,
    pub(crate) profile: Option<String>,
    pub(crate) config: Config,
    pub(crate) store: Store,
    pub(crate) engine: DataEngine,
    pub(crate) tracker: Arc<Tracker>,
    /// Opened with the first call of such a client.
    pub(crate) mlflow: Mutex<Option<Mlflow>>,
    pub(crate) searchers: Arc<IndexSearchers>,
    pub(crate) arrivals: Arrivals,
    pub(crate) kinds: Vec<Arc<dyn AssetKind>>,
    pub(crate) serving: ServingCache,
    pub(crate) answers: Log,
    pub(crate) transcripts: Log,
}

/// The project folder: `start` itself, or, unless it was named, the nearest one above it.
///
/// # Errors
/// When there is none.
pub fn find_project(start: &Path, named: bool) -> Result<PathBuf, Failure> {
    let start = std::fs::canonicalize(start).map_err(|_| AppError::NoProject(start.to_owned()))?;
    let mut folder = Some(start.as_path());
    while let Some(here) = folder {
        if here.join("sextant.toml").is_file() {
            return Ok(here.to_owned());
        }
        folder = if named { None } else { here.parent() };
    }
    Err(AppError::NoProject(start).into())
}

/// Where a project keeps its data, without opening it.
///
/// # Errors
/// When `sextant.toml` cannot be read.
pub fn data_dir(root: &Path, options: &OpenProject) -> Result<PathBuf, Failure> {
    Ok(load_config(root, options.profile.as_deref(), &process_environment)?.storage_dir)
}

/// Whether a process has the data folder open.
pub fn is_held(data_dir: &Path) -> bool {
    sextant_lineage::is_held(data_dir)
}

impl App {
    /// Opens a project, making its data folder when it is not there.
    ///
    /// # Errors
    /// When the configuration is wrong, or the data folder is in use, newer, or damaged.
    pub fn open(root: &Path, options: &OpenProject) -> Result<Self, Failure> {
        let root = std::fs::canonicalize(root).map_err(AppError::io("find", root))?;
        let config = load_config(&root, options.profile.as_deref(), &process_environment)?;
        let store = Store::open(&config.storage_dir, OpenOptions::default())?;
        sextant_project::migrate(&store)?;
        let tables = config.tables.as_ref().map(|place| TablesAt::bucket(place, &root));
        let keep = EngineOptions { tables: tables.transpose()?, ..EngineOptions::default() };
        let text = Arc::new(MarkdownFunctions);
        let engine = DataEngine::with_options(store.clone(), text, &keep)?;
        let tracker = Arc::new(Tracker::open(&store)?);
        let embedders = Arc::new(TrainedEmbedders::new(store.clone()));
        let searchers = Arc::new(IndexSearchers::new(store.clone(), embedders.clone()));
        let runs = Arc::new(TrackedRuns(tracker.clone()));
        let vars: BTreeMap<String, Value> = config.vars.clone();
        let sources = SourceKind::new(Ingest::new(engine.clone())?);
        let kinds: Vec<Arc<dyn AssetKind>> = vec![
            Arc::new(sources.clone()),
            Arc::new(SqlKind::new(engine.clone(), vars)),
            Arc::new(ChecksKind::new(engine.clone())),
            Arc::new(DatasetKind::new(engine.clone())),
            Arc::new(TrainKind::new(Arc::new(EncoderTrainer), runs)),
            Arc::new(PromptKind),
            Arc::new(IndexKind::new(Arc::new(SectionRows(engine.clone())), embedders)),
            Arc::new(EvalKind::new(searchers.clone())),
            Arc::new(AgentKind),
            Arc::new(ExportKind::new(engine.clone())),
        ];
        let (answers, transcripts) = (store.log("answers")?, store.log("transcripts")?);
        Ok(Self {
            root,
            profile: options.profile.clone(),
            config,
            engine,
            tracker,
            mlflow: Mutex::default(),
            searchers,
            arrivals: Arrivals::new(sources),
            kinds,
            serving: ServingCache::default(),
            answers,
            transcripts,
            store,
        })
    }

    /// The project's folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The data folder.
    pub fn data_dir(&self) -> &Path {
        self.store.dir()
    }

    /// The queries of other programs, for the PostgreSQL wire.
    pub fn sql_engine(&self) -> Arc<dyn sextant_sqlwire::SqlEngine> {
        Arc::new(SqlDoor::new(self.engine.clone()))
    }

    /// The queries of other programs, for Arrow Flight SQL.
    pub fn flight_engine(&self) -> Arc<dyn sextant_flightwire::FlightEngine> {
        Arc::new(SqlDoor::new(self.engine.clone()))
    }

    /// The port in the configuration.
    pub fn port(&self) -> u16 {
        self.config.port
    }

    /// Reads the project's files as they are now.
    pub(crate) fn project(&self) -> Result<Project, Failure> {
        Project::load(&self.root, &self.kinds, self.profile.as_deref(), &process_environment)
    }

    /// Runs one operation to its JSON result.
    ///
    /// # Errors
    /// Whatever the operation failed with.
    pub fn run(&self, op: Op, events: &dyn Events, cancel: &Cancel) -> Result<Value, Failure> {
        match op {
            Op::Build { select, exclude, full } => {
                self.build(select, exclude, full, events, cancel)
            }
            Op::Status {} => self.status(),
            Op::Versions { asset } => self.versions(&asset),
            Op::Ask { question, release } => self.ask(&question, release.as_deref(), cancel),
            Op::Answers { limit, skip } => self.answer_list(limit, skip),
            Op::Answer { id } => self.answer_show(&id),
            Op::Why { id } => self.why(&id),
            Op::Impact { id } => self.impact(&id),
            Op::Diff { a, b } => self.diff(&a, &b),
            Op::Rollback { release } => self.rollback(release.as_deref()),
            Op::ReleaseCreate { name } => self.release_create(name.as_deref()),
            Op::ReleaseGate { id } => self.release_gate(&id),
            Op::ReleasePromote { id, force } => self.release_promote(&id, force.as_deref()),
            Op::ReleaseList {} => self.release_list(),
            Op::ReleaseShow { id } => self.release_show(&id),
            Op::Runs {} => self.runs(),
            Op::Run { id } => self.run_show(&id),
            Op::Best { metric, asset, experiment, min } => {
                self.best(metric.as_deref(), asset.as_deref(), experiment.as_deref(), min)
            }
            Op::DataTables {} => Ok(json!({ "tables": self.engine.tables()?.iter().map(|table| {
                let mut row = json!(table);
                row["name"] = json!(table.names.first());
                row
            }).collect::<Vec<_>>() })),
            Op::DataQuery { sql, limit } => {
                Ok(json!(self.engine.query(&sql, limit as usize, cancel)?))
            }
            op @ (Op::Sql { .. }
            | Op::DataHistory { .. }
            | Op::DataShow { .. }
            | Op::DataRestore { .. }
            | Op::DataRestoreTag { .. }
            | Op::DataReplace { .. }
            | Op::DataCompact { .. }
            | Op::DataZorder { .. }
            | Op::DataTag { .. }
            | Op::DataTags {}
            | Op::DataFiles { .. }
            | Op::DataUntag { .. }
            | Op::DataGc { .. }) => self.table_op(op, cancel),
            Op::DataSources {} => self.data_sources(cancel),
            Op::DataSource { source } => self.data_source(&source, cancel),
            Op::DataSchema { source } => self.data_schema(&source),
            Op::DataQuarantine { source, limit, skip } => {
                self.data_quarantine(&source, limit, skip, cancel)
            }
            Op::DataReplay { source, limit } => self.data_replay(&source, limit, events, cancel),
            Op::Passage { chunk } => self.passage(&chunk),
            Op::CheckFailures { asset } => self.check_failures(&asset),
            Op::DatasetShow { id, split, limit } => self.dataset(&id, split.as_deref(), limit),
            Op::Search { query, index, k, mode } => self.search(&query, index.as_deref(), k, &mode),
            Op::EvalShow { name } => self.evaluation(name.as_deref()),
            Op::Replay { id } => self.replay(&id, cancel),
            Op::Doctor {} => Ok(self.doctor()),
            Op::Fsck { repair } => self.fsck(repair),
            Op::Holes {} => self.holes(),
            Op::Explain { .. } => crate::explain(&op),
            Op::ConfigShow {} => Ok(json!({ "values": config_show(&self.config) })),
            Op::ConfigCheck {} => self.config_check(),
            Op::ConfigSchema {} => Ok(config_schema(&self.kinds)),
        }
    }

    fn build(
        &self,
        select: Vec<String>,
        exclude: Vec<String>,
        full: bool,
        events: &dyn Events,
        cancel: &Cancel,
    ) -> Result<Value, Failure> {
        let project = self.project()?;
        let settings = project.config.build.clone();
        let options = BuildOptions { select, exclude, full, settings };
        let report = sextant_project::build(&project, &self.store, &options, events, cancel)?;
        let exit =
            report.assets.iter().find_map(|asset| asset.error.as_ref().map(|error| error.exit));
        let releases = self.auto_release(&project, &report, events);
        let mut result = json!(report);
        result["exit"] = json!(exit);
        result["releases"] = json!(releases);
        result["release"] = releases.first().cloned().unwrap_or(Value::Null);
        Ok(result)
    }

    fn config_check(&self) -> Result<Value, Failure> {
        let profile = self.profile.as_deref();
        let mut faults = config_check(&self.root, &self.kinds, profile, &process_environment);
        if !faults.is_empty() {
            return Err(faults.swap_remove(0));
        }
        let project = self.project()?;
        let files: std::collections::BTreeSet<_> =
            project.graph.nodes().map(|(_, node)| node.asset.file().to_owned()).collect();
        Ok(
            json!({ "assets": project.graph.len(), "files": files.len() + 1 + project.releases.len() }),
        )
    }

    /// Which asset each version belongs to, for labels.
    pub(crate) fn version_names(&self) -> Result<BTreeMap<Digest, String>, Failure> {
        let mut names = BTreeMap::new();
        let reader = self.store.read()?;
        let rows = reader.query("SELECT version, asset FROM project_versions ORDER BY at", &[])?;
        for row in rows {
            names.insert(row.digest(0)?, row.text(1)?.to_owned());
        }
        let sql = "SELECT version, asset FROM data_table_versions WHERE asset LIKE 'tables/%'";
        for row in reader.query(sql, &[])? {
            names.insert(row.digest(0)?, row.text(1)?.to_owned());
        }
        for row in reader.query("SELECT digest, name FROM project_releases", &[])? {
            names.insert(row.digest(0)?, format!("release {}", row.text(1)?));
        }
        Ok(names)
    }

    /// The newest version of every asset.
    pub(crate) fn state(&self) -> Result<State, Failure> {
        State::load(&self.store)
    }

    /// Whether requests can be served: the catalog answers and the log can be read.
    ///
    /// # Errors
    /// When it cannot.
    pub fn ready(&self) -> Result<(), Failure> {
        self.store.read()?.query("SELECT 1", &[])?;
        self.answers.last()?;
        Ok(())
    }

    /// Gauges for monitoring: name, help, value.
    #[expect(clippy::cast_precision_loss, reason = "gauges are floating-point by convention")]
    pub fn metrics(&self) -> Vec<(String, String, f64)> {
        let mut gauges = Vec::new();
        let mut gauge = |name: &str, help: &str, value: f64| {
            gauges.push((format!("sextant_{name}"), help.to_owned(), value));
        };
        gauge("answers_total", "Answers recorded.", self.answers.len() as f64);
        self.arrivals.metrics(&mut gauge);
        if let Ok(reader) = self.store.read() {
            for (name, help, sql) in [
                ("artifacts_total", "Artifacts in the catalog.", "SELECT count(*) FROM artifacts"),
                ("edges_total", "Edges in the catalog.", "SELECT count(*) FROM edges"),
                ("audit_records_total", "Audit records.", "SELECT count(*) FROM audit"),
                ("releases_total", "Releases created.", "SELECT count(*) FROM project_releases"),
                (
                    "outbox_waiting",
                    "Outbox entries not delivered yet.",
                    "SELECT count(*) FROM outbox WHERE delivered_at IS NULL AND given_up IS NULL",
                ),
            ] {
                if let Ok(rows) = reader.query(sql, &[])
                    && let Some(count) = rows.first().and_then(|row| row.int(0).ok())
                {
                    gauge(name, help, count as f64);
                }
            }
            if let Ok(holes) = reader.holes() {
                gauge("lineage_holes", "Inputs whose origin nobody recorded.", holes.len() as f64);
            }
        }
        gauges
    }
}
