//! How is a name or a text put into a statement, so that it stays what it is?

/// A name: `"orders"`.
pub(super) fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A text: `'orders'`. One with backslashes says so, whatever the server's settings are.
pub(super) fn literal(text: &str) -> String {
    let quoted = text.replace('\'', "''");
    if quoted.contains('\\') {
        return format!("E'{}'", quoted.replace('\\', "\\\\"));
    }
    format!("'{quoted}'")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_and_backslashes_do_not_end_a_text() {
        assert_eq!(identifier("a\"b"), "\"a\"\"b\"");
        for (text, expected) in [("a", "'a'"), ("a'b", "'a''b'"), ("\\' or", "E'\\\\'' or'")] {
            assert_eq!(literal(text), expected);
        }
    }
}
