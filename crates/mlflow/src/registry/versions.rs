//! Which versions has a registered model? Each says where its files are and which run made them.

use serde_json::{Value, json};
use sextant_lineage::{Reader, Row};

use super::{
    super::{
        Answer, Fields, Mlflow, Opened, Refusal,
        refusal::{invalid, missing},
        search::{Page, model_versions},
    },
    check_name, number_of, page_size, version_of, words,
};

const PAGE: i64 = 10_000;
const PAGE_MAX: i64 = 200_000;
/// The stage of a version that was deleted.
pub(crate) const DELETED: &str = "Deleted_Internal";
pub(super) const COLUMNS: &str =
    "name, version, created, updated, description, stage, source, location, run, run_link, node";

/// A version as the catalog has it.
#[derive(Debug)]
pub(super) struct Version {
    pub(super) name: String,
    pub(super) version: i64,
    created: i64,
    updated: i64,
    description: Option<String>,
    pub(super) stage: String,
    source: String,
    /// Where its files are.
    pub(super) location: String,
    pub(super) run: Option<String>,
    run_link: String,
    /// Its node in the chain.
    pub(super) node: String,
}

/// In which order the latest versions of a model are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Latest {
    /// As their stages first came to be used.
    AsMade,
    /// By the name of their stage.
    ByStage,
}

impl Version {
    pub(super) fn of(row: &Row) -> Result<Self, Refusal> {
        let text = |column| row.opt_text(column).map(|text| text.map(str::to_owned));
        Ok(Self {
            name: row.text(0)?.to_owned(),
            version: row.int(1)?,
            created: row.int(2)?,
            updated: row.int(3)?,
            description: text(4)?,
            stage: row.text(5)?.to_owned(),
            source: row.text(6)?.to_owned(),
            location: row.text(7)?.to_owned(),
            run: text(8)?,
            run_link: row.text(9)?.to_owned(),
            node: row.text(10)?.to_owned(),
        })
    }

    fn shown(&self) -> Value {
        let mut shown = json!({
            "name": self.name,
            "version": self.version.to_string(),
            "creation_timestamp": self.created,
            "last_updated_timestamp": self.updated,
            "current_stage": self.stage,
            "source": self.source,
            "status": "READY",
            "run_link": self.run_link,
        });
        for (name, text) in [("description", &self.description), ("run_id", &self.run)] {
            if let Some(text) = text {
                shown[name] = text.as_str().into();
            }
        }
        shown
    }
}

impl Mlflow {
    /// The version of this name and number, unless it was deleted.
    pub(super) fn version(
        &self,
        reader: &Reader,
        name: &str,
        version: i64,
    ) -> Result<Version, Refusal> {
        let sql = format!(
            "SELECT {COLUMNS} FROM mlflow_versions
             WHERE name = ?1 AND version = ?2 AND stage <> '{DELETED}'"
        );
        let rows = reader.query(&sql, &[name.into(), version.into()])?;
        let none = || missing(format!("Model Version (name={name}, version={version}) not found"));
        Version::of(rows.first().ok_or_else(none)?)
    }

    /// The latest version in each stage of these models.
    pub(super) fn latest(
        &self,
        reader: &Reader,
        names: &[&str],
        order: Latest,
    ) -> Result<Vec<Version>, Refusal> {
        let of_stage = "FROM mlflow_versions o WHERE o.name = v.name AND o.stage = v.stage";
        let order = match order {
            Latest::AsMade => format!("(SELECT MIN(o.version) {of_stage})"),
            Latest::ByStage => "stage".to_owned(),
        };
        let sql = format!(
            "SELECT {COLUMNS} FROM mlflow_versions v
             WHERE name IN (SELECT value FROM json_each(?1)) AND stage <> '{DELETED}'
                 AND version = (SELECT MAX(o.version) {of_stage})
             ORDER BY name, {order}"
        );
        reader.query(&sql, &[json!(names).to_string().into()])?.iter().map(Version::of).collect()
    }

