//! What did the commits of a table do that no act recorded yet? A change to a table is two steps: a
//! commit in the Delta log, then an act in the catalog. Each commit carries a note of what it is
//! and what it read, so the second step needs nothing but the log: it is the same whether it comes
//! at once, after a crash, or after another program wrote to the table.
//!
//! Commits are recorded in their order and one at a time, because each content is chained to the
//! one before. What a commit read that nobody told us becomes a hole that `why` shows.

use std::{collections::BTreeMap, sync::PoisonError};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sextant_core::{ActivityId, ActivityKind, ArtifactKind, Digest, Name};
use sextant_lineage::{Act, Expect};
use sextant_project::AssetId;

use super::{
    TableMeta, failpoint,
    log::{Commit, Effect},
    record,
};
use crate::{
    DataEngine,
    catalog::{self, LatestTable},
    content::{self, Step},
    error::{DataError, Result},
};

/// The key in a Delta commit that holds our note.
pub(crate) const NOTE_KEY: &str = "sextant.commit";
/// The folder of assets that are tables of the user's own.
pub(crate) const OWN_TABLES: &str = "tables";

/// What a commit of ours says about itself.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct CommitNote {
    /// Finds the commit again.
    pub(crate) id: String,
    /// What was done, in the words of SQL.
    pub(crate) action: String,
    /// The statement.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) sql: Option<String>,
    /// The table versions that it read.
    #[serde(default)]
    pub(crate) inputs: Vec<Digest>,
    /// The files that it read in place.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) files: Vec<ReadFile>,
    /// Whether it replaced all rows, so that nothing of the version before is in it.
    #[serde(default)]
    pub(crate) whole: bool,
    /// The Delta version that it restored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) restored: Option<u64>,
    /// The tables that are restored together with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) set: Option<RestoreSet>,
}

impl CommitNote {
    /// The note of one table's commit in a set.
    pub(crate) fn of_set(set: &RestoreSet, delta_version: u64) -> Self {
        Self {
            id: ActivityId::new().to_string(),
            action: "restore".to_owned(),
            sql: None,
            inputs: Vec::new(),
            files: Vec::new(),
            whole: false,
            restored: Some(delta_version),
            set: Some(set.clone()),
        }
    }
}

/// Tables that become visible together: one commit each, one act for all.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RestoreSet {
    pub(crate) id: String,
    /// Which Delta version of each table is restored.
    pub(crate) tables: BTreeMap<AssetId, u64>,
}

/// A file of the project that a statement read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ReadFile {
    /// Relative to the project's folder.
    pub(crate) path: String,
    pub(crate) bytes: u64,
    pub(crate) digest: Digest,
}

impl DataEngine {
    /// Records what a crash left unrecorded in tables of the user's own. A table whose newest
    /// commit is known costs one listing of its log.
    pub(crate) fn adopt_commits(&self) -> Result<()> {
        let engine = self.clone();
        let folders = self.block(None, async move { engine.home().folders().await })?;
        for folder in folders {
            let Some(stem) = folder.strip_prefix("tables-") else { continue };
            let Ok(asset) = AssetId::of(OWN_TABLES, stem) else { continue };
            let newest = catalog::newest_table(&self.store().read()?, &asset)?;
            let known = newest.map(|row| row.meta.delta_version);
            if self.newest_in_log(&asset, known)? > known {
                self.catch_up(&asset)?;
            }
        }
        Ok(())
    }

    /// Records every commit of a table that no act recorded yet.
    pub(crate) fn catch_up(&self, asset: &AssetId) -> Result<()> {
        let begun = loop {
            self.settle(Some(asset))?;
            let lock = self.lock_of("record", asset);
            let _held = lock.lock().unwrap_or_else(PoisonError::into_inner);
            // A transaction that was stopped since then is recorded as a whole.
            if catalog::prepared_sets(&self.store().read()?)?.values().any(|of| of.contains(asset))
            {
                continue;
            }
            let commits = self.unrecorded_now(asset)?;
            let set = commits.iter().find_map(|commit| commit.note.as_ref()?.set.clone());
            if set.is_none() {
                for commit in commits {
                    let mut act = self.begin(asset, &commit);
                    let newest = catalog::newest_table(&self.store().read()?, asset)?;
                    self.add_commit(&mut act, asset, &commit, newest.as_ref())?;
                    failpoint("data.before_commit_act")?;
                    act.commit()?;
                }
            }
            break set;
        };
        begun.map_or(Ok(()), |set| self.finish_set(&set))
    }

    pub(super) fn unrecorded_now(&self, asset: &AssetId) -> Result<Vec<Commit>> {
        let newest = catalog::newest_table(&self.store().read()?, asset)?;
        let engine = self.clone();
        let table = asset.clone();
        let known = newest.map(|row| row.meta);
        self.block(None, async move { engine.unrecorded(&table, known.as_ref()).await })
    }

    fn begin(&self, asset: &AssetId, commit: &Commit) -> Act {
        let action = action_of(commit);
        self.store().begin(ActivityKind::Transform, format!("{action} {asset}"))
    }

    /// Restores what a crash left undone of a set and makes the whole visible.
    fn finish_set(&self, set: &RestoreSet) -> Result<()> {
        let locks: Vec<_> = set.tables.keys().map(|asset| self.lock_of("record", asset)).collect();
        let _held: Vec<_> =
            locks.iter().map(|lock| lock.lock().unwrap_or_else(PoisonError::into_inner)).collect();
        for (asset, delta) in &set.tables {
            let commits = self.unrecorded_now(asset)?;
            let notes = commits.iter().filter_map(|commit| commit.note.as_ref());
            if notes.filter_map(|note| note.set.as_ref()).any(|found| found.id == set.id) {
                continue;
            }
            let change = super::change::Change::Restore { delta_version: *delta };
            let note = CommitNote::of_set(set, *delta);
            self.commit_change_of(asset, &change, &note, "restore", &sextant_core::Cancel::new())?;
        }
        self.record_set(set)
    }

