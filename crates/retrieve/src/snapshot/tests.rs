//! Snapshots from build to damage: what a crash leaves, what a flipped byte does, what is reused.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{fs, path::Path};

use sextant_core::{Digest, ExitKind, Failure};
use tempfile::TempDir;

use super::{BuildOutcome, BuildWatch, Snapshot, Snapshots, record::Record, verify};
use crate::{
    ChunkRow, EmbedText, Mode, Query, SnapshotCache, TextEmbedder, chunk_digest,
    memory::HashEmbedder,
};

struct Quiet;

impl BuildWatch for Quiet {
    fn progress(&self, _done: usize, _total: usize) {}

    fn is_cancelled(&self) -> bool {
        false
    }
}

/// One row per body, each in a document of its own.
fn rows(bodies: &[&str]) -> Vec<ChunkRow> {
    let row = |(index, body): (usize, &&str)| {
        let doc_version = Digest::of(body);
        let byte_end = body.len() as u64;
        ChunkRow {
            chunk: chunk_digest(&doc_version, 0, byte_end),
            doc_version,
            path: format!("docs/{index:03}.md"),
            ordinal: 0,
            heading: format!("Heading {index}"),
            breadcrumb: format!("Manual > Heading {index}"),
            body: (*body).to_owned(),
            byte_start: 0,
            byte_end,
        }
    };
    bodies.iter().enumerate().map(row).collect()
}

const BODIES: &[&str] = &[
    "Run `sextant demo --exit` to stop after the tour.",
    "A release pins one version of every asset.",
    "The rollback moves the pointer back in one step.",
    "Error SXT-1003 means that the store is locked; see sextant.toml.",
    "Vectors of two embedders are never mixed in `embed_spec`.",
];

struct Bench {
    folder: TempDir,
    embedder: HashEmbedder,
}

impl Bench {
    fn new() -> Self {
        Self { folder: TempDir::new().unwrap(), embedder: HashEmbedder::new("one", 64) }
    }

    fn snapshots(&self) -> Snapshots {
        Snapshots::new(self.folder.path())
    }

    fn build(&self, bodies: &[&str], previous: Option<&Path>) -> BuildOutcome {
        self.snapshots()
            .build(rows(bodies), Some(&self.embedder), EmbedText::Body, previous, &Quiet)
            .unwrap()
    }

    fn search(&self, snapshot: &Snapshot, text: &str, mode: Mode) -> Vec<String> {
        let embedder = (mode != Mode::Bm25).then_some(&self.embedder as &dyn TextEmbedder);
        let hits = snapshot.search(&Query { text, mode, k: 3, embedder }).unwrap();
        hits.into_iter().map(|hit| hit.path).collect()
    }
}

fn kind_of(error: &Failure) -> ExitKind {
    error.code().kind
}

/// Which of two sections does a question find first?
#[test]
fn rarity_is_measured_over_the_whole_section() {
    let bench = Bench::new();
    let section = |heading: &str, body: &str| {
        let mut row = rows(&[body]).remove(0);
        row.heading = heading.to_owned();
        row.breadcrumb = format!("Manual > {heading}");
        row.path = format!("{heading}.md");
        row
    };
    // `release` stands in every body and in one heading: it must not decide there alone.
    let all = vec![
        section("Release", "What a release is made of."),
        section("Going back", "Undo a bad release with one command: release undo."),
        section("Gates", "A gate may refuse a release, and how a gate is written."),
        section("What it costs", "The bill of a release comes monthly."),
        section("Names", "Every release has a name, and `how_it_works` too."),
    ];
    let built = bench.snapshots().build(all, None, EmbedText::Body, None, &Quiet).unwrap();
    let open = Snapshot::open(&built.path).unwrap();
    for (question, path) in [
        ("How do I undo a bad release?", "Going back.md"),
        ("What is a release?", "Release.md"),
        ("What does it cost?", "What it costs.md"),
        ("how does a gate refuse", "Gates.md"),
        ("how_it_works", "Names.md"),
        ("going BACK", "Going back.md"),
    ] {
        assert_eq!(bench.search(&open, question, Mode::Bm25).first().unwrap(), path, "{question}");
    }
    assert!(bench.search(&open, "what is it, and how?", Mode::Bm25).is_empty());
    assert!(bench.search(&open, "zebra", Mode::Bm25).is_empty());
}

