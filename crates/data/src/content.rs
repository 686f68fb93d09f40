//! Are two tables the same? Equal columns and equal rows, in any order: one digest says so, so that
//! a rebuild that changes nothing is seen to change nothing.
//!
//! A table that grows is not read again for each batch: its content is a chain. Each commit's
//! content is the digest of the content before it, of what was done (a word such as `append`) and
//! of the digest of the rows that were handed over. Equal histories give equal contents; tables
//! with equal rows that grew in other steps do not.
//!
//! A whole table's rows are hashed in arrow's row format, the rows of a batch in arrow's format of
//! streams. Ids of tables may change when these formats do, which costs one rebuild; data is never
//! lost by it.
//!
//! A table that is changed in place is not read whole for each change. Its content is chained: the
//! digest of the content before and of what the commit did, which is the digest of every data file
//! it added, the names of those it took away, and the columns when they changed. So a change costs
//! what it writes, the same history gives the same content, and each file can be checked alone. A
//! commit that only arranges the rows anew (compaction, z-order) leaves the content as it is, and
//! a restore gives the content of the version that it restores.

use std::sync::Arc;

use datafusion::arrow::{
    array::{ArrayRef, RecordBatch, RecordBatchOptions},
    compute::cast,
    datatypes::{DataType, Field, Fields, Schema, SchemaRef, TimeUnit},
    error::ArrowError,
    ipc::writer::StreamWriter,
    row::{RowConverter, SortField},
};
use serde::{Deserialize, Serialize};
use sextant_core::{Digest, DigestHasher, canonical_json};

/// Changes when the digest of the same rows would.
const CONTENT_FORMAT: &str = "sextant-table-1";
/// Changes when the digest of the same batch would.
const ROWS_FORMAT: &str = "sextant-rows-1";
/// So many rows of a batch are written out at once to be hashed. Another number makes other digests.
const HASHED_ROWS: usize = 4096;
/// Changes when the content of the same changes would.
const CHAIN_FORMAT: &str = "sextant-chain-1";

/// Changes when the digest of the same commit would.
const CHANGE_FORMAT: &str = "sextant-table-chain-1";

/// What one commit did to a table.
#[derive(Debug, Clone, Default)]
pub(crate) struct Step {
    /// The data files it added: path, size in bytes and digest.
    pub(crate) added: Vec<(String, u64, Digest)>,
    /// The data files it took away.
    pub(crate) removed: Vec<String>,
    /// The columns, when the commit set them.
    pub(crate) columns: Option<Vec<Column>>,
}

/// The content after a commit.
pub(crate) fn chained(previous: Option<&Digest>, mut step: Step) -> serde_json::Result<Digest> {
    step.added.sort();
    step.removed.sort();
    let body = serde_json::json!({
        "format": CHAIN_FORMAT,
        "previous": previous,
        "added": step.added,
        "removed": step.removed,
        "columns": step.columns,
    });
    Ok(Digest::of(canonical_json(&body)?))
}

/// A column as people and the digest see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Its type, in the words of SQL.
    #[serde(rename = "type")]
    pub data_type: String,
}

/// The types that tables are stored with: one text type, one binary type, microseconds, signed
/// integers, no dictionaries; every column may be null.
pub fn stored_schema(schema: &Schema) -> SchemaRef {
    let fields: Vec<Field> = schema.fields().iter().map(|field| stored_field(field)).collect();
    Arc::new(Schema::new(fields))
}

fn stored_field(field: &Field) -> Field {
    Field::new(field.name(), stored_type(field.data_type()), true)
}

fn stored_type(data_type: &DataType) -> DataType {
    match data_type {
        DataType::Utf8View | DataType::LargeUtf8 | DataType::Null => DataType::Utf8,
        DataType::BinaryView | DataType::LargeBinary | DataType::FixedSizeBinary(_) => {
            DataType::Binary
        }
        DataType::UInt8 => DataType::Int16,
        DataType::UInt16 => DataType::Int32,
        DataType::UInt32 | DataType::UInt64 => DataType::Int64,
        DataType::Float16 => DataType::Float32,
        DataType::Date64 => DataType::Date32,
        DataType::Timestamp(_, zone) => {
            DataType::Timestamp(TimeUnit::Microsecond, zone.as_ref().map(|_| "UTC".into()))
        }
        DataType::Dictionary(_, value) => stored_type(value),
        DataType::List(item)
        | DataType::LargeList(item)
        | DataType::ListView(item)
        | DataType::LargeListView(item)
        | DataType::FixedSizeList(item, _) => {
            DataType::List(Arc::new(Field::new("element", stored_type(item.data_type()), true)))
        }
        DataType::Struct(fields) => {
            DataType::Struct(fields.iter().map(|field| stored_field(field)).collect::<Fields>())
        }
        other => other.clone(),
    }
}

/// Casts a batch to the stored types.
///
/// # Errors
/// When a value does not fit.
pub fn to_stored(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch, ArrowError> {
    let columns: Vec<ArrayRef> = batch
        .columns()
        .iter()
        .zip(schema.fields())
        .map(|(column, field)| cast(column, field.data_type()))
        .collect::<Result<_, _>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)
}

