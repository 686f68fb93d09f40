//! How do rows get out of quarantine? They are read again under the present rules; those that fit
//! now go into the table, once.
//!
//! The commit of the table names the rows it took and counts the replays; only then are they marked
//! in the quarantine. A crash in between is seen by the two counts, which differ, and the marking
//! is done first at the next run.

use std::sync::Arc;

use serde::Serialize;
use sextant_core::Cancel;

use super::{
    ArrivalState, Decode, Fault, Plan,
    commit::{Change, txn_app},
    land::Pair,
    shape,
};
use crate::{Ingest, error::Result, failpoint};

/// The name in the log under which replays are counted; no partition is called so.
const REPLAY: &str = "#replay";
/// Most rows that one commit takes out of quarantine.
const RELEASE_MAX: usize = 5_000;

/// What a replay did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Replayed {
    /// Rows that were put through.
    pub tried: u64,
    /// Those that went into the table.
    pub passed: u64,
    /// Those that still do not fit.
    pub failed: u64,
    /// Rows that a replay before this one had landed but not marked.
    pub finished: u64,
}

/// The same plan, under which a row that cannot be judged now stays where it is.
fn patient(plan: &Plan) -> Plan {
    let decode = Arc::clone(&plan.decode);
    let patient: Decode = Arc::new(move |record| {
        let judged = decode(record);
        Ok(judged.unwrap_or_else(|error| Err(Fault::new("later", error.to_string()))))
    });
    Plan { decode: patient, ..plan.clone() }
}

impl Ingest {
    /// Puts up to `limit` rows of a quarantine through again.
    pub(crate) fn replay(&self, plan: &Plan, limit: usize, cancel: &Cancel) -> Result<Replayed> {
        let lock = self.arrival_lock(&plan.asset);
        let _turn = lock.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let mut pair = self.open_pair(plan, cancel)?;
        let mut done =
            Replayed { finished: self.finish(plan, &mut pair, cancel)?, ..Replayed::default() };
        self.reshape(plan, &mut pair, &mut 0, cancel)?;
        let plan = &patient(plan);
        let mut skip = 0;
        while (done.tried as usize) < limit {
            let most = RELEASE_MAX.min(limit - done.tried as usize);
            let Some(meta) = pair.quarantine.meta()? else { break };
            let engine = self.clone();
            let read = async move { engine.waiting(&meta, skip, most).await };
            let rows = self.block(Some(cancel), read)?;
            if rows.is_empty() {
                break;
            }
            done.tried += rows.len() as u64;
            let records = rows.iter().filter_map(super::Quarantined::record).collect();
            let sorted = shape::sort(plan, pair.main.schema().as_deref(), records)?;
            let passed = sorted.places.len();
            skip += rows.len() - passed;
            done.passed += passed as u64;
            if passed > 0 {
                self.take_out(plan, &mut pair, sorted, cancel)?;
            }
        }
        done.failed = done.tried - done.passed;
        Ok(done)
    }

    fn take_out(
        &self,
        plan: &Plan,
        pair: &mut Pair,
        sorted: shape::Sorted,
        cancel: &Cancel,
    ) -> Result<()> {
        let mut state: ArrivalState = pair.main.state.clone();
        state.replays += 1;
        state.replayed += sorted.places.len() as u64;
        let places = sorted.places.iter();
        state.released = places.map(|place| (place.partition.to_string(), place.offset)).collect();
        let mark = i64::try_from(state.replays).unwrap_or(i64::MAX);
        let marks = vec![(txn_app(&plan.asset, REPLAY), mark)];
        let (engine, rules) = (self.clone(), plan.rules.clone());
        failpoint("data.replay.before_commit")?;
        pair.main = self.with(&mut pair.main, cancel, move |target| async move {
            let change = Change { rows: sorted.good, marks, state };
            if rules.key.is_empty() {
                engine.append(target, change).await
            } else {
                engine.upsert(target, change, &rules).await
            }
        })?;
        failpoint("data.replay.after_commit")?;
        self.finish(plan, pair, cancel).map(drop)
    }

    /// Marks what the last replay landed, when it is not marked yet; how many rows that were.
    /// It must be done before the rows of a file are replaced: a place may hold another row then.
    pub(crate) fn finish(&self, plan: &Plan, pair: &mut Pair, cancel: &Cancel) -> Result<u64> {
        let (landed, engine) = (pair.main.state.replays, self.clone());
        let app = txn_app(&plan.quarantine()?, REPLAY);
        let mark = i64::try_from(landed).unwrap_or(i64::MAX);
        let seen = {
            let app = app.clone();
            self.with(&mut pair.quarantine, cancel, move |target| async move {
                super::txn_mark(&target.table, &app).await
            })?
        };
        if seen.unwrap_or(0) >= mark {
            return Ok(0);
        }
        let released = self.released_by(pair, landed, cancel)?;
        if released.is_empty() {
            return Ok(0);
        }
        let count = released.len() as u64;
        let at_us = self.store().now().micros();
        pair.quarantine = self.with(&mut pair.quarantine, cancel, move |target| async move {
            engine.release(target, &released, (app, mark), at_us).await
        })?;
        Ok(count)
    }

    /// The rows that a replay took: the table's newest commit names them, or one before it when
    /// more has landed since.
    fn released_by(
        &self,
        pair: &mut Pair,
        replay: u64,
        cancel: &Cancel,
    ) -> Result<Vec<(String, i64)>> {
        if !pair.main.state.released.is_empty() {
            return Ok(pair.main.state.released.clone());
        }
        let engine = self.clone();
        self.with(&mut pair.main, cancel, move |target| async move {
            engine.released_in_history(&target, replay).await
        })
    }
}