#[test]
fn a_snapshot_is_found_by_words_identifiers_and_vectors() {
    let bench = Bench::new();
    let built = bench.build(BODIES, None);
    assert_eq!((built.counts.chunks, built.counts.embedded, built.counts.reused), (5, 5, 0));
    let report = verify(&built.path).unwrap();
    assert_eq!((report.chunks, report.vectors, report.digest), (5, 5, built.digest));
    let open = Snapshot::open(&built.path).unwrap();
    for (query, path) in [
        ("releases pinned", "docs/001.md"),
        ("--exit", "docs/000.md"),
        ("sextant.toml", "docs/003.md"),
        ("SXT-1003", "docs/003.md"),
        ("embed_spec", "docs/004.md"),
    ] {
        assert_eq!(bench.search(&open, query, Mode::Bm25).first().unwrap(), path, "{query}");
    }
    for mode in [Mode::Vector, Mode::Hybrid] {
        assert_eq!(bench.search(&open, "moves the pointer back", mode)[0], "docs/002.md");
    }
    let hit = &open
        .search(&Query {
            text: "rollback",
            mode: Mode::Hybrid,
            k: 1,
            embedder: Some(&bench.embedder),
        })
        .unwrap()[0];
    assert_eq!((hit.rank, hit.body.as_str(), hit.byte_start), (1, BODIES[2], 0));
    assert!(hit.bm25_score.unwrap() > 0.0 && hit.cosine.unwrap() > 0.0);
    assert_eq!(open.chunk(&hit.chunk).unwrap().unwrap().path, hit.path);
    assert!(open.chunk(&Digest::of("other")).unwrap().is_none());
}

#[test]
fn vector_hits_equal_brute_force() {
    let bench = Bench::new();
    let open = Snapshot::open(&bench.build(BODIES, None).path).unwrap();
    let query = "one version of vectors in the store";
    let embed = |text: &str| -> Vec<f64> {
        let raw: Vec<f64> =
            bench.embedder.embed(&[text]).unwrap()[0].iter().map(|v| f64::from(*v)).collect();
        let length = raw.iter().map(|v| v * v).sum::<f64>().sqrt();
        raw.iter().map(|v| v / length).collect()
    };
    let given = embed(query);
    let mut oracle: Vec<(f64, usize)> = BODIES
        .iter()
        .enumerate()
        .map(|(index, body)| (embed(body).iter().zip(&given).map(|(a, b)| a * b).sum(), index))
        .collect();
    oracle.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
    let hits = open
        .search(&Query { text: query, mode: Mode::Vector, k: 5, embedder: Some(&bench.embedder) })
        .unwrap();
    assert!(!hits.is_empty());
    for (hit, (cosine, _)) in hits.iter().zip(&oracle) {
        assert!((hit.score - cosine).abs() < 1e-5);
    }
}

#[test]
fn garbage_finds_nothing_and_too_much_is_refused() {
    let bench = Bench::new();
    let open = Snapshot::open(&bench.build(BODIES, None).path).unwrap();
    let garbage = [
        "",
        "   ",
        "\0",
        "((((",
        "body:",
        "+-\"",
        "🦀🦀",
        "*",
        "the of and",
        "zzzzqqq",
        "a\\",
        "[x TO",
    ];
    for query in garbage {
        for mode in [Mode::Bm25, Mode::Hybrid, Mode::Vector] {
            let found = bench.search(&open, query, mode);
            assert!(mode == Mode::Vector || mode == Mode::Hybrid || found.is_empty(), "{query:?}");
        }
    }
    // Syntax is words: it neither selects a field nor excludes anything.
    let plain = bench.search(&open, "release", Mode::Bm25);
    assert_eq!(bench.search(&open, "-release", Mode::Bm25), plain);
    let long = "word ".repeat(10_000);
    let error =
        open.search(&Query { text: &long, mode: Mode::Bm25, k: 3, embedder: None }).unwrap_err();
    assert_eq!(kind_of(&error), ExitKind::Usage);
}

#[test]
fn vectors_of_another_embedder_are_refused_with_both_digests() {
    let bench = Bench::new();
    let built = bench.build(BODIES, None);
    let open = Snapshot::open(&built.path).unwrap();
    let other = HashEmbedder::new("two", 64);
    let query = Query { text: "release", mode: Mode::Hybrid, k: 3, embedder: Some(&other) };
    let error = open.search(&query).unwrap_err();
    assert_eq!(kind_of(&error), ExitKind::Conflict);
    let text = error.to_string();
    assert!(text.contains(&bench.embedder.digest().to_string()), "{text}");
    assert!(text.contains(&other.digest().to_string()), "{text}");
    let query = Query { text: "release", mode: Mode::Vector, k: 3, embedder: None };
    assert_eq!(kind_of(&open.search(&query).unwrap_err()), ExitKind::Conflict);
    // An incremental build never mixes: another embedder reuses nothing.
    let rebuilt = bench
        .snapshots()
        .build(rows(BODIES), Some(&other), EmbedText::Body, Some(&built.path), &Quiet)
        .unwrap();
    assert_eq!((rebuilt.counts.embedded, rebuilt.counts.reused), (5, 0));
    assert_ne!(rebuilt.digest, built.digest);
}

