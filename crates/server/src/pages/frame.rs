//! What is around every page? The navigation, the theme, and the way a failure is shown.

use std::{convert::Infallible, sync::Arc};

use axum::{
    extract::{FromRequestParts, Request},
    http::{HeaderMap, StatusCode, Uri, header, request::Parts},
    response::{Html, IntoResponse, Response},
};
use maud::{DOCTYPE, Markup, html};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::{icons, statics};
use crate::{
    api::ops::admit,
    error::ServerError,
    guard::Caller,
    jobs::{blocking, run_op},
    keys::Role,
    port::{MlflowReply, MlflowRequest},
    reply::{Refusal, decorate},
    sessions::cookie,
    state::Shared,
};

/// Which entry of the navigation a page belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Nav {
    Home,
    Assets,
    Sources,
    Tables,
    Runs,
    Experiments,
    Models,
    Traces,
    Releases,
    Ask,
    Docs,
    None,
}

/// The navigation: entry, address, word, the key that follows `g`.
const NAV: &[(Nav, &str, &str, &str)] = &[
    (Nav::Home, "/", "Home", "h"),
    (Nav::Assets, "/assets", "Assets", "a"),
    (Nav::Sources, "/sources", "Sources", "s"),
    (Nav::Tables, "/tables", "Tables", "t"),
    (Nav::Runs, "/runs", "Runs", "r"),
    (Nav::Experiments, "/experiments", "Experiments", "e"),
    (Nav::Models, "/models", "Models", "m"),
    (Nav::Traces, "/traces", "Traces", "c"),
    (Nav::Releases, "/releases", "Releases", "l"),
    (Nav::Ask, "/ask", "Ask", "q"),
    (Nav::Docs, "/docs", "Docs", "d"),
];

/// Light, dark, or whatever the system says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Theme {
    System,
    Light,
    Dark,
}

impl Theme {
    /// What a request asks for: `?theme=` first, then the cookie that the toggle sets.
    pub fn of(request: &Request) -> Self {
        Self::from_parts(request.uri(), request.headers())
    }

    fn from_parts(uri: &Uri, headers: &HeaderMap) -> Self {
        let asked = uri
            .query()
            .and_then(|query| query.split('&').find_map(|pair| pair.strip_prefix("theme=")));
        match asked.or_else(|| cookie(headers, "sxt_theme")) {
            Some("dark") => Self::Dark,
            Some("light") => Self::Light,
            _ => Self::System,
        }
    }

    const fn attribute(self) -> Option<&'static str> {
        match self {
            Self::System => None,
            Self::Light => Some("light"),
            Self::Dark => Some("dark"),
        }
    }
}

/// What a page's handler is given: the way to the data and the frame around the page.
pub(crate) struct Frame {
    pub shared: Arc<Shared>,
    pub caller: Option<Caller>,
    pub theme: Theme,
    pub query: Vec<(String, String)>,
    /// The name and port under which the caller reached the server.
    pub host: String,
}

impl FromRequestParts<Arc<Shared>> for Frame {
    type Rejection = Infallible;

    async fn from_request_parts(
        parts: &mut Parts,
        shared: &Arc<Shared>,
    ) -> Result<Self, Infallible> {
        let query = axum::extract::Query::<Vec<(String, String)>>::try_from_uri(&parts.uri)
            .map(|query| query.0)
            .unwrap_or_default();
        Ok(Self {
            shared: Arc::clone(shared),
            caller: parts.extensions.get::<Caller>().cloned(),
            theme: Theme::from_parts(&parts.uri, &parts.headers),
            query,
            host: parts
                .headers
                .get(header::HOST)
                .and_then(|host| host.to_str().ok())
                .unwrap_or("127.0.0.1:7700")
                .to_owned(),
        })
    }
}

impl Frame {
    /// One parameter of the address, when it is there and not empty.
    pub fn param(&self, name: &str) -> Option<&str> {
        self.query
            .iter()
            .find(|(key, value)| key == name && !value.is_empty())
            .map(|(_, value)| value.as_str())
    }

    /// Whether the caller's key has this role: decides which buttons are shown, not what is allowed.
    pub fn may(&self, role: Role) -> bool {
        self.caller.as_ref().is_some_and(|caller| caller.role >= role)
    }

    /// Runs an operation and reads its result into a view. A page is one more door to the
    /// operations: the caller needs the same role as at the others.
    pub async fn op<T: DeserializeOwned>(&self, op: Value) -> Result<T, Refusal> {
        let nobody = ServerError::Unauthenticated { reason: "this needs a key and none was sent" };
        admit(self.caller.as_ref().ok_or(nobody)?, &op)?;
        let name = op.get("op").and_then(Value::as_str).unwrap_or_default().to_owned();
        let mut result = run_op(&self.shared, op).await?;
        drop_nulls(&mut result);
        serde_json::from_value(result)
            .map_err(|source| ServerError::Shape { op: name, source }.into())
    }

