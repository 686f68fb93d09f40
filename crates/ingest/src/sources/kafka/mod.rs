//! How do the records of a Kafka topic come in? `type = "kafka"`: a build reads every partition up
//! to where it ended when the build began, committed records only, and lands them.
//!
//! Where to go on is read from the table: its newest commit carries the last offset of each
//! partition, in the same log entry as the rows. The group's offsets in Kafka are written after
//! that, for dashboards of lag, and never read. One process reads all partitions; no group
//! assigns them.

mod avro;
mod client;
mod envelope;
mod fault;
mod feed;
mod follow;
mod security;
#[cfg(test)]
pub(crate) mod tests;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sextant_core::{Cancel, Digest, Failure};
use sextant_lineage::Act;
use sextant_project::{About, AssetFile, BuildContext, Built, parse_asset_toml};

pub use self::{avro::RegistryAuth, fault::KafkaFault, security::KafkaSecurity};
use self::{
    avro::Schemas,
    client::{Offsets, Topic},
    feed::TopicFeed,
};
pub(crate) use self::{
    envelope::{bytes_of, written_down},
    fault::CODES,
    follow::TopicFollower,
};

use super::way::{Common, Way, contract, refuse};
use crate::{
    Ingest,
    arrival::{
        self, ColumnContract, Contract, Decode, Filled, NewColumn, OFFSET, Parsed, Places, Plan,
        Rules, TypeName,
    },
    error::{DataError, Result},
};

/// Changes when the same records would make another table.
const FORMAT: u32 = 1;
/// The column with the partition of a row, as `orders-0`.
const PARTITION: &str = "_partition";
/// The column with the time that Kafka has for a record.
const TIMESTAMP: &str = "_timestamp";
/// The column with the key of a record.
pub(crate) const KEY: &str = "_key";
/// The column with the headers of a record, as JSON.
pub(crate) const HEADERS: &str = "_headers";
/// The column with the value of a record whose format is raw.
pub(crate) const VALUE: &str = "value";
/// What is filled beside the columns of a JSON record.
const WITH_JSON: &[(&str, Filled)] = &[(KEY, Filled::Text), (HEADERS, Filled::Text)];
/// What is filled beside the columns of an Avro record, whose key may be anything.
const WITH_AVRO: &[(&str, Filled)] = &[(KEY, Filled::Bytes), (HEADERS, Filled::Text)];
/// Longest pause between two looks.
pub(super) const POLL_SECONDS_MAX: u64 = 86_400;
/// The columns of a raw record.
const WITH_RAW: &[(&str, Filled)] =
    &[(KEY, Filled::Bytes), (VALUE, Filled::Bytes), (HEADERS, Filled::Text)];

/// A topic of Kafka as a source.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct KafkaConfig {
    /// What kind of source it is: `kafka`.
    #[serde(rename = "type")]
    pub kind: KafkaType,
    /// Brokers to begin with, each as `host:port`; the others are learned from them.
    pub brokers: Vec<String>,
    /// The topic. All of its partitions are read.
    pub topic: String,
    /// What the values of its records are.
    #[serde(default)]
    pub format: KafkaFormat,
    /// The address of the schema registry, for Avro.
    #[serde(default)]
    pub registry: Option<String>,
    /// How the schema registry is signed in to.
    #[serde(default)]
    pub registry_auth: RegistryAuth,
    /// A running server looks for new records after this many seconds; 0 leaves it to builds.
    #[serde(default = "poll_seconds")]
    pub poll_seconds: u64,
    /// A consumer group whose offsets are moved along after each build, so that dashboards show
    /// the lag. Nothing is ever read from it.
    #[serde(default)]
    pub group: Option<String>,
    /// What happens when the broker has deleted records before they were read.
    #[serde(default)]
    pub on_lost: OnLost,
    /// How to sign in, and whether the connection is encrypted.
    #[serde(default)]
    pub security: KafkaSecurity,
    /// What happens when a record has a field that is not a column.
    #[serde(default)]
    pub on_new_column: NewColumn,
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

/// The type of a source that is a topic of Kafka.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum KafkaType {
    /// A topic of Kafka.
    Kafka,
}

/// What the value of a record is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum KafkaFormat {
    /// One JSON object, whose fields become columns.
    #[default]
    Json,
    /// Any bytes, kept as they are.
    Raw,
    /// Avro behind the number of its schema in a registry, as Confluent's serialisers write it.
    Avro,
}

