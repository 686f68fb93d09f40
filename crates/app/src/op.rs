//! What can be asked of Sextant? One [`Op`] for each command, button and API call, so that the
//! command line, the pages and other programs can never differ in what they do.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One operation. Its JSON form is `{"op": "build", …}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "op", rename_all = "snake_case", deny_unknown_fields)]
pub enum Op {
    /// Builds what is stale among the selected assets.
    Build {
        /// Selectors as in dbt: `name`, `+name`, `name+`, `tag:x`, `path:glob`; empty for all.
        #[serde(default)]
        select: Vec<String>,
        /// Selectors of assets to leave out.
        #[serde(default)]
        exclude: Vec<String>,
        /// Build the selected assets even when they are fresh.
        #[serde(default)]
        full: bool,
    },
    /// The state of every asset and release.
    Status {},
    /// The versions of one asset.
    Versions {
        /// The asset's id or a unique part of it.
        asset: String,
    },
    /// Answers a question from the live release.
    Ask {
        /// The question.
        question: String,
        /// The release's name or digest; the project's only release when absent.
        #[serde(default)]
        release: Option<String>,
    },
    /// The newest answers.
    Answers {
        /// How many at most; never more than 10,000.
        #[serde(default = "default_limit")]
        limit: u32,
        /// How many of the newest are left out.
        #[serde(default)]
        skip: u64,
    },
    /// One answer with its text and citations.
    Answer {
        /// The answer's id, or `last`.
        id: String,
    },
    /// The chain back to the bytes.
    Why {
        /// `last`, an answer id, a digest or a unique prefix, an asset id, or a name.
        id: String,
    },
    /// The chain forward to releases and answers.
    Impact {
        /// A digest or a unique prefix, an asset id, a document's path, or a name.
        id: String,
    },
    /// What moved between two releases.
    Diff {
        /// The older one: a digest, a unique prefix, a name, or `NAME~1` for the one before.
        a: String,
        /// The newer one.
        b: String,
    },
    /// Makes the release before the present one live again.
    Rollback {
        /// The release's name; the project's only one when absent.
        #[serde(default)]
        release: Option<String>,
    },
    /// Pins the present versions in a new release.
    ReleaseCreate {
        /// The release's name; the project's only one when absent.
        #[serde(default)]
        name: Option<String>,
    },
    /// Runs the rules of a release's gate.
    ReleaseGate {
        /// A release's digest or name.
        id: String,
    },
    /// Makes a release live.
    ReleasePromote {
        /// A release's digest or name.
        #[serde(alias = "digest")]
        id: String,
        /// The reason to promote without a passed gate; recorded in the audit.
        #[serde(default)]
        force: Option<String>,
    },
    /// All releases, newest first.
    ReleaseList {},
    /// One release with its parts.
    ReleaseShow {
        /// A release's digest or name.
        id: String,
    },
    /// The training runs.
    Runs {},
    /// One training run with its curves.
    Run {
        /// The run's id or a unique prefix, or `last`.
        id: String,
    },
    /// Which run made the best checkpoint?
    Best {
        /// The metric; `validation_mrr` when absent.
        #[serde(default)]
        metric: Option<String>,
        /// Only runs of this training asset.
        #[serde(default)]
        asset: Option<String>,
        /// Only runs of this experiment of clients of MLflow.
        #[serde(default)]
        experiment: Option<String>,
        /// Whether less is better; by the metric's name when absent.
        #[serde(default)]
        min: Option<bool>,
    },
    /// The tables with their schemas.
    DataTables {},
    /// Runs a read-only query over the tables' newest versions.
    DataQuery {
        /// One SELECT statement.
        sql: String,
        /// How many rows at most.
        #[serde(default = "default_limit")]
        limit: u32,
    },
    /// Runs one statement of SQL: a query, or a change to a table of the user's own. It may read
    /// files below the project's folder in place.
    Sql {
        /// The statement.
        sql: String,
        /// How many rows of a query at most.
        #[serde(default = "default_limit")]
        limit: u32,
    },
    /// The recorded versions of a table, newest first.
    DataHistory {
        /// The table's name or asset.
        table: String,
        /// How many at most.
        #[serde(default = "default_limit")]
        limit: u32,
    },
    /// Some rows of one version of a table.
    DataShow {
        /// `NAME`, or `NAME@VERSION` with a number, a tag, a digest or a time.
        table: String,
        /// How many rows at most.
        #[serde(default = "default_limit")]
        limit: u32,
    },
    /// Makes a table hold what it held at an older version.
    DataRestore {
        /// The table's name or asset.
        table: String,
        /// A number, a tag, a digest or a time.
        version: String,
    },
    /// Makes all tables of the user's own that a tag or a branch names hold what they held then,
    /// visible together.
    DataRestoreTag {
        /// The tag or branch.
        name: String,
    },
    /// Puts the rows of a query in the place of those that a predicate holds for.
    DataReplace {
        /// The table's name or asset.
        table: String,
        /// Which rows go; the new ones must fulfil it too.
        predicate: String,
        /// The query that gives the new rows.
        sql: String,
    },
    /// Packs the small files of a table together.
    DataCompact {
        /// The table's name or asset.
        table: String,
        /// Megabytes per file; what the table says when absent.
        #[serde(default)]
        file_megabytes: Option<u64>,
    },
    /// Writes the rows of a table in an order that lets reads by these columns skip files.
    DataZorder {
        /// The table's name or asset.
        table: String,
        /// The columns.
        columns: Vec<String>,
    },
    /// Names the present versions of tables and other assets; a branch may be moved, a tag may not.
    DataTag {
        /// The tag's name.
        name: String,
        /// `NAME` or `NAME@VERSION` of tables and other assets; all when empty.
        #[serde(default)]
        tables: Vec<String>,
        /// Whether it is a branch.
        #[serde(default)]
        branch: bool,
    },
    /// Every tag and branch with the versions it names.
    DataTags {},
    /// Takes a tag or a branch away.
    DataUntag {
        /// Its name.
        name: String,
    },
    /// Removes the data files of versions that nobody holds.
    DataGc {
        /// Only say what would be removed, and who holds the rest.
        #[serde(default)]
        dry_run: bool,
        /// Versions that were the newest until later than this ago stay.
        #[serde(default = "default_age_s")]
        older_than_s: u64,
    },
    /// Every source: what has landed, how fast, how far behind it is, what went wrong last.
    DataSources {},
    /// One source with its partitions, columns and newest commits.
    DataSource {
        /// The source's asset id or a unique part of it.
        source: String,
    },
    /// The files of a source of text at a version, or the text of one of them.
    DataFiles {
        /// `SOURCE`, or `SOURCE@VERSION` with a tag, a number, a digest or a time.
        source: String,
        /// The file to read; all are listed when absent.
        #[serde(default)]
        path: Option<String>,
    },
    /// The columns of a source's table and where each type comes from.
    DataSchema {
        /// The source's asset id or a unique part of it.
        source: String,
    },
    /// The rows that wait in a source's quarantine.
    DataQuarantine {
        /// The source's asset id or a unique part of it.
        source: String,
        /// How many rows at most.
        #[serde(default = "default_limit")]
        limit: u32,
        /// How many rows to leave out at the beginning.
        #[serde(default)]
        skip: u32,
    },
    /// Puts the rows of a source's quarantine through again, each once.
    DataReplay {
        /// The source's asset id or a unique part of it.
        source: String,
        /// How many rows at most; all when absent.
        #[serde(default)]
        limit: Option<u32>,
    },
    /// The rows that failed the newest checks of a table.
    CheckFailures {
        /// The checks' asset id, such as `checks/sections`.
        asset: String,
    },
    /// Some rows of a dataset snapshot.
    DatasetShow {
        /// The dataset's asset id or the snapshot's digest.
        id: String,
        /// Which split.
        #[serde(default)]
        split: Option<String>,
        /// How many rows at most.
        #[serde(default = "default_limit")]
        limit: u32,
    },
    /// Searches an index.
    Search {
        /// The words to search for.
        query: String,
        /// The index's asset id; the project's only one when absent.
        #[serde(default)]
        index: Option<String>,
        /// How many hits.
        #[serde(default = "default_k")]
        k: u32,
        /// `bm25`, `vector` or `hybrid`.
        #[serde(default = "default_mode")]
        mode: String,
    },
    /// One passage with its text, as it stands in the document version it was cut from.
    Passage {
        /// The chunk's digest.
        chunk: String,
    },
    /// The newest report of an evaluation.
    EvalShow {
        /// The evaluation's asset id; the project's only one when absent.
        #[serde(default)]
        name: Option<String>,
    },
    /// Answers a recorded question again with the same release, and compares.
    Replay {
        /// The answer's id, or `last`.
        id: String,
    },
    /// Checks the machine, the folder and the project.
    Doctor {},
    /// Checks every stored byte and every link of the chain.
    Fsck {
        /// Delete files that unfinished work left behind.
        #[serde(default)]
        repair: bool,
    },
    /// The gaps in the chain of lineage.
    Holes {},
    /// What an error code means.
    Explain {
        /// `SXT-nnnn` or the number.
        code: String,
    },
    /// The configuration with the origin of each value.
    ConfigShow {},
    /// Checks all project files.
    ConfigCheck {},
    /// The JSON Schemas of the project files.
    ConfigSchema {},
}

