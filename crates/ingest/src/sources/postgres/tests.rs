//! Do changes fold into the rows that a table must have, however a batch is cut into chunks? And is a
//! source's file that cannot work refused? What needs a server is judged by `judges/postgres`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeMap;

use bytes::Bytes;
use datafusion::{
    arrow::{array::AsArray as _, datatypes::Int32Type},
    catalog::TableProvider as _,
    prelude::SessionContext,
};

use super::{
    OnUnfit,
    bases::Found,
    batch::{Batch, Layout, Place, Ready},
    lsn::Lsn,
    pgoutput::{Cell, Old},
    spill::DELETED,
    subject::Column,
    values::Kind,
    wire::Described,
};
use crate::tests::Bench;

pub(super) const PLACE: Place = Place { lsn: Lsn(7), at_us: 0 };

pub(super) fn column(number: i16, name: &str, kind: Kind) -> Column {
    let described = Described { name: name.to_owned(), type_oid: 0, modifier: -1, number };
    Column { described, kind }
}

pub(super) fn batch(folder: &std::path::Path, on_unfit: OnUnfit) -> Batch {
    let columns = [("id", Kind::Int32), ("v", Kind::Text), ("day", Kind::Date)];
    let columns = (1..).zip(columns).map(|(number, (name, kind))| column(number, name, kind));
    let columns = columns.collect();
    let folder = folder.to_owned();
    Batch::new(Layout { columns, key: vec![0], on_unfit, folder }, 0, Default::default()).unwrap()
}

/// `-` is null, `~` was not sent.
pub(super) fn cells(texts: &str) -> Vec<Cell> {
    let cell = |text: &str| match text {
        "-" => Cell::Null,
        "~" => Cell::Unchanged,
        text => Cell::Text(Bytes::copy_from_slice(text.as_bytes())),
    };
    texts.split(' ').map(cell).collect()
}

/// One change: `+1 a -` inserts, `=1 b ~` updates, `=1>2 b ~` with another key, `!1` deletes, `0` truncates.
pub(super) fn change(batch: &mut Batch, text: &str) {
    let (what, rest) = text.split_at(1);
    let old = |key: &str| Old { whole: false, cells: cells(&format!("{key} - -")) };
    match what {
        "+" => batch.insert(cells(rest), PLACE).unwrap(),
        "!" => batch.delete(&old(rest), PLACE).unwrap(),
        "0" => batch.truncate(),
        "=" => match rest.split_once('>') {
            Some((before, rest)) => batch.update(Some(old(before)), cells(rest), PLACE).unwrap(),
            None => batch.update(None, cells(rest), PLACE).unwrap(),
        },
        other => panic!("{other}"),
    }
}

/// The table before a batch, by key.
fn table() -> BTreeMap<i32, String> {
    BTreeMap::from([(8, "eight -".to_owned()), (9, "nine 2020-01-01".to_owned())])
}

/// The rows of the table that a batch wants to see.
fn found(batch: &Batch) -> Option<Found> {
    let wanted = batch.wanted_keys().unwrap()?;
    let mut there = self::batch(std::path::Path::new("/nowhere"), OnUnfit::Null);
    for key in wanted.column(0).as_primitive::<Int32Type>().iter().flatten() {
        if let Some(row) = table().get(&key) {
            change(&mut there, &format!("+{key} {row}"));
        }
    }
    there.close_open(None).unwrap();
    let (rows, mut found) = (there.ready().rows, Found::new(batch, &wanted).unwrap());
    (0..rows.pieces()).for_each(|piece| found.add(batch, &rows.piece(piece).unwrap()).unwrap());
    Some(found)
}

/// The rows after a batch, as a merge makes them, and what is set aside.
fn merged(ready: Ready) -> (BTreeMap<i32, String>, Vec<String>) {
    let mut rows = if ready.truncated { BTreeMap::new() } else { table() };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (bad, keep) = (ready.bad, ready.keep);
    let read = |spill: super::spill::Spill, keep: Option<Vec<bool>>| {
        runtime.block_on(async {
            let table = spill.table(keep, true).unwrap();
            assert!(table.schema().fields().len() > 3);
            let context = SessionContext::new();
            context.read_table(std::sync::Arc::new(table)).unwrap().collect().await.unwrap()
        })
    };
    for batch in read(ready.rows, Some(keep)) {
        let text = |column: usize, row: usize| {
            let options = Default::default();
            let shown = datafusion::arrow::util::display::ArrayFormatter::try_new(
                batch.column(column),
                &options,
            );
            match shown.unwrap().value(row).to_string() {
                none if none.is_empty() => "-".to_owned(),
                some => some,
            }
        };
        for row in 0..batch.num_rows() {
            let key = batch.column(0).as_primitive::<Int32Type>().value(row);
            if batch.column_by_name(DELETED).unwrap().as_boolean().value(row) {
                rows.remove(&key);
            } else {
                rows.insert(key, format!("{} {}", text(1, row), text(2, row)));
            }
        }
    }
    let mut reasons = Vec::new();
    for batch in read(bad, None) {
        let column = batch.column_by_name("rule").unwrap().clone();
        reasons.extend(column.as_string::<i32>().iter().flatten().map(str::to_owned));
    }
    (rows, reasons)
}

