//! Who calls, and may they read? Every call brings its own proof, so each is judged by itself: a key
//! that was revoked a moment ago opens nothing.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hyper::{HeaderMap, header::AUTHORIZATION};
use sextant_core::{Digest, Gatekeeper};
use std::sync::Arc;

use crate::error::FlightError;

/// How our keys begin. Other words that a client sends for a password prove nothing.
const KEY_PREFIX: &str = "sxt_";
/// What a trusted client without a key carries after it logged in.
const NO_KEY: &str = "trusted";

/// Who was let in: the hash of the key, or nothing for the local user who needs none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Caller(Option<Digest>);

/// A caller, and the word by which further calls are known.
pub(crate) struct Admitted {
    pub caller: Caller,
    pub bearer: String,
}

/// Judges one call. A key is always judged by what it may do, also where none would be needed.
pub(crate) async fn admit(
    gate: &Arc<dyn Gatekeeper>,
    trusted: bool,
    headers: &HeaderMap,
) -> Result<Admitted, FlightError> {
    let key = credential(headers).filter(|key| key.starts_with(KEY_PREFIX));
    let Some(key) = key else {
        if trusted {
            return Ok(Admitted { caller: Caller(None), bearer: format!("Bearer {NO_KEY}") });
        }
        return Err(FlightError::Unauthenticated("this needs a key and none was sent"));
    };
    let (gate, asked) = (Arc::clone(gate), key.clone());
    let known = tokio::task::spawn_blocking(move || gate.may_read(&asked)).await;
    if !known.unwrap_or(false) {
        return Err(FlightError::Unauthenticated("this key is not valid"));
    }
    Ok(Admitted { caller: Caller(Some(Digest::of(&key))), bearer: format!("Bearer {key}") })
}

/// A bearer token, or the password after a name.
fn credential(headers: &HeaderMap) -> Option<String> {
    let text = headers.get(AUTHORIZATION)?.to_str().ok()?;
    let (scheme, rest) = text.split_once(' ')?;
    let rest = rest.trim();
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some(rest.to_owned());
    }
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let pair = String::from_utf8(STANDARD.decode(rest).ok()?).ok()?;
    pair.split_once(':').map(|(_, password)| password.to_owned())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_key_is_found_in_both_schemes() {
        let basic = |pair: &str| format!("Basic {}", STANDARD.encode(pair));
        for (header, expected) in [
            ("Bearer sxt_1".to_owned(), Some("sxt_1")),
            ("bearer  sxt_1".to_owned(), Some("sxt_1")),
            (basic("anybody:sxt_1"), Some("sxt_1")),
            (basic("a:b:c"), Some("b:c")),
            (basic("sxt_1"), None),
            ("Basic ???".to_owned(), None),
            ("sxt_1".to_owned(), None),
            ("Digest sxt_1".to_owned(), None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(AUTHORIZATION, header.parse().unwrap());
            assert_eq!(credential(&headers).as_deref(), expected, "{header}");
        }
    }
}
