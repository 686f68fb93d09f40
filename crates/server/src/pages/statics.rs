//! Which files do pages load? A handful, compiled in; nothing is fetched from anywhere else.

use std::sync::LazyLock;

use axum::{
    extract::Path,
    http::header,
    response::{IntoResponse, Response},
};
use sextant_core::Digest;

use crate::{error::ServerError, reply::Refusal};

/// Name, type, content.
const FILES: &[(&str, &str, &str)] = &[
    ("base.css", "text/css; charset=utf-8", include_str!("../static/base.css")),
    ("pages.css", "text/css; charset=utf-8", include_str!("../static/pages.css")),
    ("app.js", "text/javascript; charset=utf-8", include_str!("../static/app.js")),
    ("ask.js", "text/javascript; charset=utf-8", include_str!("../static/ask.js")),
    ("curves.js", "text/javascript; charset=utf-8", include_str!("../static/curves.js")),
    ("favicon.svg", "image/svg+xml", include_str!("../static/favicon.svg")),
];

/// Part of every address, so that a new binary is never served with old files from a cache.
static EDITION: LazyLock<String> = LazyLock::new(|| {
    let all: String = FILES.iter().map(|(_, _, text)| *text).collect();
    Digest::of(all).short()
});

/// The address of a file.
pub(crate) fn address(name: &str) -> String {
    format!("/static/{name}?e={}", *EDITION)
}

/// `GET /static/{file}`
pub(crate) async fn file(Path(name): Path<String>) -> Result<Response, Refusal> {
    let found = FILES.iter().find(|(file, _, _)| *file == name);
    let Some((_, kind, text)) = found else {
        return Err(ServerError::NoSuchPath { path: format!("/static/{name}") }.into());
    };
    let headers = [
        (header::CONTENT_TYPE, *kind),
        (header::CACHE_CONTROL, "public, max-age=31536000, immutable"),
    ];
    Ok((headers, *text).into_response())
}
