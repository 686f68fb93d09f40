//! What does the released feature answer? A chat that streams, with citations that open.

use std::sync::Arc;

use axum::response::Response;
use maud::{Markup, html};

use super::{
    frame::{Frame, Nav},
    icons, statics,
    ui::empty,
};
use crate::{jobs::blocking, reply::Refusal};

/// `GET /ask`
pub(crate) async fn ask(frame: Frame) -> Response {
    let body = body(&frame).await;
    frame.answer("Ask", Nav::Ask, body)
}

async fn body(frame: &Frame) -> Result<Markup, Refusal> {
    let backend = Arc::clone(&frame.shared.backend);
    let releases = blocking(move |_| Ok(backend.releases())).await?;
    if releases.is_empty() {
        return Ok(html! {
            header.head { div { h1 { "Ask" } } }
            (empty("Nothing is released yet", "Only a release answers. Build the project; a release that passes its gate goes live by itself.", Some("sextant build")))
        });
    }
    Ok(html! {
        div.chat data-chat {
            div.chat-main {
                header.head {
                    div { h1 { "Ask" } p.sub { "Answers quote the released documents, or say that nothing there supports an answer." } }
                    label.inline { span.hidden { "Release" }
                        select data-model {
                            @for release in &releases { option value=(release) { (release) } }
                        }
                    }
                }
                ol.turns data-turns aria-live="polite" {
                    li.turn-empty data-empty { (icons::sextant()) p { "Ask something that the documents answer." } }
                }
                form.composer data-composer {
                    label.hidden for="question" { "Question" }
                    textarea #question name="q" rows="1" placeholder="Ask a question" required data-slash maxlength="16000" {
                        (frame.param("q").unwrap_or_default())
                    }
                    button.primary type="submit" data-send { "Ask" }
                }
                p.quiet.hint { kbd { "Enter" } " asks, " kbd { "Shift" } " " kbd { "Enter" } " starts a line, " kbd { "Esc" } " stops" }
            }
            aside.drawer data-drawer hidden tabindex="-1" aria-label="Passage or chain" {
                div.drawer-head { h2 data-drawer-title {} button.icon type="button" data-drawer-close aria-label="Close" { "×" } }
                div data-drawer-body {}
            }
        }
        script type="module" src=(statics::address("ask.js")) {}
    })
}
