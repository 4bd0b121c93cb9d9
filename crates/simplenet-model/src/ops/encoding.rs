//! How activations are kept in memory between layers: f32, bf16, or bytes of a fixed step.
//!
//! Buffers are slices of f32 as units of memory, four bytes each ("words"): a word is one f32, two bf16 or four bytes. A
//! pixel begins at a word. Numbers are worked on in f32; what is stored is rounded to the nearest (ties to even), the same
//! on every instruction set.

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::*;

#[cfg(target_arch = "x86_64")]
use super::simd::{Avx2, Avx512};
use super::simd::{MAX_LANES, Plain, Simd, for_each_isa};
use super::{Isa, channels_last::lanes};

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
    pub(crate) fn in_a_word(self) -> usize {
        match self {
            Self::F32 => 1,
            Self::Bf16 => 2,
            Self::U8 { .. } => 4,
        }
    }

    /// Words of so many numbers.
    pub(crate) fn words(self, numbers: usize) -> usize {
        numbers.div_ceil(self.in_a_word())
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
    let in_a_word = encoding.in_a_word();
    let bytes = words[at / in_a_word].to_bits() >> (at % in_a_word * 32 / in_a_word);
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

/// Loads and stores of encoded numbers, and the integer operations that products of them need, for one instruction set.
///
/// # Safety
/// As [`Simd`]: the features of the type's instruction set are enabled, and `LANES` numbers of the encoding are at the
/// pointer, of any alignment.
pub(crate) trait Encoded: Simd {
    /// As many words as a vector has lanes.
    type Words: Copy;
    unsafe fn load_words(from: *const f32) -> Self::Words;
    /// One word in every lane.
    unsafe fn splat_word(from: *const f32) -> Self::Words;
    unsafe fn no_words() -> Self::Words;
    /// The first bf16 of each word.
    unsafe fn first_half(words: Self::Words) -> Self::Vector;
    /// The second bf16 of each word.
    unsafe fn second_half(words: Self::Words) -> Self::Vector;
    /// Of each word the sum of four products, of a byte in `a` and a signed byte in `b`, added to `sum`.
    unsafe fn add_byte_products(sum: Self::Words, a: Self::Words, b: Self::Words) -> Self::Words;
    /// Words as integers with a sign.
    unsafe fn to_f32(words: Self::Words) -> Self::Vector;
    unsafe fn load_bf16(from: *const u16) -> Self::Vector;
    unsafe fn store_bf16(to: *mut u16, value: Self::Vector);
    unsafe fn load_u8(from: *const u8) -> Self::Vector;
    /// Rounds, and keeps within 0 and 255.
    unsafe fn store_u8(to: *mut u8, value: Self::Vector);
}

/// The bf16 nearest to a number; what is not a number stays so.
pub(crate) fn bf16(value: f32) -> u16 {
    let bits = value.to_bits();
    match value.is_nan() {
        true => (bits >> 16) as u16 | 0x40,
        false => (bits.wrapping_add(0x7fff + (bits >> 16 & 1)) >> 16) as u16,
    }
}

impl Encoded for Plain {
    type Words = [u32; 4];

    #[inline(always)]
    unsafe fn load_words(from: *const f32) -> Self::Words {
        // SAFETY: the trait's contract.
        unsafe { from.cast::<[u32; 4]>().read_unaligned() }
    }

    #[inline(always)]
    unsafe fn splat_word(from: *const f32) -> Self::Words {
        // SAFETY: the trait's contract.
        [unsafe { from.cast::<u32>().read_unaligned() }; 4]
    }

    #[inline(always)]
    unsafe fn no_words() -> Self::Words {
        [0; 4]
    }

    #[inline(always)]
    unsafe fn first_half(words: Self::Words) -> Self::Vector {
        words.map(|word| f32::from_bits(word << 16))
    }

    #[inline(always)]
    unsafe fn second_half(words: Self::Words) -> Self::Vector {
        words.map(|word| f32::from_bits(word & 0xffff_0000))
    }

    #[inline(always)]
    unsafe fn add_byte_products(sum: Self::Words, a: Self::Words, b: Self::Words) -> Self::Words {
        std::array::from_fn(|i| {
            let products = a[i].to_le_bytes().into_iter().zip(b[i].to_le_bytes());
            let added: i32 = products.map(|(a, b)| i32::from(a) * i32::from(b as i8)).sum();
            sum[i].wrapping_add(added as u32)
        })
    }

    #[inline(always)]
    unsafe fn to_f32(words: Self::Words) -> Self::Vector {
        words.map(|word| word as i32 as f32)
    }

    #[inline(always)]
    unsafe fn load_bf16(from: *const u16) -> Self::Vector {
        // SAFETY: the trait's contract.
        unsafe { from.cast::<[u16; 4]>().read_unaligned() }.map(|half| f32::from_bits(u32::from(half) << 16))
    }

    #[inline(always)]
    unsafe fn store_bf16(to: *mut u16, value: Self::Vector) {
        // SAFETY: the trait's contract.
        unsafe { to.cast::<[u16; 4]>().write_unaligned(value.map(bf16)) }
    }

    #[inline(always)]
    unsafe fn load_u8(from: *const u8) -> Self::Vector {
        // SAFETY: the trait's contract.
        unsafe { from.cast::<[u8; 4]>().read_unaligned() }.map(f32::from)
    }

    #[inline(always)]
    unsafe fn store_u8(to: *mut u8, value: Self::Vector) {
        // SAFETY: the trait's contract. The conversion keeps within 0 and 255 by itself.
        unsafe { to.cast::<[u8; 4]>().write_unaligned(value.map(|v| v.round_ties_even() as u8)) }
    }
}

#[cfg(target_arch = "x86_64")]
impl Encoded for Avx2 {
    type Words = __m256i;

    #[inline(always)]
    unsafe fn load_words(from: *const f32) -> Self::Words {
        // SAFETY: the trait's contract.
        unsafe { _mm256_loadu_si256(from.cast()) }
    }

    #[inline(always)]
    unsafe fn splat_word(from: *const f32) -> Self::Words {
        // SAFETY: the trait's contract.
        unsafe { _mm256_set1_epi32(from.cast::<i32>().read_unaligned()) }
    }

    #[inline(always)]
    unsafe fn no_words() -> Self::Words {
        // SAFETY: the trait's contract.
        unsafe { _mm256_setzero_si256() }
    }

    #[inline(always)]
    unsafe fn first_half(words: Self::Words) -> Self::Vector {
        // SAFETY: the trait's contract.
        unsafe { _mm256_castsi256_ps(_mm256_slli_epi32::<16>(words)) }
    }

    #[inline(always)]
    unsafe fn second_half(words: Self::Words) -> Self::Vector {
        // SAFETY: the trait's contract.
        unsafe { _mm256_castsi256_ps(_mm256_and_si256(words, _mm256_set1_epi32(-0x1_0000))) }
    }

    #[inline(always)]
    unsafe fn add_byte_products(sum: Self::Words, a: Self::Words, b: Self::Words) -> Self::Words {
        // SAFETY: the trait's contract. Bytes at even and at odd places become 16 bits wide, whose products of two fit.
        unsafe {
            let (even, odd) = (_mm256_and_si256(a, _mm256_set1_epi16(0xff)), _mm256_srli_epi16::<8>(a));
            let (even_b, odd_b) =
                (_mm256_srai_epi16::<8>(_mm256_slli_epi16::<8>(b)), _mm256_srai_epi16::<8>(b));
            let products = _mm256_add_epi32(_mm256_madd_epi16(even, even_b), _mm256_madd_epi16(odd, odd_b));
            _mm256_add_epi32(sum, products)
        }
    }

    #[inline(always)]
    unsafe fn to_f32(words: Self::Words) -> Self::Vector {
        // SAFETY: the trait's contract.
        unsafe { _mm256_cvtepi32_ps(words) }
    }

    #[inline(always)]
    unsafe fn load_bf16(from: *const u16) -> Self::Vector {
        // SAFETY: the trait's contract.
        unsafe {
            let wide = _mm256_cvtepu16_epi32(_mm_loadu_si128(from.cast()));
            _mm256_castsi256_ps(_mm256_slli_epi32::<16>(wide))
        }
    }

    #[inline(always)]
    unsafe fn store_bf16(to: *mut u16, value: Self::Vector) {
        // SAFETY: the trait's contract.
        unsafe {
            let bits = _mm256_castps_si256(value);
            let upper = _mm256_srli_epi32::<16>(bits);
            let even = _mm256_and_si256(upper, _mm256_set1_epi32(1));
            let carry = _mm256_add_epi32(even, _mm256_set1_epi32(0x7fff));
            let rounded = _mm256_srli_epi32::<16>(_mm256_add_epi32(bits, carry));
            let not_a_number = _mm256_castps_si256(_mm256_cmp_ps::<_CMP_UNORD_Q>(value, value));
            let kept = _mm256_or_si256(upper, _mm256_set1_epi32(0x40));
            let halves = _mm256_blendv_epi8(rounded, kept, not_a_number);
            let (low, high) = (_mm256_castsi256_si128(halves), _mm256_extracti128_si256::<1>(halves));
            _mm_storeu_si128(to.cast(), _mm_packus_epi32(low, high));
        }
    }

    #[inline(always)]
    unsafe fn load_u8(from: *const u8) -> Self::Vector {
        // SAFETY: the trait's contract.
        unsafe { _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_loadl_epi64(from.cast()))) }
    }

    #[inline(always)]
    unsafe fn store_u8(to: *mut u8, value: Self::Vector) {
        // SAFETY: the trait's contract.
        unsafe {
            // What is not a number becomes 0 by the first of these.
            let value = _mm256_max_ps(value, _mm256_setzero_ps());
            let wide = _mm256_cvtps_epi32(_mm256_min_ps(value, _mm256_set1_ps(255.0)));
            let (low, high) = (_mm256_castsi256_si128(wide), _mm256_extracti128_si256::<1>(wide));
            let half = _mm_packs_epi32(low, high);
            _mm_storel_epi64(to.cast(), _mm_packus_epi16(half, half));
        }
    }
}

