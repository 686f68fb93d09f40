//! Which data files may go? Those that no version needs that anybody holds. A version is held when
//! it is the newest of a table, when a tag or a branch names it, when somebody outside this layer
//! cites it (a run, an index, a dataset, a release), or while it is young, so that a reader that
//! opened it can finish.
//!
//! The table format's own vacuum keeps what is young or listed. It knows nothing of who cites, and
//! removes nothing while the log's retention says "never", as ours does; so the set of files is
//! computed here, from the log, for every held version. A version is first marked as removed, in the
//! catalog, and then its files go: a crash in between leaves files that the next run removes, never
//! a version that seems whole and is not.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    time::Duration,
};

use deltalake_core::{DeltaTableError, kernel::Action, logstore::get_actions};
use serde::Serialize;
use sextant_core::{ActivityKind, Digest};
use sextant_project::AssetId;

use super::{TableMeta, tags};
use crate::{
    DataEngine,
    catalog::{self, LatestTable},
    error::{DataError, Result},
    storage::place::TableFile,
};

/// A file that no commit names may belong to a write that is under way elsewhere; after this long
/// it was left behind.
const ORPHAN_AGE: Duration = Duration::from_secs(24 * 60 * 60);

/// Somebody outside this layer who cites a version of a table.
#[derive(Debug, Clone)]
pub struct Holder {
    /// The version.
    pub version: Digest,
    /// Who, for people.
    pub by: String,
}

/// What may be removed.
#[derive(Debug, Clone)]
pub struct GcOptions {
    /// Only say what would be done.
    pub dry_run: bool,
    /// Versions that were the newest until later than this ago stay.
    pub older_than: Duration,
    /// Who cites what.
    pub holders: Vec<Holder>,
}

/// A version and who holds it.
#[derive(Debug, Clone, Serialize)]
pub struct HeldVersion {
    /// The table's asset.
    pub asset: AssetId,
    /// The Delta version.
    pub delta_version: u64,
    /// Its id.
    pub version: Digest,
    /// Who holds it.
    pub by: Vec<String>,
}

/// A version that nobody holds.
#[derive(Debug, Clone, Serialize)]
pub struct RemovedVersion {
    /// The table's asset.
    pub asset: AssetId,
    /// The Delta version.
    pub delta_version: u64,
    /// Its id.
    pub version: Digest,
}

/// What was removed, or would be.
#[derive(Debug, Clone, Default, Serialize)]
pub struct GcReport {
    /// Whether nothing was done.
    pub dry_run: bool,
    /// Every version that stays, with who holds it.
    pub held: Vec<HeldVersion>,
    /// Every version that goes.
    pub removed: Vec<RemovedVersion>,
    /// How many data files go.
    pub files: u64,
    /// How many bytes they have.
    pub bytes: u64,
    /// Tables that were left alone because they are being built.
    pub skipped: Vec<AssetId>,
}

/// What is to be done to one table.
struct Plan {
    held: Vec<HeldVersion>,
    removed: Vec<RemovedVersion>,
    files: Vec<TableFile>,
}

impl DataEngine {
    /// Removes the data files that no held version needs.
    ///
    /// # Errors
    /// When a table or the catalog cannot be read, or a file cannot be removed.
    pub fn gc(&self, options: &GcOptions) -> Result<GcReport> {
        // What is prepared names files that no log names yet.
        self.settle(None)?;
        self.adopt_commits()?;
        let mut report = GcReport { dry_run: options.dry_run, ..GcReport::default() };
        for (asset, _) in catalog::all_tables(&self.store().read()?)? {
            let lock = self.lock_of("write", &asset);
            let _turn = lock.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            let naming = self.naming();
            let Some(plan) = self.gc_plan(&asset, options)? else {
                report.skipped.push(asset);
                continue;
            };
            report.files += plan.files.len() as u64;
            report.bytes += plan.files.iter().map(|file| file.bytes).sum::<u64>();
            if !options.dry_run {
                self.mark_removed(&asset, &plan)?;
                drop(naming);
                self.remove_files(&asset, &plan)?;
            }
            report.held.extend(plan.held);
            report.removed.extend(plan.removed);
        }
        Ok(report)
    }

    /// `None` when the table has a commit that is not recorded: its build is under way.
    fn gc_plan(&self, asset: &AssetId, options: &GcOptions) -> Result<Option<Plan>> {
        let reader = self.store().read()?;
        let versions = catalog::table_versions(&reader, asset)?;
        let recorded = versions.last().map(|row| row.meta.delta_version);
        if self.newest_in_log(asset, recorded)? > recorded {
            return Ok(None);
        }
        let gone = catalog::removed(&reader, asset)?;
        let reasons = self.reasons(asset, &versions, options)?;
        let mut plan = Plan { held: Vec::new(), removed: Vec::new(), files: Vec::new() };
        let mut kept = Vec::new();
        let held_ids: BTreeSet<Digest> = versions
            .iter()
            .filter(|row| reasons.contains_key(&row.meta.delta_version))
            .map(|row| row.version)
            .collect();
        for row in versions {
            let delta_version = row.meta.delta_version;
            let version = row.version;
            if let Some(by) = reasons.get(&delta_version) {
                let (asset, by) = (asset.clone(), by.clone());
                plan.held.push(HeldVersion { asset, delta_version, version, by });
                kept.push(row.meta);
            } else if !held_ids.contains(&version) && !gone.contains_key(&delta_version) {
                plan.removed.push(RemovedVersion { asset: asset.clone(), delta_version, version });
            }
        }
        let (engine, asset) = (self.clone(), asset.clone());
        plan.files =
            self.block(None, async move { engine.unneeded(&asset, kept, recorded).await })?;
        Ok(Some(plan))
    }

