//! What can be done to a table without SQL? Show a version, restore one, put rows in the place of
//! some, pack its files, order them.

use std::{
    collections::BTreeMap,
    num::NonZeroU64,
    sync::{Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard},
};

use sextant_core::{ActivityId, Cancel};
use sextant_project::AssetId;

use super::{
    change::{About, Change, Changed},
    commits::{CommitNote, OWN_TABLES, RestoreSet},
    failpoint,
    history::{ShownVersion, find_table},
    tags,
};
use crate::{
    DataEngine, SqlOptions, catalog,
    error::{DataError, Result},
    query::{self, QUERY_ROWS_MAX},
    statement::Planned,
};

/// Largest file that compaction aims at.
const FILE_MEGABYTES_MAX: u64 = 4096;

impl DataEngine {
    /// Some rows of one version of a table: `NAME`, or `NAME@VERSION`.
    ///
    /// # Errors
    /// When there is no such table or version, or its files were removed.
    pub fn show(&self, table: &str, limit: usize, cancel: &Cancel) -> Result<ShownVersion> {
        let (name, which) = split(table);
        let meta = self.table_version_of(name, which)?;
        let engine = self.clone();
        let pinned = meta.clone();
        let limit = limit.min(QUERY_ROWS_MAX);
        let rows = self.block(Some(cancel), async move {
            let provider = engine.pinned(&pinned).await?;
            let frame = engine.session().read_table(provider).map_err(DataError::engine)?;
            engine.rows_of(frame, limit).await
        })?;
        Ok(ShownVersion {
            asset: meta.asset.to_string(),
            delta_version: meta.delta_version,
            version: meta.version()?,
            total: meta.rows,
            schema: meta.columns,
            rows,
        })
    }

    /// Makes a table hold what it held at an older version.
    ///
    /// # Errors
    /// When the table is not the user's own, or that version cannot be read any more.
    pub fn restore(&self, table: &str, which: &str, cancel: &Cancel) -> Result<Changed> {
        let meta = self.table_version_of(table, Some(which))?;
        let place = self.place(&meta)?;
        let newest = catalog::newest_table(&self.store().read()?, &meta.asset)?;
        let change = Change::Restore { delta_version: place.delta_version };
        if let Some(row) = newest
            && row.meta.delta_version == place.delta_version
        {
            self.may_change(&meta.asset, &change)?;
            return Ok(Changed::nothing("restore", row.version, row.meta));
        }
        let about = About { action: "restore", ..About::default() };
        self.change(&meta.asset, change, about, cancel)
    }

    /// Makes all tables of the user's own that a tag or a branch names hold what they held then.
    /// They become visible together, in one act; a crash in between is finished at the next start.
    ///
    /// # Errors
    /// When there is no such name, or a version cannot be read any more.
    pub fn restore_tag(&self, name: &str, cancel: &Cancel) -> Result<Vec<Changed>> {
        let reader = self.store().read()?;
        let rows = tags::all(&reader)?;
        let named: Vec<_> = rows.iter().filter(|row| row.name == name).collect();
        if named.is_empty() {
            let what = "tag or branch";
            return Err(DataError::NotFound { what, name: name.to_owned(), known: String::new() });
        }
        let wanted: BTreeMap<AssetId, u64> = named
            .into_iter()
            .filter(|row| row.asset.folder() == OWN_TABLES)
            .filter_map(|row| Some((row.asset.clone(), row.delta_version?)))
            .collect();
        let _door = hold_open(self.changes());
        // Writers wait, and so do those who would record a commit of the set alone.
        let writers: Vec<_> = wanted.keys().map(|asset| self.lock_of("write", asset)).collect();
        let _turns: Vec<_> = writers.iter().map(|lock| hold(lock)).collect();
        for asset in wanted.keys() {
            self.catch_up(asset)?;
        }
        let recorders: Vec<_> = wanted.keys().map(|asset| self.lock_of("record", asset)).collect();
        let _alone: Vec<_> = recorders.iter().map(|lock| hold(lock)).collect();
        let set = self.changed_since(wanted)?;
        let mut notes = Vec::new();
        for (asset, delta_version) in &set.tables {
            let note = CommitNote::of_set(&set, *delta_version);
            let change = Change::Restore { delta_version: *delta_version };
            self.commit_change_of(asset, &change, &note, "restore", cancel)?;
            failpoint("data.between_set_commits")?;
            notes.push((asset, note));
        }
        if !notes.is_empty() {
            self.record_set(&set)?;
        }
        notes.into_iter().map(|(asset, note)| self.outcome(asset, &note, None)).collect()
    }

