//! What is acknowledged when records are pushed, and what a repeat adds: nothing.

use serde_json::json;
use sextant_core::Cancel;

use super::Bench;
use crate::{Accepted, PushBody, PushReply, error::DataError};

const JSON: &str = "application/json";
const EVENT: &str = "application/cloudevents+json";
const BATCH: &str = "application/cloudevents-batch+json";

fn bench(toml: &str) -> Bench {
    let toml = format!("type = \"push\"\n{toml}");
    Bench::new(&[("sources/orders.toml", &toml), ("docs/a.md", "# A\n")])
}

fn push(bench: &Bench, kind: &str, key: Option<&str>, body: &str) -> Result<PushReply, DataError> {
    bench.source("orders").accept(&PushBody {
        content_type: kind,
        idempotency_key: key,
        event: &[],
        bytes: body.as_bytes(),
    })
}

fn taken(bench: &Bench, kind: &str, key: Option<&str>, body: &str) -> (u64, Option<u64>) {
    match push(bench, kind, key, body).unwrap() {
        PushReply::Accepted(Accepted { records, offset }) => (records, offset),
        full @ PushReply::Full { .. } => panic!("{full:?}"),
    }
}

fn event(id: u32) -> String {
    json!({"specversion": "1.0", "id": id.to_string(), "source": "/t", "type": "x", "data": {"n": id}})
        .to_string()
}

