//! Tables that statements change: every change a version, every version readable while it is held,
//! nothing lost between writers or in a crash.

use std::time::Duration;

use serde_json::{Value, json};
use sextant_core::{Cancel, Explain as _};

use super::Bench;
use crate::{
    DataEngine, DataError, GcOptions, GcReport, Holder, SqlOptions, SqlOutcome, TagKind,
    table::{
        change::Change,
        commits::{CommitNote, RestoreSet},
    },
};

impl Bench {
    pub(super) fn try_sql(&self, sql: &str) -> Result<SqlOutcome, DataError> {
        let options = SqlOptions { limit: 100, files: Some(self.root().to_owned()) };
        self.engine.sql(sql, &options, &Cancel::new())
    }

    /// Runs statements; the outcome of the last as JSON.
    pub(super) fn sql(&self, statements: &str) -> Value {
        let mut last = Value::Null;
        for statement in statements.split(';').filter(|statement| !statement.trim().is_empty()) {
            let outcome = self.try_sql(statement);
            last = json!(outcome.unwrap_or_else(|error| panic!("{statement}: {error:?}")));
        }
        last
    }

    pub(super) fn rows(&self, sql: &str) -> Value {
        self.sql(sql)["rows"].clone()
    }

    pub(super) fn refuses(&self, sql: &str) -> (u16, String) {
        match self.try_sql(sql) {
            Ok(outcome) => panic!("{sql} gave {}", json!(outcome)),
            Err(error) => (error.code().number, error.to_string()),
        }
    }

    pub(super) fn gc(&self, dry_run: bool, holders: Vec<Holder>) -> GcReport {
        let options = GcOptions { dry_run, older_than: Duration::ZERO, holders };
        self.engine.gc(&options).unwrap()
    }

    pub(super) fn orders() -> Self {
        let bench = Self::new(&[]);
        bench.sql(ORDERS);
        bench
    }
}

pub(super) const ORDERS: &str =
    "create table orders as select * from (values (1, 'tea', 2.5), (2, 'rice', 4.0),
    (3, 'salt', 1.0)) as t (id, item, price)";
pub(super) const ALL: &str = "select id, item, price from orders order by id";

#[test]
pub(super) fn every_statement_that_writes_does_what_it_says() {
    let bench = Bench::orders();
    for (statement, rows) in [
        ("insert into orders values (4, 'oil', 7.5)", json!([4, "oil", 7.5])),
        ("insert into orders (id) values (5)", json!([5, null, null])),
        (
            "update orders set price = price * 2, item = upper(item) where id > 3 and price > 7",
            json!([4, "OIL", 15.0]),
        ),
        ("delete from orders o where id = 4", json!(null)),
        ("alter table orders add column note text", json!(null)),
        (
            "insert overwrite orders select * from version_of('orders', 0), (select 'x') as n (note) \
          where id < 3",
            json!([2, "rice", 4.0]),
        ),
        ("truncate table orders", json!(null)),
        (
            "insert into orders select id, item, price, null from version_of('orders', 0)",
            json!([3, "salt", 1.0]),
        ),
    ] {
        let outcome = bench.sql(statement);
        assert_eq!(outcome["unchanged"], false, "{statement}: {outcome}");
        let found = bench.rows(ALL);
        let has = found.as_array().unwrap().contains(&rows);
        assert!(has || rows.is_null(), "{statement}: {found}");
    }
    let (_, history) = bench.engine.history("orders", 100).unwrap();
    let actions: Vec<_> = history.iter().rev().map(|row| row.action.as_str()).collect();
    assert_eq!(
        actions,
        [
            "create table",
            "insert into",
            "insert into",
            "update",
            "delete from",
            "add column",
            "insert overwrite",
            "truncate",
            "insert into"
        ]
    );
    let versions: std::collections::BTreeSet<_> = history.iter().map(|row| row.version).collect();
    assert_eq!(versions.len(), history.len(), "every change has another id");
}

