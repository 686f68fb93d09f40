//! Is every heavy crate in the lock file once?

use std::collections::BTreeMap;

use anyhow::{Context, Result};

use super::Finding;
use crate::{house::House, workspace::Workspace};

/// Two versions of a heavy crate in one binary is a defect.
pub fn duplicates(workspace: &Workspace, house: &House) -> Result<Vec<Finding>> {
    let text =
        std::fs::read_to_string(workspace.root.join("Cargo.lock")).context("read Cargo.lock")?;
    let found = versions(&text)?;
    Ok(house
        .lockfile
        .single
        .iter()
        .filter_map(|name| found.get(name).filter(|all| all.len() > 1).map(|all| (name, all)))
        .map(|(name, all)| {
            let message = format!("`{name}` is there {} times: {}", all.len(), all.join(", "));
            Finding::error("Cargo.lock", 0, message)
        })
        .collect())
}

/// Package name to its versions.
pub fn versions(text: &str) -> Result<BTreeMap<String, Vec<String>>> {
    let table: toml::Table = text.parse().context("parse Cargo.lock")?;
    let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let packages = table.get("package").and_then(toml::Value::as_array);
    for package in packages.into_iter().flatten() {
        let field = |key| package.get(key).and_then(toml::Value::as_str).unwrap_or_default();
        found.entry(field("name").to_owned()).or_default().push(field("version").to_owned());
    }
    Ok(found)
}
