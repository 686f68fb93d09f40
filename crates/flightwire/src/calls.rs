//! What does each call of Flight do here? One method per call, for a caller who was let in.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use futures::stream;
use tonic::{Status, Streaming};

use crate::{
    admit::Caller,
    batches, bind,
    commands::{self, Command},
    door::Door,
    error::FlightError,
    limits,
    messages::{
        Action, ActionResult, ActionType, Data, Descriptor, Empty, Endpoint, Handle, Info,
        PreparedResult, PutResult, SchemaResult, Ticket,
    },
    port::{Described, Query},
    run::{Messages, Run},
};

/// A descriptor that holds a command.
const COMMAND: i32 = 2;
/// What may be done besides asking for flights.
const ACTIONS: &[(&str, &str)] = &[
    ("CreatePreparedStatement", "prepares a query"),
    ("ClosePreparedStatement", "forgets a prepared query"),
];

/// One call.
#[derive(Clone)]
pub(crate) struct Call {
    pub door: Arc<Door>,
    pub caller: Caller,
}

impl Call {
    /// `GetFlightInfo`: the columns of a result, and the ticket for its rows.
    pub async fn info(self, descriptor: Descriptor) -> Result<Info, Status> {
        let command = self.command(&descriptor)?;
        let ticket = match &command {
            Command::Query(sql) => Command::ticket(sql),
            Command::Prepared(handle) => {
                self.door.statements.ready(handle, &self.caller)?;
                descriptor.command.clone()
            }
            Command::Listing(_) => descriptor.command.clone(),
        };
        let schema = self.columns(command).await?;
        let endpoints = vec![Endpoint { ticket: Some(Ticket { ticket }) }];
        Ok(Info { schema, descriptor: Some(descriptor), endpoints, records: -1, bytes: -1 })
    }

    /// `GetSchema`: the columns alone.
    pub async fn schema(self, descriptor: Descriptor) -> Result<SchemaResult, Status> {
        let command = self.command(&descriptor)?;
        Ok(SchemaResult { schema: self.columns(command).await? })
    }

    /// `DoGet`: the rows. The query in the ticket is planned and judged as if it had just come.
    pub async fn get(self, ticket: Ticket) -> Result<Messages, Status> {
        let query = match Command::read(&ticket.ticket)? {
            Command::Query(sql) => Query { sql, values: None },
            Command::Prepared(handle) => self.door.statements.ready(&handle, &self.caller)?,
            Command::Listing(listing) => {
                let answer =
                    self.door.ask(move |engine, cancel| listing.answer(engine, cancel)).await?;
                let columns = answer.schema();
                let mut messages = vec![batches::first(&columns)];
                let rows = batches::encode(&answer, &columns).map_err(FlightError::from)?;
                messages.extend(rows);
                return Ok(Box::pin(stream::iter(messages.into_iter().map(Ok))));
            }
        };
        Ok(Run::start(&self.door, query).await?.messages())
    }

    /// `DoPut`: values for a prepared statement. Whatever else is put would change something.
    pub async fn put(self, mut sent: Streaming<Data>) -> Result<PutResult, Status> {
        let first = sent.message().await?;
        let first = first.ok_or_else(|| FlightError::Malformed("nothing was put".to_owned()))?;
        let named = || FlightError::Malformed("what is put has no descriptor".to_owned());
        let handle = match self.command(first.descriptor.as_ref().ok_or_else(named)?)? {
            Command::Prepared(handle) => handle,
            _ => return Err(FlightError::ReadOnly("what is put".to_owned()).into()),
        };
        let parameters = self.door.statements.parameters(&handle, &self.caller)?;
        // All that is put is held until it is read.
        let _seat = self.door.seat()?;
        // However slowly they come: nobody keeps a seat for longer.
        let limit = Duration::from_secs(limits::PUT_SECONDS);
        let messages = tokio::time::timeout(limit, gather(first, &mut sent)).await;
        let messages = messages.map_err(|_| Status::from(FlightError::Silent(limit)))??;
        let values = tokio::task::spawn_blocking(move || bind::row(&messages, parameters)).await;
        // The decoder of foreign bytes may break on what it did not expect; nothing else does then.
        let wrong = |_| FlightError::Malformed("the values cannot be read".to_owned());
        self.door.statements.bind(&handle, &self.caller, values.map_err(wrong)??)?;
        Ok(PutResult { metadata: message(&Handle { handle }) })
    }

