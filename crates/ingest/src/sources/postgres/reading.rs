//! How is a stream of changes read? Change by change into a batch, which is landed at the end of a
//! transaction; then the slot is acknowledged.

use super::{
    OnUnfit,
    batch::{Batch, Place},
    fault::PostgresFault,
    follow::{Outcome, Stop},
    land::Tables,
    lsn::Lsn,
    note::{Job, Note},
    pgoutput::{Message, Relation},
    stream::Stream,
    subject::{self, Column, Filled},
    widen::Added,
};
use crate::arrival::{BATCH_BYTES_MAX, BATCH_RECORDS_MAX};

/// How far the server's log may run ahead without a change of the table, until a commit moves the
/// mark alone: the server keeps its log from the mark on.
const MARK_BYTES_MAX: u64 = 16 << 20;

/// One stream of changes, as it is read.
pub(super) struct Reading<'a> {
    job: &'a Job,
    tables: &'a mut Tables,
    note: &'a mut Note,
    oid: u32,
    batch: Batch,
    place: Place,
    added: Added,
}

impl<'a> Reading<'a> {
    pub(super) fn new(
        job: &'a Job,
        tables: &'a mut Tables,
        note: &'a mut Note,
        oid: u32,
        batch: Batch,
    ) -> Self {
        let place = Place { lsn: Lsn(0), at_us: 0 };
        Self { job, tables, note, oid, batch, place, added: Added::new() }
    }

    /// Lands everything before `end`.
    pub(super) async fn run(&mut self, stream: &mut Stream, end: Lsn) -> Outcome<()> {
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
                Filled::Value(value) if !self.holds(found, &value) => {
                    let name = &column.name;
                    let message =
                        format!("old rows have `{value}` in `{name}`, which does not fit");
                    return Err(reshaped(message));
                }
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

    /// Whether a column here can have this value, or may have null in its place.
    fn holds(&self, column: &Column, value: &str) -> bool {
        let mut unfit = Vec::new();
        column.kind.column(&[Some(value)], &mut unfit);
        unfit.is_empty() || self.job.config.on_unfit == OnUnfit::Null
    }

    /// Lands the batch, which ends with a whole transaction.
    async fn commit(&mut self, lsn: Lsn) -> Outcome<()> {
        self.tables.close(&mut self.batch).await?;
        let layout = self.batch.layout.clone();
        let next = Batch::new(layout.clone(), self.batch.next(), self.batch.take_held())?;
        let ready = std::mem::replace(&mut self.batch, next).ready();
        let (columns, added) = (&layout.columns, &self.added);
        self.tables.land(ready, columns, added, lsn, self.note).await?;
        Ok(())
    }
}
