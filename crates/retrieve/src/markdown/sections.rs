//! Which sections does a document have, and what are they called?

use std::ops::Range;

use pulldown_cmark::{Event, HeadingLevel, Parser, Tag, TagEnd};
use serde::Serialize;

use super::{options, prefix, split};
use crate::limits::{HEADING_BYTES_MAX, SECTION_BYTES_MAX};

/// One passage of a document: a section under its heading, or a part of a long one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Section {
    /// Its place in the document, from 0.
    pub ordinal: usize,
    /// The level of its heading, 1 to 6; 0 for text before the first heading.
    pub level: u8,
    /// Its heading without markup; empty for text before the first heading.
    pub heading: String,
    /// The headings that lead to it, its own last: `Title > Part > Detail`.
    pub breadcrumb: String,
    /// Its source without the heading line.
    pub body: String,
    /// Where its source begins in the document.
    pub byte_start: usize,
    /// Where its source ends in the document.
    pub byte_end: usize,
}

/// A heading at the top level of the document.
struct Heading {
    /// From the start of its line to the end of its last line.
    range: Range<usize>,
    level: u8,
    title: String,
}

/// Cuts a document into sections, in order and without overlap.
///
/// A section ends at the next heading of any level. One longer than
/// [`SECTION_BYTES_MAX`] is split between its blocks; a block is divided only when it alone is too
/// long, a code block only between lines. Headings inside quotes, lists and code divide nothing.
/// A heading with nothing below it but deeper headings makes no section of its own: it lives on in
/// their breadcrumbs.
pub fn sections(text: &str) -> Vec<Section> {
    // A byte order mark would hide a heading on the first line.
    let content = text.strip_prefix('\u{feff}').unwrap_or(text);
    let skipped = text.len() - content.len();
    let mut found = sections_of(content);
    for (ordinal, section) in found.iter_mut().enumerate() {
        section.ordinal = ordinal;
        section.byte_start += skipped;
        section.byte_end += skipped;
    }
    found
}

fn sections_of(text: &str) -> Vec<Section> {
    let outline = outline(text);
    let mut found = Vec::new();
    let mut path: Vec<(u8, String)> = Vec::new();
    let first = outline.headings.first().map_or(text.len(), |heading| heading.range.start);
    emit(
        text,
        &outline.cuts,
        &(0, String::new(), String::new()),
        outline.start.min(first)..first,
        0,
        &mut found,
    );
    for (index, heading) in outline.headings.iter().enumerate() {
        let next = outline.headings.get(index + 1);
        let end = next.map_or(text.len(), |next| next.range.start);
        path.retain(|(level, _)| *level < heading.level);
        path.push((heading.level, heading.title.clone()));
        let is_empty = text[heading.range.end..end].trim().is_empty();
        if is_empty && next.is_some_and(|next| next.level > heading.level) {
            continue;
        }
        let titles: Vec<&str> = path
            .iter()
            .map(|(_, title)| title.as_str())
            .filter(|title| !title.is_empty())
            .collect();
        let name = (heading.level, heading.title.clone(), titles.join(" > "));
        emit(text, &outline.cuts, &name, heading.range.start..end, heading.range.end, &mut found);
    }
    found
}

/// Adds the pieces of one section; its heading ends at `heading_end`.
fn emit(
    text: &str,
    cuts: &split::Cuts,
    (level, heading, breadcrumb): &(u8, String, String),
    range: Range<usize>,
    heading_end: usize,
    found: &mut Vec<Section>,
) {
    let body_start = heading_end.max(range.start);
    let mut pieces = split::pieces(text, cuts, body_start..range.end, SECTION_BYTES_MAX);
    if pieces.is_empty() {
        pieces.push(body_start..body_start);
    }
    for (index, piece) in pieces.iter().enumerate() {
        let body = text[piece.clone()].trim();
        let start = if index == 0 { range.start } else { piece.start };
        let source = &text[start..piece.end];
        let trimmed = source.trim_end();
        let blank = blank_lines(trimmed);
        if trimmed.len() == blank {
            continue;
        }
        found.push(Section {
            ordinal: 0,
            level: *level,
            heading: heading.clone(),
            breadcrumb: breadcrumb.clone(),
            body: if body.is_empty() { heading.clone() } else { body.to_owned() },
            byte_start: start + blank,
            byte_end: start + trimmed.len(),
        });
    }
}

/// How many bytes of blank lines the text begins with. Indentation of the first line with content
/// stays: it may be code.
fn blank_lines(text: &str) -> usize {
    let content = text.len() - text.trim_start().len();
    text[..content].rfind('\n').map_or(0, |newline| newline + 1)
}

/// What one pass of the parser finds.
#[derive(Default)]
struct Outline {
    /// Where the text begins: after the front matter.
    start: usize,
    headings: Vec<Heading>,
    cuts: split::Cuts,
}

impl Outline {
    fn heading(&mut self, range: Range<usize>, level: HeadingLevel, words: &str) {
        let words = words.split_whitespace().collect::<Vec<_>>().join(" ");
        let title = prefix(&words, HEADING_BYTES_MAX).to_owned();
        self.headings.push(Heading { range, level: level as u8, title });
    }
}

fn outline(text: &str) -> Outline {
    let mut outline = Outline::default();
    let mut depth = 0_usize;
    let mut title: Option<String> = None;
    for (event, range) in Parser::new_ext(text, options()).into_offset_iter() {
        match event {
            Event::Start(tag) => {
                match (&tag, depth) {
                    (Tag::Heading { .. }, 0) => title = Some(String::new()),
                    (_, 0) => outline.cuts.block(line_start(text, range.start)),
                    (Tag::Item | Tag::TableRow | Tag::Paragraph, _) => {
                        outline.cuts.inner(line_start(text, range.start));
                    }
                    _ => {}
                }
                depth += 1;
            }
            Event::End(tag) => {
                depth = depth.saturating_sub(1);
                match (tag, depth) {
                    (TagEnd::Heading(level), 0) => {
                        let words = title.take().unwrap_or_default();
                        outline.heading(line_start(text, range.start)..range.end, level, &words);
                    }
                    (TagEnd::MetadataBlock(_), 0) => outline.start = range.end,
                    _ => {}
                }
            }
            Event::Text(words) | Event::Code(words) => {
                if let Some(title) = &mut title {
                    title.push_str(&words);
                }
            }
            Event::SoftBreak | Event::HardBreak => {
                if let Some(title) = &mut title {
                    title.push(' ');
                }
            }
            Event::Rule if depth == 0 => outline.cuts.block(line_start(text, range.start)),
            _ => {}
        }
    }
    outline
}

/// Where the line of this byte begins, when only blanks stand before it; else the byte itself.
fn line_start(text: &str, at: usize) -> usize {
    let start = text[..at].rfind('\n').map_or(0, |newline| newline + 1);
    if text[start..at].trim().is_empty() { start } else { at }
}
