//! A small seeded generator for augmentation and for the synthetic demo.
//!
//! In: a 64-bit seed. Out: the same stream of numbers on every machine and in every release. It is
//! SplitMix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number generators", OOPSLA 2014): eight
//! bytes of state, good enough for drawing pictures, not for cryptography.

/// Step of the underlying counter: 2^64 divided by the golden ratio, made odd.
const GOLDEN_GAMMA: u64 = 0x9E37_79B9_7F4A_7C15;

/// SplitMix64: a counter whose values are scrambled.
#[derive(Debug, Clone)]
pub struct SplitMix64 {
    state: u64,
}

impl SplitMix64 {
    /// A generator whose stream depends on `seed` alone.
    pub fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// A generator for one item of a seeded whole (an image, an epoch, a category): streams of different
    /// `stream` numbers are unrelated, so adding an item does not change the others.
    pub fn for_stream(seed: u64, stream: u64) -> Self {
        Self { state: scramble(seed ^ scramble(stream.wrapping_add(GOLDEN_GAMMA))) }
    }

    /// The next 64 random bits.
    pub fn next_u64(&mut self) -> u64 {
        self.state = self.state.wrapping_add(GOLDEN_GAMMA);
        scramble(self.state)
    }

    /// Uniform in [0, 1), 53 bits of resolution.
    pub fn uniform_f64(&mut self) -> f64 {
        (self.next_u64() >> 11) as f64 * (1.0 / (1u64 << 53) as f64)
    }

    /// Uniform between `low` and `high`; `low` itself when the two are equal.
    pub fn range(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.uniform_f64()
    }

    /// Uniform among 0, 1, …, `count - 1`; 0 when `count` is 0 or 1.
    pub fn below(&mut self, count: usize) -> usize {
        // The high half of a 128-bit product; its bias, below count / 2^64, is of no interest here.
        ((self.next_u64() as u128 * count as u128) >> 64) as usize
    }

    /// True with the given probability: never at 0 (or below), always at 1 (or above).
    pub fn chance(&mut self, probability: f64) -> bool {
        self.uniform_f64() < probability
    }

    /// Gaussian with the given mean and standard deviation (Box and Muller 1958; one of the pair is used, so
    /// that every call consumes the same two numbers of the stream).
    pub fn normal(&mut self, mean: f64, standard_deviation: f64) -> f64 {
        let radius = (-2.0 * (1.0 - self.uniform_f64()).ln()).sqrt();
        let angle = std::f64::consts::TAU * self.uniform_f64();
        mean + standard_deviation * radius * angle.cos()
    }

    /// A uniformly random order of `items`, in place (Fisher and Yates).
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last + 1));
        }
    }
}

fn scramble(counter: u64) -> u64 {
    let z = (counter ^ (counter >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_stream_of_seed_1234567() {
        // Published test vector of SplitMix64.
        let mut rng = SplitMix64::new(1_234_567);
        let got: Vec<u64> = (0..3).map(|_| rng.next_u64()).collect();
        assert_eq!(got, [6457827717110365317, 3203168211198807973, 9817491932198370423]);
    }

    #[test]
    fn numbers_stay_in_their_ranges_with_the_right_moments() {
        let mut rng = SplitMix64::new(7);
        let (mut sum, mut normal_sum, mut normal_squares) = (0.0, 0.0, 0.0);
        let count = 20_000;
        for _ in 0..count {
            let uniform = rng.uniform_f64();
            assert!((0.0..1.0).contains(&uniform));
            assert!((-3.0..5.0).contains(&rng.range(-3.0, 5.0)));
            assert!(rng.below(7) < 7);
            sum += uniform;
            let normal = rng.normal(2.0, 3.0);
            normal_sum += normal;
            normal_squares += (normal - 2.0) * (normal - 2.0);
        }
        let count = f64::from(count);
        // Five standard errors.
        assert!((sum / count - 0.5).abs() < 0.011, "mean {}", sum / count);
        assert!((normal_sum / count - 2.0).abs() < 0.11);
        assert!((normal_squares / count - 9.0).abs() < 0.45);
    }

    #[test]
    fn edges() {
        let mut rng = SplitMix64::new(1);
        assert!((0..100).all(|_| !rng.chance(0.0)));
        assert!((0..100).all(|_| rng.chance(1.0)));
        assert_eq!((rng.below(0), rng.below(1)), (0, 0));
        assert_eq!(rng.range(4.0, 4.0), 4.0);
    }

    #[test]
    fn streams_differ_and_repeat() {
        let first = |seed, stream| SplitMix64::for_stream(seed, stream).next_u64();
        assert_eq!(first(1, 2), first(1, 2));
        let all = [first(0, 0), first(0, 1), first(1, 0), first(1, 1)];
        assert!((1..4).all(|i| !all[..i].contains(&all[i])), "{all:?}");
    }

    #[test]
    fn shuffle_keeps_every_item() {
        let mut items: Vec<u32> = (0..50).collect();
        SplitMix64::new(3).shuffle(&mut items);
        assert_ne!(items, (0..50).collect::<Vec<_>>());
        items.sort_unstable();
        assert_eq!(items, (0..50).collect::<Vec<_>>());
    }
}