fn check(changes: &[&str], expected: &[(i32, &str)], bad: &[&str]) {
    let folder = tempfile::tempdir().unwrap();
    // Once in one chunk, once with a chunk for each change.
    for each in [false, true] {
        let mut batch = batch(folder.path(), OnUnfit::Quarantine);
        for text in changes {
            change(&mut batch, text);
            if each || text.starts_with('0') {
                batch.close_open(found(&batch).as_ref()).unwrap();
            }
        }
        batch.close_open(found(&batch).as_ref()).unwrap();
        let (rows, reasons) = merged(batch.ready());
        let expected: BTreeMap<_, _> =
            expected.iter().map(|(key, row)| (*key, (*row).to_owned())).collect();
        assert_eq!(rows, expected, "{changes:?}, chunks {each}");
        assert_eq!(reasons, bad, "{changes:?}, chunks {each}");
    }
}

#[test]
fn changes_fold_into_the_rows_that_a_table_must_have() {
    let (eight, nine) = ((8, "eight -"), (9, "nine 2020-01-01"));
    for (changes, expected, bad) in [
        (&["+1 a -"][..], &[(1, "a -"), eight, nine][..], &[][..]),
        (&["+1 a -", "=1 b 2026-01-01"], &[(1, "b 2026-01-01"), eight, nine], &[]),
        (&["+1 a -", "!1"], &[eight, nine], &[]),
        (&["!8", "+8 x -"], &[(8, "x -"), nine], &[]),
        (&["!8", "!9"], &[], &[]),
        // Another key, also to and fro, and over a row that has just gone.
        (&["=8>1 a -"], &[(1, "a -"), nine], &[]),
        (&["=8>1 a -", "=1>8 b -"], &[(8, "b -"), nine], &[]),
        (&["!9", "=8>9 a -"], &[(9, "a -")], &[]),
        // Values that were not sent: from the table, from this batch, over another key.
        (&["=9 ~ 2021-01-01"], &[eight, (9, "nine 2021-01-01")], &[]),
        (&["=9 ~ ~", "=9 ~ -"], &[eight, (9, "nine -")], &[]),
        (&["+1 long -", "=1 ~ 2021-01-01"], &[(1, "long 2021-01-01"), eight, nine], &[]),
        (&["=9>1 ~ 2021-01-01", "=1>2 ~ -"], &[(2, "nine -"), eight], &[]),
        (&["=3 ~ -"], &[eight, nine], &["unchanged"]),
        (&["!9", "=9 ~ -"], &[eight], &["unchanged"]),
        // What does not fit takes its row out of the table; what fits later brings it in again.
        (&["=8 a infinity"], &[nine], &["type"]),
        (&["+1 a infinity", "=1 b -"], &[(1, "b -"), eight, nine], &["type"]),
        (&["=8>1 a infinity"], &[nine], &["type"]),
        // All rows go away, and some come back.
        (&["+1 a -", "0"], &[], &[]),
        (&["0", "+1 a -", "=1 ~ 2021-01-01"], &[(1, "a 2021-01-01")], &[]),
    ] {
        check(changes, expected, bad);
    }
}

#[test]
fn what_does_not_fit_can_become_null() {
    let folder = tempfile::tempdir().unwrap();
    let mut batch = batch(folder.path(), OnUnfit::Null);
    change(&mut batch, "=8 a infinity");
    batch.close_open(None).unwrap();
    let (rows, reasons) = merged(batch.ready());
    assert_eq!((rows[&8].as_str(), reasons.len()), ("a -", 0));
}

