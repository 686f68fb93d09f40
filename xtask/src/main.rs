//! The project's own chores: `tidy`, `measure`, `torture` and `faults`. Run as `cargo xtask NAME`.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a chore's business is printing")]

use std::process::ExitCode;

use anyhow::{Result, bail};

mod arguments;
mod faults;
mod house;
mod measure;
mod product;
mod source;
mod tidy;
mod torture;
mod workspace;

use arguments::Arguments;

const HELP: &str = "\
cargo xtask tidy                 check the tree against house.toml
cargo xtask measure              print our figures beside the house's limits
cargo xtask torture --kills N    kill -9 the real binary at random moments and check what is left
    --seed S         repeat a run            --seconds LIMIT  stop after that long
    --bin PATH       the binary under test   --compare-every K  compare with an undisturbed build
    --failpoints     the binary was built with the feature `failpoints`: stop at those too
    --keep           leave the work folder
cargo xtask faults               full disk, failing fsync, failing write
    --bin PATH       the binary under test   --seconds LIMIT  stop after that long
";

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let chore = arguments.next().unwrap_or_default();
    match run(&chore, Arguments::new(arguments.collect())) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(chore: &str, mut arguments: Arguments) -> Result<bool> {
    match chore {
        "tidy" => {
            arguments.finish()?;
            tidy()
        }
        "measure" => {
            arguments.finish()?;
            let (text, fine) = measure::report(&workspace::root()?)?;
            print!("{text}");
            Ok(fine)
        }
        "torture" => torture::run(torture::Options::from_arguments(&mut arguments)?),
        "faults" => faults::run(faults::Options::from_arguments(&mut arguments)?),
        "" | "help" | "--help" | "-h" => {
            print!("{HELP}");
            Ok(true)
        }
        other => bail!("no such chore: `{other}`\n{HELP}"),
    }
}

fn tidy() -> Result<bool> {
    let findings = tidy::check(&workspace::root()?)?;
    for finding in &findings {
        println!("{finding}");
    }
    let errors = findings.iter().filter(|f| f.severity == tidy::Severity::Error).count();
    println!(
        "tidy: {} rules, {errors} errors, {} warnings",
        tidy::rule_count(),
        findings.len() - errors
    );
    Ok(errors == 0)
}
