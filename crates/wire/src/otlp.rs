//! How do spans arrive? As OTLP has them: messages of protobuf, or the same in JSON, where ids are
//! hexadecimal digits. What is not read here is left out of the types: a reader skips it.

use base64::prelude::{BASE64_STANDARD, Engine as _};
use prost::Message;
use serde_json::{Map, Value};

/// `ExportTraceServiceRequest`.
#[derive(Clone, PartialEq, Message)]
pub struct TracesRequest {
    /// Spans by where they come from.
    #[prost(message, repeated, tag = "1")]
    pub resource_spans: Vec<ResourceSpans>,
}

/// Spans of one program.
#[derive(Clone, PartialEq, Message)]
pub struct ResourceSpans {
    /// The program.
    #[prost(message, optional, tag = "1")]
    pub resource: Option<Resource>,
    /// Its spans by library.
    #[prost(message, repeated, tag = "2")]
    pub scope_spans: Vec<ScopeSpans>,
}

/// What a program says of itself.
#[derive(Clone, PartialEq, Message)]
pub struct Resource {
    /// Such as `service.name`.
    #[prost(message, repeated, tag = "1")]
    pub attributes: Vec<KeyValue>,
}

/// Spans of one library.
#[derive(Clone, PartialEq, Message)]
pub struct ScopeSpans {
    /// Each the bytes of a [`Span`], so that they can be counted before they are read.
    #[prost(bytes = "vec", repeated, tag = "2")]
    pub spans: Vec<Vec<u8>>,
}

/// One piece of work.
#[derive(Clone, PartialEq, Message)]
pub struct Span {
    /// 16 bytes.
    #[prost(bytes = "vec", tag = "1")]
    pub trace_id: Vec<u8>,
    /// 8 bytes.
    #[prost(bytes = "vec", tag = "2")]
    pub span_id: Vec<u8>,
    /// 8 bytes; empty for the root.
    #[prost(bytes = "vec", tag = "4")]
    pub parent_span_id: Vec<u8>,
    /// What was done.
    #[prost(string, tag = "5")]
    pub name: String,
    /// Nanoseconds since 1970.
    #[prost(fixed64, tag = "7")]
    pub start_time_unix_nano: u64,
    /// The same; zero while it goes on.
    #[prost(fixed64, tag = "8")]
    pub end_time_unix_nano: u64,
    /// What is known of it.
    #[prost(message, repeated, tag = "9")]
    pub attributes: Vec<KeyValue>,
    /// What happened meanwhile.
    #[prost(message, repeated, tag = "11")]
    pub events: Vec<Event>,
    /// Other spans it belongs to.
    #[prost(message, repeated, tag = "13")]
    pub links: Vec<Link>,
    /// How it ended.
    #[prost(message, optional, tag = "15")]
    pub status: Option<Status>,
}

/// Something that happened during a span.
#[derive(Clone, PartialEq, Message)]
pub struct Event {
    /// Nanoseconds since 1970.
    #[prost(fixed64, tag = "1")]
    pub time_unix_nano: u64,
    /// What.
    #[prost(string, tag = "2")]
    pub name: String,
    /// What is known of it.
    #[prost(message, repeated, tag = "3")]
    pub attributes: Vec<KeyValue>,
}

/// Another span.
#[derive(Clone, PartialEq, Message)]
pub struct Link {
    /// 16 bytes.
    #[prost(bytes = "vec", tag = "1")]
    pub trace_id: Vec<u8>,
    /// 8 bytes.
    #[prost(bytes = "vec", tag = "2")]
    pub span_id: Vec<u8>,
    /// What is known of the relation.
    #[prost(message, repeated, tag = "4")]
    pub attributes: Vec<KeyValue>,
}

/// How a span ended.
#[derive(Clone, PartialEq, Message)]
pub struct Status {
    /// Why, in words.
    #[prost(string, tag = "2")]
    pub message: String,
    /// 0 unset, 1 fine, 2 an error.
    #[prost(int32, tag = "3")]
    pub code: i32,
}

/// An attribute.
#[derive(Clone, PartialEq, Message)]
pub struct KeyValue {
    /// Its name.
    #[prost(string, tag = "1")]
    pub key: String,
    /// Its value.
    #[prost(message, optional, tag = "2")]
    pub value: Option<AnyValue>,
}

/// The value of an attribute.
#[derive(Clone, PartialEq, Message)]
pub struct AnyValue {
    /// One of these, or none.
    #[prost(oneof = "AnyKind", tags = "1, 2, 3, 4, 5, 6, 7")]
    pub value: Option<AnyKind>,
}

