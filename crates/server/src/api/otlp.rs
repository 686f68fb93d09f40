//! How do spans come in? `POST /v1/traces` takes them as OTLP has them, in protobuf or JSON, for the
//! experiment that a header names, and is answered when they are durable. What is wrong with a request
//! is said as MLflow's server says it.

use std::sync::Arc;

use axum::{
    Extension,
    extract::{Request, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};
use sextant_core::Cancel;
use tokio::sync::Semaphore;

use crate::{
    body,
    error::ServerError,
    jobs::{blocking, defect},
    limits,
    port::{OtlpBody, OtlpReply, OtlpRequest},
    reply::Refusal,
    state::{Shared, Slot},
};

const EXPERIMENT: &str = "x-mlflow-experiment-id";
const RUN: &str = "x-mlflow-run-id";
const PROTOBUF: &str = "application/x-protobuf";
const JSON: &str = "application/json";
const CODINGS: &[&str] = &["", "identity", "gzip", "deflate", "zstd"];

static AT_ONCE: Semaphore = Semaphore::const_new(limits::OTLP_AT_ONCE);

/// `POST /v1/traces`
pub(crate) async fn traces(
    State(shared): State<Arc<Shared>>,
    Extension(slot): Extension<Arc<Slot>>,
    request: Request,
) -> Result<Response, Refusal> {
    let headers = request.headers().clone();
    let Some(experiment) = word(&headers, EXPERIMENT) else {
        let missing = json!([{
            "type": "missing", "loc": ["header", EXPERIMENT], "msg": "Field required", "input": null,
        }]);
        return Ok(refused(422, &json!({ "detail": missing })));
    };
    let body = match body_of(request, &headers).await? {
        Ok(body) => body,
        Err(detail) => return Ok(refused(400, &json!({ "detail": detail }))),
    };
    let request = OtlpRequest {
        experiment: experiment.to_owned(),
        run: word(&headers, RUN).map(str::to_owned),
        body,
    };
    let Ok(permit) = AT_ONCE.acquire().await else { return Err(defect().into()) };
    let backend = Arc::clone(&shared.backend);
    // Not cancelled when the caller goes away: what is on its way into the log gets there.
    // Its place among the requests is taken until then.
    let work = move |_: &Cancel| {
        let _held = (slot, permit);
        backend.otlp(request)
    };
    Ok(match blocking(work).await? {
        OtlpReply::Taken if word(&headers, "accept") == Some(JSON) => {
            ([(header::CONTENT_TYPE, JSON)], "{}").into_response()
        }
        // An answer that says nothing has no bytes in protobuf.
        OtlpReply::Taken => ([(header::CONTENT_TYPE, PROTOBUF)], Vec::new()).into_response(),
        OtlpReply::Refused { status, body } => refused(status, &body),
    })
}

fn word<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// The body, or what is wrong with it.
async fn body_of(
    request: Request,
    headers: &HeaderMap,
) -> Result<Result<OtlpBody, String>, Refusal> {
    let kind = word(headers, header::CONTENT_TYPE.as_str());
    let media = kind.and_then(|kind| kind.split(';').next()).map(str::trim);
    let is_json = match media {
        Some(PROTOBUF) => false,
        Some(JSON) => true,
        _ => {
            let kind = kind.unwrap_or("None");
            return Ok(Err(format!(
                "Invalid Content-Type: {kind}. Expected: application/x-protobuf or application/json"
            )));
        }
    };
    let coding = word(headers, header::CONTENT_ENCODING.as_str()).unwrap_or_default();
    let coding = coding.trim().to_ascii_lowercase();
    if !CODINGS.contains(&coding.as_str()) {
        return Ok(Err(format!("Unsupported Content-Encoding: {coding}")));
    }
    let bytes = body::read(request, limits::OTLP_BYTES_MAX).await?;
    let bytes = match body::unpacked(coding.clone(), bytes, limits::OTLP_BYTES_MAX).await {
        Ok(bytes) => bytes,
        Err(ServerError::BadRequest { .. }) => {
            return Ok(Err(format!("Failed to decompress {coding} payload")));
        }
        Err(error) => return Err(error.into()),
    };
    if !is_json {
        return Ok(Ok(OtlpBody::Protobuf(bytes)));
    }
    let json = body::parse::<Value>(&bytes);
    Ok(json.map(OtlpBody::Json).map_err(|_| "Invalid OpenTelemetry format".to_owned()))
}

fn refused(status: u16, body: &Value) -> Response {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    (status, [(header::CONTENT_TYPE, JSON)], body.to_string()).into_response()
}
