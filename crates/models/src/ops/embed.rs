//! Token and position vectors looked up and added, with a backward pass.

use std::sync::Arc;

use candle_core::{CpuStorage, CustomOp2, Device, Layout, Result, Shape, Tensor, bail};

use super::{
    kernels::{add_to, for_row_blocks},
    lock, values,
};

/// Row `i` of the result is row `ids[i]` of `words` plus row `positions[i]` of `places`.
pub(crate) fn embed(
    words: &Tensor,
    places: &Tensor,
    ids: Arc<[u32]>,
    positions: Arc<[u32]>,
) -> Result<Tensor> {
    words.apply_op2(places, Embed { ids, positions })
}

struct Embed {
    ids: Arc<[u32]>,
    positions: Arc<[u32]>,
}

/// Adds rows of `dy` to the rows of a table that they came from, in order.
fn scatter(dy: &[f32], rows: &[u32], table: (usize, usize)) -> Result<Tensor> {
    let mut sums = vec![0.0; table.0 * table.1];
    for (row, dy) in rows.iter().zip(dy.chunks_exact(table.1)) {
        let at = *row as usize * table.1;
        add_to(&mut sums[at..at + table.1], dy);
    }
    Tensor::from_vec(sums, table, &Device::Cpu)
}

impl CustomOp2 for Embed {
    fn name(&self) -> &'static str {
        "embed"
    }

    fn cpu_fwd(
        &self,
        s1: &CpuStorage,
        l1: &Layout,
        s2: &CpuStorage,
        l2: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (words, places) = (values(s1, l1)?, values(s2, l2)?);
        let ((vocabulary, width), (longest, width2)) = (l1.shape().dims2()?, l2.shape().dims2()?);
        let outside = |ids: &[u32], most: usize| ids.iter().any(|id| *id as usize >= most);
        if width != width2 || outside(&self.ids, vocabulary) || outside(&self.positions, longest) {
            bail!("embed: an id is outside the table");
        }
        let mut out = vec![0.0; self.ids.len() * width];
        for_row_blocks(
            &mut out,
            width,
            #[inline(always)]
            |first, block| {
                for (r, out) in block.chunks_exact_mut(width).enumerate() {
                    let word = self.ids[first + r] as usize * width;
                    let place = self.positions[first + r] as usize * width;
                    out.copy_from_slice(&words[word..word + width]);
                    add_to(out, &places[place..place + width]);
                }
            },
        );
        Ok((CpuStorage::F32(out), (self.ids.len(), width).into()))
    }

    fn bwd(
        &self,
        words: &Tensor,
        places: &Tensor,
        _res: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let grad = grad.contiguous()?;
        let guard = lock(&grad);
        let dy = guard.get()?;
        let (dwords, dplaces) = rayon::join(
            || scatter(dy, &self.ids, words.dims2()?),
            || scatter(dy, &self.positions, places.dims2()?),
        );
        Ok((Some(dwords?), Some(dplaces?)))
    }
}
