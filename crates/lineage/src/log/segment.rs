//! How is one segment opened, repaired and searched? A sealed segment has a sorted side file
//! (`.idx`: key and offset), the open one is held in memory; both give record offsets by key.

use std::{
    fs,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
};

use super::frame::{self, Key};
use crate::{LineageError, write_atomically};

const INDEX_MAGIC: &[u8; 8] = b"SXTIDX01";
const ENTRY_BYTES: usize = 24;

/// A segment that takes no more records.
#[derive(Debug)]
pub(super) struct Sealed {
    pub(super) path: PathBuf,
    pub(super) base: u64,
    pub(super) records: u64,
    index: fs::File,
    first: Key,
    last: Key,
}

impl Sealed {
    /// Opens a sealed segment; makes its side file again when it is lost or damaged, for it is
    /// derived from the segment.
    pub(super) fn open(path: &Path, base: u64) -> Result<Self, LineageError> {
        let side = path.with_extension("idx");
        if let Ok(sealed) = Self::open_with(path, base, &side) {
            return Ok(sealed);
        }
        let scan = scan(path, base)?;
        if let Some(at) = scan.torn_at {
            return Err(damaged(path, at));
        }
        write_index(&side, scan.entries)?;
        Self::open_with(path, base, &side)
    }

    fn open_with(path: &Path, base: u64, side: &Path) -> Result<Self, LineageError> {
        let index = fs::File::open(side).map_err(LineageError::io("open", side))?;
        let bytes = index.metadata().map_err(LineageError::io("read", side))?.len();
        let records = bytes.saturating_sub(16) / ENTRY_BYTES as u64;
        let mut head = [0_u8; 16];
        index.read_exact_at(&mut head, 0).map_err(LineageError::io("read", side))?;
        let whole = &head[..8] == INDEX_MAGIC
            && head[8..] == records.to_le_bytes()
            && bytes == 16 + records * ENTRY_BYTES as u64;
        if !whole || records == 0 {
            let detail = "its size does not fit its header".to_owned();
            return Err(LineageError::Corrupt { what: side.display().to_string(), detail });
        }
        let mut sealed =
            Self { path: path.to_owned(), base, records, index, first: [0; 16], last: [0; 16] };
        sealed.first = sealed.entry(0)?.0;
        sealed.last = sealed.entry(records - 1)?.0;
        Ok(sealed)
    }

    /// The offsets of all records with this key.
    pub(super) fn find(&self, key: &Key) -> Result<Vec<u64>, LineageError> {
        if *key < self.first || *key > self.last {
            return Ok(Vec::new());
        }
        let (mut low, mut high) = (0, self.records);
        while low < high {
            let middle = low + (high - low) / 2;
            if self.entry(middle)?.0 < *key { low = middle + 1 } else { high = middle }
        }
        let mut offsets = Vec::new();
        while low < self.records {
            let (found, offset) = self.entry(low)?;
            if found != *key {
                break;
            }
            offsets.push(offset);
            low += 1;
        }
        Ok(offsets)
    }

    fn entry(&self, number: u64) -> Result<(Key, u64), LineageError> {
        let mut bytes = [0_u8; ENTRY_BYTES];
        self.index
            .read_exact_at(&mut bytes, 16 + number * ENTRY_BYTES as u64)
            .map_err(LineageError::io("read the index of", &self.path))?;
        let (key, offset) = bytes.split_at(16);
        let key = key.try_into().unwrap_or([0; 16]);
        Ok((key, u64::from_le_bytes(offset.try_into().unwrap_or([0; 8]))))
    }
}

/// What a reader reads of one segment: from a frame's start up to what is acknowledged.
pub(super) struct Part {
    pub(super) path: PathBuf,
    pub(super) base: u64,
    /// The number of the first record at `offset`.
    pub(super) first: u64,
    pub(super) offset: u64,
    /// The end of a sealed segment is that of its file.
    pub(super) end: Option<u64>,
}

