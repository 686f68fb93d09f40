//! How are vectors stored? One file: a header, the digest of each embedded text, the id of each
//! chunk, then the vectors as little-endian `f32`, row by row in the order of the chunks.
//!
//! The file is written once, fsynced, and never changed. Opening checks the header and the size;
//! [`VectorFile::verify`] reads every byte. Reads go through a memory map.

use std::{
    fs::File,
    io::{BufWriter, Write},
    path::{Path, PathBuf},
};

use sextant_core::Digest;
use tantivy::directory::{Directory, MmapDirectory, OwnedBytes};

use crate::{
    error::RetrieveError,
    limits::{CHUNKS_MAX, SCAN_SERIAL_MAX, SCAN_THREADS_MAX, VECTOR_DIMENSIONS_MAX},
};

const MAGIC: &[u8; 8] = b"SXTVEC\r\n";
const VERSION: u32 = 1;
const HEADER_BYTES: usize = 64;
const DIGEST_BYTES: usize = 32;
const LANES: usize = 16;

/// One row to be written.
pub(crate) struct VectorRow<'a> {
    /// The digest of the text that was embedded: the key for reuse.
    pub text: Digest,
    /// The chunk.
    pub chunk: Digest,
    /// Its vector, of unit length.
    pub values: &'a [f32],
}

/// Header, as written: magic 8, version 4, dimension 4, count 8, embedder digest 32, CRC of the
/// body 4, CRC of the header so far 4.
fn header(dim: u32, count: u64, embedder: &Digest, body_crc: u32) -> [u8; HEADER_BYTES] {
    let mut bytes = [0_u8; HEADER_BYTES];
    bytes[..8].copy_from_slice(MAGIC);
    bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
    bytes[12..16].copy_from_slice(&dim.to_le_bytes());
    bytes[16..24].copy_from_slice(&count.to_le_bytes());
    bytes[24..56].copy_from_slice(embedder.as_raw());
    bytes[56..60].copy_from_slice(&body_crc.to_le_bytes());
    let header_crc = crc32fast::hash(&bytes[..60]);
    bytes[60..].copy_from_slice(&header_crc.to_le_bytes());
    bytes
}