#[test]
fn large_values_that_are_read_back_are_held_a_few_at_a_time() {
    const LARGE: usize = 1 << 20;
    let folder = tempfile::tempdir().unwrap();
    // All in memory, where it can be seen what was held at once, and most of them in files.
    for rows in [13, 41] {
        let mut batch = batch(folder.path(), OnUnfit::Quarantine);
        for row in 0..rows {
            change(&mut batch, &format!("+{row} {} -", format!("{row:02}").repeat(LARGE / 2)));
            batch.close_open(None).unwrap();
        }
        // To and fro, so that neighbours are far from each other; one row again and again.
        for row in (0..rows).map(|row| row * 7 % rows).chain([3; 1_000]) {
            change(&mut batch, &format!("={row} ~ 2021-01-01"));
        }
        assert!(!batch.is_full());
        batch.close_open(None).unwrap();
        let ready = batch.ready();
        let (mut most, mut first, mut seen) = (0, 0, 0);
        for piece in (0..ready.rows.pieces()).map(|number| ready.rows.piece(number).unwrap()) {
            let texts = piece.column(1).as_string::<i32>();
            most = most.max(texts.value_data().len());
            let ids = piece.column(0).as_primitive::<Int32Type>();
            for at in (0..piece.num_rows()).filter(|at| ready.keep[first + at]) {
                let (id, text) = (ids.value(at), texts.value(at));
                assert!(text.len() == LARGE && text.starts_with(&format!("{id:02}{id:02}")));
                seen += 1;
            }
            first += piece.num_rows();
        }
        assert_eq!((first, seen), (2 * rows + 1_000, rows));
        assert!(most <= super::batch::CHUNK_BYTES_MAX + LARGE, "{most} bytes at once");
    }
}

#[test]
fn a_batch_of_inserts_is_known_as_such() {
    let folder = tempfile::tempdir().unwrap();
    for (changes, only) in [
        (&["+1 a -", "+2 b -"][..], true),
        (&["+1 a -", "!1", "+1 b -"], false),
        (&["=1 a -"], false),
    ] {
        let mut batch = batch(folder.path(), OnUnfit::Quarantine);
        changes.iter().for_each(|text| change(&mut batch, text));
        batch.close_open(None).unwrap();
        assert_eq!(batch.ready().only_inserts, only, "{changes:?}");
    }
}

#[test]
fn a_file_that_cannot_work_is_refused_with_its_place() {
    let head = "type = \"postgres\"\nurl = \"postgres://u@h/d\"\n";
    for rest in [
        "",
        "table = \"t\"\nquery = \"select 1\"\n",
        "query = \"select 1\"\nmode = \"cdc\"\n",
        "table = \"t\"\nmode = \"incremental\"\n",
        "table = \"t\"\ncursor = \"c\"\n",
        "query = \"select 1\"\nmode = \"incremental\"\ncursor = \"c\"\n",
        "table = \"t\"\nslot = \"s\"\n",
        "table = \"t\"\nkey = [\"a\"]\n",
        "table = \"t\"\npoll_seconds = 5\n",
        "table = \"t\"\nmode = \"cdc\"\npoll_seconds = 86401\n",
        "table = \"t\"\nmode = \"cdc\"\nslot = \"Großes\"\n",
        "table = \"t\"\nmode = \"all\"\n",
    ] {
        let toml = format!("{head}{rest}");
        let bench = Bench::new(&[("sources/orders.toml", &toml), ("docs/a.md", "# A\n")]);
        let failure = bench.load().map(drop).unwrap_err();
        assert!(failure.chain().contains("orders.toml") || failure.place().is_some(), "{rest}");
    }
    for url in ["mysql://u@h/d", "postgres://u:secret@h/d"] {
        let toml = format!("type = \"postgres\"\nurl = \"{url}\"\ntable = \"t\"\n");
        let bench = Bench::new(&[("sources/orders.toml", &toml), ("docs/a.md", "# A\n")]);
        let failure = bench.load().map(drop).unwrap_err();
        assert!(!format!("{failure:?} {}", failure.chain()).contains(":secret"), "{url}");
    }
}

#[test]
fn no_server_is_said_quickly() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    drop(taken);
    let toml = format!(
        "type = \"postgres\"\nurl = \"postgres://u@127.0.0.1:{port}/d\"\ntable = \"t\"\nmode = \"cdc\"\n"
    );
    let bench = Bench::new(&[("sources/orders.toml", &toml), ("docs/a.md", "# A\n")]);
    let (code, _) = crate::tests::failure(&bench.build(), "sources/orders");
    assert_eq!(code, "SXT-3050");
}
