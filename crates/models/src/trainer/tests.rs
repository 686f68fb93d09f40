#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{fs, path::Path};

use sextant_core::Explain;
use sextant_weights::TENSORS_FILE;
use tempfile::TempDir;

use crate::{
    Embedder, HookError, ModelsError, OPTIMIZER_FILE, Pair, RetrievalScore, StepReport, TrainHooks,
    TrainSpec, TrainState, Trained, train,
};

/// A language of made-up words: the query names a topic by one word, the passage by another.
fn pairs(count: usize) -> Vec<Pair> {
    let word = |n: usize, salt: usize| {
        format!("{}{}", ["ka", "lo", "mi", "ru", "te"][n % 5], n * 31 + salt)
    };
    (0..count)
        .map(|n| Pair {
            query: format!("about {}", word(n % 12, 1)),
            passage: format!(
                "the {} is near the {} and number {n}",
                word(n % 12, 2),
                word(n % 12, 3)
            ),
        })
        .collect()
}

fn spec() -> TrainSpec {
    TrainSpec {
        hidden: 32,
        layers: 2,
        heads: 2,
        vocab: 300,
        max_tokens: 24,
        steps: 12,
        batch: 8,
        warmup: 2,
        learning_rate: 3e-3,
        checkpoint_every: 3,
        eval_every: 4,
        ..TrainSpec::default()
    }
}

/// Keeps what it is told; stops after `stop_at`; saves every checkpoint below `dir`.
#[derive(Default)]
struct Watch<'a> {
    dir: Option<&'a Path>,
    stop_at: Option<u64>,
    fail_at: Option<u64>,
    losses: Vec<f64>,
    validations: Vec<u64>,
    checkpoints: Vec<u64>,
}

impl TrainHooks for Watch<'_> {
    fn on_step(&mut self, report: &StepReport) -> Result<(), HookError> {
        self.losses.push(report.loss);
        match self.fail_at {
            Some(step) if step == report.step => Err("the disk is full".into()),
            _ => Ok(()),
        }
    }

    fn on_validation(&mut self, step: u64, score: &RetrievalScore) -> Result<(), HookError> {
        assert!((0.0..=1.0).contains(&score.mrr) && score.mrr >= score.accuracy);
        self.validations.push(step);
        Ok(())
    }

    fn on_checkpoint(&mut self, state: &TrainState) -> Result<(), HookError> {
        self.checkpoints.push(state.step());
        if let Some(dir) = self.dir {
            state.write(&dir.join(state.step().to_string()))?;
        }
        Ok(())
    }

    fn should_stop(&mut self) -> bool {
        self.stop_at.is_some_and(|stop| self.losses.len() as u64 >= stop)
    }
}

fn run(spec: &TrainSpec, from: Option<TrainState>, watch: &mut Watch<'_>) -> Trained {
    train(spec, &pairs(40), &pairs(12), from, watch).unwrap()
}

fn model_bytes(trained: &Trained) -> Vec<u8> {
    let dir = TempDir::new().unwrap();
    trained.state.write_model(dir.path()).unwrap();
    fs::read(dir.path().join(TENSORS_FILE)).unwrap()
}

#[test]
fn resuming_from_any_checkpoint_gives_the_same_bytes() {
    let dir = TempDir::new().unwrap();
    let mut watch = Watch { dir: Some(dir.path()), ..Watch::default() };
    let whole = run(&spec(), None, &mut watch);
    assert!(whole.finished);
    assert_eq!(watch.checkpoints, [3, 6, 9, 12]);
    assert_eq!(watch.validations, [4, 8, 12]);
    let expected = model_bytes(&whole);
    for step in [3, 6, 9, 12] {
        let state = TrainState::load(&dir.path().join(step.to_string())).unwrap();
        let mut rest = Watch::default();
        let resumed = run(&spec(), Some(state), &mut rest);
        assert_eq!(rest.losses, watch.losses[step..], "losses after step {step}");
        assert!(resumed.finished && model_bytes(&resumed) == expected, "resumed from step {step}");
    }
}

#[test]
fn a_stop_between_checkpoints_saves_and_resumes_to_the_same_bytes() {
    let dir = TempDir::new().unwrap();
    let expected = model_bytes(&run(&spec(), None, &mut Watch::default()));
    let mut watch = Watch { dir: Some(dir.path()), stop_at: Some(5), ..Watch::default() };
    let stopped = run(&spec(), None, &mut watch);
    assert!(!stopped.finished);
    assert_eq!(watch.checkpoints, [3, 5]);
    let state = TrainState::load(&dir.path().join("5")).unwrap();
    assert!(model_bytes(&run(&spec(), Some(state), &mut Watch::default())) == expected);
}

#[test]
fn one_thread_gives_the_bytes_of_many_and_another_seed_does_not() {
    let expected = model_bytes(&run(&spec(), None, &mut Watch::default()));
    for threads in [1, 3] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let bytes = pool.install(|| model_bytes(&run(&spec(), None, &mut Watch::default())));
        assert!(bytes == expected, "{threads} threads");
    }
    let other = TrainSpec { seed: 8, ..spec() };
    assert!(model_bytes(&run(&other, None, &mut Watch::default())) != expected);
}

