//! The launch of `conv_epilogue.cu`.

use candle_core::DType;

use crate::ops::{
    cuda::{Argument, Launch, blocks, u32_of},
    dense::Clamp,
    tensor_op::pack_len,
};

const THREADS: u32 = 256;

/// `x` and `residual`, if there is one, are `count` numbers of `dtype`, f32 or f16, in planes of `plane` numbers; `bias` is
/// (C) f32.
pub(super) fn launch(
    dtype: DType,
    count: usize,
    [channels, plane]: [usize; 2],
    clamp: Clamp,
    x: u64,
    bias: u64,
    residual: Option<u64>,
) -> Launch {
    // A view may begin anywhere.
    let whole = [x, residual.unwrap_or(0)].iter().all(|address| address.is_multiple_of(16));
    let together = if whole { pack_len(dtype) } else { 1 };
    Launch {
        op: "conv_epilogue",
        kernel: match (dtype, whole) {
            (DType::F16, true) => "conv_epilogue_f16",
            (DType::F16, false) => "conv_epilogue_f16_single",
            (_, true) => "conv_epilogue_f32",
            (_, false) => "conv_epilogue_f32_single",
        },
        grid: [blocks(count.div_ceil(together), THREADS), 1, 1],
        threads: THREADS,
        shared_bytes: 0,
        arguments: vec![
            Argument::Address(x),
            Argument::Address(bias),
            Argument::Address(residual.unwrap_or(0)),
            u32_of(count),
            u32_of(plane),
            u32_of(channels),
            Argument::F32(clamp.low),
            Argument::F32(clamp.high),
        ],
    }
}
