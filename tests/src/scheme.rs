//! Tensors with deterministic values, so that a reference run needs no weight files. In: a tensor's name, shape and
//! kind. Out: its values, bit for bit those of the reference generator.
//!
//! A 64-bit FNV-1a hash of the name seeds SplitMix64; the top 24 bits of output i give u in [-1, 1), exact in f32. What
//! follows u is computed in f64 and rounded once.

/// What a tensor is for; decides the spread of its values.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Kind {
    /// Convolution weight (out, in / groups, kh, kw): uniform, variance 2 / fan-in.
    ConvWeight,
    /// Linear weight (out, in): uniform, Xavier.
    LinearWeight,
    /// Linear bias.
    LinearBias,
    /// Batch norm's scale, times a gain (1, or less for the last one of a residual block).
    NormWeight(f64),
    /// Batch norm's shift or running mean.
    NormShift,
    /// Batch norm's running variance.
    NormVariance,
    /// An input, times a scale.
    Input(f64),
}

/// Seed of a tensor: FNV-1a, 64 bits, of its name.
pub fn seed(name: &str) -> u64 {
    name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// Output `index` of SplitMix64 seeded with `seed`.
pub fn splitmix64(seed: u64, index: u64) -> u64 {
    let mut z = seed.wrapping_add(index.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// The top 24 bits as a number in [-1, 1).
pub fn uniform(output: u64) -> f64 {
    (output >> 40) as f64 / f64::from(1 << 23) - 1.0
}

/// Every element of a tensor, row-major.
///
/// # Panics
/// When a weight's shape does not have the rank of its kind.
pub fn values(name: &str, shape: &[usize], kind: Kind) -> Vec<f32> {
    let seed = seed(name);
    let count: usize = shape.iter().product();
    let value: Box<dyn Fn(f64) -> f64> = match kind {
        Kind::ConvWeight => {
            assert_eq!(shape.len(), 4, "{name}: a convolution weight has four sides");
            let fan_in = (shape[1] * shape[2] * shape[3]) as f64;
            let scale = 3f64.sqrt() * (2.0 / fan_in).sqrt();
            Box::new(move |u| u * scale)
        }
        Kind::LinearWeight => {
            assert_eq!(shape.len(), 2, "{name}: a linear weight has two sides");
            let scale = (6.0 / (shape[0] + shape[1]) as f64).sqrt();
            Box::new(move |u| u * scale)
        }
        Kind::LinearBias | Kind::NormShift => Box::new(|u| 0.1 * u),
        Kind::NormWeight(gain) => Box::new(move |u| gain * (1.0 + 0.1 * u)),
        Kind::NormVariance => Box::new(|u| 1.0 + 0.5 * u.abs()),
        Kind::Input(scale) => Box::new(move |u| u * scale),
    };
    (0..count as u64).map(|i| value(uniform(splitmix64(seed, i))) as f32).collect()
}
