//! The fast implementation: one plane at a time through a padded scratch, a block of four rows by one vector in
//! registers.
//!
//! With stride 2 the scratch keeps even and odd columns apart, so that both strides read consecutive numbers. The loop
//! is written once over a vector type and compiled once for each instruction set.

use rayon::prelude::*;

use super::{Geometry, Parameters};
use crate::ops::isa::{Isa, MAX_LANES, Simd, Token, for_each_isa};

/// Output rows computed together: as many independent sums as hide the latency of a fused multiply-add.
const ROWS: usize = 4;
/// Fewest planes a task takes: the smallest planes cost about a microsecond.
const MIN_PLANES: usize = 4;

/// `input` holds planes of (H, W), channel after channel, image after image; `out` the same with the output's sides.
/// Kernels other than 3 and 5 and strides other than 1 and 2 are not written: `DepthwiseConv::new` refuses them. An
/// `isa` that this machine lacks falls back to plain code.
pub(crate) fn depthwise_conv(
    isa: Isa,
    geometry: &Geometry,
    parameters: &Parameters,
    input: &[f32],
    out: &mut [f32],
) {
    let token = isa.token();
    let run: PlaneFn = match (geometry.kernel, geometry.stride) {
        (3, 1) => plane::<3, 1>,
        (3, _) => plane::<3, 2>,
        (_, 1) => plane::<5, 1>,
        _ => plane::<5, 2>,
    };
    let [height, width] = geometry.output();
    let (plane_in, plane_out) = (geometry.input[0] * geometry.input[1], height * width);
    if plane_in == 0 || plane_out == 0 {
        return;
    }
    let channels = parameters.bias.len();
    let taps = geometry.kernel * geometry.kernel;
    out.par_chunks_exact_mut(plane_out)
        .zip(input.par_chunks_exact(plane_in))
        .enumerate()
        .with_min_len(MIN_PLANES)
        .for_each_init(
            || vec![0.0; scratch_len(geometry)],
            |scratch, (plane, (out, input))| {
                let c = plane % channels;
                let channel = Channel {
                    weight: &parameters.weight[c * taps..(c + 1) * taps],
                    bias: parameters.bias[c],
                    input_bias: parameters.input_bias[c],
                    limit: parameters.limit,
                };
                run(token, geometry, &channel, input, scratch, out);
            },
        );
}

/// One channel's numbers.
struct Channel<'a> {
    weight: &'a [f32],
    bias: f32,
    input_bias: f32,
    limit: f32,
}

type PlaneFn = fn(Token, &Geometry, &Channel<'_>, &[f32], &mut [f32], &mut [f32]);

/// Numbers in one row of one phase of the scratch: what the last vector of a row can reach.
fn phase_width(geometry: &Geometry) -> usize {
    geometry.output()[1].next_multiple_of(MAX_LANES) + geometry.kernel
}

/// Rows of the padded plane, each with `stride` phases.
fn scratch_len(geometry: &Geometry) -> usize {
    let rows = geometry.input[0] + geometry.vertical.0 + geometry.vertical.1;
    rows * geometry.stride * phase_width(geometry)
}

for_each_isa! {
    /// Computes one plane.
    fn plane<K, S>(
        geometry: &Geometry, channel: &Channel<'_>, input: &[f32], scratch: &mut [f32], out: &mut [f32]
    ) => plane_of
}

/// Fills the scratch, then computes every output row.
#[inline(always)]
fn plane_of<V: Simd, const K: usize, const S: usize>(
    simd: V,
    geometry: &Geometry,
    channel: &Channel<'_>,
    input: &[f32],
    scratch: &mut [f32],
    out: &mut [f32],
) {
    let phase = phase_width(geometry);
    fill::<S>(geometry, channel, input, scratch, phase);
    let [height, width] = geometry.output();
    // What the reads and writes below rely on.
    assert!(scratch.len() >= scratch_len(geometry) && out.len() == height * width);
    assert!(channel.weight.len() == K * K && V::LANES <= MAX_LANES);

    // SAFETY: reads: the last output row starts at scratch row (height - 1)·S
    // and uses K rows, which `scratch_len` counts; the last vector starts at x <= width - 1, a multiple of LANES, plus
    // (K - 1) / S columns, which `phase_width` counts. Writes: LANES numbers only where that many are left in the row.
    unsafe {
        let (bias, zero, limit) = (simd.splat(channel.bias), simd.splat(0.0), simd.splat(channel.limit));
        for top in (0..height).step_by(ROWS) {
            // The last block repeats the last row.
            let rows: [usize; ROWS] = std::array::from_fn(|r| (top + r).min(height - 1));
            for x in (0..width).step_by(V::LANES) {
                let sources = rows.map(|y| scratch.as_ptr().add(y * S * S * phase + x));
                let mut sums = [bias; ROWS];
                for ky in 0..K {
                    for kx in 0..K {
                        let weight = simd.splat(*channel.weight.get_unchecked(ky * K + kx));
                        let offset = (ky * S + kx % S) * phase + kx / S;
                        for (sum, source) in sums.iter_mut().zip(sources) {
                            *sum = simd.multiply_add(weight, simd.read(&*source.add(offset).cast()), *sum);
                        }
                    }
                }
                for (sum, y) in sums.into_iter().zip(rows) {
                    let clipped = simd.min(simd.max(sum, zero), limit);
                    let to = y * width + x;
                    let left = width - x;
                    if left >= V::LANES {
                        simd.write(&mut *out.as_mut_ptr().add(to).cast(), clipped);
                    } else {
                        let mut tail = [0.0; MAX_LANES];
                        simd.store(&mut tail, clipped);
                        out[to..to + left].copy_from_slice(&tail[..left]);
                    }
                }
            }
        }
    }
}

/// Copies the plane into the scratch: activated, columns apart by phase. The padding is not touched: a scratch starts
/// as zeros and serves planes of one geometry only.
#[inline(always)]
fn fill<const S: usize>(
    geometry: &Geometry,
    channel: &Channel<'_>,
    input: &[f32],
    scratch: &mut [f32],
    phase: usize,
) {
    let width = geometry.input[1];
    let left = geometry.horizontal.0;
    let activate = |v: f32| (v + channel.input_bias).max(0.0).min(channel.limit);
    let rows = scratch.chunks_exact_mut(S * phase).skip(geometry.vertical.0);
    for (row, source) in rows.zip(input.chunks_exact(width)) {
        if S == 1 {
            let end = (left + width).min(row.len());
            for (to, &from) in row[left..end].iter_mut().zip(source) {
                *to = activate(from);
            }
        } else {
            // Column x of the plane is column x + left of the padded one: phase (x + left) % 2, place (x + left) / 2.
            let (even, odd) = row.split_at_mut(phase);
            let (first, second) = if left.is_multiple_of(2) {
                (&mut even[left / 2..], &mut odd[left / 2..])
            } else {
                (&mut odd[left / 2..], &mut even[left / 2 + 1..])
            };
            for ((a, b), pair) in first.iter_mut().zip(second.iter_mut()).zip(source.chunks_exact(2)) {
                *a = activate(pair[0]);
                *b = activate(pair[1]);
            }
            if width % 2 == 1 {
                first[width / 2] = activate(source[width - 1]);
            }
        }
    }
}
