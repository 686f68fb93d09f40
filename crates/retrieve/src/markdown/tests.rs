//! What must hold for every document, and a few documents in detail.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use super::{Section, sections, sentence_spans};
use crate::limits::SECTION_BYTES_MAX;

/// `level|breadcrumb|source` of each section, one per line.
fn check(text: &str, expected: &[&str]) {
    let shown: Vec<String> = sections(text)
        .iter()
        .map(|s| {
            let source = &text[s.byte_start..s.byte_end];
            format!("{}|{}|{}", s.level, s.breadcrumb, source.replace('\n', "⏎"))
        })
        .collect();
    assert_eq!(shown, expected);
}

fn hold(text: &str) -> Vec<Section> {
    let found = sections(text);
    let mut end = 0;
    for (index, section) in found.iter().enumerate() {
        assert_eq!(section.ordinal, index);
        assert!(section.byte_start >= end, "sections overlap in {text:?}");
        assert!(section.byte_start < section.byte_end);
        end = section.byte_end;
        let source = &text[section.byte_start..section.byte_end];
        assert!(section.body == section.heading || source.contains(&section.body), "{text:?}");
        assert!(section.body.len() <= SECTION_BYTES_MAX.max(section.heading.len()));
        assert!(section.breadcrumb.ends_with(&section.heading));
    }
    for sentence in sentence_spans(text) {
        assert!(sentence.byte_start <= sentence.byte_end && sentence.byte_end <= text.len());
        assert!(text.get(sentence.byte_start..sentence.byte_end).is_some());
    }
    found
}

#[test]
fn headings_make_sections_with_breadcrumbs() {
    check(
        "intro\n\n# Guide\n\nHello.\n\n## Part\n### Detail ###\ntext\n\nMore\n====\n\nend\n",
        &[
            "0||intro",
            "1|Guide|# Guide⏎⏎Hello.",
            "3|Guide > Part > Detail|### Detail ###⏎text",
            "1|More|More⏎====⏎⏎end",
        ],
    );
}

#[test]
fn markup_in_headings_is_stripped_and_code_holds_no_headings() {
    check(
        "# The `sextant.toml` *file*\n\n```sh\n# not a heading\n```\n\n> ## quoted\n\n- x\n  # y\n",
        &[
            "1|The sextant.toml file|# The `sextant.toml` *file*⏎⏎```sh⏎# not a heading⏎```⏎⏎> ## quoted⏎⏎- x⏎  # y",
        ],
    );
}

#[test]
fn front_matter_is_no_passage_and_plain_text_is_one() {
    check("---\ntitle: x\n---\n\nwords\n", &["0||words"]);
    check("just words\n", &["0||just words"]);
    check("", &[]);
    check(" \n\t\n", &[]);
    check("# Only\n", &["1|Only|# Only"]);
    check("\u{feff}# Bom\r\n\r\ntext\r\n", &["1|Bom|# Bom\r⏎\r⏎text"]);
}

#[test]
fn long_sections_are_split_between_blocks() {
    let paragraph = "Some words that fill a line of text. ".repeat(20);
    let code = format!("```\n{}```", "let x = 1;\n\n".repeat(60));
    let text = format!("# T\n\n{paragraph}\n\n{paragraph}\n\n{paragraph}\n\n{code}\n\nlast\n");
    let found = hold(&text);
    assert!(found.len() >= 3, "{}", found.len());
    assert!(found.iter().any(|s| s.body.starts_with("```") && s.body.contains(&code)));
    assert!(found.iter().all(|s| s.heading == "T"));
    assert!(text[found[0].byte_start..].starts_with("# T"));
    assert!(!found.iter().any(|s| s.body.contains("```") && s.body.matches("```").count() != 2));
}

#[test]
fn a_block_that_alone_is_too_long_is_divided_at_lines_or_words() {
    let code = format!("```\n{}```\n", "a line of code that is long\n".repeat(200));
    for piece in hold(&code) {
        assert!(piece.body.lines().all(|l| l == "```" || l == "a line of code that is long"));
    }
    let items = hold(&"- an item of a long list, with words\n".repeat(100));
    assert!(items.len() > 2 && items.iter().all(|s| s.body.starts_with("- an item")));
    assert!(hold(&"word ".repeat(2000)).iter().all(|s| s.body.ends_with("word")));
    assert_eq!(hold(&"é".repeat(2000)).len(), 4);
}

#[test]
fn no_input_panics_or_breaks_a_range() {
    const PARTS: &[&str] = &[
        "# ",
        "## a\n",
        "\n",
        "\n\n",
        "```",
        "```\n",
        "- ",
        "> ",
        "1. ",
        "|",
        "|-|-|\n",
        "é",
        "日本",
        "🦀",
        "\r\n",
        "\u{feff}",
        "\u{0}",
        "===\n",
        "---\n",
        "+++\n",
        "    ",
        "\t",
        "[a](b)",
        "[^1]",
        "[^1]: x\n",
        "<p>",
        "</p>",
        "&amp;",
        "`",
        "**",
        "_",
        "word ",
        "e.g. ",
        "!? ",
        "\\",
        "<!--",
        "\u{2028}",
        "a\u{301}",
        "\u{85}",
        "{#id}",
        "![",
        "](",
        "x. Y",
    ];
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let mut next = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state % below as u64).unwrap()
    };
    for round in 0..3000 {
        let mut text = String::new();
        for _ in 0..next(40) {
            text.push_str(PARTS[next(PARTS.len())]);
        }
        if round % 10 == 0 {
            text = text.repeat(50);
        }
        if round % 3 == 0 {
            let bytes: Vec<u8> = (0..next(300)).map(|_| next(256).to_le_bytes()[0]).collect();
            text.push_str(&String::from_utf8_lossy(&bytes));
        }
        hold(&text);
    }
}
