//! What must a record be to go into the table? The types that the user wrote down, the key, and
//! what happens to a column that is new.

use std::collections::BTreeMap;

use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::contract::Contract;

/// What happens when a record has a field that is not a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum NewColumn {
    /// The table gets the column.
    #[default]
    Add,
    /// The record goes to quarantine.
    Quarantine,
    /// The field is left out.
    Ignore,
}

/// A column's type in a source file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TypeName {
    /// Any text. Objects and lists are kept as their JSON.
    Text,
    /// A whole number of 64 bits.
    Bigint,
    /// A floating-point number.
    Double,
    /// True or false.
    Boolean,
    /// A day, as `2026-11-23`.
    Date,
    /// A point in time, as RFC 3339.
    Timestamp,
}

impl TypeName {
    pub(crate) fn data_type(self) -> DataType {
        match self {
            Self::Text => DataType::Utf8,
            Self::Bigint => DataType::Int64,
            Self::Double => DataType::Float64,
            Self::Boolean => DataType::Boolean,
            Self::Date => DataType::Date32,
            Self::Timestamp => instant(),
        }
    }
}

/// The type of a point in time.
pub(crate) fn instant() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}

/// What a record must be.
#[derive(Debug, Clone)]
pub(crate) struct Rules {
    /// The columns that the user wrote down.
    pub(crate) schema: BTreeMap<String, TypeName>,
    /// The types that a file gives its own columns; a new column gets them.
    pub(crate) hints: BTreeMap<String, DataType>,
    pub(crate) on_new_column: NewColumn,
    /// What columns must hold beside their types.
    pub(crate) contract: Contract,
    /// The columns that name a row; empty when every record is a row of its own.
    pub(crate) key: Vec<String>,
    /// Columns of our own, filled from the record's place: partition, offset, time.
    pub(crate) places: Places,
    /// Whether text is read as the column's type, as for CSV.
    pub(crate) loose: bool,
}

/// Which columns tell where a row came from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Places {
    pub(crate) partition: Option<&'static str>,
    pub(crate) offset: &'static str,
    pub(crate) arrived_at: Option<&'static str>,
    /// Columns that the way in fills beside the record's own fields.
    pub(crate) filled: &'static [(&'static str, Filled)],
}

/// What a column holds that the way in fills.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Filled {
    Text,
    Bytes,
}

impl Places {
    pub(crate) fn fields(&self) -> Vec<Field> {
        let mut fields = Vec::new();
        if let Some(name) = self.partition {
            fields.push(Field::new(name, DataType::Utf8, true));
        }
        fields.push(Field::new(self.offset, DataType::Int64, true));
        if let Some(name) = self.arrived_at {
            fields.push(Field::new(name, instant(), true));
        }
        fields
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        let own = [self.partition, Some(self.offset), self.arrived_at];
        own.into_iter().flatten().any(|own| own.eq_ignore_ascii_case(name))
    }

    /// Whether the way in fills this column.
    pub(crate) fn fills(&self, name: &str) -> bool {
        self.filled.iter().any(|(filled, _)| *filled == name)
    }
}

impl Rules {
    /// The columns that records fill: the table's own, under the types that the user wrote down.
    pub(crate) fn columns(&self, table: Option<&Schema>) -> SchemaRef {
        let mut fields: Vec<Field> = Vec::new();
        if let Some(table) = table {
            let own = table.fields().iter().filter(|field| !self.places.has(field.name()));
            fields.extend(own.map(|field| field.as_ref().clone()));
        }
        for (name, filled) in self.places.filled {
            let kind = match filled {
                Filled::Text => DataType::Utf8,
                Filled::Bytes => DataType::Binary,
            };
            if !fields.iter().any(|field| field.name() == name) {
                fields.push(Field::new(*name, kind, true));
            }
        }
        for (name, wanted) in &self.schema {
            let known = fields.iter_mut().find(|field| field.name() == name);
            let field = Field::new(name, wanted.data_type(), true);
            match known {
                Some(known) => *known = field,
                None => fields.push(field),
            }
        }
        std::sync::Arc::new(Schema::new(fields))
    }
}