#[test]
fn it_learns_what_shares_no_word() {
    let longer = TrainSpec { steps: 60, ..spec() };
    let mut watch = Watch::default();
    let score = run(&longer, None, &mut watch).validation.unwrap();
    assert!(score.mrr > 0.9, "{score:?}");
    assert!(watch.losses.last() < watch.losses.first());
}

#[test]
fn a_text_has_one_vector_whatever_it_is_embedded_with() {
    let dir = TempDir::new().unwrap();
    run(&spec(), None, &mut Watch::default()).state.write_model(dir.path()).unwrap();
    let embedder = Embedder::load(dir.path()).unwrap();
    assert_eq!((embedder.dim(), embedder.spec().num_hidden_layers), (32, 2));
    let texts = pairs(30)
        .into_iter()
        .map(|p| p.passage)
        .chain([String::new(), "☃".repeat(900)])
        .collect::<Vec<_>>();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let together = embedder.embed(&texts).unwrap();
    for (text, vector) in texts.iter().zip(&together) {
        let length: f32 = vector.iter().map(|v| v * v).sum();
        assert!((length - 1.0).abs() < 1e-5);
        let alone = &embedder.embed(&[text]).unwrap()[0];
        assert!(vector.iter().zip(alone).all(|(a, b)| (a - b).abs() < 1e-5), "{text}");
    }
    assert!(embedder.embed(&[]).unwrap().is_empty());
    // What stands behind the model's limit counts too.
    let long = texts[0].repeat(9);
    let longer = format!("{long} {}", texts[1].repeat(3));
    let both = embedder.embed(&[&long, &longer]).unwrap();
    assert!(both[0].iter().zip(&both[1]).any(|(a, b)| (a - b).abs() > 1e-3));
}

#[test]
fn another_training_is_refused_and_damage_is_noticed() {
    let dir = TempDir::new().unwrap();
    let mut watch = Watch { dir: Some(dir.path()), stop_at: Some(3), ..Watch::default() };
    run(&spec(), None, &mut watch);
    let saved = dir.path().join("3");
    let load = || TrainState::load(&saved);
    let code = |result: Result<Trained, ModelsError>| result.err().unwrap().code().number;
    let other = TrainSpec { learning_rate: 1e-3, ..spec() };
    assert_eq!(
        code(train(&other, &pairs(40), &[], Some(load().unwrap()), &mut Watch::default())),
        4104
    );
    assert_eq!(
        code(train(&spec(), &pairs(39), &[], Some(load().unwrap()), &mut Watch::default())),
        4104
    );
    let path = saved.join(OPTIMIZER_FILE);
    let mut bytes = fs::read(&path).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    fs::write(&path, &bytes).unwrap();
    assert_eq!(load().err().unwrap().code().number, 4105);
    fs::remove_file(saved.join("state.json")).unwrap();
    assert_eq!(load().err().unwrap().code().number, 4002);
}

#[test]
fn unusable_pairs_and_failing_hooks_are_named() {
    let refuse =
        |pairs: &[Pair]| train(&spec(), pairs, &[], None, &mut Watch::default()).err().unwrap();
    assert_eq!(refuse(&[]).code().number, 4102);
    let mut same = pairs(3);
    same.iter_mut().for_each(|p| p.passage = "x".to_owned());
    assert!(refuse(&same).to_string().contains("two different passages"));
    let mut empty = pairs(3);
    empty[1].query = " ".to_owned();
    assert!(refuse(&empty).to_string().contains("pair 1"));
    let mut watch = Watch { fail_at: Some(2), ..Watch::default() };
    let error = train(&spec(), &pairs(9), &[], None, &mut watch).err().unwrap();
    assert!(matches!(error, ModelsError::Hook { step: 2, .. }));
}

#[test]
fn a_model_folder_that_does_not_fit_together_is_refused() {
    let dir = TempDir::new().unwrap();
    run(&spec(), None, &mut Watch::default()).state.write_model(dir.path()).unwrap();
    let config = dir.path().join("config.json");
    let text = fs::read_to_string(&config).unwrap();
    for (from, to) in [
        ("\"hidden_size\": 32", "\"hidden_size\": 64"),
        ("\"num_hidden_layers\": 2", "\"num_hidden_layers\": 1"),
    ] {
        fs::write(&config, text.replace(from, to)).unwrap();
        assert_eq!(Embedder::load(dir.path()).unwrap_err().code().number, 4006);
    }
    fs::write(&config, &text).unwrap();
    let weights = dir.path().join(TENSORS_FILE);
    let bytes = fs::read(&weights).unwrap();
    fs::write(&weights, &bytes[..bytes.len() / 2]).unwrap();
    assert_eq!(Embedder::load(dir.path()).unwrap_err().code().number, 4005);
}
