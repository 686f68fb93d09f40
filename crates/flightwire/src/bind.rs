//! Which values did a client bind to a statement? They come as a stream of Arrow's messages, which
//! is read with every length checked: a header may claim anything.

use std::{collections::HashMap, sync::Arc};

use arrow::{
    array::RecordBatch,
    buffer::Buffer,
    datatypes::SchemaRef,
    error::ArrowError,
    ipc::{
        MessageHeader, convert::try_schema_from_flatbuffer_bytes, reader::read_record_batch,
        root_as_message,
    },
};

use crate::{error::FlightError, messages::Data};

/// The one row of values that a statement with so many parameters needs.
pub(crate) fn row(messages: &[Data], parameters: usize) -> Result<RecordBatch, FlightError> {
    let wrong =
        |error: ArrowError| FlightError::Malformed(format!("the values cannot be read: {error}"));
    let mut batches = batches(messages).map_err(wrong)?;
    batches.retain(|batch| batch.num_rows() > 0);
    let rows: usize = batches.iter().map(RecordBatch::num_rows).sum();
    let (Some(row), 1) = (batches.pop(), rows) else {
        let text = format!("a query takes one row of values, and {rows} were bound");
        return Err(FlightError::Parameters(text));
    };
    if row.num_columns() == parameters {
        return Ok(row);
    }
    let columns = row.num_columns();
    let text =
        format!("the statement has {parameters} parameters, and {columns} values were bound");
    Err(FlightError::Parameters(text))
}

/// The batches of a stream.
pub(crate) fn batches(messages: &[Data]) -> Result<Vec<RecordBatch>, ArrowError> {
    let mut schema: Option<SchemaRef> = None;
    let mut batches = Vec::new();
    for data in messages {
        // A client may send its descriptor in a message of its own.
        if data.header.is_empty() {
            continue;
        }
        let refused = |text: &str| ArrowError::IpcError(text.to_owned());
        let message = root_as_message(&data.header).map_err(|error| refused(&error.to_string()))?;
        match (message.header_type(), &schema) {
            (MessageHeader::Schema, None) => {
                schema = Some(Arc::new(try_schema_from_flatbuffer_bytes(&data.header)?));
            }
            (MessageHeader::RecordBatch, Some(schema)) => {
                let batch = message.header_as_record_batch();
                let batch = batch.ok_or_else(|| refused("a batch without a header"))?;
                // What was compressed may be of any size.
                if batch.compression().is_some() {
                    return Err(refused("compressed values are not read"));
                }
                let body = Buffer::from(data.body.clone());
                let (schema, version) = (Arc::clone(schema), message.version());
                let none = HashMap::new();
                batches.push(read_record_batch(&body, batch, schema, &none, None, &version)?);
            }
            _ => return Err(refused("neither a schema nor, after it, rows without dictionaries")),
        }
    }
    Ok(batches)
}
