//! Which registered models or versions are meant? Their filters have fewer attributes than those of runs,
//! and show prompts only when they ask for them.

use super::{
    super::{
        Fault, Refusal,
        refusal::invalid,
        registry::{DELETED, PROMPT_TAG},
    },
    Columns, Kind, Query,
    clause::{Comparison, Meant, Side, clauses},
    column,
    lexer::tokens,
};

const VERSION_NUMBERS: Columns = &[("version_number", "version")];
const VERSION_TEXTS: Columns = &[("name", "name"), ("run_id", "run"), ("source_path", "source")];
const REGISTERED_TEXTS: Columns = &[("name", "name")];
const VERSION_ORDERS: Columns = &[
    ("name", "name"),
    ("version_number", "version"),
    ("creation_timestamp", "created"),
    ("last_updated_timestamp", "updated"),
];
const REGISTERED_ORDERS: Columns =
    &[("name", "name"), ("timestamp", "updated"), ("last_updated_timestamp", "updated")];

/// The query that a filter of registered models means.
pub(in super::super) fn registered_models(filter: &str) -> Result<Query, Refusal> {
    Query::of_registry(Kind::Registered, filter)
}

/// The query that a filter of versions means.
pub(in super::super) fn model_versions(filter: &str) -> Result<Query, Refusal> {
    let mut query = Query::of_registry(Kind::Versions, filter)?;
    query.conditions.push(format!("x.stage <> '{DELETED}'"));
    Ok(query)
}

/// What decides between those that an order leaves equal.
pub(super) fn tie(kind: Kind) -> [String; 2] {
    let second = if kind == Kind::Versions { "x.version DESC" } else { "x.created" };
    ["x.name".to_owned(), second.to_owned()]
}

pub(super) fn attributes(kind: Kind) -> (Columns, Columns) {
    match kind {
        Kind::Versions => (VERSION_NUMBERS, VERSION_TEXTS),
        _ => (&[], REGISTERED_TEXTS),
    }
}

impl Query {
    fn of_registry(kind: Kind, filter: &str) -> Result<Self, Refusal> {
        let mut query =
            Self { kind, conditions: Vec::new(), order: Vec::new(), values: Vec::new() };
        let comparisons = clauses(filter, false)?;
        let asks_for = |one: &Comparison| one.side == Side::Tag && one.key == PROMPT_TAG;
        let prompts = comparisons.iter().find(|one| asks_for(one)).is_some_and(wants_prompts);
        for one in &comparisons {
            let condition = match one.side {
                Side::Tag => query.registry_tag(one)?,
                _ => query.registry_attribute(one)?,
            };
            // Where prompts are left out, what is said of their tag says no more.
            if prompts || !asks_for(one) {
                query.conditions.push(condition);
            }
        }
        if !prompts {
            let tags = query.tag_table();
            query.conditions.push(format!(
                "NOT EXISTS (SELECT 1 FROM {tags} p WHERE p.key = '{PROMPT_TAG}' AND p.name = x.name \
                 AND p.value = 'true')"
            ));
        }
        Ok(query)
    }

