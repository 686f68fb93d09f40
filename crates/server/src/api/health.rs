//! Does the server live, can it serve, and how much does it do?

use std::{
    fmt::Write as _,
    sync::{Arc, atomic::Ordering},
};

use axum::{
    Json,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use serde_json::json;

use crate::{
    jobs::blocking,
    reply::Refusal,
    state::{Phase, Shared},
};

/// `GET /livez`
pub(crate) async fn livez() -> &'static str {
    "ok\n"
}

/// `GET /readyz`. Anybody may ask, so the reason is given only in the log.
pub(crate) async fn readyz(State(shared): State<Arc<Shared>>) -> Response {
    if *shared.phase.borrow() != Phase::Serving {
        return not_ready("stopping");
    }
    let backend = Arc::clone(&shared.backend);
    match blocking(move |_| Ok(backend.ready())).await {
        Ok(Ok(())) => Json(json!({ "ready": true })).into_response(),
        Ok(Err(reason)) => {
            tracing::warn!(%reason, "not ready");
            not_ready("degraded")
        }
        Err(_) => not_ready("degraded"),
    }
}

fn not_ready(state: &str) -> Response {
    let body = Json(json!({ "ready": false, "state": state }));
    (StatusCode::SERVICE_UNAVAILABLE, body).into_response()
}

/// `GET /metrics`
pub(crate) async fn metrics(State(shared): State<Arc<Shared>>) -> Result<Response, Refusal> {
    let backend = Arc::clone(&shared.backend);
    let gauges = blocking(move |_| Ok(backend.metrics())).await?;
    let mut text = own_metrics(&shared);
    let named = |name: &str| name.find('{').unwrap_or(name.len());
    for group in gauges.chunk_by(|a, b| a.0[..named(&a.0)] == b.0[..named(&b.0)]) {
        let Some((name, help, _)) = group.first() else { continue };
        let values: Vec<_> =
            group.iter().map(|(name, _, value)| (name[named(name)..].to_owned(), *value)).collect();
        gauge(&mut text, &name[..named(name)], "gauge", help, &values);
    }
    let kind = "text/plain; version=0.0.4; charset=utf-8";
    Ok(([(header::CONTENT_TYPE, kind)], text).into_response())
}

fn own_metrics(shared: &Shared) -> String {
    let mut text = String::new();
    let counters = &shared.counters;
    let replies: Vec<_> = (1..)
        .zip(&counters.replies)
        .map(|(hundreds, count)| {
            (format!("{{status=\"{hundreds}xx\"}}"), count.load(Ordering::Relaxed) as f64)
        })
        .collect();
    gauge(&mut text, "sextant_http_replies_total", "counter", "Replies by status.", &replies);
    for (name, kind, help, value) in [
        (
            "sextant_http_requests_shed_total",
            "counter",
            "Requests told 429 or 503 for want of room.",
            counters.shed.load(Ordering::Relaxed) as f64,
        ),
        (
            "sextant_http_panics_total",
            "counter",
            "Handlers that panicked.",
            counters.panics.load(Ordering::Relaxed) as f64,
        ),
        (
            "sextant_http_requests_in_progress",
            "gauge",
            "Requests in progress.",
            shared.slots.in_progress() as f64,
        ),
        (
            "sextant_uptime_seconds",
            "gauge",
            "Seconds since the server started.",
            shared.started.elapsed().as_secs_f64(),
        ),
    ] {
        gauge(&mut text, name, kind, help, &[(String::new(), value)]);
    }
    text
}

fn gauge(text: &mut String, name: &str, kind: &str, help: &str, values: &[(String, f64)]) {
    let help = help.replace('\\', "\\\\").replace('\n', "\\n");
    // Writing to a String cannot fail.
    let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
    for (labels, value) in values {
        let _ = writeln!(text, "{name}{labels} {value}");
    }
}
