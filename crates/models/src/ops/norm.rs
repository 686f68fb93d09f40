//! Layer norm over rows, with a backward pass.

use candle_core::{CpuStorage, CustomOp3, Device, Layout, Result, Shape, Tensor, bail};

use super::{
    kernels::{column_sums, for_row_blocks, sum_by},
    lock, values,
};

/// Brings each row of `x` to mean 0 and variance 1, then scales by `weight` and shifts by `bias`.
pub(crate) fn layer_norm(
    x: &Tensor,
    weight: &Tensor,
    bias: &Tensor,
    epsilon: f32,
) -> Result<Tensor> {
    x.apply_op3(weight, bias, LayerNorm { epsilon })
}

struct LayerNorm {
    epsilon: f32,
}

impl LayerNorm {
    /// Mean and one over the standard deviation.
    #[inline(always)]
    fn moments(&self, row: &[f32]) -> (f32, f32) {
        let scale = 1.0 / row.len() as f32;
        let mean = sum_by(row.len(), |i| row[i]) * scale;
        let variance = sum_by(row.len(), |i| (row[i] - mean) * (row[i] - mean)) * scale;
        (mean, 1.0 / (variance + self.epsilon).sqrt())
    }

    fn input_gradient(&self, x: &[f32], weight: &[f32], dy: &[f32]) -> Vec<f32> {
        let width = weight.len();
        let scale = 1.0 / width as f32;
        let mut dx = vec![0.0; x.len()];
        for_row_blocks(
            &mut dx,
            width,
            #[inline(always)]
            |first, block| {
                for (r, out) in block.chunks_exact_mut(width).enumerate() {
                    let at = (first + r) * width;
                    let (row, dy) = (&x[at..at + width], &dy[at..at + width]);
                    let (mean, inverse) = self.moments(row);
                    let sum = sum_by(width, |i| dy[i] * weight[i]) * scale;
                    let along =
                        sum_by(width, |i| dy[i] * weight[i] * (row[i] - mean)) * inverse * scale;
                    for i in 0..width {
                        let normal = (row[i] - mean) * inverse;
                        out[i] = inverse * (dy[i] * weight[i] - sum - normal * along);
                    }
                }
            },
        );
        dx
    }

    /// The sums over rows of `dy * normal` and of `dy`, one after the other.
    fn parameter_gradients(&self, x: &[f32], dy: &[f32], width: usize) -> Vec<f32> {
        column_sums(
            x.len() / width,
            2 * width,
            #[inline(always)]
            |range, sums| {
                let (scale_sums, shift_sums) = sums.split_at_mut(width);
                for at in range.map(|r| r * width) {
                    let (row, dy) = (&x[at..at + width], &dy[at..at + width]);
                    let (mean, inverse) = self.moments(row);
                    for i in 0..width {
                        scale_sums[i] += dy[i] * (row[i] - mean) * inverse;
                        shift_sums[i] += dy[i];
                    }
                }
            },
        )
    }
}

impl CustomOp3 for LayerNorm {
    fn name(&self) -> &'static str {
        "layer_norm"
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
        let (x, weight, bias) = (values(s1, l1)?, values(s2, l2)?, values(s3, l3)?);
        let (_, width) = l1.shape().dims2()?;
        if weight.len() != width || bias.len() != width {
            bail!(
                "layer_norm: rows of {width}, weight of {}, bias of {}",
                weight.len(),
                bias.len()
            );
        }
        let mut out = vec![0.0; x.len()];
        for_row_blocks(
            &mut out,
            width,
            #[inline(always)]
            |first, block| {
                for (r, out) in block.chunks_exact_mut(width).enumerate() {
                    let row = &x[(first + r) * width..(first + r + 1) * width];
                    let (mean, inverse) = self.moments(row);
                    for i in 0..width {
                        out[i] = (row[i] - mean) * inverse * weight[i] + bias[i];
                    }
                }
            },
        );
        Ok((CpuStorage::F32(out), l1.shape().clone()))
    }

    fn bwd(
        &self,
        x: &Tensor,
        weight: &Tensor,
        _bias: &Tensor,
        _res: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let grad = grad.contiguous()?;
        let (x_lock, weight_lock, grad_lock) = (lock(x), lock(weight), lock(&grad));
        let (values, weights, dy) = (x_lock.get()?, weight_lock.get()?, grad_lock.get()?);
        let width = weights.len();
        let dx = self.input_gradient(values, weights, dy);
        let mut scale = self.parameter_gradients(values, dy, width);
        let shift = scale.split_off(width);
        Ok((
            Some(Tensor::from_vec(dx, x.shape(), &Device::Cpu)?),
            Some(Tensor::from_vec(scale, width, &Device::Cpu)?),
            Some(Tensor::from_vec(shift, width, &Device::Cpu)?),
        ))
    }
}
