//! Stored bytes that are not what they were: found, named, never served, and made again where they
//! can be.

use std::fs;

use crate::project::{Project, QUESTION};

fn problems(project: &Project, part: &str) -> Vec<String> {
    let ended = project.run(&["fsck", "--json"]);
    assert_eq!(ended.code, Some(8), "{ended:?}");
    let report = ended.json();
    let rows = report["problems"].as_array().unwrap();
    assert!(rows.iter().all(|row| row["part"] == part), "{report}");
    rows.iter().map(|row| row["what"].as_str().unwrap().to_owned()).collect()
}

fn damage(path: &std::path::Path) {
    let mut bytes = fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x20;
    fs::write(path, bytes).unwrap();
}

#[test]
fn a_sound_folder_has_no_problem() {
    let report = Project::built().json(&["fsck"]);
    assert_eq!(report["problems"], serde_json::json!([]));
    assert!(report["blobs"].as_u64().unwrap() > 5, "{report}");
}

#[test]
fn one_changed_bit_of_a_blob_is_found() {
    let project = Project::built();
    damage(&project.stored("blobs")[0]);
    assert_eq!(problems(&project, "blob").len(), 1);
}

#[test]
fn a_missing_blob_is_found() {
    let project = Project::built();
    fs::remove_file(&project.stored("blobs")[0]).unwrap();
    assert_eq!(problems(&project, "blob").len(), 1);
}

#[test]
fn repair_never_hides_a_damaged_blob() {
    let project = Project::built();
    damage(&project.stored("blobs")[0]);
    assert_eq!(project.run(&["fsck", "--repair"]).code, Some(8));
    assert_eq!(problems(&project, "blob").len(), 1);
}

#[test]
fn damaged_parts_of_a_release_are_not_served() {
    let project = Project::built();
    project.stored("blobs").iter().for_each(|path| damage(path));
    project.refuses(&["ask", QUESTION], 8, "SXT-1010");
}

#[test]
fn damaged_blobs_that_a_build_makes_again_are_healed() {
    let project = Project::built();
    let damaged = project.stored("blobs");
    damaged.iter().for_each(|path| damage(path));
    project.run(&["build", "--full"]);
    let left = problems(&project, "blob").len();
    assert!(left < damaged.len() / 2, "{left} of {} are still damaged", damaged.len());
}

#[test]
fn a_release_that_cannot_be_made_for_damage_fails_the_build() {
    let project = Project::built();
    project.stored("blobs").iter().for_each(|path| damage(path));
    let ended = project.run(&["build", "--json"]);
    assert_eq!(ended.code, Some(8), "{ended:?}");
}

#[test]
fn an_index_without_its_files_is_found_and_built_again() {
    let project = Project::built();
    for path in project.stored("indexes") {
        fs::remove_file(path).unwrap();
    }
    problems(&project, "index");
    project.refuses(&["ask", QUESTION], 8, "SXT-5003");
    assert_eq!(project.run(&["build", "indexes/manual", "--full"]).code, Some(0));
    project.still_answers();
}

#[test]
fn a_changed_bit_of_an_index_is_found() {
    let project = Project::built();
    let files = project.stored("indexes");
    let largest = files.iter().max_by_key(|path| fs::metadata(path).unwrap().len()).unwrap();
    damage(largest);
    assert!(!problems(&project, "index").is_empty());
}

#[test]
fn a_cut_off_table_is_a_fault_of_the_data_not_of_the_sql() {
    let project = Project::built();
    for path in project.stored("tables") {
        if path.extension().is_some_and(|extension| extension == "parquet") {
            fs::File::options().write(true).open(path).unwrap().set_len(100).unwrap();
        }
    }
    assert_eq!(problems(&project, "table").len(), 2);
    let ended = project.run(&["data", "query", "select * from sections", "--json"]);
    assert_eq!(ended.error()["code"], "SXT-3013", "{ended:?}");
}

