//! What must a column hold besides its type? `[contract.COLUMN]` of a source's file. A record that
//! breaks it goes to quarantine with the rule and the value.

use std::{cmp::Ordering, collections::BTreeMap};

use datafusion::arrow::datatypes::DataType;
use regex::Regex;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    rules::TypeName,
    shape::{Fault, Fields, shown},
    values::{self, Cell, Seen},
};

/// What the values of one column must be. A record without a value breaks `required` alone.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ColumnContract {
    /// Every record has a value.
    pub required: bool,
    /// The smallest value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min: Option<Value>,
    /// The largest value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max: Option<Value>,
    /// The only values there are.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub one_of: Vec<Value>,
    /// A regular expression that matches a part of every text; `^…$` for the whole.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub matches: Option<String>,
}

/// The contract of a source, ready to be held against rows.
#[derive(Debug, Clone, Default)]
pub(crate) struct Contract(Vec<Clause>);

#[derive(Debug, Clone)]
struct Clause {
    column: String,
    required: bool,
    min: Option<Cell>,
    max: Option<Cell>,
    one_of: Vec<Cell>,
    matches: Option<Regex>,
}

impl Contract {
    /// Understands what the file says; otherwise the message and the fix.
    pub(crate) fn of(
        columns: &BTreeMap<String, ColumnContract>,
        schema: &BTreeMap<String, TypeName>,
    ) -> Result<Self, (String, String)> {
        let clause = |(column, said): (&String, &ColumnContract)| {
            let kind = schema.get(column).copied();
            let bounded = said.min.is_some() || said.max.is_some() || !said.one_of.is_empty();
            if kind.is_none() && (bounded || said.matches.is_some()) {
                let message = format!("the contract of `{column}` compares values of unknown type");
                return Err((message, format!("give `{column}` a type under [schema]")));
            }
            let bound = |value: &Value| {
                let wanted = kind.map_or(DataType::Utf8, TypeName::data_type);
                let cell = values::fit(value, &wanted, false);
                cell.filter(|cell| *cell != Cell::Null).ok_or_else(|| {
                    let message = format!("the contract of `{column}` names {value}");
                    (message, format!("write a value that fits the column's type ({wanted})"))
                })
            };
            let matches = said.matches.as_deref().map(Regex::new).transpose().map_err(|error| {
                let message = format!("the contract of `{column}`: {error}");
                (message, "write a regular expression such as `^[A-Z]{2}$`".to_owned())
            })?;
            if matches.is_some() && kind != Some(TypeName::Text) {
                let message = format!("the contract of `{column}` matches text");
                return Err((message, format!("give `{column}` the type `text`")));
            }
            Ok(Clause {
                column: column.clone(),
                required: said.required,
                min: said.min.as_ref().map(bound).transpose()?,
                max: said.max.as_ref().map(bound).transpose()?,
                one_of: said.one_of.iter().map(bound).collect::<Result<_, _>>()?,
                matches,
            })
        };
        columns.iter().map(clause).collect::<Result<_, _>>().map(Self)
    }

    /// Holds a record against it. `cell` finds the value of a column, when the table has it.
    pub(crate) fn check<'a>(
        &self,
        fields: &Fields,
        cell: impl Fn(&str) -> Option<Seen<'a>>,
    ) -> Result<(), Fault> {
        let Some(Broken { column, expected }) = self.broken(cell) else { return Ok(()) };
        let reason = match expected {
            None => format!("`{column}` has no value"),
            Some(expected) => {
                let value = fields.get(column).map_or_else(String::new, shown);
                format!("`{column}` must be {expected}, not {value}")
            }
        };
        Err(Fault::new("contract", reason))
    }

    /// The first clause that does not hold.
    pub(crate) fn broken<'a>(&self, cell: impl Fn(&str) -> Option<Seen<'a>>) -> Option<Broken<'_>> {
        for clause in &self.0 {
            let column = clause.column.as_str();
            let Some(seen) = cell(column).filter(|seen| *seen != Seen::Null) else {
                if clause.required {
                    return Some(Broken { column, expected: None });
                }
                continue;
            };
            if let Err(expected) = clause.holds(seen) {
                return Some(Broken { column, expected: Some(expected) });
            }
        }
        None
    }
}

/// A clause that does not hold.
pub(crate) struct Broken<'a> {
    column: &'a str,
    /// What its value should have been; nothing when there is none.
    expected: Option<String>,
}

impl Clause {
    /// Otherwise what was expected.
    fn holds(&self, seen: Seen<'_>) -> Result<(), String> {
        if let Some(min) = &self.min
            && order(seen, min.seen()) == Some(Ordering::Less)
        {
            return Err("at least the contract's `min`".to_owned());
        }
        if let Some(max) = &self.max
            && order(seen, max.seen()) == Some(Ordering::Greater)
        {
            return Err("at most the contract's `max`".to_owned());
        }
        if !self.one_of.is_empty() && !self.one_of.iter().any(|one| one.seen() == seen) {
            return Err("one of the contract's values".to_owned());
        }
        if let (Some(matches), Seen::Text(text)) = (&self.matches, seen)
            && !matches.is_match(text)
        {
            return Err(format!("text that matches {matches}"));
        }
        Ok(())
    }
}

fn order(left: Seen<'_>, right: Seen<'_>) -> Option<Ordering> {
    match (left, right) {
        (Seen::Int(left), Seen::Int(right)) => Some(left.cmp(&right)),
        (Seen::Float(left), Seen::Float(right)) => left.partial_cmp(&right),
        (Seen::Text(left), Seen::Text(right)) => Some(left.cmp(right)),
        (Seen::Bool(left), Seen::Bool(right)) => Some(left.cmp(&right)),
        _ => None,
    }
}
