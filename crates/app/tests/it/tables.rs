//! Does cleaning tables ask who still rests on them?

use serde_json::{Value, json};
use sextant_app::Op;

use crate::{ON_BRAKES, World};

fn gc(world: &World, dry_run: bool) -> Value {
    world.run(Op::DataGc { dry_run, older_than_s: 0 }).unwrap()
}

fn sql(world: &World, statement: &str) -> Value {
    world.run(Op::of_sql(statement, 100)).unwrap()
}

/// Who holds a version, as one line.
fn held_by(report: &Value, asset: &str, delta: u64) -> Option<String> {
    let held = report["held"].as_array().unwrap();
    let row = held.iter().find(|row| row["asset"] == asset && row["delta_version"] == delta)?;
    Some(row["by"].as_array().unwrap().iter().map(|by| by.as_str().unwrap()).collect())
}

#[test]
fn what_an_index_was_made_from_is_held_and_what_nothing_rests_on_goes() {
    let world = World::fresh();
    sql(&world, "create table hours as select 'brakes.md' as path, 900 as hours");
    let model = include_str!("../../../../template/assistant/models/sections.sql");
    let model = format!("{model} and exists (select 1 from {{{{ source('tables', 'hours') }}}})");
    world.write("models/sections.sql", &model);
    // Read by nobody.
    world.write("models/loose.sql", "select path, text from {{ source('manual', 'documents') }}");
    let report = world.build();
    assert_eq!(report["failed"], 0, "{report}");
    let first = world.ask(ON_BRAKES);
    sql(&world, "update hours set hours = 700");
    sql(&world, "update hours set hours = 500");
    world.change(700);

    let planned = gc(&world, true);
    for (asset, delta) in [("sources/manual", 0), ("models/sections", 0), ("tables/hours", 0)] {
        assert!(held_by(&planned, asset, delta).is_some(), "{asset} {delta}: {planned}");
    }
    let sections = held_by(&planned, "models/sections", 0).unwrap();
    assert!(sections.contains("indexes/manual"), "{sections}");
    let removed: Vec<_> = planned["removed"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| (row["asset"].as_str().unwrap(), row["delta_version"].as_u64().unwrap()))
        .collect();
    assert_eq!(removed, [("models/loose", 0), ("tables/hours", 1)], "{planned}");
    assert!(gc(&world, false)["files"].as_u64().unwrap() > 0);

    assert!(world.problems().is_empty(), "{:?}", world.problems());
    assert!(world.why(first["id"].as_str().unwrap()).is_ok());
    world.rollback().unwrap();
    assert_eq!(world.ask(ON_BRAKES)["answer"], first["answer"]);
    let old = sql(&world, "select hours from version_of('hours', 0)");
    assert_eq!(old["rows"], json!([[900]]));
    assert_eq!(world.build()["failed"], 0);
}
