//! How do records come in over HTTP? `type = "push"`: what is sent to `POST /ingest/NAME` goes into
//! a durable log and is acknowledged then; a build, or the running server every few seconds, lands
//! it in the source's table. The offset of a record is its place in the log.

mod body;
mod cloud;
mod log;

use std::{collections::BTreeMap, path::Path, sync::Arc};

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;
use sextant_core::{Digest, Failure};
use sextant_lineage::Act;
use sextant_project::{
    About, Asset, AssetFile, AssetId, BuildContext, Built, Refresh, parse_asset_toml, recipe_digest,
};

pub(crate) use self::log::{PARTITION, log};
pub use self::{
    body::PushBody,
    log::{Accepted, PushLog, PushReply, Waiting},
};
use crate::{
    DataEngine,
    arrival::{self, ARRIVED_AT, Fault, Fields, Format, NewColumn, OFFSET, Plan, Rules, TypeName},
    error::{DataError, Result},
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
    /// The types of columns; others are inferred from the first records.
    #[serde(default)]
    pub schema: BTreeMap<String, TypeName>,
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

const fn flush_rows() -> u64 {
    50_000
}

const fn max_waiting_bytes() -> u64 {
    256 << 20
}

pub(crate) struct PushAsset {
    engine: DataEngine,
    id: AssetId,
    about: About,
    file: std::path::PathBuf,
    config: PushConfig,
}

impl PushAsset {
    pub(crate) fn load(engine: &DataEngine, file: &AssetFile) -> Result<Self, Failure> {
        let config: PushConfig = parse_asset_toml(file)?;
        let id = super::arrival_id(file)?;
        let refuse = |message: &str, fix: &str| DataError::Config {
            place: file.place(None, None),
            message: message.to_owned(),
            fix: fix.to_owned(),
        };
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "_-".contains(c);
        if !id.stem().chars().all(plain) || id.stem().len() > NAME_BYTES_MAX {
            let message = "a source that is pushed to is a part of an address: its name has small \
                           letters, digits, `_` and `-`, at most 100";
            return Err(refuse(message, "rename the file").into());
        }
        if config.flush_rows == 0 || config.flush_seconds == 0 || config.max_waiting_bytes == 0 {
            let message = "flush_seconds, flush_rows and max_waiting_bytes must be above zero";
            return Err(refuse(message, "write a larger number, or leave the key out").into());
        }
        let about = About {
            description: config.description.clone(),
            owner: config.owner.clone(),
            tags: config.tags.clone(),
        };
        Ok(Self { engine: engine.clone(), id, about, file: file.path.clone(), config })
    }

    pub(crate) fn config(&self) -> &PushConfig {
        &self.config
    }

    pub(crate) fn plan(&self) -> Plan {
        let places = arrival::Places {
            partition: None,
            offset: OFFSET,
            arrived_at: Some(ARRIVED_AT),
            filled: &[],
        };
        Plan {
            asset: self.id.clone(),
            table: self.id.stem().to_owned(),
            uri: format!("push:{}", self.id.stem()),
            partitions: vec![PARTITION.to_owned()],
            rules: Arc::new(Rules {
                schema: self.config.schema.clone(),
                hints: BTreeMap::new(),
                on_new_column: self.config.on_new_column,
                key: self.config.key.clone(),
                places,
                loose: false,
            }),
            decode,
        }
    }
}

/// The fields of a record, from its text.
fn decode(format: Format, text: &str) -> Result<Fields, Fault> {
    let fields = arrival::fields(format, text)?;
    match format {
        Format::Json | Format::Raw | Format::Kafka => Ok(fields),
        Format::CloudEvent => cloud::columns(fields),
    }
}

impl Asset for PushAsset {
    fn id(&self) -> &AssetId {
        &self.id
    }

    fn noun(&self) -> &'static str {
        "source"
    }

    fn about(&self) -> &About {
        &self.about
    }

    fn file(&self) -> &Path {
        &self.file
    }

    fn inputs(&self) -> Vec<AssetId> {
        Vec::new()
    }

    fn guards(&self) -> Option<AssetId> {
        None
    }

    fn refresh(&self) -> Refresh {
        Refresh::Auto
    }

    fn recipe(&self) -> Result<Digest, Failure> {
        Ok(recipe_digest(&json!({
            "kind": "push",
            "format": FORMAT,
            "key": self.config.key,
            "on_new_column": format!("{:?}", self.config.on_new_column),
            "schema": format!("{:?}", self.config.schema),
        })))
    }

    fn outside(&self) -> Result<Option<Digest>, Failure> {
        let plan = self.plan();
        let arrived = log(&self.engine, &plan)?.len();
        let replays = self.engine.replays(&plan)?;
        Ok(Some(Digest::of(json!([arrived, replays]).to_string())))
    }

    fn build(&self, context: &BuildContext<'_>, act: &mut Act) -> Result<Built, Failure> {
        let plan = self.plan();
        let log = log(&self.engine, &plan)?;
        let built = arrival::build(&self.engine, &plan, &mut log.feed(), context, act)?;
        log.landed_by(&self.engine, &plan)?;
        Ok(built)
    }
}
