//! Which names may artifacts have? A path never reaches the file system, so it cannot lead out of
//! anything here. It is a path on the machine that downloads it: what would lead out of a folder there is
//! refused, as MLflow refuses it.

use std::fmt;

use percent_encoding::percent_decode_str;

use crate::refusal::{Refusal, invalid};

/// As file systems have them.
const PATH_BYTES_MAX: usize = 4096;
const NAME_BYTES_MAX: usize = 255;
const DEPTH_MAX: usize = 64;
/// How often a path may have been encoded.
const ENCODED_MAX: usize = 10;

/// Where an artifact is, below the root of all: names with slashes between them. Empty for the root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ArtifactPath(String);

impl ArtifactPath {
    /// What a caller names.
    pub(crate) fn read(text: &str) -> Result<Self, Refusal> {
        let text = escaped(&decoded(text)?);
        let is_drive =
            matches!(text.as_bytes(), [letter, b':', b'/', ..] if letter.is_ascii_alphabetic());
        let is_file = text.get(..5).is_some_and(|scheme| scheme.eq_ignore_ascii_case("file:"));
        let leads_out = text.starts_with('/') || text.split('/').any(|name| name == "..");
        if is_drive || is_file || leads_out || text.contains(['#', '\\']) {
            return Err(invalid("Invalid path"));
        }
        Self::of(&text)
    }

    /// Where the artifacts of an address are that this server keeps itself.
    pub(crate) fn of_address(address: &str) -> Result<Self, Refusal> {
        const SERVED: &str = "/api/2.0/mlflow-artifacts/artifacts/";
        let path = match address.split_once(':') {
            Some(("mlflow-artifacts", rest)) => match rest.strip_prefix("//") {
                Some(with_host) => with_host.split_once('/').map_or("", |(_, path)| path),
                None => rest,
            },
            Some(("http" | "https", rest)) if rest.contains(SERVED) => {
                rest.split_once(SERVED).map_or("", |(_, path)| path)
            }
            _ => {
                return Err(invalid(format!(
                    "The artifacts are at '{address}', which this server does not reach; ask there."
                )));
            }
        };
        let path = path.split('?').next().unwrap_or_default();
        Self::read(path.trim_start_matches('/'))
    }

    /// What is at `inner` within this.
    pub(crate) fn join(&self, inner: &Self) -> Result<Self, Refusal> {
        Self::of(&format!("{}/{}", self.0, inner.0))
    }

    /// The folder, and the name in it; none for the root.
    pub(crate) fn split(&self) -> Option<(&str, &str)> {
        if self.0.is_empty() {
            return None;
        }
        Some(self.0.rsplit_once('/').unwrap_or(("", &self.0)))
    }

    /// The folders that it lies in but for the root, each with the folder of it, outermost first.
    pub(crate) fn folders(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.match_indices('/').map(|(end, _)| {
            let folder = &self.0[..end];
            folder.rsplit_once('/').unwrap_or(("", folder))
        })
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    fn of(text: &str) -> Result<Self, Refusal> {
        let names: Vec<&str> =
            text.split('/').filter(|name| !name.is_empty() && *name != ".").collect();
        let path = names.join("/");
        let too_long = names.iter().any(|name| name.len() > NAME_BYTES_MAX);
        if too_long || path.len() > PATH_BYTES_MAX || names.len() > DEPTH_MAX {
            return Err(invalid(format!(
                "The path of an artifact has at most {PATH_BYTES_MAX} bytes, a name in it \
                 {NAME_BYTES_MAX}, and it is {DEPTH_MAX} deep."
            )));
        }
        Ok(Self(path))
    }
}

impl fmt::Display for ArtifactPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A path that may have been encoded more than once, to hide what it leads to.
fn decoded(text: &str) -> Result<String, Refusal> {
    let mut text = text.to_owned();
    for _ in 0..ENCODED_MAX {
        let next = percent_decode_str(&text).decode_utf8_lossy().into_owned();
        if next == text {
            return Ok(text);
        }
        text = next;
    }
    Err(invalid("Invalid path"))
}

/// Control characters are spelled out.
fn escaped(text: &str) -> String {
    let mut spelled = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\0'..='\x1f' | '\x7f' => spelled.push_str(&format!("%{:02x}", u32::from(character))),
            _ => spelled.push(character),
        }
    }
    spelled
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_paths_are_refused_and_others_made_plain() {
        for (text, found) in [
            ("a/b.txt", Some("a/b.txt")),
            ("a//b/./c/", Some("a/b/c")),
            ("", Some("")),
            ("a..b/...", Some("a..b/...")),
            ("gr%C3%B6%C3%9Fe a", Some("größe a")),
            ("a:b", Some("a:b")),
            ("nul\0", Some("nul%00")),
            ("..", None),
            ("a/../b", None),
            ("%2e%2e/b", None),
            ("%252e%252e%252fb", None),
            ("/etc", None),
            ("%2fetc", None),
            ("..\\b", None),
            ("C:\\b", None),
            ("C:/b", None),
            ("C:%2fb", None),
            ("File:///etc", None),
            ("a#b", None),
            (&"%25".repeat(3000), None),
            (&"n".repeat(255), Some(&"n".repeat(255))),
            (&"n".repeat(256), None),
            (&"n/".repeat(65), None),
        ] {
            let path = ArtifactPath::read(text).ok();
            assert_eq!(path.as_ref().map(ArtifactPath::as_str), found, "{text}");
        }
    }

    #[test]
    fn addresses_are_those_of_this_server() {
        for (address, found) in [
            ("mlflow-artifacts:/3/r/artifacts", Some("3/r/artifacts")),
            ("mlflow-artifacts://host:1/3/r", Some("3/r")),
            ("mlflow-artifacts:/", Some("")),
            ("http://h/api/2.0/mlflow-artifacts/artifacts/3/r", Some("3/r")),
            ("mlflow-artifacts:/../x", None),
            ("s3://bucket/3", None),
            ("/var/tmp", None),
            ("file:///var/tmp", None),
        ] {
            let path = ArtifactPath::of_address(address).ok();
            assert_eq!(path.as_ref().map(ArtifactPath::as_str), found, "{address}");
        }
        let path = ArtifactPath::read("a/b/c.txt").unwrap();
        assert_eq!(path.split(), Some(("a/b", "c.txt")));
        assert_eq!(path.folders().collect::<Vec<_>>(), [("", "a"), ("a", "b")]);
    }
}
