//! How is a warehouse reached? Through its ADBC driver: a library that the user names, which is
//! loaded into this process and hands rows over in Arrow's columns.
//!
//! What a driver says is repeated in errors; the secrets that it was given are cut out of it.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use adbc_core::{
    Connection as _, Database as _, Driver as _, Optionable as _, Statement as _,
    error::{Error, Status},
    options::{AdbcVersion, OptionConnection, OptionDatabase, OptionStatement},
};
use adbc_driver_manager::{ManagedConnection, ManagedDriver, ManagedStatement};
use datafusion::arrow::record_batch::{RecordBatch, RecordBatchReader};
use percent_encoding::percent_decode_str;
use schemars::JsonSchema;
use sextant_core::Cancel;
use sextant_project::{SecretRef, config::process_environment};

use super::fault::AdbcFault;
use crate::error::{DataError, Result};

/// How often a running statement looks whether it was cancelled.
const CANCEL_POLL: Duration = Duration::from_millis(50);
/// Options whose key begins so belong to the connection, all others to the database.
const OF_CONNECTION: &str = "adbc.connection.";
/// What the key of an option is called that must not be written down.
const SECRET_WORDS: &[&str] =
    &["password", "passwd", "secret", "token", "private_key", "credential", "api_key"];

/// What the key of an option is called that holds an address.
const ADDRESS_WORDS: &[&str] = &["uri", "url", "dsn", "conn", "address"];

/// A value of an option, as TOML has it.
#[derive(Debug, Clone, PartialEq, serde::Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum OptionText {
    /// Text.
    Text(String),
    /// A whole number.
    Number(i64),
    /// On or off.
    Flag(bool),
}

impl OptionText {
    fn text(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::Number(number) => number.to_string(),
            Self::Flag(flag) => flag.to_string(),
        }
    }
}

/// What is needed to reach a warehouse.
#[derive(Debug, Clone)]
pub(crate) struct Reach {
    pub(crate) root: PathBuf,
    pub(crate) driver: String,
    pub(crate) entrypoint: Option<String>,
    pub(crate) options: BTreeMap<String, OptionText>,
    pub(crate) secrets: BTreeMap<String, SecretRef>,
}

impl Reach {
    /// Refuses what cannot be meant: a message, and what to write instead.
    pub(crate) fn check(&self) -> Result<(), (String, String)> {
        let refuse = |message: String, fix: &str| Err((message, fix.to_owned()));
        if self.driver.trim().is_empty() {
            let fix = "write driver = \"/path/to/libadbc_driver_sqlite.so\"";
            return refuse("driver names no library".to_owned(), fix);
        }
        for (key, value) in &self.options {
            let secret = SECRET_WORDS.iter().any(|word| key.to_lowercase().contains(word));
            let in_address = matches!(value, OptionText::Text(text) if holds_password(key, text));
            if secret || in_address {
                let message = format!("the option `{key}` holds a secret");
                let fix = "name it under [secrets], such as uri = { env = \"DATABASE_URL\" }";
                return refuse(message, fix);
            }
            if self.secrets.contains_key(key) {
                let message = format!("`{key}` is given twice");
                return refuse(message, "leave it under [options] or under [secrets]");
            }
        }
        Ok(())
    }

    /// The library's own name, for the lineage: where it lies on this machine tells nobody anything.
    pub(crate) fn library(&self) -> String {
        let name = Path::new(&self.driver).file_name();
        name.map_or_else(|| self.driver.clone(), |name| name.to_string_lossy().into_owned())
    }
}

/// Whether an option has a password in its value. Only an address has parameters; in others `token=…`
/// may be anything.
fn holds_password(key: &str, text: &str) -> bool {
    let name = key.to_lowercase();
    let name = name.rsplit('.').next().unwrap_or_default();
    let is_address = text.contains("://") || ADDRESS_WORDS.iter().any(|word| name.contains(word));
    is_address && !passwords_in(text).is_empty()
}

/// The passwords that an address holds: `scheme://user:password@host`, `user:password@account` as
/// Snowflake has it, and `password=…` among its parameters, also in quotes or braces.
fn passwords_in(text: &str) -> Vec<&str> {
    let mut found = Vec::new();
    for (at, _) in text.match_indices('=') {
        let (before, after) = (text[..at].trim_end(), text[at + 1..].trim_start());
        let key = before.rsplit(['?', '&', ';', ' ', '\n']).next().unwrap_or_default();
        let key = key.to_lowercase();
        if key != "pwd" && !SECRET_WORDS.iter().any(|word| key.contains(word)) {
            continue;
        }
        let quoted =
            [('\'', '\''), ('"', '"'), ('{', '}')].into_iter().find_map(|(open, close)| {
                Some(after.strip_prefix(open)?.split(close).next().unwrap_or_default())
            });
        let plain = || after.split(['&', ';', ' ', '\n']).next().unwrap_or_default();
        // `password= user=me` has none.
        found.push(quoted.unwrap_or_else(plain));
    }
    let (before, _) = text.split_once('?').unwrap_or((text, ""));
    let user = match before.split_once("://") {
        Some((_, rest)) => {
            rest.split('/').next().and_then(|rest| rest.rsplit_once('@')).map(|(user, _)| user)
        }
        None => before.rsplit_once('@').map(|(user, _)| user),
    };
    let authority = user.and_then(|user| user.split_once(':')).map(|(_, password)| password);
    // `file:/folder/a@b` is a path.
    found.extend(authority.filter(|password| !password.starts_with('/')));
    found.retain(|password| !password.is_empty());
    found
}

