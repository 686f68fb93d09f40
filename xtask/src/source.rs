//! What is in a Rust file? A small reader that hides comments and strings, cuts tests out, and finds
//! functions: enough to count by, with no compiler behind it.
//!
//! It works on bytes and keeps every line where it was, so that what it reports can be looked up.

use std::ops::Range;

/// A Rust file with its comments and literals blanked and its test items marked.
#[derive(Debug)]
pub struct Source {
    /// The text as written.
    pub text: String,
    /// The same length; comments, strings and character literals are spaces.
    pub masked: String,
    /// Byte ranges of items under `#[cfg(test)]` or `#[test]`.
    pub tests: Vec<Range<usize>>,
    /// Names of modules declared as `#[cfg(test)] mod name;`.
    pub test_modules: Vec<String>,
}

/// One function of production code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Function {
    /// Its name.
    pub name: String,
    /// The line of its `fn`, from 1.
    pub line: usize,
    /// Lines from `fn` to the closing brace, both counted.
    pub lines: usize,
}

impl Source {
    /// Reads a file's text.
    pub fn new(text: String) -> Self {
        let masked = mask(&text);
        let mut tests = Vec::new();
        let mut test_modules = Vec::new();
        for (start, end) in attributes(&masked) {
            if tests.iter().any(|range: &Range<usize>| range.contains(&start))
                || !is_test_attribute(&text[start..end])
            {
                continue;
            }
            let item = item_end(&masked, end);
            if masked[..item].ends_with(';')
                && let Some(name) = word_after(&masked[end..item], "mod")
            {
                test_modules.push(name.to_owned());
            }
            tests.push(start..item);
        }
        Self { text, masked, tests, test_modules }
    }

    /// The masked text without the test items: each byte of a test becomes a space.
    pub fn production(&self) -> String {
        let mut bytes = self.masked.clone().into_bytes();
        for range in &self.tests {
            blank(&mut bytes, range.clone());
        }
        String::from_utf8(bytes).unwrap_or_default()
    }

    /// The lines as written, with their numbers from 1, that no test item covers.
    pub fn production_lines(&self) -> impl Iterator<Item = (usize, &str)> {
        let mut offset = 0;
        self.text.split_inclusive('\n').enumerate().filter_map(move |(index, line)| {
            let start = offset;
            offset += line.len();
            let inside = self.tests.iter().any(|range| range.contains(&start));
            (!inside).then_some((index + 1, line.trim_end_matches(['\n', '\r'])))
        })
    }

    /// How many tests are written in this file.
    pub fn test_count(&self) -> usize {
        attributes(&self.masked)
            .iter()
            .filter(|(start, end)| {
                let inner = self.text[*start..*end].trim_start_matches("#[").trim_end_matches(']');
                inner == "test" || inner.starts_with("tokio::test")
            })
            .count()
    }

    /// Every function of production code; a nested one is counted by itself and in its parent.
    pub fn functions(&self) -> Vec<Function> {
        let text = self.production();
        let mut found = Vec::new();
        for start in words(&text, "fn") {
            let Some(name) = word_after(&text[start..], "fn") else { continue };
            let Some(open) = body_start(&text, start) else { continue };
            let end = matching(&text, open);
            found.push(Function {
                name: name.to_owned(),
                line: line_of(&text, start),
                lines: text[start..end].matches('\n').count() + 1,
            });
        }
        found
    }
}

/// The line that a byte offset is on, from 1.
pub fn line_of(text: &str, offset: usize) -> usize {
    text[..offset].matches('\n').count() + 1
}

/// Where `word` stands as a whole word.
pub fn words<'a>(text: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    text.match_indices(word).map(|(at, _)| at).filter(move |&at| {
        let before = text[..at].chars().next_back();
        let after = text[at + word.len()..].chars().next();
        !before.is_some_and(is_word) && !after.is_some_and(is_word)
    })
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// The identifier that follows the first whole `word`.
fn word_after<'a>(text: &'a str, word: &str) -> Option<&'a str> {
    let at = words(text, word).next()?;
    let rest = text[at + word.len()..].trim_start();
    let end = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
    (end > 0).then(|| &rest[..end])
}

