//! Does the door for other programs answer what they ask, and refuse what would change something?

use sextant_core::Cancel;
use sextant_sqlwire::{Cell, Kind, Parameter, Portion, Row, SqlFault};
use tokio::sync::mpsc;

use crate::World;

/// All rows of a query.
fn rows(world: &World, sql: &str, parameters: Vec<Parameter>) -> Result<Vec<Row>, SqlFault> {
    let (sender, mut receiver) = mpsc::channel(64);
    world.app.sql_engine().run(sql, parameters, sender, &Cancel::new())?;
    let mut rows = Vec::new();
    while let Ok(portion) = receiver.try_recv() {
        if let Portion::Rows(more) = portion {
            rows.extend(more);
        }
    }
    Ok(rows)
}

fn text(text: &str) -> Cell {
    Cell::Text(text.to_owned())
}

#[test]
fn queries_see_tables_catalog_and_typed_values() {
    let world = World::built();
    let one = |sql: &str| match rows(&world, sql, Vec::new()) {
        Ok(rows) => rows.into_iter().next().unwrap_or_default(),
        Err(fault) => panic!("{sql}: {} {}", fault.state, fault.failure.chain()),
    };
    for (sql, expected) in [
        ("select count(*) from sections", vec![Cell::Int(2)]),
        ("select count(*) from public.sections", vec![Cell::Int(2)]),
        ("select count(*) from manual.documents", vec![Cell::Int(2)]),
        (
            "select 1::smallint, 1.5::float8, true, null, 'x'",
            vec![Cell::Int(1), Cell::Float(1.5), Cell::Bool(true), Cell::Null, text("x")],
        ),
        (
            "select timestamp '1970-01-01 00:00:01', date '1970-01-02'",
            vec![Cell::Timestamp(1_000_000), Cell::Date(1)],
        ),
        ("select [1, 2]", vec![text("[1, 2]")]),
        // What psql asks for \dt and \d.
        (
            "SELECT n.nspname, c.relname, CASE c.relkind WHEN 'r' THEN 'table' END,
            pg_catalog.pg_get_userbyid(c.relowner)
          FROM pg_catalog.pg_class c
            LEFT JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
            LEFT JOIN pg_catalog.pg_am am ON am.oid = c.relam
          WHERE c.relkind IN ('r','p','') AND n.nspname <> 'pg_catalog'
            AND n.nspname !~ '^pg_toast' AND n.nspname <> 'information_schema'
            AND pg_catalog.pg_table_is_visible(c.oid) ORDER BY 1,2",
            vec![text("public"), text("documents"), text("table"), text("sextant")],
        ),
        (
            "SELECT n.nspname, c.relname FROM pg_catalog.pg_class c
            LEFT JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
          WHERE c.relname OPERATOR(pg_catalog.~) '^(sections)$' COLLATE pg_catalog.default
            AND pg_catalog.pg_table_is_visible(c.oid) ORDER BY 2",
            vec![text("public"), text("sections")],
        ),
        (
            "SELECT a.attname, pg_catalog.format_type(a.atttypid, a.atttypmod),
            (SELECT pg_catalog.pg_get_expr(d.adbin, d.adrelid, true)
             FROM pg_catalog.pg_attrdef d
             WHERE d.adrelid = a.attrelid AND d.adnum = a.attnum AND a.atthasdef)
          FROM pg_catalog.pg_attribute a
          WHERE a.attrelid = 'sections'::regclass AND a.attnum > 0 AND NOT a.attisdropped
          ORDER BY a.attnum",
            vec![text("chunk"), text("text"), Cell::Null],
        ),
        ("select count(*) from pg_catalog.pg_policy", vec![Cell::Int(0)]),
        (
            "select 1 from pg_catalog.pg_class c, pg_catalog.pg_inherits i where c.oid = i.inhrelid",
            vec![],
        ),
        (
            "select data_type from information_schema.columns
          where table_name = 'sections' and column_name = 'ordinal'",
            vec![text("integer")],
        ),
        ("select current_database(), current_schema()", vec![text("sextant"), text("public")]),
    ] {
        assert_eq!(one(sql), expected, "{sql}");
    }
}

#[test]
fn parameters_keep_their_types() {
    let world = World::built();
    let door = world.app.sql_engine();
    let sql = "select ordinal, $2 from sections where ordinal >= $1 order by 1 limit 1";
    let prepared = door.prepare(sql, &[None, Some(Kind::Int8)], &Cancel::new());
    let prepared = prepared.unwrap_or_else(|fault| panic!("{}", fault.failure.chain()));
    assert_eq!(prepared.parameters, [Kind::Int4, Kind::Int8]);
    let kinds: Vec<Kind> = prepared.columns.iter().map(|column| column.kind).collect();
    assert_eq!(kinds, [Kind::Int4, Kind::Int8]);
    let parameter = |kind, cell| Parameter { kind, cell };
    let given = vec![parameter(Kind::Int4, Cell::Int(0)), parameter(Kind::Int8, Cell::Null)];
    let found =
        rows(&world, sql, given).unwrap_or_else(|fault| panic!("{}", fault.failure.chain()));
    assert_eq!(found, [[Cell::Int(0), Cell::Null]]);
}

#[test]
fn faults_have_their_state_and_place() {
    let world = World::built();
    for (sql, state, at) in [
        ("selec 1", "42601", Some((1, 1))),
        ("select * from nothing", "42P01", None),
        ("select\n  wrong from sections", "42703", Some((2, 3))),
        ("select nonsense(1)", "42883", Some((1, 8))),
        ("insert into sections select * from sections", "25006", None),
        ("drop table sections", "25006", None),
        ("copy sections to '/tmp/x'", "25006", None),
        ("select 1; select 2", "25006", None),
        ("explain analyze insert into sections select * from sections", "25006", None),
        ("select * from '/etc/passwd'", "42P01", None),
        ("select 1 / 0", "22012", None),
    ] {
        let fault = rows(&world, sql, Vec::new()).err().unwrap();
        let told = fault.failure.chain();
        assert_eq!(fault.state, state, "{sql}: {told}");
        if at.is_some() {
            assert_eq!(fault.at, at, "{sql}: {told}");
        }
    }
}
