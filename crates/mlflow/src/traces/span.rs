//! What is kept of a span? The same dictionary as MLflow keeps, as JSON: each attribute as the JSON of
//! its value, ids in base64. From it come the file of a trace and the spans that clients read.

use base64::prelude::{BASE64_STANDARD, Engine as _};
use serde_json::{Map, Value, json};
use sextant_wire::otlp::{AnyKind, AnyValue, KeyValue, Link, Span};

use super::{
    bodies::TraceKey,
    dialects::{Attributes, COST, TOKENS, TYPE, meant, translate},
    text::{hex, json_text},
    usage::Sum,
};

/// The attribute that names a span's trace.
const TRACE: &str = "mlflow.traceRequestId";

/// A span on its way into the store.
#[derive(Debug)]
pub(super) struct NewSpan {
    pub(super) key: TraceKey,
    /// Hexadecimal digits.
    pub(super) id: String,
    pub(super) parent: Option<String>,
    pub(super) name: String,
    pub(super) kind: Option<String>,
    pub(super) status: &'static str,
    /// Nanoseconds since 1970.
    pub(super) started: i64,
    pub(super) ended: Option<i64>,
    pub(super) attributes: Attributes,
    /// What the program that it comes from says of itself.
    pub(super) resource: Vec<(String, Value)>,
    pub(super) content: String,
}

/// The name of a trace.
pub(super) fn trace_id(key: &TraceKey) -> String {
    format!("tr-{}", hex(key))
}

/// The key of a trace by its name, when it is one that spans may have.
pub(super) fn trace_key(id: &str) -> Option<TraceKey> {
    crate::metrics::run_key(id.strip_prefix("tr-")?)
}

impl NewSpan {
    /// Reads a span; none when it has no ids or its times are beyond what clients read.
    pub(super) fn of(span: &Span, resource: &[KeyValue]) -> Option<Self> {
        let key: TraceKey = padded(&span.trace_id)?;
        let id: [u8; 8] = padded(&span.span_id)?;
        let parent = match span.parent_span_id.is_empty() {
            true => None,
            false => Some(padded::<8>(&span.parent_span_id)?),
        };
        let started = i64::try_from(span.start_time_unix_nano).ok()?;
        let ended = i64::try_from(span.end_time_unix_nano).ok()?;
        let told = span.attributes.iter().find(|attribute| attribute.key == TYPE);
        let told = told
            .and_then(|attribute| value_of(attribute.value.as_ref()).as_str().map(str::to_owned));
        let attributes = attributes_of(span, &trace_id(&key));
        let kind = told.or_else(|| meant(&attributes, TYPE)?.as_str().map(str::to_owned));
        let status = span.status.clone().unwrap_or_default();
        let (status_word, status_code) = match status.code {
            1 => ("OK", "STATUS_CODE_OK"),
            2 => ("ERROR", "STATUS_CODE_ERROR"),
            _ => ("UNSET", "STATUS_CODE_UNSET"),
        };
        let content = json!({
            "trace_id": BASE64_STANDARD.encode(key),
            "span_id": BASE64_STANDARD.encode(id),
            "parent_span_id": parent.map(|parent| BASE64_STANDARD.encode(parent)),
            "name": span.name,
            "start_time_unix_nano": started,
            "end_time_unix_nano": ended,
            "events": span.events.iter().map(|event| json!({
                "name": event.name,
                "time_unix_nano": event.time_unix_nano,
                "attributes": map_of(&event.attributes),
            })).collect::<Vec<_>>(),
            "status": { "code": status_code, "message": status.message },
            "attributes": attributes,
            "links": span.links.iter().map(kept_link).collect::<Option<Vec<_>>>()?,
        });
        Some(Self {
            key,
            id: hex(&id),
            parent: parent.map(|parent| hex(&parent)),
            name: span.name.clone(),
            kind,
            status: status_word,
            started,
            ended: (ended > 0).then_some(ended),
            attributes,
            resource: resource
                .iter()
                .map(|attribute| (attribute.key.clone(), value_of(attribute.value.as_ref())))
                .collect(),
            content: json_text(&content),
        })
    }

    /// The name of its trace.
    pub(super) fn trace(&self) -> String {
        trace_id(&self.key)
    }

    /// What it tells of tokens or costs.
    pub(super) fn told(&self, sum: Sum) -> Option<String> {
        let key = if sum == Sum::Tokens { TOKENS } else { COST };
        sum.normal(self.attributes.get(key)?.as_str()?)
    }

    /// The text that an attribute means.
    pub(super) fn text(&self, key: &str) -> Option<String> {
        let text = self.attributes.get(key)?.as_str()?;
        match serde_json::from_str(text) {
            Ok(Value::String(text)) => Some(text),
            _ => Some(text.to_owned()),
        }
    }
}

/// Bytes of an id, with zeros before them when there are fewer; none when there are none or too many.
fn padded<const N: usize>(bytes: &[u8]) -> Option<[u8; N]> {
    let before = N.checked_sub(bytes.len()).filter(|before| *before < N)?;
    let mut id = [0; N];
    id[before..].copy_from_slice(bytes);
    Some(id)
}