/// `#[…]` and `#![…]` in masked text, as byte ranges.
fn attributes(masked: &str) -> Vec<(usize, usize)> {
    let mut found = Vec::new();
    for (at, _) in masked.match_indices("#[") {
        found.push((at, matching(masked, at + 1)));
    }
    found
}

fn is_test_attribute(attribute: &str) -> bool {
    let inner = attribute.trim_start_matches("#[").trim_end_matches(']').trim();
    if inner == "test" || inner.starts_with("tokio::test") {
        return true;
    }
    inner.starts_with("cfg(")
        && !inner.contains("not(")
        && (words(inner, "test").next().is_some() || inner.contains("\"testing\""))
}

/// The end of the item that starts after an attribute: past its `;` or its closing brace.
fn item_end(masked: &str, from: usize) -> usize {
    let bytes = masked.as_bytes();
    let mut at = from;
    while at < bytes.len() {
        match bytes[at] {
            b';' | b',' => return at + 1,
            b'{' => return matching(masked, at),
            b'(' | b'[' => at = matching(masked, at),
            b'}' => return at,
            _ => at += 1,
        }
    }
    at
}

/// The `{` of a function's body, or nothing for a declaration that ends in `;`.
fn body_start(text: &str, from: usize) -> Option<usize> {
    let bytes = text.as_bytes();
    let mut at = from;
    while at < bytes.len() {
        match bytes[at] {
            b'{' => return Some(at),
            b';' | b'}' | b')' | b',' => return None,
            b'(' | b'[' => at = matching(text, at),
            _ => at += 1,
        }
    }
    None
}

/// Past the bracket that closes the one at `open`.
fn matching(text: &str, open: usize) -> usize {
    let mut depth = 0_usize;
    for (at, byte) in text.bytes().enumerate().skip(open) {
        match byte {
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' | b'}' => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    return at + 1;
                }
            }
            _ => {}
        }
    }
    text.len()
}

fn blank(bytes: &mut [u8], range: Range<usize>) {
    let end = range.end.min(bytes.len());
    for byte in &mut bytes[range.start.min(end)..end] {
        if *byte != b'\n' {
            *byte = b' ';
        }
    }
}

/// Blanks comments, strings and character literals.
fn mask(text: &str) -> String {
    let mut bytes = text.as_bytes().to_vec();
    let mut at = 0;
    while at < bytes.len() {
        let end = literal_end(text, at);
        if end > at {
            blank(&mut bytes, at..end);
            at = end;
        } else if is_word_byte(bytes[at]) {
            // A whole word at a time, so that the `r` of `for"` is never taken for a raw string.
            while at < bytes.len() && is_word_byte(bytes[at]) {
                at += 1;
            }
        } else {
            at += 1;
        }
    }
    String::from_utf8(bytes).unwrap_or_default()
}

fn is_word_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80
}

/// The end of the comment or literal that starts at `at`; `at` itself when none does.
fn literal_end(text: &str, at: usize) -> usize {
    let rest = &text.as_bytes()[at..];
    if rest.starts_with(b"//") {
        return at + rest.iter().position(|&byte| byte == b'\n').unwrap_or(rest.len());
    }
    if rest.starts_with(b"/*") {
        return at + block_comment(rest);
    }
    for prefix in [&b"br"[..], b"cr", b"r"] {
        if let Some(after) = rest.strip_prefix(prefix)
            && let Some(length) = raw_string(after)
        {
            return at + prefix.len() + length;
        }
    }
    for prefix in [&b"b\""[..], b"c\"", b"\""] {
        if rest.starts_with(prefix) {
            return at + prefix.len() + quoted(&rest[prefix.len()..], b'"');
        }
    }
    if rest.starts_with(b"'") { at + character(rest) } else { at }
}

