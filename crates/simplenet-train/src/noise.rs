//! Random numbers of the training: a counter-based generator, so that number `i` of stream `s` is the same
//! whatever the thread count, the batch or the device.
//!
//! The generator is `simplenet_model::compute::fill_normal_noise`: Philox4x32-10 turns a 128-bit counter and a 64-bit key into four
//! 32-bit words, Box-Muller turns two words into two normal draws. Here is which stream is for what.

use simplenet_model::compute::{Draws, Isa, fill_normal_noise, normals};

/// What a stream of numbers is for; two purposes never share numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Purpose {
    /// Initial weights of adaptor and discriminator.
    Initialisation = 1,
    /// The noise that makes anomalous features of normal ones.
    Noise = 2,
    /// The order in which patches are visited.
    Order = 3,
    /// Which images are held out for the threshold.
    HeldOut = 4,
    /// The inputs that a model file keeps to be verified with.
    Golden = 5,
    /// The dimensions that PaDiM looks at.
    PadimDimensions = 6,
    /// The directions in which PatchCore chooses its memory bank.
    CoresetProjection = 7,
    /// The directions on which position statistics see wide features.
    PositionProjection = 8,
}

/// The seeded generator of one training run.
#[derive(Debug, Clone, Copy)]
pub struct Generator {
    key: [u32; 2],
}

impl Generator {
    /// The generator of a seed.
    pub fn new(seed: u64) -> Self {
        Self { key: [seed as u32, (seed >> 32) as u32] }
    }

    /// Four random words: block `index` of stream (`purpose`, `step`).
    pub fn block(&self, purpose: Purpose, step: u32, index: u64) -> [u32; 4] {
        self.draws(purpose, step).block(index)
    }

    /// The stream (`purpose`, `step`), as kernels take it.
    pub fn draws(&self, purpose: Purpose, step: u32) -> Draws {
        Draws { key: self.key, stream: [step, purpose as u32] }
    }

    /// Fills `out` with normal draws of standard deviation `sigma`: draw `i` depends on the seed, `step` and `i` only.
    pub fn fill_normal(&self, purpose: Purpose, step: u32, sigma: f32, out: &mut [f32]) {
        fill_normal_noise(Isa::detect(), self.draws(purpose, step), sigma, out);
    }

    /// A random order of `0..n` (Fisher-Yates).
    pub fn permutation(&self, purpose: Purpose, step: u32, n: usize) -> Vec<u32> {
        let mut order: Vec<u32> = (0..n as u32).collect();
        for i in (1..n).rev() {
            let [low, high, ..] = self.block(purpose, step, i as u64);
            let word = u64::from(low) | u64::from(high) << 32;
            // The high half of a 64x64-bit product is uniform in 0..=i up to a bias of i/2^64.
            let j = ((u128::from(word) * (i as u128 + 1)) >> 64) as usize;
            order.swap(i, j);
        }
        order
    }

    /// A sequential reader of one stream, for initialisation.
    pub fn stream(&self, purpose: Purpose) -> Stream {
        Stream { generator: *self, purpose, index: 0 }
    }
}

/// Draws one number after another from one stream.
#[derive(Debug, Clone)]
pub struct Stream {
    generator: Generator,
    purpose: Purpose,
    index: u64,
}

impl Stream {
    /// A standard normal draw.
    pub fn normal(&mut self) -> f32 {
        normals(self.next_block())[0]
    }

    /// A uniform draw in [0, 1).
    pub fn uniform(&mut self) -> f32 {
        (self.next_block()[0] >> 8) as f32 / (1u32 << 24) as f32
    }

    fn next_block(&mut self) -> [u32; 4] {
        let block = self.generator.block(self.purpose, 0, self.index);
        self.index += 1;
        block
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn normal_draws_have_the_right_moments_and_do_not_depend_on_the_length() {
        let generator = Generator::new(7);
        let mut draws = vec![0.0; 200_001];
        generator.fill_normal(Purpose::Noise, 3, 2.0, &mut draws);
        let n = draws.len() as f64;
        let moment = |p: i32| draws.iter().map(|&d| (f64::from(d) / 2.0).powi(p)).sum::<f64>() / n;
        // Standard errors at n = 2e5: 0.0022, 0.0032, 0.0087 and 0.022; five of them are allowed.
        for (p, want, allowed) in [(1, 0.0, 0.011), (2, 1.0, 0.016), (3, 0.0, 0.044), (4, 3.0, 0.11)] {
            assert!((moment(p) - want).abs() < allowed, "moment {p} is {}", moment(p));
        }
        let mut fewer = vec![0.0; 999];
        generator.fill_normal(Purpose::Noise, 3, 2.0, &mut fewer);
        assert_eq!(fewer, draws[..999]);
        let mut other = vec![0.0; 999];
        generator.fill_normal(Purpose::Noise, 4, 2.0, &mut other);
        assert_ne!(other, fewer, "another step must give other draws");
    }

    #[test]
    fn permutation_holds_every_index_once() {
        let generator = Generator::new(1);
        for n in [0, 1, 2, 17, 1000] {
            let mut order = generator.permutation(Purpose::Order, 0, n);
            if n == 1000 {
                assert_ne!(order, (0..1000).collect::<Vec<_>>());
                assert_ne!(order, generator.permutation(Purpose::Order, 1, n));
            }
            order.sort_unstable();
            assert_eq!(order, (0..n as u32).collect::<Vec<_>>());
        }
    }
}
