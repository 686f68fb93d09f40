//! The loop as a user walks it: build, ask, trace, change, go back, repeat.

use crate::project::{Project, QUESTION, sextant};

#[test]
fn init_makes_a_project_that_builds() {
    let project = Project::bare();
    let report = project.json(&["build"]);
    assert_eq!((&report["built"], &report["failed"]), (&7.into(), &0.into()), "{report}");
    assert_eq!(report["releases"][0]["promoted"], true, "{report}");
}

#[test]
fn init_drafts_questions_from_short_pages() {
    let home = tempfile::tempdir().unwrap();
    std::fs::create_dir(home.path().join("pages")).unwrap();
    std::fs::write(home.path().join("pages/a.md"), "# Tides\n\nTwice a day.\n").unwrap();
    let made = sextant(home.path(), &["init", "own", "--docs", "pages"]);
    assert_eq!(made.code, Some(0), "{made:?}");
    let drafted = std::fs::read_to_string(home.path().join("own/evals/retrieval.jsonl")).unwrap();
    assert!(drafted.contains("Tides"), "{drafted}");
}

#[test]
fn init_refuses_a_folder_that_is_not_empty() {
    let project = Project::bare();
    project.refuses(&["init", "docs"], 5, "SXT-8009");
}

#[test]
fn init_refuses_a_name_that_is_not_plain() {
    Project::bare().refuses(&["init", "bad name"], 2, "SXT-8013");
}

#[test]
fn init_refuses_documents_that_are_not_there() {
    let ended = Project::bare().run(&["init", "x", "--docs", "nowhere", "--json"]);
    assert!(!matches!(ended.code, Some(0 | 101)), "{ended:?}");
    assert!(ended.error()["message"].as_str().unwrap().contains("nowhere"));
}

#[test]
fn a_second_build_has_nothing_to_do() {
    let project = Project::built();
    project.json(&["build"]);
    let report = project.json(&["build"]);
    assert_eq!(report["unchanged"], 7, "{report}");
    let ran = report["assets"].as_array().unwrap().iter().any(|asset| asset["ran"] == true);
    assert!(!ran, "{report}");
}

#[test]
fn an_answer_quotes_the_bytes_of_the_page() {
    let project = Project::built();
    let answer = project.json(&["ask", QUESTION]);
    let cited = &answer["citations"][0];
    let page = std::fs::read(project.folder.join("docs/tides.md")).unwrap();
    let at = |field: &str| usize::try_from(cited[field].as_u64().unwrap()).unwrap();
    let quoted = std::str::from_utf8(&page[at("byte_start")..at("byte_end")]).unwrap();
    assert_eq!(cited["quote"], quoted);
    assert_eq!(answer["abstained"], false);
}

#[test]
fn a_question_that_no_page_answers_is_not_answered() {
    let answer = Project::built().json(&["ask", "Who won the football cup in Uruguay?"]);
    assert_eq!(answer["abstained"], true, "{answer}");
}

#[test]
fn every_answer_is_listed_once() {
    let project = Project::built();
    let ids: Vec<_> = (0..3).map(|_| project.json(&["ask", QUESTION])["id"].clone()).collect();
    let listed = project.json(&["answers", "--limit", "100"]);
    let rows = listed["answers"].as_array().unwrap();
    for id in ids {
        assert_eq!(rows.iter().filter(|row| row["id"] == id).count(), 1, "{id}");
    }
}

#[test]
fn the_limit_of_answers_holds() {
    let project = Project::built();
    for _ in 0..3 {
        project.json(&["ask", QUESTION]);
    }
    assert_eq!(project.json(&["answers", "--limit", "2"])["answers"].as_array().unwrap().len(), 2);
}

#[test]
fn why_leads_from_the_answer_to_the_document() {
    let project = Project::built();
    project.json(&["ask", QUESTION]);
    let tree = project.json(&["why", "last"]);
    assert_eq!((&tree["kind"], &tree["holes"]), (&"answer".into(), &0.into()));
    assert!(tree.to_string().contains("doc_version"), "{tree}");
    assert!(tree.to_string().contains("source_batch"), "{tree}");
}

#[test]
fn why_takes_the_prefix_of_a_digest() {
    let project = Project::built();
    let live = project.live();
    let tree = project.json(&["why", &live[..20]]);
    assert_eq!(tree["id"], live.as_str());
}

#[test]
fn impact_leads_from_the_document_to_the_answers() {
    let project = Project::built();
    project.json(&["ask", QUESTION]);
    let tree = project.json(&["impact", "tides.md"]);
    assert_eq!(tree["kind"], "doc_version");
    assert_eq!(tree["answers"]["count"], 1, "{tree}");
}

#[test]
fn a_document_that_no_answer_used_has_no_answers() {
    let project = Project::built();
    project.json(&["ask", QUESTION]);
    assert_eq!(project.json(&["impact", "knots.md"])["answers"]["count"], 0);
}

#[test]
fn replay_gives_the_same_answer() {
    let project = Project::built();
    project.json(&["ask", QUESTION]);
    let replayed = project.json(&["replay", "last"]);
    assert_eq!(replayed["same"], true, "{replayed}");
    assert_eq!(replayed["differs"], serde_json::json!([]));
}

#[test]
fn replay_of_an_old_answer_uses_the_old_release() {
    let project = Project::built();
    let id = project.json(&["ask", QUESTION])["id"].as_str().unwrap().to_owned();
    project.write("docs/tides.md", "# Tides\n\nThere are no tides any more at all.\n");
    project.run(&["build"]);
    assert_eq!(project.json(&["replay", &id])["same"], true);
}