/// Writes a vector file and fsyncs it. The caller fsyncs the folder.
pub(crate) fn write(
    path: &Path,
    embedder: &Digest,
    dim: usize,
    rows: &[VectorRow<'_>],
) -> Result<(), RetrieveError> {
    let mut body = Vec::with_capacity(rows.len() * (2 * DIGEST_BYTES + dim * 4));
    for row in rows {
        body.extend_from_slice(row.text.as_raw());
    }
    for row in rows {
        body.extend_from_slice(row.chunk.as_raw());
    }
    for row in rows {
        if row.values.len() != dim {
            let reason = format!("{} dimensions instead of {dim}", row.values.len());
            return Err(RetrieveError::BadVector { reason });
        }
        for value in row.values {
            body.extend_from_slice(&value.to_le_bytes());
        }
    }
    let too_large = |_| RetrieveError::TooLarge {
        what: "the dimension of a vector",
        size: dim,
        max: VECTOR_DIMENSIONS_MAX,
    };
    let dim = u32::try_from(dim).map_err(too_large)?;
    let header = header(dim, rows.len() as u64, embedder, crc32fast::hash(&body));
    let io = RetrieveError::io;
    let mut file = BufWriter::new(File::create_new(path).map_err(io("create", path))?);
    file.write_all(&header).map_err(io("write", path))?;
    file.write_all(&body).map_err(io("write", path))?;
    let file = file.into_inner().map_err(|error| io("write", path)(error.into_error()))?;
    file.sync_all().map_err(io("sync", path))
}

/// An open vector file.
pub(crate) struct VectorFile {
    path: PathBuf,
    bytes: OwnedBytes,
    embedder: Digest,
    dim: usize,
    count: usize,
    body_crc: u32,
}

impl VectorFile {
    /// Maps the file and checks its header and size.
    pub(crate) fn open(path: &Path) -> Result<Self, RetrieveError> {
        let corrupt = |reason: &str| RetrieveError::corrupt(path, reason);
        let bytes = map(path)?;
        let Some(head) = bytes.get(..HEADER_BYTES) else {
            return Err(corrupt("the vector file is shorter than its header"));
        };
        if &head[..8] != MAGIC {
            return Err(corrupt("not a vector file"));
        }
        if u32_at(head, 60) != crc32fast::hash(&head[..60]) {
            return Err(corrupt("the checksum of the vector file's header does not match"));
        }
        let version = u32_at(head, 8);
        if version != VERSION {
            let (found, supported) = (version.to_string(), VERSION.to_string());
            return Err(RetrieveError::OtherFormat { path: path.to_owned(), found, supported });
        }
        let dim = u32_at(head, 12) as usize;
        let count = (u64::from(u32_at(head, 20)) << 32) | u64::from(u32_at(head, 16));
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        if dim == 0 || dim > VECTOR_DIMENSIONS_MAX || count > CHUNKS_MAX {
            return Err(corrupt("the vector file's header has impossible sizes"));
        }
        if bytes.len() != HEADER_BYTES + count * (2 * DIGEST_BYTES + dim * 4) {
            return Err(corrupt("the vector file has the wrong length"));
        }
        let mut raw = [0_u8; DIGEST_BYTES];
        raw.copy_from_slice(&head[24..56]);
        let (embedder, body_crc) = (Digest::from_raw(raw), u32_at(head, 56));
        Ok(Self { path: path.to_owned(), bytes, embedder, dim, count, body_crc })
    }

    pub(crate) const fn embedder(&self) -> Digest {
        self.embedder
    }

    pub(crate) const fn dim(&self) -> usize {
        self.dim
    }

    pub(crate) const fn count(&self) -> usize {
        self.count
    }

    /// The digest of the text that row `row` was made from.
    pub(crate) fn text(&self, row: usize) -> Digest {
        self.digest_at(HEADER_BYTES + row * DIGEST_BYTES)
    }

    /// The chunk of row `row`.
    pub(crate) fn chunk(&self, row: usize) -> Digest {
        self.digest_at(HEADER_BYTES + (self.count + row) * DIGEST_BYTES)
    }

    fn digest_at(&self, at: usize) -> Digest {
        let mut raw = [0_u8; DIGEST_BYTES];
        if let Some(bytes) = self.bytes.get(at..at + DIGEST_BYTES) {
            raw.copy_from_slice(bytes);
        }
        Digest::from_raw(raw)
    }

    /// The vector of row `row`.
    pub(crate) fn vector(&self, row: usize) -> Vec<f32> {
        let width = self.dim * 4;
        let bytes = self.values().get(row * width..(row + 1) * width).unwrap_or_default();
        bytes.as_chunks().0.iter().map(|raw| f32::from_le_bytes(*raw)).collect()
    }

    fn values(&self) -> &[u8] {
        &self.bytes[HEADER_BYTES + self.count * 2 * DIGEST_BYTES..]
    }

    /// Reads every byte.
    pub(crate) fn verify(&self) -> Result<(), RetrieveError> {
        if crc32fast::hash(&self.bytes[HEADER_BYTES..]) == self.body_crc {
            return Ok(());
        }
        Err(RetrieveError::corrupt(&self.path, "the checksum of the vectors does not match"))
    }

    /// The cosine of row `row` and a query of unit length.
    pub(crate) fn cosine(&self, row: usize, query: &[f32]) -> f32 {
        let width = self.dim * 4;
        dot(self.values().get(row * width..(row + 1) * width).unwrap_or_default(), query)
    }

    /// The `k` nearest rows by cosine, best first, exact: every row is looked at. Equal cosines
    /// come in the order of the rows.
    pub(crate) fn nearest(&self, query: &[f32], k: usize) -> Vec<(usize, f32)> {
        if k == 0 || self.count == 0 || query.len() != self.dim {
            return Vec::new();
        }
        let threads = if self.count < SCAN_SERIAL_MAX {
            1
        } else {
            std::thread::available_parallelism().map_or(1, usize::from).min(SCAN_THREADS_MAX)
        };
        let width = self.dim * 4;
        let rows_per_part = self.count.div_ceil(threads);
        let parts = || self.values().chunks(rows_per_part * width).enumerate();
        let scan = |(part, bytes): (usize, &[u8])| scan(bytes, query, part * rows_per_part, k);
        let mut best: Vec<(usize, f32)> = if threads == 1 {
            parts().flat_map(scan).collect()
        } else {
            std::thread::scope(|scope| {
                let workers: Vec<_> = parts().map(|part| scope.spawn(move || scan(part))).collect();
                // A worker only computes; were it to panic, the panic goes on here.
                let joined = workers.into_iter().map(|worker| match worker.join() {
                    Ok(found) => found,
                    Err(panic) => std::panic::resume_unwind(panic),
                });
                joined.flatten().collect()
            })
        };
        best.sort_by(better);
        best.truncate(k);
        best
    }
}

/// Higher cosine first, then lower row.
fn better(a: &(usize, f32), b: &(usize, f32)) -> std::cmp::Ordering {
    b.1.total_cmp(&a.1).then(a.0.cmp(&b.0))
}

/// The best `k` of one stretch of rows. Keeps up to twice as many before it sorts, so that the
/// cost of ordering stays small beside the scan.
fn scan(bytes: &[u8], query: &[f32], first_row: usize, k: usize) -> Vec<(usize, f32)> {
    let mut best: Vec<(usize, f32)> = Vec::with_capacity(2 * k);
    let mut floor = f32::NEG_INFINITY;
    for (offset, row) in bytes.chunks_exact(query.len() * 4).enumerate() {
        let cosine = dot(row, query);
        if cosine > floor {
            best.push((first_row + offset, cosine));
            if best.len() == 2 * k {
                best.sort_by(better);
                best.truncate(k);
                floor = best.last().map_or(floor, |worst| worst.1);
            }
        }
    }
    best.sort_by(better);
    best.truncate(k);
    best
}

/// The dot product of a stored row and a query. Sixteen sums side by side let the compiler use
/// whatever vector unit the target has; the order of additions is fixed, so results are too.
fn dot(row: &[u8], query: &[f32]) -> f32 {
    let (values, _) = row.as_chunks::<4>();
    let mut sums = [0.0_f32; LANES];
    let (blocks, rest) = values.as_chunks::<LANES>();
    let (query_blocks, query_rest) = query.as_chunks::<LANES>();
    for (block, query_block) in blocks.iter().zip(query_blocks) {
        for lane in 0..LANES {
            sums[lane] += f32::from_le_bytes(block[lane]) * query_block[lane];
        }
    }
    let mut sum: f32 = sums.iter().sum();
    for (value, query_value) in rest.iter().zip(query_rest) {
        sum += f32::from_le_bytes(*value) * query_value;
    }
    sum
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let mut raw = [0_u8; 4];
    if let Some(found) = bytes.get(at..at + 4) {
        raw.copy_from_slice(found);
    }
    u32::from_le_bytes(raw)
}

/// Maps a file through the text index's directory, which keeps one map per file.
fn map(path: &Path) -> Result<OwnedBytes, RetrieveError> {
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(RetrieveError::NoSnapshot { path: path.to_owned() });
    };
    let missing = || RetrieveError::corrupt(path, "the vector file is missing");
    let directory = MmapDirectory::open(folder).map_err(|_| missing())?;
    let file = directory.open_read(Path::new(name)).map_err(|_| missing())?;
    file.read_bytes().map_err(RetrieveError::io("read", path))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn numbers(count: usize, dim: usize) -> Vec<Vec<f32>> {
        let mut state = 7_u32;
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / 8_388_608.0 - 1.0
        };
        let vectors = (0..count).map(|_| (0..dim).map(|_| next()).collect()).collect();
        crate::embed::unit_vectors(vectors, count, dim).unwrap()
    }

    fn file(folder: &Path, vectors: &[Vec<f32>], dim: usize) -> PathBuf {
        let path = folder.join("v");
        let row = |(index, values)| {
            let text = Digest::of(format!("t{index}"));
            VectorRow { text, chunk: Digest::of(format!("c{index}")), values }
        };
        let rows: Vec<_> = vectors.iter().map(Vec::as_slice).enumerate().map(row).collect();
        write(&path, &Digest::of("embedder"), dim, &rows).unwrap();
        path
    }

    #[test]
    fn the_scan_equals_brute_force() {
        // Dimensions with and without a rest; counts on both sides of the threading limit.
        for (count, dim) in [(0, 3), (1, 1), (50, 7), (300, 48), (SCAN_SERIAL_MAX + 77, 19)] {
            let folder = tempfile::tempdir().unwrap();
            let vectors = numbers(count, dim);
            let open = VectorFile::open(&file(folder.path(), &vectors, dim)).unwrap();
            open.verify().unwrap();
            for query in numbers(5, dim) {
                let cosine =
                    |v: &Vec<f32>| v.iter().zip(&query).map(|(a, b)| f64::from(a * b)).sum();
                let mut all: Vec<(usize, f64)> = vectors.iter().map(cosine).enumerate().collect();
                all.sort_by(|a, b| b.1.total_cmp(&a.1));
                let found = open.nearest(&query, 10);
                assert_eq!(found.len(), count.min(10));
                for (mine, oracle) in found.iter().zip(&all) {
                    assert!((f64::from(mine.1) - oracle.1).abs() < 1e-5);
                    assert_eq!(open.cosine(mine.0, &query), mine.1);
                }
            }
        }
    }

    #[test]
    fn rows_keep_their_names_and_values() {
        let folder = tempfile::tempdir().unwrap();
        let vectors = numbers(5, 9);
        let open = VectorFile::open(&file(folder.path(), &vectors, 9)).unwrap();
        assert_eq!((open.count(), open.dim(), open.embedder()), (5, 9, Digest::of("embedder")));
        assert_eq!(open.text(4), Digest::of("t4"));
        assert_eq!(open.chunk(4), Digest::of("c4"));
        assert_eq!(open.vector(4), vectors[4]);
    }

    #[test]
    fn every_flipped_byte_and_every_cut_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let path = file(folder.path(), &numbers(3, 4), 4);
        let good = std::fs::read(&path).unwrap();
        let damaged = folder.path().join("damaged");
        let is_refused = |bytes: &[u8]| {
            std::fs::remove_file(&damaged).ok();
            std::fs::write(&damaged, bytes).unwrap();
            VectorFile::open(&damaged).and_then(|file| file.verify()).is_err()
        };
        for at in 0..good.len() {
            let mut bytes = good.clone();
            bytes[at] ^= 0x40;
            assert!(is_refused(&bytes), "byte {at}");
            assert!(is_refused(&good[..at]), "cut at {at}");
        }
        assert!(!is_refused(&good));
    }
}
