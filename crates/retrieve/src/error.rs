//! What can go wrong in retrieval, and what can the reader do about it? `SXT-50nn`.

use std::path::{Path, PathBuf};

use sextant_core::{Code, Digest, ExitKind, Explain, Place};
use sextant_lineage::LineageError;

/// Every failure of retrieval.
#[derive(Debug, thiserror::Error)]
pub enum RetrieveError {
    /// An `indexes/*.toml` file is not what it should be.
    #[error("the index definition is not valid: {reason}")]
    Definition {
        /// Where in which file.
        place: Place,
        /// What is wrong.
        reason: String,
    },
    /// Vectors or a query of another embedder than the index's.
    #[error("the index holds vectors of embedder {index}, but was given {given}")]
    EmbedderMismatch {
        /// The embedder that the index was built with.
        index: Digest,
        /// The embedder that was offered.
        given: Digest,
    },
    /// Stored bytes are not what was written.
    #[error("{} is damaged: {reason}", path.display())]
    Corrupt {
        /// The file or folder.
        path: PathBuf,
        /// What does not hold.
        reason: String,
    },
    /// The operating system refused.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// Why it failed.
        source: std::io::Error,
    },
    /// The text index refused.
    #[error("the text index cannot {action}")]
    Text {
        /// What was tried.
        action: &'static str,
        /// Why it failed.
        source: tantivy::TantivyError,
    },
    /// An embedder returned something that is not a vector of its own dimension.
    #[error("the embedder returned a bad vector: {reason}")]
    BadVector {
        /// What is wrong with it.
        reason: String,
    },
    /// A row of the chunk table cannot be indexed.
    #[error("chunk {chunk} of `{path}` cannot be indexed: {reason}")]
    BadChunk {
        /// The chunk's id as the table gave it.
        chunk: String,
        /// The document.
        path: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Something was lost between reading, embedding and storing.
    #[error("{parsed} chunks were read, {embedded} embedded and {stored} stored")]
    CountMismatch {
        /// Rows read.
        parsed: usize,
        /// Vectors made or reused.
        embedded: usize,
        /// Documents in the text index.
        stored: usize,
    },
    /// A vector search on an index that has no vectors.
    #[error("the index has no vectors, so it cannot search by {mode}")]
    NoVectors {
        /// The mode that was asked for.
        mode: &'static str,
    },
    /// A vector search without an embedder for the query.
    #[error("a search by {mode} needs the embedder of the index ({index})")]
    NoEmbedder {
        /// The mode that was asked for.
        mode: &'static str,
        /// The embedder that the index was built with.
        index: Digest,
    },
    /// The snapshot was written by another version of this program.
    #[error("{} has index format {found}, but this program reads {supported}", path.display())]
    OtherFormat {
        /// The snapshot.
        path: PathBuf,
        /// Its format, or its analyzers.
        found: String,
        /// What is read here.
        supported: String,
    },
    /// There is no such snapshot.
    #[error("there is no index snapshot at {}", path.display())]
    NoSnapshot {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// More than a limit allows.
    #[error("{what} is {size}, more than the limit of {max}")]
    TooLarge {
        /// What is too large, with its unit.
        what: &'static str,
        /// How large it is.
        size: usize,
        /// The limit.
        max: usize,
    },
    /// Somebody asked the build to stop.
    #[error("the index build was cancelled")]
    Cancelled,
    /// The spine refused.
    #[error(transparent)]
    Lineage(#[from] LineageError),
}

impl RetrieveError {
    /// For `map_err` on an IO result.
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { action, path, source }
    }

    /// For `map_err` on a result of the text index.
    pub(crate) fn text(action: &'static str) -> impl FnOnce(tantivy::TantivyError) -> Self {
        move |source| Self::Text { action, source }
    }

    /// A damaged file.
    pub(crate) fn corrupt(path: &Path, reason: impl Into<String>) -> Self {
        Self::Corrupt { path: path.to_owned(), reason: reason.into() }
    }
}

/// A place where the torture runs may stop or fail the process. Compiled to nothing without the
/// feature `failpoints`.
pub(crate) fn failpoint(name: &'static str, path: &Path) -> Result<(), RetrieveError> {
    fail::fail_point!(name, |_| {
        let source = std::io::Error::other(format!("failpoint {name}"));
        Err(RetrieveError::io("pass", path)(source))
    });
    let _ = (name, path);
    Ok(())
}

impl Explain for RetrieveError {
    fn code(&self) -> &'static Code {
        match self {
            Self::Definition { .. } => &DEFINITION,
            Self::EmbedderMismatch { .. } => &EMBEDDER_MISMATCH,
            Self::Corrupt { .. } => &CORRUPT,
            Self::Io { .. } => &IO,
            Self::Text { .. } => &TEXT,
            Self::BadVector { .. } => &BAD_VECTOR,
            Self::BadChunk { .. } => &BAD_CHUNK,
            Self::CountMismatch { .. } => &COUNT_MISMATCH,
            Self::NoVectors { .. } => &NO_VECTORS,
            Self::NoEmbedder { .. } => &NO_EMBEDDER,
            Self::OtherFormat { .. } => &OTHER_FORMAT,
            Self::NoSnapshot { .. } => &NO_SNAPSHOT,
            Self::TooLarge { .. } => &TOO_LARGE,
            Self::Cancelled => &CANCELLED,
            Self::Lineage(error) => error.code(),
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Lineage(error) => error.hint(),
            Self::NoVectors { .. } => Some(
                "search with mode bm25, or name an embedder in the index's file and build".into(),
            ),
            _ => None,
        }
    }

    fn place(&self) -> Option<Place> {
        match self {
            Self::Definition { place, .. } => Some(place.clone()),
            Self::Lineage(error) => error.place(),
            _ => None,
        }
    }
}

