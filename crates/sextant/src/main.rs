//! The binary: arguments in, one operation, its result out. The only `main`.

#![allow(missing_docs, reason = "a binary has no callers")]

mod backend;
mod cli;
mod demo;
mod progress;
mod render;
mod serve;
mod session;
mod sql;
mod trouble;

use std::{
    io::Write as _,
    process::ExitCode,
    sync::atomic::{AtomicBool, Ordering},
};

use clap::{CommandFactory as _, Parser as _};
use serde_json::Value;
use sextant_app::Op;
use sextant_core::{Cancel, ExitKind};

use crate::{
    cli::{
        Cli, Command, ConfigCommand, DataCommand, EvalCommand, Global, IndexCommand,
        LineageCommand, ReleaseCommand, ServeArgs, TrackCommand,
    },
    progress::Screen,
    session::{Session, io_trouble},
    trouble::Trouble,
};

/// Training allocates and frees many large tensors; this allocator keeps them.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Exit status after Ctrl-C.
pub const INTERRUPTED: u8 = 130;

fn main() -> ExitCode {
    sextant_app::register_codes(sextant_server::CODES);
    let cli = Cli::parse();
    start_tracing(cli.global.verbose);
    let global = cli.global.clone();
    match run(cli) {
        Ok(code) => ExitCode::from(code),
        Err(trouble) => {
            report(&global, &trouble);
            ExitCode::from(trouble.exit)
        }
    }
}

fn run(cli: Cli) -> Result<u8, Trouble> {
    let global = &cli.global;
    match cli.command {
        Command::Demo { dir, exit, port } => demo::run(global, &dir, exit, port),
        Command::Init { name, docs } => init(global, &name, docs.as_deref()),
        Command::Dev(args) => serve::run(global, &args, true),
        Command::Serve(args) => serve::run(global, &args, false),
        Command::Track(TrackCommand::Ui { mlflow, mlflow_port }) => {
            let mlflow_port = mlflow.is_some().then_some(mlflow_port);
            let mlflow_package = mlflow.flatten();
            serve::run(
                global,
                &ServeArgs { mlflow_port, mlflow_package, ..ServeArgs::plain(None) },
                false,
            )
        }
        Command::Completion { shell } => {
            let mut buffer = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "sextant", &mut buffer);
            print(&String::from_utf8_lossy(&buffer))?;
            Ok(0)
        }
        Command::Man { dir } => {
            std::fs::create_dir_all(&dir).map_err(|error| io_trouble("make the folder", &error))?;
            clap_mangen::generate_to(Cli::command(), &dir)
                .map_err(|error| io_trouble("write the man pages", &error))?;
            Ok(0)
        }
        Command::Explain { code } => {
            let op = Op::Explain { code };
            let result = sextant_app::explain(&op)?;
            show(global, &op, &result)?;
            Ok(0)
        }
        Command::Sql { statement, limit, csv } => {
            sql::run(global, statement.as_deref(), limit, csv)
        }
        command => match operation(command) {
            Some(op) => operate(global, &op),
            None => Err(Trouble::new("SXT-8005", ExitKind::Usage, "no such command")),
        },
    }
}

