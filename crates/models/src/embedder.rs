//! What is the vector of a text? A trained model, loaded from its folder.

use std::{fmt, path::Path};

use candle_core::{Device, Tensor};
use sextant_weights::{
    EncoderConfig, TENSORS_FILE, TensorMap, WeightsError, read_config, read_tensors, read_tokenizer,
};

use crate::{
    ModelsError,
    encoder::{Batch, Encoder, layout},
    tokenizer::TextEncoder,
};

/// Tokens in one pass of the model; bounds its memory whatever the number of texts.
const PASS_TOKENS: usize = 4_096;

/// A trained text embedder. Cheap to share; embedding takes `&self`.
pub struct Embedder {
    encoder: Encoder,
    texts: TextEncoder,
    config: EncoderConfig,
}

impl fmt::Debug for Embedder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Embedder").field("config", &self.config).finish_non_exhaustive()
    }
}

impl Embedder {
    /// Loads a model folder after validating every file in it.
    ///
    /// # Errors
    /// When a file is absent, damaged, or does not fit the others.
    pub fn load(dir: &Path) -> Result<Self, ModelsError> {
        let config = read_config(dir)?;
        let texts = TextEncoder::from_bytes(&read_tokenizer(dir)?, config.max_position_embeddings)?;
        if texts.vocab_size() > config.vocab_size {
            let reason = format!(
                "it has {} tokens, the model has {}",
                texts.vocab_size(),
                config.vocab_size
            );
            return Err(ModelsError::Tokenizer { reason });
        }
        let path = dir.join(TENSORS_FILE);
        let tensors = read_tensors(&path)?;
        check_layout(&path, &config, &tensors)?;
        let encoder = Encoder::new(&config, |name| match tensors.get(name) {
            Some(t) => Ok(Tensor::from_vec(t.data.clone(), t.shape.as_slice(), &Device::Cpu)?),
            None => Err(ModelsError::Weights(WeightsError::tensor(&path, name, "is absent"))),
        })?;
        Ok(Self { encoder, texts, config })
    }

    /// One vector of length 1 per text, in the order given. A text's vector does not depend on the
    /// other texts beyond rounding (1e-5). A text longer than the model's limit is read in windows,
    /// and its vector is their mean by length, so that no part of it goes unread.
    ///
    /// # Errors
    /// When the tokenizer or the tensor library refuses.
    pub fn embed(&self, texts: &[&str]) -> Result<Vec<Vec<f32>>, ModelsError> {
        let windows =
            texts.iter().map(|text| self.texts.windows(text)).collect::<Result<Vec<_>, _>>()?;
        let counts: Vec<usize> = windows.iter().map(Vec::len).collect();
        let ids: Vec<Vec<u32>> = windows.into_iter().flatten().collect();
        let vectors = embed_ids(&self.encoder, &ids)?;
        let (mut ids, mut vectors) = (ids.iter(), vectors.into_iter());
        Ok(counts
            .into_iter()
            .map(|count| {
                let parts = ids.by_ref().map(Vec::len).zip(vectors.by_ref()).take(count);
                mean_by_length(parts)
            })
            .collect())
    }

    /// Number of values in a vector.
    pub fn dim(&self) -> usize {
        self.config.hidden_size
    }

    /// The model's shape, as in its `config.json`.
    pub fn spec(&self) -> &EncoderConfig {
        &self.config
    }
}

/// The mean of the windows of one text, each as heavy as it is long, brought to length 1.
fn mean_by_length(mut windows: impl Iterator<Item = (usize, Vec<f32>)>) -> Vec<f32> {
    let Some((tokens, mut mean)) = windows.next() else { return Vec::new() };
    let mut alone = true;
    for (more, vector) in windows {
        if std::mem::take(&mut alone) {
            mean.iter_mut().for_each(|v| *v *= tokens as f32);
        }
        mean.iter_mut().zip(vector).for_each(|(v, w)| *v += w * more as f32);
    }
    if !alone {
        let length = mean.iter().map(|v| v * v).sum::<f32>().sqrt().max(f32::MIN_POSITIVE);
        mean.iter_mut().for_each(|v| *v /= length);
    }
    mean
}

/// Every tensor of the configuration is there with its shape, and no other.
pub(crate) fn check_layout(
    path: &Path,
    config: &EncoderConfig,
    tensors: &TensorMap,
) -> Result<(), ModelsError> {
    let expected = layout(config);
    for (name, shape, _) in &expected {
        match tensors.get(name) {
            None => return Err(WeightsError::tensor(path, name, "is absent").into()),
            Some(t) if t.shape != *shape => {
                let reason =
                    format!("has shape {:?}, the configuration asks for {shape:?}", t.shape);
                return Err(WeightsError::tensor(path, name, reason).into());
            }
            Some(_) => {}
        }
    }
    match tensors.keys().find(|name| !expected.iter().any(|(known, _, _)| known == *name)) {
        Some(name) => {
            Err(WeightsError::tensor(path, name, "is unknown to the configuration").into())
        }
        None => Ok(()),
    }
}

/// Vectors of texts given as ids, in the order given. Texts of like length go through together.
pub(crate) fn embed_ids(
    encoder: &Encoder,
    texts: &[Vec<u32>],
) -> Result<Vec<Vec<f32>>, ModelsError> {
    let mut order: Vec<usize> = (0..texts.len()).collect();
    order.sort_by_key(|at| texts[*at].len());
    let mut vectors = vec![Vec::new(); texts.len()];
    let mut rest = order.as_slice();
    while !rest.is_empty() {
        let mut tokens = 0;
        let fits = rest.iter().take_while(|at| {
            tokens += texts[**at].len();
            tokens <= PASS_TOKENS
        });
        let (pass, later) = rest.split_at(fits.count().max(1));
        let batch = Batch::new(pass.iter().map(|at| texts[*at].as_slice()));
        let rows = encoder.forward(&batch)?.detach().to_vec2::<f32>()?;
        for (at, row) in pass.iter().zip(rows) {
            vectors[*at] = row;
        }
        rest = later;
    }
    Ok(vectors)
}
