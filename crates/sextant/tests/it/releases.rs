//! Releases: made, gated, promoted, compared and taken back.

use crate::project::{Project, QUESTION};

/// A second release after a changed page: its digest and the first one's.
fn two_releases(project: &Project) -> (String, String) {
    let first = project.live();
    project.append("docs/knots.md", "\n## Reef knot\n\nA reef knot ties two ends of one rope.\n");
    project.json(&["build"]);
    (first, project.live())
}

/// A gate that nothing can pass.
fn close_the_gate(project: &Project) {
    project.replace("releases/assistant.toml", "min = 0.1", "min = 1.5");
    project.append("docs/knots.md", "\nThe pier is closed on Mondays all year round.\n");
}

#[test]
fn a_change_makes_a_new_live_release() {
    let project = Project::built();
    let (first, second) = two_releases(&project);
    assert_ne!(first, second);
}

#[test]
fn rollback_brings_the_first_one_back() {
    let project = Project::built();
    let (first, second) = two_releases(&project);
    let done = project.json(&["rollback"]);
    assert_eq!((&done["from"], &done["to"]), (&second.into(), &first.clone().into()));
    assert_eq!(project.live(), first);
    project.still_answers();
}

#[test]
fn an_answer_after_a_rollback_names_the_old_release() {
    let project = Project::built();
    let (first, _) = two_releases(&project);
    project.json(&["rollback"]);
    assert_eq!(project.json(&["ask", QUESTION])["release"], first.as_str());
}

#[test]
fn a_build_does_not_bring_back_what_was_rolled_back() {
    let project = Project::built();
    let (first, _) = two_releases(&project);
    project.json(&["rollback"]);
    let report = project.json(&["build"]);
    assert_eq!(report["releases"][0]["promoted"], false, "{report}");
    assert_eq!(project.live(), first);
}

#[test]
fn a_rollback_without_an_earlier_release_is_refused() {
    Project::built().refuses(&["rollback"], 5, "SXT-2038");
}

#[test]
fn diff_shows_the_part_that_moved() {
    let project = Project::built();
    let (first, second) = two_releases(&project);
    let diff = project.json(&["diff", &first, &second]);
    let changes = diff["changes"].as_array().unwrap();
    let kind = |part: &str| {
        let row = changes.iter().find(|row| row["part"] == part);
        row.map(|row| row["kind"].as_str().unwrap().to_owned()).unwrap_or_default()
    };
    assert_eq!(kind("documents"), "changed", "{diff}");
    assert!(matches!(kind("prompt").as_str(), "same" | ""), "{diff}");
}

#[test]
fn diff_takes_the_release_before_by_its_name() {
    let project = Project::built();
    let (first, second) = two_releases(&project);
    let diff = project.json(&["diff", "assistant~1", "assistant"]);
    assert_eq!((&diff["a"], &diff["b"]), (&first.into(), &second.into()), "{diff}");
}

#[test]
fn a_refused_gate_leaves_the_old_release_live_and_exits_with_3() {
    let project = Project::built();
    let live = project.live();
    close_the_gate(&project);
    let ended = project.run(&["build", "--json"]);
    assert_eq!(ended.code, Some(3), "{ended:?}");
    assert_eq!(ended.json()["releases"][0]["gate"], "refused");
    assert_eq!(project.live(), live);
    project.still_answers();
}

#[test]
fn a_refused_release_can_be_looked_at() {
    let project = Project::built();
    close_the_gate(&project);
    project.run(&["build"]);
    let newest = project.json(&["release", "list"])["releases"][0].clone();
    assert_eq!((&newest["gate"], &newest["live"]), (&"refused".into(), &false.into()));
    let digest = newest["digest"].as_str().unwrap();
    assert_eq!(project.json(&["release", "show", digest])["digest"], digest);
}

#[test]
fn a_refused_release_is_not_promoted_by_hand() {
    let project = Project::built();
    close_the_gate(&project);
    project.run(&["build"]);
    let newest = project.json(&["release", "list"])["releases"][0]["digest"].clone();
    project.refuses(&["release", "promote", newest.as_str().unwrap()], 3, "SXT-2039");
}

#[test]
fn a_refused_release_is_promoted_by_force_with_a_reason() {
    let project = Project::built();
    close_the_gate(&project);
    project.run(&["build"]);
    let newest = project.json(&["release", "list"])["releases"][0]["digest"].clone();
    let newest = newest.as_str().unwrap();
    project.json(&["release", "promote", newest, "--force", "the pier opens today"]);
    assert_eq!(project.live(), newest);
}

#[test]
fn a_gate_that_is_run_by_hand_exits_with_3_when_it_refuses() {
    let project = Project::built();
    close_the_gate(&project);
    project.run(&["build"]);
    let newest = project.json(&["release", "list"])["releases"][0]["digest"].clone();
    let ended = project.run(&["release", "gate", newest.as_str().unwrap(), "--json"]);
    assert_eq!(ended.code, Some(3), "{ended:?}");
}

#[test]
fn a_release_that_is_not_automatic_waits_for_a_hand() {
    let project = Project::built();
    let live = project.live();
    project.replace("releases/assistant.toml", "auto = true", "auto = false");
    project.append("docs/knots.md", "\nA sentence more about knots and ropes.\n");
    project.json(&["build"]);
    assert_eq!(project.live(), live);
    let made = project.json(&["release", "create"])["digest"].as_str().unwrap().to_owned();
    assert_ne!(made, live);
    assert_eq!(project.run(&["release", "gate", &made]).code, Some(0));
    assert_eq!(project.run(&["release", "promote", &made]).code, Some(0));
    assert_eq!(project.live(), made);
}

#[test]
fn a_release_of_stale_parts_is_refused() {
    let project = Project::built();
    project.append("docs/knots.md", "\nNobody built this sentence.\n");
    let error = project.refuses(&["release", "create"], 5, "SXT-2031");
    assert!(error["message"].as_str().unwrap().contains("sources/manual"), "{error}");
}

#[test]
fn a_build_of_a_selection_does_not_release_and_does_not_fail() {
    let project = Project::built();
    let live = project.live();
    project.append("docs/knots.md", "\nOnly the source is built.\n");
    let ended = project.run(&["build", "sources/manual", "--json"]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!(project.live(), live);
}

#[test]
fn a_first_build_of_a_selection_does_not_fail_for_want_of_a_release() {
    let ended = Project::bare().run(&["build", "+models/sections", "--json"]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
}

#[test]
fn a_gate_on_a_figure_that_nobody_measures_does_not_pass() {
    let project = Project::built();
    let live = project.live();
    project.replace("releases/assistant.toml", "ndcg@10", "nosuch@10");
    project.append("docs/knots.md", "\nOne more sentence about ropes.\n");
    let ended = project.run(&["build", "--json"]);
    assert_ne!(ended.code, Some(0), "{ended:?}");
    assert_eq!(project.live(), live);
}

#[test]
fn every_part_of_a_release_can_be_traced() {
    let project = Project::built();
    let shown = project.json(&["release", "show", &project.live()]);
    let parts = shown["parts"].as_object().unwrap();
    assert!(parts.len() >= 5, "{shown}");
    for (part, pinned) in parts {
        let version = pinned["version"].as_str().unwrap();
        assert_eq!(project.json(&["why", version])["holes"], 0, "{part}");
    }
}
