//! How does a project begin? From the template and the manual that are compiled into the binary.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use include_dir::{Dir, DirEntry, include_dir};
use serde_json::{Value, json};
use sextant_core::Failure;
use sextant_retrieve::markdown;

use crate::AppError;

static TEMPLATE: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/../../template/assistant");
static MANUAL: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/../../docs");

/// The release of a project about the user's own documents.
static OWN_RELEASE: &str = include_str!("../../../template/own-docs/release.toml");

/// Parts of the documents' folder that are for those who build Sextant, not for its users.
const NOT_MANUAL: [&str; 2] = ["adr/", "roadmap.md"];
/// The questions of the template, which are about the manual.
const QUESTIONS: &str = "evals/retrieval.jsonl";
/// Most questions that are drafted for a project of one's own.
const DRAFTS_MAX: usize = 60;
/// Sections shorter than this are not worth a question.
const SECTION_BYTES_MIN: usize = 120;
const TEXT_FILES: [&str; 3] = ["md", "markdown", "txt"];

/// The user manual: path below `docs/` and Markdown, in order.
pub fn manual_pages() -> Vec<(String, String)> {
    let mut pages = Vec::new();
    collect(&MANUAL, &mut |path, bytes| {
        let skip = NOT_MANUAL.iter().any(|part| path.starts_with(part));
        if !skip && path.ends_with(".md") {
            pages.push((path.to_owned(), String::from_utf8_lossy(bytes).into_owned()));
        }
    });
    pages.sort();
    pages
}

/// Makes the demo's project: the template with the manual as its documents.
///
/// # Errors
/// When the folder exists or cannot be written.
pub fn init_demo(dir: &Path) -> Result<Value, Failure> {
    let files = template_files("assistant", "docs");
    let pages = manual_pages().into_iter().map(|(path, text)| (format!("docs/{path}"), text));
    write_project(dir, files.into_iter().chain(pages))
}

/// Makes a project of the user's own from the template.
///
/// # Errors
/// When the name is not plain, the folder exists, or the documents' folder is not there.
pub fn init(dir: &Path, name: &str, docs: Option<&Path>) -> Result<Value, Failure> {
    let name = name.rsplit('/').next().unwrap_or(name);
    let plain = !name.is_empty()
        && name.len() <= 64
        && name.chars().all(|c| c.is_ascii_alphanumeric() || "-_".contains(c));
    if !plain {
        let message = format!("`{name}` is not a plain name: letters, digits, - and _ only");
        return Err(AppError::BadInput(message).into());
    }
    let source = match docs {
        Some(docs) => relative_to_project(dir, docs)?,
        None => "docs".to_owned(),
    };
    let mut files = template_files(name, &source);
    let note = if let Some(docs) = docs {
        let pages = text_files(docs)?;
        if pages.is_empty() {
            let found = TEXT_FILES.map(|known| format!(".{known}")).join(", ");
            let message = format!("{} holds no file that ends in {found}", docs.display());
            return Err(AppError::BadInput(message).into());
        }
        let drafts = draft_questions(docs, &pages);
        adapt_to_drafts(&mut files, &drafts);
        format!("{} text files in {}; {}", pages.len(), docs.display(), drafts_note(drafts.len()))
    } else {
        let pages = manual_pages().into_iter().map(|(path, text)| (format!("docs/{path}"), text));
        files.extend(pages);
        "docs/ holds Sextant's own manual as an example: put your documents there".to_owned()
    };
    let mut result = write_project(dir, files.into_iter())?;
    let next = format!("next: cd {} && sextant dev", dir.display());
    result["lines"] = json!([format!("made {}", dir.display()), note, next]);
    Ok(result)
}

fn drafts_note(drafted: usize) -> String {
    if drafted == 0 {
        return "no headings to draft questions from, so nothing is measured yet and word search \
                answers"
            .to_owned();
    }
    format!(
        "{drafted} questions drafted from their headings in {QUESTIONS}: replace them with real \
         ones, since headings flatter word search"
    )
}