    /// Asks what a client of MLflow would, changing nothing. None when there is no such call.
    pub async fn mlflow<T: DeserializeOwned>(
        &self,
        method: &str,
        path: &str,
        fields: Value,
    ) -> Result<Option<T>, Refusal> {
        let nobody = ServerError::Unauthenticated { reason: "this needs a key and none was sent" };
        self.caller.as_ref().ok_or(nobody)?;
        let fields = match fields {
            Value::Object(fields) => fields,
            _ => Map::new(),
        };
        let request = MlflowRequest {
            method: method.to_owned(),
            path: path.to_owned(),
            fields,
            may_change: false,
        };
        let backend = Arc::clone(&self.shared.backend);
        let (status, mut body) =
            match blocking(move |_| backend.mlflow(&request, &mut std::io::empty())).await? {
                MlflowReply::Said { status, body } => (status, body),
                _ => return Ok(None),
            };
        if status >= 400 {
            let reason = body["message"].as_str().unwrap_or("the call was refused").to_owned();
            let mut refusal = Refusal::from(ServerError::BadRequest { field: None, reason });
            refusal.status = StatusCode::from_u16(status).unwrap_or(refusal.status);
            return Err(refusal);
        }
        drop_nulls(&mut body);
        let shape = |source| ServerError::Shape { op: path.to_owned(), source }.into();
        serde_json::from_value(body).map(Some).map_err(shape)
    }

    /// The whole page, or the failure in its place.
    pub fn answer(&self, title: &str, nav: Nav, body: Result<Markup, Refusal>) -> Response {
        match body {
            Ok(body) => self.page(title, nav, &body),
            Err(refusal) => {
                let shown = html! { header.head { h1 { (title) } } (failure(&refusal)) };
                let mut response = self.page(title, nav, &shown);
                *response.status_mut() = refusal.status;
                decorate(refusal.status, response.headers_mut());
                response
            }
        }
    }

    fn page(&self, title: &str, nav: Nav, body: &Markup) -> Response {
        document(
            title,
            self.theme,
            &html! {
                a.skip href="#main" { "Skip to content" }
                div.shell {
                    (sidebar(nav, self.caller.as_ref()))
                    main #main tabindex="-1" { (body) }
                }
                (shortcuts())
            },
        )
        .into_response()
    }
}

/// Absent and null are the same to a view.
fn drop_nulls(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.retain(|_, value| !value.is_null());
            map.values_mut().for_each(drop_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(drop_nulls),
        _ => {}
    }
}

/// A page without navigation: the login form, and refusals before a page was reached.
pub(crate) fn bare(title: &str, theme: Theme, body: &Markup) -> Html<String> {
    document(title, theme, &html! { main.bare #main { (body) } })
}

/// A refusal as a page of its own.
pub(crate) fn error_page(refusal: &Refusal, theme: Theme) -> Response {
    let title = if refusal.status == StatusCode::NOT_FOUND { "Not found" } else { "Refused" };
    let page = bare(
        title,
        theme,
        &html! {
            a.brand href="/" { (icons::sextant()) span { "Sextant" } }
            (failure(refusal))
            p { a.button href="/" { "Home" } }
        },
    );
    let mut response = (refusal.status, page).into_response();
    decorate(refusal.status, response.headers_mut());
    response
}

/// What failed, why, and what to do.
pub(crate) fn failure(refusal: &Refusal) -> Markup {
    html! {
        section.notice.bad role="alert" {
            div.notice-icon { (icons::state("failed")) }
            div {
                p.notice-title { (refusal.failure.chain()) }
                @if let Some(hint) = refusal.failure.hint() { p { (hint) } }
                p.quiet {
                    (refusal.failure.code().title) " · "
                    code { (refusal.failure.code()) }
                    @if let Some(place) = refusal.failure.place() { " · " code { (place) } }
                }
            }
        }
    }
}

fn document(title: &str, theme: Theme, body: &Markup) -> Html<String> {
    let page = html! {
        (DOCTYPE)
        html lang="en" data-theme=[theme.attribute()] {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) " · Sextant" }
                link rel="icon" href=(statics::address("favicon.svg")) type="image/svg+xml";
                link rel="stylesheet" href=(statics::address("base.css"));
                link rel="stylesheet" href=(statics::address("pages.css"));
                link rel="stylesheet" href=(statics::address("tracking.css"));
                script type="module" src=(statics::address("app.js")) {}
            }
            body { (body) }
        }
    };
    Html(page.into_string())
}

fn sidebar(active: Nav, caller: Option<&Caller>) -> Markup {
    html! {
        nav.side aria-label="Main" {
            a.brand href="/" { (icons::sextant()) span { "Sextant" } }
            ul {
                @for (nav, address, word, key) in NAV {
                    li {
                        a href=(address) aria-current=[(*nav == active).then_some("page")]
                            data-go=(key) title={ "g then " (key) } {
                            (icons::nav(word)) span { (word) }
                            kbd aria-hidden="true" { "g " (key) }
                        }
                    }
                }
            }
            div.side-foot {
                @if let Some(caller) = caller {
                    span.who title={ "role: " (caller.role.as_str()) } { (caller.name) }
                    @if caller.by_cookie {
                        form method="post" action="/logout" {
                            button.link type="submit" { "Log out" }
                        }
                    }
                }
                div.side-tools {
                    button.icon type="button" data-theme-toggle aria-label="Switch between light and dark" {
                        (icons::theme())
                    }
                    button.icon type="button" popovertarget="shortcuts" aria-label="Keyboard shortcuts" {
                        "?"
                    }
                }
            }
        }
    }
}

