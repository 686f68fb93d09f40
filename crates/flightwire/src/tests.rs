//! Does the door keep its promises to a client that knows only the protocol? A scripted engine
//! answers, over real connections.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::{
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use arrow::{
    array::{AsArray as _, Int64Array, RecordBatch},
    datatypes::{DataType, Field, Int64Type, Schema, SchemaRef},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use futures::stream;
use hyper::{Request, Response, body::Incoming, client::conn::http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message;
use sextant_core::{Cancel, Gatekeeper};
use tokio::{net::TcpStream, sync::mpsc};
use tonic::{Code, Status, Streaming, body::Body, client::Grpc};
use tonic_prost::ProstCodec;

use crate::{
    Described, Fault, FlightEngine, FlightError, FlightServer, Portion, Query, TableName, batches,
    bind, commands, limits,
    messages::{
        Action, ActionResult, Any, Data, Descriptor, Empty, GetTables, Handle, Handshake, Info,
        PreparedResult, PutResult, StatementQuery, Ticket,
    },
    serve,
};

/// `fail` fails at line 1, column 8; `wait` runs until it is stopped, `endless` gives rows until
/// then; all else gives three rows that begin with the first parameter, or 7.
#[derive(Default)]
struct Script {
    running: AtomicUsize,
    stopped: AtomicUsize,
}

fn number() -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new("n", DataType::Int64, false)]))
}

fn rows(first: i64) -> RecordBatch {
    let numbers = Int64Array::from_iter_values(first..first + 3);
    RecordBatch::try_new(number(), vec![Arc::new(numbers)]).unwrap()
}

impl FlightEngine for Script {
    fn describe(&self, query: &Query, _: &Cancel) -> Result<Described, Fault> {
        if query.sql.contains("fail") {
            let fault = Fault::from(FlightError::Malformed("no such thing".to_owned()));
            return Err(Fault { at: Some((1, 8)), ..fault });
        }
        let count = query.sql.matches('$').count();
        let field = |index| Field::new(format!("${index}"), DataType::Int64, true);
        let parameters = (1..=count).map(field).collect::<Vec<_>>();
        Ok(Described { columns: number(), parameters: Arc::new(Schema::new(parameters)) })
    }

    fn run(
        &self,
        query: &Query,
        portions: mpsc::Sender<Portion>,
        cancel: &Cancel,
    ) -> Result<(), Fault> {
        self.describe(query, cancel)?;
        let first = |batch: &RecordBatch| batch.column(0).as_primitive::<Int64Type>().value(0);
        let first = query.values.as_ref().map_or(7, first);
        portions.blocking_send(Portion::Columns(number())).unwrap();
        self.running.fetch_add(1, Ordering::SeqCst);
        while query.sql.contains("wait") && !cancel.is_cancelled() {
            std::thread::sleep(Duration::from_millis(5));
        }
        let mut sent = portions.blocking_send(Portion::Rows(rows(first)));
        while query.sql.contains("endless") && sent.is_ok() {
            sent = portions.blocking_send(Portion::Rows(rows(first)));
        }
        self.running.fetch_sub(1, Ordering::SeqCst);
        self.stopped.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }

    fn catalog(&self) -> &'static str {
        "sextant"
    }

    fn tables(&self, _: &Cancel) -> Result<Vec<TableName>, Fault> {
        let name = |schema: &str, table: &str| TableName {
            schema: schema.to_owned(),
            table: table.to_owned(),
        };
        Ok(vec![name("public", "sections"), name("shop", "orders"), name("public", "orders")])
    }

    fn columns(&self, _: &TableName, _: &Cancel) -> Result<SchemaRef, Fault> {
        Ok(number())
    }
}

/// Two keys may read; whether none is needed is asked at every connection.
struct Gate {
    trusting: bool,
}

impl Gatekeeper for Gate {
    fn trusts(&self, _: SocketAddr, _: SocketAddr) -> bool {
        self.trusting
    }

    fn may_read(&self, key: &str) -> bool {
        key == GOOD || key == OTHER
    }
}

const GOOD: &str = "sxt_good";
const OTHER: &str = "sxt_other";

/// One connection of HTTP/2.
struct Wire(http2::SendRequest<Body>);

type Sent = Pin<Box<dyn Future<Output = hyper::Result<Response<Incoming>>> + Send>>;

