//! How does a browser show a key? Once, in a form; after that a cookie stands for it.

use std::sync::Arc;

use axum::{
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Redirect, Response},
};
use maud::{Markup, html};

use super::{
    frame::{Frame, bare},
    icons,
    ui::query,
};
use crate::{
    body::FormBody,
    reply::Refusal,
    sessions::{COOKIE, cookie, set_cookie},
    state::Shared,
};

/// The form's address, with where to go afterwards.
pub(crate) fn address(next: &str) -> String {
    format!("/login?next={}", query(next))
}

/// `GET /login`
pub(crate) async fn form(frame: Frame) -> Response {
    let next = frame.param("next").unwrap_or("/");
    bare("Log in", frame.theme, &page(next, false)).into_response()
}

/// `POST /login`
pub(crate) async fn enter(frame: Frame, form: FormBody) -> Result<Response, Refusal> {
    let shared = &frame.shared;
    let now = shared.now();
    let next = local(form.get("next"));
    let Some(key) = shared.keys.verify(form.get("key").trim(), now) else {
        let again = bare("Log in", frame.theme, &page(next, true));
        return Ok((StatusCode::UNAUTHORIZED, again).into_response());
    };
    let token = shared.sessions.open(key, now)?;
    let cookie = [(header::SET_COOKIE, set_cookie(&token))];
    Ok((cookie, Redirect::to(next)).into_response())
}

/// `POST /logout`
pub(crate) async fn leave(
    State(shared): State<Arc<Shared>>,
    headers: axum::http::HeaderMap,
) -> Response {
    if let Some(token) = cookie(&headers, COOKIE) {
        shared.sessions.close(token);
    }
    ([(header::SET_COOKIE, set_cookie(""))], Redirect::to("/login")).into_response()
}

/// Only a path of ours may follow a login, never another site's address.
fn local(next: &str) -> &str {
    let ours = next.starts_with('/')
        && !next.starts_with("//")
        && !next.contains(['\\', '\r', '\n'])
        && next.is_ascii();
    if ours { next } else { "/" }
}

fn page(next: &str, wrong: bool) -> Markup {
    html! {
        a.brand href="/" { (icons::sextant()) span { "Sextant" } }
        h1 { "Log in" }
        p.quiet { "The first admin key is in " code { ".sextant/admin.key" } " of the project." }
        form.login method="post" action="/login" {
            input type="hidden" name="next" value=(local(next));
            label for="key" { "Key" }
            input #key type="password" name="key" autocomplete="current-password" placeholder="sxt_…" required
                autofocus aria-invalid=[wrong.then_some("true")] aria-describedby=[wrong.then_some("wrong")];
            @if wrong { p.bad-text #wrong role="alert" { "This key is not valid." } }
            button.primary type="submit" { "Log in" }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_leads_only_to_our_own_pages() {
        for (next, expected) in [
            ("/runs?sort=loss", "/runs?sort=loss"),
            ("//evil.example", "/"),
            ("https://evil.example", "/"),
            ("/\\evil.example", "/"),
            ("", "/"),
        ] {
            assert_eq!(local(next), expected, "{next}");
        }
    }
}
