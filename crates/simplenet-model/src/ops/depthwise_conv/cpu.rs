//! The fast implementation: one plane at a time through a padded scratch, 32 outputs in registers.
//!
//! With stride 2 the scratch keeps even and odd columns apart, so that both strides read consecutive numbers. The loops
//! are plain Rust of constant length, compiled once for each instruction set; fused multiply-add is used where the set
//! has it (without it, `mul_add` would be a function call).

use rayon::prelude::*;

use super::{Geometry, Parameters};
use crate::ops::Isa;

/// Outputs held in registers: two AVX-512 or four AVX2 accumulators, enough to hide the latency of an addition.
const LANES: usize = 32;
/// Fewest planes a task takes: the smallest planes cost about a microsecond.
const MIN_PLANES: usize = 4;

/// `input` holds planes of (H, W), channel after channel, image after image; `out` the same with the output's sides.
/// Kernels other than 3 and 5 and strides other than 1 and 2 are not written: `DepthwiseConv::new` refuses them. An
/// `isa` that this machine lacks falls back to plain code.
pub fn depthwise_conv(isa: Isa, geometry: &Geometry, parameters: &Parameters, input: &[f32], out: &mut [f32]) {
    let run: PlaneFn = match (geometry.kernel, geometry.stride, isa.min(Isa::detect())) {
        #[cfg(target_arch = "x86_64")]
        (3, 1, Isa::Avx512) => avx512::<3, 1>,
        #[cfg(target_arch = "x86_64")]
        (3, _, Isa::Avx512) => avx512::<3, 2>,
        #[cfg(target_arch = "x86_64")]
        (_, 1, Isa::Avx512) => avx512::<5, 1>,
        #[cfg(target_arch = "x86_64")]
        (_, _, Isa::Avx512) => avx512::<5, 2>,
        #[cfg(target_arch = "x86_64")]
        (3, 1, Isa::Avx2) => avx2::<3, 1>,
        #[cfg(target_arch = "x86_64")]
        (3, _, Isa::Avx2) => avx2::<3, 2>,
        #[cfg(target_arch = "x86_64")]
        (_, 1, Isa::Avx2) => avx2::<5, 1>,
        #[cfg(target_arch = "x86_64")]
        (_, _, Isa::Avx2) => avx2::<5, 2>,
        (3, 1, _) => scalar::<3, 1>,
        (3, ..) => scalar::<3, 2>,
        (_, 1, _) => scalar::<5, 1>,
        _ => scalar::<5, 2>,
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
                // SAFETY: `run` was picked for an instruction set that `Isa::detect` found on this machine.
                unsafe { run(geometry, &channel, input, scratch, out) }
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

type PlaneFn = unsafe fn(&Geometry, &Channel<'_>, &[f32], &mut [f32], &mut [f32]);

/// Numbers in one row of one phase of the scratch: what the last register block of a row can reach.
fn phase_width(geometry: &Geometry) -> usize {
    geometry.output()[1].next_multiple_of(LANES) + geometry.kernel
}

/// Rows of the padded plane, each with `stride` phases.
fn scratch_len(geometry: &Geometry) -> usize {
    let rows = geometry.input[0] + geometry.vertical.0 + geometry.vertical.1;
    rows * geometry.stride * phase_width(geometry)
}

unsafe fn scalar<const K: usize, const S: usize>(
    geometry: &Geometry,
    channel: &Channel<'_>,
    input: &[f32],
    scratch: &mut [f32],
    out: &mut [f32],
) {
    plane::<K, S, false>(geometry, channel, input, scratch, out);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn avx2<const K: usize, const S: usize>(
    geometry: &Geometry,
    channel: &Channel<'_>,
    input: &[f32],
    scratch: &mut [f32],
    out: &mut [f32],
) {
    plane::<K, S, true>(geometry, channel, input, scratch, out);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma,avx512f,avx512vl,avx512bw,avx512dq")]
fn avx512<const K: usize, const S: usize>(
    geometry: &Geometry,
    channel: &Channel<'_>,
    input: &[f32],
    scratch: &mut [f32],
    out: &mut [f32],
) {
    plane::<K, S, true>(geometry, channel, input, scratch, out);
}

/// Fills the scratch, then computes every output row. Inlined into each of the functions above and compiled there for
/// its instruction set.
#[inline(always)]
fn plane<const K: usize, const S: usize, const FMA: bool>(
    geometry: &Geometry,
    channel: &Channel<'_>,
    input: &[f32],
    scratch: &mut [f32],
    out: &mut [f32],
) {
    let phase = phase_width(geometry);
    fill::<S>(geometry, channel, input, scratch, phase);
    let mut weight = [[0.0f32; K]; K];
    for (row, source) in weight.iter_mut().zip(channel.weight.chunks_exact(K)) {
        row.copy_from_slice(source);
    }
    let out_width = geometry.output()[1];
    for (y, out_row) in out.chunks_exact_mut(out_width).enumerate() {
        for (block, out_block) in out_row.chunks_mut(LANES).enumerate() {
            let x = block * LANES;
            let mut sum = [channel.bias; LANES];
            for (ky, weight) in weight.iter().enumerate() {
                for (kx, &w) in weight.iter().enumerate() {
                    let start = ((y * S + ky) * S + kx % S) * phase + x + kx / S;
                    let source = &scratch[start..start + LANES];
                    for (s, &v) in sum.iter_mut().zip(source) {
                        *s = if FMA { w.mul_add(v, *s) } else { *s + w * v };
                    }
                }
            }
            for s in &mut sum {
                *s = s.max(0.0).min(channel.limit);
            }
            out_block.copy_from_slice(&sum[..out_block.len()]);
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
            let (first, second) = if left % 2 == 0 {
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