#[test]
fn an_index_of_text_alone_has_no_vectors() {
    let bench = Bench::new();
    let built = bench.snapshots().build(rows(BODIES), None, EmbedText::Body, None, &Quiet).unwrap();
    assert_eq!(verify(&built.path).unwrap().vectors, 0);
    let open = Snapshot::open(&built.path).unwrap();
    assert_eq!(bench.search(&open, "release", Mode::Bm25), ["docs/001.md"]);
    let query =
        Query { text: "release", mode: Mode::Hybrid, k: 3, embedder: Some(&bench.embedder) };
    assert_eq!(kind_of(&open.search(&query).unwrap_err()), ExitKind::Conflict);
    let empty = bench.build(&[], None);
    assert!(Snapshot::open(&empty.path).unwrap().is_empty());
    assert_eq!(verify(&empty.path).unwrap().chunks, 0);
}

#[test]
fn only_changed_chunks_are_embedded_and_removed_ones_are_gone() {
    let bench = Bench::new();
    let first = bench.build(BODIES, None);
    assert_eq!(bench.embedder.embedded(), 5);
    let mut bodies = BODIES.to_vec();
    bodies[1] = "A release pins a whole aubergine.";
    bodies.pop();
    let second = bench.build(&bodies, Some(&first.path));
    let counts = second.counts;
    assert_eq!((counts.chunks, counts.embedded, counts.reused), (4, 1, 3));
    assert_eq!((counts.added, counts.removed), (1, 2));
    assert_eq!(bench.embedder.embedded(), 6);
    verify(&second.path).unwrap();
    let open = Snapshot::open(&second.path).unwrap();
    assert_eq!(bench.search(&open, "aubergine", Mode::Bm25), ["docs/001.md"]);
    assert!(bench.search(&open, "embed_spec mixed", Mode::Bm25).is_empty());
    let hybrid = bench.search(&open, "vectors of two embedders are never mixed", Mode::Hybrid);
    assert!(!hybrid.contains(&"docs/004.md".to_owned()));
    // The older snapshot still answers as it did: a rollback is a pointer.
    let old = Snapshot::open(&first.path).unwrap();
    assert_eq!(bench.search(&old, "mixed", Mode::Bm25), ["docs/004.md"]);
    // Reused vectors are the ones a full build makes.
    let full = Bench::new();
    let whole = full.build(&bodies, None);
    assert_eq!(whole.digest, second.digest);
    let vectors = |path: &Path| fs::read(path.join(super::VECTORS_FILE)).unwrap();
    assert_eq!(vectors(&whole.path), vectors(&second.path));
}

#[test]
fn the_same_rows_find_the_same_snapshot() {
    let bench = Bench::new();
    let first = bench.build(BODIES, None);
    let again = bench.build(BODIES, None);
    assert_eq!((first.digest, &first.path), (again.digest, &again.path));
    assert_eq!(bench.embedder.embedded(), 5);
    assert_eq!((again.counts.embedded, again.counts.reused), (0, 5));
    assert_eq!(bench.snapshots().list().unwrap(), [first.path]);
}

#[test]
fn what_a_crash_leaves_is_never_opened_and_goes_away() {
    let bench = Bench::new();
    let whole = Bench::new().build(BODIES, None);
    // A crash after each step of the build: the folder without its name, with ever more in it.
    for step in ["nothing", "vectors", "text", "record"] {
        let left = bench.folder.path().join(format!(".building-{}", whole.digest.hex()));
        fs::create_dir_all(left.join("text")).unwrap();
        fs::write(left.join("text/meta.json"), "half").unwrap();
        fs::write(left.join(super::VECTORS_FILE), step).unwrap();
        assert!(bench.snapshots().list().unwrap().is_empty() || step != "nothing");
        let built = bench.build(BODIES, None);
        assert_eq!(built.digest, whole.digest);
        assert!(!left.exists(), "{step}");
        verify(&built.path).unwrap();
        // A crash after the folder got its name but before the act was committed.
        assert_eq!(bench.build(BODIES, None).digest, whole.digest);
    }
}

