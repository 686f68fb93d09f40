//! How do rows become messages? Each batch is cast to types that every client reads, cut where it
//! is large, and written as Arrow's stream format has it: a header and the buffers.
//!
//! Dictionaries and views are written out. A client may not know them, and a slice of a view would
//! carry the buffers of the whole.

use std::sync::Arc;

use arrow::{
    array::{Array, RecordBatch, RecordBatchOptions},
    compute::cast,
    datatypes::{DataType, Field, FieldRef, Fields, Schema, SchemaRef},
    error::ArrowError,
    ipc::writer::{
        DictionaryTracker, EncodedData, IpcDataGenerator, IpcWriteContext, IpcWriteOptions,
        write_message,
    },
};
use bytes::Bytes;

use crate::{limits, messages::Data};

/// The columns as clients see them. Each may be null: what a query can prove of its columns is not
/// what the files hold.
pub(crate) fn plain(schema: &Schema) -> SchemaRef {
    let field = |field: &FieldRef| Field::new(field.name(), plain_type(field.data_type()), true);
    Arc::new(Schema::new(schema.fields().iter().map(field).collect::<Fields>()))
}

fn plain_type(of: &DataType) -> DataType {
    let inner = |field: &FieldRef| {
        let plain = Field::new(field.name(), plain_type(field.data_type()), field.is_nullable());
        Arc::new(plain)
    };
    match of {
        DataType::Dictionary(_, value) => plain_type(value),
        DataType::RunEndEncoded(_, values) => plain_type(values.data_type()),
        DataType::Utf8View => DataType::Utf8,
        DataType::BinaryView => DataType::Binary,
        DataType::List(field) | DataType::ListView(field) => DataType::List(inner(field)),
        DataType::LargeList(field) | DataType::LargeListView(field) => {
            DataType::LargeList(inner(field))
        }
        DataType::FixedSizeList(field, size) => DataType::FixedSizeList(inner(field), *size),
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(inner).collect()),
        DataType::Map(field, sorted) => DataType::Map(inner(field), *sorted),
        other => other.clone(),
    }
}

fn schema_data(schema: &Schema) -> EncodedData {
    let mut tracker = DictionaryTracker::new(true);
    let options = IpcWriteOptions::default();
    IpcDataGenerator::default().schema_to_bytes_with_dictionary_tracker(
        schema,
        &mut tracker,
        &options,
    )
}

/// The first message of a stream.
pub(crate) fn first(schema: &Schema) -> Data {
    Data { header: schema_data(schema).ipc_message.into(), ..Data::default() }
}

/// A schema by itself, with its length before it.
pub(crate) fn schema_alone(schema: &Schema) -> Result<Bytes, ArrowError> {
    let mut bytes = Vec::new();
    write_message(&mut bytes, schema_data(schema), &IpcWriteOptions::default())?;
    Ok(bytes.into())
}

/// The messages of a batch with these columns. A batch without rows needs none.
pub(crate) fn encode(batch: &RecordBatch, columns: &SchemaRef) -> Result<Vec<Data>, ArrowError> {
    let cast_to = |(array, field): (&Arc<dyn Array>, &FieldRef)| cast(array, field.data_type());
    let arrays = batch.columns().iter().zip(columns.fields()).map(cast_to);
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    let arrays = arrays.collect::<Result<_, _>>()?;
    let batch = RecordBatch::try_new_with_options(Arc::clone(columns), arrays, &options)?;
    let mut messages = Vec::new();
    let mut waiting = vec![batch];
    while let Some(batch) = waiting.pop() {
        let rows = batch.num_rows();
        if rows > 1 && bytes(&batch)? > limits::BATCH_BYTES {
            // The last is taken first, so the later half goes in first.
            waiting.push(batch.slice(rows / 2, rows - rows / 2));
            waiting.push(batch.slice(0, rows / 2));
        } else if rows > 0 {
            messages.push(one(&batch)?);
        }
    }
    Ok(messages)
}

fn bytes(batch: &RecordBatch) -> Result<usize, ArrowError> {
    batch.columns().iter().map(|column| column.to_data().get_slice_memory_size()).sum()
}

fn one(batch: &RecordBatch) -> Result<Data, ArrowError> {
    let mut tracker = DictionaryTracker::new(true);
    let (options, mut context) = (IpcWriteOptions::default(), IpcWriteContext::default());
    let generator = IpcDataGenerator::default();
    let (_, data) = generator.encode(batch, &mut tracker, &options, &mut context)?;
    Ok(Data { header: data.ipc_message.into(), body: data.arrow_data.into(), ..Data::default() })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use arrow::{
        array::{
            AsArray as _, DictionaryArray, Int64Array, ListArray, StringArray, StringViewArray,
        },
        datatypes::{Int32Type, Int64Type},
    };

    use super::*;
    use crate::bind;

    /// What a client would read: the same decoder as for values that clients send.
    fn read(messages: &[Data], columns: &SchemaRef) -> Vec<RecordBatch> {
        let mut all = vec![first(columns)];
        all.extend_from_slice(messages);
        bind::batches(&all).unwrap()
    }

    #[test]
    fn what_clients_may_not_know_is_written_out() {
        let dictionary: DictionaryArray<Int32Type> = vec!["a", "b", "a"].into_iter().collect();
        let lists: ListArray = ListArray::from_iter_primitive::<Int64Type, _, _>(vec![
            Some(vec![Some(1)]),
            None,
            None,
        ]);
        let batch = RecordBatch::try_from_iter([
            ("dictionary", Arc::new(dictionary) as Arc<dyn Array>),
            ("view", Arc::new(StringViewArray::from(vec!["x", "a longer text than fits", "z"]))),
            ("list", Arc::new(lists)),
        ])
        .unwrap();
        let columns = plain(&batch.schema());
        let found = read(&encode(&batch, &columns).unwrap(), &columns);
        assert_eq!(found[0].column(0).as_string::<i32>(), &StringArray::from(vec!["a", "b", "a"]));
        assert_eq!(found[0].column(1).as_string::<i32>().value(1), "a longer text than fits");
        assert_eq!(found[0].column(2).null_count(), 2);
    }

    #[test]
    fn large_batches_are_cut_and_keep_their_order() {
        let rows = 5000;
        let text = "x".repeat(1000);
        let numbers = Int64Array::from_iter_values(0..rows);
        let texts = StringArray::from_iter_values((0..rows).map(|_| &text));
        let batch = RecordBatch::try_from_iter([
            ("n", Arc::new(numbers) as Arc<dyn Array>),
            ("t", Arc::new(texts)),
        ])
        .unwrap();
        let columns = plain(&batch.schema());
        let messages = encode(&batch, &columns).unwrap();
        assert!(messages.len() > 4, "{}", messages.len());
        assert!(messages.iter().all(|message| message.body.len() <= limits::BATCH_BYTES + 4096));
        let found: Vec<i64> = read(&messages, &columns)
            .iter()
            .flat_map(|batch| batch.column(0).as_primitive::<Int64Type>().values().to_vec())
            .collect();
        assert_eq!(found, (0..rows).collect::<Vec<_>>());
        assert!(encode(&batch.slice(0, 0), &columns).unwrap().is_empty());
    }
}
