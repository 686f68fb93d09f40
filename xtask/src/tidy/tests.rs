#![allow(clippy::unwrap_used, clippy::panic)]

use std::path::PathBuf;

use super::*;
use crate::workspace::{File, Member, Workspace};

const HOUSE: &str = r#"
[tiers]
core = 0
lineage = 1
data = 3
track = 3
[must_not_know]
track = ["candle-core", "data"]
[unnamed_dependencies]
"core/gemm" = "a feature"
[lockfile]
single = ["arrow"]
[files]
lines_warn = 3
lines_max = 5
[files.exempt]
[functions]
lines_max = 4
[functions.ratchet]
"crates/core/src/old.rs::grown" = 6
[unsafe_code]
allowed = []
[print]
allowed = []
[panics.ratchet]
"crates/core/src/old.rs" = 1
[[words]]
pattern = '\bLATE[R]\b'
why = "now"
except = ["notes.md"]
[measure]
"#;

fn house() -> House {
    toml::from_str(HOUSE).unwrap()
}

fn workspace(crates: &[(&str, &str, &str)]) -> Workspace {
    let members = crates.iter().map(|(name, dependencies, text)| {
        let manifest = format!("[package]\nname='sextant-{name}'\n{dependencies}");
        let mut member = Member::from_manifest((*name).to_owned(), &manifest).unwrap();
        member.folder = PathBuf::from(format!("crates/{name}"));
        let path = format!(
            "crates/{name}/src/{}",
            if text.contains("grown") { "old.rs" } else { "lib.rs" }
        );
        member.files.push(File::new(&path, (*text).to_owned()));
        ((*name).to_owned(), member)
    });
    Workspace { root: PathBuf::from("/nowhere"), members: members.collect(), tree: Vec::new() }
}

fn check_rule(rule: Rule, crates: &[(&str, &str, &str)], expected: &[&str]) {
    let findings = rule(&workspace(crates), &house()).unwrap();
    assert_eq!(findings.len(), expected.len(), "{findings:#?}");
    for (finding, words) in findings.iter().zip(expected) {
        assert!(finding.to_string().contains(words), "{finding} should say {words}");
    }
}

#[test]
fn imports_point_down() {
    let good = [("core", "", ""), ("data", "[dependencies]\nsextant-core={path='x'}", "")];
    check_rule(tiers::edges, &good, &[]);
    let sideways =
        [("track", "", ""), ("data", "[dev-dependencies]\nsextant-track={path='x'}", "")];
    check_rule(tiers::edges, &sideways, &["`data` must not import `track`"]);
    check_rule(tiers::edges, &[("novel", "", "")], &["has no tier"]);
}

#[test]
fn cycles_through_tests_are_seen() {
    let crates = [
        ("core", "[dev-dependencies]\nsextant-lineage={path='x'}", ""),
        ("lineage", "[dependencies]\nsextant-core={path='x'}", ""),
    ];
    check_rule(tiers::cycles, &crates, &["`core` imports itself", "`lineage` imports itself"]);
}

#[test]
fn absences_are_followed_through_our_crates() {
    let crates = [
        ("lineage", "[dependencies]\ncandle-core='1'", ""),
        ("track", "[dependencies]\nsextant-lineage={path='x'}", ""),
    ];
    check_rule(tiers::absences, &crates, &["must not know `candle-core`, but `lineage` brings it"]);
}

#[test]
fn unused_dependencies_are_named() {
    let crates =
        [("core", "[dependencies]\nserde='1'\nserde_json='1'\ngemm='1'", "use serde_json::Value;")];
    check_rule(tiers::unused, &crates, &["names `serde`: remove it"]);
}

