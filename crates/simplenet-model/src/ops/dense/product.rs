//! What a word of activations by a vector of words of weights adds to a vector of sums, for each [`Kind`] of numbers and
//! each instruction set. The tiles of [`super::tile`] are written once over it.

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::*;
use std::marker::PhantomData;

use crate::ops::encoding::Encoded;
#[cfg(target_arch = "x86_64")]
use crate::ops::simd::{Avx2, Avx512};
use crate::ops::simd::{Plain, Simd};

/// What is multiplied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// One f32 a word, summed in f32.
    F32,
    /// Two bf16 a word, summed in f32.
    Bf16,
    /// Four bytes a word, those of the weights with a sign, summed in integers.
    Bytes,
}

/// See the module.
///
/// # Safety
/// As [`Simd`] and [`Encoded`], for the features of `V` and those that the product itself names. Pointers to biases and
/// scales hold a vector of f32.
pub(crate) trait Product {
    /// The vectors of results.
    type V: Encoded + TileRows;
    type Words: Copy;
    type Sums: Copy;
    unsafe fn load(from: *const f32) -> Self::Words;
    unsafe fn splat(from: *const f32) -> Self::Words;
    /// Where sums begin; the bias may be null.
    unsafe fn start(bias: *const f32) -> Self::Sums;
    unsafe fn add(sums: Self::Sums, activations: Self::Words, weights: Self::Words) -> Self::Sums;
    /// Sums as numbers; scale and bias count for sums of integers.
    unsafe fn finish(sums: Self::Sums, scale: *const f32, bias: *const f32) -> <Self::V as Simd>::Vector;
}

/// How many rows of sums fit the registers.
pub(crate) trait TileRows {
    const ROWS: usize;
}

impl TileRows for Plain {
    const ROWS: usize = 4;
}

#[cfg(target_arch = "x86_64")]
impl TileRows for Avx2 {
    const ROWS: usize = 6;
}

#[cfg(target_arch = "x86_64")]
impl TileRows for Avx512 {
    const ROWS: usize = 11;
}

/// Products of f32.
pub(crate) struct F32<V>(PhantomData<V>);

impl<V: Encoded + TileRows> Product for F32<V> {
    type V = V;
    type Words = V::Vector;
    type Sums = V::Vector;

    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self::Words {
        // SAFETY: the trait's contract.
        unsafe { V::load(from) }
    }

    #[inline(always)]
    unsafe fn splat(from: *const f32) -> Self::Words {
        // SAFETY: the trait's contract.
        unsafe { V::splat(*from) }
    }

    #[inline(always)]
    unsafe fn start(bias: *const f32) -> Self::Sums {
        // SAFETY: the trait's contract.
        unsafe { if bias.is_null() { V::splat(0.0) } else { V::load(bias) } }
    }

    #[inline(always)]
    unsafe fn add(sums: Self::Sums, activations: Self::Words, weights: Self::Words) -> Self::Sums {
        // SAFETY: the trait's contract.
        unsafe { V::multiply_add(activations, weights, sums) }
    }

    #[inline(always)]
    unsafe fn finish(sums: Self::Sums, _: *const f32, _: *const f32) -> V::Vector {
        sums
    }
}

/// Products of bf16, as f32 products of their halves.
pub(crate) struct Bf16<V>(PhantomData<V>);

impl<V: Encoded + TileRows> Product for Bf16<V> {
    type V = V;
    type Words = V::Words;
    type Sums = V::Vector;

    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self::Words {
        // SAFETY: the trait's contract.
        unsafe { V::load_words(from) }
    }

    #[inline(always)]
    unsafe fn splat(from: *const f32) -> Self::Words {
        // SAFETY: the trait's contract.
        unsafe { V::splat_word(from) }
    }

    #[inline(always)]
    unsafe fn start(bias: *const f32) -> Self::Sums {
        // SAFETY: the trait's contract.
        unsafe { F32::<V>::start(bias) }
    }

    #[inline(always)]
    unsafe fn add(sums: Self::Sums, activations: Self::Words, weights: Self::Words) -> Self::Sums {
        // SAFETY: the trait's contract.
        unsafe {
            let second = V::multiply_add(V::second_half(activations), V::second_half(weights), sums);
            V::multiply_add(V::first_half(activations), V::first_half(weights), second)
        }
    }

