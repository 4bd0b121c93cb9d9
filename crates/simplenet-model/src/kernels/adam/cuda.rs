//! The launch of `adam.cu`.

use super::AdamStep;
use crate::kernels::cuda::{Argument, Launch, blocks, u32_of};

const THREADS: u32 = 256;

/// `state` (3, L) in place, along `gradient` (L).
pub(super) fn launch(step: &AdamStep, len: usize, state: u64, gradient: u64) -> Launch {
    let AdamStep { rate, root, coupled, keep, betas: [b1, b2], rests: [a1, a2], eps } = *step;
    let mut arguments = vec![Argument::Address(state), Argument::Address(gradient), u32_of(len)];
    arguments.extend([rate, root, coupled, keep, b1, b2, a1, a2, eps].map(Argument::F32));
    Launch {
        op: "adam",
        kernel: "adam_step",
        grid: [blocks(len, THREADS), 1, 1],
        threads: THREADS,
        shared_bytes: 0,
        arguments,
    }
}
