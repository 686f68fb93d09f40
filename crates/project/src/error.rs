//! What can go wrong in a project folder, in the graph, in a build and in a release, each with
//! its code, a hint and the place in the user's files.

use std::path::PathBuf;

use sextant_core::{Code, Digest, Explain, Place};

use crate::{AssetId, codes::*};

/// A fault in a file of the project folder.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read {}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is larger than a project file may be.
    #[error("{} has {bytes} bytes, more than the {max} a project file may have", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Its size.
        bytes: u64,
        /// The limit.
        max: u64,
    },
    /// The file is not UTF-8.
    #[error("not UTF-8 text at byte {offset}")]
    NotText {
        /// Where.
        place: Place,
        /// The first byte that is not text.
        offset: usize,
    },
    /// The file is not TOML.
    #[error("{message}")]
    Syntax {
        /// Where.
        place: Place,
        /// What the parser says.
        message: String,
    },
    /// A key that nobody reads.
    #[error("unknown key `{key}`")]
    UnknownKey {
        /// Where.
        place: Place,
        /// The key.
        key: String,
        /// The keys that are known there.
        known: Vec<String>,
    },
    /// A value of the wrong form, or a missing one.
    #[error("{message}")]
    BadValue {
        /// Where.
        place: Place,
        /// What is wrong.
        message: String,
    },
    /// A variable that is not set or cannot be placed there.
    #[error("{message}")]
    Variable {
        /// Where.
        place: Place,
        /// What is wrong.
        message: String,
        /// What to do.
        hint: String,
    },
    /// A secret written out.
    #[error("a secret is written in the file")]
    LiteralSecret {
        /// Where.
        place: Place,
    },
    /// No such profile.
    #[error("there is no profile `{name}`")]
    UnknownProfile {
        /// The name asked for.
        name: String,
        /// The profiles that exist.
        known: Vec<String>,
    },
    /// The variable or file that a secret refers to is missing.
    #[error("the secret {reference} is not there")]
    SecretMissing {
        /// The reference, never the value.
        reference: String,
    },
    /// The folder has no `sextant.toml`.
    #[error("{} has no sextant.toml", root.display())]
    NoProject {
        /// The folder.
        root: PathBuf,
    },
}

impl Explain for ConfigError {
    fn code(&self) -> &'static Code {
        match self {
            Self::Unreadable { .. } => &UNREADABLE,
            Self::TooLarge { .. } => &TOO_LARGE,
            Self::NotText { .. } => &NOT_TEXT,
            Self::Syntax { .. } => &SYNTAX,
            Self::UnknownKey { .. } => &UNKNOWN_KEY,
            Self::BadValue { .. } => &BAD_VALUE,
            Self::Variable { .. } => &VARIABLE,
            Self::LiteralSecret { .. } => &LITERAL_SECRET,
            Self::UnknownProfile { .. } => &UNKNOWN_PROFILE,
            Self::SecretMissing { .. } => &SECRET_MISSING,
            Self::NoProject { .. } => &NO_PROJECT,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::UnknownKey { key, known, .. } => Some(unknown_hint(key, known, "key")),
            Self::UnknownProfile { name, known } => Some(unknown_hint(name, known, "profile")),
            Self::Variable { hint, .. } => Some(hint.clone()),
            Self::LiteralSecret { .. } => {
                Some("write { env = \"NAME\" } or { file = \"path\" } instead".to_owned())
            }
            _ => None,
        }
    }

    fn place(&self) -> Option<Place> {
        match self {
            Self::NotText { place, .. }
            | Self::Syntax { place, .. }
            | Self::UnknownKey { place, .. }
            | Self::BadValue { place, .. }
            | Self::Variable { place, .. }
            | Self::LiteralSecret { place } => Some(place.clone()),
            Self::Unreadable { path, .. } | Self::TooLarge { path, .. } => {
                Some(Place { file: path.clone(), line: None, column: None })
            }
            Self::UnknownProfile { .. } | Self::SecretMissing { .. } | Self::NoProject { .. } => {
                None
            }
        }
    }
}

fn unknown_hint(word: &str, known: &[String], noun: &str) -> String {
    match crate::nearest(word, known.iter().map(String::as_str)) {
        Some(near) => format!("did you mean `{near}`?"),
        None if known.is_empty() => format!("no {noun} is known here: remove it"),
        None => format!("known here: {}", known.join(", ")),
    }
}

