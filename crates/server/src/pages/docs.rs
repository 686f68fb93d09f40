//! How does one use it? The manual, rendered from Markdown. Raw HTML in it is shown, not run, and
//! links lead only to the web or to other pages.

use std::sync::Arc;

use axum::{
    extract::Path,
    response::{IntoResponse, Redirect, Response},
};
use maud::{Markup, PreEscaped, html};
use pulldown_cmark::{CowStr, Event, Options, Parser, Tag, TagEnd};

use super::{
    frame::{Frame, Nav},
    ui::{empty, path},
};
use crate::{error::ServerError, jobs::blocking, reply::Refusal};

type Manual = Vec<(String, String)>;

/// `GET /docs`
pub(crate) async fn index(frame: Frame) -> Response {
    let manual = manual(&frame).await;
    let first = manual.as_ref().ok().and_then(|pages| {
        let by_name = |name: &str| pages.iter().find(|(page, _)| page.ends_with(name));
        by_name("index").or_else(|| by_name("README")).or_else(|| pages.first())
    });
    if let Some((page, _)) = first {
        return Redirect::to(&format!("/docs/{}", path(page))).into_response();
    }
    let body = manual
        .map(|_| empty("No manual", "This build has no manual compiled in.", Some("sextant help")));
    frame.answer("Docs", Nav::Docs, body)
}

/// `GET /docs/{*path}`
pub(crate) async fn page(Path(wanted): Path<String>, frame: Frame) -> Response {
    let wanted = wanted.trim_end_matches('/').trim_end_matches(".md").to_owned();
    let body = manual(&frame).await.and_then(|pages| {
        let missing = || ServerError::NoSuchPath { path: format!("/docs/{wanted}") };
        let found = pages.iter().find(|(page, _)| *page == wanted);
        let (page, text) = found.ok_or_else(missing)?;
        Ok(html! {
            div.docs {
                nav.contents aria-label="Manual" { (contents(&pages, page)) }
                article.prose { (render(page, text)) }
            }
        })
    });
    frame.answer("Docs", Nav::Docs, body)
}

async fn manual(frame: &Frame) -> Result<Manual, Refusal> {
    let backend = Arc::clone(&frame.shared.backend);
    let mut pages = blocking(move |_| Ok(backend.manual())).await?;
    for (page, _) in &mut pages {
        *page = page.trim_end_matches(".md").trim_start_matches('/').to_owned();
    }
    Ok(pages)
}

fn contents(pages: &Manual, active: &str) -> Markup {
    let folder = |page: &str| page.rsplit_once('/').map_or("", |(folder, _)| folder).to_owned();
    let mut folders: Vec<String> = pages.iter().map(|(page, _)| folder(page)).collect();
    folders.sort();
    folders.dedup();
    html! {
        @for name in folders {
            @if !name.is_empty() { h2 { (name.replace(['-', '_'], " ")) } }
            ul {
                @for (page, text) in pages.iter().filter(|(page, _)| folder(page) == name) {
                    li { a href={ "/docs/" (path(page)) } aria-current=[(page == active).then_some("page")] {
                        (title(page, text))
                    } }
                }
            }
        }
    }
}

/// The first heading, or the file's name.
fn title(page: &str, text: &str) -> String {
    let heading = text.lines().find_map(|line| line.strip_prefix("# "));
    let name = || page.rsplit('/').next().unwrap_or(page).replace('-', " ");
    heading.map_or_else(name, |heading| heading.trim().to_owned())
}

/// Markdown as HTML, with raw HTML escaped, images not loaded, and headings that can be linked to.
fn render(page: &str, text: &str) -> Markup {
    let options =
        Options::ENABLE_TABLES | Options::ENABLE_STRIKETHROUGH | Options::ENABLE_FOOTNOTES;
    let mut events: Vec<Event> =
        Parser::new_ext(text, options).map(|event| tame(page, event)).collect();
    name_headings(&mut events);
    let mut out = String::new();
    pulldown_cmark::html::push_html(&mut out, events.into_iter());
    PreEscaped(out)
}

fn tame<'a>(page: &str, event: Event<'a>) -> Event<'a> {
    match event {
        Event::Html(raw) | Event::InlineHtml(raw) => Event::Text(raw),
        Event::Start(Tag::Link { link_type, dest_url, title, id }) => {
            Event::Start(Tag::Link { link_type, dest_url: address(page, dest_url), title, id })
        }
        // An image would be fetched from somewhere; its description stands for it.
        Event::Start(Tag::Image { .. }) => Event::Start(Tag::Emphasis),
        Event::End(TagEnd::Image) => Event::End(TagEnd::Emphasis),
        other => other,
    }
}

/// Where a link of the manual leads: the web, a place on the page, or another page.
fn address<'a>(page: &str, link: CowStr<'a>) -> CowStr<'a> {
    if link.starts_with("https://") || link.starts_with("http://") || link.starts_with('#') {
        return link;
    }
    let (file, anchor) = match link.split_once('#') {
        Some((file, anchor)) => (file, format!("#{anchor}")),
        None => (&*link, String::new()),
    };
    // A scheme that is not the web's leads nowhere.
    if file.contains(':') {
        return CowStr::from("#");
    }
    let mut parts: Vec<&str> = page.split('/').collect();
    parts.pop();
    for part in file.trim_end_matches(".md").split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            other => parts.push(other),
        }
    }
    CowStr::from(format!("/docs/{}{anchor}", path(&parts.join("/"))))
}

fn name_headings(events: &mut [Event]) {
    let mut opened = None;
    let mut words = String::new();
    for place in 0..events.len() {
        match &events[place] {
            Event::Start(Tag::Heading { .. }) => {
                opened = Some(place);
                words.clear();
            }
            Event::Text(text) | Event::Code(text) if opened.is_some() => words.push_str(text),
            Event::End(TagEnd::Heading(_)) => {
                let start = opened.take().and_then(|start| events.get_mut(start));
                if let Some(Event::Start(Tag::Heading { id, .. })) = start {
                    *id = Some(CowStr::from(anchor(&words)));
                }
            }
            _ => {}
        }
    }
}

fn anchor(heading: &str) -> String {
    let kept = heading.chars().filter_map(|c| match c {
        c if c.is_alphanumeric() => Some(c.to_ascii_lowercase()),
        ' ' | '-' | '_' => Some('-'),
        _ => None,
    });
    kept.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_stay_inside_or_go_to_the_web() {
        for (link, expected) in [
            ("https://example.org/x", "https://example.org/x"),
            ("other.md", "/docs/guide/other"),
            ("../index.md#top", "/docs/index#top"),
            ("../../../../etc/passwd", "/docs/etc/passwd"),
            ("javascript:alert(1)", "#"),
            ("#here", "#here"),
        ] {
            assert_eq!(&*address("guide/start", CowStr::from(link)), expected, "{link}");
        }
    }

    #[test]
    fn raw_html_is_shown_and_images_are_not_loaded() {
        let html =
            render("a", "# A <b>x</b>\n\n<script>alert(1)</script>\n\n![pic](http://x/y.png)");
        let html = html.into_string();
        assert!(!html.contains("<script") && !html.contains("<img"), "{html}");
        assert!(html.contains("&lt;script&gt;") && html.contains("<h1 id=\"a-bxb\">"), "{html}");
    }
}
