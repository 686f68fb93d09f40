//! Where does that go which arrives fast (answers, metric points)? Into an append-only stream of
//! checksummed segments. Writers that arrive together share one fsync (group commit); an append
//! returns only after it. Records are found by a 16-byte key or read in order.
//!
//! Failure: a write or fsync that fails is never acknowledged; the bytes behind the last
//! acknowledged frame are cut off, and the next append starts a new segment, so that service
//! resumes when the cause is gone. A torn tail is cut off at opening. Damage in the middle is an
//! error, never skipped.

mod forget;
mod frame;
mod locate;
mod of_key;
mod segment;
#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    fs,
    io::Write as _,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError, RwLock, mpsc},
    thread,
};

use sextant_core::limits;

use self::frame::Key;
use self::segment::{Part, Sealed, damaged};
use crate::{LineageError, failpoint, sync_folder};

/// Batches that may wait before callers block.
const QUEUE_MAX: usize = 4096;
/// Most bytes that share one frame.
const FRAME_BYTES_MAX: usize = 8 << 20;

/// One record of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogRecord {
    /// Its place in the stream, from 0.
    pub sequence: u64,
    /// Its key.
    pub key: [u8; 16],
    /// Its bytes.
    pub payload: Vec<u8>,
}

/// Takes sequence number, key and payload; answers whether to go on.
pub type Visitor<'a> = dyn FnMut(u64, [u8; 16], &[u8]) -> bool + 'a;

type Reply = mpsc::SyncSender<Result<u64, LineageError>>;
type Batch = Vec<(Key, Vec<u8>)>;
type Queue = mpsc::SyncSender<(Batch, Reply)>;

/// A durable stream. Clones share it.
#[derive(Clone)]
pub struct Log(Arc<Inner>);

impl std::fmt::Debug for Log {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Log").field("folder", &self.0.folder).finish_non_exhaustive()
    }
}

struct Inner {
    folder: PathBuf,
    queue: Mutex<Option<Queue>>,
    writer: Mutex<Option<thread::JoinHandle<()>>>,
    view: Arc<RwLock<View>>,
    trimming: Mutex<()>, // held by who removes segments
}

/// What readers see: only what was acknowledged.
struct View {
    sealed: Vec<Arc<Sealed>>,
    open: OpenSegment,
}

struct OpenSegment {
    path: PathBuf,
    base: u64,
    records: u64,
    end: u64,
    file: Arc<fs::File>,
    by_key: BTreeMap<Key, Vec<u64>>,
    /// As in [`segment::Scan`]: the newest records are read without the ones before them.
    frames: Vec<(u64, u64)>,
}

impl Log {
    /// Opens or makes the stream in this folder, cutting off a torn tail.
    pub(crate) fn open(folder: &Path) -> Result<Self, LineageError> {
        fs::create_dir_all(folder).map_err(LineageError::io("create", folder))?;
        let mut bases = segment_bases(folder)?;
        let open_base = bases.pop().unwrap_or(0);
        let mut sealed = Vec::with_capacity(bases.len());
        for base in bases {
            let path = segment_path(folder, base);
            if fs::metadata(&path).map_err(LineageError::io("read", &path))?.len()
                <= frame::SEGMENT_HEADER_BYTES
            {
                continue;
            }
            sealed.push(Arc::new(Sealed::open(&path, base)?));
        }
        let open = reopen(folder, open_base)?;
        let view = Arc::new(RwLock::new(View { sealed, open }));
        let (queue, receiver) = mpsc::sync_channel(QUEUE_MAX);
        let shared = view.clone();
        let home = folder.to_owned();
        let writer = thread::Builder::new()
            .name("log-writer".to_owned())
            .spawn(move || write_loop(&home, &shared, &receiver))
            .map_err(LineageError::io("start the writer of", folder))?;
        Ok(Self(Arc::new(Inner {
            folder: folder.to_owned(),
            queue: Mutex::new(Some(queue)),
            writer: Mutex::new(Some(writer)),
            view,
            trimming: Mutex::default(),
        })))
    }

    /// Appends one record; returns its sequence number when it is durable.
    ///
    /// # Errors
    /// When the record is too large, or could not be made durable: then it is not in the stream.
    pub fn append(&self, key: [u8; 16], payload: &[u8]) -> Result<u64, LineageError> {
        self.append_many(vec![(key, payload.to_vec())])
    }

