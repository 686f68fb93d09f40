//! When is a pushed record acknowledged? When the durable log has it: then it survives a crash and
//! a power loss, and lands once. Records of one request are in the log together or not at all.
//!
//! ```text
//! record: arrived_at i64 | records of the request u32 | format u8 | hash of the body u64 | text
//! ```
//! The first record of a request with an idempotency key has the key's digest as its key in the
//! log, so a repeat finds it, also after a restart.

use std::{
    collections::{BTreeSet, HashSet, VecDeque},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use serde::Serialize;
use sextant_core::{Clock as _, Digest, SystemClock, limits};
use sextant_lineage::Log;

use super::{
    PushConfig,
    body::{Entry, PushBody},
};
use crate::{
    Ingest,
    arrival::{
        ArrivalState, BATCH_BYTES_MAX, BATCH_RECORDS_MAX, Feed, Format, Marks, Plan, Record,
    },
    error::{DataError, IngestError, Result},
};

/// The only partition of a log.
pub(crate) const PARTITION: &str = "0";
/// Bytes of a record before its text.
const HEADER_BYTES: usize = 21;
/// Requests with the same key wait for each other; others hardly ever do.
const SHARDS: usize = 64;
/// The key in the log of a record that no repeat has to find.
const NO_KEY: [u8; 16] = [0; 16];

/// How a push was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PushReply {
    /// It is durable.
    Accepted(Accepted),
    /// Too much waits to be landed; nothing was taken.
    Full {
        /// Bytes that wait.
        waiting_bytes: u64,
        /// The most that may wait.
        limit_bytes: u64,
    },
}

/// What was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Accepted {
    /// How many records.
    #[serde(rename = "accepted")]
    pub records: u64,
    /// The place of the last one; none when there was no record.
    pub offset: Option<u64>,
}

/// What was pushed and has not landed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Waiting {
    /// Records taken since the source was made.
    pub accepted: u64,
    /// Records that wait.
    pub records: u64,
    /// Bytes that wait.
    pub bytes: u64,
    /// How long the oldest of them has waited, in microseconds.
    pub oldest_us: u64,
    /// Records that went into the table.
    pub landed: u64,
    /// Records that went into quarantine.
    pub quarantined: u64,
}

/// The log of a source that is pushed to.
#[derive(Debug)]
pub struct PushLog {
    log: Log,
    shards: Vec<Mutex<()>>,
    /// The next offset to land.
    next: AtomicU64,
    landed: AtomicU64,
    quarantined: AtomicU64,
    queue: Mutex<Queue>,
}

#[derive(Debug, Default)]
struct Queue {
    bytes: u64,
    parts: VecDeque<Part>,
}

/// Records that were taken together.
#[derive(Debug, Clone, Copy)]
struct Part {
    last: u64,
    bytes: u64,
    arrived_at: i64,
}

/// The log of this source, opened once.
pub(crate) fn log(engine: &Ingest, plan: &Plan) -> Result<Arc<PushLog>> {
    if let Some(log) = engine.pushes().get(&plan.asset) {
        return Ok(Arc::clone(log));
    }
    let state = account(engine, plan)?;
    let mut open = engine.pushes();
    if let Some(log) = open.get(&plan.asset) {
        return Ok(Arc::clone(log));
    }
    let stream = format!("push_{}", plan.asset.stem());
    let log = Arc::new(PushLog::open(engine.store().log(&stream)?, &state)?);
    open.insert(plan.asset.clone(), Arc::clone(&log));
    Ok(log)
}

/// What the table's own log says of what has landed.
fn account(engine: &Ingest, plan: &Plan) -> Result<ArrivalState> {
    let (worker, plan) = (engine.clone(), plan.clone());
    engine.block(None, async move {
        let target = worker.target(&plan.asset, &plan.table).await?;
        let marks = worker.marks(&target, &plan.partitions).await?;
        Ok(ArrivalState { marks, ..target.state })
    })
}

fn next_of(marks: &Marks) -> u64 {
    marks.get(PARTITION).map_or(0, |mark| mark.saturating_add(1).unsigned_abs())
}

impl PushLog {
    fn open(log: Log, state: &ArrivalState) -> Result<Self> {
        let next = next_of(&state.marks);
        let mut queue = Queue::default();
        log.scan(next, &mut |sequence, _, payload| {
            if let Some((header, _)) = Header::read(payload) {
                queue.push(sequence, payload.len() as u64, header.arrived_at);
            }
            true
        })?;
        Ok(Self {
            log,
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            next: AtomicU64::new(next),
            landed: AtomicU64::new(state.landed + state.replayed),
            quarantined: AtomicU64::new(state.quarantined),
            queue: Mutex::new(queue),
        })
    }

    /// How many records it has.
    pub fn len(&self) -> u64 {
        self.log.len()
    }

