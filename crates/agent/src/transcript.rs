//! What was said? The words of an answer for people, in a stream of their own, so that they can be
//! kept shorter than the record, or erased, without touching the chain.

use serde::{Deserialize, Serialize};
use sextant_core::{ActivityId, Digest, Timestamp};

use crate::{AgentError, AnswerDraft, Citation, Message, Mode};

/// Longest conversation that is kept with an answer.
pub const HISTORY_BYTES_MAX: usize = 256 << 10;

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn is_zero(count: &usize) -> bool {
    *count == 0
}

/// One question and its answer, as JSON in the stream `transcripts`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Transcript {
    /// The answer's id.
    pub id: ActivityId,
    /// When.
    pub at: Timestamp,
    /// The conversation it is part of, when the caller named one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub session: Option<String>,
    /// How many turns of a conversation came before the question.
    #[serde(skip_serializing_if = "is_zero", default)]
    pub turns: usize,
    /// Those turns, for asking again; empty when they have more than [`HISTORY_BYTES_MAX`] bytes.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub history: Vec<Message>,
    /// The question.
    pub question: String,
    /// The answer.
    pub answer: String,
    /// Whether it says that nothing was found.
    pub abstained: bool,
    /// What it quotes.
    pub citations: Vec<Citation>,
    /// The release that answered.
    pub release: Digest,
    /// The name it was asked by.
    pub release_name: String,
    /// How passages were found.
    pub mode: Mode,
    /// Who wrote.
    pub model: String,
    /// Time from question to answer.
    pub seconds: f64,
}

impl Transcript {
    /// The transcript of a draft.
    pub fn of(
        draft: &AnswerDraft,
        id: ActivityId,
        at: Timestamp,
        question: &str,
        release: (Digest, &str),
        session: Option<&str>,
    ) -> Self {
        Self {
            id,
            at,
            session: session.map(str::to_owned),
            turns: 0,
            history: Vec::new(),
            question: question.to_owned(),
            answer: draft.text.clone(),
            abstained: draft.abstained,
            citations: draft.citations.clone(),
            release: release.0,
            release_name: release.1.to_owned(),
            mode: draft.mode,
            model: draft.model.clone(),
            seconds: (draft.search_micros + draft.read_micros) as f64 / 1e6,
        }
    }

    /// The transcript with the conversation before the question.
    pub fn after(mut self, history: Vec<Message>) -> Self {
        let bytes: usize = history.iter().map(|message| message.content.len()).sum();
        self.turns = history.len();
        if bytes <= HISTORY_BYTES_MAX {
            self.history = history;
        }
        self
    }

    /// The bytes for the log.
    ///
    /// # Errors
    /// Never for a transcript made by [`Transcript::of`].
    pub fn encode(&self) -> Result<Vec<u8>, AgentError> {
        serde_json::to_vec(self).map_err(|error| AgentError::Record(error.to_string()))
    }

    /// Reads the bytes back.
    ///
    /// # Errors
    /// When they are not a transcript.
    pub fn decode(bytes: &[u8]) -> Result<Self, AgentError> {
        serde_json::from_slice(bytes).map_err(|error| AgentError::Record(error.to_string()))
    }
}
