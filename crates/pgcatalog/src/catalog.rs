//! What do clients see when they ask what is here? The part of `pg_catalog` and
//! `information_schema` that psql and drivers read, made from the list of tables.
//!
//! Tables are listed under every name that a query may use. Ids are made from names, so that they
//! stay the same from one query to the next.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use datafusion::{
    arrow::{
        array::{ArrayRef, BooleanArray, Int64Array, StringArray, new_null_array},
        datatypes::{DataType, Field, Schema},
        error::ArrowError,
        record_batch::RecordBatch,
    },
    catalog::{MemTable, TableProvider},
    common::DataFusionError,
};
use sextant_core::Digest;
use sextant_data::{LatestTable, TableMeta, bare_names};

use super::relations::{INFORMATION, PG, RELATIONS, Relation};

/// The schema of tables that have a name of their own.
pub(super) const PUBLIC: &str = "public";
/// What the one database is called.
pub(super) const DATABASE: &str = "sextant";
/// What the one user is called.
pub(super) const USER: &str = "sextant";
/// The smallest id that PostgreSQL gives to what users make.
const OID_FIRST: i64 = 16_384;
/// The id of the user.
const USER_OID: &str = "10";

/// A type as clients look it up.
pub(super) struct Type {
    pub oid: i64,
    pub name: &'static str,
    /// As psql writes it.
    pub long: &'static str,
    bytes: i64,
    category: &'static str,
    /// How our own tables call it.
    ours: &'static str,
}

macro_rules! types {
    ($($oid:literal $name:literal $long:literal $bytes:literal $category:literal $ours:literal;)*) => {
        /// The types that columns can have.
        pub(super) const TYPES: &[Type] = &[$(Type {
            oid: $oid, name: $name, long: $long, bytes: $bytes, category: $category, ours: $ours,
        },)*];
    };
}

types! {
    16 "bool" "boolean" 1 "B" "boolean";
    17 "bytea" "bytea" -1 "U" "binary";
    20 "int8" "bigint" 8 "N" "bigint";
    21 "int2" "smallint" 2 "N" "smallint";
    23 "int4" "integer" 4 "N" "int";
    25 "text" "text" -1 "S" "text";
    700 "float4" "real" 4 "N" "real";
    701 "float8" "double precision" 8 "N" "double";
    1082 "date" "date" 4 "D" "date";
    1114 "timestamp" "timestamp without time zone" 8 "D" "timestamp";
    1184 "timestamptz" "timestamp with time zone" 8 "D" "timestamptz";
    1700 "numeric" "numeric" -1 "N" "decimal";
}

/// The type of a column; what has no better form is text.
fn type_of(ours: &str) -> &'static Type {
    let ours = match ours {
        "tinyint" => "smallint",
        other if other.starts_with("decimal(") => "decimal",
        other => other,
    };
    let text = &TYPES[5];
    TYPES.iter().find(|known| known.ours == ours).unwrap_or(text)
}

/// A table under one of its names.
struct Listed<'a> {
    schema: &'a str,
    oid: i64,
    meta: &'a TableMeta,
}

/// All tables, as they were when a query began.
pub(super) struct Tables<'a>(Vec<Listed<'a>>);

impl<'a> Tables<'a> {
    pub fn new(latest: &'a [LatestTable]) -> Self {
        let bare = bare_names(latest);
        let mut listed = Vec::new();
        for table in latest {
            let meta = &table.meta;
            let mut add = |schema: &'a str| {
                listed.push(Listed { schema, oid: oid(&format!("{schema}.{}", meta.table)), meta });
            };
            if bare.get(&meta.table) == Some(&1) {
                add(PUBLIC);
            }
            if meta.asset.folder() == "sources" {
                add(meta.asset.stem());
            }
        }
        Self(listed)
    }

    /// Schema and name of every table, under every name that a query may use.
    pub fn names(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|table| (table.schema, table.meta.table.as_str()))
    }

    /// The table of that name.
    pub fn find(&self, schema: Option<&str>, name: &str) -> Option<&'a TableMeta> {
        self.listed(schema, name).map(|table| table.meta)
    }

    fn listed(&self, schema: Option<&str>, name: &str) -> Option<&Listed<'a>> {
        let schema = schema.unwrap_or(PUBLIC);
        self.0.iter().find(|table| table.schema == schema && table.meta.table == name)
    }

    /// The id of a table or a catalog relation, by its written name.
    pub fn oid(&self, name: &str) -> Option<i64> {
        let name = name.replace('"', "");
        let (schema, name) =
            name.split_once('.').map_or((None, name.as_str()), |(s, n)| (Some(s), n));
        relation(schema, name)
            .map(|relation| relation.oid)
            .or_else(|| self.listed(schema, name).map(|table| table.oid))
    }

    /// The ids of the tables that need no schema before their name.
    pub fn visible(&self) -> BTreeSet<i64> {
        self.0.iter().filter(|table| table.schema == PUBLIC).map(|table| table.oid).collect()
    }

    /// The rows of a relation, as a table.
    pub fn build(&self, relation: &Relation) -> Result<Arc<dyn TableProvider>, DataFusionError> {
        let batch = batch(relation.columns, &self.rows(relation.schema, relation.name))?;
        Ok(Arc::new(MemTable::try_new(batch.schema(), vec![vec![batch]])?))
    }

    fn schemas(&self) -> BTreeMap<&str, i64> {
        let ours = self.0.iter().map(|table| (table.schema, oid(table.schema)));
        let known = [(PG, 11), (INFORMATION, 13_000), (PUBLIC, 2200)];
        ours.chain(known).collect()
    }

    fn rows(&self, schema: &str, name: &str) -> Vec<Cells> {
        let schemas = self.schemas();
        match (schema, name) {
            (PG, "pg_namespace") => schemas
                .iter()
                .map(|(name, oid)| cells(&[("oid", &oid.to_string()), ("nspname", name)]))
                .collect(),
            (PG, "pg_class") => self.0.iter().map(|table| class(table, &schemas)).collect(),
            (PG, "pg_tables") => self
                .0
                .iter()
                .map(|t| cells(&[("schemaname", t.schema), ("tablename", &t.meta.table)]))
                .collect(),
            (PG, "pg_attribute") => self.0.iter().flat_map(attributes).collect(),
            (PG, "pg_type") => TYPES.iter().map(type_row).collect(),
            (PG, "pg_database") => vec![cells(&[("oid", "1"), ("datname", DATABASE)])],
            (PG, "pg_am") => vec![cells(&[("oid", "2"), ("amname", "heap"), ("amtype", "t")])],
            (PG, "pg_roles" | "pg_user") => {
                vec![cells(&[("oid", USER_OID), ("rolname", USER), ("usename", USER)])]
            }
            (INFORMATION, "schemata") => schemas
                .keys()
                .map(|name| cells(&[("catalog_name", DATABASE), ("schema_name", name)]))
                .collect(),
            (INFORMATION, "tables") => self
                .0
                .iter()
                .map(|t| cells(&[("table_schema", t.schema), ("table_name", &t.meta.table)]))
                .collect(),
            (INFORMATION, "columns") => self.0.iter().flat_map(columns).collect(),
            _ => Vec::new(),
        }
    }
}

