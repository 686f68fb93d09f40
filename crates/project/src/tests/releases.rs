//! Are releases created, judged, switched and rolled back as one?

use std::collections::BTreeMap;

use serde_json::{Value, json};
use sextant_core::{Digest, Failure};
use sextant_lineage::Expect;

use super::fake::{Step, World};
use crate::{
    Part, Role,
    release::{
        Evidence, NewRelease, PartDetails, Promote, create, diff, flatten_metrics, gate, list,
        promote, resolve, rollback, show,
    },
};

struct Nothing;

impl PartDetails for Nothing {
    fn details(&self, role: Role, _: &Part, _: &Part) -> Result<Vec<String>, Failure> {
        Ok(if role == Role::Documents { vec!["docs/a.md added".into()] } else { Vec::new() })
    }
}

const GATE: &str = "agent = 'bot'\n[[gate]]\nmetric = 'e.hybrid.ndcg@10'\nmin = 0.3\n\
                    than = 'e.bm25.ndcg@10'\n";

fn world() -> World {
    let world = World::new(&[
        ("docs", "text = 'one'"),
        ("check", "inputs = ['texts/docs']\nguards = 'texts/docs'"),
        ("index", "inputs = ['texts/docs']\ntext = 'i '"),
        ("prompt", "text = 'p'"),
        ("eval", "inputs = ['texts/index']\ntext = 'e '"),
        ("bot", "inputs = ['texts/index', 'texts/prompt']"),
    ]);
    world.write("releases/bot.toml", GATE);
    world.build();
    world
}

fn make(world: &World, mode: &str) -> Result<Digest, Failure> {
    let project = world.load()?;
    let asset = |stem: &str| format!("texts/{stem}").parse().unwrap();
    let assets = BTreeMap::from([
        (Role::Documents, asset("docs")),
        (Role::Prompt, asset("prompt")),
        (Role::Index, asset("index")),
        (Role::Evaluation, asset("eval")),
        (Role::Serving, asset("bot")),
    ]);
    let spec = project.release("bot").unwrap();
    let new = NewRelease { spec, assets, serving: json!({ "mode": mode }) };
    create(world.store(), &project.graph, &new)
}

fn judge(world: &World, digest: &Digest, report: Value) -> Result<bool, Failure> {
    let row = show(world.store(), digest)?;
    let index = Some(row.parts[&Role::Index].version);
    let evidence = Evidence { metrics: flatten_metrics("e", &report), index };
    let project = world.load()?;
    let spec = project.release("bot").unwrap();
    gate(world.store(), digest, spec, &evidence).map(|verdict| verdict.passed)
}

fn good() -> Value {
    json!({ "hybrid": { "ndcg@10": 0.6 }, "bm25": { "ndcg@10": 0.5 } })
}

/// Creates, gates and promotes what is there now.
fn release(world: &World) -> Digest {
    let digest = make(world, "hybrid").unwrap();
    judge(world, &digest, good()).unwrap();
    promote(world.store(), &digest, Promote::default()).unwrap();
    digest
}

fn code(result: Result<impl std::fmt::Debug, Failure>) -> String {
    result.unwrap_err().code().to_string()
}

#[test]
fn the_same_parts_are_the_same_release() {
    let world = world();
    let one = make(&world, "hybrid").unwrap();
    assert_eq!(make(&world, "hybrid").unwrap(), one);
    assert_ne!(make(&world, "bm25").unwrap(), one);
    assert_eq!(list(world.store()).unwrap().len(), 2);
    let row = show(world.store(), &one).unwrap();
    assert_eq!((row.name.as_str(), row.live, row.mode.as_deref()), ("bot", false, Some("hybrid")));
    assert_eq!(row.parts.len(), 5);
}

#[test]
fn dirty_failing_and_opaque_parts_are_refused() {
    let world = world();
    world.asset("docs", "text = 'two'");
    let failure = make(&world, "hybrid").unwrap_err();
    assert_eq!(failure.code().to_string(), "SXT-2031");
    assert!(failure.to_string().contains("texts/docs: recipe changed"), "{failure}");

    world.asset("docs", "text = 'bad'");
    world.build();
    assert_eq!(code(make(&world, "hybrid")), "SXT-2032");

    world.asset("docs", "text = 'three'");
    world.script("docs", &[Step::Opaque]);
    world.build();
    let failure = make(&world, "hybrid").unwrap_err();
    assert_eq!(failure.code().to_string(), "SXT-2033");
    assert!(failure.to_string().contains("a letter without a sender"), "{failure}");

    world.asset("docs", "text = 'four'");
    world.build();
    make(&world, "hybrid").unwrap();
}

#[test]
fn a_missing_part_is_named() {
    let world = world();
    let project = world.load().unwrap();
    let spec = project.release("bot").unwrap();
    let new = NewRelease { spec, assets: BTreeMap::new(), serving: json!({}) };
    assert_eq!(code(create(world.store(), &project.graph, &new)), "SXT-2030");
}

