//! How do the rows of a warehouse come in? `type = "adbc"`: a build asks any database that has an
//! ADBC driver, in one of two ways.
//!
//! - `snapshot`: the whole result is the table. A result with the same rows makes no new version.
//! - `incremental`: rows behind the last value of a column that only grows are added. The value is in
//!   the same entry of the table's log as the rows, so a build that was stopped goes on behind it.

mod cursor;
mod fault;
mod land;
pub(crate) mod warehouse;

use std::{collections::BTreeMap, path::Path};

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};
use sextant_core::{Clock as _, Digest, Failure, SystemClock};
use sextant_lineage::Act;
use sextant_project::{
    About, Asset, AssetFile, AssetId, BuildContext, Built, Refresh, SecretRef, parse_asset_toml,
    recipe_digest,
};

pub(crate) use self::fault::CODES;
use self::warehouse::Reach;
pub use self::{fault::AdbcFault, warehouse::OptionText};
use super::way::{Common, refuse};
use crate::{Ingest, error::Result};

/// Changes when the same rows would make another table.
const FORMAT: u32 = 1;
/// What the rows are called in our queries.
const ROWS: &str = "sextant_rows";

/// A database with an ADBC driver as a source.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AdbcConfig {
    /// What kind of source it is: `adbc`.
    #[serde(rename = "type")]
    pub kind: AdbcType,
    /// The driver's library, relative to the project or absolute. It is loaded into this process.
    pub driver: String,
    /// The name of the driver's entry point, when it is not the usual one.
    #[serde(default)]
    pub entrypoint: Option<String>,
    /// What the driver is told, such as `uri`. Nothing secret.
    #[serde(default)]
    pub options: BTreeMap<String, OptionText>,
    /// What the driver is told that is secret: where each is kept.
    #[serde(default)]
    pub secrets: BTreeMap<String, SecretRef>,
    /// The table that is read, as the database calls it; or `query`.
    #[serde(default)]
    pub table: Option<String>,
    /// The query whose rows are read, in the database's own SQL; or `table`.
    #[serde(default)]
    pub query: Option<String>,
    /// Whether all rows are read each time, or only those behind the last ones.
    #[serde(default)]
    pub mode: AdbcMode,
    /// For `incremental`: the column that only grows.
    #[serde(default)]
    pub cursor: Option<String>,
    /// How the database writes the first parameter of a query: `$1`, or `?`.
    #[serde(default = "first_parameter")]
    pub placeholder: String,
    /// A cheap query whose result changes when there is something new. Without it every build asks
    /// for the rows.
    #[serde(default)]
    pub changed_by: Option<String>,
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

/// The type of a source that is a database with an ADBC driver.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AdbcType {
    /// A database with an ADBC driver.
    Adbc,
}

/// Which rows a build reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AdbcMode {
    /// All of them: they are the table.
    #[default]
    Snapshot,
    /// Those behind the last value of `cursor`: they are added.
    Incremental,
}

fn first_parameter() -> String {
    "$1".to_owned()
}

pub(crate) struct AdbcAsset {
    common: Common,
    reach: Reach,
    config: AdbcConfig,
}

impl AdbcAsset {
    pub(crate) fn load(engine: &Ingest, file: &AssetFile) -> Result<Self, Failure> {
        let config: AdbcConfig = parse_asset_toml(file)?;
        let about = About {
            description: config.description.clone(),
            owner: config.owner.clone(),
            tags: config.tags.clone(),
        };
        let common = Common::of(engine, file, about)?;
        let reach = Reach {
            root: file.root.clone(),
            driver: config.driver.clone(),
            entrypoint: config.entrypoint.clone(),
            options: config.options.clone(),
            secrets: config.secrets.clone(),
        };
        check(&config)
            .and_then(|()| reach.check())
            .map_err(|(message, fix)| refuse(file, message, fix))?;
        Ok(Self { common, reach, config })
    }

    /// What is read, as it stands after FROM. Behind the name a column may be called as a word of SQL.
    fn rows(&self) -> String {
        let what = match (&self.config.query, &self.config.table) {
            (Some(query), _) => format!("({})", query.trim().trim_end_matches(';')),
            (None, table) => table.clone().unwrap_or_default(),
        };
        format!("{what} {ROWS}")
    }

