//! How do records come in over HTTP? `type = "push"`: what is sent to `POST /ingest/NAME` goes into
//! a durable log and is acknowledged then; a build, or the running server every few seconds, lands
//! it in the source's table. The offset of a record is its place in the log.

mod body;
mod cloud;
mod log;

use std::{collections::BTreeMap, sync::Arc};

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};
use sextant_core::{Digest, Failure};
use sextant_lineage::Act;
use sextant_project::{About, AssetFile, BuildContext, Built, parse_asset_toml};

pub(crate) use self::log::{PARTITION, log};
pub use self::{
    body::PushBody,
    log::{Accepted, PushLog, PushReply, Waiting},
};
use super::way::{Common, Way, contract, refuse};
use crate::{
    Ingest,
    arrival::{
        self, ARRIVED_AT, ColumnContract, Contract, Fault, Fields, Format, NewColumn, OFFSET, Plan,
        Rules, TypeName,
    },
    error::Result,
};

/// Changes when the same records would make another table.
const FORMAT: u32 = 1;
/// Longest name of a source that is pushed to: it is a folder's name and a part of an address.
const NAME_BYTES_MAX: usize = 100;

/// A source to which records are sent.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PushConfig {
    /// What kind of source it is: `push`.
    #[serde(rename = "type")]
    pub kind: PushType,
    /// The columns whose values name a row: a later record with the same ones replaces it. Without
    /// a key every record is a row of its own.
    #[serde(default)]
    pub key: Vec<String>,
    /// What happens when a record has a field that is not a column.
    #[serde(default)]
    pub on_new_column: NewColumn,
    /// A running server lands what waits after this many seconds.
    #[serde(default = "flush_seconds")]
    pub flush_seconds: u64,
    /// A running server lands what waits when it is this many records.
    #[serde(default = "flush_rows")]
    pub flush_rows: u64,
    /// More is not taken while this many bytes wait to be landed.
    #[serde(default = "max_waiting_bytes")]
    pub max_waiting_bytes: u64,
    /// How many days after it has landed a repeat of a request is still recognised. What is older
    /// is removed from the log; 0 removes it as soon as it has landed.
    #[serde(default = "repeats_days")]
    pub repeats_days: u64,
    /// The types of columns; others are inferred from the first records.
    #[serde(default)]
    pub schema: BTreeMap<String, TypeName>,
    /// What columns must hold beside their types; records that do not go to quarantine.
    #[serde(default)]
    pub contract: BTreeMap<String, ColumnContract>,
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

/// The type of a source that is pushed to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PushType {
    /// Records sent over HTTP.
    Push,
}

const fn flush_seconds() -> u64 {
    5
}

const fn repeats_days() -> u64 {
    7
}

const fn flush_rows() -> u64 {
    50_000
}

const fn max_waiting_bytes() -> u64 {
    256 << 20
}

pub(crate) struct PushAsset {
    common: Common,
    contract: Contract,
    config: PushConfig,
}

impl PushAsset {
    pub(crate) fn load(engine: &Ingest, file: &AssetFile) -> Result<Self, Failure> {
        let config: PushConfig = parse_asset_toml(file)?;
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "_-".contains(c);
        let name = file.stem();
        if !name.chars().all(plain) || name.len() > NAME_BYTES_MAX {
            let message = "a source that is pushed to is a part of an address: its name has small \
                           letters, digits, `_` and `-`, at most 100";
            return Err(refuse(file, message, "rename the file").into());
        }
        if config.flush_rows == 0 || config.flush_seconds == 0 || config.max_waiting_bytes == 0 {
            let message = "flush_seconds, flush_rows and max_waiting_bytes must be above zero";
            return Err(refuse(file, message, "write a larger number, or leave the key out").into());
        }
        let about = About {
            description: config.description.clone(),
            owner: config.owner.clone(),
            tags: config.tags.clone(),
        };
        let contract = contract(file, &config.contract, &config.schema)?;
        Ok(Self { common: Common::of(engine, file, about)?, contract, config })
    }

    pub(crate) fn config(&self) -> &PushConfig {
        &self.config
    }
}

/// The fields of a record, from its text.
fn decode(format: Format, text: &str) -> Result<Fields, Fault> {
    let fields = arrival::fields(format, text)?;
    match format {
        Format::Json | Format::Raw | Format::Kafka | Format::Postgres => Ok(fields),
        Format::CloudEvent => cloud::columns(fields),
    }
}

impl Way for PushAsset {
    fn common(&self) -> &Common {
        &self.common
    }

    fn plan(&self) -> Plan {
        let places = arrival::Places {
            partition: None,
            offset: OFFSET,
            arrived_at: Some(ARRIVED_AT),
            filled: &[],
        };
        Plan {
            asset: self.common.id.clone(),
            table: self.common.id.stem().to_owned(),
            uri: format!("push:{}", self.common.id.stem()),
            partitions: vec![PARTITION.to_owned()],
            rules: Arc::new(Rules {
                schema: self.config.schema.clone(),
                hints: BTreeMap::new(),
                on_new_column: self.config.on_new_column,
                contract: self.contract.clone(),
                key: self.config.key.clone(),
                places,
                loose: false,
            }),
            decode: arrival::plain(decode),
            plainly: Some(arrival::plain_json),
        }
    }

    fn recipe(&self) -> Value {
        json!({
            "kind": "push",
            "format": FORMAT,
            "key": self.config.key,
            "on_new_column": self.config.on_new_column,
            "schema": self.config.schema,
            "contract": self.config.contract,
        })
    }

    fn seen(&self) -> Result<Value> {
        Ok(json!(log(&self.common.engine, &self.plan())?.len()))
    }

    fn build(&self, _: Digest, context: &BuildContext<'_>, act: &mut Act) -> Result<Built> {
        let (plan, engine) = (self.plan(), &self.common.engine);
        let log = log(engine, &plan)?;
        let built = arrival::build(engine, &plan, &mut log.feed(), context, act)?;
        log.landed_by(engine, &plan)?;
        log.forget(&self.config)?;
        Ok(built)
    }
}
