//! How are changes read from a slot, and when is it told that they are safe? Messages come one by one up
//! to where the server's log ended when the build began. The slot is acknowledged by
//! [`Stream::acknowledge`] alone, which is called after the commit that holds the changes.

use std::time::Duration;

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};

use super::{
    fault::PostgresFault,
    lsn::Lsn,
    pgoutput::{self, Message},
    slot,
    wire::{Connection, Result},
};

/// How long the server may be silent before it is asked where it is.
const PING: Duration = Duration::from_millis(200);
/// How often it may answer that it has not moved, until that is taken for the end: its log can end in
/// a record that is not whole yet.
const STILL_MAX: u32 = 10;
/// How often it may not answer at all.
const SILENT_MAX: u32 = 1_500;

/// The changes of a slot.
pub(super) struct Stream {
    connection: Connection,
    /// Up to where the slot was acknowledged.
    acknowledged: Lsn,
    /// Where the server was when it was asked last.
    position: Lsn,
    still: u32,
    silent: u32,
    asked: bool,
    in_transaction: bool,
}

impl Stream {
    /// Begins to read behind `mark`.
    pub(super) async fn start(
        mut connection: Connection,
        slot: &str,
        publication: &str,
        mark: Lsn,
    ) -> Result<Self> {
        slot::start(&mut connection, slot, publication, mark).await?;
        Ok(Self {
            connection,
            acknowledged: mark,
            position: Lsn(0),
            still: 0,
            silent: 0,
            asked: false,
            in_transaction: false,
        })
    }

    /// The next message; none when all before `end` was read.
    pub(super) async fn next(&mut self, end: Lsn) -> Result<Option<Message>> {
        loop {
            let Some(mut body) = self.connection.streamed(PING).await? else {
                self.ask().await?;
                continue;
            };
            self.silent = 0;
            match body.try_get_u8() {
                Ok(b'w') => return self.change(body).map(Some),
                Ok(b'k') => {
                    if self.is_at_end(body, end).await? {
                        return Ok(None);
                    }
                }
                _ => return Err(malformed()),
            }
        }
    }

    /// Asks the server where it is.
    async fn ask(&mut self) -> Result<()> {
        self.silent += 1;
        if self.silent > SILENT_MAX {
            let reason = "it sends no changes and does not say why".to_owned();
            return Err(PostgresFault::Failed { reason });
        }
        if !self.asked {
            self.asked = true;
            self.report(true).await?;
        }
        Ok(())
    }

    fn change(&mut self, mut body: Bytes) -> Result<Message> {
        // Where the record begins, where the log ends, and when it was sent.
        body.try_copy_to_slice(&mut [0; 24]).map_err(|_| malformed())?;
        let message = pgoutput::read(body).ok_or_else(malformed)?;
        match message {
            Message::Begin { .. } => self.in_transaction = true,
            Message::Commit { .. } => self.in_transaction = false,
            _ => {}
        }
        (self.still, self.asked) = (0, false);
        Ok(message)
    }

    /// Whether the server has sent all that it had.
    async fn is_at_end(&mut self, mut body: Bytes, end: Lsn) -> Result<bool> {
        let position = Lsn(body.try_get_u64().map_err(|_| malformed())?);
        body.try_get_i64().map_err(|_| malformed())?;
        if body.try_get_u8().map_err(|_| malformed())? == 1 {
            self.report(false).await?;
        }
        if std::mem::take(&mut self.asked) && position == self.position {
            self.still += 1;
        } else if position != self.position {
            self.still = 0;
        }
        self.position = position;
        Ok(!self.in_transaction && (position >= end || self.still >= STILL_MAX))
    }

    /// Up to where the server has sent all changes: nothing that concerns us is before it.
    pub(super) fn position(&self) -> Lsn {
        self.position
    }

    /// Tells the server that everything before `mark` is safe.
    pub(super) async fn acknowledge(&mut self, mark: Lsn) -> Result<()> {
        self.acknowledged = self.acknowledged.max(mark);
        self.report(false).await
    }

    async fn report(&mut self, answer: bool) -> Result<()> {
        let mut body = BytesMut::with_capacity(34);
        body.put_u8(b'r');
        for _written_flushed_applied in 0..3 {
            body.put_u64(self.acknowledged.0);
        }
        // The server only shows our clock.
        body.put_i64(0);
        body.put_u8(answer.into());
        self.connection.answer(&body).await
    }

    /// Ends the stream, so that the slot is free.
    pub(super) async fn close(self) {
        self.connection.close(true).await;
    }
}

fn malformed() -> PostgresFault {
    PostgresFault::Failed { reason: "its stream of changes is not understood".to_owned() }
}
