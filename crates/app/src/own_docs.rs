//! How does a project about one's own documents differ from the template? Its questions are drafted
//! from its headings, and what its documents cannot feed is left out.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use serde_json::{Value, json};
use sextant_core::Failure;
use sextant_retrieve::markdown;

use crate::AppError;

/// The release file: without a minimum for figures of drafted questions.
static RELEASE: &str = include_str!("../../../template/own-docs/release.toml");
/// The questions of the template, which are about the manual.
const QUESTIONS: &str = "evals/retrieval.jsonl";
/// Most questions that are drafted.
const DRAFTS_MAX: usize = 60;
/// Sections shorter than this are not worth a question.
const SECTION_BYTES_MIN: usize = 120;
const TEXT_FILES: [&str; 3] = ["md", "markdown", "txt"];
/// Fewer files or passages than these cannot train an embedder and hold some back to judge it.
const TRAINING_FILES_MIN: usize = 4;
const TRAINING_PASSAGES_MIN: usize = 50;
/// A passage shorter than this makes no training pair; the same as in `models/training_pairs.sql`.
const PASSAGE_CHARS_MIN: usize = 80;
/// What only an embedder needs.
const TRAINING_FILES: [&str; 3] =
    ["models/training_pairs.sql", "datasets/pairs.toml", "train/embedder.toml"];

/// Fits the template's files to the documents in a folder; says in a line what was found.
///
/// # Errors
/// When the folder cannot be read or holds no text.
pub fn adapt(files: &mut Vec<(String, String)>, docs: &Path) -> Result<String, Failure> {
    let pages = text_files(docs)?;
    if pages.is_empty() {
        let found = TEXT_FILES.map(|known| format!(".{known}")).join(", ");
        let message = format!("{} holds no file that ends in {found}", docs.display());
        return Err(AppError::BadInput(message).into());
    }
    let drafts = draft_questions(docs, &pages);
    // An embedder that nothing judges would never be used.
    let trains = !drafts.is_empty() && can_train(&pages);
    files.retain(|(path, _)| path != QUESTIONS && (trains || !is_for_training(path)));
    if drafts.is_empty() {
        files.retain(|(path, _)| !path.starts_with("evals/"));
    } else {
        let lines: String = drafts.iter().map(|draft| format!("{draft}\n")).collect();
        files.push((QUESTIONS.to_owned(), lines));
    }
    for (path, text) in files.iter_mut() {
        *text = adapted(path, text, trains, !drafts.is_empty());
    }
    let present: BTreeSet<String> = files.iter().map(|(path, _)| path.clone()).collect();
    if let Some((_, readme)) = files.iter_mut().find(|(path, _)| path == "README.md") {
        *readme = without_rows_of_absent(readme, &present);
    }
    let word = if pages.len() == 1 { "file" } else { "files" };
    let found = format!("{} text {word} in {}", pages.len(), docs.display());
    Ok(format!("{found}; {}", note(drafts.len(), trains)))
}

fn is_for_training(path: &str) -> bool {
    TRAINING_FILES.contains(&path)
}

fn note(drafted: usize, trains: bool) -> String {
    let questions = if drafted == 0 {
        "no headings to draft questions from, so nothing is measured yet".to_owned()
    } else {
        format!(
            "{drafted} questions drafted from their headings in {QUESTIONS}: replace them with \
             real ones, since headings flatter word search"
        )
    };
    match (trains, drafted) {
        (true, _) => questions,
        (false, 0) => format!("{questions} and word search answers"),
        (false, _) => {
            format!("{questions}; too little text to train an embedder, so word search answers")
        }
    }
}

