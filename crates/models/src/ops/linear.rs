//! `y = act(x · wᵀ + b)`: the map that most of the time is spent in, with bias and GELU fused.

use std::sync::Mutex;

use candle_core::{
    CpuStorage, CustomOp3, Device, Layout, Result, Shape, Tensor, backend::BackendStorage, bail,
};

use super::{
    kernels::{add_to, column_sums, exp, for_row_blocks},
    lock, values,
};

/// What is applied after the map.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Activation {
    /// Nothing.
    None,
    /// GELU by its tanh approximation.
    Gelu,
}

/// Applies `w` (out×in) and `b` (out) to the rows of `x` (rows×in).
pub(crate) fn linear(x: &Tensor, w: &Tensor, b: &Tensor, activation: Activation) -> Result<Tensor> {
    let track = x.track_op() || w.track_op() || b.track_op();
    x.apply_op3(w, b, Linear { activation, track, before: Mutex::new(None) })
}

struct Linear {
    activation: Activation,
    /// Whether a backward pass may follow: only then is `before` kept.
    track: bool,
    /// The values before the activation.
    before: Mutex<Option<Vec<f32>>>,
}

const GELU_SLOPE: f32 = 0.797_884_6; // sqrt(2/pi)
const GELU_CUBE: f32 = 0.044_715;

#[inline(always)]
fn gelu(x: f32) -> f32 {
    // 0.5 (1 + tanh u) = 1 / (1 + e^(-2u))
    let u = GELU_SLOPE * (x + GELU_CUBE * x * x * x);
    x / (1.0 + exp(-2.0 * u))
}

#[inline(always)]
fn gelu_slope(x: f32) -> f32 {
    let u = GELU_SLOPE * (x + GELU_CUBE * x * x * x);
    let s = 1.0 / (1.0 + exp(-2.0 * u));
    s + 2.0 * x * s * (1.0 - s) * GELU_SLOPE * (1.0 + 3.0 * GELU_CUBE * x * x)
}

impl CustomOp3 for Linear {
    fn name(&self) -> &'static str {
        "linear"
    }

    fn cpu_fwd(
        &self,
        s1: &CpuStorage,
        l1: &Layout,
        s2: &CpuStorage,
        l2: &Layout,
        s3: &CpuStorage,
        l3: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (rows, inner) = l1.shape().dims2()?;
        let (width, inner2) = l2.shape().dims2()?;
        let bias = values(s3, l3)?;
        if inner != inner2 || bias.len() != width {
            bail!("linear: x is {rows}x{inner}, w is {width}x{inner2}, b is {}", bias.len());
        }
        let CpuStorage::F32(mut out) =
            s1.matmul(s2, (1, rows, width, inner), l1, &l2.transpose(0, 1)?)?
        else {
            bail!("linear works on f32 only");
        };
        for_row_blocks(
            &mut out,
            width,
            #[inline(always)]
            |_, block| {
                for row in block.chunks_exact_mut(width) {
                    add_to(row, bias);
                }
            },
        );
        if self.activation == Activation::Gelu {
            let before = self.track.then(|| out.clone());
            for_row_blocks(
                &mut out,
                width,
                #[inline(always)]
                |_, block| {
                    for v in block {
                        *v = gelu(*v);
                    }
                },
            );
            match self.before.lock() {
                Ok(mut slot) => *slot = before,
                Err(_) => bail!("linear: a thread died while it held the activations"),
            }
        }
        Ok((CpuStorage::F32(out), (rows, width).into()))
    }

    fn bwd(
        &self,
        x: &Tensor,
        w: &Tensor,
        _b: &Tensor,
        _res: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let (rows, width) = grad.dims2()?;
        let grad = match self.activation {
            Activation::None => grad.contiguous()?,
            Activation::Gelu => self.through_gelu(grad, rows, width)?,
        };
        let bias = {
            let guard = lock(&grad);
            let dy = guard.get()?;
            column_sums(
                rows,
                width,
                #[inline(always)]
                |range, sums| {
                    for row in dy[range.start * width..range.end * width].chunks_exact(width) {
                        add_to(sums, row);
                    }
                },
            )
        };
        let dx = grad.matmul(w)?;
        let dw = grad.t()?.matmul(x)?;
        Ok((Some(dx), Some(dw), Some(Tensor::from_vec(bias, width, &Device::Cpu)?)))
    }
}

impl Linear {
    fn through_gelu(&self, grad: &Tensor, rows: usize, width: usize) -> Result<Tensor> {
        let Some(mut before) = self.before.lock().ok().and_then(|mut slot| slot.take()) else {
            bail!("linear: the forward pass kept no activations");
        };
        let guard = lock(grad);
        let dy = guard.get()?;
        for_row_blocks(
            &mut before,
            width,
            #[inline(always)]
            |first, block| {
                let dy = &dy[first * width..first * width + block.len()];
                for (v, dy) in block.iter_mut().zip(dy) {
                    *v = dy * gelu_slope(*v);
                }
            },
        );
        Tensor::from_vec(before, (rows, width), &Device::Cpu)
    }
}
