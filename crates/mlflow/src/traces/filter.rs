//! Which traces does a filter mean? Its conditions on traces, tags, metadata and assessments become one
//! query of the catalog. Those on spans must be true of one and the same span; what a span holds is
//! looked for in the log.

use regex::Regex;
use serde_json::{Value, json};
use sextant_lineage::{Cell, Reader};

use super::{
    super::{
        Refusal,
        refusal::invalid,
        search::{
            as_glob,
            clause::{Condition, Meant, conditions},
        },
    },
    NAME, RUN, SESSION,
    bodies::{Bodies, first_place},
    pattern::{Content, equal, like, rlike},
    side::{Side, key_of},
};

/// Spans whose content one search finds at most.
const FOUND_MAX: usize = 1_000_000;
/// Rows that are looked at at once for a pattern.
const ROWS_MAX: i64 = 10_000;

/// Attributes with the columns that hold them.
const NUMBERS: &[(&str, &str)] = &[
    ("timestamp_ms", "x.started"),
    ("timestamp", "x.started"),
    ("execution_time_ms", "x.duration"),
    ("execution_time", "x.duration"),
    ("end_time_ms", "(x.started + COALESCE(x.duration, 0))"),
    ("end_time", "(x.started + COALESCE(x.duration, 0))"),
];
const TEXTS: &[(&str, &str)] =
    &[("request_id", "x.id"), ("status", "x.state"), ("client_request_id", "x.client_request")];
/// Attributes that stand for a tag, metadata, or a span's content.
const OTHERS: &[&str] = &["name", "run_id", "prompt", "text"];
const LISTED: &[&str] = &["name", "status", "request_id", "run_id", "client_request_id"];

/// A condition that was understood.
#[derive(Debug)]
struct Test {
    side: Side,
    key: String,
    operator: String,
    meant: Meant,
}

impl Test {
    fn text(&self, what: &str) -> Result<&str, Refusal> {
        let told = match &self.meant {
            Meant::Text(text) => return Ok(text),
            Meant::Number(number) => number.clone(),
            Meant::List(_) | Meant::Nothing => self.operator.clone(),
        };
        Err(invalid(format!(
            "Expected a quoted string value for {what} (e.g. 'my-value'). Got value {told}"
        )))
    }

    fn wrong_operator(&self, known: &[&str]) -> Refusal {
        let known: Vec<String> = known.iter().map(|known| format!("'{known}'")).collect();
        invalid(format!(
            "Invalid comparator '{}' not one of '{{{}}}'",
            self.operator,
            known.join(", ")
        ))
    }
}

/// A query of the catalog that grows.
pub(super) struct Query<'a> {
    reader: &'a Reader,
    bodies: &'a Bodies,
    /// The experiments: one, or several as JSON.
    within: Cell,
    pub(super) conditions: Vec<String>,
    pub(super) values: Vec<Cell>,
    on_spans: Vec<String>,
    contents: Vec<Content>,
}

impl<'a> Query<'a> {
    /// The query that a filter means among the traces of some experiments. Nothing may be forgotten
    /// since `reader` was opened.
    pub(super) fn of(
        reader: &'a Reader,
        bodies: &'a Bodies,
        experiments: &[i64],
        filter: &str,
    ) -> Result<Self, Refusal> {
        let attributes: Vec<&str> = NUMBERS
            .iter()
            .chain(TEXTS)
            .map(|(name, _)| *name)
            .chain(OTHERS.iter().copied())
            .collect();
        // Of one experiment the index has the traces in order.
        let (condition, within) = match experiments {
            [one] => ("x.experiment = ?1", Cell::from(*one)),
            _ => {
                let list = json!(experiments).to_string();
                ("x.experiment IN (SELECT value FROM json_each(?1))", list.into())
            }
        };
        let mut query = Self {
            reader,
            bodies,
            within: within.clone(),
            conditions: vec![condition.to_owned()],
            values: vec![within],
            on_spans: Vec::new(),
            contents: Vec::new(),
        };
        for condition in conditions(filter, true, &["LIKE", "ILIKE", "RLIKE"])? {
            let Condition { name, operator, meant } = condition;
            let (side, key) = key_of(&name, &attributes)?;
            query.add(&Test { side, key, operator, meant })?;
        }
        query.close_spans()?;
        Ok(query)
    }

    /// Adds a value; gives its place in the statement.
    pub(super) fn value(&mut self, value: impl Into<Cell>) -> String {
        self.values.push(value.into());
        format!("?{}", self.values.len())
    }

