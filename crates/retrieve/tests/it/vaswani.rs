//! Is BM25 sane? nDCG@10 on the Vaswani collection (11,429 abstracts, 93 queries), beside figures
//! that other systems publish for it. Skipped, saying so, where the collection is absent.

use std::{
    collections::{HashMap, HashSet},
    fs,
    path::{Path, PathBuf},
};

use sextant_core::Digest;
use sextant_retrieve::{
    ChunkRow, EmbedText, Mode, Query, Snapshot, Snapshots, TextEmbedder, chunk_digest,
    memory::HashEmbedder, snapshot::BuildWatch,
};

struct Quiet;

impl BuildWatch for Quiet {
    fn progress(&self, _done: usize, _total: usize) {}

    fn is_cancelled(&self) -> bool {
        false
    }
}

fn folder() -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/vaswani");
    folder.is_dir().then_some(folder)
}

/// The text between two marks, for each time they occur.
fn between<'a>(text: &'a str, open: &str, close: &str) -> Vec<&'a str> {
    text.split(open).skip(1).filter_map(|rest| rest.split(close).next()).map(str::trim).collect()
}

fn documents(text: &str) -> Vec<ChunkRow> {
    let row = |document: &str| {
        let (name, body) = document.split_once("</DOCNO>").unwrap();
        let name = name.replace("<DOCNO>", "").trim().to_owned();
        let body = body.trim().to_owned();
        let doc_version = Digest::of(&name);
        let byte_end = body.len() as u64;
        ChunkRow {
            chunk: chunk_digest(&doc_version, 0, byte_end),
            doc_version,
            path: name,
            ordinal: 0,
            heading: String::new(),
            breadcrumb: String::new(),
            body,
            byte_start: 0,
            byte_end,
        }
    };
    between(text, "<DOC>", "</DOC>")
        .into_iter()
        .filter(|document| !document.split("</DOCNO>").nth(1).unwrap_or_default().trim().is_empty())
        .map(row)
        .collect()
}

fn ndcg_at_10(found: &[String], relevant: &HashSet<String>) -> f64 {
    let gain = |rank: usize| 1.0 / ((rank + 2) as f64).log2();
    let got: f64 = found
        .iter()
        .take(10)
        .enumerate()
        .filter(|(_, path)| relevant.contains(*path))
        .map(|(rank, _)| gain(rank))
        .sum();
    let ideal: f64 = (0..relevant.len().min(10)).map(gain).sum();
    got / ideal
}

#[test]
fn bm25_on_vaswani_is_sane() {
    let Some(folder) = folder() else {
        eprintln!("skipped: shared/data/vaswani is absent");
        return;
    };
    let read = |name: &str| fs::read_to_string(folder.join(name)).unwrap();
    let rows = documents(&read("doc-text.trec"));
    assert!(rows.len() > 11_000, "{}", rows.len());
    let mut relevant: HashMap<String, HashSet<String>> = HashMap::new();
    for line in read("qrels").lines() {
        if let [query, _, document, "1"] = line.split_whitespace().collect::<Vec<_>>()[..] {
            relevant.entry(query.to_owned()).or_default().insert(document.to_owned());
        }
    }
    let home = tempfile::tempdir().unwrap();
    let embedder = HashEmbedder::new("vaswani", 512);
    let built = Snapshots::new(home.path())
        .build(rows, Some(&embedder), EmbedText::Body, None, &Quiet)
        .unwrap();
    let index = Snapshot::open(&built.path).unwrap();
    let mut figures = HashMap::new();
    for mode in [Mode::Bm25, Mode::Vector, Mode::Hybrid] {
        let mut scores = Vec::new();
        for topic in between(&read("query-text.trec"), "<num>", "</title>") {
            let (number, text) = topic.split_once("</num><title>").unwrap();
            let embedder = Some(&embedder as &dyn TextEmbedder);
            let hits = index.search(&Query { text, mode, k: 10, embedder }).unwrap();
            let paths: Vec<String> = hits.into_iter().map(|hit| hit.path).collect();
            scores.push(ndcg_at_10(&paths, &relevant[number.trim()]));
        }
        assert_eq!(scores.len(), 93);
        let mean = scores.iter().sum::<f64>() / scores.len() as f64;
        eprintln!("vaswani nDCG@10 {}: {mean:.4}", mode.as_str());
        figures.insert(mode.as_str(), mean);
    }
    // Measured 0.442 with one field for all words of a section.
    assert!(figures["bm25"] > 0.42, "{figures:?}");
    // Hashed word counts are a weak embedder: fusion must not fall to its level.
    assert!(figures["hybrid"] > figures["vector"], "{figures:?}");
}
