//! Does a folder of files become tables, checked rows and datasets, and does every fault leave what
//! was there? Driven through the real executor on a project in a temporary folder.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod buckets;
mod checks;
mod datasets;
mod files;
mod joins;
mod models;
mod tables;
mod transactions;

use std::{collections::BTreeMap, path::Path, sync::Arc};

use deltalake_core::logstore::object_store::memory::InMemory;
use serde_json::{Value, json};
use sextant_core::{Cancel, Digest, Silent, canonical_json};
use sextant_lineage::{OpenOptions, Store};
use sextant_project::{
    Asset, AssetFile, AssetKind, AssetReport, BuildOptions, BuildReport, Outcome, Project, State,
    VersionRow,
};

use crate::{
    ChecksKind, DataEngine, DatasetKind, EngineOptions, FilesAsset, SqlKind, TableMeta, TablesAt,
    TextFunctions, TextSection,
};

thread_local! {
    /// Whether this thread's benches keep their tables in a bucket.
    static IN_BUCKET: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
    /// The name of the failpoint at which this thread's next work stops.
    static STOP: std::cell::Cell<Option<&'static str>> = const { std::cell::Cell::new(None) };
}

/// Lets this thread's work stop at a failpoint, once.
pub(crate) fn stop_next_at(name: &'static str) {
    STOP.set(Some(name));
}

/// Stops here when it was asked to.
pub(crate) fn stop_at(name: &'static str) -> crate::error::Result<()> {
    if STOP.get() == Some(name) {
        STOP.set(None);
        return Err(crate::DataError::engine(format!("stopped at {name}")));
    }
    Ok(())
}

/// Runs a test whose benches keep their tables in a bucket.
pub(crate) fn in_bucket(test: fn()) {
    IN_BUCKET.set(true);
    test();
    IN_BUCKET.set(false);
}

/// Sources of text files alone.
struct FilesKind(DataEngine);

impl AssetKind for FilesKind {
    fn noun(&self) -> &'static str {
        "source"
    }

    fn folder(&self) -> &'static str {
        "sources"
    }

    fn accepts(&self, extension: &str) -> bool {
        extension == "toml"
    }

    fn schema(&self) -> Option<Value> {
        None
    }

    fn load(&self, file: &AssetFile) -> Result<Vec<Arc<dyn Asset>>, sextant_core::Failure> {
        Ok(vec![Arc::new(FilesAsset::load(&self.0, file)?)])
    }
}

/// Splits at lines that begin with `#`.
struct FakeText;

impl TextFunctions for FakeText {
    fn version(&self) -> String {
        "fake-1".to_owned()
    }

    fn markdown_sections(&self, text: &str) -> Vec<TextSection> {
        let mut starts: Vec<usize> = text.match_indices("# ").map(|(at, _)| at).collect();
        starts.push(text.len());
        let section = |(ordinal, pair): (usize, &[usize])| {
            let part = &text[pair[0]..pair[1]];
            let (heading, body) = part.split_once('\n').unwrap_or((part, ""));
            let heading = heading.trim_start_matches("# ").to_owned();
            TextSection {
                ordinal: ordinal as i32,
                level: 1,
                breadcrumb: heading.clone(),
                heading,
                body: body.trim().to_owned(),
                byte_start: pair[0] as i64,
                byte_end: pair[1] as i64,
            }
        };
        starts.windows(2).enumerate().map(section).collect()
    }

    fn chunk_id(&self, doc_version: &str, byte_start: i64, byte_end: i64) -> String {
        let body = json!({
            "kind": "chunk",
            "doc_version": doc_version,
            "byte_start": byte_start,
            "byte_end": byte_end,
        });
        Digest::of(canonical_json(&body).unwrap()).to_string()
    }

    fn sentences(&self, text: &str) -> Vec<String> {
        text.split_inclusive('.').map(|part| part.trim().to_owned()).collect()
    }
}

pub(crate) const SOURCE: &str = "type = \"files\"\npath = \"docs\"\ninclude = [\"**/*.md\"]\n";
pub(crate) const SECTIONS: &str = "{{ config(tags=['text']) }}
select chunk_id(doc_version, s['byte_start'], s['byte_end']) as chunk, doc_version, path,
  s['ordinal'] as ordinal, s['heading'] as heading, s['body'] as body,
  s['byte_start'] as byte_start, s['byte_end'] as byte_end
from (select doc_version, path, unnest(markdown_sections(text)) as s
      from {{ source('manual', 'documents') }}) t
";

/// A project in a temporary folder.
pub(crate) struct Bench {
    folder: tempfile::TempDir,
    pub(crate) store: Store,
    pub(crate) engine: DataEngine,
    tables: Option<TablesAt>,
}

impl Bench {
    pub(crate) fn new(files: &[(&str, &str)]) -> Self {
        let bucket =
            || TablesAt::over(Arc::new(InMemory::new()), "s3://test/some/tables".to_owned());
        Self::with_tables(files, IN_BUCKET.get().then(bucket)).unwrap()
    }

    /// With tables in this place.
    pub(crate) fn with_tables(
        files: &[(&str, &str)],
        tables: Option<TablesAt>,
    ) -> Result<Self, crate::DataError> {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join(".sextant"), OpenOptions::default()).unwrap();
        sextant_project::migrate(&store).unwrap();
        let engine = open(&store, tables.clone())?;
        let bench = Self { folder, store, engine, tables };
        bench.write("sextant.toml", "[project]\nname = \"bench\"\n");
        bench.write("sources/manual.toml", SOURCE);
        for (path, text) in files {
            bench.write(path, text);
        }
        Ok(bench)
    }

    /// Another engine over the same store, as after a start.
    pub(crate) fn again(&self) -> DataEngine {
        open(&self.store, self.tables.clone()).unwrap()
    }

    /// With two pages and the sections model.
    pub(crate) fn manual(more: &[(&str, &str)]) -> Self {
        let mut files = vec![
            ("docs/a.md", "# Alpha\nOne. Two.\n# Beta\nThree.\n"),
            ("docs/b.md", "# Gamma\nFour.\n"),
            ("models/sections.sql", SECTIONS),
        ];
        files.extend_from_slice(more);
        Self::new(&files)
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
            Arc::new(FilesKind(self.engine.clone())),
            Arc::new(SqlKind::new(self.engine.clone(), BTreeMap::new())),
            Arc::new(ChecksKind::new(self.engine.clone())),
            Arc::new(DatasetKind::new(self.engine.clone())),
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

    pub(crate) fn has_version(&self, asset: &str) -> bool {
        State::load(&self.store).unwrap().version(&asset.parse().unwrap()).is_some()
    }
}

/// An engine with its tables in this place.
pub(crate) fn open(
    store: &Store,
    tables: Option<TablesAt>,
) -> Result<DataEngine, crate::DataError> {
    let options = EngineOptions { tables, ..EngineOptions::default() };
    DataEngine::with_options(store.clone(), Arc::new(FakeText), &options)
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
