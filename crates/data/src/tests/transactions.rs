//! Blocks of statements on several tables: readers see all or nothing, also after a fault in the middle,
//! a crash at any step, and another program that writes in between.

use serde_json::{Value, json};
use sextant_core::{Cancel, Explain as _};

use super::{Bench, in_bucket, stop_next_at};
use crate::{DataEngine, DataError, SqlOptions, SqlOutcome};

const TABLES: &str = "create table stock as select * from (values (1, 10), (2, 20)) as t (id, n);
    create table sold as select * from (values (1, 0)) as t (id, n)";
const MOVE: &str =
    "begin; update stock set n = n - 5 where id = 1; insert into sold select id, n from
    stock where id = 1; insert into sold values (2, 1); select sum(n) from sold; commit";
const BOTH: &str = "select (select sum(n) from stock) as stock, (select sum(n) from sold) as sold";

impl Bench {
    fn shop() -> Self {
        let bench = Self::new(&[]);
        bench.sql(TABLES);
        bench
    }

    fn block(&self, sql: &str) -> Result<SqlOutcome, DataError> {
        let options = SqlOptions { limit: 100, files: None };
        self.engine.sql(sql, &options, &Cancel::new())
    }
}

fn both(engine: &DataEngine) -> Vec<Value> {
    engine.query(BOTH, 1, &Cancel::new()).unwrap().rows.remove(0)
}

/// How many versions each table has in the catalog.
fn versions(engine: &DataEngine) -> (usize, usize) {
    let count = |table| engine.history(table, 100).unwrap().1.len();
    (count("stock"), count("sold"))
}

fn a_block_is_seen_whole_and_each_statement_sees_those_before() {
    let bench = Bench::shop();
    let outcome = json!(bench.block(MOVE).unwrap());
    assert_eq!(outcome["action"], "commit");
    // The rows of the inner query are those of the transaction: 0 + (10 - 5) + 1.
    assert_eq!(outcome["statements"][3]["rows"], json!([[6]]), "{outcome}");
    assert_eq!(both(&bench.engine), [json!(25), json!(6)]);
    assert_eq!(versions(&bench.engine), (2, 3));
    let (_, stock) = bench.engine.history("stock", 9).unwrap();
    let (_, sold) = bench.engine.history("sold", 9).unwrap();
    assert_eq!(stock[0].activity, sold[0].activity, "one act for all");
    assert_eq!(sold[1].activity, sold[0].activity, "one act for all");
    assert_eq!(stock[0].version.to_string(), outcome["statements"][0]["version"]);
    let reader = bench.store.read().unwrap();
    let from = reader.edges_from(&sold[1].version.to_string()).unwrap();
    let stock_then = stock[0].version.to_string();
    assert!(from.iter().any(|edge| edge.to == stock_then), "what was read is the changed table");
    assert!(reader.holes().unwrap().is_empty());
    for row in bench.engine.latest_tables().unwrap() {
        assert!(bench.engine.verify(&row.meta).unwrap(), "{}", row.meta.asset);
    }
    bench.sql("insert into stock values (3, 1); insert into sold values (3, 1)");
    assert_eq!(both(&bench.engine), [json!(26), json!(7)]);
}

#[test]
fn a_block_is_seen_whole() {
    a_block_is_seen_whole_and_each_statement_sees_those_before();
    in_bucket(a_block_is_seen_whole_and_each_statement_sees_those_before);
}

#[test]
fn a_fault_in_the_middle_or_a_rollback_leaves_nothing() {
    let bench = Bench::shop();
    for (block, code) in [
        ("begin; delete from stock; insert into sold values ('x', 'y'); commit", 3003),
        (
            "begin; create table fresh as select 1 as a; insert into fresh values (1, 2); commit",
            3003,
        ),
        ("begin; delete from stock; drop table sold; commit", 3031),
        ("begin; delete from stock; begin; commit", 3031),
        ("begin; delete from stock", 3031),
        ("begin; delete from nosuch; commit", 3003),
    ] {
        let refused = bench.block(block).unwrap_err();
        assert_eq!(refused.code().number, code, "{block}: {refused}");
    }
    let tried = json!(bench.block(&MOVE.replace("commit", "rollback")).unwrap());
    assert_eq!(
        (&tried["action"], &tried["statements"][3]["rows"]),
        (&json!("rollback"), &json!([[6]]))
    );
    assert_eq!(both(&bench.engine), [json!(30), json!(0)]);
    assert_eq!(versions(&bench.engine), (1, 1));
    assert!(bench.engine.history("fresh", 1).is_err());
    let log = bench.root().join(".sextant/tables/tables-stock/_delta_log");
    assert_eq!(std::fs::read_dir(log).unwrap().count(), 1, "nothing reached the log");
    // The name is free.
    bench
        .block("begin; create table fresh as select 1 as a; insert into fresh values (2); commit")
        .unwrap();
    assert_eq!(bench.rows("select sum(a) from fresh"), json!([[3]]));
}

