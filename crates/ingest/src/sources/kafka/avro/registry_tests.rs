//! Is a registry asked no more than is needed, and is nothing set aside because it is away? Against a
//! server of a few lines that answers as one.

#![allow(clippy::unwrap_used)]

use std::{
    collections::HashMap,
    io::{BufRead as _, BufReader, Write as _},
    net::TcpListener,
    sync::{Arc, Mutex},
};

use serde_json::{Value, json};
use sextant_core::Cancel;

use crate::{
    sources::kafka::tests as kafka,
    tests::{Bench, failure},
};

/// What it answers to each path, and which paths it was asked for.
#[derive(Default)]
struct Said {
    answers: HashMap<String, (u16, String)>,
    asked: Vec<String>,
}

/// A registry; its address, and what it says.
fn registry() -> (String, Arc<Mutex<Said>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/base", listener.local_addr().unwrap());
    let said = Arc::new(Mutex::new(Said::default()));
    let shared = Arc::clone(&said);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
            let first = lines.next().unwrap().unwrap();
            while lines.next().is_some_and(|line| line.is_ok_and(|line| !line.is_empty())) {}
            let path = first.split(' ').nth(1).unwrap().to_owned();
            let mut said = shared.lock().unwrap();
            said.asked.push(path.clone());
            let known = said.answers.get(&path).cloned();
            let (status, body) = known.unwrap_or((404, "{\"error_code\":40403}".to_owned()));
            let head = format!("HTTP/1.1 {status} X\r\nContent-Length: {}", body.len());
            write!(stream, "{head}\r\nConnection: close\r\n\r\n{body}").unwrap();
        }
    });
    (url, said)
}

fn schema(fields: &Value) -> String {
    let schema = json!({ "type": "record", "name": "R", "fields": fields }).to_string();
    json!({ "schema": schema }).to_string()
}

fn value(id: u32, bytes: &[u8]) -> Vec<u8> {
    [&[0], id.to_be_bytes().as_slice(), bytes].concat()
}

struct World {
    bench: Bench,
    topic: String,
    said: Arc<Mutex<Said>>,
}

impl World {
    fn new(more: &str) -> Self {
        let ((topic, toml), (url, said)) = (kafka::source(1), registry());
        let toml = format!("{toml}format = \"avro\"\nregistry = \"{url}\"\n{more}");
        let bench = Bench::new(&[("sources/orders.toml", &toml), ("docs/a.md", "# A\n")]);
        Self { bench, topic, said }
    }

    fn say(&self, path: &str, status: u16, body: String) {
        self.said.lock().unwrap().answers.insert(format!("/base{path}"), (status, body));
    }

    fn asked(&self) -> usize {
        self.said.lock().unwrap().asked.len()
    }

    fn send(&self, values: &[Vec<u8>]) {
        kafka::send_bytes(&self.topic, values.to_vec());
    }

    fn rows(&self, columns: &str) -> Value {
        json!(self.bench.query(&format!("select {columns} from orders order by _offset")))
    }

    /// Offset and rule of what waits.
    fn held(&self) -> Vec<(i64, String)> {
        let page = self.bench.source("orders").quarantine(0, 99, &Cancel::new()).unwrap();
        page.rows.into_iter().map(|row| (row.offset, row.rule)).collect()
    }
}

#[test]
fn each_schema_is_asked_for_once_and_kept() {
    let world = World::new("");
    world.say("/schemas/ids/1", 200, schema(&json!([{ "name": "n", "type": "long" }])));
    world.send(&[value(1, &[2]), value(1, &[4])]);
    world.bench.good();
    assert_eq!((world.rows("n"), world.asked()), (json!([[1], [2]]), 1));
    // Another process knows what was kept, and the registry is asked for nothing.
    world.said.lock().unwrap().answers.clear();
    world.send(&[value(1, &[6])]);
    world.bench.good();
    assert_eq!((world.rows("n"), world.asked()), (json!([[1], [2], [3]]), 1));
    // A file that was damaged is not believed.
    let folder = world.bench.store.dir().join("avro/schemas");
    for file in std::fs::read_dir(folder).unwrap() {
        std::fs::write(file.unwrap().path(), "{\"schema\":\"\\\"long\\\"\",\"references\":[]}")
            .unwrap();
    }
    world.say("/schemas/ids/1", 200, schema(&json!([{ "name": "n", "type": "long" }])));
    world.send(&[value(1, &[8])]);
    world.bench.good();
    assert_eq!((world.rows("n"), world.asked()), (json!([[1], [2], [3], [4]]), 2));
    assert!(world.held().is_empty());
}

