//! How do the rows of a table of PostgreSQL come in? `type = "postgres"`, in one of three ways:
//!
//! | mode | a build | the table |
//! |---|---|---|
//! | `snapshot` | copies all rows, in one transaction of the server | holds them, in the place of those before |
//! | `incremental` | copies the rows whose cursor is not below the highest that it has seen | has them merged by their key |
//! | `cdc` | copies all rows once, then reads the log of changes from a replication slot | is the source's at one point of that log |
//!
//! **Order, with `cdc`.** The table's own mark counts: the LSN up to which the log is in it, in the
//! same commit as the rows. Changes of one transaction become visible in one commit. The slot is
//! acknowledged after the commit and never beyond the mark, so whatever is killed, the server still
//! has what the table has not. A slot that was acknowledged beyond the mark was moved by somebody
//! else: then changes are missing, and the build says so.

mod address;
mod arrays;
mod bases;
mod batch;
mod chunk;
mod copy;
mod fault;
mod follow;
mod held;
mod land;
#[cfg(test)]
mod landing_tests;
mod layout;
mod lsn;
mod note;
mod overtaken;
mod pgoutput;
mod quote;
mod reading;
mod replay;
mod scram;
mod session;
mod sign_in;
mod slot;
mod spill;
mod standing_by;
mod stream;
mod subject;
#[cfg(test)]
mod tests;
mod tls;
mod values;
mod widen;
mod wire;

use std::{collections::BTreeMap, path::PathBuf, sync::Arc};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sextant_core::{Cancel, Digest, Failure};
use sextant_lineage::Act;
use sextant_project::{About, AssetFile, BuildContext, Built, parse_asset_toml};

use self::{address::Address, follow::Done, note::Job};
pub use self::{address::PostgresUrl, fault::PostgresFault};
pub(crate) use self::{fault::CODES, standing_by::TableFollower};
use super::{
    kafka::POLL_SECONDS_MAX,
    way::{Common, Way, refuse},
};
use crate::{
    Ingest,
    arrival::{self, Contract, Fault, NewColumn, Places, Plan, Rules},
    error::Result,
};

/// Changes when the same rows would make another table.
const FORMAT: u32 = 1;
/// The column with the place in the log of changes that a row is from.
const LSN: &str = "_lsn";
/// The one partition of a source: its changes, numbered as they arrive.
const PARTITION: &str = "changes";

/// A table of PostgreSQL as a source.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PostgresConfig {
    /// What kind of source it is: `postgres`.
    #[serde(rename = "type")]
    pub kind: PostgresType,
    /// Where the database is, as `postgres://user:password@host/database`; write `${VARIABLE}` for
    /// what is secret.
    pub url: PostgresUrl,
    /// The table, with its schema: `public.orders`.
    #[serde(default)]
    pub table: Option<String>,
    /// A query whose rows are read instead of a table's; not for `cdc`.
    #[serde(default)]
    pub query: Option<String>,
    /// How rows come in.
    #[serde(default)]
    pub mode: Mode,
    /// The columns that name a row; the primary key when it is left out.
    #[serde(default)]
    pub key: Vec<String>,
    /// The column that grows with every change, for `incremental`.
    #[serde(default)]
    pub cursor: Option<String>,
    /// The replication slot, for `cdc`. It is made; by default its name is `sextant_` and the source's.
    #[serde(default)]
    pub slot: Option<String>,
    /// The publication, for `cdc`. It is made when it is not there; by default it is called as the slot.
    #[serde(default)]
    pub publication: Option<String>,
    /// For `cdc`: a running server looks for changes after this many seconds, 5 by default; 0 leaves it
    /// to builds.
    #[serde(default)]
    pub poll_seconds: Option<u64>,
    /// What happens when changes cannot be followed any more.
    #[serde(default)]
    pub on_lost: OnLost,
    /// What happens to a row with a value that no column can hold: an infinite date, a number that is
    /// none.
    #[serde(default)]
    pub on_unfit: OnUnfit,
    /// A file of certificates to trust, relative to the project; without it those of the system.
    #[serde(default)]
    pub ca_file: Option<String>,
    /// One line for lists and pages.
    #[serde(default)]
    pub description: String,
    /// Who answers for it.
    #[serde(default)]
    pub owner: String,
    /// Words to select by.
    #[serde(default)]
    pub tags: Vec<String>,
}

/// The type of a source that is a table of PostgreSQL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PostgresType {
    /// A table of PostgreSQL.
    Postgres,
}

/// How rows come in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// All rows at each build.
    #[default]
    Snapshot,
    /// The rows whose cursor has grown.
    Incremental,
    /// All rows once, then every change (change data capture).
    Cdc,
}

/// What happens when changes cannot be followed any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnLost {
    /// The build fails and says why.
    #[default]
    Fail,
    /// The whole table is copied again with a new slot, and the build's act notes why.
    Copy,
}

/// What happens to a row with a value that no column can hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnUnfit {
    /// The row goes to quarantine.
    #[default]
    Quarantine,
    /// The value becomes null.
    Null,
}

#[derive(Clone)]
pub(crate) struct PostgresAsset {
    common: Common,
    config: Arc<PostgresConfig>,
    address: Address,
    ca: Option<PathBuf>,
}

