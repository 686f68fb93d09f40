//! In which order is a batch landed, so that a crash at any point is repaired by running again?
//!
//! 1. The marks are read from the table's own log, and the records behind them from the source.
//! 2. Records that lie in quarantine already (a crash came between the two commits) are left out.
//! 3. What does not fit is committed to the quarantine.
//! 4. What fits is committed to the table together with the new marks.
//!
//! A source with several partitions may cut its batches in another way after a crash: then the mark
//! of the quarantine can stand ahead of the batch that is landed, and it never goes back, since all
//! that lies between the two marks is looked up in step 2.
//!
//! A writer that finds that another one came first begins again at 1 with the marks as they are.
//!
//! While a batch is being committed to the table the next one is read and sorted. Nothing of it is
//! written before that commit is there, and one that gives the table other columns is waited for
//! first.

use std::collections::{BTreeMap, HashSet};

use sextant_core::Cancel;
use sextant_data::Started;

use super::{
    ArrivalState, Feed, Landed, Marks, Plan, Record,
    commit::{Change, Target, lost_the_race, txn_app},
    quarantine,
    shape::{self, Sorted},
};
use crate::{
    Ingest, catalog,
    error::{DataError, Result},
    failpoint,
};

/// How often a batch is begun again when another writer came first.
const RACES_MAX: u32 = 16;

/// What is known between two batches.
pub(crate) struct Pair {
    pub(crate) main: Target,
    pub(crate) quarantine: Target,
}

impl Ingest {
    /// Lands everything that the feed has, batch by batch, and says how the tables stand. Only one
    /// thread lands a source at a time.
    pub(crate) fn land(&self, plan: &Plan, feed: &mut dyn Feed, cancel: &Cancel) -> Result<Landed> {
        let lock = self.arrival_lock(&plan.asset);
        let _turn = lock.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let mut races = 0;
        let mut commits = 0;
        loop {
            let mut pair = self.open_pair(plan, cancel)?;
            let outcome = self.land_all(plan, feed, &mut pair, &mut commits, cancel);
            match outcome {
                Ok(()) => {
                    let landed = self.landed(plan, &mut pair, cancel)?;
                    return Ok(Landed { commits: commits + landed.commits, ..landed });
                }
                Err(error) if lost_the_race(&error) && races < RACES_MAX => races += 1,
                Err(error) => return Err(error),
            }
        }
    }

    /// How often the quarantine was put through again. It is a part of what makes a source stale:
    /// a replay whose build did not come about is recorded by the next one.
    pub(crate) fn replays(&self, plan: &Plan) -> Result<u64> {
        let asset = plan.asset.as_str();
        let known = catalog::arrival(&self.store().read()?, asset)?;
        let from = known.as_ref().map(|known| known.delta_version);
        let newest = self.newest_in_log(&plan.asset, from)?;
        match (newest, known) {
            (None, _) => Ok(0),
            (Some(newest), Some(known)) if known.delta_version == newest => Ok(known.state.replays),
            (Some(_), _) => Ok(self.open_pair(plan, &Cancel::new())?.main.state.replays),
        }
    }

    pub(crate) fn open_pair(&self, plan: &Plan, cancel: &Cancel) -> Result<Pair> {
        let (engine, asset, name) = (self.clone(), plan.asset.clone(), plan.table.clone());
        let (held, held_name) = (plan.quarantine()?, format!("{name}{}", super::QUARANTINE_SUFFIX));
        self.block(Some(cancel), async move {
            let main = engine.target(&asset, &name).await?;
            let quarantine = engine.target(&held, &held_name).await?;
            Ok(Pair { main, quarantine })
        })
    }

    fn land_all(
        &self,
        plan: &Plan,
        feed: &mut dyn Feed,
        pair: &mut Pair,
        commits: &mut u64,
        cancel: &Cancel,
    ) -> Result<()> {
        self.reshape(plan, pair, commits, cancel)?;
        let mut marks = self.read_marks(plan, pair, cancel)?;
        let mut state = pair.main.state.clone();
        let mut begun: Option<Started<Target>> = None;
        loop {
            let batch = self.next_batch(plan, feed, pair, (&marks, &state), cancel);
            if let Some(begun) = begun.take() {
                self.finish_commit(pair, begun, commits, cancel)?;
            }
            let Some(batch) = batch? else { return Ok(()) };
            marks.extend(batch.marks.clone());
            state.clone_from(&batch.state);
            let other_columns = !has_columns(pair, &batch);
            let commit = self.begin_commit(plan, pair, batch, cancel)?;
            if other_columns {
                self.finish_commit(pair, commit, commits, cancel)?;
            } else {
                begun = Some(commit);
            }
        }
    }