impl tower::Service<Request<Body>> for Wire {
    type Response = Response<Incoming>;
    type Error = hyper::Error;
    type Future = Sent;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<hyper::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Sent {
        Box::pin(self.0.send_request(request))
    }
}

struct Client {
    grpc: Grpc<Wire>,
    authorization: Option<String>,
}

impl Client {
    async fn connect(addr: SocketAddr, key: Option<&str>) -> Self {
        let stream = TcpStream::connect(addr).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let stream = TokioIo::new(stream);
        let (sender, connection) = http2::handshake(TokioExecutor::new(), stream).await.unwrap();
        tokio::spawn(connection);
        let origin = format!("http://{addr}").parse().unwrap();
        let authorization = key.map(|key| format!("Bearer {key}"));
        Self { grpc: Grpc::with_origin(Wire(sender), origin), authorization }
    }

    async fn open<I, O>(&mut self, name: &str, sent: Vec<I>) -> Result<Streaming<O>, Status>
    where
        I: Message + Send + Sync + 'static,
        O: Message + Default + Send + 'static,
    {
        let path = format!("/arrow.flight.protocol.FlightService/{name}").parse().unwrap();
        let mut request = tonic::Request::new(stream::iter(sent));
        if let Some(word) = &self.authorization {
            request.metadata_mut().insert("authorization", word.parse().unwrap());
        }
        let response = self.grpc.streaming(request, path, ProstCodec::<I, O>::default()).await?;
        if let Some(word) = response.metadata().get("authorization") {
            self.authorization = Some(word.to_str().unwrap().to_owned());
        }
        Ok(response.into_inner())
    }

    async fn all<I, O>(&mut self, name: &str, sent: Vec<I>) -> Result<Vec<O>, Status>
    where
        I: Message + Send + Sync + 'static,
        O: Message + Default + Send + 'static,
    {
        let mut stream = self.open(name, sent).await?;
        let mut found = Vec::new();
        while let Some(message) = stream.message().await? {
            found.push(message);
        }
        Ok(found)
    }

    async fn info(&mut self, command: Bytes) -> Result<Info, Status> {
        let mut found: Vec<Info> = self.all("GetFlightInfo", vec![descriptor(command)]).await?;
        Ok(found.remove(0))
    }

    async fn fetch(&mut self, ticket: Bytes) -> Result<Vec<RecordBatch>, Status> {
        let found: Vec<Data> = self.all("DoGet", vec![Ticket { ticket }]).await?;
        Ok(bind::batches(&found).unwrap())
    }

    async fn numbers(&mut self, command: Bytes) -> Result<Vec<i64>, Status> {
        let info = self.info(command).await?;
        let ticket = info.endpoints[0].ticket.clone().unwrap().ticket;
        let column = |batch: &RecordBatch| batch.column(0).as_primitive::<Int64Type>().clone();
        let found = self.fetch(ticket).await?;
        Ok(found.iter().flat_map(|batch| column(batch).values().to_vec()).collect())
    }

    async fn act(&mut self, kind: &str, body: Bytes) -> Result<Vec<ActionResult>, Status> {
        self.all("DoAction", vec![Action { kind: kind.to_owned(), body }]).await
    }

    async fn prepare(&mut self, sql: &str) -> Result<Bytes, Status> {
        let asked = StatementQuery { query: sql.to_owned(), transaction: None };
        let body = commands::wrap("ActionCreatePreparedStatementRequest", &asked);
        let found = self.act("CreatePreparedStatement", body).await?;
        let any = Any::decode(found[0].body.clone()).unwrap();
        Ok(PreparedResult::decode(any.value).unwrap().handle)
    }

    async fn bind(&mut self, handle: &Bytes, mut data: Vec<Data>) -> Result<(), Status> {
        data[0].descriptor = Some(descriptor(prepared(handle)));
        self.all::<_, PutResult>("DoPut", data).await.map(drop)
    }
}

fn descriptor(command: Bytes) -> Descriptor {
    Descriptor { kind: 2, command, path: Vec::new() }
}

fn query(sql: &str) -> Bytes {
    let query = StatementQuery { query: sql.to_owned(), transaction: None };
    commands::wrap("CommandStatementQuery", &query)
}

