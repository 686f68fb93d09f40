//! Retrieval's parsers, for the SQL of the data layer.

use sextant_data::{TextFunctions, TextSection};
use sextant_retrieve::{chunk_digest, markdown};

/// Changes when the parsers' results may change; part of every SQL model's recipe.
const VERSION: &str = "markdown-1";

/// The Markdown parsers as SQL functions.
#[derive(Debug, Clone, Copy)]
pub struct MarkdownFunctions;

impl TextFunctions for MarkdownFunctions {
    fn version(&self) -> String {
        VERSION.to_owned()
    }

    fn markdown_sections(&self, text: &str) -> Vec<TextSection> {
        let number = |value: usize| i64::try_from(value).unwrap_or(i64::MAX);
        let small = |value: usize| i32::try_from(value).unwrap_or(i32::MAX);
        markdown::sections(text)
            .into_iter()
            .map(|section| TextSection {
                ordinal: small(section.ordinal),
                level: small(section.level as usize),
                heading: section.heading,
                breadcrumb: section.breadcrumb,
                body: section.body,
                byte_start: number(section.byte_start),
                byte_end: number(section.byte_end),
            })
            .collect()
    }

    fn chunk_id(&self, doc_version: &str, byte_start: i64, byte_end: i64) -> String {
        let range = (u64::try_from(byte_start), u64::try_from(byte_end));
        match (doc_version.parse(), range) {
            (Ok(version), (Ok(start), Ok(end))) => chunk_digest(&version, start, end).to_string(),
            // Not the id of any chunk: the index refuses the row by name.
            _ => format!("not a passage of {doc_version}"),
        }
    }

    fn sentences(&self, text: &str) -> Vec<String> {
        markdown::sentences(text)
    }
}
