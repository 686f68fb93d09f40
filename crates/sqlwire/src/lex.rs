//! Where do the statements of a text begin and end? Only as much of SQL's lexical rules as that
//! takes: quotes, dollar quotes, comments. The grammar belongs to the engine.

/// What a token is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sort {
    Word,
    /// `"…"`
    Name,
    /// `'…'`
    Text,
    Number,
    Symbol,
}

/// A token and where it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Token<'a> {
    pub sort: Sort,
    pub text: &'a str,
    pub start: usize,
}

impl Token<'_> {
    pub fn end(&self) -> usize {
        self.start + self.text.len()
    }

    pub fn is(&self, word: &str) -> bool {
        matches!(self.sort, Sort::Word | Sort::Symbol) && self.text.eq_ignore_ascii_case(word)
    }

    /// The name or text inside its quotes; a bare word in lower case.
    pub fn value(&self) -> String {
        let inner = |quote: &str| {
            let text = self.text.trim_start_matches(['e', 'E']);
            let text = text.strip_prefix(quote).unwrap_or(text);
            let text = text.strip_suffix(quote).unwrap_or(text);
            text.replace(&quote.repeat(2), quote)
        };
        match self.sort {
            Sort::Name => inner("\""),
            Sort::Text => inner("'"),
            Sort::Word => self.text.to_ascii_lowercase(),
            Sort::Number | Sort::Symbol => self.text.to_owned(),
        }
    }
}

/// The tokens of a text, without space and comments. An unfinished quote reaches to the end.
pub(crate) fn tokens(sql: &str) -> Vec<Token<'_>> {
    let bytes = sql.as_bytes();
    let mut tokens = Vec::new();
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        if byte.is_ascii_whitespace() {
            at += 1;
            continue;
        }
        if let Some(end) = comment(bytes, at) {
            at = end;
            continue;
        }
        let (sort, end) = token(sql, bytes, at);
        tokens.push(Token { sort, text: &sql[at..end], start: at });
        at = end;
    }
    tokens
}

fn token(sql: &str, bytes: &[u8], at: usize) -> (Sort, usize) {
    let next = bytes.get(at + 1);
    match bytes[at] {
        b'\'' => (Sort::Text, quoted(bytes, at, false)),
        b'e' | b'E' if next == Some(&b'\'') => (Sort::Text, quoted(bytes, at + 1, true)),
        b'"' => (Sort::Name, quoted(bytes, at, false)),
        b'$' => match dollar_quoted(sql, at) {
            Some(end) => (Sort::Text, end),
            None => (Sort::Symbol, at + 1 + span(bytes, at + 1, |b| b.is_ascii_digit())),
        },
        byte if byte.is_ascii_digit() => {
            (Sort::Number, at + span(bytes, at, |b| b.is_ascii_alphanumeric() || b == b'.'))
        }
        byte if is_word(byte) => (Sort::Word, at + span(bytes, at, |b| is_word(b) || b == b'$')),
        _ => (Sort::Symbol, at + 1),
    }
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || !byte.is_ascii()
}

fn span(bytes: &[u8], at: usize, belongs: impl Fn(u8) -> bool) -> usize {
    bytes[at.min(bytes.len())..].iter().take_while(|byte| belongs(**byte)).count()
}

/// The end of a comment that begins here; block comments nest.
fn comment(bytes: &[u8], at: usize) -> Option<usize> {
    let rest = &bytes[at..];
    if rest.starts_with(b"--") {
        return Some(at + span(bytes, at, |byte| byte != b'\n'));
    }
    if !rest.starts_with(b"/*") {
        return None;
    }
    let (mut depth, mut here) = (1_usize, at + 2);
    while depth > 0 && here < bytes.len() {
        match &bytes[here..bytes.len().min(here + 2)] {
            b"/*" => (depth, here) = (depth + 1, here + 2),
            b"*/" => (depth, here) = (depth - 1, here + 2),
            _ => here += 1,
        }
    }
    Some(here.min(bytes.len()))
}

/// The end of a quoted text whose quote is here. A doubled quote does not end it, and with
/// `escapes` neither does one after a backslash.
fn quoted(bytes: &[u8], at: usize, escapes: bool) -> usize {
    let quote = bytes[at];
    let mut here = at + 1;
    while let Some(&byte) = bytes.get(here) {
        if escapes && byte == b'\\' {
            here += 2;
        } else if byte != quote {
            here += 1;
        } else if bytes.get(here + 1) == Some(&quote) {
            here += 2;
        } else {
            return here + 1;
        }
    }
    bytes.len()
}

/// The end of `$tag$…$tag$` when one begins here.
fn dollar_quoted(sql: &str, at: usize) -> Option<usize> {
    let rest = &sql[at + 1..];
    let tag = &rest[..rest.find('$')?];
    if tag.bytes().any(|byte| !is_word(byte)) || tag.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    let mark = &sql[at..at + tag.len() + 2];
    let body = at + mark.len();
    Some(sql[body..].find(mark).map_or(sql.len(), |end| body + end + mark.len()))
}

/// The statements of a text, without the semicolons between them. Each keeps its line breaks.
pub(crate) fn split(sql: &str) -> Vec<&str> {
    let mut statements = Vec::new();
    let mut begin: Option<usize> = None;
    let mut end = 0;
    for token in tokens(sql) {
        if token.is(";") {
            statements.extend(begin.take().map(|begin| &sql[begin..end]));
        } else {
            begin = begin.or(Some(token.start));
            end = token.end();
        }
    }
    statements.extend(begin.map(|begin| &sql[begin..end]));
    statements
}
