//! How does a change of a folder become a change of the table? The rows of every file that is new,
//! changed or gone are replaced, first in the quarantine and then in the table, a group of files at
//! a time. Replacing is safe to do again: after a crash, the files that commits without an act have
//! touched are replaced once more with what they hold now.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use serde_json::json;
use sextant_core::{ActivityKind, ArtifactKind, Digest};
use sextant_lineage::Act;
use sextant_project::{BuildContext, Built};

use super::{super::way::Way as _, FILE, RecordsAsset, read};
use crate::{
    arrival::{
        ArrivalState, Change, Landed, Pair, Plan, Recorded, Sorted, quarantine_rows,
        record_quarantine, sort,
    },
    catalog::{self, RecordFile},
    error::{DataError, Result},
    failpoint,
};
use sextant_data::{
    FileRow,
    scan::{self, Found},
    table,
};

/// Most bytes of files whose rows are replaced in one commit.
const GROUP_BYTES_MAX: i64 = 64 << 20;
/// Most files whose rows are replaced in one commit.
const GROUP_FILES_MAX: usize = 500;

/// What happened to the folder since the last build.
struct Changes {
    /// Every file that is there, by path; those that were read again are overwritten as it goes.
    files: BTreeMap<String, RecordFile>,
    /// Files whose rows are replaced, with what is to be read; `None` for those that are gone.
    touched: Vec<(String, Option<Found>)>,
    /// Whether the table is made anew: every row comes from a file that is read again.
    anew: bool,
    read: usize,
    removed: Vec<String>,
}

/// One build under way.
struct Step<'a> {
    asset: &'a RecordsAsset,
    plan: Plan,
    pair: Pair,
    /// How files are read: the recipe.
    reader: Digest,
    context: &'a BuildContext<'a>,
    /// The files of the last build.
    before: BTreeMap<String, RecordFile>,
    changes: Changes,
}

pub(super) fn build(
    asset: &RecordsAsset,
    reader: Digest,
    context: &BuildContext<'_>,
    act: &mut Act,
) -> Result<Built> {
    act.kind(ActivityKind::Ingest);
    let (plan, engine) = (asset.plan(), &asset.common.engine);
    let lock = engine.arrival_lock(&plan.asset);
    let _turn = lock.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let mut pair = engine.open_pair(&plan, context.cancel)?;
    engine.finish(&plan, &mut pair, context.cancel)?;
    let catalog = context.store.read()?;
    let known = catalog::arrival(&catalog, plan.asset.as_str())?;
    let before = catalog::record_files(&catalog, plan.asset.as_str())?;
    let orphans = engine.files_since(&mut pair, known.as_ref(), context.cancel)?;
    let mut changes = changes(asset, reader, &before, orphans, context)?;
    let groups = groups(std::mem::take(&mut changes.touched));
    if !changes.anew {
        engine.reshape(&plan, &mut pair, &mut 0, context.cancel)?;
    }
    let mut step = Step { asset, plan, pair, reader, context, before, changes };
    for (number, group) in groups.into_iter().enumerate() {
        let anew = step.changes.anew && number == 0;
        step.replace(group, anew)?;
    }
    step.finish(known, act)
}

