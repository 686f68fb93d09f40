//! How do we speak with a server? Version 3 of its protocol over one connection: simple queries, COPY
//! out of it, and the stream of a replication slot. All values are text. This is the only file that
//! knows the messages.

use std::{fmt, path::Path, time::Duration};

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpStream, UnixStream},
    time::timeout,
};

use super::{address::Address, fault::PostgresFault, tls};

/// How long a server may take to take up a connection.
const CONNECT: Duration = Duration::from_secs(10);
/// How long a server may be silent while it owes an answer. Making a slot waits for the
/// transactions that are open, and a copy may begin with a sort.
const ANSWER: Duration = Duration::from_secs(300);
/// Largest message that is read: a row with its values.
const MESSAGE_BYTES_MAX: usize = 256 << 20;
/// Most rows of an answer that is read whole.
const ANSWER_ROWS_MAX: usize = 100_000;
/// How much is read from the connection at once.
const READ_BYTES: usize = 64 << 10;

/// What asks for encryption, in the place of a version of the protocol.
const ENCRYPT: u32 = 80_877_103;

pub(super) type Result<T> = std::result::Result<T, PostgresFault>;

trait Pipe: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Pipe for T {}

/// What a server says when it refuses.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct ServerError {
    /// The SQLSTATE.
    pub(super) code: String,
    pub(super) message: String,
    pub(super) detail: String,
}

impl fmt::Display for ServerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        if !self.detail.is_empty() {
            write!(f, " ({})", self.detail)?;
        }
        write!(f, ", SQLSTATE {}", self.code)
    }
}

/// Why a query gave no answer: the server's own words, or a fault of the connection.
#[derive(Debug)]
pub(super) enum QueryError {
    Server(ServerError),
    Fault(PostgresFault),
}

impl From<QueryError> for PostgresFault {
    fn from(error: QueryError) -> Self {
        match error {
            QueryError::Server(error) => Self::of_server(&error),
            QueryError::Fault(fault) => fault,
        }
    }
}

/// A column as the server describes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Described {
    pub(super) name: String,
    #[serde(rename = "type")]
    pub(super) type_oid: u32,
    pub(super) modifier: i32,
    /// Its number in its table, which no other column of it ever has.
    pub(super) number: i16,
}

/// The answer to a query.
#[derive(Debug, Default)]
pub(super) struct Answer {
    pub(super) columns: Vec<Described>,
    pub(super) rows: Vec<Vec<Option<String>>>,
}

impl Answer {
    /// The one value of the one row; `None` when it is null or there is no row.
    pub(super) fn value(&self) -> Option<&str> {
        self.rows.first()?.first()?.as_deref()
    }
}

/// A message of the server.
pub(super) struct Message {
    pub(super) tag: u8,
    pub(super) body: Bytes,
}

/// A connection that is signed in.
pub(super) struct Connection {
    pipe: Box<dyn Pipe>,
    inbox: BytesMut,
    server: String,
}

impl Connection {
    /// Connects and signs in. A connection for replication takes commands of replication besides SQL.
    pub(super) async fn open(
        address: &Address,
        replication: bool,
        ca: Option<&Path>,
    ) -> Result<Self> {
        let server = address.to_string();
        let silent = || PostgresFault::Unreachable {
            server: server.clone(),
            reason: format!("nothing was heard for {} s", CONNECT.as_secs()),
        };
        let opening = async {
            let pipe = connect(address, ca).await?;
            let mut connection = Self { pipe, inbox: BytesMut::new(), server: server.clone() };
            connection.sign_in(address, replication).await?;
            Ok(connection)
        };
        timeout(CONNECT, opening).await.map_err(|_| silent())?
    }

    /// The answer to a query, read whole.
    pub(super) async fn query(&mut self, sql: &str) -> Result<Answer> {
        Ok(self.try_query(sql).await?)
    }

    /// The same, with the server's own words when it refuses.
    pub(super) async fn try_query(&mut self, sql: &str) -> std::result::Result<Answer, QueryError> {
        self.ask(sql).await.map_err(QueryError::Fault)?;
        let mut answer = Answer::default();
        let mut refused = None;
        loop {
            let message = self.message().await.map_err(QueryError::Fault)?;
            let read = match message.tag {
                b'T' => columns(message.body).map(|columns| answer.columns = columns),
                b'D' if answer.rows.len() >= ANSWER_ROWS_MAX => {
                    return Err(QueryError::Fault(self.odd(&"it gave too many rows")));
                }
                b'D' => row(message.body).map(|row| answer.rows.push(row)),
                b'E' => {
                    refused = Some(server_error(&message.body));
                    Some(())
                }
                b'Z' => return refused.map_or(Ok(answer), |error| Err(QueryError::Server(error))),
                _ => Some(()),
            };
            read.ok_or_else(|| QueryError::Fault(self.short()))?;
        }
    }