    fn add(&mut self, test: &Test) -> Result<(), Refusal> {
        match (test.side, test.key.as_str()) {
            (Side::Attribute, "name") => self.pair(test, "mlflow_trace_tags", NAME),
            (Side::Attribute, "run_id") | (Side::Metadata, RUN) => self.run(test),
            (Side::Attribute, "prompt") | (Side::Tag, "mlflow.linkedPrompts") => self.prompt(test),
            (Side::Attribute, "text") => self.content(test, None),
            (Side::Attribute, _) => self.attribute(test),
            (Side::Tag, key) => self.pair(test, "mlflow_trace_tags", key),
            (Side::Metadata, key) => self.pair(test, "mlflow_trace_metadata", key),
            (Side::Span, key) => self.span(test, key),
            (Side::Feedback | Side::Expectation, _) => self.assessment(test),
            (Side::Issue, "id") if test.operator == "=" => {
                let name = self.value(test.text("issue")?);
                self.conditions.push(format!(
                    "EXISTS (SELECT 1 FROM mlflow_assessments a WHERE a.trace = x.id AND \
                     a.kind = 'issue' AND a.name = {name})"
                ));
                Ok(())
            }
            (Side::Issue, "id") => Err(test.wrong_operator(&["="])),
            (Side::Issue, key) => {
                Err(invalid(format!("Invalid issue attribute '{key}'. Supported attributes: id")))
            }
        }
    }

    fn attribute(&mut self, test: &Test) -> Result<(), Refusal> {
        let key = test.key.as_str();
        if let Some((_, column)) = NUMBERS.iter().find(|(name, _)| *name == key) {
            let Meant::Number(number) = &test.meant else {
                return Err(invalid(format!(
                    "Expected numeric value type for numeric attribute: {key}. Found {}",
                    test.text("attribute").map_or(&*test.operator, |text| text)
                )));
            };
            let number: f64 =
                number.parse().map_err(|_| invalid(format!("'{number}' is no number")))?;
            let place = self.value(number);
            self.conditions.push(format!("{column} {} {place}", ordering(test)?));
            return Ok(());
        }
        let column =
            TEXTS.iter().find(|(name, _)| *name == key).map_or("x.id", |(_, column)| column);
        let condition = match (&test.meant, test.operator.as_str()) {
            (Meant::List(_), _) => self.list(column, test)?,
            (_, "RLIKE") => {
                let sql = format!(
                    "SELECT x.id, {column} FROM mlflow_traces x WHERE {} AND {column} IS NOT NULL AND \
                     x.id > ?2",
                    self.conditions[0]
                );
                let pattern = rlike(test.text("attribute")?)?;
                self.matching("x.id", &sql, "x.id", &[], &pattern)?
            }
            _ => self.matches(column, test, "attribute")?,
        };
        self.conditions.push(condition);
        Ok(())
    }

    fn list(&mut self, column: &str, test: &Test) -> Result<String, Refusal> {
        let Meant::List(items) = &test.meant else { return Err(test.wrong_operator(&["IN"])) };
        if test.side == Side::Attribute && !LISTED.contains(&test.key.as_str()) {
            return Err(test.wrong_operator(&["=", "!="]));
        }
        let places: Vec<String> = items.iter().map(|item| self.value(item)).collect();
        Ok(format!("{column} {} ({})", test.operator, places.join(", ")))
    }

    /// A comparison of texts that the catalog can make.
    fn matches(&mut self, column: &str, test: &Test, what: &str) -> Result<String, Refusal> {
        let text = test.text(what)?;
        match test.operator.as_str() {
            operator @ ("=" | "!=") => {
                let place = self.value(text);
                Ok(format!("{column} {operator} {place}"))
            }
            "LIKE" => {
                let place = self.value(as_glob(text));
                Ok(format!("{column} GLOB {place}"))
            }
            "ILIKE" => {
                let place = self.value(text);
                Ok(format!("LOWER({column}) LIKE LOWER({place})"))
            }
            _ => Err(test.wrong_operator(&["=", "!=", "LIKE", "ILIKE", "RLIKE"])),
        }
    }

    /// A tag or metadata.
    fn pair(&mut self, test: &Test, table: &str, key: &str) -> Result<(), Refusal> {
        let what = if table == "mlflow_trace_tags" { "tag" } else { "request_metadata" };
        let place = self.value(key);
        let at = format!("SELECT 1 FROM {table} m WHERE m.trace = x.id AND m.key = {place}");
        let condition = match test.operator.as_str() {
            "IS NULL" => format!("NOT EXISTS ({at})"),
            "IS NOT NULL" => format!("EXISTS ({at})"),
            "IN" | "NOT IN" => {
                return Err(test.wrong_operator(&[
                    "=",
                    "!=",
                    "LIKE",
                    "ILIKE",
                    "RLIKE",
                    "IS NULL",
                    "IS NOT NULL",
                ]));
            }
            "RLIKE" => {
                let sql = format!(
                    "SELECT m.trace, m.value FROM {table} m JOIN mlflow_traces x ON x.id = m.trace \
                     WHERE {} AND m.trace > ?2 AND m.key = ?3",
                    self.conditions[0]
                );
                let pattern = rlike(test.text(what)?)?;
                self.matching("x.id", &sql, "m.trace", &[key.into()], &pattern)?
            }
            _ => format!("EXISTS ({at} AND {})", self.matches("m.value", test, what)?),
        };
        self.conditions.push(condition);
        Ok(())
    }

