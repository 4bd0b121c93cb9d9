//! The part of one layer on channels-last maps, for the shapes that are in use: 3×3 patches whose outputs are means of
//! whole patch rows (the paper's dimensions, where 9 values of a channel are three rows of 3, and outputs are means of two
//! or four rows; and the mean of a channel, which is three).
//!
//! In: (H, W, C') of any encoding. Out: (H, W, outputs), f32 or bf16. For each pixel the three values of every patch row are added first, a vector of
//! channels at a time; an output is then the mean of a few of these sums. Nothing is unfolded or turned into planes.

use std::cell::RefCell;

use super::plan::LayerPlan;
use crate::kernels::Isa;
use crate::kernels::aligned::{Aligned, size};
use crate::kernels::encoding::{self, Encoding, RAW, bf16, raw};
use crate::kernels::isa::{Simd, for_each_isa};
use crate::kernels::team::Team;

const PATCH: usize = 3;

thread_local! {
    /// Sums of a pixel's patch rows: (row, channel); then zeros, which are what lies beside the map.
    static SUMS: RefCell<Aligned> = RefCell::default();
}

/// Which sums of patch rows an output is the mean of.
#[derive(Debug, Clone)]
pub(super) struct PatchRows {
    /// For each output the same number of places in (row, channel) sums.
    places: Vec<u32>,
    rows_per_output: usize,
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
        Some(Self { places, rows_per_output: taps / PATCH, weight, stride })
    }

    /// Numbers of one output pixel.
    fn outputs(&self) -> usize {
        self.places.len() / self.rows_per_output
    }

    /// The map's rows in parallel.
    ///
    /// # Panics
    /// As [`PatchRows::rows`].
    pub(super) fn run(
        &self,
        team: &mut Team<'_>,
        isa: Isa,
        size: [usize; 2],
        map: (&[f32], Encoding),
        (out, wanted): (&mut [f32], Encoding),
    ) {
        let line = size[1] * wanted.words(self.outputs());
        team.for_each_chunk(out, line, |y, out| self.rows(isa, size, y, map, (out, wanted)));
    }

    /// Rows of the map from `first` on, as many as `out` holds, on this thread.
    ///
    /// # Panics
    /// Slices of other lengths; a stride that is not whole vectors of `isa`; bytes whose zero is not 0; an `out` of bytes, or
    /// an odd number of outputs as bf16.
    pub(super) fn rows(
        &self,
        isa: Isa,
        [height, width]: [usize; 2],
        first: usize,
        (map, kept): (&[f32], Encoding),
        (out, wanted): (&mut [f32], Encoding),
    ) {
        let token = isa.token();
        assert!(self.stride.is_multiple_of(token.lanes()));
        let step = match kept {
            Encoding::U8 { step, zero } => {
                assert!(zero == 0);
                step
            }
            _ => 1.0,
        };
        let run = match (raw(kept), wanted) {
            (0, Encoding::F32) => row::<0, 0>,
            (0, Encoding::Bf16) => row::<0, 1>,
            (1, Encoding::F32) => row::<1, 0>,
            (1, Encoding::Bf16) => row::<1, 1>,
            (_, Encoding::F32) => row::<2, 0>,
            (_, Encoding::Bf16) => row::<2, 1>,
            (_, Encoding::U8 { .. }) => unreachable!("features are not kept as bytes"),
        };
        let line = width * wanted.words(self.outputs());
        assert!(self.outputs().is_multiple_of(wanted.per_word()));
        assert!(map.len() == kept.words(size([height, width, self.stride])));
        assert!(out.len().is_multiple_of(line) && first + out.len() / line <= height);
        SUMS.with_borrow_mut(|sums| {
            let sums = sums.at_least((PATCH + 1) * self.stride);
            sums[PATCH * self.stride..].fill(0.0);
            for (y, out) in (first..).zip(out.chunks_exact_mut(line)) {
                run(token, self, step, [height, width], y, map, sums, out);
            }
        });
    }
}

for_each_isa! {
    /// Row `y` of a map kept as [`RAW`]`[E]`, a byte being worth `step`, into an output kept as `RAW[O]`.
    fn row<E, O>(
        layer: &PatchRows, step: f32, size: [usize; 2], y: usize, map: &[f32], sums: &mut [f32], out: &mut [f32]
    ) => pool_row
}

#[inline(always)]
fn pool_row<S: Simd, const E: usize, const O: usize>(
    simd: S,
    layer: &PatchRows,
    step: f32,
    [height, width]: [usize; 2],
    y: usize,
    map: &[f32],
    sums: &mut [f32],
    out: &mut [f32],
) {
    let (stride, count) = (layer.stride, layer.rows_per_output);
    let (words, vector) = (RAW[E].words(stride), RAW[E].words(S::LANES));
    let (sums, zeros) = sums.split_at_mut(PATCH * stride);
    let zeros = &zeros[..words];
    let weight = layer.weight * step;
    for (x, out) in out.chunks_exact_mut(RAW[O].words(layer.places.len() / count)).enumerate() {
        for (row, sums) in sums.chunks_exact_mut(stride).enumerate() {
            // Row `row` of the patch is row y + row - 1 of the map; zeros outside.
            let y = (y + row).wrapping_sub(1);
            if y >= height {
                sums.fill(0.0);
                continue;
            }
            let pixel = |x: usize| if x < width { &map[(y * width + x) * words..][..words] } else { zeros };
            let [left, middle, right] =
                [pixel(x.wrapping_sub(1)), pixel(x), pixel(x + 1)].map(|pixel| pixel.chunks_exact(vector));
            for (((sums, a), b), c) in sums.chunks_exact_mut(S::LANES).zip(left).zip(middle).zip(right) {
                let mut sum = simd.splat(0.0);
                for values in [a, b, c] {
                    sum = simd.add(sum, encoding::load(simd, values, 0, RAW[E]));
                }
                simd.store(sums, sum);
            }
        }
        // Written out for what is in use, so that the sum of an output is not a loop.
        match count {
            1 => means::<O, 1>(&layer.places, sums, weight, out),
            2 => means::<O, 2>(&layer.places, sums, weight, out),
            4 => means::<O, 4>(&layer.places, sums, weight, out),
            _ => {
                for (out, places) in out.iter_mut().zip(layer.places.chunks_exact(RAW[O].per_word() * count))
                {
                    *out = word::<O>(places, |places| {
                        places.iter().map(|&place| sums[place as usize]).sum::<f32>() * weight
                    });
                }
            }
        }
    }
}

/// Means of N sums each, as `RAW[O]`.
#[inline(always)]
fn means<const O: usize, const N: usize>(places: &[u32], sums: &[f32], weight: f32, out: &mut [f32]) {
    let mean = |places: &[u32]| {
        let mut sum = 0.0;
        for place in &places[..N] {
            sum += sums[*place as usize];
        }
        sum * weight
    };
    for (out, places) in out.iter_mut().zip(places.chunks_exact(RAW[O].per_word() * N)) {
        *out = word::<O>(places, mean);
    }
}

/// A word of means, as `RAW[O]`.
#[inline(always)]
fn word<const O: usize>(places: &[u32], mean: impl Fn(&[u32]) -> f32) -> f32 {
    match RAW[O] {
        Encoding::Bf16 => {
            let (first, second) = places.split_at(places.len() / 2);
            f32::from_bits(u32::from(bf16(mean(first))) | u32::from(bf16(mean(second))) << 16)
        }
        _ => mean(places),
    }
}
