//! Which functions on text may SQL call? The layer above owns the parsers; this is the port through
//! which it plugs them in, and their shape in SQL.

use std::{
    fmt,
    sync::{Arc, LazyLock},
};

use datafusion::{
    arrow::{
        array::{
            Array, ArrayRef, AsArray, Int32Builder, Int64Builder, ListBuilder, StringBuilder,
            StructArray,
        },
        buffer::{NullBuffer, OffsetBuffer},
        compute::cast,
        datatypes::{DataType, Field, Fields, Int64Type},
    },
    common::{DataFusionError, Result},
    logical_expr::{ColumnarValue, ScalarUDF, Volatility, create_udf},
    prelude::SessionContext,
};

/// One section of a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TextSection {
    /// Its place among the sections, from 0.
    pub ordinal: i32,
    /// The level of its heading; 0 for text before the first heading.
    pub level: i32,
    /// Its heading, empty for text before the first heading.
    pub heading: String,
    /// The headings above it and its own, joined by ` > `.
    pub breadcrumb: String,
    /// Its text without the heading.
    pub body: String,
    /// Where it starts in the document, in bytes.
    pub byte_start: i64,
    /// Where it ends in the document, in bytes.
    pub byte_end: i64,
}

/// The functions on text that SQL may call. Pure: the same text gives the same result.
pub trait TextFunctions: Send + Sync {
    /// Changes when a function's result may change: part of every model's recipe.
    fn version(&self) -> String;

    /// `markdown_sections(text)`: the sections of a Markdown document.
    fn markdown_sections(&self, text: &str) -> Vec<TextSection>;

    /// `chunk_id(doc_version, byte_start, byte_end)`: the digest that names a passage.
    fn chunk_id(&self, doc_version: &str, byte_start: i64, byte_end: i64) -> String;

    /// `sentences(text)`: the sentences of a text.
    fn sentences(&self, text: &str) -> Vec<String>;
}

impl fmt::Debug for dyn TextFunctions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TextFunctions({})", self.version())
    }
}

static SECTION_FIELDS: LazyLock<Fields> = LazyLock::new(|| {
    Fields::from(vec![
        Field::new("ordinal", DataType::Int32, true),
        Field::new("level", DataType::Int32, true),
        Field::new("heading", DataType::Utf8, true),
        Field::new("breadcrumb", DataType::Utf8, true),
        Field::new("body", DataType::Utf8, true),
        Field::new("byte_start", DataType::Int64, true),
        Field::new("byte_end", DataType::Int64, true),
    ])
});

/// Makes the functions callable in this session.
pub(crate) fn register(context: &SessionContext, text: &Arc<dyn TextFunctions>) {
    context.register_udf(sections_udf(Arc::clone(text)));
    context.register_udf(chunk_id_udf(Arc::clone(text)));
    context.register_udf(sentences_udf(Arc::clone(text)));
}

fn item(data_type: DataType) -> Arc<Field> {
    Arc::new(Field::new("item", data_type, true))
}

fn sections_udf(text: Arc<dyn TextFunctions>) -> ScalarUDF {
    let returns = DataType::List(item(DataType::Struct(SECTION_FIELDS.clone())));
    function("markdown_sections", vec![DataType::Utf8], returns, move |columns| {
        let documents = utf8(&columns[0])?;
        let documents = documents.as_string::<i32>();
        let mut lengths = Vec::with_capacity(documents.len());
        let mut sections = Vec::new();
        for document in documents {
            let found = document.map(|document| text.markdown_sections(document));
            lengths.push(found.as_ref().map_or(0, Vec::len));
            sections.extend(found.into_iter().flatten());
        }
        let list = datafusion::arrow::array::ListArray::try_new(
            item(DataType::Struct(SECTION_FIELDS.clone())),
            OffsetBuffer::from_lengths(lengths),
            Arc::new(section_columns(sections)),
            documents.nulls().cloned(),
        )?;
        Ok(Arc::new(list) as ArrayRef)
    })
}

