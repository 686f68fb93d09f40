//! What does a session remember? Its settings and where it stands in a transaction. Every statement
//! reads the newest tables, in a transaction too: there is nothing to keep or to undo.

use std::collections::BTreeMap;

use crate::{
    error::WireError,
    limits,
    port::{Cell, Column, Kind, Row},
    statement::Statement,
};

/// The version of PostgreSQL whose protocol and catalog clients may expect.
pub(crate) const SERVER_VERSION: &str = "15.0";

/// Settings that say what this server is. They cannot be changed.
const FIXED: &[(&str, &str)] = &[
    ("default_transaction_read_only", "on"),
    ("integer_datetimes", "on"),
    ("is_superuser", "off"),
    ("max_identifier_length", "63"),
    ("server_encoding", "UTF8"),
    ("server_version", SERVER_VERSION),
    ("server_version_num", "150000"),
    ("transaction_isolation", "read committed"),
    ("transaction_read_only", "on"),
];

/// Settings of a new session.
const DEFAULTS: &[(&str, &str)] = &[
    ("application_name", ""),
    ("bytea_output", "hex"),
    ("client_encoding", "UTF8"),
    ("client_min_messages", "notice"),
    ("datestyle", "ISO, MDY"),
    ("default_transaction_isolation", "read committed"),
    ("extra_float_digits", "1"),
    ("intervalstyle", "postgres"),
    ("lc_collate", "C"),
    ("lc_ctype", "C"),
    ("search_path", "public"),
    ("standard_conforming_strings", "on"),
    ("statement_timeout", "0"),
    ("timezone", "UTC"),
];

/// Settings whose value a client is told at login and after a change, as they are written there.
const REPORTED: &[&str] = &[
    "application_name",
    "client_encoding",
    "DateStyle",
    "default_transaction_read_only",
    "integer_datetimes",
    "IntervalStyle",
    "is_superuser",
    "server_encoding",
    "server_version",
    "standard_conforming_strings",
    "TimeZone",
];

/// Where a session stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Status {
    Idle,
    Open,
    Failed,
}

impl Status {
    pub const fn byte(self) -> u8 {
        match self {
            Self::Idle => b'I',
            Self::Open => b'T',
            Self::Failed => b'E',
        }
    }
}

/// What a small statement answers.
pub(crate) struct Answer {
    pub tag: &'static str,
    pub columns: Vec<Column>,
    pub rows: Vec<Row>,
    /// A setting to report: its name and value.
    pub report: Option<(&'static str, String)>,
}

impl Answer {
    fn tag(tag: &'static str) -> Self {
        Self { tag, columns: Vec::new(), rows: Vec::new(), report: None }
    }
}

/// One client's session.
pub(crate) struct Session {
    pub user: String,
    pub status: Status,
    settings: BTreeMap<String, String>,
}

impl Session {
    pub fn new(user: String) -> Self {
        Self { user, status: Status::Idle, settings: BTreeMap::new() }
    }

    /// The settings to report at login.
    pub fn reported(&self) -> impl Iterator<Item = (&'static str, String)> {
        REPORTED.iter().filter_map(|name| Some((*name, self.value(&name.to_lowercase())?)))
    }

    fn value(&self, name: &str) -> Option<String> {
        let listed = |list: &[(&str, &str)]| {
            list.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
        };
        match name {
            "session_authorization" => Some(self.user.clone()),
            _ => listed(FIXED)
                .or_else(|| self.settings.get(name).cloned())
                .or_else(|| listed(DEFAULTS)),
        }
    }

    /// Milliseconds that a statement may take, when the client set a bound.
    pub fn statement_ms_max(&self) -> Option<u64> {
        let text = self.settings.get("statement_timeout")?.trim().to_owned();
        let split = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let number: u64 = text[..split].parse().ok()?;
        let factor = match text[split..].trim() {
            "s" => 1000,
            "min" => 60_000,
            _ => 1,
        };
        Some(number.saturating_mul(factor)).filter(|ms| *ms > 0)
    }

    /// Refuses all but the end of a transaction that failed.
    pub fn admit(&self, statement: &Statement) -> Result<(), WireError> {
        let ends = matches!(statement, Statement::End { .. } | Statement::Nothing("ROLLBACK"));
        if self.status == Status::Failed && !ends { Err(WireError::Aborted) } else { Ok(()) }
    }

