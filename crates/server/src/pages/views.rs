//! What do pages read out of the JSON of operations? Views in which everything may be missing, so
//! that an older or newer backend still shows a page.

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, de};
use serde_json::{Map, Value};

/// A moment: microseconds since the Unix epoch or RFC 3339 text.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct When(pub Option<Timestamp>);

impl<'de> Deserialize<'de> for When {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Value::deserialize(deserializer)? {
            Value::Null => Ok(Self(None)),
            Value::Number(micros) => Ok(Self(
                micros.as_i64().and_then(|micros| Timestamp::from_microsecond(micros).ok()),
            )),
            Value::String(text) => Ok(Self(text.parse().ok())),
            other => Err(de::Error::custom(format!("not a time: {other}"))),
        }
    }
}

/// `status`
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Status {
    pub project: String,
    pub assets: Vec<Asset>,
    pub releases: Vec<Release>,
    pub holes: u64,
}

/// One asset of `status`.
#[derive(Debug, Default, Clone, Deserialize)]
#[serde(default)]
pub(crate) struct Asset {
    pub asset: String,
    pub kind: String,
    pub state: String,
    pub why: Value,
    pub version: String,
    pub built_at: When,
    pub tags: Vec<String>,
    pub description: String,
    pub owner: String,
    pub file: String,
    pub inputs: Vec<String>,
}

/// `versions`
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Versions {
    pub versions: Vec<Version>,
}

/// One version of an asset.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Version {
    pub version: String,
    pub at: When,
    pub activity: String,
    pub recipe: String,
    pub inputs: Value,
}

/// One row of `release_list`, and `release_show`.
#[derive(Debug, Default, Clone, Deserialize)]
#[serde(default)]
pub(crate) struct Release {
    pub name: String,
    pub digest: String,
    pub created_at: When,
    pub live: bool,
    pub gate: String,
    pub parts: Map<String, Value>,
    pub mode: String,
    pub reason: Value,
}

/// `release_list`
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Releases {
    pub releases: Vec<Release>,
}

/// `diff`
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Diff {
    pub a: String,
    pub b: String,
    pub changes: Vec<Change>,
}

/// One part of a `diff`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Change {
    pub part: String,
    pub before: Value,
    pub after: Value,
    pub kind: String,
    pub detail: Vec<Value>,
}

/// `answers`
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Answers {
    pub answers: Vec<Answer>,
}

/// One answer given.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Answer {
    pub id: String,
    pub at: When,
    pub question: String,
    pub answer: String,
    pub release: String,
    pub abstained: bool,
}

/// `why` and `impact`: a tree in which a node that was shown before has `seen` and no inputs.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Node {
    pub id: String,
    pub kind: String,
    pub label: String,
    pub detail: Value,
    pub at: When,
    pub activity: String,
    pub holes: u64,
    pub seen: bool,
    pub inputs: Vec<Step>,
    pub outputs: Vec<Step>,
    pub answers: Option<Reached>,
}

/// One edge of the tree.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Step {
    pub edge: String,
    pub node: Node,
}

/// The answers that something reached.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Reached {
    pub count: u64,
    pub sample: Vec<Value>,
}

/// `runs`
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Runs {
    pub runs: Vec<Run>,
}

/// One row of `runs`, and `run`.
#[derive(Debug, Default, Clone, Deserialize)]
#[serde(default)]
pub(crate) struct Run {
    pub id: String,
    pub asset: String,
    pub status: String,
    pub started_at: When,
    pub seconds: Option<f64>,
    pub params: Value,
    pub metrics: Map<String, Value>,
    pub best: Option<Best>,
    pub dataset: String,
    pub checkpoint: String,
    pub seed: Value,
    pub curves: Map<String, Value>,
    pub machine: Value,
    pub code: Value,
    pub checkpoints: Vec<Value>,
}

/// `best`
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Champion {
    pub run: String,
    #[serde(flatten)]
    pub best: Best,
}

/// The best point of a run.
#[derive(Debug, Default, Clone, Deserialize)]
#[serde(default)]
pub(crate) struct Best {
    pub metric: String,
    pub value: Option<f64>,
    pub step: Value,
    pub checkpoint: String,
}

/// `data_tables`
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Tables {
    pub tables: Vec<Table>,
}

/// One table at its newest version.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Table {
    pub name: String,
    pub asset: String,
    pub version: String,
    pub delta_version: u64,
    pub rows: u64,
    pub columns: Vec<Value>,
    pub built_at: When,
}

/// `data_history`
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct TableHistory {
    pub versions: Vec<TableVersion>,
}

/// One version of a table.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct TableVersion {
    pub delta_version: u64,
    pub version: String,
    pub at: When,
    pub action: String,
    pub rows: u64,
    pub tags: Vec<String>,
    pub removed_at: When,
}

/// `data_show`
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Preview {
    pub delta_version: u64,
    pub total: u64,
    pub columns: Vec<Value>,
    pub rows: Vec<Vec<Value>>,
}

/// `data_gc`: who keeps what.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Holding {
    pub held: Vec<Held>,
}

/// A version of a table and who keeps it.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Held {
    pub asset: String,
    pub delta_version: u64,
    pub by: Vec<String>,
}

/// `data_sources`
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Sources {
    pub sources: Vec<Source>,
}

/// One row of `data_sources`, and `data_source`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Source {
    pub source: String,
    pub name: String,
    pub kind: String,
    pub table: String,
    pub uri: String,
    pub file: String,
    pub lands: String,
    pub description: String,
    pub rows: Option<u64>,
    pub arrived: Option<u64>,
    pub landed: Option<u64>,
    pub waiting: Option<u64>,
    pub replayed: u64,
    pub per_minute: Option<f64>,
    pub landed_at: When,
    pub lag: Option<u64>,
    pub lag_unknown: String,
    pub error: Option<SourceError>,
    pub partitions: Vec<Partition>,
    pub columns: Vec<Value>,
    pub commits: Vec<Commit>,
}

/// The last time that a source could not be landed.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct SourceError {
    pub code: String,
    pub message: String,
    pub at: When,
    pub over: bool,
}

/// One partition of a source.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Partition {
    pub partition: String,
    pub landed: Option<i64>,
    pub end: Option<i64>,
    pub lag: Option<u64>,
}

/// One commit of a source's table.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Commit {
    pub delta_version: u64,
    pub at: When,
    pub landed: u64,
    pub quarantined: u64,
    pub replayed: u64,
    pub offsets: Vec<Offsets>,
}

/// What a commit took from a partition.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Offsets {
    pub partition: String,
    pub from: i64,
    pub to: i64,
}

/// `data_quarantine`
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Quarantine {
    pub rows: Vec<HeldRow>,
    pub waiting: u64,
    pub replayed: u64,
    pub more: bool,
}

/// One row that waits.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct HeldRow {
    pub partition: String,
    pub offset: i64,
    pub rule: String,
    pub reason: String,
    pub payload: String,
    pub arrived_at: When,
}