    /// Appends records that become durable together; returns the first one's sequence number.
    ///
    /// # Errors
    /// As [`Log::append`]; either all records are in the stream or none.
    pub fn append_many(&self, records: Vec<([u8; 16], Vec<u8>)>) -> Result<u64, LineageError> {
        self.submit(records)?.wait()
    }

    /// Hands records to the writer without waiting, so that appends to several streams overlap.
    ///
    /// # Errors
    /// When a record is too large or the stream is shut down.
    pub fn submit(&self, records: Vec<([u8; 16], Vec<u8>)>) -> Result<Pending, LineageError> {
        let bytes: usize = records.iter().map(|(_, payload)| payload.len()).sum();
        let largest = records.iter().map(|(_, payload)| payload.len()).max().unwrap_or(0);
        if largest > limits::LOG_RECORD_BYTES_MAX || bytes > FRAME_BYTES_MAX {
            let limit = limits::LOG_RECORD_BYTES_MAX;
            return Err(LineageError::TooLarge { what: "a log record", bytes, limit });
        }
        let gone = || LineageError::WriterGone(self.0.folder.display().to_string());
        let queue = self.0.queue.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let (reply, answer) = mpsc::sync_channel(1);
        queue.ok_or_else(gone)?.send((records, reply)).map_err(|_| gone())?;
        Ok(Pending(answer))
    }

    /// The newest record with this key.
    ///
    /// # Errors
    /// When the stored record is damaged or cannot be read.
    pub fn get(&self, key: &[u8; 16]) -> Result<Option<Vec<u8>>, LineageError> {
        Ok(self.get_all(key)?.pop())
    }

    /// The newest record of the stream.
    ///
    /// # Errors
    /// When the stored record is damaged or cannot be read.
    pub fn last(&self) -> Result<Option<LogRecord>, LineageError> {
        Ok(self.tail(1)?.pop())
    }

    /// The newest `count` records, oldest first.
    ///
    /// # Errors
    /// When a stored record is damaged or cannot be read.
    pub fn tail(&self, count: u64) -> Result<Vec<LogRecord>, LineageError> {
        let length = self.len();
        let mut records = Vec::new();
        self.scan(length.saturating_sub(count), &mut |sequence, key, payload| {
            records.push(LogRecord { sequence, key, payload: payload.to_vec() });
            true
        })?;
        Ok(records)
    }

    /// How many records the stream has.
    pub fn len(&self) -> u64 {
        let view = self.0.view.read().unwrap_or_else(PoisonError::into_inner);
        view.open.base + view.open.records
    }

    /// Whether the stream has no record.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Reads records in order from a sequence number on, until the visitor answers `false`.
    ///
    /// # Errors
    /// When a stored record is damaged or cannot be read.
    pub fn scan(&self, from: u64, visit: &mut Visitor<'_>) -> Result<(), LineageError> {
        let parts = self.acknowledged(from);
        let starts: Vec<u64> = parts.iter().map(|part| part.base).collect();
        for (number, part) in parts.into_iter().enumerate() {
            if starts.get(number + 1).is_some_and(|next| *next <= from) {
                continue;
            }
            let bytes = part.read().map_err(LineageError::io("read", &part.path))?;
            let mut sequence = part.first;
            let mut at = 0;
            while at < bytes.len() {
                let (length, records) = frame::decode(&bytes[at..])
                    .ok_or_else(|| damaged(&part.path, part.offset + at as u64))?;
                for record in records {
                    if sequence >= from && !visit(sequence, record.key, record.payload) {
                        return Ok(());
                    }
                    sequence += 1;
                }
                at += length;
            }
        }
        Ok(())
    }

    /// The segments in order, the open one from the frame that holds the record `from`.
    fn acknowledged(&self, from: u64) -> Vec<Part> {
        let view = self.0.view.read().unwrap_or_else(PoisonError::into_inner);
        let sealed = view.sealed.iter().map(|sealed| Part {
            path: sealed.path.clone(),
            base: sealed.base,
            first: sealed.base,
            offset: frame::SEGMENT_HEADER_BYTES,
            end: None,
        });
        let open = &view.open;
        let after = open.frames.partition_point(|(first, _)| open.base + first <= from);
        let start = after.checked_sub(1).and_then(|index| open.frames.get(index));
        let (first, offset) = start.copied().unwrap_or((0, frame::SEGMENT_HEADER_BYTES));
        let open = Part {
            path: open.path.clone(),
            base: open.base,
            first: open.base + first,
            offset,
            end: Some(open.end),
        };
        sealed.chain([open]).collect()
    }

