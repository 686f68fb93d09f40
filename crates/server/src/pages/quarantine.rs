//! Which rows of a source do not fit, and why? A page of its quarantine, with what arrived made safe to
//! look at, and the button that puts the rows through again.

use maud::{Markup, html};

use super::{
    frame::Frame,
    ui::{ago, clip, path},
    views::{HeldRow, Quarantine, Source},
};
use crate::keys::Role;

/// Rows of a quarantine on one page.
pub(crate) const ROWS_SHOWN: usize = 25;
/// Most rows that the button puts through again.
pub(crate) const REPLAY_MAX: u32 = 5_000;
/// Characters of a payload in a row, and of one that was opened.
const PAYLOAD_CHARS: usize = 60;
const PAYLOAD_CHARS_MAX: usize = 8_000;

/// The quarantine of a source, behind so many rows.
pub(crate) fn section(frame: &Frame, source: &Source, held: &Quarantine, skip: usize) -> Markup {
    html! {
        section #quarantine {
            div.section-head {
                h2 { "Quarantine " span.count { (held.waiting) } }
                @if frame.may(Role::Write) && held.waiting > 0 { (replay_button(source)) }
            }
            @if let (Some(passed), Some(failed)) = (frame.param("passed"), frame.param("failed")) {
                p.notice role="status" { (passed) " went into the table, " (failed) " still do not fit." }
            }
            @if held.rows.is_empty() {
                p.quiet.pad { @if held.waiting == 0 { "Nothing waits." } @else { "No more rows." }
                    @if held.replayed > 0 { " " (held.replayed) " went into the table after all." } }
            } @else {
                div.table-wrap {
                    table {
                        thead { tr { th scope="col" { "Place" } th scope="col" { "Arrived" } th scope="col" { "Rule" }
                            th scope="col" { "Reason" } th scope="col" { "What arrived" } } }
                        tbody { @for row in &held.rows { (held_row(row)) } }
                    }
                }
            }
            (pager(source, held, skip))
        }
    }
}

fn held_row(row: &HeldRow) -> Markup {
    let payload = visible(&row.payload);
    html! {
        tr {
            td { code { (clip(&visible(&row.partition), 80)) ":" (row.offset) } }
            td { (ago(row.arrived_at)) }
            td { span.tag { (row.rule) } }
            td.reason { (clip(&visible(&row.reason), 300)) }
            td { details { summary { (clip(&payload, PAYLOAD_CHARS)) } pre { (clip(&payload, PAYLOAD_CHARS_MAX)) } } }
        }
    }
}

/// A text from outside as it is, with characters that would hide or turn round others spelled out.
fn visible(text: &str) -> String {
    let hides = |c: char| {
        (c.is_control() && c != '\n' && c != '\t')
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
    };
    let mut shown = String::with_capacity(text.len());
    for c in text.chars().take(PAYLOAD_CHARS_MAX + 1) {
        if hides(c) {
            shown.extend(c.escape_unicode());
        } else {
            shown.push(c);
        }
    }
    shown
}

fn replay_button(source: &Source) -> Markup {
    html! {
        button type="button" popovertarget="replay" { "Put through again" }
        div.sheet id="replay" popover {
            h2 { "Put the quarantine of " (source.name) " through again?" }
            p { "Rows that fit the table by now go into it, each once; the others stay here. Up to " (REPLAY_MAX) " rows are tried." }
            form method="post" action={ "/sources/" (path(&source.name)) "/replay" } {
                button type="button" popovertarget="replay" popovertargetaction="hide" { "Cancel" }
                button.primary type="submit" { "Put through again" }
            }
        }
    }
}

fn pager(source: &Source, held: &Quarantine, skip: usize) -> Markup {
    let address = |skip: usize| format!("/sources/{}?skip={skip}#quarantine", path(&source.name));
    html! {
        @if skip > 0 || held.more {
            nav.pager aria-label="Pages of the quarantine" {
                @if skip > 0 { a.button href=(address(skip.saturating_sub(ROWS_SHOWN))) { "Earlier" } }
                @if !held.rows.is_empty() { span { (skip + 1) "–" (skip + held.rows.len()) " of " (held.waiting) } }
                @if held.more { a.button href=(address(skip + ROWS_SHOWN)) { "Later" } }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::visible;

    #[test]
    fn what_hides_text_is_spelled_out() {
        for (text, expected) in [
            ("{\"a\": \"ü\"}\n", "{\"a\": \"ü\"}\n"),
            ("a\u{0}\u{1b}[2J", "a\\u{0}\\u{1b}[2J"),
            ("\u{202e}txt.exe\u{feff}", "\\u{202e}txt.exe\\u{feff}"),
        ] {
            assert_eq!(visible(text), expected);
        }
    }
}