fn section_columns(sections: Vec<TextSection>) -> StructArray {
    let (mut ordinal, mut level) = (Int32Builder::new(), Int32Builder::new());
    let (mut start, mut end) = (Int64Builder::new(), Int64Builder::new());
    let (mut heading, mut breadcrumb) = (StringBuilder::new(), StringBuilder::new());
    let mut body = StringBuilder::new();
    for section in sections {
        ordinal.append_value(section.ordinal);
        level.append_value(section.level);
        heading.append_value(section.heading);
        breadcrumb.append_value(section.breadcrumb);
        body.append_value(section.body);
        start.append_value(section.byte_start);
        end.append_value(section.byte_end);
    }
    let columns: Vec<ArrayRef> = vec![
        Arc::new(ordinal.finish()),
        Arc::new(level.finish()),
        Arc::new(heading.finish()),
        Arc::new(breadcrumb.finish()),
        Arc::new(body.finish()),
        Arc::new(start.finish()),
        Arc::new(end.finish()),
    ];
    StructArray::new(SECTION_FIELDS.clone(), columns, None::<NullBuffer>)
}

fn chunk_id_udf(text: Arc<dyn TextFunctions>) -> ScalarUDF {
    let arguments = vec![DataType::Utf8, DataType::Int64, DataType::Int64];
    function("chunk_id", arguments, DataType::Utf8, move |columns| {
        let versions = utf8(&columns[0])?;
        let (starts, ends) = (int64(&columns[1])?, int64(&columns[2])?);
        let starts = starts.as_primitive::<Int64Type>();
        let ends = ends.as_primitive::<Int64Type>();
        let mut ids = StringBuilder::new();
        for ((version, start), end) in versions.as_string::<i32>().iter().zip(starts).zip(ends) {
            ids.append_option(match (version, start, end) {
                (Some(version), Some(start), Some(end)) => Some(text.chunk_id(version, start, end)),
                _ => None,
            });
        }
        Ok(Arc::new(ids.finish()) as ArrayRef)
    })
}

fn sentences_udf(text: Arc<dyn TextFunctions>) -> ScalarUDF {
    let returns = DataType::List(item(DataType::Utf8));
    function("sentences", vec![DataType::Utf8], returns, move |columns| {
        let passages = utf8(&columns[0])?;
        let mut lists = ListBuilder::new(StringBuilder::new());
        for passage in passages.as_string::<i32>() {
            if let Some(passage) = passage {
                for sentence in text.sentences(passage) {
                    lists.values().append_value(sentence);
                }
            }
            lists.append(passage.is_some());
        }
        Ok(Arc::new(lists.finish()) as ArrayRef)
    })
}

fn function(
    name: &str,
    arguments: Vec<DataType>,
    returns: DataType,
    run: impl Fn(&[ArrayRef]) -> Result<ArrayRef> + Send + Sync + 'static,
) -> ScalarUDF {
    let expected = arguments.len();
    let owned = name.to_owned();
    create_udf(
        name,
        arguments,
        returns,
        Volatility::Immutable,
        Arc::new(move |values: &[ColumnarValue]| {
            if values.len() != expected {
                return Err(DataFusionError::Execution(format!(
                    "{owned} takes {expected} arguments, not {}",
                    values.len()
                )));
            }
            let scalar = values.iter().all(|value| matches!(value, ColumnarValue::Scalar(_)));
            let columns = ColumnarValue::values_to_arrays(values)?;
            let result = run(&columns)?;
            if scalar {
                return datafusion::common::ScalarValue::try_from_array(&result, 0)
                    .map(ColumnarValue::Scalar);
            }
            Ok(ColumnarValue::Array(result))
        }),
    )
}

fn utf8(column: &ArrayRef) -> Result<ArrayRef> {
    Ok(cast(column, &DataType::Utf8)?)
}

fn int64(column: &ArrayRef) -> Result<ArrayRef> {
    Ok(cast(column, &DataType::Int64)?)
}
