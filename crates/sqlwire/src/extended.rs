//! How do prepared statements run? Parse, Bind, Describe, Execute and Close of the extended
//! protocol; after an error all is skipped until the client synchronises.

use std::{collections::HashMap, sync::Arc};

use bytes::BufMut as _;
use sextant_core::Cancel;

use crate::{
    connection::{Connection, bounded},
    copy::copy_out,
    error::WireError,
    input::Fields,
    lex, limits,
    output::short,
    port::{Cell, Column, Kind, Parameter, Prepared},
    run::{Run, Stop, deadline},
    session::{Session, Status},
    statement::{Statement, classify, tag},
    value,
};

/// A statement that was parsed; without one when its text was empty.
struct Held {
    sql: String,
    statement: Option<Statement>,
    parameters: Vec<Kind>,
    columns: Vec<Column>,
}

/// A statement with its parameters, perhaps half read.
struct Portal {
    held: Arc<Held>,
    parameters: Vec<Parameter>,
    /// One for all columns, or one for each; none means text.
    binary: Vec<bool>,
    run: Option<Run>,
    done: bool,
}

impl Portal {
    fn binary(&self, column: usize) -> bool {
        let one = if self.binary.len() == 1 { 0 } else { column };
        self.binary.get(one).copied().unwrap_or(false)
    }
}

/// What the extended protocol remembers between messages.
#[derive(Default)]
pub(crate) struct Extended {
    statements: HashMap<String, Arc<Held>>,
    portals: HashMap<String, Portal>,
    /// After an error, until the client synchronises.
    pub skipping: bool,
}

impl Extended {
    /// The end of a group of messages: portals live no longer than their transaction.
    pub fn sync(&mut self, session: &Session) {
        if session.status == Status::Idle {
            self.portals.clear();
        }
    }

    /// What a small statement makes invalid.
    pub fn forget(&mut self, statement: &Statement) {
        match statement {
            Statement::End { .. } => self.portals.clear(),
            Statement::Discard | Statement::Deallocate(None) => {
                self.statements.clear();
                self.portals.clear();
            }
            Statement::Deallocate(Some(name)) => {
                self.statements.remove(name);
            }
            _ => {}
        }
    }

    fn statement(&self, name: &str) -> Result<Arc<Held>, WireError> {
        let missing = || WireError::Missing { what: "prepared statement", name: name.to_owned() };
        self.statements.get(name).cloned().ok_or_else(missing)
    }

    fn portal(&mut self, name: &str) -> Result<&mut Portal, WireError> {
        let missing = || WireError::Missing { what: "portal", name: name.to_owned() };
        self.portals.get_mut(name).ok_or_else(missing)
    }
}

fn room(held: usize, most: usize, what: &'static str) -> Result<(), WireError> {
    let over = || WireError::TooLarge { what, limit: most.to_string() };
    if held < most { Ok(()) } else { Err(over()) }
}

impl Connection {
    pub async fn extended_message(&mut self, kind: u8, fields: &mut Fields) -> Result<(), Stop> {
        match kind {
            b'P' => self.parse(fields).await,
            b'B' => Ok(self.bind(fields)?),
            b'D' => Ok(self.describe(fields)?),
            b'E' => self.execute(fields).await,
            b'C' => Ok(self.close(fields)?),
            b'F' => Err(WireError::Unsupported("a function call".to_owned()).into()),
            _ => {
                let error = WireError::Protocol(format!("unknown message type {kind}"));
                Err(Stop::Fatal(error.into()))
            }
        }
    }

    async fn parse(&mut self, fields: &mut Fields) -> Result<(), Stop> {
        let name = fields.text()?;
        let sql = bounded(fields.text()?)?;
        let count = fields.count()?;
        let declared: Vec<Option<Kind>> =
            (0..count).map(|_| Kind::of_oid(fields.int()?)).collect::<Result<_, _>>()?;
        let statements = lex::split(&sql);
        if statements.len() > 1 {
            let text = "cannot insert multiple commands into a prepared statement";
            return Err(WireError::Syntax(text.to_owned()).into());
        }
        if !name.is_empty() && self.extended.statements.contains_key(&name) {
            let text = format!("prepared statement \"{name}\" already exists");
            return Err(WireError::Protocol(text).into());
        }
        let held = self.extended.statements.len();
        room(held, limits::STATEMENTS_MAX, "the number of prepared statements")?;
        let statement = statements.first().map(|sql| classify(sql)).transpose()?;
        if let Some(statement) = &statement {
            self.session.admit(statement)?;
        }
        let prepared = match &statement {
            Some(Statement::Query) => self.prepare(statements[0], declared).await?,
            Some(small) => Prepared { parameters: Vec::new(), columns: Session::columns(small) },
            None => Prepared::default(),
        };
        let sql = statements.first().copied().unwrap_or_default().to_owned();
        let Prepared { parameters, columns } = prepared;
        room(parameters.len(), limits::PARAMETERS_MAX + 1, "the number of parameters")?;
        let held = Arc::new(Held { sql, statement, parameters, columns });
        self.extended.statements.insert(name, held);
        self.link.output.empty(b'1');
        Ok(())
    }

