//! What is here? Clients ask for catalogs, schemas, tables, keys and what the server can do; each
//! answer is a small table whose columns `FlightSql.proto` prescribes.

use std::{collections::BTreeSet, sync::Arc};

use arrow::{
    array::{
        ArrayRef, BinaryArray, BooleanArray, Int32Array, Int64Array, RecordBatch,
        RecordBatchOptions, StringArray, UInt32Array, UnionArray, new_empty_array,
    },
    buffer::ScalarBuffer,
    datatypes::{DataType, Field, Schema, SchemaRef, UnionFields, UnionMode},
    error::ArrowError,
};
use sextant_core::Cancel;

use crate::{
    batches,
    error::FlightError,
    limits,
    messages::{GetSchemas, GetTables},
    port::{Fault, FlightEngine, TableName},
};

/// The one kind of table.
const TABLE: &str = "TABLE";

/// A question about what is here.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Listing {
    Catalogs,
    Schemas(GetSchemas),
    Tables(GetTables),
    TableTypes,
    /// The numbers that are asked for; none means all.
    SqlInfo(Vec<u32>),
    /// No table has a key.
    PrimaryKeys,
    ForeignKeys,
}

fn text(name: &str, nullable: bool) -> Field {
    Field::new(name, DataType::Utf8, nullable)
}

impl Listing {
    /// The columns of the answer.
    pub fn columns(&self) -> SchemaRef {
        let fields = match self {
            Self::Catalogs => vec![text("catalog_name", false)],
            Self::Schemas(_) => vec![text("catalog_name", true), text("db_schema_name", false)],
            Self::Tables(asked) => {
                let mut fields = vec![
                    text("catalog_name", true),
                    text("db_schema_name", true),
                    text("table_name", false),
                    text("table_type", false),
                ];
                if asked.with_columns {
                    fields.push(Field::new("table_schema", DataType::Binary, false));
                }
                fields
            }
            Self::TableTypes => vec![text("table_type", false)],
            Self::SqlInfo(_) => vec![
                Field::new("info_name", DataType::UInt32, false),
                Field::new("value", DataType::Union(info_kinds(), UnionMode::Dense), false),
            ],
            Self::PrimaryKeys => vec![
                text("catalog_name", true),
                text("db_schema_name", true),
                text("table_name", false),
                text("column_name", false),
                text("key_name", true),
                Field::new("key_sequence", DataType::Int32, false),
            ],
            Self::ForeignKeys => foreign_keys(),
        };
        Arc::new(Schema::new(fields))
    }

    /// The answer.
    pub fn answer(&self, engine: &dyn FlightEngine, cancel: &Cancel) -> Result<RecordBatch, Fault> {
        let columns = self.columns();
        let arrays: Vec<ArrayRef> = match self {
            Self::Catalogs => vec![texts([engine.catalog()])],
            Self::Schemas(asked) => schemas(asked, engine, cancel)?,
            Self::Tables(asked) => tables(asked, engine, cancel)?,
            Self::TableTypes => vec![texts([TABLE])],
            Self::SqlInfo(asked) => sql_info(asked).map_err(FlightError::from)?,
            Self::PrimaryKeys | Self::ForeignKeys => {
                columns.fields().iter().map(|field| new_empty_array(field.data_type())).collect()
            }
        };
        let options = RecordBatchOptions::new();
        let batch = RecordBatch::try_new_with_options(columns, arrays, &options);
        Ok(batch.map_err(FlightError::from)?)
    }
}

fn foreign_keys() -> Vec<Field> {
    let side = |prefix: &str| {
        [
            text(&format!("{prefix}_catalog_name"), true),
            text(&format!("{prefix}_db_schema_name"), true),
            text(&format!("{prefix}_table_name"), false),
            text(&format!("{prefix}_column_name"), false),
        ]
    };
    let mut fields: Vec<Field> = side("pk").into_iter().chain(side("fk")).collect();
    fields.extend([
        Field::new("key_sequence", DataType::Int32, false),
        text("fk_key_name", true),
        text("pk_key_name", true),
        Field::new("update_rule", DataType::UInt8, false),
        Field::new("delete_rule", DataType::UInt8, false),
    ]);
    fields
}