fn block_comment(rest: &[u8]) -> usize {
    let mut depth = 0_usize;
    let mut at = 0;
    while at < rest.len() {
        if rest[at..].starts_with(b"/*") {
            depth += 1;
            at += 2;
        } else if rest[at..].starts_with(b"*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    rest.len()
}

/// The length of `#…"…"#…` when a raw string goes on here.
fn raw_string(after: &[u8]) -> Option<usize> {
    let hashes = after.iter().take_while(|&&byte| byte == b'#').count();
    if after.get(hashes) != Some(&b'"') {
        return None;
    }
    let mut close = vec![b'"'];
    close.extend(std::iter::repeat_n(b'#', hashes));
    let body = &after[hashes + 1..];
    let end = body.windows(close.len()).position(|window| window == close);
    Some(end.map_or(after.len(), |end| hashes + 1 + end + close.len()))
}

/// The length up to and with the closing quote, escapes skipped.
fn quoted(rest: &[u8], quote: u8) -> usize {
    let mut at = 0;
    while at < rest.len() {
        match rest[at] {
            b'\\' => at += 2,
            byte if byte == quote => return at + 1,
            _ => at += 1,
        }
    }
    rest.len()
}

/// The length of a character literal; 0 for a lifetime.
fn character(rest: &[u8]) -> usize {
    if rest.get(1) == Some(&b'\\') {
        return 1 + quoted(&rest[1..], b'\'');
    }
    let width = match rest.get(1) {
        Some(byte) if *byte >= 0xF0 => 4,
        Some(byte) if *byte >= 0xE0 => 3,
        Some(byte) if *byte >= 0xC0 => 2,
        _ => 1,
    };
    if rest.get(1 + width) == Some(&b'\'') { width + 2 } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(text: &str) -> Source {
        Source::new(text.to_owned())
    }

    #[test]
    fn literals_and_comments_are_hidden_and_lines_stay() {
        let read = source(
            "let a = \"fn x() {\"; // unsafe\nlet b = r#\"}\"\n\"#; /* { /* */ */ let c = '{';",
        );
        assert_eq!(read.masked.len(), read.text.len());
        assert_eq!(read.masked.matches('\n').count(), 2);
        for hidden in ["fn x", "unsafe", "{", "}"] {
            assert!(!read.masked.contains(hidden), "{hidden} in {}", read.masked);
        }
        assert!(read.masked.contains("let c ="));
    }

    #[test]
    fn lifetimes_are_not_characters() {
        let read = source("fn f<'a>(x: &'a str) -> &'a str { x }\nfn g() { let q = '\\''; }");
        assert_eq!(read.functions().len(), 2);
    }

    #[test]
    fn tests_are_cut_out() {
        let read = source(
            "fn kept() {\n}\n#[cfg(test)]\nmod tests {\n    #[test]\n    fn gone() {}\n}\n#[cfg(test)]\nmod more;\nfn after() {}\n",
        );
        let names: Vec<_> = read.functions().into_iter().map(|f| f.name).collect();
        assert_eq!(names, ["kept", "after"]);
        assert_eq!(read.test_modules, ["more"]);
        assert_eq!(read.test_count(), 1);
        assert_eq!(read.production_lines().count(), 3);
    }

    #[test]
    fn not_test_is_production() {
        let read = source(
            "#[cfg(not(test))]\nfn kept() {}\n#[cfg(any(test, feature = \"testing\"))]\nmod memory { fn gone() {} }",
        );
        let names: Vec<_> = read.functions().into_iter().map(|f| f.name).collect();
        assert_eq!(names, ["kept"]);
    }

    #[test]
    fn function_lines_run_from_fn_to_the_closing_brace() {
        let read = source(
            "trait T { fn declared(&self) -> [u8; 2]; }\n\nfn three(\n    a: [u8; 3],\n) {}\nfn one() {}\n",
        );
        let found: Vec<_> =
            read.functions().into_iter().map(|f| (f.name, f.line, f.lines)).collect();
        assert_eq!(found, [("three".to_owned(), 3, 3), ("one".to_owned(), 6, 1)]);
    }

    #[test]
    fn fn_pointers_are_not_functions() {
        assert_eq!(source("struct S { f: fn(u8) -> u8, g: u8 }").functions(), []);
    }
}
