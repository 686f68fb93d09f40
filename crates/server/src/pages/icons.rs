//! How do states and places look? Small line drawings that take the colour of their text.

use maud::{Markup, PreEscaped};

fn icon(paths: &str) -> Markup {
    PreEscaped(format!(
        "<svg class=\"icon\" viewBox=\"0 0 16 16\" fill=\"none\" stroke=\"currentColor\" \
         stroke-width=\"1.5\" stroke-linecap=\"round\" stroke-linejoin=\"round\" \
         aria-hidden=\"true\">{paths}</svg>"
    ))
}

/// The mark: an arc, an index arm, a horizon.
pub(crate) fn sextant() -> Markup {
    PreEscaped(
        "<svg class=\"mark\" viewBox=\"0 0 24 24\" fill=\"none\" stroke=\"currentColor\" \
         stroke-width=\"1.7\" stroke-linecap=\"round\" stroke-linejoin=\"round\" \
         aria-hidden=\"true\"><path d=\"M12 3 4.2 17.5a16 16 0 0 0 15.6 0Z\"/>\
         <path d=\"M12 3v16.4\"/><path d=\"M8 10.5h8\"/>\
         <circle cx=\"12\" cy=\"3\" r=\"1.2\" fill=\"currentColor\"/></svg>"
            .to_owned(),
    )
}

/// The drawing of a state; also used inside the graph.
pub(crate) fn state_paths(state: &str) -> &'static str {
    match super::ui::tone(state) {
        "good" => "<circle cx='8' cy='8' r='6'/><path d='m5.5 8.2 1.8 1.8 3.4-3.8'/>",
        "warn" => "<circle cx='8' cy='8' r='6'/><path d='M8 4.8V8l2.2 1.6'/>",
        "bad" => "<circle cx='8' cy='8' r='6'/><path d='m6 6 4 4m0-4-4 4'/>",
        "held" => "<circle cx='8' cy='8' r='6'/><path d='M6.6 6v4m2.8-4v4'/>",
        _ => "<circle cx='8' cy='8' r='6' stroke-dasharray='2.4 2.4'/>",
    }
}

/// A state.
pub(crate) fn state(state: &str) -> Markup {
    icon(state_paths(state))
}

/// A place in the navigation.
pub(crate) fn nav(word: &str) -> Markup {
    icon(match word {
        "Home" => "<path d='M2.5 7.5 8 3l5.5 4.5V13h-3.7V9.6H6.2V13H2.5Z'/>",
        "Assets" => {
            "<circle cx='3.5' cy='8' r='1.7'/><circle cx='12.5' cy='3.7' r='1.7'/>\
             <circle cx='12.5' cy='12.3' r='1.7'/><path d='m5 7.2 6-2.8M5 8.8l6 2.8'/>"
        }
        "Sources" => "<path d='M8 2v7.5M4.8 6.5 8 9.7l3.2-3.2M2.5 10v3.5h11V10'/>",
        "Tables" => "<path d='M2.5 3.5h11v9h-11Z M2.5 6.5h11 M6.5 6.5v6'/>",
        "Runs" => "<path d='M2.5 2.5v11h11'/><path d='M5 5c1 4.5 3 5.5 8 5.8'/>",
        "Experiments" => "<path d='M6 2.5h4M6.8 2.5v4L3 13.5h10L9.2 6.5v-4'/><path d='M5 10.5h6'/>",
        "Models" => {
            "<path d='M8 2.5 13 5 8 7.5 3 5Z'/><path d='m3 8 5 2.5L13 8M3 11l5 2.5 5-2.5'/>"
        }
        "Traces" => "<path d='M2.5 4h8M5 8h8M7 12h4'/>",
        "Releases" => {
            "<path d='M8 2 13.5 4.8v6.4L8 14l-5.5-2.8V4.8Z'/><path d='M2.7 5 8 7.7 13.3 5M8 7.7V14'/>"
        }
        "Ask" => "<path d='M2.5 3h11v8H8l-3 2.5V11H2.5Z'/>",
        _ => {
            "<path d='M8 4C6.5 3 4.5 2.7 2.5 3v9.5c2-.3 4 0 5.5 1 1.5-1 3.5-1.3 5.5-1V3C11.5 2.7 9.5 3 8 4Zm0 0v9.5'/>"
        }
    })
}

/// What kind of thing a node of the chain is.
pub(crate) fn kind(kind: &str) -> Markup {
    icon(match kind {
        "answer" => "<path d='M2.5 3h11v8H8l-3 2.5V11H2.5Z'/>",
        "release" | "deploy" => "<path d='M8 2 13.5 4.8v6.4L8 14l-5.5-2.8V4.8Z'/>",
        "chunk" => "<path d='M3 4.5h10M3 8h10M3 11.5h6'/>",
        "doc_version" | "prompt_version" => {
            "<path d='M4 2h5.5L12.5 5v9H4Z'/><path d='M9.5 2v3h3'/>"
        }
        "table_version" | "transform" => "<path d='M2.5 3.5h11v9h-11Z M2.5 6.5h11 M6.5 6.5v6'/>",
        "index_snapshot" | "embed" => {
            "<circle cx='7' cy='7' r='4.2'/><path d='m10.2 10.2 3.3 3.3'/>"
        }
        "model_version" | "checkpoint" | "train" | "embed_spec" => {
            "<path d='M8 2.5 12.8 5.2v5.6L8 13.5l-4.8-2.7V5.2Z'/><circle cx='8' cy='8' r='1.8'/>"
        }
        "dataset_snapshot" | "eval_set" => {
            "<ellipse cx='8' cy='4' rx='5' ry='1.9'/><path d='M3 4v8c0 1 2.2 1.9 5 1.9s5-.9 5-1.9V4'/>"
        }
        "eval_report" | "check_report" | "evaluate" | "check" => "<path d='M3 13V8m5 5V3m5 10V6'/>",
        "opaque" => {
            "<circle cx='8' cy='8' r='6' stroke-dasharray='2.4 2.4'/><path d='M8 5v3.5m0 2v.1'/>"
        }
        _ => "<rect x='3' y='3' width='10' height='10' rx='2.5'/>",
    })
}

/// The toggle between light and dark.
pub(crate) fn theme() -> Markup {
    icon(
        "<circle cx='8' cy='8' r='5.5'/><path d='M8 2.5v11a5.5 5.5 0 0 0 0-11Z' fill='currentColor'/>",
    )
}
