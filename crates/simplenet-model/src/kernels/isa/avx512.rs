//! AVX-512: vectors of sixteen lanes.

use std::arch::x86_64::*;

use super::{Avx2, Simd, instructions};

/// AVX-512 F, VL, BW and DQ, and AVX2 and FMA.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Avx512(());

/// These with products of four bytes (VNNI).
#[derive(Debug, Clone, Copy)]
pub(crate) struct Avx512Vnni(Avx512);

/// These with products of two bf16.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Avx512Bf16(Avx512Vnni);

impl Avx512 {
    pub(crate) fn new() -> Option<Self> {
        let all = Avx2::new().is_some()
            && is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512vl")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512dq");
        all.then_some(Self(()))
    }
}

impl Avx512Vnni {
    pub(crate) fn new() -> Option<Self> {
        Avx512::new().filter(|_| is_x86_feature_detected!("avx512vnni")).map(Self)
    }

    pub(crate) fn base(self) -> Avx512 {
        self.0
    }
}

impl Avx512Bf16 {
    pub(crate) fn new() -> Option<Self> {
        Avx512Vnni::new().filter(|_| is_x86_feature_detected!("avx512bf16")).map(Self)
    }

    pub(crate) fn base(self) -> Avx512 {
        self.0.base()
    }
}

macro_rules! token {
    ($name:ident, { $($products:tt)* }) => {
        impl Simd for $name {
            type Vector = __m512;
            type Words = __m512i;
            type Lanes = [f32; 16];
            type Halves = [f32; 8];
            type Bytes = [f32; 4];
            const LANES: usize = 16;
            const TILE_ROWS: usize = 11;

            instructions! {
                fn splat(value: f32) -> __m512 { _mm512_set1_ps(value) }
                fn read(from: &[f32; 16]) -> __m512 { _mm512_loadu_ps(from.as_ptr()) }
                fn write(to: &mut [f32; 16], value: __m512) { _mm512_storeu_ps(to.as_mut_ptr(), value) }
                fn add(a: __m512, b: __m512) -> __m512 { _mm512_add_ps(a, b) }
                fn subtract(a: __m512, b: __m512) -> __m512 { _mm512_sub_ps(a, b) }
                fn multiply(a: __m512, b: __m512) -> __m512 { _mm512_mul_ps(a, b) }
                fn max(a: __m512, b: __m512) -> __m512 { _mm512_max_ps(a, b) }
                fn min(a: __m512, b: __m512) -> __m512 { _mm512_min_ps(a, b) }
                fn multiply_add(a: __m512, b: __m512, c: __m512) -> __m512 { _mm512_fmadd_ps(a, b, c) }
                fn prefetch(from: *const f32) { _mm_prefetch::<_MM_HINT_T1>(from.cast()) }

                fn read_words(from: &[f32; 16]) -> __m512i { _mm512_loadu_si512(from.as_ptr().cast()) }
                fn splat_word(word: f32) -> __m512i { _mm512_set1_epi32(word.to_bits() as i32) }
                fn no_words() -> __m512i { _mm512_setzero_si512() }
                fn first_half(words: __m512i) -> __m512 { _mm512_castsi512_ps(_mm512_slli_epi32::<16>(words)) }
                fn second_half(words: __m512i) -> __m512 {
                    _mm512_castsi512_ps(_mm512_and_si512(words, _mm512_set1_epi32(-0x1_0000)))
                }
                fn to_f32(words: __m512i) -> __m512 { _mm512_cvtepi32_ps(words) }
                fn read_bf16(from: &[f32; 8]) -> __m512 {
                    let wide = _mm512_cvtepu16_epi32(_mm256_loadu_si256(from.as_ptr().cast()));
                    _mm512_castsi512_ps(_mm512_slli_epi32::<16>(wide))
                }
                fn write_bf16(to: &mut [f32; 8], value: __m512) {
                    let bits = _mm512_castps_si512(value);
                    let upper = _mm512_srli_epi32::<16>(bits);
                    let even = _mm512_and_si512(upper, _mm512_set1_epi32(1));
                    let carry = _mm512_add_epi32(even, _mm512_set1_epi32(0x7fff));
                    let rounded = _mm512_srli_epi32::<16>(_mm512_add_epi32(bits, carry));
                    let not_a_number = _mm512_cmp_ps_mask::<_CMP_UNORD_Q>(value, value);
                    let halves = _mm512_mask_or_epi32(rounded, not_a_number, upper, _mm512_set1_epi32(0x40));
                    _mm256_storeu_si256(to.as_mut_ptr().cast(), _mm512_cvtepi32_epi16(halves));
                }
                fn read_u8(from: &[f32; 4]) -> __m512 {
                    _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_loadu_si128(from.as_ptr().cast())))
                }
                fn write_u8(to: &mut [f32; 4], value: __m512) {
                    // What is not a number becomes 0 by the first of these.
                    let value = _mm512_max_ps(value, _mm512_setzero_ps());
                    let wide = _mm512_cvtps_epi32(_mm512_min_ps(value, _mm512_set1_ps(255.0)));
                    _mm_storeu_si128(to.as_mut_ptr().cast(), _mm512_cvtepi32_epi8(wide));
                }
                $($products)*
            }
        }
    };
}

token!(Avx512, {
    fn add_byte_products(sum: __m512i, a: __m512i, b: __m512i) -> __m512i {
        // As for AVX2.
        let (even, odd) = (_mm512_and_si512(a, _mm512_set1_epi16(0xff)), _mm512_srli_epi16::<8>(a));
        let (even_b, odd_b) = (_mm512_srai_epi16::<8>(_mm512_slli_epi16::<8>(b)), _mm512_srai_epi16::<8>(b));
        let products = _mm512_add_epi32(_mm512_madd_epi16(even, even_b), _mm512_madd_epi16(odd, odd_b));
        _mm512_add_epi32(sum, products)
    }
});

token!(Avx512Vnni, {
    fn add_byte_products(sum: __m512i, a: __m512i, b: __m512i) -> __m512i {
        _mm512_dpbusd_epi32(sum, a, b)
    }
});

token!(Avx512Bf16, {
    fn add_byte_products(sum: __m512i, a: __m512i, b: __m512i) -> __m512i {
        _mm512_dpbusd_epi32(sum, a, b)
    }
    fn add_half_products(sum: __m512, a: __m512i, b: __m512i) -> __m512 {
        // Both types are 512 bits without a meaning of their own.
        let halves = |words: __m512i| std::mem::transmute::<__m512i, __m512bh>(words);
        _mm512_dpbf16_ps(sum, halves(a), halves(b))
    }
});
