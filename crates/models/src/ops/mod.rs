//! Which operations train? Fused `f32` operations for the CPU, each with its backward pass.
//!
//! candle's own fused softmax and layer norm have no backward pass and cut the gradient in silence;
//! composed from primitives they are several times slower. These are checked against finite
//! differences (`tests.rs`). Texts in a batch lie end to end without padding: a batch is one matrix
//! of token rows and a [`Spans`] that says which rows belong to which text.
//!
//! Every sum has a fixed order that depends on shapes only, never on the timing of threads.

mod attention;
mod contrast;
mod embed;
mod kernels;
mod linear;
mod norm;
mod pool;

use std::{ops::Range, sync::Arc};

use candle_core::{CpuStorage, Layout, Result, Storage, StorageRef, Tensor, bail};

pub(crate) use attention::attention;
pub(crate) use contrast::info_nce;
pub(crate) use embed::embed;
pub(crate) use kernels::{dot, simd};
pub(crate) use linear::{Activation, linear};
pub(crate) use norm::layer_norm;
pub(crate) use pool::mean_pool_normalize;

/// The rows of each text in a batch, in order and without gaps.
pub(crate) type Spans = Arc<[Range<usize>]>;

/// Lays texts of these lengths end to end.
pub(crate) fn spans(lengths: impl Iterator<Item = usize>) -> Spans {
    let mut start = 0;
    lengths
        .map(|length| {
            let span = start..start + length;
            start = span.end;
            span
        })
        .collect()
}

/// The values of a contiguous `f32` operand.
fn values<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [f32]> {
    match layout.contiguous_offsets() {
        Some((start, end)) => Ok(&storage.as_slice::<f32>()?[start..end]),
        None => bail!("a fused op needs a contiguous tensor, got {layout:?}"),
    }
}

/// A read lock on a tensor's values.
struct Values<'a> {
    storage: StorageRef<'a>,
    layout: &'a Layout,
}

impl Values<'_> {
    fn get(&self) -> Result<&[f32]> {
        match &*self.storage {
            Storage::Cpu(storage) => values(storage, self.layout),
            _ => bail!("fused ops run on the CPU only"),
        }
    }
}

fn lock(tensor: &Tensor) -> Values<'_> {
    let (storage, layout) = tensor.storage_and_layout();
    Values { storage, layout }
}

/// Splits a matrix of token rows into one mutable part per text.
fn split_spans<'a>(
    mut rows: &'a mut [f32],
    spans: &[Range<usize>],
    width: usize,
) -> Vec<&'a mut [f32]> {
    let mut parts = Vec::with_capacity(spans.len());
    for span in spans {
        let (part, rest) = rows.split_at_mut(span.len() * width);
        parts.push(part);
        rows = rest;
    }
    parts
}

#[cfg(test)]
mod tests;
