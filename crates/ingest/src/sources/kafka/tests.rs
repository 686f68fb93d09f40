//! Does a topic land exactly, whatever its log holds? Against the client's own broker in this
//! process: its log has transactions, control records and retention as Kafka's has.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::sync::{
    LazyLock,
    atomic::{AtomicU32, Ordering},
};

use krafka::{Kafka, Record, testing::FakeBroker};
use serde_json::{Value, json};
use sextant_core::Cancel;
use tokio::runtime::Runtime;

use crate::{
    arrival::{Format, Parts, Payload, Record as Arrived},
    tests::{Bench, failure},
};

/// One broker for all tests, each with a topic of its own.
static BROKER: LazyLock<(Runtime, FakeBroker)> = LazyLock::new(|| {
    let runtime = Runtime::new().unwrap();
    let broker = runtime.block_on(FakeBroker::start()).unwrap();
    (runtime, broker)
});
static TOPICS: AtomicU32 = AtomicU32::new(0);

fn wait<T>(work: impl Future<Output = T>) -> T {
    BROKER.0.block_on(work)
}

async fn client() -> Kafka {
    Kafka::builder(BROKER.1.bootstrap_servers()).connect().await.unwrap()
}

/// A new topic, as the head of a source's file.
pub(crate) fn source(partitions: i32) -> (String, String) {
    let topic = format!("orders{}", TOPICS.fetch_add(1, Ordering::Relaxed));
    assert!(BROKER.1.create_topic(&topic, partitions));
    let brokers = BROKER.1.bootstrap_servers();
    let toml = format!("type = \"kafka\"\nbrokers = [\"{brokers}\"]\ntopic = \"{topic}\"\n");
    (topic, toml)
}

/// Sends values without keys to the first partition.
pub(crate) fn send(topic: &str, values: &[&str]) {
    let records = values.iter().map(|value| Record::new(topic, (*value).to_owned()).partition(0));
    send_records(records.collect());
}

/// Sends values of any bytes to the first partition.
pub(crate) fn send_bytes(topic: &str, values: Vec<Vec<u8>>) {
    let records = values.into_iter().map(|value| Record::new(topic, value).partition(0));
    send_records(records.collect());
}

fn send_records(records: Vec<Record>) {
    wait(async {
        let producer = client().await.producer().build().await.unwrap();
        for record in records {
            let _ = producer.send(record).await.unwrap();
        }
        producer.close().await.unwrap();
    });
}

fn send_in_transaction(topic: &str, values: &[&str], commit: bool) {
    static IDS: AtomicU32 = AtomicU32::new(0);
    wait(async {
        let id = format!("transaction{}", IDS.fetch_add(1, Ordering::Relaxed));
        let producer = client().await.producer().build_transactional(id).await.unwrap();
        producer.begin().unwrap();
        for value in values {
            let record = Record::new(topic, (*value).to_owned()).partition(0);
            let _ = producer.send(record).await.unwrap();
        }
        if commit {
            producer.commit().await.unwrap();
        } else {
            producer.abort().await.unwrap();
        }
        producer.close().await.unwrap();
    });
}

/// Deletes what lies before an offset, as retention does.
fn delete_before(topic: &str, offset: i64) {
    BROKER.1.with_state(|state| {
        state.partition_mut(topic, 0).unwrap().log_start_offset = offset;
    });
}

fn bench(toml: &str) -> Bench {
    Bench::new(&[("sources/orders.toml", toml), ("docs/a.md", "# A\n")])
}

fn numbers(bench: &Bench) -> Vec<i64> {
    let rows = bench.query("select n from orders order by _offset");
    rows.iter().map(|row| row[0].as_i64().unwrap()).collect()
}

