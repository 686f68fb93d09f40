//! How does a table follow another one through the log of changes? A build copies all rows once, where
//! a new slot begins, and then reads the slot up to where the server's log ended at its beginning.

use std::time::Duration;

use super::{
    Mode, OnLost,
    batch::{Batch, Place},
    copy,
    fault::PostgresFault,
    land::{Tables, Way},
    lsn::Lsn,
    note::{Job, Note},
    reading::Reading,
    slot::{self, Server, Slot},
    stream::Stream,
    subject::{self, Column, Subject},
    wire::{Connection, Described},
};
use crate::{
    arrival::{Landed, lost_the_race},
    error::{DataError, Result},
};

/// How often a build begins again when another writer of the table came first.
const RACES_MAX: u32 = 4;
/// How often a connection that broke is made again without any progress.
const BROKEN_MAX: u32 = 20;
const BROKEN_WAIT: Duration = Duration::from_millis(500);
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

    /// The tables of the source as they stand.
    pub(super) async fn tables(&self) -> Result<Tables> {
        let main = self.engine.target(&self.asset, self.asset.stem()).await?;
        let quarantine = self.engine.target(&self.quarantine, self.quarantine.stem()).await?;
        Ok(Tables { engine: self.engine.clone(), main, quarantine })
    }

    async fn run_once(&self) -> Outcome<Done> {
        let mut tables = self.tables().await?;
        let before = tables.main.table.version();
        let mut copied_because = Vec::new();
        match self.config.mode {
            Mode::Cdc => {
                Follower { job: self, tables: &mut tables }.run(&mut copied_because).await?
            }
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
        let rule = |note: &Note| note.on_unfit == self.job.config.on_unfit;
        let (mut note, copied) = match (noted, fault) {
            // Before any fault: a copy for this reason that was stopped half way left one of its own.
            (Some(note), _) if !rule(&note) => {
                copied_because.push("on_unfit was changed".to_owned());
                (self.copy(&mut connection, &standing).await?, true)
            }
            (Some(note), None) => (note, false),
            (None, _) => (self.copy(&mut connection, &standing).await?, true),
            (Some(_), Some(fault)) if self.may_copy(&fault) => {
                copied_because.push(fault.to_string());
                (self.copy(&mut connection, &standing).await?, true)
            }
            (Some(_), Some(fault)) => return Err(fault.into()),
        };
        let read = self.read(connection, standing, &mut note, end).await;
        match read {
            Err(Stop::Fault(fault)) if !copied && self.may_copy(&fault) => {
                copied_because.push(fault.to_string());
                let mut connection = self.job.connect(true).await?;
                let standing = self.look(&mut connection).await?;
                let mut note = self.copy(&mut connection, &standing).await?;
                self.read(connection, standing, &mut note, end).await
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
        let (store, asset, name) =
            (self.job.engine.store(), self.job.asset.as_str(), self.job.slot());
        let system = &standing.server.system;
        let ours = slot::is_ours(store, asset, &name, system).map_err(DataError::from)?;
        if standing.slot.is_some() {
            if !ours {
                return Err(PostgresFault::Unfit {
                    message: format!(
                        "the replication slot `{name}` is there and is not this source's"
                    ),
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
            filled: Default::default(),
            key: standing.key.clone(),
            on_unfit: self.job.config.on_unfit,
            cursor: None,
            digest: None,
            next: None,
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
        standing: Standing,
        note: &mut Note,
        end: Lsn,
    ) -> Outcome<()> {
        let mut there = Some((connection, standing));
        let mut broken = 0;
        loop {
            let mark = note.lsn;
            let again = match there.take() {
                Some(there) => Ok(there),
                None => self.look_again(note).await,
            };
            let outcome = match again {
                Ok((connection, standing)) => self.stream(connection, &standing, note, end).await,
                Err(stop) => Err(stop),
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

    /// Another connection, with what the server is by now: columns may have been added and landed.
    async fn look_again(&self, note: &Note) -> Outcome<(Connection, Standing)> {
        let mut connection = self.job.connect(true).await?;
        let standing = self.look(&mut connection).await?;
        match standing.fault(note) {
            Some(fault) => Err(fault.into()),
            None => Ok((connection, standing)),
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
        let batch = Batch::new(layout, next, held)?;
        let oid = standing.subject.oid;
        let mut reading = Reading::new(self.job, &mut *self.tables, note, oid, batch);
        reading.run(&mut stream, end).await?;
        stream.close().await;
        Ok(())
    }
}

impl Standing {
    /// Why the changes behind a note are not all there, or cannot be followed.
    fn fault(&self, note: &Note) -> Option<PostgresFault> {
        let lost =
            |reason: String| Some(PostgresFault::Lost { mark: note.lsn.to_string(), reason });
        if note.system != self.server.system {
            return lost("another server answers, or one that was made anew".to_owned());
        }
        match &self.slot {
            None => lost("the replication slot was dropped".to_owned()),
            Some(slot) if slot.lost => {
                lost("the server has removed the WAL of the slot".to_owned())
            }
            Some(slot) if slot.acknowledged > note.lsn => {
                lost(format!("somebody else acknowledged the slot up to {}", slot.acknowledged))
            }
            Some(_) => note.differs(&self.subject, &self.key),
        }
    }

    /// A known column with its kind. It is there: the note does not differ.
    fn column(&self, known: &Described) -> Column {
        let found = self.subject.columns.iter().find(|it| it.described.number == known.number);
        found
            .cloned()
            .unwrap_or_else(|| Column { described: known.clone(), kind: super::values::Kind::Text })
    }
}
