//! Is what is stale built, and nothing else?

use super::fake::{World, outcomes};

/// raw -> left, right -> join
fn diamond() -> World {
    World::new(&[
        ("raw", "text = 'r '"),
        ("left", "text = 'l '\ninputs = ['texts/raw']"),
        ("right", "text = 'x '\ninputs = ['texts/raw']"),
        ("join", "inputs = ['texts/left', 'texts/right']"),
    ])
}

#[test]
fn a_second_build_does_nothing() {
    let world = diamond();
    assert_eq!(world.status("join"), "never: never built");
    world.check("raw built, left built, right built, join built");
    let report = world.check("raw unchanged, left unchanged, right unchanged, join unchanged");
    assert_eq!((report.built, report.unchanged, world.ran().as_str()), (0, 4, ""));
    assert_eq!(world.status("join"), "fresh: ");
}

#[test]
fn a_changed_recipe_rebuilds_what_depends_on_it() {
    let world = diamond();
    let first = world.build();
    world.asset("left", "text = 'L '\ninputs = ['texts/raw']");
    assert_eq!(world.status("left"), "stale: recipe changed");
    assert_eq!(world.status("join"), "stale: input texts/left is stale");
    let report = world.check("raw unchanged, left built, right unchanged, join built");
    let short =
        |report: &crate::BuildReport| report.get("texts/left").unwrap().version.unwrap().short();
    let moved = format!("input texts/left moved from {} to {}", short(&first), short(&report));
    assert_eq!(report.get("texts/join").unwrap().why, moved);
    assert_eq!(world.ran(), "join left");
}

#[test]
fn an_equal_version_stops_the_rebuild_early() {
    let world = World::new(&[
        ("raw", "text = 'same one'"),
        ("word", "inputs = ['texts/raw']\nfirst_word = true"),
        ("last", "inputs = ['texts/word']"),
    ]);
    world.build();
    world.asset("raw", "text = 'same two'");
    let report = world.check("raw built, word unchanged, last unchanged");
    assert!(report.get("texts/word").unwrap().why.starts_with("same version as before (input"));
    assert_eq!(world.ran(), "raw word");
    world.build();
    assert_eq!(world.ran(), "");
}

#[test]
fn what_is_outside_is_watched() {
    let world = World::new(&[("raw", "outside = 'letter.txt'"), ("end", "inputs = ['texts/raw']")]);
    world.write("letter.txt", "one");
    world.build();
    world.write("letter.txt", "two");
    assert_eq!(world.status("raw"), "stale: what texts/raw.toml reads changed");
    world.check("raw built, end built");
}

#[test]
fn a_manual_asset_waits_until_it_is_named() {
    let world = World::new(&[
        ("raw", "text = 'a'"),
        ("slow", "inputs = ['texts/raw']\nmanual = true"),
        ("end", "inputs = ['texts/slow']"),
    ]);
    world.check("raw built, slow built, end built");
    world.asset("raw", "text = 'b'");
    assert_eq!(world.status("slow"), "held: input texts/raw is stale");
    let report = world.check("raw built, slow held, end unchanged");
    assert_eq!((report.held, report.is_good()), (1, true));
    assert!(world.status("slow").starts_with("held: input texts/raw moved from"));
    let report = world.try_build(&["slow+"], false).unwrap();
    assert_eq!(outcomes(&report), "slow built, end built");
    world.asset("slow", "inputs = ['texts/raw']\nmanual = true\ntext = 'recipe'");
    world.check("raw unchanged, slow built, end built");
}

#[test]
fn full_makes_named_assets_again() {
    let world = diamond();
    world.build();
    let report = world.try_build(&["left"], true).unwrap();
    assert_eq!(outcomes(&report), "left unchanged");
    assert_eq!((world.ran().as_str(), report.assets[0].ran), ("left", true));
    let report = world.try_build(&["+left"], true).unwrap();
    assert_eq!((report.assets.len(), world.ran().as_str()), (2, "left"));
}

#[test]
fn a_failing_check_holds_back_what_reads_the_guarded_asset() {
    let world = World::new(&[
        ("raw", "text = 'good'"),
        ("check", "inputs = ['texts/raw']\nguards = 'texts/raw'"),
        ("end", "inputs = ['texts/raw']"),
        ("other", "text = 'o'"),
    ]);
    world.check("other built, raw built, check built, end built");
    world.asset("raw", "text = 'bad'");
    let report = world.check("other unchanged, raw built, check failed, end skipped");
    assert_eq!(report.get("texts/end").unwrap().why, "check texts/check failed");
    assert_eq!(world.status("check"), "failed: 1 row is bad");
    let why = world.status("end");
    assert!(why.starts_with("stale: input texts/raw moved"), "{why}");
    assert!(why.ends_with("held back: check texts/check failed"), "{why}");
    world.check("other unchanged, raw unchanged, check failed, end skipped");
    assert_eq!(world.ran(), "");
    let alone = world.try_build(&["end"], false).unwrap();
    assert_eq!(outcomes(&alone), "end skipped");
    world.asset("raw", "text = 'good again'");
    world.check("other unchanged, raw built, check built, end built");
}

#[test]
fn an_input_that_was_never_built_is_named() {
    let world = diamond();
    let report = world.try_build(&["join"], false).unwrap();
    let error = report.assets[0].error.as_ref().unwrap();
    assert_eq!((error.code.as_str(), error.exit), ("SXT-2026", 5));
    assert!(error.hint.as_ref().unwrap().contains("sextant build +texts/join"));
}

#[test]
fn versions_are_kept_and_pointed_at() {
    let world = diamond();
    world.build();
    world.asset("raw", "text = 'new '");
    world.build();
    let id = "texts/raw".parse().unwrap();
    let versions = crate::state::versions(world.store(), &id, 10).unwrap();
    assert_eq!(versions.iter().map(|row| row.seq).collect::<Vec<_>>(), [2, 1]);
    let name = "asset/texts/raw@latest".parse().unwrap();
    let reader = world.store().read().unwrap();
    assert_eq!(reader.name(&name).unwrap(), Some(versions[0].version));
    let history = reader.name_history(&name).unwrap();
    let targets: Vec<_> = history.iter().map(|change| change.target).collect();
    assert_eq!(targets, [versions[1].version, versions[0].version]);
    let join = crate::state::versions(world.store(), &"texts/join".parse().unwrap(), 1).unwrap();
    let used = reader.used_by(&join[0].activity).unwrap();
    assert_eq!(used.len(), 2);
    assert!(join[0].inputs.values().all(|version| used.contains(version)));
}

#[test]
fn a_thousand_fresh_assets_cost_nothing_to_build() {
    let world = World::new(&[]);
    for number in 0..1000 {
        let inputs = if number < 10 { String::new() } else { format!("'texts/a{}'", number % 10) };
        world.asset(&format!("a{number}"), &format!("text = '{number}'\ninputs = [{inputs}]"));
    }
    assert_eq!(world.build().built, 1000);
    let report = world.build();
    assert_eq!((report.unchanged, world.ran().as_str()), (1000, ""));
}

#[test]
fn a_check_that_answers_with_an_error_holds_back_too() {
    let world = World::new(&[
        ("raw", "text = 'good'"),
        ("check", "inputs = ['texts/raw']\nguards = 'texts/raw'"),
        ("end", "inputs = ['texts/raw']"),
    ]);
    world.script("check", &[super::fake::Step::Fail]);
    world.check("raw built, check failed, end skipped");
    let alone = world.try_build(&["end"], false).unwrap();
    assert_eq!(outcomes(&alone), "end skipped");
    world.check("raw unchanged, check built, end built");
}
