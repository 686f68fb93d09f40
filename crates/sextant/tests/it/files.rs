//! Bad files at the door: each is refused by name, with a place and a fix, and costs nothing that
//! was released.

use std::{fs, os::unix::fs::symlink};

use crate::project::Project;

fn hint(error: &serde_json::Value) -> &str {
    error["hint"].as_str().unwrap_or_default()
}

#[test]
fn a_page_that_is_not_utf8_is_named_with_its_bad_byte() {
    let project = Project::built();
    fs::write(project.folder.join("docs/bad.md"), b"# Bad\n\nabc \xff def\n").unwrap();
    let error = project.fails_to_build("sources/manual", 2, "SXT-3006");
    assert!(error["message"].as_str().unwrap().contains("offset 11"), "{error}");
    assert!(error["place"].as_str().unwrap().ends_with("docs/bad.md"), "{error}");
    assert!(hint(&error).contains("exclude"), "{error}");
    project.still_answers();
}

#[test]
fn a_page_of_a_gigabyte_is_refused_without_reading_it() {
    let project = Project::built();
    fs::File::create(project.folder.join("docs/big.md")).unwrap().set_len(1 << 30).unwrap();
    let begun = std::time::Instant::now();
    let error = project.fails_to_build("sources/manual", 2, "SXT-3008");
    assert!(begun.elapsed().as_secs() < 5);
    assert!(error["message"].as_str().unwrap().contains("16777216"), "{error}");
    assert!(hint(&error).contains("exclude"), "{error}");
    project.still_answers();
}

#[test]
fn a_refused_page_that_is_excluded_no_longer_stands_in_the_way() {
    let project = Project::built();
    fs::write(project.folder.join("docs/bad.md"), b"\xff").unwrap();
    project.fails_to_build("sources/manual", 2, "SXT-3006");
    project.append("sources/manual.toml", "exclude = [\"bad.md\"]\n");
    let status = project.json(&["build"]);
    assert_eq!(status["failed"], 0, "{status}");
}

#[test]
fn a_link_out_of_the_source_folder_is_refused() {
    let project = Project::built();
    symlink("/etc/hostname", project.folder.join("docs/leak.md")).unwrap();
    let error = project.fails_to_build("sources/manual", 2, "SXT-3005");
    assert!(error["message"].as_str().unwrap().contains("leak.md"), "{error}");
    project.still_answers();
}

#[test]
fn a_linked_folder_out_of_the_source_folder_is_refused() {
    let project = Project::built();
    symlink("/etc", project.folder.join("docs/leak")).unwrap();
    project.fails_to_build("sources/manual", 2, "SXT-3005");
    project.still_answers();
}

#[test]
fn a_file_in_the_documents_folder_that_is_no_page_is_left_alone() {
    let project = Project::built();
    fs::write(project.folder.join("docs/picture.png"), b"\x89PNG\xff").unwrap();
    assert_eq!(project.json(&["build"])["failed"], 0);
}

#[test]
fn an_unknown_key_is_named_with_its_line_and_the_nearest_key() {
    let project = Project::built();
    project.replace("indexes/manual.toml", "from", "form");
    let error = project.refuses(&["build"], 2, "SXT-2005");
    assert_eq!(error["place"], "indexes/manual.toml:1:1");
    assert_eq!(error["hint"], "did you mean `from`?");
    project.still_answers();
}

#[test]
fn an_unknown_key_in_the_settings_is_named_too() {
    let project = Project::built();
    project.replace("sextant.toml", "port", "prot");
    let error = project.refuses(&["build"], 2, "SXT-2005");
    assert!(error["place"].as_str().unwrap().starts_with("sextant.toml:"), "{error}");
    assert_eq!(error["hint"], "did you mean `port`?");
}

#[test]
fn config_check_says_what_a_build_would_say() {
    let project = Project::bare();
    project.replace("agents/assistant.toml", "prompt", "promt");
    let error = project.refuses(&["config", "check"], 2, "SXT-2005");
    assert_eq!(error["hint"], "did you mean `prompt`?");
}

#[test]
fn broken_toml_is_named_with_its_line() {
    let project = Project::bare();
    project.write("indexes/manual.toml", "from = \"sections\"\ntags = [\n");
    let ended = project.run(&["build", "--json"]);
    assert_eq!(ended.code, Some(2), "{ended:?}");
    assert!(ended.error()["place"].as_str().unwrap().starts_with("indexes/manual.toml:"));
}

