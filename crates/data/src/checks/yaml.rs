//! What does a `schema.yml` ask for? The part of dbt's format that describes models and their
//! tests; a key or a test that is not known is an error with its line, never skipped in silence.

use serde::Deserialize;
use serde_yaml_ng::Value;
use sextant_core::Place;
use sextant_project::{AssetFile, AssetId, nearest};

use super::{Check, Rule, Severity};
use crate::error::{DataError, Result};

/// The tests that are known.
const KNOWN: &[&str] = &["not_null", "unique", "accepted_values", "relationships", "row_count"];

/// One model with its checks.
#[derive(Debug)]
pub(crate) struct CheckedModel {
    pub(crate) id: AssetId,
    pub(crate) model: AssetId,
    pub(crate) description: String,
    pub(crate) checks: Vec<Check>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct SchemaFile {
    #[serde(default, rename = "version")]
    _version: Option<Value>,
    #[serde(default)]
    models: Vec<ModelEntry>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ModelEntry {
    name: String,
    #[serde(default)]
    description: String,
    #[serde(default)]
    columns: Vec<ColumnEntry>,
    #[serde(default, alias = "tests")]
    data_tests: Vec<Value>,
    #[serde(default, rename = "config")]
    _config: Option<Value>,
    #[serde(default, rename = "meta")]
    _meta: Option<Value>,
    #[serde(default, rename = "docs")]
    _docs: Option<Value>,
    #[serde(default, rename = "tags")]
    _tags: Option<Value>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ColumnEntry {
    name: String,
    #[serde(default, rename = "description")]
    _description: Option<String>,
    #[serde(default, alias = "tests")]
    data_tests: Vec<Value>,
    #[serde(default, rename = "data_type")]
    _data_type: Option<String>,
    #[serde(default, rename = "meta")]
    _meta: Option<Value>,
    #[serde(default, rename = "tags")]
    _tags: Option<Value>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Arguments {
    name: Option<String>,
    severity: Option<String>,
    config: Option<TestConfig>,
    arguments: Option<Box<Arguments>>,
    values: Option<Vec<Value>>,
    to: Option<String>,
    field: Option<String>,
    min: Option<u64>,
    max: Option<u64>,
    #[serde(rename = "description")]
    _description: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct TestConfig {
    severity: Option<String>,
}

/// A fault before its place in the file is known: what to look for to find the line.
struct Fault {
    near: String,
    message: String,
    fix: String,
}

impl Fault {
    fn new(near: &str, message: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { near: near.to_owned(), message: message.into(), fix: fix.into() }
    }
}

/// Reads the models of a `schema.yml` with their checks.
pub(crate) fn parse(file: &AssetFile) -> Result<Vec<CheckedModel>> {
    let schema: SchemaFile = serde_yaml_ng::from_str(&file.text).map_err(|error| {
        let location = error.location();
        let place = file.place(
            location.as_ref().map(serde_yaml_ng::Location::line),
            location.as_ref().map(serde_yaml_ng::Location::column),
        );
        let fix = "the file follows dbt's format: models with columns and data_tests".to_owned();
        DataError::Config { place, message: error.to_string(), fix }
    })?;
    schema.models.into_iter().map(|model| checked_model(file, model)).collect()
}

fn checked_model(file: &AssetFile, entry: ModelEntry) -> Result<CheckedModel> {
    let model_line = line_after(&file.text, 0, &entry.name);
    let id = |folder| {
        AssetId::of(folder, &entry.name).map_err(|message| DataError::Config {
            place: file.place(model_line, None),
            message,
            fix: "write the name of a model".to_owned(),
        })
    };
    let (checks_id, model) = (id("checks")?, id("models")?);
    let mut checks: Vec<Check> = Vec::new();
    let mut add = |column: Option<&str>, tests: &[Value], from: Option<usize>| {
        for test in tests {
            let mut check = check(column, test).map_err(|fault| DataError::Config {
                place: file.place(line_after(&file.text, from.unwrap_or(0), &fault.near), None),
                message: fault.message,
                fix: fault.fix,
            })?;
            check.line = from;
            if checks.iter().any(|other| other.name == check.name) {
                check.name = format!("{}_{}", check.name, checks.len());
            }
            checks.push(check);
        }
        Ok::<_, DataError>(())
    };
    add(None, &entry.data_tests, model_line)?;
    for column in &entry.columns {
        let line = line_after(&file.text, model_line.unwrap_or(0), &column.name);
        add(Some(&column.name), &column.data_tests, line)?;
    }
    Ok(CheckedModel { id: checks_id, model, description: entry.description, checks })
}

/// The first line at or after `from` (counted from 1) that holds the word.
fn line_after(text: &str, from: usize, word: &str) -> Option<usize> {
    let lines = text.lines().enumerate().skip(from.saturating_sub(1));
    let mut hits = lines.filter(|(_, line)| line.contains(word));
    hits.next().map(|(index, _)| index + 1)
}

fn check(column: Option<&str>, test: &Value) -> Result<Check, Fault> {
    let (name, arguments) = match test {
        Value::String(name) => (name.clone(), Arguments::default()),
        Value::Mapping(map) if map.len() == 1 => {
            let (name, value) = map
                .iter()
                .next()
                .and_then(|(name, value)| Some((name.as_str()?, value)))
                .ok_or_else(|| Fault::new("data_tests", "a test has no name", known()))?;
            (name.to_owned(), arguments(name, value)?)
        }
        _ => {
            return Err(Fault::new(
                "data_tests",
                "a test is a name, or a name with arguments",
                known(),
            ));
        }
    };
    let severity = severity(&name, &arguments)?;
    let given = arguments.name.clone();
    let rule = rule(&name, column, arguments)?;
    let name = given.unwrap_or_else(|| match column {
        Some(column) => format!("{name}_{column}"),
        None => name,
    });
    Ok(Check { name, severity, rule, line: None })
}

fn known() -> String {
    format!("known tests: {}", KNOWN.join(", "))
}

/// The arguments of a test; the newer form puts them one level deeper, under `arguments`.
fn arguments(name: &str, value: &Value) -> Result<Arguments, Fault> {
    if value.is_null() {
        return Ok(Arguments::default());
    }
    let mut outer: Arguments = serde_yaml_ng::from_value(value.clone())
        .map_err(|error| Fault::new(name, format!("`{name}`: {error}"), known()))?;
    if let Some(inner) = outer.arguments.take() {
        outer.values = inner.values.or(outer.values);
        outer.to = inner.to.or(outer.to);
        outer.field = inner.field.or(outer.field);
        outer.min = inner.min.or(outer.min);
        outer.max = inner.max.or(outer.max);
    }
    Ok(outer)
}

fn severity(name: &str, arguments: &Arguments) -> Result<Severity, Fault> {
    let nested = arguments.config.as_ref().and_then(|config| config.severity.as_deref());
    match arguments.severity.as_deref().or(nested) {
        None | Some("error" | "ERROR") => Ok(Severity::Error),
        Some("warn" | "WARN") => Ok(Severity::Warn),
        Some(other) => Err(Fault::new(
            name,
            format!("`{name}`: no severity is called `{other}`"),
            "write `severity: warn` or `severity: error`",
        )),
    }
}

fn rule(name: &str, column: Option<&str>, arguments: Arguments) -> Result<Rule, Fault> {
    let on_column = || {
        column.map(str::to_owned).ok_or_else(|| {
            Fault::new(name, format!("`{name}` belongs under a column"), "move it under `columns:`")
        })
    };
    match name {
        "not_null" => Ok(Rule::NotNull { column: on_column()? }),
        "unique" => Ok(Rule::Unique { column: on_column()? }),
        "accepted_values" => {
            let values = arguments.values.unwrap_or_default();
            if values.is_empty() {
                let fix = "write `accepted_values: { values: [a, b] }`";
                return Err(Fault::new(name, "`accepted_values` needs `values`", fix));
            }
            let values =
                values.iter().map(scalar).collect::<Option<Vec<_>>>().ok_or_else(|| {
                    Fault::new(
                        name,
                        "`values` holds more than plain values",
                        "write `values: [a, b]`",
                    )
                })?;
            Ok(Rule::AcceptedValues { column: on_column()?, values })
        }
        "relationships" => {
            let fix = "write `relationships: { to: ref('model'), field: column }`";
            let (Some(to), Some(field)) = (arguments.to, arguments.field) else {
                return Err(Fault::new(name, "`relationships` needs `to` and `field`", fix));
            };
            let to = referenced(&to)
                .ok_or_else(|| Fault::new(name, format!("`to` is not a model: `{to}`"), fix))?;
            Ok(Rule::Relationships { column: on_column()?, to, field })
        }
        "row_count" => match (arguments.min, arguments.max) {
            (None, None) => Err(Fault::new(
                name,
                "`row_count` needs `min` or `max`",
                "write `row_count: { min: 1 }`",
            )),
            (min, max) => Ok(Rule::RowCount { min, max }),
        },
        other => {
            let meant = nearest(other, KNOWN.iter().copied());
            let fix =
                meant.map_or_else(known, |word| format!("did you mean `{word}`? {}", known()));
            Err(Fault::new(other, format!("no test is called `{other}`"), fix))
        }
    }
}

/// A plain value as SQL prints it.
fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Bool(value) => Some(value.to_string()),
        Value::Number(number) => Some(number.to_string()),
        Value::Null | Value::Sequence(_) | Value::Mapping(_) | Value::Tagged(_) => None,
    }
}

/// The model in `ref('model')`, or the bare name of one.
fn referenced(text: &str) -> Option<AssetId> {
    let inner = text
        .trim()
        .strip_prefix("ref(")
        .and_then(|rest| rest.strip_suffix(')'))
        .map_or(text, |inner| inner.trim().trim_matches(['\'', '"']));
    AssetId::of("models", inner).ok()
}

/// A place in the file of a check.
pub(crate) fn place(file: &std::path::Path, check: &Check) -> Place {
    Place { file: file.to_owned(), line: check.line, column: None }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;

    fn parse_text(text: &str) -> Result<Vec<CheckedModel>> {
        parse(&AssetFile {
            root: "/project".into(),
            path: "models/schema.yml".into(),
            text: text.to_owned(),
        })
    }

    #[test]
    fn reads_both_spellings_of_dbt() {
        let models = parse_text(
            "version: 2\nmodels:\n  - name: sections\n    data_tests:\n      - row_count: {min: 1}\n\
             \x20   columns:\n      - name: chunk\n        tests: [not_null, unique]\n\
             \x20     - name: level\n        data_tests:\n          - accepted_values:\n\
             \x20             arguments: {values: [1, two, true]}\n              config: {severity: warn}\n\
             \x20         - relationships: {to: \"ref('levels')\", field: id}\n",
        )
        .unwrap();
        let checks = &models[0].checks;
        let names: Vec<_> = checks.iter().map(|check| check.name.as_str()).collect();
        let expected = [
            "row_count",
            "not_null_chunk",
            "unique_chunk",
            "accepted_values_level",
            "relationships_level",
        ];
        assert_eq!(names, expected);
        let values = vec!["1".to_owned(), "two".to_owned(), "true".to_owned()];
        let column = "level".to_owned();
        assert_eq!(checks[3].rule, Rule::AcceptedValues { column: column.clone(), values });
        assert_eq!(checks[3].severity, Severity::Warn);
        let to = "models/levels".parse().unwrap();
        assert_eq!(checks[4].rule, Rule::Relationships { column, to, field: "id".to_owned() });
        assert_eq!(checks[1].line, Some(7));
    }

    #[test]
    fn faults_have_a_line_and_a_fix() {
        let head = "models:\n  - name: m\n    columns:\n      - name: c\n        data_tests:\n";
        for (tail, message, line) in [
            ("          - not_nul\n", "no test is called `not_nul`", 6),
            ("          - accepted_values\n", "needs `values`", 6),
            ("          - unique: {severity: fatal}\n", "no severity", 6),
            ("          - row_count: {}\n", "needs `min`", 6),
            ("          - unique: {wher: x}\n", "unknown field `wher`", 6),
            ("        colour: red\n", "unknown field `colour`", 6),
        ] {
            let Err(DataError::Config { place, message: found, .. }) =
                parse_text(&format!("{head}{tail}"))
            else {
                panic!("{tail}")
            };
            assert!(found.contains(message), "{found}");
            if !message.contains("colour") {
                assert_eq!(place.line, Some(line), "{tail}");
            }
        }
    }
}
