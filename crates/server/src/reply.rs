//! How does a failure leave the server? As JSON in the shape that OpenAI clients read, with the
//! right status; pages turn the same [`Refusal`] into HTML.

use axum::{
    Json,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};
use sextant_core::{ExitKind, Explain as _, Failure};
use sextant_wire::openai::{ErrorObject, ErrorReply};

use crate::{error::ServerError, limits};

/// A failure with the status it leaves with.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub status: StatusCode,
    pub failure: Failure,
    pub param: Option<String>,
    /// Takes the place of `SXT-nnnn` where a client branches on a word (`model_not_found`).
    pub word: Option<&'static str>,
}

impl Refusal {
    /// `SXT-nnnn`, or the word that clients know.
    pub fn code(&self) -> String {
        self.word.map_or_else(|| self.failure.code().to_string(), str::to_owned)
    }

    /// Names the request's field that is to blame.
    pub fn blame(mut self, param: &str, word: &'static str) -> Self {
        self.param = Some(param.to_owned());
        self.word = Some(word);
        self
    }

    /// The error in the shape of the OpenAI wire; all our JSON errors have it.
    pub fn to_wire(&self) -> ErrorReply {
        let kind = match self.status.as_u16() {
            401 => "authentication_error",
            403 => "permission_error",
            404 => "not_found_error",
            429 => "rate_limit_error",
            400..=499 => "invalid_request_error",
            _ => "server_error",
        };
        ErrorReply {
            error: ErrorObject {
                message: self.failure.chain(),
                kind: kind.to_owned(),
                param: self.param.clone(),
                code: Some(self.code()),
                hint: self.failure.hint(),
            },
        }
    }

    /// The error as the last line of an operation's stream.
    pub fn to_line(&self) -> Value {
        failure_json(&self.failure)
    }
}

/// `{code, message, hint, place, exit}`.
pub(crate) fn failure_json(failure: &Failure) -> Value {
    json!({
        "code": failure.code().to_string(),
        "message": failure.chain(),
        "hint": failure.hint(),
        "place": failure.place().map(|place| place.to_string()),
        "exit": failure.code().kind.exit_code(),
    })
}

impl From<ServerError> for Refusal {
    fn from(error: ServerError) -> Self {
        let status = match &error {
            ServerError::Forbidden { .. } | ServerError::Stranger { .. } => StatusCode::FORBIDDEN,
            ServerError::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            ServerError::Overloaded { whose: "of this key" } | ServerError::SourceFull { .. } => {
                StatusCode::TOO_MANY_REQUESTS
            }
            other => status_of(other.code().kind),
        };
        let param = match &error {
            ServerError::BadRequest { field, .. } => field.clone(),
            _ => None,
        };
        Self { status, failure: Failure::from(error), param, word: None }
    }
}

impl From<Failure> for Refusal {
    fn from(failure: Failure) -> Self {
        Self { status: status_of(failure.code().kind), failure, param: None, word: None }
    }
}

fn status_of(kind: ExitKind) -> StatusCode {
    StatusCode::from_u16(kind.http_status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut response = (self.status, Json(self.to_wire())).into_response();
        decorate(self.status, response.headers_mut());
        response
    }
}

/// The headers that go with a refusal's status.
pub(crate) fn decorate(status: StatusCode, headers: &mut axum::http::HeaderMap) {
    if status == StatusCode::UNAUTHORIZED {
        headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    if matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE) {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(limits::RETRY_AFTER_SECONDS));
    }
}
