//! How does a webhook's message leave the house? Through a port that the application plugs: this crate
//! knows no HTTP. What is sent is signed here, as MLflow signs it.

use std::fmt;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use ring::hmac;

/// Longest part of a reply that is told.
const REPLY_CHARS_MAX: usize = 4000;

/// Posts messages to addresses that users named, and guards which of them are reached.
pub trait Post: Send + Sync + fmt::Debug {
    /// Checks an address when it is given.
    ///
    /// # Errors
    /// In words, when nothing may go there.
    fn check(&self, url: &str) -> Result<(), String>;

    /// Posts a message and waits for the reply.
    ///
    /// # Errors
    /// When nothing may go there, or nothing came back.
    fn post(&self, message: &Message) -> Result<Posted, NotPosted>;
}

/// A message that goes out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Where to.
    pub url: String,
    /// Names and values.
    pub headers: Vec<(&'static str, String)>,
    /// The body: JSON.
    pub body: String,
}

/// What came back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Posted {
    /// The status of HTTP.
    pub status: u16,
    /// The beginning of the body.
    pub body: String,
}

/// Why nothing came back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotPosted {
    /// In words.
    pub reason: String,
    /// Whether the same may succeed later.
    pub again: bool,
}

impl Message {
    /// A message as MLflow sends it. `delivery` stays the same when it is sent again; `second` is the
    /// time, in seconds since 1970.
    pub(super) fn new(url: &str, secret: &str, delivery: &str, second: i64, body: String) -> Self {
        let mut headers = vec![
            ("Content-Type", "application/json".to_owned()),
            ("X-MLflow-Delivery-Id", delivery.to_owned()),
            ("X-MLflow-Timestamp", second.to_string()),
        ];
        if !secret.is_empty() {
            let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
            let signed = hmac::sign(&key, format!("{delivery}.{second}.{body}").as_bytes());
            headers.push(("X-MLflow-Signature", format!("v1,{}", STANDARD.encode(signed))));
        }
        Self { url: url.to_owned(), headers, body }
    }
}

impl Posted {
    /// Whether it was taken.
    pub(super) const fn is_taken(&self) -> bool {
        self.status < 400
    }

    /// Whether it may be taken later.
    pub(super) const fn is_for_later(&self) -> bool {
        self.status == 429 || self.status >= 500
    }

    /// The body as it is told.
    pub(super) fn told(&self) -> String {
        self.body.chars().take(REPLY_CHARS_MAX).collect()
    }
}
