//! How does an admin make and end keys?

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, State},
};
use serde::Deserialize;
use serde_json::{Value, json};
use sextant_core::Timestamp;

use crate::{
    body::JsonBody,
    error::ServerError,
    jobs::blocking,
    keys::{KeyRecord, Role},
    reply::Refusal,
    state::Shared,
};

/// The body of `POST /api/v1/keys`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewKey {
    name: String,
    role: Role,
    #[serde(default)]
    expires_in_days: Option<u32>,
}

/// `GET /api/v1/keys`
pub(crate) async fn list(State(shared): State<Arc<Shared>>) -> Json<Value> {
    let keys: Vec<_> = shared.keys.list().iter().map(public).collect();
    Json(json!({ "keys": keys }))
}

/// `POST /api/v1/keys`
pub(crate) async fn issue(
    State(shared): State<Arc<Shared>>,
    JsonBody(new): JsonBody<NewKey>,
) -> Result<Json<Value>, Refusal> {
    if new.name.is_empty() || new.name.len() > 100 {
        return Err(ServerError::field("name", "a name has 1 to 100 bytes").into());
    }
    let now = shared.now();
    let micros_a_day = 86_400_000_000_i64;
    let end = new.expires_in_days.map(|days| {
        Timestamp::from_micros(now.micros().saturating_add(i64::from(days) * micros_a_day))
    });
    let (key, record) =
        blocking(move |_| shared.keys.issue(&new.name, new.role, now, end).map_err(Into::into))
            .await?;
    let mut shown = public(&record);
    if let Some(fields) = shown.as_object_mut() {
        fields.insert("key".to_owned(), Value::String(key));
    }
    Ok(Json(shown))
}

/// `DELETE /api/v1/keys/{id}`
pub(crate) async fn revoke(
    State(shared): State<Arc<Shared>>,
    Path(id): Path<String>,
) -> Result<Json<Value>, Refusal> {
    let path = format!("/api/v1/keys/{id}");
    let known = blocking(move |_| {
        let known = shared.keys.revoke(&id)?;
        // After the key is gone: nobody can log in with it in between.
        shared.sessions.close_all_of(&id);
        Ok(known)
    })
    .await?;
    if known {
        Ok(Json(json!({ "revoked": true })))
    } else {
        Err(ServerError::NoSuchPath { path }.into())
    }
}

fn public(key: &KeyRecord) -> Value {
    json!({
        "id": key.id,
        "name": key.name,
        "role": key.role,
        "created_at": key.created_at.to_string(),
        "expires_at": key.expires_at.map(|end| end.to_string()),
    })
}
