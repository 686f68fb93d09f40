//! How is an embedder trained? Contrastive steps over seeded batches; deterministic on one machine:
//! the same settings and pairs give the same bytes, however often it was stopped and resumed.

use std::{
    collections::{BTreeMap, HashMap},
    error::Error,
    time::Instant,
};

use candle_core::{Device, Tensor, Var, backprop::GradStore};
use sextant_weights::{EncoderConfig, TensorF32, TensorMap};

use crate::{
    ModelsError, PAIRS_MAX, RetrievalScore, TrainSpec, TrainState, VALIDATION_PAIRS_MAX,
    batches::Batches,
    encoder::{Batch, Encoder},
    init::initial,
    measure::HeldOut,
    ops::info_nce,
    optimizer::{AdamW, sum_of_squares},
    state::pairs_digest,
    tokenizer::{TextEncoder, train_tokenizer},
};

/// A text and the passage that answers it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pair {
    /// A heading, a question, a sentence.
    pub query: String,
    /// What should be found for it.
    pub passage: String,
}

/// What one step did.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StepReport {
    /// Steps taken, this one included.
    pub step: u64,
    /// Steps in all.
    pub steps: u64,
    /// The contrastive loss.
    pub loss: f64,
    /// The learning rate that was used.
    pub learning_rate: f64,
    /// Norm of the whole gradient, before clipping.
    pub gradient_norm: f64,
    /// Pairs per second since this process began to train.
    pub pairs_per_s: f64,
}

/// Whatever the caller's hook failed with.
pub type HookError = Box<dyn Error + Send + Sync>;

/// What the caller wants to know and decide while training runs. An error ends the training.
pub trait TrainHooks {
    /// A step was taken.
    ///
    /// # Errors
    /// The caller's own.
    fn on_step(&mut self, report: &StepReport) -> Result<(), HookError>;

    /// Held-out pairs were scored after `step` steps.
    ///
    /// # Errors
    /// The caller's own.
    fn on_validation(&mut self, step: u64, score: &RetrievalScore) -> Result<(), HookError>;

    /// A checkpoint is due: write it with [`TrainState::write`] wherever it belongs.
    ///
    /// # Errors
    /// The caller's own.
    fn on_checkpoint(&mut self, state: &TrainState) -> Result<(), HookError>;

    /// Asked after each step. When true, training stops after a last checkpoint.
    fn should_stop(&mut self) -> bool;
}

/// A training that ended.
pub struct Trained {
    /// Where it ended; [`TrainState::write_model`] writes the model folder.
    pub state: TrainState,
    /// False when [`TrainHooks::should_stop`] ended it early.
    pub finished: bool,
    /// The loss of the last step that was taken here, if any was.
    pub loss: Option<f64>,
    /// The last score of the held-out pairs, if there are any.
    pub validation: Option<RetrievalScore>,
}

/// Trains an embedder on `pairs`, from the beginning or `from` a saved state, and scores it on
/// `validation` (which may be empty).
///
/// # Errors
/// When settings or pairs are unusable, the state is of another training, training diverges, or a
/// hook fails.
pub fn train(
    spec: &TrainSpec,
    pairs: &[Pair],
    validation: &[Pair],
    from: Option<TrainState>,
    hooks: &mut dyn TrainHooks,
) -> Result<Trained, ModelsError> {
    let mut training = Training::prepare(spec, pairs, validation, from)?;
    training.run(hooks)
}

struct Training {
    spec: TrainSpec,
    pairs_digest: sextant_core::Digest,
    config: EncoderConfig,
    tokenizer: Vec<u8>,
    pairs: Vec<(Vec<u32>, Vec<u32>)>,
    /// Equal passages have equal numbers.
    same: Vec<u32>,
    held_out: HeldOut,
    vars: BTreeMap<String, Var>,
    encoder: Encoder,
    optimizer: AdamW,
    step: u64,
}

