//! What can be typed? The one definition from which the parser, `--help`, the completions and the
//! man pages come.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

/// One binary for the six layers under an AI feature, joined by one chain of lineage.
#[derive(Debug, Parser)]
#[command(name = "sextant", version, about, max_term_width = 100, propagate_version = true)]
pub struct Cli {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Clone, Args)]
pub struct Global {
    /// The project's folder; found upwards from here when absent
    #[arg(short = 'C', long, global = true, env = "SEXTANT_PROJECT", value_name = "DIR")]
    pub project: Option<PathBuf>,
    /// The profile of sextant.toml to use
    #[arg(long, global = true, env = "SEXTANT_PROFILE", value_name = "NAME")]
    pub profile: Option<String>,
    /// Print the result as JSON
    #[arg(long, global = true)]
    pub json: bool,
    /// Print no progress and no hints
    #[arg(short, long, global = true)]
    pub quiet: bool,
    /// Print what happens inside, to stderr (repeat for more)
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the whole loop on a real example, in minutes
    Demo {
        /// Where to make the demo project
        #[arg(long, default_value = "sextant-demo")]
        dir: PathBuf,
        /// Stop at the end instead of leaving the server running
        #[arg(long)]
        exit: bool,
        /// The server's port
        #[arg(long, default_value_t = 7700)]
        port: u16,
    },
    /// Make a project from the built-in template
    Init {
        /// The new project's name and folder
        name: String,
        /// The folder of Markdown or text files that it answers from
        #[arg(long, value_name = "DIR")]
        docs: Option<PathBuf>,
    },
    /// Serve, and rebuild what is stale as files change
    Dev(ServeArgs),
    /// Serve the live releases, the pages and the API
    Serve(ServeArgs),
    /// Build what is stale
    Build {
        /// Which assets: `name`, `+name`, `name+`, `tag:x`, `path:glob`; all when absent
        select: Vec<String>,
        /// Assets to leave out
        #[arg(long, value_name = "SELECTOR")]
        exclude: Vec<String>,
        /// Build the selected assets even when they are fresh
        #[arg(long)]
        full: bool,
    },
    /// Show every asset: fresh, stale and why, failed
    #[command(visible_alias = "ls")]
    Status,
    /// Show the versions of an asset
    Versions { asset: String },
    /// Ask the released feature
    Ask {
        /// The question
        question: String,
        /// The release to ask; the project's only one when absent
        #[arg(long)]
        release: Option<String>,
    },
    /// Show the newest answers
    Answers {
        /// How many at most; never more than 10,000
        #[arg(long, default_value_t = 20)]
        limit: u32,
        /// How many of the newest are left out
        #[arg(long, default_value_t = 0)]
        skip: u64,
    },
    /// Show the chain from an answer or a version back to the bytes
    Why {
        /// `last`, an answer id, a digest or a unique prefix, an asset, or a name
        #[arg(default_value = "last")]
        id: String,
    },
    /// Show the chain forward: what was made from it, and which answers used it
    Impact {
        /// A digest or a unique prefix, an asset, a document's path, or a name
        id: String,
    },
    /// Show what moved between two releases
    Diff {
        /// The older release: digest, prefix, name, or NAME~1 for the one before
        a: String,
        /// The newer release
        b: String,
    },
    /// Answer a recorded question again with its release, and compare
    Replay {
        #[arg(default_value = "last")]
        id: String,
    },
    /// Make the release before the present one live again
    Rollback {
        /// The release's name; the project's only one when absent
        release: Option<String>,
    },
    /// Releases: create, gate, promote, list, show
    #[command(subcommand)]
    Release(ReleaseCommand),
    /// Run SQL: a query, or a change to a table of your own; a shell when no statement is given
    Sql {
        /// The statement; read from stdin when that is not a terminal
        statement: Option<String>,
        /// How many rows of a query to print
        #[arg(long, default_value_t = 100)]
        limit: u32,
        /// Print rows as CSV
        #[arg(long, conflicts_with = "json")]
        csv: bool,
    },
    /// Tables and their versions, queries, failing rows, datasets
    #[command(subcommand)]
    Data(DataCommand),
    /// Training runs, curves, the best checkpoint
    #[command(subcommand)]
    Track(TrackCommand),
    /// Search an index
    #[command(subcommand)]
    Index(IndexCommand),
    /// Evaluation reports
    #[command(subcommand)]
    Eval(EvalCommand),
    /// The chain of lineage: gaps
    #[command(subcommand)]
    Lineage(LineageCommand),
    /// Check every stored byte and every link of the chain
    Fsck {
        /// Delete files that unfinished work left behind
        #[arg(long)]
        repair: bool,
    },
    /// Check the machine, the folder and the project
    Doctor,
    /// Show, check or describe the configuration
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Say what an error code means
    Explain {
        /// SXT-nnnn
        code: String,
    },
    /// Print completions for a shell
    Completion { shell: clap_complete::Shell },
    /// Write the man pages into a folder
    Man { dir: PathBuf },
}

