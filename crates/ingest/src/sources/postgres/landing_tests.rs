//! Does a table hold what the source holds, whatever stops a commit or waits in quarantine? The changes come
//! from the test, the tables are real.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeMap;

use datafusion::{
    arrow::array::RecordBatch,
    prelude::{SessionContext, lit},
};
use futures::TryStreamExt as _;

use super::{
    LSN, Mode, OnUnfit,
    batch::Batch,
    land::{Tables, Way},
    lsn::Lsn,
    note::Note,
    subject::Column,
    tests::{PLACE, batch, cells, change, column},
    values::Kind,
    widen::Added,
};
use crate::{
    arrival::{ArrivalState, Contract, NewColumn, Places, Rules},
    error::Result,
    tests::{Bench, stop_next_at},
};

/// A source of the columns of these tests in this project, with nothing in its table.
async fn tables(bench: &Bench) -> Tables {
    let engine = bench.engine.clone();
    let asset = |name: &str| format!("sources/{name}").parse().unwrap();
    let main = engine.target(&asset("t"), "t").await.unwrap();
    let quarantine = engine.target(&asset("t__quarantine"), "t__quarantine").await.unwrap();
    Tables { engine, main, quarantine }
}

/// How rows are put in by their key.
fn rules(note: &Note) -> Rules {
    Rules {
        schema: BTreeMap::new(),
        hints: BTreeMap::new(),
        on_new_column: NewColumn::Add,
        contract: Contract::default(),
        key: note.key.clone(),
        places: Places { partition: None, offset: LSN, arrived_at: None, filled: &[] },
        loose: false,
    }
}

fn note(columns: &[Column]) -> Note {
    Note {
        mode: Mode::Cdc,
        system: "1".to_owned(),
        oid: 1,
        lsn: Lsn(1),
        copied: Lsn(1),
        columns: columns.iter().map(|column| column.described.clone()).collect(),
        filled: Default::default(),
        key: vec!["id".to_owned()],
        on_unfit: OnUnfit::Quarantine,
        cursor: None,
        digest: None,
        next: None,
    }
}

#[test]
fn a_stop_behind_a_new_column_leaves_the_place_where_to_go_on() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    // As it was cut before, or with a batch in between that does not have the column yet.
    for between in [None, Some(&["+4 four -"][..]), Some(&["!1", "+4 four -"])] {
        let bench = Bench::new(&[("docs/a.md", "# A\n")]);
        let land = |changes: &[&str], widened: bool, lsn: u64| {
            runtime.block_on(async {
                let mut tables = tables(&bench).await;
                let mut batch = batch(bench.root(), OnUnfit::Quarantine);
                let mut note =
                    Note::of(&tables.main.state).unwrap_or_else(|| note(&batch.layout.columns));
                let noted = (note.lsn, note.columns.len());
                changes.iter().for_each(|text| change(&mut batch, text));
                tables.close(&mut batch).await.unwrap();
                let added = ("e", Some("old".to_owned()));
                if widened {
                    batch.widen(vec![(column(4, added.0, Kind::Text), added.1.clone())]).unwrap();
                }
                let columns = batch.layout.columns.clone();
                let added = Added::from([(added.0.to_owned(), added.1)]);
                let landed =
                    tables.land(batch.ready(), &columns, &added, Lsn(lsn), &mut note).await;
                (noted, landed)
            })
        };
        let first = land(&["+1 a -", "+2 b -"], false, 2);
        assert_eq!((first.0, first.1.is_ok()), ((Lsn(1), 3), true));
        stop_next_at("data.postgres.after_widen");
        assert!(land(&["=2 c -", "+3 d -"], true, 3).1.is_err());
        if let Some(changes) = between {
            assert!(land(changes, false, 3).1.is_ok());
        }
        let (noted, again) = land(&["=2 c -", "+3 d -"], true, 4);
        again.unwrap();
        assert_eq!(noted, (Lsn(if between.is_some() { 3 } else { 2 }), 3));
        let (rows, noted) = runtime.block_on(async {
            let tables = tables(&bench).await;
            let provider = tables.main.table.table_provider().await.unwrap();
            let rows = SessionContext::new().read_table(provider).unwrap();
            let rows = rows.collect().await.unwrap();
            let shown = datafusion::arrow::util::pretty::pretty_format_batches(&rows).unwrap();
            (shown.to_string(), Note::of(&tables.main.state).unwrap())
        });
        let olds = rows.matches("old").count();
        let all = rows.lines().count() - 4;
        assert_eq!((olds, noted.columns.len(), noted.lsn), (all, 4, Lsn(4)), "{rows}");
        assert!(!rows.contains("| b ") && rows.contains("| c ") && rows.contains("| d "), "{rows}");
    }
}

