//! Which sentences does a passage have, without its markup, and where does each stand in it?

use std::ops::Range;

use pulldown_cmark::{Event, Parser, Tag, TagEnd};

use super::options;

/// One sentence of a passage. A heading, a table row and a block of code count as one each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sentence {
    /// The words without markup, blanks made single.
    pub text: String,
    /// Where its source begins in the passage.
    pub byte_start: usize,
    /// Where its source ends.
    pub byte_end: usize,
    /// Whether it is a block of code, which keeps its lines.
    pub is_code: bool,
}

/// The sentences of a Markdown text, markup stripped.
pub fn sentences(text: &str) -> Vec<String> {
    sentence_spans(text).into_iter().map(|sentence| sentence.text).collect()
}

/// The sentences of a Markdown text with the ranges of their source: `text[byte_start..byte_end]`
/// is what a quote of the sentence quotes.
pub fn sentence_spans(text: &str) -> Vec<Sentence> {
    let mut reader = Reader { source: text, block: Block::default(), found: Vec::new() };
    let mut in_code = false;
    let mut in_metadata = false;
    for (event, range) in Parser::new_ext(text, options()).into_offset_iter() {
        match event {
            Event::Start(Tag::MetadataBlock(_)) => in_metadata = true,
            Event::End(TagEnd::MetadataBlock(_)) => in_metadata = false,
            _ if in_metadata => {}
            Event::Start(Tag::CodeBlock(_)) => {
                reader.finish_prose();
                in_code = true;
            }
            Event::End(TagEnd::CodeBlock) => {
                reader.finish_code();
                in_code = false;
            }
            Event::Start(tag) if breaks(&tag.to_end()) => reader.finish_prose(),
            Event::End(tag) if breaks(&tag) => reader.finish_prose(),
            Event::End(TagEnd::TableCell) if !in_code => {
                reader.block.push(" ", range.end..range.end)
            }
            Event::Text(words) => reader.block.push(&words, range),
            Event::Code(words) => {
                // The words stand inside their backticks: find them, so that a range is exact.
                let inside = text[range.clone()].find(&*words).map(|at| range.start + at);
                let start = inside.unwrap_or(range.start);
                reader.block.push(&words, start..start + words.len().min(range.end - start));
            }
            Event::SoftBreak | Event::HardBreak => reader.block.push(" ", range),
            _ => {}
        }
    }
    reader.finish_prose();
    reader.found
}

/// Whether this element ends the sentence before it and the one inside it.
fn breaks(tag: &TagEnd) -> bool {
    !matches!(
        tag,
        TagEnd::Emphasis
            | TagEnd::Strong
            | TagEnd::Strikethrough
            | TagEnd::Superscript
            | TagEnd::Subscript
            | TagEnd::Link
            | TagEnd::Image
            | TagEnd::TableCell
    )
}

/// The plain words of one block, and where each stretch of them came from.
#[derive(Default)]
struct Block {
    plain: String,
    /// Start in `plain`, range in the source.
    stretches: Vec<(usize, Range<usize>)>,
}

impl Block {
    fn push(&mut self, words: &str, source: Range<usize>) {
        if !words.is_empty() {
            self.stretches.push((self.plain.len(), source));
            self.plain.push_str(words);
        }
    }

    /// Where the byte at `at` of the plain words stands in the source.
    fn source_of(&self, at: usize) -> usize {
        let index = self.stretches.partition_point(|(start, _)| *start <= at).saturating_sub(1);
        self.stretches
            .get(index)
            .map_or(0, |(start, source)| (source.start + (at - start)).min(source.end))
    }
}

struct Reader<'a> {
    source: &'a str,
    block: Block,
    found: Vec<Sentence>,
}

impl Reader<'_> {
    fn finish_prose(&mut self) {
        let block = std::mem::take(&mut self.block);
        let mut start = 0;
        for end in ends(&block.plain).into_iter().chain([block.plain.len()]) {
            self.keep(&block, start..end, false);
            start = end;
        }
    }

    fn finish_code(&mut self) {
        let block = std::mem::take(&mut self.block);
        self.keep(&block, 0..block.plain.len(), true);
    }

    fn keep(&mut self, block: &Block, range: Range<usize>, is_code: bool) {
        let Some(raw) = block.plain.get(range.clone()) else { return };
        let (words, lead) = if is_code {
            (raw.trim_end().to_owned(), 0)
        } else {
            let lead = raw.len() - raw.trim_start().len();
            (raw.split_whitespace().collect::<Vec<_>>().join(" "), lead)
        };
        if !words.chars().any(char::is_alphanumeric) {
            return;
        }
        let last = range.start + raw.trim_end().len();
        let byte_start = self.source.floor_char_boundary(block.source_of(range.start + lead));
        // The end of the last character, not the start of what follows it.
        let byte_end = block.source_of(last.saturating_sub(1)) + 1;
        let byte_end = self.source.ceil_char_boundary(byte_end.max(byte_start));
        self.found.push(Sentence { text: words, byte_start, byte_end, is_code });
    }
}

