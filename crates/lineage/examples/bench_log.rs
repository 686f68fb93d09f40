//! How many appends a second does the durable log acknowledge, each after fsync, with 1, 8 and 64
//! writers? `cargo run --release -p sextant-lineage --example bench_log [SECONDS] [FOLDER]`

#![allow(clippy::print_stdout, reason = "a bench prints its figures")]

use std::{
    error::Error,
    path::PathBuf,
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use sextant_core::ActivityId;
use sextant_lineage::{Log, OpenOptions, Store};

/// As long as the record of an ordinary answer.
const PAYLOAD_BYTES: usize = 256;

type Anything = Box<dyn Error + Send + Sync>;

fn main() -> Result<(), Anything> {
    let mut arguments = std::env::args().skip(1);
    let seconds = arguments.next().map_or(Ok(3), |text| text.parse())?;
    let scratch = tempfile::tempdir()?;
    let folder = arguments.next().map_or(scratch.path().to_owned(), PathBuf::from);
    let store = Store::open(&folder.join("store"), OpenOptions::default())?;
    println!("{PAYLOAD_BYTES} bytes a record, {seconds} s each, in {}", folder.display());
    for (stream, writers) in [("bench_one", 1), ("bench_few", 8), ("bench_many", 64)] {
        let log = store.log(stream)?;
        let mut waits = run(&log, writers, Duration::from_secs(seconds))?;
        waits.sort_unstable();
        let at = |percent: usize| waits[(waits.len() - 1) * percent / 100].as_secs_f64() * 1000.0;
        println!(
            "{writers:>3} writers: {:>9.0} appends/s, p50 {:.3} ms, p99 {:.3} ms",
            waits.len() as f64 / seconds as f64,
            at(50),
            at(99)
        );
    }
    Ok(())
}

fn run(log: &Log, writers: usize, time: Duration) -> Result<Vec<Duration>, Anything> {
    let over = AtomicBool::new(false);
    let all = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..writers)
            .map(|_| {
                scope.spawn(|| -> Result<(), Anything> {
                    let payload = vec![7_u8; PAYLOAD_BYTES];
                    let mut waits = Vec::new();
                    while !over.load(Ordering::Relaxed) {
                        let start = Instant::now();
                        log.append(*ActivityId::new().as_raw(), &payload)?;
                        waits.push(start.elapsed());
                    }
                    all.lock().map_err(|_| "a writer panicked")?.extend(waits);
                    Ok(())
                })
            })
            .collect();
        std::thread::sleep(time);
        over.store(true, Ordering::Relaxed);
        workers.into_iter().try_for_each(|worker| worker.join().map_err(|_| "a writer panicked")?)
    })?;
    Ok(all.into_inner().map_err(|_| "a writer panicked")?)
}