#[cfg(target_arch = "x86_64")]
impl Encoded for Avx512 {
    type Words = __m512i;

    #[inline(always)]
    unsafe fn load_words(from: *const f32) -> Self::Words {
        // SAFETY: the trait's contract.
        unsafe { _mm512_loadu_si512(from.cast()) }
    }

    #[inline(always)]
    unsafe fn splat_word(from: *const f32) -> Self::Words {
        // SAFETY: the trait's contract.
        unsafe { _mm512_set1_epi32(from.cast::<i32>().read_unaligned()) }
    }

    #[inline(always)]
    unsafe fn no_words() -> Self::Words {
        // SAFETY: the trait's contract.
        unsafe { _mm512_setzero_si512() }
    }

    #[inline(always)]
    unsafe fn first_half(words: Self::Words) -> Self::Vector {
        // SAFETY: the trait's contract.
        unsafe { _mm512_castsi512_ps(_mm512_slli_epi32::<16>(words)) }
    }

    #[inline(always)]
    unsafe fn second_half(words: Self::Words) -> Self::Vector {
        // SAFETY: the trait's contract.
        unsafe { _mm512_castsi512_ps(_mm512_and_si512(words, _mm512_set1_epi32(-0x1_0000))) }
    }

    #[inline(always)]
    unsafe fn add_byte_products(sum: Self::Words, a: Self::Words, b: Self::Words) -> Self::Words {
        // SAFETY: the trait's contract. As for AVX2.
        unsafe {
            let (even, odd) = (_mm512_and_si512(a, _mm512_set1_epi16(0xff)), _mm512_srli_epi16::<8>(a));
            let (even_b, odd_b) =
                (_mm512_srai_epi16::<8>(_mm512_slli_epi16::<8>(b)), _mm512_srai_epi16::<8>(b));
            let products = _mm512_add_epi32(_mm512_madd_epi16(even, even_b), _mm512_madd_epi16(odd, odd_b));
            _mm512_add_epi32(sum, products)
        }
    }

