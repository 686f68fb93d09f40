//! Is the tree as the house wants it? Every rule is a pure function from what was read to findings;
//! this file lists the rules, one line each.

use std::{fmt, path::Path};

use anyhow::Result;

use crate::{house::House, workspace::Workspace};

mod files;
mod lints;
mod lockfile;
mod text;
mod tiers;

#[cfg(test)]
mod tests;

pub use files::header;
pub use lints::panic_lines;
pub use tiers::reach;

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Shown, and the run goes on.
    Warning,
    /// The run fails.
    Error,
}

/// One thing to put right.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// The file, relative to the root.
    pub path: String,
    /// The line, from 1; 0 when it is about the whole file.
    pub line: usize,
    /// How bad it is.
    pub severity: Severity,
    /// What is wrong and what to do.
    pub message: String,
}

impl Finding {
    /// An error on a line.
    pub fn error(path: &str, line: usize, message: impl Into<String>) -> Self {
        let message = message.into();
        Self { path: path.to_owned(), line, severity: Severity::Error, message }
    }

    /// A warning on a line.
    pub fn warning(path: &str, line: usize, message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(path, line, message) }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = match self.severity {
            Severity::Warning => "warning",
            Severity::Error => "error",
        };
        match self.line {
            0 => write!(f, "{}: {severity}: {}", self.path, self.message),
            line => write!(f, "{}:{line}: {severity}: {}", self.path, self.message),
        }
    }
}

type Rule = fn(&Workspace, &House) -> Result<Vec<Finding>>;

const RULES: &[(&str, Rule)] = &[
    ("tiers", tiers::edges),
    ("cycles", tiers::cycles),
    ("absences", tiers::absences),
    ("unused dependencies", tiers::unused),
    ("lockfile", lockfile::duplicates),
    ("file length", files::length),
    ("file headers", files::headers),
    ("function length", lints::functions),
    ("panics", lints::panics),
    ("printing", lints::prints),
    ("unsafe", lints::unsafe_code),
    ("text", text::words),
    ("trailing space", text::trailing_space),
];

/// Every finding of every rule, worst first.
pub fn check(root: &Path) -> Result<Vec<Finding>> {
    let house = House::read(root)?;
    let workspace = Workspace::read(root)?;
    let mut findings = Vec::new();
    for (_, rule) in RULES {
        findings.extend(rule(&workspace, &house)?);
    }
    findings.sort_by(|a, b| b.severity.cmp(&a.severity).then_with(|| a.cmp(b)));
    Ok(findings)
}

/// The names of the rules, for the closing line.
pub fn rule_count() -> usize {
    RULES.len()
}