/// What a value may be.
#[derive(Clone, PartialEq, prost::Oneof)]
pub enum AnyKind {
    /// Text.
    #[prost(string, tag = "1")]
    Text(String),
    /// True or false.
    #[prost(bool, tag = "2")]
    Flag(bool),
    /// A whole number.
    #[prost(int64, tag = "3")]
    Int(i64),
    /// A number.
    #[prost(double, tag = "4")]
    Real(f64),
    /// A list.
    #[prost(message, tag = "5")]
    List(ListValue),
    /// Named values.
    #[prost(message, tag = "6")]
    Map(MapValue),
    /// Bytes.
    #[prost(bytes, tag = "7")]
    Bytes(Vec<u8>),
}

/// A list of values.
#[derive(Clone, PartialEq, Message)]
pub struct ListValue {
    /// In order.
    #[prost(message, repeated, tag = "1")]
    pub values: Vec<AnyValue>,
}

/// Named values.
#[derive(Clone, PartialEq, Message)]
pub struct MapValue {
    /// In order.
    #[prost(message, repeated, tag = "1")]
    pub values: Vec<KeyValue>,
}

/// Why JSON is no OTLP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotOtlp;

type Read<T> = Result<T, NotOtlp>;

impl TracesRequest {
    /// Reads the JSON form. A field that is not known is skipped; one of another type is not.
    ///
    /// # Errors
    /// When it is another thing.
    pub fn of_json(json: &Value) -> Read<Self> {
        let spans = |of: &Fields<'_>| -> Read<Vec<Vec<u8>>> {
            of.each("spans", |span| Ok(span_of(span)?.encode_to_vec()))
        };
        let fields = Fields::of(json)?;
        let resource_spans = fields.each("resourceSpans", |part| {
            Ok(ResourceSpans {
                resource: part.inner("resource", |resource| {
                    Ok(Resource { attributes: resource.attributes()? })
                })?,
                scope_spans: part
                    .each("scopeSpans", |scope| Ok(ScopeSpans { spans: spans(scope)? }))?,
            })
        })?;
        Ok(Self { resource_spans })
    }
}

fn span_of(fields: &Fields<'_>) -> Read<Span> {
    Ok(Span {
        trace_id: fields.id("traceId")?,
        span_id: fields.id("spanId")?,
        parent_span_id: fields.id("parentSpanId")?,
        name: fields.text("name")?,
        start_time_unix_nano: fields.number("startTimeUnixNano")?,
        end_time_unix_nano: fields.number("endTimeUnixNano")?,
        attributes: fields.attributes()?,
        events: fields.each("events", |event| {
            Ok(Event {
                time_unix_nano: event.number("timeUnixNano")?,
                name: event.text("name")?,
                attributes: event.attributes()?,
            })
        })?,
        links: fields.each("links", |link| {
            Ok(Link {
                trace_id: link.id("traceId")?,
                span_id: link.id("spanId")?,
                attributes: link.attributes()?,
            })
        })?,
        status: fields.inner("status", |status| {
            Ok(Status { message: status.text("message")?, code: status.status_code()? })
        })?,
    })
}

fn value_of(fields: &Fields<'_>) -> Read<AnyValue> {
    let list =
        |found: &Fields<'_>| found.each("values", value_of).map(|values| ListValue { values });
    let map = |found: &Fields<'_>| found.pairs("values").map(|values| MapValue { values });
    let kind = match fields.first() {
        None => None,
        Some(("stringValue", Value::String(text))) => Some(AnyKind::Text(text.clone())),
        Some(("boolValue", Value::Bool(flag))) => Some(AnyKind::Flag(*flag)),
        Some(("intValue", number)) => Some(AnyKind::Int(parsed(number).ok_or(NotOtlp)?)),
        Some(("doubleValue", number)) => Some(AnyKind::Real(parsed(number).ok_or(NotOtlp)?)),
        Some(("arrayValue", found)) => Some(AnyKind::List(list(&Fields::of(found)?)?)),
        Some(("kvlistValue", found)) => Some(AnyKind::Map(map(&Fields::of(found)?)?)),
        Some(("bytesValue", Value::String(text))) => {
            Some(AnyKind::Bytes(BASE64_STANDARD.decode(text).map_err(|_| NotOtlp)?))
        }
        Some(_) => return Err(NotOtlp),
    };
    Ok(AnyValue { value: kind })
}

/// A number, which JSON's protobuf writes as one or as text.
fn parsed<T: std::str::FromStr>(value: &Value) -> Option<T> {
    match value {
        Value::String(text) => text.parse().ok(),
        Value::Number(number) => number.to_string().parse().ok(),
        _ => None,
    }
}

/// The fields of an object, each in the form `lowerCamelCase`.
struct Fields<'a>(&'a Map<String, Value>);

impl<'a> Fields<'a> {
    fn of(json: &'a Value) -> Read<Self> {
        json.as_object().map(Self).ok_or(NotOtlp)
    }

