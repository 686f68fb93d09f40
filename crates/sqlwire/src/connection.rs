//! What happens on one connection, from login to its end? Messages come in, one is worked on at a
//! time, and whatever fails leaves the connection usable.

use std::{sync::Arc, time::Duration};

use bytes::{BufMut as _, Bytes};

use crate::{
    copy::copy_out,
    error::WireError,
    extended::Extended,
    input::Fields,
    lex, limits,
    port::{SqlEngine, SqlFault},
    run::{Link, Run, Stop, deadline, stopped},
    session::Session,
    statement::{Statement, classify, tag},
};

/// A client that is logged in.
pub(crate) struct Connection {
    pub link: Link,
    pub engine: Arc<dyn SqlEngine>,
    pub session: Session,
    pub extended: Extended,
}

impl Connection {
    /// Serves until the client leaves, an error that ends the connection, or the server's end.
    pub async fn serve(&mut self) -> Result<(), Stop> {
        self.ready().await?;
        while let Some((kind, body)) = self.message().await? {
            if kind == b'X' {
                break;
            }
            // A cancel request that comes when nothing runs is for nobody.
            self.link.cancels.borrow_and_update();
            self.handle(kind, body).await?;
        }
        Ok(())
    }

    async fn message(&mut self) -> Result<Option<(u8, Bytes)>, Stop> {
        let Link { input, stopping, .. } = &mut self.link;
        let fatal = |error: WireError| Stop::Fatal(error.into());
        tokio::select! {
            message = input.message(limits::MESSAGE_BYTES_MAX) => message.map_err(fatal),
            () = tokio::time::sleep(Duration::from_secs(limits::IDLE_SECONDS)) => {
                Err(fatal(WireError::Ending("it was idle for too long")))
            }
            () = stopped(stopping) => {
                Err(fatal(WireError::Ending("the server stops")))
            }
        }
    }

    async fn handle(&mut self, kind: u8, body: Bytes) -> Result<(), Stop> {
        match kind {
            b'Q' => {
                self.extended.skipping = false;
                self.simple(&mut Fields(body)).await
            }
            b'S' => {
                self.extended.skipping = false;
                self.extended.sync(&self.session);
                self.ready().await
            }
            b'H' => Ok(self.link.output.flush().await?),
            _ if self.extended.skipping => Ok(()),
            // What is left of a copy into a table, which was refused before.
            b'd' | b'c' | b'f' => Ok(()),
            _ => match self.extended_message(kind, &mut Fields(body)).await {
                Err(Stop::Fault(fault)) => {
                    self.extended.skipping = true;
                    self.fail(&fault, "", 0);
                    Ok(self.link.output.flush().await?)
                }
                Err(Stop::Said) => {
                    self.extended.skipping = true;
                    Ok(self.link.output.flush().await?)
                }
                other => other,
            },
        }
    }

    /// Says what failed; `before` characters stood before the statement in the text that was sent.
    pub fn fail(&mut self, fault: &SqlFault, sql: &str, before: usize) {
        self.session.fail();
        self.link.output.fault(fault, "ERROR", sql, before);
    }

    async fn ready(&mut self) -> Result<(), Stop> {
        let status = self.session.status.byte();
        self.link.output.message(b'Z', |out| out.put_u8(status));
        Ok(self.link.output.flush().await?)
    }

    /// The simple protocol: a text with any number of statements.
    async fn simple(&mut self, fields: &mut Fields) -> Result<(), Stop> {
        let text = match fields.text().and_then(bounded) {
            Ok(text) => text,
            Err(error) => {
                self.fail(&error.into(), "", 0);
                return self.ready().await;
            }
        };
        let statements = lex::split(&text);
        if statements.is_empty() {
            self.link.output.empty(b'I');
        }
        for sql in statements {
            match self.one(sql).await {
                Ok(()) => {}
                Err(Stop::Fault(fault)) => {
                    let offset = sql.as_ptr().addr() - text.as_ptr().addr();
                    self.fail(&fault, sql, text[..offset].chars().count());
                    break;
                }
                Err(stop) => return Err(stop),
            }
        }
        self.ready().await
    }

    async fn one(&mut self, sql: &str) -> Result<(), Stop> {
        let statement = classify(sql)?;
        self.session.admit(&statement)?;
        let deadline = deadline(self.session.statement_ms_max());
        match &statement {
            Statement::Query => {
                let mut run = Run::start(&self.engine, sql, Vec::new(), deadline);
                let columns = run.columns(&mut self.link).await?;
                self.link.output.columns(&columns, |_| false);
                while let Some(row) = run.row(&mut self.link).await? {
                    self.link.output.row(&columns, &row, |_| false);
                    self.link.output.relieve().await?;
                }
                self.link.output.complete(&format!("{} {}", tag(sql), run.count));
            }
            Statement::Copy { query, format } => {
                let mut run = Run::start(&self.engine, query, Vec::new(), deadline);
                copy_out(&mut self.link, &mut run, format).await?;
            }
            small => self.small(small, true)?,
        }
        Ok(())
    }

    /// A statement that the session itself answers; `describe` sends the columns too.
    pub fn small(&mut self, statement: &Statement, describe: bool) -> Result<(), WireError> {
        let answer = self.session.answer(statement)?;
        self.extended.forget(statement);
        let output = &mut self.link.output;
        if let Some((name, value)) = answer.report {
            output.setting(name, &value);
        }
        if !answer.columns.is_empty() && describe {
            output.columns(&answer.columns, |_| false);
        }
        for row in &answer.rows {
            output.row(&answer.columns, row, |_| false);
        }
        output.complete(answer.tag);
        Ok(())
    }
}

/// The text of a message, when it is not too long.
pub(crate) fn bounded(text: String) -> Result<String, WireError> {
    if text.len() > limits::STATEMENT_BYTES_MAX {
        let limit = format!("{} bytes", limits::STATEMENT_BYTES_MAX);
        return Err(WireError::TooLarge { what: "the statement", limit });
    }
    Ok(text)
}
