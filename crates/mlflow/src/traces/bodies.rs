//! Where is what spans hold? In the durable log, a record a span, under the 16 bytes of its trace.
//!
//! A record counts when the catalog has a span with its stamp. What was sent again, deleted, or never
//! acknowledged has none. When nothing counts before some place in the log, what lies there is
//! forgotten, segment by segment.
//!
//! Version 1: a byte 1, the stamp as eight bytes, little endian, then the span as JSON.

use std::{
    collections::HashMap,
    sync::{PoisonError, RwLock, RwLockReadGuard, TryLockError},
    thread,
    time::{Duration, SystemTime},
};

use sextant_core::limits::LOG_RECORD_BYTES_MAX;
use sextant_lineage::{Log, Reader, Store};

use crate::MlflowError;

const VERSION: u8 = 1;
const HEAD_BYTES: usize = 9;
/// So large a span may be as JSON.
pub(super) const SPAN_BYTES_MAX: usize = LOG_RECORD_BYTES_MAX - HEAD_BYTES;
/// So much goes to the log at once.
const FRAME_BYTES_MAX: usize = 6 << 20;

/// How often, and how far apart, one tries to be alone.
const FORGET_TRIES: u32 = 20;
const FORGET_STEP: Duration = Duration::from_millis(10);

/// The OpenTelemetry id of a trace.
pub(super) type TraceKey = [u8; 16];

#[derive(Debug)]
pub(in super::super) struct Bodies {
    log: Log,
    /// Shared from a record's way into the log until the catalog knows it, and while spans are read;
    /// whoever forgets records has it alone.
    gate: RwLock<()>,
}

/// A span on its way into the log.
pub(super) struct Body<'a> {
    pub(super) trace: TraceKey,
    pub(super) stamp: i64,
    pub(super) content: &'a str,
}

impl Bodies {
    pub(in super::super) fn open(store: &Store) -> Result<Self, MlflowError> {
        Ok(Self { log: store.log("spans")?, gate: RwLock::default() })
    }

    /// Nothing is forgotten while this is held.
    pub(super) fn keep(&self) -> RwLockReadGuard<'_, ()> {
        self.gate.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes spans durable; gives the place of each. Held by [`Self::keep`] until the catalog has them.
    pub(super) fn append(&self, bodies: &[Body<'_>]) -> Result<Vec<i64>, MlflowError> {
        let mut places = Vec::with_capacity(bodies.len());
        let mut waiting = Vec::new();
        let mut bytes = 0;
        for body in bodies {
            let mut record = Vec::with_capacity(HEAD_BYTES + body.content.len());
            record.push(VERSION);
            record.extend(body.stamp.to_le_bytes());
            record.extend(body.content.as_bytes());
            if bytes + record.len() > FRAME_BYTES_MAX {
                self.put(&mut waiting, &mut places)?;
                bytes = 0;
            }
            bytes += record.len();
            waiting.push((body.trace, record));
        }
        self.put(&mut waiting, &mut places)?;
        Ok(places)
    }

    fn put(
        &self,
        waiting: &mut Vec<(TraceKey, Vec<u8>)>,
        places: &mut Vec<i64>,
    ) -> Result<(), MlflowError> {
        let records = std::mem::take(waiting);
        let count = records.len() as u64;
        if count > 0 {
            let first = self.log.append_many(records)?;
            places.extend((first..first + count).map(u64::cast_signed));
        }
        Ok(())
    }

    /// What the spans of a trace hold, by their stamps.
    pub(super) fn of_trace(&self, trace: &TraceKey) -> Result<HashMap<i64, String>, MlflowError> {
        let mut found = HashMap::new();
        for record in self.log.get_all(trace)? {
            let (stamp, content) = decode(&record)?;
            found.insert(stamp, content.to_owned());
        }
        Ok(found)
    }

    /// The places of the records that a test is true of, at most so many.
    pub(super) fn search(
        &self,
        from: i64,
        most: usize,
        test: &dyn Fn(&str) -> bool,
    ) -> Result<Vec<i64>, MlflowError> {
        let mut places = Vec::new();
        let mut failed = None;
        self.log.scan(from.max(0).cast_unsigned(), &mut |place, _, record| {
            match decode(record) {
                Ok((_, content)) if test(content) => places.push(place.cast_signed()),
                Ok(_) => {}
                Err(error) => failed = Some(error),
            }
            failed.is_none() && places.len() < most
        })?;
        failed.map_or(Ok(places), Err)
    }

    /// Lets go of the records before the first one that counts. `read` opens the catalog, which knows
    /// of every record by then. While spans come and go all the time, it is left to a later call:
    /// nobody waits for it.
    pub(in super::super) fn forget(
        &self,
        read: impl FnOnce() -> Result<Reader, MlflowError>,
    ) -> Result<(), MlflowError> {
        let alone = (0..FORGET_TRIES).find_map(|number| {
            if number > 0 {
                thread::sleep(FORGET_STEP);
            }
            match self.gate.try_write() {
                Ok(alone) => Some(alone),
                Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
                Err(TryLockError::WouldBlock) => None,
            }
        });
        let Some(_alone) = alone else { return Ok(()) };
        let first = first_place(&read()?)?;
        let first = first.map_or(self.log.len(), |place| place.max(0).cast_unsigned());
        self.log.forget_before(first, SystemTime::now())?;
        Ok(())
    }
}

/// The place of the first record that counts.
pub(super) fn first_place(reader: &Reader) -> Result<Option<i64>, MlflowError> {
    let rows = reader.query("SELECT MIN(at) FROM mlflow_spans", &[])?;
    Ok(rows.first().map(|row| row.opt_int(0)).transpose()?.flatten())
}

fn decode(record: &[u8]) -> Result<(i64, &str), MlflowError> {
    let broken = |reason: &str| MlflowError::Stored { what: "span", reason: reason.to_owned() };
    let (head, content) = record.split_at_checked(HEAD_BYTES).ok_or_else(|| broken("too short"))?;
    let (version, stamp) = head.split_at(1);
    if version != [VERSION] {
        return Err(broken("another version"));
    }
    let stamp = stamp.try_into().map_err(|_| broken("too short"))?;
    let content = std::str::from_utf8(content).map_err(|_| broken("not UTF-8"))?;
    Ok((i64::from_le_bytes(stamp), content))
}