fn shown(rows: &[RecordBatch]) -> Vec<String> {
    let text = datafusion::arrow::util::pretty::pretty_format_batches(rows).unwrap().to_string();
    let cells = |line: &str| {
        let cells = line.split('|').map(str::trim).filter(|cell| !cell.is_empty());
        cells.collect::<Vec<_>>().join(" ")
    };
    text.lines().filter(|line| line.starts_with("| ")).skip(1).map(cells).collect()
}

/// Lands what was changed since, `;` between changes.
async fn land(bench: &Bench, changes: &str, noted: &mut Note) {
    try_to_land(bench, changes, noted).await.unwrap();
}

async fn try_to_land(bench: &Bench, changes: &str, noted: &mut Note) -> Result<()> {
    let mut tables = tables(bench).await;
    let next = i64::try_from(tables.main.state.arrived).unwrap();
    let layout = batch(bench.root(), OnUnfit::Quarantine).layout;
    let held = tables.held(next).await.unwrap();
    let mut batch = Batch::new(layout, next, held).unwrap();
    for text in changes.split(';').filter(|text| !text.is_empty()) {
        if text == "0" {
            tables.close(&mut batch).await.unwrap();
        }
        change(&mut batch, text);
    }
    tables.close(&mut batch).await.unwrap();
    let (columns, lsn) = (batch.layout.columns.clone(), Lsn(noted.lsn.0 + 7));
    tables.land(batch.ready(), &columns, &Added::new(), lsn, noted).await
}

/// Merges rows that were read again, `;` between rows, as `incremental` does.
async fn merge(bench: &Bench, rows: &str, before: &Note) -> Result<Note> {
    let mut tables = tables(bench).await;
    let (landed, next) = tables.numbers(before).await.unwrap();
    let layout = batch(bench.root(), OnUnfit::Quarantine).layout;
    let batch = Batch::new(layout, next, Default::default()).unwrap();
    let mut batch = batch.again_from(landed);
    rows.split(';').for_each(|row| batch.copy(cells(row), PLACE, true).unwrap());
    tables.close(&mut batch).await.unwrap();
    let ready = batch.ready();
    let noted = Note { next: Some(ready.last + 1), ..before.clone() };
    let state = tables.account(&ready.counts, &noted);
    tables.write(ready, Way::Merge, &noted.key, state, 1).await?;
    Ok(noted)
}

/// Puts through what waits and checks what came of it: how much passed, how much still waits, the rows;
/// and that the account agrees.
async fn replayed(bench: &Bench, noted: &Note, rule: OnUnfit, expected: (u64, u64, Vec<String>)) {
    let (state, failed) = replayed_to(bench, noted, rule, expected).await;
    assert_eq!(state.arrived, state.landed + state.quarantined);
    assert_eq!(state.quarantined, state.replayed + failed);
}