#[derive(Debug, Clone, Args)]
pub struct ServeArgs {
    /// The address to listen on
    #[arg(long, default_value = "127.0.0.1")]
    pub host: String,
    /// The port; 0 takes a free one
    #[arg(long)]
    pub port: Option<u16>,
    /// Also answer PostgreSQL clients, read only, on this port of loopback; 0 takes a free one
    #[arg(long, value_name = "PORT")]
    pub pg_port: Option<u16>,
    /// Also answer Arrow Flight SQL clients, read only, on this port of loopback; 0 takes a free one
    #[arg(long, value_name = "PORT")]
    pub flight_port: Option<u16>,
    /// Also serve MLflow's own pages, of an installed mlflow package, on this port; 0 takes a free one
    #[arg(long, value_name = "PORT")]
    pub mlflow_port: Option<u16>,
    /// That package: its folder or its virtual environment; the one that Python has when absent
    #[arg(long, value_name = "PATH", requires = "mlflow_port")]
    pub mlflow_package: Option<PathBuf>,
    /// Ask every caller for a key, also on loopback
    #[arg(long)]
    pub require_auth: bool,
    /// Further host names that requests may name
    #[arg(long, value_name = "HOST")]
    pub allowed_host: Vec<String>,
}

impl ServeArgs {
    /// On loopback, with nothing but the server itself.
    pub fn plain(port: Option<u16>) -> Self {
        Self {
            host: "127.0.0.1".to_owned(),
            port,
            pg_port: None,
            flight_port: None,
            mlflow_port: None,
            mlflow_package: None,
            require_auth: false,
            allowed_host: Vec::new(),
        }
    }
}

#[derive(Debug, Subcommand)]
pub enum ReleaseCommand {
    /// Pin the present versions in a new release
    Create { name: Option<String> },
    /// Run the rules of a release's gate
    Gate { id: String },
    /// Make a release live
    Promote {
        id: String,
        /// Promote without a passed gate, for this reason
        #[arg(long, value_name = "REASON")]
        force: Option<String>,
    },
    /// List the releases, newest first
    List,
    /// Show what a release pins
    Show { id: String },
}

