//! How does a snapshot come to be, whole or not at all?
//!
//! Vectors are written and fsynced; the text commit names them; the record lists every file; then
//! the folder gets its final name. A crash before the last step leaves nothing that can be opened.

use std::{
    collections::{HashMap, HashSet},
    fs,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use serde::Serialize;
use sextant_core::{Digest, Failure};

use super::{
    IndexManifest, Snapshot, TEXT_FOLDER, VECTORS_FILE, VectorsRecord,
    record::{Record, file_record, inventory, sync_folder},
    verify,
};
use crate::{
    chunk::{ChunkRow, ChunkSet},
    embed::{EmbedSpec, EmbedText, TextEmbedder, unit_vectors},
    error::{RetrieveError, failpoint},
    limits::EMBED_BATCH,
    text::{self, Payload},
    vectors::{self, VectorRow},
};

const BUILDING: &str = ".building-";

/// One build at a time in a process: a build begins by removing what a crashed one left behind.
static ONE_BUILD: Mutex<()> = Mutex::new(());

/// How many chunks a build embedded, and how many it did not have to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct BuildCounts {
    /// Chunks in the snapshot.
    pub chunks: usize,
    /// Rows left out because an earlier row has the same id.
    pub duplicates: usize,
    /// Vectors made now.
    pub embedded: usize,
    /// Vectors taken from the previous snapshot.
    pub reused: usize,
    /// Chunks of the previous snapshot that this one does not hold.
    pub removed: usize,
    /// Chunks that the previous snapshot did not hold.
    pub added: usize,
}

/// A finished snapshot.
#[derive(Debug, Clone)]
pub struct BuildOutcome {
    /// Its digest.
    pub digest: Digest,
    /// Its folder.
    pub path: PathBuf,
    /// Its manifest, to be recorded as the artifact.
    pub manifest: IndexManifest,
    /// How its vectors were made.
    pub spec: Option<EmbedSpec>,
    /// What was done.
    pub counts: BuildCounts,
    /// The rows it holds, in order.
    pub rows: Vec<ChunkRow>,
    /// What the reader should know: a damaged previous snapshot, duplicates.
    pub notes: Vec<String>,
}

/// How a build tells what it does, and is asked to stop.
pub trait BuildWatch {
    /// So many of so many vectors are ready.
    fn progress(&self, done: usize, total: usize);

    /// Whether somebody asked to stop.
    fn is_cancelled(&self) -> bool;
}

/// The folder of all snapshots.
#[derive(Debug, Clone)]
pub struct Snapshots {
    folder: PathBuf,
}

