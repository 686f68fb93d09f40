//! How is the arithmetic done? Plain loops that the compiler turns into the widest vectors the
//! machine has, chosen at run time, and row-parallel helpers with a fixed order of summation.

use rayon::prelude::*;

/// Vector width that sums are spread over: one AVX-512 register of `f32`.
pub(crate) const LANES: usize = 16;
/// Rows of the register tile in [`multiply`].
const TILE_ROWS: usize = 8;
/// Values that one parallel task handles at least: below this, handing out work costs more.
const TASK_VALUES: usize = 16_384;
/// Rows in one block of [`column_sums`].
const SUM_ROWS: usize = 256;

/// Runs `f` compiled for the widest instruction set that this machine has.
#[inline(always)]
pub(crate) fn simd<R>(f: impl FnOnce() -> R) -> R {
    pulp::Arch::new().dispatch(f)
}

/// Calls `f(first row, rows)` on blocks of whole rows, in parallel.
pub(super) fn for_row_blocks(out: &mut [f32], width: usize, f: impl Fn(usize, &mut [f32]) + Sync) {
    let rows = (TASK_VALUES / width.max(1)).max(1);
    out.par_chunks_mut(rows * width).enumerate().for_each(|(block, chunk)| {
        simd(
            #[inline(always)]
            || f(block * rows, chunk),
        )
    });
}

/// Sums vectors of `width` over all rows: `f` adds one block of rows to its accumulator; blocks are
/// added in order.
pub(super) fn column_sums(
    rows: usize,
    width: usize,
    f: impl Fn(std::ops::Range<usize>, &mut [f32]) + Sync,
) -> Vec<f32> {
    let partial: Vec<Vec<f32>> = (0..rows.div_ceil(SUM_ROWS))
        .into_par_iter()
        .map(|block| {
            let mut sums = vec![0.0; width];
            let range = block * SUM_ROWS..((block + 1) * SUM_ROWS).min(rows);
            simd(
                #[inline(always)]
                || f(range, &mut sums),
            );
            sums
        })
        .collect();
    let mut total = vec![0.0; width];
    for sums in &partial {
        add_to(&mut total, sums);
    }
    total
}

#[inline(always)]
pub(super) fn add_to(to: &mut [f32], from: &[f32]) {
    for (a, b) in to.iter_mut().zip(from) {
        *a += b;
    }
}

/// Sum of `f(i)` over `0..len`, spread over lanes.
#[inline(always)]
pub(super) fn sum_by(len: usize, f: impl Fn(usize) -> f32) -> f32 {
    let mut lanes = [0.0_f32; LANES];
    let whole = len - len % LANES;
    let mut start = 0;
    while start < whole {
        for (lane, sum) in lanes.iter_mut().enumerate() {
            *sum += f(start + lane);
        }
        start += LANES;
    }
    let mut total = lanes.iter().sum::<f32>();
    for i in whole..len {
        total += f(i);
    }
    total
}

/// The inner product of two vectors of one length.
#[inline(always)]
pub(crate) fn dot(a: &[f32], b: &[f32]) -> f32 {
    let b = &b[..a.len()];
    sum_by(a.len(), |i| a[i] * b[i])
}

/// `e^x` to about 2 units in the last place, without a branch.
#[inline(always)]
pub(super) fn exp(x: f32) -> f32 {
    const ROUND: f32 = 12_582_912.0; // 1.5 * 2^23: adding it rounds to a whole number
    let x = x.clamp(-87.0, 88.0);
    let shifted = x * std::f32::consts::LOG2_E + ROUND;
    let n = shifted - ROUND;
    let r = (x - n * 0.693_359_4) - n * -2.121_944_4e-4;
    let p = 1.987_569_1e-4_f32;
    let p = p * r + 1.398_2e-3;
    let p = p * r + 8.333_452e-3;
    let p = p * r + 4.166_579_6e-2;
    let p = p * r + 1.666_666_5e-1;
    let p = p * r + 0.5;
    let e = p * r * r + r + 1.0;
    e * f32::from_bits(shifted.to_bits().wrapping_add(127) << 23)
}

/// Replaces scores by their softmax over the first `len`; the rest becomes zero.
#[inline(always)]
pub(super) fn softmax(row: &mut [f32], len: usize) {
    let (row, padding) = row.split_at_mut(len);
    padding.fill(0.0);
    let mut most = [f32::NEG_INFINITY; LANES];
    for chunk in row.chunks(LANES) {
        for (m, v) in most.iter_mut().zip(chunk) {
            *m = if *v > *m { *v } else { *m };
        }
    }
    let most = most.iter().fold(f32::NEG_INFINITY, |a, b| a.max(*b));
    for v in row.iter_mut() {
        *v = exp(*v - most);
    }
    let scale = 1.0 / sum_by(row.len(), |i| row[i]);
    for v in row.iter_mut() {
        *v *= scale;
    }
}

/// A matrix inside a slice: element `(row, column)` is at `row * rows + column * columns`.
#[derive(Clone, Copy)]
pub(super) struct Strided<'a> {
    pub(super) data: &'a [f32],
    pub(super) rows: usize,
    pub(super) columns: usize,
}

/// `c = a · b` for small matrices: `a` is m×k in any order, `b` k×n and `c` m×n are row-major. `m`
/// is a multiple of 8 and `n` of 16 (callers pad with zeros), so that a tile stays in registers.
#[inline(always)]
pub(super) fn multiply(a: Strided<'_>, b: &[f32], c: &mut [f32], (m, n, k): (usize, usize, usize)) {
    debug_assert!(m % TILE_ROWS == 0 && n % LANES == 0);
    for i in (0..m).step_by(TILE_ROWS) {
        for j in (0..n).step_by(LANES) {
            let mut tile = [[0.0_f32; LANES]; TILE_ROWS];
            for p in 0..k {
                let from = &b[p * n + j..p * n + j + LANES];
                let base = i * a.rows + p * a.columns;
                for (r, sums) in tile.iter_mut().enumerate() {
                    let scale = a.data[base + r * a.rows];
                    for lane in 0..LANES {
                        sums[lane] = scale.mul_add(from[lane], sums[lane]);
                    }
                }
            }
            for (r, sums) in tile.iter().enumerate() {
                c[(i + r) * n + j..(i + r) * n + j + LANES].copy_from_slice(sums);
            }
        }
    }
}

/// Writes the transpose of the row-major `from` (rows×columns) to `to` (columns×rows).
#[inline(always)]
pub(super) fn transpose(from: &[f32], to: &mut [f32], rows: usize, columns: usize) {
    for row in 0..rows {
        for column in 0..columns {
            to[column * rows + row] = from[row * columns + column];
        }
    }
}
