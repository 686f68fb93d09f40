//! How does our code look in numbers? The row of the table that other codebases were measured by, the
//! same method for all: production code only, tests and generated files cut out, a function counted
//! from `fn` to its closing brace with nested ones counted again.

use std::{collections::BTreeMap, fmt::Write as _, path::Path};

use anyhow::Result;

use crate::{
    house::{House, Limit},
    source::words,
    tidy,
    workspace::{File, Member, Section, Workspace},
};

/// Lines in a window when looking for text that is there twice.
const WINDOW_LINES: usize = 8;

/// One figure, with its key in `house.toml`.
#[derive(Debug)]
pub struct Figure {
    /// The key.
    pub key: &'static str,
    /// The figure.
    pub value: f64,
}

/// Prints the figures with their marks; false when one is red.
pub fn report(root: &Path) -> Result<(String, bool)> {
    let house = House::read(root)?;
    let workspace = Workspace::read(root)?;
    let product: Vec<&Member> = workspace.members.values().filter(|m| m.name != "xtask").collect();
    let figures = figures(&workspace, &product);
    let mut out = summary(&workspace, &product, &figures);
    let mut fine = true;
    for figure in &figures {
        let Some(limit) = house.measure.get(figure.key) else {
            writeln!(out, "  {:<28} {:>9.1}", figure.key, figure.value)?;
            continue;
        };
        let mark = mark(figure.value, *limit);
        fine &= mark != "RED";
        writeln!(
            out,
            "  {:<28} {:>9.1}  {mark:<6} green {} red {}",
            figure.key, figure.value, limit.green, limit.red
        )?;
    }
    Ok((out, fine))
}

fn mark(value: f64, limit: Limit) -> &'static str {
    let more_is_better = limit.green > limit.red;
    let within = |mark: f64| if more_is_better { value >= mark } else { value <= mark };
    match (within(limit.green), within(limit.red)) {
        (true, _) => "green",
        (false, true) => "amber",
        (false, false) => "RED",
    }
}

/// One row in the form of the table in the house's own documents.
fn summary(workspace: &Workspace, product: &[&Member], figures: &[Figure]) -> String {
    let of = |key: &str| figures.iter().find(|f| f.key == key).map_or(0.0, |f| f.value);
    let lines: usize = product.iter().map(|member| lines(member)).sum();
    format!(
        "kLOC/crates/depth | biggest | rebuild | file p50/p90, >1000 | fn p50/p90/p99, >70 | longest | panics/1000 | pub doc | //! | tests/k | dup\n\
         {:.1}/{}/{} | {:.0}% | {:.0}% | {:.0}/{:.0}, {:.1}% | {:.0}/{:.0}/{:.0}, {:.1}% | {:.0} | {:.2} | {:.0}% | {:.0}% | {:.1} | {:.1}%\n\n",
        lines as f64 / 1000.0,
        product.len(),
        depth(workspace),
        of("biggest_crate_percent"),
        of("rebuild_percent"),
        of("file_p50"),
        of("file_p90"),
        of("files_over_1000_percent"),
        of("function_p50"),
        of("function_p90"),
        of("function_p99"),
        of("functions_over_70_percent"),
        of("longest_function"),
        of("panics_per_1000"),
        of("documented_percent"),
        of("header_percent"),
        of("tests_per_1000"),
        of("repeated_percent"),
    )
}

fn figures(workspace: &Workspace, product: &[&Member]) -> Vec<Figure> {
    let files: Vec<&File> = product.iter().flat_map(|member| member.production()).collect();
    let file_lines = sorted(files.iter().map(|file| file.source.production_lines().count()));
    let function_lines = sorted(
        files.iter().flat_map(|file| file.source.functions()).map(|function| function.lines),
    );
    let total: usize = file_lines.iter().sum();
    let per_1000 = |count: usize| 1000.0 * count as f64 / total.max(1) as f64;
    let (public, documented) = files
        .iter()
        .map(|file| documentation(file))
        .fold((0, 0), |(public, documented), (p, d)| (public + p, documented + d));
    let with_header = files.iter().filter(|file| tidy_header(file)).count();
    let tests = product.iter().flat_map(|m| &m.files).map(|file| file.source.test_count()).sum();
    let panics = files.iter().map(|file| tidy::panic_lines(file).len()).sum();
    let allows = files.iter().map(|file| exceptions(file)).sum();
    let long_files = file_lines.iter().filter(|lines| **lines > 1000).count();
    let long_functions = function_lines.iter().filter(|lines| **lines > 70).count();
    let figure = |key, value| Figure { key, value };
    vec![
        figure("file_p50", percentile(&file_lines, 50)),
        figure("file_p90", percentile(&file_lines, 90)),
        figure("files_over_1000_percent", percent(long_files, file_lines.len())),
        figure("function_p50", percentile(&function_lines, 50)),
        figure("function_p90", percentile(&function_lines, 90)),
        figure("function_p99", percentile(&function_lines, 99)),
        figure("functions_over_70_percent", percent(long_functions, function_lines.len())),
        figure("longest_function", percentile(&function_lines, 100)),
        figure("panics_per_1000", per_1000(panics)),
        figure("allows_per_1000", per_1000(allows)),
        figure("documented_percent", percent(documented, public)),
        figure("header_percent", percent(with_header, files.len())),
        figure("tests_per_1000", per_1000(tests)),
        figure("repeated_percent", repeated(&files)),
        figure("biggest_crate_percent", biggest(product)),
        figure("rebuild_percent", rebuild(workspace, product)),
        figure("depth", depth(workspace) as f64),
    ]
}