#[test]
pub(super) fn merge_inserts_updates_and_deletes_by_key() {
    let bench = Bench::orders();
    bench.sql(
        "merge into orders as o using (values (2, 'rice', 5.0), (3, 'gone', 0.0), (9, 'new', 9.0))
           as s (id, item, price) on o.id = s.id
         when matched and s.item = 'gone' then delete
         when matched then update set price = s.price
         when not matched then insert (id, item, price) values (s.id, s.item, s.price)",
    );
    assert_eq!(bench.rows(ALL), json!([[1, "tea", 2.5], [2, "rice", 5.0], [9, "new", 9.0]]));
    // Two source rows for one target row have no meaning.
    let (code, _) = bench.refuses(
        "merge into orders using (values (1, 1.0), (1, 2.0)) as s (id, price)
         on orders.id = s.id when matched then update set price = s.price",
    );
    assert_eq!(code, 3003);
}

#[test]
fn what_changes_nothing_makes_no_version() {
    let bench = Bench::orders();
    for statement in
        ["delete from orders where id = 77", "create table if not exists orders (a int)"]
    {
        assert_eq!(bench.sql(statement)["unchanged"], true, "{statement}");
    }
    assert_eq!(bench.engine.history("orders", 9).unwrap().1.len(), 1);
}

#[test]
pub(super) fn replace_where_takes_only_rows_that_fit() {
    let bench = Bench::orders();
    let options = SqlOptions { limit: 1, files: None };
    let replace =
        |sql: &str| bench.engine.replace_where("orders", "id >= 2", sql, &options, &Cancel::new());
    replace("select 7, 'seven', 7.0").unwrap();
    assert_eq!(bench.rows(ALL), json!([[1, "tea", 2.5], [7, "seven", 7.0]]));
    assert!(replace("select 1, 'one', 1.0").is_err(), "a row outside of the predicate");
    assert_eq!(bench.rows(ALL), json!([[1, "tea", 2.5], [7, "seven", 7.0]]));
}

#[test]
pub(super) fn older_versions_are_read_by_number_tag_time_and_digest() {
    let bench = Bench::orders();
    let first = bench.engine.history("orders", 1).unwrap().1[0].clone();
    bench.engine.tag("before", TagKind::Tag, &[]).unwrap();
    bench.sql("delete from orders where id < 3");
    let count = |from: &str| bench.rows(&format!("select count(*) from {from}"))[0][0].clone();
    assert_eq!(count("orders"), 1);
    for from in [
        "version_of('orders', 0)".to_owned(),
        "version_of('tables.orders', 'v0')".to_owned(),
        "version_of('orders', 'before')".to_owned(),
        format!("version_of('orders', '{}')", first.version.short()),
        format!("version_at('orders', '{}')", first.at),
    ] {
        assert_eq!(count(&from), 3, "{from}");
    }
    assert_eq!(bench.refuses("select * from version_of('orders', 9)").0, 3010);
    assert_eq!(bench.refuses("select * from version_at('orders', '2001-01-01')").0, 3010);
    assert_eq!(bench.refuses("select * from version_of(orders)").0, 3003);
    // A call is qualified by the table's own name, and joins with the table as it is now.
    let gone = "select a.id from version_of('orders', 0) a left join orders b on a.id = b.id
                where b.id is null order by 1";
    assert_eq!(bench.rows(gone), json!([[1], [2]]));
    let back = bench.engine.restore("orders", "before", &Cancel::new()).unwrap();
    assert_eq!(back.version, first.version, "the same rows are the same version");
    assert_eq!(count("orders"), 3);
}

#[test]
pub(super) fn changes_between_versions_are_read() {
    let bench = Bench::orders();
    bench.sql("update orders set price = 3.0 where id = 1; delete from orders where id = 3");
    let changes = bench.rows(
        "select id, _change_type, _commit_version from changes('orders', 1, 2) order by 3, 1, 2",
    );
    assert_eq!(
        changes,
        json!([[1, "update_postimage", 1], [1, "update_preimage", 1], [3, "delete", 2]])
    );
}

