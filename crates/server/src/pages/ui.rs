//! What are pages made of? Badges, digests, times, tables of facts: one function each.

use jiff::Timestamp;
use maud::{Markup, html};
use serde_json::Value;

use super::{icons, views::When};

/// A list of facts that is longer is folded.
const ITEMS_SHOWN: usize = 12;
/// And cut here.
const ITEMS_MAX: usize = 2_000;

/// A state by icon, word and colour; the colour never stands alone.
pub(crate) fn badge(state: &str) -> Markup {
    let word = if state.is_empty() { "unknown" } else { state };
    html! { span class={ "badge " (tone(state)) } { (icons::state(state)) (word) } }
}

/// The colour of a state.
pub(crate) fn tone(state: &str) -> &'static str {
    match state {
        "ok" | "ready" | "fresh" | "built" | "passed" | "finished" | "completed" | "succeeded"
        | "live" | "added" => "good",
        "stale" | "changed" | "running" | "in progress" | "abstained" => "warn",
        "failed" | "refused" | "removed" | "cancelled" | "killed" | "error" | "deleted" => "bad",
        "held" | "scheduled" => "held",
        _ => "calm",
    }
}

/// A digest, an activity or an answer as a short link to its page.
pub(crate) fn id_link(id: &str) -> Markup {
    if id.is_empty() {
        return html! { span.quiet { "–" } };
    }
    html! { a.id href={ "/v/" (path(id)) } title=(id) { (short(id)) } }
}

/// Enough of an id for a person to tell it from others.
pub(crate) fn short(id: &str) -> String {
    match id.strip_prefix("sha256:") {
        Some(digits) => digits.chars().take(12).collect(),
        None if id.len() == 36 && id.bytes().filter(|byte| *byte == b'-').count() == 4 => {
            id.chars().skip(24).collect()
        }
        None => clip(id, 40),
    }
}

/// The beginning of a text, with an ellipsis when something is missing.
pub(crate) fn clip(text: &str, chars_max: usize) -> String {
    if text.chars().count() <= chars_max {
        return text.to_owned();
    }
    let mut clipped: String = text.chars().take(chars_max.saturating_sub(1)).collect();
    clipped.push('…');
    clipped
}

/// A text as part of a path: everything but plain characters and slashes is percent-encoded.
pub(crate) fn path(text: &str) -> String {
    encode(text, b"-._~/:@")
}

/// A text as a value in a query.
pub(crate) fn query(text: &str) -> String {
    encode(text, b"-._~/:@")
}

fn encode(text: &str, plain: &[u8]) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || plain.contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push('%');
            out.push_str(&hex::encode_upper([byte]));
        }
    }
    out
}

/// A moment as "3 min ago", exact on hover.
pub(crate) fn ago(when: When) -> Markup {
    match when.0 {
        None => html! { span.quiet { "–" } },
        Some(at) => html! {
            time datetime=(at) title=(at) { (since(at, Timestamp::now())) }
        },
    }
}

fn since(at: Timestamp, now: Timestamp) -> String {
    let seconds = now.as_second() - at.as_second();
    match seconds {
        ..-60 => "later".to_owned(),
        -60..45 => "just now".to_owned(),
        45..3600 => format!("{} min ago", (seconds + 30) / 60),
        3600..86_400 => format!("{} h ago", seconds / 3600),
        86_400..2_592_000 => format!("{} d ago", seconds / 86_400),
        _ => at.strftime("%Y-%m-%d").to_string(),
    }
}

/// A duration a person reads.
pub(crate) fn lasted(seconds: f64) -> String {
    if seconds < 1.0 {
        format!("{:.0} ms", seconds * 1000.0)
    } else if seconds < 100.0 {
        format!("{seconds:.1} s")
    } else {
        format!("{:.0} min {:.0} s", (seconds / 60.0).floor(), seconds % 60.0)
    }
}

/// A number with four significant places.
pub(crate) fn figure(value: f64) -> String {
    let size = value.abs();
    if value == value.trunc() && size < 1e9 {
        format!("{value:.0}")
    } else if (0.001..10_000.0).contains(&size) {
        let text = format!("{value:.4}");
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        format!("{value:.3e}")
    }
}

/// Any JSON as words: a text as it is, a list joined, nothing as nothing.
pub(crate) fn say(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Number(number) if number.is_f64() => number.as_f64().map(figure).unwrap_or_default(),
        Value::Array(items) => items.iter().map(say).collect::<Vec<_>>().join("; "),
        Value::Object(map) => {
            let pairs = map.iter().map(|(key, value)| format!("{key} {}", say(value)));
            pairs.collect::<Vec<_>>().join(", ")
        }
        other => other.to_string(),
    }
}