    /// A run that a trace belongs to or was linked to.
    fn run(&mut self, test: &Test) -> Result<(), Refusal> {
        if test.operator != "=" {
            return self.pair(test, "mlflow_trace_metadata", RUN);
        }
        let (run, key) = (self.value(test.text("run_id")?), self.value(RUN));
        self.conditions.push(format!(
            "(EXISTS (SELECT 1 FROM mlflow_trace_metadata m WHERE m.trace = x.id AND m.key = {key} AND \
             m.value = {run}) OR x.id IN (SELECT l.trace FROM mlflow_trace_links l WHERE \
             l.kind = 'run' AND l.target = {run}))"
        ));
        Ok(())
    }

    fn prompt(&mut self, test: &Test) -> Result<(), Refusal> {
        if test.operator != "=" {
            return Err(invalid(format!(
                "Invalid comparator '{}' for prompts filter. Only '=' is supported with format: \
                 prompt = \"name/version\"",
                test.operator
            )));
        }
        let prompt = test.text("tag")?;
        if prompt.matches('/').count() != 1 {
            return Err(invalid(format!(
                "Invalid prompts filter value '{prompt}'. Expected format: prompt = \"name/version\""
            )));
        }
        let prompt = self.value(prompt);
        self.conditions.push(format!(
            "x.id IN (SELECT l.trace FROM mlflow_trace_links l WHERE l.kind = 'prompt' AND \
             l.target = {prompt})"
        ));
        Ok(())
    }

    fn assessment(&mut self, test: &Test) -> Result<(), Refusal> {
        let kind = if test.side == Side::Feedback { "feedback" } else { "expectation" };
        let name = self.value(&test.key);
        let value = match (test.operator.as_str(), &test.meant) {
            ("IS NULL" | "IS NOT NULL", _) => "1".to_owned(),
            (operator @ ("<" | "<=" | ">" | ">="), Meant::Number(number)) => {
                let number: Option<f64> = number.parse().ok();
                let place = self.value(number);
                format!("a.number {operator} {place}")
            }
            (operator @ ("<" | "<=" | ">" | ">="), _) => {
                return Err(invalid(format!(
                    "Expected a numeric value for {kind} when using comparator '{operator}'. Got \
                     value {}",
                    test.text(kind).map_or(operator, |text| text)
                )));
            }
            (operator @ ("=" | "!="), _) => {
                let text = test.text(kind)?;
                let (bare, quoted) = (self.value(text), self.value(json!(text).to_string()));
                let not = if operator == "=" { "" } else { "NOT " };
                format!("{not}(a.value = {bare} OR a.value = {quoted})")
            }
            ("RLIKE", _) => {
                let sql = format!(
                    "SELECT a.id, a.value FROM mlflow_assessments a JOIN mlflow_traces x ON \
                     x.id = a.trace WHERE {} AND a.id > ?2 AND a.name = ?3 AND a.kind = '{kind}'",
                    self.conditions[0]
                );
                let pattern = rlike(test.text(kind)?)?;
                self.matching("a.id", &sql, "a.id", &[test.key.as_str().into()], &pattern)?
            }
            _ => self.matches("a.value", test, kind)?,
        };
        let found = format!("a.kind = '{kind}' AND a.name = {name} AND a.valid = 1 AND {value}");
        let session = self.value(SESSION);
        // What was said of a session is said of each of its traces.
        let exists = format!(
            "(EXISTS (SELECT 1 FROM mlflow_assessments a WHERE a.trace = x.id AND {found}) OR \
             COALESCE((SELECT m.value FROM mlflow_trace_metadata m WHERE m.trace = x.id AND \
             m.key = {session}) IN (SELECT o.value FROM mlflow_assessments a JOIN \
             mlflow_trace_metadata o ON o.trace = a.trace AND o.key = {session} WHERE {found} AND \
             json_extract(a.metadata, '$.\"{SESSION}\"') IS NOT NULL), 0))"
        );
        let not = if test.operator == "IS NULL" { "NOT " } else { "" };
        self.conditions.push(format!("{not}{exists}"));
        Ok(())
    }