    #[inline(always)]
    unsafe fn finish(sums: Self::Sums, _: *const f32, _: *const f32) -> V::Vector {
        sums
    }
}

/// Products of bytes, through 16-bit numbers where there is no instruction for them.
pub(crate) struct Bytes<V>(PhantomData<V>);

/// Integers -> numbers: scale · sum + bias.
#[inline(always)]
unsafe fn scaled<V: Encoded>(sums: V::Words, scale: *const f32, bias: *const f32) -> V::Vector {
    // SAFETY: the caller has the features of `V`; both pointers hold a vector.
    unsafe { V::multiply_add(V::to_f32(sums), V::load(scale), V::load(bias)) }
}

/// Implements a product of bytes by what adds four products.
macro_rules! bytes {
    ([$($generics:tt)*] $name:ty, $v:ty, $add:expr) => {
        impl $($generics)* Product for $name {
            type V = $v;
            type Words = <$v as Encoded>::Words;
            type Sums = <$v as Encoded>::Words;

            #[inline(always)]
            unsafe fn load(from: *const f32) -> Self::Words {
                // SAFETY: the trait's contract.
                unsafe { <$v>::load_words(from) }
            }

            #[inline(always)]
            unsafe fn splat(from: *const f32) -> Self::Words {
                // SAFETY: the trait's contract.
                unsafe { <$v>::splat_word(from) }
            }

            #[inline(always)]
            unsafe fn start(_: *const f32) -> Self::Sums {
                // SAFETY: the trait's contract.
                unsafe { <$v>::no_words() }
            }

            #[inline(always)]
            unsafe fn add(sums: Self::Sums, activations: Self::Words, weights: Self::Words) -> Self::Sums {
                // SAFETY: the trait's contract.
                unsafe { $add(sums, activations, weights) }
            }

            #[inline(always)]
            unsafe fn finish(sums: Self::Sums, scale: *const f32, bias: *const f32) -> <$v as Simd>::Vector {
                // SAFETY: the trait's contract.
                unsafe { scaled::<$v>(sums, scale, bias) }
            }
        }
    };
}

bytes!([<V: Encoded + TileRows>] Bytes<V>, V, V::add_byte_products);

/// Products of bytes with AVX-VNNI.
#[cfg(target_arch = "x86_64")]
pub(crate) struct BytesAvx2Vnni;

#[cfg(target_arch = "x86_64")]
bytes!([] BytesAvx2Vnni, Avx2, _mm256_dpbusd_avx_epi32);

/// Products of bytes with AVX-512 VNNI.
#[cfg(target_arch = "x86_64")]
pub(crate) struct BytesAvx512Vnni;

#[cfg(target_arch = "x86_64")]
bytes!([] BytesAvx512Vnni, Avx512, _mm512_dpbusd_epi32);

/// Products of bf16 with AVX-512 BF16.
#[cfg(target_arch = "x86_64")]
pub(crate) struct Bf16Avx512;

#[cfg(target_arch = "x86_64")]
impl Product for Bf16Avx512 {
    type V = Avx512;
    type Words = __m512i;
    type Sums = __m512;

    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self::Words {
        // SAFETY: the trait's contract.
        unsafe { Avx512::load_words(from) }
    }

    #[inline(always)]
    unsafe fn splat(from: *const f32) -> Self::Words {
        // SAFETY: the trait's contract.
        unsafe { Avx512::splat_word(from) }
    }

    #[inline(always)]
    unsafe fn start(bias: *const f32) -> Self::Sums {
        // SAFETY: the trait's contract.
        unsafe { F32::<Avx512>::start(bias) }
    }

    #[inline(always)]
    unsafe fn add(sums: Self::Sums, activations: Self::Words, weights: Self::Words) -> Self::Sums {
        // SAFETY: the trait's contract. Both types are 512 bits without a meaning of their own.
        unsafe {
            let halves = |words: __m512i| std::mem::transmute::<__m512i, __m512bh>(words);
            _mm512_dpbf16_ps(sums, halves(activations), halves(weights))
        }
    }

    #[inline(always)]
    unsafe fn finish(sums: Self::Sums, _: *const f32, _: *const f32) -> __m512 {
        sums
    }
}
