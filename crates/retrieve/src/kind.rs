//! What is an `indexes/*.toml` of a project, and how is it built? [`IndexKind`] reads it; its asset
//! turns a chunk table and, if it names one, an embedder into an index snapshot with its lineage.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sextant_core::{ArtifactKind, Cancel, Digest, Failure, canonical_json};
use sextant_lineage::{Act, NewArtifact};
use sextant_project::{
    About, Asset, AssetFile, AssetId, AssetKind, BuildContext, Built, Refresh, parse_asset_toml,
    recipe_digest,
};

use crate::{
    chunk::{ChunkRow, ChunkRows, ChunkSet},
    embed::{EmbedText, Embedders, TextEmbedder},
    error::RetrieveError,
    snapshot::{BuildOutcome, BuildWatch, Snapshots},
};

/// The area of the store that holds snapshots.
const AREA: &str = "indexes";
/// Raise it when the same rows and embedder would make another snapshot.
const RECIPE_VERSION: u32 = 1;

/// A file in `indexes/`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct IndexFile {
    /// The model whose rows are indexed: `sections` for `models/sections`.
    pub from: String,
    /// The training job whose embedder makes the vectors: `embedder` for `train/embedder`.
    /// Without it the index searches by words alone.
    #[serde(default)]
    pub embedder: Option<String>,
    /// Which text of a passage is embedded.
    #[serde(default)]
    pub embed_text: EmbedText,
    /// One line about it.
    #[serde(default)]
    pub description: String,
    /// Who answers for it.
    #[serde(default)]
    pub owner: String,
    /// Words to select it by.
    #[serde(default)]
    pub tags: Vec<String>,
}

/// An embedder and the version of the model it was opened from.
type PinnedEmbedder = (Arc<dyn TextEmbedder>, Digest);

/// The noun `index`.
pub struct IndexKind {
    ports: Ports,
}

#[derive(Clone)]
struct Ports {
    rows: Arc<dyn ChunkRows>,
    embedders: Arc<dyn Embedders>,
}

impl IndexKind {
    /// An index reads its rows and its embedder through these ports.
    pub fn new(rows: Arc<dyn ChunkRows>, embedders: Arc<dyn Embedders>) -> Self {
        Self { ports: Ports { rows, embedders } }
    }
}

impl AssetKind for IndexKind {
    fn noun(&self) -> &'static str {
        "index"
    }

    fn folder(&self) -> &'static str {
        "indexes"
    }

    fn accepts(&self, extension: &str) -> bool {
        extension == "toml"
    }

    fn schema(&self) -> Option<Value> {
        Some(schemars::schema_for!(IndexFile).to_value())
    }

    fn load(&self, file: &AssetFile) -> Result<Vec<Arc<dyn Asset>>, Failure> {
        let definition: IndexFile = parse_asset_toml(file)?;
        let id = |folder: &str, stem: &str| {
            let place = || file.place(None, None);
            AssetId::of(folder, stem)
                .map_err(|reason| RetrieveError::Definition { place: place(), reason })
        };
        let asset = IndexAsset {
            id: id("indexes", &file.stem())?,
            from: id("models", &definition.from)?,
            embedder: definition.embedder.as_deref().map(|stem| id("train", stem)).transpose()?,
            about: About {
                description: definition.description.clone(),
                owner: definition.owner.clone(),
                tags: definition.tags.clone(),
            },
            embed_text: definition.embed_text,
            file: file.path.clone(),
            ports: self.ports.clone(),
        };
        Ok(vec![Arc::new(asset)])
    }
}

/// One index of a project.
struct IndexAsset {
    id: AssetId,
    from: AssetId,
    embedder: Option<AssetId>,
    about: About,
    embed_text: EmbedText,
    file: PathBuf,
    ports: Ports,
}

impl Asset for IndexAsset {
    fn id(&self) -> &AssetId {
        &self.id
    }

    fn noun(&self) -> &'static str {
        "index"
    }

    fn about(&self) -> &About {
        &self.about
    }

    fn file(&self) -> &Path {
        &self.file
    }

    fn inputs(&self) -> Vec<AssetId> {
        [Some(&self.from), self.embedder.as_ref()].into_iter().flatten().cloned().collect()
    }

    fn guards(&self) -> Option<AssetId> {
        None
    }

    fn refresh(&self) -> Refresh {
        Refresh::Auto
    }

    fn recipe(&self) -> Result<Digest, Failure> {
        // Descriptions and tags decide nothing: changing them makes nothing stale.
        Ok(recipe_digest(&json!({
            "noun": "index",
            "version": RECIPE_VERSION,
            "from": self.from,
            "embedder": self.embedder,
            "embed_text": self.embed_text,
            "analyzers": crate::tokens::ANALYZERS,
        })))
    }

    fn outside(&self) -> Result<Option<Digest>, Failure> {
        Ok(None)
    }

    fn build(&self, context: &BuildContext<'_>, act: &mut Act) -> Result<Built, Failure> {
        let table = context.input(&self.from)?;
        let set = ChunkSet::new(self.ports.rows.rows(&table.meta)?)?;
        let (embedder, model) = self.open_embedder(context)?.unzip();
        let folder = context.store.area(AREA).map_err(RetrieveError::from)?;
        let previous = previous_path(context, &folder);
        let outcome = Snapshots::new(&folder).build_set(
            set,
            embedder.as_deref(),
            self.embed_text,
            previous.as_deref(),
            &Watch { context },
        )?;
        for note in &outcome.notes {
            context.events.warn(format!("{}: {note}", self.id));
        }
        let version = record(act, &outcome, table.version, model)?;
        Ok(built(version, &outcome))
    }
}