fn prepared(handle: &Bytes) -> Bytes {
    commands::wrap("CommandPreparedStatementQuery", &Handle { handle: handle.clone() })
}

/// The messages that carry this row.
fn values(row: &RecordBatch) -> Vec<Data> {
    let columns = row.schema();
    let mut messages = vec![batches::first(&columns)];
    messages.extend(batches::encode(row, &columns).unwrap());
    messages
}

fn check(trusting: bool, test: impl AsyncFnOnce(SocketAddr, Arc<Script>, FlightServer)) {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let script = Arc::new(Script::default());
        let addr = ([127, 0, 0, 1], 0).into();
        let server = serve(addr, script.clone(), Arc::new(Gate { trusting })).await.unwrap();
        let limit = Duration::from_secs(60);
        let test = test(server.addr, script, server);
        tokio::time::timeout(limit, test).await.expect("the test takes too long");
    });
}

/// Waits for what another thread does.
async fn until(done: impl Fn() -> bool) {
    while !done() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn code<T: std::fmt::Debug>(result: Result<T, Status>) -> Code {
    result.unwrap_err().code()
}

#[test]
fn every_call_needs_a_key() {
    check(false, async |addr, _, _server| {
        let ticket = commands::Command::ticket("select 1");
        for key in [None, Some("sxt_bad"), Some("good"), Some("trusted")] {
            let mut client = Client::connect(addr, key).await;
            assert_eq!(code(client.info(query("select 1")).await), Code::Unauthenticated);
            assert_eq!(code(client.fetch(ticket.clone()).await), Code::Unauthenticated);
            assert_eq!(code(client.prepare("select 1").await), Code::Unauthenticated);
            for name in ["Handshake", "ListFlights", "ListActions", "DoExchange", "Anything"] {
                let found = client.all::<Empty, Empty>(name, vec![Empty {}]).await;
                assert_eq!(code(found), Code::Unauthenticated, "{name} {key:?}");
            }
        }
        let mut client = Client::connect(addr, Some(GOOD)).await;
        assert_eq!(client.numbers(query("select 1")).await.unwrap(), [7, 8, 9]);
        // A name and a password, and then the word that came back.
        client.authorization = Some(format!("Basic {}", STANDARD.encode(format!("me:{GOOD}"))));
        let none: Vec<Handshake> = client.all::<Handshake, _>("Handshake", vec![]).await.unwrap();
        assert!(none.is_empty());
        assert_eq!(client.authorization.as_deref(), Some("Bearer sxt_good"));
        assert_eq!(client.numbers(query("select 1")).await.unwrap(), [7, 8, 9]);
    });
}

#[test]
fn a_trusted_client_needs_no_key_but_a_wrong_one_is_refused() {
    check(true, async |addr, _, _server| {
        let mut client = Client::connect(addr, None).await;
        assert_eq!(client.numbers(query("select 1")).await.unwrap(), [7, 8, 9]);
        client.authorization = Some("Bearer sxt_bad".to_owned());
        assert_eq!(code(client.info(query("select 1")).await), Code::Unauthenticated);
    });
}

#[test]
fn statements_are_prepared_bound_and_kept_apart() {
    check(false, async |addr, _, _server| {
        let mut client = Client::connect(addr, Some(GOOD)).await;
        let handle = client.prepare("select $1").await.unwrap();
        let unbound = client.info(prepared(&handle)).await.unwrap_err();
        assert!(unbound.message().starts_with("SXT-7210"), "{unbound}");
        client.bind(&handle, values(&rows(30).slice(1, 1))).await.unwrap();
        assert_eq!(client.numbers(prepared(&handle)).await.unwrap(), [31, 32, 33]);
        // What does not fit leaves the values as they were.
        let two_columns = RecordBatch::try_from_iter([
            ("a", rows(1).column(0).clone()),
            ("b", rows(1).column(0).clone()),
        ]);
        let bad =
            [values(&rows(1)), values(&two_columns.unwrap().slice(0, 1)), vec![Data::default()]];
        for data in bad {
            let told = client.bind(&handle, data).await.unwrap_err();
            assert!(told.message().starts_with("SXT-7210"), "{told}");
        }
        assert_eq!(client.numbers(prepared(&handle)).await.unwrap(), [31, 32, 33]);
        let mut other = Client::connect(addr, Some(OTHER)).await;
        assert_eq!(code(other.fetch(prepared(&handle)).await), Code::NotFound);
        let close = commands::wrap(
            "ActionClosePreparedStatementRequest",
            &Handle { handle: handle.clone() },
        );
        other.act("ClosePreparedStatement", close.clone()).await.unwrap();
        assert_eq!(client.numbers(prepared(&handle)).await.unwrap(), [31, 32, 33]);
        client.act("ClosePreparedStatement", close).await.unwrap();
        assert_eq!(code(client.fetch(prepared(&handle)).await), Code::NotFound);
    });
}

#[test]
fn what_is_prepared_has_a_bound() {
    check(false, async |addr, _, _server| {
        let mut client = Client::connect(addr, Some(GOOD)).await;
        for _ in 0..limits::STATEMENTS_PER_CALLER_MAX {
            client.prepare("select 1").await.unwrap();
        }
        assert_eq!(code(client.prepare("select 1").await), Code::ResourceExhausted);
        let mut other = Client::connect(addr, Some(OTHER)).await;
        other.prepare("select 1").await.unwrap();
        let long = "x".repeat(limits::STATEMENT_BYTES_MAX + 1);
        assert_eq!(code(other.info(query(&long)).await), Code::ResourceExhausted);
    });
}

#[test]
fn damaged_values_harm_nobody() {
    check(true, async |addr, _, _server| {
        let mut client = Client::connect(addr, None).await;
        let handle = client.prepare("select $1").await.unwrap();
        let good = values(&rows(30).slice(0, 1));
        for message in 0..good.len() {
            for place in 0..good[message].header.len() {
                let mut data = good.clone();
                let mut header = data[message].header.to_vec();
                header[place] ^= 0xff;
                data[message].header = header.into();
                // Some damage changes nothing that matters; what counts is that each is answered.
                let _ = client.bind(&handle, data).await;
            }
        }
        for cut in 0..good[1].body.len() {
            let mut data = good.clone();
            data[1].body.truncate(cut);
            let _ = client.bind(&handle, data).await;
        }
        client.bind(&handle, good).await.unwrap();
        assert_eq!(client.numbers(prepared(&handle)).await.unwrap(), [30, 31, 32]);
    });
}

#[test]
fn what_writes_is_refused() {
    check(true, async |addr, _, _server| {
        let mut client = Client::connect(addr, None).await;
        let handle = client.prepare("select $1").await.unwrap();
        let update = StatementQuery { query: "delete from x".to_owned(), transaction: None };
        let of_handle = Handle { handle };
        for command in [
            commands::wrap("CommandStatementUpdate", &update),
            commands::wrap("CommandPreparedStatementUpdate", &of_handle),
            commands::wrap("CommandStatementIngest", &Empty {}),
            query("select 1"),
        ] {
            let mut data = values(&rows(1));
            data[0].descriptor = Some(descriptor(command));
            let told = client.all::<_, PutResult>("DoPut", data).await.unwrap_err();
            assert!(told.message().starts_with("SXT-7204"), "{told}");
        }
        for action in ["BeginTransaction", "DropTable", ""] {
            assert_eq!(code(client.act(action, Bytes::new()).await), Code::Unimplemented);
        }
        assert_eq!(client.numbers(query("select 1")).await.unwrap(), [7, 8, 9]);
    });
}

#[test]
fn faults_have_code_and_place_and_leave_the_connection() {
    check(true, async |addr, _, _server| {
        let mut client = Client::connect(addr, None).await;
        for _ in 0..2 {
            let told = client.info(query("select fail")).await.unwrap_err();
            assert_eq!(told.message(), "SXT-7205: no such thing (line 1, column 8)");
            assert_eq!(told.code(), Code::InvalidArgument);
            let ticket = commands::Command::ticket("select fail");
            assert_eq!(code(client.fetch(ticket).await), Code::InvalidArgument);
            assert_eq!(code(client.fetch(Bytes::from_static(b"?")).await), Code::InvalidArgument);
            assert_eq!(client.numbers(query("select 1")).await.unwrap(), [7, 8, 9]);
        }
    });
}

#[test]
fn tables_are_listed_by_pattern() {
    check(true, async |addr, _, _server| {
        let mut client = Client::connect(addr, None).await;
        for (schema, table, catalog, expected) in [
            (None, None, None, &["public.orders", "public.sections", "shop.orders"][..]),
            (None, Some("ord%"), Some("sextant"), &["public.orders", "shop.orders"]),
            (Some("sh_p"), None, None, &["shop.orders"]),
            (None, None, Some("elsewhere"), &[]),
        ] {
            let asked = GetTables {
                catalog: catalog.map(str::to_owned),
                schema_pattern: schema.map(str::to_owned),
                table_pattern: table.map(str::to_owned),
                types: Vec::new(),
                with_columns: true,
            };
            let found = client.fetch(commands::wrap("CommandGetTables", &asked)).await.unwrap();
            let text = |batch: &RecordBatch, column: usize, row: usize| {
                batch.column(column).as_string::<i32>().value(row).to_owned()
            };
            let name = |batch: &RecordBatch, row| {
                format!("{}.{}", text(batch, 1, row), text(batch, 2, row))
            };
            let names: Vec<String> = found
                .iter()
                .flat_map(|batch| {
                    (0..batch.num_rows()).map(|row| name(batch, row)).collect::<Vec<_>>()
                })
                .collect();
            assert_eq!(names, expected);
        }
        for (command, rows) in [
            ("CommandGetCatalogs", 1),
            ("CommandGetDbSchemas", 2),
            ("CommandGetTableTypes", 1),
            ("CommandGetSqlInfo", 13),
            ("CommandGetPrimaryKeys", 0),
            ("CommandGetImportedKeys", 0),
        ] {
            let command_bytes = commands::wrap(command, &Empty {});
            let info = client.info(command_bytes.clone()).await.unwrap();
            let found = client.fetch(command_bytes).await.unwrap();
            assert_eq!(found.iter().map(RecordBatch::num_rows).sum::<usize>(), rows, "{command}");
            assert!(!info.schema.is_empty());
        }
    });
}

#[test]
fn a_query_ends_with_its_client_and_its_server() {
    check(true, async |addr, script, server| {
        for sql in ["select wait", "select endless"] {
            let before = script.stopped.load(Ordering::SeqCst);
            let mut client = Client::connect(addr, None).await;
            let ticket = Ticket { ticket: commands::Command::ticket(sql) };
            let mut stream: Streaming<Data> = client.open("DoGet", vec![ticket]).await.unwrap();
            assert!(stream.message().await.unwrap().is_some());
            until(|| script.running.load(Ordering::SeqCst) == 1).await;
            drop(stream);
            until(|| script.stopped.load(Ordering::SeqCst) == before + 1).await;
            // The same connection is still good.
            assert_eq!(client.numbers(query("select 1")).await.unwrap(), [7, 8, 9]);
        }
        let mut client = Client::connect(addr, None).await;
        let ticket = Ticket { ticket: commands::Command::ticket("select wait") };
        let mut stream: Streaming<Data> = client.open("DoGet", vec![ticket]).await.unwrap();
        assert!(stream.message().await.unwrap().is_some());
        server.shutdown().await;
        assert_eq!(code(stream.message().await), Code::Unavailable);
        until(|| script.running.load(Ordering::SeqCst) == 0).await;
    });
}

#[test]
fn queries_at_once_have_a_bound() {
    check(true, async |addr, script, _server| {
        let mut open: Vec<(Client, Streaming<Data>)> = Vec::new();
        for _ in 0..limits::QUERIES_MAX {
            let mut client = Client::connect(addr, None).await;
            let ticket = Ticket { ticket: commands::Command::ticket("select wait") };
            let stream = client.open("DoGet", vec![ticket]).await.unwrap();
            open.push((client, stream));
        }
        let mut client = Client::connect(addr, None).await;
        assert_eq!(code(client.info(query("select 1")).await), Code::ResourceExhausted);
        drop(open);
        until(|| script.running.load(Ordering::SeqCst) == 0).await;
        assert_eq!(client.numbers(query("select 1")).await.unwrap(), [7, 8, 9]);
    });
}

#[tokio::test]
async fn others_machines_cannot_reach_it() {
    let addr = ([0, 0, 0, 0], 0).into();
    let gate = Arc::new(Gate { trusting: true });
    let refused = serve(addr, Arc::new(Script::default()), gate).await;
    assert!(matches!(refused, Err(FlightError::Exposed { .. })));
}
