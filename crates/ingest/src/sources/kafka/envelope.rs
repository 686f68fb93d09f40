//! What does a record of Kafka hold, and how is it written down as text and read again? Landing reads
//! its parts; quarantine keeps one text a record, which holds all that Kafka has: key, headers and
//! value. Bytes that are not UTF-8 are kept as `{"hex": "…"}`, so nothing is changed.

use std::{borrow::Cow, fmt};

use serde::{
    Deserialize, Deserializer, Serialize,
    de::{self, MapAccess, Visitor},
};
use serde_json::{Value, json};

use super::{HEADERS, KEY, VALUE, avro::Schemas};
use crate::{
    arrival::{self, Fault, Fields, Format, Parsed, Parts, Payload, Plain, Record},
    error::{DataError, Result as Landing},
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

impl Envelope {
    fn of(parts: &Parts) -> Self {
        let bytes = |bytes: &Option<bytes::Bytes>| bytes.as_deref().map(Bytes::new);
        let headers = parts.headers.iter().map(|(name, value)| (name.clone(), bytes(value)));
        Self { key: bytes(&parts.key), headers: headers.collect(), value: bytes(&parts.value) }
    }
}

/// The text of a record.
pub(crate) fn written_down(parts: &Parts) -> Landing<String> {
    serde_json::to_string(&Envelope::of(parts)).map_err(DataError::engine)
}

fn open(record: &Record) -> Result<Envelope, Fault> {
    match &record.payload {
        Payload::Parts(parts) => Ok(Envelope::of(parts)),
        Payload::Text(text) => {
            serde_json::from_str(text).map_err(|error| Fault::new("record", error.to_string()))
        }
    }
}

/// The value of a record that is text and has a key that is text or none.
pub(crate) fn plainly(record: &Record) -> Option<Plain<'_>> {
    let Payload::Parts(parts) = &record.payload else { return None };
    let json = std::str::from_utf8(parts.value.as_deref()?).ok()?;
    let key = parts.key.as_deref().map(std::str::from_utf8).transpose().ok()?;
    let headers = (!parts.headers.is_empty()).then(|| {
        let headers = Envelope::of(&Parts { headers: parts.headers.clone(), ..Parts::default() });
        shown(&headers.headers)
    });
    let key = key.map(|key| (KEY, Cow::Borrowed(key)));
    let headers = headers.map(|headers| (HEADERS, Cow::Owned(headers)));
    Some(Plain { json, filled: [key, headers] })
}

/// The fields of a record whose value is a JSON object.
pub(crate) fn decode_json(record: &Record) -> Result<Fields, Fault> {
    let Envelope { key, headers, value } = open(record)?;
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
pub(crate) fn decode_avro(schemas: &Schemas, record: &Record) -> Landing<Result<Parsed, Fault>> {
    let parts = open(record).and_then(|record| {
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
pub(crate) fn decode_raw(record: &Record) -> Result<Fields, Fault> {
    let Envelope { key, headers, value } = open(record)?;
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
        fields.insert(HEADERS.to_owned(), shown(headers).into());
    }
}

fn shown(headers: &[(String, Option<Bytes>)]) -> String {
    json!(headers).to_string()
}
