//! How does a CloudEvent become a row? Its attributes become columns that begin with `ce_`, the
//! fields of its data become columns of their own. The pair of `source` and `id` names an event: one
//! that came before adds nothing.

use serde_json::{Map, Value};

use super::{
    body::{Entry, refuse},
    log::log_key,
};
use crate::{
    arrival::{Fault, Fields, Format},
    error::Result,
};

/// The attributes that every event has.
const REQUIRED: [&str; 4] = ["specversion", "id", "source", "type"];

/// An event in structured mode.
pub(super) fn one(text: &str) -> Result<Entry> {
    let event: Value = serde_json::from_str(text).map_err(|error| refuse(error.to_string()))?;
    let key = key_of(&event).map_err(refuse)?;
    Ok(Entry { key: Some(key), format: Format::CloudEvent, text: text.as_bytes().to_vec() })
}

/// An event of a batch. One that is none is kept, and goes to quarantine when it lands.
pub(super) fn of_batch(text: &str) -> Entry {
    let event: Option<Value> = serde_json::from_str(text).ok();
    let key = event.and_then(|event| key_of(&event).ok());
    Entry { key, format: Format::CloudEvent, text: text.as_bytes().to_vec() }
}

/// An event in binary mode: the attributes are headers, the body is the data.
pub(super) fn binary(headers: &[(String, String)], data: &str) -> Result<Entry> {
    let mut event = Map::new();
    for (name, value) in headers {
        event.insert(name.clone(), Value::String(decoded(value)));
    }
    let key = key_of(&Value::Object(event.clone())).map_err(refuse)?;
    let attributes = Value::Object(event).to_string();
    // The data is put in as it came.
    let open = attributes.strip_suffix('}').unwrap_or(&attributes);
    let text = format!("{open},\"data\":{data}}}");
    Ok(Entry { key: Some(key), format: Format::CloudEvent, text: text.into_bytes() })
}

/// What tells an event from all others.
fn key_of(event: &Value) -> Result<[u8; 16], String> {
    for name in REQUIRED {
        if event[name].as_str().is_none_or(str::is_empty) {
            return Err(format!("it is no CloudEvent: the attribute `{name}` is missing"));
        }
    }
    let word = |name: &str| event[name].as_str().unwrap_or_default();
    Ok(log_key(&["event", word("source"), word("id")]))
}

/// A header's value: characters outside of ASCII are sent as `%XX`.
fn decoded(value: &str) -> String {
    let mut bytes = Vec::with_capacity(value.len());
    let mut rest = value.as_bytes();
    while let [first, tail @ ..] = rest {
        let hex = tail.get(..2).and_then(|pair| std::str::from_utf8(pair).ok());
        match (first, hex.and_then(|pair| u8::from_str_radix(pair, 16).ok())) {
            (b'%', Some(byte)) => {
                bytes.push(byte);
                rest = &tail[2..];
            }
            _ => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8(bytes).unwrap_or_else(|_| value.to_owned())
}

/// The columns of an event.
pub(super) fn columns(event: Fields) -> Result<Fields, Fault> {
    key_of(&Value::Object(event.clone())).map_err(|reason| Fault::new("cloudevent", reason))?;
    let mut columns = Fields::new();
    let mut data = None;
    for (name, value) in event {
        match name.as_str() {
            "specversion" => {}
            "data" => data = Some(value),
            "data_base64" => {
                columns.insert(name, value);
            }
            _ => {
                columns.insert(format!("ce_{name}"), value);
            }
        }
    }
    match data {
        Some(Value::Object(fields)) => {
            for (name, value) in fields {
                if columns.contains_key(&name) {
                    let reason = format!("its data has a field `{name}` of its own");
                    return Err(Fault::new("cloudevent", reason));
                }
                columns.insert(name, value);
            }
        }
        Some(other) => {
            columns.insert("data".to_owned(), other);
        }
        None => {}
    }
    Ok(columns)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;

    #[test]
    fn structured_and_binary_events_are_the_same_row() {
        let text = r#"{"specversion":"1.0","id":"7","source":"/til","type":"sale","data":{"n":1}}"#;
        let structured = one(text).unwrap();
        let headers = [("specversion", "1.0"), ("id", "7"), ("source", "/til"), ("type", "s%61le")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()));
        let binary = binary(&headers, "{\"n\":1}").unwrap();
        assert_eq!(structured.key, binary.key);
        let row = |entry: &Entry| {
            columns(serde_json::from_slice(&entry.text).unwrap()).map(Value::Object).unwrap()
        };
        assert_eq!(row(&structured), row(&binary));
        let expected = json!({"ce_id": "7", "ce_source": "/til", "ce_type": "sale", "n": 1});
        assert_eq!(row(&binary), expected);
        assert!(one(&text.replace("\"7\"", "\"\"")).is_err());
    }
}
