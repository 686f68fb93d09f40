//! Does any text of the tree say what it should not? Words, machine paths, registry hosts, and space
//! at the ends of lines.

use anyhow::{Context, Result};
use regex::{Regex, RegexSet};

use super::Finding;
use crate::{house::House, workspace::Workspace};

/// Larger files are data, not text that somebody wrote.
const TEXT_BYTES_MAX: u64 = 2 << 20;

fn each_text(workspace: &Workspace, mut look: impl FnMut(&str, &str)) {
    for path in &workspace.tree {
        let whole = workspace.root.join(path);
        let small = whole.metadata().is_ok_and(|meta| meta.len() <= TEXT_BYTES_MAX);
        if !small {
            continue;
        }
        // A file that is not UTF-8 is a picture or an archive.
        if let Ok(text) = std::fs::read_to_string(&whole) {
            look(path, &text);
        }
    }
}

/// Forbidden patterns, line by line.
pub fn words(workspace: &Workspace, house: &House) -> Result<Vec<Finding>> {
    let patterns = Patterns::new(house)?;
    let mut findings = Vec::new();
    each_text(workspace, |path, text| findings.extend(patterns.look(path, text)));
    Ok(findings)
}

/// The compiled patterns of `house.toml`.
pub struct Patterns<'a> {
    set: RegexSet,
    each: Vec<Regex>,
    house: &'a House,
}

impl<'a> Patterns<'a> {
    /// Compiles them.
    pub fn new(house: &'a House) -> Result<Self> {
        let patterns = || house.words.iter().map(|word| word.pattern.as_str());
        let set = RegexSet::new(patterns()).context("a pattern in house.toml")?;
        let each = patterns().map(Regex::new).collect::<Result<_, _>>()?;
        Ok(Self { set, each, house })
    }

    /// What a text says that it should not.
    pub fn look(&self, path: &str, text: &str) -> Vec<Finding> {
        let name = path.rsplit('/').next().unwrap_or(path);
        let mut findings = Vec::new();
        for (index, line) in text.lines().enumerate() {
            for hit in &self.set.matches(line) {
                let word = &self.house.words[hit];
                if word.except.iter().any(|except| except == name || except == path) {
                    continue;
                }
                let said = self.each[hit].find(line).map_or("", |found| found.as_str().trim());
                let message = format!("says `{said}`: {}", word.why);
                findings.push(Finding::error(path, index + 1, message));
            }
        }
        findings
    }
}

/// No space or tab before a line's end. Markdown's two spaces are a line break nobody sees, so they
/// are refused too.
pub fn trailing_space(workspace: &Workspace, _house: &House) -> Result<Vec<Finding>> {
    let mut findings = Vec::new();
    each_text(workspace, |path, text| {
        findings.extend(
            trailing_lines(text)
                .map(|line| Finding::error(path, line, "space at the end of the line")),
        );
    });
    Ok(findings)
}

/// The lines that end in a space or a tab.
pub fn trailing_lines(text: &str) -> impl Iterator<Item = usize> + '_ {
    text.split('\n')
        .enumerate()
        .filter(|(_, line)| line.trim_end_matches('\r').ends_with([' ', '\t']))
        .map(|(index, _)| index + 1)
}
