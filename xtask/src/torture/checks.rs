//! What must hold after every kill? Each check asks the real binary, as a user would.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::random::Random;
use crate::product::{Outcome, Project};

/// How many answers are walked to their sources after each kill: of those acknowledged since the last
/// one, and of all older ones. That every id is listed once is checked for all of them.
const WALKED_NEW: usize = 8;
const WALKED_OLD: usize = 2;
/// How many answers are listed at once.
const PAGE: usize = 10_000;

/// Every answer that somebody was given, in order.
#[derive(Debug, Default)]
pub struct Ledger {
    ids: Vec<String>,
    checked: usize,
    walked: usize,
}

impl Ledger {
    /// How many.
    pub fn acknowledged(&self) -> usize {
        self.ids.len()
    }

    /// How many walks back to the sources were made.
    pub fn walked(&self) -> usize {
        self.walked
    }

    /// An id that reached its caller.
    pub fn add(&mut self, id: String) {
        self.ids.push(id);
    }

    /// A whole answer on stdout counts, even if the process was killed right after.
    pub fn acknowledge(&mut self, outcome: &Outcome) -> Result<()> {
        let Ok(answer) = outcome.json() else {
            if outcome.ok() {
                bail!("`ask` succeeded without an answer on stdout: {}", outcome.stdout);
            }
            return Ok(());
        };
        if let Some(id) = answer.get("id").and_then(Value::as_str) {
            self.add(id.to_owned());
        } else if outcome.ok() {
            bail!("an answer without an id: {}", outcome.stdout);
        }
        Ok(())
    }

    /// Each acknowledged id is listed exactly once, no id is listed twice, and the chains of a
    /// sample of new and old ones can be walked.
    pub fn check(&mut self, project: &Project, random: &mut Random) -> Result<()> {
        let seen = listed(project)?;
        if let Some(lost) = self.ids.iter().find(|id| !seen.contains(*id)) {
            bail!("answer {lost} was acknowledged and is lost");
        }
        let fresh = self.ids.len() - self.checked;
        let mut walks: Vec<usize> = if fresh <= WALKED_NEW {
            (self.checked..self.ids.len()).collect()
        } else {
            (0..WALKED_NEW).map(|_| self.checked + random.below(fresh)).collect()
        };
        if self.checked > 0 {
            walks.extend((0..WALKED_OLD).map(|_| random.below(self.checked)));
        }
        for index in walks {
            walk(project, &self.ids[index])?;
            self.walked += 1;
        }
        self.checked = self.ids.len();
        Ok(())
    }
}

/// The ids of all answers, page by page; none may be there twice.
fn listed(project: &Project) -> Result<BTreeSet<String>> {
    let mut seen = BTreeSet::new();
    loop {
        let (limit, skip) = (PAGE.to_string(), seen.len().to_string());
        let page = project.json(&["answers", "--limit", &limit, "--skip", &skip])?;
        let rows = page.get("answers").and_then(Value::as_array).context("no `answers`")?;
        for id in rows.iter().filter_map(|row| row.get("id").and_then(Value::as_str)) {
            if !seen.insert(id.to_owned()) {
                bail!("answer {id} is listed twice");
            }
        }
        let total = page.get("total").and_then(Value::as_u64).context("no `total`")?;
        if seen.len() as u64 >= total || rows.is_empty() {
            return Ok(seen);
        }
    }
}

/// The chain of an answer leads somewhere and has no hole.
fn walk(project: &Project, id: &str) -> Result<()> {
    let tree = project.json(&["why", id])?;
    let holes = tree.get("holes").and_then(Value::as_i64).unwrap_or(0);
    let inputs = tree.get("inputs").and_then(Value::as_array).map_or(0, Vec::len);
    if holes != 0 || inputs == 0 {
        bail!("the chain of answer {id} has {holes} holes and {inputs} inputs");
    }
    Ok(())
}

/// `fsck` finds nothing wrong.
pub fn sound(project: &Project) -> Result<()> {
    let outcome = project.run(&["fsck", "--json"])?;
    let problems = outcome
        .json()
        .ok()
        .and_then(|report| report.get("problems").and_then(Value::as_array).map(Vec::len));
    if !outcome.ok() || problems != Some(0) {
        bail!("fsck exited with {:?}: {} {}", outcome.code, outcome.stdout, outcome.stderr);
    }
    Ok(())
}

/// The rows of `release list`.
pub fn releases(list: &Value) -> Result<Vec<Value>> {
    let rows = list.as_array().or_else(|| list.get("releases").and_then(Value::as_array));
    rows.cloned().context("no `releases` in the list")
}

fn live(project: &Project) -> Result<Vec<Value>> {
    let mut rows = releases(&project.json(&["release", "list"])?)?;
    rows.retain(|row| row.get("live").and_then(Value::as_bool) == Some(true));
    Ok(rows)
}

/// The name of the live release.
pub fn live_name(project: &Project) -> Result<String> {
    let rows = live(project)?;
    let name = rows.first().and_then(|row| row.get("name")).and_then(Value::as_str);
    name.map(str::to_owned).context("no release is live")
}

/// Exactly one release is live under its name, and all its parts can be shown.
pub fn release_is_whole(project: &Project) -> Result<()> {
    let rows = live(project)?;
    let [row] = rows.as_slice() else {
        bail!("{} releases are live, not one", rows.len());
    };
    let digest = row.get("digest").and_then(Value::as_str).context("a release without digest")?;
    let shown = project.json(&["release", "show", digest])?;
    if shown.get("digest").and_then(Value::as_str) != Some(digest) {
        bail!("release show {digest} shows another: {shown}");
    }
    let parts = shown.get("parts").and_then(Value::as_object).context("a release without parts")?;
    for (part, pinned) in parts {
        let version = pinned.get("version").and_then(Value::as_str);
        let version =
            version.with_context(|| format!("the live release's {part} has no version"))?;
        project.json(&["why", version]).with_context(|| format!("the live release's {part}"))?;
    }
    Ok(())
}

/// Asset to version, as `status` shows them.
fn versions(project: &Project) -> Result<BTreeMap<String, String>> {
    let status = project.json(&["status"])?;
    let rows = status.get("assets").and_then(Value::as_array).context("no `assets` in status")?;
    let mut found = BTreeMap::new();
    for row in rows {
        let text = |key| row.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        found.insert(text("asset"), text("version"));
    }
    Ok(found)
}

/// The tortured project and an undisturbed build of the same sources in a new folder have the same
/// versions, trained weights included.
pub fn converges(project: &Project, fresh: &Path) -> Result<()> {
    let tortured = versions(project)?;
    let fresh = project.copy_sources(fresh)?;
    fresh.json(&["build"])?;
    let undisturbed = versions(&fresh)?;
    let different: Vec<_> = undisturbed
        .iter()
        .filter(|(asset, version)| tortured.get(*asset) != Some(version))
        .map(|(asset, version)| {
            format!(
                "{asset}: {version} undisturbed, {} here",
                tortured.get(asset).map_or("none", |v| v)
            )
        })
        .collect();
    if !different.is_empty() || tortured.len() != undisturbed.len() {
        bail!("an undisturbed build of the same sources differs: {}", different.join("; "));
    }
    Ok(())
}
