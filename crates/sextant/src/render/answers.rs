//! Answers, searches, replays.

use serde_json::Value;

use super::text::{Style, cut, items, plain, seconds, short, table};

pub fn answer(result: &Value) -> String {
    let mut text = format!("{}\n", plain(&result["answer"]));
    let citations = items(result, "citations");
    if !citations.is_empty() {
        text.push('\n');
    }
    for citation in citations {
        text.push_str(&format!(
            "{} {} {}  {}\n",
            Style::Accent.paint(format!("[{}]", plain(&citation["n"]))),
            Style::Bold.paint(plain(&citation["path"])),
            plain(&citation["heading"]),
            Style::Dim.paint(format!(
                "bytes {}–{}",
                plain(&citation["byte_start"]),
                plain(&citation["byte_end"])
            )),
        ));
    }
    let time = seconds(result["seconds"].as_f64().unwrap_or(0.0));
    let line = format!(
        "answer {} · release {} {} · {} · {time}",
        plain(&result["id"]),
        plain(&result["release_name"]),
        short(&result["release"]),
        plain(&result["mode"]),
    );
    text.push_str(&format!("\n{}\n", Style::Dim.paint(line)));
    text
}

pub fn list(result: &Value) -> String {
    let rows: Vec<Vec<String>> = items(result, "answers")
        .iter()
        .map(|answer| {
            vec![
                plain(&answer["id"]),
                plain(&answer["at"]),
                short(&answer["release"]),
                cut(&plain(&answer["question"]), 50),
                cut(&plain(&answer["answer"]), 50),
            ]
        })
        .collect();
    if rows.is_empty() {
        return "no answers yet: `sextant ask \"…\"`\n".to_owned();
    }
    table(&["answer", "at", "release", "question", "text"], &rows)
}

pub fn replay(result: &Value) -> String {
    if result["same"].as_bool().unwrap_or(false) {
        return format!("{}: the same answer, byte for byte\n", Style::Good.paint("same"));
    }
    let mut text = format!("{}: the answer differs\n", Style::Warn.paint("different"));
    for line in items(result, "differs") {
        text.push_str(&format!("  {}\n", plain(line)));
    }
    text.push_str(&format!(
        "before:\n{}\nafter:\n{}\n",
        plain(&result["before"]["answer"]),
        plain(&result["after"]["answer"])
    ));
    text
}

pub fn search(result: &Value) -> String {
    let mut text = String::new();
    for hit in items(result, "hits") {
        text.push_str(&format!(
            "{:>2}  {}  {}  {}\n    {}\n",
            plain(&hit["rank"]),
            Style::Bold.paint(plain(&hit["path"])),
            plain(&hit["heading"]),
            Style::Dim.paint(plain(&hit["score"])),
            cut(&plain(&hit["snippet"]), 96),
        ));
    }
    if text.is_empty() { "nothing found\n".to_owned() } else { text }
}
