//! Which version does an alias mean? An alias is a name that is moved from version to version; `latest`
//! is one that nobody sets.

use serde_json::json;
use sextant_core::Digest;
use sextant_lineage::Reader;

use super::{
    super::{
        Answer, Fault, Fields, Mlflow, Refusal,
        names::at_most,
        refusal::{invalid, missing},
    },
    check_name, number_of,
    versions::Version,
};
use crate::webhooks::Event;

const ALIAS_CHARS_MAX: usize = 255;

fn check_alias(alias: &str) -> Result<(), Refusal> {
    if !alias.chars().all(|c| c.is_alphanumeric() || "_-".contains(c)) {
        return Err(invalid(format!(
            "Invalid alias name: '{alias}'. Names may only contain alphanumerics, underscores (_), and \
             dashes (-)."
        )));
    }
    at_most(alias, ALIAS_CHARS_MAX, "Registered model alias name")
}

/// Refuses an alias that means something without being set.
fn check_free(alias: &str) -> Result<(), Refusal> {
    if alias.eq_ignore_ascii_case("latest") {
        return Err(invalid("'latest' alias name (case insensitive) is reserved."));
    }
    let digits = alias.strip_prefix(['v', 'V']).filter(|digits| !digits.is_empty());
    if digits.is_some_and(|digits| digits.bytes().all(|byte| byte.is_ascii_digit())) {
        return Err(invalid(format!("Version alias name '{alias}' is reserved.")));
    }
    Ok(())
}

impl Mlflow {
    /// The node in the chain of a version, by `NAME/NUMBER` or `NAME@ALIAS`; none when there is no such
    /// version.
    ///
    /// # Errors
    /// When the store fails.
    pub fn version_node(&self, text: &str) -> Result<Option<Digest>, Refusal> {
        let reader = self.store().read()?;
        let found = match (text.split_once('/'), text.rsplit_once('@')) {
            (Some((name, version)), _) => {
                number_of(version).and_then(|version| self.version(&reader, name, version))
            }
            (None, Some((name, alias))) => self.aliased(&reader, name, alias),
            (None, None) => return Ok(None),
        };
        match found {
            Ok(version) => Ok(version.node.parse().ok()),
            Err(refusal) if refusal.fault == Fault::Internal => Err(refusal),
            Err(_) => Ok(None),
        }
    }

    /// What happened to an alias.
    fn alias_event(
        &self,
        reader: &Reader,
        name: &str,
        action: &'static str,
    ) -> Result<Event, Refusal> {
        let prompt = self.is_prompt(reader, name)?;
        let entity = if prompt { "prompt_alias" } else { "model_version_alias" };
        Ok(Event::new(entity, action))
    }

    pub(super) fn set_alias(&self, fields: Fields<'_>) -> Answer {
        let (name, alias) = (fields.need("name")?, fields.need("alias")?);
        let version = fields.need("version")?;
        check_name(name)?;
        check_alias(alias)?;
        check_free(alias)?;
        let version = number_of(version)?;
        let _turn = self.turn();
        let reader = self.store().read()?;
        self.version(&reader, name, version)?;
        let mut act = self.act(format!("call version {version} of model {name} {alias}"));
        act.execute(
            "INSERT INTO mlflow_aliases (name, alias, version) VALUES (?1, ?2, ?3)
             ON CONFLICT (name, alias) DO UPDATE SET version = excluded.version",
            vec![name.into(), alias.into(), version.into()],
        );
        let data = json!({ "name": name, "alias": alias, "version": version.to_string() });
        self.announce(&reader, &mut act, self.alias_event(&reader, name, "created")?, &data)?;
        act.commit()?;
        Ok(json!({}))
    }

    pub(super) fn delete_alias(&self, fields: Fields<'_>) -> Answer {
        let (name, alias) = (fields.need("name")?, fields.need("alias")?);
        check_name(name)?;
        check_alias(alias)?;
        let _turn = self.turn();
        let reader = self.store().read()?;
        self.registered(&reader, name)?;
        let mut act = self.act(format!("remove alias {alias} of model {name}"));
        act.execute(
            "DELETE FROM mlflow_aliases WHERE name = ?1 AND alias = ?2",
            vec![name.into(), alias.into()],
        );
        let data = json!({ "name": name, "alias": alias });
        self.announce(&reader, &mut act, self.alias_event(&reader, name, "deleted")?, &data)?;
        act.commit()?;
        Ok(json!({}))
    }

    /// The version that an alias means.
    pub(super) fn aliased(
        &self,
        reader: &Reader,
        name: &str,
        alias: &str,
    ) -> Result<Version, Refusal> {
        self.registered(reader, name)?;
        check_alias(alias)?;
        if alias.eq_ignore_ascii_case("latest") {
            let none = || missing(format!("Latest version not found for model {name}."));
            return self.newest(reader, name, None)?.ok_or_else(none);
        }
        let sql = "SELECT version FROM mlflow_aliases WHERE name = ?1 AND alias = ?2";
        let rows = reader.query(sql, &[name.into(), alias.into()])?;
        let none = || invalid(format!("Registered model alias {alias} not found."));
        self.version(reader, name, rows.first().ok_or_else(none)?.int(0)?)
    }

    pub(super) fn version_by_alias(&self, fields: Fields<'_>) -> Answer {
        let (name, alias) = (fields.need("name")?, fields.need("alias")?);
        let reader = self.store().read()?;
        let version = self.aliased(&reader, name, alias)?;
        let shown = self.shown_versions(&reader, &[version], true)?.pop();
        Ok(json!({ "model_version": shown }))
    }
}
