//! What does a model's template say? Rendered once when it is loaded, which gives its SQL, its
//! inputs and its configuration at the same time. It can reach nothing but the functions below.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use minijinja::{
    Environment, Error, ErrorKind, UndefinedBehavior,
    value::{Kwargs, Rest, Serde, Value as Jinja},
};
use serde_json::Value;
use sextant_core::Place;
use sextant_project::{About, AssetId, nearest};

use crate::{
    error::{DataError, Result},
    table::commits::OWN_TABLES,
};

/// Steps that one template may take: far more than any model needs, and no endless loop.
const FUEL: u64 = 5_000_000;

/// The keys that `config()` understands.
const CONFIG_KEYS: &[&str] = &["materialized", "tags", "description", "owner"];

/// A model's text and what it is rendered with.
#[derive(Debug, Clone)]
pub(crate) struct Template {
    pub(crate) file: PathBuf,
    pub(crate) text: String,
    pub(crate) this: String,
    pub(crate) vars: Arc<BTreeMap<String, Value>>,
}

/// A table that the SQL names.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct TableRef {
    pub(crate) asset: AssetId,
    /// The source's name, `tables` for a table of the user's own; `None` for a model.
    pub(crate) schema: Option<String>,
    pub(crate) table: String,
}

/// What rendering found.
#[derive(Debug, Clone, Default)]
pub(crate) struct Parsed {
    pub(crate) sql: String,
    pub(crate) tables: Vec<TableRef>,
    pub(crate) about: About,
}

impl Template {
    pub(crate) fn parse(&self) -> Result<Parsed> {
        let found = Arc::new(Mutex::new(Parsed::default()));
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        environment.set_fuel(Some(FUEL));
        self.add_functions(&mut environment, &found);
        let name = self.file.to_string_lossy();
        let sql = environment
            .render_named_str(&name, &self.text, minijinja::context! {})
            .map_err(|error| self.explain(&error))?;
        drop(environment);
        let mut parsed = found.lock().unwrap_or_else(PoisonError::into_inner).clone();
        parsed.sql = sql;
        parsed.tables.sort();
        parsed.tables.dedup();
        Ok(parsed)
    }

    fn add_functions(&self, environment: &mut Environment<'_>, found: &Arc<Mutex<Parsed>>) {
        environment.add_global("this", quoted(&self.this));
        environment.add_global("execute", false);
        let tables = Arc::clone(found);
        environment.add_function("ref", move |name: String, rest: Rest<Jinja>| {
            if !rest.is_empty() {
                return Err(refuse("ref() takes one name: models of other packages are not read"));
            }
            let table =
                TableRef { asset: asset("models", &name)?, schema: None, table: name.clone() };
            lock(&tables).tables.push(table);
            Ok(quoted(&name))
        });
        let tables = Arc::clone(found);
        environment.add_function("source", move |source: String, table: String| {
            // Tables of the user's own have no file: `source('tables', 'prices')`.
            let asset = match source.as_str() {
                OWN_TABLES => asset(OWN_TABLES, &table)?,
                source => asset("sources", source)?,
            };
            let schema = Some(source.clone());
            lock(&tables).tables.push(TableRef { asset, schema, table: table.clone() });
            Ok::<_, Error>(format!("{}.{}", quoted(&source), quoted(&table)))
        });
        let configured = Arc::clone(found);
        environment.add_function("config", move |options: Kwargs| {
            read_config(&options, &mut lock(&configured).about)
        });
        let vars = Arc::clone(&self.vars);
        environment.add_function("var", move |name: String, default: Option<Jinja>| {
            vars.get(&name).map(|value| Jinja::from(Serde(value.clone()))).or(default).ok_or_else(
                || {
                    refuse(&format!(
                        "var('{name}') has no value: give it a default, var('{name}', ..)"
                    ))
                },
            )
        });
    }

    fn explain(&self, error: &Error) -> DataError {
        let mut message = error.detail().map_or_else(|| error.kind().to_string(), str::to_owned);
        if error.detail().is_some() && error.kind() != ErrorKind::InvalidOperation {
            message = format!("{}: {message}", error.kind());
        }
        DataError::Template {
            place: Place { file: self.file.clone(), line: error.line(), column: None },
            message,
        }
    }