    /// Whether nothing was ever pushed.
    pub fn is_empty(&self) -> bool {
        self.log.is_empty()
    }

    /// What has not landed.
    pub fn waiting(&self) -> Waiting {
        let queue = self.queue();
        let accepted = self.log.len();
        let now = SystemClock.now().micros();
        Waiting {
            accepted,
            records: accepted.saturating_sub(self.next.load(Ordering::Acquire)),
            bytes: queue.bytes,
            landed: self.landed.load(Ordering::Relaxed),
            quarantined: self.quarantined.load(Ordering::Relaxed),
            oldest_us: queue
                .parts
                .front()
                .map_or(0, |part| now.saturating_sub(part.arrived_at).max(0).unsigned_abs()),
        }
    }

    /// Takes a request, unless more than `limit_bytes` would wait then.
    pub(crate) fn accept(&self, body: &PushBody, limit_bytes: u64) -> Result<PushReply> {
        let hash = short_hash(body.bytes);
        let mut entries = super::body::entries(body)?;
        if let Some(key) = body.idempotency_key {
            for entry in &mut entries {
                entry.key = None;
            }
            if let Some(first) = entries.first_mut() {
                first.key = Some(log_key(&["key", key]));
            }
        }
        let _turns = self.turns(&entries);
        let mut repeated = None;
        let mut seen = HashSet::new();
        let mut fresh: Vec<Entry> = Vec::with_capacity(entries.len());
        let total = entries.len() as u64;
        for entry in entries {
            if let Some(key) = entry.key
                && let Some((offset, header)) = self.find(&key)?
            {
                if body.idempotency_key.is_some() {
                    return repeat(offset, &header, hash);
                }
                repeated = repeated.max(Some(offset));
                continue;
            }
            if entry.key.is_none_or(|key| seen.insert(key)) {
                fresh.push(entry);
            }
        }
        if fresh.is_empty() {
            return Ok(PushReply::Accepted(Accepted { records: total, offset: repeated }));
        }
        let bytes: u64 = fresh.iter().map(|entry| (entry.text.len() + HEADER_BYTES) as u64).sum();
        let waiting_bytes = self.queue().bytes;
        if waiting_bytes > 0 && waiting_bytes + bytes > limit_bytes {
            return Ok(PushReply::Full { waiting_bytes, limit_bytes });
        }
        let last = self.append(fresh, hash, bytes)?;
        Ok(PushReply::Accepted(Accepted { records: total, offset: Some(last) }))
    }

    /// Makes records durable; the offset of the last one.
    fn append(&self, entries: Vec<Entry>, hash: u64, bytes: u64) -> Result<u64> {
        let arrived_at = SystemClock.now().micros();
        let count = entries.len();
        let records = entries.into_iter().map(|entry| {
            let records = u32::try_from(count).unwrap_or(u32::MAX);
            let header = Header { arrived_at, records, format: entry.format, hash };
            (entry.key.unwrap_or(NO_KEY), header.write(&entry.text))
        });
        let first = self.log.append_many(records.collect())?;
        let last = first + count as u64 - 1;
        self.queue().push(last, bytes, arrived_at);
        Ok(last)
    }

    /// Holds back requests with the same keys until this one is answered.
    fn turns(&self, entries: &[Entry]) -> Vec<MutexGuard<'_, ()>> {
        let keys = entries.iter().filter_map(|entry| entry.key);
        // Always in the same order, so that two requests cannot wait for each other.
        let shards: BTreeSet<usize> = keys.map(|key| usize::from(key[0]) % SHARDS).collect();
        let lock = |shard: usize| {
            self.shards.get(shard).map(|lock| lock.lock().unwrap_or_else(PoisonError::into_inner))
        };
        shards.into_iter().filter_map(lock).collect()
    }

    fn find(&self, key: &[u8; 16]) -> Result<Option<(u64, Header)>> {
        let Some(record) = self.log.locate(key)? else { return Ok(None) };
        Ok(Header::read(&record.payload).map(|(header, _)| (record.sequence, header)))
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads what has not landed.
    pub(crate) fn feed(&self) -> LogFeed {
        LogFeed(self.log.clone())
    }

    /// Remembers up to where the table has everything.
    pub(crate) fn landed(&self, state: &ArrivalState) {
        let next = next_of(&state.marks);
        if self.next.fetch_max(next, Ordering::AcqRel) <= next {
            self.landed.store(state.landed + state.replayed, Ordering::Relaxed);
            self.quarantined.store(state.quarantined, Ordering::Relaxed);
        }
        let mut queue = self.queue();
        while let Some(part) = queue.parts.front().copied().filter(|part| part.last < next) {
            queue.bytes = queue.bytes.saturating_sub(part.bytes);
            queue.parts.pop_front();
        }
    }

    /// Removes what has landed and is older than repeats are recognised.
    pub(crate) fn forget(&self, config: &PushConfig) -> Result<()> {
        let age = Duration::from_secs(config.repeats_days.saturating_mul(86_400));
        let Some(written) = SystemTime::now().checked_sub(age) else { return Ok(()) };
        self.log.forget_before(self.next.load(Ordering::Acquire), written)?;
        Ok(())
    }

    /// As [`PushLog::landed`], from the table itself.
    pub(crate) fn landed_by(&self, engine: &Ingest, plan: &Plan) -> Result<()> {
        account(engine, plan).map(|state| self.landed(&state))
    }
}