    /// The records behind these marks, sorted; nothing when all has landed. It changes nothing.
    fn next_batch(
        &self,
        plan: &Plan,
        feed: &mut dyn Feed,
        pair: &mut Pair,
        (marks, state): (&Marks, &ArrivalState),
        cancel: &Cancel,
    ) -> Result<Option<Batch>> {
        if cancel.is_cancelled() {
            return Err(DataError::Cancelled);
        }
        let records = feed.next(marks)?;
        if records.is_empty() {
            return Ok(None);
        }
        let held = self.held(plan, pair, marks, cancel)?;
        Batch::new(plan, pair, records, &held, (marks, state)).map(Some)
    }

    /// Gives columns the types that the user wrote down since the table was made.
    pub(crate) fn reshape(
        &self,
        plan: &Plan,
        pair: &mut Pair,
        commits: &mut u64,
        cancel: &Cancel,
    ) -> Result<()> {
        let (Some(schema), Some(meta)) = (pair.main.schema(), pair.main.meta()?) else {
            return Ok(());
        };
        let wanted = plan.rules.schema.iter().map(|(name, kind)| (name.clone(), kind.data_type()));
        let changed: BTreeMap<_, _> = wanted
            .filter(|(name, kind)| {
                schema.field_with_name(name).is_ok_and(|field| field.data_type() != kind)
            })
            .collect();
        if changed.is_empty() {
            return Ok(());
        }
        let engine = self.clone();
        pair.main = self.with(&mut pair.main, cancel, move |target| async move {
            engine.retype(target, &meta, &changed).await
        })?;
        *commits += 1;
        failpoint("data.arrival.after_retype")
    }

    fn read_marks(&self, plan: &Plan, pair: &mut Pair, cancel: &Cancel) -> Result<Marks> {
        let (engine, plan) = (self.clone(), plan.clone());
        let (main, marks) = self.with(&mut pair.main, cancel, move |target| async move {
            let marks = engine.marks(&target, &plan.partitions).await?;
            Ok((target, marks))
        })?;
        pair.main = main;
        Ok(marks)
    }

    /// What lies in quarantine behind the table's marks.
    fn held(&self, plan: &Plan, pair: &mut Pair, marks: &Marks, cancel: &Cancel) -> Result<Held> {
        let Some(meta) = pair.quarantine.meta()? else { return Ok(Held::default()) };
        let (engine, plan, marks) = (self.clone(), plan.clone(), marks.clone());
        let (quarantine, held) =
            self.with(&mut pair.quarantine, cancel, move |target| async move {
                let mut held = Held::default();
                for partition in &plan.partitions {
                    let mark = marks.get(partition).copied().unwrap_or(i64::MIN);
                    let app = txn_app(&target.asset, partition);
                    let own = super::txn_mark(&target.table, &app).await?.unwrap_or(i64::MIN);
                    if own > mark {
                        let behind = engine.held_behind(&meta, partition, mark).await?;
                        held.places.insert(partition.clone(), behind);
                        held.marks.insert(partition.clone(), own);
                    }
                }
                Ok((target, held))
            })?;
        pair.quarantine = quarantine;
        Ok(held)
    }

    /// Commits what does not fit, and begins to commit what fits.
    fn begin_commit(
        &self,
        plan: &Plan,
        pair: &mut Pair,
        batch: Batch,
        cancel: &Cancel,
    ) -> Result<Started<Target>> {
        let Batch { sorted, marks, held_marks, state } = batch;
        failpoint("data.arrival.before_quarantine")?;
        if !sorted.bad.is_empty() {
            let rows = quarantine::rows(&sorted.bad)?;
            let marks = apps(&plan.quarantine()?, &held_marks);
            let engine = self.clone();
            pair.quarantine =
                self.with(&mut pair.quarantine, cancel, move |target| async move {
                    let change = Change { rows, marks, state: ArrivalState::default() };
                    engine.append(target, change).await
                })?;
        }
        failpoint("data.arrival.after_quarantine")?;
        let marks = apps(&plan.asset, &marks);
        let (engine, rules, target) = (self.clone(), plan.rules.clone(), pair.main.copy());
        self.start(async move {
            let change = Change { rows: sorted.good, marks, state };
            if rules.key.is_empty() {
                engine.append(target, change).await
            } else {
                engine.upsert(target, change, &rules).await
            }
        })
    }