/// A fault in how the assets of a project fit together.
#[derive(Debug, thiserror::Error)]
pub enum GraphError {
    /// Two files describe one asset.
    #[error("asset {id} is described twice: by {} and by {}", first.display(), second.file.display())]
    Duplicate {
        /// The asset.
        id: AssetId,
        /// The first file.
        first: PathBuf,
        /// The second.
        second: Place,
    },
    /// An input that is not in the project.
    #[error("{asset} reads {input}, which does not exist")]
    UnknownInput {
        /// The asset that names it.
        asset: AssetId,
        /// The input.
        input: AssetId,
        /// Where it is named.
        place: Place,
        /// The nearest asset.
        near: Option<String>,
    },
    /// A circle.
    #[error("assets depend on each other in a circle: {}", path.join(" -> "))]
    Cycle {
        /// The circle; the first asset again at the end.
        path: Vec<String>,
        /// The file of the first.
        place: Place,
    },
    /// A selector without a match.
    #[error("no asset matches `{selector}`")]
    UnknownSelector {
        /// The selector.
        selector: String,
        /// The nearest word that would match.
        near: Option<String>,
    },
    /// A selector that cannot be read.
    #[error("cannot read the selector `{selector}`: {message}")]
    BadSelector {
        /// The selector.
        selector: String,
        /// Why.
        message: String,
    },
    /// More assets, or deeper folders, than a project may have.
    #[error("{what}")]
    TooMany {
        /// What there is too much of.
        what: String,
    },
    /// A file name that cannot be an asset's name.
    #[error("{message}")]
    BadName {
        /// The file.
        place: Place,
        /// Why.
        message: String,
    },
    /// A path out of the project folder.
    #[error("{} leads out of the project folder", path.display())]
    OutsideRoot {
        /// The path.
        path: PathBuf,
    },
}

impl Explain for GraphError {
    fn code(&self) -> &'static Code {
        match self {
            Self::Duplicate { .. } => &DUPLICATE,
            Self::UnknownInput { .. } => &UNKNOWN_INPUT,
            Self::Cycle { .. } => &CYCLE,
            Self::UnknownSelector { .. } => &UNKNOWN_SELECTOR,
            Self::BadSelector { .. } => &BAD_SELECTOR,
            Self::TooMany { .. } => &TOO_MANY_ASSETS,
            Self::BadName { .. } => &BAD_NAME,
            Self::OutsideRoot { .. } => &OUTSIDE_ROOT,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::UnknownInput { near, .. } | Self::UnknownSelector { near, .. } => {
                near.as_ref().map(|near| format!("did you mean `{near}`?"))
            }
            _ => None,
        }
    }

    fn place(&self) -> Option<Place> {
        match self {
            Self::Duplicate { second: place, .. }
            | Self::UnknownInput { place, .. }
            | Self::Cycle { place, .. }
            | Self::BadName { place, .. } => Some(place.clone()),
            Self::OutsideRoot { path } => {
                Some(Place { file: path.clone(), line: None, column: None })
            }
            _ => None,
        }
    }
}

/// A fault while assets are built.
#[derive(Debug, thiserror::Error)]
pub enum ProjectError {
    /// A layer read an input that it did not declare.
    #[error("{asset} read {input} without declaring it as an input")]
    UndeclaredInput {
        /// The asset.
        asset: AssetId,
        /// What it read.
        input: AssetId,
    },
    /// A build is running already.
    #[error("another build or `data gc` is running: {holder}")]
    Busy {
        /// Who runs it.
        holder: String,
    },
    /// The build took too long.
    #[error("{asset} did not finish within {seconds} s")]
    TimedOut {
        /// The asset.
        asset: AssetId,
        /// The limit.
        seconds: u64,
    },
    /// A layer panicked.
    #[error("{asset} crashed: {message}")]
    Panicked {
        /// The asset.
        asset: AssetId,
        /// What the panic said.
        message: String,
    },
    /// Somebody cancelled the build.
    #[error("cancelled")]
    Cancelled,
    /// The log file cannot be written.
    #[error("cannot write {}", path.display())]
    LogFile {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// An input has no version yet.
    #[error("{asset} cannot be built: its input {input} was never built")]
    InputMissing {
        /// The asset.
        asset: AssetId,
        /// The input.
        input: AssetId,
    },
    /// A row of this crate's tables cannot be read back.
    #[error("the stored {what} of {key} cannot be read: {message}")]
    BrokenRow {
        /// What kind of record.
        what: &'static str,
        /// Which one.
        key: String,
        /// Why.
        message: String,
    },
}

impl Explain for ProjectError {
    fn code(&self) -> &'static Code {
        match self {
            Self::UndeclaredInput { .. } => &UNDECLARED_INPUT,
            Self::Busy { .. } => &BUSY,
            Self::TimedOut { .. } => &TIMED_OUT,
            Self::Panicked { .. } => &PANICKED,
            Self::Cancelled => &CANCELLED,
            Self::LogFile { .. } => &LOG_FILE,
            Self::InputMissing { .. } => &INPUT_MISSING,
            Self::BrokenRow { .. } => &BROKEN_ROW,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::InputMissing { asset, .. } => {
                Some(format!("build it with all that it needs: sextant build +{asset}"))
            }
            Self::TimedOut { .. } => Some("raise timeout_s under [build] in sextant.toml".into()),
            _ => None,
        }
    }