macro_rules! codes {
    ($($name:ident $number:literal $kind:ident $title:literal $help:literal;)*) => {
        $(static $name: Code =
            Code { number: $number, kind: ExitKind::$kind, title: $title, help: $help };)*
        /// The entries of the error catalogue that this crate owns.
        pub const CODES: &[&Code] = &[$(&$name,)*];
    };
}

codes! {
    DEFINITION 5001 Usage "an index definition is not valid"
        "A file in indexes/ has an unknown key, a missing key or a value of the wrong type. It needs `from` (a model with the columns of a chunk table) and may name an `embedder`. Correct the file at the place shown; `sextant config schema` prints the full schema.";
    EMBEDDER_MISMATCH 5002 Conflict "vectors of two embedders do not mix"
        "Vectors made by different embedders cannot be compared, so an index refuses vectors and queries of any embedder but its own. Both digests are shown. Build the index again with the new embedder, or use the release that pins the index and its embedder together.";
    CORRUPT 5003 Integrity "an index snapshot is damaged"
        "A file of the snapshot is missing or its bytes are not the ones that were written. Nothing is answered from it. An index is derived data: remove the snapshot's folder below .sextant/indexes and run `sextant build --full` for the index; then check the disk.";
    IO 5004 Failure "a file of an index cannot be read or written"
        "The operating system refused; the cause follows the message. Common causes are a full disk and missing permissions on the .sextant folder. Nothing half written is ever used: build again when the cause is gone.";
    TEXT 5005 Failure "the text index failed"
        "The text index could not do what was asked; the cause follows the message. Run `sextant fsck` to find out whether a snapshot is damaged, and build the index again.";
    BAD_VECTOR 5006 Failure "the embedder returned a bad vector"
        "A vector has the wrong dimension, or holds a value that is not a finite number; often a training run that diverged. Look at the run's loss curve, train again with a smaller learning rate, and build.";
    BAD_CHUNK 5007 Failure "a row of the chunk table cannot be indexed"
        "Each row needs the columns chunk, doc_version, path, ordinal, heading, breadcrumb, body, byte_start and byte_end, and `chunk` must be chunk_id(doc_version, byte_start, byte_end). Correct the model that makes the table.";
    COUNT_MISMATCH 5008 Integrity "chunks were lost while indexing"
        "The number of chunks read, embedded and stored must be the same; the index was not committed. This is a defect of this program: please report it with the output of `sextant doctor`.";
    NO_VECTORS 5009 Conflict "the index has no vectors"
        "The index was built without an embedder, so it searches by text alone. Use the mode bm25, or set `embedder` in the index's file and build.";
    NO_EMBEDDER 5010 Conflict "the query has no embedder"
        "A search by vector or hybrid turns the query into a vector with the embedder of the index, and none was offered. Use the release that pins both, or the mode bm25.";
    OTHER_FORMAT 5011 Conflict "the index snapshot was written by another version"
        "This program does not read the format of the snapshot: the version that wrote it laid it out, or cut its words, in another way. Use that version, or build the index again with this one: an index is derived data.";
    NO_SNAPSHOT 5012 NotFound "there is no such index snapshot"
        "The folder of the snapshot does not exist, although something points at it. An index is derived data: build it again.";
    TOO_LARGE 5013 Usage "larger than retrieval allows"
        "A query, a chunk or an index is larger than its limit; the message names which. Shorten the query, split the documents, or divide the index.";
    CANCELLED 5014 Failure "the index build was cancelled"
        "Somebody asked the build to stop. Nothing of it is visible; the next build begins again and embeds only what the last finished snapshot does not hold.";
}
