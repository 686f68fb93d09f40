//! What does the log of a table say? Each commit with what it did to the rows, the files it added
//! and their digests: all that is needed to record it.

use std::path::PathBuf;

use datafusion::arrow::datatypes::Schema;
use deltalake_core::{
    DeltaTable, DeltaTableError,
    kernel::{Action, CommitInfo},
    logstore::get_actions,
};
use sextant_core::{Digest, DigestHasher};
use sextant_project::AssetId;

use super::{
    TableMeta,
    commits::{CommitNote, NOTE_KEY},
};
use crate::{
    DataEngine, catalog,
    content::{self, Column, Step},
    error::{DataError, Result},
};

/// One commit of the log, with all that its act needs.
pub(crate) struct Commit {
    pub(crate) delta_version: u64,
    pub(crate) info: CommitInfo,
    pub(crate) note: Option<CommitNote>,
    pub(crate) effect: Effect,
    /// The files it added with their digests.
    pub(crate) files: Vec<(String, u64, Digest)>,
    pub(crate) rows: u64,
    pub(crate) columns: Vec<Column>,
}

/// What a commit means for the content.
pub(crate) enum Effect {
    /// The rows are the same, elsewhere or in another order.
    Same,
    /// The rows are those of an older version.
    Restored(u64),
    /// The rows or the columns are others.
    Changed(Step),
}

impl DataEngine {
    /// Every commit after the version that is known, in order.
    pub(crate) async fn unrecorded(
        &self,
        asset: &AssetId,
        known: Option<&TableMeta>,
    ) -> Result<Vec<Commit>> {
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
        let added = actions.iter().filter_map(|action| match action {
            Action::Add(add) => Some(add.path.clone()),
            _ => None,
        });
        let mut files = Vec::new();
        for path in added {
            let (bytes, digest) = self.home().digest(asset, &path).await?;
            files.push((path, bytes, digest));
        }
        Ok(files)
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

    /// Whether each file of a version that is changed in place has the bytes it was recorded with.
    pub(crate) async fn files_are_whole(&self, place: &TableMeta) -> Result<bool> {
        let table = self.open_at(place).await?;
        let known = catalog::table_files(&self.store().read()?, &place.asset)?;
        let failed = |error| DataError::table("read", &place.asset)(error);
        let snapshot = table.snapshot().map_err(failed)?;
        let paths: Vec<String> =
            snapshot.log_data().iter().map(|file| file.object_store_path().to_string()).collect();
        for path in paths {
            match self.home().digest(&place.asset, &path).await {
                Ok(found) if Some(&found) == known.get(&path) => {}
                Err(error) if !error.is_missing_file() => return Err(error),
                _ => return Ok(false),
            }
        }
        Ok(true)
    }

    /// The highest version in a table's log, of those from one on.
    ///
    /// # Errors
    /// When its log cannot be listed.
    pub fn newest_in_log(&self, asset: &AssetId, from: Option<u64>) -> Result<Option<u64>> {
        let (engine, asset) = (self.clone(), asset.clone());
        self.block(None, async move { engine.home().newest_commit(&asset, from).await })
    }
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

/// Size and digest of a file.
pub(crate) fn file_digest(path: PathBuf) -> Result<(u64, Digest)> {
    let mut hasher = DigestHasher::new();
    let read =
        std::fs::File::open(&path).and_then(|mut file| std::io::copy(&mut file, &mut hasher));
    let bytes = read.map_err(|source| DataError::SourceFile { path, source })?;
    Ok((bytes, hasher.finish()))
}
