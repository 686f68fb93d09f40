//! What does `sextant.toml` say? Its types, the overlay of a profile, and where each value in force
//! comes from.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use schemars::{JsonSchema, schema_for};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use sextant_core::{Failure, Place};
use toml::de::{DeTable, DeValue};

use super::{
    Lookup, S3Config, TablesPlace, TablesSection, bucket::is_bucket_url, line_and_column,
    parse_asset_toml, read_project_file,
};
use crate::{AssetKind, ConfigError, Project, ReleaseSpec};

/// The name of the project file.
pub const PROJECT_FILE: &str = "sextant.toml";
/// Most assets that may be built at once.
const JOBS_MAX: usize = 256;
/// Most times a build is tried again.
const RETRIES_MAX: u32 = 20;

/// `sextant.toml` as it is written.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ProjectFile {
    /// What the project is called.
    pub project: ProjectSection,
    /// Where its data is kept.
    #[serde(default)]
    pub storage: StorageSection,
    /// Where its tables are kept.
    #[serde(default)]
    pub tables: TablesSection,
    /// How it is served.
    #[serde(default)]
    pub server: ServerSection,
    /// How assets are built.
    #[serde(default)]
    pub build: BuildSection,
    /// Where messages to webhooks may go.
    #[serde(default)]
    pub webhooks: WebhooksSection,
    /// Values for `{{ var('name') }}` in SQL models.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, Value>")]
    pub vars: BTreeMap<String, toml::Value>,
    /// Overlays, chosen with `--profile` or `SEXTANT_PROFILE`.
    #[serde(default)]
    pub profiles: BTreeMap<String, ProfileSection>,
}

/// `[project]`
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ProjectSection {
    /// The project's name.
    pub name: String,
    /// One line about it.
    #[serde(default)]
    pub description: String,
}

/// `[storage]`
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StorageSection {
    /// The data folder, relative to the project. Default `.sextant`.
    pub dir: Option<PathBuf>,
}

/// `[server]`
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ServerSection {
    /// The port on the loopback address. Default 7700.
    pub port: Option<u16>,
}

/// `[build]`
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BuildSection {
    /// Assets built at once. Default 2.
    pub jobs: Option<usize>,
    /// How often a build is tried again when something outside is unavailable. Default 1.
    pub retries: Option<u32>,
    /// The wait before the first retry; doubled at each. Default 200.
    pub backoff_ms: Option<u64>,
    /// Longest time one asset may take. Default 3600.
    pub timeout_s: Option<u64>,
}

/// `[webhooks]`
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WebhooksSection {
    /// Hosts, each with or without a port, that are reached over http too and at any address, also
    /// one of this machine or its network. Others are reached over https at public addresses.
    pub allow: Option<Vec<String>>,
}

/// `[profiles.NAME]`: what it sets takes the place of the project's value.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ProfileSection {
    /// Where data is kept.
    #[serde(default)]
    pub storage: StorageSection,
    /// Where tables are kept.
    #[serde(default)]
    pub tables: TablesSection,
    /// How it is served.
    #[serde(default)]
    pub server: ServerSection,
    /// How assets are built.
    #[serde(default)]
    pub build: BuildSection,
    /// Where messages to webhooks may go.
    #[serde(default)]
    pub webhooks: WebhooksSection,
    /// Values for `{{ var('name') }}`.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, Value>")]
    pub vars: BTreeMap<String, toml::Value>,
}

/// How assets are built, after all overlays.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BuildSettings {
    /// Assets built at once.
    pub jobs: usize,
    /// How often a build is tried again when something outside is unavailable.
    pub retries: u32,
    /// The wait before the first retry, in milliseconds; doubled at each.
    pub backoff_ms: u64,
    /// Longest time one asset may take, in seconds.
    pub timeout_s: u64,
}

impl Default for BuildSettings {
    fn default() -> Self {
        Self { jobs: 2, retries: 1, backoff_ms: 200, timeout_s: 3600 }
    }
}

/// The configuration in force.
#[derive(Debug, Clone)]
pub struct Config {
    /// The project's name.
    pub name: String,
    /// One line about it.
    pub description: String,
    /// The data folder, absolute.
    pub storage_dir: PathBuf,
    /// Where the tables are kept; `None` for the data folder.
    pub tables: Option<TablesPlace>,
    /// The port on the loopback address.
    pub port: u16,
    /// How assets are built.
    pub build: BuildSettings,
    /// Hosts to which messages to webhooks may go although they are not public.
    pub webhook_hosts: Vec<String>,
    /// Values for `{{ var('name') }}`.
    pub vars: BTreeMap<String, Value>,
    /// The profile in force.
    pub profile: Option<String>,
    rows: Vec<ConfigRow>,
}