#[test]
fn a_registry_that_fails_stops_the_landing_and_sets_nothing_aside() {
    let world = World::new("");
    world.send(&[value(7, &[2])]);
    for (status, body, code) in [
        (500, "down", "SXT-3045"),
        (302, "elsewhere", "SXT-3045"),
        (200, "no JSON", "SXT-3045"),
        (401, "who", "SXT-3046"),
        (403, "not you", "SXT-3046"),
    ] {
        world.say("/schemas/ids/7", status, body.to_owned());
        assert_eq!(failure(&world.bench.build(), "sources/orders").0, code, "{status}");
        assert!(world.held().is_empty(), "{status}");
    }
    world.say("/schemas/ids/7", 200, schema(&json!([{ "name": "n", "type": "long" }])));
    world.bench.good();
    assert_eq!(world.rows("n"), json!([[1]]));
    let unset = World::new("[registry_auth]\ntoken_env = \"NOT SET\"\n");
    unset.send(&[value(7, &[2])]);
    let (code, text) = failure(&unset.bench.build(), "sources/orders");
    assert!(code == "SXT-3046" && text.contains("NOT SET") && unset.asked() == 0, "{text}");
}

#[test]
fn what_a_record_lacks_sets_it_aside_until_it_is_mended() {
    let world = World::new("");
    world.say("/schemas/ids/1", 200, schema(&json!([{ "name": "n", "type": "long" }])));
    world.say(
        "/schemas/ids/2",
        200,
        json!({ "schema": "x", "schemaType": "PROTOBUF" }).to_string(),
    );
    world.say("/schemas/ids/3", 200, json!({ "schema": "\"long\"" }).to_string());
    world.send(&[
        value(1, &[2]),
        value(9, &[2]),
        value(2, &[2]),
        value(3, &[2]),
        value(1, &[]),
        vec![1, 0, 0, 0, 1, 2],
        vec![],
        value(1, &[4]),
    ]);
    world.bench.good();
    assert_eq!(world.rows("n"), json!([[1], [2]]));
    let rules: Vec<_> = world.held().into_iter().map(|(_, rule)| rule).collect();
    assert_eq!(rules, ["schema", "schema", "avro", "avro", "magic", "magic"]);
    world.say("/schemas/ids/9", 200, schema(&json!([{ "name": "n", "type": "int" }])));
    // A registry that fails for one row keeps the others from nothing.
    world.say("/schemas/ids/2", 500, "down".to_owned());
    let replayed = world.bench.source("orders").replay(99, &Cancel::new()).unwrap();
    assert_eq!((replayed.tried, replayed.passed), (6, 1));
}

#[test]
fn columns_come_from_the_schema_and_grow_with_it() {
    let world = World::new("");
    let day = json!({ "type": "int", "logicalType": "date" });
    let price = json!({ "type": "bytes", "logicalType": "decimal", "precision": 6, "scale": 2 });
    let first = json!([
        { "name": "n", "type": "long" }, { "name": "day", "type": ["null", day] },
        { "name": "price", "type": price },
    ]);
    let mut second = first.clone();
    second.as_array_mut().unwrap().push(json!({ "name": "place", "type": ["null", "shop.Place"] }));
    world.say("/schemas/ids/1", 200, schema(&first));
    let refers = json!([{ "name": "shop.Place", "subject": "a place/1", "version": 3 }]);
    let mut answer: Value = serde_json::from_str(&schema(&second)).unwrap();
    answer["references"] = refers;
    world.say("/schemas/ids/2", 200, answer.to_string());
    let place = json!({ "type": "record", "name": "shop.Place", "fields": [
        { "name": "city", "type": "string" } ] });
    let place = json!({ "schema": place.to_string() }).to_string();
    world.say("/subjects/a%20place%2F1/versions/3", 200, place);
    let (one, two) = ([2, 0, 2, 7], [4, 2, 2, 4, 0xff, 0x38, 2, 2, b'x']);
    world.send(&[value(1, &one), value(2, &two)]);
    world.bench.good();
    let rows = world.rows("n, day, cast(price as text), place");
    let expected = json!([[1, null, "0.07", null], [2, "1970-01-02", "-2.00", "{\"city\":\"x\"}"]]);
    assert_eq!(rows, expected);
    let columns = world.bench.source("orders").columns().unwrap();
    let types: Vec<_> = columns
        .iter()
        .filter(|(column, _)| !column.name.starts_with('_'))
        .map(|(column, _)| format!("{} {}", column.name, column.data_type))
        .collect();
    // A column comes with its first value.
    assert_eq!(types, ["n bigint", "price decimal(6,2)", "day date", "place text"]);
}