#[test]
fn a_query_is_explained() {
    let bench = Bench::manual(&[]);
    bench.sql("create table t as select 1 as a");
    for (statement, told) in [
        ("explain select sum(a) from t", "Aggregate"),
        ("explain analyze select sum(a) from t", "output_rows"),
        ("explain select a from version_of('t', 0) where a > 1", "Filter"),
    ] {
        let rows = bench.rows(statement).to_string();
        assert!(rows.contains(told), "{statement}: {rows}");
    }
}

#[test]
fn tables_of_assets_and_taken_names_are_refused() {
    let bench = Bench::manual(&[]);
    bench.good();
    for (statement, code) in [
        ("delete from sections", 3031),
        ("insert into documents select * from documents", 3031),
        ("create table sections (a int)", 3033),
        ("create table t (id int primary key)", 3031),
        ("create table t (id int not null)", 3031),
        ("create table t as select 1 as \"a b\"", 3003),
        ("create view v as select 1", 3031),
        ("copy (select 1) to 'x.csv'", 3031),
        ("set datafusion.execution.batch_size = 1", 3031),
        ("drop table nosuch", 3010),
        ("insert into nosuch values (1)", 3003),
        ("select 1; select 2", 3004),
    ] {
        let (found, message) = bench.refuses(statement);
        assert_eq!(found, code, "{statement}: {message}");
    }
    bench.sql("create table t as select 1 as a");
    for (statement, code) in [
        ("create table t (b int)", 3033),
        ("delete from t where a in (select 1)", 3031),
        ("update t set a = s.b from (select 1 as b) s", 3031),
        ("insert into t values ('not a number')", 3003),
        ("replace into t values (1)", 3031),
        ("explain analyze insert into t values (2)", 3031),
        ("explain explain select 1", 3031),
    ] {
        let (found, message) = bench.refuses(statement);
        assert_eq!(found, code, "{statement}: {message}");
    }
    assert_eq!(bench.rows("select * from t"), json!([[1]]));
    bench.sql("create or replace table t as select 'x' as b");
    assert_eq!(bench.rows("select * from t"), json!([["x"]]));
    bench.sql("drop table t");
    assert_eq!(bench.refuses("select * from t").0, 3003);
    assert_eq!(bench.rows("select a from version_of('t', 0)"), json!([[1]]));
    bench.sql("create table t as select 2 as c");
    assert_eq!(bench.rows("select c from t"), json!([[2]]));
}

#[test]
pub(super) fn a_commit_that_a_crash_left_is_adopted_with_what_it_read() {
    let bench = Bench::orders();
    bench.sql("create table prices as select 1 as id, 9.0 as price");
    let prices = bench.engine.history("prices", 1).unwrap().1[0].version;
    // The Delta commit of an update happens, its act does not.
    let asset: sextant_project::AssetId = "tables/orders".parse().unwrap();
    let change = Change::Delete { predicate: None };
    let note = CommitNote {
        id: "crash".to_owned(),
        action: "delete from".to_owned(),
        sql: Some("delete from orders".to_owned()),
        inputs: vec![prices],
        files: Vec::new(),
        whole: false,
        restored: None,
        set: None,
    };
    let properties = bench.engine.note_for(&asset, &note).unwrap();
    let (engine, table) = (bench.engine.clone(), asset.clone());
    let committed = bench
        .engine
        .block(None, async move { engine.commit_once(&table, &change, properties).await });
    committed.unwrap().unwrap();
    assert_eq!(bench.rows("select count(*) from orders"), json!([[3]]), "no act, not visible");

    let again = bench.again();
    let (_, history) = again.history("orders", 9).unwrap();
    assert_eq!(history.len(), 2);
    assert_eq!((history[0].action.as_str(), history[0].rows), ("delete from", 0));
    let reader = bench.store.read().unwrap();
    let derived: Vec<_> = reader.edges_from(&history[0].version.to_string()).unwrap();
    let derived: Vec<_> = derived.iter().map(|edge| edge.to.clone()).collect();
    assert!(derived.contains(&prices.to_string()), "{derived:?}");
    assert!(derived.contains(&history[1].version.to_string()), "{derived:?}");
    assert!(reader.holes().unwrap().is_empty());
}