    /// Records the commits of all tables of a set in one act. Their locks are held.
    pub(crate) fn record_set(&self, set: &RestoreSet) -> Result<()> {
        let label = format!("restore {} tables", set.tables.len());
        let mut act = self.store().begin(ActivityKind::Transform, label);
        for asset in set.tables.keys() {
            let mut newest = catalog::newest_table(&self.store().read()?, asset)?;
            for commit in self.unrecorded_now(asset)? {
                newest = Some(self.add_commit(&mut act, asset, &commit, newest.as_ref())?);
            }
        }
        failpoint("data.before_set_act")?;
        act.commit()?;
        Ok(())
    }

    /// Adds one commit to an act; returns what the table is then.
    pub(super) fn add_commit(
        &self,
        act: &mut Act,
        asset: &AssetId,
        commit: &Commit,
        previous: Option<&LatestTable>,
    ) -> Result<LatestTable> {
        let reader = self.store().read()?;
        let restored = match &commit.effect {
            Effect::Restored(version) => {
                let row = catalog::table_at(&reader, asset, *version)?;
                Some(row.ok_or_else(|| DataError::NotFound {
                    what: "version",
                    name: format!("{version} of {asset}"),
                    known: String::new(),
                })?)
            }
            _ => None,
        };
        let action = action_of(commit);
        let inputs = declare_inputs(act, asset, commit, previous)?;
        let same = restored.or_else(|| match commit.effect {
            Effect::Same => previous.cloned(),
            _ => None,
        });
        let (version, meta) = if let Some(row) = same {
            act.used(row.version);
            let mut meta = row.meta;
            meta.delta_version = commit.delta_version;
            catalog::put_table(act, row.version, &meta);
            (row.version, meta)
        } else {
            let path = self.home().path(asset);
            let meta = meta_of(asset, path, commit, previous)?;
            (record(act, &meta, &inputs)?, meta)
        };
        if asset.folder() == OWN_TABLES {
            let name = Name::of(&format!("asset/{asset}"), "latest").map_err(DataError::engine)?;
            act.point(&name, version, Expect::Any);
        }
        catalog::put_commit(act, asset, commit.delta_version, &action, &detail_of(commit));
        catalog::put_table_files(act, asset, &commit.files);
        Ok(LatestTable { version, meta, built_at: act.started_at() })
    }
}

/// What was done, in a word or two.
fn action_of(commit: &Commit) -> String {
    match (&commit.note, &commit.info.operation) {
        (Some(note), _) => note.action.clone(),
        (None, Some(operation)) => operation.to_lowercase(),
        (None, None) => "commit".to_owned(),
    }
}

/// Declares what the commit came from; returns what its version is derived from.
fn declare_inputs(
    act: &mut Act,
    asset: &AssetId,
    commit: &Commit,
    previous: Option<&LatestTable>,
) -> Result<Vec<Digest>> {
    let whole = commit.note.as_ref().is_some_and(|note| note.whole);
    let before = previous.filter(|_| !whole).map(|row| row.version);
    let mut inputs: Vec<Digest> = before.into_iter().collect();
    match &commit.note {
        Some(note) => {
            inputs.extend(&note.inputs);
            if let Some(sql) = &note.sql {
                act.note("sql", sql);
            }
        }
        // A compaction of ours carries the content, not a note.
        None if matches!(commit.effect, Effect::Same) => {}
        None => {
            let engine = commit.info.engine_info.as_deref().unwrap_or("another program");
            let version = commit.delta_version;
            inputs.push(act.opaque(&format!("commit {version} of {asset} by {engine}")));
        }
    }
    inputs.sort();
    inputs.dedup();
    for input in &inputs {
        act.used(*input);
    }
    // Rows that come from no table were written by the author of the statement, or read from files.
    if inputs.is_empty() {
        act.kind(ActivityKind::Author);
    }
    let files = commit.note.as_ref().map_or(&[][..], |note| note.files.as_slice());
    for file in files {
        act.kind(ActivityKind::Ingest);
        let body = json!({
            "kind": "source_batch",
            "uri": file.path,
            "files": { file.path.as_str(): { "digest": file.digest, "bytes": file.bytes } },
        });
        inputs.push(act.manifest(ArtifactKind::SourceBatch, &body, &[])?);
    }
    Ok(inputs)
}

pub(super) fn meta_of(
    asset: &AssetId,
    path: String,
    commit: &Commit,
    previous: Option<&LatestTable>,
) -> Result<TableMeta> {
    let before = previous.map(|row| row.meta.content);
    let step = match &commit.effect {
        Effect::Changed(step) => step.clone(),
        _ => Step::default(),
    };
    Ok(TableMeta {
        asset: asset.clone(),
        table: asset.stem().to_owned(),
        path,
        delta_version: commit.delta_version,
        rows: commit.rows,
        columns: commit.columns.clone(),
        content: content::chained(before.as_ref(), step).map_err(DataError::engine)?,
        chained: true,
    })
}

fn detail_of(commit: &Commit) -> Value {
    json!({
        "id": commit.note.as_ref().map(|note| &note.id),
        "sql": commit.note.as_ref().and_then(|note| note.sql.as_ref()),
        "restored": commit.note.as_ref().and_then(|note| note.restored),
        "engine": commit.info.engine_info,
        "metrics": commit.info.info.get("operationMetrics"),
    })
}
