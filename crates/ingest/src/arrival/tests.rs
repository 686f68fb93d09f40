//! Which columns does a batch give, and which of its records fit?

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{collections::BTreeMap, sync::Arc};

use datafusion::arrow::datatypes::Schema;
use serde_json::{Value, json};
use sextant_core::Cancel;

use super::{
    ColumnContract, Contract, Fault, Feed, Format, Marks, NewColumn, Places, Plan, Record, Rules,
    TypeName, plain, plain_json,
    shape::{Sorted, sort},
};
use crate::{
    error::{DataError, Result},
    tests::{Bench, stop_next_at},
};
use sextant_data::content;

fn plan(schema: &[(&str, TypeName)], on_new_column: NewColumn) -> Plan {
    let schema: BTreeMap<_, _> =
        schema.iter().map(|(name, kind)| ((*name).to_owned(), *kind)).collect();
    let places = Places { partition: None, offset: "_offset", arrived_at: None, filled: &[] };
    Plan {
        asset: "sources/t".parse().unwrap(),
        table: "t".to_owned(),
        uri: "test:t".to_owned(),
        partitions: vec!["0".to_owned()],
        rules: Arc::new(Rules {
            schema,
            hints: BTreeMap::new(),
            on_new_column,
            contract: Contract::default(),
            key: vec![],
            places,
            loose: false,
        }),
        decode: plain(|_, text| match serde_json::from_str(text) {
            Ok(Value::Object(fields)) => Ok(fields),
            _ => Err(Fault::new("json", "no")),
        }),
        plainly: Some(plain_json),
    }
}

fn sorted(plan: &Plan, table: Option<&Schema>, texts: &[&str]) -> Sorted {
    let record = |(offset, text): (usize, &&str)| Record {
        partition: "0".into(),
        offset: offset as i64,
        arrived_at: 0,
        format: Format::Json,
        payload: (*text).to_owned().into(),
    };
    sort(plan, table, texts.iter().enumerate().map(record).collect()).unwrap()
}

/// `column type` for each column but the place.
fn columns(sorted: &Sorted) -> String {
    let columns = content::columns(&sorted.good.schema());
    let words = columns.iter().filter(|column| column.name != "_offset");
    words
        .map(|column| format!("{} {}", column.name, column.data_type))
        .collect::<Vec<_>>()
        .join(", ")
}

