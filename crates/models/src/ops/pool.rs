//! From token vectors to one vector of length 1 per text, with a backward pass.

use candle_core::{CpuStorage, CustomOp1, Device, Layout, Result, Shape, Tensor, bail};
use rayon::prelude::*;

use super::{
    Spans,
    kernels::{add_to, simd, sum_by},
    lock, split_spans, values,
};

/// Below this the mean has no direction and is left as it is.
const LENGTH_MIN: f32 = 1e-12;

/// The mean of the rows of each span, brought to length 1.
pub(crate) fn mean_pool_normalize(x: &Tensor, spans: &Spans) -> Result<Tensor> {
    x.apply_op1(Pool { spans: spans.clone() })
}

struct Pool {
    spans: Spans,
}

/// The mean row, and its length.
#[inline(always)]
fn mean(rows: &[f32], out: &mut [f32]) -> f32 {
    out.fill(0.0);
    for row in rows.chunks_exact(out.len()) {
        add_to(out, row);
    }
    let scale = out.len() as f32 / rows.len() as f32;
    for v in out.iter_mut() {
        *v *= scale;
    }
    sum_by(out.len(), |i| out[i] * out[i]).sqrt().max(LENGTH_MIN)
}

impl CustomOp1 for Pool {
    fn name(&self) -> &'static str {
        "mean_pool_normalize"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let x = values(storage, layout)?;
        let (rows, width) = layout.shape().dims2()?;
        if self.spans.last().map_or(0, |span| span.end) != rows
            || self.spans.iter().any(|span| span.is_empty())
        {
            bail!(
                "mean_pool_normalize: the spans do not cover {rows} rows with texts of at least one token"
            );
        }
        let mut out = vec![0.0; self.spans.len() * width];
        out.par_chunks_mut(width).zip(self.spans.par_iter()).for_each(|(out, span)| {
            simd(
                #[inline(always)]
                || {
                    let scale = 1.0 / mean(&x[span.start * width..span.end * width], out);
                    for v in out.iter_mut() {
                        *v *= scale;
                    }
                },
            );
        });
        Ok((CpuStorage::F32(out), (self.spans.len(), width).into()))
    }

    fn bwd(&self, x: &Tensor, res: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        let (rows, width) = x.dims2()?;
        let grad = grad.contiguous()?;
        let (x_lock, res_lock, grad_lock) = (lock(x), lock(res), lock(&grad));
        let (x, unit, dy) = (x_lock.get()?, res_lock.get()?, grad_lock.get()?);
        let mut out = vec![0.0; rows * width];
        split_spans(&mut out, &self.spans, width).into_par_iter().enumerate().for_each(
            |(text, out)| {
                let span = &self.spans[text];
                let (unit, dy) = (
                    &unit[text * width..(text + 1) * width],
                    &dy[text * width..(text + 1) * width],
                );
                let mut row = vec![0.0; width];
                simd(
                    #[inline(always)]
                    || {
                        let length = mean(&x[span.start * width..span.end * width], &mut row);
                        let along = sum_by(width, |i| unit[i] * dy[i]);
                        let scale = 1.0 / (length * span.len() as f32);
                        for i in 0..width {
                            row[i] = (dy[i] - unit[i] * along) * scale;
                        }
                        for out in out.chunks_exact_mut(width) {
                            out.copy_from_slice(&row);
                        }
                    },
                );
            },
        );
        Ok(Some(Tensor::from_vec(out, (rows, width), &Device::Cpu)?))
    }
}
