//! How does an array of PostgreSQL become a JSON list? Its text is read once: `{1,NULL,"a b"}`,
//! nested, with quotes and escapes. Numbers keep their digits.

use super::values::Kind;

/// How deep an array may be; PostgreSQL allows six.
const DEPTH_MAX: usize = 8;

/// The JSON of an array's text; `None` when it is none.
pub(super) fn json(text: &str, element: &Kind) -> Option<String> {
    // Bounds other than the usual ones are written in front: `[0:1]={…}`.
    let text = match text.strip_prefix('[') {
        Some(bounded) => bounded.split_once('=')?.1,
        None => text,
    };
    let mut reader = Reader { rest: text, out: String::with_capacity(text.len() + 8), element };
    reader.list(0)?;
    reader.rest.is_empty().then_some(reader.out)
}

struct Reader<'a> {
    rest: &'a str,
    out: String,
    element: &'a Kind,
}

impl Reader<'_> {
    fn list(&mut self, depth: usize) -> Option<()> {
        if depth >= DEPTH_MAX {
            return None;
        }
        self.rest = self.rest.strip_prefix('{')?;
        self.out.push('[');
        let mut first = true;
        loop {
            if let Some(rest) = self.rest.strip_prefix('}') {
                self.rest = rest;
                self.out.push(']');
                return Some(());
            }
            if !first {
                self.rest = self.rest.strip_prefix(',')?;
                self.out.push(',');
            }
            first = false;
            match self.rest.chars().next()? {
                '{' => self.list(depth + 1)?,
                '"' => {
                    let text = self.quoted()?;
                    self.value(&text)?;
                }
                _ => self.bare()?,
            }
        }
    }

    /// An element without quotes.
    fn bare(&mut self) -> Option<()> {
        let end = self.rest.find([',', '}'])?;
        let (text, rest) = self.rest.split_at(end);
        self.rest = rest;
        if text.eq_ignore_ascii_case("null") {
            self.out.push_str("null");
            return Some(());
        }
        self.value(text)
    }

    fn quoted(&mut self) -> Option<String> {
        let mut text = String::new();
        let mut chars = self.rest.char_indices().skip(1);
        loop {
            match chars.next()? {
                (_, '\\') => text.push(chars.next()?.1),
                (at, '"') => {
                    self.rest = &self.rest[at + 1..];
                    return Some(text);
                }
                (_, other) => text.push(other),
            }
        }
    }

    fn value(&mut self, text: &str) -> Option<()> {
        let number = matches!(
            self.element,
            Kind::Int16 | Kind::Int32 | Kind::Int64 | Kind::Float32 | Kind::Float64
        );
        match (self.element, text) {
            (Kind::Bool, "t") => self.out.push_str("true"),
            (Kind::Bool, "f") => self.out.push_str("false"),
            (Kind::Json, json) => self.out.push_str(json),
            (_, digits) if number && digits.parse::<f64>().is_ok_and(f64::is_finite) => {
                self.out.push_str(digits);
            }
            // What JSON has no number for, and numbers whose digits a reader of JSON would round.
            (_, text) => self.out.push_str(&serde_json::to_string(text).ok()?),
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrays_become_lists() {
        for (element, text, expected) in [
            (Kind::Int32, "{}", Some("[]")),
            (Kind::Int32, "{1,NULL,-3}", Some("[1,null,-3]")),
            (Kind::Int32, "{{1,2},{3,4}}", Some("[[1,2],[3,4]]")),
            (Kind::Int32, "[0:1]={1,2}", Some("[1,2]")),
            (Kind::Float64, "{1.5,NaN}", Some("[1.5,\"NaN\"]")),
            (Kind::Bool, "{t,f}", Some("[true,false]")),
            (
                Kind::Text,
                r#"{a,"b c","d\"e\\","NULL",""}"#,
                Some(r#"["a","b c","d\"e\\","NULL",""]"#),
            ),
            (Kind::Text, "{ü}", Some("[\"ü\"]")),
            (Kind::Json, r#"{"{\"a\": 1}"}"#, Some(r#"[{"a": 1}]"#)),
            (Kind::Text, "1.20", None),
            (Kind::Int32, "{1", None),
            (Kind::Int32, "{1}}", None),
        ] {
            assert_eq!(json(text, &element).as_deref(), expected, "{text}");
        }
    }
}