/// The same, with digests as links.
pub(crate) fn show(value: &Value) -> Markup {
    match value {
        Value::String(text) if text.starts_with("sha256:") => id_link(text),
        Value::Object(map) => match ["digest", "version"].iter().find_map(|key| map.get(*key)) {
            Some(Value::String(digest)) => html! {
                (id_link(digest))
                @for key in ["name", "asset"] {
                    @if let Some(Value::String(name)) = map.get(key) { " " span.quiet { (name) } }
                }
            },
            _ => html! { (clip(&say(value), 400)) },
        },
        other => html! { (clip(&say(other), 400)) },
    }
}

/// Facts as two columns; facts one level below come with the others, deeper ones as words.
pub(crate) fn facts(value: &Value) -> Markup {
    let Value::Object(map) = flat(value) else {
        return html! { @if !value.is_null() { p { (show(value)) } } };
    };
    html! {
        dl.facts {
            @for (key, value) in &map {
                div { dt { (key.trim_end_matches("_us").replace('_', " ")) } dd { (fact(key, value)) } }
            }
        }
    }
}

fn fact(key: &str, value: &Value) -> Markup {
    match value {
        Value::String(text) if text.contains('\n') => html! { pre { (clip(text, 4000)) } },
        Value::Number(bytes) if key.ends_with("bytes") => html! {
            span title=(bytes) { (size(bytes.as_f64().unwrap_or_default())) }
        },
        Value::Number(micros) if key.ends_with("_us") => {
            html! { (figure(micros.as_f64().unwrap_or_default() / 1000.0)) " ms" }
        }
        Value::Array(items) if items.len() > ITEMS_SHOWN => html! {
            details {
                summary { (items.len()) " entries" }
                ul.plain { @for item in items.iter().take(ITEMS_MAX) { li { (entry(item)) } }
                    @if items.len() > ITEMS_MAX { li.quiet { "and " (items.len() - ITEMS_MAX) " more" } } }
            }
        },
        Value::Array(items) if items.iter().any(Value::is_object) => html! {
            ul.plain { @for item in items { li { (entry(item)) } } }
        },
        other => show(other),
    }
}

/// One line of a list of facts, with its digests as links.
fn entry(value: &Value) -> Markup {
    let Value::Object(map) = value else { return show(value) };
    html! {
        @for (key, value) in map.iter().filter(|(_, value)| !value.is_null()) {
            span.pair { span.quiet { (key.replace('_', " ")) } " " (show(value)) }
        }
    }
}

/// A number of bytes as people say it.
fn size(bytes: f64) -> String {
    let (mut value, mut unit) = (bytes, "bytes");
    for next in ["KiB", "MiB", "GiB", "TiB"] {
        if value < 1024.0 {
            break;
        }
        (value, unit) = (value / 1024.0, next);
    }
    if unit == "bytes" { format!("{value:.0} {unit}") } else { format!("{value:.1} {unit}") }
}

/// Facts without nesting: those of an inner object follow under its name; empty ones are left out.
pub(crate) fn flat(value: &Value) -> Value {
    let Value::Object(map) = value else { return value.clone() };
    let mut out = serde_json::Map::new();
    for (key, value) in map {
        match value {
            Value::Object(inner)
                if !inner.contains_key("digest") && !inner.contains_key("version") =>
            {
                for (name, value) in inner.iter().filter(|(_, value)| !is_empty(value)) {
                    out.insert(format!("{key} {name}"), value.clone());
                }
            }
            value if is_empty(value) => {}
            value => {
                out.insert(key.clone(), value.clone());
            }
        }
    }
    Value::Object(out)
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(map) => map.is_empty(),
        _ => false,
    }
}

/// What a page says where there is nothing yet, and the way on.
pub(crate) fn empty(title: &str, text: &str, command: Option<&str>) -> Markup {
    html! {
        div.empty {
            (icons::sextant())
            p.empty-title { (title) }
            p { (text) }
            @if let Some(command) = command { p { code.command { (command) } } }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn ids_are_short_and_addresses_safe() {
        assert_eq!(short(&format!("sha256:{}", "ab".repeat(32))), "abababababab");
        assert_eq!(short("0193a7c2-1111-7abc-8def-0123456789ab"), "0123456789ab");
        assert_eq!(path("models/a b?\"<x>"), "models/a%20b%3F%22%3Cx%3E");
    }

    #[test]
    fn times_are_said_as_people_do() {
        let now: Timestamp = "2026-11-23T12:00:00Z".parse().unwrap();
        for (at, expected) in [
            ("2026-11-23T11:59:50Z", "just now"),
            ("2026-11-23T11:57:00Z", "3 min ago"),
            ("2026-11-23T09:00:00Z", "3 h ago"),
            ("2026-11-20T09:00:00Z", "3 d ago"),
            ("2026-01-02T09:00:00Z", "2026-01-02"),
        ] {
            assert_eq!(since(at.parse().unwrap(), now), expected);
        }
    }

    #[test]
    fn figures_have_no_noise() {
        for (value, expected) in
            [(3.0, "3"), (0.123_456, "0.1235"), (0.5, "0.5"), (0.000_03, "3.000e-5")]
        {
            assert_eq!(figure(value), expected);
        }
    }
}
