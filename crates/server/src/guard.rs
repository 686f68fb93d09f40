//! May this request go on? Host and origin first, then who is asking, then whether they may, then
//! whether there is room. Nothing of the request's body is read before all four said yes.

use std::sync::{Arc, atomic::Ordering};

use axum::{
    extract::{Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Redirect, Response},
};

use crate::{
    error::ServerError,
    keys::{KeyRecord, Role},
    limits, pages,
    peer::Peer,
    reply::Refusal,
    routes::{Policy, Surface},
    sessions,
    state::{Phase, Shared},
};

/// Who is asking, once they were let in; travels with the request.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    /// The key's name, or the word for a trusted local user.
    pub name: String,
    pub role: Role,
    /// Logged in with a cookie (and so can log out).
    pub by_cookie: bool,
}

/// What one route's guard needs to know.
#[derive(Clone)]
pub(crate) struct Gate {
    pub shared: Arc<Shared>,
    pub policy: Policy,
    pub surface: Surface,
    pub seconds_max: u64,
}

/// Before routing: refuses foreign hosts and pages, and puts the security headers on every reply.
pub(crate) async fn outer(
    State(shared): State<Arc<Shared>>,
    request: Request,
    next: Next,
) -> Response {
    let mut response = if head_bytes(request.headers()) > limits::HEADER_BYTES_MAX {
        let error = ServerError::TooLarge { what: "head", limit: limits::HEADER_BYTES_MAX };
        let status = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
        Refusal { status, ..Refusal::from(error) }.into_response()
    } else {
        match check_stranger(&request, &shared.hosts) {
            Ok(()) => next.run(request).await,
            Err(error) => Refusal::from(error).into_response(),
        }
    };
    let status = response.status().as_u16();
    shared.counters.count_reply(status);
    secure(response.headers_mut());
    response
}

fn head_bytes(headers: &HeaderMap) -> usize {
    headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum()
}

/// After routing: authentication, authorisation, room, time.
pub(crate) async fn inner(State(gate): State<Gate>, mut request: Request, next: Next) -> Response {
    let page = gate.surface == Surface::Page;
    let theme = pages::Theme::of(&request);
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str()).to_owned();
    let caller = match admit(&gate, &request) {
        Ok(caller) => caller,
        Err(ServerError::Unauthenticated { .. }) if page && *request.method() == Method::GET => {
            return Redirect::to(&pages::login::address(&path)).into_response();
        }
        Err(error) => return refuse(error.into(), page, theme),
    };
    let health = gate.policy == Policy::Public;
    // Held until the reply begins, also when no handler takes it on.
    let mut held = None;
    if !health {
        let who = caller.as_ref().map_or("-", |caller| caller.name.as_str());
        match gate.shared.slots.take(who) {
            Ok(slot) => {
                held = Some(Arc::clone(&slot));
                request.extensions_mut().insert(slot)
            }
            Err(error) => {
                gate.shared.counters.shed.fetch_add(1, Ordering::Relaxed);
                return refuse(error.into(), page, theme);
            }
        };
    }
    if let Some(caller) = caller {
        request.extensions_mut().insert(caller);
    }
    let limit = std::time::Duration::from_secs(gate.seconds_max);
    let response = match tokio::time::timeout(limit, next.run(request)).await {
        Ok(response) => response,
        Err(_) => refuse(ServerError::TimedOut { seconds: gate.seconds_max }.into(), page, theme),
    };
    drop(held);
    response
}

fn refuse(refusal: Refusal, page: bool, theme: pages::Theme) -> Response {
    if page { pages::error_page(&refusal, theme) } else { refusal.into_response() }
}

/// Who asks, when they may do what the route's policy needs.
fn admit(gate: &Gate, request: &Request) -> Result<Option<Caller>, ServerError> {
    let needed = gate.policy.needs();
    if needed.is_some() && *gate.shared.phase.borrow() != Phase::Serving {
        return Err(ServerError::Overloaded { whose: "before the server stops" });
    }
    let caller = match (authenticate(&gate.shared, request), needed) {
        (Ok(caller), _) => caller,
        (Err(_), None) => None,
        (Err(error), Some(_)) => return Err(error),
    };
    match (needed, caller) {
        (None, caller) => Ok(caller),
        (Some(_), None) => {
            Err(ServerError::Unauthenticated { reason: "this needs a key and none was sent" })
        }
        (Some(needs), Some(caller)) if caller.role < needs => {
            Err(ServerError::Forbidden { needs: needs.as_str(), has: caller.role.as_str() })
        }
        (Some(_), Some(caller)) => Ok(Some(caller)),
    }
}

fn authenticate(shared: &Shared, request: &Request) -> Result<Option<Caller>, ServerError> {
    let now = shared.now();
    let caller = |key: KeyRecord, by_cookie| Caller { name: key.name, role: key.role, by_cookie };
    let bearer = bearer(request.headers());
    // One of our keys is always judged by what it may do, also where none would be needed.
    if let Some(key) = bearer.filter(|key| key.starts_with("sxt_")) {
        let wrong = ServerError::Unauthenticated { reason: "this key is not valid" };
        return shared.keys.verify(key, now).map(|key| Some(caller(key, false))).ok_or(wrong);
    }
    let session = sessions::cookie(request.headers(), sessions::COOKIE)
        .and_then(|token| shared.sessions.find(token, now))
        .filter(|key| key.expires_at.is_none_or(|end| now < end));
    if let Some(key) = session {
        return Ok(Some(caller(key, true)));
    }
    if trusted(shared, request) {
        let name = "local user".to_owned();
        return Ok(Some(Caller { name, role: Role::Admin, by_cookie: false }));
    }
    if bearer.is_some() {
        return Err(ServerError::Unauthenticated { reason: "this key is not valid" });
    }
    Ok(None)
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, key) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| key.trim())
}

