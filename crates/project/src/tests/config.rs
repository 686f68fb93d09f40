//! Are project files read well, and are their faults told well?

use std::path::Path;

use super::fake::World;
use crate::{
    SecretRef,
    config::{config_check, config_schema, config_show, expand, load_config},
};

fn environment(name: &str) -> Option<String> {
    match name {
        "PORT" => Some("8100".to_owned()),
        "QUOTED" => Some("a \"b\" \\c".to_owned()),
        "EMPTY" => Some(String::new()),
        "LINES" => Some("a\nb = 1".to_owned()),
        "INJECT" => Some("1\"\nx = \"2".to_owned()),
        _ => None,
    }
}

#[test]
fn variables_are_replaced() {
    let cases = [
        ("port = ${PORT}", Ok("port = 8100")),
        ("port = ${NOPE:-7700}", Ok("port = 7700")),
        ("x = \"${QUOTED}\"", Ok("x = \"a \\\"b\\\" \\\\c\"")),
        ("x = '${PORT}'", Ok("x = '8100'")),
        ("x = \"${EMPTY}\"", Ok("x = \"\"")),
        ("x = \"${EMPTY:-d}\"", Ok("x = \"d\"")),
        ("x = \"$${PORT}\"", Ok("x = \"${PORT}\"")),
        ("# ${NOPE} in a comment", Ok("# ${NOPE} in a comment")),
        ("x = \"a # ${PORT}\"", Ok("x = \"a # 8100\"")),
        ("x = \"\"\"\n${PORT} \" ${PORT}\"\"\"", Ok("x = \"\"\"\n8100 \" 8100\"\"\"")),
        ("x = \"costs $5\"", Ok("x = \"costs $5\"")),
        ("\nx = \"${NOPE}\"", Err("2:6 variable NOPE is not set")),
        ("x = \"${NOPE:?ask Ann}\"", Err("1:6 variable NOPE is not set: ask Ann")),
        ("x = \"${LINES}\"", Err("1:6 the value of variable LINES cannot stand here")),
        ("x = \"${INJECT}\"", Err("1:6 the value of variable INJECT cannot stand here")),
        ("x = ${QUOTED}", Err("1:5 the value of variable QUOTED cannot stand here")),
        ("x = '${INJECT}'", Err("1:6 the value of variable INJECT cannot stand here")),
        ("x = \"${PORT\"", Err("1:6 `${` without its `}` on the same line")),
        ("x = \"${1}\"", Err("1:6 `1` is not the name of a variable")),
    ];
    for (text, expected) in cases {
        let found = expand(Path::new("f.toml"), text, &environment).map_err(|error| {
            let place = error.place().unwrap();
            format!("{}:{} {error}", place.line.unwrap(), place.column.unwrap())
        });
        assert_eq!(found.as_deref().map_err(String::as_str), expected, "{text}");
    }
}

/// The first fault of a project whose `sextant.toml` is this: code, place, message, hint.
fn fault(text: &str) -> String {
    let world = World::new(&[]);
    world.write("sextant.toml", text);
    let failure = load_config(world.dir.path(), None, &environment).unwrap_err();
    let place = failure.place().map(|place| place.to_string()).unwrap_or_default();
    let hint = failure.hint().unwrap_or_default();
    format!("{} {place} {failure} [{hint}]", failure.code())
}

