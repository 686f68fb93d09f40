//! What does one answer cost when there are a million? Fills the stream of answers, then times
//! recording one more and finding old ones.
//!
//! `cargo run --release -p sextant-lineage --example bench_answers [COUNT] [DATA_FOLDER]`: with a
//! data folder (a project's `.sextant`, no server running), copies of its last answer are added to
//! it, so that `sextant why` can be timed over them.

#![allow(clippy::print_stdout, reason = "a bench prints its figures")]

use std::{
    error::Error,
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use sextant_core::{ActivityId, limits};
use sextant_lineage::{Log, OpenOptions, Store};

/// The stream that answers are recorded in.
const STREAM: &str = "answers";
const BATCH: usize = 1000;
const LOOKUPS: usize = 2000;
const RECORDED: usize = 500;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let count: usize = arguments.next().map_or(Ok(1_000_000), |text| text.parse())?;
    let scratch = tempfile::tempdir()?;
    let folder = arguments.next().map_or(scratch.path().join("store"), PathBuf::from);
    let store = Store::open(&folder, OpenOptions::default())?;
    let log = store.log(STREAM)?;
    let payload = log.last()?.map_or(vec![7; 256], |record| record.payload);
    println!("{} bytes an answer, of at most {}", payload.len(), limits::ANSWER_RECORD_BYTES_MAX);
    let keys = fill(&log, count, &payload)?;
    let bytes = folder_bytes(&folder.join("log").join(STREAM))?;
    println!("on disk: {} bytes an answer", bytes / log.len().max(1));

    drop(log);
    drop(store);
    let start = Instant::now();
    let store = Store::open(&folder, OpenOptions::default())?;
    let log = store.log(STREAM)?;
    println!("opening it again: {:.1} ms", start.elapsed().as_secs_f64() * 1000.0);

    let mut finds = Vec::new();
    for turn in 0..LOOKUPS {
        // Steps by a prime, so that the lookups are spread over the whole stream.
        let key = &keys[turn * 7919 % keys.len()];
        let start = Instant::now();
        if log.get(key)?.is_none() {
            return Err("an answer is lost".into());
        }
        finds.push(start.elapsed());
    }
    report("finding an answer by its id", finds);

    let mut writes = Vec::new();
    for _ in 0..RECORDED {
        let start = Instant::now();
        log.append(*ActivityId::new().as_raw(), &payload)?;
        writes.push(start.elapsed());
    }
    report("recording an answer, fsync included", writes);
    Ok(())
}

fn fill(log: &Log, count: usize, payload: &[u8]) -> Result<Vec<[u8; 16]>, Box<dyn Error>> {
    let start = Instant::now();
    let mut keys = Vec::with_capacity(count);
    while keys.len() < count {
        let batch: Vec<_> = (0..BATCH.min(count - keys.len()))
            .map(|_| (*ActivityId::new().as_raw(), payload.to_vec()))
            .collect();
        keys.extend(batch.iter().map(|(key, _)| *key));
        log.append_many(batch)?;
    }
    println!("{count} answers in {:.1} s", start.elapsed().as_secs_f64());
    Ok(keys)
}

fn folder_bytes(folder: &Path) -> Result<u64, Box<dyn Error>> {
    let mut bytes = 0;
    for entry in fs::read_dir(folder)? {
        bytes += entry?.metadata()?.len();
    }
    Ok(bytes)
}

fn report(what: &str, mut waits: Vec<Duration>) {
    waits.sort_unstable();
    let at = |percent: usize| {
        let last = waits.len().saturating_sub(1);
        waits.get(last * percent / 100).map_or(0.0, |wait| wait.as_secs_f64() * 1000.0)
    };
    println!("{what}: p50 {:.3} ms, p99 {:.3} ms, worst {:.3} ms", at(50), at(99), at(100));
}
