//! How do changes of several tables become visible together? Between BEGIN and COMMIT the changes are
//! [`Staged`]: their commits are kept in memory, and what follows in the transaction sees them. COMMIT
//! is then four steps, all without other writers of this program:
//!
//! 1. Every table is looked at: if another program wrote to one, the transaction begins again.
//! 2. The commits are *prepared*: written into the catalog, so that what follows can be finished by
//!    anybody.
//! 3. Each commit is put into its log, where it must be the next one.
//! 4. One act records them all and forgets what was prepared. Only here do readers see anything.
//!
//! A crash before the second step leaves nothing, and after it the next start goes on with the third.
//! When another program takes the place of a commit in the moment of the third step, what was put is
//! taken back, and the transaction begins again.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use datafusion::execution::{
    object_store::DefaultObjectStoreRegistry,
    runtime_env::{RuntimeEnv, RuntimeEnvBuilder},
};
use deltalake_core::{
    DeltaTableError,
    logstore::object_store::{Error, ObjectStoreExt as _, PutMode, PutPayload},
};
use sextant_core::{ActivityId, ActivityKind, Cancel};
use sextant_project::AssetId;

use super::{
    change::{About, Change, Changed, explain, note_of},
    commits::CommitNote,
    failpoint,
    log::Effect,
};
use crate::{
    DataEngine,
    catalog::{self, LatestTable, Prepared},
    error::{DataError, Result},
    storage::staged::{Staged, StagedFiles, commit_path},
};

/// Largest sum of the commits of a transaction. They name data files and do not hold them.
const PREPARED_BYTES_MAX: usize = 16 << 20;

/// A transaction that is under way.
#[derive(Debug)]
pub(crate) struct Transaction {
    pub(crate) staged: Arc<Staged>,
    /// Like the engine's own, but its sessions find the staged logs.
    pub(crate) environment: Arc<RuntimeEnv>,
    /// What each commit made of its table, in order.
    made: Mutex<Vec<LatestTable>>,
}

impl Transaction {
    fn made(&self) -> MutexGuard<'_, Vec<LatestTable>> {
        self.made.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the transaction made of a table.
    pub(crate) fn latest(&self, asset: &AssetId) -> Option<LatestTable> {
        self.made().iter().rev().find(|row| row.meta.asset == *asset).cloned()
    }

    /// Puts what the transaction made in the place of what is there.
    pub(crate) fn lay_over(&self, tables: &mut Vec<LatestTable>) {
        for row in self.made().iter() {
            tables.retain(|table| table.meta.asset != row.meta.asset);
            tables.push(row.clone());
        }
    }
}

impl DataEngine {
    /// This engine as a new transaction sees it.
    pub(crate) fn begin_transaction(&self) -> Result<Self> {
        let staged = Arc::new(Staged::over(self.home().files()));
        let environment = RuntimeEnvBuilder::from_runtime_env(&self.environment())
            .with_object_store_registry(Arc::new(DefaultObjectStoreRegistry::new()))
            .build_arc()
            .map_err(DataError::engine)?;
        let root = self.home().object_store_url()?;
        let files = Arc::new(StagedFiles(Arc::clone(&staged)));
        environment.register_object_store(root.as_ref(), files);
        let made = Mutex::default();
        Ok(self.inside(Arc::new(Transaction { staged, environment, made })))
    }

    /// Does a change within the transaction.
    pub(crate) fn staged_change(
        &self,
        transaction: &Transaction,
        asset: &AssetId,
        change: Change,
        about: About,
        cancel: &Cancel,
    ) -> Result<Changed> {
        let before = match transaction.latest(asset) {
            Some(row) => Some(row),
            None => self.hold(transaction, asset)?,
        };
        let note = note_of(&change, &about);
        let (engine, table) = (self.clone(), asset.clone());
        let properties = self.note_for(asset, &note)?;
        let done = self.block(Some(cancel), async move {
            engine.commit_once(&table, &change, properties).await
        })?;
        done.map_err(|error| explain(asset, about.action, error))?;
        let (engine, table) = (self.clone(), asset.clone());
        let known = before.as_ref().map(|row| row.meta.clone());
        let commits =
            self.block(None, async move { engine.unrecorded(&table, known.as_ref()).await })?;
        let mut after = before.clone();
        let mut metrics = serde_json::Value::Null;
        for commit in &commits {
            let made = self.made_of(asset, commit, after.as_ref())?;
            transaction.made().push(made.clone());
            after = Some(made);
            metrics = commit.info.info.get("operationMetrics").cloned().unwrap_or_default();
        }
        let row = after.ok_or_else(|| DataError::engine(format!("{asset} was not written")))?;
        let CommitNote { action, .. } = note;
        Ok(Changed {
            unchanged: before.is_some_and(|before| before.version == row.version),
            metrics,
            action,
            ..Changed::nothing("", row.version, row.meta)
        })
    }

