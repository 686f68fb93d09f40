//! Which versions of which assets belong together? A tag is a name for one version of each of some
//! tables and other assets (datasets, indexes, prompts, …) and never moves; a branch is the same and
//! may be moved. What they name is held: the files of its tables are not removed. A source of text
//! files is named by its table, which holds the files.

use std::collections::BTreeMap;

use serde::Serialize;
use sextant_core::{ActivityKind, Digest};
use sextant_lineage::{Act, Reader, Row};
use sextant_project::{AssetId, State, VersionRow, state};

use crate::{
    DataEngine, TableMeta, catalog,
    error::{DataError, Result},
};

/// Most assets that one tag names.
const ASSETS_MAX: usize = 10_000;
/// How far back a version of an asset is looked for by its digest.
const VERSIONS_SEARCHED: u32 = 10_000;
/// Versions of what checks found are no state that anybody could want back.
const NEVER_NAMED: &str = "checks";

/// Whether a name may move.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum TagKind {
    /// It never moves.
    Tag,
    /// It is moved when it is set again.
    Branch,
}

/// One asset under one name.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct TagRow {
    pub(crate) name: String,
    pub(crate) asset: AssetId,
    pub(crate) kind: TagKind,
    pub(crate) version: Digest,
    /// Of a table.
    pub(crate) delta_version: Option<u64>,
    pub(crate) at: String,
}

/// A tag or a branch with all that it names.
#[derive(Debug, Clone, Serialize)]
pub struct TagInfo {
    /// Its name.
    pub name: String,
    /// Whether it may move.
    pub kind: TagKind,
    /// When it was set.
    pub at: String,
    /// The Delta version of each table.
    pub tables: BTreeMap<AssetId, u64>,
    /// The version of each asset that is no table.
    pub assets: BTreeMap<AssetId, Digest>,
}

/// What a tag is to name.
#[derive(Default)]
struct Chosen {
    tables: BTreeMap<AssetId, (Digest, u64)>,
    assets: BTreeMap<AssetId, Digest>,
}

impl DataEngine {
    /// Names the present version of these tables and other assets, of all when none is named;
    /// `NAME@VERSION` names an older one. A branch is moved, a tag is refused when it exists.
    ///
    /// # Errors
    /// When the name is not plain or taken, or there is no such asset or version.
    pub fn tag(&self, name: &str, kind: TagKind, wanted: &[String]) -> Result<TagInfo> {
        check_name(name)?;
        let _naming = self.naming();
        let reader = self.store().read()?;
        let present = all(&reader)?.into_iter().find(|row| row.name == name);
        if let Some(present) = present
            && (kind == TagKind::Tag || present.kind == TagKind::Tag)
        {
            return Err(DataError::Taken {
                message: format!("there is a {} called {name} already", word(present.kind)),
                fix: format!("take another name, or `sextant data untag {name}` first"),
            });
        }
        let chosen = self.chosen(&reader, wanted)?;
        let count = chosen.tables.len() + chosen.assets.len();
        if count == 0 || count > ASSETS_MAX {
            return Err(DataError::NotFound {
                what: "asset",
                name: format!("to name: {count} assets"),
                known: format!("1 to {ASSETS_MAX}"),
            });
        }
        let mut act = self.store().begin(ActivityKind::Author, format!("{} {name}", word(kind)));
        forget(&mut act, name);
        let at = act.started_at();
        for (asset, version) in &chosen.assets {
            act.used(*version);
            act.execute(
                "INSERT INTO data_tables_tagged (name, asset, kind, version, at)
                 VALUES (?1, ?2, ?3, ?4, ?5)",
                vec![
                    name.into(),
                    asset.as_str().into(),
                    word(kind).into(),
                    version.into(),
                    at.into(),
                ],
            );
        }
        for (asset, (version, delta)) in &chosen.tables {
            act.used(*version);
            act.execute(
                "INSERT INTO data_tables_tags (name, asset, kind, version, delta_version, at)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                vec![
                    name.into(),
                    asset.as_str().into(),
                    word(kind).into(),
                    version.into(),
                    delta.cast_signed().into(),
                    at.into(),
                ],
            );
        }
        act.commit()?;
        let Chosen { tables, assets } = chosen;
        let tables = tables.into_iter().map(|(asset, (_, delta))| (asset, delta)).collect();
        Ok(TagInfo { name: name.to_owned(), kind, at: at.to_string(), tables, assets })
    }

    fn chosen(&self, reader: &Reader, wanted: &[String]) -> Result<Chosen> {
        let built = State::load(self.store()).map_err(DataError::Source)?.latest;
        let is_table = |row: &VersionRow| TableMeta::from_value(&row.meta).is_ok();
        let mut chosen = Chosen::default();
        if wanted.is_empty() {
            for row in catalog::latest_tables(reader)? {
                chosen.tables.insert(row.meta.asset, (row.version, row.meta.delta_version));
            }
            let others =
                built.values().filter(|row| !is_table(row) && row.asset.folder() != NEVER_NAMED);
            chosen.assets.extend(others.map(|row| (row.asset.clone(), row.version)));
            return Ok(chosen);
        }
        for text in wanted {
            let (name, which) = match text.split_once('@') {
                Some((name, which)) => (name, Some(which)),
                None => (text.as_str(), None),
            };
            let other = name
                .parse::<AssetId>()
                .ok()
                .filter(|asset| built.get(asset).is_some_and(|row| !is_table(row)));
            if let Some(asset) = other {
                let version = self.version_of(&asset, which)?;
                chosen.assets.insert(asset, version);
            } else {
                let place = self.place(&self.table_version_of(name, which)?)?;
                let version = (place.version()?, place.delta_version);
                chosen.tables.insert(place.asset.clone(), version);
            }
        }
        Ok(chosen)
    }

    /// A version of an asset that is no table: the newest, the one that a tag names, or the one whose
    /// digest begins so.
    fn version_of(&self, asset: &AssetId, which: Option<&str>) -> Result<Digest> {
        if let Some(which) = which
            && let Some(version) = self.tagged(asset.as_str(), which)?
        {
            return Ok(version);
        }
        let versions = state::versions(self.store(), asset, VERSIONS_SEARCHED);
        let begin = which.map_or("", |which| which.strip_prefix("sha256:").unwrap_or(which));
        let found = versions
            .map_err(DataError::Source)?
            .into_iter()
            .find(|row| row.version.hex().starts_with(begin));
        found.map(|row| row.version).ok_or_else(|| DataError::NotFound {
            what: "version",
            name: format!("{} of {asset}", which.unwrap_or("newest")),
            known: "versions by tag or digest: `sextant versions` lists them".to_owned(),
        })
    }

    /// The version of an asset that a tag or a branch names.
    ///
    /// # Errors
    /// When the catalog cannot be read.
    pub fn tagged(&self, asset: &str, name: &str) -> Result<Option<Digest>> {
        let mut rows = all(&self.store().read()?)?.into_iter();
        let found = rows.find(|row| row.name == name && row.asset.as_str() == asset);
        Ok(found.map(|row| row.version))
    }

    /// Every tag and branch.
    ///
    /// # Errors
    /// When the catalog cannot be read.
    pub fn tags(&self) -> Result<Vec<TagInfo>> {
        let mut tags: Vec<TagInfo> = Vec::new();
        for row in all(&self.store().read()?)? {
            if tags.last().is_none_or(|tag| tag.name != row.name) {
                let TagRow { name, kind, at, .. } = row.clone();
                let (tables, assets) = (BTreeMap::new(), BTreeMap::new());
                tags.push(TagInfo { name, kind, at, tables, assets });
            }
            match (tags.last_mut(), row.delta_version) {
                (Some(tag), Some(delta)) => {
                    tag.tables.insert(row.asset, delta);
                }
                (Some(tag), None) => {
                    tag.assets.insert(row.asset, row.version);
                }
                (None, _) => {}
            }
        }
        Ok(tags)
    }

    /// Takes a tag or a branch away. The versions that it named are no longer held by it.
    ///
    /// # Errors
    /// When there is none of that name.
    pub fn untag(&self, name: &str) -> Result<()> {
        let reader = self.store().read()?;
        let tags = all(&reader)?;
        if !tags.iter().any(|row| row.name == name) {
            let mut known: Vec<_> = tags.into_iter().map(|row| row.name).collect();
            known.dedup();
            return Err(DataError::NotFound {
                what: "tag or branch",
                name: name.to_owned(),
                known: known.join(", "),
            });
        }
        let mut act = self.store().begin(ActivityKind::Author, format!("untag {name}"));
        forget(&mut act, name);
        act.commit()?;
        Ok(())
    }
}

