//! Where does data come from? `sources/*.toml`: one kind of asset, whose `type` says which way in.
//!
//! | type | what it is | its table |
//! |---|---|---|
//! | `files` | text files of a folder | `documents`, one row a file |
//! | `files` with a `format` of records | CSV, JSON lines, Parquet, Arrow | the source's name |
//! | `push` | records that others send over HTTP | the source's name, one row a record |
//! | `kafka` | a topic of Kafka | the source's name, one row a record |
//! | `postgres` | a table of PostgreSQL | the source's name, the rows of the table |
//! | `adbc` | a database with an ADBC driver | the source's name, its columns |
//!
//! A way in is one file or folder here and one line in [`SourceKind::load`]. Those whose records
//! have offsets describe themselves with a [`Plan`] and land through [`crate::arrival`].

pub(crate) mod adbc;
#[cfg(test)]
mod conformance;
mod follower;
mod kafka;
mod postgres;
mod push;
mod records;
mod standing;
mod way;

use std::sync::Arc;

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;
use sextant_core::{Cancel, Failure};
use sextant_project::{Asset, AssetFile, AssetId, AssetKind, parse_asset_toml};

use self::way::{Way as _, WayIn};
pub(crate) use self::{
    adbc::CODES as ADBC_CODES,
    kafka::{CODES as KAFKA_CODES, bytes_of, written_down},
    postgres::CODES as POSTGRES_CODES,
};
pub use self::{
    adbc::{AdbcConfig, AdbcFault, OptionText},
    follower::Follower,
    kafka::{KafkaConfig, KafkaFault, KafkaSecurity, RegistryAuth},
    postgres::{PostgresConfig, PostgresFault},
    push::{Accepted, PushBody, PushConfig, PushLog, PushReply, Waiting},
    records::{RecordsConfig, RecordsFormat},
    standing::{Partition, Standing},
};
use crate::{
    Ingest,
    arrival::{Balance, Plan, QuarantinePage, Replayed},
    error::{DataError, Result},
};
use sextant_data::{Column, FilesAsset, FilesConfig, latest_table};

/// The ways in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SourceType {
    /// Text files in a folder.
    Files,
    /// Records sent over HTTP.
    Push,
    /// A topic of Kafka.
    Kafka,
    /// A table of PostgreSQL.
    Postgres,
    /// A database with an ADBC driver.
    Adbc,
}

/// What every source file has: the rest depends on it.
#[derive(Debug, Deserialize)]
struct TypeOf {
    #[serde(rename = "type")]
    kind: SourceType,
    #[serde(default)]
    format: Option<String>,
}

impl TypeOf {
    /// Whether its files hold records instead of text.
    fn has_records(&self) -> bool {
        self.format.as_deref().is_some_and(|format| format != "text")
    }
}

/// What a source file may hold, for the JSON Schema.
#[derive(JsonSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "it is only described, never made")]
enum SourceFile {
    Files(FilesConfig),
    Records(RecordsConfig),
    Push(PushConfig),
    Kafka(KafkaConfig),
    Postgres(PostgresConfig),
    Adbc(AdbcConfig),
}

/// Reads `sources/*.toml`.
#[derive(Debug, Clone)]
pub struct SourceKind {
    engine: Ingest,
}

impl SourceKind {
    /// A kind whose tables are written by this engine.
    pub const fn new(engine: Ingest) -> Self {
        Self { engine }
    }

    /// A source in which records arrive; `None` for one that has no records.
    ///
    /// # Errors
    /// When its file is not understood.
    pub fn open(&self, file: &AssetFile) -> Result<Option<Source>, Failure> {
        let which: TypeOf = parse_asset_toml(file)?;
        Ok(match which.kind {
            SourceType::Files if which.has_records() => {
                let asset = records::RecordsAsset::load(&self.engine, file)?;
                Some(Source {
                    engine: self.engine.clone(),
                    plan: asset.plan(),
                    push: None,
                    kafka: None,
                    postgres: None,
                })
            }
            // Their rows have no records of their own, and no quarantine.
            SourceType::Files | SourceType::Adbc => None,
            SourceType::Push => {
                let asset = push::PushAsset::load(&self.engine, file)?;
                let (plan, push) = (asset.plan(), Some(asset.config().clone()));
                let engine = self.engine.clone();
                Some(Source { engine, plan, push, kafka: None, postgres: None })
            }
            SourceType::Kafka => {
                let asset = kafka::KafkaAsset::load(&self.engine, file)?;
                let engine = self.engine.clone();
                let (plan, kafka) = (asset.plan(), Some(asset));
                Some(Source { engine, plan, push: None, kafka, postgres: None })
            }
            SourceType::Postgres => {
                let asset = postgres::PostgresAsset::load(&self.engine, file)?;
                let engine = self.engine.clone();
                let (plan, postgres) = (asset.plan(), Some(asset));
                Some(Source { engine, plan, push: None, kafka: None, postgres })
            }
        })
    }
}

