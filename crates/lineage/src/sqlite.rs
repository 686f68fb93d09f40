//! How are transactions made durable in SQLite? One writer thread takes whatever is waiting and
//! commits it together (group commit), with `synchronous=FULL`; readers use their own connections.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError, mpsc},
    thread,
    time::Duration,
};

use rusqlite::{Connection, OpenFlags, params_from_iter, types::Value, types::ValueRef};
use sextant_core::{Digest, canonical_json};

use crate::{
    Cell, LineageError, Row,
    catalog::{Catalog, Snapshot, Statement},
    failpoint, schema,
};

/// Most transactions that share one commit.
const GROUP_MAX: usize = 256;
/// Transactions that may wait for the writer before callers block.
const QUEUE_MAX: usize = 1024;
/// Read connections that are kept open between uses.
const READERS_KEPT_MAX: usize = 8;
/// Hash before the first audit record.
pub(crate) const AUDIT_GENESIS: &str = "sextant-audit-1";

type Reply = mpsc::SyncSender<Result<(), LineageError>>;
type Queue = mpsc::SyncSender<(Vec<Statement>, Reply)>;

/// The embedded catalog.
pub(crate) struct SqliteCatalog {
    path: PathBuf,
    queue: Mutex<Option<Queue>>,
    writer: Mutex<Option<thread::JoinHandle<()>>>,
    readers: Arc<Mutex<Vec<Connection>>>,
}

impl SqliteCatalog {
    /// Opens or makes the database and starts its writer.
    pub(crate) fn open(path: &Path) -> Result<Self, LineageError> {
        let connection = open_writer(path)?;
        let (queue, receiver) = mpsc::sync_channel(QUEUE_MAX);
        let writer_path = path.to_owned();
        let writer = thread::Builder::new()
            .name("catalog-writer".to_owned())
            .spawn(move || write_loop(&writer_path, connection, &receiver))
            .map_err(LineageError::io("start the writer of", path))?;
        let catalog = Self {
            path: path.to_owned(),
            queue: Mutex::new(Some(queue)),
            writer: Mutex::new(Some(writer)),
            readers: Arc::default(),
        };
        catalog.migrate("spine", schema::STEPS)?;
        Ok(catalog)
    }
}

impl Drop for SqliteCatalog {
    fn drop(&mut self) {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(writer) = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take() {
            let _ = writer.join();
        }
    }
}

impl Catalog for SqliteCatalog {
    fn commit(&self, statements: Vec<Statement>) -> Result<(), LineageError> {
        let queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let gone = || LineageError::WriterGone("it is shut down".to_owned());
        let queue = queue.ok_or_else(gone)?;
        let (reply, answer) = mpsc::sync_channel(1);
        queue.send((statements, reply)).map_err(|_| gone())?;
        answer.recv().map_err(|_| gone())?
    }

    fn snapshot(&self) -> Result<Box<dyn Snapshot>, LineageError> {
        let kept = self.readers.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let connection = match kept {
            Some(connection) => connection,
            None => open_reader(&self.path)?,
        };
        let begin = "BEGIN; SELECT count(*) FROM migrations;";
        connection.execute_batch(begin).map_err(LineageError::catalog("open a snapshot"))?;
        Ok(Box::new(SqliteSnapshot { connection: Some(connection), home: self.readers.clone() }))
    }

    fn migrate(&self, layer: &str, steps: &[&str]) -> Result<(), LineageError> {
        let done = {
            let sql = "SELECT step, digest FROM migrations WHERE layer = ?1 ORDER BY step";
            self.snapshot()?.query(sql, &[layer.into()])?
        };
        for (row, step) in done.iter().zip(steps) {
            if row.digest(1)? != Digest::of(step) {
                let detail =
                    format!("step {} of layer {layer} is not the one that ran", row.int(0)?);
                return Err(LineageError::Corrupt { what: "the catalog's schema".into(), detail });
            }
        }
        if done.len() > steps.len() {
            let detail = format!("layer {layer} has steps that this program does not know");
            return Err(LineageError::Corrupt { what: "the catalog's schema".into(), detail });
        }
        for (number, step) in steps.iter().enumerate().skip(done.len()) {
            let mut statements: Vec<Statement> = step
                .split(';')
                .filter(|sql| !sql.trim().is_empty())
                .map(|sql| Statement::Execute { sql: sql.trim().to_owned(), params: Vec::new() })
                .collect();
            statements.push(Statement::Execute {
                sql: "INSERT INTO migrations (layer, step, digest) VALUES (?1, ?2, ?3)".to_owned(),
                params: vec![
                    layer.into(),
                    i64::try_from(number).unwrap_or(i64::MAX).into(),
                    Digest::of(step).into(),
                ],
            });
            self.commit(statements)?;
        }
        Ok(())
    }

