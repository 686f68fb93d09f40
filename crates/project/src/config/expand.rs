//! What does `${VAR}` mean in a TOML file? It is replaced before the file is parsed, in a way that
//! a value can never change the structure of the file.
//!
//! `${NAME}` must be set, `${NAME:-default}` has a default (also when set but empty),
//! `${NAME:?message}` refuses with the message, `$${` is the characters `${`. Comments are left
//! alone. Line numbers stay the same because a value with a line break is refused.

use std::path::Path;

use sextant_core::{Failure, Place};

use super::line_and_column;
use crate::ConfigError;

/// Where the values of variables come from.
pub type Lookup<'a> = &'a dyn Fn(&str) -> Option<String>;

/// The variables of this process.
pub fn process_environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// Where in a TOML text a character stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Context {
    Bare,
    Comment,
    Basic,
    BasicLong,
    Literal,
    LiteralLong,
}

impl Context {
    /// The context after the token at the start of `rest`, and the token's length in bytes.
    fn step(self, rest: &str) -> (Self, usize) {
        let one = rest.chars().next().map_or(1, char::len_utf8);
        let long = |quotes| rest.starts_with(quotes);
        match (self, rest.as_bytes().first()) {
            (Self::Bare, Some(b'#')) => (Self::Comment, 1),
            (Self::Bare, Some(b'"')) if long("\"\"\"") => (Self::BasicLong, 3),
            (Self::Bare, Some(b'"')) => (Self::Basic, 1),
            (Self::Bare, Some(b'\'')) if long("'''") => (Self::LiteralLong, 3),
            (Self::Bare, Some(b'\'')) => (Self::Literal, 1),
            (Self::Comment | Self::Basic | Self::Literal, Some(b'\n')) => (Self::Bare, 1),
            (Self::Basic | Self::BasicLong, Some(b'\\')) => {
                (self, 1 + rest[1..].chars().next().map_or(0, char::len_utf8))
            }
            (Self::Basic, Some(b'"')) | (Self::Literal, Some(b'\'')) => (Self::Bare, 1),
            (Self::BasicLong, Some(b'"')) if long("\"\"\"") => (Self::Bare, 3),
            (Self::LiteralLong, Some(b'\'')) if long("'''") => (Self::Bare, 3),
            _ => (self, one),
        }
    }

    /// The value as it must be written here; `None` when it cannot be written here.
    fn write(self, value: &str) -> Option<String> {
        if value.chars().any(char::is_control) {
            return None;
        }
        match self {
            Self::Basic | Self::BasicLong => Some(value.replace('\\', "\\\\").replace('"', "\\\"")),
            Self::Literal | Self::LiteralLong => (!value.contains('\'')).then(|| value.to_owned()),
            Self::Bare => {
                let plain = |c: char| c.is_ascii_alphanumeric() || "+-._:".contains(c);
                (!value.is_empty() && value.chars().all(plain)).then(|| value.to_owned())
            }
            Self::Comment => Some(value.to_owned()),
        }
    }
}

/// Replaces the variables of a TOML text.
///
/// # Errors
/// With the place, when a variable is not set or its value cannot stand there.
pub fn expand(path: &Path, text: &str, lookup: Lookup<'_>) -> Result<String, Failure> {
    let mut out = String::with_capacity(text.len());
    let mut context = Context::Bare;
    let mut at = 0;
    while at < text.len() {
        let rest = &text[at..];
        if context != Context::Comment && rest.starts_with("$${") {
            out.push_str("${");
            at += 3;
        } else if context != Context::Comment && rest.starts_with("${") {
            let (line, column) = line_and_column(text, at);
            let place = Place { file: path.to_owned(), line: Some(line), column: Some(column) };
            let Some(end) = rest.find(['}', '\n']).filter(|end| rest[*end..].starts_with('}'))
            else {
                let message = "`${` without its `}` on the same line".to_owned();
                let hint = "write $${ for the characters ${ themselves".to_owned();
                return Err(ConfigError::Variable { place, message, hint }.into());
            };
            out.push_str(&resolve(&rest[2..end], context, place, lookup)?);
            at += end + 1;
        } else {
            let (next, length) = context.step(rest);
            out.push_str(&rest[..length]);
            context = next;
            at += length;
        }
    }
    Ok(out)
}

fn resolve(
    inside: &str,
    context: Context,
    place: Place,
    lookup: Lookup<'_>,
) -> Result<String, Failure> {
    let operator = inside.find(":-").into_iter().chain(inside.find(":?")).min();
    let (name, rest) = inside.split_at(operator.unwrap_or(inside.len()));
    let fits = !name.is_empty()
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    if !fits {
        let message = format!("`{name}` is not the name of a variable");
        let hint = "names have letters, digits and `_`; write $${ for the characters ${".into();
        return Err(ConfigError::Variable { place, message, hint }.into());
    }
    let set = lookup(name).filter(|value| rest.is_empty() || !value.is_empty());
    let value = match (set, rest.strip_prefix(":-"), rest.strip_prefix(":?")) {
        (Some(value), _, _) => value,
        (None, Some(default), _) => default.to_owned(),
        (None, None, Some(message)) => {
            let message = format!("variable {name} is not set: {message}");
            let hint = format!("set it: export {name}=…");
            return Err(ConfigError::Variable { place, message, hint }.into());
        }
        (None, None, None) => {
            let message = format!("variable {name} is not set");
            let hint = format!("set it, or give a default: ${{{name}:-default}}");
            return Err(ConfigError::Variable { place, message, hint }.into());
        }
    };
    context.write(&value).ok_or_else(|| {
        let message = format!("the value of variable {name} cannot stand here");
        let hint = match context {
            Context::Bare => {
                "put double quotes around it: outside quotes a value may only have \
                              letters, digits and + - . _ :"
            }
            _ => "a value may not have line breaks, nor ' between single quotes",
        };
        ConfigError::Variable { place, message, hint: hint.to_owned() }.into()
    })
}
