//! Every bound that more than one crate obeys, named, with its unit last.

/// Longest name of a pointer (`path@label`).
pub const NAME_BYTES_MAX: usize = 256;
/// Largest record the durable log accepts.
pub const LOG_RECORD_BYTES_MAX: usize = 4 << 20;
/// A log segment is sealed when it grows past this.
pub const LOG_SEGMENT_BYTES: u64 = 16 << 20;
/// Largest file a text source reads; a larger one is refused by name, not skipped in silence.
pub const DOCUMENT_BYTES_MAX: u64 = 16 << 20;
/// Most files one source may hold.
pub const SOURCE_FILES_MAX: usize = 1_000_000;
/// Largest project file (TOML, SQL, prompt).
pub const PROJECT_FILE_BYTES_MAX: u64 = 1 << 20;
/// Most assets in one project.
pub const PROJECT_ASSETS_MAX: usize = 20_000;
/// Largest JSON body of a request.
pub const REQUEST_BODY_BYTES_MAX: usize = 4 << 20;
/// Largest file that a client of MLflow may store.
pub const ARTIFACT_BYTES_MAX: u64 = 64 << 30;
/// Longest question that is answered.
pub const QUESTION_BYTES_MAX: usize = 16 << 10;
/// Most messages in one chat request.
pub const CHAT_MESSAGES_MAX: usize = 256;
/// Most passages one answer may cite.
pub const CITATIONS_MAX: usize = 16;
/// Largest answer record in the durable log.
pub const ANSWER_RECORD_BYTES_MAX: usize = 512;
/// Deepest walk of the chain in one `why`.
pub const WHY_DEPTH_MAX: usize = 64;
/// Most nodes one `why` or `impact` prints.
pub const WHY_NODES_MAX: usize = 20_000;
