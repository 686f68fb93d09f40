//! How long do building, opening and searching take at several sizes? Prints a table.
//!
//! `cargo run --release -p sextant-retrieve --example search_bench -- [chunks …]`

use std::{
    error::Error,
    time::{Duration, Instant},
};

use sextant_core::{Digest, Failure};
use sextant_retrieve::{
    ChunkRow, EmbedText, Mode, Query, Snapshot, Snapshots, TextEmbedder, chunk_digest,
    snapshot::BuildWatch,
};

const DIMENSIONS: [usize; 3] = [128, 256, 384];
const QUERIES: u64 = 200;
const BODY_WORDS: usize = 80;

struct Quiet;

impl BuildWatch for Quiet {
    fn progress(&self, _done: usize, _total: usize) {}

    fn is_cancelled(&self) -> bool {
        false
    }
}

/// A small generator: the figures must not depend on a library.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// A word with the skew of natural text: low numbers are frequent.
    fn word(&mut self) -> String {
        let unit = (self.next() >> 11) as f64 / (1_u64 << 53) as f64;
        format!("w{}", (20_000_f64.powf(unit)) as u64)
    }

    fn text(&mut self, words: usize) -> String {
        (0..words).map(|_| self.word()).collect::<Vec<_>>().join(" ")
    }
}

/// Vectors without meaning and almost without cost, so that the index alone is measured.
struct Noise(usize);

impl TextEmbedder for Noise {
    fn digest(&self) -> Digest {
        Digest::of(format!("noise {}", self.0))
    }

    fn dim(&self) -> usize {
        self.0
    }

    fn pooling(&self) -> &str {
        "none"
    }

    fn embed(&self, texts: &[&str]) -> Result<Vec<Vec<f32>>, Failure> {
        let vector = |text: &&str| {
            let seed = text.bytes().fold(0xCBF2_9CE4_8422_2325, |hash: u64, byte| {
                (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3)
            });
            let mut random = Random(seed | 1);
            (0..self.0).map(|_| (random.next() >> 40) as f32 / 8_388_608.0 - 1.0).collect()
        };
        Ok(texts.iter().map(vector).collect())
    }
}

fn rows(count: usize) -> Vec<ChunkRow> {
    let mut random = Random(42);
    let row = |index: usize| {
        let doc_version = Digest::of(index.to_le_bytes());
        let body = random.text(BODY_WORDS);
        let byte_end = body.len() as u64;
        ChunkRow {
            chunk: chunk_digest(&doc_version, 0, byte_end),
            doc_version,
            path: format!("docs/{index:07}.md"),
            ordinal: 0,
            heading: random.text(3),
            breadcrumb: random.text(6),
            body,
            byte_start: 0,
            byte_end,
        }
    };
    (0..count).map(row).collect()
}

/// The median and the 99th percentile of one search, in milliseconds.
fn searches(index: &Snapshot, embedder: &Noise, mode: Mode) -> Result<(f64, f64), Failure> {
    let mut random = Random(7);
    let mut times: Vec<Duration> = Vec::new();
    for _ in 0..QUERIES {
        let text = random.text(6);
        let start = Instant::now();
        index.search(&Query { text: &text, mode, k: 10, embedder: Some(embedder) })?;
        times.push(start.elapsed());
    }
    times.sort();
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e3;
    Ok((at(0.5), at(0.99)))
}

#[expect(clippy::print_stdout, reason = "a bench prints its figures")]
fn measure(count: usize, dim: usize) -> Result<(), Failure> {
    let home =
        std::env::temp_dir().join(format!("sextant-bench-{}-{count}-{dim}", std::process::id()));
    let io = |error: std::io::Error| {
        Failure::from(sextant_retrieve::RetrieveError::Io {
            action: "use",
            path: home.clone(),
            source: error,
        })
    };
    std::fs::create_dir_all(&home).map_err(io)?;
    let (snapshots, embedder) = (Snapshots::new(&home), Noise(dim));
    let mut rows = rows(count);
    let start = Instant::now();
    let first = snapshots.build(rows.clone(), Some(&embedder), EmbedText::Body, None, &Quiet)?;
    let full = start.elapsed().as_secs_f64();
    rows[0].breadcrumb.push_str(" changed");
    rows[0].body.push_str(" changed");
    let start = Instant::now();
    let previous = Some(first.path.as_path());
    let second = snapshots.build(rows, Some(&embedder), EmbedText::Body, previous, &Quiet)?;
    let again = start.elapsed().as_secs_f64();
    let start = Instant::now();
    let index = Snapshot::open(&second.path)?;
    let open = start.elapsed().as_secs_f64() * 1e3;
    let bytes = sextant_retrieve::verify(&second.path)?.bytes;
    let (bm25, vector, hybrid) = (
        searches(&index, &embedder, Mode::Bm25)?,
        searches(&index, &embedder, Mode::Vector)?,
        searches(&index, &embedder, Mode::Hybrid)?,
    );
    println!(
        "| {count} | {dim} | {full:.2} | {again:.2} ({} embedded) | {open:.1} | {:.1} | {:.2} / {:.2} | {:.2} / {:.2} | {:.2} / {:.2} |",
        second.counts.embedded,
        bytes as f64 / 1e6,
        bm25.0,
        bm25.1,
        vector.0,
        vector.1,
        hybrid.0,
        hybrid.1,
    );
    drop(index);
    std::fs::remove_dir_all(&home).map_err(io)
}

#[expect(clippy::print_stdout, reason = "a bench prints its figures")]
fn main() -> Result<(), Box<dyn Error>> {
    let named: Vec<usize> =
        std::env::args().skip(1).map(|word| word.parse()).collect::<Result<_, _>>()?;
    let sizes = if named.is_empty() { vec![1_000, 10_000, 100_000] } else { named };
    println!(
        "| chunks | dim | build s | one changed s | open ms | MB | bm25 ms p50 / p99 | vector | hybrid |"
    );
    println!("|---|---|---|---|---|---|---|---|---|");
    for count in sizes {
        for dim in DIMENSIONS {
            measure(count, dim).map_err(|failure| failure.to_string())?;
        }
    }
    Ok(())
}
