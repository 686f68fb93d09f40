//! How does a table follow another one through the log of changes? A build copies all rows once, where
//! a new slot begins, and then reads the slot up to where the server's log ended at its beginning.

use std::{collections::BTreeMap, time::Duration};

use super::{
    Mode, OnLost,
    batch::{Batch, Place},
    copy,
    fault::PostgresFault,
    land::{Tables, Way},
    lsn::Lsn,
    note::{Job, Note},
    pgoutput::{Message, Relation},
    slot::{self, Server, Slot},
    stream::Stream,
    subject::{self, Column, Filled, Subject},
    wire::{Connection, Described},
};
use crate::{
    arrival::{BATCH_BYTES_MAX, BATCH_RECORDS_MAX, Landed, lost_the_race},
    error::{DataError, Result},
};

/// How often a build begins again when another writer of the table came first.
const RACES_MAX: u32 = 4;
/// How often a connection that broke is made again without any progress.
const BROKEN_MAX: u32 = 20;
const BROKEN_WAIT: Duration = Duration::from_millis(500);
/// How far the server's log may run ahead without a change of the table, until a commit moves the
/// mark alone: the server keeps its log from the mark on.
const MARK_BYTES_MAX: u64 = 16 << 20;

/// What a build has done.
pub(super) struct Done {
    pub(super) landed: Landed,
    /// Why all rows were copied again.
    pub(super) copied_because: Vec<String>,
}

/// Why reading the changes stopped.
#[derive(Debug)]
pub(super) enum Stop {
    Fault(PostgresFault),
    Data(DataError),
}

impl From<PostgresFault> for Stop {
    fn from(fault: PostgresFault) -> Self {
        Self::Fault(fault)
    }
}

impl From<DataError> for Stop {
    fn from(error: DataError) -> Self {
        Self::Data(error)
    }
}

impl From<Stop> for DataError {
    fn from(stop: Stop) -> Self {
        match stop {
            Stop::Fault(fault) => fault.into(),
            Stop::Data(error) => error,
        }
    }
}

pub(super) type Outcome<T> = std::result::Result<T, Stop>;

impl Job {
    /// Lands what there is.
    pub(super) async fn run(&self) -> Result<Done> {
        let mut races = 0;
        loop {
            let outcome = self.run_once().await;
            match outcome {
                Err(Stop::Data(error)) if lost_the_race(&error) && races < RACES_MAX => races += 1,
                outcome => return Ok(outcome?),
            }
        }
    }

    async fn run_once(&self) -> Outcome<Done> {
        let stem = self.asset.stem();
        let main = self.engine.target(&self.asset, stem).await?;
        let quarantine = self.engine.target(&self.quarantine, self.quarantine.stem()).await?;
        let before = main.table.version();
        let mut tables = Tables { engine: self.engine.clone(), main, quarantine };
        let mut copied_because = Vec::new();
        match self.config.mode {
            Mode::Cdc => Follower { job: self, tables: &mut tables }.run(&mut copied_because).await?,
            Mode::Snapshot => copy::snapshot(self, &mut tables).await?,
            Mode::Incremental => copy::incremental(self, &mut tables).await?,
        }
        let table = tables.main.meta()?;
        let table = table.ok_or_else(|| DataError::engine("a written table has no version"))?;
        let after = tables.main.table.version();
        let commits = after.map_or(0, |after| before.map_or(after + 1, |before| after - before));
        let (quarantine, state) = (tables.quarantine.meta()?, tables.main.state.clone());
        Ok(Done { landed: Landed { table, quarantine, state, commits }, copied_because })
    }
}

struct Follower<'a> {
    job: &'a Job,
    tables: &'a mut Tables,
}

/// What the server is, as far as this source is concerned.
struct Standing {
    server: Server,
    slot: Option<Slot>,
    subject: Subject,
    key: Vec<String>,
}

