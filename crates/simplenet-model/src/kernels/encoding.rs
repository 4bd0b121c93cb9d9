//! How activations are kept in memory between layers: f32, bf16, or bytes of a fixed step.
//!
//! Buffers are slices of f32 as units of memory, four bytes each ("words"): a word is one f32, two bf16 or four bytes. A
//! pixel begins at a word. Numbers are worked on in f32; what is stored is rounded to the nearest (ties to even), the same
//! on every instruction set.

use super::{
    Isa,
    isa::{Block, Simd, for_each_isa},
};

/// How one number is kept.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Encoding {
    /// As it is.
    F32,
    /// The upper half of an f32.
    Bf16,
    /// step · (byte − zero): numbers from −zero · step to (255 − zero) · step, others at the nearer end.
    U8 {
        /// Above 0.
        step: f32,
        /// The byte that stands for 0.
        zero: u8,
    },
}

impl Encoding {
    /// Bytes for numbers from 0 to `largest`.
    pub(crate) fn up_to(largest: f32) -> Self {
        Self::U8 { step: step(largest, 255.0), zero: 0 }
    }

    /// Bytes for numbers from about −`largest` to `largest`.
    pub(crate) fn around_zero(largest: f32) -> Self {
        Self::U8 { step: step(largest, 127.0), zero: 128 }
    }

    /// Numbers in a word.
    pub(crate) fn per_word(self) -> usize {
        match self {
            Self::F32 => 1,
            Self::Bf16 => 2,
            Self::U8 { .. } => 4,
        }
    }

    /// Words of so many numbers.
    pub(crate) fn words(self, numbers: usize) -> usize {
        numbers.div_ceil(self.per_word())
    }
}

/// Encodings by number, for kernels that are compiled once for each; bytes as they are.
pub(crate) const RAW: [Encoding; 3] = [Encoding::F32, Encoding::Bf16, Encoding::U8 { step: 1.0, zero: 0 }];

/// Where an encoding stands in [`RAW`].
pub(crate) fn raw(encoding: Encoding) -> usize {
    match encoding {
        Encoding::F32 => 0,
        Encoding::Bf16 => 1,
        Encoding::U8 { .. } => 2,
    }
}

/// The number at place `at` of a buffer.
pub(crate) fn number(words: &[f32], at: usize, encoding: Encoding) -> f32 {
    let per_word = encoding.per_word();
    let bytes = words[at / per_word].to_bits() >> (at % per_word * 32 / per_word);
    match encoding {
        Encoding::F32 => f32::from_bits(bytes),
        Encoding::Bf16 => f32::from_bits(bytes << 16),
        Encoding::U8 { step, zero } => step * (f32::from(bytes as u8) - f32::from(zero)),
    }
}

/// A step above 0, also for a layer that was never anything but 0.
fn step(largest: f32, steps: f32) -> f32 {
    if largest > 0.0 && largest.is_finite() { largest / steps } else { 1.0 }
}

/// The bf16 nearest to a number; what is not a number stays so.
pub(crate) fn bf16(value: f32) -> u16 {
    let bits = value.to_bits();
    if value.is_nan() {
        (bits >> 16) as u16 | 0x40
    } else {
        (bits.wrapping_add(0x7fff + (bits >> 16 & 1)) >> 16) as u16
    }
}

/// The vector at place `at` of a buffer of words, a multiple of the lanes.
///
/// # Panics
/// A buffer that ends before.
#[inline(always)]
pub(crate) fn load<S: Simd>(simd: S, words: &[f32], at: usize, encoding: Encoding) -> S::Vector {
    let words = &words[at / encoding.per_word()..];
    match encoding {
        Encoding::F32 => simd.load(words),
        Encoding::Bf16 => simd.read_bf16(Block::first(words)),
        Encoding::U8 { step, zero } => {
            let value = simd.read_u8(Block::first(words));
            simd.multiply(simd.splat(step), simd.subtract(value, simd.splat(f32::from(zero))))
        }
    }
}

/// Stores a vector at place `at` of a buffer of words, a multiple of the lanes.
///
/// # Panics
/// A buffer that ends before.
#[inline(always)]
pub(crate) fn store<S: Simd>(simd: S, words: &mut [f32], at: usize, encoding: Encoding, value: S::Vector) {
    let words = &mut words[at / encoding.per_word()..];
    match encoding {
        Encoding::F32 => simd.store(words, value),
        Encoding::Bf16 => simd.write_bf16(Block::first_mut(words), value),
        Encoding::U8 { step, zero } => {
            // Not fused, so that every instruction set rounds alike.
            let scaled = simd.add(simd.multiply(simd.splat(1.0 / step), value), simd.splat(f32::from(zero)));
            simd.write_u8(Block::first_mut(words), scaled);
        }
    }
}