    fn finish_commit(
        &self,
        pair: &mut Pair,
        begun: Started<Target>,
        commits: &mut u64,
        cancel: &Cancel,
    ) -> Result<()> {
        pair.main = begun.wait(Some(cancel))?;
        failpoint("data.arrival.after_commit")?;
        *commits += 1;
        Ok(())
    }

    /// Runs work on a target that it takes and gives back. When it fails the target is gone with
    /// it, and the tables are opened again.
    pub(crate) fn with<T, F>(
        &self,
        target: &mut Target,
        cancel: &Cancel,
        work: impl FnOnce(Target) -> F + Send + 'static,
    ) -> Result<T>
    where
        T: Send + 'static,
        F: Future<Output = Result<T>> + Send + 'static,
    {
        let taken = target.copy();
        self.block(Some(cancel), async move { work(taken).await })
    }

    /// How the tables stand. A source without any record gets an empty table.
    pub(crate) fn landed(&self, plan: &Plan, pair: &mut Pair, cancel: &Cancel) -> Result<Landed> {
        let mut commits = 0;
        let mut found = pair.main.meta()?;
        if found.is_none() {
            let Sorted { good, .. } = shape::sort(plan, None, Vec::new())?;
            let engine = self.clone();
            pair.main = self.with(&mut pair.main, cancel, move |target| async move {
                let state = ArrivalState::default();
                engine.append(target, Change { rows: good, marks: Vec::new(), state }).await
            })?;
            commits += 1;
            found = pair.main.meta()?;
        }
        let table = found.ok_or_else(|| DataError::engine("a written table has no version"))?;
        let quarantine = pair.quarantine.meta()?;
        Ok(Landed { table, quarantine, state: pair.main.state.clone(), commits })
    }
}

/// What a stopped batch has left in quarantine.
#[derive(Default)]
struct Held {
    /// The places, per partition.
    places: BTreeMap<String, HashSet<i64>>,
    /// The quarantine's own marks, where they are ahead of the table's.
    marks: Marks,
}

/// One batch, ready to be committed.
struct Batch {
    sorted: Sorted,
    marks: Marks,
    /// The same for the quarantine, whose marks never go back.
    held_marks: Marks,
    state: ArrivalState,
}

impl Batch {
    fn new(
        plan: &Plan,
        pair: &Pair,
        records: Vec<Record>,
        held: &Held,
        (before, state): (&Marks, &ArrivalState),
    ) -> Result<Self> {
        let mut marks = Marks::new();
        let total = records.len();
        let mut fresh = Vec::with_capacity(total);
        let mut known = 0;
        for record in records {
            let mark = before.get(&*record.partition).copied().unwrap_or(i64::MIN);
            if record.offset <= mark {
                let (partition, offset) = (&record.partition, record.offset);
                let text = format!("{partition}:{offset} was handed over twice");
                return Err(DataError::engine(text));
            }
            match marks.get_mut(&*record.partition) {
                Some(last) => *last = (*last).max(record.offset),
                None => drop(marks.insert(record.partition.to_string(), record.offset)),
            }
            let places = held.places.get(&*record.partition);
            if places.is_some_and(|places| places.contains(&record.offset)) {
                known += 1;
            } else {
                fresh.push(record);
            }
        }
        let sorted = shape::sort(plan, pair.main.schema().as_deref(), fresh)?;
        let mut state = state.clone();
        state.released.clear();
        state.marks.extend(marks.clone());
        state.arrived += total as u64;
        state.landed += sorted.places.len() as u64;
        state.quarantined += sorted.bad.len() as u64 + known;
        let mut held_marks = marks.clone();
        for (partition, mark) in &mut held_marks {
            *mark = (*mark).max(held.marks.get(partition).copied().unwrap_or(*mark));
        }
        Ok(Self { sorted, marks, held_marks, state })
    }
}

/// Whether the table has the columns of this batch already.
fn has_columns(pair: &Pair, batch: &Batch) -> bool {
    let rows = batch.sorted.good.schema();
    let table = pair.main.schema();
    table.is_some_and(|table| {
        rows.fields().iter().all(|field| table.fields().iter().any(|own| own == field))
    })
}

fn apps(asset: &sextant_project::AssetId, marks: &Marks) -> Vec<(String, i64)> {
    marks.iter().map(|(partition, mark)| (txn_app(asset, partition), *mark)).collect()
}