    /// Those tables that are not what they were, with the Delta versions that can be restored.
    fn changed_since(&self, wanted: BTreeMap<AssetId, u64>) -> Result<RestoreSet> {
        let mut tables = BTreeMap::new();
        for (asset, delta) in wanted {
            let place =
                self.place(&self.table_version_of(asset.as_str(), Some(&delta.to_string()))?)?;
            let newest = catalog::newest_table(&self.store().read()?, &asset)?;
            let version = place.version()?;
            if newest.is_none_or(|row| row.version != version) {
                let engine = self.clone();
                let open = place.clone();
                // What cannot be opened is found before the first table is touched.
                self.block(None, async move { engine.open_at(&open).await.map(drop) })?;
                tables.insert(asset, place.delta_version);
            }
        }
        Ok(RestoreSet { id: ActivityId::new().to_string(), tables })
    }

    /// Puts the rows of a query in the place of those that a predicate holds for. The new rows must
    /// fulfil the predicate too.
    ///
    /// # Errors
    /// When the table is not the user's own, or the query or the predicate is wrong.
    pub fn replace_where(
        &self,
        table: &str,
        predicate: &str,
        sql: &str,
        options: &SqlOptions,
        cancel: &Cancel,
    ) -> Result<Changed> {
        let asset = find_table(&self.store().read()?, table)?;
        let name = format!("{OWN_TABLES}.\"{}\"", asset.stem());
        self.may_change(&asset, &Change::Delete { predicate: None })?;
        let delete = format!("DELETE FROM {name} WHERE {predicate}");
        let (planned, _) = self.plan_statement(&delete, options, cancel)?;
        let Planned::Change { change: Change::Delete { predicate: Some(predicate) }, .. } = planned
        else {
            return Err(DataError::engine("a predicate was not planned as one"));
        };
        let insert = format!("INSERT INTO {name} {sql}");
        let (planned, mut about) = self.plan_statement(&insert, options, cancel)?;
        let Planned::Change { change: Change::Append { rows }, .. } = planned else {
            return Err(DataError::engine("the rows were not planned as such"));
        };
        about.action = "replace where";
        self.change(&asset, Change::ReplaceWhere { predicate, rows }, about, cancel)
    }

    /// Packs the small files of a table together. The version stays the same.
    ///
    /// # Errors
    /// When there is no such table or it cannot be written.
    pub fn compact(
        &self,
        table: &str,
        file_megabytes: Option<u64>,
        cancel: &Cancel,
    ) -> Result<Changed> {
        let file_bytes = match file_megabytes {
            Some(0) => None,
            Some(size) => NonZeroU64::new(size.min(FILE_MEGABYTES_MAX) << 20),
            None => None,
        };
        let change = Change::Compact { file_bytes };
        self.arrange_table(table, "compact", change, cancel)
    }

    /// Writes the rows of a table in z-order of these columns, so that reads by them skip files. The
    /// version stays the same.
    ///
    /// # Errors
    /// When there is no such table or column, or it cannot be written.
    pub fn zorder(&self, table: &str, columns: &[String], cancel: &Cancel) -> Result<Changed> {
        let meta = self.table_version_of(table, None)?;
        let known: Vec<&str> = meta.columns.iter().map(|column| column.name.as_str()).collect();
        if let Some(unknown) = columns.iter().find(|name| !known.contains(&name.as_str())) {
            return Err(DataError::NotFound {
                what: "column",
                name: format!("{unknown} in {}", meta.asset),
                known: known.join(", "),
            });
        }
        let change = Change::ZOrder { columns: columns.to_vec() };
        self.arrange_table(table, "z-order", change, cancel)
    }

    fn arrange_table(
        &self,
        table: &str,
        action: &'static str,
        change: Change,
        cancel: &Cancel,
    ) -> Result<Changed> {
        let asset: AssetId = find_table(&self.store().read()?, table)?;
        let about = About { action, ..About::default() };
        self.change(&asset, change, about, cancel)
    }

    /// Reads a statement that writes, without doing it.
    fn plan_statement(
        &self,
        sql: &str,
        options: &SqlOptions,
        cancel: &Cancel,
    ) -> Result<(Planned, About)> {
        let statement = query::single(sql).map_err(query::SqlFault::without_file)?;
        self.planned(sql, statement, options, cancel)
    }
}

fn hold_open(changes: &RwLock<()>) -> RwLockReadGuard<'_, ()> {
    changes.read().unwrap_or_else(PoisonError::into_inner)
}

fn hold(lock: &Mutex<()>) -> MutexGuard<'_, ()> {
    lock.lock().unwrap_or_else(PoisonError::into_inner)
}

/// `NAME` and what follows an `@`.
fn split(table: &str) -> (&str, Option<&str>) {
    match table.split_once('@') {
        Some((name, which)) => (name, Some(which)),
        None => (table, None),
    }
}
