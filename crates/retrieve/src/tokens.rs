//! Which words of a text are searchable? English words by their stem, and identifiers
//! (`--exit`, `sextant.toml`, `SXT-1003`, `snake_case`, `camelCase`) as a whole and by their parts.

use tantivy::{
    Index,
    tokenizer::{
        Language, LowerCaser, RemoveLongFilter, SimpleTokenizer, Stemmer, StopWordFilter,
        TextAnalyzer, Token, TokenStream, Tokenizer,
    },
};

use crate::limits::IDENTIFIER_BYTES_MAX;

/// The name of the analyzer of prose.
pub(crate) const PROSE: &str = "sextant_prose_en";
/// The name of the analyzer of identifiers.
pub(crate) const CODE: &str = "sextant_code";
/// Part of every snapshot's parameters: raise it when the analyzers change.
pub(crate) const ANALYZERS: &str = "en-stem-2/code-1/one-field";

const WORD_BYTES_MAX: usize = 64;

/// English words that carry no subject: the list of the Snowball project, its contractions cut at
/// the apostrophe as the tokenizer cuts them. A shorter list is not enough for questions: `how`,
/// `do` and `my` are rare in manuals, so BM25 would take them for telling words.
const STOP_WORDS: &str = "\
a about above after again against all am an and any are aren as at be because been before being \
below between both but by can cannot could couldn d did didn do does doesn doing don down during \
each few for from further had hadn has hasn have haven having he her here hers herself him himself \
his how i if in into is isn it its itself just let ll m me more most mustn my myself no nor not \
now of off on once only or other ought our ours ourselves out over own re s same shan she should \
shouldn so some such t than that the their theirs them themselves then there these they this those \
through to too under until up ve very was wasn we were weren what when where which while who whom \
why will with won would wouldn you your yours yourself yourselves";

/// Makes the analyzers known to an index.
pub(crate) fn register(index: &Index) {
    index.tokenizers().register(PROSE, prose());
    index.tokenizers().register(CODE, TextAnalyzer::from(CodeTokenizer));
}

fn prose() -> TextAnalyzer {
    let words = TextAnalyzer::builder(SimpleTokenizer::default())
        .filter(RemoveLongFilter::limit(WORD_BYTES_MAX))
        .filter(LowerCaser)
        .dynamic();
    let stop = StopWordFilter::remove(STOP_WORDS.split_whitespace().map(str::to_owned));
    words.filter_dynamic(stop).filter_dynamic(Stemmer::new(Language::English)).build()
}

/// The stems of a query, each once, in order.
pub(crate) fn stems(text: &str) -> Vec<String> {
    distinct(&mut prose(), text)
}

/// The identifiers of a query and their parts, each once, in order.
pub(crate) fn identifiers(text: &str) -> Vec<String> {
    distinct(&mut TextAnalyzer::from(CodeTokenizer), text)
}

fn distinct(analyzer: &mut TextAnalyzer, text: &str) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    let mut seen = std::collections::HashSet::new();
    let mut stream = analyzer.token_stream(text);
    while stream.advance() {
        let token = &stream.token().text;
        if seen.insert(token.clone()) {
            found.push(token.clone());
        }
    }
    found
}

/// Finds identifiers: runs without blanks that hold more than letters.
#[derive(Clone)]
struct CodeTokenizer;

impl Tokenizer for CodeTokenizer {
    type TokenStream<'a> = CodeTokens;

    fn token_stream<'a>(&'a mut self, text: &'a str) -> CodeTokens {
        let mut tokens = Vec::new();
        let mut start = 0;
        for run in text.split_inclusive(is_boundary) {
            identifier(run.trim_end_matches(is_boundary), start, &mut tokens);
            start += run.len();
        }
        for (position, token) in tokens.iter_mut().enumerate() {
            token.position = position;
        }
        CodeTokens { tokens, next: 0 }
    }
}

/// Blanks, and the marks that surround code in prose.
fn is_boundary(c: char) -> bool {
    c.is_whitespace()
        || matches!(
            c,
            '`' | '"'
                | '\''
                | '('
                | ')'
                | '['
                | ']'
                | '{'
                | '}'
                | '<'
                | '>'
                | ','
                | ';'
                | '|'
                | '*'
                | '='
                | '“'
                | '”'
                | '‘'
                | '’'
        )
}

