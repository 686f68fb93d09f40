//! How good are the defaults? Trains on the Markdown below a folder and prints how well held-out
//! headings find their sections, beside BM25 and the two fused.
//!
//! `cargo run --release -p sextant-models --example embedder_quality -- FOLDER [SPEC_JSON] [pages|pairs|FILE]`
//!
//! `pages` holds out whole pages (the default), `pairs` holds out every tenth pair, and a `.jsonl`
//! file of questions (`question`, `path`, `heading`) holds out nothing and asks those.

use std::{
    collections::{BTreeMap, HashMap},
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use sextant_models::{
    Embedder, HookError, Pair, RetrievalScore, StepReport, TrainHooks, TrainSpec, TrainState, train,
};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

struct Print;

#[expect(clippy::print_stdout, reason = "an example prints")]
impl TrainHooks for Print {
    fn on_step(&mut self, report: &StepReport) -> Result<(), HookError> {
        if report.step.is_multiple_of(50) {
            println!(
                "step {} loss {:.4} {:.0} pairs/s",
                report.step, report.loss, report.pairs_per_s
            );
        }
        Ok(())
    }

    fn on_validation(&mut self, step: u64, score: &RetrievalScore) -> Result<(), HookError> {
        println!("step {step} validation MRR {:.3} accuracy {:.3}", score.mrr, score.accuracy);
        Ok(())
    }

    fn on_checkpoint(&mut self, _state: &TrainState) -> Result<(), HookError> {
        Ok(())
    }

    fn should_stop(&mut self) -> bool {
        false
    }
}

struct Section {
    page: usize,
    path: String,
    heading: String,
    body: String,
}

fn markdown_files(dir: &Path, found: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() {
            markdown_files(&path, found)?;
        } else if path.extension().is_some_and(|e| e == "md") {
            found.push(path);
        }
    }
    found.sort();
    Ok(())
}

fn sections(dir: &Path) -> Result<Vec<Section>> {
    let mut files = Vec::new();
    markdown_files(dir, &mut files)?;
    let mut all = Vec::new();
    for (page, file) in files.iter().enumerate() {
        let text = String::from_utf8_lossy(&fs::read(file)?).into_owned();
        let path = file.strip_prefix(dir)?.display().to_string();
        let mut heading = String::new();
        let mut body = String::new();
        let mut fenced = false;
        for line in text.lines().chain(["# end"]) {
            fenced ^= line.starts_with("```");
            let title = line.trim_start_matches('#');
            if fenced || title.len() == line.len() || !title.starts_with(' ') {
                body.push_str(line);
                body.push('\n');
                continue;
            }
            if !heading.is_empty() && body.split_whitespace().count() > 8 {
                all.push(Section {
                    page,
                    path: path.clone(),
                    heading: heading.clone(),
                    body: body.clone(),
                });
            }
            heading = title.trim().to_owned();
            body.clear();
        }
    }
    Ok(all)
}

/// Questions whose section is among `all`, with its place there.
fn questions(file: &Path, all: &[Section]) -> Result<Vec<(String, usize)>> {
    let mut found = Vec::new();
    for line in fs::read_to_string(file)?.lines() {
        let question: BTreeMap<String, String> = serde_json::from_str(line)?;
        let right =
            all.iter().position(|s| s.path == question["path"] && s.heading == question["heading"]);
        found.extend(right.map(|at| (question["question"].clone(), at)));
    }
    Ok(found)
}

fn words(text: &str) -> Vec<String> {
    text.split(|c: char| !c.is_alphanumeric())
        .filter(|w| !w.is_empty())
        .map(str::to_lowercase)
        .collect()
}

/// BM25 scores of every passage for a query.
fn bm25(query: &str, passages: &[Vec<String>], frequency: &HashMap<String, usize>) -> Vec<f32> {
    let n = passages.len() as f32;
    let mean = passages.iter().map(Vec::len).sum::<usize>() as f32 / n;
    let terms = words(query);
    passages
        .iter()
        .map(|passage| {
            let score = terms.iter().map(|term| {
                let tf = passage.iter().filter(|w| *w == term).count() as f32;
                let df = *frequency.get(term).unwrap_or(&0) as f32;
                let idf = (1.0 + (n - df + 0.5) / (df + 0.5)).ln();
                idf * tf * 2.2 / (tf + 1.2 * (0.25 + 0.75 * passage.len() as f32 / mean))
            });
            score.sum()
        })
        .collect()
}

fn ranks(scores: &[f32]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_by(|a, b| scores[*b].total_cmp(&scores[*a]));
    let mut ranks = vec![0; scores.len()];
    for (rank, at) in order.into_iter().enumerate() {
        ranks[at] = rank + 1;
    }
    ranks
}