async fn replayed_to(
    bench: &Bench,
    noted: &Note,
    rule: OnUnfit,
    expected: (u64, u64, Vec<String>),
) -> (ArrivalState, u64) {
    let layout = batch(bench.root(), rule).layout;
    let mut tables = tables(bench).await;
    let done = tables.replay(&layout, noted, &rules(noted), 99).await.unwrap();
    let provider = tables.main.table.table_provider().await.unwrap();
    let rows = SessionContext::new().read_table(provider).unwrap();
    let rows = rows.select_columns(&["id", "v", "day"]).unwrap();
    let mut rows = shown(&rows.collect().await.unwrap());
    rows.sort();
    assert_eq!((done.passed, done.failed, rows), expected, "{rule:?}");
    (tables.main.state.clone(), done.failed)
}

/// Changes in steps, each of which lands by itself, and the rows after a replay under the same rule and
/// after one that lets null in. A row counts as often as it waits.
type Case = (&'static [&'static str], &'static [&'static str], &'static [&'static str]);

const REPLAYS: &[Case] = &[
    (&["+1 a infinity"], &[], &["1 a"]),
    (&["+1 a infinity", "=1 b infinity"], &[], &["1 b"]),
    (&["+1 a infinity;=1 b infinity"], &[], &["1 b"]),
    // The row has changed since, or is gone, in the same commit or in a later one.
    (&["+1 a infinity", "=1 b 2026-01-01"], &["1 b 2026-01-01"], &["1 b 2026-01-01"]),
    (&["+1 a infinity;=1 b 2026-01-01"], &["1 b 2026-01-01"], &["1 b 2026-01-01"]),
    (&["+1 a infinity", "!1"], &[], &[]),
    (&["+1 a infinity;!1"], &[], &[]),
    (&["+1 a infinity", "!1", "+1 c infinity"], &[], &["1 c"]),
    // Values that were not sent: the row had them, or the change before has, or nobody knows.
    (&["+1 a 2020-01-01", "=1 ~ infinity"], &[], &["1 a"]),
    (&["+1 a infinity", "=1 ~ 2021-01-01"], &["1 a 2021-01-01"], &["1 a 2021-01-01"]),
    (&["+1 a infinity", "=1 ~ infinity", "=1 ~ -"], &["1 a"], &["1 a"]),
    (&["+1 a infinity", "=1>2 ~ 2021-01-01"], &[], &[]),
    (&["=1 ~ 2021-01-01"], &[], &[]),
];

/// The same for rows of other keys: `=1>2` of the third case is `=31>32`.
fn with_keys(case: usize, text: &str) -> String {
    let (key, rest) = text.split_once(' ').unwrap_or((text, ""));
    let shift = |c: char| match c {
        digit if digit.is_ascii_digit() => format!("{}{digit}", case + 1),
        other => other.to_string(),
    };
    format!("{} {rest}", key.chars().map(shift).collect::<String>()).trim_end().to_owned()
}

#[test]
fn what_waits_is_put_through_again_unless_a_later_change_has_overtaken_it() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let rows = |of: fn(&Case) -> &'static [&'static str]| {
        let each = REPLAYS.iter().enumerate();
        let shifted =
            each.flat_map(|(case, it)| of(it).iter().map(move |row| with_keys(case, row)));
        let mut rows: Vec<String> = shifted.collect();
        rows.sort();
        rows
    };
    for stop in ["data.replay.before_commit", "data.replay.after_commit"] {
        let bench = Bench::new(&[("docs/a.md", "# A\n")]);
        runtime.block_on(async {
            let mut noted = note(&batch(bench.root(), OnUnfit::Null).layout.columns);
            // A table that is followed has been copied.
            land(&bench, "+0 x -", &mut noted).await;
            for step in 0..3 {
                let each = REPLAYS.iter().enumerate();
                let of = |(case, it): (usize, &Case)| {
                    let changes = it.0.get(step).copied().unwrap_or_default().split(';');
                    changes.map(|text| with_keys(case, text)).collect::<Vec<_>>().join(";")
                };
                let changes = each.map(of).chain(["!0".to_owned()]).collect::<Vec<_>>().join(";");
                land(&bench, &changes, &mut noted).await;
            }
            for (rule, expected) in [
                (OnUnfit::Quarantine, (5, 9, rows(|case| case.1))),
                (OnUnfit::Null, (7, 2, rows(|case| case.2))),
            ] {
                stop_next_at(stop);
                let mut tables = tables(&bench).await;
                let layout = batch(bench.root(), rule).layout;
                let stopped = tables.replay(&layout, &noted, &rules(&noted), 99).await;
                assert!(stopped.is_err(), "{stop}");
                replayed(&bench, &noted, rule, expected).await;
            }
            replayed(&bench, &noted, OnUnfit::Null, (0, 2, rows(|case| case.2))).await;
        });
    }
}

