//! Does everything that was acknowledged survive kill -9? Random operations of the real binary are
//! killed at random moments; after each, the data folder must be sound, every acknowledged answer
//! must be there once, the live release must be whole, and the next build must succeed.
//!
//! Killing a process does not lose what the kernel holds in its page cache: this proves atomicity and
//! recovery, not what a power cut does. `cargo xtask faults` looks at the syscalls that decide that.

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

use crate::{
    arguments::Arguments,
    product::{Outcome, Project, Running},
    workspace,
};

mod checks;
mod operations;
mod random;

use checks::Ledger;
use operations::Operation;
use random::Random;

/// What to run.
#[derive(Debug)]
pub struct Options {
    kills: u32,
    seed: u64,
    limit: Duration,
    binary: PathBuf,
    compare_every: u32,
    failpoints: bool,
    keep: bool,
}

impl Options {
    /// Takes them from the command line.
    pub fn from_arguments(arguments: &mut Arguments) -> Result<Self> {
        let seed = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_secs();
        let options = Self {
            kills: arguments.value("--kills")?.unwrap_or(100),
            seed: arguments.value("--seed")?.unwrap_or(seed),
            limit: Duration::from_secs(arguments.value("--seconds")?.unwrap_or(360)),
            binary: binary(arguments)?,
            compare_every: arguments.value("--compare-every")?.unwrap_or(20),
            failpoints: arguments.flag("--failpoints"),
            keep: arguments.flag("--keep"),
        };
        arguments.finish()?;
        Ok(options)
    }

    fn reproduction(&self) -> String {
        format!(
            "cargo xtask torture --kills {} --seed {} --seconds {} --compare-every {}{} --bin {}",
            self.kills,
            self.seed,
            self.limit.as_secs(),
            self.compare_every,
            if self.failpoints { " --failpoints" } else { "" },
            self.binary.display()
        )
    }
}

/// The binary under test: `--bin`, else the development build in the target folder.
pub fn binary(arguments: &mut Arguments) -> Result<PathBuf> {
    let path = match arguments.value::<PathBuf>("--bin")? {
        Some(path) => path,
        None => {
            let target = std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
            target.unwrap_or(workspace::root()?.join("target")).join("debug/sextant")
        }
    };
    path.canonicalize().with_context(|| format!("no binary at {}: build it first", path.display()))
}

/// What happened so far.
#[derive(Debug, Default)]
struct Figures {
    kills: u32,
    finished: u32,
    by_operation: std::collections::BTreeMap<&'static str, u32>,
    compared: u32,
}

/// Runs until the kills or the time are used up; false at the first violation.
pub fn run(options: Options) -> Result<bool> {
    let work = tempfile::Builder::new().prefix("sextant-torture-").tempdir()?;
    say(&format!(
        "seed {}, at most {} kills or {} s",
        options.seed,
        options.kills,
        options.limit.as_secs()
    ));
    let result = Torture::new(&options, work.path()).and_then(|mut torture| {
        let result = torture.go();
        say(&torture.summary());
        result
    });
    let kept = (options.keep || result.is_err()).then(|| work.keep());
    match result {
        Ok(()) => Ok(true),
        Err(error) => {
            say(&format!("VIOLATION: {error:#}"));
            say(&format!("again with: {}", options.reproduction()));
            if let Some(folder) = kept {
                say(&format!("left as it was found: {}", folder.display()));
            }
            Ok(false)
        }
    }
}

#[expect(clippy::print_stdout, reason = "the run tells how far it is")]
fn say(text: &str) {
    println!("{text}");
}

struct Torture<'a> {
    options: &'a Options,
    work: PathBuf,
    project: Project,
    random: Random,
    ledger: Ledger,
    figures: Figures,
    points: Vec<String>,
    start: Instant,
    /// The longest that each operation took when left alone: kills fall within it.
    usual: std::collections::BTreeMap<&'static str, Duration>,
}

impl<'a> Torture<'a> {
    fn new(options: &'a Options, work: &Path) -> Result<Self> {
        let project = Project::create(&options.binary, work)?;
        let points = if options.failpoints { failpoints(&workspace::root()?)? } else { Vec::new() };
        if options.failpoints && points.is_empty() {
            bail!("--failpoints, but no failpoint is written in the sources");
        }
        let mut torture = Self {
            options,
            work: work.to_owned(),
            project,
            random: Random::new(options.seed),
            ledger: Ledger::default(),
            figures: Figures::default(),
            points,
            start: Instant::now(),
            usual: std::collections::BTreeMap::new(),
        };
        torture.undisturbed()?;
        Ok(torture)
    }

    /// Each operation once without a kill: the baseline must work, and shows how long things take.
    fn undisturbed(&mut self) -> Result<()> {
        let first = self.project.run(&["build", "--json"])?;
        if !first.ok() {
            bail!("the first build failed with {:?}: {}", first.code, first.stderr);
        }
        self.usual.insert("build", first.took);
        for _ in 0..2 {
            let asked = self.project.run(&["ask", "When is the spring tide?", "--json"])?;
            if !asked.ok() {
                bail!("the first question failed with {:?}: {}", asked.code, asked.stderr);
            }
            self.usual.insert("ask", asked.took);
            self.ledger.acknowledge(&asked)?;
        }
        self.check()
    }