    fn integrity(&self) -> Result<Vec<String>, LineageError> {
        let rows = self.snapshot()?.query("PRAGMA integrity_check", &[])?;
        let mut faults = Vec::new();
        for row in rows {
            let line = row.text(0)?;
            if line != "ok" {
                faults.push(line.to_owned());
            }
        }
        Ok(faults)
    }
}

fn open_writer(path: &Path) -> Result<Connection, LineageError> {
    let context = || LineageError::catalog(format!("open {}", path.display()));
    let connection = Connection::open(path).map_err(context())?;
    connection.busy_timeout(Duration::from_secs(10)).map_err(context())?;
    connection
        .execute_batch(
            "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA foreign_keys=ON;
             PRAGMA temp_store=MEMORY; PRAGMA cache_size=-16000;",
        )
        .map_err(context())?;
    connection.execute_batch(schema::MIGRATIONS).map_err(context())?;
    connection.set_prepared_statement_cache_capacity(128);
    Ok(connection)
}

fn open_reader(path: &Path) -> Result<Connection, LineageError> {
    let context = || LineageError::catalog(format!("read {}", path.display()));
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(context())?;
    connection.busy_timeout(Duration::from_secs(10)).map_err(context())?;
    connection.set_prepared_statement_cache_capacity(64);
    Ok(connection)
}

/// Commits groups until every sender is gone. A connection whose commit failed is not trusted any
/// more: the next group gets a fresh one, so that service resumes when the cause is gone.
fn write_loop(
    path: &Path,
    connection: Connection,
    receiver: &mpsc::Receiver<(Vec<Statement>, Reply)>,
) {
    let mut current = Some(connection);
    while let Ok(first) = receiver.recv() {
        let mut group = vec![first];
        while group.len() < GROUP_MAX {
            match receiver.try_recv() {
                Ok(next) => group.push(next),
                Err(_) => break,
            }
        }
        let outcome = match current.take().map_or_else(|| open_writer(path), Ok) {
            Ok(connection) => {
                let (results, failed) = commit_group(&connection, &group);
                if !failed {
                    current = Some(connection);
                }
                results
            }
            Err(error) => {
                let text = error.to_string();
                group.iter().map(|_| Err(LineageError::WriterGone(text.clone()))).collect()
            }
        };
        for ((_, reply), result) in group.into_iter().zip(outcome) {
            let _ = reply.send(result);
        }
    }
}

/// Each transaction runs in its own savepoint, so that one that is refused leaves the others alone.
/// Returns one result for each, and whether the commit itself failed.
fn commit_group(
    connection: &Connection,
    group: &[(Vec<Statement>, Reply)],
) -> (Vec<Result<(), LineageError>>, bool) {
    let fail_all = |error: &str| -> Vec<Result<(), LineageError>> {
        group.iter().map(|_| Err(LineageError::WriterGone(error.to_owned()))).collect()
    };
    if let Err(error) = connection.execute_batch("BEGIN IMMEDIATE") {
        return (fail_all(&error.to_string()), true);
    }
    let mut results = Vec::with_capacity(group.len());
    for (statements, _) in group {
        match run_in_savepoint(connection, statements) {
            Ok(result) => results.push(result),
            Err(error) => {
                let _ = connection.execute_batch("ROLLBACK");
                return (fail_all(&error.to_string()), true);
            }
        }
    }
    let committed = failpoint("catalog::commit")
        .map_err(|error| error.to_string())
        .and_then(|()| connection.execute_batch("COMMIT").map_err(|error| error.to_string()));
    match committed {
        Ok(()) => (results, false),
        Err(error) => {
            let _ = connection.execute_batch("ROLLBACK");
            (fail_all(&error), true)
        }
    }
}

fn run_in_savepoint(
    connection: &Connection,
    statements: &[Statement],
) -> Result<Result<(), LineageError>, rusqlite::Error> {
    connection.execute_batch("SAVEPOINT act")?;
    let result = statements.iter().try_for_each(|statement| run(connection, statement));
    if result.is_err() {
        connection.execute_batch("ROLLBACK TO act")?;
    }
    connection.execute_batch("RELEASE act")?;
    Ok(result)
}