fn forget(act: &mut Act, name: &str) {
    act.execute("DELETE FROM data_tables_tags WHERE name = ?1", vec![name.into()]);
    act.execute("DELETE FROM data_tables_tagged WHERE name = ?1", vec![name.into()]);
}

/// The tags and branches that name a version of this table.
pub(crate) fn pointing_at(reader: &Reader, asset: &AssetId) -> Result<Vec<TagRow>> {
    Ok(all(reader)?.into_iter().filter(|row| row.asset == *asset).collect())
}

/// Every asset under every name, by name.
pub(crate) fn all(reader: &Reader) -> Result<Vec<TagRow>> {
    let rows = reader.query(
        "SELECT name, asset, kind, version, delta_version, at FROM data_tables_tags
         UNION ALL SELECT name, asset, kind, version, NULL, at FROM data_tables_tagged
         ORDER BY name, asset",
        &[],
    )?;
    let tag = |row: &Row| -> Result<TagRow> {
        Ok(TagRow {
            name: row.text(0)?.to_owned(),
            asset: row.text(1)?.parse().map_err(DataError::engine)?,
            kind: if row.text(2)? == "branch" { TagKind::Branch } else { TagKind::Tag },
            version: row.digest(3)?,
            delta_version: row.opt_int(4)?.map(i64::cast_unsigned),
            at: row.time(5)?.to_string(),
        })
    };
    rows.iter().map(tag).collect()
}

fn word(kind: TagKind) -> &'static str {
    match kind {
        TagKind::Tag => "tag",
        TagKind::Branch => "branch",
    }
}

/// A name must not be taken for a number, a digest or a time.
fn check_name(name: &str) -> Result<()> {
    let plain = name.len() <= 100
        && name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c));
    let number = name.strip_prefix('v').is_some_and(|rest| rest.parse::<u64>().is_ok());
    let digest = name.len() >= 6 && name.chars().all(|c| c.is_ascii_hexdigit());
    if plain && !number && !digest {
        return Ok(());
    }
    Err(DataError::TableRefused {
        message: format!("`{name}` cannot be the name of a tag or a branch"),
        fix: "begin with a letter, then letters, digits, `.`, `_` and `-`; not v3, not a digest"
            .to_owned(),
    })
}
