//! Hand-written kernels, one folder an op: a plain reference, the CPU implementations and candle's custom op on top.

pub mod adam;
pub(crate) mod aligned;
pub mod anomaly_map;
pub(crate) mod attention;
pub(crate) mod channel_norm;
pub(crate) mod channels_last;
#[cfg(any(test, feature = "cuda"))]
pub(crate) mod cuda;
pub mod dense;
pub mod depthwise_channels_last;
pub mod device_memory;
pub mod discriminator_loss;
pub mod encoding;
pub(crate) mod gelu;
pub mod geometry;
pub mod heap;
pub mod inverted_residual;
mod isa;
pub mod leaky_dot;
pub mod matmul;
pub mod max_pool_channels_last;
pub mod normal_noise;
pub mod pack_image;
pub mod patch_aggregate;
pub mod position_energy;
mod processor;
mod simd;
pub mod team;
pub(crate) mod tensor_op;
pub(crate) mod tokens;
pub(crate) mod transfer;
pub mod winograd;

pub use isa::Isa;

/// `n` pseudo-random numbers in [-1, 1) for tests, by SplitMix64. Sequences of neighbouring seeds have nothing in common.
#[cfg(test)]
pub(crate) fn numbers(n: usize, seed: u32) -> Vec<f32> {
    let mut state = u64::from(seed) << 32;
    let mut next = || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 40) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..n).map(|_| next()).collect()
}