/// What must not be repeated of a secret: all of it, and the passwords alone that an address holds,
/// as they are written there and as they are meant.
fn hidden_in(secret: &str) -> Vec<String> {
    let mut hidden = vec![secret.to_owned()];
    for password in passwords_in(secret) {
        hidden.push(password.to_owned());
        hidden.push(percent_decode_str(password).decode_utf8_lossy().into_owned());
    }
    hidden.retain(|text| !text.is_empty());
    hidden
}

/// An open connection to a warehouse.
pub(crate) struct Warehouse {
    connection: ManagedConnection,
    hidden: Vec<String>,
}

impl Warehouse {
    /// Loads the driver and connects.
    pub(crate) fn open(reach: &Reach) -> Result<Self> {
        let mut hidden = Vec::new();
        let mut options: Vec<(String, String)> =
            reach.options.iter().map(|(key, value)| (key.clone(), value.text())).collect();
        for (key, reference) in &reach.secrets {
            let secret = reference.resolve(&reach.root, &process_environment);
            let missing = |failure: sextant_core::Failure| AdbcFault::Secret {
                key: key.clone(),
                reason: failure.to_string(),
            };
            let secret = secret.map_err(missing)?.reveal().to_owned();
            options.push((key.clone(), secret.clone()));
            hidden.extend(hidden_in(&secret));
        }
        let mut driver = load(reach)?;
        let fault = |error: Error| explain(&error, &hidden);
        let (own, rest): (Vec<_>, Vec<_>) =
            options.into_iter().partition(|(key, _)| key.starts_with(OF_CONNECTION));
        let rest = rest.into_iter().map(|(key, value)| (OptionDatabase::from(&*key), value.into()));
        let database = driver.new_database_with_opts(rest).map_err(fault)?;
        let own = own.into_iter().map(|(key, value)| (OptionConnection::from(&*key), value.into()));
        let connection = database.new_connection_with_opts(own).map_err(fault)?;
        Ok(Self { connection, hidden })
    }

    /// What went wrong, in the driver's words without our secrets.
    pub(crate) fn fault(&self, error: &Error) -> AdbcFault {
        explain(error, &self.hidden)
    }

    /// Begins a transaction; false when the driver has none.
    pub(crate) fn begin(&mut self) -> Result<bool> {
        match self.connection.set_option(OptionConnection::AutoCommit, "false".into()) {
            Ok(()) => Ok(true),
            Err(error) if error.status == Status::NotImplemented => Ok(false),
            Err(error) => Err(self.fault(&error).into()),
        }
    }

    /// Makes what was done since [`Self::begin`] stay.
    pub(crate) fn commit(&mut self) -> Result<()> {
        let done = self.connection.commit();
        done.map_err(|error| self.fault(&error).into())
    }

    fn statement(&mut self) -> Result<ManagedStatement> {
        let made = self.connection.new_statement();
        made.map_err(|error| self.fault(&error).into())
    }

    /// Runs a query and hands over its batches as they come.
    pub(crate) fn query(
        &mut self,
        sql: &str,
        values: Option<RecordBatch>,
        cancel: &Cancel,
        mut take: impl FnMut(RecordBatch) -> Result<()>,
    ) -> Result<datafusion::arrow::datatypes::SchemaRef> {
        let mut statement = self.statement()?;
        let execute = |statement: &mut ManagedStatement| {
            statement.set_sql_query(sql)?;
            if let Some(values) = values {
                statement.bind(values)?;
            }
            statement.execute()
        };
        let mut reader = self.watched(&mut statement, cancel, execute)?;
        let schema = reader.schema();
        while let Some(batch) =
            self.watched(&mut statement, cancel, |_| Ok(reader.next().transpose()?))?
        {
            take(batch)?;
        }
        Ok(schema)
    }

    /// Runs a statement that gives no rows.
    pub(crate) fn run(&mut self, sql: &str, cancel: &Cancel) -> Result<()> {
        let mut statement = self.statement()?;
        let run = |statement: &mut ManagedStatement| {
            statement.set_sql_query(sql)?;
            statement.execute_update()
        };
        self.watched(&mut statement, cancel, run).map(drop)
    }

    /// Writes rows into a table of the warehouse.
    pub(crate) fn ingest(
        &mut self,
        settings: Vec<(OptionStatement, String)>,
        rows: Box<dyn RecordBatchReader + Send>,
        cancel: &Cancel,
    ) -> Result<()> {
        let mut statement = self.statement()?;
        let write = |statement: &mut ManagedStatement| {
            for (key, value) in settings {
                statement.set_option(key, value.into())?;
            }
            statement.bind_stream(rows)?;
            statement.execute_update()
        };
        self.watched(&mut statement, cancel, write).map(drop)
    }

