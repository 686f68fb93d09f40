//! What did clients of MLflow log? Experiments, their runs, the models that were registered and the traces
//! of applications. These pages ask for what they show by the same calls as clients do.

pub(crate) mod compare;
pub(crate) mod experiments;
pub(crate) mod models;
pub(crate) mod run;
pub(crate) mod traces;
mod views;

use jiff::Timestamp;
use maud::{Markup, html};
use serde_json::json;

use super::{
    frame::Frame,
    statics,
    ui::{clip, query},
    views::When,
};

/// How a training script is told to log here.
fn point_here(frame: &Frame) -> String {
    format!("export MLFLOW_TRACKING_URI=http://{}", frame.host)
}

/// A time in milliseconds since 1970; zero is none.
fn when(milliseconds: i64) -> When {
    let known = Some(milliseconds).filter(|at| *at > 0);
    When(known.and_then(|at| Timestamp::from_millisecond(at).ok()))
}

/// A text as a pattern in a filter that finds it anywhere. A filter has no way to write both quotes in one
/// text; a pattern has: any character stands for the one.
fn anywhere(text: &str) -> String {
    match text.contains('\'') {
        false => format!("'%{text}%'"),
        true => format!("\"%{}%\"", text.replace('"', "_")),
    }
}

/// A condition that a name is this one; with both quotes in it, it may also let others through.
fn named(name: &str) -> String {
    match (name.contains('\''), name.contains('"')) {
        (false, _) => format!("name = '{name}'"),
        (true, false) => format!("name = \"{name}\""),
        (true, true) => format!("name LIKE \"{}\"", name.replace('"', "_")),
    }
}

/// The way to the next page of a list, with the rest of the address as it is.
fn next_page(path: &str, kept: &[(&str, Option<&str>)], token: &str) -> Markup {
    let mut address = format!("{path}?page={}", query(token));
    for (name, value) in kept {
        if let Some(value) = value {
            address.push_str(&format!("&{name}={}", query(value)));
        }
    }
    html! { @if !token.is_empty() { nav.pager { a.button href=(address) { "More" } } } }
}

/// What a page says when the server has none of it.
fn absent(what: &str) -> Markup {
    html! {
        header.head { h1 { (what) } }
        (super::ui::empty("None here", "This server does not keep them.", None))
    }
}

/// Charts of metrics over some runs, drawn by a script when they come into view.
fn charts(runs: &[(String, String)], keys: &[String]) -> Markup {
    let of_run = |(id, label): &(String, String)| json!({ "id": id, "label": clip(label, 60) });
    let data = json!({ "runs": runs.iter().map(of_run).collect::<Vec<_>>(), "keys": keys });
    html! {
        section {
            div.section-head {
                h2 { "Charts " span.count data-chart-told { (keys.len()) } }
                @if !keys.is_empty() { (chart_tools()) }
            }
            @if keys.is_empty() { p.quiet.pad { "No metrics were logged." } }
            @else {
                div.curves.charts-host data-charts=(data) {
                    noscript { p.quiet { "The charts are drawn by a script." } }
                }
                script type="module" src=(statics::address("charts.js")) {}
            }
        }
    }
}

fn chart_tools() -> Markup {
    html! {
        div.tools.chart-tools {
            input type="search" placeholder="Find a metric" aria-label="Find a metric" data-chart-find;
            label { "Smoothing " input type="range" min="0" max="0.99" step="0.01" value="0" data-chart-smooth; output data-chart-smooth-value { "0" } }
            label { "Against " select data-chart-axis { option value="step" { "step" } option value="time" { "time" } } }
            label { input type="checkbox" data-chart-log-x; " log x" }
            label { input type="checkbox" data-chart-log-y; " log y" }
            button type="button" data-chart-reset { "Reset zoom" }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_never_ends_its_quotes() {
        for (text, expected) in [
            ("loss", "'%loss%'"),
            ("it's", "\"%it's%\""),
            ("\"x\"", "'%\"x\"%'"),
            ("'\"", "\"%'_%\""),
        ] {
            assert_eq!(anywhere(text), expected);
        }
        for (name, expected) in
            [("cats", "name = 'cats'"), ("it's", "name = \"it's\""), ("'\"", "name LIKE \"'_\"")]
        {
            assert_eq!(named(name), expected);
        }
    }
}
