//! How does the server keep changes for us? In a replication slot, which holds the log of changes from
//! where it was acknowledged last. A slot belongs to one source: before it is made, the catalog of
//! the project notes its name, so that a build which was stopped in between finds its own slot, and
//! nobody else's is ever dropped.

use std::time::{Duration, Instant};

use sextant_core::ActivityKind;
use sextant_lineage::{Cell, Store};

use super::{
    fault::PostgresFault,
    lsn::Lsn,
    quote::{identifier, literal},
    subject::Subject,
    wire::{Connection, QueryError, Result},
};

/// How long a slot that another connection reads is waited for: the server needs a moment to notice
/// that a build was killed.
const BUSY: Duration = Duration::from_secs(30);
const BUSY_STEP: Duration = Duration::from_millis(250);
/// Most characters of a name in PostgreSQL.
pub(super) const NAME_MAX: usize = 63;

const MIGRATIONS: &[&str] = &["CREATE TABLE ingest_postgres_slots (
    asset TEXT NOT NULL,
    slot TEXT NOT NULL,
    system TEXT NOT NULL,
    PRIMARY KEY (asset, slot, system)
) WITHOUT ROWID"];

/// Whether this project has made, or was about to make, this slot of this server.
pub(super) fn is_ours(
    store: &Store,
    asset: &str,
    slot: &str,
    system: &str,
) -> std::result::Result<bool, sextant_lineage::LineageError> {
    store.migrate("ingest_postgres", MIGRATIONS)?;
    let found = store.read()?.query(
        "SELECT 1 FROM ingest_postgres_slots WHERE asset = ? AND slot = ? AND system = ?",
        &[asset.into(), slot.into(), system.into()],
    )?;
    Ok(!found.is_empty())
}

/// Notes that this project is about to make a slot.
pub(super) fn claim(
    store: &Store,
    asset: &str,
    slot: &str,
    system: &str,
) -> std::result::Result<(), sextant_lineage::LineageError> {
    let mut act = store.begin(ActivityKind::Ingest, format!("make the slot {slot}"));
    let values: Vec<Cell> = vec![asset.into(), slot.into(), system.into()];
    act.execute(
        "INSERT OR IGNORE INTO ingest_postgres_slots (asset, slot, system) VALUES (?, ?, ?)",
        values,
    );
    act.commit()?;
    Ok(())
}

/// The server's own number and how far its log is on the disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Server {
    pub(super) system: String,
    pub(super) end: Lsn,
}

/// A slot as the server has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Slot {
    /// Up to where changes were acknowledged.
    pub(super) acknowledged: Lsn,
    /// Whether the server has removed what it needs.
    pub(super) lost: bool,
}

fn malformed() -> PostgresFault {
    PostgresFault::Failed { reason: "its answer is not understood".to_owned() }
}

/// Asks a connection for replication which server it is.
pub(super) async fn identify(connection: &mut Connection) -> Result<Server> {
    let answer = connection.query("IDENTIFY_SYSTEM").await?;
    let row = answer.rows.into_iter().next().ok_or_else(malformed)?;
    let mut row = row.into_iter().flatten();
    let (system, end) = (row.next().ok_or_else(malformed)?, row.nth(1).ok_or_else(malformed)?);
    Ok(Server { system, end: end.parse().map_err(|_| malformed())? })
}

/// Refuses a server that keeps no log of changes.
pub(super) async fn check_logical(connection: &mut Connection) -> Result<()> {
    let answer = connection.query("SELECT current_setting('wal_level')").await?;
    if answer.value() == Some("logical") {
        return Ok(());
    }
    Err(PostgresFault::Unfit {
        message: "the server does not log changes: its wal_level is not logical".to_owned(),
        fix: "ALTER SYSTEM SET wal_level = logical, and restart the server".to_owned(),
    })
}

/// Looks a slot up.
pub(super) async fn find(connection: &mut Connection, slot: &str) -> Result<Option<Slot>> {
    let answer = connection
        .query(&format!(
            "SELECT s.confirmed_flush_lsn, s.plugin = 'pgoutput' AND s.database = current_database(), \
             to_jsonb(s) ->> 'wal_status' = 'lost' FROM pg_replication_slots s WHERE s.slot_name = {}",
            literal(slot)
        ))
        .await?;
    let Some(row) = answer.rows.first() else { return Ok(None) };
    let [acknowledged, ours, lost] = row.as_slice() else { return Err(malformed()) };
    if ours.as_deref() != Some("t") {
        return Err(PostgresFault::Unfit {
            message: format!(
                "the replication slot `{slot}` is there and is no slot of pgoutput here"
            ),
            fix: "write slot = \"…\" with another name".to_owned(),
        });
    }
    let acknowledged = acknowledged.as_deref().map_or(Ok(Lsn(0)), |text| text.parse());
    Ok(Some(Slot {
        acknowledged: acknowledged.map_err(|_| malformed())?,
        lost: lost.as_deref() == Some("t"),
    }))
}