    /// Versions as clients see them. MLflow leaves aliases out where it shows many.
    pub(super) fn shown_versions(
        &self,
        reader: &Reader,
        versions: &[Version],
        with_aliases: bool,
    ) -> Result<Vec<Value>, Refusal> {
        let keys: Vec<Value> =
            versions.iter().map(|version| json!([version.name, version.version])).collect();
        let keys = Value::Array(keys).to_string();
        let of_these =
            "(name, version) IN (SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]')
              FROM json_each(?1))";
        let tags = format!(
            "SELECT name, version, key, value FROM mlflow_version_tags WHERE {of_these}
             ORDER BY name, version, key"
        );
        let aliases = format!(
            "SELECT name, version, alias, '' FROM mlflow_aliases WHERE {of_these}
             ORDER BY name, version, alias"
        );
        let mut shown: Vec<Value> = versions.iter().map(Version::shown).collect();
        let mut places = std::collections::HashMap::new();
        for (place, version) in versions.iter().enumerate() {
            places.insert((version.name.as_str(), version.version), place);
        }
        for (list, sql) in [("tags", Some(tags)), ("aliases", with_aliases.then_some(aliases))] {
            let Some(sql) = sql else { continue };
            for row in reader.query(&sql, &[(&keys).into()])? {
                let entry = match list {
                    "tags" => json!({ "key": row.text(2)?, "value": row.text(3)? }),
                    _ => json!(row.text(2)?),
                };
                let place = places.get(&(row.text(0)?, row.int(1)?));
                let Some(shown) = place.and_then(|place| shown.get_mut(*place)) else { continue };
                match shown.get_mut(list).and_then(Value::as_array_mut) {
                    Some(entries) => entries.push(entry),
                    None => shown[list] = json!([entry]),
                }
            }
        }
        Ok(shown)
    }

    /// One version as clients see it.
    pub(super) fn shown_version(&self, name: &str, version: i64) -> Answer {
        let reader = self.store().read()?;
        let version = self.version(&reader, name, version)?;
        let shown = self.shown_versions(&reader, &[version], true)?.pop();
        Ok(json!({ "model_version": shown }))
    }

    pub(super) fn get_version(&self, fields: Fields<'_>) -> Answer {
        let (name, version) = version_of(&fields)?;
        self.shown_version(name, version)
    }

    pub(super) fn version_location(&self, fields: Fields<'_>) -> Answer {
        let name = fields.text("name")?.unwrap_or_default();
        check_name(name)?;
        let version = number_of(fields.text("version")?.unwrap_or_default())?;
        let found = self.version(&self.store().read()?, name, version)?;
        Ok(json!({ "artifact_uri": found.location }))
    }

    /// A file of a version, as MLflow's pages ask for it.
    pub(super) fn get_version_file(&self, fields: Fields<'_>) -> Result<Opened, Refusal> {
        let (name, path) = (fields.need("name")?, fields.need("path")?);
        let version = number_of(fields.need("version")?)?;
        let found = self.version(&self.store().read()?, name, version)?;
        self.file_at(&found.location, path)
    }

    pub(super) fn search_versions(&self, fields: Fields<'_>) -> Answer {
        let size = page_size(&fields, PAGE, PAGE_MAX)?;
        if size == 0 {
            return Err(invalid(
                "Invalid value for max_results. It must be a positive integer, but got 0",
            ));
        }
        let mut query = model_versions(fields.text("filter")?.unwrap_or_default())?;
        query.order_versions(&fields.texts("order_by")?)?;
        let page = Page::of(fields.text("page_token")?, size)?;
        let reader = self.store().read()?;
        let rows = query.run(&reader, COLUMNS, "mlflow_versions x", &page)?;
        let found: Result<Vec<Version>, Refusal> =
            rows.iter().take(page.size()).map(Version::of).collect();
        let shown = self.shown_versions(&reader, &found?, false)?;
        Ok(page.answer("model_versions", shown, rows.len()))
    }

    pub(super) fn update_version(&self, fields: Fields<'_>) -> Answer {
        let description = words(&fields, "description")?;
        let (name, version) = version_of(&fields)?;
        let turn = self.turn();
        self.version(&self.store().read()?, name, version)?;
        let mut act = self.act(format!("describe version {version} of model {name}"));
        act.execute(
            "UPDATE mlflow_versions SET description = ?3, updated = ?4
             WHERE name = ?1 AND version = ?2",
            vec![name.into(), version.into(), description.into(), self.now().into()],
        );
        act.commit()?;
        drop(turn);
        self.shown_version(name, version)
    }

    /// Empties the row of a version; its number is not given again.
    pub(super) fn delete_version(&self, fields: Fields<'_>) -> Answer {
        let (name, version) = version_of(&fields)?;
        let _turn = self.turn();
        self.version(&self.store().read()?, name, version)?;
        let at = vec![name.into(), version.into()];
        let mut act = self.act(format!("delete version {version} of model {name}"));
        for table in ["mlflow_aliases", "mlflow_version_tags"] {
            let sql = format!("DELETE FROM {table} WHERE name = ?1 AND version = ?2");
            act.execute(&sql, at.clone());
        }
        act.execute(
            &format!(
                "UPDATE mlflow_versions SET stage = '{DELETED}', description = NULL, source = '',
                 location = '', run = NULL, run_link = '', model = NULL
                 WHERE name = ?1 AND version = ?2"
            ),
            at,
        );
        act.execute(
            "UPDATE mlflow_registered SET updated = ?2 WHERE name = ?1",
            vec![name.into(), self.now().into()],
        );
        act.commit()?;
        Ok(json!({}))
    }
}