    fn place(&self) -> Option<Place> {
        None
    }
}

/// A fault while a release is created, judged or switched.
#[derive(Debug, thiserror::Error)]
pub enum ReleaseError {
    /// A part is missing.
    #[error("release {release} has no {role}: {message}")]
    PartMissing {
        /// The release's name.
        release: String,
        /// The part.
        role: String,
        /// Why.
        message: String,
    },
    /// Parts are stale.
    #[error("release {release} is refused, its parts are not up to date: {}", stale.join("; "))]
    Dirty {
        /// The release's name.
        release: String,
        /// Each stale asset with its reason.
        stale: Vec<String>,
    },
    /// Checks fail.
    #[error("release {release} is refused, checks fail: {}", checks.join("; "))]
    ChecksFailed {
        /// The release's name.
        release: String,
        /// The failing checks.
        checks: Vec<String>,
    },
    /// A hole in the chain.
    #[error("release {release} is refused, {} thing(s) behind it have an unknown origin: {}", holes.len(), holes.join("; "))]
    Opaque {
        /// The release's name.
        release: String,
        /// The holes.
        holes: Vec<String>,
    },
    /// A rule did not hold.
    #[error("the gate refused release {release} {}:\n{table}", digest.short())]
    GateRefused {
        /// The release's name.
        release: String,
        /// The release.
        digest: Digest,
        /// Rule, value, limit and verdict, one line each.
        table: String,
    },
    /// The report judged something else.
    #[error("the evaluation report judged index {judged}, but release {release} pins {pinned}")]
    GateVoid {
        /// The release's name.
        release: String,
        /// What the report judged.
        judged: String,
        /// What the release pins.
        pinned: Digest,
    },
    /// No such release.
    #[error("there is no release `{name}`")]
    Unknown {
        /// What was asked for.
        name: String,
        /// The nearest.
        near: Option<String>,
    },
    /// Nothing to go back to.
    #[error("release {release} has no earlier version to go back to")]
    NoEarlier {
        /// The release's name.
        release: String,
    },
    /// The gate has not been passed.
    #[error("release {release} {} has not passed its gate ({gate})", digest.short())]
    NotGated {
        /// The release's name.
        release: String,
        /// The release.
        digest: Digest,
        /// `none` or `refused`.
        gate: String,
    },
    /// A forced promotion without a reason.
    #[error("a forced promotion needs a reason of at least three characters")]
    BadReason,
}

impl Explain for ReleaseError {
    fn code(&self) -> &'static Code {
        match self {
            Self::PartMissing { .. } => &RELEASE_PART,
            Self::Dirty { .. } => &RELEASE_DIRTY,
            Self::ChecksFailed { .. } => &RELEASE_CHECKS,
            Self::Opaque { .. } => &RELEASE_OPAQUE,
            Self::GateRefused { .. } => &GATE_REFUSED,
            Self::GateVoid { .. } => &GATE_VOID,
            Self::Unknown { .. } => &UNKNOWN_RELEASE,
            Self::NoEarlier { .. } => &NO_EARLIER,
            Self::NotGated { .. } => &NOT_GATED,
            Self::BadReason => &BAD_REASON,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Unknown { near: Some(near), .. } => Some(format!("did you mean `{near}`?")),
            _ => None,
        }
    }

    fn place(&self) -> Option<Place> {
        None
    }
}
