//! Which assets does a selector mean, and which graphs are refused?

use super::fake::World;

fn diamond() -> World {
    World::new(&[
        ("raw", "text = 'r'\ntags = ['nightly']"),
        ("left", "inputs = ['texts/raw']\ntags = ['nightly', 'core']"),
        ("right", "inputs = ['texts/raw']"),
        ("join", "inputs = ['texts/left', 'texts/right']\ntags = ['core']"),
        ("check", "inputs = ['texts/left']\nguards = 'texts/left'"),
        ("sub/alone", "text = 'x'"),
    ])
}

#[test]
fn selectors_mean_what_dbt_means() {
    let world = diamond();
    let graph = world.load().unwrap().graph;
    let cases = [
        ("", "", "alone check join left raw right"),
        ("left", "", "left"),
        ("texts/left", "", "left"),
        ("+left", "", "check left raw"),
        ("left+", "", "check join left"),
        ("+join", "", "check join left raw right"),
        ("+left+", "", "check join left raw"),
        ("1+join", "", "check join left right"),
        ("raw+1", "", "left raw right"),
        ("tag:core", "", "join left"),
        ("tag:core,tag:nightly", "", "left"),
        ("tag:core right", "", "join left right"),
        ("path:texts/*.toml", "", "check join left raw right"),
        ("path:texts/sub", "", "alone"),
        ("path:**/r*", "", "raw right"),
        ("+join", "tag:nightly", "check join right"),
        ("", "raw+", "alone"),
    ];
    for (select, exclude, expected) in cases {
        let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        let selection = graph.select(&words(select), &words(exclude)).unwrap();
        let names: Vec<&str> = selection.all.iter().map(|id| id.stem()).collect();
        assert_eq!(names.join(" "), expected, "select {select:?} exclude {exclude:?}");
    }
}

#[test]
fn selectors_that_mean_nothing_are_refused() {
    let graph = diamond().load().unwrap().graph;
    let cases = [
        ("lfet", "SXT-2015", Some("did you mean `left`?")),
        ("texts/riht", "SXT-2015", Some("did you mean `texts/right`?")),
        ("tag:cor", "SXT-2015", Some("did you mean `tag:core`?")),
        ("path:nowhere", "SXT-2015", None),
        ("tag:nightly,right", "SXT-2015", None),
        ("+", "SXT-2016", None),
        ("a+b+c", "SXT-2016", None),
        ("path:[", "SXT-2016", None),
    ];
    for (selector, code, hint) in cases {
        let failure = graph.select(&[selector.to_owned()], &[]).unwrap_err();
        assert_eq!(failure.code().to_string(), code, "{selector}");
        assert_eq!(failure.hint().as_deref(), hint, "{selector}");
    }
}

fn refused(files: &[(&str, &str)]) -> (String, Option<String>, Option<String>) {
    let failure = World::new(files).load().err().unwrap();
    let place = failure.place().map(|place| place.to_string());
    (format!("{:?}", failure), place, failure.hint())
}

#[test]
fn a_circle_is_listed() {
    let (text, place, _) = refused(&[
        ("a", "inputs = ['texts/c']"),
        ("b", "inputs = ['texts/a']"),
        ("c", "inputs = ['texts/b']"),
        ("d", "inputs = ['texts/c']"),
    ]);
    assert_eq!(
        text,
        "SXT-2014: assets depend on each other in a circle: \
         texts/b -> texts/c -> texts/a -> texts/b"
    );
    assert_eq!(place.as_deref(), Some("texts/b.toml"));
}

#[test]
fn an_unknown_input_names_the_nearest_and_its_line() {
    let (text, place, hint) =
        refused(&[("sections", ""), ("index", "text = 'x'\n\ninputs = ['texts/sectoins']")]);
    assert_eq!(text, "SXT-2013: texts/index reads texts/sectoins, which does not exist");
    assert_eq!(place.as_deref(), Some("texts/index.toml:3:18"));
    assert_eq!(hint.as_deref(), Some("did you mean `texts/sections`?"));
}

#[test]
fn one_name_twice_and_bad_names_are_refused() {
    let (text, ..) = refused(&[("a", ""), ("sub/a", "")]);
    assert!(text.starts_with("SXT-2011: asset texts/a is described twice"), "{text}");
    let (text, ..) = refused(&[("a b", "")]);
    assert!(text.starts_with("SXT-2018: not an asset id"), "{text}");
}

#[test]
fn hidden_files_are_ignored_and_links_out_are_refused() {
    let world = World::new(&[("a", "")]);
    world.asset(".hidden", "nonsense");
    world.write("texts/notes.md", "not an asset");
    assert_eq!(world.load().unwrap().graph.len(), 1);
    let outside = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(outside.path(), world.dir.path().join("texts/out")).unwrap();
    let failure = world.load().err().unwrap();
    assert_eq!(failure.code().to_string(), "SXT-2019");
    assert_eq!(failure.place().unwrap().to_string(), "texts/out");
}
