//! Records that are pushed to a source, from the request to the chain of what was made from them.

use serde_json::{Value, json};
use sextant_app::{App, Op, OpenProject, PushBody, PushReply};
use sextant_core::{Cancel, ExitKind, Silent};

use crate::{World, kind, nodes};

const TOTALS: &str = "select sum(n) as total from {{ source('orders', 'orders') }}";

fn world() -> World {
    let world = World::fresh();
    world.write("sources/orders.toml", "type = \"push\"\n[schema]\nn = \"bigint\"\n");
    world.write("models/totals.sql", TOTALS);
    world
}

fn push(app: &App, source: &str, body: &str) -> Result<PushReply, sextant_core::Failure> {
    let content_type = "application/json";
    let body = PushBody { content_type, idempotency_key: None, event: &[], bytes: body.as_bytes() };
    app.ingest(source, &body)
}

fn quarantine(world: &World) -> Value {
    let source = "sources/orders".to_owned();
    world.run(Op::DataQuarantine { source, limit: 10, skip: 0 }).unwrap()
}

#[test]
fn the_chain_reaches_the_offsets_and_replay_extends_it() {
    let world = world();
    push(&world.app, "orders", r#"[{"n":1},{"n":2},{"n":"many"}]"#).unwrap();
    assert_eq!(world.build()["failed"], 0);
    let chain = world.why("models/totals").unwrap();
    let labels: Vec<&str> =
        nodes(&chain).iter().map(|node| node["label"].as_str().unwrap()).collect();
    assert!(labels.contains(&"push:orders, offsets 0–2"), "{labels:?}");

    let held = quarantine(&world);
    assert_eq!((held["waiting"].as_u64(), held["rows"][0]["offset"].as_u64()), (Some(1), Some(2)));
    world.write("sources/orders.toml", "type = \"push\"\n[schema]\nn = \"text\"\n");
    let source = "sources/orders".to_owned();
    let replayed = world.run(Op::DataReplay { source: source.clone(), limit: None }).unwrap();
    assert_eq!((replayed["passed"].as_u64(), replayed["failed"].as_u64()), (Some(1), Some(0)));
    assert!(replayed["version"].is_string(), "{replayed}");
    assert_eq!(quarantine(&world)["waiting"], 0);
    let sql = "select n from orders order by _offset".to_owned();
    let rows = world.run(Op::DataQuery { sql, limit: 9 }).unwrap();
    assert_eq!(rows["rows"], json!([["1"], ["2"], ["many"]]));
    let columns = world.run(Op::DataSchema { source }).unwrap();
    assert_eq!(columns["columns"][0], json!({ "name": "n", "type": "text", "origin": "file" }));
    assert_eq!(world.problems(), [""; 0]);
}

#[test]
fn a_long_history_of_a_table_becomes_one_node_with_all_that_went_into_it() {
    let world = world();
    for n in 0..12 {
        push(&world.app, "orders", &format!("{{\"n\":{n}}}")).unwrap();
        assert_eq!(world.build()["failed"], 0);
    }
    let chain = world.why("sources/orders").unwrap();
    let all = nodes(&chain);
    let of_kind = |kind: &str| all.iter().filter(|node| node["kind"] == kind).count();
    assert_eq!((of_kind("table_version"), of_kind("source_batch")), (10, 12));
    let labels = all.iter().map(|node| node["label"].as_str().unwrap());
    let rest: Vec<_> = labels.filter(|label| label.ends_with("versions before it")).collect();
    assert!(rest.len() == 1 && rest[0].ends_with(", and the 2 versions before it"), "{rest:?}");
}

#[test]
fn only_sources_that_are_pushed_to_take_records() {
    let world = world();
    for source in ["manual", "none", "../orders", "orders__quarantine"] {
        assert_eq!(kind(push(&world.app, source, "{}")), ExitKind::NotFound, "{source}");
    }
    assert_eq!(kind(push(&world.app, "orders", "{\"n\":")), ExitKind::Usage);
    // A source whose file was added or changed is seen by the next request.
    world.write("sources/late.toml", "type = \"push\"\n");
    push(&world.app, "late", "{}").unwrap();
    world.write("sources/late.toml", "type = \"files\"\npath = \"docs\"\n");
    assert_eq!(kind(push(&world.app, "late", "{}")), ExitKind::NotFound);
    let source = "sources/manual".to_owned();
    let none = world.run(Op::DataQuarantine { source, limit: 1, skip: 0 });
    assert_eq!(kind(none), ExitKind::NotFound);
}

#[test]
fn a_running_server_lands_what_waits_and_records_it() {
    let world = world();
    let toml = "type = \"push\"\nflush_rows = 2\nflush_seconds = 3600\n[schema]\nn = \"bigint\"\n";
    world.write("sources/orders.toml", toml);
    assert_eq!(world.build()["failed"], 0);
    push(&world.app, "orders", r#"[{"n":1},{"n":"bad"}]"#).unwrap();
    let figure = |app: &App, name: &str| {
        let wanted = format!("sextant_ingest_{name}{{source=\"orders\"}}");
        app.metrics().into_iter().find(|(found, ..)| *found == wanted).map(|(.., value)| value)
    };
    let cancel = Cancel::new();
    std::thread::scope(|scope| {
        scope.spawn(|| world.app.land_as_it_comes(&Silent, &cancel));
        let begun = std::time::Instant::now();
        let rows = || {
            let asset = "sources/orders".to_owned();
            world.run(Op::Versions { asset }).unwrap()["versions"][0]["meta"]["rows"].as_u64()
        };
        while rows() != Some(1) && begun.elapsed().as_secs() < 60 {
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        cancel.cancel();
    });
    assert_eq!(figure(&world.app, "landed_total"), Some(1.0));
    assert_eq!(figure(&world.app, "quarantined_total"), Some(1.0));
    assert_eq!(figure(&world.app, "waiting_bytes"), Some(0.0));
    let folder = world.folder.path().to_owned();
    let World { folder: _keep, app } = world;
    drop(app);
    let app = App::open(&folder, &OpenProject::default()).unwrap();
    assert_eq!(push(&app, "orders", "[]").unwrap(), push(&app, "orders", "[]").unwrap());
}
