//! Where does training start? Small random linear maps, and word vectors by latent semantic analysis
//! of the corpus (Deerwester et al., 1990): words that occur in the same passages point the same way,
//! and rare words are longer. The untrained model then already compares passages by their words.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use sextant_weights::{EncoderConfig, TensorF32, TensorMap};

use crate::{
    encoder::{Start, layout},
    ops::dot,
};

/// Standard deviation of positions and of maps into the residual stream, relative to a plain map:
/// at the start they leave the words alone.
const QUIET: f32 = 0.02;
/// Root mean square length of a word's vector. A step moves a long vector little: what the corpus
/// says of its words outlasts what a few hundred steps say.
const WORD_LENGTH: f32 = 10.0;
/// The exponent of a word's rarity in its length. In a mean of words 1 lets the frequent ones drown
/// the rare ones.
const RARITY_POWER: f32 = 1.5;
/// Rounds of the subspace iteration. The spectrum of words falls slowly; more change no ranking.
const ROUNDS: usize = 8;

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
                Start::Words => words(&mut rng, config.vocab_size, width, passages),
            };
            (name, TensorF32 { shape, data })
        })
        .collect()
}

/// One vector of `width` values per word: its row in the basis of the `width` main directions of the
/// weighted passages, as long as the word is rare.
fn words(rng: &mut ChaCha8Rng, vocab: usize, width: usize, passages: &[Vec<u32>]) -> Vec<f32> {
    let rarity = rarity(vocab, passages);
    let rows = Rows::new(passages, &rarity);
    let mut basis = normal(rng, vocab * width, 1.0);
    orthonormal(rng, &mut basis, vocab, width);
    for _ in 0..ROUNDS {
        basis = rows.turn(&basis, vocab, width);
        orthonormal(rng, &mut basis, vocab, width);
    }
    // Column by column until here, word by word from here.
    let mut data = vec![0.0; vocab * width];
    for (word, row) in data.chunks_exact_mut(width).enumerate() {
        for (column, value) in row.iter_mut().enumerate() {
            *value = basis[column * vocab + word] * rarity[word];
        }
    }
    let mean = data.iter().map(|v| f64::from(v * v)).sum::<f64>() / vocab as f64;
    let scale = WORD_LENGTH / (mean.sqrt() as f32).max(f32::MIN_POSITIVE);
    data.iter_mut().for_each(|v| *v *= scale);
    data
}

/// Inverse document frequency of each word, to the power of [`RARITY_POWER`].
fn rarity(vocab: usize, passages: &[Vec<u32>]) -> Vec<f32> {
    let mut frequency = vec![0_u32; vocab];
    for ids in passages {
        for (word, _) in counted(ids) {
            frequency[word as usize] += 1;
        }
    }
    let total = passages.len() as f32;
    frequency
        .iter()
        .map(|f| ((total + 1.0) / (*f as f32 + 0.5)).ln().max(0.05).powf(RARITY_POWER))
        .collect()
}

/// The different words of a passage and how often each occurs, in the order of their ids.
fn counted(ids: &[u32]) -> Vec<(u32, f32)> {
    let mut sorted = ids.to_vec();
    sorted.sort_unstable();
    sorted.chunk_by(|a, b| a == b).map(|same| (same[0], same.len() as f32)).collect()
}

/// The weighted passages as a sparse matrix, each row of length 1.
struct Rows(Vec<Vec<(u32, f32)>>);

impl Rows {
    fn new(passages: &[Vec<u32>], rarity: &[f32]) -> Self {
        let row = |ids: &Vec<u32>| {
            let mut row = counted(ids);
            for (word, value) in &mut row {
                *value = value.ln_1p() * rarity[*word as usize];
            }
            let length = row.iter().map(|(_, v)| v * v).sum::<f32>().sqrt();
            row.iter_mut().for_each(|(_, v)| *v /= length.max(f32::MIN_POSITIVE));
            row
        };
        Self(passages.iter().map(row).collect())
    }

    /// `matrixᵀ · matrix · basis`, a column at a time.
    fn turn(&self, basis: &[f32], vocab: usize, width: usize) -> Vec<f32> {
        let mut turned = vec![0.0; vocab * width];
        turned.par_chunks_mut(vocab).zip(basis.par_chunks(vocab)).for_each(|(out, column)| {
            for row in &self.0 {
                let along: f32 = row.iter().map(|(word, v)| v * column[*word as usize]).sum();
                row.iter().for_each(|(word, v)| out[*word as usize] += v * along);
            }
        });
        turned
    }
}

/// Makes the columns orthonormal by Gram and Schmidt, twice for accuracy. A column that the others
/// span, as in a corpus of few passages, is replaced by a random one.
fn orthonormal(rng: &mut ChaCha8Rng, basis: &mut [f32], rows: usize, columns: usize) {
    for column in 0..columns {
        let (before, rest) = basis.split_at_mut(column * rows);
        let this = &mut rest[..rows];
        let mut left = clear_of(before, this, rows);
        if left < 1e-4 && column < rows {
            this.copy_from_slice(&normal(rng, rows, 1.0));
            left = clear_of(before, this, rows);
        }
        let scale = if left < 1e-4 { 0.0 } else { 1.0 / left };
        this.iter_mut().for_each(|v| *v *= scale);
    }
}

/// Takes the directions `before` out of a vector that it first brings to length 1, and returns the
/// length that is left.
fn clear_of(before: &[f32], this: &mut [f32], rows: usize) -> f32 {
    let length = dot(this, this).sqrt().max(f32::MIN_POSITIVE);
    this.iter_mut().for_each(|v| *v /= length);
    for _ in 0..2 {
        for other in before.chunks_exact(rows) {
            let along = dot(this, other);
            this.iter_mut().zip(other).for_each(|(v, o)| *v -= along * o);
        }
    }
    dot(this, this).sqrt()
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::*;

    fn cosine(words: &[f32], width: usize, a: usize, b: usize) -> f32 {
        let row = |word: usize| &words[word * width..(word + 1) * width];
        dot(row(a), row(b)) / (dot(row(a), row(a)) * dot(row(b), row(b))).sqrt()
    }

    #[test]
    fn words_of_the_same_passages_point_the_same_way() {
        // 0 and 1 share their passages, 2 and 3 theirs, 4 is everywhere.
        let passages: Vec<Vec<u32>> =
            (0..40).map(|n| if n % 2 == 0 { vec![0, 1, 4] } else { vec![2, 3, 4] }).collect();
        let rng = || ChaCha8Rng::seed_from_u64(1);
        let found = words(&mut rng(), 5, 2, &passages);
        assert!(cosine(&found, 2, 0, 1) > 0.99);
        assert!(cosine(&found, 2, 2, 3) > 0.99);
        assert!(cosine(&found, 2, 0, 2).abs() < 0.2);
        assert_eq!(found, words(&mut rng(), 5, 2, &passages));
    }

    #[test]
    fn more_directions_than_passages_or_words_are_filled() {
        for (vocab, width) in [(3, 8), (50, 8)] {
            let found =
                words(&mut ChaCha8Rng::seed_from_u64(1), vocab, width, &[vec![0, 1], vec![2]]);
            assert_eq!(found.len(), vocab * width);
            assert!(found.iter().all(|v| v.is_finite()));
            assert!(found.chunks(width).all(|row| dot(row, row) > 0.0));
        }
    }
}
