//! What happens when the disk is full? The project lives on a small tmpfs that a filler file uses up
//! to the last byte, and later, to within a few pages of it.

use std::{
    fs::{self, File},
    io::Write as _,
    path::Path,
    process::Command,
    time::Instant,
};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::{QUESTION, built, is_there, reads_go_on, recovers};
use crate::product::{Project, clip};

const DISK_MIB: u32 = 96;
/// Free space left beside the filler, in KiB: nothing, then enough for the first write or two.
const LEFT_KIB: &[u64] = &[0, 4, 16, 64, 256, 1024];

/// A mounted tmpfs, taken down when dropped.
struct Mount<'a>(&'a Path);

impl<'a> Mount<'a> {
    fn new(at: &'a Path) -> Option<Self> {
        let size = format!("size={DISK_MIB}m");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &size, "tmpfs"])
            .arg(at)
            .output()
            .is_ok_and(|output| output.status.success());
        mounted.then_some(Self(at))
    }
}

impl Drop for Mount<'_> {
    fn drop(&mut self) {
        // Nothing is left to do when it fails: the folder is temporary and the run is over.
        let _ = Command::new("umount").arg("-l").arg(self.0).status();
    }
}

/// Runs the fault; the text says what was seen.
pub fn run(binary: &Path, until: Instant) -> Result<String> {
    let work = tempfile::Builder::new().prefix("sextant-full-").tempdir()?;
    if !is_there("mount", "--version") {
        return Ok("skipped: there is no `mount`".to_owned());
    }
    let Some(mount) = Mount::new(work.path()) else {
        return Ok("skipped: mounting a tmpfs needs root".to_owned());
    };
    let result = fill_and_free(binary, mount.0, until);
    drop(mount);
    result
}

fn fill_and_free(binary: &Path, disk: &Path, until: Instant) -> Result<String> {
    let (project, mut acknowledged) = built(binary, disk)?;
    let filler = disk.join("filler");
    let mut refused = 0;
    let mut rounds = 0;
    for (round, left) in LEFT_KIB.iter().enumerate() {
        if Instant::now() > until {
            break;
        }
        project.write_page("full", "Full", &format!("Round {round} of a full disk."))?;
        // The outputs of commands go beside the project: make room for them before the disk is full.
        project.json(&["status"])?;
        fill(&filler, *left)?;
        refused += under_pressure(&project, &mut acknowledged)
            .with_context(|| format!("with {left} KiB left"))?;
        fs::remove_file(&filler)?;
        recovers(&project, &mut acknowledged)
            .with_context(|| format!("after space returned ({left} KiB were left)"))?;
        rounds += 1;
    }
    if refused == 0 {
        bail!("no operation was ever refused: the fault did not reach the product");
    }
    Ok(format!("{rounds} rounds, {refused} operations refused, none acknowledged in vain"))
}

/// A question and a build on the full disk: each fails with an error, or has truly happened.
fn under_pressure(project: &Project, acknowledged: &mut Vec<String>) -> Result<usize> {
    let mut refused = 0;
    let asked = run_in_memory(project, &["ask", QUESTION, "--json"])?;
    if asked.ok() {
        let id = asked.json()?.get("id").and_then(Value::as_str).map(str::to_owned);
        acknowledged.push(id.context("an answer without an id")?);
    } else {
        explained(&asked.stderr)?;
        refused += 1;
    }
    let built = run_in_memory(project, &["build", "--json"])?;
    if !built.ok() {
        refused += 1;
    }
    let outside = outside(project);
    reads_go_on(&outside, acknowledged).context("reads on a full disk")?;
    Ok(refused)
}

/// The same project, with the outputs of its commands on another disk.
fn run_in_memory(project: &Project, arguments: &[&str]) -> Result<crate::product::Outcome> {
    outside(project).run(arguments)
}

fn outside(project: &Project) -> Project {
    Project { scratch: Some(std::env::temp_dir()), ..project.clone() }
}

/// An error names its code; a panic does not.
fn explained(stderr: &str) -> Result<()> {
    if stderr.contains("panicked") || !stderr.contains("SXT-") {
        bail!("the refusal does not explain itself: {}", clip(stderr));
    }
    Ok(())
}

/// Writes until nothing fits, then gives back `left` KiB.
fn fill(path: &Path, left: u64) -> Result<()> {
    let mut file = File::create(path)?;
    let block = vec![0x5A_u8; 4096];
    let mut written = 0_u64;
    loop {
        match file.write(&block) {
            Ok(0) => break,
            Ok(count) => written += count as u64,
            Err(error) if error.kind() == std::io::ErrorKind::StorageFull => break,
            Err(error) => return Err(error).context("fill the disk"),
        }
    }
    file.set_len(written.saturating_sub(left * 1024))?;
    Ok(())
}
