//! How good is retrieval? Questions with known sections, the figures of each mode, and the report
//! that a gate reads.

mod kind;
mod questions;
mod scores;

pub use kind::{EvalKind, EvalSpec};
pub use questions::{Question, Relevant, parse_questions};
pub use scores::{
    QuestionRow, QuestionScores, Ranked, mean_scores, paired_permutation_p, score_question,
};
