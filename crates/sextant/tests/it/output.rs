//! What goes where: data on stdout, words on stderr, one JSON value with `--json`, nothing else.

use serde_json::Value;

use crate::project::{Project, sextant};

/// The command's JSON has these fields.
fn has(arguments: &[&str], fields: &[&str]) {
    let project = Project::built();
    project.json(&["ask", crate::project::QUESTION]);
    let value = project.json(arguments);
    for field in fields {
        assert!(value.get(field).is_some(), "{arguments:?} has no `{field}`: {value}");
    }
}

#[test]
fn status_has_its_fields() {
    has(&["status"], &["project", "assets", "releases", "counts", "holes"]);
}

#[test]
fn a_row_of_status_has_its_fields() {
    let status = Project::built().json(&["status"]);
    for field in ["asset", "kind", "state", "why", "version", "built_at", "tags", "inputs"] {
        assert!(status["assets"][0].get(field).is_some(), "no `{field}`: {status}");
    }
}

#[test]
fn build_has_its_fields() {
    has(&["build"], &["assets", "built", "unchanged", "failed", "skipped", "held", "seconds"]);
}

#[test]
fn ask_has_its_fields() {
    has(
        &["ask", "Which knot joins two ropes?"],
        &["id", "question", "answer", "abstained", "citations", "release", "mode", "seconds"],
    );
}

#[test]
fn answers_has_its_fields() {
    has(&["answers"], &["answers"]);
}

#[test]
fn why_has_its_fields() {
    has(&["why", "last"], &["id", "kind", "label", "detail", "holes", "inputs"]);
}

#[test]
fn impact_has_its_fields() {
    has(&["impact", "tides.md"], &["id", "kind", "outputs", "answers"]);
}

#[test]
fn release_list_has_its_fields() {
    has(&["release", "list"], &["releases"]);
}

#[test]
fn replay_has_its_fields() {
    has(&["replay", "last"], &["same", "before", "after", "differs"]);
}

#[test]
fn search_has_its_fields() {
    has(&["index", "search", "tide", "--mode", "bm25"], &["index", "mode", "hits"]);
}

#[test]
fn track_runs_has_its_fields() {
    has(&["track", "runs"], &["runs"]);
}

#[test]
fn fsck_has_its_fields() {
    has(&["fsck"], &["problems", "artifacts", "edges", "blobs", "orphans"]);
}

#[test]
fn doctor_has_its_fields_and_finds_nothing_wrong() {
    let report = Project::built().json(&["doctor"]);
    assert_eq!(report["failed"], 0, "{report}");
}

#[test]
fn config_show_says_where_each_value_comes_from() {
    let shown = Project::built().json(&["config", "show"]);
    let rows = shown["values"].as_array().unwrap();
    let name = rows.iter().find(|row| row["key"] == "project.name").unwrap();
    assert_eq!(name["value"], "small");
    assert!(name["origin"].as_str().unwrap().starts_with("sextant.toml:"), "{name}");
}

#[test]
fn config_schema_is_json() {
    assert!(Project::bare().json(&["config", "schema"]).is_object());
}

#[test]
fn errors_are_lines_for_people_without_json() {
    let ended = Project::built().run(&["why", "nosuch"]);
    assert_eq!((ended.code, ended.out.as_str()), (Some(4), ""));
    let lines: Vec<_> = ended.err.lines().collect();
    assert!(lines[0].starts_with("error[SXT-8010]: "), "{ended:?}");
    assert!(lines[1].trim_start().starts_with("hint: "), "{ended:?}");
    assert_eq!(lines[2].trim(), "sextant explain SXT-8010");
}

#[test]
fn a_failed_asset_is_printed_with_place_and_hint() {
    let project = Project::built();
    std::fs::write(project.folder.join("docs/bad.md"), b"\xff").unwrap();
    let ended = project.run(&["build"]);
    assert!(ended.out.contains("SXT-3006 sources/manual"), "{ended:?}");
    assert!(ended.out.contains("  --> ") && ended.out.contains("  hint: "), "{ended:?}");
}