    /// `DoAction`: prepares a statement or forgets one.
    pub async fn act(self, action: Action) -> Result<Vec<ActionResult>, Status> {
        match action.kind.as_str() {
            "CreatePreparedStatement" => {
                let prepared = self.prepare(commands::to_prepare(&action.body)?).await?;
                let body = commands::wrap("ActionCreatePreparedStatementResult", &prepared);
                Ok(vec![ActionResult { body }])
            }
            "ClosePreparedStatement" => {
                let handle = commands::to_close(&action.body)?;
                self.door.statements.close(&handle, &self.caller);
                Ok(Vec::new())
            }
            other => Err(FlightError::Unsupported(format!("the action {other}")).into()),
        }
    }

    /// `ListActions`.
    pub async fn actions(self, _: Empty) -> Result<Vec<ActionType>, Status> {
        let action = |(kind, description): &(&str, &str)| ActionType {
            kind: (*kind).to_owned(),
            description: (*description).to_owned(),
        };
        Ok(ACTIONS.iter().map(action).collect())
    }

    async fn prepare(&self, sql: String) -> Result<PreparedResult, Status> {
        let described = self.describe(Query { sql: sql.clone(), values: None }).await?;
        let parameters = described.parameters.fields().len();
        if parameters > limits::PARAMETERS_MAX {
            let limit = format!("{} parameters", limits::PARAMETERS_MAX);
            return Err(FlightError::TooLarge { what: "the statement", limit }.into());
        }
        let alone = |schema: &_| batches::schema_alone(schema).map_err(FlightError::from);
        let columns = alone(&*batches::plain(&described.columns))?;
        let named = alone(&*batches::plain(&described.parameters))?;
        let handle = self.door.statements.keep(&self.caller, sql, parameters)?;
        Ok(PreparedResult { handle, columns, parameters: named })
    }

    fn command(&self, descriptor: &Descriptor) -> Result<Command, FlightError> {
        if descriptor.kind != COMMAND {
            return Err(FlightError::Unsupported("a flight by its path".to_owned()));
        }
        Command::read(&descriptor.command)
    }

    async fn columns(&self, command: Command) -> Result<Bytes, Status> {
        let columns = match command {
            Command::Query(sql) => self.describe(Query { sql, values: None }).await?.columns,
            Command::Prepared(handle) => {
                let query = self.door.statements.query(&handle, &self.caller)?;
                self.describe(query).await?.columns
            }
            // These are told as the protocol prescribes them.
            Command::Listing(listing) => {
                return Ok(batches::schema_alone(&listing.columns()).map_err(FlightError::from)?);
            }
        };
        Ok(batches::schema_alone(&batches::plain(&columns)).map_err(FlightError::from)?)
    }

    async fn describe(&self, query: Query) -> Result<Described, Status> {
        self.door.ask(move |engine, cancel| engine.describe(&query, cancel)).await
    }
}

/// Everything that a client puts, within its bounds.
async fn gather(first: Data, sent: &mut Streaming<Data>) -> Result<Vec<Data>, Status> {
    let mut bytes = first.header.len() + first.body.len();
    let mut messages = vec![first];
    while let Some(data) = sent.message().await? {
        bytes += data.header.len() + data.body.len();
        if bytes > limits::MESSAGE_BYTES_MAX || messages.len() >= limits::BIND_MESSAGES_MAX {
            let (size, most) = (limits::MESSAGE_BYTES_MAX, limits::BIND_MESSAGES_MAX);
            let limit = format!("{size} bytes in {most} messages");
            return Err(FlightError::TooLarge { what: "what is bound", limit }.into());
        }
        messages.push(data);
    }
    Ok(messages)
}

fn message(message: &impl prost::Message) -> Bytes {
    message.encode_to_vec().into()
}
