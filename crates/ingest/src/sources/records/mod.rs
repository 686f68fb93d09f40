//! How do files of records become a table? `type = "files"` with a `format` of records: CSV, JSON
//! lines, Parquet or Arrow from a folder or a bucket. Each file is read whole; the rows of a changed
//! file take the place of its old ones, those of a removed file go.

mod bucket;
mod land;
mod read;

use std::{collections::BTreeMap, sync::Arc};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sextant_core::{Digest, Failure};
use sextant_data::{
    FilesType,
    scan::{self, Found, Rules as Globs},
};
use sextant_lineage::Act;
use sextant_project::{About, AssetFile, BuildContext, Built, config::S3Config, parse_asset_toml};

use self::bucket::Bucket;
use super::way::{Common, Way, contract, refuse};
use crate::{
    Ingest,
    arrival::{self, ColumnContract, Contract, NewColumn, Places, Plan, Rules, TypeName},
    error::Result,
};

/// Changes when the same files would make another table.
const FORMAT: u32 = 1;
/// Largest file that is read, unless the source says less.
const FILE_BYTES_MAX: u64 = 256 << 20;
/// The column with the file of a row.
const FILE: &str = "_file";
/// The column with the line or the number of a row in its file.
const LINE: &str = "_line";

/// A folder of files of records as a source.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RecordsConfig {
    /// What kind of source it is: `files`.
    #[serde(rename = "type")]
    pub kind: FilesType,
    /// What the files hold.
    pub format: RecordsFormat,
    /// The folder, relative to the project, or `s3://BUCKET/PREFIX`.
    pub path: String,
    /// How a bucket is reached.
    #[serde(default)]
    pub s3: Option<S3Config>,
    /// Which files are read, as globs relative to the folder.
    #[serde(default = "everything")]
    pub include: Vec<String>,
    /// Which of them are not.
    #[serde(default)]
    pub exclude: Vec<String>,
    /// The largest file that is read; a larger one is refused by name.
    #[serde(default = "max_file_bytes")]
    pub max_file_bytes: u64,
    /// CSV: whether the first line names the columns. Without it they are `column_1`, `column_2`, ….
    #[serde(default = "yes")]
    pub header: bool,
    /// CSV: the character between fields.
    #[serde(default = "comma")]
    pub delimiter: char,
    /// CSV: the character around fields that hold a delimiter.
    #[serde(default = "double_quote")]
    pub quote: char,
    /// CSV: the words that mean that there is no value.
    #[serde(default = "nothing")]
    pub null_words: Vec<String>,
    /// What happens when a record has a field that is not a column.
    #[serde(default)]
    pub on_new_column: NewColumn,
    /// The types of columns; others are inferred from the first files.
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

/// What files of records hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RecordsFormat {
    /// Lines of fields between delimiters.
    Csv,
    /// One JSON object a line.
    Jsonl,
    /// Parquet.
    Parquet,
    /// Arrow IPC, as file or stream.
    Arrow,
    /// As each file's extension says.
    Records,
}

fn everything() -> Vec<String> {
    vec!["**/*".to_owned()]
}

const fn max_file_bytes() -> u64 {
    FILE_BYTES_MAX
}

const fn yes() -> bool {
    true
}

const fn comma() -> char {
    ','
}

const fn double_quote() -> char {
    '"'
}

fn nothing() -> Vec<String> {
    vec![String::new()]
}

pub(crate) struct RecordsAsset {
    common: Common,
    contract: Contract,
    place: Place,
    globs: Globs,
    config: RecordsConfig,
}

/// Where the files are.
enum Place {
    Folder(std::path::PathBuf),
    Bucket(Bucket),
}

impl RecordsAsset {
    pub(crate) fn load(engine: &Ingest, file: &AssetFile) -> Result<Self, Failure> {
        let config: RecordsConfig = parse_asset_toml(file)?;
        if !config.delimiter.is_ascii() || !config.quote.is_ascii() {
            let message = "delimiter and quote must be ASCII characters".to_owned();
            return Err(refuse(file, message, "write one such as `;` or `\\t`").into());
        }
        let globs = Globs::new(&config.include, &config.exclude, config.max_file_bytes);
        let globs = globs.map_err(|error| {
            refuse(file, format!("not a glob: {error}"), "write globs such as `**/*.csv`")
        })?;
        let about = About {
            description: config.description.clone(),
            owner: config.owner.clone(),
            tags: config.tags.clone(),
        };
        let place = match Bucket::of(&config, &file.root) {
            None => Place::Folder(file.root.join(&config.path)),
            Some(bucket) => Place::Bucket(bucket.map_err(|message| {
                refuse(file, message, "write s3://BUCKET/PREFIX, and how it is reached under [s3]")
            })?),
        };
        let common = Common::of(engine, file, about)?;
        let contract = contract(file, &config.contract, &config.schema)?;
        Ok(Self { common, contract, place, globs, config })
    }

    /// The files that are there right now.
    fn files(&self) -> Result<Vec<Found>> {
        match &self.place {
            Place::Folder(folder) => scan::scan(folder, &self.globs),
            Place::Bucket(bucket) => bucket.files(&self.common.engine, &self.globs),
        }
    }

    /// Reads a file whole.
    fn read(&self, file: &Found) -> Result<Vec<u8>> {
        match &self.place {
            Place::Folder(folder) => scan::read(folder, file, self.config.max_file_bytes),
            Place::Bucket(bucket) => bucket.read(&self.common.engine, file),
        }
    }
}

impl Way for RecordsAsset {
    fn common(&self) -> &Common {
        &self.common
    }

    fn plan(&self) -> Plan {
        let places = Places { partition: Some(FILE), offset: LINE, arrived_at: None, filled: &[] };
        Plan {
            asset: self.common.id.clone(),
            table: self.common.id.stem().to_owned(),
            uri: match self.place {
                Place::Folder(_) => format!("project:{}", self.config.path),
                Place::Bucket(_) => self.config.path.clone(),
            },
            partitions: Vec::new(),
            rules: Arc::new(Rules {
                schema: self.config.schema.clone(),
                hints: BTreeMap::new(),
                on_new_column: self.config.on_new_column,
                contract: self.contract.clone(),
                key: Vec::new(),
                places,
                loose: true,
            }),
            decode: arrival::plain(arrival::fields),
            plainly: Some(arrival::plain_json),
        }
    }

    fn recipe(&self) -> Value {
        let config = &self.config;
        json!({
            "kind": "records",
            "version": FORMAT,
            "format": config.format,
            "path": config.path,
            "include": config.include,
            "exclude": config.exclude,
            "max_file_bytes": config.max_file_bytes,
            "csv": [
                json!(config.header), json!(config.delimiter), json!(config.quote),
                json!(config.null_words),
            ],
            "on_new_column": config.on_new_column,
            "schema": config.schema,
            "contract": config.contract,
        })
    }

    fn seen(&self) -> Result<Value> {
        Ok(json!(scan::fingerprint(&self.files()?)))
    }

    fn build(&self, recipe: Digest, context: &BuildContext<'_>, act: &mut Act) -> Result<Built> {
        land::build(self, recipe, context, act)
    }
}
