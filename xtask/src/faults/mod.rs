//! Is a write that failed ever acknowledged? A full disk and failing syscalls under the real binary:
//! the operation must fail with an error, reads must go on, and once the fault is gone everything
//! must work again by itself.

use std::{
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::{arguments::Arguments, product::Project, torture};

mod full_disk;
mod inject;

/// What to run.
#[derive(Debug)]
pub struct Options {
    binary: PathBuf,
    limit: Duration,
}

impl Options {
    /// Takes them from the command line.
    pub fn from_arguments(arguments: &mut Arguments) -> Result<Self> {
        let options = Self {
            binary: torture::binary(arguments)?,
            limit: Duration::from_secs(arguments.value("--seconds")?.unwrap_or(600)),
        };
        arguments.finish()?;
        Ok(options)
    }
}

/// Runs every fault; false at the first violation.
pub fn run(options: Options) -> Result<bool> {
    let start = Instant::now();
    let until = start + options.limit;
    let mut fine = true;
    for (name, fault) in [
        ("full disk", full_disk::run as fn(&Path, Instant) -> Result<String>),
        ("failing syscalls", inject::run),
    ] {
        match fault(&options.binary, until) {
            Ok(figures) => say(&format!("{name}: {figures}")),
            Err(error) => {
                say(&format!("VIOLATION under {name}: {error:#}"));
                fine = false;
            }
        }
    }
    say(&format!("faults took {:.0} s", start.elapsed().as_secs_f64()));
    Ok(fine)
}

#[expect(clippy::print_stdout, reason = "the run tells how far it is")]
fn say(text: &str) {
    println!("{text}");
}

/// Whether a program can be run at all.
fn is_there(program: &str, argument: &str) -> bool {
    Command::new(program).arg(argument).output().is_ok_and(|output| output.status.success())
}

const QUESTION: &str = "When is the spring tide?";

/// The ids of all recorded answers.
fn recorded(project: &Project) -> Result<Vec<String>> {
    let listed = project.json(&["answers", "--limit", "1000000"])?;
    let rows = listed.get("answers").and_then(Value::as_array).context("no `answers`")?;
    let ids = rows.iter().filter_map(|row| row.get("id").and_then(Value::as_str));
    Ok(ids.map(str::to_owned).collect())
}

/// What works while nothing can be written: every acknowledged answer is there and can be walked.
fn reads_go_on(project: &Project, acknowledged: &[String]) -> Result<()> {
    let ids = recorded(project)?;
    for id in acknowledged {
        if ids.iter().filter(|other| *other == id).count() != 1 {
            bail!("answer {id} was acknowledged and is not there once");
        }
    }
    if let Some(last) = acknowledged.last() {
        project.json(&["why", last])?;
    }
    project.json(&["status"])?;
    Ok(())
}

/// A sound data folder and a project that answers and builds again.
fn recovers(project: &Project, acknowledged: &mut Vec<String>) -> Result<()> {
    reads_go_on(project, acknowledged)?;
    project.json(&["fsck"])?;
    project.json(&["build"])?;
    let answer = project.json(&["ask", QUESTION])?;
    let id = answer.get("id").and_then(Value::as_str).context("an answer without an id")?;
    acknowledged.push(id.to_owned());
    project.json(&["fsck"])?;
    Ok(())
}

/// A project that was built and answered once.
fn built(binary: &Path, parent: &Path) -> Result<(Project, Vec<String>)> {
    let project = Project::create(binary, parent)?;
    project.json(&["build"])?;
    let mut acknowledged = Vec::new();
    recovers(&project, &mut acknowledged)?;
    Ok((project, acknowledged))
}