/// Drops a slot. One that a killed build still holds is waited for.
pub(super) async fn remove(connection: &mut Connection, slot: &str) -> Result<()> {
    let sql = format!("SELECT pg_drop_replication_slot({})", literal(slot));
    let begun = Instant::now();
    loop {
        match connection.try_query(&sql).await {
            Ok(_) => return Ok(()),
            Err(QueryError::Server(error)) if error.code == "42704" => return Ok(()),
            Err(error) => wait_if_busy(error, slot, begun).await?,
        }
    }
}

/// Waits a moment when the slot is held by another connection, not for ever.
async fn wait_if_busy(error: QueryError, slot: &str, begun: Instant) -> Result<()> {
    let QueryError::Server(error) = error else { return Err(error.into()) };
    if error.code != "55006" {
        return Err(PostgresFault::of_server(&error));
    }
    if begun.elapsed() > BUSY {
        return Err(PostgresFault::Busy { slot: slot.to_owned(), reason: error.to_string() });
    }
    tokio::time::sleep(BUSY_STEP).await;
    Ok(())
}

/// Opens a transaction that sees the table as it is where the new slot begins.
pub(super) async fn make(connection: &mut Connection, slot: &str) -> Result<Lsn> {
    connection.query("BEGIN READ ONLY ISOLATION LEVEL REPEATABLE READ").await?;
    let name = identifier(slot);
    let made = connection
        .query(&format!("CREATE_REPLICATION_SLOT {name} LOGICAL pgoutput USE_SNAPSHOT"))
        .await?;
    let begins = made.rows.first().and_then(|row| row.get(1)).cloned().flatten();
    begins.ok_or_else(malformed)?.parse().map_err(|_| malformed())
}

/// Begins to read a slot behind `mark`.
pub(super) async fn start(
    connection: &mut Connection,
    slot: &str,
    publication: &str,
    mark: Lsn,
) -> Result<()> {
    let quoted = identifier(publication);
    let sql = format!(
        "START_REPLICATION SLOT {} LOGICAL {mark} (proto_version '1', publication_names '{}')",
        identifier(slot),
        quoted.replace('\'', "''"),
    );
    let begun = Instant::now();
    loop {
        match connection.start_replication(&sql).await {
            Ok(()) => return Ok(()),
            // The slot is not in the state that reading needs, or its log is gone.
            Err(QueryError::Server(error)) if ["55000", "58P01"].contains(&&*error.code) => {
                let (mark, reason) = (mark.to_string(), error.to_string());
                return Err(PostgresFault::Lost { mark, reason });
            }
            Err(error) => {
                wait_if_busy(error, slot, begun).await?;
                connection.ready().await?;
            }
        }
    }
}

/// Makes sure that a publication has the table with all kinds of changes. One that is not there is made,
/// which needs the table's owner.
pub(super) async fn publish(
    connection: &mut Connection,
    publication: &str,
    subject: &Subject,
) -> Result<()> {
    let name = literal(publication);
    let found = connection
        .query(&format!(
            "SELECT pubinsert AND pubupdate AND pubdelete AND pubtruncate, EXISTS (SELECT FROM \
             pg_publication_tables t JOIN pg_class c ON c.relname = t.tablename JOIN pg_namespace n \
             ON n.oid = c.relnamespace AND n.nspname = t.schemaname WHERE t.pubname = p.pubname AND \
             c.oid = {} AND to_jsonb(t) ->> 'rowfilter' IS NULL) FROM pg_publication p \
             WHERE p.pubname = {name}",
            subject.oid,
        ))
        .await?;
    let Some(row) = found.rows.first() else {
        let name = identifier(publication);
        let sql = format!("CREATE PUBLICATION {name} FOR TABLE {}", subject.quoted);
        return connection.query(&sql).await.map(|_| ());
    };
    if row.iter().all(|yes| yes.as_deref() == Some("t")) {
        return Ok(());
    }
    Err(PostgresFault::Unfit {
        message: format!("the publication `{publication}` does not have all changes of the table"),
        fix: "publish insert, update, delete and truncate of it, without a row filter".to_owned(),
    })
}