    #[inline(always)]
    unsafe fn to_f32(words: Self::Words) -> Self::Vector {
        // SAFETY: the trait's contract.
        unsafe { _mm512_cvtepi32_ps(words) }
    }

    #[inline(always)]
    unsafe fn load_bf16(from: *const u16) -> Self::Vector {
        // SAFETY: the trait's contract.
        unsafe {
            let wide = _mm512_cvtepu16_epi32(_mm256_loadu_si256(from.cast()));
            _mm512_castsi512_ps(_mm512_slli_epi32::<16>(wide))
        }
    }

    #[inline(always)]
    unsafe fn store_bf16(to: *mut u16, value: Self::Vector) {
        // SAFETY: the trait's contract.
        unsafe {
            let bits = _mm512_castps_si512(value);
            let upper = _mm512_srli_epi32::<16>(bits);
            let even = _mm512_and_si512(upper, _mm512_set1_epi32(1));
            let carry = _mm512_add_epi32(even, _mm512_set1_epi32(0x7fff));
            let rounded = _mm512_srli_epi32::<16>(_mm512_add_epi32(bits, carry));
            let not_a_number = _mm512_cmp_ps_mask::<_CMP_UNORD_Q>(value, value);
            let halves = _mm512_mask_or_epi32(rounded, not_a_number, upper, _mm512_set1_epi32(0x40));
            _mm256_storeu_si256(to.cast(), _mm512_cvtepi32_epi16(halves));
        }
    }

