//! Does the chain lead from an answer to the bytes, and from the bytes to the answers?

use sextant_core::ExitKind;

use crate::{ON_BRAKES, ON_DOORS, World, kind, kinds, nodes};

#[test]
fn why_leads_from_an_answer_to_the_files() {
    let world = World::built();
    world.ask(ON_BRAKES);
    let tree = world.why("last").unwrap();
    assert_eq!((&tree["kind"], &tree["holes"]), (&"answer".into(), &0.into()));
    for hop in [
        "chunk",
        "doc_version",
        "source_batch",
        "table_version",
        "index_snapshot",
        "prompt_version",
        "serving_config",
        "release",
    ] {
        assert!(kinds(&tree).contains(hop), "{hop} in {:?}", kinds(&tree));
    }
}

#[test]
fn why_opens_each_node_once() {
    let world = World::built();
    world.ask("When are the brake pads changed, and when do the doors open?");
    let tree = world.why("last").unwrap();
    let mut opened: Vec<_> = nodes(&tree)
        .into_iter()
        .filter(|node| node["inputs"].is_array())
        .map(|node| node["id"].as_str().unwrap())
        .collect();
    let all = opened.len();
    opened.sort_unstable();
    opened.dedup();
    assert_eq!(opened.len(), all);
    let seen = nodes(&tree).into_iter().filter(|node| node["seen"] == true);
    assert!(seen.map(|node| assert!(node["inputs"].is_null(), "{node}")).count() > 0);
}

#[test]
fn why_names_the_quoted_bytes() {
    let world = World::built();
    let answer = world.ask(ON_BRAKES);
    let tree = world.why(answer["id"].as_str().unwrap()).unwrap();
    let first = &tree["inputs"][0];
    assert_eq!(first["edge"], "retrieved");
    assert_eq!(first["node"]["id"], answer["citations"][0]["chunk"]);
    assert_eq!(first["node"]["detail"]["quote"], answer["citations"][0]["quote"]);
}

#[test]
fn why_finds_an_asset_a_name_a_digest_and_a_document() {
    let world = World::built();
    let live = world.live();
    for (id, kind) in [
        ("models/sections", "table_version"),
        ("release/assistant@live", "release"),
        ("assistant", "release"),
        (live.as_str(), "release"),
        (&live[7..15], "release"),
        ("brakes.md", "doc_version"),
    ] {
        assert_eq!(world.why(id).unwrap()["kind"], kind, "{id}");
    }
}

#[test]
fn half_a_digest_is_not_taken_for_an_answers_id() {
    let world = World::built();
    let live = world.live();
    assert_eq!(world.why(&live[7..39]).unwrap()["id"], live.as_str());
}

#[test]
fn odd_ids_are_not_found_and_harm_nothing() {
    let world = World::built();
    for id in [
        "",
        "%",
        "_",
        "'; DROP TABLE artifacts; --",
        "x' OR '1'='1.md",
        "\"quoted\".md",
        "émoji😀.md",
        "sha256:",
        "sha256:zz",
        "../../etc/passwd",
        "a\0b.md",
        "00000000-0000-0000-0000-000000000000",
    ] {
        assert_eq!(kind(world.why(id)), ExitKind::NotFound, "{:.40}", id);
        assert!(world.impact(id).is_err(), "{:.40}", id);
    }
    assert!(world.problems().is_empty());
}

#[test]
fn a_huge_id_is_refused_at_once() {
    let world = World::built();
    let huge = "a/.".repeat(100_000);
    let refused = world.why(&huge).unwrap_err();
    assert_eq!(refused.code().kind, ExitKind::Usage);
    assert!(refused.to_string().len() < 200, "it does not repeat what it was given");
}

#[test]
fn a_document_is_found_by_the_path_that_a_shell_completes() {
    let world = World::built();
    world.write("docs/more/doors.md", "# More\n\n## Doors\n\nAnother page about the doors.\n");
    world.build();
    let found = |path: &str| world.why(path).unwrap()["detail"]["path"].clone();
    assert_eq!(found("docs/doors.md"), "doors.md");
    assert_eq!(found("docs/more/doors.md"), "more/doors.md");
    assert_eq!(kind(world.why("indoors.md")), ExitKind::NotFound);
}

#[test]
fn impact_of_a_document_counts_only_answers_that_cite_it() {
    let world = World::built();
    world.ask(ON_BRAKES);
    world.ask(ON_DOORS);
    world.ask(ON_DOORS);
    for (document, expected) in [("brakes.md", 1), ("doors.md", 2)] {
        assert_eq!(world.impact(document).unwrap()["answers"]["count"], expected, "{document}");
    }
}

#[test]
fn impact_of_a_document_covers_all_its_versions() {
    let world = World::built();
    world.ask(ON_BRAKES);
    world.change(1200);
    world.ask(ON_BRAKES);
    let impact = world.impact("brakes.md").unwrap();
    assert_eq!((&impact["kind"], &impact["answers"]["count"]), (&"document".into(), &2.into()));
}

#[test]
fn impact_reaches_the_release_and_every_answer_it_gave() {
    let world = World::built();
    world.ask(ON_BRAKES);
    world.ask("What is the capital of Peru?");
    let impact = world.impact("prompts/answer").unwrap();
    assert!(kinds(&impact).contains("release"));
    assert_eq!(impact["answers"]["count"], 2);
    assert_eq!(impact["answers"]["sample"].as_array().unwrap().len(), 2);
}

#[test]
fn impact_of_an_answer_is_refused_with_the_way_back() {
    let world = World::built();
    world.ask(ON_BRAKES);
    let refused = world.impact("last").unwrap_err();
    assert_eq!(refused.code().kind, ExitKind::Usage);
    assert!(refused.to_string().contains("why"), "{refused}");
}

#[test]
fn a_passage_is_the_bytes_of_its_document() {
    let world = World::built();
    let answer = world.ask(ON_DOORS);
    let chunk = answer["citations"][0]["chunk"].as_str().unwrap().to_owned();
    let passage = world.run(sextant_app::Op::Passage { chunk }).unwrap();
    assert!(passage["body"].as_str().unwrap().contains("two kilometres"), "{passage}");
    let release = world.live();
    let other = world.run(sextant_app::Op::Passage { chunk: release });
    assert_eq!(kind(other), ExitKind::NotFound, "only chunks are passages");
}
