//! How do gradients change the weights? AdamW with decay on the linear maps only, after clipping by
//! the global norm. Sums have a fixed order.

use std::{collections::BTreeMap, sync::Mutex};

use candle_core::{CpuStorage, InplaceOp2, Layout, Result, Tensor, Var, backprop::GradStore, bail};
use rayon::prelude::*;
use sextant_weights::{TensorF32, TensorMap};

use crate::{
    ModelsError,
    ops::{dot, simd},
};

const BETA1: f64 = 0.9;
const BETA2: f64 = 0.98;
const EPSILON: f32 = 1e-8;
/// Gradients whose global norm is larger are scaled down to it.
const NORM_MAX: f64 = 1.0;
/// Values that one parallel task updates or sums.
const TASK_VALUES: usize = 32_768;

/// First and second moment of one tensor's gradient.
#[derive(Clone)]
pub(crate) struct Moments {
    pub(crate) first: Vec<f32>,
    pub(crate) second: Vec<f32>,
}

/// The optimizer's memory, by tensor name.
pub(crate) struct AdamW {
    moments: BTreeMap<String, Moments>,
    weight_decay: f64,
}

impl AdamW {
    pub(crate) fn new(moments: BTreeMap<String, Moments>, weight_decay: f64) -> Self {
        Self { moments, weight_decay }
    }

    /// Moments of zero for these tensors.
    pub(crate) fn zeros(tensors: &TensorMap) -> BTreeMap<String, Moments> {
        let zeros = |t: &TensorF32| Moments {
            first: vec![0.0; t.data.len()],
            second: vec![0.0; t.data.len()],
        };
        tensors.iter().map(|(name, t)| (name.clone(), zeros(t))).collect()
    }

    pub(crate) fn snapshot(&self) -> BTreeMap<String, Moments> {
        self.moments.clone()
    }

    /// Takes one step, counted from 0, and returns the global norm of the gradient.
    pub(crate) fn step(
        &mut self,
        step: u64,
        learning_rate: f64,
        vars: &BTreeMap<String, Var>,
        grads: &GradStore,
    ) -> std::result::Result<f64, ModelsError> {
        let mut squares = 0.0;
        for (name, var) in vars {
            let Some(gradient) = grads.get(var) else {
                return Err(ModelsError::NoGradient { tensor: name.clone(), step });
            };
            squares += sum_of_squares(gradient)?;
        }
        let norm = squares.sqrt();
        if !norm.is_finite() {
            return Err(ModelsError::Diverged { step, what: "the gradient" });
        }
        let time = (step + 1) as f64;
        for (name, var) in vars {
            let (Some(gradient), Some(moments)) = (grads.get(var), self.moments.get_mut(name))
            else {
                return Err(ModelsError::NoGradient { tensor: name.clone(), step });
            };
            let decays = var.rank() == 2 && !name.starts_with("embeddings.");
            let decay = if decays { self.weight_decay } else { 0.0 };
            let update = Update {
                clip: (NORM_MAX / norm.max(NORM_MAX)) as f32,
                rate: (learning_rate / (1.0 - BETA1.powf(time))) as f32,
                correction: (1.0 / (1.0 - BETA2.powf(time))) as f32,
                keep: (1.0 - learning_rate * decay) as f32,
                moments: Mutex::new(moments),
            };
            var.inplace_op2(&gradient.contiguous()?, &update)?;
        }
        Ok(norm)
    }
}

/// The sum of squares of a tensor's values, in blocks that are added in order.
pub(crate) fn sum_of_squares(tensor: &Tensor) -> Result<f64> {
    let tensor = tensor.contiguous()?;
    let (storage, layout) = tensor.storage_and_layout();
    let candle_core::Storage::Cpu(storage) = &*storage else {
        bail!("the optimizer runs on the CPU only");
    };
    let Some((start, end)) = layout.contiguous_offsets() else {
        bail!("the optimizer needs contiguous gradients");
    };
    let values = &storage.as_slice::<f32>()?[start..end];
    let parts: Vec<f64> = values
        .par_chunks(TASK_VALUES)
        .map(|part| {
            simd(
                #[inline(always)]
                || f64::from(dot(part, part)),
            )
        })
        .collect();
    Ok(parts.iter().sum())
}

struct Update<'a> {
    clip: f32,
    /// Learning rate with the first moment's bias correction.
    rate: f32,
    correction: f32,
    keep: f32,
    moments: Mutex<&'a mut Moments>,
}

impl InplaceOp2 for Update<'_> {
    fn name(&self) -> &'static str {
        "adamw"
    }

    fn cpu_fwd(
        &self,
        s1: &mut CpuStorage,
        l1: &Layout,
        s2: &CpuStorage,
        l2: &Layout,
    ) -> Result<()> {
        let (CpuStorage::F32(weights), CpuStorage::F32(gradient)) = (s1, s2) else {
            bail!("adamw works on f32 only");
        };
        let (Some((w0, w1)), Some((g0, g1))) = (l1.contiguous_offsets(), l2.contiguous_offsets())
        else {
            bail!("adamw needs contiguous tensors");
        };
        let Ok(mut moments) = self.moments.lock() else {
            bail!("adamw: a thread died while it held the moments");
        };
        let Moments { first, second } = &mut **moments;
        if first.len() != w1 - w0 || g1 - g0 != w1 - w0 {
            bail!("adamw: {} weights, {} gradients, {} moments", w1 - w0, g1 - g0, first.len());
        }
        let (b1, b2) = (BETA1 as f32, BETA2 as f32);
        weights[w0..w1]
            .par_chunks_mut(TASK_VALUES)
            .zip(gradient[g0..g1].par_chunks(TASK_VALUES))
            .zip(first.par_chunks_mut(TASK_VALUES))
            .zip(second.par_chunks_mut(TASK_VALUES))
            .for_each(|(((w, g), m), v)| {
                simd(
                    #[inline(always)]
                    || {
                        for (((w, g), m), v) in w.iter_mut().zip(g).zip(m).zip(v) {
                            let g = g * self.clip;
                            *m = b1 * *m + (1.0 - b1) * g;
                            *v = b2 * *v + (1.0 - b2) * g * g;
                            *w = *w * self.keep
                                - self.rate * *m / ((*v * self.correction).sqrt() + EPSILON);
                        }
                    },
                );
            });
        Ok(())
    }
}