impl Queue {
    fn push(&mut self, last: u64, bytes: u64, arrived_at: i64) {
        self.bytes += bytes;
        // Parts of one moment are one part: a queue of single records stays short.
        if let Some(part) = self.parts.back_mut()
            && arrived_at.saturating_sub(part.arrived_at) < 10_000
            && part.last < last
        {
            part.last = last;
            part.bytes += bytes;
            return;
        }
        let sorted = self.parts.back().is_none_or(|part| part.last < last);
        let part = Part { last, bytes, arrived_at };
        if sorted {
            self.parts.push_back(part);
        } else {
            let at = self.parts.partition_point(|known| known.last < last);
            self.parts.insert(at, part);
        }
    }
}

/// A request that came before is answered as it was then.
fn repeat(offset: u64, header: &Header, hash: u64) -> Result<PushReply> {
    if header.hash != hash {
        return Err(IngestError::KeyReused.into());
    }
    let records = u64::from(header.records);
    let offset = Some(offset + records.saturating_sub(1));
    Ok(PushReply::Accepted(Accepted { records, offset }))
}

/// The key in the log of what these words name.
pub(super) fn log_key(words: &[&str]) -> [u8; 16] {
    let digest = Digest::of(words.join("\0"));
    let mut key = [0; 16];
    key.copy_from_slice(&digest.as_raw()[..16]);
    key
}

fn short_hash(bytes: &[u8]) -> u64 {
    let mut first = [0; 8];
    first.copy_from_slice(&Digest::of(bytes).as_raw()[..8]);
    u64::from_le_bytes(first)
}

/// What stands before a record's text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Header {
    arrived_at: i64,
    records: u32,
    format: Format,
    hash: u64,
}

impl Header {
    fn write(self, text: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEADER_BYTES + text.len());
        bytes.extend_from_slice(&self.arrived_at.to_le_bytes());
        bytes.extend_from_slice(&self.records.to_le_bytes());
        bytes.push(match self.format {
            Format::Json => 0,
            Format::CloudEvent => 1,
            Format::Raw => 2,
            Format::Kafka => 3,
            Format::Postgres => 4,
        });
        bytes.extend_from_slice(&self.hash.to_le_bytes());
        bytes.extend_from_slice(text);
        bytes
    }

    fn read(bytes: &[u8]) -> Option<(Self, &[u8])> {
        let (head, text) = bytes.split_at_checked(HEADER_BYTES)?;
        let format = match head[12] {
            0 => Format::Json,
            1 => Format::CloudEvent,
            2 => Format::Raw,
            3 => Format::Kafka,
            _ => return None,
        };
        let header = Self {
            arrived_at: i64::from_le_bytes(head[..8].try_into().ok()?),
            records: u32::from_le_bytes(head[8..12].try_into().ok()?),
            format,
            hash: u64::from_le_bytes(head[13..].try_into().ok()?),
        };
        Some((header, text))
    }
}

/// Hands over what the log has.
pub(crate) struct LogFeed(Log);

impl Feed for LogFeed {
    fn next(&mut self, marks: &Marks) -> Result<Vec<Record>> {
        let mut records = Vec::new();
        let mut bytes = 0;
        let mut damaged = None;
        let partition: Arc<str> = PARTITION.into();
        self.0.scan(next_of(marks), &mut |sequence, _, payload| {
            let Some((header, text)) = Header::read(payload) else {
                damaged = Some(sequence);
                return false;
            };
            bytes += payload.len();
            records.push(Record {
                partition: Arc::clone(&partition),
                offset: i64::try_from(sequence).unwrap_or(i64::MAX),
                arrived_at: header.arrived_at,
                format: header.format,
                payload: String::from_utf8_lossy(text).into_owned().into(),
            });
            records.len() < BATCH_RECORDS_MAX && bytes < BATCH_BYTES_MAX
        })?;
        match damaged {
            Some(sequence) => {
                Err(DataError::engine(format!("record {sequence} of the log is not one of ours")))
            }
            None => Ok(records),
        }
    }
}

/// The most bytes that one record may have.
pub(super) const RECORD_BYTES_MAX: usize = limits::LOG_RECORD_BYTES_MAX - HEADER_BYTES;