#[test]
fn compaction_keeps_the_version_and_damage_is_seen() {
    let bench = Bench::orders();
    for id in 4..9 {
        bench.sql(&format!("insert into orders values ({id}, 'x', 1.0)"));
    }
    let before = bench.engine.history("orders", 1).unwrap().1[0].clone();
    let rows = bench.rows(ALL);
    let compacted = bench.engine.compact("orders", None, &Cancel::new()).unwrap();
    assert_eq!(compacted.version, before.version);
    assert!(compacted.delta_version > before.delta_version && compacted.unchanged);
    assert_eq!(
        bench.engine.zorder("orders", &["id".to_owned()], &Cancel::new()).unwrap().version,
        before.version
    );
    assert_eq!(bench.rows(ALL), rows);
    assert!(bench.engine.zorder("orders", &["nosuch".to_owned()], &Cancel::new()).is_err());
    // The files of the old Delta versions go; the version stays readable where it is now.
    let report = bench.gc(false, Vec::new());
    assert!(report.files >= 6, "{report:?}");
    assert_eq!(bench.rows(ALL), rows);
    let number = before.delta_version;
    assert_eq!(
        bench.rows(&format!("select count(*) from version_of('orders', {number})")),
        json!([[8]])
    );
    let meta = bench.engine.table_version(&before.version).unwrap();
    assert!(bench.engine.verify(&meta).unwrap());
    let folder = bench.root().join(".sextant/tables/tables-orders");
    let files = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
    for file in files.filter(|path| path.extension().is_some_and(|e| e == "parquet")) {
        let mut bytes = std::fs::read(&file).unwrap();
        bytes[10] ^= 1;
        std::fs::write(&file, bytes).unwrap();
    }
    assert!(!bench.engine.verify(&meta).unwrap());
}

#[test]
pub(super) fn gc_removes_only_what_nobody_holds() {
    let bench = Bench::orders();
    for id in 1..=3 {
        bench.sql(&format!("delete from orders where id = {id}"));
    }
    bench.sql("insert into orders values (8, 'eight', 8.0)");
    bench.engine.tag("keep", TagKind::Tag, &["orders@1".to_owned()]).unwrap();
    let (_, history) = bench.engine.history("orders", 9).unwrap();
    let cited = history.iter().find(|row| row.delta_version == 2).unwrap().version;
    let holder = || vec![Holder { version: cited, by: "run x".to_owned() }];

    let planned = bench.gc(true, holder());
    let removed: Vec<_> = planned.removed.iter().map(|row| row.delta_version).collect();
    assert_eq!(removed, [0, 3], "{planned:?}");
    let by: Vec<_> = planned.held.iter().map(|row| row.by.join(",")).collect();
    assert_eq!(by, ["tag keep", "run x", "newest"]);
    assert_eq!(bench.rows("select count(*) from version_of('orders', 0)"), json!([[3]]));

    let done = bench.gc(false, holder());
    assert_eq!((done.files, done.bytes), (planned.files, planned.bytes));
    assert!(done.files > 0);
    for (version, rows) in [(1, 2), (2, 1), (4, 1)] {
        let sql = format!("select count(*) from version_of('orders', {version})");
        assert_eq!(bench.rows(&sql), json!([[rows]]), "{sql}");
    }
    let (code, message) = bench.refuses("select * from version_of('orders', 0)");
    assert_eq!(code, 3032, "{message}");
    let restored = bench.engine.restore("orders", "0", &Cancel::new());
    assert_eq!(restored.unwrap_err().code().number, 3032);
    assert_eq!(bench.gc(false, holder()).files, 0, "a second run finds nothing");
    // Without its tag a version is like any other.
    bench.engine.untag("keep").unwrap();
    assert_eq!(bench.gc(false, holder()).removed.len(), 1);
    // A dropped table holds nothing but what is held.
    bench.sql("drop table orders");
    bench.gc(false, holder());
    assert_eq!(bench.rows("select count(*) from version_of('orders', 2)"), json!([[1]]));
    assert_eq!(bench.refuses("select * from version_of('orders', 4)").0, 3032);
}

