//! Multi-head self-attention within each text of a batch, with a backward pass. Texts are handled
//! in parallel; the weights are computed again on the way back rather than kept.

use candle_core::{CpuStorage, CustomOp1, Device, Layout, Result, Shape, Tensor, bail};
use rayon::prelude::*;

use super::{
    Spans,
    kernels::{LANES, Strided, multiply, simd, softmax, sum_by, transpose},
    lock, split_spans, values,
};

/// Attends within each span. `qkv` is rows×(3·hidden): queries, keys, values, each `heads` wide
/// blocks; the result is rows×hidden.
pub(crate) fn attention(qkv: &Tensor, spans: &Spans, heads: usize) -> Result<Tensor> {
    qkv.apply_op1(Attention { spans: spans.clone(), heads })
}

struct Attention {
    spans: Spans,
    heads: usize,
}

/// Sizes of one head in one text, and working memory padded to whole tiles.
struct Head {
    tokens: usize,
    tokens_padded: usize,
    width: usize,
    width_padded: usize,
    hidden: usize,
    scale: f32,
}

impl Head {
    fn new(tokens: usize, hidden: usize, heads: usize) -> Self {
        let width = hidden / heads;
        Self {
            tokens,
            tokens_padded: tokens.next_multiple_of(LANES),
            width,
            width_padded: width.next_multiple_of(LANES),
            hidden,
            scale: 1.0 / (width as f32).sqrt(),
        }
    }

    fn vectors(&self) -> Vec<f32> {
        vec![0.0; self.tokens_padded * self.width_padded]
    }

    fn square(&self) -> Vec<f32> {
        vec![0.0; self.tokens_padded * self.tokens_padded]
    }

    /// Copies a block of columns out of rows of `stride`.
    #[inline(always)]
    fn take(&self, rows: &[f32], stride: usize, column: usize, to: &mut [f32]) {
        for token in 0..self.tokens {
            let from = &rows[token * stride + column..token * stride + column + self.width];
            to[token * self.width_padded..token * self.width_padded + self.width]
                .copy_from_slice(from);
        }
    }

    /// Copies back what [`Self::take`] copied out.
    #[inline(always)]
    fn put(&self, from: &[f32], scale: f32, rows: &mut [f32], stride: usize, column: usize) {
        for token in 0..self.tokens {
            let to = &mut rows[token * stride + column..token * stride + column + self.width];
            for (to, v) in to.iter_mut().zip(&from[token * self.width_padded..]) {
                *to = v * scale;
            }
        }
    }

    #[inline(always)]
    fn rows<'a>(&self, data: &'a [f32]) -> Strided<'a> {
        Strided { data, rows: self.width_padded, columns: 1 }
    }

    /// `softmax(q · kᵀ · scale)`, one row per query.
    #[inline(always)]
    fn weights(&self, q: &[f32], k: &[f32], turned: &mut [f32], weights: &mut [f32]) {
        let (t, d) = (self.tokens_padded, self.width_padded);
        transpose(k, turned, t, d);
        multiply(self.rows(q), turned, weights, (t, t, self.width));
        for row in weights[..self.tokens * t].chunks_exact_mut(t) {
            for v in row.iter_mut() {
                *v *= self.scale;
            }
            softmax(row, self.tokens);
        }
    }
}

impl Attention {
    fn forward_one(&self, qkv: &[f32], out: &mut [f32], hidden: usize) {
        let head = Head::new(out.len() / hidden, hidden, self.heads);
        let (t, d) = (head.tokens_padded, head.width_padded);
        let (mut q, mut k, mut v, mut turned) =
            (head.vectors(), head.vectors(), head.vectors(), head.vectors());
        let mut weights = head.square();
        simd(
            #[inline(always)]
            || {
                for at in (0..hidden).step_by(head.width) {
                    head.take(qkv, 3 * hidden, at, &mut q);
                    head.take(qkv, 3 * hidden, hidden + at, &mut k);
                    head.take(qkv, 3 * hidden, 2 * hidden + at, &mut v);
                    head.weights(&q, &k, &mut turned, &mut weights);
                    let by_rows = Strided { data: &weights, rows: t, columns: 1 };
                    multiply(by_rows, &v, &mut turned, (t, d, head.tokens));
                    head.put(&turned, 1.0, out, hidden, at);
                }
            },
        );
    }