fn texts<'a>(values: impl IntoIterator<Item = &'a str>) -> ArrayRef {
    Arc::new(StringArray::from_iter_values(values))
}

/// Whether a filter by catalog leaves ours.
fn in_catalog(asked: Option<&String>, engine: &dyn FlightEngine) -> bool {
    asked.is_none_or(|name| name == engine.catalog())
}

fn schemas(
    asked: &GetSchemas,
    engine: &dyn FlightEngine,
    cancel: &Cancel,
) -> Result<Vec<ArrayRef>, Fault> {
    let mut found = BTreeSet::new();
    if in_catalog(asked.catalog.as_ref(), engine) {
        let names = engine.tables(cancel)?.into_iter().map(|name| name.schema);
        found.extend(names.filter(|name| like(asked.schema_pattern.as_ref(), name)));
    }
    let catalog = found.iter().map(|_| engine.catalog());
    Ok(vec![texts(catalog), texts(found.iter().map(String::as_str))])
}

fn tables(
    asked: &GetTables,
    engine: &dyn FlightEngine,
    cancel: &Cancel,
) -> Result<Vec<ArrayRef>, Fault> {
    let of_kind = asked.types.is_empty() || asked.types.iter().any(|kind| kind == TABLE);
    let mut found: Vec<TableName> = Vec::new();
    if of_kind && in_catalog(asked.catalog.as_ref(), engine) {
        found = engine.tables(cancel)?;
        found.retain(|name| {
            like(asked.schema_pattern.as_ref(), &name.schema)
                && like(asked.table_pattern.as_ref(), &name.table)
        });
        found.sort();
    }
    let mut arrays = vec![
        texts(found.iter().map(|_| engine.catalog())),
        texts(found.iter().map(|name| name.schema.as_str())),
        texts(found.iter().map(|name| name.table.as_str())),
        texts(found.iter().map(|_| TABLE)),
    ];
    if asked.with_columns {
        let described = |name: &TableName| -> Result<_, Fault> {
            let columns = batches::plain(&*engine.columns(name, cancel)?);
            Ok(batches::schema_alone(&columns).map_err(FlightError::from)?)
        };
        let columns: Vec<_> = found.iter().map(described).collect::<Result<_, _>>()?;
        arrays.push(Arc::new(BinaryArray::from_iter_values(columns)));
    }
    Ok(arrays)
}

/// SQL's LIKE without an escape: `%` is any text, `_` any letter. Nothing asked matches everything.
fn like(pattern: Option<&String>, text: &str) -> bool {
    let Some(pattern) = pattern else { return true };
    let (pattern, text): (Vec<char>, Vec<char>) =
        (pattern.chars().collect(), text.chars().collect());
    let (mut at, mut read) = (0, 0);
    // Where the last `%` stood, and how much of the text it has taken.
    let mut any: Option<(usize, usize)> = None;
    while read < text.len() {
        match pattern.get(at) {
            Some('%') => {
                any = Some((at, read));
                at += 1;
            }
            Some(letter) if *letter == '_' || *letter == text[read] => {
                at += 1;
                read += 1;
            }
            _ => {
                let Some((percent, taken)) = any else { return false };
                any = Some((percent, taken + 1));
                (at, read) = (percent + 1, taken + 1);
            }
        }
    }
    pattern[at..].iter().all(|letter| *letter == '%')
}

