//! Is an answer remembered before it is given, and what is refused?

use sextant_app::Op;
use sextant_core::{Cancel, ExitKind, limits};

use crate::{ON_BRAKES, ON_DOORS, World, kind};

#[test]
fn an_answer_quotes_the_document_byte_for_byte() {
    let world = World::built();
    let answer = world.ask(ON_BRAKES);
    let cited = &answer["citations"][0];
    let text = std::fs::read(world.folder.path().join("docs/brakes.md")).unwrap();
    let place = |field: &str| usize::try_from(cited[field].as_u64().unwrap()).unwrap();
    let quoted = &text[place("byte_start")..place("byte_end")];
    assert_eq!(std::str::from_utf8(quoted).unwrap(), cited["quote"].as_str().unwrap());
    assert_eq!(cited["path"], "brakes.md");
}

#[test]
fn what_no_passage_supports_is_not_answered() {
    let world = World::built();
    let answer = world.ask("What is the capital of Peru?");
    assert_eq!(
        (&answer["abstained"], answer["citations"].as_array().unwrap().len()),
        (&true.into(), 0)
    );
}

#[test]
fn the_record_is_durable_before_the_last_piece_is_handed_over() {
    let world = World::built();
    let ask = world.chat_ask(ON_BRAKES);
    let mut pieces = Vec::new();
    let mut recorded = Vec::new();
    let answer = world
        .app
        .chat(&ask, &Cancel::new(), &mut |piece| {
            pieces.push(piece.to_owned());
            recorded.push(world.run(Op::Answer { id: ask.answer.to_string() }).is_ok());
        })
        .unwrap();
    assert_eq!(pieces.concat(), answer["answer"].as_str().unwrap());
    assert_eq!(recorded.last(), Some(&true), "{recorded:?}");
}

#[test]
fn answers_survive_reopening_word_for_word() {
    let world = World::built();
    let said = world.ask(ON_BRAKES);
    let world = world.reopen();
    let kept = world.run(Op::Answer { id: said["id"].as_str().unwrap().to_owned() }).unwrap();
    for field in ["question", "answer", "citations", "release", "mode", "model"] {
        assert_eq!(kept[field], said[field], "{field}");
    }
}

#[test]
fn answers_are_listed_newest_first_and_no_more_than_asked() {
    let world = World::built();
    let ids: Vec<_> = (0..5).map(|_| world.ask(ON_DOORS)["id"].clone()).collect();
    let list = world.run(Op::Answers { limit: 2, skip: 0 }).unwrap();
    let listed: Vec<_> =
        list["answers"].as_array().unwrap().iter().map(|a| a["id"].clone()).collect();
    assert_eq!(listed, [ids[4].clone(), ids[3].clone()]);
    assert_eq!(list["total"], 5);
    for (skip, expected) in [(3, vec![&ids[1], &ids[0]]), (4, vec![&ids[0]]), (5, vec![])] {
        let list = world.run(Op::Answers { limit: 2, skip }).unwrap();
        let listed: Vec<_> = list["answers"].as_array().unwrap().iter().map(|a| &a["id"]).collect();
        assert_eq!(listed, expected, "{skip}");
    }
}

#[test]
fn last_is_the_newest_answer() {
    let world = World::built();
    world.ask(ON_BRAKES);
    let newest = world.ask(ON_DOORS);
    let last = world.run(Op::Answer { id: "last".into() }).unwrap();
    assert_eq!(last["id"], newest["id"]);
}

#[test]
fn without_answers_last_is_not_found() {
    let world = World::fresh();
    assert_eq!(kind(world.run(Op::Answer { id: "last".into() })), ExitKind::NotFound);
    assert_eq!(kind(world.why("last")), ExitKind::NotFound);
}

#[test]
fn a_question_over_the_limit_is_refused_and_not_recorded() {
    let world = World::built();
    for question in [String::new(), " \n".to_owned(), "x".repeat(limits::QUESTION_BYTES_MAX + 1)] {
        let asked = world.run(Op::Ask { question, release: None });
        assert_eq!(kind(asked), ExitKind::Usage);
    }
    assert!(world.answers().is_empty());
}

#[test]
fn replay_gives_the_same_answer() {
    let world = World::built();
    world.ask(ON_BRAKES);
    let replay = world.run(Op::Replay { id: "last".into() }).unwrap();
    assert_eq!((&replay["same"], &replay["differs"]), (&true.into(), &serde_json::json!([])));
}

#[test]
fn replay_uses_the_release_of_then() {
    let world = World::built();
    let said = world.ask(ON_BRAKES);
    world.change(1200);
    let replay = world.run(Op::Replay { id: said["id"].as_str().unwrap().into() }).unwrap();
    assert_eq!((&replay["same"], &replay["release"]), (&true.into(), &said["release"]));
}

#[test]
fn replay_of_a_turn_knows_the_conversation_before_it() {
    let world = World::built();
    let mut ask = world.chat_ask("And when are they changed?");
    ask.history = vec![
        ("user".into(), "What about the front brake pads of the tram?".into()),
        ("assistant".into(), "They wear.".into()),
    ];
    let said = world.app.chat(&ask, &Cancel::new(), &mut |_| {}).unwrap();
    assert!(said["answer"].as_str().unwrap().contains("900 hours"), "{said}");
    let replay = world.run(Op::Replay { id: ask.answer.to_string() }).unwrap();
    assert_eq!(replay["same"], true, "{replay}");
}

#[test]
fn replay_does_not_add_an_answer() {
    let world = World::built();
    world.ask(ON_BRAKES);
    world.run(Op::Replay { id: "last".into() }).unwrap();
    assert_eq!(world.answers().len(), 1);
}
