//! How is a record of Kafka written down as text, and read again? Landing and quarantine keep one
//! text a record; this one holds all that Kafka has: key, headers and value. Bytes that are not
//! UTF-8 are kept as `{"hex": "…"}`, so nothing is changed.

use std::fmt;

use krafka::ConsumerRecord;
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{self, MapAccess, Visitor},
};
use serde_json::{Value, json};

use super::{HEADERS, KEY, VALUE, avro::Schemas};
use crate::{
    arrival::{self, Fault, Fields, Format, Parsed},
    error::Result as Landing,
};

/// The key under which bytes are kept that are not text.
const HEX: &str = "hex";

/// One record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Envelope {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    key: Option<Bytes>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    headers: Vec<(String, Option<Bytes>)>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    value: Option<Bytes>,
}

/// Bytes, as text where they are text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
enum Bytes {
    Text(String),
    Other { hex: String },
}

/// By hand: to find out which of the two it is, the derived one copies the text first.
impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(BytesVisitor)
    }
}

struct BytesVisitor;

impl<'de> Visitor<'de> for BytesVisitor {
    type Value = Bytes;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text, or `hex` with the digits of bytes")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Bytes, E> {
        Ok(Bytes::Text(text.to_owned()))
    }

    fn visit_string<E: de::Error>(self, text: String) -> Result<Bytes, E> {
        Ok(Bytes::Text(text))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Bytes, A::Error> {
        match map.next_entry::<String, String>()? {
            Some((key, hex)) if key == HEX => match map.next_key::<String>()? {
                None => Ok(Bytes::Other { hex }),
                Some(more) => Err(de::Error::unknown_field(&more, &[HEX])),
            },
            _ => Err(de::Error::missing_field(HEX)),
        }
    }
}

impl Bytes {
    fn new(bytes: &[u8]) -> Self {
        match std::str::from_utf8(bytes) {
            Ok(text) => Self::Text(text.to_owned()),
            Err(_) => Self::Other { hex: hex::encode(bytes) },
        }
    }

    /// As a value for a column of bytes.
    fn for_bytes(self) -> Value {
        match self {
            Self::Text(text) => hex_value(text.as_bytes()),
            Self::Other { hex } => json!({ HEX: hex }),
        }
    }

    /// As they came.
    fn raw(self) -> Result<Vec<u8>, Fault> {
        match self {
            Self::Text(text) => Ok(text.into_bytes()),
            Self::Other { hex } => {
                hex::decode(hex).map_err(|error| Fault::new("record", error.to_string()))
            }
        }
    }
}

/// Bytes as a value for a column of bytes.
pub(crate) fn hex_value(bytes: &[u8]) -> Value {
    json!({ HEX: hex::encode(bytes) })
}

/// The bytes of a value that [`decode_raw`] made.
pub(crate) fn bytes_of(value: &Value) -> Option<Vec<u8>> {
    let fields = value.as_object().filter(|fields| fields.len() == 1)?;
    hex::decode(fields.get(HEX)?.as_str()?).ok()
}

/// The text of a record.
pub(crate) fn text(record: &ConsumerRecord) -> Result<String, serde_json::Error> {
    let bytes = |bytes: &Option<bytes::Bytes>| bytes.as_deref().map(Bytes::new);
    let headers = record.headers.iter().map(|(name, value)| (name.clone(), bytes(value)));
    let envelope = Envelope {
        key: bytes(&record.key),
        headers: headers.collect(),
        value: bytes(&record.value),
    };
    serde_json::to_string(&envelope)
}

fn open(text: &str) -> Result<Envelope, Fault> {
    serde_json::from_str(text).map_err(|error| Fault::new("record", error.to_string()))
}

/// The fields of a record whose value is a JSON object.
pub(crate) fn decode_json(_: Format, text: &str) -> Result<Fields, Fault> {
    let Envelope { key, headers, value } = open(text)?;
    let mut fields = match value {
        Some(Bytes::Text(value)) => arrival::fields(Format::Json, &value)?,
        Some(Bytes::Other { .. }) => return Err(Fault::new("utf8", "the value is not UTF-8")),
        None => return Err(tombstone()),
    };
    check_ours(&fields)?;
    match key {
        Some(Bytes::Text(key)) => drop(fields.insert(KEY.to_owned(), key.into())),
        Some(Bytes::Other { .. }) => return Err(Fault::new("utf8", "the key is not UTF-8")),
        None => {}
    }
    put_headers(&mut fields, &headers);
    Ok(fields)
}

fn tombstone() -> Fault {
    Fault::new("empty", "the record has no value (a tombstone)")
}

/// No field of a value may have the name of a column that is filled beside them.
fn check_ours(fields: &Fields) -> Result<(), Fault> {
    let ours =
        |name: &&String| name.eq_ignore_ascii_case(KEY) || name.eq_ignore_ascii_case(HEADERS);
    let Some(name) = fields.keys().find(ours) else { return Ok(()) };
    let reason = format!("`{name}` is a column that Sextant fills itself");
    Err(Fault::new("column_name", reason))
}

/// The fields of a record whose value is Avro with the number of its schema; its key is kept as it
/// is.
pub(crate) fn decode_avro(schemas: &Schemas, text: &str) -> Landing<Result<Parsed, Fault>> {
    let parts = open(text).and_then(|record| {
        let value = record.value.ok_or_else(tombstone)?.raw()?;
        Ok((value, record.key, record.headers))
    });
    let (value, key, headers) = match parts {
        Ok(parts) => parts,
        Err(fault) => return Ok(Err(fault)),
    };
    let parsed = schemas.decode(&value)?;
    Ok(parsed.and_then(|mut parsed| {
        check_ours(&parsed.fields)?;
        if let Some(key) = key {
            parsed.fields.insert(KEY.to_owned(), key.for_bytes());
        }
        put_headers(&mut parsed.fields, &headers);
        Ok(parsed)
    }))
}

/// The fields of a record whose value is kept as it is.
pub(crate) fn decode_raw(_: Format, text: &str) -> Result<Fields, Fault> {
    let Envelope { key, headers, value } = open(text)?;
    let mut fields = Fields::new();
    for (name, bytes) in [(KEY, key), (VALUE, value)] {
        if let Some(bytes) = bytes {
            fields.insert(name.to_owned(), bytes.for_bytes());
        }
    }
    put_headers(&mut fields, &headers);
    Ok(fields)
}

fn put_headers(fields: &mut Fields, headers: &[(String, Option<Bytes>)]) {
    if !headers.is_empty() {
        fields.insert(HEADERS.to_owned(), json!(headers).to_string().into());
    }
}