    /// Up to where the stream is acknowledged: the open segment's base, and its end.
    pub(crate) fn acknowledged_end(&self) -> (u64, u64) {
        let view = self.0.view.read().unwrap_or_else(PoisonError::into_inner);
        (view.open.base, view.open.end)
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(writer) = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take() {
            let _ = writer.join();
        }
    }
}

/// An append that is on its way.
#[derive(Debug)]
pub struct Pending(mpsc::Receiver<Result<u64, LineageError>>);

impl Pending {
    /// Waits until the records are durable; the first one's sequence number.
    ///
    /// # Errors
    /// When they could not be made durable: then none is in the stream.
    pub fn wait(self) -> Result<u64, LineageError> {
        let gone = |_| LineageError::WriterGone("the log is shut down".to_owned());
        self.0.recv().map_err(gone)?
    }
}

fn write_loop(folder: &Path, view: &RwLock<View>, receiver: &mpsc::Receiver<(Batch, Reply)>) {
    let mut healthy = true;
    let mut carried = None;
    while let Some(first) = carried.take().or_else(|| receiver.recv().ok()) {
        let mut group: Vec<(Batch, Reply)> = vec![first];
        let mut bytes = batch_bytes(&group[0].0);
        while let Ok(next) = receiver.try_recv() {
            bytes += batch_bytes(&next.0);
            if bytes > FRAME_BYTES_MAX {
                carried = Some(next);
                break;
            }
            group.push(next);
        }
        let (batches, replies): (Vec<Batch>, Vec<Reply>) = group.into_iter().unzip();
        let counts: Vec<u64> = batches.iter().map(|batch| batch.len() as u64).collect();
        let records: Batch = batches.into_iter().flatten().collect();
        let outcome = if healthy { Ok(()) } else { roll(folder, view) };
        let outcome = outcome.and_then(|()| append(folder, view, records));
        healthy = outcome.is_ok();
        answer(outcome, &counts, replies);
    }
}

fn batch_bytes(batch: &Batch) -> usize {
    batch.iter().map(|(_, payload)| payload.len() + frame::RECORD_HEADER_BYTES).sum()
}

fn answer(outcome: Result<u64, LineageError>, counts: &[u64], replies: Vec<Reply>) {
    let failure = outcome.as_ref().err().map(|error| match error {
        LineageError::Io { source, .. } => format!("{error}: {source}"),
        other => other.to_string(),
    });
    let mut next = outcome.unwrap_or(0);
    for (count, reply) in counts.iter().zip(replies) {
        let result = match &failure {
            None => Ok(next),
            Some(text) => Err(LineageError::WriterGone(text.clone())),
        };
        let _ = reply.send(result);
        next += count;
    }
}

/// Writes one frame and makes it durable, then shows it to readers.
fn append(folder: &Path, view: &RwLock<View>, records: Batch) -> Result<u64, LineageError> {
    let (path, file, end) = {
        let view = view.read().unwrap_or_else(PoisonError::into_inner);
        (view.open.path.clone(), view.open.file.clone(), view.open.end)
    };
    let (bytes, offsets) = frame::encode(&records);
    let write = || -> std::io::Result<()> {
        failpoint("log::before_write")?;
        file.write_all_at(&bytes, end)?;
        failpoint("log::before_sync")?;
        file.sync_data()
    };
    if let Err(source) = write() {
        // Cut off what was not acknowledged; if that fails too, `roll` leaves the segment behind.
        let _ = file.set_len(end);
        return Err(LineageError::Io { action: "append to", path, source });
    }
    let (first, full) = {
        let mut view = view.write().unwrap_or_else(PoisonError::into_inner);
        let open = &mut view.open;
        let first = open.base + open.records;
        for ((key, _), offset) in records.iter().zip(offsets) {
            open.by_key.entry(*key).or_default().push(end + offset as u64);
        }
        open.frames.push((open.records, end));
        open.records += records.len() as u64;
        open.end += bytes.len() as u64;
        (first, open.end >= limits::LOG_SEGMENT_BYTES)
    };
    if full {
        // The records are durable already: a failure to seal shows at the next append.
        let _ = roll(folder, view);
    }
    Ok(first)
}