fn tidy_header(file: &File) -> bool {
    tidy::header(file).is_none()
}

fn lines(member: &Member) -> usize {
    member.production().map(|file| file.source.production_lines().count()).sum()
}

fn sorted(values: impl Iterator<Item = usize>) -> Vec<usize> {
    let mut values: Vec<_> = values.collect();
    values.sort_unstable();
    values
}

fn percentile(sorted: &[usize], percent: usize) -> f64 {
    let last = sorted.len().saturating_sub(1);
    sorted.get(last * percent / 100).map_or(0.0, |value| *value as f64)
}

fn percent(part: usize, whole: usize) -> f64 {
    100.0 * part as f64 / whole.max(1) as f64
}

fn biggest(product: &[&Member]) -> f64 {
    let each = product.iter().map(|member| lines(member));
    percent(each.clone().max().unwrap_or(0), each.sum())
}

/// The share of lines rebuilt by an edit, weighted by where lines live: the edited crate and all that
/// depend on it.
fn rebuild(workspace: &Workspace, product: &[&Member]) -> f64 {
    let sizes: BTreeMap<&str, f64> =
        product.iter().map(|member| (member.name.as_str(), lines(member) as f64)).collect();
    let total: f64 = sizes.values().sum::<f64>().max(1.0);
    let mut weighted = 0.0;
    for (edited, size) in &sizes {
        let rebuilt: f64 = sizes
            .iter()
            .filter(|(name, _)| {
                tidy::reach(workspace, name, &[Section::Normal]).contains_key(edited)
            })
            .map(|(_, size)| size)
            .sum();
        weighted += size / total * rebuilt / total;
    }
    100.0 * weighted
}

/// Crates on the longest path of imports.
fn depth(workspace: &Workspace) -> usize {
    fn below(workspace: &Workspace, name: &str, fuel: usize) -> usize {
        let Some(member) = workspace.members.get(name).filter(|_| fuel > 0) else { return 0 };
        let imports = workspace.imports(member, &[Section::Normal]);
        1 + imports.map(|import| below(workspace, &import.name, fuel - 1)).max().unwrap_or(0)
    }
    let names = workspace.members.keys();
    names.map(|name| below(workspace, name, workspace.members.len())).max().unwrap_or(0)
}

/// Public items of a file, and those with a doc comment.
fn documentation(file: &File) -> (usize, usize) {
    const ITEMS: &[&str] =
        &["fn", "async", "const", "struct", "enum", "trait", "type", "static", "mod", "union"];
    let mut public = 0;
    let mut documented = 0;
    let mut has_doc = false;
    for (_, line) in file.source.production_lines() {
        let line = line.trim_start();
        if line.starts_with("///") || line.starts_with("#[doc") {
            has_doc = true;
        } else if let Some(item) = line.strip_prefix("pub ") {
            let word = item.split([' ', '<', '(']).next().unwrap_or_default();
            // A module that lives in its own file carries its words there, as `//!`.
            if ITEMS.contains(&word) && !(word == "mod" && line.ends_with(';')) {
                public += 1;
                documented += usize::from(has_doc);
            }
            has_doc = false;
        } else if !line.starts_with("#[") && !line.starts_with(')') && !line.starts_with("//") {
            has_doc = false;
        }
    }
    (public, documented)
}

/// `allow` and `expect` attributes outside tests.
fn exceptions(file: &File) -> usize {
    let text = file.source.production();
    ["allow", "expect"]
        .iter()
        .flat_map(|word| words(&text, word))
        .filter(|at| text[..*at].ends_with("#[") || text[..*at].ends_with("#!["))
        .count()
}

/// The share of eight-line windows that are there more than once. Lines are trimmed; blank lines and
/// lone brackets are left out, so that formatting does not count.
fn repeated(files: &[&File]) -> f64 {
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    for file in files {
        let lines: Vec<&str> = file
            .source
            .production_lines()
            .map(|(_, line)| line.trim())
            .filter(|line| line.chars().any(char::is_alphanumeric))
            .collect();
        for window in lines.windows(WINDOW_LINES) {
            *seen.entry(window.join("\n")).or_default() += 1;
        }
    }
    let again = seen.values().filter(|count| **count > 1).sum();
    percent(again, seen.values().sum())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_know_which_way_is_better() {
        let less = Limit { green: 3.0, red: 6.0 };
        assert_eq!([1.0, 4.0, 7.0].map(|value| mark(value, less)), ["green", "amber", "RED"]);
        let more = Limit { green: 14.0, red: 8.0 };
        assert_eq!([20.0, 10.0, 7.0].map(|value| mark(value, more)), ["green", "amber", "RED"]);
    }

    #[test]
    fn public_items_are_counted_with_their_words() {
        let text = "/// Said.\n#[derive(Debug)]\npub struct A;\n\npub fn silent() {}\npub(crate) fn inner() {}\npub mod elsewhere;\n";
        assert_eq!(documentation(&File::new("crates/x/src/lib.rs", text.to_owned())), (2, 1));
    }

    #[test]
    fn repeated_windows_are_a_share() {
        let text: String = (0..9).map(|n| format!("let a{n} = {n};\n")).collect();
        let one = File::new("crates/x/src/a.rs", text.clone());
        let two = File::new("crates/x/src/b.rs", text);
        assert!((repeated(&[&one]) - 0.0).abs() < 1e-9);
        assert!((repeated(&[&one, &two]) - 100.0).abs() < 1e-9);
    }
}