    /// Why each Delta version stays; those that may go are not in it.
    fn reasons(
        &self,
        asset: &AssetId,
        versions: &[LatestTable],
        options: &GcOptions,
    ) -> Result<BTreeMap<u64, Vec<String>>> {
        let reader = self.store().read()?;
        let gone = catalog::removed(&reader, asset)?;
        let there = |row: &&LatestTable| !gone.contains_key(&row.meta.delta_version);
        // A version whose rows were moved by compaction is read where they are now.
        let newest: HashMap<Digest, u64> = versions
            .iter()
            .filter(there)
            .map(|row| (row.version, row.meta.delta_version))
            .collect();
        let mut reasons: BTreeMap<u64, Vec<String>> = BTreeMap::new();
        let mut hold = |version: &Digest, by: String| {
            if let Some(delta) = newest.get(version) {
                reasons.entry(*delta).or_default().push(by);
            }
        };
        for row in catalog::latest_tables(&reader)?.iter().filter(|row| row.meta.asset == *asset) {
            hold(&row.version, "newest".to_owned());
        }
        for tag in tags::pointing_at(&reader, asset)? {
            let kind = if tag.kind == tags::TagKind::Tag { "tag" } else { "branch" };
            hold(&tag.version, format!("{kind} {}", tag.name));
        }
        for holder in &options.holders {
            hold(&holder.version, holder.by.clone());
        }
        let now = self.store().now().micros();
        let age = i64::try_from(options.older_than.as_micros()).unwrap_or(i64::MAX);
        for (index, row) in versions.iter().enumerate() {
            let next = versions.get(index + 1);
            let until = next.map_or(row.built_at, |next| next.built_at).micros();
            if until > now.saturating_sub(age) && there(&row) {
                reasons.entry(row.meta.delta_version).or_default().push("young".to_owned());
            }
        }
        for by in reasons.values_mut() {
            by.sort();
            by.dedup();
        }
        Ok(reasons)
    }

    /// The data files of a table that none of these versions needs.
    async fn unneeded(
        &self,
        asset: &AssetId,
        kept: Vec<TableMeta>,
        newest: Option<u64>,
    ) -> Result<Vec<TableFile>> {
        let failed = |error| DataError::table("read the log of", asset)(error);
        let mut needed = BTreeSet::new();
        let deltas: BTreeSet<u64> = kept.iter().map(|meta| meta.delta_version).collect();
        let mut has_vectors = false;
        for meta in kept {
            let table = self.open_at(&meta).await?;
            for file in table.snapshot().map_err(failed)?.log_data().iter() {
                needed.insert(file.object_store_path().to_string());
                // A foreign writer may mark deleted rows in files of its own.
                has_vectors |= file.deletion_vector_descriptor().is_some();
            }
        }
        let log = self.open_or_start(asset).await?.log_store();
        let mut named = BTreeSet::new();
        if let Some(newest) = newest {
            for version in 0..=newest {
                let Some(bytes) = log.read_commit_entry(version).await.map_err(failed)? else {
                    return Err(failed(DeltaTableError::InvalidVersion(version)));
                };
                for action in get_actions(version, &bytes).map_err(failed)? {
                    match action {
                        Action::Add(add) => {
                            named.insert(add.path);
                        }
                        Action::Cdc(change) => {
                            if deltas.contains(&version) {
                                needed.insert(change.path.clone());
                            }
                            named.insert(change.path);
                        }
                        _ => {}
                    }
                }
            }
        }
        let files = self.home().data_files(asset).await?.into_iter();
        let unneeded = files.filter(|file| {
            let vector = has_vectors && file.name.ends_with(".bin");
            let left_behind = file.age.is_some_and(|age| age > ORPHAN_AGE);
            !vector && !needed.contains(&file.name) && (named.contains(&file.name) || left_behind)
        });
        Ok(unneeded.collect())
    }

    fn mark_removed(&self, asset: &AssetId, plan: &Plan) -> Result<()> {
        if plan.removed.is_empty() && plan.files.is_empty() {
            return Ok(());
        }
        let mut act = self.store().begin(ActivityKind::Erase, format!("gc {asset}"));
        act.note("files", plan.files.len());
        act.note("bytes", plan.files.iter().map(|file| file.bytes).sum::<u64>());
        for row in &plan.removed {
            catalog::put_removed(&mut act, asset, row.delta_version);
        }
        act.commit()?;
        super::failpoint("data.before_gc_files")
    }

    fn remove_files(&self, asset: &AssetId, plan: &Plan) -> Result<()> {
        let (engine, asset, files) = (self.clone(), asset.clone(), plan.files.clone());
        self.block(None, async move {
            for file in &files {
                engine.home().remove(&asset, &file.name).await?;
            }
            Ok(())
        })
    }
}
