//! What does a build show that stops at any of its steps? Nothing, and the next one is whole.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{fs, path::Path};

use sextant_core::Digest;
use sextant_retrieve::{
    ChunkRow, EmbedText, Snapshots, chunk_digest,
    memory::HashEmbedder,
    snapshot::{BuildOutcome, BuildWatch},
    verify,
};

struct Quiet;

impl BuildWatch for Quiet {
    fn progress(&self, _done: usize, _total: usize) {}

    fn is_cancelled(&self) -> bool {
        false
    }
}

fn rows(count: u64) -> Vec<ChunkRow> {
    let row = |index: u64| {
        let doc_version = Digest::of(index.to_le_bytes());
        ChunkRow {
            chunk: chunk_digest(&doc_version, 0, 9),
            doc_version,
            path: format!("{index}.md"),
            ordinal: 0,
            heading: "H".into(),
            breadcrumb: "H".into(),
            body: format!("passage {index}"),
            byte_start: 0,
            byte_end: 9,
        }
    };
    (0..count).map(row).collect()
}

#[test]
fn a_build_that_stops_at_any_step_shows_nothing_and_is_built_again() {
    let scenario = fail::FailScenario::setup();
    for step in ["after_vectors", "after_text_commit", "before_rename", "after_rename"] {
        let folder = tempfile::tempdir().unwrap();
        let snapshots = Snapshots::new(folder.path());
        let embedder = HashEmbedder::new("failpoints", 16);
        let build = |count: u64, previous: Option<&Path>| -> Result<BuildOutcome, _> {
            snapshots.build(rows(count), Some(&embedder), EmbedText::Body, previous, &Quiet)
        };
        let old = build(2, None).unwrap();
        let point = format!("index::{step}");
        fail::cfg(&point, "return").unwrap();
        assert!(build(5, Some(&old.path)).is_err(), "{step}");
        fail::remove(&point);
        // All that is listed is whole, whether the last step was reached or not.
        for path in snapshots.list().unwrap() {
            verify(&path).unwrap();
        }
        let built = build(5, Some(&old.path)).unwrap();
        assert_eq!((built.counts.added, built.counts.removed), (3, 0), "{step}");
        verify(&built.path).unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2, "{step}");
    }
    scenario.teardown();
}