const fn poll_seconds() -> u64 {
    5
}

/// What happens when records are gone before they were read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnLost {
    /// The build fails and says which.
    #[default]
    Fail,
    /// The build goes on with the first record that is there, and its act notes the gap.
    Skip,
}

#[derive(Clone)]
pub(crate) struct KafkaAsset {
    common: Common,
    contract: Contract,
    root: std::path::PathBuf,
    config: Arc<KafkaConfig>,
    /// Those of its records, for Avro.
    schemas: Option<Arc<Schemas>>,
}

impl KafkaAsset {
    pub(crate) fn load(engine: &Ingest, file: &AssetFile) -> Result<Self, Failure> {
        let config: KafkaConfig = parse_asset_toml(file)?;
        if let Err((message, fix)) = check(&config) {
            return Err(refuse(file, message, fix).into());
        }
        let about = About {
            description: config.description.clone(),
            owner: config.owner.clone(),
            tags: config.tags.clone(),
        };
        let common = Common::of(engine, file, about)?;
        let contract = contract(file, &config.contract, &config.schema)?;
        let registry = config.registry.as_ref();
        let schemas =
            registry.map(|url| Arc::new(Schemas::new(engine, url, &config.registry_auth)));
        let (root, config) = (file.root.clone(), Arc::new(config));
        Ok(Self { common, contract, root, config, schemas })
    }

    fn engine(&self) -> &Ingest {
        &self.common.engine
    }

    /// How long a running server waits between two looks; nothing when only builds land it.
    pub(crate) fn pause(&self) -> Option<Duration> {
        let seconds = self.config.poll_seconds;
        (seconds > 0).then(|| Duration::from_secs(seconds))
    }

    /// Connects to the topic.
    fn topic(&self, cancel: Option<&Cancel>) -> Result<Arc<Topic>> {
        Ok(Arc::new(self.engine().block(cancel, self.opening()?)?))
    }

    /// The work of connecting to the topic.
    fn opening(&self) -> Result<impl Future<Output = Result<Topic>> + Send + use<>> {
        let auth = security::auth(&self.config.security, &self.root).map_err(|message| {
            let place =
                sextant_core::Place { file: self.common.file.clone(), line: None, column: None };
            let fix = "see [security] in this file, and the variables that it names".to_owned();
            DataError::Config { place, message, fix }
        })?;
        let config = Arc::clone(&self.config);
        Ok(async move { Topic::open(&config.brokers, &config.topic, auth).await })
    }

    /// What there is to read now, and the plan with all partitions.
    fn feed(&self, topic: Arc<Topic>, cancel: &Cancel) -> Result<(Plan, TopicFeed)> {
        let feed = TopicFeed::open(&self.common.engine, topic, self.config.on_lost, cancel)?;
        let plan = Plan { partitions: feed.partitions(), ..self.plan() };
        Ok((plan, feed))
    }

    /// Lands what is there; how many commits that were.
    pub(crate) fn land(&self, cancel: &Cancel) -> Result<u64> {
        let topic = self.topic(Some(cancel))?;
        Ok(self.land_from(topic, cancel)?.0)
    }

    /// The same over a connection that is there, and up to where it was read.
    fn land_from(&self, topic: Arc<Topic>, cancel: &Cancel) -> Result<(u64, Offsets)> {
        let (plan, mut feed) = self.feed(topic, cancel)?;
        let landed = self.engine().land(&plan, &mut feed, cancel)?;
        self.engine().set_read_ends(&self.common.id, feed.named_ends());
        if let Some(group) = &self.config.group {
            // Only a dashboard is behind when this fails; the next landing tells it again.
            feed.report(group).ok();
        }
        Ok((landed.commits, feed.ends().clone()))
    }
}

