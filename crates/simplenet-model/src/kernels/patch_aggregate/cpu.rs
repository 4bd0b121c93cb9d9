//! The aggregator on the CPU. In: contiguous (B, C, h, w) maps and the plan. Out: (B, h, w, D) rows.
//!
//! Pooling acts on channels and bilinear resizing on space, so they commute: a layer is pooled on its own grid, where
//! it is small, and its pooled rows are then resized to the first layer's grid and added in. The sum of one output
//! runs over its taps in a fixed order whatever the cut into bands is: the thread count does not change a bit.

use std::ops::Range;

use rayon::prelude::*;

use super::plan::{LayerPlan, Plan};
use crate::{bilinear::sources, kernels::team::Team};

/// A contiguous (batch, channels, height, width) map.
#[derive(Clone, Copy)]
pub(crate) struct Map<'a> {
    pub(crate) data: &'a [f32],
    pub(crate) height: usize,
    pub(crate) width: usize,
}

/// Rows that one task computes: few, so that two threads end together on the 18 rows of a coarse grid.
const BAND: usize = 3;
/// Outputs that are computed together before they are written: a cache line of the result.
const BLOCK: usize = 16;
/// Pixels whose sums are held in registers.
const LANES: usize = 16;

/// Runs the whole map: one `Map` a layer of the plan, all of `batch` images.
pub(crate) fn aggregate(plan: &Plan, maps: &[Map<'_>], batch: usize) -> Vec<f32> {
    let Some(first) = maps.first() else { return Vec::new() };
    let mut out = vec![0f32; batch * first.height * first.width * plan.dim];
    for (layer, map) in plan.layers.iter().zip(maps) {
        if (map.height, map.width) == (first.height, first.width) {
            pool_layer(layer, plan.patch_size, *map, &mut out, plan.dim, layer.outputs.start);
        } else {
            let width = layer.outputs.len();
            let mut rows = vec![0f32; batch * map.height * map.width * width];
            pool_layer(layer, plan.patch_size, *map, &mut rows, width, 0);
            add_resized(&rows, *map, layer.outputs.clone(), &mut out, (first.height, first.width), plan.dim);
        }
    }
    out
}

/// Adds a layer's pooled values to the rows of `out`, which are `stride` long, from number `first` on.
fn pool_layer(
    layer: &LayerPlan,
    patch_size: usize,
    map: Map<'_>,
    out: &mut [f32],
    stride: usize,
    first: usize,
) {
    let image_in = layer.channels * map.height * map.width;
    let image_out = map.height * map.width * stride;
    if image_in == 0 || image_out == 0 || layer.outputs.is_empty() {
        return;
    }
    out.par_chunks_mut(image_out).zip(map.data.par_chunks(image_in)).for_each(|(out, data)| {
        let map = Map { data, ..map };
        out.par_chunks_mut(BAND * map.width * stride).enumerate().for_each_init(
            Scratch::default,
            |scratch, (band, out)| {
                let start = band * BAND;
                let rows = start..(start + BAND).min(map.height);
                pool_band(layer, patch_size, map, rows, out, stride, first, scratch);
            },
        );
    });
}

/// One image's pooled values of a layer, (h, w, outputs).
pub(super) fn pool_image(
    team: &mut Team<'_>,
    layer: &LayerPlan,
    patch_size: usize,
    map: Map<'_>,
    out: &mut [f32],
) {
    let stride = layer.outputs.len();
    out.fill(0.0);
    team.for_each_chunk(out, BAND * map.width * stride, |band, out| {
        let start = band * BAND;
        let rows = start..(start + BAND).min(map.height);
        pool_band(layer, patch_size, map, rows, out, stride, 0, &mut Scratch::default());
    });
}

/// Reused memory of one thread.
#[derive(Default)]
struct Scratch {
    /// Zero-padded bands of the channels that a block of outputs reads.
    padded: Vec<f32>,
    /// The block's outputs, one plane each, on the padded grid.
    planes: Vec<f32>,
    /// Offsets into `padded` and weights of one output's taps.
    taps: Vec<(usize, f32)>,
}

/// One band of rows of one image, all outputs of the layer.
fn pool_band(
    layer: &LayerPlan,
    patch_size: usize,
    map: Map<'_>,
    rows: Range<usize>,
    out: &mut [f32],
    stride: usize,
    first: usize,
    scratch: &mut Scratch,
) {
    let Scratch { padded, planes, taps } = scratch;
    let padded_width = map.width + patch_size - 1;
    let channel_size = (rows.len() + patch_size - 1) * padded_width;
    // On the padded grid a tap is one constant offset, so a plane is one long loop; what it computes in the padding
    // columns is never read. The last plane's loop may read past the band: room for that, and for whole lanes.
    let plane_size = (rows.len() * padded_width).next_multiple_of(LANES);
    let slack = patch_size + LANES;

    let count = layer.outputs.len();
    for block in (0..count).step_by(BLOCK) {
        let block = block..(block + BLOCK).min(count);
        let channels = layer.channels_of(&block);
        padded.clear();
        padded.resize(channels.len() * channel_size + slack, 0.0);
        for (channel, band) in channels.clone().zip(padded.chunks_exact_mut(channel_size)) {
            copy_padded(map, channel, &rows, patch_size, band);
        }
        planes.resize(BLOCK * plane_size, 0.0);
        for (output, plane) in block.clone().zip(planes.chunks_exact_mut(plane_size)) {
            taps.clear();
            taps.extend(layer.taps(output).iter().map(|tap| {
                let channel = (tap.channel - channels.start) * channel_size;
                (channel + tap.row * padded_width + tap.column, tap.weight)
            }));
            weighted_sum(padded, taps, plane);
        }
        let pixels = out.chunks_exact_mut(stride).enumerate();
        for (pixel, row) in pixels {
            let at = pixel / map.width * padded_width + pixel % map.width;
            let row = &mut row[first + block.start..first + block.end];
            for (value, plane) in row.iter_mut().zip(planes.chunks_exact(plane_size)) {
                *value += plane[at];
            }
        }
    }
}

/// Copies rows `rows` of a channel and the patch's reach around them into `band`, which comes filled with zeros.
fn copy_padded(map: Map<'_>, channel: usize, rows: &Range<usize>, patch_size: usize, band: &mut [f32]) {
    let padding = patch_size / 2;
    let padded_width = map.width + patch_size - 1;
    let plane = &map.data[channel * map.height * map.width..][..map.height * map.width];
    for (i, to) in band.chunks_exact_mut(padded_width).enumerate() {
        let y = rows.start + i;
        if y >= padding && y - padding < map.height {
            let from = &plane[(y - padding) * map.width..][..map.width];
            to[padding..padding + map.width].copy_from_slice(from);
        }
    }
}

/// plane[i] = Σ weight · padded[offset + i], the taps in order. `plane` is a whole number of lanes.
fn weighted_sum(padded: &[f32], taps: &[(usize, f32)], plane: &mut [f32]) {
    for (chunk, out) in plane.chunks_exact_mut(LANES).enumerate() {
        let mut sum = [0f32; LANES];
        for &(offset, weight) in taps {
            let from = &padded[offset + chunk * LANES..][..LANES];
            for lane in 0..LANES {
                sum[lane] += weight * from[lane];
            }
        }
        out.copy_from_slice(&sum);
    }
}

/// Adds rows on `map`'s grid, resized bilinearly to `grid`, to the numbers `outputs` of the rows of `out`.
fn add_resized(
    rows: &[f32],
    map: Map<'_>,
    outputs: Range<usize>,
    out: &mut [f32],
    grid: (usize, usize),
    dim: usize,
) {
    let width = outputs.len();
    let (ys, xs) = (sources(map.height, grid.0), sources(map.width, grid.1));
    if rows.is_empty() || grid.1 == 0 {
        return;
    }
    out.par_chunks_mut(grid.1 * dim).enumerate().for_each(|(line, out)| {
        let image = &rows[line / grid.0 * map.height * map.width * width..];
        let y = &ys[line % grid.0];
        let row = |y: usize, x: usize| &image[(y * map.width + x) * width..][..width];
        for (x, out) in xs.iter().zip(out.chunks_exact_mut(dim)) {
            let corners = [row(y.low, x.low), row(y.low, x.high), row(y.high, x.low), row(y.high, x.high)];
            let (top, bottom) = (1.0 - y.share, y.share);
            let (left, right) = (1.0 - x.share, x.share);
            let out = &mut out[outputs.clone()];
            for (i, out) in out.iter_mut().enumerate() {
                *out += top * (left * corners[0][i] + right * corners[1][i])
                    + bottom * (left * corners[2][i] + right * corners[3][i]);
            }
        }
    });
}
