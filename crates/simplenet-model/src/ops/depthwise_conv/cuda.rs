//! The launch of `depthwise_conv.cu`.

use super::Geometry;
use crate::ops::cuda::{Argument, Launch, blocks, u32_of};

const THREADS: u32 = 128;
/// Output rows that a thread makes, as the kernel has it.
const ROWS: usize = 4;

/// `x` (B, C, H, W) -> `out` (B, C, h, w), f32; `numbers` is weight (C, k, k), bias (C) and input bias (C), one behind the
/// other.
pub(super) fn launch(
    geometry: &Geometry,
    [batch, channels]: [usize; 2],
    limit: f32,
    x: u64,
    numbers: u64,
    out: u64,
) -> Launch {
    let ([height, width], [out_height, out_width]) = (geometry.input, geometry.output());
    let pieces = batch * channels * out_height.div_ceil(ROWS) * out_width;
    Launch {
        op: "depthwise_conv",
        kernel: match (geometry.kernel, geometry.stride) {
            (3, 1) => "depthwise_conv_3_1",
            (3, _) => "depthwise_conv_3_2",
            (_, 1) => "depthwise_conv_5_1",
            _ => "depthwise_conv_5_2",
        },
        grid: [blocks(pieces, THREADS), 1, 1],
        threads: THREADS,
        shared_bytes: 0,
        arguments: vec![
            Argument::Address(x),
            Argument::Address(numbers),
            Argument::Address(out),
            u32_of(pieces),
            u32_of(channels),
            u32_of(height),
            u32_of(width),
            u32_of(out_height),
            u32_of(out_width),
            u32_of(geometry.vertical.0),
            u32_of(geometry.horizontal.0),
            Argument::F32(limit),
        ],
    }
}
