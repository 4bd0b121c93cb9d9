//! The random draws of the bootstrap.
//!
//! Comes in: a seed and the number of a replicate. Goes out: a stream of its own, so that replicates can be
//! drawn in any order and on any thread.
//!
//! SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014), with the
//! constants of Vigna's reference code.

/// The golden ratio x 2^64, made odd: the step from one state to the next.
const STEP: u64 = 0x9E37_79B9_7F4A_7C15;

/// A stream of random numbers.
#[derive(Debug)]
pub(crate) struct SplitMix64 {
    state: u64,
}

impl SplitMix64 {
    /// The stream of one replicate, seeded with output number `replicate` of a stream seeded with `seed`: this
    /// is how the paper splits streams.
    pub(crate) fn of_replicate(seed: u64, replicate: usize) -> Self {
        let before = seed.wrapping_add(STEP.wrapping_mul(replicate as u64));
        let state = Self { state: before }.next();
        Self { state }
    }

    /// As many draws with replacement from `0..count` as there are numbers in it.
    pub(crate) fn resample(&mut self, count: usize, mut take: impl FnMut(usize)) {
        for _ in 0..count {
            take(self.below(count));
        }
    }

    /// The next 64 random bits.
    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(STEP);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number in `0..end`, each equally likely; `end` > 0. (Lemire, "Fast random integer generation in an
    /// interval", ACM TOMACS 29, 2019.)
    fn below(&mut self, end: usize) -> usize {
        let end = end as u64;
        // 2^64 mod end: so many of the products' low halves would make some results likelier.
        let uneven = end.wrapping_neg() % end;
        loop {
            let product = u128::from(self.next()) * u128::from(end);
            if product as u64 >= uneven {
                return (product >> 64) as usize;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_outputs_are_those_of_the_reference_code() {
        let mut stream = SplitMix64 { state: 1_234_567 };
        let got = [stream.next(), stream.next(), stream.next()];
        assert_eq!(got, [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423]);
    }

    #[test]
    fn streams_are_the_outputs_of_the_seed() {
        let mut seeds = SplitMix64 { state: 42 };
        for replicate in 0..5 {
            assert_eq!(SplitMix64::of_replicate(42, replicate).state, seeds.next());
        }
    }

    #[test]
    fn draws_are_even() {
        const COUNT: usize = 7;
        const ROUNDS: usize = 10_000;
        let mut hits = [0; COUNT];
        let mut stream = SplitMix64::of_replicate(0, 0);
        (0..ROUNDS).for_each(|_| stream.resample(COUNT, |index| hits[index] += 1));
        // The standard deviation of each count is sqrt(70 000 x 1/7 x 6/7) = 93.
        assert!(hits.iter().all(|&hits: &i32| (hits - ROUNDS as i32).abs() < 5 * 93), "{hits:?}");
        stream.resample(0, |index| panic!("nothing to draw, but {index} came"));
    }
}