#[test]
fn a_repeat_is_answered_as_the_first_and_adds_nothing() {
    let bench = bench("");
    let body = r#"[{"n":1},{"n":2}]"#;
    assert_eq!(taken(&bench, JSON, Some("k1"), body), (2, Some(1)));
    assert_eq!(taken(&bench, JSON, None, r#"{"n":3}"#), (1, Some(2)));
    assert_eq!(taken(&bench, JSON, Some("k1"), body), (2, Some(1)));
    assert_eq!(taken(&bench, EVENT, None, &event(4)), (1, Some(3)));
    let bench = bench.reopen();
    assert_eq!(taken(&bench, JSON, Some("k1"), body), (2, Some(1)), "after a restart");
    let again = format!("[{},{},{}]", event(4), event(5), event(5));
    assert_eq!(taken(&bench, BATCH, None, &again), (3, Some(4)), "one of them is new");
    assert_eq!(taken(&bench, BATCH, None, &again), (3, Some(4)));
    let reused = push(&bench, JSON, Some("k1"), r#"{"n":9}"#).unwrap_err();
    assert!(reused.to_string().contains("with another body"), "{reused:?}");
    assert_eq!(taken(&bench, JSON, None, "[]"), (0, None));
    bench.good();
    let rows = bench.query("select n, ce_id from orders order by _offset");
    let expected = [
        [json!(1), json!(null)],
        [json!(2), json!(null)],
        [json!(3), json!(null)],
        [json!(4), json!("4")],
        [json!(5), json!("5")],
    ];
    assert_eq!(rows, expected);
}

#[test]
fn many_repeats_at_once_are_one() {
    let bench = bench("");
    let source = bench.source("orders");
    let answers: Vec<_> = std::thread::scope(|scope| {
        let send = || {
            let body = PushBody {
                content_type: JSON,
                idempotency_key: Some("same"),
                event: &[],
                bytes: b"[{\"n\":1},{\"n\":2}]",
            };
            source.accept(&body).unwrap()
        };
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(send)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let first = PushReply::Accepted(Accepted { records: 2, offset: Some(1) });
    assert!(answers.iter().all(|answer| *answer == first), "{answers:?}");
    assert_eq!(source.waiting().unwrap().accepted, 2);
}

#[test]
fn two_writers_of_one_table_land_each_record_once() {
    let bench = bench("[schema]\nn = \"bigint\"\n");
    taken(&bench, JSON, None, r#"{"n":0}"#);
    // Each engine has locks and logs of its own, as another process would.
    let file = sextant_project::config::read_project_file(
        bench.root(),
        std::path::Path::new("sources/orders.toml"),
        &|_| None,
    );
    let file = file.unwrap();
    let sources: Vec<_> = (0..3)
        .map(|_| crate::SourceKind::new(super::open(&bench.store)).open(&file).unwrap().unwrap())
        .collect();
    for round in 0..5 {
        let body = format!("[{{\"n\":{}}},{{\"n\":\"bad\"}}]", round + 1);
        taken(&bench, JSON, None, &body);
        std::thread::scope(|scope| {
            for source in &sources {
                scope.spawn(|| source.land(&Cancel::new()).unwrap());
            }
        });
    }
    bench.good();
    let rows = bench.query("select n from orders order by n");
    assert_eq!(rows, (0..=5).map(|n| vec![json!(n)]).collect::<Vec<_>>());
    let held = bench.source("orders").quarantine(0, 99, &Cancel::new()).unwrap();
    assert_eq!(held.rows.len(), 5);
    assert!(bench.source("orders").balance(&Cancel::new()).unwrap().is_even());
}

#[test]
fn a_source_that_is_full_takes_nothing_until_it_has_landed() {
    let bench = bench("max_waiting_bytes = 60\n");
    assert_eq!(taken(&bench, JSON, Some("k"), r#"{"n":1}"#).0, 1);
    assert_eq!(taken(&bench, JSON, None, r#"{"n":2}"#).0, 1);
    let full = push(&bench, JSON, None, r#"{"n":3}"#).unwrap();
    assert_eq!(full, PushReply::Full { waiting_bytes: 56, limit_bytes: 60 });
    assert_eq!(
        taken(&bench, JSON, Some("k"), r#"{"n":1}"#).0,
        1,
        "a repeat is answered all the same"
    );
    let bench = bench.reopen();
    assert!(matches!(push(&bench, JSON, None, "{}").unwrap(), PushReply::Full { .. }));
    bench.source("orders").land(&Cancel::new()).unwrap();
    let waiting = bench.source("orders").waiting().unwrap();
    assert_eq!((waiting.records, waiting.bytes, waiting.landed), (0, 0, 2));
    assert_eq!(taken(&bench, JSON, None, r#"{"n":3}"#).0, 1);
}

#[test]
fn a_key_makes_later_records_replace_earlier_ones() {
    let bench = bench("key = [\"id\"]\n");
    taken(&bench, JSON, None, r#"[{"id":1,"n":1},{"id":2,"n":1},{"id":1,"n":2},{"n":5}]"#);
    bench.good();
    taken(&bench, JSON, None, r#"[{"id":2,"n":7,"m":"new"},{"id":3,"n":1}]"#);
    bench.good();
    let rows = bench.query("select id, n, m from orders order by id");
    let expected = [
        [json!(1), json!(2), json!(null)],
        [json!(2), json!(7), json!("new")],
        [json!(3), json!(1), json!(null)],
    ];
    assert_eq!(rows, expected);
    let held = bench.source("orders").quarantine(0, 9, &Cancel::new()).unwrap();
    assert_eq!((held.waiting, held.rows[0].rule.as_str()), (1, "key"));
    assert!(bench.source("orders").balance(&Cancel::new()).unwrap().is_even());
    assert!(bench.engine.verify(&bench.meta("sources/orders")).unwrap());
}

#[test]
fn a_wider_type_in_the_file_lets_held_rows_pass() {
    let bench = bench("");
    taken(&bench, JSON, None, r#"{"n":1,"a.b":true}"#);
    bench.good();
    taken(&bench, JSON, None, r#"{"n":"two"}"#);
    bench.good();
    assert_eq!(bench.source("orders").replay(9, &Cancel::new()).unwrap().failed, 1);
    bench.write("sources/orders.toml", "type = \"push\"\n[schema]\nn = \"text\"\n");
    assert_eq!(bench.source("orders").replay(9, &Cancel::new()).unwrap().passed, 1);
    bench.good();
    let rows = bench.query("select n, \"a.b\" from orders order by _offset");
    assert_eq!(rows, [[json!("1"), json!(true)], [json!("two"), json!(null)]]);
    let columns = bench.source("orders").columns().unwrap();
    let words: Vec<_> =
        columns.iter().map(|(c, from)| format!("{} {} {from}", c.name, c.data_type)).collect();
    assert!(words.contains(&"n text file".to_owned()), "{words:?}");
    assert!(words.contains(&"_offset bigint place".to_owned()), "{words:?}");

    bench.write("sources/orders.toml", "type = \"push\"\n[schema]\nn = \"bigint\"\n");
    let (code, text) = super::failure(&bench.build(), "sources/orders");
    assert_eq!(code, "SXT-3023", "{text}");
    assert_eq!(bench.query("select count(*) from orders"), [[json!(2)]], "it stays as it was");
}

#[test]
fn names_that_cannot_be_are_refused_with_a_place() {
    let bench = bench("");
    for (path, part) in
        [("sources/Orders.toml", "small letters"), ("sources/a__quarantine.toml", "end")]
    {
        bench.write(path, "type = \"push\"\n");
        let error = bench.load().err().unwrap();
        assert!(error.chain().contains(part), "{error}");
        std::fs::remove_file(bench.root().join(path)).unwrap();
    }
    bench.write("sources/orders.toml", "type = \"push\"\nflush = 1\n");
    let error = bench.load().err().unwrap();
    assert_eq!(error.place().unwrap().line, Some(2), "{error}");
}
