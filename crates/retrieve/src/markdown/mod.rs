//! Where does each passage of a document begin and end? [`sections`] cuts at headings and, where a
//! section is long, between its paragraphs; [`sentences`] cuts prose into sentences.
//!
//! Every range is exact: `text[byte_start..byte_end]` is the source of the section, heading line
//! included. Any text is accepted (Markdown is never invalid), and nothing here can fail.

mod sections;
mod sentences;
mod split;
#[cfg(test)]
mod tests;

pub use sections::{Section, sections};
pub use sentences::{Sentence, sentence_spans, sentences};

use pulldown_cmark::Options;

/// The Markdown that people write: tables, footnotes, task lists, front matter.
fn options() -> Options {
    Options::ENABLE_TABLES
        | Options::ENABLE_FOOTNOTES
        | Options::ENABLE_STRIKETHROUGH
        | Options::ENABLE_TASKLISTS
        | Options::ENABLE_GFM
        | Options::ENABLE_YAML_STYLE_METADATA_BLOCKS
        | Options::ENABLE_PLUSES_DELIMITED_METADATA_BLOCKS
}

/// The longest start of `text` of at most `bytes_max` bytes that ends between characters.
fn prefix(text: &str, bytes_max: usize) -> &str {
    &text[..text.floor_char_boundary(bytes_max)]
}