    /// Where the rows come from, for the lineage.
    fn uri(&self) -> String {
        let what = match (&self.config.table, &self.config.query) {
            (Some(table), _) => table.clone(),
            (None, query) => {
                let digest = Digest::of(query.as_deref().unwrap_or_default()).to_string();
                format!("query {}", digest.get(..19).unwrap_or(&digest))
            }
        };
        format!("adbc:{}:{what}", self.reach.library())
    }
}

/// Refuses what no database could answer.
fn check(config: &AdbcConfig) -> Result<(), (String, String)> {
    let refuse = |message: &str, fix: &str| Err((message.to_owned(), fix.to_owned()));
    if config.table.is_some() == config.query.is_some() {
        return refuse("it needs a table or a query, and not both", "write table = \"orders\"");
    }
    if config.table.as_ref().is_some_and(|table| !table.split('.').all(is_plain)) {
        let fix = "write query = \"select * from …\" with the quotes that the database wants";
        return refuse("a table has letters, digits, `_` and dots", fix);
    }
    match (config.mode, &config.cursor) {
        (AdbcMode::Incremental, None) => {
            refuse("an incremental source needs a cursor", "write cursor = \"updated_at\"")
        }
        (AdbcMode::Snapshot, Some(_)) => {
            refuse("a snapshot has no cursor", "write mode = \"incremental\", or take cursor out")
        }
        (_, Some(cursor)) if !is_plain(cursor) => refuse(
            "a cursor has letters, digits and `_`",
            "give the column a plain name in `query`",
        ),
        _ => Ok(()),
    }
}

/// Whether a name needs no quotes in any SQL, so that the database's own rule for large and small
/// letters holds.
fn is_plain(name: &str) -> bool {
    let letter = |c: char| c.is_ascii_alphabetic() || c == '_';
    name.starts_with(letter) && name.chars().all(|c| letter(c) || c.is_ascii_digit())
}

impl Asset for AdbcAsset {
    fn id(&self) -> &AssetId {
        &self.common.id
    }

    fn noun(&self) -> &'static str {
        "source"
    }

    fn about(&self) -> &About {
        &self.common.about
    }

    fn file(&self) -> &Path {
        &self.common.file
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
        Ok(recipe_digest(&self.settings()))
    }

    /// Without a cheap question nobody knows whether there is something new: then it is asked for.
    fn outside(&self) -> Result<Option<Digest>, Failure> {
        match self.question() {
            Some(question) => Ok(Some(self.ask(&question)?)),
            None => Ok(Some(Digest::of(SystemClock.now().to_string()))),
        }
    }

    fn build(&self, context: &BuildContext<'_>, act: &mut Act) -> Result<Built, Failure> {
        match self.config.mode {
            AdbcMode::Snapshot => Ok(self.snapshot(context, act)?),
            AdbcMode::Incremental => Ok(self.grow(context, act)?),
        }
    }
}

impl AdbcAsset {
    /// What decides what the table holds. How the database is reached is not part of it: passwords
    /// change.
    fn settings(&self) -> Value {
        json!({
            "kind": "adbc",
            "version": FORMAT,
            "driver": self.reach.library(),
            "table": self.config.table,
            "query": self.config.query,
            "mode": format!("{:?}", self.config.mode),
            "cursor": self.config.cursor,
        })
    }

    /// The cheap question, when there is one.
    fn question(&self) -> Option<String> {
        let greatest =
            |cursor: &String| format!("SELECT max({ROWS}.{cursor}) FROM {}", self.rows());
        self.config.changed_by.clone().or_else(|| self.config.cursor.as_ref().map(greatest))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_cannot_be_meant_is_refused() {
        for (text, fine) in [
            ("table = \"orders\"", true),
            ("table = \"shop.orders\"", true),
            ("query = \"select 1\"", true),
            ("", false),
            ("table = \"orders\"\nquery = \"select 1\"", false),
            ("table = \"orders; drop table x\"", false),
            ("table = \"orders\"\nmode = \"incremental\"", false),
            ("table = \"orders\"\nmode = \"incremental\"\ncursor = \"id\"", true),
            ("table = \"orders\"\nmode = \"incremental\"\ncursor = \"id desc\"", false),
            ("table = \"orders\"\ncursor = \"id\"", false),
        ] {
            let text = format!("type = \"adbc\"\ndriver = \"x.so\"\n{text}");
            let (root, path) = ("/".into(), "sources/x.toml".into());
            let config: AdbcConfig = parse_asset_toml(&AssetFile { root, path, text }).unwrap();
            assert_eq!(check(&config).is_ok(), fine, "{config:?}");
        }
    }
}