    /// A statement failed: so does the transaction that it is in.
    pub fn fail(&mut self) {
        if self.status == Status::Open {
            self.status = Status::Failed;
        }
    }

    /// Sets one value; used at login too.
    pub fn set(&mut self, name: &str, value: Option<String>) -> Result<(), WireError> {
        let name = name.to_lowercase();
        let refused = |reason: String| WireError::Setting { reason, unknown: false };
        if FIXED.iter().any(|(fixed, _)| *fixed == name) {
            return Err(refused(format!("parameter \"{name}\" cannot be changed")));
        }
        let Some(value) = value else {
            self.settings.remove(&name);
            return Ok(());
        };
        let plain = value.to_lowercase().replace(['-', '_', ' ', '"'], "");
        let possible = match name.as_str() {
            "client_encoding" => matches!(plain.as_str(), "utf8" | "unicode" | "sqlascii" | "auto"),
            "datestyle" => plain.starts_with("iso"),
            "standard_conforming_strings" => matches!(plain.as_str(), "on" | "true" | "1"),
            "bytea_output" => plain == "hex",
            "search_path" => {
                plain.split(',').all(|part| matches!(part, "" | "public" | "$user" | "pgcatalog"))
            }
            _ => true,
        };
        if !possible {
            return Err(refused(format!("invalid value for parameter \"{name}\": \"{value}\"")));
        }
        // What is written does not follow these two: it stays UTF-8 and in UTC.
        if name == "client_encoding" || name == "timezone" {
            return Ok(());
        }
        if self.settings.len() >= limits::SETTINGS_MAX && !self.settings.contains_key(&name) {
            let limit = format!("{} settings", limits::SETTINGS_MAX);
            return Err(WireError::TooLarge { what: "what the session sets", limit });
        }
        self.settings.insert(name, value);
        Ok(())
    }

    /// The columns that a small statement answers with.
    pub fn columns(statement: &Statement) -> Vec<Column> {
        let text = |name: &str| Column { name: name.to_owned(), kind: Kind::Text };
        match statement {
            Statement::Show(name) if name == "all" => vec![text("name"), text("setting")],
            Statement::Show(name) => vec![text(name)],
            _ => Vec::new(),
        }
    }

    /// Does what a small statement asks.
    pub fn answer(&mut self, statement: &Statement) -> Result<Answer, WireError> {
        Ok(match statement {
            Statement::Begin => {
                self.status = Status::Open;
                Answer::tag("BEGIN")
            }
            Statement::End { keep } => {
                let kept = *keep && self.status != Status::Failed;
                self.status = Status::Idle;
                Answer::tag(if kept { "COMMIT" } else { "ROLLBACK" })
            }
            Statement::Set { name, value, tag } => {
                if name == "all" {
                    self.settings.clear();
                } else {
                    self.set(name, value.clone())?;
                }
                let report = REPORTED.iter().find(|known| known.eq_ignore_ascii_case(name));
                let report = report.and_then(|known| Some((*known, self.value(name)?)));
                Answer { report, ..Answer::tag(tag) }
            }
            Statement::Show(name) => {
                let columns = Self::columns(statement);
                Answer { columns, rows: self.show(name)?, ..Answer::tag("SHOW") }
            }
            Statement::Discard => {
                self.settings.clear();
                Answer::tag("DISCARD ALL")
            }
            Statement::Deallocate(_) => Answer::tag("DEALLOCATE"),
            Statement::Nothing(tag) => Answer::tag(tag),
            Statement::Query | Statement::Copy { .. } => {
                return Err(WireError::Internal("a query is not for the session".to_owned()));
            }
        })
    }

    fn show(&self, name: &str) -> Result<Vec<Row>, WireError> {
        let text = |text: String| Cell::Text(text);
        if name != "all" {
            let reason = format!("unrecognized configuration parameter \"{name}\"");
            let value = self.value(name).ok_or(WireError::Setting { reason, unknown: true })?;
            return Ok(vec![vec![text(value)]]);
        }
        let listed = FIXED.iter().chain(DEFAULTS).map(|(name, _)| (*name).to_owned());
        let names: std::collections::BTreeSet<String> =
            listed.chain(self.settings.keys().cloned()).collect();
        let row = |name: String| {
            let value = self.value(&name).unwrap_or_default();
            vec![text(name), text(value)]
        };
        Ok(names.into_iter().map(row).collect())
    }
}