#[test]
pub(super) fn gc_leaves_a_table_of_an_asset_readable() {
    let bench = Bench::manual(&[]);
    bench.good();
    let old = bench.meta("models/sections");
    bench.write("docs/b.md", "# Gamma\nChanged.\n");
    bench.good();
    let compacted = bench.engine.compact("sections", None, &Cancel::new()).unwrap();
    assert_eq!(compacted.version, bench.version("models/sections").version);
    let report = bench.gc(false, Vec::new());
    assert!(report.removed.iter().any(|row| row.delta_version == old.delta_version), "{report:?}");
    assert!(bench.engine.rows(&old, &[]).is_err());
    assert_eq!(bench.engine.rows(&bench.meta("models/sections"), &[]).unwrap().len(), 3);
    // The next build finds its table as it left it.
    assert_eq!(super::of(&bench.good(), "models/sections").outcome.as_str(), "unchanged");
}

#[test]
fn tags_stay_and_branches_move() {
    let bench = Bench::orders();
    let tag = |name: &str, kind| bench.engine.tag(name, kind, &[]);
    tag("release-1", TagKind::Tag).unwrap();
    tag("nightly", TagKind::Branch).unwrap();
    bench.sql("delete from orders where id = 1");
    assert_eq!(tag("release-1", TagKind::Tag).unwrap_err().code().number, 3033);
    assert_eq!(tag("release-1", TagKind::Branch).unwrap_err().code().number, 3033);
    tag("nightly", TagKind::Branch).unwrap();
    let count = |name: &str| {
        bench.rows(&format!("select count(*) from version_of('orders', '{name}')"))[0][0].clone()
    };
    assert_eq!((count("release-1"), count("nightly")), (json!(3), json!(2)));
    for name in ["v3", "7", "abcdef12", "-x", "a b"] {
        assert_eq!(tag(name, TagKind::Tag).unwrap_err().code().number, 3031, "{name}");
    }
}

#[test]
pub(super) fn thirty_two_writers_lose_nothing() {
    let bench = Bench::orders();
    std::thread::scope(|scope| {
        for writer in 0..32 {
            let bench = &bench;
            scope.spawn(move || {
                let insert = format!("insert into orders values ({}, 'w', 0.0)", 100 + writer);
                bench.sql(&insert);
                if writer % 8 == 0 {
                    bench.sql("update orders set price = price + 1 where id = 1");
                }
            });
        }
    });
    assert_eq!(
        bench.rows("select count(*), count(distinct id) from orders where item = 'w'"),
        json!([[32, 32]])
    );
    assert_eq!(bench.rows("select price from orders where id = 1"), json!([[6.5]]));
    let (_, history) = bench.engine.history("orders", 100).unwrap();
    assert_eq!(history.len(), 1 + 32 + 4);
    assert!(history.windows(2).all(|pair| pair[0].delta_version == pair[1].delta_version + 1));
}

#[test]
fn files_of_the_project_are_read_in_place_and_no_others() {
    let bench = Bench::new(&[
        ("in/a.csv", "id,name\n1,tea\n2,\"rice, white\"\n"),
        ("in/a.jsonl", "{\"id\": 3, \"name\": \"salt\"}\n"),
        ("in/a.txt", "text"),
    ]);
    let outside = tempfile::tempdir().unwrap();
    std::fs::write(outside.path().join("x.csv"), "a\n1\n").unwrap();
    std::os::unix::fs::symlink(outside.path().join("x.csv"), bench.root().join("in/link.csv"))
        .unwrap();
    assert_eq!(
        bench
            .rows("select name from 'in/a.csv' union all select name from 'in/a.jsonl' order by 1"),
        json!([["rice, white"], ["salt"], ["tea"]])
    );
    for (path, code) in [
        ("in/link.csv", 3005),
        ("../x.csv", 3031),
        ("/etc/passwd", 3031),
        (".sextant/x.csv", 3031),
        ("in/a.txt", 3031),
        ("in/*.csv", 3031),
        ("in/none.csv", 3007),
    ] {
        let (found, message) = bench.refuses(&format!("select * from '{path}'"));
        assert_eq!(found, code, "{path}: {message}");
    }
    // Readers of tables alone never reach a file.
    assert!(bench.engine.query("select * from 'in/a.csv'", 1, &Cancel::new()).is_err());
    bench.sql("create table teas as select * from 'in/a.csv'");
    let version = bench.engine.history("teas", 1).unwrap().1[0].version;
    let reader = bench.store.read().unwrap();
    let from = reader.edges_from(&version.to_string()).unwrap()[0].to.parse().unwrap();
    let batch = reader.artifact(&from).unwrap().unwrap();
    assert_eq!((batch.kind.as_str(), &batch.meta["uri"]), ("source_batch", &json!("in/a.csv")));
}