#[test]
fn the_gate_judges_by_its_rules() {
    let world = world();
    let hybrid = make(&world, "hybrid").unwrap();
    let lexical = make(&world, "bm25").unwrap();
    let report = |hybrid: f64, bm25: f64| json!({ "hybrid": { "ndcg@10": hybrid }, "bm25": { "ndcg@10": bm25 } });
    let cases = [
        (hybrid, report(0.6, 0.5), "passed"),
        (hybrid, report(0.5, 0.5), "SXT-2034"),
        (hybrid, report(0.2, 0.1), "SXT-2034"),
        (hybrid, json!({ "hybrid": { "ndgc@10": 0.6 } }), "SXT-2034"),
        (lexical, report(0.1, 0.5), "SXT-2034"),
    ];
    for (digest, report, expected) in cases {
        let found = match judge(&world, &digest, report.clone()) {
            Ok(_) => "passed".to_owned(),
            Err(failure) => failure.code().to_string(),
        };
        assert_eq!(found, expected, "{report}");
    }
    let failure = judge(&world, &hybrid, report(0.5, 0.55)).unwrap_err();
    assert_eq!(failure.code().kind.exit_code(), 3);
    let text = failure.to_string();
    assert!(text.contains("e.hybrid.ndcg@10 > e.bm25.ndcg@10"), "{text}");
    assert!(text.contains("0.5000    0.5500  refused"), "{text}");
    assert!(text.contains("0.5000    0.3000  holds"), "{text}");
}

#[test]
fn a_report_about_another_index_is_void() {
    let world = world();
    let digest = make(&world, "hybrid").unwrap();
    let project = world.load().unwrap();
    let spec = project.release("bot").unwrap();
    let metrics = flatten_metrics("e", &good());
    let evidence = Evidence { metrics, index: Some(Digest::of("another")) };
    assert_eq!(code(gate(world.store(), &digest, spec, &evidence)), "SXT-2035");
    assert_eq!(code(promote(world.store(), &digest, Promote::default())), "SXT-2039");
}

#[test]
fn promoting_needs_a_passed_gate_or_a_reason() {
    let world = world();
    let digest = make(&world, "hybrid").unwrap();
    let store = world.store();
    assert_eq!(code(promote(store, &digest, Promote::default())), "SXT-2039");
    judge(&world, &digest, json!({})).unwrap_err();
    assert_eq!(code(promote(store, &digest, Promote::default())), "SXT-2039");
    let force = |reason| Promote { force: Some(reason), ..Promote::default() };
    assert_eq!(code(promote(store, &digest, force(" "))), "SXT-2040");
    let switch = promote(store, &digest, force("demo for the board")).unwrap();
    assert_eq!((switch.action.as_str(), switch.from), ("force", None));
    let row = show(store, &digest).unwrap();
    assert_eq!((row.live, row.reason.as_str()), (true, "demo for the board"));
}

#[test]
fn rolling_back_walks_further_back_each_time() {
    let world = world();
    let store = world.store();
    let mut made = Vec::new();
    for text in ["one", "two", "three"] {
        world.asset("docs", &format!("text = '{text}'"));
        world.build();
        made.push(release(&world));
    }
    let back = |expected: Digest| {
        let before = resolve(store, "bot@live").unwrap();
        let broken = |target: &Digest| resolve(store, &format!("no-{target}")).map(drop);
        assert!(rollback(store, "bot", broken).is_err());
        assert_eq!(resolve(store, "bot@live").unwrap(), before);
        let switch = rollback(store, "bot", |_| Ok(())).unwrap();
        assert_eq!(switch.to, expected);
        assert_eq!(resolve(store, "bot@live").unwrap(), expected);
    };
    back(made[1]);
    back(made[0]);
    assert_eq!(code(rollback(store, "bot", |_| Ok(()))), "SXT-2038");
    promote(store, &made[2], Promote::default()).unwrap();
    promote(store, &made[2], Promote::default()).unwrap();
    back(made[0]);
    assert_eq!(code(rollback(store, "nobody", |_| Ok(()))), "SXT-2037");
}

#[test]
fn two_promotions_at_once_conflict() {
    let world = world();
    let first = release(&world);
    world.asset("docs", "text = 'two'");
    world.build();
    let second = make(&world, "hybrid").unwrap();
    judge(&world, &second, good()).unwrap();
    let stale = Promote { expect: Some(Expect::Absent), ..Promote::default() };
    let failure = promote(world.store(), &second, stale).unwrap_err();
    assert_eq!(failure.code().kind.exit_code(), 5);
    assert_eq!(resolve(world.store(), "bot@live").unwrap(), first);
    let seen = Promote { expect: Some(Expect::Is(first)), ..Promote::default() };
    promote(world.store(), &second, seen).unwrap();
}

#[test]
fn a_difference_names_what_moved() {
    let world = world();
    let one = make(&world, "hybrid").unwrap();
    world.asset("docs", "text = 'two'");
    world.build();
    let two = make(&world, "bm25").unwrap();
    let found = diff(world.store(), &one, &two, &Nothing).unwrap();
    let lines: Vec<String> = found
        .changes
        .iter()
        .map(|change| format!("{} {:?} {:?}", change.part, change.kind, change.detail))
        .collect();
    assert_eq!(
        lines,
        [
            "documents Changed [\"docs/a.md added\"]",
            "prompt Same []",
            "index Changed []",
            "evaluation Changed []",
            "serving Changed [\"mode: \\\"hybrid\\\" -> \\\"bm25\\\"\"]",
            "texts/check Changed []",
        ]
    );
}

#[test]
fn words_are_resolved() {
    let world = world();
    let digest = release(&world);
    let store = world.store();
    for word in [&digest.to_string(), &digest.short(), "bot", "bot@live", "release/bot@live"] {
        assert_eq!(resolve(store, word).unwrap(), digest, "{word}");
    }
    let failure = resolve(store, "bott").unwrap_err();
    assert_eq!(failure.hint().as_deref(), Some("did you mean `bot`?"));
}
