//! Does the wire keep its promises to a client that knows only bytes? A scripted engine answers.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use sextant_core::{Cancel, Gatekeeper};
use tokio::{runtime::Runtime, sync::mpsc};

use crate::{
    Cell, Column, Kind, Parameter, Portion, Prepared, SqlEngine, SqlFault, SqlServer, WireError,
    lex, limits, serve,
    statement::{Statement, classify},
    value,
};

/// `wait` runs until it is stopped, `fail…` fails at line 1, column 8; all else gives three rows
/// that begin with the first parameter, or 7.
#[derive(Default)]
struct Script {
    stopped: AtomicUsize,
}

fn number() -> Vec<Column> {
    vec![Column { name: "n".to_owned(), kind: Kind::Int8 }]
}

impl SqlEngine for Script {
    fn prepare(
        &self,
        sql: &str,
        declared: &[Option<Kind>],
        _: &Cancel,
    ) -> Result<Prepared, SqlFault> {
        let count = sql.matches('$').count().max(declared.len());
        Ok(Prepared { parameters: vec![Kind::Int8; count], columns: number() })
    }

    fn run(
        &self,
        sql: &str,
        parameters: Vec<Parameter>,
        portions: mpsc::Sender<Portion>,
        cancel: &Cancel,
    ) -> Result<(), SqlFault> {
        if sql.contains("fail") {
            let fault = SqlFault::from(WireError::Syntax("no such thing".to_owned()));
            return Err(SqlFault { at: Some((1, 8)), ..fault });
        }
        while sql.contains("wait") {
            if cancel.is_cancelled() {
                self.stopped.fetch_add(1, Ordering::SeqCst);
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        let first = parameters.into_iter().next().map_or(Cell::Int(7), |given| given.cell);
        let _ = portions.blocking_send(Portion::Columns(number()));
        let rows = vec![vec![first], vec![Cell::Null], vec![Cell::Int(-1)]];
        let _ = portions.blocking_send(Portion::Rows(rows));
        Ok(())
    }
}

/// Trusts everybody, or whoever has the key `right`.
struct Gate {
    open: bool,
}

impl Gatekeeper for Gate {
    fn trusts(&self, _: SocketAddr, _: SocketAddr) -> bool {
        self.open
    }

    fn may_read(&self, key: &str) -> bool {
        key == "right"
    }
}

struct Bench {
    _runtime: Runtime,
    server: SqlServer,
    script: Arc<Script>,
}

impl Bench {
    fn new(open: bool) -> Self {
        let runtime = Runtime::new().unwrap();
        let script = Arc::new(Script::default());
        let engine: Arc<dyn SqlEngine> = script.clone();
        let addr = ([127, 0, 0, 1], 0).into();
        let server = runtime.block_on(serve(addr, engine, Arc::new(Gate { open }))).unwrap();
        Self { _runtime: runtime, server, script }
    }

    /// A client that asked for a session.
    fn client(&self) -> Client {
        let stream = TcpStream::connect(self.server.addr).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let mut client = Client(stream);
        client.packet(b"\x00\x03\x00\x00user\0tester\0database\0any\0\0");
        client
    }

    /// A client that is logged in.
    fn session(&self) -> Client {
        let mut client = self.client();
        client.until(b'Z');
        client
    }
}

struct Client(TcpStream);

type Message = (u8, Vec<u8>);

impl Client {
    fn packet(&mut self, body: &[u8]) {
        let length = u32::try_from(body.len() + 4).unwrap().to_be_bytes();
        self.0.write_all(&[&length, body].concat()).unwrap();
    }

    fn send(&mut self, kind: u8, body: &[u8]) {
        self.0.write_all(&[kind]).unwrap();
        self.packet(body);
    }

    fn message(&mut self) -> Option<Message> {
        let mut head = [0; 5];
        self.0.read_exact(&mut head).ok()?;
        let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]);
        let mut body = vec![0; usize::try_from(length).unwrap() - 4];
        self.0.read_exact(&mut body).ok()?;
        Some((head[0], body))
    }

    /// All messages up to one of this kind, or to the end.
    fn until(&mut self, kind: u8) -> Vec<Message> {
        let mut messages = Vec::new();
        while let Some(message) = self.message() {
            messages.push(message);
            if messages.last().unwrap().0 == kind {
                break;
            }
        }
        messages
    }

    fn query(&mut self, sql: &str) -> Vec<Message> {
        self.send(b'Q', &[sql.as_bytes(), b"\0"].concat());
        self.until(b'Z')
    }
}

fn kinds(messages: &[Message]) -> String {
    messages.iter().map(|(kind, _)| char::from(*kind)).collect()
}

/// One field of the error among the messages.
fn error(messages: &[Message], field: char) -> Option<String> {
    let (_, body) = messages.iter().find(|(kind, _)| *kind == b'E')?;
    let fields = body.split(|byte| *byte == 0).map(|field| String::from_utf8_lossy(field));
    fields.filter_map(|text| text.strip_prefix(field).map(str::to_owned)).next()
}