#[test]
fn a_first_batch_decides_the_columns() {
    for (texts, expected) in [
        (vec![r#"{"a":1,"b":"x","c":true}"#], "a bigint, b text, c boolean"),
        (vec![r#"{"a":1}"#, r#"{"a":2.5}"#], "a double"),
        (vec![r#"{"a":1}"#, r#"{"a":"x"}"#], "a text"),
        (vec![r#"{"a":null}"#, r#"{"b":1}"#], "b bigint"),
        (vec![r#"{"a":{"b":1}}"#, r#"{"a":[1]}"#], "a text"),
        (vec![r#"{"a":18446744073709551615}"#], "a text"),
        (vec!["broken", r#"{"a":1}"#], "a bigint"),
    ] {
        let plan = plan(&[], NewColumn::Quarantine);
        assert_eq!(columns(&sorted(&plan, None, &texts)), expected, "{texts:?}");
    }
}

#[test]
fn values_fit_or_say_why() {
    use TypeName::{Bigint, Boolean, Date, Double, Text, Timestamp};
    for (kind, value, fits) in [
        (Text, "\"x\"", true),
        (Text, "5", true),
        (Text, "[1]", true),
        (Bigint, "5", true),
        (Bigint, "5.0", true),
        (Bigint, "5.5", false),
        (Bigint, "\"5\"", false),
        (Bigint, "9223372036854775808", false),
        (Bigint, "-1e300", false),
        (Double, "-9223372036854775808", false),
        (Double, "5", true),
        (Double, "9007199254740993", false),
        (Boolean, "1", false),
        (Date, "\"2026-11-23\"", true),
        (Date, "\"23.11.2026\"", false),
        (Timestamp, "\"2026-11-23T10:00:00+01:00\"", true),
        (Timestamp, "\"soon\"", false),
        (Timestamp, "null", true),
    ] {
        let plan = plan(&[("a", kind)], NewColumn::Add);
        let text = format!("{{\"a\":{value}}}");
        let sorted = sorted(&plan, None, &[&text]);
        assert_eq!(sorted.bad.is_empty(), fits, "{kind:?} {value}");
        if let Some((_, fault)) = sorted.bad.first() {
            assert!(fault.rule == "type" && fault.reason.contains("`a` must be"), "{fault:?}");
        }
    }
}

#[test]
fn a_contract_holds_or_names_the_value() {
    use TypeName::{Bigint, Date, Text};
    for (kind, contract, value, fits) in [
        (Bigint, json!({ "min": 1 }), "1", true),
        (Bigint, json!({ "min": 1 }), "0", false),
        (Bigint, json!({ "max": 5 }), "6", false),
        (Bigint, json!({ "min": 1 }), "null", true),
        (Bigint, json!({ "required": true }), "null", false),
        (Text, json!({ "one_of": ["a", "b"] }), "\"b\"", true),
        (Text, json!({ "one_of": ["a", "b"] }), "\"c\"", false),
        (Text, json!({ "matches": "^[A-Z]{2}$" }), "\"DE\"", true),
        (Text, json!({ "matches": "^[A-Z]{2}$" }), "\"DEU\"", false),
        (Date, json!({ "min": "2026-01-01" }), "\"2025-12-31\"", false),
        (Date, json!({ "min": "2026-01-01" }), "\"2026-01-01\"", true),
    ] {
        let mut plan = plan(&[("a", kind)], NewColumn::Add);
        let said: ColumnContract = serde_json::from_value(contract.clone()).unwrap();
        let mut rules = (*plan.rules).clone();
        rules.contract = Contract::of(&[("a".to_owned(), said)].into(), &rules.schema).unwrap();
        plan.rules = Arc::new(rules);
        let sorted = sorted(&plan, None, &[&format!("{{\"a\":{value}}}")]);
        assert_eq!(sorted.bad.is_empty(), fits, "{contract} {value}");
        assert!(sorted.bad.iter().all(|(_, fault)| fault.rule == "contract"), "{contract}");
    }
}

#[test]
fn a_contract_that_cannot_hold_is_refused_when_it_is_read() {
    for (schema, contract, fault) in [
        (vec![], json!({ "min": 1 }), "unknown type"),
        (vec![("a", TypeName::Bigint)], json!({ "min": "x" }), "names"),
        (vec![("a", TypeName::Bigint)], json!({ "matches": "x" }), "matches text"),
        (vec![("a", TypeName::Text)], json!({ "matches": "(" }), "regex"),
    ] {
        let schema = schema.into_iter().map(|(name, kind)| (name.to_owned(), kind)).collect();
        let said: ColumnContract = serde_json::from_value(contract).unwrap();
        let (message, _) = Contract::of(&[("a".to_owned(), said)].into(), &schema).unwrap_err();
        assert!(message.contains(fault), "{message}");
    }
}

#[test]
fn a_new_column_is_added_refused_or_left_out() {
    let table = sorted(&plan(&[], NewColumn::Add), None, &[r#"{"a":1}"#]).good.schema();
    for (choice, expected, rows) in [
        (NewColumn::Add, "a bigint, b text", 2),
        (NewColumn::Quarantine, "a bigint", 1),
        (NewColumn::Ignore, "a bigint", 2),
    ] {
        let plan = plan(&[], choice);
        let sorted = sorted(&plan, Some(&table), &[r#"{"a":2}"#, r#"{"a":3,"b":"x"}"#]);
        assert_eq!(columns(&sorted), expected);
        assert_eq!(sorted.good.num_rows(), rows);
    }
    // Two names that a table cannot tell apart.
    let alike = sorted(&plan(&[], NewColumn::Add), Some(&table), &[r#"{"A":1}"#]);
    assert_eq!(alike.bad[0].1.rule, "new_column");
}

#[test]
fn names_that_a_table_cannot_have_are_refused_one_by_one() {
    for (name, fits) in [
        ("a.b", true),
        ("ü/%$'`\\\"#*-:", true),
        ("select", true),
        ("", false),
        ("a b", false),
        ("a=b", false),
        ("a\u{0}", false),
        ("a\n", false),
        ("_OFFSET", false),
    ] {
        let text = serde_json::json!({ name: 1 }).to_string();
        let sorted = sorted(&plan(&[], NewColumn::Add), None, &[&text]);
        assert_eq!(sorted.bad.is_empty(), fits, "{name:?}");
    }
}

#[test]
fn a_row_is_the_same_whichever_way_it_goes_into_columns() {
    use TypeName::{Bigint, Boolean, Date, Double, Text, Timestamp};
    let schema = [
        ("n", Bigint),
        ("x", Double),
        ("b", Boolean),
        ("t", Text),
        ("d", Date),
        ("at", Timestamp),
        ("_Offset", Bigint),
        ("twin", Bigint),
        ("Twin", Bigint),
        ("a b", Text),
    ];
    let texts = [
        r#"{"n":1,"x":1.5,"b":true,"t":"x","d":"2026-11-23","at":"2026-11-23T10:00:00Z"}"#,
        r#"{"t":"a \"quoted\" \u00fc","n":-4,"x":3,"b":null}"#,
        r#"{"t":{"deep":[1,2.0,null,{"a":"b"}]},"n":5.0}"#,
        r#"{"t":18446744073709551615,"x":9007199254740993}"#,
        r#"{"t":[1.0,1e3,true],"x":-0.0}"#,
        r#"{"n":9}"#,
        r#"{"n":9223372036854775808}"#,
        r#"{"n":1,"n":2}"#,
        r#"{"n":null,"n":3}"#,
        r#"{"n":1,"unknown":null}"#,
        r#"{"n":1,"unknown":"x"}"#,
        r#"{"N":1}"#,
        r#"{"n":1} trailing"#,
        r#"{"n":1"#,
        r#"{"x":1e999}"#,
        r#"{"d":"soon"}"#,
        r#"{"b":"true"}"#,
        r#"{"_offset":1}"#,
        r#"{"_Offset":1}"#,
        r#"{"twin":1}"#,
        r#"{"twin":1,"Twin":2}"#,
        r#"{"a b":"x"}"#,
        r#"{"t":"\ud800"}"#,
        "{}",
        "[1]",
        "null",
        "",
    ];
    let said: ColumnContract = serde_json::from_value(json!({ "min": -5, "max": 8 })).unwrap();
    for on_new_column in [NewColumn::Add, NewColumn::Quarantine, NewColumn::Ignore] {
        let mut straight = plan(&schema, on_new_column);
        let mut rules = (*straight.rules).clone();
        let contract = [("n".to_owned(), said.clone())].into();
        rules.contract = Contract::of(&contract, &rules.schema).unwrap();
        straight.rules = Arc::new(rules);
        let one_by_one = Plan { plainly: None, ..straight.clone() };
        let outcome = |plan: &Plan, texts: &[&str]| {
            let Sorted { good, places, bad } = sorted(plan, None, texts);
            let places: Vec<i64> = places.iter().map(|place| place.offset).collect();
            let bad: Vec<_> =
                bad.iter().map(|(record, fault)| (record.offset, fault.clone())).collect();
            (good, places, bad)
        };
        for alone in texts {
            assert_eq!(outcome(&straight, &[alone]), outcome(&one_by_one, &[alone]), "{alone}");
        }
        assert_eq!(outcome(&straight, &texts), outcome(&one_by_one, &texts));
    }
}

/// A source with two partitions that takes at most so many records of each into a batch.
struct Cut([usize; 2]);

impl Feed for Cut {
    fn next(&mut self, marks: &Marks) -> Result<Vec<Record>> {
        let mut records = Vec::new();
        for (partition, most) in ["0", "1"].into_iter().zip(self.0) {
            let first = marks.get(partition).map_or(0, |mark| mark + 1);
            let record = |offset: i64| Record {
                partition: partition.into(),
                offset,
                arrived_at: 0,
                format: Format::Json,
                payload: if offset % 2 == 0 {
                    json!({ "a": offset }).to_string().into()
                } else {
                    "bad".to_owned().into()
                },
            };
            records.extend((first..8).take(most).map(record));
        }
        Ok(records)
    }
}

/// A source that gives so many batches, and then none because of an error.
struct Breaking(usize);

impl Feed for Breaking {
    fn next(&mut self, marks: &Marks) -> Result<Vec<Record>> {
        self.0 = self.0.checked_sub(1).ok_or_else(|| DataError::engine("gone"))?;
        Cut([3, 3]).next(marks)
    }
}

#[test]
fn what_was_begun_before_a_source_broke_is_landed() {
    let bench = Bench::new(&[]);
    let mut plan = plan(&[("a", TypeName::Bigint)], NewColumn::Add);
    plan.partitions.push("1".to_owned());
    assert!(bench.engine.land(&plan, &mut Breaking(2), &Cancel::new()).is_err());
    let balance = bench.engine.balance(&plan, &Cancel::new()).unwrap();
    assert_eq!((balance.arrived, balance.landed), (12, 6), "both batches");
    let landed = bench.engine.land(&plan, &mut Cut([8, 8]), &Cancel::new()).unwrap();
    assert_eq!((landed.table.rows, landed.quarantine.unwrap().rows, landed.commits), (8, 8, 1));
    assert!(bench.engine.balance(&plan, &Cancel::new()).unwrap().is_even());
}

#[test]
fn batches_that_are_cut_in_another_way_after_a_stop_double_nothing() {
    for (stopped, cut) in [([1, 8], [8, 1]), ([8, 1], [1, 8]), ([8, 8], [2, 3])] {
        let bench = Bench::new(&[]);
        let mut plan = plan(&[("a", TypeName::Bigint)], NewColumn::Add);
        plan.partitions.push("1".to_owned());
        stop_next_at("data.arrival.after_quarantine");
        assert!(bench.engine.land(&plan, &mut Cut(stopped), &Cancel::new()).is_err());
        let landed = bench.engine.land(&plan, &mut Cut(cut), &Cancel::new()).unwrap();
        assert_eq!((landed.table.rows, landed.quarantine.unwrap().rows), (8, 8), "{cut:?}");
        assert!(bench.engine.balance(&plan, &Cancel::new()).unwrap().is_even(), "{cut:?}");
    }
}