    fn go(&mut self) -> Result<()> {
        while self.figures.kills < self.options.kills && self.start.elapsed() < self.options.limit {
            let operation = Operation::pick(&mut self.random);
            self.one(operation).with_context(|| {
                format!("at kill {} during `{}`", self.figures.kills, operation.name())
            })?;
            if self.figures.kills.is_multiple_of(10) {
                say(&self.summary());
            }
        }
        self.compare()
    }

    fn one(&mut self, operation: Operation) -> Result<()> {
        let prepared = operations::prepare(operation, &self.project, &mut self.random)?;
        let killed = if operation == Operation::Server {
            operations::kill_server(&self.project, &mut self.random, &mut self.ledger)?
        } else {
            self.kill_command(operation, &prepared)?
        };
        self.figures.kills += u32::from(killed);
        self.figures.finished += u32::from(!killed);
        *self.figures.by_operation.entry(operation.name()).or_default() += u32::from(killed);
        self.check()?;
        if killed && self.figures.kills.is_multiple_of(self.options.compare_every) {
            self.compare()?;
        }
        Ok(())
    }

    fn kill_command(&mut self, operation: Operation, arguments: &[String]) -> Result<bool> {
        let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let point = self.failpoint();
        let environment: Vec<_> =
            point.iter().map(|point| ("FAILPOINTS", point.as_str())).collect();
        let usual = self.usual.get(operation.name()).copied().unwrap_or(Duration::from_secs(1));
        let moment = usual.mul_f64(self.random.unit() * 1.1);
        let mut running = self.project.start(&words, &[], &environment)?;
        running.wait(if point.is_some() { usual.mul_f64(1.5) } else { moment })?;
        let killed = running.kill()?;
        let outcome = running.outcome()?;
        if !killed {
            self.finished(operation, &outcome, point.is_some())?;
        }
        if operation == Operation::Ask {
            self.ledger.acknowledge(&outcome)?;
        }
        Ok(killed)
    }

    /// An operation that came to its end before the kill must have ended well.
    fn finished(
        &mut self,
        operation: Operation,
        outcome: &Outcome,
        with_point: bool,
    ) -> Result<()> {
        if !outcome.ok() && !with_point && !operation.may_refuse(outcome.code) {
            bail!("exited with {:?}: {}", outcome.code, outcome.stderr);
        }
        let usual = self.usual.entry(operation.name()).or_default();
        *usual = (*usual).max(outcome.took);
        Ok(())
    }

    /// In a third of the runs, stop at a named place instead of at a random moment: `pause` holds the
    /// process there until it is killed, `return` fails the call.
    fn failpoint(&mut self) -> Option<String> {
        if self.points.is_empty() || self.random.below(3) != 0 {
            return None;
        }
        let point = self.points[self.random.below(self.points.len())].clone();
        let skip = self.random.below(12);
        let action = if self.random.below(4) == 0 { "return" } else { "pause" };
        Some(format!("{point}={skip}*off->1*{action}"))
    }

    fn check(&mut self) -> Result<()> {
        checks::sound(&self.project)?;
        checks::release_is_whole(&self.project)?;
        self.ledger.check(&self.project, &mut self.random)?;
        let build = self.project.run(&["build", "--json"])?;
        if !build.ok() {
            bail!("the next build exited with {:?}: {}", build.code, build.stderr);
        }
        checks::sound(&self.project).context("after the next build")
    }

    fn compare(&mut self) -> Result<()> {
        let fresh = self.work.join(format!("fresh-{}", self.figures.compared));
        checks::converges(&self.project, &fresh)?;
        self.figures.compared += 1;
        std::fs::remove_dir_all(&fresh).context("remove the fresh copy")
    }

    fn summary(&self) -> String {
        let each: Vec<_> = self
            .figures
            .by_operation
            .iter()
            .map(|(name, kills)| format!("{name} {kills}"))
            .collect();
        format!(
            "{} kills in {:.0} s ({}), {} ended before the kill, {} answers acknowledged, each listed once, {} chains walked, {} comparisons with an undisturbed build",
            self.figures.kills,
            self.start.elapsed().as_secs_f64(),
            each.join(", "),
            self.figures.finished,
            self.ledger.acknowledged(),
            self.ledger.walked(),
            self.figures.compared
        )
    }
}

/// The names of all failpoints written in the sources.
fn failpoints(root: &Path) -> Result<Vec<String>> {
    let pattern = regex::Regex::new(r#"fail_?point!?\("([a-z0-9_:.-]+)""#)?;
    let workspace = workspace::Workspace::read(root)?;
    let mut found: Vec<_> = workspace
        .members
        .values()
        .filter(|member| member.name != "xtask")
        .flat_map(|member| member.production())
        .flat_map(|file| pattern.captures_iter(&file.source.text).map(|hit| hit[1].to_owned()))
        .collect();
    found.sort();
    found.dedup();
    Ok(found)
}

/// Stops a process that a check started, whatever came of the check.
fn stop(mut running: Running) -> Result<Outcome> {
    running.kill()?;
    running.outcome()
}