impl Op {
    /// Whether it changes anything. The server asks more of a caller then.
    pub fn writes(&self) -> bool {
        matches!(
            self,
            Self::Build { .. }
                | Self::DataReplay { .. }
                | Self::Rollback { .. }
                | Self::ReleaseCreate { .. }
                | Self::ReleaseGate { .. }
                | Self::ReleasePromote { .. }
                | Self::Fsck { repair: true }
                | Self::Sql { .. }
                | Self::DataRestore { .. }
                | Self::DataRestoreTag { .. }
                | Self::DataReplace { .. }
                | Self::DataCompact { .. }
                | Self::DataZorder { .. }
                | Self::DataTag { .. }
                | Self::DataUntag { .. }
                | Self::DataGc { dry_run: false, .. }
        )
    }
}

fn default_limit() -> u32 {
    100
}

/// A week.
fn default_age_s() -> u64 {
    7 * 24 * 60 * 60
}

fn default_k() -> u32 {
    10
}

fn default_mode() -> String {
    "hybrid".to_owned()
}

impl Op {
    /// The operation that runs this statement: one that only reads where that is enough.
    pub fn of_sql(sql: &str, limit: u32) -> Self {
        let sql = sql.to_owned();
        if sextant_data::only_reads_tables(&sql) {
            Self::DataQuery { sql, limit }
        } else {
            Self::Sql { sql, limit }
        }
    }

    /// Reads an operation from its JSON form.
    ///
    /// # Errors
    /// When it is not one: unknown name, unknown or missing field.
    pub fn from_json(value: serde_json::Value) -> Result<Self, sextant_core::Failure> {
        serde_json::from_value(value)
            .map_err(|error| crate::AppError::BadOp(error.to_string()).into())
    }

    /// The JSON Schema of all operations.
    pub fn schema() -> serde_json::Value {
        schemars::schema_for!(Self).to_value()
    }
}