    /// Keeps a table for the transaction as it is now.
    fn hold(&self, transaction: &Transaction, asset: &AssetId) -> Result<Option<LatestTable>> {
        let row = catalog::newest_table(&self.store().read()?, asset)?;
        let base = row.as_ref().map(|row| row.meta.delta_version);
        transaction.staged.hold(&self.home().root(asset)?, base);
        Ok(row)
    }

    /// What a commit makes of a table, as its act will have it.
    fn made_of(
        &self,
        asset: &AssetId,
        commit: &super::log::Commit,
        before: Option<&LatestTable>,
    ) -> Result<LatestTable> {
        let (version, meta) = match (&commit.effect, before) {
            (Effect::Same, Some(row)) => {
                let mut meta = row.meta.clone();
                meta.delta_version = commit.delta_version;
                (row.version, meta)
            }
            _ => {
                let path = self.home().path(asset);
                let meta = super::commits::meta_of(asset, path, commit, before)?;
                (meta.version()?, meta)
            }
        };
        Ok(LatestTable { version, meta, built_at: self.store().now() })
    }

    /// Makes all changes of a transaction visible; `false` when another program was first, and nothing
    /// of them is there.
    pub(crate) fn commit_transaction(&self, transaction: &Transaction) -> Result<bool> {
        let made: Vec<LatestTable> = transaction.made().clone();
        if made.is_empty() {
            return Ok(true);
        }
        let assets: BTreeSet<AssetId> = made.iter().map(|row| row.meta.asset.clone()).collect();
        let locks: Vec<_> = assets.iter().map(|asset| self.lock_of("record", asset)).collect();
        let _held: Vec<_> =
            locks.iter().map(|lock| lock.lock().unwrap_or_else(PoisonError::into_inner)).collect();
        let mut bases = BTreeMap::new();
        for asset in &assets {
            let row = catalog::newest_table(&self.store().read()?, asset)?;
            let base = row.map(|row| row.meta.delta_version);
            if self.newest_in_log(asset, base)? > base {
                return Ok(false);
            }
            bases.insert(asset.clone(), base);
        }
        let set = ActivityId::new().to_string();
        self.prepare_commits(transaction, &set, &made, &bases)?;
        failpoint("data.transaction.prepared")?;
        self.finish_prepared(&set)
            .map_err(|source| DataError::Unfinished { source: Box::new(source) })
    }

    fn prepare_commits(
        &self,
        transaction: &Transaction,
        set: &str,
        made: &[LatestTable],
        bases: &BTreeMap<AssetId, Option<u64>>,
    ) -> Result<()> {
        let label = format!("prepare {} changes of {} tables", made.len(), bases.len());
        let mut act = self.store().begin(ActivityKind::Author, label);
        let mut bytes = 0;
        for row in made {
            let asset = row.meta.asset.clone();
            let folder = self.home().root(&asset)?;
            let (staged, delta) = (Arc::clone(&transaction.staged), row.meta.delta_version);
            let entry = self.block(None, async move {
                let entry = staged.commit(&folder, delta).await;
                entry.map_err(DataError::engine)
            })?;
            bytes += entry.len();
            let entry = String::from_utf8(entry.into()).map_err(DataError::engine)?;
            let base = bases.get(&asset).copied().flatten();
            catalog::put_prepared(
                &mut act,
                set,
                &Prepared { asset, delta_version: delta, base, entry },
            );
        }
        if bytes > PREPARED_BYTES_MAX {
            return Err(DataError::TooLarge {
                what: "the transaction".to_owned(),
                size: format!("{bytes} bytes of commits"),
                limit: format!("{PREPARED_BYTES_MAX} bytes"),
            });
        }
        act.commit()?;
        Ok(())
    }

    /// Finishes what a crash or a failing store left prepared, of all tables or of the sets with one.
    pub(crate) fn settle(&self, of: Option<&AssetId>) -> Result<()> {
        for (set, assets) in catalog::prepared_sets(&self.store().read()?)? {
            if of.is_some_and(|asset| !assets.contains(asset)) {
                continue;
            }
            let locks: Vec<_> = assets.iter().map(|asset| self.lock_of("record", asset)).collect();
            let _held: Vec<_> = locks
                .iter()
                .map(|lock| lock.lock().unwrap_or_else(PoisonError::into_inner))
                .collect();
            self.finish_prepared(&set)?;
        }
        Ok(())
    }

    /// Puts the prepared commits of a set and records them, all or none. Their locks are held.
    fn finish_prepared(&self, set: &str) -> Result<bool> {
        let rows = catalog::prepared(&self.store().read()?, set)?;
        if rows.is_empty() {
            // Somebody else finished it while this one waited for the locks.
            return Ok(true);
        }
        let mut put: BTreeMap<AssetId, u64> = BTreeMap::new();
        for row in &rows {
            if !self.put_commit(row)? {
                self.take_back(set, &rows, &put)?;
                return Ok(false);
            }
            put.insert(row.asset.clone(), row.delta_version);
            failpoint("data.transaction.between_commits")?;
        }
        self.record_prepared(set, &rows)?;
        Ok(true)
    }

