//! What does this layer need from others? Passages for a query, a search over a given index, and a
//! model that writes text. `app` plugs them in.

use std::{fmt, str::FromStr, sync::Arc};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sextant_core::{Cancel, Digest, Failure};

/// How passages are found.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Words only.
    Bm25,
    /// Vectors only.
    Vector,
    /// Words and vectors, fused.
    Hybrid,
}

impl Mode {
    /// The word stored and shown.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Bm25 => "bm25",
            Self::Vector => "vector",
            Self::Hybrid => "hybrid",
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Mode {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "bm25" => Ok(Self::Bm25),
            "vector" => Ok(Self::Vector),
            "hybrid" => Ok(Self::Hybrid),
            other => Err(format!("no such retrieval mode: `{other}` (bm25, vector, hybrid)")),
        }
    }
}

/// One passage that search returned, best first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Passage {
    /// The chunk artifact.
    pub chunk: Digest,
    /// The version of the document it is part of.
    pub doc_version: Digest,
    /// The document's path in its source.
    pub path: String,
    /// The section's heading.
    pub heading: String,
    /// The headings above it, joined by ` > `.
    pub breadcrumb: String,
    /// The bytes `byte_start..byte_end` of the raw document.
    pub body: String,
    /// Where it begins in the raw document.
    pub byte_start: u64,
    /// Where it ends in the raw document.
    pub byte_end: u64,
    /// The score it was ranked by.
    pub score: f32,
    /// Its BM25 score, when words were used.
    pub bm25: Option<f32>,
    /// Its cosine similarity, when vectors were used.
    pub cosine: Option<f32>,
}

/// Finds passages in one committed state of an index.
pub trait PassageSearch: Send + Sync {
    /// The best `k` passages for `query`, best first.
    ///
    /// # Errors
    /// When the index cannot be read, or has no vectors and the mode needs them.
    fn search(&self, query: &str, k: usize, mode: Mode) -> Result<Vec<Passage>, Failure>;
}

/// Opens a search over the index that an index asset's version describes.
pub trait Searchers: Send + Sync {
    /// Opens it.
    ///
    /// # Errors
    /// When the index is gone, damaged, or belongs to another embedder.
    fn open(&self, index_meta: &Value) -> Result<Arc<dyn PassageSearch>, Failure>;
}

/// Who speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// The one who sets the rules.
    System,
    /// The person.
    User,
    /// The assistant.
    Assistant,
}

/// One turn of a conversation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// Who speaks.
    pub role: Role,
    /// What is said.
    pub content: String,
}

/// What a generator wrote.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Completion {
    /// The whole text.
    pub text: String,
    /// The model that says it answered, which need not be the one that was asked for.
    pub model: String,
    /// Tokens of the prompt, when the generator counts them.
    pub prompt_tokens: Option<u32>,
    /// Tokens of the text, when the generator counts them.
    pub completion_tokens: Option<u32>,
}

/// A model that writes text.
pub trait Generator: Send + Sync {
    /// Writes the next turn. `on_delta` gets the text piece by piece, in order; the pieces joined
    /// equal the completion's text. Stops soon after `cancel` is raised.
    ///
    /// # Errors
    /// When the model cannot be reached, refuses, breaks off, or is cancelled.
    fn complete(
        &self,
        messages: &[Message],
        cancel: &Cancel,
        on_delta: &mut dyn FnMut(&str),
    ) -> Result<Completion, Failure>;
}
