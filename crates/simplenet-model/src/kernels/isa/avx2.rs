//! AVX2 with fused multiply-add: vectors of eight lanes.

use std::arch::x86_64::*;

use super::{Simd, instructions};

/// AVX2 and FMA.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Avx2(());

/// These with products of four bytes (AVX-VNNI).
#[derive(Debug, Clone, Copy)]
pub(crate) struct Avx2Vnni(Avx2);

impl Avx2 {
    pub(crate) fn new() -> Option<Self> {
        (is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma")).then_some(Self(()))
    }
}

impl Avx2Vnni {
    pub(crate) fn new() -> Option<Self> {
        Avx2::new().filter(|_| is_x86_feature_detected!("avxvnni")).map(Self)
    }

    pub(crate) fn base(self) -> Avx2 {
        self.0
    }
}

macro_rules! token {
    ($name:ident, { $($products:tt)* }) => {
        impl Simd for $name {
            type Vector = __m256;
            type Words = __m256i;
            type Lanes = [f32; 8];
            type Halves = [f32; 4];
            type Bytes = [f32; 2];
            const LANES: usize = 8;
            const TILE_ROWS: usize = 6;

            instructions! {
                fn splat(value: f32) -> __m256 { _mm256_set1_ps(value) }
                fn read(from: &[f32; 8]) -> __m256 { _mm256_loadu_ps(from.as_ptr()) }
                fn write(to: &mut [f32; 8], value: __m256) { _mm256_storeu_ps(to.as_mut_ptr(), value) }
                fn add(a: __m256, b: __m256) -> __m256 { _mm256_add_ps(a, b) }
                fn subtract(a: __m256, b: __m256) -> __m256 { _mm256_sub_ps(a, b) }
                fn multiply(a: __m256, b: __m256) -> __m256 { _mm256_mul_ps(a, b) }
                fn max(a: __m256, b: __m256) -> __m256 { _mm256_max_ps(a, b) }
                fn min(a: __m256, b: __m256) -> __m256 { _mm256_min_ps(a, b) }
                fn multiply_add(a: __m256, b: __m256, c: __m256) -> __m256 { _mm256_fmadd_ps(a, b, c) }
                fn prefetch(from: *const f32) { _mm_prefetch::<_MM_HINT_T1>(from.cast()) }

                fn read_words(from: &[f32; 8]) -> __m256i { _mm256_loadu_si256(from.as_ptr().cast()) }
                fn splat_word(word: f32) -> __m256i { _mm256_set1_epi32(word.to_bits() as i32) }
                fn no_words() -> __m256i { _mm256_setzero_si256() }
                fn first_half(words: __m256i) -> __m256 { _mm256_castsi256_ps(_mm256_slli_epi32::<16>(words)) }
                fn second_half(words: __m256i) -> __m256 {
                    _mm256_castsi256_ps(_mm256_and_si256(words, _mm256_set1_epi32(-0x1_0000)))
                }
                fn to_f32(words: __m256i) -> __m256 { _mm256_cvtepi32_ps(words) }
                fn read_bf16(from: &[f32; 4]) -> __m256 {
                    let wide = _mm256_cvtepu16_epi32(_mm_loadu_si128(from.as_ptr().cast()));
                    _mm256_castsi256_ps(_mm256_slli_epi32::<16>(wide))
                }
                fn write_bf16(to: &mut [f32; 4], value: __m256) {
                    let bits = _mm256_castps_si256(value);
                    let upper = _mm256_srli_epi32::<16>(bits);
                    let even = _mm256_and_si256(upper, _mm256_set1_epi32(1));
                    let carry = _mm256_add_epi32(even, _mm256_set1_epi32(0x7fff));
                    let rounded = _mm256_srli_epi32::<16>(_mm256_add_epi32(bits, carry));
                    let not_a_number = _mm256_castps_si256(_mm256_cmp_ps::<_CMP_UNORD_Q>(value, value));
                    let kept = _mm256_or_si256(upper, _mm256_set1_epi32(0x40));
                    let halves = _mm256_blendv_epi8(rounded, kept, not_a_number);
                    let (low, high) = (_mm256_castsi256_si128(halves), _mm256_extracti128_si256::<1>(halves));
                    _mm_storeu_si128(to.as_mut_ptr().cast(), _mm_packus_epi32(low, high));
                }
                fn read_u8(from: &[f32; 2]) -> __m256 {
                    _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_loadl_epi64(from.as_ptr().cast())))
                }
                fn write_u8(to: &mut [f32; 2], value: __m256) {
                    // What is not a number becomes 0 by the first of these.
                    let value = _mm256_max_ps(value, _mm256_setzero_ps());
                    let wide = _mm256_cvtps_epi32(_mm256_min_ps(value, _mm256_set1_ps(255.0)));
                    let (low, high) = (_mm256_castsi256_si128(wide), _mm256_extracti128_si256::<1>(wide));
                    let half = _mm_packs_epi32(low, high);
                    _mm_storel_epi64(to.as_mut_ptr().cast(), _mm_packus_epi16(half, half));
                }
                $($products)*
            }
        }
    };
}

token!(Avx2, {
    fn add_byte_products(sum: __m256i, a: __m256i, b: __m256i) -> __m256i {
        // Bytes at even and at odd places become 16 bits wide, whose products of two fit.
        let (even, odd) = (_mm256_and_si256(a, _mm256_set1_epi16(0xff)), _mm256_srli_epi16::<8>(a));
        let (even_b, odd_b) = (_mm256_srai_epi16::<8>(_mm256_slli_epi16::<8>(b)), _mm256_srai_epi16::<8>(b));
        let products = _mm256_add_epi32(_mm256_madd_epi16(even, even_b), _mm256_madd_epi16(odd, odd_b));
        _mm256_add_epi32(sum, products)
    }
});

token!(Avx2Vnni, {
    fn add_byte_products(sum: __m256i, a: __m256i, b: __m256i) -> __m256i {
        _mm256_dpbusd_avx_epi32(sum, a, b)
    }
});
