//! Layer 6: how is a question answered from passages, how good is retrieval, and what is remembered
//! of an answer?
//!
//! This crate owns prompts, the extractive reader, the flow of one answer, the evaluation of
//! retrieval, and the bytes of the answer record. It must not know how search works, which model
//! generates, HTTP, or any other layer: it asks through [`PassageSearch`], [`Searchers`] and
//! [`Generator`].

#![deny(missing_docs)]

mod agents;
mod answer;
mod asks;
mod blocks;
mod config;
mod error;
mod eval;
mod extract;
mod policy;
mod ports;
mod prompt;
mod record;
mod transcript;
mod words;

pub use agents::{AgentKind, AgentSpec, GeneratorSpec};
pub use answer::{AnswerDraft, Assistant, Citation, UsedPassage, sources_footer};
pub use config::{GeneratorConfig, ReaderKind, Retrieval, ServingConfig, Thresholds};
pub use error::{AgentError, CODES};
pub use eval::{
    EvalKind, EvalSpec, Question, QuestionRow, QuestionScores, Ranked, Relevant, mean_scores,
    paired_permutation_p, parse_questions, score_question,
};
pub use extract::{Extraction, ExtractiveReader, Quote};
pub use policy::{Resolution, resolve_retrieval};
pub use ports::{Completion, Generator, Message, Mode, Passage, PassageSearch, Role, Searchers};
pub use prompt::{Prompt, PromptKind};
pub use record::{AnswerRecord, RECORD_VERSION, RecordFlags, RecordedPassage};
pub use transcript::Transcript;
