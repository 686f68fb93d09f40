//! Which records are in a body? JSON (an object, or an array of them), JSON lines, or CloudEvents,
//! as the Content-Type says. Each record is kept as the bytes that came: nothing is rounded on the
//! way into the log. What is wrong with a single record is found when it lands.

use serde::de::IgnoredAny;

use super::{cloud, log::RECORD_BYTES_MAX};
use crate::{
    arrival::Format,
    error::{DataError, IngestError, Result},
};

/// Most records in one request.
const RECORDS_MAX: usize = 50_000;

/// A request, with its body as it is after decompression.
#[derive(Debug, Clone, Copy)]
pub struct PushBody<'a> {
    /// The Content-Type.
    pub content_type: &'a str,
    /// The header `Idempotency-Key`.
    pub idempotency_key: Option<&'a str>,
    /// The headers that begin with `ce-`, without it, in small letters.
    pub event: &'a [(String, String)],
    /// The body.
    pub bytes: &'a [u8],
}

/// One record of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    /// Finds a repeat.
    pub(super) key: Option<[u8; 16]>,
    pub(super) format: Format,
    pub(super) text: Vec<u8>,
}

impl Entry {
    fn json(text: &[u8]) -> Self {
        Self { key: None, format: Format::Json, text: text.to_vec() }
    }
}

/// The records of a request.
pub(super) fn entries(body: &PushBody<'_>) -> Result<Vec<Entry>> {
    let kind = body.content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let entries = match kind.as_str() {
        "application/cloudevents+json" => vec![cloud::one(whole(body.bytes)?)?],
        "application/cloudevents-batch+json" => {
            elements(whole(body.bytes)?)?.into_iter().map(cloud::of_batch).collect()
        }
        "application/json" if !body.event.is_empty() => {
            vec![cloud::binary(body.event, whole(body.bytes)?)?]
        }
        "application/json" => of_json(whole(body.bytes)?)?,
        "application/x-ndjson"
        | "application/ndjson"
        | "application/jsonl"
        | "application/x-jsonlines" => of_lines(body.bytes)?,
        other => {
            return Err(refuse(format!(
                "`Content-Type: {other}` is not taken here: send application/json, \
                 application/x-ndjson, application/cloudevents+json or \
                 application/cloudevents-batch+json"
            )));
        }
    };
    if entries.len() > RECORDS_MAX {
        return Err(too_large(format!("{} records", entries.len()), format!("{RECORDS_MAX}")));
    }
    if let Some(large) = entries.iter().find(|entry| entry.text.len() > RECORD_BYTES_MAX) {
        let size = format!("a record of {} bytes", large.text.len());
        return Err(too_large(size, format!("{RECORD_BYTES_MAX} bytes a record")));
    }
    Ok(entries)
}

pub(super) fn refuse(message: impl Into<String>) -> DataError {
    IngestError::Push { message: message.into() }.into()
}

fn too_large(size: String, limit: String) -> DataError {
    DataError::TooLarge { what: "the request".to_owned(), size, limit }
}

/// The body as one JSON text.
fn whole(bytes: &[u8]) -> Result<&str> {
    let text = std::str::from_utf8(bytes).map_err(|error| {
        refuse(format!("the body is not UTF-8: bad byte at offset {}", error.valid_up_to()))
    })?;
    serde_json::from_str::<IgnoredAny>(text)
        .map_err(|error| refuse(format!("the body is not JSON: {error}")))?;
    Ok(text.trim())
}

fn of_json(text: &str) -> Result<Vec<Entry>> {
    match text.as_bytes().first() {
        Some(b'{') => Ok(vec![Entry::json(text.as_bytes())]),
        Some(b'[') => {
            Ok(elements(text)?.into_iter().map(|part| Entry::json(part.as_bytes())).collect())
        }
        _ => Err(refuse("the body must be an object or an array of objects")),
    }
}

/// One record a line. A line that is no JSON is kept, and goes to quarantine when it lands; a body
/// without any line of JSON is refused.
fn of_lines(bytes: &[u8]) -> Result<Vec<Entry>> {
    let lines: Vec<&[u8]> = bytes
        .split(|byte| *byte == b'\n')
        .map(<[u8]>::trim_ascii)
        .filter(|line| !line.is_empty())
        .collect();
    let good = |line: &&[u8]| {
        std::str::from_utf8(line).is_ok_and(|line| serde_json::from_str::<IgnoredAny>(line).is_ok())
    };
    if !lines.is_empty() && !lines.iter().any(good) {
        return Err(refuse("no line of the body is JSON"));
    }
    Ok(lines.into_iter().map(Entry::json).collect())
}

/// The elements of an array that is known to be JSON, as they stand in the text.
fn elements(text: &str) -> Result<Vec<&str>> {
    let inner = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let inner = inner.ok_or_else(|| refuse("the body must be an array"))?;
    let (mut depth, mut in_text, mut escaped, mut start) = (0_usize, false, false, 0);
    let mut parts = Vec::new();
    for (at, byte) in inner.bytes().enumerate() {
        match (in_text, byte) {
            (true, _) if escaped => escaped = false,
            (true, b'\\') => escaped = true,
            (_, b'"') => in_text = !in_text,
            (false, b'[' | b'{') => depth += 1,
            (false, b']' | b'}') => depth = depth.saturating_sub(1),
            (false, b',') if depth == 0 => {
                parts.push(inner[start..at].trim());
                start = at + 1;
            }
            _ => {}
        }
    }
    if !inner.trim().is_empty() {
        parts.push(inner[start..].trim());
    }
    Ok(parts)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn texts(content_type: &str, body: &str) -> Result<Vec<String>, String> {
        let body =
            PushBody { content_type, idempotency_key: None, event: &[], bytes: body.as_bytes() };
        let entries = entries(&body).map_err(|error| error.to_string())?;
        Ok(entries.into_iter().map(|entry| String::from_utf8(entry.text).unwrap()).collect())
    }

    #[test]
    fn bodies_are_cut_into_records_as_they_came() {
        const JSON: &str = "application/json";
        const LINES: &str = "application/x-ndjson";
        let cases: &[(&str, &str, &[&str])] = &[
            (JSON, r#" {"a":1.50} "#, &[r#"{"a":1.50}"#]),
            (JSON, "[]", &[]),
            (JSON, " [ ] ", &[]),
            (JSON, r#"[{"a":"],["}, {"b":[1,2]} ,3]"#, &[r#"{"a":"],["}"#, r#"{"b":[1,2]}"#, "3"]),
            (JSON, r#"[{"a":"\"]"}]"#, &[r#"{"a":"\"]"}"#]),
            ("application/json; charset=utf-8", "{}", &["{}"]),
            (LINES, "{\"a\":1}\r\n\nnot json\n{\"a\":2}", &["{\"a\":1}", "not json", "{\"a\":2}"]),
            (LINES, "", &[]),
        ];
        for (kind, body, expected) in cases {
            assert_eq!(texts(kind, body).unwrap(), *expected, "{body}");
        }
        for (kind, body, part) in [
            (JSON, "{\"a\":", "not JSON"),
            (JSON, "5", "object or an array"),
            (JSON, "{} {}", "not JSON"),
            (LINES, "no\nnor this", "no line"),
            ("text/plain", "{}", "text/plain"),
            ("application/cloudevents-batch+json", "{}", "must be an array"),
            ("application/cloudevents+json", "{\"id\":\"1\"}", "specversion"),
        ] {
            let error = texts(kind, body).unwrap_err();
            assert!(error.contains(part), "{body}: {error}");
        }
    }
}
