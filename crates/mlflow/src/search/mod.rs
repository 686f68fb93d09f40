//! Which of the runs or experiments are meant? A filter of conditions joined by AND, an order, and a
//! page, each in MLflow's words, become one query of the catalog.

pub(super) mod clause;
mod datasets;
pub(super) mod lexer;
mod models;
mod page;
mod registry;

use sextant_lineage::{Cell, Reader, Row};

use super::{Fields, Refusal, refusal::invalid};
use clause::{Comparison, Meant, Side, clauses, key_of};
pub(super) use models::{Scope, logged_models};
pub(super) use page::Page;
pub(super) use registry::{model_versions, registered_models};

/// Experiments of one search.
const EXPERIMENTS_MAX: usize = 10_000;
/// Keys of one order.
const ORDER_MAX: usize = 100;

/// Attributes with the columns that hold them.
type Columns = &'static [(&'static str, &'static str)];

/// Numbers among the attributes of a run, and the columns that hold them.
const RUN_NUMBERS: Columns = &[
    ("start_time", "started"),
    ("created", "started"),
    ("Created", "started"),
    ("end_time", "ended"),
];
/// Texts among them.
const RUN_TEXTS: Columns = &[
    ("run_id", "id"),
    ("run_name", "name"),
    ("run name", "name"),
    ("Run name", "name"),
    ("Run Name", "name"),
    ("status", "status"),
    ("user_id", "user"),
    ("artifact_uri", "artifact_uri"),
];
const EXPERIMENT_NUMBERS: Columns =
    &[("creation_time", "created"), ("last_update_time", "updated")];
const EXPERIMENT_TEXTS: Columns = &[("name", "name"), ("experiment_id", "CAST(x.id AS TEXT)")];

/// What is searched: the words differ a little.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Runs,
    Experiments,
    Registered,
    Versions,
    Models,
}

/// A query of the catalog that grows.
#[derive(Debug)]
pub(super) struct Query {
    kind: Kind,
    conditions: Vec<String>,
    order: Vec<String>,
    values: Vec<Cell>,
}

/// The query that a filter of runs means.
pub(super) fn runs(filter: &str) -> Result<Query, Refusal> {
    Query::of(Kind::Runs, filter)
}

/// The query that a filter of experiments means.
pub(super) fn experiments(filter: &str) -> Result<Query, Refusal> {
    Query::of(Kind::Experiments, filter)
}

impl Query {
    fn of(kind: Kind, filter: &str) -> Result<Self, Refusal> {
        let mut query =
            Self { kind, conditions: Vec::new(), order: Vec::new(), values: Vec::new() };
        for comparison in clauses(filter, kind == Kind::Runs)? {
            query.add(&comparison)?;
        }
        Ok(query)
    }

    /// Adds a value; gives its place in the statement.
    fn value(&mut self, value: impl Into<Cell>) -> String {
        self.values.push(value.into());
        format!("?{}", self.values.len())
    }

    /// The rows of one page, and one more when there is one.
    pub(super) fn run(
        &self,
        reader: &Reader,
        columns: &str,
        from: &str,
        page: &Page,
    ) -> Result<Vec<Row>, Refusal> {
        let columns: Vec<String> =
            columns.split(", ").map(|column| format!("x.{column}")).collect();
        let conditions = self.condition();
        let mut order = self.order.clone();
        order.extend(match self.kind {
            Kind::Runs => ["x.started DESC".to_owned(), "x.id".to_owned()],
            Kind::Models => ["x.created DESC".to_owned(), "x.id".to_owned()],
            Kind::Experiments => ["x.created DESC".to_owned(), "x.id DESC".to_owned()],
            Kind::Registered | Kind::Versions => registry::tie(self.kind),
        });
        let mut values = self.values.clone();
        let sql = format!(
            "SELECT {} FROM {from} WHERE {conditions} ORDER BY {} LIMIT ?{} OFFSET ?{}",
            columns.join(", "),
            order.join(", "),
            values.len() + 1,
            values.len() + 2
        );
        values.extend([Cell::from(page.limit()), page.offset().into()]);
        Ok(reader.query(&sql, &values)?)
    }

    /// How many rows there are on all pages together.
    pub(super) fn count(&self, reader: &Reader, from: &str) -> Result<i64, Refusal> {
        let sql = format!("SELECT COUNT(*) FROM {from} WHERE {}", self.condition());
        // An order may have values of its own: the statement needs a place for each.
        let sql = match self.values.len() {
            0 => sql,
            values => format!("{sql} AND ?{values} IS ?{values}"),
        };
        let rows = reader.query(&sql, &self.values)?;
        Ok(rows.first().map_or(Ok(0), |row| row.int(0))?)
    }

    fn condition(&self) -> String {
        match self.conditions.is_empty() {
            true => "1".to_owned(),
            false => self.conditions.join(" AND "),
        }
    }

