//! Hand-written kernels, one folder per op: a plain reference, the CPU implementations and candle's custom op on top.

pub(crate) mod adam;
pub(crate) mod aligned;
pub(crate) mod anomaly_map;
pub(crate) mod attention;
pub(crate) mod channel_norm;
pub(crate) mod channels_last;
#[cfg(any(test, feature = "cuda"))]
pub(crate) mod cuda;
pub(crate) mod dense;
pub(crate) mod depthwise_channels_last;
pub(crate) mod device_memory;
pub(crate) mod discriminator_loss;
pub(crate) mod encoding;
pub(crate) mod gelu;
pub(crate) mod geometry;
pub(crate) mod heap;
pub(crate) mod inverted_residual;
mod isa;
pub(crate) mod leaky_dot;
pub(crate) mod matmul;
pub(crate) mod max_pool_channels_last;
pub(crate) mod normal_noise;
pub(crate) mod pack_image;
pub(crate) mod patch_aggregate;
pub(crate) mod position_energy;
pub(crate) mod team;
pub(crate) mod tensor_op;
pub(crate) mod time_slice;
pub(crate) mod tokens;
pub(crate) mod transfer;
pub(crate) mod winograd;

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
