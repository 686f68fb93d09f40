//! What happens when a build goes wrong: failures, retries, timeouts, cancelling, kill -9.

use std::{process::Command, sync::Arc, thread, time::Duration};

use sextant_core::Event;
use sextant_lineage::{OpenOptions, Store};

use super::fake::{Script, Step, World, build_in, outcomes};

fn chain() -> World {
    World::new(&[
        ("a", "text = 'a'"),
        ("b", "inputs = ['texts/a']"),
        ("c", "inputs = ['texts/b']"),
        ("z", "text = 'z'"),
    ])
}

#[test]
fn a_failure_skips_what_depends_on_it_and_nothing_else() {
    let world = chain();
    world.script("b", &[Step::Fail]);
    let report = world.check("a built, b failed, c skipped, z built");
    assert_eq!(report.get("texts/c").unwrap().why, "its input texts/b was not built: it failed");
    assert_eq!(world.status("b"), "failed: cancelled");
    world.check("a unchanged, b built, c built, z unchanged");
    assert_eq!(world.status("b"), "fresh: ");
}

#[test]
fn only_what_is_unavailable_is_tried_again() {
    let mut world = chain();
    world.settings.retries = 2;
    world.script("b", &[Step::Unavailable, Step::Unavailable]);
    world.check("a built, b built, c built, z built");
    assert_eq!(world.ran(), "a b b b c z");
    world.asset("b", "inputs = ['texts/a']\ntext = '2'");
    world.script("b", &[Step::Unavailable, Step::Unavailable, Step::Unavailable]);
    let report = world.build();
    assert_eq!(report.get("texts/b").unwrap().error.as_ref().unwrap().exit, 6);
    world.script("b", &[Step::Fail]);
    world.build();
    assert_eq!(world.ran(), "b");
}

#[test]
fn a_panic_is_an_error_of_its_asset() {
    let world = chain();
    world.script("b", &[Step::Panic]);
    let report = world.check("a built, b failed, c skipped, z built");
    let error = report.get("texts/b").unwrap().error.as_ref().unwrap();
    assert_eq!(error.message, "texts/b crashed: out of ink");
}

#[test]
fn a_build_that_takes_too_long_is_stopped() {
    let mut world = chain();
    world.settings.timeout_s = 1;
    world.script("b", &[Step::WaitForCancel]);
    let report = world.check("a built, b failed, c skipped, z built");
    let error = report.get("texts/b").unwrap().error.as_ref().unwrap();
    assert_eq!(error.message, "texts/b did not finish within 1 s");
}

#[test]
fn cancelling_keeps_what_is_finished() {
    let mut world = chain();
    world.settings.jobs = 1;
    world.script("a", &[Step::Raise(world.cancel.clone())]);
    world.check("a built, b cancelled, c cancelled, z cancelled");
    world.cancel = sextant_core::Cancel::new();
    world.reopen();
    world.check("a unchanged, b built, c built, z built");

    world.asset("b", "inputs = ['texts/a']\ntext = '2'");
    world.script("b", &[Step::WaitForCancel]);
    let cancel = world.cancel.clone();
    let raise = thread::spawn(move || {
        thread::sleep(Duration::from_millis(100));
        cancel.cancel();
    });
    let report = world.build();
    raise.join().unwrap();
    assert_eq!(report.get("texts/b").unwrap().outcome.as_str(), "cancelled");
    assert_eq!(report.failed, 0);
}

#[test]
fn one_build_at_a_time() {
    let world = Arc::new(chain());
    world.script("a", &[Step::Sleep(300)]);
    let other = world.clone();
    let first = thread::spawn(move || other.try_build(&[], false).map(|report| outcomes(&report)));
    thread::sleep(Duration::from_millis(100));
    let refused = world.try_build(&["z"], false).unwrap_err();
    assert_eq!(refused.code().to_string(), "SXT-2021");
    assert_eq!(first.join().unwrap().unwrap(), "a built, b built, c built, z built");
}

#[test]
fn each_try_has_a_log() {
    let world = chain();
    world.script("b", &[Step::Fail]);
    world.build();
    let folder = world.dir.path().join(".sextant/logs/texts/b");
    let logs: Vec<_> = std::fs::read_dir(folder).unwrap().flatten().collect();
    assert_eq!(logs.len(), 1);
    let text = std::fs::read_to_string(logs[0].path()).unwrap();
    assert!(text.contains("texts/b: never built"), "{text}");
    assert!(text.contains("failed: SXT-2024 cancelled"), "{text}");
    let events = world.events.0.lock().unwrap();
    assert!(events.iter().any(|event| matches!(event, Event::StepFinished { step, outcome, .. }
        if step == "texts/b" && outcome == "failed")));
}

/// The process that [`kill_and_resume`] kills: it dies in the middle of building `c`.
#[test]
#[ignore = "started by kill_and_resume in a process of its own"]
fn victim() {
    let Some(dir) = std::env::var_os("SEXTANT_TEST_VICTIM") else { return };
    let dir = std::path::PathBuf::from(dir);
    let store = Store::open(&dir.join(".sextant"), OpenOptions::default()).unwrap();
    build_in(&dir, Script::with("c", Step::Abort), &store);
}

#[test]
fn kill_and_resume() {
    let mut world = chain();
    world.store = None;
    let status = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "tests::faults::victim", "--ignored"])
        .env("SEXTANT_TEST_VICTIM", world.dir.path())
        .output()
        .unwrap()
        .status;
    assert!(!status.success());
    world.reopen();
    world.check("a unchanged, b unchanged, c built, z built");
    assert_eq!(world.ran(), "c z");
}
