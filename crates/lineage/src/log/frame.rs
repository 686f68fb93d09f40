//! What does a batch look like on disk? One frame per group commit: a header with magic, counts and
//! checksum, then the records, each with its own checksum.
//!
//! ```text
//! segment:  "SXTLOG01" | base sequence u64
//! frame:    magic u32 | records u32 | body bytes u32 | header crc u32 | body
//! record:   payload bytes u32 | crc u32 over key and payload | key [16] | payload
//! ```
//! All numbers are little-endian. A frame is written with one write and acknowledged after fsync, so
//! a crash can tear only the last frame of the last segment.

use sextant_core::limits;

/// First bytes of a segment.
pub(super) const SEGMENT_MAGIC: &[u8; 8] = b"SXTLOG01";
/// Bytes before the first frame.
pub(super) const SEGMENT_HEADER_BYTES: u64 = 16;
const FRAME_MAGIC: u32 = 0x4652_5853;
const FRAME_HEADER_BYTES: usize = 16;
/// Bytes of a record before its payload.
pub(super) const RECORD_HEADER_BYTES: usize = 24;

/// A record's key.
pub(super) type Key = [u8; 16];

/// One record found in a frame: where it starts, counted from the start of the scanned bytes.
pub(super) struct Found<'a> {
    pub(super) offset: usize,
    pub(super) key: Key,
    pub(super) payload: &'a [u8],
}

/// Encodes a batch as one frame; the offsets are those of the records within the frame.
pub(super) fn encode(records: &[(Key, Vec<u8>)]) -> (Vec<u8>, Vec<usize>) {
    let body: usize = records.iter().map(|(_, payload)| RECORD_HEADER_BYTES + payload.len()).sum();
    let mut bytes = Vec::with_capacity(FRAME_HEADER_BYTES + body);
    bytes.extend_from_slice(&FRAME_MAGIC.to_le_bytes());
    bytes.extend_from_slice(&u32::try_from(records.len()).unwrap_or(u32::MAX).to_le_bytes());
    bytes.extend_from_slice(&u32::try_from(body).unwrap_or(u32::MAX).to_le_bytes());
    let crc = crc32fast::hash(&bytes);
    bytes.extend_from_slice(&crc.to_le_bytes());
    let mut offsets = Vec::with_capacity(records.len());
    for (key, payload) in records {
        offsets.push(bytes.len());
        bytes.extend_from_slice(&u32::try_from(payload.len()).unwrap_or(u32::MAX).to_le_bytes());
        bytes.extend_from_slice(&record_crc(key, payload).to_le_bytes());
        bytes.extend_from_slice(key);
        bytes.extend_from_slice(payload);
    }
    (bytes, offsets)
}

/// Decodes the frame at the start of `bytes`: its length and records, or `None` when it is torn,
/// damaged, or not there.
pub(super) fn decode(bytes: &[u8]) -> Option<(usize, Vec<Found<'_>>)> {
    let header = bytes.get(..FRAME_HEADER_BYTES)?;
    if number(header, 0)? != FRAME_MAGIC || number(header, 12)? != crc32fast::hash(&header[..12]) {
        return None;
    }
    let count = number(header, 4)? as usize;
    let end = FRAME_HEADER_BYTES.checked_add(number(header, 8)? as usize)?;
    let frame = bytes.get(..end)?;
    let mut records = Vec::with_capacity(count.min(1 << 16));
    let mut at = FRAME_HEADER_BYTES;
    while at < end {
        let (key, payload) = decode_record(frame.get(at..)?)?;
        records.push(Found { offset: at, key, payload });
        at += RECORD_HEADER_BYTES + payload.len();
    }
    (records.len() == count).then_some((end, records))
}

/// Decodes the record at the start of `bytes` and checks it.
pub(super) fn decode_record(bytes: &[u8]) -> Option<(Key, &[u8])> {
    let length = number(bytes, 0)? as usize;
    if length > limits::LOG_RECORD_BYTES_MAX {
        return None;
    }
    let key: Key = bytes.get(8..RECORD_HEADER_BYTES)?.try_into().ok()?;
    let payload = bytes.get(RECORD_HEADER_BYTES..RECORD_HEADER_BYTES.checked_add(length)?)?;
    (record_crc(&key, payload) == number(bytes, 4)?).then_some((key, payload))
}

/// The payload length in a record's header.
pub(super) fn payload_bytes(header: &[u8]) -> Option<usize> {
    number(header, 0).map(|length| length as usize)
}

/// Whether a valid frame starts anywhere after the first byte: then what stands before it is
/// damage, not a torn tail.
pub(super) fn has_later_frame(bytes: &[u8]) -> bool {
    let magic = FRAME_MAGIC.to_le_bytes();
    (1..bytes.len().saturating_sub(FRAME_HEADER_BYTES))
        .any(|at| bytes[at..].starts_with(&magic) && decode(&bytes[at..]).is_some())
}

fn record_crc(key: &Key, payload: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(key);
    hasher.update(payload);
    hasher.finalize()
}

fn number(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at + 4)?.try_into().ok().map(u32::from_le_bytes)
}