/// Words after which a full stop ends nothing.
const ABBREVIATIONS: &[&str] = &[
    "al", "approx", "ca", "cf", "dept", "dr", "e.g", "eq", "est", "fig", "figs", "i.e", "inc",
    "jr", "ltd", "mr", "mrs", "ms", "no", "nos", "p", "pp", "prof", "resp", "sec", "sr", "st",
    "viz", "vol", "vs",
];

/// Where sentences end in plain words: after the blanks that follow a full stop.
fn ends(plain: &str) -> Vec<usize> {
    let mut found = Vec::new();
    let mut characters = plain.char_indices().peekable();
    while let Some((at, mark)) = characters.next() {
        if matches!(mark, '。' | '！' | '？') {
            found.push(at + mark.len_utf8());
            continue;
        }
        if !matches!(mark, '.' | '!' | '?') {
            continue;
        }
        let mut end = at + 1;
        while let Some((closing, c)) = characters.peek().copied() {
            if !matches!(c, '"' | '\'' | ')' | ']' | '”' | '’' | '»' | '.' | '!' | '?') {
                break;
            }
            end = closing + c.len_utf8();
            characters.next();
        }
        let rest = &plain[end..];
        let blanks = rest.len() - rest.trim_start().len();
        let Some(next) = rest.trim_start().chars().next() else { break };
        let begins = !next.is_lowercase() && !matches!(next, ',' | ';' | ':' | ')');
        if blanks > 0 && begins && !(mark == '.' && is_abbreviation(&plain[..at])) {
            found.push(end + blanks);
        }
    }
    found
}

/// Whether the word that ends here is an abbreviation or the initial of a name.
fn is_abbreviation(before: &str) -> bool {
    let word = before.rsplit(|c: char| c.is_whitespace() || c == '(').next().unwrap_or_default();
    let mut letters = word.chars();
    let is_initial =
        matches!((letters.next(), letters.next()), (Some(c), None) if c.is_uppercase());
    // A lone capital is an initial, except the word "I".
    (is_initial && word != "I")
        || ABBREVIATIONS.binary_search(&word.to_lowercase().as_str()).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prose_is_cut_at_full_stops_and_not_elsewhere() {
        let text = "Use **bold** words, e.g. `sextant.toml`. It costs 3.5 ms (see Fig. 2). J. Smith \
                    asked: \"Why?\" Because\nlines wrap. See [the page](https://x.y/z.html) now!";
        assert_eq!(
            sentences(text),
            [
                "Use bold words, e.g. sextant.toml.",
                "It costs 3.5 ms (see Fig. 2).",
                "J. Smith asked: \"Why?\"",
                "Because lines wrap.",
                "See the page now!",
            ]
        );
    }

    #[test]
    fn blocks_end_sentences_and_code_stays_whole() {
        let text = "# Title\n\n- one item\n- two. Items\n\n```sh\nsextant build\n  x. Y\n```\n\n| a | b |\n|---|---|\n| c. D | d |\n";
        assert_eq!(
            sentences(text),
            ["Title", "one item", "two.", "Items", "sextant build\n  x. Y", "a b", "c.", "D d"]
        );
    }

    #[test]
    fn ranges_quote_the_source() {
        let text = "First &amp; *foremost*. Then `a_b` comes. 日本語です。次の文。";
        let quotes: Vec<&str> =
            sentence_spans(text).iter().map(|s| &text[s.byte_start..s.byte_end]).collect();
        assert_eq!(
            quotes,
            ["First &amp; *foremost*.", "Then `a_b` comes.", "日本語です。", "次の文。"]
        );
    }

    #[test]
    fn abbreviations_are_sorted_for_the_search() {
        assert!(ABBREVIATIONS.is_sorted());
    }
}
