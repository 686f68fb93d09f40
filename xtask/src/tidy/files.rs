//! Is each file short enough to hold in mind, and does it say what it is for?

use anyhow::Result;

use super::Finding;
use crate::{
    house::House,
    workspace::{File, Workspace},
};

fn production_files(workspace: &Workspace) -> impl Iterator<Item = &File> {
    workspace.members.values().flat_map(|member| member.production())
}

/// Production lines of a file.
pub fn length(workspace: &Workspace, house: &House) -> Result<Vec<Finding>> {
    let mut findings = Vec::new();
    for file in production_files(workspace) {
        if house.files.exempt.contains_key(&file.path) {
            continue;
        }
        let lines = file.source.production_lines().count();
        let message = format!("{lines} production lines: split it by responsibility");
        if lines > house.files.lines_max {
            findings.push(Finding::error(&file.path, 0, message));
        } else if lines > house.files.lines_warn {
            findings.push(Finding::warning(&file.path, 0, message));
        }
    }
    for path in house.files.exempt.keys() {
        if !workspace.root.join(path).is_file() {
            let message = format!("exempts `{path}`, which is not there");
            findings.push(Finding::error("house.toml", 0, message));
        }
    }
    Ok(findings)
}

/// Each file opens with `//!`: what question it answers.
pub fn headers(workspace: &Workspace, _house: &House) -> Result<Vec<Finding>> {
    let all = workspace.members.values().flat_map(|member| &member.files);
    Ok(all.filter_map(header).collect())
}

/// Test files need no header; every other file does, and a crate root needs a sentence in it.
pub fn header(file: &File) -> Option<Finding> {
    if file.is_test && !file.path.contains("/examples/") {
        return None;
    }
    let first = file.source.text.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
    let says = first.strip_prefix("//!").is_some_and(|rest| rest.trim().len() > 10);
    (!says).then(|| {
        Finding::error(&file.path, 1, "open with `//!`: what question does this file answer?")
    })
}