#[test]
fn a_final_folder_that_is_incomplete_is_refused_and_built_again() {
    for lost in [super::VECTORS_FILE, "snapshot.json", "text/meta.json"] {
        let bench = Bench::new();
        let built = bench.build(BODIES, None);
        fs::remove_file(built.path.join(lost)).unwrap();
        assert!(Snapshot::open(&built.path).is_err(), "{lost}");
        assert_eq!(kind_of(&verify(&built.path).unwrap_err().into()), ExitKind::Integrity);
        let again = bench.build(BODIES, Some(&built.path));
        assert_eq!(again.notes.len(), 2, "{:?}", again.notes);
        verify(&again.path).unwrap();
    }
    let nowhere = Bench::new().folder.path().join("nowhere");
    assert_eq!(kind_of(&verify(&nowhere).unwrap_err().into()), ExitKind::NotFound);
}

#[test]
fn a_flipped_byte_in_any_file_is_an_integrity_error() {
    let bench = Bench::new();
    let built = bench.build(BODIES, None);
    let mut files: Vec<_> = ["", "text"]
        .iter()
        .flat_map(|below| fs::read_dir(built.path.join(below)).unwrap())
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_file() && path.extension().is_none_or(|e| e != "lock"))
        .collect();
    files.sort();
    assert!(files.len() >= 8, "{files:?}");
    for path in files {
        let good = fs::read(&path).unwrap();
        for at in (0..good.len()).step_by(1 + good.len() / 24) {
            let mut bytes = good.clone();
            bytes[at] ^= 0x10;
            fs::write(&path, &bytes).unwrap();
            match verify(&built.path) {
                Err(error) => {
                    let kind = kind_of(&error.into());
                    assert!(matches!(kind, ExitKind::Integrity | ExitKind::Conflict), "{kind:?}");
                }
                // White space around the record is no part of it.
                Ok(_) => panic!("{} byte {at} ({:?})", path.display(), good[at] as char),
            }
        }
        fs::write(&path, &good).unwrap();
    }
    verify(&built.path).unwrap();
}

#[test]
fn a_cancelled_build_leaves_nothing() {
    struct Stop;
    impl BuildWatch for Stop {
        fn progress(&self, _done: usize, _total: usize) {}

        fn is_cancelled(&self) -> bool {
            true
        }
    }
    let bench = Bench::new();
    let outcome =
        bench.snapshots().build(rows(BODIES), Some(&bench.embedder), EmbedText::Body, None, &Stop);
    assert!(outcome.is_err());
    assert_eq!(fs::read_dir(bench.folder.path()).unwrap().count(), 0);
}

#[test]
fn bad_vectors_are_refused() {
    struct Bad(Vec<Vec<f32>>);
    impl TextEmbedder for Bad {
        fn digest(&self) -> Digest {
            Digest::of("bad")
        }
        fn dim(&self) -> usize {
            2
        }
        fn pooling(&self) -> &str {
            "mean"
        }
        fn embed(&self, _texts: &[&str]) -> Result<Vec<Vec<f32>>, Failure> {
            Ok(self.0.clone())
        }
    }
    let bench = Bench::new();
    for bad in [vec![], vec![vec![1.0]], vec![vec![f32::NAN, 0.0]], vec![vec![1.0, f32::INFINITY]]]
    {
        let built = bench.snapshots().build(
            rows(&BODIES[..1]),
            Some(&Bad(bad)),
            EmbedText::Body,
            None,
            &Quiet,
        );
        assert_eq!(built.unwrap_err().code().number, 5006);
    }
    assert!(bench.snapshots().list().unwrap().is_empty());
}

#[test]
fn the_cache_opens_a_snapshot_once() {
    let bench = Bench::new();
    let built = bench.build(BODIES, None);
    let cache = SnapshotCache::new();
    let one = cache.get(&built.path).unwrap();
    let two = cache.get(&built.path).unwrap();
    assert!(std::sync::Arc::ptr_eq(&one, &two));
    assert!(cache.get(&bench.folder.path().join("none")).is_err());
}

#[test]
fn an_index_whose_words_were_cut_in_another_way_is_old_and_not_damaged() {
    let bench = Bench::new();
    let built = bench.build(BODIES, None);
    let mut record = Record::read(&built.path).unwrap();
    record.manifest.params.analyzers = "an-earlier-one".to_owned();
    record.write(&built.path).unwrap();
    let error = Snapshot::open(&built.path).err().unwrap();
    assert!(error.to_string().contains("an-earlier-one"), "{error}");
    assert_eq!(kind_of(&error.into()), ExitKind::Conflict);
}