#[test]
fn only_committed_records_land_and_control_records_end_no_build() {
    let (topic, toml) = source(1);
    let bench = bench(&toml);
    send(&topic, &[r#"{"n":1}"#]);
    send_in_transaction(&topic, &[r#"{"n":2}"#, r#"{"n":3}"#], true);
    send_in_transaction(&topic, &[r#"{"n":4}"#], false);
    bench.good();
    assert_eq!(numbers(&bench), [1, 2, 3]);
    assert!(!bench.good().assets.iter().any(|asset| asset.ran), "nothing is stale");
    send(&topic, &[r#"{"n":5}"#]);
    send_in_transaction(&topic, &[r#"{"n":6}"#], false);
    bench.good();
    assert_eq!(numbers(&bench), [1, 2, 3, 5]);
}

#[test]
fn keys_headers_times_and_partitions_are_columns() {
    let (topic, toml) = source(3);
    let bench = bench(&format!("{toml}on_new_column = \"ignore\"\n"));
    let record =
        |partition, n: u32| Record::new(&*topic, format!("{{\"n\":{n}}}")).partition(partition);
    send_records(vec![
        record(0, 1).key("a").header("trace", "x").header("trace", vec![0xff]),
        record(2, 2),
        Record::tombstone(&*topic, "gone").partition(1),
        record(1, 3).key(vec![0xff]),
    ]);
    bench.good();
    let columns = "_key, _headers, _partition, _offset, n";
    let sql = format!("select {columns} from orders order by n");
    let headers = r#"[["trace","x"],["trace",{"hex":"ff"}]]"#;
    let expected = [
        json!(["a", headers, format!("{topic}-0"), 0, 1]),
        json!([null, null, format!("{topic}-2"), 0, 2]),
    ];
    assert_eq!(json!(bench.query(&sql)), json!(expected));
    let late = bench.query("select count(*) from orders where _timestamp > timestamp '2020-01-01'");
    assert_eq!(late, [[json!(2)]]);
    let page = bench.source("orders").quarantine(0, 9, &Cancel::new()).unwrap();
    let held: Vec<_> = page.rows.iter().map(|row| (row.offset, row.rule.as_str())).collect();
    assert_eq!(held, [(0, "empty"), (1, "utf8")]);
    assert_eq!(page.rows[1].payload, r#"{"key":{"hex":"ff"},"value":"{\"n\":3}"}"#);
}

#[test]
fn raw_values_are_kept_to_the_byte() {
    let (topic, toml) = source(1);
    let bench = bench(&format!("{toml}format = \"raw\"\n"));
    let values: [&[u8]; 3] = [b"plain", &[0, 0xff, 0x80], b""];
    let records =
        values.map(|value| Record::new(&*topic, value.to_vec()).key(vec![1]).partition(0));
    send_records(records.into());
    bench.good();
    let sql = "select encode(value, 'hex'), encode(_key, 'hex') from orders order by _offset";
    let expected = json!([["706c61696e", "01"], ["00ff80", "01"], ["", "01"]]);
    assert_eq!(json!(bench.query(sql)), expected);
}

#[test]
fn records_that_are_gone_stop_the_build_unless_they_may_be_skipped() {
    let (topic, toml) = source(1);
    let bench = bench(&toml);
    send(&topic, &[r#"{"n":1}"#, r#"{"n":2}"#]);
    delete_before(&topic, 1);
    bench.good();
    assert_eq!(numbers(&bench), [2], "before the first build nothing was promised");
    send(&topic, &[r#"{"n":3}"#, r#"{"n":4}"#, r#"{"n":5}"#]);
    delete_before(&topic, 4);
    let (code, text) = failure(&bench.build(), "sources/orders");
    assert_eq!(code, "SXT-3043");
    assert!(text.contains("offsets 2 to 3"), "{text}");
    bench.write("sources/orders.toml", format!("{toml}on_lost = \"skip\"\n"));
    bench.good();
    assert_eq!(numbers(&bench), [2, 5]);
}

#[test]
fn a_topic_that_was_made_again_is_refused() {
    let (topic, toml) = source(1);
    let bench = bench(&toml);
    send(&topic, &[r#"{"n":1}"#, r#"{"n":2}"#]);
    bench.good();
    assert!(BROKER.1.delete_topic(&topic));
    assert_eq!(failure(&bench.build(), "sources/orders").0, "SXT-3041");
    assert!(BROKER.1.create_topic(&topic, 1));
    send(&topic, &[r#"{"n":3}"#]);
    assert_eq!(failure(&bench.build(), "sources/orders").0, "SXT-3043");
    assert_eq!(numbers(&bench), [1, 2]);
}

#[test]
fn a_group_shows_how_far_the_table_is() {
    let (topic, toml) = source(2);
    let bench = bench(&format!("{toml}group = \"lag of {topic}\"\n"));
    send(&topic, &[r#"{"n":1}"#, r#"{"n":2}"#]);
    bench.good();
    let group = format!("lag of {topic}");
    assert_eq!(BROKER.1.committed_offset(&group, &topic, 0), Some(2));
    assert_eq!(BROKER.1.committed_offset(&group, &topic, 1), None);
}

#[test]
fn a_follower_lands_what_is_new_and_the_partitions_tell_how_far() {
    let (topic, toml) = source(2);
    let bench = bench(&toml);
    let cancel = Cancel::new();
    let source = bench.source("orders");
    let mut follower = source.follower().unwrap();
    send(&topic, &[r#"{"n":1}"#]);
    assert_eq!(follower.land(&cancel).unwrap(), 1);
    assert_eq!(follower.land(&cancel).unwrap(), 0, "nothing is new");
    bench.good();
    send_in_transaction(&topic, &[r#"{"n":2}"#], true);
    let lags = || -> Vec<u64> {
        source.partitions(&cancel).unwrap().iter().map(|partition| partition.lag).collect()
    };
    assert_eq!(lags(), [2, 0], "a record, and the mark behind it");
    assert_eq!(follower.land(&cancel).unwrap(), 1);
    bench.good();
    assert_eq!((numbers(&bench), lags()), (vec![1, 2], vec![0, 0]));
    let standing = source.standing().unwrap();
    assert_eq!((standing.rows, standing.arrived, standing.waiting), (2, 2, 0));
    assert!(standing.per_minute > 0.0);
    let commits = source.commits(9, &cancel).unwrap();
    let offsets: Vec<_> =
        commits.iter().map(|commit| (commit.offsets[0].from, commit.offsets[0].to)).collect();
    assert_eq!(offsets, [(1, 1), (0, 0)]);
    bench.write("sources/orders.toml", format!("{toml}poll_seconds = 0\n"));
    assert!(bench.source("orders").follower().is_none(), "it is left to builds");
}

#[test]
fn signing_in_uses_the_variables_that_the_file_names() {
    let (runtime, broker) = (Runtime::new().unwrap(), FakeBroker::start());
    let broker = runtime.block_on(broker).unwrap();
    broker.require_sasl_plain("HOME is a name", "and a password");
    broker.create_topic("orders", 1);
    let address = broker.bootstrap_servers();
    let source = |more: &str| {
        format!("type = \"kafka\"\nbrokers = [\"{address}\"]\ntopic = \"orders\"\n{more}")
    };
    let security = "[security]\nsasl = \"plain\"\nusername_env = \"PATH\"\n";
    let cases = [
        (source(&format!("{security}password_env = \"HOME\"\n")), "SXT-3042"),
        (source(&format!("{security}password_env = \"NOT SET\"\n")), "SXT-3001"),
    ];
    for (toml, expected) in cases {
        let (code, text) = failure(&bench(&toml).build(), "sources/orders");
        assert_eq!(code, expected, "{text}");
    }
}

#[test]
fn a_file_that_cannot_work_is_refused_with_its_place() {
    let head = "type = \"kafka\"\n";
    let good = format!("{head}brokers = [\"h:1\"]\ntopic = \"t\"\n");
    let files = [
        format!("{head}brokers = []\ntopic = \"t\"\n"),
        format!("{head}brokers = [\"h\"]\ntopic = \"t\"\n"),
        format!("{head}brokers = [\"h:1\"]\ntopic = \"a b\"\n"),
        format!("{good}format = \"raw\"\n[schema]\nn = \"bigint\"\n"),
        format!("{good}[security]\nsasl = \"plain\"\nusername_env = \"U\"\n"),
        format!("{good}[security]\nca_file = \"ca.pem\"\n"),
        format!("{good}key = [\"n\"]\n"),
        format!("{good}format = \"avro\"\n"),
        format!("{good}registry = \"http://h:1\"\n"),
        format!("{good}format = \"avro\"\nregistry = \"http://u:p@h:1\"\n"),
        format!("{good}format = \"avro\"\nregistry = \"file:///etc\"\n"),
        format!(
            "{good}format = \"avro\"\nregistry = \"http://h:1\"\n[registry_auth]\nusername_env = \"U\"\n"
        ),
        format!("{good}poll_seconds = 100000\n"),
    ];
    for file in files {
        let failure = bench(&file).load().map(drop).unwrap_err();
        assert!(failure.chain().contains("orders.toml") || failure.place().is_some(), "{file}");
    }
}

#[test]
fn no_broker_is_said_quickly() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    drop(taken);
    let toml = format!("type = \"kafka\"\nbrokers = [\"127.0.0.1:{port}\"]\ntopic = \"t\"\n");
    let (code, _) = failure(&bench(&toml).build(), "sources/orders");
    assert_eq!(code, "SXT-3040");
}

#[test]
fn a_broker_that_restarts_is_waited_for() {
    let runtime = Runtime::new().unwrap();
    let broker = runtime.block_on(FakeBroker::start()).unwrap();
    broker.create_topic("orders", 1);
    let address = broker.bootstrap_servers();
    runtime.block_on(async {
        let kafka = Kafka::builder(&address).connect().await.unwrap();
        let producer = kafka.producer().build().await.unwrap();
        let _ = producer.send(Record::new("orders", r#"{"n":1}"#).partition(0)).await.unwrap();
        producer.close().await.unwrap();
    });
    let toml = format!("type = \"kafka\"\nbrokers = [\"{address}\"]\ntopic = \"orders\"\n");
    let bench = bench(&toml);
    broker.on_once(krafka::testing::ApiKey::Fetch, |_| krafka::testing::Control::Disconnect);
    bench.good();
    assert_eq!(numbers(&bench), [1]);
}

#[test]
fn a_batch_ends_where_it_must_and_the_next_one_goes_on_there() {
    let (topic, _) = source(2);
    let values = (0..7).map(|n| Record::new(&*topic, n.to_string()).partition(n % 2));
    send_records(values.collect());
    let offsets = wait(async {
        let brokers = [BROKER.1.bootstrap_servers()];
        let topic = super::client::Topic::open(&brokers, &topic, None).await.unwrap();
        let ends = topic.ends().await.unwrap();
        let reader = topic.reader(&topic.firsts().await.unwrap()).await.unwrap();
        let mut offsets = Vec::new();
        for expected in [3, 3, 1, 0] {
            let found = reader.read(&ends, 3, usize::MAX).await.unwrap();
            assert_eq!(found.len(), expected);
            offsets.extend(found.iter().map(|record| (record.partition, record.offset)));
        }
        offsets
    });
    let of = |partition: i32| -> Vec<i64> {
        offsets.iter().filter(|place| place.0 == partition).map(|place| place.1).collect()
    };
    assert_eq!((of(0), of(1)), (vec![0, 1, 2, 3], vec![0, 1, 2]));
}

#[test]
fn what_is_written_down_of_a_record_is_read_back() {
    let none: Option<bytes::Bytes> = None;
    let some = |bytes: &'static [u8]| Some(bytes::Bytes::from_static(bytes));
    for value in [none, some(b""), some(b"{\"hex\":\"00\"}"), some(&[0xc3, 0x28])] {
        let headers = vec![("h".to_owned(), value.clone())];
        let parts = Parts { key: value.clone(), headers, value: value.clone() };
        let record = |payload| Arrived {
            partition: "t-0".into(),
            offset: 0,
            arrived_at: 0,
            format: Format::Kafka,
            payload,
        };
        let fields = super::envelope::decode_raw(&record(Payload::Parts(parts.clone()))).unwrap();
        let text = super::written_down(&parts).unwrap();
        let again = super::envelope::decode_raw(&record(text.into())).unwrap();
        assert_eq!(fields, again);
        let read =
            |name: &str| fields.get(name).map(|value: &Value| super::bytes_of(value).unwrap());
        let expected = value.as_deref().map(<[u8]>::to_vec);
        assert_eq!((read("_key"), read("value")), (expected.clone(), expected));
    }
}
