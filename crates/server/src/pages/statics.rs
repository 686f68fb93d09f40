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
    ("tracking.css", "text/css; charset=utf-8", include_str!("../static/tracking.css")),
    ("plot.js", "text/javascript; charset=utf-8", include_str!("../static/plot.js")),
    ("curves.js", "text/javascript; charset=utf-8", include_str!("../static/curves.js")),
    ("charts.js", "text/javascript; charset=utf-8", include_str!("../static/charts.js")),
    ("runs-table.js", "text/javascript; charset=utf-8", include_str!("../static/runs-table.js")),
    ("artifacts.js", "text/javascript; charset=utf-8", include_str!("../static/artifacts.js")),
    ("favicon.svg", "image/svg+xml", include_str!("../static/favicon.svg")),
];

/// Part of every address, so that a new binary is never served with old files from a cache.
static EDITION: LazyLock<String> = LazyLock::new(|| {
    let all: String = FILES.iter().map(|(_, _, text)| *text).collect();
    Digest::of(all).short()
});

/// What is served. A script names others without an edition; it is given theirs here, or a browser would
/// keep the old ones, and run a script twice that it knows under two addresses.
static SERVED: LazyLock<Vec<String>> = LazyLock::new(|| {
    let names = || FILES.iter().map(|(name, ..)| *name).filter(|name| name.ends_with(".js"));
    let edition = EDITION.as_str();
    let with_edition = |text: &&str| {
        names().fold((*text).to_owned(), |text, name| {
            text.replace(&format!("from \"./{name}\""), &format!("from \"./{name}?e={edition}\""))
        })
    };
    FILES.iter().map(|(.., text)| text).map(with_edition).collect()
});

/// The address of a file.
pub(crate) fn address(name: &str) -> String {
    format!("/static/{name}?e={}", *EDITION)
}

/// `GET /static/{file}`
pub(crate) async fn file(Path(name): Path<String>) -> Result<Response, Refusal> {
    let found = FILES.iter().zip(SERVED.iter()).find(|((file, ..), _)| *file == name);
    let Some(((_, kind, _), text)) = found else {
        return Err(ServerError::NoSuchPath { path: format!("/static/{name}") }.into());
    };
    let headers = [
        (header::CONTENT_TYPE, *kind),
        (header::CACHE_CONTROL, "public, max-age=31536000, immutable"),
    ];
    Ok((headers, text.as_str()).into_response())
}
