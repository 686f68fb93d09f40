//! Are releases made, switched and compared as one, and is nothing undone behind anybody's back?

use sextant_app::Op;
use sextant_core::ExitKind;

use crate::{ON_BRAKES, World, kind};

#[test]
fn a_build_without_changes_makes_nothing() {
    let world = World::built();
    let live = world.live();
    let report = world.build();
    assert_eq!((&report["built"], &report["release"]), (&0.into(), &serde_json::Value::Null));
    assert_eq!(world.live(), live);
}

#[test]
fn a_changed_page_rebuilds_only_what_reads_it() {
    let world = World::built();
    world.write("docs/doors.md", "# Doors\n\n## Opening\n\nThe doors open at standstill only.\n");
    let report = world.build();
    let of = |asset: &str| {
        let assets = report["assets"].as_array().unwrap();
        assets.iter().find(|row| row["asset"] == asset).unwrap()["outcome"].clone()
    };
    assert_eq!((of("indexes/manual"), of("prompts/answer")), ("built".into(), "unchanged".into()));
}

#[test]
fn rollback_brings_the_old_answer_back() {
    let world = World::built();
    let old = world.live();
    let new = world.change(1200);
    let moved = world.rollback().unwrap();
    assert_eq!((&moved["from"], &moved["to"]), (&new.as_str().into(), &old.as_str().into()));
    assert!(world.ask(ON_BRAKES)["answer"].as_str().unwrap().contains("900 hours"));
}

#[test]
fn a_build_after_a_rollback_does_not_promote_again() {
    let world = World::built();
    let old = world.live();
    world.change(1200);
    world.rollback().unwrap();
    let report = world.build();
    assert_eq!(report["release"]["promoted"], false, "{report}");
    assert_eq!(world.live(), old);
}

#[test]
fn a_build_after_two_rollbacks_does_not_promote_again() {
    let world = World::built();
    let first = world.live();
    world.change(1200);
    world.change(1500);
    world.rollback().unwrap();
    world.rollback().unwrap();
    assert_eq!(world.live(), first);
    let report = world.build();
    assert_eq!(report["release"]["promoted"], false, "{report}");
    assert_eq!(world.live(), first);
}

#[test]
fn a_change_after_a_rollback_is_released() {
    let world = World::built();
    let bad = world.change(1200);
    world.rollback().unwrap();
    assert_ne!(world.change(1500), bad);
}

#[test]
fn the_first_release_has_nothing_to_go_back_to() {
    let world = World::built();
    assert!(world.rollback().is_err());
    assert_eq!(world.app.live_releases().unwrap(), ["assistant"]);
}

#[test]
fn a_rolled_back_release_still_serves_those_who_name_it() {
    let world = World::built();
    let new = world.change(1200);
    world.rollback().unwrap();
    assert!(world.ask_of(&new).unwrap()["answer"].as_str().unwrap().contains("1200 hours"));
}

#[test]
fn diff_names_the_page_that_changed() {
    let world = World::built();
    world.change(1200);
    let (a, b) = ("assistant~1".to_owned(), "assistant".to_owned());
    let diff = world.run(Op::Diff { a, b }).unwrap().to_string();
    assert!(diff.contains("brakes.md changed") && !diff.contains("doors.md"), "{diff}");
}

#[test]
fn a_forced_promotion_needs_a_reason() {
    let world = World::built();
    let id = world.live();
    let force = Some(" ".to_owned());
    assert!(world.run(Op::ReleasePromote { id, force }).is_err());
}

#[test]
fn a_release_of_stale_assets_is_refused() {
    let world = World::built();
    world.write("docs/brakes.md", "# Brakes\n\n## Service\n\nNobody built this yet.\n");
    let made = world.run(Op::ReleaseCreate { name: None });
    assert_ne!(kind(made), ExitKind::NotFound);
    assert_eq!(world.run(Op::ReleaseList {}).unwrap()["releases"].as_array().unwrap().len(), 1);
}

#[test]
fn a_broken_project_file_leaves_the_live_release_serving() {
    let world = World::built();
    world.write("agents/assistant.toml", "index = \"manual\"\nno_such_key = 1\n");
    let built = world.run(Op::Build { select: vec![], exclude: vec![], full: false });
    assert_eq!(kind(built), ExitKind::Usage);
    assert!(world.ask(ON_BRAKES)["answer"].as_str().unwrap().contains("900 hours"));
}

#[test]
fn releases_survive_reopening() {
    let world = World::built();
    let live = world.live();
    assert_eq!(world.reopen().live(), live);
}
