//! How does a release answer? The serving configuration: an artifact without secrets that a release
//! pins.

use serde::{Deserialize, Serialize};
use sextant_core::Digest;

use crate::Mode;

/// Most passages that an answer may be drawn from.
pub(crate) const PASSAGES_MAX: usize = sextant_core::limits::CITATIONS_MAX;

/// Who writes the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReaderKind {
    /// Quotes the passages word for word.
    Extractive,
    /// A model behind an OpenAI-compatible endpoint.
    Generator,
}

/// The generator, without its key: only the name of the variable that holds it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GeneratorConfig {
    /// Address up to and with `/v1`.
    pub base_url: String,
    /// The model asked for.
    pub model: String,
    /// The environment variable that holds the key.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub api_key_env: Option<String>,
    /// How freely it writes.
    pub temperature: f64,
    /// Most tokens of an answer.
    pub max_tokens: u32,
    /// How long one answer may take, in seconds.
    pub timeout_s: u64,
}

/// How passages are found, and why so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retrieval {
    /// What the project asked for: `auto`, `bm25`, `vector` or `hybrid`.
    pub requested: String,
    /// What is used.
    pub mode: Mode,
    /// Why, in words.
    pub reason: String,
}

/// When the extractive reader answers and how much it quotes.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Thresholds {
    /// Share (0 to 1) of the question's meaning that a passage must hold; below it the answer is
    /// that nothing was found.
    pub abstain_below: f32,
    /// Most quotes of one answer.
    pub quotes_max: usize,
    /// Most bytes of all quotes together.
    pub quote_bytes_max: usize,
}

impl Default for Thresholds {
    fn default() -> Self {
        Self { abstain_below: 0.45, quotes_max: 3, quote_bytes_max: 1200 }
    }
}

/// The serving configuration: the body of the `serving_config` artifact.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ServingConfig {
    /// Version of this form.
    pub format: u32,
    /// Who writes.
    pub reader: ReaderKind,
    /// The model, when the reader is one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub generator: Option<GeneratorConfig>,
    /// How passages are found.
    pub retrieval: Retrieval,
    /// Passages looked at for one answer.
    pub passages: usize,
    /// When to abstain.
    pub thresholds: Thresholds,
    /// The prompt version.
    pub prompt: Digest,
}

/// The version of the form that this crate writes.
pub(crate) const CONFIG_FORMAT: u32 = 1;

impl ServingConfig {
    /// Reads the artifact's bytes.
    ///
    /// # Errors
    /// When they are not a serving configuration of this format.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, crate::AgentError> {
        let refuse =
            |reason: String| crate::AgentError::Stored { what: "serving configuration", reason };
        let config: Self =
            serde_json::from_slice(bytes).map_err(|error| refuse(error.to_string()))?;
        if config.format != CONFIG_FORMAT {
            return Err(refuse(format!("format {} instead of {CONFIG_FORMAT}", config.format)));
        }
        Ok(config)
    }
}