/// The text of one file for documents that may or may not train an embedder and be measured.
fn adapted(path: &str, text: &str, trains: bool, measured: bool) -> String {
    match path {
        "releases/assistant.toml" if trains => RELEASE.to_owned(),
        "releases/assistant.toml" => {
            let end = if measured { "\n# A rule about" } else { "\n# The first questions" };
            RELEASE[..RELEASE.find(end).unwrap_or(RELEASE.len())].to_owned()
        }
        "agents/assistant.toml" if !trains => {
            let text = text
                .replace("retrieval = \"auto\"", "retrieval = \"bm25\"")
                .lines()
                .filter(|line| !line.starts_with("# auto:"))
                .map(|line| format!("{line}\n"))
                .collect::<String>();
            if measured { text } else { text.replace("eval = \"retrieval\"\n", "") }
        }
        "indexes/manual.toml" if !trains => text.replace("embedder = \"embedder\"\n", ""),
        "evals/retrieval.toml" if !trains => {
            text.replace("modes = [\"bm25\", \"hybrid\"]", "modes = [\"bm25\"]")
        }
        "models/schema.yml" if !trains => {
            let end = text.find("\n  - name: training_pairs").unwrap_or(text.len());
            text[..end].to_owned()
        }
        _ => text.to_owned(),
    }
}

/// The README's table without the rows of files that are not there.
fn without_rows_of_absent(readme: &str, present: &BTreeSet<String>) -> String {
    let keep = |line: &&str| {
        let named = line.strip_prefix("| `").and_then(|rest| rest.split('`').next());
        named.is_none_or(|path| path.ends_with('/') || present.contains(path))
    };
    readme.lines().filter(keep).map(|line| format!("{line}\n")).collect()
}

fn can_train(pages: &[PathBuf]) -> bool {
    let long = |section: &markdown::Section| section.body.chars().count() >= PASSAGE_CHARS_MIN;
    let mut passages = 0;
    for page in pages {
        let Ok(text) = fs::read_to_string(page) else { continue };
        passages += markdown::sections(&text).iter().filter(|section| long(section)).count();
        if passages >= TRAINING_PASSAGES_MIN {
            return pages.len() >= TRAINING_FILES_MIN;
        }
    }
    false
}

/// Drafts questions from the headings of the documents, so that a new project has something to
/// measure from the first build on. They are a start, not a judgement.
fn draft_questions(docs: &Path, files: &[PathBuf]) -> Vec<Value> {
    let telling = drafts_of(docs, files, &|section| {
        section.level >= 2
            && section.body.len() >= SECTION_BYTES_MIN
            && is_telling(&section.heading)
    });
    if !telling.is_empty() {
        return telling;
    }
    // Short pages: any section is better than nothing to measure.
    drafts_of(docs, files, &|section| {
        !section.heading.is_empty() && !section.body.trim().is_empty()
    })
}

/// A heading of at least two words and no digits: not the version or date of a change log.
fn is_telling(heading: &str) -> bool {
    let words = heading.split_whitespace().filter(|word| word.chars().all(char::is_alphabetic));
    words.count() >= 2 && !heading.chars().any(|c| c.is_ascii_digit())
}

/// One question for each heading that is worth it. Each file gives its first before any gives its
/// second.
fn drafts_of(
    docs: &Path,
    files: &[PathBuf],
    worth: &dyn Fn(&markdown::Section) -> bool,
) -> Vec<Value> {
    let mut drafts: Vec<(usize, Value)> = Vec::new();
    for file in files {
        let Ok(text) = fs::read_to_string(file) else { continue };
        let path = file.strip_prefix(docs).unwrap_or(file).to_string_lossy().into_owned();
        let sections = markdown::sections(&text);
        let mut seen = BTreeSet::new();
        let fitting = sections
            .iter()
            .filter(|section| worth(section) && seen.insert(section.heading.clone()));
        for (turn, section) in fitting.take(DRAFTS_MAX).enumerate() {
            // The first heading of the breadcrumb is the page's title.
            let title = section.breadcrumb.split(" > ").next().unwrap_or_default();
            let question = if title.is_empty() || title == section.heading {
                section.heading.clone()
            } else {
                format!("{title}: {}", section.heading)
            };
            drafts.push((
                turn,
                json!({ "question": question, "path": path, "heading": section.heading }),
            ));
        }
    }
    drafts.sort_by_key(|(turn, _)| *turn);
    drafts.truncate(DRAFTS_MAX);
    let numbered = drafts.into_iter().enumerate().map(|(number, (_, mut draft))| {
        draft["id"] = json!(format!("draft-{:03}", number + 1));
        draft
    });
    numbered.collect()
}

