//! What does a client want: a query, a copy of one, or one of the small statements by which drivers
//! open, set up and leave a session? Everything else is refused here, before the engine sees it.

use crate::{
    error::WireError,
    lex::{Sort, Token, tokens},
};

/// One statement, by what is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Statement {
    /// For the engine.
    Query,
    /// `COPY … TO STDOUT`: the query, and how to write its rows.
    Copy {
        query: String,
        format: CopyFormat,
    },
    /// The value of a setting; `all` for every one.
    Show(String),
    /// A new value; `None` for the default.
    Set {
        name: String,
        value: Option<String>,
        tag: &'static str,
    },
    Begin,
    /// Ends a transaction; whether it was to be kept.
    End {
        keep: bool,
    },
    /// Forgets what the session holds.
    Discard,
    /// Forgets one prepared statement, or all.
    Deallocate(Option<String>),
    /// Nothing to do, and this is the answer.
    Nothing(&'static str),
}

/// How `COPY` writes rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CopyFormat {
    pub csv: bool,
    pub header: bool,
    pub delimiter: u8,
    pub null: String,
}

/// Words that begin statements which change something.
const WRITING: &[&str] = &[
    "alter",
    "analyze",
    "call",
    "checkpoint",
    "cluster",
    "comment",
    "create",
    "delete",
    "do",
    "drop",
    "execute",
    "grant",
    "import",
    "insert",
    "load",
    "lock",
    "merge",
    "notify",
    "optimize",
    "prepare",
    "reassign",
    "refresh",
    "reindex",
    "replace",
    "revoke",
    "security",
    "truncate",
    "update",
    "upsert",
    "use",
    "vacuum",
];

/// Reads what kind of statement it is.
pub(crate) fn classify(sql: &str) -> Result<Statement, WireError> {
    let all = tokens(sql);
    let Some(first) = all.iter().find(|token| !token.is("(")) else {
        return Ok(Statement::Query);
    };
    let rest = &all[1..];
    let word = first.text.to_ascii_lowercase();
    Ok(match word.as_str() {
        "begin" => Statement::Begin,
        "start" => Statement::Begin,
        "commit" | "end" => Statement::End { keep: true },
        "rollback" if rest.iter().any(|token| token.is("to")) => Statement::Nothing("ROLLBACK"),
        "rollback" | "abort" => Statement::End { keep: false },
        "savepoint" => Statement::Nothing("SAVEPOINT"),
        "release" => Statement::Nothing("RELEASE"),
        "unlisten" => Statement::Nothing("UNLISTEN"),
        "listen" | "declare" | "fetch" | "move" | "close" => {
            return Err(WireError::Unsupported(word.to_ascii_uppercase()));
        }
        "discard" => Statement::Discard,
        "deallocate" => {
            let name = rest.iter().find(|token| !token.is("prepare")).map(Token::value);
            Statement::Deallocate(name.filter(|name| name != "all"))
        }
        "set" => set(rest)?,
        "reset" => {
            let name = name(rest);
            Statement::Set { name, value: None, tag: "RESET" }
        }
        "show" => Statement::Show(name(rest)),
        "copy" => copy(sql, rest)?,
        _ if WRITING.contains(&word.as_str()) => {
            return Err(WireError::ReadOnly { statement: word.to_ascii_uppercase() });
        }
        _ => Statement::Query,
    })
}

/// The name of a setting: words of some settings are written apart.
fn name(tokens: &[Token<'_>]) -> String {
    let words: Vec<String> = tokens.iter().map(Token::value).collect();
    match words.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["time", "zone", ..] => "timezone".to_owned(),
        ["transaction", "isolation", "level"] => "transaction_isolation".to_owned(),
        ["session", "authorization"] => "session_authorization".to_owned(),
        _ => words.concat().to_ascii_lowercase(),
    }
}