impl Follower<'_> {
    async fn run(&mut self, copied_because: &mut Vec<String>) -> Outcome<()> {
        let mut connection = self.job.connect(true).await?;
        let standing = self.look(&mut connection).await?;
        let end = standing.server.end;
        let noted = Note::in_mode(&self.tables.main.state, Mode::Cdc);
        let fault = noted.as_ref().and_then(|note| standing.fault(note));
        let (mut note, copied) = match (noted, fault) {
            (Some(note), None) => (note, false),
            (None, _) => (self.copy(&mut connection, &standing).await?, true),
            (Some(_), Some(fault)) if self.may_copy(&fault) => {
                copied_because.push(fault.to_string());
                (self.copy(&mut connection, &standing).await?, true)
            }
            (Some(_), Some(fault)) => return Err(fault.into()),
        };
        let read = self.read(connection, &standing, &mut note, end).await;
        match read {
            Err(Stop::Fault(fault)) if !copied && self.may_copy(&fault) => {
                copied_because.push(fault.to_string());
                let mut connection = self.job.connect(true).await?;
                let standing = self.look(&mut connection).await?;
                let mut note = self.copy(&mut connection, &standing).await?;
                self.read(connection, &standing, &mut note, end).await
            }
            outcome => outcome,
        }
    }

    fn may_copy(&self, fault: &PostgresFault) -> bool {
        self.job.config.on_lost == OnLost::Copy && fault.needs_a_copy()
    }

    /// Asks the server what there is, and makes sure that changes can be followed.
    async fn look(&self, connection: &mut Connection) -> Outcome<Standing> {
        let table = self.job.config.what();
        subject::check_version(connection).await?;
        slot::check_logical(connection).await?;
        let server = slot::identify(connection).await?;
        let subject = subject::look_up(connection, table, true).await?;
        let key = subject.key_of_changes(&self.job.config.key)?;
        self.job.layout(subject.columns.clone(), &key)?;
        slot::publish(connection, &self.job.publication(), &subject).await?;
        let slot = slot::find(connection, &self.job.slot()).await?;
        Ok(Standing { server, slot, subject, key })
    }

    /// Makes a slot and copies all rows as they are where it begins.
    async fn copy(&mut self, connection: &mut Connection, standing: &Standing) -> Outcome<Note> {
        let (store, asset, name) = (self.job.engine.store(), self.job.asset.as_str(), self.job.slot());
        let system = &standing.server.system;
        let ours = slot::is_ours(store, asset, &name, system).map_err(DataError::from)?;
        if standing.slot.is_some() {
            if !ours {
                return Err(PostgresFault::Unfit {
                    message: format!("the replication slot `{name}` is there and is not this source's"),
                    fix: "write slot = \"…\" with another name, or drop it".to_owned(),
                }
                .into());
            }
            slot::remove(connection, &name).await?;
        }
        slot::claim(store, asset, &name, system).map_err(DataError::from)?;
        let lsn = slot::make(connection, &name).await?;
        let subject = subject::look_up(connection, self.job.config.what(), true).await?;
        let layout = self.job.layout(subject.columns.clone(), &standing.key)?;
        let batch = Batch::new(layout, 0, Default::default())?;
        let sql = format!("SELECT {} FROM ONLY {}", subject.select_list(), subject.quoted);
        let place = Place { lsn, at_us: store.now().micros() };
        let batch = copy::copy(connection, &sql, batch, place, false).await?;
        connection.query("COMMIT").await?;
        let note = Note {
            mode: Mode::Cdc,
            system: system.clone(),
            oid: subject.oid,
            lsn,
            copied: lsn,
            columns: subject.columns.iter().map(|column| column.described.clone()).collect(),
            key: standing.key.clone(),
            cursor: None,
            digest: None,
        };
        let ready = batch.ready();
        let state = self.tables.account_anew(&ready.counts, &note);
        self.tables.write(ready, Way::Anew, &note.key, state, lsn.number()).await?;
        Ok(note)
    }

    /// Reads the changes up to `end`. A connection that breaks is made again.
    async fn read(
        &mut self,
        connection: Connection,
        standing: &Standing,
        note: &mut Note,
        end: Lsn,
    ) -> Outcome<()> {
        let mut connection = Some(connection);
        let mut broken = 0;
        loop {
            let mark = note.lsn;
            let outcome = match connection.take() {
                Some(connection) => self.stream(connection, standing, note, end).await,
                None => match self.job.connect(true).await {
                    Ok(connection) => self.stream(connection, standing, note, end).await,
                    Err(fault) => Err(fault.into()),
                },
            };
            match outcome {
                Err(Stop::Fault(fault)) if fault.is_broken_off() && broken < BROKEN_MAX => {
                    broken = if note.lsn > mark { 0 } else { broken + 1 };
                    tokio::time::sleep(BROKEN_WAIT).await;
                }
                outcome => return outcome,
            }
        }
    }

    async fn stream(
        &mut self,
        connection: Connection,
        standing: &Standing,
        note: &mut Note,
        end: Lsn,
    ) -> Outcome<()> {
        let (slot, publication) = (self.job.slot(), self.job.publication());
        let mut stream = Stream::start(connection, &slot, &publication, note.lsn).await?;
        let columns = note.columns.iter().map(|known| standing.column(known)).collect();
        let layout = self.job.layout(columns, &note.key)?;
        let next = i64::try_from(self.tables.main.state.arrived).unwrap_or(i64::MAX);
        let held = self.tables.held(next).await?;
        let mut reading = Reading {
            job: self.job,
            tables: &mut *self.tables,
            note,
            oid: standing.subject.oid,
            batch: Batch::new(layout, next, held)?,
            place: Place { lsn: Lsn(0), at_us: 0 },
            added: BTreeMap::new(),
        };
        reading.run(&mut stream, end).await?;
        stream.close().await;
        Ok(())
    }
}