#[test]
fn lengths_are_counted_without_tests() {
    check_rule(files::length, &[("core", "", "a\nb\nc\n")], &[]);
    check_rule(files::length, &[("core", "", "a\nb\nc\nd\n")], &["warning: 4 production lines"]);
    check_rule(
        files::length,
        &[("core", "", "a\nb\nc\nd\ne\nf\n")],
        &["error: 6 production lines"],
    );
    let tested = "a;\nb;\n#[cfg(test)]\nmod tests {\n\n\n\n\n}\n";
    check_rule(files::length, &[("core", "", tested)], &[]);
}

#[test]
fn files_say_what_they_answer() {
    check_rule(files::headers, &[("core", "", "//! What time is it?\n")], &[]);
    check_rule(files::headers, &[("core", "", "//!\nfn x() {}")], &["open with `//!`"]);
    check_rule(
        files::headers,
        &[("core", "", "use std::fmt;\n//! Too late, this is not on top.\n")],
        &["open with"],
    );
}

#[test]
fn functions_fit_and_the_ratchet_only_shrinks() {
    let long = "fn long() {\n\n\n\n}";
    check_rule(
        lints::functions,
        &[("core", "", long)],
        &["`long` is 5 lines long (at most 4)", "names `crates/core"],
    );
    check_rule(lints::functions, &[("core", "", "fn grown() {\n\n\n\n\n}")], &[]);
    check_rule(
        lints::functions,
        &[("core", "", "fn grown() {\n\n\n\n\n\n}")],
        &["`grown` is 7 lines long (at most 6)"],
    );
}

#[test]
fn panics_are_refused_outside_tests() {
    let text = "fn a() { b.unwrap(); c.expect(\"d\"); unreachable!() }\n#[cfg(test)]\nmod tests { fn t() { x.unwrap(); } }";
    check_rule(lints::panics, &[("core", "", text)], &["lib.rs:1", "lib.rs:1", "lib.rs:1"]);
    check_rule(
        lints::panics,
        &[("core", "", "fn a() { b.unwrap_or(1); expect(); \"panic!\"; assert!(c); }")],
        &[],
    );
    check_rule(lints::panics, &[("core", "", "fn grown() { b.unwrap(); }")], &[]);
}

#[test]
fn only_the_binary_prints() {
    check_rule(lints::prints, &[("core", "", "fn a() { println!(\"x\"); }")], &["prints"]);
    check_rule(
        lints::prints,
        &[("core", "", "fn a() { writeln!(out, \"x\"); pretty_print(); }")],
        &[],
    );
}

#[test]
fn unsafe_is_refused() {
    check_rule(lints::unsafe_code, &[("core", "", "fn a() { unsafe { b() } }")], &["`unsafe`"]);
    check_rule(
        lints::unsafe_code,
        &[("core", "", "// unsafe\nconst A: &str = \"unsafe\"; fn unsafe_code() {}")],
        &[],
    );
}

#[test]
fn the_lock_file_is_grouped_by_name() {
    let text =
        "[[package]]\nname='arrow'\nversion='1.0.0'\n[[package]]\nname='arrow'\nversion='2.0.0'\n";
    assert_eq!(lockfile::versions(text).unwrap()["arrow"], ["1.0.0", "2.0.0"]);
}

#[test]
fn words_are_found_where_they_are_not_excepted() {
    let house = house();
    let patterns = text::Patterns::new(&house).unwrap();
    let later = format!("fine\ndo it {}\n", ["LA", "TER"].concat());
    assert_eq!(patterns.look("a/b.md", &later)[0].line, 2);
    assert_eq!(patterns.look("a/notes.md", &later), []);
    assert_eq!(text::trailing_lines("a\nb \n\tc\t\r\nd").collect::<Vec<_>>(), [2, 3]);
}

/// The rules hold for this very tree.
#[test]
fn the_tree_is_tidy() {
    let root = crate::workspace::root().unwrap();
    let errors: Vec<_> = check(&root)
        .unwrap()
        .into_iter()
        .filter(|finding| finding.severity == Severity::Error)
        .map(|finding| finding.to_string())
        .collect();
    assert!(errors.is_empty(), "{} findings:\n{}", errors.len(), errors.join("\n"));
}