/// A fact about the server.
enum Fact {
    Text(&'static str),
    Yes(bool),
    Number(i32),
}

/// What the server says of itself, by the numbers of `SqlInfo`.
const FACTS: &[(u32, Fact)] = &[
    (0, Fact::Text("Sextant")),
    (1, Fact::Text(env!("CARGO_PKG_VERSION"))),
    (2, Fact::Text(arrow::ARROW_VERSION)),
    // Read only, SQL, no Substrait, no transactions, no cancelling by a call, no ingestion.
    (3, Fact::Yes(true)),
    (4, Fact::Yes(true)),
    (5, Fact::Yes(false)),
    (8, Fact::Number(0)),
    (9, Fact::Yes(false)),
    (10, Fact::Yes(false)),
    (11, Fact::Yes(false)),
    // How long a prepared statement is kept, in milliseconds.
    (100, Fact::Number(limits::STATEMENT_IDLE_SECONDS as i32 * 1000)),
    // Names without quotes are made lower case; quotes are double.
    (504, Fact::Number(3)),
    (505, Fact::Text("\"")),
];

/// The kinds of value, in the order that the protocol prescribes.
fn info_kinds() -> UnionFields {
    let list = |item: DataType| DataType::List(Arc::new(Field::new_list_field(item, true)));
    let entries = Field::new(
        "entries",
        DataType::Struct(
            vec![
                Field::new("keys", DataType::Int32, false),
                Field::new("values", list(DataType::Int32), true),
            ]
            .into(),
        ),
        false,
    );
    UnionFields::from_fields(vec![
        text("string_value", false),
        Field::new("bool_value", DataType::Boolean, false),
        Field::new("bigint_value", DataType::Int64, false),
        Field::new("int32_bitmask", DataType::Int32, false),
        Field::new("string_list", list(DataType::Utf8), true),
        Field::new("int32_to_int32_list_map", DataType::Map(Arc::new(entries), false), true),
    ])
}

fn sql_info(asked: &[u32]) -> Result<Vec<ArrayRef>, ArrowError> {
    let wanted = |number: u32| asked.is_empty() || asked.contains(&number);
    let (mut names, mut kinds, mut places) = (Vec::new(), Vec::<i8>::new(), Vec::<i32>::new());
    let (mut words, mut flags, mut numbers) = (Vec::new(), Vec::new(), Vec::new());
    for (number, fact) in FACTS.iter().filter(|(number, _)| wanted(*number)) {
        names.push(*number);
        let (kind, held) = match fact {
            Fact::Text(text) => {
                words.push(*text);
                (0, words.len())
            }
            Fact::Yes(yes) => {
                flags.push(*yes);
                (1, flags.len())
            }
            Fact::Number(number) => {
                numbers.push(*number);
                (3, numbers.len())
            }
        };
        kinds.push(kind);
        places.push(i32::try_from(held - 1).unwrap_or(i32::MAX));
    }
    let fields = info_kinds();
    let empty = |kind: usize| {
        let field = fields.iter().nth(kind).map(|(_, field)| field.data_type().clone());
        new_empty_array(&field.unwrap_or(DataType::Null))
    };
    let children: Vec<ArrayRef> = vec![
        texts(words),
        Arc::new(BooleanArray::from(flags)),
        Arc::new(Int64Array::from(Vec::<i64>::new())),
        Arc::new(Int32Array::from(numbers)),
        empty(4),
        empty(5),
    ];
    let places = Some(ScalarBuffer::from(places));
    let values = UnionArray::try_new(fields.clone(), ScalarBuffer::from(kinds), places, children)?;
    Ok(vec![Arc::new(UInt32Array::from(names)), Arc::new(values)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_those_of_sql() {
        for (pattern, text, expected) in [
            ("", "", true),
            ("%", "", true),
            ("%", "anything", true),
            ("sections", "sections", true),
            ("sections", "section", false),
            ("sec%", "sections", true),
            ("%ons", "sections", true),
            ("%t_o%s", "sections", true),
            ("%t_n%s", "sections", false),
            ("s_ctions", "sections", true),
            ("_", "", false),
            ("%a%a%", "banana", true),
            ("%a%b", "banana", false),
            ("é_", "éé", true),
        ] {
            assert_eq!(like(Some(&pattern.to_owned()), text), expected, "{pattern} {text}");
        }
        assert!(like(None, "x"));
    }
}