/// Compares the folder with what was read before.
fn changes(
    asset: &RecordsAsset,
    reader: Digest,
    before: &BTreeMap<String, RecordFile>,
    orphans: BTreeSet<String>,
    context: &BuildContext<'_>,
) -> Result<Changes> {
    let found = asset.files()?;
    let paths: BTreeSet<&str> = found.iter().map(|file| file.path.as_str()).collect();
    let gone = before.keys().chain(&orphans).filter(|path| !paths.contains(path.as_str()));
    let removed: BTreeSet<String> = gone.cloned().collect();
    let mut touched: Vec<(String, Option<Found>)> =
        removed.iter().map(|path| (path.clone(), None)).collect();
    let mut files = BTreeMap::new();
    let read_ns = context.store.now().micros().saturating_mul(1000);
    for file in &found {
        let old = before.get(&file.path).filter(|old| old.reader == reader);
        let old = old.filter(|_| !orphans.contains(&file.path));
        if let Some(old) = old {
            let settled = scan::is_settled(&old.file, file);
            let same = settled || {
                let bytes = asset.read(file)?;
                Digest::of(&bytes) == old.file.raw_digest
            };
            if same {
                let row = FileRow {
                    bytes: file.bytes,
                    mtime_ns: file.mtime_ns,
                    inode: file.inode,
                    read_ns: if settled { old.file.read_ns } else { read_ns },
                    ..old.file.clone()
                };
                files.insert(file.path.clone(), RecordFile { file: row, ..old.clone() });
                continue;
            }
        }
        touched.push((file.path.clone(), Some(file.clone())));
    }
    let anew = files.is_empty() && before.values().any(|old| old.reader != reader);
    let read = touched.iter().filter(|(_, file)| file.is_some()).count();
    Ok(Changes { files, touched, anew, read, removed: removed.into_iter().collect() })
}

type Group = Vec<(String, Option<Found>)>;

fn groups(touched: Group) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    let mut bytes = 0;
    for (path, file) in touched {
        let size = file.as_ref().map_or(0, |file| file.bytes);
        let fits = groups.last().is_some_and(|group| group.len() < GROUP_FILES_MAX)
            && bytes + size <= GROUP_BYTES_MAX;
        if !fits {
            groups.push(Vec::new());
            bytes = 0;
        }
        bytes += size;
        if let Some(group) = groups.last_mut() {
            group.push((path, file));
        }
    }
    groups
}