    fn backward_one(&self, qkv: &[f32], dy: &[f32], dqkv: &mut [f32], hidden: usize) {
        let head = Head::new(dy.len() / hidden, hidden, self.heads);
        let (t, d, n) = (head.tokens_padded, head.width_padded, head.tokens);
        let (mut q, mut k, mut v, mut turned) =
            (head.vectors(), head.vectors(), head.vectors(), head.vectors());
        let (mut dout, mut result) = (head.vectors(), head.vectors());
        let (mut weights, mut dweights) = (head.square(), head.square());
        simd(
            #[inline(always)]
            || {
                for at in (0..hidden).step_by(head.width) {
                    head.take(qkv, 3 * hidden, at, &mut q);
                    head.take(qkv, 3 * hidden, hidden + at, &mut k);
                    head.take(qkv, 3 * hidden, 2 * hidden + at, &mut v);
                    head.take(dy, hidden, at, &mut dout);
                    head.weights(&q, &k, &mut turned, &mut weights);
                    let weights_turned = Strided { data: &weights, rows: 1, columns: t };
                    multiply(weights_turned, &dout, &mut result, (t, d, n));
                    head.put(&result, 1.0, dqkv, 3 * head.hidden, 2 * hidden + at);
                    transpose(&v, &mut turned, t, d);
                    multiply(head.rows(&dout), &turned, &mut dweights, (t, t, head.width));
                    through_softmax(&weights, &mut dweights, t, n);
                    multiply(
                        Strided { data: &dweights, rows: t, columns: 1 },
                        &k,
                        &mut result,
                        (t, d, n),
                    );
                    head.put(&result, head.scale, dqkv, 3 * hidden, at);
                    multiply(
                        Strided { data: &dweights, rows: 1, columns: t },
                        &q,
                        &mut result,
                        (t, d, n),
                    );
                    head.put(&result, head.scale, dqkv, 3 * hidden, hidden + at);
                }
            },
        );
    }
}

/// Turns the gradient of the weights into the gradient of the scores, in place.
#[inline(always)]
fn through_softmax(weights: &[f32], gradient: &mut [f32], stride: usize, tokens: usize) {
    for row in 0..tokens {
        let weights = &weights[row * stride..row * stride + stride];
        let gradient = &mut gradient[row * stride..row * stride + stride];
        let sum = sum_by(stride, |i| weights[i] * gradient[i]);
        for (g, w) in gradient.iter_mut().zip(weights) {
            *g = w * (*g - sum);
        }
    }
}

impl CustomOp1 for Attention {
    fn name(&self) -> &'static str {
        "attention"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let qkv = values(storage, layout)?;
        let (rows, width) = layout.shape().dims2()?;
        let covered = self.spans.last().map_or(0, |span| span.end);
        if width % (3 * self.heads) != 0 || covered != rows {
            bail!(
                "attention: {rows}x{width} does not fit {} heads over {covered} rows",
                self.heads
            );
        }
        let hidden = width / 3;
        let mut out = vec![0.0; rows * hidden];
        split_spans(&mut out, &self.spans, hidden)
            .into_par_iter()
            .zip(self.spans.par_iter())
            .for_each(|(out, span)| {
                self.forward_one(&qkv[span.start * width..span.end * width], out, hidden)
            });
        Ok((CpuStorage::F32(out), (rows, hidden).into()))
    }

    fn bwd(&self, qkv: &Tensor, _res: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        let (rows, width) = qkv.dims2()?;
        let hidden = width / 3;
        let grad = grad.contiguous()?;
        let (qkv_lock, grad_lock) = (lock(qkv), lock(&grad));
        let (qkv, dy) = (qkv_lock.get()?, grad_lock.get()?);
        let mut out = vec![0.0; rows * width];
        split_spans(&mut out, &self.spans, width)
            .into_par_iter()
            .zip(self.spans.par_iter())
            .for_each(|(out, span)| {
                let inputs = &qkv[span.start * width..span.end * width];
                self.backward_one(inputs, &dy[span.start * hidden..span.end * hidden], out, hidden);
            });
        Ok(Some(Tensor::from_vec(out, (rows, width), &Device::Cpu)?))
    }
}