/// One value in force.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ConfigRow {
    /// Its key, such as `build.jobs`.
    pub key: String,
    /// The value.
    pub value: Value,
    /// `default`, or file and line, with the profile when it comes from one.
    pub origin: String,
}

/// Reads `sextant.toml` and lays the profile over it.
///
/// # Errors
/// When the folder is no project, the file is at fault, or the profile does not exist.
pub fn load_config(
    root: &Path,
    profile: Option<&str>,
    lookup: Lookup<'_>,
) -> Result<Config, Failure> {
    if !root.join(PROJECT_FILE).is_file() {
        return Err(ConfigError::NoProject { root: root.to_owned() }.into());
    }
    let file = read_project_file(root, Path::new(PROJECT_FILE), lookup)?;
    let written: ProjectFile = parse_asset_toml(&file)?;
    let overlay = match profile {
        None => ProfileSection::default(),
        Some(name) => written.profiles.get(name).cloned().ok_or_else(|| {
            let known = written.profiles.keys().cloned().collect();
            ConfigError::UnknownProfile { name: name.to_owned(), known }
        })?,
    };
    let mut overlaying = Overlay { text: &file.text, profile, rows: Vec::new() };
    overlaying.config(root, written, overlay)
}

/// Lays one profile over the file and remembers where each value came from.
struct Overlay<'a> {
    text: &'a str,
    profile: Option<&'a str>,
    rows: Vec<ConfigRow>,
}

impl Overlay<'_> {
    fn config(
        &mut self,
        root: &Path,
        file: ProjectFile,
        over: ProfileSection,
    ) -> Result<Config, Failure> {
        let ProjectFile { project, storage, tables, server, build, webhooks, vars, .. } = file;
        let name = self.pick("project.name", None, Some(project.name), String::new());
        let description =
            self.pick("project.description", None, Some(project.description), String::new());
        let dir = self.pick("storage.dir", over.storage.dir, storage.dir, ".sextant".into());
        let tables = self.tables(over.tables, tables)?;
        let port = self.pick("server.port", over.server.port, server.port, 7700);
        let allow = over.webhooks.allow;
        let webhook_hosts = self.pick("webhooks.allow", allow, webhooks.allow, Vec::new());
        let usual = BuildSettings::default();
        let settings = BuildSettings {
            jobs: self.pick("build.jobs", over.build.jobs, build.jobs, usual.jobs),
            retries: self.pick("build.retries", over.build.retries, build.retries, usual.retries),
            backoff_ms: self.pick(
                "build.backoff_ms",
                over.build.backoff_ms,
                build.backoff_ms,
                usual.backoff_ms,
            ),
            timeout_s: self.pick(
                "build.timeout_s",
                over.build.timeout_s,
                build.timeout_s,
                usual.timeout_s,
            ),
        };
        let mut merged = BTreeMap::new();
        for key in vars.keys().chain(over.vars.keys()) {
            let value = |from: &BTreeMap<String, toml::Value>| {
                from.get(key).map(|value| serde_json::to_value(value).unwrap_or_default())
            };
            let row = format!("vars.{key}");
            if !merged.contains_key(key) {
                let chosen = self.pick(&row, value(&over.vars), value(&vars), Value::Null);
                merged.insert(key.clone(), chosen);
            }
        }
        self.check(!name.trim().is_empty(), "project.name", "must not be empty")?;
        self.check(!dir.as_os_str().is_empty(), "storage.dir", "must not be empty")?;
        self.check((1..=JOBS_MAX).contains(&settings.jobs), "build.jobs", "must be 1 to 256")?;
        self.check(settings.retries <= RETRIES_MAX, "build.retries", "must be 0 to 20")?;
        self.check(settings.timeout_s >= 1, "build.timeout_s", "must be at least 1")?;
        Ok(Config {
            name,
            description,
            storage_dir: root.join(dir),
            tables,
            port,
            build: settings,
            webhook_hosts,
            vars: merged,
            profile: self.profile.map(str::to_owned),
            rows: std::mem::take(&mut self.rows),
        })
    }

    /// Where the tables are; the keys beside `url` mean nothing without it.
    fn tables(
        &mut self,
        over: TablesSection,
        base: TablesSection,
    ) -> Result<Option<TablesPlace>, Failure> {
        if over.url.is_none() && base.url.is_none() {
            let alone = [
                ("tables.s3", over.s3.is_some() || base.s3.is_some()),
                ("tables.single_writer", over.single_writer.or(base.single_writer).is_some()),
            ];
            for (key, is_set) in alone {
                self.check(!is_set, key, "is for tables in a bucket: set tables.url too")?;
            }
            return Ok(None);
        }
        let url = self.pick("tables.url", over.url, base.url, String::new());
        let url = url.trim_end_matches('/').to_owned();
        let rule = "must be s3://BUCKET or s3://BUCKET/PREFIX, of letters, digits and . _ - =";
        self.check(is_bucket_url(&url), "tables.url", rule)?;
        let writer = "tables.single_writer";
        let single_writer = self.pick(writer, over.single_writer, base.single_writer, false);
        let s3 = self.pick("tables.s3", over.s3, base.s3, S3Config::default());
        Ok(Some(TablesPlace { url, single_writer, s3 }))
    }

    fn pick<T: Serialize>(&mut self, key: &str, over: Option<T>, base: Option<T>, usual: T) -> T {
        let (origin, value) = match (over, base) {
            (Some(value), _) => {
                let profile = self.profile.unwrap_or_default();
                let line = self.line(&format!("profiles.{profile}.{key}"));
                (format!("profile {profile}, {PROJECT_FILE}{line}"), value)
            }
            (None, Some(value)) => match self.line(key) {
                line if line.is_empty() => ("default".to_owned(), value),
                line => (format!("{PROJECT_FILE}{line}"), value),
            },
            (None, None) => ("default".to_owned(), usual),
        };
        let shown = serde_json::to_value(&value).unwrap_or_default();
        self.rows.push(ConfigRow { key: key.to_owned(), value: shown, origin });
        value
    }

    fn check(&self, holds: bool, key: &str, rule: &str) -> Result<(), Failure> {
        if holds {
            return Ok(());
        }
        let from_profile = self
            .profile
            .and_then(|profile| line_of_key(self.text, &format!("profiles.{profile}.{key}")));
        let line = from_profile.or_else(|| line_of_key(self.text, key));
        let place = Place { file: PROJECT_FILE.into(), line, column: None };
        Err(ConfigError::BadValue { place, message: format!("{key} {rule}") }.into())
    }

    fn line(&self, key: &str) -> String {
        line_of_key(self.text, key).map(|line| format!(":{line}")).unwrap_or_default()
    }
}

