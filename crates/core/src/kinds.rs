//! Which kinds of node and edge does the chain have? One table each, so that the database, the
//! pages and the documents agree on the words.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

macro_rules! kinds {
    ($(#[$doc:meta])* $type:ident { $($(#[$vdoc:meta])* $variant:ident => $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum $type { $($(#[$vdoc])* $variant,)* }

        impl $type {
            /// Every kind, in the order of the documents.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The word stored and shown.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { f.pad(self.as_str()) }
        }

        impl FromStr for $type {
            type Err = String;
            fn from_str(text: &str) -> Result<Self, String> {
                match text {
                    $($text => Ok(Self::$variant),)*
                    other => Err(format!("no such {}: `{other}`", stringify!($type))),
                }
            }
        }
    };
}

kinds! {
    /// What an immutable, content-addressed node is.
    ArtifactKind {
        /// A batch read from a source: uri and offsets, LSN or etag.
        SourceBatch => "source_batch",
        /// One version of a table.
        TableVersion => "table_version",
        /// One version of one document of a source.
        DocVersion => "doc_version",
        /// A passage of a document version: its byte range.
        Chunk => "chunk",
        /// The outcome of checks on a table version.
        CheckReport => "check_report",
        /// How text becomes vectors: model digest, pooling, dimensions.
        EmbedSpec => "embed_spec",
        /// One committed state of an index.
        IndexSnapshot => "index_snapshot",
        /// A named, split selection of table rows for training.
        DatasetSnapshot => "dataset_snapshot",
        /// The code that ran: commit, dirty diff, lockfile, binary.
        Code => "code",
        /// What somebody's own program did once, as it told a tracking server.
        Run => "run",
        /// Weights written during training.
        Checkpoint => "checkpoint",
        /// Weights, tokenizer and configuration that can be served.
        ModelVersion => "model_version",
        /// One version of a prompt template.
        PromptVersion => "prompt_version",
        /// How a release answers: reader, retrieval mode, limits.
        ServingConfig => "serving_config",
        /// Questions with known answers.
        EvalSet => "eval_set",
        /// The figures of one evaluation, bound to what it judged.
        EvalReport => "eval_report",
        /// One version of a table as it was written into a warehouse.
        Export => "export",
        /// A manifest that pins one version of everything a feature needs.
        Release => "release",
        /// Something whose origin nobody recorded: a hole in the chain.
        Opaque => "opaque",
    }
}

kinds! {
    /// What kind of thing happened.
    ActivityKind {
        /// Reading from a source.
        Ingest => "ingest",
        /// Running SQL.
        Transform => "transform",
        /// Checking rows.
        Check => "check",
        /// Making a dataset snapshot.
        Snapshot => "snapshot",
        /// Making vectors and index segments.
        Embed => "embed",
        /// Training a model.
        Train => "train",
        /// Measuring answers or retrieval.
        Evaluate => "evaluate",
        /// Recording a prompt, a configuration or a set of questions from the project folder.
        Author => "author",
        /// Writing a table into a warehouse.
        Export => "export",
        /// Creating, promoting or rolling back a release.
        Deploy => "deploy",
        /// Answering a question.
        Answer => "answer",
        /// A person's judgement of an answer.
        Feedback => "feedback",
        /// Erasing a subject's data.
        Erase => "erase",
    }
}

kinds! {
    /// How two nodes are related. Read as: subject, word, object.
    EdgeKind {
        /// An activity used an artifact.
        Used => "used",
        /// An activity generated an artifact.
        Generated => "generated",
        /// An artifact came from another.
        DerivedFrom => "derived_from",
        /// An answer retrieved a chunk.
        Retrieved => "retrieved",
        /// An answer was served by a release.
        ServedBy => "served_by",
        /// A report judged an artifact.
        EvaluatedOn => "evaluated_on",
        /// An activity promoted a release.
        PromotedTo => "promoted_to",
        /// A version takes the place of an older one.
        Supersedes => "supersedes",
        /// An artifact is about a person.
        AboutSubject => "about_subject",
        /// An artifact was erased by an activity.
        TombstonedBy => "tombstoned_by",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_round_trip() {
        for kind in ArtifactKind::ALL {
            assert_eq!(kind.as_str().parse(), Ok(*kind));
        }
        for kind in ActivityKind::ALL {
            assert_eq!(kind.as_str().parse(), Ok(*kind));
        }
        for kind in EdgeKind::ALL {
            assert_eq!(kind.as_str().parse(), Ok(*kind));
        }
        assert!("nonsense".parse::<EdgeKind>().is_err());
    }
}