#[test]
fn only_a_key_that_may_read_opens_the_door() {
    let bench = Bench::new(false);
    for (password, refused) in [("wrong", Some("28P01")), ("", Some("28P01")), ("right", None)] {
        let mut client = bench.client();
        assert_eq!(client.message().unwrap(), (b'R', vec![0, 0, 0, 3]));
        client.send(b'p', &[password.as_bytes(), b"\0"].concat());
        let messages = client.until(b'Z');
        assert_eq!(error(&messages, 'C').as_deref(), refused, "{password}");
        assert_eq!(kinds(&messages).ends_with('Z'), refused.is_none(), "{password}");
    }
    // A statement instead of a password is no way in.
    let mut client = bench.client();
    client.message().unwrap();
    client.send(b'Q', b"select 1\0");
    assert_eq!(error(&client.until(b'Z'), 'C').as_deref(), Some("08P01"));
}

#[test]
fn an_address_that_others_reach_is_refused() {
    let runtime = Runtime::new().unwrap();
    let gate = Arc::new(Gate { open: false });
    let outcome = serve(([0, 0, 0, 0], 0).into(), Arc::<Script>::default(), gate);
    assert!(matches!(runtime.block_on(outcome), Err(WireError::Exposed { .. })));
}

#[test]
fn statements_that_write_or_are_unknown_are_refused_and_the_session_goes_on() {
    let bench = Bench::new(true);
    let mut client = bench.session();
    for (sql, state) in [
        ("insert into t values (1)", "25006"),
        ("/* x */ DROP TABLE t", "25006"),
        ("copy t from stdin", "25006"),
        ("copy t to '/tmp/x'", "25006"),
        ("set transaction read write", "25006"),
        ("set client_encoding to latin1", "22023"),
        ("set server_version = '1'", "22023"),
        ("show nonsense", "42704"),
        ("listen x", "0A000"),
        ("select fail", "42601"),
    ] {
        let messages = client.query(sql);
        assert_eq!(kinds(&messages), "EZ", "{sql}");
        assert_eq!(error(&messages, 'C').as_deref(), Some(state), "{sql}");
        assert!(error(&messages, 'M').unwrap().starts_with("SXT-7"), "{sql}");
        assert_eq!(kinds(&client.query("select 1")), "TDDDCZ", "after {sql}");
    }
    // The place is counted in the whole text that was sent.
    assert_eq!(error(&client.query("show timezone; select fail"), 'P').as_deref(), Some("23"));
    // After an error in a transaction only its end is heard.
    client.query("begin");
    assert_eq!(client.query("select fail").last().unwrap().1, b"E");
    assert_eq!(error(&client.query("select 1"), 'C').as_deref(), Some("25P02"));
    let end = client.query("commit");
    assert_eq!(end[0].1, b"ROLLBACK\0");
    assert_eq!(end[1].1, b"I");
}

#[test]
fn prepared_statements_are_read_in_parts_and_in_binary() {
    let bench = Bench::new(true);
    let mut client = bench.session();
    client.send(b'P', b"s\0select $1\0\x00\x00");
    // One parameter in binary, 8 bytes; one form for all results: binary.
    client.send(b'B', b"p\0s\0\0\x01\0\x01\0\x01\0\0\0\x08\0\0\0\0\0\0\0\x2a\0\x01\0\x01");
    client.send(b'D', b"Pp\0");
    client.send(b'E', b"p\0\0\0\0\x02");
    client.send(b'E', b"p\0\0\0\0\0");
    client.send(b'S', b"");
    let messages = client.until(b'Z');
    assert_eq!(kinds(&messages), "12TDDsDCZ");
    assert_eq!(messages[3].1, b"\0\x01\0\0\0\x08\0\0\0\0\0\0\0\x2a");
    assert_eq!(messages[4].1, b"\0\x01\xff\xff\xff\xff");
    // An error is told once; what follows is skipped up to Sync.
    client.send(b'B', b"\0missing\0\0\0\0\0\0\0");
    client.send(b'E', b"\0\0\0\0\0");
    client.send(b'S', b"");
    let messages = client.until(b'Z');
    assert_eq!(kinds(&messages), "EZ");
    assert_eq!(error(&messages, 'C').as_deref(), Some("26000"));
}

#[test]
fn what_is_too_large_is_refused_before_it_is_read() {
    let bench = Bench::new(true);
    let mut client = bench.session();
    client.0.write_all(&[b'Q', 0x7f, 0xff, 0xff, 0xff]).unwrap();
    assert_eq!(error(&client.until(b'Z'), 'C').as_deref(), Some("54000"));
    let mut stranger = Client(TcpStream::connect(bench.server.addr).unwrap());
    stranger.0.write_all(b"POST / HTTP/1.1\r\n\r\n").unwrap();
    assert_eq!(error(&stranger.until(b'Z'), 'C').as_deref(), Some("54000"));
    let mut client = bench.session();
    let long = format!("select '{}'", "x".repeat(limits::STATEMENT_BYTES_MAX));
    assert_eq!(error(&client.query(&long), 'C').as_deref(), Some("54000"));
    assert_eq!(kinds(&client.query("select 1")), "TDDDCZ");
}