    /// The line of the template for a line of the SQL, when the template keeps its lines.
    pub(crate) fn line_of(&self, sql: &str, line: usize) -> Option<usize> {
        (self.text.lines().count() == sql.lines().count()).then_some(line)
    }
}

fn lock(found: &Mutex<Parsed>) -> std::sync::MutexGuard<'_, Parsed> {
    found.lock().unwrap_or_else(PoisonError::into_inner)
}

fn asset(folder: &str, name: &str) -> Result<AssetId, Error> {
    AssetId::of(folder, name).map_err(|message| refuse(&message))
}

fn refuse(message: &str) -> Error {
    Error::new(ErrorKind::InvalidOperation, message.to_owned())
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn read_config(options: &Kwargs, about: &mut About) -> Result<String, Error> {
    for key in options.args() {
        if !CONFIG_KEYS.contains(&key) {
            let meant = nearest(key, CONFIG_KEYS.iter().copied())
                .map_or_else(|| CONFIG_KEYS.join(", "), |known| format!("`{known}`"));
            return Err(refuse(&format!("config() has no key `{key}`: did you mean {meant}?")));
        }
    }
    if let Some(text) = options.get::<Option<String>>("description")? {
        about.description = text;
    }
    if let Some(text) = options.get::<Option<String>>("owner")? {
        about.owner = text;
    }
    if let Some(tags) = options.get::<Option<Jinja>>("tags")? {
        about.tags = match tags.as_str() {
            Some(tag) => vec![tag.to_owned()],
            None => tags.try_iter()?.map(|tag| tag.to_string()).collect(),
        };
    }
    // A view is kept as a table too: it reads the same and its versions can be cited.
    match options.get::<Option<String>>("materialized")?.as_deref() {
        None | Some("table" | "view") => Ok(String::new()),
        Some(other) => Err(refuse(&format!(
            "materialized='{other}' is not supported: models are tables, written whole"
        ))),
    }
}

impl TableRef {
    /// Whether it is a table of the user's own, which is no asset of the project.
    pub(crate) fn is_own(&self) -> bool {
        self.asset.folder() == OWN_TABLES
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;

    fn parse(text: &str) -> Result<Parsed> {
        let vars = BTreeMap::from([("known".to_owned(), Value::from(7))]);
        let file = PathBuf::from("models/m.sql");
        Template { file, text: text.to_owned(), this: "m".to_owned(), vars: Arc::new(vars) }.parse()
    }

    #[test]
    fn rendering_finds_inputs_and_configuration() {
        let parsed = parse(
            "{{ config(tags=['a','b'], description='d', materialized='view') }}\
             {% for t in ['x','y'] %}select * from {{ ref(t) }} {% endfor %}\
             {{ source('manual', 'documents') }} {{ var('known') }} {{ var('new', 'n') }} {{ this }}",
        )
        .unwrap();
        assert_eq!(
            parsed.sql,
            r#"select * from "x" select * from "y" "manual"."documents" 7 n "m""#
        );
        let assets: Vec<_> = parsed.tables.iter().map(|table| table.asset.as_str()).collect();
        assert_eq!(assets, ["models/x", "models/y", "sources/manual"]);
        assert_eq!(parsed.about.tags, ["a", "b"]);
        assert_eq!(parsed.about.description, "d");
    }

    #[test]
    fn faults_name_the_line() {
        for (text, part) in [
            ("\n\n{{ nonsense }}", "undefined"),
            ("\n\n{{ config(tgs='a') }}", "did you mean `tags`"),
            ("\n\n{{ config(materialized='incremental') }}", "not supported"),
            ("\n\n{{ var('absent') }}", "default"),
            ("\n\n{{ ref('a', 'b') }}", "one name"),
            ("\n\n{{ ref('a/b') }}", "not an asset id"),
            ("\n\n{% if %}", "syntax"),
            (
                "{% for a in range(99999) %}{% for b in range(99999) %}\n{% endfor %}{% endfor %}",
                "fuel",
            ),
        ] {
            let Err(DataError::Template { place, message }) = parse(text) else { panic!("{text}") };
            assert!(message.contains(part), "{text}: {message}");
            assert!(part == "fuel" || place.line == Some(3), "{text}: {place}");
        }
    }
}
