//! How are project files read? TOML into types, with errors that name the file, the line, the
//! column and the fix.
//!
//! Only TOML files go through here; templates and SQL are read by their layers. A file larger than
//! [`limits::PROJECT_FILE_BYTES_MAX`] is refused.

mod bucket;
mod expand;
mod secret;
mod settings;

use std::{ops::Range, path::Path};

use serde::de::DeserializeOwned;
use sextant_core::{Failure, Place, limits};

pub(crate) use self::settings::line_of_key;
pub use self::{
    bucket::{S3_SCHEME, S3Config, TablesPlace, TablesSection},
    expand::{Lookup, expand, process_environment},
    secret::{Secret, SecretRef},
    settings::{
        BuildSettings, Config, ConfigRow, PROJECT_FILE, ProjectFile, config_check, config_schema,
        config_show, load_config,
    },
};
use crate::{AssetFile, ConfigError};

/// Reads a TOML asset file into its type.
///
/// # Errors
/// With the place in the file; an unknown key comes with the nearest known one.
pub fn parse_asset_toml<T: DeserializeOwned>(file: &AssetFile) -> Result<T, Failure> {
    parse_toml_part(file, &file.text, 0)
}

/// Reads TOML that is a part of a file (front matter): `lines_before` lines of the file come
/// before it.
///
/// # Errors
/// As [`parse_asset_toml`], with places counted in the whole file.
pub fn parse_toml_part<T: DeserializeOwned>(
    file: &AssetFile,
    text: &str,
    lines_before: usize,
) -> Result<T, Failure> {
    toml::from_str(text)
        .map_err(|error| explain_toml(&file.path, text, lines_before, &error).into())
}

/// Turns an error of the TOML reader into ours.
fn explain_toml(
    path: &Path,
    text: &str,
    lines_before: usize,
    error: &toml::de::Error,
) -> ConfigError {
    let message = error.message().trim().to_owned();
    let place = |span: Option<Range<usize>>| {
        let (line, column) = span.map(|span| line_and_column(text, span.start)).unzip();
        Place { file: path.to_owned(), line: line.map(|line| line + lines_before), column }
    };
    if let Some((key, known)) = unknown_key(&message) {
        return ConfigError::UnknownKey { place: place(error.span()), key, known };
    }
    if message.contains(secret::REFUSAL) {
        return ConfigError::LiteralSecret { place: place(error.span()) };
    }
    if message.starts_with("missing field") {
        // The reader points at the whole table: its first line is where to add the key.
        return ConfigError::BadValue { place: place(error.span()), message };
    }
    if toml::from_str::<toml::Table>(text).is_ok() {
        return ConfigError::BadValue { place: place(error.span()), message };
    }
    let message = message.lines().collect::<Vec<_>>().join(", ");
    ConfigError::Syntax { place: place(error.span()), message }
}

/// The key and the known keys of serde's message for a field that the type does not have.
fn unknown_key(message: &str) -> Option<(String, Vec<String>)> {
    let rest = message.strip_prefix("unknown field `")?;
    let (key, rest) = rest.split_once('`')?;
    let known = rest.split('`').skip(1).step_by(2).map(str::to_owned).collect();
    Some((key.to_owned(), known))
}

/// The line and column, counted from 1, of a byte of the text. Columns count characters.
pub fn line_and_column(text: &str, offset: usize) -> (usize, usize) {
    let mut end = offset.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let before = &text[..end];
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().map_or(0, |tail| tail.chars().count()) + 1;
    (line, column)
}

/// Reads one project file whole: bounded, UTF-8, with variables replaced when it is TOML.
///
/// # Errors
/// When it cannot be read, is too large, is not text, or names a variable that cannot be used.
pub fn read_project_file(
    root: &Path,
    path: &Path,
    lookup: Lookup<'_>,
) -> Result<AssetFile, Failure> {
    let whole = root.join(path);
    let unreadable = |source| ConfigError::Unreadable { path: path.to_owned(), source };
    let bytes = std::fs::metadata(&whole).map_err(unreadable)?.len();
    if bytes > limits::PROJECT_FILE_BYTES_MAX {
        let max = limits::PROJECT_FILE_BYTES_MAX;
        return Err(ConfigError::TooLarge { path: path.to_owned(), bytes, max }.into());
    }
    let raw = std::fs::read(&whole).map_err(unreadable)?;
    let text = String::from_utf8(raw).map_err(|error| {
        let offset = error.utf8_error().valid_up_to();
        let line = error.as_bytes()[..offset].iter().filter(|byte| **byte == b'\n').count() + 1;
        let place = Place { file: path.to_owned(), line: Some(line), column: None };
        ConfigError::NotText { place, offset }
    })?;
    let text = text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text);
    let text = if path.extension().is_some_and(|extension| extension == "toml") {
        expand(path, &text, lookup)?
    } else {
        text
    };
    Ok(AssetFile { root: root.to_owned(), path: path.to_owned(), text })
}