impl Standing {
    /// Why the changes behind a note are not all there, or cannot be followed.
    fn fault(&self, note: &Note) -> Option<PostgresFault> {
        let lost = |reason: String| {
            Some(PostgresFault::Lost { mark: note.lsn.to_string(), reason })
        };
        if note.system != self.server.system {
            return lost("another server answers, or one that was made anew".to_owned());
        }
        match &self.slot {
            None => lost("the replication slot was dropped".to_owned()),
            Some(slot) if slot.lost => lost("the server has removed the WAL of the slot".to_owned()),
            Some(slot) if slot.acknowledged > note.lsn => {
                lost(format!("somebody else acknowledged the slot up to {}", slot.acknowledged))
            }
            Some(_) => note.differs(&self.subject, &self.key),
        }
    }

    /// A known column with its kind. It is there: the note does not differ.
    fn column(&self, known: &Described) -> Column {
        let found = self.subject.columns.iter().find(|it| it.described.number == known.number);
        found.cloned().unwrap_or_else(|| Column {
            described: known.clone(),
            kind: super::values::Kind::Text,
        })
    }
}

/// One stream of changes, as it is read.
struct Reading<'a> {
    job: &'a Job,
    tables: &'a mut Tables,
    note: &'a mut Note,
    oid: u32,
    batch: Batch,
    place: Place,
    /// Columns that were added, with what the rows before have in them.
    added: BTreeMap<String, Option<String>>,
}