fn attributes_of(span: &Span, trace: &str) -> Attributes {
    let mut attributes = Attributes::new();
    for attribute in &span.attributes {
        let value = value_of(attribute.value.as_ref());
        // MLflow's client sends values that are JSON already.
        let inner = value.as_str().and_then(|text| serde_json::from_str::<Value>(text).ok());
        let text = match (&value, inner) {
            (Value::String(text), Some(Value::String(_) | Value::Array(_) | Value::Object(_))) => {
                text.clone()
            }
            _ => json_text(&value),
        };
        attributes.insert(attribute.key.clone(), text.into());
    }
    attributes.insert(TRACE.to_owned(), json_text(&json!(trace)).into());
    translate(&mut attributes);
    attributes
}

/// An attribute's value as JSON. What JSON has no number for is a word, bytes are base64.
fn value_of(value: Option<&AnyValue>) -> Value {
    match value.and_then(|value| value.value.as_ref()) {
        None => Value::Null,
        Some(AnyKind::Text(text)) => json!(text),
        Some(AnyKind::Flag(flag)) => json!(flag),
        Some(AnyKind::Int(number)) => json!(number),
        Some(AnyKind::Real(number)) if number.is_finite() => json!(number),
        Some(AnyKind::Real(number)) => json!(number.to_string()),
        Some(AnyKind::List(list)) => {
            list.values.iter().map(|value| value_of(Some(value))).collect()
        }
        Some(AnyKind::Map(map)) => map_of(&map.values),
        Some(AnyKind::Bytes(bytes)) => json!(BASE64_STANDARD.encode(bytes)),
    }
}

fn map_of(pairs: &[KeyValue]) -> Value {
    pairs.iter().map(|pair| (pair.key.clone(), value_of(pair.value.as_ref()))).collect()
}

fn kept_link(link: &Link) -> Option<Value> {
    let attributes = (!link.attributes.is_empty()).then(|| map_of(&link.attributes));
    Some(json!({
        "trace_id": trace_id(&padded(&link.trace_id)?),
        "span_id": hex(&padded::<8>(&link.span_id)?),
        "attributes": attributes,
    }))
}

/// A span that is kept, as OTLP has it in JSON with MLflow's names.
pub(super) fn shown_span(kept: &Value) -> Value {
    let mut shown = Map::new();
    for name in ["trace_id", "span_id", "parent_span_id", "name"] {
        if let Some(text) = kept[name].as_str().filter(|text| !text.is_empty()) {
            shown.insert(name.to_owned(), text.into());
        }
    }
    for name in ["start_time_unix_nano", "end_time_unix_nano"] {
        if let Some(time) = kept[name].as_u64().filter(|time| *time > 0) {
            shown.insert(name.to_owned(), time.into());
        }
    }
    let meant = |text: &Value| match text.as_str().map(serde_json::from_str) {
        Some(Ok(value)) => value,
        _ => text.clone(),
    };
    put_list(&mut shown, "attributes", pairs(&kept["attributes"], &meant));
    let events = kept["events"].as_array().into_iter().flatten().map(|event| {
        let mut shown = Map::new();
        shown.insert("time_unix_nano".to_owned(), event["time_unix_nano"].clone());
        shown.insert("name".to_owned(), event["name"].clone());
        put_list(&mut shown, "attributes", pairs(&event["attributes"], &Value::clone));
        Value::Object(shown)
    });
    put_list(&mut shown, "events", events.collect());
    let links = kept["links"].as_array().into_iter().flatten().filter_map(shown_link);
    put_list(&mut shown, "links", links.collect());
    let mut status = Map::new();
    for (name, default) in [("message", ""), ("code", "STATUS_CODE_UNSET")] {
        if let Some(word) = kept["status"][name].as_str().filter(|word| *word != default) {
            status.insert(name.to_owned(), word.into());
        }
    }
    shown.insert("status".to_owned(), Value::Object(status));
    Value::Object(shown)
}

fn shown_link(link: &Value) -> Option<Value> {
    let trace = trace_key(link["trace_id"].as_str()?)?;
    let digits = link["span_id"].as_str()?;
    let span = u64::from_str_radix(digits, 16).ok()?.to_be_bytes();
    let mut shown = Map::new();
    shown.insert("trace_id".to_owned(), BASE64_STANDARD.encode(trace).into());
    shown.insert("span_id".to_owned(), BASE64_STANDARD.encode(span).into());
    put_list(&mut shown, "attributes", pairs(&link["attributes"], &Value::clone));
    Some(Value::Object(shown))
}

fn put_list(into: &mut Map<String, Value>, name: &str, items: Vec<Value>) {
    if !items.is_empty() {
        into.insert(name.to_owned(), Value::Array(items));
    }
}

fn pairs(fields: &Value, meant: &dyn Fn(&Value) -> Value) -> Vec<Value> {
    let fields = fields.as_object().into_iter().flatten();
    fields.map(|(key, value)| json!({ "key": key, "value": any(&meant(value)) })).collect()
}

/// A value as OTLP has it in JSON.
fn any(value: &Value) -> Value {
    let values = |items: Vec<Value>| match items.is_empty() {
        true => json!({}),
        false => json!({ "values": items }),
    };
    match value {
        Value::Null => json!({}),
        Value::Bool(flag) => json!({ "bool_value": flag }),
        Value::Number(number) if number.is_i64() => json!({ "int_value": number }),
        Value::Number(number) => json!({ "double_value": number.as_f64() }),
        Value::String(text) => json!({ "string_value": text }),
        Value::Array(items) => json!({ "array_value": values(items.iter().map(any).collect()) }),
        Value::Object(_) => json!({ "kvlist_value": values(pairs(value, &Value::clone)) }),
    }
}
