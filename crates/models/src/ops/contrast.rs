//! The contrastive loss (InfoNCE) with in-batch negatives, with a backward pass.

use std::sync::Arc;

use candle_core::{CpuStorage, CustomOp1, Device, Layout, Result, Shape, Tensor, bail};

use super::{
    kernels::{LANES, Strided, exp, multiply, simd, sum_by, transpose},
    lock, values,
};

/// The mean cross entropy of finding each query's passage among the batch's passages, and each
/// passage's query among the batch's queries, averaged. Rows `0..n` of `embeddings` are queries,
/// rows `n..2n` their passages. `same[i]` names the passage of pair `i`: another pair with the same
/// name is no negative and is left out.
pub(crate) fn info_nce(embeddings: &Tensor, same: Arc<[u32]>, temperature: f32) -> Result<Tensor> {
    embeddings.apply_op1(InfoNce { same, temperature })
}

struct InfoNce {
    same: Arc<[u32]>,
    temperature: f32,
}

/// Scores, the loss, and the gradient of the loss by the scores.
struct Contrast {
    loss: f32,
    /// n×padded, already divided by the temperature and the number of terms.
    gradient: Vec<f32>,
}

impl InfoNce {
    fn counts(&self, i: usize, j: usize) -> bool {
        i == j || self.same[i] != self.same[j]
    }

    fn contrast(&self, x: &[f32], width: usize) -> Contrast {
        let (n, padded) = (self.same.len(), self.same.len().next_multiple_of(LANES));
        let mut queries = x[..n * width].to_vec();
        queries.resize(padded * width, 0.0);
        let mut passages = x[n * width..].to_vec();
        passages.resize(padded * width, 0.0);
        let mut turned = vec![0.0; padded * width];
        let mut scores = vec![0.0; padded * padded];
        simd(
            #[inline(always)]
            || {
                transpose(&passages, &mut turned, padded, width);
                multiply(
                    Strided { data: &queries, rows: width, columns: 1 },
                    &turned,
                    &mut scores,
                    (padded, padded, width),
                );
            },
        );
        let by_row = |i: usize, j: usize| scores[i * padded + j] / self.temperature;
        let scale = 0.5 / n as f32;
        let mut gradient = vec![0.0; padded * padded];
        let mut loss = 0.0;
        for i in 0..n {
            let (rows, row_loss) = self.softmax(i, |j| by_row(i, j));
            let (columns, column_loss) = self.softmax(i, |j| by_row(j, i));
            loss += (row_loss + column_loss) * scale;
            for j in 0..n {
                gradient[i * padded + j] += rows[j] * scale / self.temperature;
                gradient[j * padded + i] += columns[j] * scale / self.temperature;
            }
            gradient[i * padded + i] -= 2.0 * scale / self.temperature;
        }
        Contrast { loss, gradient }
    }

    /// The softmax over what counts for pair `i`, and the cross entropy of its own place.
    fn softmax(&self, i: usize, score: impl Fn(usize) -> f32) -> (Vec<f32>, f32) {
        let n = self.same.len();
        let most =
            (0..n).filter(|j| self.counts(i, *j)).map(&score).fold(f32::NEG_INFINITY, f32::max);
        let mut weights: Vec<f32> =
            (0..n).map(|j| if self.counts(i, j) { exp(score(j) - most) } else { 0.0 }).collect();
        let sum = sum_by(n, |j| weights[j]);
        for w in &mut weights {
            *w /= sum;
        }
        (weights, sum.ln() - (score(i) - most))
    }
}

impl CustomOp1 for InfoNce {
    fn name(&self) -> &'static str {
        "info_nce"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (rows, width) = layout.shape().dims2()?;
        if rows != 2 * self.same.len() || rows == 0 {
            bail!("info_nce: {rows} embeddings for {} pairs", self.same.len());
        }
        let contrast = self.contrast(values(storage, layout)?, width);
        Ok((CpuStorage::F32(vec![contrast.loss]), ().into()))
    }

    fn bwd(&self, x: &Tensor, _res: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        let (rows, width) = x.dims2()?;
        let outer = grad.to_scalar::<f32>()?;
        let guard = lock(x);
        let x = guard.get()?;
        let (n, padded) = (self.same.len(), self.same.len().next_multiple_of(LANES));
        let width_padded = width.next_multiple_of(LANES);
        let contrast = self.contrast(x, width);
        let mut out = vec![0.0; rows * width];
        // dQ = G · P and dP = Gᵀ · Q
        for (side, other) in [(0, n), (n, 0)] {
            let mut from = vec![0.0; padded * width_padded];
            for i in 0..n {
                let row = &x[(other + i) * width..(other + i + 1) * width];
                from[i * width_padded..i * width_padded + width].copy_from_slice(row);
            }
            let by = if side == 0 { (padded, 1) } else { (1, padded) };
            let matrix = Strided { data: &contrast.gradient, rows: by.0, columns: by.1 };
            let mut result = vec![0.0; padded * width_padded];
            simd(
                #[inline(always)]
                || multiply(matrix, &from, &mut result, (padded, width_padded, n)),
            );
            for i in 0..n {
                for c in 0..width {
                    out[(side + i) * width + c] = outer * result[i * width_padded + c];
                }
            }
        }
        Ok(Some(Tensor::from_vec(out, (rows, width), &Device::Cpu)?))
    }
}
