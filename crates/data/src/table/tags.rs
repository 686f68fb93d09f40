//! Which versions of which tables belong together? A tag is a name for one version of each of some
//! tables and never moves; a branch is the same and may be moved. What they name is held: its files
//! are not removed.

use std::collections::BTreeMap;

use serde::Serialize;
use sextant_core::{ActivityKind, Digest};
use sextant_lineage::{Reader, Row};
use sextant_project::AssetId;

use crate::{
    DataEngine, catalog,
    error::{DataError, Result},
};

/// Most tables that one tag names.
const TABLES_MAX: usize = 10_000;

/// Whether a name may move.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum TagKind {
    /// It never moves.
    Tag,
    /// It is moved when it is set again.
    Branch,
}

/// One table under one name.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct TagRow {
    pub(crate) name: String,
    pub(crate) asset: AssetId,
    pub(crate) kind: TagKind,
    pub(crate) version: Digest,
    pub(crate) delta_version: u64,
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
}

impl DataEngine {
    /// Names the present version of these tables, of all when none is named; `NAME@VERSION` names
    /// an older one. A branch is moved, a tag is refused when it exists.
    ///
    /// # Errors
    /// When the name is not plain or taken, or there is no such table or version.
    pub fn tag(&self, name: &str, kind: TagKind, tables: &[String]) -> Result<TagInfo> {
        check_name(name)?;
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
        let chosen = self.chosen(&reader, tables)?;
        if chosen.is_empty() || chosen.len() > TABLES_MAX {
            return Err(DataError::NotFound {
                what: "table",
                name: format!("to name: {} tables", chosen.len()),
                known: format!("1 to {TABLES_MAX}"),
            });
        }
        let mut act = self.store().begin(ActivityKind::Author, format!("{} {name}", word(kind)));
        act.execute("DELETE FROM data_tables_tags WHERE name = ?1", vec![name.into()]);
        let at = act.started_at();
        for (asset, (version, delta)) in &chosen {
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
        let tables = chosen.into_iter().map(|(asset, (_, delta))| (asset, delta)).collect();
        Ok(TagInfo { name: name.to_owned(), kind, at: at.to_string(), tables })
    }

    fn chosen(
        &self,
        reader: &Reader,
        tables: &[String],
    ) -> Result<BTreeMap<AssetId, (Digest, u64)>> {
        if tables.is_empty() {
            let latest = catalog::latest_tables(reader)?.into_iter();
            return Ok(latest
                .map(|row| (row.meta.asset, (row.version, row.meta.delta_version)))
                .collect());
        }
        let mut chosen = BTreeMap::new();
        for table in tables {
            let (name, which) = match table.split_once('@') {
                Some((name, which)) => (name, Some(which)),
                None => (table.as_str(), None),
            };
            let place = self.place(&self.table_version_of(name, which)?)?;
            chosen.insert(place.asset.clone(), (place.version()?, place.delta_version));
        }
        Ok(chosen)
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
                tags.push(TagInfo { name, kind, at, tables: BTreeMap::new() });
            }
            if let Some(tag) = tags.last_mut() {
                tag.tables.insert(row.asset, row.delta_version);
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
        act.execute("DELETE FROM data_tables_tags WHERE name = ?1", vec![name.into()]);
        act.commit()?;
        Ok(())
    }
}

/// The tags and branches that name a version of this table.
pub(crate) fn pointing_at(reader: &Reader, asset: &AssetId) -> Result<Vec<TagRow>> {
    Ok(all(reader)?.into_iter().filter(|row| row.asset == *asset).collect())
}

/// Every table under every name, by name.
pub(crate) fn all(reader: &Reader) -> Result<Vec<TagRow>> {
    let rows = reader.query(
        "SELECT name, asset, kind, version, delta_version, at FROM data_tables_tags
         ORDER BY name, asset",
        &[],
    )?;
    let tag = |row: &Row| -> Result<TagRow> {
        Ok(TagRow {
            name: row.text(0)?.to_owned(),
            asset: row.text(1)?.parse().map_err(DataError::engine)?,
            kind: if row.text(2)? == "branch" { TagKind::Branch } else { TagKind::Tag },
            version: row.digest(3)?,
            delta_version: row.int(4)?.cast_unsigned(),
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