/// The operation of a command; `None` for those that are none.
fn operation(command: Command) -> Option<Op> {
    let op = match command {
        Command::Build { select, exclude, full } => Op::Build { select, exclude, full },
        Command::Status => Op::Status {},
        Command::Versions { asset } => Op::Versions { asset },
        Command::Ask { question, release } => Op::Ask { question, release },
        Command::Answers { limit, skip } => Op::Answers { limit, skip },
        Command::Why { id } => Op::Why { id },
        Command::Impact { id } => Op::Impact { id },
        Command::Diff { a, b } => Op::Diff { a, b },
        Command::Replay { id } => Op::Replay { id },
        Command::Rollback { release } => Op::Rollback { release },
        Command::Release(command) => match command {
            ReleaseCommand::Create { name } => Op::ReleaseCreate { name },
            ReleaseCommand::Gate { id } => Op::ReleaseGate { id },
            ReleaseCommand::Promote { id, force } => Op::ReleasePromote { id, force },
            ReleaseCommand::List => Op::ReleaseList {},
            ReleaseCommand::Show { id } => Op::ReleaseShow { id },
        },
        Command::Data(command) => of_tables(command),
        Command::Track(command) => match command {
            TrackCommand::Runs => Op::Runs {},
            TrackCommand::Run { id } => Op::Run { id },
            TrackCommand::Best { metric, asset, experiment, min, max } => {
                let min = (min || max).then_some(min);
                Op::Best { metric, asset, experiment, min }
            }
            TrackCommand::Ui { .. } => return None,
        },
        Command::Index(IndexCommand::Search { query, index, k, mode }) => {
            Op::Search { query, index, k, mode }
        }
        Command::Eval(EvalCommand::Show { name }) => Op::EvalShow { name },
        Command::Lineage(LineageCommand::Holes) => Op::Holes {},
        Command::Fsck { repair } => Op::Fsck { repair },
        Command::Doctor => Op::Doctor {},
        Command::Config(command) => match command {
            ConfigCommand::Show => Op::ConfigShow {},
            ConfigCommand::Check => Op::ConfigCheck {},
            ConfigCommand::Schema => Op::ConfigSchema {},
        },
        _ => return None,
    };
    Some(op)
}

/// The operation of a command on tables and sources.
fn of_tables(command: DataCommand) -> Op {
    match command {
        DataCommand::Tables => Op::DataTables {},
        DataCommand::Query { sql, limit } => Op::DataQuery { sql, limit },
        DataCommand::History { table, limit } => Op::DataHistory { table, limit },
        DataCommand::Show { table, limit } => Op::DataShow { table, limit },
        DataCommand::Restore { tag: Some(name), .. } => Op::DataRestoreTag { name },
        DataCommand::Restore { table, to, .. } => {
            Op::DataRestore { table: table.unwrap_or_default(), version: to.unwrap_or_default() }
        }
        DataCommand::Replace { table, predicate, sql } => Op::DataReplace { table, predicate, sql },
        DataCommand::Compact { table, file_size } => {
            Op::DataCompact { table, file_megabytes: file_size }
        }
        DataCommand::Zorder { table, columns } => Op::DataZorder { table, columns },
        DataCommand::Tag { name, tables } => Op::DataTag { name, tables, branch: false },
        DataCommand::Branch { name, tables } => Op::DataTag { name, tables, branch: true },
        DataCommand::Tags => Op::DataTags {},
        DataCommand::Files { source, path } => Op::DataFiles { source, path },
        DataCommand::Untag { name } => Op::DataUntag { name },
        DataCommand::Gc { dry_run, older_than } => Op::DataGc { dry_run, older_than_s: older_than },
        DataCommand::Failures { asset } => Op::CheckFailures { asset },
        DataCommand::Sources => Op::DataSources {},
        DataCommand::Source { source } => Op::DataSource { source },
        DataCommand::Schema { source } => Op::DataSchema { source },
        DataCommand::Quarantine { source, limit, skip } => {
            Op::DataQuarantine { source, limit, skip }
        }
        DataCommand::Replay { source, limit } => Op::DataReplay { source, limit },
        DataCommand::Dataset { id, split, limit } => Op::DatasetShow { id, split, limit },
    }
}

/// Runs one operation and prints its result.
fn operate(global: &Global, op: &Op) -> Result<u8, Trouble> {
    let session = Session::open(global)?;
    let screen = Screen::new(global.quiet || global.json, global.verbose > 0);
    let cancel = cancel_on_interrupt();
    let result = session.run(op, &screen, &cancel);
    if cancel.is_cancelled() {
        if let Ok(result) = &result {
            show(global, op, result)?;
        }
        return Ok(INTERRUPTED);
    }
    let result = result?;
    show(global, op, &result)?;
    Ok(status_of(op, &result))
}

