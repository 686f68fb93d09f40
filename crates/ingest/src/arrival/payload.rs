//! What arrived, and how is it written down? Most ways in hand over a text. A record of Kafka stays in
//! its parts, which are bytes of the answer that it came in: most are never written down, and for
//! those that go to quarantine it is done there.

use std::{borrow::Cow, sync::Arc};

use bytes::Bytes;

use super::Format;
use crate::error::Result;

/// One record as it arrived.
#[derive(Debug, Clone)]
pub(crate) struct Record {
    pub(crate) partition: Arc<str>,
    pub(crate) offset: i64,
    /// Microseconds since 1970.
    pub(crate) arrived_at: i64,
    pub(crate) format: Format,
    pub(crate) payload: Payload,
}

impl Record {
    /// What arrived, as the quarantine keeps it.
    pub(crate) fn text(&self) -> Result<Cow<'_, str>> {
        match &self.payload {
            Payload::Text(text) => Ok(Cow::Borrowed(text)),
            Payload::Parts(parts) => crate::sources::written_down(parts).map(Cow::Owned),
        }
    }
}

/// What arrived.
#[derive(Debug, Clone)]
pub(crate) enum Payload {
    Text(String),
    Parts(Parts),
}

/// The parts of a record of Kafka.
#[derive(Debug, Clone, Default)]
pub(crate) struct Parts {
    pub(crate) key: Option<Bytes>,
    pub(crate) headers: Vec<(String, Option<Bytes>)>,
    pub(crate) value: Option<Bytes>,
}

impl From<String> for Payload {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}