/// Adds a run and its parts when it looks like an identifier.
fn identifier(run: &str, start: usize, tokens: &mut Vec<Token>) {
    let lead = run.len() - run.trim_start_matches([':', '!', '?', '#', '.']).len();
    let whole = run[lead..].trim_end_matches(['.', ':', '!', '?', '-', '/', '#', '&']);
    let start = start + lead;
    if whole.is_empty() || whole.len() > IDENTIFIER_BYTES_MAX || !is_code(whole) {
        return;
    }
    let mut add = |text: &str, from: usize| {
        tokens.push(Token {
            offset_from: from,
            offset_to: from + text.len(),
            position: 0,
            text: text.to_lowercase(),
            position_length: 1,
        });
    };
    add(whole, start);
    // `--exit=1` was cut at the sign; `--exit` is also found as `exit`, a path by its segments.
    for (from, part) in parts(whole) {
        if part.len() < whole.len() {
            add(part, start + from);
        }
    }
}

/// Whether a run is more than a plain word: a mark inside or in front, a digit beside letters, or
/// a capital after a small letter.
fn is_code(run: &str) -> bool {
    let mut has_letter = false;
    let mut is_special = false;
    let mut before = ' ';
    for c in run.chars() {
        has_letter |= c.is_alphanumeric();
        is_special |= !c.is_alphabetic() || (c.is_uppercase() && before.is_lowercase());
        before = c;
    }
    has_letter && is_special
}

/// The parts of an identifier: cut at marks and where a small letter meets a capital.
fn parts(run: &str) -> Vec<(usize, &str)> {
    let mut found = Vec::new();
    let mut start = 0;
    let mut before = ' ';
    for (at, c) in run.char_indices() {
        if !c.is_alphanumeric() {
            found.push((start, &run[start..at]));
            start = at + c.len_utf8();
        } else if c.is_uppercase() && before.is_lowercase() {
            found.push((start, &run[start..at]));
            start = at;
        }
        before = c;
    }
    found.push((start, &run[start..]));
    found.retain(|(_, part)| !part.is_empty());
    found
}

/// The identifiers of one text.
struct CodeTokens {
    tokens: Vec<Token>,
    next: usize,
}

impl TokenStream for CodeTokens {
    fn advance(&mut self) -> bool {
        self.next += 1;
        self.next <= self.tokens.len()
    }

    fn token(&self) -> &Token {
        // `advance` returned true before, so there is one.
        &self.tokens[self.next - 1]
    }

    fn token_mut(&mut self) -> &mut Token {
        &mut self.tokens[self.next - 1]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_are_found_whole_and_in_parts() {
        let check =
            |text: &str, expected: &[&str]| assert_eq!(identifiers(text), expected, "{text}");
        check("Run `sextant demo --exit`.", &["--exit", "exit"]);
        check("see sextant.toml, please", &["sextant.toml", "sextant", "toml"]);
        check("error SXT-1003: no", &["sxt-1003", "sxt", "1003"]);
        check("a snake_case and camelCase", &["snake_case", "snake", "case", "camelcase", "camel"]);
        check("(docs/guide/a.md)", &["docs/guide/a.md", "docs", "guide", "a", "md"]);
        check("Only plain words. Here! And 'quoted' ones - too", &[]);
        check("nDCG@10 k=60", &["ndcg@10", "n", "dcg", "10", "60"]);
        check("", &[]);
        check("--- *** `` ::: é-ü", &["é-ü", "é", "ü"]);
    }

    #[test]
    fn prose_is_stemmed_and_stop_words_are_dropped() {
        assert_eq!(stems("The builds are building"), ["build"]);
        assert_eq!(stems("the of and"), Vec::<String>::new());
        // What a question is made of, beside what it asks about.
        for (question, subject) in [
            ("How do I undo a release?", &["undo", "releas"][..]),
            ("What happens when my disk is full?", &["happen", "disk", "full"]),
            ("Why doesn't it work? I don't know, we can't tell", &["work", "know", "tell"]),
            ("Who are you, and where were they?", &[]),
            ("Does the SERVER serve? Servers!", &["server", "serv"]),
        ] {
            assert_eq!(stems(question), subject, "{question}");
        }
    }

    #[test]
    fn stop_words_are_whole_tokens_each_once() {
        let words: Vec<&str> = STOP_WORDS.split_whitespace().collect();
        assert!(words.is_sorted_by(|a, b| a < b), "sorted, without duplicates");
        assert!(words.iter().all(|word| word.bytes().all(|b| b.is_ascii_lowercase())));
    }
}
