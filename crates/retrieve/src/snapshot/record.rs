//! What does a snapshot say about itself? The manifest decides its name; the record beside it lists
//! every file with its digest.

use std::{
    fs::{self, File},
    path::Path,
};

use serde::{Deserialize, Serialize};
use sextant_core::{ArtifactKind, Digest, canonical_json};
use sextant_lineage::write_atomically;

use crate::{
    embed::{EmbedSpec, EmbedText},
    error::RetrieveError,
    tokens,
};

/// The format of snapshot folders that this program writes and reads.
pub(crate) const FORMAT: u64 = 1;
const RECORD_FILE: &str = "snapshot.json";
const RECORD_BYTES_MAX: u64 = 16 << 20;

/// What an index snapshot is made of: the body of its artifact. Equal manifests mean equal answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IndexManifest {
    /// Always `index_snapshot`.
    pub kind: String,
    /// The format of the folder.
    pub format: u64,
    /// The root of the hash tree over the rows.
    pub chunks: Digest,
    /// How many rows.
    pub count: usize,
    /// The digest of the [`EmbedSpec`]; absent for an index of text alone.
    pub embed_spec: Option<Digest>,
    /// How text is analysed and embedded.
    pub params: IndexParameters,
}

/// The choices that change what an index answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IndexParameters {
    /// The version of the text analyzers.
    pub analyzers: String,
    /// Which text of a chunk is embedded.
    pub embed_text: EmbedText,
}

impl IndexManifest {
    pub(crate) fn new(
        chunks: Digest,
        count: usize,
        spec: Option<&EmbedSpec>,
        embed_text: EmbedText,
    ) -> Self {
        Self {
            kind: ArtifactKind::IndexSnapshot.as_str().to_owned(),
            format: FORMAT,
            chunks,
            count,
            embed_spec: spec.map(EmbedSpec::digest),
            params: IndexParameters { analyzers: tokens::ANALYZERS.to_owned(), embed_text },
        }
    }

    /// The digest of its canonical JSON: the snapshot's name.
    pub fn digest(&self) -> Digest {
        Digest::of(canonical_json(self).unwrap_or_default())
    }
}

/// One file of a snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FileRecord {
    /// Its path below the snapshot's folder, with `/`.
    pub path: String,
    pub bytes: u64,
    pub digest: Digest,
}

/// What a snapshot says about its vectors.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VectorsRecord {
    /// The digest of the vector file.
    pub digest: Digest,
    /// How they were made.
    pub spec: EmbedSpec,
}

/// The content of `snapshot.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    pub manifest: IndexManifest,
    pub vectors: Option<VectorsRecord>,
    pub files: Vec<FileRecord>,
}

/// The record under its own digest, so that a flipped byte in it is noticed.
#[derive(Serialize, Deserialize)]
struct Sealed {
    format: u64,
    digest: Digest,
    record: serde_json::Value,
}

impl Record {
    /// Reads and checks the record of the snapshot in this folder.
    pub(crate) fn read(folder: &Path) -> Result<Self, RetrieveError> {
        let path = folder.join(RECORD_FILE);
        if !folder.is_dir() {
            return Err(RetrieveError::NoSnapshot { path: folder.to_owned() });
        }
        let corrupt = |reason: String| RetrieveError::corrupt(&path, reason);
        match fs::metadata(&path) {
            Ok(meta) if meta.len() <= RECORD_BYTES_MAX => {}
            Ok(_) => return Err(corrupt("it is larger than any record".into())),
            Err(error) => return Err(corrupt(error.to_string())),
        }
        let bytes = fs::read(&path).map_err(RetrieveError::io("read", &path))?;
        let sealed: Sealed =
            serde_json::from_slice(&bytes).map_err(|error| corrupt(error.to_string()))?;
        let other = |found: String, supported: String| {
            Err(RetrieveError::OtherFormat { path: folder.to_owned(), found, supported })
        };
        if sealed.format != FORMAT {
            return other(sealed.format.to_string(), FORMAT.to_string());
        }
        let body = canonical_json(&sealed.record).map_err(|error| corrupt(error.to_string()))?;
        if Digest::of(body) != sealed.digest {
            return Err(corrupt("its digest does not match".into()));
        }
        let record: Self =
            serde_json::from_value(sealed.record).map_err(|error| corrupt(error.to_string()))?;
        let analyzers = &record.manifest.params.analyzers;
        if analyzers != tokens::ANALYZERS {
            return other(analyzers.clone(), tokens::ANALYZERS.to_owned());
        }
        Ok(record)
    }

    /// Writes the record, whole or not at all.
    pub(crate) fn write(&self, folder: &Path) -> Result<(), RetrieveError> {
        let path = folder.join(RECORD_FILE);
        let json = |error: serde_json::Error| RetrieveError::io("write", &path)(error.into());
        let record = serde_json::to_value(self).map_err(json)?;
        let digest = Digest::of(canonical_json(&record).map_err(json)?);
        let sealed = Sealed { format: FORMAT, digest, record };
        let bytes = serde_json::to_vec_pretty(&sealed).map_err(json)?;
        write_atomically(&path, &bytes).map_err(RetrieveError::io("write", &path))
    }
}

/// Makes the entries of a folder durable.
pub(crate) fn sync_folder(folder: &Path) -> Result<(), RetrieveError> {
    sextant_lineage::sync_folder(folder).map_err(RetrieveError::io("sync", folder))
}

/// Every file below a folder of a snapshot with its size and digest, sorted by path. Lock files of
/// the text index hold nothing and are left out.
pub(crate) fn inventory(folder: &Path) -> Result<Vec<FileRecord>, RetrieveError> {
    let mut files = Vec::new();
    for (below, prefix) in [(folder.to_owned(), ""), (folder.join(super::TEXT_FOLDER), "text/")] {
        let io = RetrieveError::io;
        for entry in fs::read_dir(&below).map_err(io("list", &below))? {
            let entry = entry.map_err(io("list", &below))?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let is_file = entry.file_type().map_err(io("list", &below))?.is_file();
            let is_lock = Path::new(&name).extension().is_some_and(|extension| extension == "lock");
            if is_file && !is_lock && name != RECORD_FILE {
                files.push(file_record(folder, format!("{prefix}{name}"))?);
            }
        }
    }
    files.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(files)
}

/// The size and digest of one file.
pub(crate) fn file_record(folder: &Path, path: String) -> Result<FileRecord, RetrieveError> {
    let full = folder.join(&path);
    let mut hasher = sextant_core::DigestHasher::new();
    let mut file = File::open(&full).map_err(RetrieveError::io("open", &full))?;
    let bytes = std::io::copy(&mut file, &mut hasher).map_err(RetrieveError::io("read", &full))?;
    Ok(FileRecord { path, bytes, digest: hasher.finish() })
}