/// Refuses what no broker could answer.
fn check(config: &KafkaConfig) -> Result<(), (String, String)> {
    let refuse = |message: &str, fix: &str| Err((message.to_owned(), fix.to_owned()));
    let address = |broker: &String| {
        let port = broker.rsplit_once(':').map(|(host, port)| (host, port.parse::<u16>()));
        matches!(port, Some((host, Ok(_))) if !host.is_empty()) && !broker.contains(',')
    };
    if config.brokers.is_empty() || !config.brokers.iter().all(address) {
        return refuse(
            "brokers must be a list of addresses with ports",
            "write brokers = [\"127.0.0.1:9092\"]",
        );
    }
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    if config.topic.is_empty() || config.topic.len() > 249 || !config.topic.chars().all(plain) {
        return refuse(
            "a topic has letters, digits, `.`, `_` and `-`, at most 249",
            "write the topic's name as Kafka has it",
        );
    }
    if config.poll_seconds > POLL_SECONDS_MAX {
        return refuse(
            "poll_seconds is more than a day",
            "write fewer seconds, or 0 to leave it to builds",
        );
    }
    match (&config.registry, config.format == KafkaFormat::Avro) {
        (Some(url), true) => avro::check_url(url)?,
        (None, true) => {
            return refuse(
                "Avro needs the address of a schema registry",
                "write registry = \"http://127.0.0.1:8081\"",
            );
        }
        (Some(_), false) => {
            return refuse(
                "only Avro has a schema registry",
                "write format = \"avro\", or take registry out",
            );
        }
        (None, false) => {}
    }
    config.registry_auth.check()?;
    if config.format == KafkaFormat::Raw && !config.schema.is_empty() {
        return refuse(
            "a raw topic has the columns that Sextant gives it, and no schema",
            "take [schema] out, or write format = \"json\"",
        );
    }
    config.security.check()
}

impl Way for KafkaAsset {
    fn common(&self) -> &Common {
        &self.common
    }

    /// The plan without its partitions, which only the broker knows.
    fn plan(&self) -> Plan {
        let filled = match self.config.format {
            KafkaFormat::Json => WITH_JSON,
            KafkaFormat::Raw => WITH_RAW,
            KafkaFormat::Avro => WITH_AVRO,
        };
        let json = self.config.format == KafkaFormat::Json;
        let decode: Decode = match &self.schemas {
            Some(schemas) => {
                let schemas = Arc::clone(schemas);
                Arc::new(move |record| envelope::decode_avro(&schemas, record))
            }
            None if json => Arc::new(|record| Ok(envelope::decode_json(record).map(Parsed::from))),
            None => Arc::new(|record| Ok(envelope::decode_raw(record).map(Parsed::from))),
        };
        Plan {
            asset: self.common.id.clone(),
            table: self.common.id.stem().to_owned(),
            uri: format!("kafka:{}", self.config.topic),
            partitions: Vec::new(),
            rules: Arc::new(Rules {
                schema: self.config.schema.clone(),
                hints: BTreeMap::new(),
                on_new_column: self.config.on_new_column,
                contract: self.contract.clone(),
                key: Vec::new(),
                places: Places {
                    partition: Some(PARTITION),
                    offset: OFFSET,
                    arrived_at: Some(TIMESTAMP),
                    filled,
                },
                loose: false,
            }),
            decode,
            plainly: json.then_some(envelope::plainly),
        }
    }

    fn recipe(&self) -> Value {
        json!({
            "kind": "kafka",
            "version": FORMAT,
            "topic": self.config.topic,
            "format": self.config.format,
            "on_new_column": self.config.on_new_column,
            "schema": self.config.schema,
            "contract": self.config.contract,
        })
    }

    fn seen(&self) -> Result<Value> {
        let topic = self.topic(None)?;
        let ends = self.common.engine.block(None, async move { topic.ends().await })?;
        Ok(json!(ends.into_iter().collect::<Vec<_>>()))
    }

    fn build(&self, _: Digest, context: &BuildContext<'_>, act: &mut Act) -> Result<Built> {
        let topic = self.topic(Some(context.cancel))?;
        let (plan, mut feed) = self.feed(topic, context.cancel)?;
        let built = arrival::build(self.engine(), &plan, &mut feed, context, act)?;
        self.engine().set_read_ends(&self.common.id, feed.named_ends());
        for (partition, (from, to)) in feed.lost() {
            act.note(&format!("lost {partition}"), json!({ "from": from, "to": to }));
        }
        if let Some(group) = &self.config.group
            && let Err(error) = feed.report(group)
        {
            // The rows and their offsets are durable already: only a dashboard is behind.
            act.note("group_offsets", error.to_string());
        }
        Ok(built)
    }
}
