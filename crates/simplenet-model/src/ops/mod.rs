//! Hand-written kernels, one folder an op: a plain reference, the CPU implementations and candle's custom op on top.

pub(crate) mod aligned;
pub(crate) mod channels_last;
pub mod dense;
pub mod depthwise_channels_last;
pub mod depthwise_conv;
pub mod inverted_residual;
mod isa;
pub mod leaky_dot;
pub mod matmul;
pub mod max_pool_channels_last;
pub mod patch_aggregate;
mod simd;
pub mod winograd;

pub use isa::Isa;

/// `n` pseudo-random numbers in [-1, 1) for tests.
#[cfg(test)]
fn numbers(n: usize, seed: u32) -> Vec<f32> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..n).map(|_| next()).collect()
}