#[test]
fn tables_that_are_gone_are_written_again() {
    let project = Project::built();
    fs::remove_dir_all(project.data("tables")).unwrap();
    assert_eq!(problems(&project, "table").len(), 2);
    assert_eq!(project.run(&["build", "--full"]).code, Some(0));
    project.still_answers();
}

#[test]
fn a_torn_tail_of_the_log_is_cut_off() {
    let project = Project::built();
    let id = project.json(&["ask", QUESTION])["id"].clone();
    let segments = project.stored("log/answers");
    let newest = segments.last().unwrap();
    let mut bytes = fs::read(newest).unwrap();
    bytes.extend_from_slice(&[0x5a; 37]);
    fs::write(newest, bytes).unwrap();
    assert_eq!(project.json(&["answers"])["answers"][0]["id"], id);
    project.still_answers();
}

#[test]
fn a_changed_bit_in_the_middle_of_the_log_is_never_skipped() {
    let project = Project::built();
    for _ in 0..3 {
        project.json(&["ask", QUESTION]);
    }
    let segments = project.stored("log/answers");
    damage(segments.last().unwrap());
    let ended = project.run(&["fsck", "--json"]);
    assert_eq!(ended.code, Some(8), "{ended:?}");
}

#[test]
fn a_catalog_that_is_no_database_is_refused() {
    let project = Project::built();
    fs::write(project.data("catalog.db"), vec![0x41; 8192]).unwrap();
    for aside in ["catalog.db-wal", "catalog.db-shm"] {
        let _ = fs::remove_file(project.data(aside));
    }
    let ended = project.run(&["status", "--json"]);
    assert!(!matches!(ended.code, Some(0 | 101)), "{ended:?}");
    assert!(ended.error()["code"].as_str().unwrap().starts_with("SXT-10"), "{ended:?}");
}

#[test]
fn a_newer_format_is_refused_by_every_command() {
    let project = Project::built();
    fs::write(project.data("FORMAT"), "sextant-data 99\n").unwrap();
    for command in ["status", "build", "fsck", "answers"] {
        let error = project.refuses(&[command], 8, "SXT-1005");
        assert!(error["hint"].as_str().unwrap().contains("newer"), "{error}");
    }
    fs::write(project.data("FORMAT"), "sextant-data 1\n").unwrap();
    project.still_answers();
}

#[test]
fn a_format_file_of_something_else_is_refused() {
    let project = Project::built();
    fs::write(project.data("FORMAT"), "garbage").unwrap();
    project.refuses(&["status"], 8, "SXT-1010");
}

#[test]
fn files_that_unfinished_work_left_are_removed_by_repair_alone() {
    let project = Project::built();
    let stray = project.data(&format!("blobs/ab/{}", "0".repeat(62)));
    fs::create_dir_all(stray.parent().unwrap()).unwrap();
    fs::write(&stray, "left behind").unwrap();
    let old = std::time::SystemTime::now() - std::time::Duration::from_secs(3600);
    fs::File::options().write(true).open(&stray).unwrap().set_modified(old).unwrap();
    assert_eq!(project.json(&["fsck"])["orphans"], 1);
    assert!(stray.exists());
    assert_eq!(project.json(&["fsck", "--repair"])["orphans_removed"], 1);
    assert!(!stray.exists());
}

#[test]
fn a_moved_project_works_on() {
    let project = Project::built();
    let moved = project.outside().join("elsewhere");
    fs::rename(&project.folder, &moved).unwrap();
    let answer = crate::project::sextant(&moved, &["ask", QUESTION, "--json"]);
    assert_eq!(answer.code, Some(0), "{answer:?}");
}

#[test]
fn a_lost_data_folder_is_built_again() {
    let project = Project::built();
    let live = project.live();
    fs::remove_dir_all(project.data("")).unwrap();
    project.json(&["build"]);
    assert_eq!(project.live(), live);
    project.still_answers();
}
