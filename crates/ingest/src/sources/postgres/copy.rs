//! How are rows copied? With COPY, in one transaction of the server that sees one state of it; here they
//! wait in chunks until they become visible in one commit.

use serde_json::{Value, json};
use sextant_core::Digest;

use super::{
    Mode,
    batch::{Batch, Place},
    fault::PostgresFault,
    follow::Outcome,
    land::{Tables, Way},
    lsn::Lsn,
    note::{Job, Note},
    pgoutput,
    quote::{identifier, literal},
    subject::{self, Column},
    wire::{Connection, Result},
};
use crate::error::DataError;

/// Where a server's log is, also on one that follows another.
const NOW: &str = "SELECT CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() \
                   ELSE pg_current_wal_lsn() END";
/// A transaction that sees one state of the database.
const BEGIN: &str = "BEGIN READ ONLY ISOLATION LEVEL REPEATABLE READ";

/// Copies the rows of a query into a batch.
pub(super) async fn copy(
    connection: &mut Connection,
    select: &str,
    mut batch: Batch,
    place: Place,
    fold: bool,
) -> Outcome<Batch> {
    connection.copy_out(&format!("COPY ({select}\n) TO STDOUT")).await?;
    while let Some(line) = connection.copied().await? {
        let malformed =
            || PostgresFault::Failed { reason: "a copied row is not understood".to_owned() };
        batch.copy(pgoutput::copied_row(&line).ok_or_else(malformed)?, place, fold)?;
        if batch.is_full() {
            batch.close_open(None)?;
        }
    }
    batch.close_open(None)?;
    Ok(batch)
}

/// What a source reads, with its columns.
struct Read {
    /// As a part of FROM.
    from: String,
    columns: Vec<Column>,
    key: Vec<String>,
    oid: u32,
}

impl Job {
    async fn read_of(&self, connection: &mut Connection) -> Outcome<Read> {
        subject::check_version(connection).await?;
        let Some(query) = &self.config.query else {
            let subject = subject::look_up(connection, self.config.what(), false).await?;
            let key = match self.config.mode {
                Mode::Snapshot => Vec::new(),
                _ => subject.key(&self.config.key)?,
            };
            let (from, oid) = (subject.quoted, subject.oid);
            return Ok(Read { from, columns: subject.columns, key, oid });
        };
        let query = bare(query);
        let columns = subject::describe(connection, query).await?;
        Ok(Read { from: format!("({query}\n) q"), columns, key: self.config.key.clone(), oid: 0 })
    }

    /// What there is to read now: another value when it may be more.
    pub(super) async fn seen(&self) -> Result<Value> {
        let mut connection = self.connect(false).await?;
        let answer = match &self.config.cursor {
            Some(cursor) => {
                let from = match &self.config.query {
                    Some(query) => format!("({}\n) q", bare(query)),
                    None => {
                        subject::look_up(&mut connection, self.config.what(), false).await?.quoted
                    }
                };
                let cursor = identifier(cursor);
                let sql = format!(
                    "SELECT {cursor}, count(*) FROM {from} WHERE {cursor} IS NOT NULL \
                     GROUP BY 1 ORDER BY 1 DESC LIMIT 1"
                );
                connection.query(&sql).await?
            }
            None => connection.query(NOW).await?,
        };
        connection.close(false).await;
        Ok(json!(answer.rows))
    }
}

/// A query without the sign at its end.
pub(super) fn bare(query: &str) -> &str {
    query.trim().trim_end_matches(';')
}

impl Read {
    fn list(&self) -> String {
        let names = self.columns.iter().map(|column| identifier(column.name()));
        names.collect::<Vec<_>>().join(", ")
    }

    fn note(&self, job: &Job, lsn: Lsn) -> Note {
        Note {
            mode: job.config.mode,
            on_unfit: job.config.on_unfit,
            system: String::new(),
            oid: self.oid,
            lsn,
            copied: lsn,
            columns: self.columns.iter().map(|column| column.described.clone()).collect(),
            filled: Default::default(),
            key: self.key.clone(),
            cursor: None,
            digest: None,
            next: None,
        }
    }
}

async fn begin(connection: &mut Connection) -> Result<Lsn> {
    connection.query(BEGIN).await?;
    let now = connection.query(NOW).await?;
    let odd = || PostgresFault::Failed { reason: "its log has no place".to_owned() };
    now.value().and_then(|text| text.parse().ok()).ok_or_else(odd)
}

/// Puts all rows in the place of those before, when they are not the same.
pub(super) async fn snapshot(job: &Job, tables: &mut Tables) -> Outcome<()> {
    let mut connection = job.connect(false).await?;
    let lsn = begin(&mut connection).await?;
    let read = job.read_of(&mut connection).await?;
    let layout = job.layout(read.columns.clone(), &[])?;
    let place = Place { lsn, at_us: job.engine.store().now().micros() };
    let select = format!("SELECT {} FROM {}", read.list(), read.from);
    let batch = Batch::new(layout, 0, Default::default())?;
    let ready = copy(&mut connection, &select, batch, place, false).await?.ready();
    connection.query("COMMIT").await?;
    connection.close(false).await;
    let before = Note::in_mode(&tables.main.state, Mode::Snapshot);
    let note = Note { digest: Some(ready.sent), ..read.note(job, lsn) };
    let same = |before: Note| {
        let rule = before.on_unfit == note.on_unfit;
        before.digest == note.digest && before.columns == note.columns && rule
    };
    if before.is_some_and(same) {
        return Ok(());
    }
    let state = tables.account_anew(&ready.counts, &note);
    tables.write(ready, Way::Anew, &[], state, lsn.number()).await?;
    Ok(())
}

