//! The few vector operations that the kernels need, for each instruction set. All are inlined into a function that
//! enables the set's features.

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::*;

/// The most f32 lanes of any instruction set.
pub(crate) const MAX_LANES: usize = 16;

/// A vector of f32.
///
/// # Safety
/// Every function must be called where the features of the type's instruction set are enabled; `load` and `store` need
/// `LANES` numbers at the pointer, of any alignment.
pub(crate) trait Simd {
    type Vector: Copy;
    const LANES: usize;
    unsafe fn splat(value: f32) -> Self::Vector;
    unsafe fn load(from: *const f32) -> Self::Vector;
    unsafe fn store(to: *mut f32, value: Self::Vector);
    unsafe fn add(a: Self::Vector, b: Self::Vector) -> Self::Vector;
    unsafe fn subtract(a: Self::Vector, b: Self::Vector) -> Self::Vector;
    unsafe fn multiply(a: Self::Vector, b: Self::Vector) -> Self::Vector;
    unsafe fn max(a: Self::Vector, b: Self::Vector) -> Self::Vector;
    unsafe fn min(a: Self::Vector, b: Self::Vector) -> Self::Vector;
    /// a·b + c.
    unsafe fn multiply_add(a: Self::Vector, b: Self::Vector, c: Self::Vector) -> Self::Vector;
    /// Asks for the cache line at an address, which need not be a valid one, to be brought into the second-level cache.
    unsafe fn prefetch(from: *const f32);
}

/// No instructions beyond the target's baseline; products are rounded before they are added.
pub(crate) struct Plain;

/// Defines the operations of [`Plain`], lane by lane.
macro_rules! lane_by_lane {
    ($($name:ident($a:ident, $b:ident) = $value:expr;)*) => {$(
        #[inline(always)]
        unsafe fn $name(a: Self::Vector, b: Self::Vector) -> Self::Vector {
            std::array::from_fn(|i| { let ($a, $b) = (a[i], b[i]); $value })
        }
    )*};
}

impl Simd for Plain {
    type Vector = [f32; 4];
    const LANES: usize = 4;

