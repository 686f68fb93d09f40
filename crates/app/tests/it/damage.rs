//! Is damage found, named, and kept from being served?

use std::{
    fs,
    path::{Path, PathBuf},
};

use sextant_app::{App, Op, OpenProject};
use sextant_core::{Cancel, Digest, ExitKind};

use crate::{ON_BRAKES, World, kind};

/// The first file below a folder that the test wants.
fn file_below(folder: &Path, wanted: &dyn Fn(&Path) -> bool) -> PathBuf {
    let mut queue = vec![folder.to_owned()];
    while let Some(here) = queue.pop() {
        for entry in fs::read_dir(here).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                queue.push(path);
            } else if wanted(&path) {
                return path;
            }
        }
    }
    panic!("no such file below {}", folder.display());
}

fn flip_a_byte(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x20;
    fs::write(path, bytes).unwrap();
}

fn expect_problem(world: &World, part: &str) {
    let problems = world.problems();
    assert!(problems.iter().any(|problem| problem.contains(part)), "{part} in {problems:?}");
}

#[test]
fn a_sound_project_has_no_problem() {
    let world = World::built();
    world.ask(ON_BRAKES);
    world.change(1200);
    world.rollback().unwrap();
    assert_eq!(world.problems(), Vec::<String>::new());
}

#[test]
fn a_changed_blob_is_found() {
    let world = World::built();
    flip_a_byte(&file_below(&world.app.data_dir().join("blobs"), &|_| true));
    expect_problem(&world, "blob");
}

#[test]
fn a_changed_index_is_found() {
    let world = World::built();
    let large = |path: &Path| fs::metadata(path).unwrap().len() > 100;
    flip_a_byte(&file_below(&world.app.data_dir().join("indexes"), &large));
    expect_problem(&world, "index");
}

#[test]
fn the_lost_index_of_an_older_release_is_found() {
    let world = World::built();
    let indexes = world.app.data_dir().join("indexes");
    let parts = world.run(Op::ReleaseShow { id: world.live() }).unwrap()["parts"].clone();
    let old: Digest = parts["index"]["version"].as_str().unwrap().parse().unwrap();
    world.change(1200);
    let is_its = |path: &Path| path.components().any(|part| part.as_os_str() == old.hex().as_str());
    let inside = file_below(&indexes, &is_its);
    let folder = inside.ancestors().find(|path| path.ends_with(old.hex())).unwrap();
    fs::remove_dir_all(folder).unwrap();
    expect_problem(&world, "release");
}

#[test]
fn changed_rows_of_a_table_are_found() {
    let world = World::built();
    let parquet = |path: &Path| path.extension().is_some_and(|extension| extension == "parquet");
    let table = file_below(&world.app.data_dir().join("tables"), &parquet);
    let mut bytes = fs::read(&table).unwrap();
    bytes[4..64].fill(0xff);
    fs::write(&table, bytes).unwrap();
    expect_problem(&world, "table");
}

#[test]
fn words_that_are_not_those_of_the_record_are_found() {
    let world = World::built();
    let mut ask = world.chat_ask(ON_BRAKES);
    world.app.chat(&ask, &Cancel::new(), &mut |_| {}).unwrap();
    // The same id again with other words: the second record hides the first.
    ask.question = crate::ON_DOORS.to_owned();
    world.app.chat(&ask, &Cancel::new(), &mut |_| {}).unwrap();
    expect_problem(&world, "twice");
    expect_problem(&world, "not those of its record");
}

#[test]
fn a_damaged_document_is_not_shown_as_a_passage() {
    let world = World::built();
    let answer = world.ask(ON_BRAKES);
    let chunk = answer["citations"][0]["chunk"].as_str().unwrap().to_owned();
    let passage = world.run(Op::Passage { chunk: chunk.clone() }).unwrap();
    let raw: Digest = passage["raw_digest"].as_str().unwrap().parse().unwrap();
    let hex = raw.hex();
    flip_a_byte(&world.app.data_dir().join("blobs").join(&hex[..2]).join(&hex[2..]));
    assert_eq!(kind(world.run(Op::Passage { chunk })), ExitKind::Integrity);
}

#[test]
fn a_second_process_is_kept_out() {
    let world = World::fresh();
    let second = App::open(world.folder.path(), &OpenProject::default());
    assert_eq!(kind(second.map(|_| ())), ExitKind::Conflict);
}

#[test]
fn nobody_else_may_look_into_the_data_folder() {
    use std::os::unix::fs::PermissionsExt as _;
    let world = World::fresh();
    let mode = fs::metadata(world.app.data_dir()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
}
