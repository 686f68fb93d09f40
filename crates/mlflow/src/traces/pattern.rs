//! Does a text have a pattern? Those of LIKE, which is SQL's, and of RLIKE, which are regular expressions;
//! looked for without going back, so that no pattern takes long.

use regex::Regex;
use serde_json::Value;

use super::super::{Refusal, refusal::invalid};

/// Bytes of a pattern, and of what it becomes.
const PATTERN_BYTES_MAX: usize = 10_000;
const PROGRAM_BYTES_MAX: usize = 1 << 20;

/// What the content of a span must hold.
pub(super) struct Content {
    /// The attribute; all of it when none is named.
    attribute: Option<String>,
    pattern: Regex,
    is_true: bool,
}

impl Content {
    pub(super) const fn new(attribute: Option<String>, pattern: Regex, is_true: bool) -> Self {
        Self { attribute, pattern, is_true }
    }

    /// Whether a span's content is as wanted. `parsed` keeps it as JSON, once somebody needed it.
    pub(super) fn fits(&self, content: &str, parsed: &mut Option<Value>) -> bool {
        let Some(name) = &self.attribute else { return self.pattern.is_match(content) };
        // Few spans fit, and to look at one text is quicker than to read all of a span.
        if self.is_true && !self.may_fit(content, name) {
            return false;
        }
        let parsed =
            parsed.get_or_insert_with(|| serde_json::from_str(content).unwrap_or_default());
        let text = parsed["attributes"][name].as_str();
        text.is_some_and(|text| self.has(text) == self.is_true)
    }

    /// Whether anything of this name in a span is as wanted: an attribute, or one of an event.
    fn may_fit(&self, content: &str, name: &str) -> bool {
        let before = format!("{}: ", Value::from(name));
        content.match_indices(&before).any(|(at, _)| {
            let rest = &content[at + before.len()..];
            let texts = serde_json::Deserializer::from_str(rest).into_iter::<String>();
            texts.map_while(Result::ok).next().is_some_and(|text| self.has(&text))
        })
    }

    /// Whether the JSON of a value has the pattern; of text, what it says.
    fn has(&self, json: &str) -> bool {
        let text: Option<String> = serde_json::from_str(json).ok();
        self.pattern.is_match(text.as_deref().unwrap_or(json))
    }
}

/// A pattern of RLIKE, which may be anywhere in a text.
pub(super) fn rlike(pattern: &str) -> Result<Regex, Refusal> {
    compiled(pattern)
}

/// A pattern of LIKE.
pub(super) fn like(pattern: &str, any_case: bool) -> Result<Regex, Refusal> {
    let (open, rest) = pattern.strip_prefix('%').map_or(("^", pattern), |rest| ("", rest));
    let (inner, close) = rest.strip_suffix('%').map_or((rest, "$"), |inner| (inner, ""));
    let mut text = format!("(?s{}){open}", if any_case { "i" } else { "" });
    for c in inner.chars() {
        match c {
            '%' => text.push_str(".*"),
            '_' => text.push('.'),
            c => text.push_str(&regex::escape(c.encode_utf8(&mut [0; 4]))),
        }
    }
    compiled(&format!("{text}{close}"))
}

/// Exactly this text.
pub(super) fn equal(text: &str) -> Result<Regex, Refusal> {
    compiled(&format!("(?s)^{}$", regex::escape(text)))
}

fn compiled(pattern: &str) -> Result<Regex, Refusal> {
    let built = regex::RegexBuilder::new(pattern).size_limit(PROGRAM_BYTES_MAX).build();
    match built {
        Ok(built) if pattern.len() <= PATTERN_BYTES_MAX => Ok(built),
        _ => Err(invalid("the pattern of a filter is none that can be looked for, or too long")),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn like_fits_as_in_sql() {
        for (pattern, text, any_case, fits) in [
            ("%why%", "say\nwhy?", false, true),
            ("why", "why", false, true),
            ("why", "why?", false, false),
            ("w_y%", "way\nout", false, true),
            ("%WHY", "why", true, true),
            ("%WHY", "why", false, false),
            ("%", "", false, true),
            ("a.c", "abc", false, false),
            ("%50\\%%", "50\\%", false, true),
        ] {
            assert_eq!(like(pattern, any_case).unwrap().is_match(text), fits, "{pattern} {text}");
        }
        assert!(rlike("(").is_err() && rlike("(a{1000}){1000}").is_err());
    }
}