fn run(connection: &Connection, statement: &Statement) -> Result<(), LineageError> {
    match statement {
        Statement::Execute { sql, params } => {
            let mut prepared =
                connection.prepare_cached(sql).map_err(LineageError::catalog(sql.clone()))?;
            prepared
                .execute(params_from_iter(params.iter().map(to_sqlite)))
                .map_err(LineageError::catalog(sql.clone()))?;
            Ok(())
        }
        Statement::Require { sql, params, otherwise } => {
            if query(connection, sql, params)?.is_empty() {
                return Err(otherwise.clone().into());
            }
            Ok(())
        }
        Statement::Audit { activity, actor, action, detail, at } => {
            let head = "SELECT seq, hash FROM audit ORDER BY seq DESC LIMIT 1";
            let (seq, previous) = match query(connection, head, &[])?.first() {
                Some(row) => (row.int(0)? + 1, row.text(1)?.to_owned()),
                None => (1, Digest::of(AUDIT_GENESIS).to_string()),
            };
            let activity = activity.to_string();
            let hash = audit_hash(seq, at.micros(), &activity, actor, action, detail, &previous)?;
            let sql = "INSERT INTO audit (seq, at, activity, actor, action, detail, previous, hash)
                       VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
            let params = vec![
                seq.into(),
                (*at).into(),
                activity.into(),
                actor.into(),
                action.into(),
                detail.into(),
                previous.into(),
                hash.into(),
            ];
            run(connection, &Statement::Execute { sql: sql.to_owned(), params })
        }
    }
}

/// The hash of one audit record: it covers every field and the record before it.
pub(crate) fn audit_hash(
    seq: i64,
    at: i64,
    activity: &str,
    actor: &str,
    action: &str,
    detail: &str,
    previous: &str,
) -> Result<Digest, LineageError> {
    let body = serde_json::json!([seq, at, activity, actor, action, detail, previous]);
    canonical_json(&body).map(Digest::of).map_err(LineageError::encoding("an audit record"))
}

struct SqliteSnapshot {
    connection: Option<Connection>,
    home: Arc<Mutex<Vec<Connection>>>,
}

impl Snapshot for SqliteSnapshot {
    fn query(&self, sql: &str, params: &[Cell]) -> Result<Vec<Row>, LineageError> {
        match &self.connection {
            Some(connection) => query(connection, sql, params),
            None => Err(LineageError::WriterGone("the snapshot is closed".to_owned())),
        }
    }
}

impl Drop for SqliteSnapshot {
    fn drop(&mut self) {
        if let Some(connection) = self.connection.take()
            && connection.execute_batch("ROLLBACK").is_ok()
        {
            let mut home = self.home.lock().unwrap_or_else(PoisonError::into_inner);
            if home.len() < READERS_KEPT_MAX {
                home.push(connection);
            }
        }
    }
}

fn query(connection: &Connection, sql: &str, params: &[Cell]) -> Result<Vec<Row>, LineageError> {
    let context = || LineageError::catalog(sql.to_owned());
    let mut prepared = connection.prepare_cached(sql).map_err(context())?;
    let width = prepared.column_count();
    let mut rows =
        prepared.query(params_from_iter(params.iter().map(to_sqlite))).map_err(context())?;
    let mut found = Vec::new();
    while let Some(row) = rows.next().map_err(context())? {
        let mut cells = Vec::with_capacity(width);
        for column in 0..width {
            cells.push(from_sqlite(row.get_ref(column).map_err(context())?));
        }
        found.push(Row(cells));
    }
    Ok(found)
}

fn to_sqlite(cell: &Cell) -> Value {
    match cell {
        Cell::Null => Value::Null,
        Cell::Int(value) => Value::Integer(*value),
        Cell::Real(value) => Value::Real(*value),
        Cell::Text(value) => Value::Text(value.clone()),
        Cell::Bytes(value) => Value::Blob(value.clone()),
    }
}

fn from_sqlite(value: ValueRef<'_>) -> Cell {
    match value {
        ValueRef::Null => Cell::Null,
        ValueRef::Integer(value) => Cell::Int(value),
        ValueRef::Real(value) => Cell::Real(value),
        ValueRef::Text(value) => Cell::Text(String::from_utf8_lossy(value).into_owned()),
        ValueRef::Blob(value) => Cell::Bytes(value.to_vec()),
    }
}