/// Puts the drafted questions in the place of the manual's, with a gate that does not rely on them;
/// without any, takes the evaluation out.
fn adapt_to_drafts(files: &mut Vec<(String, String)>, drafts: &[Value]) {
    let measured = !drafts.is_empty();
    files.retain(|(path, _)| path != QUESTIONS && (measured || !path.starts_with("evals/")));
    for (path, text) in files.iter_mut() {
        if path == "releases/assistant.toml" {
            *text = OWN_RELEASE.to_owned();
            if !measured {
                text.truncate(text.find("\n# The first questions").unwrap_or(text.len()));
            }
        } else if path == "agents/assistant.toml" && !measured {
            *text = text.replace("eval = \"retrieval\"\n", "");
        }
    }
    if measured {
        let lines: String = drafts.iter().map(|draft| format!("{draft}\n")).collect();
        files.push((QUESTIONS.to_owned(), lines));
    }
}

/// The files of the template, with the project's name and its documents' folder filled in.
fn template_files(name: &str, source: &str) -> Vec<(String, String)> {
    let mut files = Vec::new();
    collect(&TEMPLATE, &mut |path, bytes| {
        let text = String::from_utf8_lossy(bytes).into_owned();
        let text = match path {
            "sextant.toml" => replace_value(&text, "name", name),
            "sources/manual.toml" => replace_value(&text, "path", source),
            "README.md" => text.replace("`docs/`", &format!("`{source}/`")),
            _ => text,
        };
        files.push((path.to_owned(), text));
    });
    files
}

/// Replaces the value of the first line `key = "…"`.
fn replace_value(text: &str, key: &str, value: &str) -> String {
    let mut done = false;
    let lines: Vec<String> = text
        .lines()
        .map(|line| {
            let matches = line.split('=').next().is_some_and(|left| left.trim() == key);
            if matches && !done {
                done = true;
                format!("{key} = {}", Value::String(value.to_owned()))
            } else {
                line.to_owned()
            }
        })
        .collect();
    lines.join("\n") + "\n"
}

fn collect(dir: &Dir<'_>, take: &mut dyn FnMut(&str, &[u8])) {
    for entry in dir.entries() {
        match entry {
            DirEntry::Dir(dir) => collect(dir, take),
            DirEntry::File(file) => take(&file.path().to_string_lossy(), file.contents()),
        }
    }
}

/// Writes all files into a new folder; nothing is left behind when one cannot be written.
fn write_project(
    dir: &Path,
    files: impl Iterator<Item = (String, String)>,
) -> Result<Value, Failure> {
    if dir.exists() && fs::read_dir(dir).map_or(true, |mut entries| entries.next().is_some()) {
        return Err(AppError::Exists(dir.to_owned()).into());
    }
    let mut written = Vec::new();
    for (path, text) in files {
        let target = dir.join(&path);
        let folder = target.parent().unwrap_or(dir).to_owned();
        fs::create_dir_all(&folder).map_err(AppError::io("create", &folder))?;
        if let Err(error) = fs::write(&target, text) {
            let _ = fs::remove_dir_all(dir);
            return Err(AppError::io("write", &target)(error).into());
        }
        written.push(path);
    }
    written.sort();
    Ok(json!({ "dir": dir, "files": written }))
}

/// The documents' folder as written in the source file: relative when it stands beside the new
/// project, absolute otherwise.
fn relative_to_project(dir: &Path, docs: &Path) -> Result<String, Failure> {
    let docs = fs::canonicalize(docs).map_err(AppError::io("find the documents in", docs))?;
    if !docs.is_dir() {
        let message = format!("{} is not a folder", docs.display());
        return Err(AppError::BadInput(message).into());
    }
    let parent = dir.parent().filter(|parent| !parent.as_os_str().is_empty());
    let parent = fs::canonicalize(parent.unwrap_or_else(|| Path::new(".")));
    let beside = parent.ok().and_then(|parent| docs.strip_prefix(parent).ok().map(Path::to_owned));
    let path = match beside {
        Some(inside) => PathBuf::from("..").join(inside),
        None => docs,
    };
    Ok(path.to_string_lossy().into_owned())
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
        let mut headings = sections.iter().map(|section| section.heading.as_str());
        let title = headings.find(|heading| !heading.is_empty()).unwrap_or_default();
        let mut seen = BTreeSet::new();
        let fitting = sections
            .iter()
            .filter(|section| worth(section) && seen.insert(section.heading.clone()));
        for (turn, section) in fitting.take(DRAFTS_MAX).enumerate() {
            let question = if title == section.heading {
                title.to_owned()
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