#[test]
fn a_value_of_the_wrong_type_is_named_with_its_line() {
    let project = Project::bare();
    project.replace("evals/retrieval.toml", "modes = [\"bm25\"]", "k = \"ten\"");
    let ended = project.run(&["build", "--json"]);
    assert_eq!(ended.code, Some(2), "{ended:?}");
    assert!(ended.error()["place"].as_str().unwrap().starts_with("evals/retrieval.toml:"));
}

#[test]
fn a_circle_of_models_is_refused_and_printed() {
    let project = Project::built();
    project.write("models/a.sql", "select * from {{ ref('b') }}");
    project.write("models/b.sql", "select * from {{ ref('a') }}");
    let error = project.refuses(&["build"], 2, "SXT-2014");
    let message = error["message"].as_str().unwrap();
    assert!(message.contains("models/a") && message.contains("models/b"), "{message}");
    project.still_answers();
}

#[test]
fn a_reference_to_a_model_that_is_not_there_is_refused() {
    let project = Project::built();
    project.write("models/x.sql", "select * from {{ ref('section') }}");
    let ended = project.run(&["build", "--json"]);
    assert!(matches!(ended.code, Some(2 | 4)), "{ended:?}");
    let error = ended.error();
    assert!(error["place"].as_str().unwrap().starts_with("models/x.sql"), "{error}");
    assert!(hint(&error).contains("sections"), "{error}");
    project.still_answers();
}

#[test]
fn a_source_folder_that_is_not_there_is_refused() {
    let project = Project::built();
    project.replace("sources/manual.toml", "docs", "nowhere");
    let ended = project.run(&["build", "--json"]);
    assert!(!matches!(ended.code, Some(0)), "{ended:?}");
    assert!(ended.out.contains("nowhere"), "{ended:?}");
    project.still_answers();
}

#[test]
fn a_prompt_without_front_matter_is_refused() {
    let project = Project::built();
    project.write("prompts/answer.md", "just text\n");
    let error = project.refuses(&["build"], 2, "SXT-6001");
    assert!(error["place"].as_str().unwrap().starts_with("prompts/answer.md"), "{error}");
    project.still_answers();
}

#[test]
fn a_prompt_whose_template_is_broken_is_refused() {
    let project = Project::built();
    project.append("prompts/answer.md", "\n{% for x in %}\n");
    let ended = project.run(&["build", "--json"]);
    assert_eq!(ended.code, Some(2), "{ended:?}");
    assert!(format!("{}{}", ended.out, ended.err).contains("SXT-6002"), "{ended:?}");
    project.still_answers();
}

#[test]
fn a_broken_line_of_questions_is_named() {
    let project = Project::built();
    project.append("evals/retrieval.jsonl", "{\"id\":\"q3\"\n");
    let error = project.fails_to_build("evals/retrieval", 2, "SXT-6004");
    assert_eq!(error["place"], "evals/retrieval.jsonl:3:10", "{error}");
    project.still_answers();
}

#[test]
fn questions_about_a_section_that_is_not_there_do_not_crash() {
    let project = Project::built();
    project.append(
        "evals/retrieval.jsonl",
        "{\"id\":\"q3\",\"question\":\"Who?\",\"path\":\"no.md\",\"heading\":\"No\"}\n",
    );
    let ended = project.run(&["build", "--json"]);
    assert!(!ended.err.contains("panicked"), "{ended:?}");
    project.still_answers();
}

#[test]
fn failed_checks_keep_their_rows_and_the_old_release() {
    let project = Project::built();
    let live = project.live();
    project.replace("models/schema.yml", "min: 1", "min: 1000");
    let error = project.fails_to_build("checks/sections", 1, "SXT-3011");
    assert!(hint(&error).contains("sextant data failures checks/sections"), "{error}");
    assert_eq!(project.live(), live);
    project.still_answers();
}

#[test]
fn an_empty_documents_folder_does_not_crash() {
    let project = Project::bare();
    fs::remove_dir_all(project.folder.join("docs")).unwrap();
    fs::create_dir(project.folder.join("docs")).unwrap();
    let ended = project.run(&["build", "--json"]);
    assert!(!ended.err.contains("panicked"), "{ended:?}");
    assert_ne!(ended.code, Some(101));
}
