//! Where does training start? Random linear maps, and word vectors whose length is the word's
//! rarity in the corpus: the untrained model is then close to comparing bags of words.

use std::collections::HashSet;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use sextant_weights::{EncoderConfig, TensorF32, TensorMap};

use crate::encoder::{Start, layout};

/// Standard deviation of positions and of maps into the residual stream, relative to a plain map.
const QUIET: f32 = 0.1;

/// Initial tensors: a function of the configuration, the seed and the passages' ids only.
pub(crate) fn initial(config: &EncoderConfig, seed: u64, passages: &[Vec<u32>]) -> TensorMap {
    layout(config)
        .into_iter()
        .enumerate()
        .map(|(stream, (name, shape, start))| {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            rng.set_stream(stream as u64 + 1);
            let count: usize = shape.iter().product();
            let width = *shape.last().unwrap_or(&1);
            let scale = 1.0 / (width as f32).sqrt();
            let data = match start {
                Start::Zeros => vec![0.0; count],
                Start::Ones => vec![1.0; count],
                Start::Map => normal(&mut rng, count, scale),
                Start::Output | Start::Positions => normal(&mut rng, count, QUIET * scale),
                Start::Words => {
                    let mut data = normal(&mut rng, count, scale);
                    for (row, rarity) in
                        data.chunks_exact_mut(width).zip(rarity(config.vocab_size, passages))
                    {
                        row.iter_mut().for_each(|v| *v *= rarity);
                    }
                    data
                }
            };
            (name, TensorF32 { shape, data })
        })
        .collect()
}

/// Inverse document frequency of each token, brought to a mean square of 1 over the tokens seen.
fn rarity(vocab_size: usize, passages: &[Vec<u32>]) -> Vec<f32> {
    let mut frequency = vec![0_u32; vocab_size];
    for ids in passages {
        for id in ids.iter().collect::<HashSet<_>>() {
            frequency[*id as usize] += 1;
        }
    }
    let total = passages.len() as f32;
    let weights: Vec<f32> =
        frequency.iter().map(|f| ((total + 1.0) / (*f as f32 + 0.5)).ln().max(0.05)).collect();
    let squares: f32 = weights.iter().map(|w| w * w).sum();
    let scale = (vocab_size as f32 / squares).sqrt();
    weights.into_iter().map(|w| w * scale).collect()
}

/// Normally distributed numbers by the Box-Muller transform.
fn normal(rng: &mut ChaCha8Rng, count: usize, deviation: f32) -> Vec<f32> {
    (0..count)
        .map(|_| {
            let (u, v): (f64, f64) = (1.0 - rng.random::<f64>(), rng.random());
            let z = (-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos();
            z as f32 * deviation
        })
        .collect()
}
