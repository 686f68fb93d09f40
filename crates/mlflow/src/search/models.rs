//! Which logged models are meant? By their attributes, parameters and tags, and by metrics that may be
//! asked for on certain datasets only. An order is an object with the name of a field.

use serde_json::{Map, Value};

use super::{
    super::{Fault, Fields, Refusal, models::state_number, refusal::invalid},
    Columns, Kind, Query,
    clause::{Comparison, Meant, Side, clauses},
};

pub(super) const NUMBERS: Columns = &[
    ("creation_timestamp", "created"),
    ("creation_timestamp_ms", "created"),
    ("creation_time", "created"),
    ("last_updated_timestamp", "updated"),
    ("last_updated_timestamp_ms", "updated"),
];
pub(super) const TEXTS: Columns = &[
    ("name", "name"),
    ("model_id", "id"),
    ("model_type", "type"),
    ("source_run_id", "source_run"),
    ("status", "CAST(x.status AS TEXT)"),
    ("artifact_location", "artifact_uri"),
    ("experiment_id", "CAST(x.experiment AS TEXT)"),
    ("lifecycle_stage", "stage"),
];

/// The dataset that a metric has to be of.
#[derive(Debug, Clone)]
pub(in super::super) struct Scope {
    name: String,
    /// Any when it is empty.
    digest: String,
}

impl Scope {
    /// The dataset that an object names, if it names one.
    pub(in super::super) fn of(fields: &Fields<'_>) -> Result<Option<Self>, Refusal> {
        let name = fields.text("dataset_name")?.unwrap_or_default().to_owned();
        let digest = fields.text("dataset_digest")?.unwrap_or_default().to_owned();
        Ok((!name.is_empty()).then_some(Self { name, digest }))
    }
}

/// The query that a filter of logged models means, with the datasets that its metrics have to be of.
pub(in super::super) fn logged_models(filter: &str, scopes: &[Scope]) -> Result<Query, Refusal> {
    let mut query = Query {
        kind: Kind::Models,
        conditions: vec!["x.stage = 'active'".to_owned()],
        order: Vec::new(),
        values: Vec::new(),
    };
    let mut has_metric = false;
    for mut comparison in clauses(filter, true).map_err(|refusal| unread(filter, refusal))? {
        has_metric |= comparison.side == Side::Metric;
        let condition = match comparison.side {
            Side::Metric => query.model_metric(&comparison, scopes)?,
            Side::Param => query.entry(&comparison, "mlflow_model_params", "model")?,
            Side::Tag => query.entry(&comparison, "mlflow_model_tags", "model")?,
            Side::Dataset => return Err(no_attribute_of(&comparison)),
            Side::Attribute => {
                by_state_number(&mut comparison);
                query.attribute(&comparison)?
            }
        };
        query.conditions.push(condition);
    }
    if !scopes.is_empty() && !has_metric {
        let within = query.within_scopes(scopes);
        query.conditions.push(format!(
            "EXISTS (SELECT 1 FROM mlflow_model_metrics m WHERE m.model = x.id{within})"
        ));
    }
    Ok(query)
}

impl Query {
    fn model_metric(
        &mut self,
        comparison: &Comparison,
        scopes: &[Scope],
    ) -> Result<String, Refusal> {
        let number = comparison.number("metric")?;
        let operator = comparison.ordering()?;
        let (key, value) = (self.value(&comparison.key), self.value(number));
        let within = self.within_scopes(scopes);
        let not_a_number = if operator == "!=" { "m.is_nan = 1 OR" } else { "m.is_nan = 0 AND" };
        Ok(format!(
            "EXISTS (SELECT 1 FROM mlflow_model_metrics m WHERE m.model = x.id AND m.key = {key} AND \
             ({not_a_number} m.value {operator} {value}){within})"
        ))
    }

