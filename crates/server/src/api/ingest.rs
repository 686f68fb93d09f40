//! How do records come in? `POST /ingest/{source}` is answered when they are durable: `{"accepted":
//! n, "offset": last}`. A repeat with the same idempotency key, or of the same CloudEvent, is
//! answered as the first one was.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, State},
    http::{HeaderMap, header},
};
use serde_json::{Value, json};

use crate::{
    body::PackedBody,
    error::ServerError,
    jobs::blocking,
    limits,
    port::{IngestReply, IngestRequest},
    reply::Refusal,
    state::Shared,
};

/// The header that names a request, so that it can be sent again.
const IDEMPOTENCY_KEY: &str = "idempotency-key";
/// What the attributes of a CloudEvent in binary mode begin with.
const EVENT_PREFIX: &str = "ce-";

/// `POST /ingest/{source}`
pub(crate) async fn ingest(
    State(shared): State<Arc<Shared>>,
    Path(source): Path<String>,
    headers: HeaderMap,
    PackedBody(body): PackedBody,
) -> Result<Json<Value>, Refusal> {
    let request = request(source, &headers, body)?;
    let backend = Arc::clone(&shared.backend);
    // Not cancelled when the caller goes away: what is on its way into the log gets there.
    match blocking(move |_| backend.ingest(&request)).await? {
        IngestReply::Accepted { records, offset } => {
            Ok(Json(json!({ "accepted": records, "offset": offset })))
        }
        IngestReply::Full { waiting_bytes, limit_bytes } => {
            shared.counters.shed.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            Err(ServerError::SourceFull { waiting_bytes, limit_bytes }.into())
        }
    }
}

fn request(
    source: String,
    headers: &HeaderMap,
    body: Vec<u8>,
) -> Result<IngestRequest, ServerError> {
    let word = |name: &str| -> Result<Option<String>, ServerError> {
        let Some(value) = headers.get(name) else { return Ok(None) };
        let text = value.to_str().map_err(|_| ServerError::field(name, "it is not ASCII"))?;
        Ok(Some(text.to_owned()))
    };
    let idempotency_key = word(IDEMPOTENCY_KEY)?;
    if let Some(key) = &idempotency_key
        && (key.is_empty() || key.len() > limits::IDEMPOTENCY_KEY_BYTES_MAX)
    {
        let most = limits::IDEMPOTENCY_KEY_BYTES_MAX;
        let reason = format!("it must have 1 to {most} bytes");
        return Err(ServerError::field(IDEMPOTENCY_KEY, reason));
    }
    let mut event = Vec::new();
    for name in headers.keys() {
        if let Some(attribute) = name.as_str().strip_prefix(EVENT_PREFIX)
            && let Some(value) = word(name.as_str())?
        {
            event.push((attribute.to_owned(), value));
        }
    }
    let content_type = word(header::CONTENT_TYPE.as_str())?.unwrap_or_default();
    Ok(IngestRequest { source, content_type, idempotency_key, event, body })
}