/// The exit status of an operation that ended with a result.
fn status_of(op: &Op, result: &Value) -> u8 {
    let failed = |field: &str| result[field].as_u64().unwrap_or(0) > 0;
    match op {
        Op::Build { .. } if failed("failed") => result["exit"]
            .as_u64()
            .map_or_else(|| ExitKind::Failure.exit_code(), |exit| u8::try_from(exit).unwrap_or(1)),
        Op::Build { .. } if gate_refused(result) => ExitKind::GateRefused.exit_code(),
        Op::Build { .. } => release_trouble(result),
        Op::ReleaseGate { .. } if result["passed"] == Value::Bool(false) => {
            ExitKind::GateRefused.exit_code()
        }
        Op::Fsck { .. } if result["problems"].as_array().is_some_and(|list| !list.is_empty()) => {
            ExitKind::Integrity.exit_code()
        }
        Op::Doctor {} if failed("failed") => ExitKind::Failure.exit_code(),
        _ => 0,
    }
}

/// The exit status of a build whose release could not be made. That parts are stale or not there
/// yet, as after a build of a selection, is no fault.
fn release_trouble(result: &Value) -> u8 {
    let waits = [ExitKind::Conflict.exit_code(), ExitKind::NotFound.exit_code()];
    let exits = result["releases"].as_array().into_iter().flatten();
    let exits = exits.filter_map(|release| release["exit"].as_u64());
    let exits = exits.map(|exit| u8::try_from(exit).unwrap_or(1));
    exits.filter(|exit| !waits.contains(exit)).max().unwrap_or(0)
}

fn gate_refused(result: &Value) -> bool {
    let refused = |release: &Value| release["gate"] == "refused";
    result["releases"].as_array().is_some_and(|releases| releases.iter().any(refused))
}

/// Prints a result: JSON or text on stdout, the next useful commands on stderr.
pub fn show(global: &Global, op: &Op, result: &Value) -> Result<(), Trouble> {
    if global.json {
        return print(&format!("{result}\n"));
    }
    print(&render::render(op, result))?;
    if !global.quiet && std::io::IsTerminal::is_terminal(&std::io::stderr()) {
        for step in render::next_steps(op, result) {
            anstream::eprintln!("{}", render::Style::Dim.paint(format!("next: {step}")));
        }
    }
    Ok(())
}

/// Writes to stdout; a reader that went away ends the program quietly.
pub fn print(text: &str) -> Result<(), Trouble> {
    let mut stdout = anstream::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        Err(error) => Err(io_trouble("write the result", &error)),
        Ok(()) => Ok(()),
    }
}

pub fn report(global: &Global, trouble: &Trouble) {
    if global.json {
        let error = serde_json::json!({ "error": trouble });
        anstream::eprintln!("{error}");
    } else {
        anstream::eprint!("{}", trouble.lines());
    }
}

fn init(global: &Global, name: &str, docs: Option<&std::path::Path>) -> Result<u8, Trouble> {
    let result = sextant_app::init(std::path::Path::new(name), name, docs)?;
    if global.json {
        print(&format!("{result}\n"))?;
        return Ok(0);
    }
    for line in result["lines"].as_array().into_iter().flatten() {
        print(&format!("{}\n", line.as_str().unwrap_or_default()))?;
    }
    Ok(0)
}

/// The first Ctrl-C asks the work to stop at its next safe point; the second ends the process.
pub fn cancel_on_interrupt() -> Cancel {
    static ASKED: AtomicBool = AtomicBool::new(false);
    let cancel = Cancel::new();
    let raised = cancel.clone();
    std::thread::spawn(move || {
        let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else {
            return;
        };
        runtime.block_on(async {
            while tokio::signal::ctrl_c().await.is_ok() {
                if ASKED.swap(true, Ordering::SeqCst) {
                    std::process::exit(i32::from(INTERRUPTED));
                }
                raised.cancel();
                anstream::eprintln!(
                    "stopping at the next safe point (Ctrl-C again to end at once)"
                );
            }
        });
    });
    cancel
}

fn start_tracing(verbose: u8) {
    let level = match verbose {
        // The Delta reader reports as an error that a table is new.
        0 => "error,buoyant_kernel=off",
        1 => "warn,sextant=info,buoyant_kernel=off",
        2 => "info,sextant=debug",
        _ => "trace",
    };
    let filter = tracing_subscriber::EnvFilter::try_from_env("SEXTANT_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new(level));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
        .with_writer(std::io::stderr)
        .init();
}