/// Training pairs, and held-out headings with the place of their section.
fn split(all: &[Section], how: &str) -> (Vec<Pair>, Vec<(String, usize)>) {
    let (mut training, mut held_out) = (Vec::new(), Vec::new());
    let mut counter = 0;
    for (at, section) in all.iter().enumerate() {
        let mut sentences =
            section.body.split(['.', '\n']).filter(|s| s.split_whitespace().count() > 5);
        let mut queries = vec![section.heading.clone()];
        queries.extend(sentences.by_ref().take(3).map(str::to_owned));
        for (nth, query) in queries.into_iter().enumerate() {
            counter += 1;
            let held = match how {
                "pages" => section.page % 10 == 3,
                "pairs" => counter % 10 == 3 && nth == 0,
                _ => false,
            };
            let passage = section.body.replace(query.as_str(), " ");
            match (held, nth) {
                (true, 0) => held_out.push((query, at)),
                (true, _) => {}
                (false, _) => training.push(Pair { query, passage }),
            }
        }
    }
    (training, held_out)
}

#[expect(clippy::print_stdout, reason = "an example prints")]
fn compare(
    embedder: &Embedder,
    bodies: &[&str],
    vectors: &[Vec<f32>],
    held_out: &[(String, usize)],
) -> Result<()> {
    let tokens: Vec<Vec<String>> = bodies.iter().map(|b| words(b)).collect();
    let mut frequency = HashMap::new();
    for passage in &tokens {
        for word in passage.iter().collect::<std::collections::HashSet<_>>() {
            *frequency.entry(word.clone()).or_insert(0) += 1;
        }
    }
    let mut sums: BTreeMap<&str, (f64, f64)> = BTreeMap::new();
    for (query, right) in held_out {
        let lexical = bm25(query, &tokens, &frequency);
        let vector = &embedder.embed(&[query])?[0];
        let cosine: Vec<f32> =
            vectors.iter().map(|v| v.iter().zip(vector).map(|(a, b)| a * b).sum()).collect();
        let (a, b) = (ranks(&lexical), ranks(&cosine));
        let fused: Vec<f32> =
            a.iter().zip(&b).map(|(a, b)| 1.0 / (60 + a) as f32 + 1.0 / (60 + b) as f32).collect();
        let most = lexical.iter().copied().fold(1e-6, f32::max);
        let mixed: Vec<f32> = lexical.iter().zip(&cosine).map(|(a, b)| a / most + b).collect();
        for (name, ranks) in [
            ("bm25", a),
            ("embedder", b),
            ("fused rrf", ranks(&fused)),
            ("fused sum", ranks(&mixed)),
        ] {
            let sum = sums.entry(name).or_default();
            sum.0 += 1.0 / ranks[*right] as f64;
            sum.1 += f64::from(u8::from(ranks[*right] <= 10));
        }
    }
    for (name, (mrr, recall)) in sums {
        let n = held_out.len() as f64;
        println!(
            "{name:10} MRR {:.3} recall@10 {:.3} among {} sections",
            mrr / n,
            recall / n,
            bodies.len()
        );
    }
    Ok(())
}

#[expect(clippy::print_stdout, reason = "an example prints")]
fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().collect();
    let dir = arguments.get(1).context("name a folder of Markdown")?;
    let spec: TrainSpec = serde_json::from_str(arguments.get(2).map_or("{}", String::as_str))?;
    let how = arguments.get(3).map_or("pages", String::as_str);
    let all = sections(Path::new(dir))?;
    let (training, mut held_out) = split(&all, how);
    if how.ends_with(".jsonl") {
        held_out = questions(Path::new(how), &all)?;
    }
    let pages = all.last().map_or(0, |s| s.page + 1);
    println!(
        "{pages} pages, {} sections, {} pairs, {} held-out headings",
        all.len(),
        training.len(),
        held_out.len()
    );
    let validation: Vec<Pair> = held_out
        .iter()
        .map(|(q, at)| Pair { query: q.clone(), passage: all[*at].body.clone() })
        .collect();
    let started = std::time::Instant::now();
    let trained = train(&spec, &training, &validation, None, &mut Print)?;
    println!("trained in {:.1} s", started.elapsed().as_secs_f64());
    let folder = std::env::temp_dir().join(format!("embedder-quality-{}", std::process::id()));
    trained.state.write_model(&folder)?;
    let embedder = Embedder::load(&folder)?;
    let bodies: Vec<&str> = all.iter().map(|s| s.body.as_str()).collect();
    let started = std::time::Instant::now();
    let vectors = embedder.embed(&bodies)?;
    println!("{:.0} passages/s embedded", bodies.len() as f64 / started.elapsed().as_secs_f64());
    compare(&embedder, &bodies, &vectors, &held_out)?;
    fs::remove_dir_all(folder)?;
    Ok(())
}
