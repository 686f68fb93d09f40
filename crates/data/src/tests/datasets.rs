//! Rows frozen for training: the same for the same seed, steady when rows are added, readable from
//! blobs alone.

use std::collections::BTreeMap;

use super::{Bench, failure};
use crate::{DataError, read_dataset, read_manifest};

const DATASET: &str = "from = \"rows\"\nsplit = { train = 0.8, validation = 0.2 }\nseed = 7\n";

fn rows(count: u32) -> String {
    format!(
        "select 'p' || cast(value % 10 as varchar) as page, value as number from generate_series(1, {count})"
    )
}

fn bench(dataset: &str) -> Bench {
    Bench::new(&[
        ("docs/a.md", "# A\n"),
        ("models/rows.sql", &rows(200)),
        ("datasets/pairs.toml", dataset),
    ])
}

/// Which split each number is in.
fn placed(bench: &Bench) -> BTreeMap<i64, &'static str> {
    let version = bench.version("datasets/pairs").version;
    let mut placed = BTreeMap::new();
    for split in ["train", "validation"] {
        for row in read_dataset(&bench.store, &version, split).unwrap() {
            assert!(placed.insert(row["number"].as_i64().unwrap(), split).is_none());
        }
    }
    placed
}

#[test]
fn a_snapshot_is_the_same_everywhere_and_rows_added_move_nobody() {
    let (one, two) = (bench(DATASET), bench(DATASET));
    one.good();
    two.good();
    let version = one.version("datasets/pairs").version;
    assert_eq!(version, two.version("datasets/pairs").version);
    let manifest = read_manifest(&one.store, &version).unwrap();
    assert_eq!(manifest.splits["train"].rows + manifest.splits["validation"].rows, 200);
    assert!((20..60).contains(&manifest.splits["validation"].rows));

    let before = placed(&one);
    one.write("models/rows.sql", rows(300));
    one.good();
    let after = placed(&one);
    assert_eq!(after.len(), 300);
    assert!(before.iter().all(|(number, split)| after.get(number) == Some(split)));

    // Readable for ever, without any table.
    std::fs::remove_dir_all(one.store.dir().join("tables")).unwrap();
    assert_eq!(read_manifest(&one.store, &version).unwrap(), manifest);
    assert!(!read_dataset(&one.store, &version, "train").unwrap().is_empty());
    let error = read_dataset(&one.store, &version, "test").unwrap_err();
    assert!(matches!(error, DataError::NotFound { what: "split", .. }), "{error}");
}

#[test]
fn a_group_stays_together() {
    let bench = bench(&format!("{DATASET}group_by = \"page\"\n"));
    bench.good();
    let mut pages: BTreeMap<i64, &str> = BTreeMap::new();
    for (number, split) in placed(&bench) {
        assert_eq!(*pages.entry(number % 10).or_insert(split), split);
    }
}

#[test]
fn bad_datasets_are_explained() {
    let bench_with = |text: &str| bench(text);
    let error = bench_with("from = \"rows\"\nsplit = { train = 0.8 }\n").load().err().unwrap();
    assert_eq!(error.place().unwrap().to_string(), "datasets/pairs.toml:2");
    assert!(error.chain().contains("add up to 0.8"), "{error}");
    let report = bench_with("from = \"rows\"\ngroup_by = \"nope\"\n").build();
    let (code, text) = failure(&report, "datasets/pairs");
    assert_eq!(code, "SXT-3010");
    assert!(text.contains("page, number"), "{text}");
}

#[test]
fn a_tag_names_a_dataset_and_the_files_of_a_source() {
    let bench = bench(DATASET);
    bench.good();
    let first = bench.version("datasets/pairs").version;
    let tag = bench.engine.tag("v-first", crate::TagKind::Tag, &[]).unwrap();
    assert_eq!(tag.assets.keys().map(ToString::to_string).collect::<Vec<_>>(), ["datasets/pairs"]);
    let page = bench.engine.files_at("manual").unwrap().files.remove(0).path;
    let before = bench.engine.file_at("manual", &page).unwrap().1;
    bench.write(&format!("docs/{page}"), format!("{before}More. "));
    bench.write("models/rows.sql", rows(300));
    bench.good();
    let second = bench.version("datasets/pairs").version;
    assert_ne!(first, second);
    let named = |tag: &str| bench.engine.tagged("datasets/pairs", tag).unwrap();
    assert_eq!(named("v-first"), Some(first));
    assert_eq!(bench.engine.file_at("manual@v-first", &page).unwrap().1, before);
    assert_eq!(bench.engine.file_at("manual", &page).unwrap().1, format!("{before}More. "));
    // By digest, by another tag, and moved as a branch.
    let old = format!("datasets/pairs@{}", first.short());
    let branch = |what: &str| {
        bench.engine.tag("moving", crate::TagKind::Branch, &[what.to_owned()]).unwrap();
        named("moving")
    };
    assert_eq!(branch(&old), Some(first));
    assert_eq!(branch("datasets/pairs"), Some(second));
    assert_eq!(branch("datasets/pairs@v-first"), Some(first));
    assert!(
        bench.engine.tag("none", crate::TagKind::Tag, &["datasets/pairs@zz".to_owned()]).is_err()
    );
    // What a tag names can be read after all else was removed.
    let options = crate::GcOptions {
        dry_run: false,
        older_than: std::time::Duration::ZERO,
        holders: Vec::new(),
    };
    bench.engine.gc(&options).unwrap();
    assert_eq!(bench.engine.file_at("manual@v-first", &page).unwrap().1, before);
    bench.engine.untag("v-first").unwrap();
    assert_eq!(named("v-first"), None);
    assert!(bench.engine.file_at("manual", "nosuch.md").is_err());
}