impl Reading<'_> {
    async fn run(&mut self, stream: &mut Stream, end: Lsn) -> Outcome<()> {
        let mut last = self.note.lsn;
        while let Some(message) = stream.next(end).await? {
            if let Message::Commit { end } = message {
                last = last.max(Lsn(end));
                let full = self.batch.bytes() >= BATCH_BYTES_MAX
                    || self.batch.changes() >= BATCH_RECORDS_MAX as u64;
                if full {
                    self.commit(last).await?;
                    stream.acknowledge(last).await?;
                }
            } else {
                self.change(message).await?;
            }
            if self.batch.is_full() {
                self.tables.close(&mut self.batch).await?;
            }
        }
        // Nothing of ours is between the last transaction and where the server is.
        let last = last.max(stream.position().min(end));
        if !self.batch.is_empty() {
            self.commit(last).await?;
        } else if last.0.saturating_sub(self.note.lsn.0) > MARK_BYTES_MAX {
            let note = Note { lsn: last, ..self.note.clone() };
            let state = self.tables.account(&Default::default(), &note);
            self.tables.write_mark(state, last.number()).await?;
            *self.note = note;
        }
        stream.acknowledge(self.note.lsn).await?;
        Ok(())
    }

    async fn change(&mut self, message: Message) -> Outcome<()> {
        let place = self.place;
        match message {
            Message::Begin { lsn, at_us } => self.place = Place { lsn: Lsn(lsn), at_us },
            Message::Relation(relation) if relation.oid == self.oid => {
                self.relation(relation).await?;
            }
            Message::Insert { relation, new } if relation == self.oid => {
                self.batch.insert(new, place)?;
            }
            Message::Update { relation, old, new } if relation == self.oid => {
                self.batch.update(old, new, place)?;
            }
            Message::Delete { relation, old } if relation == self.oid => {
                self.batch.delete(&old, place)?;
            }
            Message::Truncate { relations } if relations.contains(&self.oid) => {
                self.tables.close(&mut self.batch).await?;
                self.batch.truncate();
            }
            _ => {}
        }
        Ok(())
    }

    /// The stream says which columns the table has from here on.
    async fn relation(&mut self, relation: Relation) -> Outcome<()> {
        let reshaped = |message: String| Stop::from(PostgresFault::Reshaped { message });
        let known = &self.batch.layout.columns;
        for (at, column) in known.iter().enumerate() {
            let Some(now) = relation.columns.get(at).filter(|now| now.name == column.name()) else {
                return Err(reshaped(format!("the column `{}` is gone or renamed", column.name())));
            };
            let described = &column.described;
            let number = described.type_oid == 1700 && now.modifier != described.modifier;
            if now.type_oid != described.type_oid || number {
                return Err(reshaped(format!("the column `{}` has another type", column.name())));
            }
            if self.batch.layout.key.contains(&at) && !now.key {
                return Err(reshaped(format!("its key was {}", self.note.key.join(", "))));
            }
        }
        let new: Vec<_> = relation.columns.get(known.len()..).unwrap_or_default().to_vec();
        if new.is_empty() {
            return Ok(());
        }
        let mut side = self.job.connect(false).await?;
        let now = subject::look_up(&mut side, self.job.config.what(), true).await?;
        let mut columns = Vec::with_capacity(new.len());
        for column in new {
            let found = now.columns.iter().find(|it| it.name() == column.name);
            let found = found.filter(|it| it.described.type_oid == column.type_oid);
            let found = found.ok_or_else(|| {
                reshaped(format!("the column `{}` was added and changed again", column.name))
            })?;
            let value = match subject::filled(&mut side, self.oid, &column.name).await? {
                Filled::Null => None,
                Filled::Value(value) => Some(value),
                Filled::Unknown => {
                    let name = &column.name;
                    return Err(reshaped(format!("what old rows have in `{name}` is not known")));
                }
            };
            columns.push((found.clone(), value));
        }
        side.close(false).await;
        self.tables.close(&mut self.batch).await?;
        let all = self.batch.layout.columns.iter().cloned();
        let all = all.chain(columns.iter().map(|(column, _)| column.clone())).collect();
        self.job.layout(all, &self.note.key)?;
        self.added.extend(columns.iter().map(|(it, value)| (it.name().to_owned(), value.clone())));
        self.batch.widen(columns)?;
        Ok(())
    }

    /// Lands the batch, which ends with a whole transaction.
    async fn commit(&mut self, lsn: Lsn) -> Outcome<()> {
        self.tables.close(&mut self.batch).await?;
        let layout = self.batch.layout.clone();
        let next = Batch::new(layout.clone(), self.batch.next(), self.batch.take_held())?;
        let ready = std::mem::replace(&mut self.batch, next).ready();
        for column in &layout.columns[self.note.columns.len()..] {
            self.note.columns.push(column.described.clone());
            if !ready.truncated {
                let value = self.added.get(column.name()).cloned().flatten();
                let state = self.tables.account(&Default::default(), self.note);
                self.tables.widen(column, value.as_deref(), &state).await?;
            }
        }
        let note = Note { lsn, ..self.note.clone() };
        let way = match &ready {
            ready if ready.truncated => Way::Emptied,
            ready if ready.only_inserts => Way::Append,
            _ => Way::Merge,
        };
        let state = self.tables.account(&ready.counts, &note);
        self.tables.write(ready, way, &note.key, state, lsn.number()).await?;
        *self.note = note;
        Ok(())
    }
}