    #[inline(always)]
    unsafe fn load_u8(from: *const u8) -> Self::Vector {
        // SAFETY: the trait's contract.
        unsafe { _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_loadu_si128(from.cast()))) }
    }

    #[inline(always)]
    unsafe fn store_u8(to: *mut u8, value: Self::Vector) {
        // SAFETY: the trait's contract.
        unsafe {
            // What is not a number becomes 0 by the first of these.
            let value = _mm512_max_ps(value, _mm512_setzero_ps());
            let wide = _mm512_cvtps_epi32(_mm512_min_ps(value, _mm512_set1_ps(255.0)));
            _mm_storeu_si128(to.cast(), _mm512_cvtepi32_epi8(wide));
        }
    }
}

/// The number at place `at` of a buffer.
///
/// # Safety
/// The caller has the features that `V` needs; `from` holds `LANES` numbers of that encoding from place `at` on.
#[inline(always)]
pub(crate) unsafe fn load<V: Encoded>(from: *const u8, at: usize, encoding: Encoding) -> V::Vector {
    // SAFETY: the caller's promise.
    unsafe {
        match encoding {
            Encoding::F32 => V::load(from.cast::<f32>().add(at)),
            Encoding::Bf16 => V::load_bf16(from.cast::<u16>().add(at)),
            Encoding::U8 { step, zero } => {
                let value = V::load_u8(from.add(at));
                V::multiply(V::splat(step), V::subtract(value, V::splat(f32::from(zero))))
            }
        }
    }
}

/// Stores numbers at place `at` of a buffer.
///
/// # Safety
/// As for [`load`]; they may be written.
#[inline(always)]
pub(crate) unsafe fn store<V: Encoded>(to: *mut u8, at: usize, encoding: Encoding, value: V::Vector) {
    // SAFETY: the caller's promise.
    unsafe {
        match encoding {
            Encoding::F32 => V::store(to.cast::<f32>().add(at), value),
            Encoding::Bf16 => V::store_bf16(to.cast::<u16>().add(at), value),
            Encoding::U8 { step, zero } => {
                // Not fused, so that every instruction set rounds alike.
                let scaled = V::add(V::multiply(V::splat(1.0 / step), value), V::splat(f32::from(zero)));
                V::store_u8(to.add(at), scaled);
            }
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
    let isa = isa.or_lower();
    assert!(count.is_multiple_of(lanes(isa)), "{count} numbers are not whole vectors of {}", lanes(isa));
    assert!(from.len() >= encoding.words(count) && to.len() >= wanted.words(count));
    // SAFETY: the machine has `isa`, whose lanes divide the count; both slices hold that many.
    unsafe { convert_of(isa, count, from.as_ptr().cast(), encoding, to.as_mut_ptr().cast(), wanted) }
}

for_each_isa! {
    /// # Safety
    /// The machine has `isa`, whose lanes divide the count; both buffers hold that many numbers.
    convert_of => each(count: usize, from: *const u8, encoding: Encoding, to: *mut u8, wanted: Encoding) -> ()
}

#[inline(always)]
unsafe fn each<V: Encoded>(count: usize, from: *const u8, encoding: Encoding, to: *mut u8, wanted: Encoding) {
    const { assert!(V::LANES <= MAX_LANES) };
    for at in (0..count).step_by(V::LANES) {
        // SAFETY: the caller's contract.
        unsafe { store::<V>(to, at, wanted, load::<V>(from, at, encoding)) };
    }
}

/// The numbers of a buffer, for tests.
#[cfg(test)]
pub(crate) fn decode(words: &[f32], encoding: Encoding) -> Vec<f32> {
    (0..words.len() * encoding.in_a_word()).map(|at| number(words, at, encoding)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::numbers;

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
