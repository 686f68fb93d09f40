//! What does the server need from the rest of Sextant? One small port, [`Backend`].

use serde_json::Value;
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

    /// The names that can be used as `model`.
    fn releases(&self) -> Vec<String>;

    /// Whether requests can be served: the log is writable, the catalog open.
    ///
    /// # Errors
    /// Why not, in words.
    fn ready(&self) -> Result<(), String>;

    /// Gauges for `/metrics`: name, help, value.
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