/// What a build of `incremental` reads.
struct Span {
    quoted: String,
    /// The highest cursor that was seen before, and whether the rows at it are as they were.
    low: Option<(String, bool)>,
    /// The highest cursor now, and the digest of the rows at it.
    top: Option<(String, Digest)>,
}

impl Span {
    async fn of(
        connection: &mut Connection,
        read: &Read,
        cursor: &str,
        before: Option<&Note>,
    ) -> Outcome<Self> {
        if !read.columns.iter().any(|column| column.name() == cursor) {
            let what = format!("column `{cursor}` in the table");
            return Err(PostgresFault::NotThere { what }.into());
        }
        let quoted = identifier(cursor);
        let top = connection.query(&format!("SELECT max({quoted}) FROM {}", read.from)).await?;
        let mut span = Self { quoted, low: None, top: None };
        if let Some(low) = before.and_then(|before| before.cursor.clone()) {
            let digest = span.digest_at(connection, read, &low).await?;
            let same = before.and_then(|before| before.digest) == Some(digest);
            span.low = Some((low, same));
        }
        if let Some(top) = top.value() {
            let digest = span.digest_at(connection, read, top).await?;
            span.top = Some((top.to_owned(), digest));
        }
        Ok(span)
    }

    /// The digest of the rows at a cursor.
    async fn digest_at(
        &self,
        connection: &mut Connection,
        read: &Read,
        at: &str,
    ) -> Outcome<Digest> {
        let found = connection
            .query(&format!(
                "SELECT string_agg(h, '' ORDER BY h) FROM (SELECT md5(t::text) AS h FROM \
                 (SELECT {} FROM {}) t WHERE {} = {}) s",
                read.list(),
                read.from,
                self.quoted,
                literal(at)
            ))
            .await?;
        Ok(Digest::of(found.value().unwrap_or_default()))
    }

    /// As a condition; none when there is nothing to read.
    fn condition(&self) -> Option<String> {
        let (top, _) = self.top.as_ref()?;
        let bound = |sign: &str, value: &str| format!("{} {sign} {}", self.quoted, literal(value));
        match &self.low {
            Some((low, true)) if low == top => None,
            Some((low, same)) => {
                let from = bound(if *same { ">" } else { ">=" }, low);
                Some(format!("{from} AND {}", bound("<=", top)))
            }
            None => Some(bound("<=", top)),
        }
    }
}

/// Merges the rows whose cursor is above the highest that was seen; those at it as well when they are
/// not what they were, since a row can come in late.
pub(super) async fn incremental(job: &Job, tables: &mut Tables) -> Outcome<()> {
    let mut connection = job.connect(false).await?;
    let lsn = begin(&mut connection).await?;
    let read = job.read_of(&mut connection).await?;
    let cursor = job.config.cursor.as_deref().unwrap_or_default();
    let before = Note::in_mode(&tables.main.state, Mode::Incremental);
    // Another table, key or rule: then all rows are read again.
    let before = before.filter(|before| {
        let rule = before.on_unfit == job.config.on_unfit;
        before.oid == read.oid && before.key == read.key && rule
    });
    let span = Span::of(&mut connection, &read, cursor, before.as_ref()).await?;
    let condition = span.condition();
    if condition.is_none() && before.is_some() {
        return Ok(());
    }
    let select = format!(
        "SELECT {} FROM {} WHERE {}",
        read.list(),
        read.from,
        condition.as_deref().unwrap_or("false")
    );
    let layout = job.layout(read.columns.clone(), &read.key)?;
    let (landed, next) = match &before {
        Some(before) => tables.numbers(before).await?,
        None => (0, 0),
    };
    let place = Place { lsn, at_us: job.engine.store().now().micros() };
    let batch = Batch::new(layout, next, Default::default())?.again_from(landed);
    let ready = copy(&mut connection, &select, batch, place, true).await?.ready();
    connection.query("COMMIT").await?;
    connection.close(false).await;
    let mut note = read.note(job, lsn);
    (note.cursor, note.digest) = match span.top {
        Some((top, digest)) => (Some(top), Some(digest)),
        None => (None, None),
    };
    let Some(before) = before else {
        let state = tables.account_anew(&ready.counts, &note);
        return Ok(tables.write(ready, Way::Anew, &note.key, state, lsn.number()).await?);
    };
    (note.copied, note.filled) = (before.copied, before.filled.clone());
    note.next = Some(ready.last + 1);
    widen(tables, &before, &read).await?;
    let state = tables.account(&ready.counts, &note);
    Ok(tables.write(ready, Way::Merge, &note.key, state, lsn.number()).await?)
}

/// Gives the table the columns that the source has got since.
async fn widen(tables: &mut Tables, before: &Note, read: &Read) -> Outcome<()> {
    for known in &before.columns {
        let now = read.columns.iter().find(|it| it.name() == known.name);
        if now.is_none_or(|now| now.described.type_oid != known.type_oid) {
            let message = format!("the column `{}` is gone or has another type", known.name);
            return Err(PostgresFault::Reshaped { message }.into());
        }
    }
    for column in &read.columns {
        if !before.columns.iter().any(|known| known.name == column.name()) {
            tables.widen(column, None).await?;
        }
    }
    Ok(())
}

impl From<sextant_lineage::LineageError> for super::follow::Stop {
    fn from(error: sextant_lineage::LineageError) -> Self {
        Self::Data(DataError::from(error))
    }
}