    fn span(&mut self, test: &Test, key: &str) -> Result<(), Refusal> {
        let column = match key {
            "name" => "s.name",
            "type" => "s.type",
            "status" => "s.status",
            "content" => return self.content(test, None),
            _ => match key.strip_prefix("attributes.").filter(|name| !name.is_empty()) {
                Some(name) => return self.content(test, Some(name)),
                None => {
                    return Err(invalid(format!(
                        "Invalid span attribute '{key}'. Supported attributes: name, status, type, \
                         attributes.<attribute_name>."
                    )));
                }
            },
        };
        let condition = match (&test.meant, test.operator.as_str()) {
            (Meant::List(_), _) => self.list(column, test)?,
            (_, "RLIKE") => {
                let sql = format!(
                    "SELECT s.at, {column} FROM mlflow_spans s JOIN mlflow_traces x ON x.id = s.trace \
                     WHERE {} AND {column} IS NOT NULL AND s.at > ?2",
                    self.conditions[0]
                );
                let pattern = rlike(test.text("span")?)?;
                self.matching("s.at", &sql, "s.at", &[], &pattern)?
            }
            _ => self.matches(column, test, "span")?,
        };
        self.on_spans.push(condition);
        Ok(())
    }

    fn content(&mut self, test: &Test, attribute: Option<&str>) -> Result<(), Refusal> {
        let text = test.text("span")?;
        let pattern = match (test.operator.as_str(), attribute) {
            ("LIKE", _) => like(text, false)?,
            ("ILIKE", _) => like(text, true)?,
            ("RLIKE", Some(_)) => rlike(text)?,
            ("=" | "!=", Some(_)) => equal(text)?,
            (operator, _) => {
                let known = "'LIKE', 'ILIKE'";
                return Err(invalid(format!(
                    "span.{} comparator '{operator}' not one of '{{{known}}}'",
                    attribute.unwrap_or("content")
                )));
            }
        };
        let attribute = attribute.map(str::to_owned);
        self.contents.push(Content::new(attribute, pattern, test.operator != "!="));
        Ok(())
    }

    /// Looks for what spans hold, and joins the conditions on them.
    fn close_spans(&mut self) -> Result<(), Refusal> {
        if !self.contents.is_empty() {
            let contents = std::mem::take(&mut self.contents);
            let fits = |content: &str| {
                let mut parsed = None;
                contents.iter().all(|one| one.fits(content, &mut parsed))
            };
            let places = match first_place(self.reader)? {
                Some(from) => self.bodies.search(from, FOUND_MAX, &fits)?,
                None => Vec::new(),
            };
            if places.len() == FOUND_MAX {
                return Err(invalid(format!(
                    "more than {FOUND_MAX} spans hold what the filter looks for; ask for less"
                )));
            }
            let places = self.value(json!(places).to_string());
            self.on_spans.push(format!("s.at IN (SELECT value FROM json_each({places}))"));
        }
        if !self.on_spans.is_empty() {
            let on_spans = self.on_spans.join(" AND ");
            self.conditions.push(format!(
                "EXISTS (SELECT 1 FROM mlflow_spans s WHERE s.trace = x.id AND {on_spans})"
            ));
        }
        Ok(())
    }

    /// The condition that a column is among the keys of rows whose text has a pattern. The statement
    /// takes the experiments as its first value and as its second the key after which to go on.
    fn matching(
        &mut self,
        column: &str,
        sql: &str,
        key: &str,
        more: &[Cell],
        pattern: &Regex,
    ) -> Result<String, Refusal> {
        let sql = format!("{sql} ORDER BY {key} LIMIT {ROWS_MAX}");
        let numbered = key == "s.at";
        let mut after: Cell = if numbered { (-1_i64).into() } else { "".into() };
        let mut found = Vec::new();
        loop {
            let mut values = vec![self.within.clone(), after.clone()];
            values.extend(more.iter().cloned());
            let rows = self.reader.query(&sql, &values)?;
            for row in &rows {
                after = if numbered { row.int(0)?.into() } else { row.text(0)?.into() };
                if pattern.is_match(row.text(1)?) {
                    found.push(if numbered { json!(row.int(0)?) } else { json!(row.text(0)?) });
                }
            }
            if rows.len() < usize::try_from(ROWS_MAX).unwrap_or(usize::MAX) {
                break;
            }
        }
        let found = self.value(Value::Array(found).to_string());
        Ok(format!("{column} IN (SELECT value FROM json_each({found}))"))
    }
}

fn ordering(test: &Test) -> Result<&str, Refusal> {
    match test.operator.as_str() {
        operator @ ("=" | "!=" | "<" | "<=" | ">" | ">=") => Ok(operator),
        _ => Err(test.wrong_operator(&["=", "!=", "<", "<=", ">", ">="])),
    }
}