    /// Puts one commit into its log; `false` when another one is there.
    fn put_commit(&self, row: &Prepared) -> Result<bool> {
        let path = commit_path(&self.home().root(&row.asset)?, row.delta_version);
        let (files, entry, asset) = (self.home().files(), row.entry.clone(), row.asset.clone());
        self.block(None, async move {
            let failed = |error| DataError::table("write", &asset)(DeltaTableError::from(error));
            let payload = PutPayload::from(entry.clone());
            match files.put_opts(&path, payload, PutMode::Create.into()).await {
                Ok(_) => Ok(true),
                Err(Error::AlreadyExists { .. }) => {
                    let found = files.get(&path).await.map_err(failed)?.bytes().await;
                    Ok(found.map_err(|error| {
                        DataError::table("write", &asset)(DeltaTableError::from(error))
                    })? == entry.as_bytes())
                }
                Err(error) => Err(failed(error)),
            }
        })
    }

    /// Records all commits of a set in one act.
    fn record_prepared(&self, set: &str, rows: &[Prepared]) -> Result<()> {
        let assets: BTreeSet<&AssetId> = rows.iter().map(|row| &row.asset).collect();
        let label = format!("commit {} changes of {} tables", rows.len(), assets.len());
        let mut act = self.store().begin(ActivityKind::Transform, label);
        let mut logs = BTreeMap::new();
        for asset in assets {
            let newest = catalog::newest_table(&self.store().read()?, asset)?;
            logs.insert(asset, (newest, VecDeque::from(self.unrecorded_now(asset)?)));
        }
        // In the order of the statements: a later one may have read what an earlier one made.
        for row in rows {
            let Some((newest, commits)) = logs.get_mut(&row.asset) else { continue };
            if let Some(commit) = commits.pop_front() {
                *newest = Some(self.add_commit(&mut act, &row.asset, &commit, newest.as_ref())?);
            }
        }
        catalog::forget_prepared(&mut act, set);
        failpoint("data.transaction.before_act")?;
        act.commit()?;
        Ok(())
    }

    /// Makes the tables what they were before the commits that were put, since not all could be.
    fn take_back(&self, set: &str, rows: &[Prepared], put: &BTreeMap<AssetId, u64>) -> Result<()> {
        let mut torn = Vec::new();
        let mut restored = Vec::new();
        for (asset, last) in put {
            if self.newest_in_log(asset, Some(*last))? > Some(*last) {
                // What came later is our own taking back, when a crash stopped it before its act.
                let taken = self
                    .unrecorded_now(asset)?
                    .iter()
                    .any(|commit| commit.note.as_ref().is_some_and(|note| note.id == set));
                if taken { &mut restored } else { &mut torn }.push(asset);
                continue;
            }
            let base = rows.iter().find(|row| row.asset == *asset).and_then(|row| row.base);
            let Some(base) = base else {
                self.unmake(asset, *last)?;
                continue;
            };
            let change = Change::Restore { delta_version: base };
            let about = About { action: "take back", ..About::default() };
            let note = CommitNote { id: set.to_owned(), ..note_of(&change, &about) };
            self.commit_change_of(asset, &change, &note, about.action, &Cancel::new())?;
            restored.push(asset);
        }
        failpoint("data.transaction.taken_back")?;
        let label = format!("take back {} tables", put.len());
        let mut act = self.store().begin(ActivityKind::Transform, label);
        for asset in restored.into_iter().chain(torn.iter().copied()) {
            let mut newest = catalog::newest_table(&self.store().read()?, asset)?;
            for commit in self.unrecorded_now(asset)? {
                newest = Some(self.add_commit(&mut act, asset, &commit, newest.as_ref())?);
            }
        }
        catalog::forget_prepared(&mut act, set);
        act.commit()?;
        if torn.is_empty() {
            return Ok(());
        }
        let names: Vec<String> = torn.iter().map(|asset| asset.to_string()).collect();
        Err(DataError::Taken {
            message: format!(
                "another program wrote to the tables of a transaction in the middle of its commit; \
                 {} has its part of it, the others do not",
                names.join(", ")
            ),
            fix: "`sextant data history` shows it; `sextant data restore` takes it back".to_owned(),
        })
    }

    /// Takes away the log of a table that only this transaction made.
    fn unmake(&self, asset: &AssetId, last: u64) -> Result<()> {
        let folder = self.home().root(asset)?;
        let (files, asset) = (self.home().files(), asset.clone());
        self.block(None, async move {
            for version in (0..=last).rev() {
                let removed = files.delete(&commit_path(&folder, version)).await;
                removed.map_err(|error| {
                    DataError::table("take back", &asset)(DeltaTableError::from(error))
                })?;
            }
            Ok(())
        })
    }
}