#[test]
fn a_crash_after_the_preparation_is_finished_at_the_next_start() {
    for step in [
        "data.transaction.prepared",
        "data.transaction.between_commits",
        "data.transaction.before_act",
    ] {
        let bench = Bench::shop();
        stop_next_at(step);
        bench.block(MOVE).unwrap_err();
        assert_eq!(both(&bench.engine), [json!(30), json!(0)], "{step}: nothing is visible yet");
        for start in ["first", "second"] {
            let again = bench.again();
            assert_eq!(both(&again), [json!(25), json!(6)], "{step}, {start} start");
            assert_eq!(versions(&again), (2, 3), "{step}, {start} start");
        }
    }
}

#[test]
fn what_a_failure_left_is_finished_before_the_next_change() {
    let bench = Bench::shop();
    stop_next_at("data.transaction.between_commits");
    bench.block(MOVE).unwrap_err();
    bench.sql("insert into sold values (9, 100)");
    assert_eq!(both(&bench.engine), [json!(25), json!(106)]);
}

#[test]
fn another_program_that_takes_the_place_of_a_commit_undoes_the_block() {
    let bench = Bench::shop();
    stop_next_at("data.transaction.between_commits");
    bench.block("begin; create table fresh as select 1 as a; update stock set n = 0; update sold set n = 7; commit").unwrap_err();
    // The commits of `fresh` and of nothing else are put. Another program writes to `sold`.
    let path =
        bench.root().join(".sextant/tables/tables-sold/_delta_log/00000000000000000001.json");
    std::fs::write(path, "{\"commitInfo\":{\"operation\":\"WRITE\"}}").unwrap();
    let again = bench.again();
    assert_eq!(both(&again), [json!(30), json!(0)]);
    assert!(again.history("fresh", 1).is_err());
    let (_, sold) = again.history("sold", 9).unwrap();
    assert_eq!(sold[0].action, "write", "the other program's commit is taken up");
    let (_, stock) = again.history("stock", 9).unwrap();
    assert_eq!(stock[0].version, stock.last().unwrap().version, "stock is what it was");
    bench.block(MOVE).unwrap();
    assert_eq!(both(&bench.engine), [json!(25), json!(6)]);
}

#[test]
fn taking_back_is_finished_after_a_crash() {
    let bench = Bench::shop();
    stop_next_at("data.transaction.between_commits");
    bench.block("begin; update stock set n = 0; update sold set n = 7; commit").unwrap_err();
    let path =
        bench.root().join(".sextant/tables/tables-sold/_delta_log/00000000000000000001.json");
    std::fs::write(path, "{\"commitInfo\":{\"operation\":\"WRITE\"}}").unwrap();
    stop_next_at("data.transaction.taken_back");
    assert!(super::open(&bench.store, None).is_err(), "stopped before the act");
    let again = bench.again();
    assert_eq!(both(&again), [json!(30), json!(0)], "no start fails for it");
    assert_eq!(versions(&again), (3, 2));
}

#[test]
fn a_fault_names_its_statement() {
    let bench = Bench::shop();
    let folder = bench.root().join(".sextant/tables/tables-sold");
    for file in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        if file.extension().is_some_and(|kind| kind == "parquet") {
            std::fs::remove_file(file).unwrap();
        }
    }
    for (statement, code) in [("select nothing", 3003), ("update sold set n = n + 1", 3009)] {
        let told = bench.block(&format!("begin; select 1; {statement}; commit")).unwrap_err();
        assert!(told.to_string().starts_with("statement 2 of the transaction: "), "{told}");
        assert_eq!(told.code().number, code, "{told}");
    }
}

#[test]
fn a_commit_that_cannot_be_taken_back_is_told() {
    let bench = Bench::shop();
    stop_next_at("data.transaction.between_commits");
    let block = "begin; update stock set n = 0; update sold set n = 7; commit";
    bench.block(block).unwrap_err();
    // Another program writes behind the commit that was put, and in the place of the other.
    for path in [
        "tables-stock/_delta_log/00000000000000000002",
        "tables-sold/_delta_log/00000000000000000001",
    ] {
        let path = bench.root().join(format!(".sextant/tables/{path}.json"));
        std::fs::write(path, "{\"commitInfo\":{\"operation\":\"WRITE\"}}").unwrap();
    }
    let told = super::open(&bench.store, None).err().unwrap();
    assert_eq!(told.code().number, 3033);
    assert!(told.to_string().contains("tables/stock has its part"), "{told}");
    // It is told once; then what there is is what there is.
    let again = bench.again();
    assert_eq!(both(&again), [json!(0), json!(0)]);
    assert_eq!(versions(&again), (3, 2));
}

#[test]
fn blocks_and_single_statements_at_once_lose_nothing() {
    let bench = Bench::shop();
    std::thread::scope(|scope| {
        for writer in 0..4 {
            let bench = &bench;
            scope.spawn(move || {
                bench.block("begin; update stock set n = n + 1 where id = 1; insert into sold values (5, 1); commit").unwrap();
                bench.sql(&format!("insert into sold values ({}, 1)", 10 + writer));
            });
        }
    });
    assert_eq!(both(&bench.engine), [json!(34), json!(8)]);
}