fn shortcuts() -> Markup {
    html! {
        div.sheet #shortcuts popover {
            h2 { "Keyboard" }
            dl.keys {
                @for (_, _, word, key) in NAV {
                    div { dt { kbd { "g" } " " kbd { (key) } } dd { (word) } }
                }
                div { dt { kbd { "/" } } dd { "Search or ask" } }
                div { dt { kbd { "t" } } dd { "Light or dark" } }
                div { dt { kbd { "?" } } dd { "This list" } }
                div { dt { kbd { "Esc" } } dd { "Close a panel" } }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::time::Instant;

    use serde_json::json;
    use sextant_core::{Cancel, Events, Failure, Timestamp};

    use super::*;
    use crate::{
        AuthMode,
        keys::KeyRing,
        port::{
            Backend, ChatRequest, IngestReply, IngestRequest, MlflowReply, MlflowRequest,
            OtlpReply, OtlpRequest, PinnedRelease,
        },
        sessions::Sessions,
        state::{Counters, Phase, Slots},
    };

    /// Does whatever it is asked.
    struct Obedient;

    impl Backend for Obedient {
        fn run(&self, op: Value, _: &dyn Events, _: &Cancel) -> Result<Value, Failure> {
            Ok(json!({ "ran": op["op"] }))
        }
        fn pin(&self, _: &str) -> Result<PinnedRelease, Failure> {
            Ok(PinnedRelease { name: String::new(), digest: String::new() })
        }
        fn chat(
            &self,
            _: ChatRequest,
            _: &mut dyn FnMut(&str),
            _: &Cancel,
        ) -> Result<Value, Failure> {
            Ok(Value::Null)
        }
        fn mlflow(
            &self,
            _: &MlflowRequest,
            _: &mut dyn std::io::Read,
        ) -> Result<MlflowReply, Failure> {
            Ok(MlflowReply::NoSuchCall { allowed: Vec::new() })
        }

        fn otlp(&self, _: OtlpRequest) -> Result<OtlpReply, Failure> {
            Ok(OtlpReply::Taken)
        }
        fn ingest(&self, _: &IngestRequest) -> Result<IngestReply, Failure> {
            Ok(IngestReply::Accepted { records: 0, offset: None })
        }
        fn releases(&self) -> Vec<String> {
            Vec::new()
        }
        fn ready(&self) -> Result<(), String> {
            Ok(())
        }
        fn metrics(&self) -> Vec<(String, String, f64)> {
            Vec::new()
        }
        fn manual(&self) -> Vec<(String, String)> {
            Vec::new()
        }
        fn op_schema(&self) -> Value {
            Value::Null
        }
    }

    /// The status with which a page may run this operation for such a caller.
    async fn status(role: Option<Role>, op: Value) -> u16 {
        let folder = tempfile::tempdir().unwrap();
        let shared = Shared {
            backend: Arc::new(Obedient),
            auth: AuthMode::Required,
            hosts: Vec::new(),
            keys: KeyRing::open(folder.path(), Timestamp::from_micros(1)).unwrap(),
            sessions: Sessions::default(),
            slots: Slots::default(),
            counters: Counters::default(),
            phase: tokio::sync::watch::channel(Phase::Serving).1,
            started: Instant::now(),
        };
        let caller = role.map(|role| Caller { name: "a".to_owned(), role, by_cookie: true });
        let frame = Frame {
            shared: Arc::new(shared),
            caller,
            theme: Theme::System,
            query: Vec::new(),
            host: String::new(),
        };
        match frame.op::<Value>(op.clone()).await {
            Ok(result) => {
                assert_eq!(result["ran"], op["op"]);
                200
            }
            Err(refusal) => refusal.status.as_u16(),
        }
    }

    #[tokio::test]
    async fn a_page_runs_no_operation_that_its_caller_may_not() {
        let (read, write, admin) = (Some(Role::Read), Some(Role::Write), Some(Role::Admin));
        for (role, op, expected) in [
            (None, json!({ "op": "status" }), 401),
            (read, json!({ "op": "status" }), 200),
            (read, json!({ "op": "data_replay" }), 403),
            (read, json!({ "op": "data_gc", "dry_run": true }), 403),
            (write, json!({ "op": "data_gc", "dry_run": true }), 403),
            (write, json!({ "op": "data_replay" }), 200),
            (write, json!({ "op": "release_promote", "force": "because" }), 403),
            (write, json!({ "op": "nobody thought of it" }), 403),
            (admin, json!({ "op": "data_gc", "dry_run": true }), 200),
        ] {
            assert_eq!(status(role, op.clone()).await, expected, "{role:?} {op}");
        }
    }
}
