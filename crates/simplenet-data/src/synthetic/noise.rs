//! Random draws and smooth random fields.
//!
//! In: a seed. Out: numbers ([`Draw`]) or fields over the plane ([`value_noise`], [`fbm`]). Fields depend on
//! their seed and place alone, so that a part drawn with and without a defect agrees everywhere else.

use crate::rng::SplitMix64;

/// Draws from one named stream; every part, camera and defect has its own.
pub(super) struct Draw(SplitMix64);

impl Draw {
    /// The stream for `seed` and a list of `labels` (category, split, index, ...); each label matters.
    pub(super) fn stream(seed: u64, labels: &[u64]) -> Self {
        let mut state = seed;
        for &label in labels {
            state = SplitMix64::new(state ^ label.wrapping_mul(0x9E37_79B9_7F4A_7C15)).next_u64();
        }
        Self(SplitMix64::new(state))
    }

    /// Uniform in `[0, 1)`.
    pub(super) fn unit(&mut self) -> f32 {
        (self.0.next_u64() >> 40) as f32 / 16_777_216.0
    }

    /// Uniform in `[low, high)`.
    pub(super) fn range(&mut self, low: f32, high: f32) -> f32 {
        low + (high - low) * self.unit()
    }

    /// Uniform in `[-half_width, half_width)`.
    pub(super) fn jitter(&mut self, half_width: f32) -> f32 {
        self.range(-half_width, half_width)
    }

    /// -1 or 1.
    pub(super) fn sign(&mut self) -> f32 {
        if self.unit() < 0.5 { -1.0 } else { 1.0 }
    }

    /// Uniform in `0..count`; 0 where `count` is 0.
    pub(super) fn index(&mut self, count: usize) -> usize {
        ((self.unit() * count as f32) as usize).min(count.saturating_sub(1))
    }

    /// A seed for a field.
    pub(super) fn seed(&mut self) -> u32 {
        (self.0.next_u64() >> 32) as u32
    }

    /// About normal, mean 0, variance 1: the sum of four uniform 16-bit numbers (bounded by 3.5).
    pub(super) fn gauss(&mut self) -> f32 {
        let bits = self.0.next_u64();
        let sum = (bits & 0xFFFF) + ((bits >> 16) & 0xFFFF) + ((bits >> 32) & 0xFFFF) + (bits >> 48);
        // Variance of one term is 65536^2 / 12; four of them: 65536^2 / 3.
        (sum as f32 - 131_070.0) * (1.732_050_8 / 65_536.0)
    }
}

/// A number in `[0, 1)` that belongs to the lattice point `(x, y)` of the field `seed`.
pub(super) fn lattice(x: i32, y: i32, seed: u32) -> f32 {
    let mut h = (x as u32).wrapping_mul(0x85EB_CA6B) ^ (y as u32).wrapping_mul(0xC2B2_AE35) ^ seed;
    h ^= h >> 15;
    h = h.wrapping_mul(0x2C1B_3C6D);
    h ^= h >> 12;
    h = h.wrapping_mul(0x297A_2D39);
    h ^= h >> 15;
    (h >> 8) as f32 / 16_777_216.0
}

/// Smooth noise in `[-1, 1]` with a feature size of one unit.
pub(super) fn value_noise(x: f32, y: f32, seed: u32) -> f32 {
    let (x0, y0) = (x.floor(), y.floor());
    let (fx, fy) = (x - x0, y - y0);
    let (ix, iy) = (x0 as i32, y0 as i32);
    let (ux, uy) = (fade(fx), fade(fy));
    let top = lattice(ix, iy, seed) * (1.0 - ux) + lattice(ix + 1, iy, seed) * ux;
    let bottom = lattice(ix, iy + 1, seed) * (1.0 - ux) + lattice(ix + 1, iy + 1, seed) * ux;
    (top * (1.0 - uy) + bottom * uy) * 2.0 - 1.0
}

/// Fractal sum of `octaves` of [`value_noise`], each twice as fine and half as strong; about `[-1, 1]`.
pub(super) fn fbm(x: f32, y: f32, octaves: u32, seed: u32) -> f32 {
    let (mut sum, mut gain, mut total, mut frequency) = (0.0, 1.0, 0.0, 1.0);
    for octave in 0..octaves {
        // The shift hides the lattice, whose points would otherwise coincide at the origin.
        let shift = octave as f32 * 17.37;
        sum += gain * value_noise(x * frequency + shift, y * frequency - shift, seed.wrapping_add(octave));
        total += gain;
        gain *= 0.5;
        frequency *= 2.0;
    }
    sum / total
}

fn fade(t: f32) -> f32 {
    t * t * t * (t * (t * 6.0 - 15.0) + 10.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_differ_by_every_label_and_gauss_is_standard() {
        let first = |seed, labels: &[u64]| Draw::stream(seed, labels).seed();
        assert_eq!(first(1, &[2, 3]), first(1, &[2, 3]));
        assert_ne!(first(1, &[2, 3]), first(1, &[3, 2]));
        assert_ne!(first(1, &[2, 3]), first(2, &[2, 3]));
        let mut draw = Draw::stream(5, &[]);
        let values: Vec<f32> = (0..20_000).map(|_| draw.gauss()).collect();
        let mean = values.iter().sum::<f32>() / 20_000.0;
        let variance = values.iter().map(|v| (v - mean) * (v - mean)).sum::<f32>() / 20_000.0;
        assert!(mean.abs() < 0.02 && (variance - 1.0).abs() < 0.03, "mean {mean}, variance {variance}");
    }

    #[test]
    fn noise_is_continuous_and_bounded() {
        for step in 0..2000 {
            let x = step as f32 * 0.01 - 10.0;
            let (a, b) = (value_noise(x, 0.3, 9), value_noise(x + 0.001, 0.3, 9));
            assert!((a - b).abs() < 0.01 && a.abs() <= 1.0, "at {x}: {a} {b}");
        }
    }
}
