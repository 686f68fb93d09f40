//! Which browsers are logged in? A cookie holds a random token; only its hash is kept, in memory,
//! so that a restart logs everyone out.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use sextant_core::{Digest, Timestamp};

use crate::{error::ServerError, keys::KeyRecord, keys::random_hex, limits};

/// The name of the cookie.
pub(crate) const COOKIE: &str = "sxt_session";

#[derive(Debug, Clone)]
struct Session {
    key: KeyRecord,
    ends_at: Timestamp,
}

/// All browser sessions.
#[derive(Default)]
pub(crate) struct Sessions(Mutex<HashMap<Digest, Session>>);

impl Sessions {
    /// Opens a session for the holder of a key; returns the token for the cookie.
    pub fn open(&self, key: KeyRecord, now: Timestamp) -> Result<String, ServerError> {
        let token = random_hex::<32>()?;
        let ends_at = Timestamp::from_micros(
            now.micros().saturating_add_unsigned(limits::SESSION_SECONDS * 1_000_000),
        );
        let mut sessions = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        sessions.retain(|_, session| session.ends_at > now);
        if sessions.len() >= limits::SESSIONS_MAX {
            let oldest = sessions.iter().min_by_key(|(_, session)| session.ends_at);
            if let Some(digest) = oldest.map(|(digest, _)| *digest) {
                sessions.remove(&digest);
            }
        }
        sessions.insert(Digest::of(&token), Session { key, ends_at });
        Ok(token)
    }

    /// The id of the key that a token stands for.
    pub fn find(&self, token: &str, now: Timestamp) -> Option<KeyRecord> {
        let sessions = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let session = sessions.get(&Digest::of(token))?;
        (session.ends_at > now).then(|| session.key.clone())
    }

    /// Ends a session.
    pub fn close(&self, token: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&Digest::of(token));
    }

    /// Ends every session of a key that was revoked.
    pub fn close_all_of(&self, key_id: &str) {
        let mut sessions = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        sessions.retain(|_, session| session.key.id != key_id);
    }
}

/// The `Set-Cookie` value that keeps (or, with an empty token, forgets) a session.
pub(crate) fn set_cookie(token: &str) -> String {
    let age = if token.is_empty() { 0 } else { limits::SESSION_SECONDS };
    format!("{COOKIE}={token}; Path=/; HttpOnly; SameSite=Strict; Max-Age={age}")
}

/// One cookie of a request.
pub(crate) fn cookie<'a>(headers: &'a axum::http::HeaderMap, name: &str) -> Option<&'a str> {
    headers
        .get_all(axum::http::header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|line| line.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find_map(|(key, value)| (key == name).then_some(value))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::keys::Role;

    #[test]
    fn a_session_ends_by_time_by_logout_and_by_revocation() {
        let now = Timestamp::from_micros(0);
        let key = KeyRecord {
            id: "1".to_owned(),
            name: "x".to_owned(),
            role: Role::Read,
            hash: Digest::of(""),
            created_at: now,
            expires_at: None,
        };
        let sessions = Sessions::default();
        let later = Timestamp::from_micros(13 * 3_600_000_000);
        let token = sessions.open(key.clone(), now).unwrap();
        assert!(sessions.find(&token, now).is_some());
        assert!(sessions.find(&token, later).is_none());
        sessions.close(&token);
        assert!(sessions.find(&token, now).is_none());
        let token = sessions.open(key, now).unwrap();
        sessions.close_all_of("1");
        assert!(sessions.find(&token, now).is_none());
    }

    #[test]
    fn one_cookie_among_several_is_found() {
        let mut headers = axum::http::HeaderMap::new();
        headers.insert("cookie", "a=1; sxt_session=t; b=2".parse().unwrap());
        assert_eq!(cookie(&headers, COOKIE), Some("t"));
        assert_eq!(cookie(&headers, "c"), None);
    }
}
