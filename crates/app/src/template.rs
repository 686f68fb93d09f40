//! How does a project begin? From the template and the manual that are compiled into the binary.

use std::{
    fs,
    path::{Path, PathBuf},
};

use include_dir::{Dir, DirEntry, include_dir};
use serde_json::{Value, json};
use sextant_core::Failure;

use crate::{AppError, own_docs};

static TEMPLATE: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/../../template/assistant");
static MANUAL: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/../../docs");

/// Parts of the documents' folder that are for those who build Sextant, not for its users.
const NOT_MANUAL: [&str; 2] = ["adr/", "roadmap.md"];

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
        own_docs::adapt(&mut files, docs)?
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