#[test]
pub(super) fn a_model_reads_a_table_of_ones_own_and_is_made_again_when_it_changes() {
    let bench = Bench::new(&[
        ("docs/a.md", "# Alpha\nOne.\n"),
        ("models/cheap.sql", "select item from {{ source('tables', 'orders') }} where price < 3"),
    ]);
    let (code, message) = super::failure(&bench.build(), "models/cheap");
    assert!(code.ends_with("3010") && message.contains("CREATE TABLE orders"), "{code} {message}");
    bench.sql(ORDERS);
    bench.good();
    assert_eq!(bench.meta("models/cheap").rows, 2);
    assert_eq!(super::of(&bench.good(), "models/cheap").outcome.as_str(), "unchanged");
    bench.sql("delete from orders where id = 1");
    bench.good();
    assert_eq!(bench.meta("models/cheap").rows, 1);
    let reader = bench.store.read().unwrap();
    let version = bench.version("models/cheap").version;
    let table = bench.engine.history("orders", 1).unwrap().1[0].version;
    let from = reader.edges_from(&version.to_string()).unwrap();
    assert!(from.iter().any(|edge| edge.to == table.to_string()), "{from:?}");
}

#[test]
pub(super) fn tables_of_a_tag_are_restored_together_also_after_a_crash() {
    let bench = Bench::orders();
    bench.sql("create table prices as select 1 as id");
    bench.engine.tag("both", TagKind::Tag, &[]).unwrap();
    let spoil = || bench.sql("delete from orders; insert into prices values (2), (3)");
    let counts = |engine: &DataEngine| {
        let sql = "select (select count(*) from orders) as o, (select count(*) from prices) as p";
        engine.query(sql, 1, &Cancel::new()).unwrap().rows
    };
    let activities = |engine: &DataEngine| {
        let newest = |table| engine.history(table, 1).unwrap().1[0].activity.clone().unwrap();
        (newest("orders"), newest("prices"))
    };
    spoil();
    assert_eq!(bench.engine.restore_tag("both", &Cancel::new()).unwrap().len(), 2);
    assert_eq!(counts(&bench.engine), [[json!(3), json!(1)]]);
    let (orders, prices) = activities(&bench.engine);
    assert_eq!(orders, prices, "one act for both");
    assert!(bench.engine.restore_tag("both", &Cancel::new()).unwrap().is_empty());
    assert!(bench.engine.restore_tag("nosuch", &Cancel::new()).is_err());

    // Only the first of the two commits happens, and no act.
    spoil();
    let tables = [("tables/orders", 0), ("tables/prices", 0)]
        .map(|(asset, delta)| (asset.parse::<sextant_project::AssetId>().unwrap(), delta));
    let set = RestoreSet { id: "crash".to_owned(), tables: tables.clone().into() };
    let change = Change::Restore { delta_version: 0 };
    let note = CommitNote::of_set(&set, 0);
    let done =
        bench.engine.commit_change_of(&tables[0].0, &change, &note, "restore", &Cancel::new());
    done.unwrap();
    assert_eq!(counts(&bench.engine), [[json!(0), json!(3)]], "nothing is visible");
    let again = bench.again();
    assert_eq!(counts(&again), [[json!(3), json!(1)]]);
    let (orders, prices) = activities(&again);
    assert_eq!(orders, prices, "one act for both");
}
