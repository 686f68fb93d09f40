//! What are the limits? `house.toml` at the root of the workspace, read into types.

use std::{collections::BTreeMap, fs, path::Path};

use anyhow::{Context, Result};
use serde::Deserialize;

/// The whole of `house.toml`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct House {
    /// Crate folder to tier; an import must point to a smaller one.
    pub tiers: BTreeMap<String, u32>,
    /// Crate folder to what it must never depend on, directly or through another of our crates.
    pub must_not_know: BTreeMap<String, Vec<String>>,
    /// `crate/package` to the reason why it is declared though no file names it.
    pub unnamed_dependencies: BTreeMap<String, String>,
    /// What Cargo.lock must hold once.
    pub lockfile: Lockfile,
    /// File lengths.
    pub files: Files,
    /// Function lengths.
    pub functions: Functions,
    /// Who may write `unsafe`.
    pub unsafe_code: Allowed,
    /// Who may print.
    pub print: Allowed,
    /// Where a panic is still tolerated.
    pub panics: Panics,
    /// What no text of the tree may say.
    pub words: Vec<Words>,
    /// Green and red for each figure of `measure`.
    pub measure: BTreeMap<String, Limit>,
}

/// Rules on Cargo.lock.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lockfile {
    /// Packages that may appear in one version only.
    pub single: Vec<String>,
}

/// Rules on file length, in production lines.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Files {
    /// Longer is a warning.
    pub lines_warn: usize,
    /// Longer is an error.
    pub lines_max: usize,
    /// Path to the reason why it may be longer.
    pub exempt: BTreeMap<String, String>,
}

/// Rules on function length.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Functions {
    /// Longer is an error unless the ratchet names it.
    pub lines_max: usize,
    /// `file::function` to its present length.
    pub ratchet: BTreeMap<String, usize>,
}

/// A list of crate folders that may do what the others may not.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Allowed {
    /// The crate folders.
    pub allowed: Vec<String>,
}

/// Rules on panics.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Panics {
    /// File to the number it may hold.
    pub ratchet: BTreeMap<String, usize>,
}

/// One pattern that must not be matched.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Words {
    /// A regular expression, matched line by line.
    pub pattern: String,
    /// What to do instead.
    pub why: String,
    /// File names it does not apply to.
    #[serde(default)]
    pub except: Vec<String>,
}

/// The two marks of a figure. When `green` is the larger one, more is better.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limit {
    /// The target.
    pub green: f64,
    /// Refuse beyond this.
    pub red: f64,
}

impl House {
    /// Reads `house.toml` below the root.
    pub fn read(root: &Path) -> Result<Self> {
        let path = root.join("house.toml");
        let text = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
        toml::from_str(&text).with_context(|| format!("parse {}", path.display()))
    }
}