/// Writes `count` numbers, whole vectors of `isa`, from one encoding into another. Runs on this thread alone.
///
/// # Panics
/// A count that is not whole vectors; slices without room for that many numbers.
pub(crate) fn convert(
    isa: Isa,
    count: usize,
    from: &[f32],
    encoding: Encoding,
    to: &mut [f32],
    wanted: Encoding,
) {
    let token = isa.token();
    assert!(
        count.is_multiple_of(token.lanes()),
        "{count} numbers are not whole vectors of {}",
        token.lanes()
    );
    let (from, to) = (&from[..encoding.words(count)], &mut to[..wanted.words(count)]);
    convert_vectors(token, count, from, encoding, to, wanted);
}

for_each_isa! {
    fn convert_vectors(count: usize, from: &[f32], encoding: Encoding, to: &mut [f32], wanted: Encoding) => each
}

#[inline(always)]
fn each<S: Simd>(simd: S, count: usize, from: &[f32], encoding: Encoding, to: &mut [f32], wanted: Encoding) {
    for at in (0..count).step_by(S::LANES) {
        store(simd, to, at, wanted, load(simd, from, at, encoding));
    }
}

/// The numbers of a buffer, for tests.
#[cfg(test)]
pub(crate) fn decode(words: &[f32], encoding: Encoding) -> Vec<f32> {
    (0..words.len() * encoding.per_word()).map(|at| number(words, at, encoding)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::numbers;

    /// What a byte or a half may be off by.
    fn tolerance(encoding: Encoding, value: f32) -> f32 {
        match encoding {
            Encoding::F32 => 0.0,
            Encoding::Bf16 => value.abs() / 256.0,
            Encoding::U8 { step, .. } => step * 0.5001,
        }
    }

    #[test]
    fn numbers_come_back_within_half_a_step_and_the_same_on_every_instruction_set() {
        let encodings = [Encoding::F32, Encoding::Bf16, Encoding::up_to(1.0), Encoding::around_zero(1.0)];
        for encoding in encodings {
            let mut values = numbers(64, 5);
            if matches!(encoding, Encoding::U8 { zero: 0, .. }) {
                values.iter_mut().for_each(|v| *v = v.abs());
            }
            values[..3].copy_from_slice(&[0.0, 1.0, 0.5]);
            let mut first: Option<Vec<f32>> = None;
            for isa in Isa::available() {
                let mut stored = vec![0.0; encoding.words(64)];
                convert(isa, 64, &values, Encoding::F32, &mut stored, encoding);
                let mut back = vec![f32::NAN; 64];
                convert(isa, 64, &stored, encoding, &mut back, Encoding::F32);
                for (value, back) in values.iter().zip(&back) {
                    assert!((value - back).abs() <= tolerance(encoding, *value), "{isa:?} {encoding:?}");
                }
                assert_eq!(decode(&stored, encoding), back);
                assert_eq!(*first.get_or_insert(back.clone()), back, "{isa:?} {encoding:?}");
            }
        }
    }

    #[test]
    fn what_does_not_fit_is_kept_at_the_ends() {
        let values: Vec<f32> =
            [300.0, -300.0, f32::INFINITY, f32::NEG_INFINITY, 3e38, 1e10, -1e10, 255.4].repeat(2);
        for isa in Isa::available() {
            let mut stored = vec![0.0; 4];
            convert(isa, 16, &values, Encoding::F32, &mut stored, Encoding::U8 { step: 1.0, zero: 0 });
            let want = [255.0, 0.0, 255.0, 0.0, 255.0, 255.0, 0.0, 255.0].repeat(2);
            assert_eq!(decode(&stored, Encoding::U8 { step: 1.0, zero: 0 }), want, "{isa:?}");
            let values: Vec<f32> = [f32::NAN, f32::INFINITY, f32::MAX, -0.0].repeat(4);
            let mut stored = vec![0.0; 8];
            convert(isa, 16, &values, Encoding::F32, &mut stored, Encoding::Bf16);
            let got = decode(&stored, Encoding::Bf16);
            assert!(got[0].is_nan() && got[1] == f32::INFINITY && got[2] == f32::INFINITY, "{isa:?} {got:?}");
        }
    }

    #[test]
    fn rounding_goes_to_the_even_neighbour() {
        assert_eq!(bf16(f32::from_bits(0x3f80_8000)), 0x3f80);
        assert_eq!(bf16(f32::from_bits(0x3f81_8000)), 0x3f82);
        assert_eq!(bf16(f32::from_bits(0x3f80_8001)), 0x3f81);
    }
}