    /// Plans a query on a thread of its own.
    async fn prepare(&mut self, sql: &str, declared: Vec<Option<Kind>>) -> Result<Prepared, Stop> {
        let (engine, text, cancel) = (Arc::clone(&self.engine), sql.to_owned(), Cancel::new());
        let seen = cancel.clone();
        let task = tokio::task::spawn_blocking(move || engine.prepare(&text, &declared, &seen));
        match self.link.watched(deadline(self.session.statement_ms_max()), task).await {
            Ok(Ok(Ok(prepared))) => Ok(prepared),
            Ok(Ok(Err(fault))) => {
                // The place is known only here, where the text is.
                self.fail(&fault, sql, 0);
                Err(Stop::Said)
            }
            Ok(Err(_)) => Err(WireError::Internal("the engine panicked".to_owned()).into()),
            Err(stop) => {
                cancel.cancel();
                Err(stop)
            }
        }
    }

    fn bind(&mut self, fields: &mut Fields) -> Result<(), WireError> {
        let (name, statement) = (fields.text()?, fields.text()?);
        let held = self.extended.statement(&statement)?;
        let forms = formats(fields)?;
        let count = fields.count()?;
        if count != held.parameters.len() {
            let wanted = held.parameters.len();
            let text = format!("{count} parameters were given where {wanted} are needed");
            return Err(WireError::Protocol(text));
        }
        let mut parameters = Vec::with_capacity(count);
        for (index, kind) in held.parameters.iter().enumerate() {
            let one = if forms.len() == 1 { 0 } else { index };
            let binary = forms.get(one).copied().unwrap_or(false);
            let cell = match fields.value()? {
                None => Cell::Null,
                Some(bytes) => value::read(*kind, binary, &bytes, index + 1)?,
            };
            parameters.push(Parameter { kind: *kind, cell });
        }
        let binary = formats(fields)?;
        let open = self.extended.portals.len();
        room(open, limits::PORTALS_MAX, "the number of open portals")?;
        let portal = Portal { held, parameters, binary, run: None, done: false };
        self.extended.portals.insert(name, portal);
        self.link.output.empty(b'2');
        Ok(())
    }

    fn describe(&mut self, fields: &mut Fields) -> Result<(), WireError> {
        let (what, name) = (fields.byte()?, fields.text()?);
        let output = &mut self.link.output;
        if what == b'S' {
            let held = self.extended.statement(&name)?;
            output.message(b't', |out| {
                out.put_i16(short(held.parameters.len()));
                held.parameters.iter().for_each(|kind| out.put_i32(kind.oid().0));
            });
            if held.columns.is_empty() {
                output.empty(b'n');
            } else {
                output.columns(&held.columns, |_| false);
            }
            return Ok(());
        }
        let portal = self.extended.portal(&name)?;
        if portal.held.columns.is_empty() {
            output.empty(b'n');
        } else {
            output.columns(&portal.held.columns, |column| portal.binary(column));
        }
        Ok(())
    }

    async fn execute(&mut self, fields: &mut Fields) -> Result<(), Stop> {
        let name = fields.text()?;
        let rows_max = u64::try_from(fields.int()?).ok().filter(|most| *most > 0);
        let held = Arc::clone(&self.extended.portal(&name)?.held);
        let Some(statement) = &held.statement else {
            self.link.output.empty(b'I');
            return Ok(());
        };
        self.session.admit(statement)?;
        let deadline = deadline(self.session.statement_ms_max());
        match statement {
            Statement::Query => {
                // Out of the map while it runs: an error leaves no half-read portal behind.
                self.extended.portal(&name)?;
                let Some(mut portal) = self.extended.portals.remove(&name) else { return Ok(()) };
                if portal.run.is_none() && !portal.done {
                    let parameters = std::mem::take(&mut portal.parameters);
                    let mut run = Run::start(&self.engine, &held.sql, parameters, deadline);
                    if run.columns(&mut self.link).await? != held.columns {
                        return Err(WireError::Changed.into());
                    }
                    portal.run = Some(run);
                }
                self.advance(&mut portal, rows_max).await?;
                self.extended.portals.insert(name, portal);
                Ok(())
            }
            Statement::Copy { query, format } => {
                let mut run = Run::start(&self.engine, query, Vec::new(), deadline);
                copy_out(&mut self.link, &mut run, format).await
            }
            small => Ok(self.small(small, false)?),
        }
    }

    /// Sends the next rows of a portal.
    async fn advance(&mut self, portal: &mut Portal, rows_max: Option<u64>) -> Result<(), Stop> {
        let word = tag(&portal.held.sql);
        let Some(mut run) = portal.run.take() else {
            self.link.output.complete(&format!("{word} 0"));
            return Ok(());
        };
        let mut sent = 0;
        loop {
            if rows_max.is_some_and(|most| sent >= most) {
                self.link.output.empty(b's');
                portal.run = Some(run);
                return Ok(());
            }
            let Some(row) = run.row(&mut self.link).await? else { break };
            self.link.output.row(&portal.held.columns, &row, |column| portal.binary(column));
            self.link.output.relieve().await?;
            sent += 1;
        }
        portal.done = true;
        self.link.output.complete(&format!("{word} {sent}"));
        Ok(())
    }

    fn close(&mut self, fields: &mut Fields) -> Result<(), WireError> {
        let (what, name) = (fields.byte()?, fields.text()?);
        if what == b'S' {
            self.extended.statements.remove(&name);
        } else {
            self.extended.portals.remove(&name);
        }
        self.link.output.empty(b'3');
        Ok(())
    }
}

/// A list of forms: false for text, true for binary.
fn formats(fields: &mut Fields) -> Result<Vec<bool>, WireError> {
    let count = fields.count()?;
    (0..count)
        .map(|_| match fields.short()? {
            0 => Ok(false),
            1 => Ok(true),
            other => Err(WireError::Protocol(format!("unknown format {other}"))),
        })
        .collect()
}