/// The columns of a stored schema.
pub fn columns(schema: &Schema) -> Vec<Column> {
    let column = |field: &Arc<Field>| Column {
        name: field.name().clone(),
        data_type: type_name(field.data_type()),
    };
    schema.fields().iter().map(column).collect()
}

/// The name of a type, as users read and write it.
pub fn type_name(data_type: &DataType) -> String {
    match data_type {
        DataType::Utf8 => "text".to_owned(),
        DataType::Binary => "binary".to_owned(),
        DataType::Boolean => "boolean".to_owned(),
        DataType::Int8 => "tinyint".to_owned(),
        DataType::Int16 => "smallint".to_owned(),
        DataType::Int32 => "int".to_owned(),
        DataType::Int64 => "bigint".to_owned(),
        DataType::Float32 => "real".to_owned(),
        DataType::Float64 => "double".to_owned(),
        DataType::Date32 => "date".to_owned(),
        DataType::Timestamp(_, Some(_)) => "timestamptz".to_owned(),
        DataType::Timestamp(_, None) => "timestamp".to_owned(),
        DataType::Decimal128(precision, scale) | DataType::Decimal256(precision, scale) => {
            format!("decimal({precision},{scale})")
        }
        DataType::List(item) => format!("list({})", type_name(item.data_type())),
        DataType::Struct(fields) => {
            let inner: Vec<String> = fields
                .iter()
                .map(|field| format!("{} {}", field.name(), type_name(field.data_type())))
                .collect();
            format!("struct({})", inner.join(", "))
        }
        other => other.to_string().to_lowercase(),
    }
}

/// The digest of the rows, in any order, with their columns.
///
/// # Errors
/// When rows of these types cannot be compared.
pub fn content_digest(schema: &SchemaRef, batches: &[RecordBatch]) -> Result<Digest, ArrowError> {
    let mut hashes: Vec<[u8; 32]> = Vec::new();
    if schema.fields().is_empty() {
        let rows = batches.iter().map(RecordBatch::num_rows).sum();
        hashes.resize(rows, *Digest::of("").as_raw());
    } else {
        let fields =
            schema.fields().iter().map(|field| SortField::new(field.data_type().clone())).collect();
        let converter = RowConverter::new(fields)?;
        for batch in batches {
            let rows = converter.convert_columns(batch.columns())?;
            hashes.extend(rows.iter().map(|row| *Digest::of(row.as_ref()).as_raw()));
        }
    }
    hashes.sort_unstable();
    let mut hasher = DigestHasher::new();
    hasher.update(CONTENT_FORMAT);
    for column in columns(schema) {
        hasher.update([0]).update(column.name).update([0]).update(column.data_type);
    }
    hasher.update([0, 0]);
    for hash in &hashes {
        hasher.update(hash);
    }
    Ok(hasher.finish())
}

/// The digest of a batch of rows in their order, with their columns.
///
/// # Errors
/// When rows of these types cannot be written.
pub fn rows_digest(rows: &RecordBatch) -> Result<Digest, ArrowError> {
    let mut hasher = DigestHasher::new();
    hasher.update(ROWS_FORMAT);
    let mut writer = StreamWriter::try_new(hasher, &rows.schema())?;
    for from in (0..rows.num_rows()).step_by(HASHED_ROWS) {
        writer.write(&rows.slice(from, HASHED_ROWS.min(rows.num_rows() - from)))?;
    }
    Ok(writer.into_inner()?.finish())
}

/// The content of a table after a change to the content before.
pub fn after_change(before: Option<&Digest>, what: &str, change: &Digest) -> Digest {
    let mut hasher = DigestHasher::new();
    hasher.update(CHANGE_FORMAT).update([0]).update(what).update([0]);
    if let Some(before) = before {
        hasher.update(before.as_raw());
    }
    hasher.update(change.as_raw());
    hasher.finish()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use datafusion::arrow::array::{Int64Array, StringArray, StringViewArray};

    use super::*;

    fn batch(names: ArrayRef, numbers: &[i64]) -> RecordBatch {
        let numbers: ArrayRef = Arc::new(Int64Array::from(numbers.to_vec()));
        RecordBatch::try_from_iter([("name", names), ("number", numbers)]).unwrap()
    }

    fn digest(batches: &[RecordBatch]) -> Digest {
        let schema = stored_schema(&batches[0].schema());
        let stored: Vec<_> = batches.iter().map(|b| to_stored(b, &schema).unwrap()).collect();
        content_digest(&schema, &stored).unwrap()
    }

    #[test]
    fn order_batches_and_text_encoding_do_not_matter_but_rows_do() {
        let whole = batch(Arc::new(StringArray::from(vec!["a", "b", "a"])), &[1, 2, 1]);
        let first = batch(Arc::new(StringViewArray::from(vec!["a", "a"])), &[1, 1]);
        let second = batch(Arc::new(StringViewArray::from(vec!["b"])), &[2]);
        assert_eq!(digest(std::slice::from_ref(&whole)), digest(&[second.clone(), first.clone()]));
        let once = batch(Arc::new(StringArray::from(vec!["a", "b"])), &[1, 2]);
        assert_ne!(digest(&[whole]), digest(&[once]));
        assert_ne!(digest(&[first]), digest(&[second]));
    }
}