/// Seals the open segment and starts the next one.
fn roll(folder: &Path, view: &RwLock<View>) -> Result<(), LineageError> {
    let (path, base, records, end, file) = {
        let view = view.read().unwrap_or_else(PoisonError::into_inner);
        let open = &view.open;
        (open.path.clone(), open.base, open.records, open.end, open.file.clone())
    };
    let mut sealed = None;
    let mut next = base;
    file.set_len(end).map_err(LineageError::io("cut", &path))?;
    file.sync_all().map_err(LineageError::io("sync", &path))?;
    if records > 0 {
        next = base + records;
        let scan = segment::scan(&path, base)?;
        segment::write_index(&path.with_extension("idx"), scan.entries)?;
        sealed = Some(Arc::new(Sealed::open(&path, base)?));
    }
    let open = reopen(folder, next)?;
    let mut view = view.write().unwrap_or_else(PoisonError::into_inner);
    view.sealed.extend(sealed);
    view.open = open;
    Ok(())
}

/// Opens the segment that takes records, making it when it is not there.
fn reopen(folder: &Path, base: u64) -> Result<OpenSegment, LineageError> {
    let path = segment_path(folder, base);
    let mut scan = segment::Scan::default();
    if path.exists() {
        scan = segment::scan(&path, base)?;
        if scan.damaged {
            return Err(damaged(&path, scan.end));
        }
    }
    let mut file = fs::OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path)
        .map_err(LineageError::io("open", &path))?;
    if scan.end == 0 {
        let mut start = || -> std::io::Result<()> {
            file.set_len(0)?;
            file.write_all(frame::SEGMENT_MAGIC)?;
            file.write_all(&base.to_le_bytes())?;
            file.sync_all()?;
            sync_folder(folder)
        };
        start().map_err(LineageError::io("start segment", &path))?;
        scan.end = frame::SEGMENT_HEADER_BYTES;
    } else if scan.torn_at.is_some() {
        let cut = || -> std::io::Result<()> {
            file.set_len(scan.end)?;
            file.sync_all()
        };
        cut().map_err(LineageError::io("cut the torn tail of", &path))?;
    }
    let mut by_key: BTreeMap<Key, Vec<u64>> = BTreeMap::new();
    let records = scan.entries.len() as u64;
    for (key, offset) in scan.entries {
        by_key.entry(key).or_default().push(offset);
    }
    let (end, frames, file) = (scan.end, scan.frames, Arc::new(file));
    Ok(OpenSegment { path, base, records, end, file, by_key, frames })
}

/// Checks every frame of a stream's folder; the number of records and what is wrong. What is not
/// whole behind `acknowledged` (a segment's base and an offset in it) is being written right now.
pub(crate) fn verify(
    folder: &Path,
    acknowledged: (u64, u64),
) -> Result<(u64, Vec<String>), LineageError> {
    let mut faults = Vec::new();
    let mut expected = None;
    let mut records = 0;
    for base in segment_bases(folder)? {
        let path = segment_path(folder, base);
        if expected.is_some_and(|expected| expected != base) {
            faults.push(format!("{}: records before it are missing", path.display()));
        }
        match segment::scan(&path, base) {
            Ok(scan) => {
                if let Some(at) = scan.torn_at.filter(|at| (base, *at) < acknowledged) {
                    faults.push(damaged(&path, at).to_string());
                }
                records += scan.entries.len() as u64;
                expected = Some(base + scan.entries.len() as u64);
            }
            Err(error) => faults.push(error.to_string()),
        }
    }
    Ok((records, faults))
}

fn open_read(path: &Path) -> Result<fs::File, LineageError> {
    fs::File::open(path).map_err(LineageError::io("read", path))
}

fn segment_path(folder: &Path, base: u64) -> PathBuf {
    folder.join(format!("{base:020}.seg"))
}

fn segment_bases(folder: &Path) -> Result<Vec<u64>, LineageError> {
    let mut bases = Vec::new();
    for entry in fs::read_dir(folder).map_err(LineageError::io("list", folder))? {
        let path = entry.map_err(LineageError::io("list", folder))?.path();
        if path.extension().is_some_and(|extension| extension == "seg")
            && let Some(base) = path.file_stem().and_then(|stem| stem.to_str()?.parse().ok())
        {
            bases.push(base);
        }
    }
    bases.sort_unstable();
    Ok(bases)
}