/// Whether the connection belongs to the user who runs the server. A request that a proxy passed on
/// comes from somebody else, whoever runs the proxy.
fn trusted(shared: &Shared, request: &Request) -> bool {
    const PASSED_ON: [&str; 4] = ["forwarded", "x-forwarded-for", "x-real-ip", "via"];
    shared.auth == crate::AuthMode::TrustedLoopback
        && request.extensions().get::<Peer>().is_some_and(|peer| peer.same_user)
        && PASSED_ON.iter().all(|name| !request.headers().contains_key(*name))
}

/// Refuses DNS rebinding (a name that is not ours) and requests made by pages of other sites.
fn check_stranger(request: &Request, hosts: &[String]) -> Result<(), ServerError> {
    let headers = request.headers();
    let refuse = |what, value: &str| {
        Err(ServerError::Stranger { what, value: value.chars().take(100).collect() })
    };
    let host = single(headers, &header::HOST).unwrap_or_default();
    let target = request.uri().authority().map(|authority| authority.as_str());
    for name in std::iter::once(host).chain(target) {
        if !hosts.iter().any(|allowed| allowed.eq_ignore_ascii_case(without_port(name))) {
            return refuse("host", name);
        }
    }
    let safe = matches!(*request.method(), Method::GET | Method::HEAD);
    let said = |name: &'static str| headers.get(name).and_then(|value| value.to_str().ok());
    let site = said("sec-fetch-site").unwrap_or("none");
    let walked_in = safe && said("sec-fetch-mode") == Some("navigate");
    if !matches!(site, "none" | "same-origin") && !walked_in {
        return refuse("site", site);
    }
    if let (false, Some(origin)) = (safe, headers.get(header::ORIGIN)) {
        let origin = origin.to_str().unwrap_or("?");
        let from = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
        if !from.is_some_and(|from| from.eq_ignore_ascii_case(host)) {
            return refuse("origin", origin);
        }
    }
    Ok(())
}

/// A header that must come once.
fn single<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    let first = values.next()?;
    if values.next().is_some() { None } else { first.to_str().ok() }
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    }
}

const CONTENT_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
    img-src 'self' data:; connect-src 'self'; form-action 'self'; base-uri 'none'; \
    frame-ancestors 'none'";

fn secure(headers: &mut HeaderMap) {
    for (name, value) in [
        ("content-security-policy", CONTENT_POLICY),
        ("x-frame-options", "DENY"),
        ("x-content-type-options", "nosniff"),
        // With `no-referrer`, browsers send the origin of a form as `null`.
        ("referrer-policy", "same-origin"),
        ("cross-origin-opener-policy", "same-origin"),
        ("cross-origin-resource-policy", "same-origin"),
        ("permissions-policy", "camera=(), microphone=(), geolocation=()"),
    ] {
        // A route may be stricter: what it said stands.
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
    // What the server says is of now and of this caller, unless a route says otherwise.
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
}

/// What a path that no route has is answered with.
pub(crate) async fn nowhere(request: Request) -> Response {
    let error = ServerError::NoSuchPath { path: request.uri().path().chars().take(200).collect() };
    let html = request
        .headers()
        .get(header::ACCEPT)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|accept| accept.contains("text/html"));
    refuse(error.into(), html, pages::Theme::of(&request))
}

/// A handler panicked: the caller learns that, and no more.
pub(crate) fn panicked(shared: &Shared) -> Response {
    shared.counters.panics.fetch_add(1, Ordering::Relaxed);
    tracing::error!("a handler panicked");
    let error = ServerError::Internal { what: "the request hit a defect".to_owned() };
    let mut response = Refusal::from(error).into_response();
    *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
    secure(response.headers_mut());
    response
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn allowed(method: &str, headers: &[(&'static str, &str)]) -> bool {
        let mut request = Request::builder().method(method).uri("/x");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let hosts = ["localhost", "127.0.0.1", "[::1]", "box.example"].map(str::to_owned);
        check_stranger(&request.body(axum::body::Body::empty()).unwrap(), &hosts).is_ok()
    }

    #[test]
    fn hosts_and_origins() {
        const US: (&str, &str) = ("host", "localhost:7700");
        for (expected, method, headers) in [
            (true, "GET", vec![US]),
            (true, "GET", vec![("host", "[::1]:7700")]),
            (true, "GET", vec![("host", "127.0.0.1")]),
            (true, "GET", vec![("host", "BOX.example:1")]),
            (false, "GET", vec![]),
            (false, "GET", vec![("host", "evil.example")]),
            (false, "GET", vec![("host", "localhost.evil.example:7700")]),
            (false, "GET", vec![US, ("host", "evil.example")]),
            (true, "POST", vec![US]),
            (true, "POST", vec![US, ("origin", "http://localhost:7700")]),
            (false, "POST", vec![US, ("origin", "http://localhost:3000")]),
            (false, "POST", vec![US, ("origin", "null")]),
            (false, "POST", vec![US, ("origin", "http://evil.example")]),
            (false, "POST", vec![US, ("sec-fetch-site", "cross-site")]),
            (false, "POST", vec![US, ("sec-fetch-site", "same-site")]),
            (
                false,
                "GET",
                vec![US, ("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "no-cors")],
            ),
            (
                true,
                "GET",
                vec![US, ("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "navigate")],
            ),
            (
                false,
                "POST",
                vec![US, ("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "navigate")],
            ),
            (
                true,
                "POST",
                vec![US, ("sec-fetch-site", "same-origin"), ("origin", "http://localhost:7700")],
            ),
        ] {
            assert_eq!(allowed(method, &headers), expected, "{method} {headers:?}");
        }
    }
}
