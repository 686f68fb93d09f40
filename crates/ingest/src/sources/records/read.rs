//! Which records are in a file? Each becomes the JSON of its fields with its place; what cannot be
//! cut into fields is kept as it stands, and goes to quarantine.

use std::{collections::BTreeMap, io::BufRead as _, path::Path, sync::Arc};

use datafusion::{
    arrow::{
        array::RecordBatch,
        datatypes::{DataType, SchemaRef},
        ipc::reader::{FileReader, StreamReader},
    },
    parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder,
};
use serde_json::{Map, Value};

use super::{RecordsConfig, RecordsFormat};
use crate::{
    arrival::{Format, Record, instant},
    error::{DataError, Result},
};
use sextant_data::json_objects;

/// What an Arrow file begins with; a stream does not.
const ARROW_MAGIC: &[u8] = b"ARROW1";

/// A file, read whole.
#[derive(Default)]
pub(super) struct Contents {
    pub(super) records: Vec<Record>,
    /// The types that the file itself gives its columns.
    pub(super) types: BTreeMap<String, DataType>,
}

/// Reads a file that was opened, by the path it has in the source.
pub(super) fn read(config: &RecordsConfig, path: &str, bytes: &[u8]) -> Result<Contents> {
    match format_of(config, path)? {
        RecordsFormat::Csv => of_csv(config, path, bytes),
        RecordsFormat::Parquet => {
            let bytes = bytes.to_vec();
            let unreadable = |error: &dyn std::fmt::Display| damaged(path, error);
            let reader = ParquetRecordBatchReaderBuilder::try_new(bytes::Bytes::from(bytes))
                .and_then(ParquetRecordBatchReaderBuilder::build)
                .map_err(|error| unreadable(&error))?;
            let schema = datafusion::arrow::array::RecordBatchReader::schema(&reader);
            let batches = reader.collect::<Result<Vec<_>, _>>();
            of_batches(path, &schema, batches.map_err(|error| unreadable(&error))?)
        }
        RecordsFormat::Arrow => of_arrow(path, bytes),
        RecordsFormat::Jsonl | RecordsFormat::Records => Ok(of_lines(path, bytes)),
    }
}

/// What this file holds.
fn format_of(config: &RecordsConfig, path: &str) -> Result<RecordsFormat> {
    if config.format != RecordsFormat::Records {
        return Ok(config.format);
    }
    let extension = Path::new(path).extension().and_then(|text| text.to_str());
    match extension.unwrap_or_default().to_ascii_lowercase().as_str() {
        "csv" | "tsv" => Ok(RecordsFormat::Csv),
        "jsonl" | "ndjson" => Ok(RecordsFormat::Jsonl),
        "parquet" => Ok(RecordsFormat::Parquet),
        "arrow" | "feather" | "ipc" => Ok(RecordsFormat::Arrow),
        _ => Err(DataError::SourceFile {
            path: path.into(),
            source: std::io::Error::other(
                "its extension is none of csv, tsv, jsonl, ndjson, parquet, arrow, feather, ipc",
            ),
        }),
    }
}

fn damaged(path: &str, error: &dyn std::fmt::Display) -> DataError {
    let source = std::io::Error::new(std::io::ErrorKind::InvalidData, error.to_string());
    DataError::SourceFile { path: path.into(), source }
}

fn record(path: &Arc<str>, offset: usize, format: Format, text: String) -> Record {
    let offset = i64::try_from(offset).unwrap_or(i64::MAX);
    Record { partition: Arc::clone(path), offset, arrived_at: 0, format, payload: text.into() }
}

fn of_lines(path: &str, bytes: &[u8]) -> Contents {
    let path: Arc<str> = path.into();
    let lines = bytes.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii).enumerate();
    let records = lines.filter(|(_, line)| !line.is_empty()).map(|(number, line)| {
        record(&path, number + 1, Format::Json, String::from_utf8_lossy(line).into_owned())
    });
    Contents { records: records.collect(), types: BTreeMap::new() }
}