impl Part {
    /// Its bytes.
    pub(super) fn read(&self) -> std::io::Result<Vec<u8>> {
        let file = fs::File::open(&self.path)?;
        let end = match self.end {
            Some(end) => end,
            None => file.metadata()?.len(),
        };
        let mut bytes = vec![0; end.saturating_sub(self.offset) as usize];
        file.read_exact_at(&mut bytes, self.offset)?;
        Ok(bytes)
    }
}

/// Writes the side file of a segment that is sealed.
pub(super) fn write_index(side: &Path, mut entries: Vec<(Key, u64)>) -> Result<(), LineageError> {
    entries.sort_unstable();
    let mut bytes = Vec::with_capacity(16 + entries.len() * ENTRY_BYTES);
    bytes.extend_from_slice(INDEX_MAGIC);
    bytes.extend_from_slice(&(entries.len() as u64).to_le_bytes());
    for (key, offset) in entries {
        bytes.extend_from_slice(&key);
        bytes.extend_from_slice(&offset.to_le_bytes());
    }
    write_atomically(side, &bytes).map_err(LineageError::io("write", side))
}

/// What a scan of a whole segment found.
#[derive(Default)]
pub(super) struct Scan {
    /// Key and file offset of every record, in order.
    pub(super) entries: Vec<(Key, u64)>,
    /// Where each frame starts: its first record's number within the segment, and its file offset.
    pub(super) frames: Vec<(u64, u64)>,
    /// Where the last whole frame ends.
    pub(super) end: u64,
    /// Where a torn or damaged frame starts, when the file goes on after the last whole one.
    pub(super) torn_at: Option<u64>,
    /// Whether a valid frame stands behind the torn one: damage, not a torn tail.
    pub(super) damaged: bool,
}

/// Reads a segment from its start and checks every frame.
pub(super) fn scan(path: &Path, base: u64) -> Result<Scan, LineageError> {
    let bytes = fs::read(path).map_err(LineageError::io("read", path))?;
    if bytes.len() < frame::SEGMENT_HEADER_BYTES as usize {
        return Ok(Scan { torn_at: Some(0), ..Scan::default() });
    }
    if &bytes[..8] != frame::SEGMENT_MAGIC || bytes[8..16] != base.to_le_bytes() {
        return Err(damaged(path, 0));
    }
    let mut entries = Vec::new();
    let mut frames = Vec::new();
    let mut at = frame::SEGMENT_HEADER_BYTES as usize;
    while at < bytes.len() {
        let Some((length, records)) = frame::decode(&bytes[at..]) else { break };
        frames.push((entries.len() as u64, at as u64));
        entries.extend(records.iter().map(|record| (record.key, (at + record.offset) as u64)));
        at += length;
    }
    let torn_at = (at < bytes.len()).then_some(at as u64);
    let damaged = torn_at.is_some() && frame::has_later_frame(&bytes[at..]);
    Ok(Scan { entries, frames, end: at as u64, torn_at, damaged })
}

/// Reads one record at its offset and checks it.
pub(super) fn read_record(
    file: &fs::File,
    path: &Path,
    offset: u64,
) -> Result<(Key, Vec<u8>), LineageError> {
    let mut header = [0_u8; frame::RECORD_HEADER_BYTES];
    file.read_exact_at(&mut header, offset).map_err(LineageError::io("read", path))?;
    let length = frame::payload_bytes(&header).unwrap_or(usize::MAX);
    if length > sextant_core::limits::LOG_RECORD_BYTES_MAX {
        return Err(damaged(path, offset));
    }
    let mut bytes = vec![0_u8; frame::RECORD_HEADER_BYTES + length];
    file.read_exact_at(&mut bytes, offset).map_err(LineageError::io("read", path))?;
    match frame::decode_record(&bytes) {
        Some((key, _)) => Ok((key, bytes.split_off(frame::RECORD_HEADER_BYTES))),
        None => Err(damaged(path, offset)),
    }
}

/// The error for bytes that are not what was written.
pub(super) fn damaged(path: &Path, offset: u64) -> LineageError {
    LineageError::Corrupt {
        what: path.display().to_string(),
        detail: format!("no valid record at byte {offset}"),
    }
}