impl PostgresAsset {
    pub(crate) fn load(engine: &Ingest, file: &AssetFile) -> Result<Self, Failure> {
        let config: PostgresConfig = parse_asset_toml(file)?;
        let refused = |(message, fix): (String, String)| refuse(file, message, fix);
        config.check().map_err(refused)?;
        let fix = "write url = \"postgres://user:${PASSWORD}@host/database\"";
        let address = config.url.parse().map_err(|message| refuse(file, message, fix))?;
        let written = std::fs::read_to_string(file.root.join(&file.path)).unwrap_or_default();
        if config.url.holds_a_secret(&written) {
            let message = "a secret must be a reference, not a part of the file";
            return Err(refuse(file, message, fix).into());
        }
        let about = About {
            description: config.description.clone(),
            owner: config.owner.clone(),
            tags: config.tags.clone(),
        };
        let common = Common::of(engine, file, about)?;
        let ca = config.ca_file.as_ref().map(|ca| file.root.join(ca));
        Ok(Self { common, config: Arc::new(config), address, ca })
    }

    fn job(&self) -> Result<Job> {
        Ok(Job {
            engine: self.common.engine.clone(),
            asset: self.common.id.clone(),
            quarantine: self.plan().quarantine()?,
            config: Arc::clone(&self.config),
            address: self.address.clone(),
            ca: self.ca.clone(),
        })
    }

    fn run(&self, cancel: &Cancel) -> Result<Done> {
        let job = self.job()?;
        let lock = self.common.engine.arrival_lock(&self.common.id);
        let _turn = lock.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        self.common.engine.block(Some(cancel), async move { job.run().await })
    }

    /// Lands what is there; how many commits that were.
    pub(crate) fn land(&self, cancel: &Cancel) -> Result<u64> {
        Ok(self.run(cancel)?.landed.commits)
    }
}

impl PostgresConfig {
    /// Refuses what cannot go together: a message and what to write instead.
    fn check(&self) -> Result<(), (String, String)> {
        let refuse = |message: &str, fix: &str| Err((message.to_owned(), fix.to_owned()));
        if self.table.is_some() == self.query.is_some() {
            return refuse("a source has a table or a query", "write table = \"public.orders\"");
        }
        if self.mode == Mode::Cdc && self.query.is_some() {
            return refuse("changes of a query cannot be followed", "write table, or another mode");
        }
        if (self.mode == Mode::Incremental) != self.cursor.is_some() {
            return refuse(
                "cursor belongs to mode = \"incremental\"",
                "write both, or none of them",
            );
        }
        if self.mode == Mode::Incremental && self.query.is_some() && self.key.is_empty() {
            return refuse("a query does not tell its key", "write key = [\"…\"]");
        }
        let named = self.slot.is_some() || self.publication.is_some();
        let of_changes = named || self.on_lost == OnLost::Copy || self.poll_seconds.is_some();
        if self.mode != Mode::Cdc && of_changes {
            return refuse(
                "slot, publication, on_lost and poll_seconds belong to mode = \"cdc\"",
                "take them out",
            );
        }
        if self.poll_seconds.is_some_and(|seconds| seconds > POLL_SECONDS_MAX) {
            return refuse(
                "poll_seconds is more than a day",
                "write fewer seconds, or 0 to leave it to builds",
            );
        }
        if self.mode == Mode::Snapshot && !self.key.is_empty() {
            return refuse("a snapshot needs no key", "take key out, or write another mode");
        }
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        let odd = |slot: &String| {
            slot.is_empty() || slot.len() > slot::NAME_MAX || !slot.chars().all(plain)
        };
        if self.slot.as_ref().is_some_and(odd) {
            return refuse(
                "a slot's name has small letters, digits and `_`, at most 63",
                "write another name",
            );
        }
        Ok(())
    }

    /// What is read, in one word.
    fn what(&self) -> &str {
        self.table.as_deref().unwrap_or("query")
    }
}

impl Way for PostgresAsset {
    fn common(&self) -> &Common {
        &self.common
    }

    /// The plan for the account and the quarantine; the columns are the server's.
    fn plan(&self) -> Plan {
        let keyed = self.config.mode != Mode::Snapshot;
        Plan {
            asset: self.common.id.clone(),
            table: self.common.id.stem().to_owned(),
            uri: format!("postgres:{}", self.config.what()),
            partitions: vec![PARTITION.to_owned()],
            rules: Arc::new(Rules {
                schema: BTreeMap::new(),
                hints: BTreeMap::new(),
                on_new_column: NewColumn::Add,
                contract: Contract::default(),
                key: if keyed { vec![LSN.to_owned()] } else { Vec::new() },
                places: Places { partition: None, offset: LSN, arrived_at: None, filled: &[] },
                loose: false,
            }),
            decode: arrival::plain(|_, _| {
                Err(Fault::new("replay", "its source puts it through, not this"))
            }),
            plainly: None,
        }
    }

    fn recipe(&self) -> Value {
        json!({
            "kind": "postgres",
            "version": FORMAT,
            "table": self.config.table,
            "query": self.config.query,
            "mode": self.config.mode,
            "key": self.config.key,
            "cursor": self.config.cursor,
            "on_unfit": self.config.on_unfit,
        })
    }

    fn seen(&self) -> Result<Value> {
        let job = self.job()?;
        self.common.engine.block(None, async move { Ok(job.seen().await?) })
    }

    fn build(&self, _: Digest, context: &BuildContext<'_>, act: &mut Act) -> Result<Built> {
        let done = self.run(context.cancel)?;
        for reason in &done.copied_because {
            act.note("copied again", reason);
        }
        let now = note::Note::of(&done.landed.state);
        let span = |before: &arrival::ArrivalState| {
            now.map_or(Value::Null, |now| now.span(note::Note::of(before).as_ref()))
        };
        let engine = &self.common.engine;
        arrival::record(engine, &self.plan(), &done.landed, context, act, span)
    }
}
