//! The launch of `depthwise_channels_last.cu`.

use candle_core::DType;

use crate::kernels::{
    cuda::{Argument, Launch, blocks, u32_of},
    dense::Clamp,
    geometry::Geometry,
    tensor_op::pack_len,
};

const THREADS: u32 = 128;
/// Output columns that a thread makes, as the kernel has it.
const COLUMNS: usize = 4;

/// `x` (B, H, W, C) -> `out` (B, h, w, C), both of `dtype`, f32 or f16; `weight` (k · k, C) and `bias` (C), f32.
pub(super) fn launch(
    dtype: DType,
    geometry: &Geometry,
    [batch, channels]: [usize; 2],
    clamp: Clamp,
    x: u64,
    weight: u64,
    bias: u64,
    out: u64,
) -> Launch {
    let ([height, width], [out_height, out_width]) = (geometry.input, geometry.output());
    let per_pixel = channels / pack_len(dtype);
    let pieces = batch * out_height * out_width.div_ceil(COLUMNS) * per_pixel;
    Launch {
        op: "depthwise_channels_last",
        kernel: match (dtype, geometry.kernel, geometry.stride) {
            (DType::F16, 3, 1) => "depthwise_f16_3_1",
            (DType::F16, 3, _) => "depthwise_f16_3_2",
            (DType::F16, 5, 1) => "depthwise_f16_5_1",
            (DType::F16, 7, _) => "depthwise_f16_7_1",
            (DType::F16, ..) => "depthwise_f16_5_2",
            (_, 3, 1) => "depthwise_f32_3_1",
            (_, 3, _) => "depthwise_f32_3_2",
            (_, 5, 1) => "depthwise_f32_5_1",
            (_, 7, _) => "depthwise_f32_7_1",
            _ => "depthwise_f32_5_2",
        },
        grid: [blocks(pieces, THREADS), 1, 1],
        threads: THREADS,
        shared_bytes: 0,
        arguments: vec![
            Argument::Address(x),
            Argument::Address(weight),
            Argument::Address(bias),
            Argument::Address(out),
            u32_of(pieces),
            u32_of(height),
            u32_of(width),
            u32_of(out_height),
            u32_of(out_width),
            u32_of(channels),
            u32_of(geometry.vertical.0),
            u32_of(geometry.horizontal.0),
            Argument::F32(clamp.low),
            Argument::F32(clamp.high),
        ],
    }
}