impl Training {
    fn prepare(
        spec: &TrainSpec,
        pairs: &[Pair],
        validation: &[Pair],
        from: Option<TrainState>,
    ) -> Result<Self, ModelsError> {
        spec.validate()?;
        check_pairs(pairs)?;
        let pairs_digest = pairs_digest(pairs);
        if let Some(state) = &from {
            check_same_training(state, spec, pairs_digest)?;
        }
        let shown = shown(spec, pairs.len());
        let tokenizer = match &from {
            Some(state) => state.tokenizer.clone(),
            None => {
                let read = pairs.iter().zip(&shown).filter(|(_, shown)| **shown);
                let corpus = read.flat_map(|(p, _)| [p.query.as_str(), p.passage.as_str()]);
                train_tokenizer(corpus, spec.vocab, spec.max_tokens)?
            }
        };
        let texts = TextEncoder::from_bytes(&tokenizer, spec.max_tokens)?;
        let encode = |pair: &Pair| Ok((texts.encode(&pair.query)?, texts.encode(&pair.passage)?));
        let held_out = validation
            .iter()
            .take(VALIDATION_PAIRS_MAX)
            .map(encode)
            .collect::<Result<_, ModelsError>>()?;
        let same = number_passages(pairs);
        let pairs = pairs
            .iter()
            .zip(&shown)
            .map(|(pair, shown)| if *shown { encode(pair) } else { Ok(<_>::default()) })
            .collect::<Result<Vec<_>, ModelsError>>()?;
        let (config, weights, moments, step) = match from {
            Some(state) => (state.config, state.weights, state.moments, state.step),
            None => {
                let config = spec.config(texts.vocab_size());
                let read = pairs.iter().zip(&shown).filter(|(_, shown)| **shown);
                let passages: Vec<Vec<u32>> =
                    read.map(|((_, passage), _)| passage.clone()).collect();
                let weights = initial(&config, spec.seed, &passages);
                let moments = AdamW::zeros(&weights);
                (config, weights, moments, 0)
            }
        };
        let vars = variables(&weights)?;
        let encoder = Encoder::new(&config, |name| match vars.get(name) {
            Some(var) => Ok(var.as_tensor().clone()),
            None => Err(ModelsError::State { reason: format!("it has no tensor {name}") }),
        })?;
        Ok(Self {
            spec: spec.clone(),
            pairs_digest,
            config,
            tokenizer,
            pairs,
            same,
            held_out: HeldOut::new(held_out),
            vars,
            encoder,
            optimizer: AdamW::new(moments, spec.weight_decay),
            step,
        })
    }

    fn run(&mut self, hooks: &mut dyn TrainHooks) -> Result<Trained, ModelsError> {
        let mut batches = Batches::new(self.spec.seed, self.pairs.len(), self.spec.batch);
        let (started, first) = (Instant::now(), self.step);
        let (mut loss, mut validation) = (None, None);
        let mut finished = self.step >= self.spec.steps;
        while self.step < self.spec.steps {
            let batch = batches.at(self.step);
            let report = self.take_step(&batch, self.step == first, (started, first))?;
            loss = Some(report.loss);
            let at = self.step;
            let hook = move |source| ModelsError::Hook { step: at, source };
            hooks.on_step(&report).map_err(hook)?;
            finished = self.step == self.spec.steps;
            let stop = finished || hooks.should_stop();
            if !self.held_out.is_empty() && (finished || due(self.step, self.spec.eval_every)) {
                let score = self.held_out.score(&self.encoder)?;
                hooks.on_validation(self.step, &score).map_err(hook)?;
                validation = Some(score);
            }
            if stop || due(self.step, self.spec.checkpoint_every) {
                hooks.on_checkpoint(&self.state()?).map_err(hook)?;
            }
            if stop {
                break;
            }
        }
        Ok(Trained { state: self.state()?, finished, loss, validation })
    }

    fn take_step(
        &mut self,
        batch: &[usize],
        check: bool,
        since: (Instant, u64),
    ) -> Result<StepReport, ModelsError> {
        let queries = batch.iter().map(|at| self.pairs[*at].0.as_slice());
        let passages = batch.iter().map(|at| self.pairs[*at].1.as_slice());
        let embeddings = self.encoder.forward(&Batch::new(queries.chain(passages)))?;
        let same = batch.iter().map(|at| self.same[*at]).collect();
        let loss_tensor = info_nce(&embeddings, same, self.spec.temperature as f32)?;
        let loss = f64::from(loss_tensor.to_scalar::<f32>()?);
        if !loss.is_finite() {
            return Err(ModelsError::Diverged { step: self.step, what: "the loss" });
        }
        let grads = loss_tensor.backward()?;
        if check {
            self.check_gradients(&grads)?;
        }
        let learning_rate = self.spec.learning_rate_at(self.step);
        let gradient_norm = self.optimizer.step(self.step, learning_rate, &self.vars, &grads)?;
        self.step += 1;
        let taken = (self.step - since.1) as f64 * batch.len() as f64;
        Ok(StepReport {
            step: self.step,
            steps: self.spec.steps,
            loss,
            learning_rate,
            gradient_norm,
            pairs_per_s: taken / since.0.elapsed().as_secs_f64().max(1e-9),
        })
    }

