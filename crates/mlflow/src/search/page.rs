//! Which part of the results is asked for?

use serde_json::{Map, Value, json};

use super::super::{Refusal, refusal::invalid};

/// One page of results. Its token is MLflow's: an offset, which clients hand back as it is.
#[derive(Debug, Clone, Copy)]
pub(in super::super) struct Page {
    offset: i64,
    size: i64,
}

impl Page {
    /// The page that a token names, of this size.
    pub(in super::super) fn of(token: Option<&str>, size: i64) -> Result<Self, Refusal> {
        let offset = match token.filter(|token| !token.is_empty()) {
            None => 0,
            Some(token) => read(token).ok_or_else(|| invalid("Invalid page token"))?,
        };
        Ok(Self { offset, size })
    }

    /// The page of this size behind so many results.
    pub(in super::super) fn at(offset: i64, size: i64) -> Result<Self, Refusal> {
        match offset {
            ..=-1 => Err(invalid("an offset is not negative")),
            _ => Ok(Self { offset, size }),
        }
    }

    /// How many results it has at most.
    pub(in super::super) fn size(&self) -> usize {
        usize::try_from(self.size).unwrap_or(0)
    }

    /// How many results come before it.
    pub(in super::super) fn begin(&self) -> usize {
        usize::try_from(self.offset).unwrap_or(usize::MAX)
    }

    /// How many rows to ask for: one more tells whether there is a next page.
    pub(in super::super) fn limit(&self) -> i64 {
        self.size + 1
    }

    pub(in super::super) fn offset(&self) -> i64 {
        self.offset
    }

    /// The results under their name, and the token of the next page when more were found.
    pub(in super::super) fn answer(&self, name: &str, shown: Vec<Value>, found: usize) -> Value {
        let mut answer = Map::new();
        if !shown.is_empty() {
            answer.insert(name.to_owned(), Value::Array(shown));
        }
        if found > self.size() {
            let token = json!({ "offset": self.offset + self.size }).to_string();
            answer.insert("next_page_token".to_owned(), hex(&token).into());
        }
        Value::Object(answer)
    }
}

/// Tokens are opaque; hexadecimal digits need no care in an address.
fn hex(text: &str) -> String {
    text.bytes().map(|byte| format!("{byte:02x}")).collect()
}

fn read(token: &str) -> Option<i64> {
    let bytes: Option<Vec<u8>> = (0..token.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(token.get(at..at + 2)?, 16).ok())
        .collect();
    let value: Value = serde_json::from_slice(&bytes?).ok()?;
    value.get("offset")?.as_i64().filter(|offset| *offset >= 0)
}