#[test]
fn a_changed_page_is_all_that_is_read_again() {
    let project = Project::built();
    project.append("docs/knots.md", "\n## Reef knot\n\nA reef knot ties two ends of one rope.\n");
    let report = project.json(&["build"]);
    let mut assets = report["assets"].as_array().unwrap().iter();
    let summary = assets.find(|row| row["asset"] == "sources/manual").unwrap();
    assert!(summary["summary"].as_str().unwrap().contains("1 changed"), "{summary}");
    let answer = project.json(&["ask", "What does a reef knot tie?"]);
    assert_eq!(answer["citations"][0]["heading"], "Reef knot", "{answer}");
}

#[test]
fn a_removed_page_is_no_longer_cited() {
    let project = Project::built();
    std::fs::remove_file(project.folder.join("docs/tides.md")).unwrap();
    project.replace(
        "evals/retrieval.jsonl",
        "{\"id\":\"q1\",\"question\":\"When is the spring tide?\",\"path\":\"tides.md\",\"heading\":\"Tides\"}\n",
        "",
    );
    project.json(&["build"]);
    let answer = project.json(&["ask", QUESTION]);
    assert!(!answer["citations"].to_string().contains("tides.md"), "{answer}");
}

#[test]
fn a_change_and_its_undoing_make_the_first_versions_again() {
    let project = Project::built();
    let before = project.live();
    let page = project.folder.join("docs/knots.md");
    let text = std::fs::read(&page).unwrap();
    let time = std::fs::metadata(&page).unwrap().modified().unwrap();
    project.append("docs/knots.md", "\nA sentence that will not stay.\n");
    project.json(&["build"]);
    assert_ne!(project.live(), before);
    std::fs::write(&page, text).unwrap();
    std::fs::File::options().write(true).open(&page).unwrap().set_modified(time).unwrap();
    let status = |project: &Project| -> Vec<serde_json::Value> {
        let status = project.json(&["status"]);
        status["assets"].as_array().unwrap().iter().map(|row| row["version"].clone()).collect()
    };
    project.json(&["build"]);
    assert_eq!(status(&project), status(&Project::built()));
}

#[test]
fn two_builds_of_the_same_sources_make_the_same_versions() {
    let project = Project::built();
    let copy = project.outside().join("copy");
    let copied =
        std::process::Command::new("cp").arg("-a").arg(&project.folder).arg(&copy).status();
    assert!(copied.unwrap().success());
    std::fs::remove_dir_all(copy.join(".sextant")).unwrap();
    assert_eq!(sextant(&copy, &["build"]).code, Some(0));
    let versions = |status: &serde_json::Value| -> Vec<(String, String)> {
        let rows = status["assets"].as_array().unwrap().iter();
        rows.map(|row| (row["asset"].to_string(), row["version"].to_string())).collect()
    };
    let fresh = sextant(&copy, &["status", "--json"]).json();
    assert_eq!(versions(&fresh), versions(&project.json(&["status"])));
}

#[test]
fn a_search_ranks_the_right_section_first() {
    let found = Project::built().json(&["index", "search", "red lamps", "--mode", "bm25"]);
    assert_eq!(found["hits"][0]["path"], "deep/lamps.md", "{found}");
    assert_eq!(found["hits"][0]["rank"], 1);
}

#[test]
fn a_search_gives_at_most_what_was_asked_for() {
    let found = Project::built().json(&["index", "search", "the", "-k", "1", "--mode", "bm25"]);
    assert!(found["hits"].as_array().unwrap().len() <= 1, "{found}");
}

#[test]
fn a_search_of_signs_alone_does_not_crash() {
    let ended = Project::built().run(&["index", "search", "\"((+~^:*", "--mode", "bm25"]);
    assert!(matches!(ended.code, Some(0 | 2)), "{ended:?}");
}

#[test]
fn a_question_of_signs_alone_does_not_crash() {
    let ended = Project::built().run(&["ask", "{{ }} {% \" ' \\ \u{0}".trim_end_matches('\u{0}')]);
    assert!(matches!(ended.code, Some(0 | 2)), "{ended:?}");
}

#[test]
fn the_evaluation_shows_its_figures() {
    let report = Project::built().json(&["eval", "show"]);
    assert_eq!(report["questions"], 2, "{report}");
    assert!(report["metrics"]["retrieval.bm25.ndcg@10"].as_f64().unwrap() > 0.5);
}

#[test]
fn nothing_has_a_hole() {
    let project = Project::built();
    assert_eq!(project.json(&["lineage", "holes"])["count"], 0);
}

#[test]
fn the_versions_of_an_asset_grow_by_change() {
    let project = Project::built();
    project.append("docs/knots.md", "\nOne more sentence about knots.\n");
    project.json(&["build"]);
    let versions = project.json(&["versions", "models/sections"]);
    assert_eq!(versions["versions"].as_array().unwrap().len(), 2, "{versions}");
}

#[test]
fn a_failed_build_is_resumed_where_it_failed() {
    let project = Project::bare();
    project.replace("evals/retrieval.jsonl", "{\"id\":\"q1\"", "{\"id\":");
    assert_eq!(project.run(&["build"]).code, Some(2));
    project.replace("evals/retrieval.jsonl", "{\"id\":", "{\"id\":\"q1\"");
    project.replace("evals/retrieval.jsonl", "\"q1\"\"q2\"", "\"q2\"");
    let report = project.json(&["build"]);
    assert_eq!((&report["built"], &report["unchanged"]), (&2.into(), &5.into()), "{report}");
    project.still_answers();
}
