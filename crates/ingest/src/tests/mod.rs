//! Does what arrives land once, and does every fault leave what was there? Driven through the real
//! executor on a project in a temporary folder.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod push;
mod records;

use std::{cell::RefCell, collections::BTreeMap, path::Path, sync::Arc};

use deltalake_core::logstore::object_store::memory::InMemory;
use serde_json::Value;
use sextant_core::{Cancel, Digest, Silent};
use sextant_data::{
    DataEngine, EngineOptions, SqlKind, TableMeta, TablesAt, TextFunctions, TextSection,
};
use sextant_lineage::{OpenOptions, Store};
use sextant_project::{
    AssetKind, AssetReport, BuildOptions, BuildReport, Outcome, Project, State, VersionRow,
};

use crate::{Ingest, Source, SourceKind};

thread_local! {
    /// The name of the failpoint at which this thread's next work stops.
    static STOP: std::cell::Cell<Option<&'static str>> = const { std::cell::Cell::new(None) };
    /// The bucket in which this thread's benches keep their tables.
    static BUCKET: RefCell<Option<Arc<InMemory>>> = const { RefCell::new(None) };
}

/// Runs a test whose benches keep their tables in a bucket.
pub(crate) fn in_bucket(test: fn()) {
    BUCKET.set(Some(Arc::default()));
    test();
    BUCKET.set(None);
}

/// Lets this thread's work stop at a failpoint, once.
pub(crate) fn stop_next_at(name: &'static str) {
    STOP.set(Some(name));
}

/// Stops here when it was asked to.
pub(crate) fn stop_at(name: &'static str) -> crate::error::Result<()> {
    if STOP.get() == Some(name) {
        STOP.set(None);
        return Err(crate::error::DataError::engine(format!("stopped at {name}")));
    }
    Ok(())
}

/// No text is cut here.
struct NoText;

impl TextFunctions for NoText {
    fn version(&self) -> String {
        "none".to_owned()
    }

    fn markdown_sections(&self, _text: &str) -> Vec<TextSection> {
        Vec::new()
    }

    fn chunk_id(&self, doc_version: &str, _byte_start: i64, _byte_end: i64) -> String {
        doc_version.to_owned()
    }

    fn sentences(&self, _text: &str) -> Vec<String> {
        Vec::new()
    }
}

pub(crate) fn open(store: &Store) -> Ingest {
    // Each data folder has a prefix of its own.
    let prefix = Digest::of(store.dir().to_string_lossy().as_bytes()).short();
    let tables = BUCKET.take().map(|bucket| {
        BUCKET.set(Some(Arc::clone(&bucket)));
        TablesAt::over(bucket, format!("s3://test/{prefix}"))
    });
    let options = EngineOptions { tables, ..EngineOptions::default() };
    let engine = DataEngine::with_options(store.clone(), Arc::new(NoText), &options);
    Ingest::new(engine.unwrap()).unwrap()
}

/// A project in a temporary folder.
pub(crate) struct Bench {
    folder: tempfile::TempDir,
    pub(crate) store: Store,
    pub(crate) engine: Ingest,
}

impl Bench {
    pub(crate) fn new(files: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join(".sextant"), OpenOptions::default()).unwrap();
        sextant_project::migrate(&store).unwrap();
        let engine = open(&store);
        let bench = Self { folder, store, engine };
        bench.write("sextant.toml", "[project]\nname = \"bench\"\n");
        for (path, text) in files {
            bench.write(path, text);
        }
        bench
    }

    /// As after a crash: everything is opened again from what is on the disk.
    pub(crate) fn reopen(self) -> Self {
        let Self { folder, store, engine } = self;
        drop((store, engine));
        let store = Store::open(&folder.path().join(".sextant"), OpenOptions::default()).unwrap();
        let engine = open(&store);
        Self { folder, store, engine }
    }

    /// A source in which records arrive.
    pub(crate) fn source(&self, name: &str) -> Source {
        let path = Path::new("sources").join(format!("{name}.toml"));
        let file = sextant_project::config::read_project_file(self.root(), &path, &|_| None);
        SourceKind::new(self.engine.clone()).open(&file.unwrap()).unwrap().unwrap()
    }

    pub(crate) fn root(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn write(&self, path: &str, text: impl AsRef<[u8]>) {
        let path = self.root().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    pub(crate) fn load(&self) -> Result<Project, sextant_core::Failure> {
        let kinds: Vec<Arc<dyn AssetKind>> = vec![
            Arc::new(SourceKind::new(self.engine.clone())),
            Arc::new(SqlKind::new((*self.engine).clone(), BTreeMap::new())),
        ];
        Project::load(self.root(), &kinds, None, &|_| None)
    }

    pub(crate) fn build(&self) -> BuildReport {
        let project = self.load().unwrap();
        let options = BuildOptions::default();
        sextant_project::build(&project, &self.store, &options, &Silent, &Cancel::new()).unwrap()
    }

    /// Builds and expects that nothing fails.
    pub(crate) fn good(&self) -> BuildReport {
        let report = self.build();
        for asset in &report.assets {
            assert!(asset.error.is_none(), "{}: {:?}", asset.asset, asset.error);
        }
        report
    }

    pub(crate) fn version(&self, asset: &str) -> VersionRow {
        let asset = asset.parse().unwrap();
        let rows = sextant_project::state::versions(&self.store, &asset, 1).unwrap();
        rows.into_iter().next().unwrap()
    }

    pub(crate) fn meta(&self, asset: &str) -> TableMeta {
        TableMeta::from_value(&self.version(asset).meta).unwrap()
    }

    pub(crate) fn query(&self, sql: &str) -> Vec<Vec<Value>> {
        self.engine.query(sql, 100, &Cancel::new()).unwrap().rows
    }
}

/// Builds one asset on this thread until it stops at a failpoint, as a crash would stop it.
pub(crate) fn build_until(bench: &Bench, asset: &str, step: &'static str) {
    let project = bench.load().unwrap();
    let asset = &project.graph.get(&asset.parse().unwrap()).unwrap().asset;
    let inputs = BTreeMap::new();
    let before = State::load(&bench.store).unwrap().latest.get(asset.id()).cloned();
    let mut act = bench.store.begin(sextant_core::ActivityKind::Ingest, "killed");
    let cancel = Cancel::new();
    let context = sextant_project::BuildContext {
        store: &bench.store,
        root: bench.root(),
        asset: asset.id(),
        inputs: &inputs,
        previous: before.map(|row| row.as_input()),
        events: &Silent,
        cancel: &cancel,
    };
    stop_next_at(step);
    assert!(asset.build(&context, &mut act).is_err(), "{step}");
}

pub(crate) fn of<'a>(report: &'a BuildReport, asset: &str) -> &'a AssetReport {
    report.assets.iter().find(|entry| entry.asset.as_str() == asset).unwrap()
}

/// The code and the text of an asset's failure.
pub(crate) fn failure(report: &BuildReport, asset: &str) -> (String, String) {
    let entry = of(report, asset);
    assert_eq!(entry.outcome, Outcome::Failed, "{entry:?}");
    let error = entry.error.as_ref().unwrap();
    let place = error.place.clone().unwrap_or_default();
    let hint = error.hint.clone().unwrap_or_default();
    (error.code.clone(), format!("{place}: {} ({hint})", error.message))
}