impl Snapshots {
    /// Snapshots below this folder, which exists.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into() }
    }

    /// Where the snapshot with this digest is, or would be.
    pub fn path_of(&self, digest: &Digest) -> PathBuf {
        self.folder.join(digest.hex())
    }

    /// The folders of all finished snapshots, sorted.
    ///
    /// # Errors
    /// When the folder cannot be listed.
    pub fn list(&self) -> Result<Vec<PathBuf>, RetrieveError> {
        let list = RetrieveError::io;
        let mut found = Vec::new();
        for entry in fs::read_dir(&self.folder).map_err(list("list", &self.folder))? {
            let path = entry.map_err(list("list", &self.folder))?.path();
            let is_hidden =
                path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
            if path.is_dir() && !is_hidden {
                found.push(path);
            }
        }
        found.sort();
        Ok(found)
    }

    /// Builds the snapshot of these rows, or finds it when it is already there and whole.
    ///
    /// Vectors of texts that the `previous` snapshot already holds, by the same embedder, are
    /// taken from it.
    ///
    /// # Errors
    /// A bad row, a bad vector, an embedder that fails, a disk that refuses, or a cancelled build.
    pub fn build(
        &self,
        rows: Vec<ChunkRow>,
        embedder: Option<&dyn TextEmbedder>,
        embed_text: EmbedText,
        previous: Option<&Path>,
        watch: &dyn BuildWatch,
    ) -> Result<BuildOutcome, Failure> {
        self.build_set(ChunkSet::new(rows)?, embedder, embed_text, previous, watch)
    }

    /// As [`Snapshots::build`], with rows that are checked already.
    pub(crate) fn build_set(
        &self,
        set: ChunkSet,
        embedder: Option<&dyn TextEmbedder>,
        embed_text: EmbedText,
        previous: Option<&Path>,
        watch: &dyn BuildWatch,
    ) -> Result<BuildOutcome, Failure> {
        let _one = ONE_BUILD.lock().unwrap_or_else(PoisonError::into_inner);
        let spec = embedder.map(|embedder| EmbedSpec::new(embedder, embed_text)).transpose()?;
        let manifest =
            IndexManifest::new(set.merkle(), set.rows().len(), spec.as_ref(), embed_text);
        let mut plan = Plan {
            digest: manifest.digest(),
            path: self.path_of(&manifest.digest()),
            counts: BuildCounts {
                chunks: set.rows().len(),
                duplicates: set.duplicates(),
                ..BuildCounts::default()
            },
            notes: Vec::new(),
            manifest,
            spec,
            set,
        };
        if plan.set.duplicates() > 0 {
            let duplicates = plan.set.duplicates();
            plan.notes.push(format!("{duplicates} rows repeat the id of an earlier row"));
        }
        self.remove_unfinished()?;
        let previous = plan.open_previous(previous);
        plan.compare(previous.as_ref())?;
        if !plan.is_already_there()? {
            let vectors = match embedder {
                Some(embedder) => Some(plan.embed(embedder, previous.as_ref(), watch)?),
                None => None,
            };
            if watch.is_cancelled() {
                return Err(RetrieveError::Cancelled.into());
            }
            self.write(&plan, vectors.as_deref())?;
        } else if plan.spec.is_some() {
            plan.counts.reused = plan.counts.chunks;
        }
        let Plan { digest, path, manifest, spec, counts, notes, set } = plan;
        Ok(BuildOutcome { digest, path, manifest, spec, counts, rows: set.into_rows(), notes })
    }

    /// Removes what a crashed build left behind.
    fn remove_unfinished(&self) -> Result<(), RetrieveError> {
        let list = RetrieveError::io;
        for entry in fs::read_dir(&self.folder).map_err(list("list", &self.folder))? {
            let entry = entry.map_err(list("list", &self.folder))?;
            if entry.file_name().to_string_lossy().starts_with(BUILDING) {
                let path = entry.path();
                fs::remove_dir_all(&path).map_err(list("remove", &path))?;
            }
        }
        Ok(())
    }

    fn write(&self, plan: &Plan, embedded: Option<&[Embedded]>) -> Result<(), RetrieveError> {
        let io = RetrieveError::io;
        let folder = self.folder.join(format!("{BUILDING}{}", plan.digest.hex()));
        let text_folder = folder.join(TEXT_FOLDER);
        fs::create_dir_all(&text_folder).map_err(io("create", &text_folder))?;
        let rows = plan.set.rows();
        let vectors = match (&plan.spec, embedded) {
            (Some(spec), Some(embedded)) => Some(write_vectors(&folder, spec, rows, embedded)?),
            _ => None,
        };
        let payload = Payload {
            snapshot: plan.digest,
            chunks: rows.len(),
            vectors: vectors.as_ref().map(|vectors| vectors.digest),
        };
        failpoint("index::after_vectors", &folder)?;
        let stored = text::write(&text_folder, rows, &payload)?;
        failpoint("index::after_text_commit", &folder)?;
        let count = embedded.map_or(rows.len(), <[Embedded]>::len);
        if stored != rows.len() || count != rows.len() {
            return Err(RetrieveError::CountMismatch {
                parsed: rows.len(),
                embedded: count,
                stored,
            });
        }
        for lock in [".tantivy-writer.lock", ".tantivy-meta.lock"] {
            // Already gone on most platforms; a lock left behind holds nothing.
            let _ = fs::remove_file(text_folder.join(lock));
        }
        let record =
            Record { manifest: plan.manifest.clone(), vectors, files: inventory(&folder)? };
        record.write(&folder)?;
        sync_folder(&text_folder)?;
        sync_folder(&folder)?;
        failpoint("index::before_rename", &folder)?;
        fs::rename(&folder, &plan.path).map_err(io("rename", &folder))?;
        failpoint("index::after_rename", &plan.path)?;
        sync_folder(&self.folder)
    }
}