    /// That a metric is of one of these datasets.
    fn within_scopes(&mut self, scopes: &[Scope]) -> String {
        let conditions: Vec<String> = scopes.iter().map(|scope| self.within_scope(scope)).collect();
        match conditions.is_empty() {
            true => String::new(),
            false => format!(" AND ({})", conditions.join(" OR ")),
        }
    }

    fn within_scope(&mut self, scope: &Scope) -> String {
        let name = self.value(&scope.name);
        if scope.digest.is_empty() {
            return format!("m.dataset = {name}");
        }
        let digest = self.value(&scope.digest);
        format!("(m.dataset = {name} AND m.digest = {digest})")
    }

    /// Orders logged models by attributes and metrics.
    pub(in super::super) fn order_models(
        &mut self,
        order: &[&Map<String, Value>],
    ) -> Result<(), Refusal> {
        self.bounded(order.len())?;
        for object in order {
            let fields = Fields::new(object);
            let field = fields.text("field_name")?.unwrap_or_default();
            let direction = match object.get("ascending") {
                None | Some(Value::Null | Value::Bool(true)) => "ASC",
                Some(Value::Bool(false)) => "DESC",
                Some(other) => return Err(fields.wrong("ascending", other)),
            };
            match field.split_once('.') {
                None => self.order_by_attribute(field, direction)?,
                Some(("metrics", key)) => {
                    let scope = Scope::of(&fields)?;
                    self.order_by_metric(key, scope.as_slice(), direction);
                }
                Some(_) => {
                    return Err(invalid(format!(
                        "Invalid order by field name: {field}. Only metrics are supported."
                    )));
                }
            }
        }
        Ok(())
    }

    fn order_by_attribute(&mut self, field: &str, direction: &str) -> Result<(), Refusal> {
        let known = super::column(NUMBERS, field).or_else(|| super::column(TEXTS, field));
        let column = known.ok_or_else(|| Refusal {
            fault: Fault::NoAttribute,
            message: format!("Invalid order by field name: {field}"),
        })?;
        self.order.push(format!("{column} {direction}"));
        Ok(())
    }

    /// By the latest value of a metric; models without it come last.
    fn order_by_metric(&mut self, key: &str, scope: &[Scope], direction: &str) {
        let key = self.value(key);
        let within = self.within_scopes(scope);
        let latest = format!(
            "(SELECT CASE WHEN m.is_nan = 0 THEN m.value END FROM mlflow_model_metrics m
              WHERE m.model = x.id AND m.key = {key}{within}
              ORDER BY m.timestamp DESC, m.step DESC, m.run LIMIT 1)"
        );
        self.order.push(format!("{latest} IS NULL"));
        self.order.push(format!("{latest} {direction}"));
    }
}

/// States are kept as numbers and called by words.
fn by_state_number(comparison: &mut Comparison) {
    if comparison.key != "status" {
        return;
    }
    let number = |word: &mut String| {
        if let Some(number) = state_number(word) {
            *word = number.to_string();
        }
    };
    match &mut comparison.meant {
        Meant::Text(word) => number(word),
        Meant::List(words) => words.iter_mut().for_each(number),
        Meant::Number(digits) => comparison.meant = Meant::Text(std::mem::take(digits)),
        Meant::Nothing => {}
    }
}

/// The words of MLflow's other parser, which reads filters of logged models.
fn unread(filter: &str, refusal: Refusal) -> Refusal {
    if !refusal.message.starts_with("Invalid clause(s)") {
        return refusal;
    }
    let quote = if filter.contains('\'') && !filter.contains('"') { '"' } else { '\'' };
    invalid(format!(
        "Invalid filter string: {quote}{filter}{quote}. Expected a list of comparisons separated by 'AND' \
         (e.g. 'metrics.loss > 0.1 AND params.lr = 0.01')."
    ))
}

fn no_attribute_of(comparison: &Comparison) -> Refusal {
    invalid(format!(
        "Invalid entity type: 'dataset' of 'dataset.{}'. Expected one of ['attributes', 'metrics', \
         'params', 'tags'].",
        comparison.key
    ))
}