    /// Before time is spent: every trainable tensor gets a gradient that is not zero.
    fn check_gradients(&self, grads: &GradStore) -> Result<(), ModelsError> {
        for (name, var) in &self.vars {
            let squares = grads.get(var).map(sum_of_squares).transpose()?;
            if squares.is_none_or(|squares| squares == 0.0) {
                return Err(ModelsError::NoGradient { tensor: name.clone(), step: self.step });
            }
        }
        Ok(())
    }

    fn state(&self) -> Result<TrainState, ModelsError> {
        let mut weights = TensorMap::new();
        for (name, var) in &self.vars {
            let data = var.flatten_all()?.to_vec1::<f32>()?;
            weights.insert(name.clone(), TensorF32 { shape: var.dims().to_vec(), data });
        }
        Ok(TrainState {
            step: self.step,
            spec: self.spec.clone(),
            pairs: self.pairs_digest,
            config: self.config.clone(),
            tokenizer: self.tokenizer.clone(),
            weights,
            moments: self.optimizer.snapshot(),
        })
    }
}

/// Which pairs some step shows. Where there are more pairs than that, the rest is not even read.
fn shown(spec: &TrainSpec, pairs: usize) -> Vec<bool> {
    if spec.steps.saturating_mul(spec.batch as u64) >= pairs as u64 {
        return vec![true; pairs];
    }
    let mut shown = vec![false; pairs];
    let mut batches = Batches::new(spec.seed, pairs, spec.batch);
    for step in 0..spec.steps {
        for pair in batches.at(step) {
            shown[pair] = true;
        }
    }
    shown
}

fn due(step: u64, every: u64) -> bool {
    every > 0 && step.is_multiple_of(every)
}

fn variables(weights: &TensorMap) -> Result<BTreeMap<String, Var>, ModelsError> {
    let mut vars = BTreeMap::new();
    for (name, t) in weights {
        let tensor = Tensor::from_vec(t.data.clone(), t.shape.as_slice(), &Device::Cpu)?;
        vars.insert(name.clone(), Var::from_tensor(&tensor)?);
    }
    Ok(vars)
}

fn check_pairs(pairs: &[Pair]) -> Result<(), ModelsError> {
    let refuse = |reason: String| Err(ModelsError::Pairs { reason });
    if pairs.len() > PAIRS_MAX {
        return refuse(format!("there are {}, the limit is {PAIRS_MAX}", pairs.len()));
    }
    if let Some(at) =
        pairs.iter().position(|p| p.query.trim().is_empty() || p.passage.trim().is_empty())
    {
        return refuse(format!("pair {at} has an empty text"));
    }
    match pairs.first() {
        None => refuse("there are none".to_owned()),
        Some(first) if pairs.iter().all(|p| p.passage == first.passage) => {
            refuse("at least two different passages are needed".to_owned())
        }
        Some(_) => Ok(()),
    }
}

fn check_same_training(
    state: &TrainState,
    spec: &TrainSpec,
    pairs: sextant_core::Digest,
) -> Result<(), ModelsError> {
    let refuse = |reason: String| Err(ModelsError::OtherTraining { reason });
    if state.spec != *spec {
        return refuse("its settings differ".to_owned());
    }
    if state.pairs != pairs {
        return refuse(format!("its pairs are {}, these are {pairs}", state.pairs));
    }
    if state.step > spec.steps {
        return refuse(format!("it has taken {} steps of {}", state.step, spec.steps));
    }
    Ok(())
}

/// Gives each different passage a number, in order of appearance.
fn number_passages(pairs: &[Pair]) -> Vec<u32> {
    let mut numbers = HashMap::new();
    pairs
        .iter()
        .map(|pair| {
            let next = numbers.len() as u32;
            *numbers.entry(pair.passage.as_str()).or_insert(next)
        })
        .collect()
}

#[cfg(test)]
mod tests;
