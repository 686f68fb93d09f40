//! What did the commits of a table do that no act recorded yet? A change to a table is two steps: a
//! commit in the Delta log, then an act in the catalog. Each commit carries a note of what it is
//! and what it read, so the second step needs nothing but the log: it is the same whether it comes
//! at once, after a crash, or after another program wrote to the table.
//!
//! Commits are recorded in their order and one at a time, because each content is chained to the
//! one before. What a commit read that nobody told us becomes a hole that `why` shows.

use std::{collections::BTreeMap, path::PathBuf, sync::PoisonError};

use datafusion::arrow::datatypes::Schema;
use deltalake_core::{
    DeltaTable, DeltaTableError,
    kernel::{Action, CommitInfo},
    logstore::get_actions,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sextant_core::{ActivityId, ActivityKind, ArtifactKind, Digest, DigestHasher, Name};
use sextant_lineage::{Act, Expect};
use sextant_project::AssetId;

use super::{TableMeta, failpoint, folder_of, record};
use crate::{
    DataEngine,
    catalog::{self, LatestTable},
    content::{self, Column, Step},
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

/// One commit of the log, with all that its act needs.
struct Commit {
    delta_version: u64,
    info: CommitInfo,
    note: Option<CommitNote>,
    effect: Effect,
    /// The files it added with their digests.
    files: Vec<(String, u64, Digest)>,
    rows: u64,
    columns: Vec<Column>,
}

/// What a commit means for the content.
enum Effect {
    /// The rows are the same, elsewhere or in another order.
    Same,
    /// The rows are those of an older version.
    Restored(u64),
    /// The rows or the columns are others.
    Changed(Step),
}

impl DataEngine {
    /// Records what a crash left unrecorded in tables of the user's own. A table whose newest
    /// commit is known costs one listing of its log.
    pub(crate) fn adopt_commits(&self) -> Result<()> {
        let folder = self.tables_folder();
        let failed = |source| DataError::SourceFile { path: folder.to_owned(), source };
        for entry in std::fs::read_dir(folder).map_err(failed)? {
            let name = entry.map_err(failed)?.file_name();
            let Some(stem) = name.to_str().and_then(|name| name.strip_prefix("tables-")) else {
                continue;
            };
            let Ok(asset) = AssetId::of(OWN_TABLES, stem) else { continue };
            let newest = catalog::newest_table(&self.store().read()?, &asset)?;
            if newest_in_log(&folder.join(&name))? > newest.map(|row| row.meta.delta_version) {
                self.catch_up(&asset)?;
            }
        }
        Ok(())
    }

    /// Records every commit of a table that no act recorded yet.
    pub(crate) fn catch_up(&self, asset: &AssetId) -> Result<()> {
        let begun = {
            let lock = self.lock_of("record", asset);
            let _held = lock.lock().unwrap_or_else(PoisonError::into_inner);
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
            set
        };
        begun.map_or(Ok(()), |set| self.finish_set(&set))
    }

    fn unrecorded_now(&self, asset: &AssetId) -> Result<Vec<Commit>> {
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

    async fn unrecorded(&self, asset: &AssetId, known: Option<&TableMeta>) -> Result<Vec<Commit>> {
        let mut table = self.open_or_start(asset).await?;
        let Some(latest) = table.version() else { return Ok(Vec::new()) };
        let first = known.map_or(0, |meta| meta.delta_version + 1);
        let mut columns = known.map(|meta| meta.columns.clone());
        let mut commits = Vec::new();
        for version in first..=latest {
            if version != latest || version != first {
                table.load_version(version).await.map_err(DataError::table("open", asset))?;
            }
            let commit = self.read_commit(asset, &table, version, columns.as_deref()).await?;
            columns = Some(commit.columns.clone());
            commits.push(commit);
        }
        Ok(commits)
    }

    async fn read_commit(
        &self,
        asset: &AssetId,
        table: &DeltaTable,
        version: u64,
        before: Option<&[Column]>,
    ) -> Result<Commit> {
        let failed = |error| DataError::table("read the log of", asset)(error);
        let bytes = table.log_store().read_commit_entry(version).await.map_err(failed)?;
        let bytes = bytes.ok_or_else(|| failed(DeltaTableError::InvalidVersion(version)))?;
        let actions = get_actions(version, &bytes).map_err(failed)?;
        let info = actions.iter().find_map(|action| match action {
            Action::CommitInfo(info) => Some(info.clone()),
            _ => None,
        });
        let info = info.unwrap_or_default();
        let note: Option<CommitNote> =
            info.info.get(NOTE_KEY).and_then(|note| serde_json::from_value(note.clone()).ok());
        let schema: Schema =
            table.snapshot().map_err(failed)?.snapshot().arrow_schema().as_ref().clone();
        let columns = content::columns(&content::stored_schema(&schema));
        let restored = note.as_ref().and_then(|note| note.restored);
        let files = match restored {
            Some(_) => Vec::new(),
            None => self.added_files(asset, &actions).await?,
        };
        let effect = match restored {
            Some(version) => Effect::Restored(version),
            None => effect_of(&actions, &files, &columns, before),
        };
        let rows = self.count_rows(asset, table).await?;
        Ok(Commit { delta_version: version, info, note, effect, files, rows, columns })
    }

    /// The data files that a commit added, with the digests of their bytes.
    async fn added_files(
        &self,
        asset: &AssetId,
        actions: &[Action],
    ) -> Result<Vec<(String, u64, Digest)>> {
        let folder = self.table_folder(asset);
        let added = actions.iter().filter_map(|action| match action {
            Action::Add(add) => Some(add.path.clone()),
            _ => None,
        });
        let paths: Vec<String> = added.collect();
        let work = move || -> Result<Vec<(String, u64, Digest)>> {
            let digest = |path: String| {
                let (bytes, digest) = file_digest(folder.join(&path))?;
                Ok((path, bytes, digest))
            };
            paths.into_iter().map(digest).collect()
        };
        tokio::task::spawn_blocking(work).await.map_err(DataError::engine)?
    }

    /// How many rows the loaded version has: what its files say, or, when a foreign writer left
    /// that out, a count.
    async fn count_rows(&self, asset: &AssetId, table: &DeltaTable) -> Result<u64> {
        let failed = |error| DataError::table("read", asset)(error);
        let mut rows = Some(0_u64);
        for file in table.snapshot().map_err(failed)?.log_data().iter() {
            let deleted = file.deletion_vector_descriptor().map_or(0, |vector| vector.cardinality);
            let live = file
                .num_records()
                .and_then(|count| (count as u64).checked_sub(deleted.unsigned_abs()));
            rows = rows.zip(live).map(|(sum, live)| sum + live);
        }
        if let Some(rows) = rows {
            return Ok(rows);
        }
        let provider = table.table_provider().await;
        let provider = provider.map_err(|error| failed(DeltaTableError::from(error)))?;
        let frame = self.session().read_table(provider).map_err(DataError::engine)?;
        Ok(frame.count().await.map_err(DataError::engine)? as u64)
    }

    /// Adds one commit to an act; returns what the table is then.
    fn add_commit(
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
            let meta = meta_of(asset, commit, previous)?;
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

    /// Whether each file of a version that is changed in place has the bytes it was recorded with.
    pub(crate) async fn files_are_whole(&self, place: &TableMeta) -> Result<bool> {
        let table = self.open_at(place).await?;
        let known = catalog::table_files(&self.store().read()?, &place.asset)?;
        let failed = |error| DataError::table("read", &place.asset)(error);
        let snapshot = table.snapshot().map_err(failed)?;
        let paths: Vec<String> =
            snapshot.log_data().iter().map(|file| file.object_store_path().to_string()).collect();
        let folder = self.table_folder(&place.asset);
        let work = move || {
            paths.iter().all(|path| {
                let found = file_digest(folder.join(path)).ok();
                found.is_some() && found.as_ref() == known.get(path)
            })
        };
        tokio::task::spawn_blocking(work).await.map_err(DataError::engine)
    }
}

/// The highest version in a table's log, by the names of its files.
pub(crate) fn newest_in_log(table: &std::path::Path) -> Result<Option<u64>> {
    let log = table.join("_delta_log");
    let Ok(entries) = std::fs::read_dir(&log) else { return Ok(None) };
    let mut newest = None;
    for entry in entries {
        let entry = entry.map_err(|source| DataError::SourceFile { path: log.clone(), source })?;
        let name = entry.file_name();
        let version = name.to_str().and_then(|name| name.strip_suffix(".json"));
        newest = newest.max(version.and_then(|digits| digits.parse().ok()));
    }
    Ok(newest)
}

fn effect_of(
    actions: &[Action],
    files: &[(String, u64, Digest)],
    columns: &[Column],
    before: Option<&[Column]>,
) -> Effect {
    let mut step = Step::default();
    for action in actions {
        match action {
            Action::Add(add) if add.data_change => {
                step.added.extend(files.iter().filter(|file| file.0 == add.path).cloned());
            }
            Action::Remove(remove) if remove.data_change => step.removed.push(remove.path.clone()),
            _ => {}
        }
    }
    step.columns = (before != Some(columns)).then(|| columns.to_vec());
    if step.added.is_empty() && step.removed.is_empty() && step.columns.is_none() {
        return Effect::Same;
    }
    Effect::Changed(step)
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

fn meta_of(asset: &AssetId, commit: &Commit, previous: Option<&LatestTable>) -> Result<TableMeta> {
    let before = previous.map(|row| row.meta.content);
    let step = match &commit.effect {
        Effect::Changed(step) => step.clone(),
        _ => Step::default(),
    };
    Ok(TableMeta {
        asset: asset.clone(),
        table: asset.stem().to_owned(),
        path: format!("tables/{}", folder_of(asset)),
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

/// Size and digest of a file.
pub(crate) fn file_digest(path: PathBuf) -> Result<(u64, Digest)> {
    let mut hasher = DigestHasher::new();
    let read =
        std::fs::File::open(&path).and_then(|mut file| std::io::copy(&mut file, &mut hasher));
    let bytes = read.map_err(|source| DataError::SourceFile { path, source })?;
    Ok((bytes, hasher.finish()))
}
