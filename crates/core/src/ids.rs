//! What are events and pointers called? [`ActivityId`] for what happened, [`Name`] for what a team
//! points at.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::limits;

/// The text is not an id or a name of the expected form.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not {expected}: `{text}`")]
pub struct ParseIdError {
    expected: &'static str,
    text: String,
}

impl ParseIdError {
    fn new(expected: &'static str, text: &str) -> Self {
        Self { expected, text: text.chars().take(80).collect() }
    }
}

/// Something that happened (a build, a training run, an answer): a UUID version 7, so that ids sort
/// by time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ActivityId(Uuid);

impl ActivityId {
    /// A new id, later than every id this process made before.
    pub fn new() -> Self {
        Self(Uuid::now_v7())
    }

    /// From its 16 raw bytes.
    pub const fn from_raw(raw: [u8; 16]) -> Self {
        Self(Uuid::from_bytes(raw))
    }

    /// Its 16 raw bytes, which sort by time.
    pub const fn as_raw(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }

    /// The last twelve hexadecimal digits: the random part, for short labels.
    pub fn short(&self) -> String {
        let text = self.0.simple().to_string();
        text[20..].to_owned()
    }
}

impl Default for ActivityId {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Display for ActivityId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for ActivityId {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Uuid::parse_str(text)
            .map(Self)
            .map_err(|_| ParseIdError::new("an activity id (UUID)", text))
    }
}

/// A pointer with a history, such as `release/assistant@live` or `asset/models/sections@latest`.
///
/// Lower-case letters, digits and `._-/`, one `@`, then the label: the same form for all layers.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Name(String);

impl Name {
    /// Joins a thing's path and a label: `Name::of("release/assistant", "live")`.
    ///
    /// # Errors
    /// When either part has a character that a name cannot have.
    pub fn of(path: &str, label: &str) -> Result<Self, ParseIdError> {
        format!("{path}@{label}").parse()
    }

    /// The whole name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<Name> for String {
    fn from(name: Name) -> Self {
        name.0
    }
}

impl TryFrom<String> for Name {
    type Error = ParseIdError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl FromStr for Name {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refuse = || ParseIdError::new("a name (path@label)", text);
        let (path, label) = text.split_once('@').ok_or_else(refuse)?;
        let allowed = |c: char| c.is_ascii_alphanumeric() || "._-/".contains(c);
        let fits = !path.is_empty()
            && !label.is_empty()
            && text.len() <= limits::NAME_BYTES_MAX
            && path.chars().all(allowed)
            && label.chars().all(allowed);
        if fits { Ok(Self(text.to_owned())) } else { Err(refuse()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_a_path_and_a_label() {
        for good in ["release/assistant@live", "asset/models/a_b-c.d@latest"] {
            assert_eq!(good.parse::<Name>().map(|name| name.to_string()), Ok(good.to_owned()));
        }
        for bad in ["", "x", "@live", "a@", "a b@live", "a@b@c", "a@\n"] {
            assert!(bad.parse::<Name>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn activity_ids_sort_by_time() {
        let ids: Vec<_> = (0..1000).map(|_| ActivityId::new()).collect();
        assert!(ids.is_sorted());
    }
}