#[test]
fn faults_have_a_place_and_a_fix() {
    let cases = [
        (
            "[project]\nname = \"x\"\n[build]\njob = 3",
            "SXT-2005 sextant.toml:4:1 unknown key `job` [did you mean `jobs`?]",
        ),
        (
            "[project]\nname = \"x\"\n[bulid]",
            "SXT-2005 sextant.toml:3:2 unknown key `bulid` [did you mean `build`?]",
        ),
        (
            "[project]\nname = 3",
            "SXT-2006 sextant.toml:2:8 invalid type: integer `3`, expected a string []",
        ),
        ("[project]\n", "SXT-2006 sextant.toml:1:1 missing field `name` []"),
        (
            "[project]\nname = \"x\"\n[build]\n\njobs = 0",
            "SXT-2006 sextant.toml:5 build.jobs must be 1 to 256 []",
        ),
        (
            "[project]\nname = \"x\"\n[tables]\nurl = \"s3://lake/../x\"",
            "SXT-2006 sextant.toml:4 tables.url must be s3://BUCKET or s3://BUCKET/PREFIX, \
             of letters, digits and . _ - = []",
        ),
        (
            "[project]\nname = \"x\"\n[tables]\nsingle_writer = true",
            "SXT-2006 sextant.toml:4 tables.single_writer is for tables in a bucket: \
             set tables.url too []",
        ),
        (
            "[project]\nname = \"${NOPE}\"",
            "SXT-2007 sextant.toml:2:9 variable NOPE is not set \
             [set it, or give a default: ${NOPE:-default}]",
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(fault(text), expected, "{text}");
    }
    let broken = fault("[project]\nname = \"x\n");
    assert!(broken.starts_with("SXT-2004 sextant.toml:2:"), "{broken}");
}

#[test]
fn asset_files_and_text_faults() {
    let world = World::new(&[("a", "text = 'x'\ninptus = []")]);
    let failure = world.load().err().unwrap();
    assert_eq!(failure.place().unwrap().to_string(), "texts/a.toml:2:1");
    assert_eq!(failure.hint().unwrap(), "did you mean `inputs`?");

    std::fs::write(world.dir.path().join("texts/a.toml"), b"text = 'x'\n# \xff\xfe").unwrap();
    let failure = world.load().err().unwrap();
    assert_eq!(format!("{failure:?}"), "SXT-2003: not UTF-8 text at byte 13");
    assert_eq!(failure.place().unwrap().to_string(), "texts/a.toml:2");

    world.asset("a", &"# long\n".repeat(200_000));
    assert_eq!(world.load().err().unwrap().code().to_string(), "SXT-2002");
}

#[test]
fn check_lists_every_fault() {
    let world = World::new(&[("a", "x = 1"), ("b", "y = 1"), ("c", "")]);
    world.write("releases/r.toml", "agent = 'a'\n\n[[gate]]\nmetric = 'm'");
    let faults = config_check(world.dir.path(), &world.kinds(), None, &environment);
    let places: Vec<String> =
        faults.iter().map(|fault| fault.place().unwrap().to_string()).collect();
    assert_eq!(places, ["texts/a.toml:1:1", "texts/b.toml:1:1", "releases/r.toml:3"]);
}

#[test]
fn a_profile_lies_over_the_file_and_shows_its_origin() {
    let world = World::new(&[]);
    world.write(
        "sextant.toml",
        "[project]\nname = \"x\"\n[server]\nport = ${PORT}\n[vars]\na = 1\n\
         [profiles.prod.build]\njobs = 8\n[profiles.prod.vars]\na = 2\n",
    );
    let config = load_config(world.dir.path(), Some("prod"), &environment).unwrap();
    assert_eq!((config.port, config.build.jobs, config.build.retries), (8100, 8, 1));
    let rows = config_show(&config);
    let origin = |key: &str| {
        let row = rows.iter().find(|row| row.key == key).unwrap();
        format!("{} {}", row.value, row.origin)
    };
    assert_eq!(origin("server.port"), "8100 sextant.toml:4");
    assert_eq!(origin("build.jobs"), "8 profile prod, sextant.toml:8");
    assert_eq!(origin("build.retries"), "1 default");
    assert_eq!(origin("vars.a"), "2 profile prod, sextant.toml:10");
    let failure = load_config(world.dir.path(), Some("prd"), &environment).unwrap_err();
    assert_eq!(failure.hint().unwrap(), "did you mean `prod`?");
}

#[test]
fn tables_may_be_in_a_bucket_whose_credentials_are_only_named() {
    let world = World::new(&[]);
    world.write(
        "sextant.toml",
        "[project]\nname = \"x\"\n[profiles.prod.tables]\nurl = \"s3://lake/prod/\"\n\
         [profiles.prod.tables.s3]\nsecret_access_key = { env = \"QUOTED\" }\n",
    );
    assert!(load_config(world.dir.path(), None, &environment).unwrap().tables.is_none());
    let config = load_config(world.dir.path(), Some("prod"), &environment).unwrap();
    let tables = config.tables.clone().unwrap();
    assert_eq!((tables.url.as_str(), tables.single_writer), ("s3://lake/prod", false));
    assert_eq!(tables.s3.secret_access_key, SecretRef::Env("QUOTED".to_owned()));
    let shown = serde_json::to_string(&config_show(&config)).unwrap();
    assert!(shown.contains("QUOTED") && !shown.contains("\\\"b\\\""), "{shown}");
}

#[test]
fn secrets_are_references() {
    #[derive(Debug, serde::Deserialize)]
    struct File {
        key: SecretRef,
    }
    let read = |text: &str| {
        let file = crate::AssetFile { root: "/".into(), path: "f.toml".into(), text: text.into() };
        crate::parse_asset_toml::<File>(&file)
    };
    let literal = read("key = \"hunter2\"").unwrap_err();
    assert_eq!(literal.code().to_string(), "SXT-2008");
    assert!(!format!("{literal:?}").contains("hunter2"));
    assert_eq!(read("key = { evn = \"A\" }").unwrap_err().code().to_string(), "SXT-2006");
    let key = read("key = { env = \"PORT\" }").unwrap().key;
    let secret = key.resolve(Path::new("/"), &environment).unwrap();
    assert_eq!((secret.reveal(), format!("{secret:?}").as_str()), ("8100", "Secret(…)"));
    let missing = SecretRef::Env("NOPE".into()).resolve(Path::new("/"), &environment).unwrap_err();
    assert_eq!(missing.code().to_string(), "SXT-2010");
}

#[test]
fn every_kind_of_file_has_a_schema() {
    let schema = config_schema(&World::new(&[]).kinds());
    let files: Vec<&String> = schema.as_object().unwrap().keys().collect();
    assert_eq!(files, ["sextant.toml", "texts/*.toml", "releases/*.toml"]);
    assert!(schema["sextant.toml"]["properties"]["build"].is_object());
}

#[test]
fn a_folder_without_a_project_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let failure = load_config(folder.path(), None, &environment).unwrap_err();
    assert_eq!(failure.code().to_string(), "SXT-2020");
}
