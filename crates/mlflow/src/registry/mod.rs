//! Which models are registered, and in which versions? A registered model is a name; its versions are
//! numbered from one and say where their files are. Prompts have no calls of their own: a prompt is a
//! registered model with a tag that says so, and its text is a tag of a version.

mod aliases;
mod create;
mod models;
mod schema;
mod sources;
mod stages;
mod tags;
#[cfg(test)]
mod tests;
mod versions;

pub(super) use tags::PROMPT_TAG;
pub(super) use versions::DELETED;

use super::{
    Call, Mlflow, MlflowError, Refusal,
    call::{change, look, open},
    fields::{Fields, SEE},
    names::{at_most, check_path},
    refusal::invalid,
};

const NAME_CHARS_MAX: usize = 500;
/// Descriptions, and links to a run.
const WORDS_CHARS_MAX: usize = 100_000;

/// The calls of this module.
pub(super) const CALLS: &[Call] = &[
    change("POST", "2.0/mlflow/registered-models/create", Mlflow::create_registered),
    change("POST", "2.0/mlflow/registered-models/rename", Mlflow::rename_registered),
    change("PATCH", "2.0/mlflow/registered-models/update", Mlflow::update_registered),
    change("DELETE", "2.0/mlflow/registered-models/delete", Mlflow::delete_registered),
    look("GET", "2.0/mlflow/registered-models/get", Mlflow::get_registered),
    look("GET", "2.0/mlflow/registered-models/search", Mlflow::search_registered),
    look("POST", "2.0/mlflow/registered-models/get-latest-versions", Mlflow::latest_versions),
    look("GET", "2.0/mlflow/registered-models/get-latest-versions", Mlflow::latest_versions),
    change("POST", "2.0/mlflow/registered-models/set-tag", Mlflow::tag_registered),
    change("DELETE", "2.0/mlflow/registered-models/delete-tag", Mlflow::untag_registered),
    change("POST", "2.0/mlflow/registered-models/alias", Mlflow::set_alias),
    change("DELETE", "2.0/mlflow/registered-models/alias", Mlflow::delete_alias),
    look("GET", "2.0/mlflow/registered-models/alias", Mlflow::version_by_alias),
    change("POST", "2.0/mlflow/model-versions/create", Mlflow::create_version),
    change("PATCH", "2.0/mlflow/model-versions/update", Mlflow::update_version),
    change("POST", "2.0/mlflow/model-versions/transition-stage", Mlflow::move_version),
    change("DELETE", "2.0/mlflow/model-versions/delete", Mlflow::delete_version),
    look("GET", "2.0/mlflow/model-versions/get", Mlflow::get_version),
    look("GET", "2.0/mlflow/model-versions/search", Mlflow::search_versions),
    look("GET", "2.0/mlflow/model-versions/get-download-uri", Mlflow::version_location),
    open("model-versions/get-artifact", Mlflow::get_version_file),
    change("POST", "2.0/mlflow/model-versions/set-tag", Mlflow::tag_version),
    change("DELETE", "2.0/mlflow/model-versions/delete-tag", Mlflow::untag_version),
];

impl Mlflow {
    /// Makes the tables of this module when they are not there.
    pub(super) fn open_registry(&self) -> Result<(), MlflowError> {
        Ok(self.store().migrate("mlflow_registry", schema::MIGRATIONS)?)
    }
}

/// Checks the name of a registered model.
fn check_name(name: &str) -> Result<(), Refusal> {
    if name.trim().is_empty() {
        return Err(invalid("Missing value for required parameter 'name'."));
    }
    if name.contains(['/', ':']) {
        return Err(invalid(format!(
            "Invalid model name '{name}'. Names cannot contain '/' or ':'."
        )));
    }
    check_path(name, "name")?;
    at_most(name, NAME_CHARS_MAX, "name")
}

/// The name of a registered model that a call must give.
fn name_of<'a>(fields: &Fields<'a>) -> Result<&'a str, Refusal> {
    let name = fields.need("name")?;
    check_name(name)?;
    Ok(name)
}

/// The name and the number of a version that a call must give.
fn version_of<'a>(fields: &Fields<'a>) -> Result<(&'a str, i64), Refusal> {
    let (name, version) = (fields.need("name")?, fields.need("version")?);
    check_name(name)?;
    Ok((name, number_of(version)?))
}

/// The number of a version.
fn number_of(version: &str) -> Result<i64, Refusal> {
    version
        .trim()
        .parse()
        .map_err(|_| invalid(format!("Parameter 'version' must be an integer, got '{version}'.")))
}

/// Text that may be left out and is bounded.
fn words<'a>(fields: &Fields<'a>, name: &str) -> Result<Option<&'a str>, Refusal> {
    let text = fields.text(name)?;
    at_most(text.unwrap_or_default(), WORDS_CHARS_MAX, name)?;
    Ok(text)
}

/// How many results a page has, where an address says it.
fn page_size(fields: &Fields<'_>, default: i64, most: i64) -> Result<i64, Refusal> {
    match fields.int("max_results")?.unwrap_or(default) {
        size if size > most => Err(fields.wrong("max_results", &size.to_string().into())),
        size if size < 0 => Err(invalid(format!(
            "Invalid value for max_results. It must be a positive integer, but got {size}. {SEE}"
        ))),
        size => Ok(size),
    }
}
