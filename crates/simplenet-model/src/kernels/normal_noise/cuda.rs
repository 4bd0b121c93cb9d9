//! The launch of `normal_noise.cu`.

use super::Draws;
use crate::kernels::cuda::{Argument, Launch, blocks, u32_of};

const THREADS: u32 = 256;

/// `x` of `count` numbers -> `out` of twice as many.
pub(super) fn launch(draws: Draws, sigma: f32, count: usize, x: u64, out: u64) -> Launch {
    let Draws { key, stream } = draws;
    Launch {
        op: "normal_noise",
        kernel: "with_normal_noise",
        grid: [blocks(count.div_ceil(4), THREADS), 1, 1],
        threads: THREADS,
        shared_bytes: 0,
        arguments: vec![
            Argument::Address(x),
            Argument::Address(out),
            u32_of(count),
            Argument::U32(key[0]),
            Argument::U32(key[1]),
            Argument::U32(stream[0]),
            Argument::U32(stream[1]),
            Argument::F32(sigma),
        ],
    }
}
