//! How do clients of MLflow come in? Under the paths and with the words of its REST interface. Its
//! Python client decides by how an unknown path is answered what a server can do: with a page and the
//! status 404, never with JSON.

use std::sync::Arc;

use axum::{
    Extension,
    body::HttpBody as _,
    extract::{OriginalUri, Query, Request, State},
    http::{HeaderValue, Method, StatusCode, Uri, header},
    response::{IntoResponse, Response},
};
use serde_json::{Map, Value, json};
use sextant_core::Cancel;

use super::artifacts::{self, ByteRange};
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

/// `/api/2.0/mlflow/{*call}` and its like, with any method. Who may only read may call what changes
/// nothing.
pub(crate) async fn call(
    State(shared): State<Arc<Shared>>,
    Extension(caller): Extension<Caller>,
    Extension(slot): Extension<Arc<Slot>>,
    OriginalUri(uri): OriginalUri,
    Query(pairs): Query<Vec<(String, String)>>,
    request: Request,
) -> Result<Response, Refusal> {
    let range = ByteRange::of(request.headers());
    let request = match asked(&uri, pairs, &caller, request).await? {
        Ok(request) => request,
        Err(response) => return Ok(response),
    };
    if request.path == "3.0/mlflow/server-info" && request.method == "GET" {
        return Ok(shown(200, &server_info()));
    }
    let reply = answered(&shared, request, Arc::clone(&slot)).await?;
    rendered(reply, &caller, &range, slot).await
}

/// What is asked, or the answer to what cannot be asked.
pub(super) async fn asked(
    uri: &Uri,
    pairs: Vec<(String, String)>,
    caller: &Caller,
    request: Request,
) -> Result<Result<MlflowRequest, Response>, Refusal> {
    let method = match *request.method() {
        Method::HEAD => Method::GET.to_string(),
        ref method => method.to_string(),
    };
    let Some(path) = their_path(uri) else { return Ok(Err(not_found())) };
    let fields = match method.as_str() {
        "GET" if !pairs.is_empty() => in_address(pairs),
        _ => match in_body(request).await? {
            Ok(fields) => fields,
            Err(message) => return Ok(Err(shown(400, &not_understood(&message)))),
        },
    };
    Ok(Ok(MlflowRequest { method, path, fields, may_change: caller.role >= Role::Write }))
}

/// Asks a question whose body was read.
pub(super) async fn answered(
    shared: &Arc<Shared>,
    request: MlflowRequest,
    slot: Arc<Slot>,
) -> Result<MlflowReply, Refusal> {
    let backend = Arc::clone(&shared.backend);
    // Not cancelled when the caller goes away: what is on its way into the log gets there.
    // Its place among the requests is taken until then.
    let work = move |_: &Cancel| {
        let _slot = slot;
        backend.mlflow(&request, &mut std::io::empty())
    };
    blocking(work).await
}

/// A reply as it leaves.
pub(super) async fn rendered(
    reply: MlflowReply,
    caller: &Caller,
    range: &ByteRange,
    slot: Arc<Slot>,
) -> Result<Response, Refusal> {
    Ok(match reply {
        MlflowReply::Said { status, body } => shown(status, &body),
        MlflowReply::File(file) => artifacts::sent(file, range, slot).await?,
        MlflowReply::Taken { etag } => artifacts::taken(&etag),
        MlflowReply::Forbidden => {
            let (needs, has) = (Role::Write.as_str(), caller.role.as_str());
            return Err(ServerError::Forbidden { needs, has }.into());
        }
        MlflowReply::NoSuchCall { allowed } if allowed.is_empty() => not_found(),
        MlflowReply::NoSuchCall { allowed } => {
            let mut response = wrong_method();
            if let Ok(value) = HeaderValue::from_str(&allowed.join(", ")) {
                response.headers_mut().insert(header::ALLOW, value);
            }
            response
        }
    })
}

/// The path behind `/api/`, `/ajax-api/` or the first slash, decoded.
pub(super) fn their_path(uri: &Uri) -> Option<String> {
    let path = uri.path();
    let path = ["/ajax-api/", "/api/", "/"].iter().find_map(|prefix| path.strip_prefix(prefix))?;
    Some(percent_encoding::percent_decode_str(path).decode_utf8().ok()?.into_owned())
}

/// The fields of an address.
pub(super) fn in_address(pairs: Vec<(String, String)>) -> Map<String, Value> {
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
    fields
}

/// The fields of a body, or in words why it has none.
async fn in_body(request: Request) -> Result<Result<Map<String, Value>, String>, Refusal> {
    let needs_kind = matches!(*request.method(), Method::POST | Method::PUT);
    let kind = request.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    let is_json = kind.is_some_and(|kind| kind.trim_start().starts_with("application/json"));
    let is_empty = request.body().size_hint().exact() == Some(0);
    match (needs_kind, is_empty) {
        (false, true) => return Ok(Ok(Map::new())),
        _ if needs_kind && !is_json => {
            let message = "Bad Request. Content-Type must be one of ['application/json'].";
            return Ok(Err(message.to_owned()));
        }
        _ => {}
    }
    match body::object(request).await {
        Err(error @ ServerError::TooLarge { .. }) => Err(error.into()),
        fields => Ok(fields.map_err(|error| error.to_string())),
    }
}

fn not_understood(message: &str) -> Value {
    json!({
        "error_code": "INVALID_PARAMETER_VALUE",
        "message": message,
        "sqlstate": "KAM00",
        "error_class": "INVALID_PARAMETER_VALUE",
    })
}

/// Whether a path belongs to clients of MLflow.
pub(crate) fn is_theirs(path: &str) -> bool {
    let rest = path.strip_prefix("/api/").or_else(|| path.strip_prefix("/ajax-api/"));
    rest.is_some_and(|rest| rest.contains("/mlflow/") || rest.contains("/mlflow-artifacts/"))
        || path.ends_with("/get-artifact")
        || path == "/graphql"
}

/// What a method that a path does not have is answered.
pub(crate) fn wrong_method() -> Response {
    page(StatusCode::METHOD_NOT_ALLOWED, WRONG_METHOD)
}

/// What a path that is no call is answered.
pub(super) fn not_found() -> Response {
    page(StatusCode::NOT_FOUND, NOT_FOUND)
}

fn shown(status: u16, body: &Value) -> Response {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let text = match body {
        Value::Object(fields) if status.is_client_error() || status.is_server_error() => {
            line(fields)
        }
        _ => serde_json::to_string_pretty(body).unwrap_or_default(),
    };
    (status, [(header::CONTENT_TYPE, "application/json")], text).into_response()
}

fn page(status: StatusCode, text: &'static str) -> Response {
    (status, [(header::CONTENT_TYPE, "text/html; charset=utf-8")], text).into_response()
}

/// A refusal on one line: clients print the first of what they were told.
fn line(fields: &Map<String, Value>) -> String {
    let fields: Vec<String> =
        fields.iter().map(|(name, value)| format!("{}: {value}", json!(name))).collect();
    format!("{{{}}}", fields.join(", "))
}

/// What there is here, as far as clients ask before they do something.
fn server_info() -> Value {
    json!({
        "store_type": "SqlStore",
        "workspaces_enabled": false,
        "trace_archival_enabled": false,
        "multipart_uploads_enabled": true,
        "multipart_downloads_enabled": false,
        "presigned_upload_run_id_supported": false,
        "presigned_upload_model_id_supported": false,
        "features_enabled": { "gateway": false },
    })
}
