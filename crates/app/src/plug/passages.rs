//! Tables for retrieval, and retrieval for the agent layer.

use std::sync::Arc;

use serde_json::Value;
use sextant_agent::{Mode, Passage, PassageSearch, Searchers};
use sextant_core::{Digest, Failure};
use sextant_data::{DataEngine, TableMeta};
use sextant_lineage::Store;
use sextant_project::state::builds_of;
use sextant_retrieve::{
    ChunkRow, ChunkRows, Embedders, Query, Snapshot, SnapshotCache, Snapshots, TextEmbedder, search,
};

use super::TrainedEmbedders;
use crate::AppError;

const COLUMNS: [&str; 9] = [
    "chunk",
    "doc_version",
    "path",
    "ordinal",
    "heading",
    "breadcrumb",
    "body",
    "byte_start",
    "byte_end",
];

/// The rows of a table of sections.
pub struct SectionRows(pub DataEngine);

impl ChunkRows for SectionRows {
    fn rows(&self, table_meta: &Value) -> Result<Vec<ChunkRow>, Failure> {
        let meta = TableMeta::from_value(table_meta)?;
        let rows = self.0.rows(&meta, &COLUMNS)?;
        rows.into_iter()
            .map(|row| {
                serde_json::from_value(Value::Object(row)).map_err(|error| {
                    let message = format!("a row of {} is not a passage: {error}", meta.asset);
                    AppError::BadInput(message).into()
                })
            })
            .collect()
    }
}

/// Opens searches over index versions; snapshots and models stay open between requests.
pub struct IndexSearchers {
    store: Store,
    snapshots: SnapshotCache,
    embedders: Arc<TrainedEmbedders>,
}

impl IndexSearchers {
    /// Searches over the indexes of this store.
    pub fn new(store: Store, embedders: Arc<TrainedEmbedders>) -> Self {
        Self { store, snapshots: SnapshotCache::new(), embedders }
    }

    /// The search over the index version with this digest.
    pub fn open_version(&self, index: &Digest) -> Result<Arc<IndexSearch>, Failure> {
        let folder = self.store.area("indexes")?;
        let snapshot = self.snapshots.get(&Snapshots::new(folder).path_of(index))?;
        let embedder = match snapshot.embedder() {
            None => None,
            Some(model) => Some(self.embedders.open(&self.model_meta(&model)?)?),
        };
        Ok(Arc::new(IndexSearch { snapshot, embedder }))
    }

    /// What the build of this model version recorded.
    fn model_meta(&self, model: &Digest) -> Result<Value, Failure> {
        let builds = builds_of(&self.store.read()?, model)?;
        let build = builds.into_iter().next();
        build
            .map(|build| build.meta)
            .ok_or_else(|| AppError::not_found("model version", &model.to_string(), "").into())
    }
}

impl Searchers for IndexSearchers {
    fn open(&self, index_meta: &Value) -> Result<Arc<dyn PassageSearch>, Failure> {
        let digest: Digest =
            index_meta["snapshot"].as_str().and_then(|text| text.parse().ok()).ok_or(
                AppError::Incomplete { what: "an index version".into(), missing: "its snapshot" },
            )?;
        Ok(self.open_version(&digest)?)
    }
}

/// A search over one committed index, with the embedder that made its vectors.
pub struct IndexSearch {
    /// The index.
    pub snapshot: Arc<Snapshot>,
    embedder: Option<Arc<dyn TextEmbedder>>,
}

impl PassageSearch for IndexSearch {
    fn search(&self, query: &str, k: usize, mode: Mode) -> Result<Vec<Passage>, Failure> {
        let mode = match mode {
            Mode::Bm25 => search::Mode::Bm25,
            Mode::Vector => search::Mode::Vector,
            Mode::Hybrid => search::Mode::Hybrid,
        };
        let query = Query { text: query, mode, k, embedder: self.embedder.as_deref() };
        let hits = self.snapshot.search(&query)?;
        Ok(hits
            .into_iter()
            .map(|hit| Passage {
                chunk: hit.chunk,
                doc_version: hit.doc_version,
                path: hit.path,
                heading: hit.heading,
                breadcrumb: hit.breadcrumb,
                // The chunk's range begins with its heading; its body is the end of that range.
                byte_start: hit.byte_end.saturating_sub(hit.body.len() as u64).max(hit.byte_start),
                body: hit.body,
                byte_end: hit.byte_end,
                #[expect(clippy::cast_possible_truncation, reason = "a score for people")]
                score: hit.score as f32,
                bm25: hit.bm25_score,
                cosine: hit.cosine,
            })
            .collect())
    }
}