    /// Begins to read rows with COPY.
    pub(super) async fn copy_out(&mut self, sql: &str) -> Result<()> {
        self.ask(sql).await?;
        self.until(b'H').await
    }

    /// The next row of a COPY; none after the last.
    pub(super) async fn copied(&mut self) -> Result<Option<Bytes>> {
        loop {
            let message = self.message().await?;
            match message.tag {
                b'd' => return Ok(Some(message.body)),
                b'E' => return Err(self.refused(&message.body).await?),
                b'Z' => return Ok(None),
                _ => {}
            }
        }
    }

    /// Begins to read a slot; the server's own words when it refuses.
    pub(super) async fn start_replication(
        &mut self,
        sql: &str,
    ) -> std::result::Result<(), QueryError> {
        self.ask(sql).await.map_err(QueryError::Fault)?;
        loop {
            let message = self.message().await.map_err(QueryError::Fault)?;
            match message.tag {
                b'W' => return Ok(()),
                b'E' => return Err(QueryError::Server(server_error(&message.body))),
                b'Z' => return Err(QueryError::Fault(self.short())),
                _ => {}
            }
        }
    }

    /// Reads on, after a refusal, until the server takes the next query.
    pub(super) async fn ready(&mut self) -> Result<()> {
        while self.message().await?.tag != b'Z' {}
        Ok(())
    }

    /// What the slot's stream has next; none when nothing comes for so long.
    pub(super) async fn streamed(&mut self, wait: Duration) -> Result<Option<Bytes>> {
        loop {
            let Some(message) = self.message_within(wait).await? else { return Ok(None) };
            match message.tag {
                b'd' => return Ok(Some(message.body)),
                b'E' => return Err(PostgresFault::of_server(&server_error(&message.body))),
                b'c' | b'C' | b'Z' => return Err(self.broken("it ended the stream")),
                _ => {}
            }
        }
    }

    /// Sends a message into the slot's stream.
    pub(super) async fn answer(&mut self, body: &[u8]) -> Result<()> {
        self.send(&framed(Some(b'd'), body)?).await
    }

    /// Takes leave, so that a slot is free at once. A server that is gone has no slot in use.
    pub(super) async fn close(mut self, streaming: bool) {
        // CopyDone, and Terminate.
        let out: &[u8] = if streaming { b"c\0\0\0\x04X\0\0\0\x04" } else { b"X\0\0\0\x04" };
        if self.send(out).await.is_ok() {
            timeout(CONNECT, self.pipe.shutdown()).await.ok();
        }
    }

    async fn ask(&mut self, sql: &str) -> Result<()> {
        let query = self.text(sql)?;
        self.send(&framed(Some(b'Q'), &query)?).await
    }

    /// Reads up to a message of this kind.
    async fn until(&mut self, tag: u8) -> Result<()> {
        loop {
            let message = self.message().await?;
            match message.tag {
                found if found == tag => return Ok(()),
                b'E' => return Err(self.refused(&message.body).await?),
                b'Z' => return Err(self.short()),
                _ => {}
            }
        }
    }

    /// The fault of an error message; reads on until the server takes the next query.
    async fn refused(&mut self, body: &Bytes) -> Result<PostgresFault> {
        let fault = PostgresFault::of_server(&server_error(body));
        self.ready().await?;
        Ok(fault)
    }

    pub(super) async fn send(&mut self, bytes: &[u8]) -> Result<()> {
        let sent = async {
            self.pipe.write_all(bytes).await?;
            self.pipe.flush().await
        };
        match timeout(ANSWER, sent).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(self.broken(&error.to_string())),
            Err(_) => Err(self.broken("it takes nothing")),
        }
    }

    pub(super) async fn message(&mut self) -> Result<Message> {
        let found = self.message_within(ANSWER).await?;
        found.ok_or_else(|| self.broken(&format!("nothing was heard for {} s", ANSWER.as_secs())))
    }

    async fn message_within(&mut self, wait: Duration) -> Result<Option<Message>> {
        loop {
            if let Some(message) = self.whole()? {
                return Ok(Some(message));
            }
            self.inbox.reserve(READ_BYTES);
            match timeout(wait, self.pipe.read_buf(&mut self.inbox)).await {
                Ok(Ok(0)) => return Err(self.broken("it closed the connection")),
                Ok(Ok(_)) => {}
                Ok(Err(error)) => return Err(self.broken(&error.to_string())),
                Err(_) => return Ok(None),
            }
        }
    }

    /// The next message, when all of it is there.
    fn whole(&mut self) -> Result<Option<Message>> {
        let Some(head) = self.inbox.first_chunk::<5>() else { return Ok(None) };
        let tag = head[0];
        let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize;
        if !(4..=MESSAGE_BYTES_MAX).contains(&length) {
            return Err(self.odd(&format!("it sent a message of {length} bytes")));
        }
        if self.inbox.len() <= length {
            self.inbox.reserve(length + 1 - self.inbox.len());
            return Ok(None);
        }
        self.inbox.advance(5);
        Ok(Some(Message { tag, body: self.inbox.split_to(length - 4).freeze() }))
    }

    /// A text with the zero that ends it.
    pub(super) fn text(&self, text: &str) -> Result<Vec<u8>> {
        if text.contains('\0') {
            return Err(self.odd(&"a text with a zero in it cannot be sent"));
        }
        Ok([text.as_bytes(), &[0]].concat())
    }

    fn broken(&self, reason: &str) -> PostgresFault {
        PostgresFault::Unreachable { server: self.server.clone(), reason: reason.to_owned() }
    }

    pub(super) fn short(&self) -> PostgresFault {
        self.odd(&"it sent a message that is not whole")
    }

    pub(super) fn odd(&self, reason: &dyn fmt::Display) -> PostgresFault {
        PostgresFault::Failed { reason: reason.to_string() }
    }
}