#[test]
fn what_waited_when_all_rows_were_taken_away_does_not_come_back() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    for steps in [&["+1 a infinity", "0", "+2 b infinity"][..], &["+1 a infinity;0;+2 b infinity"]]
    {
        let bench = Bench::new(&[("docs/a.md", "# A\n")]);
        runtime.block_on(async {
            let mut noted = note(&batch(bench.root(), OnUnfit::Null).layout.columns);
            for changes in ["+8 x -"].iter().chain(steps) {
                land(&bench, changes, &mut noted).await;
            }
            replayed(&bench, &noted, OnUnfit::Null, (1, 0, vec!["2 b".to_owned()])).await;
        });
    }
}

#[test]
fn what_a_stopped_build_has_set_aside_hides_nothing_that_the_next_one_reads() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let stop = || stop_next_at("data.arrival.after_quarantine");
    // The next one cuts its batches in another way.
    let bench = Bench::new(&[("docs/a.md", "# A\n")]);
    runtime.block_on(async {
        let mut noted = note(&batch(bench.root(), OnUnfit::Null).layout.columns);
        land(&bench, "+0 x -", &mut noted).await;
        stop();
        assert!(try_to_land(&bench, "+1 a -;=1 b infinity", &mut noted).await.is_err());
        land(&bench, "+1 a -", &mut noted).await;
        land(&bench, "=1 b infinity", &mut noted).await;
        let rows = ["0 x", "1 b"].map(str::to_owned).to_vec();
        replayed(&bench, &noted, OnUnfit::Null, (1, 0, rows)).await;
    });
    // Rows are read again: others, in another order, with other values. What waits, what is there.
    for (stopped, again, passed, rows) in [
        ("1 a infinity;2 b -", "2 b infinity;1 a -", 1, &["0 x", "1 a", "2 b"][..]),
        ("1 a infinity;2 b -", "1 a infinity;2 b -", 1, &["0 x", "1 a", "2 b"]),
        ("1 a infinity;2 b -", "1 c infinity", 1, &["0 x", "1 c"]),
        ("1 a infinity;2 b infinity", "3 d infinity;1 a -;2 b -", 1, &["0 x", "1 a", "2 b", "3 d"]),
    ] {
        let bench = Bench::new(&[("docs/a.md", "# A\n")]);
        runtime.block_on(async {
            let mut noted = note(&batch(bench.root(), OnUnfit::Null).layout.columns);
            land(&bench, "+0 x -", &mut noted).await;
            stop();
            assert!(merge(&bench, stopped, &noted).await.is_err());
            noted = merge(&bench, again, &noted).await.unwrap();
            let mut waits = tables(&bench).await.waiting(lit(true)).await.unwrap();
            let mut waiting = 0;
            while let Some(rows) = waits.try_next().await.unwrap() {
                waiting += rows.num_rows();
            }
            assert_eq!(waiting, passed, "{stopped}, then {again}");
            let rows = rows.iter().map(|row| (*row).to_owned()).collect();
            replayed_to(&bench, &noted, OnUnfit::Null, (passed as u64, 0, rows)).await;
        });
    }
}