impl IndexAsset {
    /// The embedder and the version it came from.
    fn open_embedder(&self, context: &BuildContext<'_>) -> Result<Option<PinnedEmbedder>, Failure> {
        let Some(asset) = &self.embedder else { return Ok(None) };
        let input = context.input(asset)?;
        Ok(Some((self.ports.embedders.open(&input.meta)?, input.version)))
    }
}

/// Where the version before this one lies, if there is one whose vectors may be reused.
fn previous_path(context: &BuildContext<'_>, folder: &Path) -> Option<PathBuf> {
    let meta = &context.previous.as_ref()?.meta;
    let digest: Digest = meta.get("snapshot")?.as_str()?.parse().ok()?;
    Some(Snapshots::new(folder).path_of(&digest))
}

/// Hands progress on and asks whether to stop.
struct Watch<'a> {
    context: &'a BuildContext<'a>,
}

impl BuildWatch for Watch<'_> {
    fn progress(&self, done: usize, total: usize) {
        self.context.progress(done as u64, Some(total as u64), "vectors");
    }

    fn is_cancelled(&self) -> bool {
        Cancel::is_cancelled(self.context.cancel)
    }
}

/// Writes the lineage: each chunk from its document version, the embedding from its model, the
/// index from all of them and from the table.
fn record(
    act: &mut Act,
    outcome: &BuildOutcome,
    table: Digest,
    model: Option<Digest>,
) -> Result<Digest, Failure> {
    let mut parents = vec![table];
    for row in &outcome.rows {
        act.artifact(chunk_artifact(row)?);
        parents.push(row.chunk);
    }
    if let Some(spec) = &outcome.spec {
        let from: Vec<Digest> = model.into_iter().collect();
        let digest =
            act.manifest(ArtifactKind::EmbedSpec, spec, &from).map_err(RetrieveError::from)?;
        parents.push(digest);
    }
    act.note("index", json!({ "snapshot": outcome.digest, "counts": outcome.counts }));
    let version = act
        .manifest(ArtifactKind::IndexSnapshot, &outcome.manifest, &parents)
        .map_err(RetrieveError::from)?;
    Ok(version)
}

/// A chunk is named by where it stands; its bytes are those of its document version.
fn chunk_artifact(row: &ChunkRow) -> Result<NewArtifact, RetrieveError> {
    let mut meta = row.artifact_meta();
    let bytes = canonical_json(&meta)
        .map_err(|error| RetrieveError::BadChunk {
            chunk: row.chunk.to_string(),
            path: row.path.clone(),
            reason: error.to_string(),
        })?
        .len() as u64;
    // Worth showing in a chain, and no part of the digest.
    meta["path"] = json!(row.path);
    meta["heading"] = json!(row.heading);
    Ok(NewArtifact {
        kind: ArtifactKind::Chunk,
        digest: row.chunk,
        bytes,
        meta,
        derived_from: vec![row.doc_version],
    })
}

fn built(version: Digest, outcome: &BuildOutcome) -> Built {
    let counts = outcome.counts;
    let spec = outcome.spec.as_ref();
    let mut summary = format!("{} chunks", counts.chunks);
    if spec.is_some() {
        let (embedded, reused) = (counts.embedded, counts.reused);
        summary.push_str(&format!(", {embedded} embedded, {reused} reused"));
    }
    if counts.removed > 0 {
        summary.push_str(&format!(", {} removed", counts.removed));
    }
    let documents: std::collections::HashSet<Digest> =
        outcome.rows.iter().map(|row| row.doc_version).collect();
    Built {
        version,
        meta: json!({
            "snapshot": outcome.digest,
            "path": outcome.path,
            "chunks": counts.chunks,
            "dim": spec.map(|spec| spec.dim),
            "embedder": spec.map(|spec| spec.model),
            "embed_spec": outcome.manifest.embed_spec,
            "doc_versions": documents.len(),
            "counts": counts,
        }),
        summary,
    }
}
