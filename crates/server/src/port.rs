//! What does the server need from the rest of Sextant? One small port, [`Backend`].

use std::io::{Read, Seek};

use serde_json::{Map, Value};
use sextant_core::{ActivityId, Cancel, Events, Failure};

/// Everything the pages and the wires ask of the application. All methods block; the server calls
/// them on threads made for that.
pub trait Backend: Send + Sync + 'static {
    /// Runs one operation, `{"op": …}`, to its JSON result.
    ///
    /// # Errors
    /// Whatever the operation failed with.
    fn run(&self, op: Value, events: &dyn Events, cancel: &Cancel) -> Result<Value, Failure>;

    /// Finds the release that `model` names (`name` or `name@digest`) and pins it: the request is
    /// answered by it even when another is promoted meanwhile.
    ///
    /// # Errors
    /// A failure of kind `NotFound` when there is no such release.
    fn pin(&self, model: &str) -> Result<PinnedRelease, Failure>;

    /// Answers one chat and hands over the text piece by piece. The answer is durably recorded
    /// under [`ChatRequest::answer_id`] before the last piece is handed over. Returns the answer as
    /// the operation `ask` does.
    ///
    /// # Errors
    /// Whatever answering failed with; pieces may have been handed over by then.
    fn chat(
        &self,
        request: ChatRequest,
        on_delta: &mut dyn FnMut(&str),
        cancel: &Cancel,
    ) -> Result<Value, Failure>;

    /// Takes records that were sent to a source. They are durable when this returns.
    ///
    /// # Errors
    /// When there is no such source, or the records cannot be understood or made durable: then
    /// none was taken.
    fn ingest(&self, request: &IngestRequest) -> Result<IngestReply, Failure>;

    /// Answers a call of a client of MLflow, as MLflow would. `body` is read as it arrives, and only when
    /// the call stores a file; when it breaks off, nothing is stored.
    ///
    /// # Errors
    /// When experiments and runs cannot be opened. A refused call is a reply.
    fn mlflow(&self, request: &MlflowRequest, body: &mut dyn Read) -> Result<MlflowReply, Failure>;

    /// Takes spans that were sent by OTLP. They are durable when this returns.
    ///
    /// # Errors
    /// When traces cannot be opened. Refused spans are a reply: then none was taken.
    fn otlp(&self, request: OtlpRequest) -> Result<OtlpReply, Failure>;

    /// The names that can be used as `model`.
    fn releases(&self) -> Vec<String>;

    /// Whether requests can be served: the log is writable, the catalog open.
    ///
    /// # Errors
    /// Why not, in words.
    fn ready(&self) -> Result<(), String>;

    /// Gauges for `/metrics`: name (with its labels in braces, if it has any), help, value. Those
    /// of one name stand together.
    fn metrics(&self) -> Vec<(String, String, f64)>;

    /// The user manual: path without extension, and Markdown.
    fn manual(&self) -> Vec<(String, String)>;

    /// The JSON Schema of operations, for `/openapi.json`.
    fn op_schema(&self) -> Value;
}

/// A release that a request was pinned to when it was admitted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PinnedRelease {
    /// Its name.
    pub name: String,
    /// The digest of its manifest.
    pub digest: String,
}

/// Records that were sent to a source.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct IngestRequest {
    /// The source's name.
    pub source: String,
    /// The Content-Type.
    pub content_type: String,
    /// The header `Idempotency-Key`.
    pub idempotency_key: Option<String>,
    /// The headers that begin with `ce-`, without it, in small letters.
    pub event: Vec<(String, String)>,
    /// The body, decompressed.
    pub body: Vec<u8>,
}

/// How they were taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IngestReply {
    /// They are durable.
    Accepted {
        /// How many.
        records: u64,
        /// The place of the last one; none when there was no record.
        offset: Option<u64>,
    },
    /// Too much waits to be landed; none was taken.
    Full {
        /// Bytes that wait.
        waiting_bytes: u64,
        /// The most that may wait.
        limit_bytes: u64,
    },
}

/// What a client of MLflow asks.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct MlflowRequest {
    /// The HTTP method.
    pub method: String,
    /// The path behind `/api/`, `/ajax-api/` or else the first slash, decoded, such as
    /// `2.0/mlflow/runs/create`.
    pub path: String,
    /// The fields of the body or of the address; there a repeated name is a list of texts.
    pub fields: Map<String, Value>,
    /// Whether the caller may change things.
    pub may_change: bool,
}

/// What it is answered.
#[derive(Debug)]
pub enum MlflowReply {
    /// An answer or a refusal in MLflow's words.
    Said {
        /// The HTTP status.
        status: u16,
        /// The body.
        body: Value,
    },
    /// A file.
    File(MlflowFile),
    /// The body was stored and is durable.
    Taken {
        /// What its bytes are called: without quotes, and another for other bytes.
        etag: String,
    },
    /// The call changes something, and the caller may not.
    Forbidden,
    /// There is no such call; these methods have one at the path.
    NoSuchCall {
        /// Method by method, none when the path has no call at all.
        allowed: Vec<&'static str>,
    },
}

/// A file that is sent. Nothing in it is to be believed.
pub struct MlflowFile {
    /// Its name, without its folder.
    pub name: String,
    /// What is said to be in it.
    pub media_type: &'static str,
    /// What its bytes are called, as in [`MlflowReply::Taken`].
    pub etag: String,
    /// How many bytes it has.
    pub bytes: u64,
    /// Its bytes.
    pub content: Box<dyn Content>,
}

impl std::fmt::Debug for MlflowFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MlflowFile").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Bytes that are read in pieces, from any place.
pub trait Content: Read + Seek + Send {}

impl<T: Read + Seek + Send> Content for T {}

/// Spans that were sent by OTLP.
#[derive(Debug, Clone, PartialEq)]
pub struct OtlpRequest {
    /// The experiment they belong to.
    pub experiment: String,
    /// The run that their traces belong to.
    pub run: Option<String>,
    /// The body, decompressed.
    pub body: OtlpBody,
}

/// A body of OTLP.
#[derive(Debug, Clone, PartialEq)]
pub enum OtlpBody {
    /// Bytes of protobuf.
    Protobuf(Vec<u8>),
    /// JSON.
    Json(Value),
}

/// How spans were taken.
#[derive(Debug, Clone, PartialEq)]
pub enum OtlpReply {
    /// They are durable.
    Taken,
    /// None was taken.
    Refused {
        /// The HTTP status.
        status: u16,
        /// The body.
        body: Value,
    },
}

/// One question with the conversation before it.
#[derive(Debug, Clone)]
pub struct ChatRequest {
    /// The id that the answer is recorded under; made when the request was admitted.
    pub answer_id: ActivityId,
    /// The release that answers.
    pub release: PinnedRelease,
    /// The conversation, oldest first; the last turn is the user's question.
    pub turns: Vec<ChatTurn>,
    /// Whether the caller reads the answer piece by piece.
    pub streamed: bool,
    /// The most tokens wanted, when the caller said.
    pub tokens_max: Option<u32>,
    /// Sampling temperature, when the caller said.
    pub temperature: Option<f64>,
    /// Texts at which generation stops.
    pub stop: Vec<String>,
    /// The caller's own name for its end user.
    pub user: Option<String>,
}

impl ChatRequest {
    /// The words of the last turn.
    pub fn question(&self) -> &str {
        self.turns.last().map_or("", |turn| turn.text.as_str())
    }
}

/// One turn of a conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChatTurn {
    /// `system`, `user` or `assistant`.
    pub role: String,
    /// What was said.
    pub text: String,
}
