//! How fast is a training step, and what must PyTorch start from to repeat it?
//!
//! `cargo run --release -p sextant-models --example bench_embedder -- DOCS OUT [STEPS]`
//!
//! Trains on the sections of the Markdown files in DOCS and writes to OUT: the pairs, the state
//! after the first steps, the batches and learning rates of the rest, and our losses and times.
//! `benches/embedder/compare.py` goes on from that state in PyTorch.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Instant,
};

use anyhow::{Context, Result};
use sextant_models::{
    HookError, Pair, RetrievalScore, StepReport, TrainHooks, TrainSpec, TrainState, batch_indices,
    train,
};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Steps before the state is handed over: both sides are then warm.
const HANDOVER: u64 = 10;

struct Record {
    out: PathBuf,
    last: Instant,
    milliseconds: Vec<f64>,
    losses: Vec<f64>,
}

impl TrainHooks for Record {
    fn on_step(&mut self, report: &StepReport) -> Result<(), HookError> {
        if report.step > HANDOVER {
            self.milliseconds.push(self.last.elapsed().as_secs_f64() * 1e3);
            self.losses.push(report.loss);
        }
        self.last = Instant::now();
        Ok(())
    }

    fn on_validation(&mut self, _step: u64, _score: &RetrievalScore) -> Result<(), HookError> {
        Ok(())
    }

    fn on_checkpoint(&mut self, state: &TrainState) -> Result<(), HookError> {
        if state.step() == HANDOVER {
            state.write(&self.out.join("state"))?;
        }
        self.last = Instant::now();
        Ok(())
    }

    fn should_stop(&mut self) -> bool {
        false
    }
}

fn collect(dir: &Path, pairs: &mut Vec<Pair>) -> Result<()> {
    let mut paths = fs::read_dir(dir)?.map(|e| Ok(e?.path())).collect::<Result<Vec<_>>>()?;
    paths.sort();
    for path in paths {
        if path.is_dir() {
            collect(&path, pairs)?;
        } else if path.extension().is_some_and(|e| e == "md") {
            for section in fs::read_to_string(&path)?.split("\n#").skip(1) {
                if let Some((heading, body)) = section.split_once('\n') {
                    let query = heading.trim_matches(['#', ' ']).to_owned();
                    let passage = body.trim().to_owned();
                    if !query.is_empty() && passage.len() > 80 {
                        pairs.push(Pair { query, passage });
                    }
                }
            }
        }
    }
    Ok(())
}

#[expect(clippy::print_stdout, reason = "an example prints")]
fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().collect();
    let docs = arguments.get(1).context("name a folder of Markdown")?;
    let out = PathBuf::from(arguments.get(2).context("name a folder for the results")?);
    let measured: u64 = arguments.get(3).map_or(Ok(40), |text| text.parse())?;
    let mut pairs = Vec::new();
    collect(Path::new(docs), &mut pairs)?;
    fs::create_dir_all(&out)?;
    let steps = HANDOVER + measured;
    let spec = TrainSpec {
        steps,
        checkpoint_every: HANDOVER,
        eval_every: 0,
        warmup: 5,
        ..TrainSpec::default()
    };
    let mut record = Record {
        out: out.clone(),
        last: Instant::now(),
        milliseconds: Vec::new(),
        losses: Vec::new(),
    };
    train(&spec, &pairs, &[], None, &mut record)?;
    let batches: Vec<_> =
        (HANDOVER..steps).map(|step| batch_indices(&spec, pairs.len(), step)).collect();
    let rates: Vec<_> = (HANDOVER..steps).map(|step| spec.learning_rate_at(step)).collect();
    let texts: Vec<_> = pairs.iter().map(|p| (&p.query, &p.passage)).collect();
    let report = serde_json::json!({
        "spec": spec, "pairs": texts, "batches": batches, "learning_rates": rates,
        "losses": record.losses, "milliseconds": record.milliseconds,
    });
    fs::write(out.join("ours.json"), serde_json::to_string(&report)?)?;
    let mut sorted = record.milliseconds.clone();
    sorted.sort_by(f64::total_cmp);
    println!(
        "{} pairs, {:.1} ms per step (median of {})",
        pairs.len(),
        sorted[sorted.len() / 2],
        sorted.len()
    );
    Ok(())
}