    /// Only runs of these experiments.
    pub(super) fn within(&mut self, experiments: &[i64]) -> Result<(), Refusal> {
        if experiments.len() > EXPERIMENTS_MAX {
            return Err(invalid(format!(
                "at most {EXPERIMENTS_MAX} experiments are searched at once"
            )));
        }
        let list = self.value(serde_json::json!(experiments).to_string());
        self.conditions.push(format!("x.experiment IN (SELECT value FROM json_each({list}))"));
        Ok(())
    }

    /// Only what is active, deleted or either, as a field says.
    pub(super) fn view(&mut self, fields: &Fields<'_>, field: &str) -> Result<(), Refusal> {
        let word = fields.text(field).ok().flatten();
        let number = fields.int(field).ok().flatten();
        match (word, number) {
            (Some("ALL"), _) | (_, Some(3)) => {}
            (Some("DELETED_ONLY"), _) | (_, Some(2)) => {
                self.conditions.push("x.stage = 'deleted'".to_owned());
            }
            (None | Some("ACTIVE_ONLY"), None | Some(1)) | (None, Some(_)) => {
                self.conditions.push("x.stage = 'active'".to_owned());
            }
            (Some(other), _) => return Err(fields.wrong(field, &other.into())),
        }
        Ok(())
    }

    /// As [`Self::view`], under the name that experiments have for it.
    pub(super) fn stages(&mut self, fields: &Fields<'_>) -> Result<(), Refusal> {
        self.view(fields, "view_type")
    }

    fn add(&mut self, comparison: &Comparison) -> Result<(), Refusal> {
        let condition = match comparison.side {
            Side::Attribute => self.attribute(comparison)?,
            Side::Metric => self.metric(comparison)?,
            Side::Param => self.entry(comparison, "mlflow_params", "run")?,
            Side::Dataset => self.dataset(comparison)?,
            Side::Tag if self.kind == Kind::Runs => self.entry(comparison, "mlflow_tags", "run")?,
            Side::Tag => self.entry(comparison, "mlflow_experiment_tags", "experiment")?,
        };
        self.conditions.push(condition);
        Ok(())
    }

    fn attributes(&self) -> (Columns, Columns) {
        match self.kind {
            Kind::Runs => (RUN_NUMBERS, RUN_TEXTS),
            Kind::Experiments => (EXPERIMENT_NUMBERS, EXPERIMENT_TEXTS),
            Kind::Registered | Kind::Versions => registry::attributes(self.kind),
            Kind::Models => (models::NUMBERS, models::TEXTS),
        }
    }

    fn attribute(&mut self, comparison: &Comparison) -> Result<String, Refusal> {
        let key = comparison.key.as_str();
        let (numbers, texts) = self.attributes();
        if let Some(column) = column(numbers, key) {
            let number = comparison.number(&format!("numeric attribute: {key}"))?;
            let place = self.value(number);
            return Ok(format!("{column} {} {place}", comparison.ordering()?));
        }
        let Some(column) = column(texts, key) else { return Err(self.unknown(key)) };
        if let Meant::List(items) = &comparison.meant {
            if key != "run_id" && self.kind == Kind::Runs {
                return Err(invalid(
                    "Only ['run_id'] attributes support comparison with a list of quoted string values.",
                ));
            }
            let places: Vec<String> = items.iter().map(|item| self.value(item)).collect();
            return Ok(format!("{column} {} ({})", comparison.operator, places.join(", ")));
        }
        let text = comparison.text("attribute")?;
        self.matches(&column, comparison, text)
    }

    /// A refusal of an attribute that there is not.
    fn unknown(&self, key: &str) -> Refusal {
        let (numbers, texts) = self.attributes();
        let names: Vec<String> =
            numbers.iter().chain(texts).map(|(name, _)| format!("'{name}'")).collect();
        invalid(format!(
            "Invalid attribute key '{key}' specified. Valid keys are '{{{}}}'",
            names.join(", ")
        ))
    }

    fn metric(&mut self, comparison: &Comparison) -> Result<String, Refusal> {
        let number = comparison.number("metric")?;
        let operator = comparison.ordering()?;
        let (key, value) = (self.value(&comparison.key), self.value(number));
        // What is no number is unlike every number.
        let not_a_number = if operator == "!=" { "m.is_nan = 1 OR" } else { "m.is_nan = 0 AND" };
        Ok(format!(
            "EXISTS (SELECT 1 FROM mlflow_metrics m WHERE m.run = x.id AND m.key = {key} AND \
             ({not_a_number} m.value {operator} {value}))"
        ))
    }

    /// A parameter or a tag.
    fn entry(&mut self, comparison: &Comparison, table: &str, of: &str) -> Result<String, Refusal> {
        let key = self.value(&comparison.key);
        let at = format!("SELECT 1 FROM {table} m WHERE m.{of} = x.id AND m.key = {key}");
        match comparison.operator.as_str() {
            "IS NULL" => return Ok(format!("NOT EXISTS ({at})")),
            "IS NOT NULL" => return Ok(format!("EXISTS ({at})")),
            _ => {}
        }
        let what = if comparison.side == Side::Param { "parameter" } else { "tag" };
        let text = comparison.text(what)?;
        let matches = self.matches("m.value", comparison, text)?;
        Ok(format!("EXISTS ({at} AND {matches})"))
    }