impl AssetKind for SourceKind {
    fn noun(&self) -> &'static str {
        "source"
    }

    fn folder(&self) -> &'static str {
        "sources"
    }

    fn accepts(&self, extension: &str) -> bool {
        extension == "toml"
    }

    fn schema(&self) -> Option<Value> {
        serde_json::to_value(schemars::schema_for!(SourceFile)).ok()
    }

    fn load(&self, file: &AssetFile) -> Result<Vec<Arc<dyn Asset>>, Failure> {
        let which: TypeOf = parse_asset_toml(file)?;
        let asset: Arc<dyn Asset> = match which.kind {
            SourceType::Files if which.has_records() => {
                Arc::new(WayIn(records::RecordsAsset::load(&self.engine, file)?))
            }
            SourceType::Files => Arc::new(FilesAsset::load(&self.engine, file)?),
            SourceType::Push => Arc::new(WayIn(push::PushAsset::load(&self.engine, file)?)),
            SourceType::Kafka => Arc::new(WayIn(kafka::KafkaAsset::load(&self.engine, file)?)),
            SourceType::Postgres => {
                Arc::new(WayIn(postgres::PostgresAsset::load(&self.engine, file)?))
            }
            SourceType::Adbc => Arc::new(adbc::AdbcAsset::load(&self.engine, file)?),
        };
        Ok(vec![asset])
    }
}

/// A source in which records arrive, for whoever looks after it between builds.
#[derive(Clone)]
pub struct Source {
    engine: Ingest,
    plan: Plan,
    push: Option<PushConfig>,
    kafka: Option<kafka::KafkaAsset>,
    postgres: Option<postgres::PostgresAsset>,
}

impl Source {
    /// Its asset.
    pub fn asset(&self) -> &AssetId {
        &self.plan.asset
    }

    /// What its file says, when records are pushed to it.
    pub fn push(&self) -> Option<&PushConfig> {
        self.push.as_ref()
    }

    /// Takes what was sent; it is durable when this returns.
    ///
    /// # Errors
    /// When it cannot be understood or made durable: then nothing of it was taken.
    pub fn accept(&self, body: &PushBody) -> Result<PushReply> {
        let (log, config) = self.log()?;
        log.accept(body, config.max_waiting_bytes)
    }

    /// The log of what is pushed to it.
    fn log(&self) -> Result<(Arc<PushLog>, &PushConfig)> {
        let Some(config) = &self.push else {
            return Err(DataError::NotFound {
                what: "source to push to",
                name: self.plan.asset.stem().to_owned(),
                known: String::new(),
            });
        };
        Ok((push::log(&self.engine, &self.plan)?, config))
    }

    /// What was pushed and has not landed.
    ///
    /// # Errors
    /// When its log cannot be opened.
    pub fn waiting(&self) -> Result<Waiting> {
        Ok(self.log()?.0.waiting())
    }

    /// Lands all that waits, in the log of a push or in the topic. A build records it later, in its own act.
    ///
    /// # Errors
    /// When a table cannot be written; what was landed before stays.
    pub fn land(&self, cancel: &Cancel) -> Result<u64> {
        if let Some(kafka) = &self.kafka {
            return kafka.land(cancel);
        }
        if let Some(postgres) = &self.postgres {
            return postgres.land(cancel);
        }
        let (log, config) = self.log()?;
        let landed = self.engine.land(&self.plan, &mut log.feed(), cancel)?;
        log.landed(&landed.state);
        log.forget(config)?;
        Ok(landed.commits)
    }

    /// The rows that wait in its quarantine.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn quarantine(&self, skip: usize, limit: usize, cancel: &Cancel) -> Result<QuarantinePage> {
        self.engine.quarantine_page(&self.plan, skip, limit, cancel)
    }

    /// Puts the rows of its quarantine through again. A build records the result.
    ///
    /// # Errors
    /// When a table cannot be written; each row is in the table once all the same.
    pub fn replay(&self, limit: usize, cancel: &Cancel) -> Result<Replayed> {
        if let Some(postgres) = &self.postgres {
            return postgres.replay(limit, cancel);
        }
        self.engine.replay(&self.plan, limit, cancel)
    }

    /// Whether all that arrived is accounted for.
    ///
    /// # Errors
    /// When a table cannot be read.
    pub fn balance(&self, cancel: &Cancel) -> Result<Balance> {
        self.engine.balance(&self.plan, cancel)
    }

    /// The columns of its table, and whether the user's file names each.
    ///
    /// # Errors
    /// When the catalog cannot be read.
    pub fn columns(&self) -> Result<Vec<(Column, &'static str)>> {
        let reader = self.engine.store().read()?;
        let latest = latest_table(&reader, self.plan.asset.as_str())?;
        let columns = latest.map_or_else(Vec::new, |table| table.meta.columns);
        let rules = &self.plan.rules;
        let origin = |name: &str| match name {
            name if rules.places.has(name) || rules.places.fills(name) => "place",
            name if rules.schema.contains_key(name) => "file",
            _ => "inferred",
        };
        Ok(columns.into_iter().map(|column| (column.clone(), origin(&column.name))).collect())
    }
}
