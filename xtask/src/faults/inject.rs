//! What happens when a syscall of the write path fails? strace makes the N-th fsync, fdatasync or
//! write of each thread fail, for N from 1 until no such call is reached.
//!
//! Writes are only failed on the files of the data folder that decide durability; a failing write to
//! the terminal would prove nothing.

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::{QUESTION, built, is_there, reads_go_on, recovers};
use crate::product::{COMMAND_SECONDS_MAX, Outcome, Project};

/// More calls than any thread makes in one command on the small project.
const CALLS_MAX: u32 = 5_000;
/// Behind so many failed calls the project is checked, built and asked without a fault; behind each of them
/// what was acknowledged is read.
const CALLS_TO_RECOVERY: u32 = 5;

/// One way to fail: the syscalls, the error, and whether only the data folder's own files are hit.
struct Fault {
    calls: &'static str,
    error: &'static str,
    only_data: bool,
}

const FAULTS: &[Fault] = &[
    Fault { calls: "fsync,fdatasync", error: "EIO", only_data: false },
    Fault { calls: "write,pwrite64,writev,pwritev", error: "ENOSPC", only_data: true },
    Fault { calls: "write,pwrite64,writev,pwritev", error: "EIO", only_data: true },
];

#[derive(Debug, Default)]
struct Figures {
    hits: u32,
    refused: u32,
    survived: u32,
    /// Which calls were failed until there was none left, and with which the time ended.
    through: Vec<String>,
    unfinished: Option<String>,
}

/// Runs the faults; the text says what was seen.
pub fn run(binary: &Path, until: Instant) -> Result<String> {
    if !is_there("strace", "-V") {
        return Ok("skipped: there is no `strace`".to_owned());
    }
    let work = tempfile::Builder::new().prefix("sextant-inject-").tempdir()?;
    let (project, mut acknowledged) = built(binary, work.path())?;
    let mut figures = Figures::default();
    'faults: for fault in FAULTS {
        for command in ["ask", "build"] {
            let what = format!("{} on {} under `{command}`", fault.error, fault.calls);
            let before = figures.hits;
            let is_through =
                each_call(&project, fault, command, &mut acknowledged, &mut figures, until)
                    .with_context(|| what.clone())?;
            let hits = figures.hits - before;
            match is_through {
                true => figures.through.push(format!("{what}: all {hits}")),
                false => figures.unfinished = Some(format!("{what}: after {hits}")),
            }
            if figures.unfinished.is_some() {
                break 'faults;
            }
        }
    }
    if figures.hits == 0 {
        let late = Instant::now() >= until;
        let why = if late { "no time was left" } else { "strace cannot trace here" };
        return Ok(format!("skipped: {why}"));
    }
    Ok(format!(
        "{} calls failed, {} operations refused, {} went on and were whole, none acknowledged in vain; \
         every call failed once of {}; {}",
        figures.hits,
        figures.refused,
        figures.survived,
        figures.through.join(", "),
        figures.unfinished.map_or_else(
            || "nothing is left".to_owned(),
            |what| format!("the time ended with {what}")
        )
    ))
}

/// Fails the first call of each thread, then the second, and so on; whether none was left.
fn each_call(
    project: &Project,
    fault: &Fault,
    command: &str,
    acknowledged: &mut Vec<String>,
    figures: &mut Figures,
    until: Instant,
) -> Result<bool> {
    for call in 1..=CALLS_MAX {
        if Instant::now() > until {
            return Ok(false);
        }
        if command == "build" {
            project.write_page(
                "fault",
                "Fault",
                &format!("Call {call} of {} fails.", fault.calls),
            )?;
        }
        let hit = one(project, fault, command, call, acknowledged, figures)
            .with_context(|| format!("call {call}"))?;
        if !hit || call % CALLS_TO_RECOVERY == 0 {
            recovers(project, acknowledged).with_context(|| format!("after call {call}"))?;
        }
        if !hit {
            return Ok(true);
        }
        figures.hits += 1;
    }
    Ok(false)
}

