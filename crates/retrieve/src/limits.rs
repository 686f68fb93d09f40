//! Every bound of retrieval, named, with its unit last.

/// A section longer than this is split at a paragraph boundary.
pub const SECTION_BYTES_MAX: usize = 1200;
/// A longer heading is cut in `heading` and `breadcrumb`; the document itself keeps it whole.
pub const HEADING_BYTES_MAX: usize = 300;
/// Most chunks one index may hold: the vectors of one snapshot are scanned whole.
pub const CHUNKS_MAX: usize = 2_000_000;
/// Longest text of one chunk.
pub const CHUNK_BYTES_MAX: usize = 1 << 20;
/// Longest query; a longer one is refused by name.
pub const QUERY_BYTES_MAX: usize = sextant_core::limits::QUESTION_BYTES_MAX;
/// Distinct words of a query that are looked up; the rest of a very long query adds nothing.
pub const QUERY_TERMS_MAX: usize = 256;
/// Most hits one search returns.
pub const HITS_MAX: usize = 1000;
/// How many candidates each of the two rankings gives to a hybrid search, at least.
pub const FUSION_DEPTH: usize = 100;
/// Largest dimension of a vector.
pub const VECTOR_DIMENSIONS_MAX: usize = 8192;
/// Texts handed to the embedder at once.
pub const EMBED_BATCH: usize = 32;
/// Longest identifier (`snake_case`, a path, a flag) that is searchable as a whole.
pub const IDENTIFIER_BYTES_MAX: usize = 128;
/// Memory of the text writer before it writes a segment.
pub const TEXT_WRITER_BYTES: usize = 64 << 20;
/// A scan of fewer vectors than this stays on the calling thread.
pub const SCAN_SERIAL_MAX: usize = 8_192;
/// Most threads one scan uses.
pub const SCAN_THREADS_MAX: usize = 8;
/// Snapshots that [`crate::SnapshotCache`] keeps open.
pub const OPEN_SNAPSHOTS_MAX: usize = 16;
