//! Which release does a request mean?

use sextant_core::{Cancel, ExitKind};

use crate::{World, kind};

#[test]
fn without_a_name_the_only_live_release_is_pinned() {
    let world = World::built();
    let (name, digest) = world.app.pin(None).unwrap();
    assert_eq!((name.as_str(), digest.to_string().len()), ("assistant", 7 + 64));
}

#[test]
fn a_name_pins_its_live_release() {
    let world = World::built();
    assert_eq!(world.app.pin(Some("assistant")).unwrap(), world.app.pin(None).unwrap());
}

#[test]
fn a_digest_and_a_unique_beginning_pin_the_same_release() {
    let world = World::built();
    let live = world.live();
    for word in [live.as_str(), &live["sha256:".len()..][..8]] {
        assert_eq!(world.app.pin(Some(word)).unwrap().1.to_string(), live, "{word}");
    }
}

#[test]
fn a_name_with_a_digest_pins_a_release_that_is_no_longer_live() {
    let world = World::built();
    let old = world.live();
    assert_ne!(world.change(1200), old);
    let word = format!("assistant@{}", &old[7..19]);
    assert_eq!(world.app.pin(Some(&word)).unwrap().1.to_string(), old);
}

#[test]
fn the_digest_of_one_release_under_the_name_of_another_is_refused() {
    let world = World::built();
    let word = format!("someone-else@{}", &world.live()[7..]);
    assert_eq!(kind(world.app.pin(Some(&word))), ExitKind::NotFound);
}

#[test]
fn unknown_words_pin_nothing() {
    let world = World::built();
    let huge = "a".repeat(100_000);
    for word in
        ["", " ", "nobody", "assistant@", "assistant@ffffffffffff", "ASSISTANT", "é@😀", "%", &huge]
    {
        assert_eq!(kind(world.app.pin(Some(word))), ExitKind::NotFound, "{:.20}", word);
    }
}

#[test]
fn before_the_first_release_there_is_nothing_to_pin() {
    let world = World::fresh();
    assert_eq!(kind(world.app.pin(None)), ExitKind::NotFound);
    assert_eq!(kind(world.app.pin(Some("assistant"))), ExitKind::NotFound);
    assert!(world.app.live_releases().unwrap().is_empty());
}

#[test]
fn a_request_keeps_the_release_it_was_pinned_to() {
    let world = World::built();
    let ask = world.chat_ask(crate::ON_BRAKES);
    let new = world.change(1200);
    let answer = world.app.chat(&ask, &Cancel::new(), &mut |_| {}).unwrap();
    assert_eq!(answer["release"], ask.release.as_str());
    assert_ne!(answer["release"], new.as_str());
    assert!(answer["answer"].as_str().unwrap().contains("900 hours"), "{answer}");
    assert!(world.ask(crate::ON_BRAKES)["answer"].as_str().unwrap().contains("1200 hours"));
}

#[test]
fn requests_during_switches_never_mix_two_releases() {
    let world = World::built();
    let old = world.live();
    let new = world.change(1200);
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let asker = scope.spawn(|| {
            let mut seen = 0;
            while !done.load(std::sync::atomic::Ordering::Relaxed) || seen == 0 {
                let answer = world.ask(crate::ON_BRAKES);
                let hours =
                    if answer["release"] == old.as_str() { "900 hours" } else { "1200 hours" };
                assert!(answer["answer"].as_str().unwrap().contains(hours), "{answer}");
                seen += 1;
            }
        });
        for _ in 0..5 {
            world.rollback().unwrap();
            let id = new.clone();
            world.run(sextant_app::Op::ReleasePromote { id, force: None }).unwrap();
        }
        done.store(true, std::sync::atomic::Ordering::Relaxed);
        asker.join().unwrap();
    });
}
