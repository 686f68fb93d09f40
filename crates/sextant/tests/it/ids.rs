//! Ids, names and words that mean nothing here: status 4, or 2 for what is no id at all.

use crate::project::{Project, refuses, sextant};

fn unknown(arguments: &[&str], code: &str) -> serde_json::Value {
    Project::built().refuses(arguments, 4, code)
}

#[test]
fn why_of_an_unknown_id() {
    let error = unknown(&["why", "0123456789"], "SXT-8010");
    assert!(error["hint"].as_str().unwrap().contains("sextant answers"), "{error}");
}

#[test]
fn why_of_an_unknown_digest() {
    unknown(&["why", &format!("sha256:{}", "0".repeat(64))], "SXT-8010");
}

#[test]
fn why_before_any_answer() {
    unknown(&["why"], "SXT-8010");
}

#[test]
fn impact_of_an_unknown_document() {
    unknown(&["impact", "nosuch.md"], "SXT-8010");
}

#[test]
fn versions_of_an_unknown_asset_suggest_the_nearest() {
    let error = unknown(&["versions", "models/section"], "SXT-2015");
    assert_eq!(error["hint"], "did you mean `models/sections`?");
}

#[test]
fn an_unknown_release() {
    unknown(&["release", "show", "nosuch"], "SXT-2037");
}

#[test]
fn promotion_of_an_unknown_release() {
    unknown(&["release", "promote", "nosuch"], "SXT-2037");
}

#[test]
fn diff_of_unknown_releases() {
    unknown(&["diff", "a", "b"], "SXT-2037");
}

#[test]
fn replay_of_an_unknown_answer() {
    unknown(&["replay", "nosuch"], "SXT-8010");
}

#[test]
fn rollback_of_an_unknown_release() {
    unknown(&["rollback", "nosuch"], "SXT-8010");
}

#[test]
fn a_question_to_an_unknown_release() {
    unknown(&["ask", "tide?", "--release", "nosuch"], "SXT-8010");
}

#[test]
fn a_question_before_any_release() {
    let error = Project::bare().refuses(&["ask", "tide?"], 4, "SXT-8010");
    assert!(error["hint"].as_str().unwrap().contains("sextant build"), "{error}");
}

#[test]
fn an_unknown_run() {
    unknown(&["track", "run", "nosuch"], "SXT-4501");
}

#[test]
fn the_best_of_no_runs() {
    unknown(&["track", "best"], "SXT-4502");
}

#[test]
fn an_unknown_dataset() {
    unknown(&["data", "dataset", "nosuch"], "SXT-2015");
}

#[test]
fn the_failures_of_unknown_checks() {
    unknown(&["data", "failures", "checks/nosuch"], "SXT-2015");
}

#[test]
fn an_unknown_evaluation() {
    unknown(&["eval", "show", "nosuch"], "SXT-2015");
}

#[test]
fn a_search_in_an_unknown_index() {
    unknown(&["index", "search", "tide", "--index", "nosuch"], "SXT-2015");
}

#[test]
fn an_unknown_error_code() {
    unknown(&["explain", "SXT-9999"], "SXT-8010");
}

#[test]
fn a_search_by_vectors_that_nobody_made() {
    let error =
        Project::built().refuses(&["index", "search", "tide", "--mode", "vector"], 5, "SXT-5009");
    assert!(error["hint"].as_str().unwrap().contains("bm25"), "{error}");
}

#[test]
fn a_way_of_searching_that_there_is_not() {
    Project::built().refuses(&["index", "search", "tide", "--mode", "foo"], 2, "SXT-8013");
}

#[test]
fn an_empty_question() {
    Project::built().refuses(&["ask", " "], 2, "SXT-6009");
}

#[test]
fn a_question_that_is_too_long() {
    let long = "tide ".repeat(4000);
    Project::built().refuses(&["ask", &long], 2, "SXT-6008");
}

#[test]
fn no_project_here_nor_above() {
    let folder = tempfile::tempdir().unwrap();
    let error = refuses(folder.path(), &["status"], 4, "SXT-8008");
    assert!(error["hint"].as_str().unwrap().contains("sextant init"), "{error}");
}

#[test]
fn no_project_where_it_was_said_to_be() {
    let folder = tempfile::tempdir().unwrap();
    refuses(folder.path(), &["-C", "nowhere", "status"], 4, "SXT-8008");
}

#[test]
fn a_project_is_found_from_a_folder_inside_it() {
    let project = Project::built();
    let status = sextant(&project.folder.join("docs/deep"), &["status", "--json"]);
    assert_eq!(status.json()["project"], "small");
}

#[test]
fn a_project_is_found_by_its_name_on_the_command_line() {
    let project = Project::built();
    let folder = project.folder.to_str().unwrap();
    let status = sextant(project.outside(), &["-C", folder, "status", "--json"]);
    assert_eq!(status.json()["project"], "small");
}

#[test]
fn a_command_that_there_is_not() {
    assert_eq!(Project::bare().run(&["nosuch"]).code, Some(2));
}

#[test]
fn an_option_that_there_is_not() {
    assert_eq!(Project::bare().run(&["build", "--nosuch"]).code, Some(2));
}

#[test]
fn a_missing_argument() {
    assert_eq!(Project::bare().run(&["ask"]).code, Some(2));
}

#[test]
fn a_profile_that_there_is_not() {
    let ended = Project::bare().run(&["--profile", "nosuch", "status", "--json"]);
    assert!(matches!(ended.code, Some(2 | 4)), "{ended:?}");
    assert!(ended.error()["message"].as_str().unwrap().contains("nosuch"), "{ended:?}");
}