/// The line of a dotted key in a TOML text.
pub(crate) fn line_of_key(text: &str, key: &str) -> Option<usize> {
    let table = DeTable::parse(text).ok()?;
    let mut parts = key.split('.').peekable();
    let mut here = table.get_ref();
    while let Some(part) = parts.next() {
        let (name, value) = here.iter().find(|(name, _)| name.get_ref() == part)?;
        match (parts.peek(), value.get_ref()) {
            (None, _) => return Some(line_and_column(text, name.span().start).0),
            (Some(_), DeValue::Table(table)) => here = table,
            (Some(_), _) => return None,
        }
    }
    None
}

/// Each value in force with its origin.
pub fn config_show(config: &Config) -> Vec<ConfigRow> {
    config.rows.clone()
}

/// Reads the whole project and lists every fault that it finds, not only the first.
pub fn config_check(
    root: &Path,
    kinds: &[std::sync::Arc<dyn AssetKind>],
    profile: Option<&str>,
    lookup: Lookup<'_>,
) -> Vec<Failure> {
    let mut faults: Vec<Failure> = load_config(root, profile, lookup).err().into_iter().collect();
    faults.extend(Project::faults(root, kinds, lookup));
    faults
}

/// One JSON Schema for each kind of project file, by the pattern of its path.
pub fn config_schema(kinds: &[std::sync::Arc<dyn AssetKind>]) -> Value {
    let mut schemas = Map::new();
    schemas.insert(PROJECT_FILE.to_owned(), schema_for!(ProjectFile).to_value());
    for kind in kinds {
        let Some(schema) = kind.schema() else { continue };
        let pattern = format!("{}/*.toml", kind.folder());
        let merged = match schemas.remove(&pattern) {
            None => schema,
            Some(earlier) => json!({ "anyOf": [earlier, schema] }),
        };
        schemas.insert(pattern, merged);
    }
    schemas.insert("releases/*.toml".to_owned(), schema_for!(ReleaseSpec).to_value());
    Value::Object(schemas)
}