/// One command with one failing call per thread; whether any call was reached.
fn one(
    project: &Project,
    fault: &Fault,
    command: &str,
    call: u32,
    acknowledged: &mut Vec<String>,
    figures: &mut Figures,
) -> Result<bool> {
    let trace = project.folder.with_extension("trace");
    let wrapper = wrapper(project, fault, call, &trace)?;
    let arguments: &[&str] =
        if command == "ask" { &["ask", QUESTION, "--json"] } else { &["build", "--json"] };
    let mut running = project.start(arguments, &wrapper, &[])?;
    if !running.wait(Duration::from_secs(COMMAND_SECONDS_MAX))? {
        running.kill()?;
        bail!("hangs: {}", running.outcome()?.stderr);
    }
    let outcome = running.outcome()?;
    let injected = injected(&fs::read_to_string(&trace).unwrap_or_default());
    if injected.is_empty() {
        return Ok(false);
    }
    if panicked(&outcome.stderr) {
        bail!("panicked: {}", outcome.stderr);
    }
    judge(&outcome, &injected, command, acknowledged, figures)?;
    reads_go_on(project, acknowledged)?;
    Ok(true)
}

/// Success is only fine when the call that failed was not the one that makes the promise.
fn judge(
    outcome: &Outcome,
    injected: &[String],
    command: &str,
    acknowledged: &mut Vec<String>,
    figures: &mut Figures,
) -> Result<()> {
    if !outcome.ok() {
        figures.refused += 1;
        return Ok(());
    }
    figures.survived += 1;
    if let Some(line) = injected.iter().find(|line| line.contains("/.sextant/log/")) {
        bail!("acknowledged although the durable log's write failed: {line}");
    }
    if command == "ask" {
        let id = outcome.json()?.get("id").and_then(Value::as_str).map(str::to_owned);
        acknowledged.push(id.context("an answer without an id")?);
    }
    Ok(())
}

fn wrapper(project: &Project, fault: &Fault, call: u32, trace: &Path) -> Result<Vec<String>> {
    let mut words: Vec<String> = ["strace", "-f", "-qq", "-y", "-o"].map(str::to_owned).to_vec();
    words.push(trace.to_string_lossy().into_owned());
    words.push("-e".to_owned());
    words.push(format!("trace={}", fault.calls));
    words.push("-e".to_owned());
    words.push(format!("inject={}:error={}:when={call}", fault.calls, fault.error));
    if fault.only_data {
        for path in durable_files(&project.data())? {
            words.push("-P".to_owned());
            words.push(path.to_string_lossy().into_owned());
        }
    }
    Ok(words)
}

/// The catalog with its write-ahead log, and the segments of the durable log.
fn durable_files(data: &Path) -> Result<Vec<PathBuf>> {
    let mut found = vec![data.join("catalog.db"), data.join("catalog.db-wal")];
    for stream in fs::read_dir(data.join("log")).into_iter().flatten() {
        for segment in fs::read_dir(stream?.path())? {
            found.push(segment?.path());
        }
    }
    Ok(found)
}

/// Whether anything panicked but for what is caught: the table crate closes a file, which fails, and then
/// takes it back, for which the crate below knows nothing but a panic (`deltalake-core` 1.1,
/// `datafile/writer.rs`; `object_store` 0.13, `BufWriter::abort`).
fn panicked(stderr: &str) -> bool {
    let told = stderr.split("panicked at ").skip(1);
    let mut told = told.map(|panic| panic.lines().take(2).collect::<String>());
    told.any(|panic| !(panic.contains("object_store-") && panic.contains("Already shut down")))
}

/// The lines of a trace whose call was made to fail.
fn injected(trace: &str) -> Vec<String> {
    trace.lines().filter(|line| line.contains("(INJECTED)")).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_counts_unless_it_is_the_one_that_is_caught() {
        let caught = "thread 'a' (1) panicked at /r/object_store-0.13.2/src/buffered.rs:369:41:\nAlready shut down\nstack";
        let ours = "thread 'b' panicked at crates/data/src/lib.rs:1:1:\nAlready shut down";
        for (stderr, expected) in [("", false), (caught, false), (ours, true)] {
            assert_eq!(panicked(stderr), expected, "{stderr}");
        }
        assert!(panicked(&format!("{caught}\n{ours}")));
    }

    #[test]
    fn only_injected_lines_count() {
        let trace = "1 fsync(3</p/.sextant/log/answers/0>) = -1 EIO (Input/output error) (INJECTED)\n1 fsync(4) = 0\n";
        assert_eq!(injected(trace).len(), 1);
    }
}
