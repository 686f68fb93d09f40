//! Is the code of the product free of what the house forbids? Long functions, panics, printing and
//! `unsafe`. Clippy sees most of these too; this runs in a second, without a build, over all
//! features and platforms.

use anyhow::Result;

use super::Finding;
use crate::{
    house::House,
    source::{line_of, words},
    workspace::{File, Workspace},
};

/// What stops a thread. `assert!` is not among them: it says what must hold.
const PANICS: &[&str] = &[".unwrap()", ".expect(", ".unwrap_err()", ".expect_err("];
const PANIC_MACROS: &[&str] = &["panic", "todo", "unimplemented", "unreachable"];
const PRINTS: &[&str] = &["println", "eprintln", "print", "eprint", "dbg"];

/// Functions that do not fit a screen.
pub fn functions(workspace: &Workspace, house: &House) -> Result<Vec<Finding>> {
    let limit = house.functions.lines_max;
    let mut findings = Vec::new();
    let mut seen = Vec::new();
    for file in workspace.members.values().flat_map(|member| member.production()) {
        for function in file.source.functions() {
            if function.lines <= limit {
                continue;
            }
            let key = format!("{}::{}", file.path, function.name);
            let allowed = house.functions.ratchet.get(&key).copied().unwrap_or(limit);
            if function.lines > allowed {
                let message = format!(
                    "`{}` is {} lines long (at most {allowed}): decide in the parent, compute in leaves",
                    function.name, function.lines
                );
                findings.push(Finding::error(&file.path, function.line, message));
            }
            seen.push(key);
        }
    }
    for key in house.functions.ratchet.keys().filter(|key| !seen.contains(key)) {
        let message = format!("the ratchet names `{key}`, which is short by now: remove the line");
        findings.push(Finding::error("house.toml", 0, message));
    }
    Ok(findings)
}

/// Where a file of production code can panic on purpose: line numbers.
pub fn panic_lines(file: &File) -> Vec<usize> {
    let text = file.source.production();
    let mut lines: Vec<_> = PANICS
        .iter()
        .flat_map(|call| text.match_indices(call).map(|(at, _)| line_of(&text, at)))
        .chain(macro_lines(&text, PANIC_MACROS))
        .collect();
    lines.sort_unstable();
    lines
}

fn macro_lines(text: &str, names: &[&'static str]) -> Vec<usize> {
    let mut lines = Vec::new();
    for name in names {
        for at in words(text, name) {
            let rest = &text[at + name.len()..];
            if rest.starts_with('!') && !rest.starts_with("!=") {
                lines.push(line_of(text, at));
            }
        }
    }
    lines
}

/// No unwrap, expect or panic outside tests.
pub fn panics(workspace: &Workspace, house: &House) -> Result<Vec<Finding>> {
    let mut findings = Vec::new();
    for file in workspace.members.values().flat_map(|member| member.production()) {
        let lines = panic_lines(file);
        let allowed = house.panics.ratchet.get(&file.path).copied().unwrap_or(0);
        if lines.len() <= allowed {
            continue;
        }
        for line in lines {
            let message = "can panic outside tests: return an error with a name";
            findings.push(Finding::error(&file.path, line, message));
        }
    }
    Ok(findings)
}

/// Only the binary and the chores print.
pub fn prints(workspace: &Workspace, house: &House) -> Result<Vec<Finding>> {
    let quiet = workspace.members.values().filter(|m| !house.print.allowed.contains(&m.name));
    let mut findings = Vec::new();
    for file in quiet.flat_map(|member| member.production()) {
        for line in macro_lines(&file.source.production(), PRINTS) {
            let message = "prints: emit an event or return the text, the binary prints";
            findings.push(Finding::error(&file.path, line, message));
        }
    }
    Ok(findings)
}

/// `unsafe` only in the crates that were allowed it, tests included.
pub fn unsafe_code(workspace: &Workspace, house: &House) -> Result<Vec<Finding>> {
    let safe = workspace.members.values().filter(|m| !house.unsafe_code.allowed.contains(&m.name));
    let mut findings = Vec::new();
    for file in safe.flat_map(|member| &member.files) {
        for at in words(&file.source.masked, "unsafe") {
            let line = line_of(&file.source.masked, at);
            findings.push(Finding::error(
                &file.path,
                line,
                "`unsafe` is not allowed in this crate",
            ));
        }
    }
    Ok(findings)
}
