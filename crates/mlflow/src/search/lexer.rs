//! Which words has a filter?

/// One word of a filter.
#[derive(Debug, Clone, PartialEq)]
pub(in super::super) enum Token {
    /// A name, perhaps of parts, of which some were quoted, or a keyword.
    Word {
        /// As it was written.
        written: String,
        /// Its parts: what stood between the dots, without quotes.
        parts: Vec<String>,
    },
    /// Text in quotes, which is a name where a name is wanted.
    Text {
        /// As it was written.
        written: String,
        /// What stood in the quotes.
        text: String,
        /// Whether the quotes were double ones.
        is_double: bool,
    },
    /// A number.
    Number(String),
    /// `=`, `!=`, `<` and so on.
    Operator(String),
    /// What stood in parentheses, with them.
    Group(String),
    /// Anything else.
    Other(String),
}

impl Token {
    /// Whether it is this keyword.
    pub(in super::super) fn is(&self, keyword: &str) -> bool {
        matches!(self, Self::Word { written, .. } if written.eq_ignore_ascii_case(keyword))
    }

    /// Whether it is a word at all.
    pub(in super::super) const fn is_word(&self) -> bool {
        matches!(self, Self::Word { .. })
    }

    /// As it was written.
    pub(in super::super) fn written(&self) -> &str {
        match self {
            Self::Word { written, .. } | Self::Text { written, .. } => written,
            Self::Number(text) | Self::Operator(text) | Self::Group(text) | Self::Other(text) => {
                text
            }
        }
    }
}

/// A quote that was not closed.
#[derive(Debug)]
pub(in super::super) struct Unclosed;

/// The words of a filter.
pub(in super::super) fn tokens(filter: &str) -> Result<Vec<Token>, Unclosed> {
    let mut rest = Rest(filter);
    let mut tokens = Vec::new();
    while let Some(first) = rest.skip_blank() {
        let before = rest.0;
        let token = match first {
            '\'' => {
                let text = rest.quoted('\'')?;
                Token::Text { written: rest.since(before), text, is_double: false }
            }
            '"' if !before[1..]
                .split_once('"')
                .is_some_and(|(_, after)| after.starts_with('.')) =>
            {
                let text = rest.quoted('"')?;
                Token::Text { written: rest.since(before), text, is_double: true }
            }
            '(' => {
                rest.group()?;
                Token::Group(rest.since(before))
            }
            c if c.is_ascii_digit() => number(&mut rest, before),
            '-' | '+' if before[1..].starts_with(|c: char| c.is_ascii_digit() || c == '.') => {
                rest.0 = &before[1..];
                number(&mut rest, before)
            }
            '=' | '!' | '<' | '>' => {
                rest.take_while(|c| "=!<>".contains(c));
                Token::Operator(rest.since(before))
            }
            c if c.is_alphanumeric() || "_`\"".contains(c) => word(&mut rest, before)?,
            c => {
                rest.0 = &before[c.len_utf8()..];
                Token::Other(c.to_string())
            }
        };
        tokens.push(token);
    }
    Ok(tokens)
}

fn number(rest: &mut Rest<'_>, before: &str) -> Token {
    rest.take_while(|c| c.is_ascii_digit() || c == '.');
    let exponent = rest.0.strip_prefix(['e', 'E']);
    if let Some(exponent) = exponent {
        let digits = exponent.strip_prefix(['-', '+']).unwrap_or(exponent);
        if digits.starts_with(|c: char| c.is_ascii_digit()) {
            rest.0 = digits;
            rest.take_while(|c| c.is_ascii_digit());
        }
    }
    Token::Number(rest.since(before))
}

/// A name: parts joined by dots, each bare or in quotes. Behind the first dot everything up to a blank
/// or an operator belongs to it, since keys have dots, dashes and slashes.
fn word(rest: &mut Rest<'_>, before: &str) -> Result<Token, Unclosed> {
    let mut parts = Vec::new();
    loop {
        let part = match rest.0.chars().next() {
            Some(quote @ ('`' | '"')) => rest.quoted(quote)?,
            _ => {
                let start = rest.0;
                rest.take_while(|c| c.is_alphanumeric() || "_-/:".contains(c));
                rest.since(start)
            }
        };
        parts.push(part);
        match rest.0.strip_prefix('.') {
            Some(after) => rest.0 = after,
            None => break,
        }
    }
    Ok(Token::Word { written: rest.since(before), parts })
}

/// What was not read yet.
struct Rest<'a>(&'a str);

impl Rest<'_> {
    fn skip_blank(&mut self) -> Option<char> {
        self.0 = self.0.trim_start();
        self.0.chars().next()
    }

    fn take_while(&mut self, wanted: impl Fn(char) -> bool) {
        self.0 = self.0.trim_start_matches(wanted);
    }

    /// What was read since.
    fn since(&self, before: &str) -> String {
        before[..before.len() - self.0.len()].to_owned()
    }

    /// What stands between quotes; two of them in a row are one.
    fn quoted(&mut self, quote: char) -> Result<String, Unclosed> {
        let mut text = String::new();
        let mut chars = self.0.char_indices().skip(1).peekable();
        while let Some((at, c)) = chars.next() {
            if c != quote {
                text.push(c);
            } else if chars.peek().is_some_and(|(_, next)| *next == quote) {
                chars.next();
                text.push(quote);
            } else {
                self.0 = &self.0[at + quote.len_utf8()..];
                return Ok(text);
            }
        }
        Err(Unclosed)
    }

    fn group(&mut self) -> Result<(), Unclosed> {
        let mut depth = 0_usize;
        loop {
            let first = self.0.chars().next().ok_or(Unclosed)?;
            if matches!(first, '\'' | '"') {
                self.quoted(first)?;
                continue;
            }
            self.0 = &self.0[first.len_utf8()..];
            match first {
                '(' => depth += 1,
                ')' if depth == 1 => return Ok(()),
                ')' => depth -= 1,
                _ => {}
            }
        }
    }
}