async fn connect(address: &Address, ca: Option<&Path>) -> Result<Box<dyn Pipe>> {
    let unreachable = |error: std::io::Error| PostgresFault::Unreachable {
        server: address.to_string(),
        reason: error.to_string(),
    };
    if let Some(socket) = address.socket() {
        return Ok(Box::new(UnixStream::connect(socket).await.map_err(unreachable)?));
    }
    let mut stream =
        TcpStream::connect((&*address.host, address.port)).await.map_err(unreachable)?;
    stream.set_nodelay(true).map_err(unreachable)?;
    if !address.tls {
        return Ok(Box::new(stream));
    }
    let request = framed(None, &ENCRYPT.to_be_bytes())?;
    stream.write_all(&request).await.map_err(unreachable)?;
    // Only this one byte is read before the encryption begins: what comes with it is not trusted.
    if stream.read_u8().await.map_err(unreachable)? != b'S' {
        let reason = "the server does not encrypt connections; sslmode=disable does without";
        return Err(PostgresFault::Refused { reason: reason.to_owned() });
    }
    Ok(Box::new(tls::encrypt(stream, &address.host, ca).await?))
}

pub(super) fn length_of(text: &str) -> Result<u32> {
    let odd = |_| PostgresFault::Failed { reason: "a message is too long".to_owned() };
    u32::try_from(text.len()).map_err(odd)
}

/// A message with its length; the first ones of a connection have no kind.
pub(super) fn framed(kind: Option<u8>, body: &[u8]) -> Result<BytesMut> {
    let odd = |_| PostgresFault::Failed { reason: "a message is too long".to_owned() };
    let length = u32::try_from(body.len() + 4).map_err(odd)?;
    let mut out = BytesMut::with_capacity(body.len() + 5);
    out.extend(kind);
    out.put_u32(length);
    out.extend_from_slice(body);
    Ok(out)
}

pub(super) fn server_error(body: &[u8]) -> ServerError {
    let mut error = ServerError::default();
    for field in body.split(|byte| *byte == 0) {
        let [kind, text @ ..] = field else { continue };
        let text = String::from_utf8_lossy(text).into_owned();
        match kind {
            b'C' => error.code = text,
            b'M' => error.message = text,
            b'D' => error.detail = text,
            _ => {}
        }
    }
    error
}

fn columns(mut body: Bytes) -> Option<Vec<Described>> {
    let count = body.try_get_u16().ok()?;
    let mut columns = Vec::with_capacity(count.into());
    for _ in 0..count {
        let end = body.iter().position(|byte| *byte == 0)?;
        let name = String::from_utf8(body.split_to(end).to_vec()).ok()?;
        // The zero and the table.
        body.try_copy_to_slice(&mut [0; 5]).ok()?;
        let number = body.try_get_i16().ok()?;
        let type_oid = body.try_get_u32().ok()?;
        body.try_get_i16().ok()?;
        let modifier = body.try_get_i32().ok()?;
        body.try_get_i16().ok()?;
        columns.push(Described { name, type_oid, modifier, number });
    }
    Some(columns)
}

fn row(mut body: Bytes) -> Option<Vec<Option<String>>> {
    let count = body.try_get_u16().ok()?;
    let mut row = Vec::with_capacity(count.into());
    for _ in 0..count {
        let length = body.try_get_i32().ok()?;
        let Ok(length) = usize::try_from(length) else {
            row.push(None);
            continue;
        };
        if body.len() < length {
            return None;
        }
        row.push(Some(String::from_utf8_lossy(&body.split_to(length)).into_owned()));
    }
    Some(row)
}
