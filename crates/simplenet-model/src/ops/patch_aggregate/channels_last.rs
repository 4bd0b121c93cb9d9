//! The part of one layer on channels-last maps, for the shapes that are in use: 3×3 patches whose outputs are means of
//! whole patch rows (the paper's dimensions, where 9 values of a channel are three rows of 3, and outputs are means of two
//! or four rows; and the mean of a channel, which is three).
//!
//! In: (H, W, C'). Out: (H, W, outputs). For each pixel the three values of every patch row are added first, a vector of
//! channels at a time; an output is then the mean of a few of these sums. Nothing is unfolded or turned into planes.

use std::cell::RefCell;

use super::plan::LayerPlan;
use crate::ops::Isa;
use crate::ops::aligned::Aligned;
use crate::ops::simd::{Simd, for_each_isa};
use crate::ops::team::Team;

const PATCH: usize = 3;

thread_local! {
    /// Sums of a pixel's patch rows: (row, channel).
    static SUMS: RefCell<Aligned> = RefCell::default();
}

/// Which sums of patch rows an output is the mean of.
#[derive(Debug, Clone)]
pub(super) struct PatchRows {
    /// For each output the same number of places in (row, channel) sums.
    places: Vec<u32>,
    rows_an_output: usize,
    weight: f32,
    stride: usize,
}

impl PatchRows {
    /// For maps of `stride` numbers a pixel; `None` where an output is anything else.
    pub(super) fn new(layer: &LayerPlan, patch_size: usize, stride: usize) -> Option<Self> {
        let first = layer.taps(0);
        let (taps, weight) = (first.len(), first.first()?.weight);
        let mut places = Vec::new();
        for output in 0..layer.outputs.len() {
            let fits = |rows: &[super::plan::Tap]| {
                let same = |tap: &super::plan::Tap| tap.weight == weight && tap.row == rows[0].row;
                rows.len() == PATCH && rows[0].column == 0 && rows.iter().all(same)
            };
            let found = layer.taps(output);
            if patch_size != PATCH || found.len() != taps || !found.chunks(PATCH).all(fits) {
                return None;
            }
            places.extend(found.chunks(PATCH).map(|rows| (rows[0].row * stride + rows[0].channel) as u32));
        }
        Some(Self { places, rows_an_output: taps / PATCH, weight, stride })
    }

    /// Numbers of one output pixel.
    fn outputs(&self) -> usize {
        self.places.len() / self.rows_an_output
    }

    /// The map's rows in parallel.
    ///
    /// # Panics
    /// Slices of other lengths; a stride that is not whole vectors of `isa`.
    pub(super) fn run(
        &self,
        team: &Team<'_>,
        isa: Isa,
        [height, width]: [usize; 2],
        map: &[f32],
        out: &mut [f32],
    ) {
        let isa = isa.min(Isa::detect());
        assert!(self.stride.is_multiple_of(crate::ops::channels_last::lanes(isa)));
        assert!(map.len() == height * width * self.stride && out.len() == height * width * self.outputs());
        team.for_each_chunk(out, width * self.outputs(), |y, out| {
            SUMS.with_borrow_mut(|sums| {
                if sums.len() < PATCH * self.stride {
                    *sums = Aligned::zeros(PATCH * self.stride);
                }
                // SAFETY: the machine has `isa`, whose lanes divide the stride; lengths as asserted.
                unsafe { row(isa, self, [height, width], y, map, &mut sums[..PATCH * self.stride], out) }
            });
        });
    }
}

for_each_isa! {
    /// # Safety
    /// The machine has `isa`, whose lanes divide the stride; `map` has height x width pixels, `sums` three of them.
    row => pool_row(layer: &PatchRows, size: [usize; 2], y: usize, map: &[f32], sums: &mut [f32], out: &mut [f32]) -> ()
}

#[inline(always)]
unsafe fn pool_row<V: Simd>(
    layer: &PatchRows,
    [height, width]: [usize; 2],
    y: usize,
    map: &[f32],
    sums: &mut [f32],
    out: &mut [f32],
) {
    let stride = layer.stride;
    let count = layer.rows_an_output;
    for (x, out) in out.chunks_exact_mut(layer.places.len() / count).enumerate() {
        let columns = x.saturating_sub(1)..(x + 2).min(width);
        for (row, sums) in sums.chunks_exact_mut(stride).enumerate() {
            // Row `row` of the patch is row y + row - 1 of the map; zeros outside.
            if (y + row).wrapping_sub(1) >= height {
                sums.fill(0.0);
                continue;
            }
            let line = (y + row - 1) * width;
            for channel in (0..stride).step_by(V::LANES) {
                // SAFETY: the caller's contract: pixels of the map, whole vectors of their channels.
                unsafe {
                    let mut sum = V::splat(0.0);
                    for column in columns.clone() {
                        sum = V::add(sum, V::load(map.as_ptr().add((line + column) * stride + channel)));
                    }
                    V::store(sums.as_mut_ptr().add(channel), sum);
                }
            }
        }
        for (out, places) in out.iter_mut().zip(layer.places.chunks_exact(count)) {
            let mut sum = 0.0;
            for &place in places {
                sum += sums[place as usize];
            }
            *out = sum * layer.weight;
        }
    }
}