fn oid(name: &str) -> i64 {
    let raw = Digest::of(name);
    let raw = raw.as_raw();
    let number = i64::from(u32::from_be_bytes([raw[0], raw[1], raw[2], raw[3]]) >> 2);
    OID_FIRST + number
}

/// The relation of that name. Without a schema, only those of `pg_catalog` are found.
pub(super) fn relation(schema: Option<&str>, name: &str) -> Option<&'static Relation> {
    let schema = schema.unwrap_or(PG);
    RELATIONS.iter().find(|relation| relation.schema == schema && relation.name == name)
}

/// Values of a row by the names of their columns; the others have their default.
type Cells = BTreeMap<&'static str, String>;

fn cells(values: &[(&'static str, &str)]) -> Cells {
    values.iter().map(|(name, value)| (*name, (*value).to_owned())).collect()
}

fn class(table: &Listed<'_>, schemas: &BTreeMap<&str, i64>) -> Cells {
    let schema = schemas.get(table.schema).copied().unwrap_or_default().to_string();
    cells(&[
        ("oid", &table.oid.to_string()),
        ("relname", &table.meta.table),
        ("relnamespace", &schema),
        ("relfilenode", &table.oid.to_string()),
        ("reltuples", &table.meta.rows.to_string()),
        ("relnatts", &table.meta.columns.len().to_string()),
    ])
}

fn attributes(table: &Listed<'_>) -> Vec<Cells> {
    let attribute = |(index, column): (usize, &sextant_data::Column)| {
        let of = type_of(&column.data_type);
        cells(&[
            ("attrelid", &table.oid.to_string()),
            ("attname", &column.name),
            ("atttypid", &of.oid.to_string()),
            ("attlen", &of.bytes.to_string()),
            ("attnum", &(index + 1).to_string()),
        ])
    };
    table.meta.columns.iter().enumerate().map(attribute).collect()
}

fn columns(table: &Listed<'_>) -> Vec<Cells> {
    let column = |(index, column): (usize, &sextant_data::Column)| {
        let of = type_of(&column.data_type);
        cells(&[
            ("table_schema", table.schema),
            ("table_name", &table.meta.table),
            ("column_name", &column.name),
            ("ordinal_position", &(index + 1).to_string()),
            ("data_type", of.long),
            ("udt_name", of.name),
        ])
    };
    table.meta.columns.iter().enumerate().map(column).collect()
}

fn type_row(of: &Type) -> Cells {
    cells(&[
        ("oid", &of.oid.to_string()),
        ("typname", of.name),
        ("typlen", &of.bytes.to_string()),
        ("typcategory", of.category),
    ])
}

/// A batch from the columns of a relation (`name:type` or `name:type=default`) and its rows.
fn batch(spec: &str, rows: &[Cells]) -> Result<RecordBatch, ArrowError> {
    let mut fields = Vec::new();
    let mut arrays: Vec<ArrayRef> = Vec::new();
    for column in spec.split_whitespace() {
        let (name, rest) = column.split_once(':').unwrap_or((column, "t"));
        let (of, default) = rest.split_once('=').map_or((rest, None), |(of, d)| (of, Some(d)));
        let value =
            |row: &Cells| row.get(name).cloned().or(default.map(|text| text.replace('~', " ")));
        let values = rows.iter().map(value);
        let array: ArrayRef = match of {
            "i" => Arc::new(values.map(|v| v?.parse().ok()).collect::<Int64Array>()),
            "l" => {
                let item = Arc::new(Field::new("item", DataType::Utf8, true));
                new_null_array(&DataType::List(item), rows.len())
            }
            "b" => Arc::new(values.map(|v| Some(v? == "t")).collect::<BooleanArray>()),
            _ => Arc::new(values.collect::<StringArray>()),
        };
        let of: DataType = array.data_type().clone();
        fields.push(Field::new(name, of, true));
        arrays.push(array);
    }
    RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays)
}