    fn tag_table(&self) -> &'static str {
        match self.kind {
            Kind::Versions => "mlflow_version_tags",
            _ => "mlflow_registered_tags",
        }
    }

    fn registry_tag(&mut self, one: &Comparison) -> Result<String, Refusal> {
        let operator = &one.operator;
        if !matches!(operator.as_str(), "=" | "!=" | "LIKE" | "ILIKE") {
            return Err(invalid(format!("Invalid comparator for tag: {operator}")));
        }
        let text = one.text("tag")?;
        let key = self.value(&one.key);
        let matches = self.matches("m.value", one, text)?;
        let same = match self.kind {
            Kind::Versions => "m.name = x.name AND m.version = x.version",
            _ => "m.name = x.name",
        };
        let table = self.tag_table();
        Ok(format!("EXISTS (SELECT 1 FROM {table} m WHERE {same} AND m.key = {key} AND {matches})"))
    }

    fn registry_attribute(&mut self, one: &Comparison) -> Result<String, Refusal> {
        let key = one.key.as_str();
        let (numbers, texts) = self.attributes();
        if let Some(column) = column(numbers, key) {
            return self.registry_number(one, &column);
        }
        let Some(column) = column(texts, key) else { return Err(self.unknown(key)) };
        let listed: &[&str] =
            if self.kind == Kind::Versions { &["name", "run_id"] } else { &["name"] };
        match &one.meant {
            Meant::List(_) if !listed.contains(&key) => Err(only_lists(listed)),
            Meant::List(items) => {
                let places: Vec<String> = items.iter().map(|item| self.value(item)).collect();
                Ok(format!("{column} {} ({})", one.operator, places.join(", ")))
            }
            Meant::Text(text) if matches!(one.operator.as_str(), "=" | "!=" | "LIKE" | "ILIKE") => {
                self.matches(&column, one, text)
            }
            Meant::Number(_) if self.kind == Kind::Versions => Err(invalid(
                "Only the '{'version_number', 'creation_timestamp', 'last_updated_timestamp'}' \
                     attributes support comparison with numeric values.",
            )),
            Meant::Number(number) => Err(invalid(format!(
                "Expected a quoted string value or a list of quoted string values for attributes. Got \
                 value {number}"
            ))),
            _ => Err(invalid(format!("Invalid comparator for attribute: {}", one.operator))),
        }
    }

    fn registry_number(&mut self, one: &Comparison, column: &str) -> Result<String, Refusal> {
        let key = &one.key;
        let told = match &one.meant {
            Meant::Number(number) => number.clone(),
            Meant::Text(text) => format!("'{text}'"),
            Meant::List(_) => return Err(only_lists(&["name", "run_id"])),
            Meant::Nothing => one.operator.clone(),
        };
        if !matches!(one.operator.as_str(), "=" | "!=" | "<" | "<=" | ">" | ">=") {
            return Err(invalid(format!(
                "Invalid comparator for attribute {key}: {}",
                one.operator
            )));
        }
        let number: i64 =
            told.trim_matches('\'').trim().parse().map_err(|_| {
                invalid(format!("Invalid value for numeric attribute '{key}': {told}"))
            })?;
        let place = self.value(number);
        Ok(format!("{column} {} {place}", one.operator))
    }

    /// Orders registered models.
    pub(in super::super) fn order_registered(&mut self, order: &[&str]) -> Result<(), Refusal> {
        self.order_registry(order, REGISTERED_ORDERS)
    }

    /// Orders versions; those that changed last come first when nothing is said.
    pub(in super::super) fn order_versions(&mut self, order: &[&str]) -> Result<(), Refusal> {
        match order {
            [] => self.order.push("x.updated DESC".to_owned()),
            order => self.order_registry(order, VERSION_ORDERS)?,
        }
        Ok(())
    }

    fn order_registry(&mut self, order: &[&str], known: Columns) -> Result<(), Refusal> {
        self.bounded(order.len())?;
        let mut seen = Vec::new();
        for clause in order {
            let (side, key, direction) = self.order_key(clause)?;
            let found = column(known, &key).filter(|_| side == Side::Attribute);
            let column = found.ok_or_else(|| no_order(self.kind, side, clause, &key))?;
            if seen.contains(&column) {
                let told: Vec<String> = order.iter().map(|clause| format!("'{clause}'")).collect();
                return Err(Refusal {
                    fault: Fault::Internal,
                    message: format!("`order_by` contains duplicate fields: [{}]", told.join(", ")),
                });
            }
            self.order.push(format!("{column} {direction}"));
            seen.push(column);
        }
        Ok(())
    }
}

/// Whether a condition on the tag that makes prompts wants them shown.
fn wants_prompts(one: &Comparison) -> bool {
    let Meant::Text(text) = &one.meant else { return false };
    match one.operator.as_str() {
        "=" => text.eq_ignore_ascii_case("true"),
        "!=" => text.eq_ignore_ascii_case("false"),
        _ => false,
    }
}

fn only_lists(keys: &[&str]) -> Refusal {
    let keys: Vec<String> = keys.iter().map(|key| format!("'{key}'")).collect();
    invalid(format!(
        "Only [{}] attributes support comparison with a list of quoted string values.",
        keys.join(", ")
    ))
}

/// That there is no such order.
fn no_order(kind: Kind, side: Side, clause: &str, key: &str) -> Refusal {
    if kind == Kind::Registered {
        let first = tokens(clause).ok().and_then(|words| words.into_iter().next());
        let written = first.as_ref().map_or(key, |word| word.written());
        return invalid(format!(
            "Invalid order by key '{written}' specified. Valid keys are '{{'name', 'timestamp'}}'"
        ));
    }
    let names: Vec<String> = VERSION_ORDERS.iter().map(|(name, _)| format!("'{name}'")).collect();
    let names = names.join(", ");
    invalid(match side {
        Side::Attribute => {
            format!("Invalid attribute key '{key}' specified. Valid keys are '{{{names}}}'")
        }
        _ => format!("Invalid order by key '{key}' specified. Valid keys are {{{names}}}"),
    })
}
