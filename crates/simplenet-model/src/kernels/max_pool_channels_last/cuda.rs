//! The launch of `max_pool_channels_last.cu`.

use candle_core::DType;

use crate::kernels::{
    cuda::{Argument, Launch, blocks, u32_of},
    tensor_op::pack_len,
};

const THREADS: u32 = 256;

/// `x` (B, H, W, C) -> `out` (B, h, w, C), both of `dtype`, f32 or f16.
pub(super) fn launch(dtype: DType, [batch, height, width, channels]: [usize; 4], x: u64, out: u64) -> Launch {
    let [out_height, out_width] = super::output(height, width);
    let packs = batch * out_height * out_width * channels / pack_len(dtype);
    Launch {
        op: "max_pool_channels_last",
        kernel: if dtype == DType::F16 { "max_pool_f16" } else { "max_pool_f32" },
        grid: [blocks(packs, THREADS), 1, 1],
        threads: THREADS,
        shared_bytes: 0,
        arguments: vec![
            Argument::Address(x),
            Argument::Address(out),
            u32_of(packs),
            u32_of(height),
            u32_of(width),
            u32_of(out_height),
            u32_of(out_width),
            u32_of(channels),
        ],
    }
}
