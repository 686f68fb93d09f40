//! How do clients of MLflow come in? Under the paths and with the words of its REST interface. Its
//! Python client decides by how an unknown path is answered what a server can do: with a page and the
//! status 404, never with JSON.

use std::sync::Arc;

use axum::{
    Extension,
    extract::{Path, Query, Request, State},
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde_json::{Map, Value, json};
use sextant_core::Cancel;

use crate::{
    body,
    error::ServerError,
    guard::Caller,
    jobs::blocking,
    keys::Role,
    port::{MlflowReply, MlflowRequest},
    reply::Refusal,
    state::{Shared, Slot},
};

/// The version of MLflow whose clients are answered; they ask for it and read it.
const VERSION: &str = "3.17.2";
/// Calls that change nothing though they are sent as POST.
const SEARCHES: &[&str] = &["experiments/search", "runs/search"];
/// Pages in place of JSON, as MLflow's server has them.
const NOT_FOUND: &str = "<!doctype html>\n<html lang=en>\n<title>404 Not Found</title>\n<h1>Not Found</h1>\n<p>The requested URL was not found on the server. If you entered the URL manually please check your spelling and try again.</p>\n";
const WRONG_METHOD: &str = "<!doctype html>\n<html lang=en>\n<title>405 Method Not Allowed</title>\n<h1>Method Not Allowed</h1>\n<p>The method is not allowed for the requested URL.</p>\n";

/// `GET /health`
pub(crate) async fn health() -> &'static str {
    "OK"
}

/// `GET /version`
pub(crate) async fn version() -> Response {
    ([(header::CONTENT_TYPE, "text/html; charset=utf-8")], VERSION).into_response()
}

/// `GET /api/2.0/mlflow/{*call}`
pub(crate) async fn look(
    State(shared): State<Arc<Shared>>,
    Path(call): Path<String>,
    Extension(slot): Extension<Arc<Slot>>,
    Query(pairs): Query<Vec<(String, String)>>,
) -> Result<Response, Refusal> {
    if call == "server-info" {
        return Ok(shown(200, &server_info()));
    }
    let mut fields: Map<String, Value> = Map::new();
    for (name, text) in pairs {
        match fields.get_mut(&name) {
            None => {
                fields.insert(name, text.into());
            }
            Some(Value::Array(texts)) => texts.push(text.into()),
            Some(first) => *first = json!([first.take(), text]),
        }
    }
    answer(shared, slot, MlflowRequest { method: "GET".to_owned(), call, fields }).await
}

/// `POST /api/2.0/mlflow/{*call}`. Who may only read may search this way, and nothing else.
pub(crate) async fn change(
    State(shared): State<Arc<Shared>>,
    Extension(caller): Extension<Caller>,
    Extension(slot): Extension<Arc<Slot>>,
    Path(call): Path<String>,
    request: Request,
) -> Result<Response, Refusal> {
    if !SEARCHES.contains(&call.as_str()) && caller.role < Role::Write {
        let (needs, has) = (Role::Write.as_str(), caller.role.as_str());
        return Err(ServerError::Forbidden { needs, has }.into());
    }
    let kind = request.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    let is_json = kind.is_some_and(|kind| kind.trim_start().starts_with("application/json"));
    let method = "POST".to_owned();
    let fields = match body::object(request).await {
        Err(error @ ServerError::TooLarge { .. }) => return Err(error.into()),
        _ if !is_json => {
            Err("Bad Request. Content-Type must be one of ['application/json'].".to_owned())
        }
        fields => fields.map_err(|error| error.to_string()),
    };
    let refused = fields.as_ref().err().cloned();
    let fields = fields.unwrap_or_default();
    let request = MlflowRequest { method, call, fields };
    match refused {
        None => answer(shared, slot, request).await,
        Some(message) => Ok(shown(
            400,
            &json!({
                "error_code": "INVALID_PARAMETER_VALUE",
                "message": message,
                "sqlstate": "KAM00",
                "error_class": "INVALID_PARAMETER_VALUE",
            }),
        )),
    }
}

async fn answer(
    shared: Arc<Shared>,
    slot: Arc<Slot>,
    request: MlflowRequest,
) -> Result<Response, Refusal> {
    let backend = Arc::clone(&shared.backend);
    // Not cancelled when the caller goes away: what is on its way into the log gets there.
    // Its place among the requests is taken until then.
    let work = move |_: &Cancel| {
        let _slot = slot;
        backend.mlflow(&request)
    };
    let reply = blocking(work).await?;
    Ok(match reply {
        MlflowReply::Said { status, body } => shown(status, &body),
        MlflowReply::NoSuchCall { allowed } if allowed.is_empty() => {
            page(StatusCode::NOT_FOUND, NOT_FOUND)
        }
        MlflowReply::NoSuchCall { allowed } => {
            let mut response = wrong_method();
            if let Ok(value) = HeaderValue::from_str(&allowed.join(", ")) {
                response.headers_mut().insert(header::ALLOW, value);
            }
            response
        }
    })
}

/// Whether a path belongs to clients of MLflow.
pub(crate) fn is_theirs(path: &str) -> bool {
    let rest = path.strip_prefix("/api/").or_else(|| path.strip_prefix("/ajax-api/"));
    rest.is_some_and(|rest| rest.contains("/mlflow/"))
}

/// What a method that a path does not have is answered.
pub(crate) fn wrong_method() -> Response {
    page(StatusCode::METHOD_NOT_ALLOWED, WRONG_METHOD)
}

fn shown(status: u16, body: &Value) -> Response {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let text = serde_json::to_string_pretty(body).unwrap_or_default();
    (status, [(header::CONTENT_TYPE, "application/json")], text).into_response()
}

fn page(status: StatusCode, text: &'static str) -> Response {
    (status, [(header::CONTENT_TYPE, "text/html; charset=utf-8")], text).into_response()
}

/// What there is here, as far as clients ask before they do something.
fn server_info() -> Value {
    json!({
        "store_type": "SqlStore",
        "workspaces_enabled": false,
        "trace_archival_enabled": false,
        "multipart_uploads_enabled": false,
        "multipart_downloads_enabled": false,
        "presigned_upload_run_id_supported": false,
        "presigned_upload_model_id_supported": false,
        "features_enabled": { "gateway": false },
    })
}