/// The text files below a folder, in order.
fn text_files(dir: &Path) -> Result<Vec<PathBuf>, Failure> {
    let mut files = Vec::new();
    add_text_files(dir, 0, &mut files)?;
    files.sort();
    Ok(files)
}

fn add_text_files(dir: &Path, depth: usize, files: &mut Vec<PathBuf>) -> Result<(), Failure> {
    let entries = fs::read_dir(dir).map_err(AppError::io("list", dir))?;
    for entry in entries {
        let entry = entry.map_err(AppError::io("list", dir))?;
        let kind = entry.file_type().map_err(AppError::io("read", entry.path()))?;
        let path = entry.path();
        let known = path
            .extension()
            .is_some_and(|extension| TEXT_FILES.iter().any(|known| extension == *known));
        if kind.is_dir() && depth < 16 {
            add_text_files(&path, depth + 1, files)?;
        } else if kind.is_file() && known {
            files.push(path);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::collections::BTreeMap;

    use super::*;

    fn files() -> Vec<(String, String)> {
        let file = |path: &str, text: &str| (path.to_owned(), text.to_owned());
        vec![
            file("README.md", "| `train/embedder.toml` | x |\n| `docs/` | y |\n"),
            file("agents/assistant.toml", "retrieval = \"auto\"\neval = \"retrieval\"\n"),
            file("datasets/pairs.toml", ""),
            file("evals/retrieval.jsonl", "the manual's questions"),
            file("evals/retrieval.toml", "modes = [\"bm25\", \"hybrid\"]\n"),
            file("indexes/manual.toml", "from = \"sections\"\nembedder = \"embedder\"\n"),
            file("models/training_pairs.sql", ""),
            file("releases/assistant.toml", "the manual's gate"),
            file("train/embedder.toml", ""),
        ]
    }

    fn adapted_to(pages: &[(&str, String)]) -> (String, BTreeMap<String, String>) {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in pages {
            fs::write(folder.path().join(name), text).unwrap();
        }
        let mut files = files();
        let note = adapt(&mut files, folder.path()).unwrap();
        (note, files.into_iter().collect())
    }

    #[test]
    fn a_page_without_headings_is_neither_trained_on_nor_measured() {
        let (note, files) = adapted_to(&[("a.txt", "only words".to_owned())]);
        assert!(note.contains("no headings"), "{note}");
        assert!(!files.keys().any(|path| path.starts_with("evals/")), "{files:?}");
        assert_eq!(files["agents/assistant.toml"], "retrieval = \"bm25\"\n");
        assert!(!files["releases/assistant.toml"].contains("[[gate]]"));
    }

    #[test]
    fn few_pages_leave_the_embedder_out() {
        let (note, files) = adapted_to(&[("a.md", "# Cats\n\nThey sleep.\n".to_owned())]);
        assert!(note.starts_with("1 text file in"), "{note}");
        assert!(note.contains("too little text"), "{note}");
        assert!(!files.contains_key("train/embedder.toml"));
        assert_eq!(files["indexes/manual.toml"], "from = \"sections\"\n");
        assert_eq!(files["evals/retrieval.toml"], "modes = [\"bm25\"]\n");
        assert_eq!(files["README.md"], "| `docs/` | y |\n");
    }

    #[test]
    fn every_page_gives_a_question_before_any_gives_its_second() {
        let page = |name: &str| {
            let section = |n: usize| {
                let letter = char::from(b'a' + n as u8);
                format!("## About part {letter}\n\n{}\n\n", "Some words of it. ".repeat(12))
            };
            format!("# {name}\n\n## 1.2.3 of 2026\n\n{}", (0..20).map(section).collect::<String>())
        };
        let names = ["a.md", "b.md", "c.md", "d.md"];
        let (note, files) = adapted_to(&names.map(|name| (name, page(name))));
        assert!(note.contains("60 questions"), "{note}");
        assert!(files.contains_key("train/embedder.toml"));
        let paths: Vec<String> = files[QUESTIONS]
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).unwrap())
            .map(|line| line["path"].as_str().unwrap().to_owned())
            .collect();
        assert_eq!(paths[..5], ["a.md", "b.md", "c.md", "d.md", "a.md"]);
        assert!(!files[QUESTIONS].contains("1.2.3"));
    }
}