#[test]
fn there_is_no_colour_without_a_terminal() {
    let ended = Project::built().run(&["status"]);
    assert!(!ended.out.contains('\u{1b}') && !ended.err.contains('\u{1b}'), "{ended:?}");
}

#[test]
fn quiet_leaves_stderr_empty() {
    let project = Project::built();
    assert_eq!(project.run(&["build", "--quiet", "--full"]).err, "");
}

#[test]
fn progress_goes_to_stderr() {
    let ended = Project::bare().run(&["build"]);
    assert!(ended.err.contains("models/sections"), "{ended:?}");
    assert!(!ended.out.contains("models/sections"), "{ended:?}");
}

#[test]
fn explain_works_without_a_project() {
    let folder = tempfile::tempdir().unwrap();
    let entry = sextant(folder.path(), &["explain", "SXT-1004", "--json"]).json();
    assert_eq!((&entry["exit"], &entry["http"]), (&5.into(), &409.into()), "{entry}");
}

#[test]
fn explain_takes_a_code_without_its_prefix_or_in_small_letters() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(sextant(folder.path(), &["explain", "sxt-1004"]).code, Some(0));
}

#[test]
fn explain_knows_every_code_of_the_sources() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs");
    let mut codes = std::collections::BTreeSet::new();
    let mut folders = vec![root];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let text = std::fs::read_to_string(&path).unwrap_or_default();
            let numbers = text.split("SXT-").skip(1).filter_map(|rest| rest.get(..4));
            codes.extend(numbers.filter(|n| n.parse::<u16>().is_ok()).map(str::to_owned));
        }
    }
    assert!(codes.len() >= 3, "{codes:?}");
    let folder = tempfile::tempdir().unwrap();
    for code in codes {
        let code = format!("SXT-{code}");
        assert_eq!(sextant(folder.path(), &["explain", &code]).code, Some(0), "{code}");
    }
}

#[test]
fn completions_are_printed_for_each_shell() {
    let folder = tempfile::tempdir().unwrap();
    for shell in ["bash", "zsh", "fish"] {
        let ended = sextant(folder.path(), &["completion", shell]);
        assert!(ended.code == Some(0) && ended.out.contains("sextant"), "{shell}");
    }
}

#[test]
fn man_pages_are_written() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(sextant(folder.path(), &["man", "pages"]).code, Some(0));
    assert!(folder.path().join("pages/sextant.1").exists());
}

#[test]
fn a_secret_in_the_settings_is_not_printed() {
    let project = Project::built();
    project.append(
        "agents/assistant.toml",
        "[generator]\nbase_url = \"http://127.0.0.1:9\"\nmodel = \"m\"\napi_key_env = \"CANARY_KEY\"\n",
    );
    let mut command = crate::project::command(&project.folder, &["build", "--json", "-vv"]);
    let ended =
        crate::project::Ended::of(command.env("CANARY_KEY", "canary-7731").output().unwrap());
    assert!(!format!("{}{}", ended.out, ended.err).contains("canary-7731"));
    let stored = project.stored("");
    let leaked = stored.iter().find(|path| {
        let bytes = std::fs::read(path).unwrap_or_default();
        bytes.windows(11).any(|window| window == b"canary-7731")
    });
    assert_eq!(leaked, None);
}

#[test]
fn the_version_is_printed() {
    let folder = tempfile::tempdir().unwrap();
    let ended = sextant(folder.path(), &["--version"]);
    assert!(ended.out.starts_with("sextant "), "{ended:?}");
}

#[test]
fn every_command_has_help() {
    let folder = tempfile::tempdir().unwrap();
    for command in ["build", "ask", "why", "impact", "diff", "replay", "release", "fsck", "serve"] {
        let ended = sextant(folder.path(), &[command, "--help"]);
        assert!(ended.code == Some(0) && ended.out.contains("Usage"), "{command}");
    }
}

#[test]
fn json_of_an_error_has_all_its_fields() {
    let error: Value = Project::built().refuses(&["why", "nosuch"], 4, "SXT-8010");
    for field in ["code", "message", "hint", "place", "exit"] {
        assert!(error.get(field).is_some(), "{error}");
    }
}
