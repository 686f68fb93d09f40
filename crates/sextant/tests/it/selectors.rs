//! What a selector picks, and what a build does with it.

use std::collections::BTreeMap;

use crate::project::Project;

fn names(outcomes: &BTreeMap<String, String>) -> Vec<&str> {
    outcomes.keys().map(String::as_str).collect()
}

#[test]
fn without_a_selector_all_is_meant() {
    let outcomes = Project::built().outcomes(&[]);
    assert_eq!(outcomes.len(), 7, "{outcomes:?}");
    assert!(outcomes.values().all(|outcome| outcome == "unchanged"), "{outcomes:?}");
}

#[test]
fn an_id_picks_one() {
    assert_eq!(names(&Project::built().outcomes(&["models/sections"])), ["models/sections"]);
}

#[test]
fn a_stem_alone_is_enough_where_it_is_clear() {
    let outcomes = Project::built().outcomes(&["answer"]);
    assert_eq!(names(&outcomes), ["prompts/answer"]);
}

#[test]
fn a_plus_before_adds_what_it_is_made_from() {
    let outcomes = Project::built().outcomes(&["+indexes/manual"]);
    for asset in ["indexes/manual", "models/sections", "sources/manual"] {
        assert!(outcomes.contains_key(asset), "{outcomes:?}");
    }
    assert!(!outcomes.contains_key("agents/assistant"), "{outcomes:?}");
}

#[test]
fn a_plus_after_adds_what_is_made_from_it() {
    let outcomes = Project::built().outcomes(&["indexes/manual+"]);
    for asset in ["indexes/manual", "evals/retrieval", "agents/assistant"] {
        assert!(outcomes.contains_key(asset), "{outcomes:?}");
    }
    assert!(!outcomes.contains_key("models/sections"), "{outcomes:?}");
}

#[test]
fn a_number_limits_the_distance() {
    let outcomes = Project::built().outcomes(&["1+indexes/manual"]);
    assert!(outcomes.contains_key("models/sections"), "{outcomes:?}");
    assert!(!outcomes.contains_key("sources/manual"), "{outcomes:?}");
}

#[test]
fn a_tag_picks_its_assets() {
    let outcomes = Project::built().outcomes(&["tag:search"]);
    assert_eq!(names(&outcomes), ["indexes/manual"]);
}

#[test]
fn a_path_picks_by_file() {
    let outcomes = Project::built().outcomes(&["path:evals/*"]);
    assert_eq!(names(&outcomes), ["evals/retrieval"]);
}

#[test]
fn blanks_make_a_union() {
    let outcomes = Project::built().outcomes(&["prompts/answer", "sources/manual"]);
    assert_eq!(names(&outcomes), ["prompts/answer", "sources/manual"]);
}

#[test]
fn a_comma_demands_both() {
    let outcomes = Project::built().outcomes(&["+agents/assistant,tag:search"]);
    assert_eq!(names(&outcomes), ["indexes/manual"]);
}

#[test]
fn exclude_takes_away() {
    let outcomes = Project::built().outcomes(&["--exclude", "prompts/answer"]);
    assert!(!outcomes.contains_key("prompts/answer"), "{outcomes:?}");
    assert!(outcomes.contains_key("sources/manual"), "{outcomes:?}");
}

#[test]
fn a_selector_that_matches_nothing_is_an_error() {
    let error = Project::built().refuses(&["build", "models/section"], 4, "SXT-2015");
    assert_eq!(error["hint"], "did you mean `models/sections`?");
}

#[test]
fn a_tag_that_nobody_has_is_an_error() {
    Project::built().refuses(&["build", "tag:nosuch"], 4, "SXT-2015");
}

#[test]
fn a_selector_whose_inputs_were_never_built_says_so() {
    let project = Project::bare();
    let ended = project.run(&["build", "models/sections", "--json"]);
    assert!(ended.code != Some(0) && ended.code != Some(101), "{ended:?}");
    assert!(format!("{}{}", ended.out, ended.err).contains("sources/manual"), "{ended:?}");
}

#[test]
fn full_builds_what_is_fresh() {
    let project = Project::built();
    let report = project.json(&["build", "--full", "models/sections"]);
    assert_eq!(report["assets"][0]["ran"], true, "{report}");
    let again = project.json(&["build", "prompts/answer"]);
    assert_eq!(again["assets"][0]["ran"], false, "{again}");
}