impl Step<'_> {
    /// Replaces the rows of a group of files.
    fn replace(&mut self, group: Group, anew: bool) -> Result<()> {
        let (asset, context, reader) = (self.asset, self.context, self.reader);
        if context.cancel.is_cancelled() {
            return Err(DataError::Cancelled);
        }
        let mut plan = self.plan.clone();
        let mut hints = BTreeMap::new();
        let mut records = Vec::new();
        let mut paths = Vec::with_capacity(group.len());
        let read_ns = context.store.now().micros().saturating_mul(1000);
        for (path, found) in group {
            paths.push(path.clone());
            let Some(found) = found else { continue };
            context.progress(self.changes.files.len() as u64, None, &path);
            let bytes = asset.read(&found)?;
            let contents = read::read(&asset.config, &path, &bytes)?;
            let file = FileRow {
                path: path.clone(),
                bytes: found.bytes,
                mtime_ns: found.mtime_ns,
                inode: found.inode,
                read_ns,
                raw_digest: Digest::of(&bytes),
                doc_version: reader,
            };
            let row =
                RecordFile { file, reader, landed: contents.records.len() as u64, quarantined: 0 };
            self.changes.files.insert(path, row);
            hints.extend(contents.types);
            let now = read_ns / 1000;
            records.extend(contents.records.into_iter().map(|mut record| {
                record.arrived_at = now;
                record
            }));
        }
        let mut rules = (*plan.rules).clone();
        rules.hints = hints;
        plan.rules = Arc::new(rules);
        let schema = if anew { None } else { self.pair.main.schema() };
        let sorted = sort(&plan, schema.as_deref(), records)?;
        let mut held: HashMap<String, u64> = HashMap::new();
        for (record, _) in &sorted.bad {
            *held.entry(record.partition.to_string()).or_default() += 1;
        }
        for (path, count) in held {
            if let Some(file) = self.changes.files.get_mut(&path) {
                file.quarantined = count;
                file.landed -= count;
            }
        }
        self.commit(sorted, paths, anew)
    }

    fn commit(&mut self, sorted: Sorted, paths: Vec<String>, anew: bool) -> Result<()> {
        let (engine, cancel) = (&self.asset.common.engine, self.context.cancel);
        let pair = &mut self.pair;
        failpoint("data.arrival.before_quarantine")?;
        let mut replayed = 0;
        if !sorted.bad.is_empty() || pair.quarantine.table.version().is_some() {
            let rows = quarantine_rows(&sorted.bad)?;
            let state = ArrivalState { files: paths.clone(), ..ArrivalState::default() };
            let (worker, list) = (engine.clone(), paths.clone());
            pair.quarantine =
                engine.with(&mut pair.quarantine, cancel, move |target| async move {
                    let change = Change { rows, marks: Vec::new(), state };
                    worker.replace(target, change, "partition", &list, anew).await
                })?;
            let (worker, meta) = (engine.clone(), pair.quarantine.meta()?);
            if let Some(meta) = meta {
                replayed = engine
                    .block(Some(cancel), async move { worker.released_count(&meta).await })?;
            }
        }
        failpoint("data.arrival.after_quarantine")?;
        let counted =
            |count: fn(&RecordFile) -> u64| self.changes.files.values().map(count).sum::<u64>();
        let state = ArrivalState {
            arrived: counted(|file| file.landed + file.quarantined),
            landed: counted(|file| file.landed),
            quarantined: counted(|file| file.quarantined),
            replayed,
            replays: pair.main.state.replays,
            files: paths.clone(),
            ..ArrivalState::default()
        };
        let worker = engine.clone();
        pair.main = engine.with(&mut pair.main, cancel, move |target| async move {
            let change = Change { rows: sorted.good, marks: Vec::new(), state };
            worker.replace(target, change, FILE, &paths, anew).await
        })?;
        failpoint("data.arrival.after_commit")
    }

    /// Records the tables, the batch and the files.
    fn finish(mut self, known: Option<Recorded>, act: &mut Act) -> Result<Built> {
        let engine = &self.asset.common.engine;
        let landed = engine.landed(&self.plan, &mut self.pair, self.context.cancel)?;
        let asset = self.plan.asset.as_str();
        for (path, file) in &self.changes.files {
            if self.before.get(path) != Some(file) {
                catalog::put_record_file(act, asset, file);
            }
        }
        for path in &self.changes.removed {
            catalog::remove_record_file(act, asset, path);
        }
        let recorded = |version: Digest| Recorded {
            delta_version: landed.table.delta_version,
            quarantine: landed.quarantine.as_ref().map(|table| table.delta_version),
            version,
            state: landed.state.clone(),
        };
        if let (Some(known), Some(previous)) = (&known, &self.context.previous)
            && *known == recorded(known.version)
        {
            let (version, meta) = (previous.version, previous.meta.clone());
            let summary = format!("{} files, none changed", self.changes.files.len());
            return Ok(Built { version, meta, summary });
        }
        let batch = act.manifest(ArtifactKind::SourceBatch, &self.batch(&landed), &[])?;
        let version = table::record(act, &landed.table, &[batch])?;
        if let Some(quarantine) = &landed.quarantine {
            record_quarantine(engine, act, quarantine, batch)?;
        }
        catalog::put_arrival(act, asset, &recorded(version));
        let summary = format!(
            "{} files: {} read, {} removed; {} rows, {} in quarantine",
            self.changes.files.len(),
            self.changes.read,
            self.changes.removed.len(),
            landed.table.rows,
            landed.state.quarantined.saturating_sub(landed.state.replayed),
        );
        Ok(Built { version, meta: landed.table.to_value(), summary })
    }

    /// The manifest of what the folder held.
    fn batch(&self, landed: &Landed) -> serde_json::Value {
        let file = |row: &RecordFile| {
            json!({
                "path": row.file.path,
                "raw_digest": row.file.raw_digest,
                "bytes": row.file.bytes,
                "landed": row.landed,
                "quarantined": row.quarantined,
            })
        };
        json!({
            "kind": "source_batch",
            "source": self.plan.asset,
            "uri": self.plan.uri,
            "files": self.changes.files.values().map(file).collect::<Vec<_>>(),
            "replayed": landed.state.replayed,
            "delta_version": landed.table.delta_version,
        })
    }
}