fn set(tokens: &[Token<'_>]) -> Result<Statement, WireError> {
    let scoped = tokens.first().is_some_and(|token| token.is("session") || token.is("local"));
    let tokens = if scoped { &tokens[1..] } else { tokens };
    if tokens.first().is_some_and(|token| token.is("transaction") || token.is("characteristics")) {
        if tokens.windows(2).any(|pair| pair[0].is("read") && pair[1].is("write")) {
            return Err(WireError::ReadOnly { statement: "SET TRANSACTION READ WRITE".to_owned() });
        }
        return Ok(Statement::Nothing("SET"));
    }
    let zone = tokens.len() > 2 && tokens[0].is("time") && tokens[1].is("zone");
    let end = if zone {
        Some(1)
    } else {
        tokens.iter().position(|token| token.is("=") || token.is("to"))
    };
    let Some(end) = end.filter(|end| *end > 0) else {
        return Err(WireError::Syntax("SET needs a name and a value".to_owned()));
    };
    let name = if zone { "timezone".to_owned() } else { name(&tokens[..end]) };
    let value: Vec<String> = tokens[end + 1..].iter().map(Token::value).collect();
    let value = value.join("").replace(',', ", ");
    let value = if value == "default" { None } else { Some(value) };
    Ok(Statement::Set { name, value, tag: "SET" })
}

/// `COPY table [(columns)] | (query) TO STDOUT [options]`.
fn copy(sql: &str, tokens: &[Token<'_>]) -> Result<Statement, WireError> {
    let mut depth = 0_i32;
    let mut end = None;
    for (index, token) in tokens.iter().enumerate() {
        match token.text {
            "(" => depth += 1,
            ")" => depth -= 1,
            _ if depth == 0 && (token.is("to") || token.is("from")) => {
                end = Some(index);
                break;
            }
            _ => {}
        }
    }
    let Some(end) = end.filter(|end| *end > 0) else {
        return Err(WireError::Syntax("COPY needs TO STDOUT".to_owned()));
    };
    let target = tokens.get(end + 1);
    if tokens[end].is("from") || !target.is_some_and(|target| target.is("stdout")) {
        return Err(WireError::ReadOnly { statement: "COPY other than TO STDOUT".to_owned() });
    }
    let what = &tokens[..end];
    let text = |from: usize, to: usize| sql[from..to].to_owned();
    let (first, last) = (what[0], what[what.len() - 1]);
    let query = if first.is("(") {
        text(first.end(), last.start)
    } else if let Some(open) = what.iter().find(|token| token.is("(")) {
        format!("SELECT {} FROM {}", text(open.end(), last.start), text(first.start, open.start))
    } else {
        format!("SELECT * FROM {}", text(first.start, last.end()))
    };
    match classify(&query)? {
        Statement::Query => Ok(Statement::Copy { query, format: copy_format(&tokens[end + 2..])? }),
        _ => Err(WireError::Syntax("COPY takes a table or a query".to_owned())),
    }
}

fn copy_format(tokens: &[Token<'_>]) -> Result<CopyFormat, WireError> {
    let (mut csv, mut header, mut delimiter, mut null) = (false, false, None, None);
    let mut words = tokens
        .iter()
        .filter(|token| !["(", ")", ",", "with", "as", "format"].iter().any(|w| token.is(w)))
        .peekable();
    while let Some(option) = words.next() {
        let mut value = || words.next_if(|token| token.sort == Sort::Text).map(Token::value);
        match option.value().as_str() {
            "csv" => csv = true,
            "text" => csv = false,
            "delimiter" => delimiter = value().and_then(|text| text.bytes().next()),
            "null" => null = value(),
            "encoding"
                if value().is_some_and(|text| text.replace('-', "").to_lowercase() == "utf8") => {}
            "header" => {
                let off = words.next_if(|token| token.is("false") || token.is("off"));
                if off.is_none() {
                    words.next_if(|token| token.is("true") || token.is("on"));
                }
                header = off.is_none();
            }
            other => {
                return Err(WireError::Unsupported(format!("the COPY option {other}")));
            }
        }
    }
    Ok(CopyFormat {
        csv,
        header,
        delimiter: delimiter.unwrap_or(if csv { b',' } else { b'\t' }),
        null: null.unwrap_or_else(|| if csv { String::new() } else { "\\N".to_owned() }),
    })
}

/// The word in the answer to a finished query: `SELECT`, or `EXPLAIN`.
pub(crate) fn tag(sql: &str) -> &'static str {
    match tokens(sql).first() {
        Some(first) if first.is("explain") => "EXPLAIN",
        _ => "SELECT",
    }
}