fn of_csv(config: &RecordsConfig, path: &str, bytes: &[u8]) -> Result<Contents> {
    let tabs = config.delimiter == ',' && path.to_ascii_lowercase().ends_with(".tsv");
    let delimiter = if tabs { b'\t' } else { config.delimiter as u8 };
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .delimiter(delimiter)
        .quote(config.quote as u8)
        .from_reader(bytes);
    let name: Arc<str> = path.into();
    let mut header: Option<Vec<String>> = None;
    let mut records = Vec::new();
    let mut row = csv::ByteRecord::new();
    while reader.read_byte_record(&mut row).map_err(|error| damaged(path, &error))? {
        let line = row.position().map_or(0, |place| place.line() as usize);
        if header.is_none() {
            let first = row.iter().enumerate().map(|(at, field)| {
                let named = String::from_utf8_lossy(field).trim().to_owned();
                if config.header { named } else { format!("column_{}", at + 1) }
            });
            header = Some(first.collect());
            if config.header {
                continue;
            }
        }
        let columns = header.as_deref().unwrap_or_default();
        records.push(match fields(config, columns, &row) {
            Some(fields) => record(&name, line, Format::Json, Value::Object(fields).to_string()),
            None => {
                let raw: Vec<_> = row.iter().map(String::from_utf8_lossy).collect();
                let text = raw.join(&char::from(delimiter).to_string());
                record(&name, line, Format::Raw, text)
            }
        });
    }
    Ok(Contents { records, types: BTreeMap::new() })
}

/// The fields of a line; `None` when it has not as many as the header or is no text.
fn fields(
    config: &RecordsConfig,
    columns: &[String],
    row: &csv::ByteRecord,
) -> Option<Map<String, Value>> {
    if row.len() != columns.len() {
        return None;
    }
    let mut fields = Map::new();
    for (column, field) in columns.iter().zip(row) {
        let text = std::str::from_utf8(field).ok()?;
        let none = config.null_words.iter().any(|word| word == text);
        let value = if none { Value::Null } else { Value::String(text.to_owned()) };
        fields.insert(column.clone(), value);
    }
    Some(fields)
}

fn of_arrow(path: &str, bytes: &[u8]) -> Result<Contents> {
    let unreadable = |error: datafusion::arrow::error::ArrowError| damaged(path, &error);
    let mut start = bytes;
    let is_file = start.fill_buf().is_ok_and(|head| head.starts_with(ARROW_MAGIC));
    let (schema, batches) = if is_file {
        let reader = FileReader::try_new(std::io::Cursor::new(bytes), None).map_err(unreadable)?;
        (reader.schema(), reader.collect::<Result<Vec<_>, _>>())
    } else {
        let reader = StreamReader::try_new(bytes, None).map_err(unreadable)?;
        (reader.schema(), reader.collect::<Result<Vec<_>, _>>())
    };
    of_batches(path, &schema, batches.map_err(unreadable)?)
}

/// Typed rows go the way of all others: as JSON, with the types that the file gave them.
fn of_batches(path: &str, schema: &SchemaRef, batches: Vec<RecordBatch>) -> Result<Contents> {
    let name: Arc<str> = path.into();
    let mut types = BTreeMap::new();
    for field in schema.fields() {
        types.insert(field.name().clone(), kept_as(field.data_type()));
    }
    let rows = json_objects(&batches)?.into_iter().enumerate();
    let records = rows.map(|(number, row)| {
        record(&name, number + 1, Format::Json, Value::Object(row).to_string())
    });
    Ok(Contents { records: records.collect(), types })
}

/// The type of a column in the table. Decimals, lists and structures are kept as text.
fn kept_as(data_type: &DataType) -> DataType {
    match data_type {
        DataType::Boolean => DataType::Boolean,
        DataType::Float16 | DataType::Float32 | DataType::Float64 => DataType::Float64,
        DataType::Date32 | DataType::Date64 => DataType::Date32,
        DataType::Timestamp(_, _) => instant(),
        DataType::Dictionary(_, value) => kept_as(value),
        whole if whole.is_integer() => DataType::Int64,
        _ => DataType::Utf8,
    }
}