    fn matches(
        &mut self,
        column: &str,
        comparison: &Comparison,
        text: &str,
    ) -> Result<String, Refusal> {
        match comparison.operator.as_str() {
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
            operator => {
                let valid = match (self.kind, comparison.side) {
                    (Kind::Experiments, Side::Attribute) => {
                        "'LIKE', 'NOT IN', 'IN', '!=', 'ILIKE', '='"
                    }
                    (Kind::Runs | Kind::Models, Side::Attribute) => {
                        "'LIKE', 'ILIKE', '=', '!=', 'IN', 'NOT IN'"
                    }
                    _ => "'LIKE', 'IS NOT NULL', '!=', 'IS NULL', 'ILIKE', '='",
                };
                Err(invalid(format!("Invalid comparator '{operator}' not one of '{{{valid}}}'")))
            }
        }
    }

    /// Orders runs by attributes, metrics, parameters and tags.
    pub(super) fn order_runs(&mut self, order: &[&str]) -> Result<(), Refusal> {
        self.bounded(order.len())?;
        let mut seen = Vec::new();
        for clause in order {
            let (side, key, direction) = self.order_key(clause)?;
            if seen.contains(&(side, key.clone())) {
                let told: Vec<String> = order.iter().map(|clause| format!("'{clause}'")).collect();
                return Err(Refusal {
                    fault: super::Fault::Internal,
                    message: format!("`order_by` contains duplicate fields: [{}]", told.join(", ")),
                });
            }
            seen.push((side, key.clone()));
            self.push_order(side, &key, direction)?;
        }
        Ok(())
    }

    fn bounded(&self, keys: usize) -> Result<(), Refusal> {
        match keys {
            0..=ORDER_MAX => Ok(()),
            _ => Err(invalid(format!("an order has at most {ORDER_MAX} keys"))),
        }
    }

    /// Orders experiments by attributes.
    pub(super) fn order_experiments(&mut self, order: &[&str]) -> Result<(), Refusal> {
        self.bounded(order.len())?;
        for clause in order {
            let (side, key, direction) = self.order_key(clause)?;
            if side != Side::Attribute {
                return Err(invalid(format!("Invalid order_by entity `{key}`")));
            }
            self.push_order(side, &key, direction)?;
        }
        Ok(())
    }

    fn order_key(&self, clause: &str) -> Result<(Side, String, &'static str), Refusal> {
        let unread =
            || invalid(format!("Invalid order_by clause '{clause}'. Could not be parsed."));
        let tokens = lexer::tokens(clause).map_err(|_| unread())?;
        let (key, rest) = tokens.split_first().ok_or_else(unread)?;
        let direction = match rest {
            [] => "ASC",
            [word] if word.is("ASC") => "ASC",
            [word] if word.is("DESC") => "DESC",
            [word] if word.is_word() => {
                return Err(invalid(format!(
                    "Invalid ordering key in order_by clause '{clause}'."
                )));
            }
            _ => return Err(unread()),
        };
        let (side, key) = key_of(key, self.kind == Kind::Runs)?;
        Ok((side, key, direction))
    }

    fn push_order(&mut self, side: Side, key: &str, direction: &str) -> Result<(), Refusal> {
        let (numbers, texts) = self.attributes();
        let expression = match side {
            Side::Attribute if key == "experiment_id" => "x.id".to_owned(),
            Side::Attribute => {
                let found = column(numbers, key).or_else(|| column(texts, key));
                found.ok_or_else(|| self.unknown(key))?
            }
            Side::Metric => {
                let key = self.value(key);
                let of = format!("FROM mlflow_metrics m WHERE m.run = x.id AND m.key = {key}");
                // Numbers, then what is none, then runs without it.
                self.order.push(format!("COALESCE((SELECT m.is_nan {of}), 2)"));
                format!("(SELECT m.value {of})")
            }
            Side::Dataset => {
                return Err(invalid(format!("Invalid order_by entity `dataset.{key}`")));
            }
            Side::Param | Side::Tag => {
                let table = if side == Side::Param { "mlflow_params" } else { "mlflow_tags" };
                let key = self.value(key);
                format!("(SELECT m.value FROM {table} m WHERE m.run = x.id AND m.key = {key})")
            }
        };
        self.order.push(format!("{expression} IS NULL"));
        self.order.push(format!("{expression} {direction}"));
        Ok(())
    }
}

fn column(known: &[(&str, &str)], key: &str) -> Option<String> {
    let (_, column) = known.iter().find(|(name, _)| *name == key)?;
    Some(if column.contains('(') { (*column).to_owned() } else { format!("x.{column}") })
}

/// A pattern of LIKE as one of GLOB, which minds upper and lower case.
pub(super) fn as_glob(pattern: &str) -> String {
    let mut glob = String::with_capacity(pattern.len());
    for c in pattern.chars() {
        match c {
            '%' => glob.push('*'),
            '_' => glob.push('?'),
            '*' | '?' | '[' => glob.extend(['[', c, ']']),
            c => glob.push(c),
        }
    }
    glob
}