#[derive(Debug, Subcommand)]
pub enum DataCommand {
    /// List the tables
    Tables,
    /// Run a SELECT over the newest tables
    Query {
        sql: String,
        #[arg(long, default_value_t = 100)]
        limit: u32,
    },
    /// Show the versions of a table
    History {
        /// The table's name or asset
        table: String,
        #[arg(long, default_value_t = 20)]
        limit: u32,
    },
    /// Show rows of a table as it is or was
    Show {
        /// NAME, or NAME@VERSION: a number, a tag, a digest or a time
        table: String,
        #[arg(long, default_value_t = 20)]
        limit: u32,
    },
    /// Make a table hold what it held at an older version, or all tables that a tag names
    Restore {
        /// The table's name
        #[arg(required_unless_present = "tag", requires = "to")]
        table: Option<String>,
        /// A number, a tag, a digest or a time
        #[arg(value_name = "VERSION")]
        to: Option<String>,
        /// Restore all tables of your own that this tag or branch names, together
        #[arg(long, value_name = "NAME", conflicts_with = "table")]
        tag: Option<String>,
    },
    /// Put the rows of a query in the place of those that a predicate holds for
    Replace {
        /// The table's name
        table: String,
        /// Which rows go; the new ones must fulfil it too
        #[arg(long = "where", value_name = "PREDICATE")]
        predicate: String,
        /// The query that gives the new rows
        sql: String,
    },
    /// Pack the small files of a table together
    Compact {
        /// The table's name
        table: String,
        /// Megabytes per file
        #[arg(long, value_name = "MB")]
        file_size: Option<u64>,
    },
    /// Write a table in an order that lets reads by these columns skip files
    Zorder {
        /// The table's name
        table: String,
        /// The columns
        #[arg(required = true)]
        columns: Vec<String>,
    },
    /// Name the present versions of tables and other assets, for ever
    Tag {
        /// The tag's name
        name: String,
        /// NAME or NAME@VERSION; all tables and assets when absent
        tables: Vec<String>,
    },
    /// Name the present versions of tables and other assets; may be moved by naming again
    Branch {
        /// The branch's name
        name: String,
        /// NAME or NAME@VERSION; all tables and assets when absent
        tables: Vec<String>,
    },
    /// List the tags and branches
    Tags,
    /// List the files of a source of text at a version, or print one of them
    Files {
        /// SOURCE or SOURCE@VERSION: a tag, a number, a digest or a time
        source: String,
        /// The file to print
        path: Option<String>,
    },
    /// Take a tag or a branch away
    Untag { name: String },
    /// Remove the files of versions that nobody holds
    Gc {
        /// Only say what would be removed, and who holds the rest
        #[arg(long)]
        dry_run: bool,
        /// Keep what was the newest until later than this ago: 90s, 30m, 12h, 7d
        #[arg(long, value_name = "AGE", default_value = "7d", value_parser = age_s)]
        older_than: u64,
    },
    /// Show the rows that failed the newest checks
    Failures {
        /// The checks, such as checks/sections
        asset: String,
    },
    /// List the sources: lag, rows a minute, quarantine, the last error
    Sources,
    /// Show one source: partitions, columns, newest commits
    Source {
        /// The source, such as sources/orders
        source: String,
    },
    /// Show the columns of a source's table and where their types come from
    Schema {
        /// The source, such as sources/orders
        source: String,
    },
    /// List the rows that wait in a source's quarantine
    Quarantine {
        /// The source, such as sources/orders
        source: String,
        /// How many rows at most
        #[arg(long, default_value_t = 20)]
        limit: u32,
        /// How many rows to leave out at the beginning
        #[arg(long, default_value_t = 0)]
        skip: u32,
    },
    /// Put the rows of a source's quarantine through again, each once
    Replay {
        /// The source, such as sources/orders
        source: String,
        /// How many rows at most; all when absent
        #[arg(long)]
        limit: Option<u32>,
    },
    /// Show rows of a dataset snapshot
    Dataset {
        id: String,
        #[arg(long)]
        split: Option<String>,
        #[arg(long, default_value_t = 10)]
        limit: u32,
    },
}

/// A length of time in seconds: a number and its unit.
fn age_s(text: &str) -> Result<u64, String> {
    let split = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, unit) = text.split_at(split);
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        _ => return Err("a number and s, m, h or d, such as 7d".to_owned()),
    };
    let count: u64 = digits.parse().map_err(|_| "a number and s, m, h or d".to_owned())?;
    count.checked_mul(seconds).ok_or_else(|| "too long".to_owned())
}

#[derive(Debug, Subcommand)]
pub enum TrackCommand {
    /// List the runs
    Runs,
    /// Show one run with its metrics
    Run {
        #[arg(default_value = "last")]
        id: String,
    },
    /// Serve the pages with the runs
    Ui {
        /// Also serve MLflow's own pages: of the package at PATH, else of the one that Python has
        #[arg(long, value_name = "PATH")]
        mlflow: Option<Option<PathBuf>>,
        /// The port of MLflow's own pages; 0 takes a free one
        #[arg(long, default_value_t = 7701)]
        mlflow_port: u16,
    },
    /// Which run made the best checkpoint?
    Best {
        /// The metric; validation_mrr when absent
        #[arg(long)]
        metric: Option<String>,
        /// Only runs of this training asset
        #[arg(long)]
        asset: Option<String>,
        /// Only runs of this experiment of clients of MLflow
        #[arg(long, conflicts_with = "asset")]
        experiment: Option<String>,
        /// Less is better; the metric's name says it when neither is given
        #[arg(long)]
        min: bool,
        /// More is better
        #[arg(long, conflicts_with = "min")]
        max: bool,
    },
}

#[derive(Debug, Subcommand)]
pub enum IndexCommand {
    /// Search
    Search {
        query: String,
        #[arg(long)]
        index: Option<String>,
        #[arg(short, default_value_t = 10)]
        k: u32,
        /// bm25, vector or hybrid
        #[arg(long, default_value = "hybrid")]
        mode: String,
    },
}

#[derive(Debug, Subcommand)]
pub enum EvalCommand {
    /// Show the newest report
    Show { name: Option<String> },
}

#[derive(Debug, Subcommand)]
pub enum LineageCommand {
    /// List the inputs whose origin nobody recorded
    Holes,
}

#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Show every value and where it comes from
    Show,
    /// Check all project files
    Check,
    /// Print the JSON Schemas of the project files
    Schema,
}