    fn get(&self, name: &str) -> Option<&'a Value> {
        self.0.get(name).filter(|value| !value.is_null())
    }

    /// The first field that is there.
    fn first(&self) -> Option<(&'a str, &'a Value)> {
        self.0
            .iter()
            .find(|(_, value)| !value.is_null())
            .map(|(name, value)| (name.as_str(), value))
    }

    fn text(&self, name: &str) -> Read<String> {
        match self.get(name) {
            None => Ok(String::new()),
            Some(Value::String(text)) => Ok(text.clone()),
            Some(_) => Err(NotOtlp),
        }
    }

    fn number(&self, name: &str) -> Read<u64> {
        self.get(name).map_or(Ok(0), |value| parsed(value).ok_or(NotOtlp))
    }

    fn id(&self, name: &str) -> Read<Vec<u8>> {
        let digits = self.text(name)?;
        if digits.len() % 2 != 0 || !digits.is_ascii() {
            return Err(NotOtlp);
        }
        let byte = |at| u8::from_str_radix(&digits[at..at + 2], 16).map_err(|_| NotOtlp);
        (0..digits.len()).step_by(2).map(byte).collect()
    }

    /// A code of a status, by number or by word.
    fn status_code(&self) -> Read<i32> {
        match self.get("code") {
            Some(Value::String(word)) if word == "STATUS_CODE_OK" => Ok(1),
            Some(Value::String(word)) if word == "STATUS_CODE_ERROR" => Ok(2),
            Some(Value::Number(code)) => {
                code.as_i64().and_then(|code| i32::try_from(code).ok()).ok_or(NotOtlp)
            }
            _ => Ok(0),
        }
    }

    fn inner<T>(&self, name: &str, read: impl Fn(&Fields<'_>) -> Read<T>) -> Read<Option<T>> {
        self.get(name).map(|found| read(&Fields::of(found)?)).transpose()
    }

    fn each<T>(&self, name: &str, read: impl Fn(&Fields<'_>) -> Read<T>) -> Read<Vec<T>> {
        match self.get(name) {
            None => Ok(Vec::new()),
            Some(Value::Array(items)) => {
                items.iter().map(|item| read(&Fields::of(item)?)).collect()
            }
            Some(_) => Err(NotOtlp),
        }
    }

    fn pairs(&self, name: &str) -> Read<Vec<KeyValue>> {
        self.each(name, |pair| {
            Ok(KeyValue { key: pair.text("key")?, value: pair.inner("value", value_of)? })
        })
    }

    fn attributes(&self) -> Read<Vec<KeyValue>> {
        self.pairs("attributes")
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn json_is_read_as_protobuf_is() {
        let json = serde_json::json!({ "resourceSpans": [{
            "resource": { "attributes": [{ "key": "service.name", "value": { "stringValue": "a" } }] },
            "scopeSpans": [{ "scope": { "name": "skipped" }, "spans": [{
                "traceId": "0102030405060708090a0b0c0d0e0f10", "spanId": "0102030405060708",
                "name": "one", "kind": 1, "startTimeUnixNano": "5", "endTimeUnixNano": 7,
                "attributes": [
                    { "key": "n", "value": { "intValue": "-3" } },
                    { "key": "l", "value": { "arrayValue": { "values": [{ "doubleValue": 0.5 }] } } },
                    { "key": "b", "value": { "bytesValue": "AQI=" } },
                    { "key": "m", "value": { "kvlistValue": { "values": [{ "key": "x" }] } } },
                ],
                "status": { "code": "STATUS_CODE_ERROR", "message": "why" },
            }] }],
        }] });
        let request = TracesRequest::of_json(&json).unwrap();
        assert_eq!(TracesRequest::decode(&*request.encode_to_vec()).unwrap(), request);
        let span = Span::decode(&*request.resource_spans[0].scope_spans[0].spans[0]).unwrap();
        assert_eq!((span.start_time_unix_nano, span.end_time_unix_nano), (5, 7));
        assert_eq!(span.span_id, [1, 2, 3, 4, 5, 6, 7, 8]);
        assert_eq!(span.attributes[0].value.clone().unwrap().value, Some(AnyKind::Int(-3)));
        assert_eq!(span.status.unwrap().code, 2);
    }

    #[test]
    fn what_has_another_type_is_refused() {
        for json in [
            serde_json::json!([]),
            serde_json::json!({ "resourceSpans": {} }),
            serde_json::json!({ "resourceSpans": [{ "scopeSpans": [{ "spans": [{ "traceId": "xy" }] }] }] }),
            serde_json::json!({ "resourceSpans": [{ "scopeSpans": [{ "spans": [{ "spanId": "1" }] }] }] }),
            serde_json::json!({ "resourceSpans": [{ "scopeSpans": [{ "spans": [{ "name": 1 }] }] }] }),
        ] {
            assert_eq!(TracesRequest::of_json(&json), Err(NotOtlp), "{json}");
        }
    }
}