    /// Waits for the driver, and stops it when the build is cancelled.
    fn watched<T>(
        &self,
        statement: &mut ManagedStatement,
        cancel: &Cancel,
        work: impl FnOnce(&mut ManagedStatement) -> Result<T, Error>,
    ) -> Result<T> {
        if cancel.is_cancelled() {
            return Err(DataError::Cancelled);
        }
        let handle = statement.get_cancel_handle();
        let over = AtomicBool::new(false);
        let done = std::thread::scope(|scope| {
            let watcher = scope.spawn(|| {
                while !over.load(Ordering::Acquire) {
                    if cancel.is_cancelled() {
                        // A driver that cannot be stopped is waited for.
                        let _ = handle.try_cancel();
                    }
                    std::thread::park_timeout(CANCEL_POLL);
                }
            });
            let done = work(statement);
            over.store(true, Ordering::Release);
            watcher.thread().unpark();
            done
        });
        match done {
            Ok(done) => Ok(done),
            Err(_) if cancel.is_cancelled() => Err(DataError::Cancelled),
            Err(error) => Err(self.fault(&error).into()),
        }
    }
}

fn load(reach: &Reach) -> Result<ManagedDriver, AdbcFault> {
    let path = reach.root.join(&reach.driver);
    let refused = |reason: String| AdbcFault::Driver { driver: reach.driver.clone(), reason };
    if !path.is_file() {
        return Err(refused("there is no such file".to_owned()));
    }
    let entrypoint = reach.entrypoint.as_ref().map(String::as_bytes);
    let load = |version| ManagedDriver::load_dynamic_from_filename(&path, entrypoint, version);
    // Older drivers know only the first version of the interface.
    load(AdbcVersion::V110)
        .or_else(|newer| load(AdbcVersion::V100).map_err(|_| newer))
        .map_err(|error| refused(error.message))
}

fn explain(error: &Error, hidden: &[String]) -> AdbcFault {
    let mut reason = error.message.clone();
    for secret in hidden {
        reason = reason.replace(secret.as_str(), "…");
    }
    match error.status {
        Status::Unauthenticated | Status::Unauthorized => AdbcFault::Refused { reason },
        Status::IO | Status::Timeout => AdbcFault::Unreachable { reason },
        Status::NotImplemented => AdbcFault::Lacking { reason },
        _ => AdbcFault::Failed { reason },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reach(options: &[(&str, &str)]) -> Reach {
        let option = |(key, value): &(&str, &str)| {
            ((*key).to_owned(), OptionText::Text((*value).to_owned()))
        };
        Reach {
            root: PathBuf::new(),
            driver: "lib/driver.so".to_owned(),
            entrypoint: None,
            options: options.iter().map(option).collect(),
            secrets: BTreeMap::new(),
        }
    }

    #[test]
    fn secrets_are_named_not_written() {
        for (key, value, fine) in [
            ("uri", "file.db", true),
            ("uri", "postgresql://me@host/db", true),
            ("uri", "postgresql://me:word@host/db", false),
            ("uri", "postgresql://host/db?a=b:c@d", true),
            ("uri", "file:/folder/a@b.db", true),
            ("uri", "me:word@account/db", false),
            ("uri", "me@account/db", true),
            ("uri", "postgresql://me@host/db?sslmode=off&password=word", false),
            ("dsn", "Server=host;UID=me;PWD=word", false),
            ("dsn", "host=h user=me password=", true),
            ("dsn", "host=h password = word user=me", false),
            ("dsn", "host=h password='a b'", false),
            ("dsn", "UID=me;PWD={a;b}", false),
            ("adbc.connection.query", "select token=1", true),
            ("password", "word", false),
            ("adbc.snowflake.sql.client_option.jwt_private_key", "x", false),
            ("adbc.connection.catalog", "db", true),
        ] {
            assert_eq!(reach(&[(key, value)]).check().is_ok(), fine, "{key} = {value}");
        }
    }

    #[test]
    fn what_a_driver_says_holds_no_secret() {
        for (secret, said, told) in [
            ("s3cret!", "no login with s3cret!", "no login with …"),
            ("", "no login", "no login"),
            ("x://me:s%21@host/db", "no login at x://me:s%21@host/db", "no login at …"),
            ("x://me:s3c%21@host/db", "no login with s3c!", "no login with …"),
            ("me:s3cret@account", "no login with s3cret", "no login with …"),
            ("x://me:s3cret@host/db?sslpassword=y", "no login with s3cret", "no login with …"),
            ("host=h password='a b'", "no login with a b", "no login with …"),
        ] {
            let error = Error::with_message_and_status(said, Status::Unauthenticated);
            let fault = explain(&error, &hidden_in(secret));
            assert_eq!(fault.to_string(), format!("the warehouse refuses us: {told}"));
        }
    }

    #[test]
    fn a_library_that_is_not_there_is_named() {
        let fault = load(&reach(&[])).err().map(|fault| fault.to_string());
        let told = "the driver `lib/driver.so` cannot be loaded: there is no such file";
        assert_eq!(fault.as_deref(), Some(told));
    }
}