    #[inline(always)]
    unsafe fn splat(value: f32) -> Self::Vector {
        [value; 4]
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self::Vector {
        // SAFETY: the trait's contract.
        unsafe { from.cast::<[f32; 4]>().read_unaligned() }
    }

    #[inline(always)]
    unsafe fn store(to: *mut f32, value: Self::Vector) {
        // SAFETY: the trait's contract.
        unsafe { to.cast::<[f32; 4]>().write_unaligned(value) }
    }

    lane_by_lane! {
        add(a, b) = a + b;
        subtract(a, b) = a - b;
        multiply(a, b) = a * b;
        max(a, b) = if a > b { a } else { b };
        min(a, b) = if a < b { a } else { b };
    }

    #[inline(always)]
    unsafe fn multiply_add(a: Self::Vector, b: Self::Vector, c: Self::Vector) -> Self::Vector {
        std::array::from_fn(|i| a[i] * b[i] + c[i])
    }

    #[inline(always)]
    unsafe fn prefetch(_: *const f32) {}
}

/// Implements [`Simd`] with one intrinsic an operation.
macro_rules! intrinsics {
    ($(#[$doc:meta])* $name:ident: $vector:ident x $lanes:literal, $splat:ident $load:ident $store:ident $add:ident
     $subtract:ident $multiply:ident $max:ident $min:ident $multiply_add:ident) => {
        $(#[$doc])*
        #[cfg(target_arch = "x86_64")]
        pub(crate) struct $name;

        #[cfg(target_arch = "x86_64")]
        impl Simd for $name {
            type Vector = $vector;
            const LANES: usize = $lanes;

            #[inline(always)]
            unsafe fn splat(value: f32) -> Self::Vector {
                // SAFETY: the trait's contract.
                unsafe { $splat(value) }
            }

            #[inline(always)]
            unsafe fn load(from: *const f32) -> Self::Vector {
                // SAFETY: the trait's contract.
                unsafe { $load(from) }
            }

            #[inline(always)]
            unsafe fn store(to: *mut f32, value: Self::Vector) {
                // SAFETY: the trait's contract.
                unsafe { $store(to, value) }
            }

            #[inline(always)]
            unsafe fn add(a: Self::Vector, b: Self::Vector) -> Self::Vector {
                // SAFETY: the trait's contract.
                unsafe { $add(a, b) }
            }

            #[inline(always)]
            unsafe fn subtract(a: Self::Vector, b: Self::Vector) -> Self::Vector {
                // SAFETY: the trait's contract.
                unsafe { $subtract(a, b) }
            }

            #[inline(always)]
            unsafe fn multiply(a: Self::Vector, b: Self::Vector) -> Self::Vector {
                // SAFETY: the trait's contract.
                unsafe { $multiply(a, b) }
            }

            #[inline(always)]
            unsafe fn max(a: Self::Vector, b: Self::Vector) -> Self::Vector {
                // SAFETY: the trait's contract.
                unsafe { $max(a, b) }
            }

            #[inline(always)]
            unsafe fn min(a: Self::Vector, b: Self::Vector) -> Self::Vector {
                // SAFETY: the trait's contract.
                unsafe { $min(a, b) }
            }

            #[inline(always)]
            unsafe fn multiply_add(a: Self::Vector, b: Self::Vector, c: Self::Vector) -> Self::Vector {
                // SAFETY: the trait's contract.
                unsafe { $multiply_add(a, b, c) }
            }

            #[inline(always)]
            unsafe fn prefetch(from: *const f32) {
                // SAFETY: a prefetch never faults.
                unsafe { _mm_prefetch::<_MM_HINT_T1>(from.cast()) }
            }
        }
    };
}

intrinsics! {
    /// AVX2 with fused multiply-add.
    Avx2: __m256 x 8, _mm256_set1_ps _mm256_loadu_ps _mm256_storeu_ps _mm256_add_ps _mm256_sub_ps _mm256_mul_ps
    _mm256_max_ps _mm256_min_ps _mm256_fmadd_ps
}
intrinsics! {
    /// AVX-512.
    Avx512: __m512 x 16, _mm512_set1_ps _mm512_loadu_ps _mm512_storeu_ps _mm512_add_ps _mm512_sub_ps _mm512_mul_ps
    _mm512_max_ps _mm512_min_ps _mm512_fmadd_ps
}

/// Defines a function that takes an [`crate::ops::Isa`] first and calls a function over its vector type (and over the
/// same constants, if there are any), compiled for it.
macro_rules! for_each_isa {
    ($(#[$doc:meta])* $vis:vis $name:ident $(<$($constant:ident),+>)?
     => $body:ident($($arg:ident: $type:ty),*) -> $out:ty) => {
        $(#[$doc])*
        $vis unsafe fn $name$(<$(const $constant: usize),+>)?(isa: $crate::ops::Isa, $($arg: $type),*) -> $out {
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma,avx512f,avx512vl,avx512bw,avx512dq")]
            unsafe fn avx512$(<$(const $constant: usize),+>)?($($arg: $type),*) -> $out {
                // SAFETY: the caller's contract; this function has the features that `Avx512` needs.
                unsafe { $body::<$crate::ops::simd::Avx512 $(, $($constant),+)?>($($arg),*) }
            }
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma")]
            unsafe fn avx2$(<$(const $constant: usize),+>)?($($arg: $type),*) -> $out {
                // SAFETY: the caller's contract; this function has the features that `Avx2` needs.
                unsafe { $body::<$crate::ops::simd::Avx2 $(, $($constant),+)?>($($arg),*) }
            }
            // SAFETY: the caller's contract.
            unsafe {
                match isa {
                    #[cfg(target_arch = "x86_64")]
                    $crate::ops::Isa::Avx512 | $crate::ops::Isa::Avx512Vnni | $crate::ops::Isa::Avx512Bf16 => avx512$(::<$($constant),+>)?($($arg),*),
                    #[cfg(target_arch = "x86_64")]
                    $crate::ops::Isa::Avx2 | $crate::ops::Isa::Avx2Vnni => avx2$(::<$($constant),+>)?($($arg),*),
                    _ => $body::<$crate::ops::simd::Plain $(, $($constant),+)?>($($arg),*),
                }
            }
        }
    };
}
pub(crate) use for_each_isa;
