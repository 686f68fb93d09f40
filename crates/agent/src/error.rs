//! What can go wrong while prompts are read, retrieval is judged, or a question is answered?

use sextant_core::{Code, ExitKind, Explain, Place};

/// An error of prompts, readers, evaluation and answer records.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// A prompt file has no front matter, or it does not end.
    #[error("{reason}")]
    FrontMatter {
        /// Where.
        place: Place,
        /// What is missing.
        reason: String,
    },
    /// A template does not parse, or cannot be rendered.
    #[error("the template {action}: {reason}")]
    Template {
        /// Where.
        place: Place,
        /// `does not parse` or `cannot be rendered`.
        action: &'static str,
        /// What the template engine said.
        reason: String,
    },
    /// A setting of a file has a value that makes no sense.
    #[error("`{key}` {reason}")]
    Setting {
        /// Where.
        place: Place,
        /// Which setting.
        key: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A line of a question file is broken.
    #[error("a question cannot be read: {reason}")]
    Question {
        /// Where.
        place: Place,
        /// What is wrong with it.
        reason: String,
    },
    /// A file cannot be read.
    #[error("cannot read {path}")]
    Read {
        /// The file.
        path: String,
        /// The cause.
        source: std::io::Error,
    },
    /// A stored artifact is not what its kind promises.
    #[error("the stored {what} cannot be read: {reason}")]
    Stored {
        /// Which artifact.
        what: &'static str,
        /// Why.
        reason: String,
    },
    /// The evaluation that decides the retrieval mode lacks a figure.
    #[error("the evaluation has no figure `{metric}`")]
    MissingMetric {
        /// The figure.
        metric: String,
    },
    /// The question is longer than the limit.
    #[error("the question has {bytes} bytes; at most {limit} are answered")]
    QuestionTooLong {
        /// Its length.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// The question holds no text.
    #[error("the question is empty")]
    QuestionEmpty,
    /// An answer record cannot be decoded.
    #[error("an answer record cannot be read: {0}")]
    Record(String),
    /// The configuration names a generator, but none is plugged in.
    #[error("the configuration names the generator `{0}`, but none is plugged in")]
    NoGenerator(String),
    /// Search returned a passage whose byte range does not fit its text.
    #[error("passage {chunk} of {path} has {body} bytes but its range has {range}")]
    PassageRange {
        /// The chunk.
        chunk: String,
        /// The document.
        path: String,
        /// The bytes of its text.
        body: usize,
        /// The bytes of its range.
        range: u64,
    },
}

const FRONT_MATTER: Code = Code {
    number: 6001,
    kind: ExitKind::Usage,
    title: "a prompt's front matter is missing or broken",
    help: "A prompt file begins with a line `+++`, then TOML (description, tags, variables), then \
           `+++`, then the template.",
};
const TEMPLATE: Code = Code {
    number: 6002,
    kind: ExitKind::Usage,
    title: "a prompt's template is wrong",
    help: "Templates are Jinja. They may use question, passages, history and the variables of the \
           front matter. A passage has n, path, heading and text.",
};
const SETTING: Code = Code {
    number: 6003,
    kind: ExitKind::Usage,
    title: "a setting of an agent or an evaluation makes no sense",
    help: "`sextant config schema` prints what each file may say.",
};
const QUESTION: Code = Code {
    number: 6004,
    kind: ExitKind::Usage,
    title: "a line of a question file cannot be read",
    help: "Each line is one JSON object with id, question, path and heading. Lines that share an id \
           name further sections that answer the same question.",
};
const READ: Code = Code {
    number: 6005,
    kind: ExitKind::NotFound,
    title: "a file that an agent or an evaluation names cannot be read",
    help: "The path is relative to the file that names it.",
};
const STORED: Code = Code {
    number: 6006,
    kind: ExitKind::Integrity,
    title: "a stored prompt, configuration or report cannot be read",
    help: "Its bytes are not what its kind promises. Run `sextant fsck`; if it is clean, the artifact \
           was written by a newer version.",
};
const MISSING_METRIC: Code = Code {
    number: 6007,
    kind: ExitKind::Usage,
    title: "retrieval = \"auto\" needs an evaluation of bm25 and hybrid",
    help: "Name an evaluation whose modes hold both \"bm25\" and \"hybrid\" over the agent's own \
           index, or set retrieval to one of them.",
};
const QUESTION_TOO_LONG: Code = Code {
    number: 6008,
    kind: ExitKind::Usage,
    title: "the question is too long",
    help: "Ask in fewer words; put documents into a source instead of the question.",
};
const QUESTION_EMPTY: Code = Code {
    number: 6009,
    kind: ExitKind::Usage,
    title: "the question is empty",
    help: "The last message must come from the user and hold text.",
};
const RECORD: Code = Code {
    number: 6010,
    kind: ExitKind::Integrity,
    title: "an answer record cannot be decoded",
    help: "The record is damaged or was written by a newer version. Run `sextant fsck`.",
};
const NO_GENERATOR: Code = Code {
    number: 6011,
    kind: ExitKind::Unavailable,
    title: "the generator of a release is not available",
    help: "Check base_url and the environment variable that api_key_env names.",
};
const PASSAGE_RANGE: Code = Code {
    number: 6012,
    kind: ExitKind::Integrity,
    title: "a passage does not match its byte range",
    help: "The index and the table of sections disagree. Build the index again.",
};

/// Every code of this crate.
pub const CODES: &[&Code] = &[
    &FRONT_MATTER,
    &TEMPLATE,
    &SETTING,
    &QUESTION,
    &READ,
    &STORED,
    &MISSING_METRIC,
    &QUESTION_TOO_LONG,
    &QUESTION_EMPTY,
    &RECORD,
    &NO_GENERATOR,
    &PASSAGE_RANGE,
];

impl Explain for AgentError {
    fn code(&self) -> &'static Code {
        match self {
            Self::FrontMatter { .. } => &FRONT_MATTER,
            Self::Template { .. } => &TEMPLATE,
            Self::Setting { .. } => &SETTING,
            Self::Question { .. } => &QUESTION,
            Self::Read { .. } => &READ,
            Self::Stored { .. } => &STORED,
            Self::MissingMetric { .. } => &MISSING_METRIC,
            Self::QuestionTooLong { .. } => &QUESTION_TOO_LONG,
            Self::QuestionEmpty => &QUESTION_EMPTY,
            Self::Record(_) => &RECORD,
            Self::NoGenerator(_) => &NO_GENERATOR,
            Self::PassageRange { .. } => &PASSAGE_RANGE,
        }
    }

    fn hint(&self) -> Option<String> {
        None
    }

    fn place(&self) -> Option<Place> {
        match self {
            Self::FrontMatter { place, .. }
            | Self::Template { place, .. }
            | Self::Setting { place, .. }
            | Self::Question { place, .. } => Some(place.clone()),
            _ => None,
        }
    }
}