/// Writes the vector file and returns what the snapshot says about it.
fn write_vectors(
    folder: &Path,
    spec: &EmbedSpec,
    rows: &[ChunkRow],
    embedded: &[Embedded],
) -> Result<VectorsRecord, RetrieveError> {
    if embedded.len() != rows.len() {
        let (parsed, embedded) = (rows.len(), embedded.len());
        return Err(RetrieveError::CountMismatch { parsed, embedded, stored: 0 });
    }
    let row = |(row, made): (&ChunkRow, &'_ Embedded)| (row.chunk, made.text);
    let named: Vec<_> = rows.iter().zip(embedded).map(row).collect();
    let lines: Vec<VectorRow<'_>> = named
        .iter()
        .zip(embedded)
        .map(|((chunk, text), made)| VectorRow { text: *text, chunk: *chunk, values: &made.values })
        .collect();
    vectors::write(&folder.join(VECTORS_FILE), &spec.model, spec.dim, &lines)?;
    let file = file_record(folder, VECTORS_FILE.to_owned())?;
    Ok(VectorsRecord { digest: file.digest, spec: spec.clone() })
}

/// The vector of one row.
struct Embedded {
    /// The digest of the text it was made from.
    text: Digest,
    values: Vec<f32>,
}

/// A build under way.
struct Plan {
    digest: Digest,
    path: PathBuf,
    manifest: IndexManifest,
    spec: Option<EmbedSpec>,
    set: ChunkSet,
    counts: BuildCounts,
    notes: Vec<String>,
}

impl Plan {
    /// A damaged previous snapshot is named and not used; everything is embedded again.
    fn open_previous(&mut self, path: Option<&Path>) -> Option<Snapshot> {
        let open = |path: &Path| {
            let snapshot = Snapshot::open(path)?;
            if let Some(vectors) = snapshot.vectors() {
                vectors.verify()?;
            }
            Ok::<_, RetrieveError>(snapshot)
        };
        match open(path?) {
            Ok(snapshot) => Some(snapshot),
            Err(error) => {
                self.notes.push(format!("the previous snapshot cannot be reused: {error}"));
                None
            }
        }
    }

    /// Counts what came and what went.
    fn compare(&mut self, previous: Option<&Snapshot>) -> Result<(), RetrieveError> {
        let mut before = HashSet::new();
        for row in previous.iter().flat_map(|snapshot| snapshot.rows()) {
            before.insert(row?.chunk);
        }
        let kept = self.set.rows().iter().filter(|row| before.contains(&row.chunk)).count();
        self.counts.removed = before.len() - kept;
        self.counts.added = self.set.rows().len() - kept;
        Ok(())
    }

    /// Whether the snapshot exists and is whole. A damaged one is removed, so that it is built
    /// again.
    fn is_already_there(&mut self) -> Result<bool, RetrieveError> {
        if !self.path.exists() {
            return Ok(false);
        }
        match verify(&self.path) {
            Ok(_) => Ok(true),
            Err(error) => {
                self.notes.push(format!("the snapshot is built again: {error}"));
                fs::remove_dir_all(&self.path).map_err(RetrieveError::io("remove", &self.path))?;
                Ok(false)
            }
        }
    }

    /// The vector of each row, in order: from the previous snapshot where the same text was
    /// embedded by the same embedder, else made now. Equal texts are embedded once.
    fn embed(
        &mut self,
        embedder: &dyn TextEmbedder,
        previous: Option<&Snapshot>,
        watch: &dyn BuildWatch,
    ) -> Result<Vec<Embedded>, Failure> {
        let texts: Vec<String> =
            self.set.rows().iter().map(|row| self.manifest.params.embed_text.of(row)).collect();
        let digests: Vec<Digest> = texts.iter().map(Digest::of).collect();
        let mut known = self.reusable(embedder, previous);
        self.counts.reused = digests.iter().filter(|digest| known.contains_key(digest)).count();
        let mut seen = HashSet::new();
        let mut pending: Vec<usize> = (0..texts.len())
            .filter(|row| !known.contains_key(&digests[*row]) && seen.insert(digests[*row]))
            .collect();
        self.counts.embedded = texts.len() - self.counts.reused;
        // Texts of like length share a batch, so that little is spent on padding.
        pending.sort_by_key(|row| std::cmp::Reverse(texts[*row].len()));
        let mut done = 0;
        watch.progress(0, pending.len());
        for batch in pending.chunks(EMBED_BATCH) {
            if watch.is_cancelled() {
                return Err(RetrieveError::Cancelled.into());
            }
            let inputs: Vec<&str> = batch.iter().map(|row| texts[*row].as_str()).collect();
            let made = unit_vectors(embedder.embed(&inputs)?, inputs.len(), embedder.dim())?;
            known.extend(batch.iter().map(|row| digests[*row]).zip(made));
            done += batch.len();
            watch.progress(done, pending.len());
        }
        let take =
            |text: Digest| known.get(&text).map(|values| Embedded { text, values: values.clone() });
        // A text without a vector shows as a count that does not match, and refuses the commit.
        Ok(digests.into_iter().filter_map(take).collect())
    }

    fn reusable(
        &self,
        embedder: &dyn TextEmbedder,
        previous: Option<&Snapshot>,
    ) -> HashMap<Digest, Vec<f32>> {
        let vectors = previous.and_then(Snapshot::vectors).filter(|vectors| {
            vectors.embedder() == embedder.digest() && vectors.dim() == embedder.dim()
        });
        let Some(vectors) = vectors else { return HashMap::new() };
        (0..vectors.count()).map(|row| (vectors.text(row), vectors.vector(row))).collect()
    }
}