#[test]
fn a_cancel_request_or_the_clients_end_stops_the_statement() {
    let bench = Bench::new(true);
    let mut client = bench.client();
    let key = client.until(b'Z').into_iter().find(|(kind, _)| *kind == b'K').unwrap().1;
    client.send(b'Q', b"select wait\0");
    std::thread::sleep(Duration::from_millis(50));
    for secret in [b"none".as_slice(), &key[4..]] {
        let mut other = Client(TcpStream::connect(bench.server.addr).unwrap());
        other.packet(&[b"\x04\xd2\x16\x2e", &key[..4], secret].concat());
        assert!(other.message().is_none(), "a cancel request has no answer");
    }
    assert_eq!(error(&client.until(b'Z'), 'C').as_deref(), Some("57014"));
    assert_eq!(kinds(&client.query("select 1")), "TDDDCZ");
    client.send(b'Q', b"select wait\0");
    drop(client);
    for _ in 0..2000 {
        if bench.script.stopped.load(Ordering::SeqCst) == 2 {
            return;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    panic!("the engine still works for a client that left");
}

#[test]
fn many_clients_are_served_at_once_and_too_many_are_told_so() {
    let bench = Bench::new(true);
    std::thread::scope(|scope| {
        for _ in 0..32 {
            scope.spawn(|| {
                let mut client = bench.session();
                for _ in 0..10 {
                    assert_eq!(kinds(&client.query("select 1")), "TDDDCZ");
                }
            });
        }
    });
    let held: Vec<Client> = (0..limits::CONNECTIONS_MAX).map(|_| bench.session()).collect();
    assert_eq!(error(&bench.client().until(b'Z'), 'C').as_deref(), Some("53300"));
    drop(held);
}

#[test]
fn statements_end_where_sql_says() {
    for (sql, expected) in [
        ("", vec![]),
        (" ; -- nothing\n", vec![]),
        ("a; b ;", vec!["a", "b"]),
        (
            "select ';', \";\", $x$;$x$, e'\\';' /* ; /* ; */ ; */; c",
            vec!["select ';', \";\", $x$;$x$, e'\\';'", "c"],
        ),
        ("select 'unfinished; x", vec!["select 'unfinished; x"]),
    ] {
        assert_eq!(lex::split(sql), expected, "{sql}");
    }
    let copied = |sql| match classify(sql).unwrap() {
        Statement::Copy { query, .. } => query,
        other => panic!("{other:?}"),
    };
    assert_eq!(copied("COPY (select ')' from t) TO STDOUT"), "select ')' from t");
    assert_eq!(copied("copy a.t (x, y) to stdout with csv header"), "SELECT x, y FROM a.t ");
    assert!(classify("copy (insert into t values (1)) to stdout").is_err());
}

#[test]
fn values_have_the_forms_of_postgresql() {
    let text = |kind, cell: &Cell| {
        let mut out = Vec::new();
        value::write_text(&mut out, kind, cell);
        String::from_utf8(out).unwrap()
    };
    for (kind, cell, expected) in [
        (Kind::Bool, Cell::Bool(true), "t"),
        (Kind::Float8, Cell::Float(f64::NEG_INFINITY), "-Infinity"),
        (Kind::Float4, Cell::Float(f64::from(0.1_f32)), "0.1"),
        (Kind::Bytes, Cell::Bytes(vec![0, 255]), "\\x00ff"),
        (Kind::Date, Cell::Date(0), "1970-01-01"),
        (Kind::Date, Cell::Date(11_016), "2000-02-29"),
        (Kind::Date, Cell::Date(-719_529), "0002-12-31 BC"),
        (Kind::Timestamp, Cell::Timestamp(-1), "1969-12-31 23:59:59.999999"),
        (Kind::Timestamptz, Cell::Timestamp(1_500_000), "1970-01-01 00:00:01.5+00"),
    ] {
        assert_eq!(text(kind, &cell), expected);
    }
    // What is written in binary is read back the same.
    for (kind, cell) in [
        (Kind::Int2, Cell::Int(-2)),
        (Kind::Int4, Cell::Int(1 << 30)),
        (Kind::Int8, Cell::Int(i64::MIN)),
        (Kind::Float4, Cell::Float(0.5)),
        (Kind::Float8, Cell::Float(1e300)),
        (Kind::Date, Cell::Date(-1)),
        (Kind::Timestamp, Cell::Timestamp(1)),
        (Kind::Bytes, Cell::Bytes(b"\0x".to_vec())),
        (Kind::Text, Cell::Text("é".to_owned())),
        (Kind::Numeric, Cell::Text("-12345.0678".to_owned())),
        (Kind::Numeric, Cell::Text("0.5".to_owned())),
        (Kind::Numeric, Cell::Text("18446744073709551615".to_owned())),
    ] {
        let mut out = Vec::new();
        value::write_binary(&mut out, kind, &cell);
        assert_eq!(value::read(kind, true, &out, 1).unwrap(), cell);
    }
    assert!(value::read(Kind::Int8, true, b"abc", 1).is_err());
    assert!(value::read(Kind::Int8, false, b"1x", 1).is_err());
}
