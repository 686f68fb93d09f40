//! What must every source do in which records arrive? One suite for all of them: nothing is lost
//! and nothing is there twice, wherever landing stops; the account is even; order is kept; damaged
//! records are set aside with their place.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use serde_json::{Value, json};
use sextant_core::Cancel;

use super::kafka::tests as kafka;
use crate::tests::{Bench, build_until, in_bucket, stop_next_at};

/// What stands outside of a source, and how the suite sends records into it.
struct Outside {
    /// Makes the outside anew: the source's file, without its schema.
    toml: fn() -> String,
    /// Sends records, one text each.
    send: fn(&Bench, &[&str]),
    /// Lands what was sent.
    land: fn(&Bench),
    /// Lands until it stops at a failpoint.
    stop: fn(&Bench, &'static str),
    /// The columns with the place of a row.
    order: &'static str,
    /// What the quarantine shows of a text that was sent.
    payload: fn(&str) -> String,
    /// Whether another recipe makes it read everything again, so that nothing is left to replay.
    rereads: bool,
}

const NAME: &str = "orders";
const STEPS: [&str; 3] = [
    "data.arrival.before_quarantine",
    "data.arrival.after_quarantine",
    "data.arrival.after_commit",
];

const PUSH: Outside = Outside {
    toml: || "type = \"push\"\n".to_owned(),
    send: |bench, records| {
        if records.is_empty() {
            return;
        }
        let body = records.join("\n");
        let body = crate::PushBody {
            content_type: "application/x-ndjson",
            idempotency_key: None,
            event: &[],
            bytes: body.as_bytes(),
        };
        let reply = bench.source(NAME).accept(&body).unwrap();
        let crate::PushReply::Accepted(accepted) = reply else { panic!("{reply:?}") };
        assert_eq!(accepted.records, records.len() as u64);
    },
    land: |bench| {
        bench.source(NAME).land(&Cancel::new()).unwrap();
    },
    stop: |bench, step| {
        stop_next_at(step);
        assert!(bench.source(NAME).land(&Cancel::new()).is_err(), "{step}");
    },
    order: "_offset",
    payload: str::to_owned,
    rereads: false,
};

const KAFKA: Outside = Outside {
    toml: || kafka::source(1).1,
    send: |bench, records| {
        let toml = std::fs::read_to_string(bench.root().join(FILE)).unwrap();
        let topic = toml.split_once("topic = \"").unwrap().1.split_once('"').unwrap().0;
        kafka::send(topic, records);
    },
    payload: |text| json!({ "value": text }).to_string(),
    ..PUSH
};

const FILES: Outside = Outside {
    toml: || "type = \"files\"\npath = \"data\"\nformat = \"jsonl\"\n".to_owned(),
    send: |bench, records| {
        let folder = bench.root().join("data");
        std::fs::create_dir_all(&folder).unwrap();
        let number = std::fs::read_dir(&folder).unwrap().count();
        if !records.is_empty() {
            bench.write(&format!("data/{number}.jsonl"), records.join("\n"));
        }
    },
    land: |bench| {
        bench.good();
    },
    stop: |bench, step| build_until(bench, "sources/orders", step),
    order: "_file, _line",
    payload: str::to_owned,
    rereads: true,
};

const SOURCES: &[Outside] = &[PUSH, FILES, KAFKA];

const FILE: &str = "sources/orders.toml";
/// What comes behind this line of the source's file are its rules.
const RULES: &str = "# Rules\n";

fn bench(outside: &Outside, rules: &str) -> Bench {
    let toml = format!("{}{RULES}{rules}", (outside.toml)());
    Bench::new(&[(FILE, &toml), ("docs/a.md", "# A\n")])
}

/// Gives the source other rules.
fn change_rules(bench: &Bench, rules: &str) {
    let toml = std::fs::read_to_string(bench.root().join(FILE)).unwrap();
    let head = toml.split_once(RULES).unwrap().0;
    bench.write(FILE, format!("{head}{RULES}{rules}"));
}

fn land(outside: &Outside, bench: &Bench) {
    (outside.land)(bench);
    assert!(bench.source(NAME).balance(&Cancel::new()).unwrap().is_even());
}

/// The values of column `n` that landed, in the order of their places, and what is in quarantine.
fn found(outside: &Outside, bench: &Bench) -> (Vec<i64>, Vec<String>) {
    let report = bench.good();
    assert!(report.assets.iter().any(|asset| asset.asset.as_str() == "sources/orders"));
    let rows = bench.query(&format!("select n from orders order by {}", outside.order));
    let landed = rows.iter().map(|row| row[0].as_i64().unwrap()).collect();
    let page = bench.source(NAME).quarantine(0, 100, &Cancel::new()).unwrap();
    (landed, page.rows.into_iter().map(|row| row.payload).collect())
}

const SCHEMA: &str = "[schema]\nn = \"bigint\"\n";

#[test]
fn what_holds_on_a_disk_holds_in_a_bucket() {
    for test in [
        no_input_is_an_empty_table,
        everything_lands_once_in_its_order,
        damaged_records_are_set_aside,
        a_stop_at_any_step_loses_nothing_and_doubles_nothing,
        a_stop_during_a_replay_releases_each_row_once,
    ] {
        in_bucket(test);
    }
}

#[test]
fn no_input_is_an_empty_table() {
    for outside in SOURCES {
        let bench = bench(outside, SCHEMA);
        (outside.send)(&bench, &[]);
        land(outside, &bench);
        assert_eq!(found(outside, &bench), (vec![], vec![]));
    }
}

#[test]
fn everything_lands_once_in_its_order() {
    for outside in SOURCES {
        let bench = bench(outside, SCHEMA);
        (outside.send)(&bench, &[r#"{"n":1}"#, r#"{"n":2}"#]);
        land(outside, &bench);
        land(outside, &bench);
        (outside.send)(&bench, &[r#"{"n":3}"#]);
        assert_eq!(found(outside, &bench).0, [1, 2, 3]);
        let bench = bench.reopen();
        (outside.send)(&bench, &[r#"{"n":4}"#]);
        land(outside, &bench);
        assert_eq!(found(outside, &bench).0, [1, 2, 3, 4]);
        assert!(!bench.good().assets.iter().any(|asset| asset.ran), "nothing is stale");
    }
}

#[test]
fn damaged_records_are_set_aside() {
    for outside in SOURCES {
        let bench = bench(outside, SCHEMA);
        let bad = [r#"{"n":"x"}"#, r#"{"n":1.5}"#, "{\"n\":", r#"{"n ":1}"#, r#"{"n":1,"N":2}"#];
        (outside.send)(&bench, &[r#"{"n":1}"#]);
        (outside.send)(&bench, &[&bad[..], &[r#"{"n":2}"#]].concat());
        land(outside, &bench);
        let (landed, held) = found(outside, &bench);
        assert_eq!(landed, [1, 2]);
        assert_eq!(held, bad.map(outside.payload));
        let page = bench.source(NAME).quarantine(1, 2, &Cancel::new()).unwrap();
        assert_eq!((page.rows.len(), page.more, page.waiting), (2, true, 5));
        let all = bench.source(NAME).quarantine(0, 9, &Cancel::new()).unwrap();
        let rules: Vec<&str> = all.rows.iter().map(|row| row.rule.as_str()).collect();
        assert_eq!(rules, ["type", "type", "json", "column_name", "column_name"]);
        assert_eq!(all.rows[0].reason, "`n` must be bigint, not \"x\"");
    }
}

#[test]
fn a_stop_at_any_step_loses_nothing_and_doubles_nothing() {
    for outside in SOURCES {
        for step in STEPS {
            let bench = bench(outside, SCHEMA);
            (outside.send)(&bench, &[r#"{"n":1}"#, r#"{"n":"bad"}"#]);
            (outside.stop)(&bench, step);
            let bench = bench.reopen();
            (outside.send)(&bench, &[r#"{"n":2}"#, r#"{"n":"worse"}"#]);
            (outside.stop)(&bench, step);
            let bench = bench.reopen();
            let bad = [r#"{"n":"bad"}"#, r#"{"n":"worse"}"#].map(outside.payload);
            let expected = (vec![1, 2], bad.to_vec());
            assert_eq!(found(outside, &bench), expected, "{step}");
            assert!(bench.source(NAME).balance(&Cancel::new()).unwrap().is_even(), "{step}");
        }
    }
}

#[test]
fn rules_that_change_after_a_stop_do_not_move_a_record() {
    for outside in SOURCES {
        for step in STEPS {
            let bench =
                bench(outside, "on_new_column = \"quarantine\"\n[schema]\nn = \"bigint\"\n");
            (outside.send)(&bench, &[r#"{"n":1}"#, r#"{"n":2,"m":1}"#]);
            (outside.stop)(&bench, step);
            change_rules(&bench, SCHEMA);
            let bench = bench.reopen();
            land(outside, &bench);
            let (landed, held) = found(outside, &bench);
            let all = landed.len() + held.len();
            assert_eq!(all, 2, "{step}: {landed:?} {held:?}");
        }
    }
}

#[test]
fn a_stop_during_a_replay_releases_each_row_once() {
    for outside in SOURCES {
        for step in ["data.replay.before_commit", "data.replay.after_commit"] {
            let bench =
                bench(outside, "on_new_column = \"quarantine\"\n[schema]\nn = \"bigint\"\n");
            (outside.send)(&bench, &[r#"{"n":1}"#, r#"{"n":2,"m":"x"}"#, r#"{"n":"bad"}"#]);
            assert_eq!(found(outside, &bench).0, [1]);
            change_rules(&bench, SCHEMA);
            stop_next_at(step);
            assert!(bench.source(NAME).replay(9, &Cancel::new()).is_err(), "{step}");
            let bench = bench.reopen();
            (outside.send)(&bench, &[r#"{"n":3}"#]);
            land(outside, &bench);
            let again = bench.source(NAME).replay(9, &Cancel::new()).unwrap();
            assert_eq!(again.passed + again.finished, u64::from(!outside.rereads), "{step}");
            assert_eq!(again.failed, 1, "{step}");
            let bad = (outside.payload)(r#"{"n":"bad"}"#);
            assert_eq!(found(outside, &bench), (vec![1, 2, 3], vec![bad]), "{step}");
            let none = bench.source(NAME).replay(9, &Cancel::new()).unwrap();
            assert_eq!((none.passed, none.finished), (0, 0), "{step}");
            assert!(bench.source(NAME).balance(&Cancel::new()).unwrap().is_even(), "{step}");
            assert_eq!(bench.query("select m from orders where n = 2"), [[json!("x")]]);
        }
    }
}

#[test]
fn the_lineage_has_the_offsets() {
    for outside in SOURCES {
        let bench = bench(outside, SCHEMA);
        (outside.send)(&bench, &[r#"{"n":1}"#, r#"{"n":"bad"}"#]);
        bench.good();
        let first = bench.version("sources/orders").version;
        (outside.send)(&bench, &[r#"{"n":2}"#]);
        // Landed by a server while no build could run, or by a build that was stopped: the next
        // build adopts it.
        (outside.stop)(&bench, "data.arrival.after_commit");
        (outside.send)(&bench, &[r#"{"n":3}"#]);
        bench.good();
        let version = bench.version("sources/orders").version;
        let reader = bench.store.read().unwrap();
        let from: Vec<String> = reader
            .edges_from(&version.to_string())
            .unwrap()
            .into_iter()
            .map(|edge| edge.to)
            .collect();
        assert!(outside.rereads || from.contains(&first.to_string()), "{from:?}");
        let batch = from
            .iter()
            .filter_map(|node| reader.artifact(&node.parse().ok()?).ok()?)
            .find(|artifact| artifact.kind.as_str() == "source_batch")
            .unwrap();
        if outside.rereads {
            assert_eq!(batch.meta["files"].as_array().unwrap().len(), 3);
            assert_eq!(batch.meta["files"][0]["quarantined"], 1);
        } else {
            let offsets: Vec<&Value> =
                batch.meta["offsets"].as_object().unwrap().values().collect();
            assert_eq!(offsets, [&json!({ "from": 2, "to": 3 })]);
            assert_eq!(batch.meta["landed"], 2);
        }
        let meta = bench.meta("sources/orders");
        assert!(meta.chained && bench.engine.verify(&meta).unwrap());
    }
}
