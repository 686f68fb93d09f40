//! Where do the sentences, list items, tables and code blocks of a Markdown passage begin and end?
//! Byte ranges only: what is quoted is always a slice of the passage itself.

use std::ops::Range;

/// Longest table that is one unit; the rows of a longer one are units of their own.
const TABLE_BYTES_MAX: usize = 700;

/// What a unit of text is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum UnitKind {
    /// A sentence of a paragraph.
    Sentence,
    /// One item of a list, with its marker.
    Item,
    /// A code block, with its fences.
    Code,
    /// A table, or a row of a long one.
    Table,
}

/// A piece of a passage that can be quoted on its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Unit {
    /// Its bytes in the passage.
    pub range: Range<usize>,
    /// What it is.
    pub kind: UnitKind,
    /// Which block (paragraph, list, code block, table) it is part of, counted from 0.
    pub block: usize,
}

/// The units of a passage, in order. Headings and rules are left out.
pub(crate) fn units(body: &str) -> Vec<Unit> {
    let lines = lines_of(body);
    let mut found = Vec::new();
    let (mut at, mut block) = (0, 0);
    while at < lines.len() {
        let text = &body[lines[at].clone()];
        let next = match shape(text) {
            Shape::Blank | Shape::Heading | Shape::Rule => at + 1,
            Shape::Fence => take_fence(body, &lines, at, block, &mut found),
            Shape::Item => take_items(body, &lines, at, block, &mut found),
            Shape::Table => take_table(body, &lines, at, block, &mut found),
            Shape::Indented if at == 0 || body[lines[at - 1].clone()].trim().is_empty() => {
                take_indented(body, &lines, at, block, &mut found)
            }
            Shape::Indented | Shape::Text => take_paragraph(body, &lines, at, block, &mut found),
        };
        at = next.max(at + 1);
        block += 1;
    }
    found
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Shape {
    Blank,
    Heading,
    Rule,
    Fence,
    Item,
    Table,
    Indented,
    Text,
}

fn shape(line: &str) -> Shape {
    let text = line.trim();
    let hashes = text.bytes().take_while(|b| *b == b'#').count();
    if text.is_empty() {
        Shape::Blank
    } else if text.starts_with("```") || text.starts_with("~~~") {
        Shape::Fence
    } else if (1..=6).contains(&hashes) && text[hashes..].starts_with([' ', '\t']) {
        Shape::Heading
    } else if text.len() >= 3 && text.bytes().all(|b| b"-*_= ".contains(&b)) {
        Shape::Rule
    } else if is_item(text) {
        Shape::Item
    } else if text.starts_with('|') {
        Shape::Table
    } else if line.starts_with("    ") || line.starts_with('\t') {
        Shape::Indented
    } else {
        Shape::Text
    }
}

fn is_item(text: &str) -> bool {
    if ["- ", "* ", "+ "].iter().any(|marker| text.starts_with(marker)) {
        return true;
    }
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    (1..=3).contains(&digits)
        && (text[digits..].starts_with(". ") || text[digits..].starts_with(") "))
}

fn lines_of(body: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut start = 0;
    for line in body.split_inclusive('\n') {
        found.push(start..start + line.trim_end_matches(['\n', '\r']).len());
        start += line.len();
    }
    found
}

fn trimmed(body: &str, range: Range<usize>) -> Range<usize> {
    let text = &body[range.clone()];
    let start = range.start + (text.len() - text.trim_start().len());
    start..(start + text.trim().len())
}

fn push(body: &str, range: Range<usize>, kind: UnitKind, block: usize, found: &mut Vec<Unit>) {
    let range = if kind == UnitKind::Code { range } else { trimmed(body, range) };
    if !range.is_empty() {
        found.push(Unit { range, kind, block });
    }
}

fn take_fence(
    body: &str,
    lines: &[Range<usize>],
    at: usize,
    block: usize,
    found: &mut Vec<Unit>,
) -> usize {
    let opening = body[lines[at].clone()].trim();
    let mark: String = opening.chars().take_while(|c| "`~".contains(*c)).collect();
    let closes = |line: &Range<usize>| {
        let text = body[line.clone()].trim();
        text.starts_with(&mark) && text.chars().all(|c| mark.starts_with(c))
    };
    let end = (at + 1..lines.len()).find(|index| closes(&lines[*index]));
    let last = end.unwrap_or(lines.len() - 1);
    push(body, lines[at].start..lines[last].end, UnitKind::Code, block, found);
    last + 1
}

fn take_indented(
    body: &str,
    lines: &[Range<usize>],
    at: usize,
    block: usize,
    found: &mut Vec<Unit>,
) -> usize {
    let mut last = at;
    for (index, line) in lines.iter().enumerate().skip(at) {
        match shape(&body[line.clone()]) {
            Shape::Blank => {}
            _ if body[line.clone()].starts_with(' ') || body[line.clone()].starts_with('\t') => {
                last = index;
            }
            _ => break,
        }
    }
    push(body, lines[at].start..lines[last].end, UnitKind::Code, block, found);
    last + 1
}

fn take_items(
    body: &str,
    lines: &[Range<usize>],
    at: usize,
    block: usize,
    found: &mut Vec<Unit>,
) -> usize {
    let mut index = at;
    while index < lines.len() && shape(&body[lines[index].clone()]) == Shape::Item {
        let mut last = index;
        while let Some(line) = lines.get(last + 1) {
            match shape(&body[line.clone()]) {
                Shape::Text | Shape::Indented | Shape::Rule => last += 1,
                _ => break,
            }
        }
        push(body, lines[index].start..lines[last].end, UnitKind::Item, block, found);
        index = last + 1;
        let blank = |i: usize| lines.get(i).is_some_and(|l| body[l.clone()].trim().is_empty());
        if blank(index)
            && lines.get(index + 1).is_some_and(|l| shape(&body[l.clone()]) == Shape::Item)
        {
            index += 1;
        }
    }
    index
}

fn take_table(
    body: &str,
    lines: &[Range<usize>],
    at: usize,
    block: usize,
    found: &mut Vec<Unit>,
) -> usize {
    let end = (at..lines.len())
        .find(|index| shape(&body[lines[*index].clone()]) != Shape::Table)
        .unwrap_or(lines.len());
    let whole = lines[at].start..lines[end - 1].end;
    if whole.len() <= TABLE_BYTES_MAX {
        push(body, whole, UnitKind::Table, block, found);
    } else {
        for line in &lines[at..end] {
            let text = &body[line.clone()];
            if !text.bytes().all(|b| b"|-: \t".contains(&b)) {
                push(body, line.clone(), UnitKind::Table, block, found);
            }
        }
    }
    end
}

fn take_paragraph(
    body: &str,
    lines: &[Range<usize>],
    at: usize,
    block: usize,
    found: &mut Vec<Unit>,
) -> usize {
    let end = (at + 1..lines.len())
        .find(|index| !matches!(shape(&body[lines[*index].clone()]), Shape::Text | Shape::Indented))
        .unwrap_or(lines.len());
    let whole = lines[at].start..lines[end - 1].end;
    for sentence in sentences(&body[whole.clone()]) {
        let range = whole.start + sentence.start..whole.start + sentence.end;
        push(body, range, UnitKind::Sentence, block, found);
    }
    end
}

/// Abbreviations after which a sentence goes on.
const ABBREVIATIONS: &[&str] =
    &["e.g", "i.e", "etc", "vs", "cf", "approx", "no", "fig", "mr", "dr", "ms", "st", "incl"];

/// The sentences of a paragraph. Inline code is never cut.
pub(crate) fn sentences(text: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let (mut start, mut in_code) = (0, false);
    let characters: Vec<(usize, char)> = text.char_indices().collect();
    let mut index = 0;
    while index < characters.len() {
        let (offset, character) = characters[index];
        if character == '`' {
            in_code = !in_code;
        }
        let wide = matches!(character, '。' | '！' | '？');
        if !in_code && (wide || matches!(character, '.' | '!' | '?')) {
            let mut after = index + 1;
            while after < characters.len() && "\"')]*_”’»".contains(characters[after].1) {
                after += 1;
            }
            let end = characters.get(after).map_or(text.len(), |(at, _)| *at);
            if wide || ends_sentence(text, start, offset, &characters[after..]) {
                found.push(start..end);
                start = end;
                index = after;
                continue;
            }
        }
        index += 1;
    }
    if !text[start..].trim().is_empty() {
        found.push(start..text.len());
    }
    found.retain(|range| !text[range.clone()].trim().is_empty());
    found
}

fn ends_sentence(text: &str, start: usize, offset: usize, rest: &[(usize, char)]) -> bool {
    let Some((_, next)) = rest.first() else { return true };
    if !next.is_whitespace() {
        return false;
    }
    let following = rest.iter().map(|(_, c)| *c).find(|c| !c.is_whitespace());
    if following.is_some_and(char::is_lowercase) {
        return false;
    }
    let last = text[start..offset].rsplit(char::is_whitespace).next().unwrap_or_default();
    let last = last.trim_start_matches(['(', '"', '\'', '*', '_']).to_lowercase();
    let lone = last.chars().count() == 1 && last.chars().all(char::is_alphabetic);
    !lone && !ABBREVIATIONS.contains(&last.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(body: &str, expected: &[(UnitKind, &str)]) {
        let found: Vec<_> =
            units(body).iter().map(|unit| (unit.kind, &body[unit.range.clone()])).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn paragraphs_fall_into_sentences() {
        check(
            "One is e.g. here. Two\ngoes on! The file `a. B` stays.\n\nThird (see 1.5).\n",
            &[
                (UnitKind::Sentence, "One is e.g. here."),
                (UnitKind::Sentence, "Two\ngoes on!"),
                (UnitKind::Sentence, "The file `a. B` stays."),
                (UnitKind::Sentence, "Third (see 1.5)."),
            ],
        );
    }

    #[test]
    fn blocks_keep_their_marks() {
        check(
            "## Head\n\nDo this:\n\n```sh\nsextant build\n\n# note\n```\n\n- one\n  more\n- two\n\n1. x\n",
            &[
                (UnitKind::Sentence, "Do this:"),
                (UnitKind::Code, "```sh\nsextant build\n\n# note\n```"),
                (UnitKind::Item, "- one\n  more"),
                (UnitKind::Item, "- two"),
                (UnitKind::Item, "1. x"),
            ],
        );
    }

    #[test]
    fn a_short_table_is_whole_and_a_long_one_has_rows() {
        check(
            "| a | b |\n|---|---|\n| 1 | 2 |\n",
            &[(UnitKind::Table, "| a | b |\n|---|---|\n| 1 | 2 |")],
        );
        let long = format!("| a |\n|---|\n{}", "| some words in a row |\n".repeat(60));
        assert_eq!(units(&long).len(), 61);
    }

    #[test]
    fn odd_text_neither_panics_nor_loses_its_place() {
        for body in
            ["", "\n\n", "```", "é。日本語です。次", "- ", "|", "\t", "a\r\nb.\r\nC", "....", "`x"]
        {
            for unit in units(body) {
                assert!(body.get(unit.range.clone()).is_some(), "{body:?} {unit:?}");
            }
        }
    }
}
