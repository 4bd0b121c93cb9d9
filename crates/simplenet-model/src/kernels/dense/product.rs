//! What a word of activations by a vector of words of weights adds to a vector of sums, for each [`Kind`] of values. The
//! tiles of [`super::tile`] are written once over it.

use crate::kernels::isa::Simd;

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
pub(crate) trait Product: Copy {
    /// What it is computed with.
    type S: Simd;
    type Words: Copy;
    type Sums: Copy;
    fn simd(self) -> Self::S;
    fn read(self, from: &<Self::S as Simd>::Lanes) -> Self::Words;
    fn splat(self, word: f32) -> Self::Words;
    /// Where sums begin.
    fn start(self, bias: Option<&<Self::S as Simd>::Lanes>) -> Self::Sums;
    fn add(self, sums: Self::Sums, activations: Self::Words, weights: Self::Words) -> Self::Sums;
    /// Sums as numbers; scale and bias count for sums of integers.
    fn finish(
        self,
        sums: Self::Sums,
        scale: Option<&<Self::S as Simd>::Lanes>,
        bias: Option<&<Self::S as Simd>::Lanes>,
    ) -> <Self::S as Simd>::Vector;
}

/// Products of f32.
#[derive(Clone, Copy)]
pub(crate) struct F32<S>(pub(crate) S);

impl<S: Simd> Product for F32<S> {
    type S = S;
    type Words = S::Vector;
    type Sums = S::Vector;

    #[inline(always)]
    fn simd(self) -> S {
        self.0
    }

    #[inline(always)]
    fn read(self, from: &S::Lanes) -> S::Vector {
        self.0.read(from)
    }

    #[inline(always)]
    fn splat(self, word: f32) -> S::Vector {
        self.0.splat(word)
    }

    #[inline(always)]
    fn start(self, bias: Option<&S::Lanes>) -> S::Vector {
        bias.map_or_else(|| self.0.splat(0.0), |bias| self.0.read(bias))
    }

    #[inline(always)]
    fn add(self, sums: S::Vector, activations: S::Vector, weights: S::Vector) -> S::Vector {
        self.0.multiply_add(activations, weights, sums)
    }

    #[inline(always)]
    fn finish(self, sums: S::Vector, _: Option<&S::Lanes>, _: Option<&S::Lanes>) -> S::Vector {
        sums
    }
}

/// The methods of words that hold several values.
macro_rules! words {
    () => {
        #[inline(always)]
        fn simd(self) -> S {
            self.0
        }

        #[inline(always)]
        fn read(self, from: &S::Lanes) -> S::Words {
            self.0.read_words(from)
        }

        #[inline(always)]
        fn splat(self, word: f32) -> S::Words {
            self.0.splat_word(word)
        }
    };
}

/// Products of bf16.
#[derive(Clone, Copy)]
pub(crate) struct Bf16<S>(pub(crate) S);

impl<S: Simd> Product for Bf16<S> {
    type S = S;
    type Words = S::Words;
    type Sums = S::Vector;

    words!();

    #[inline(always)]
    fn start(self, bias: Option<&S::Lanes>) -> S::Vector {
        F32(self.0).start(bias)
    }

    #[inline(always)]
    fn add(self, sums: S::Vector, activations: S::Words, weights: S::Words) -> S::Vector {
        self.0.add_half_products(sums, activations, weights)
    }

    #[inline(always)]
    fn finish(self, sums: S::Vector, _: Option<&S::Lanes>, _: Option<&S::Lanes>) -> S::Vector {
        sums
    }
}

/// Products of bytes: scale · sum + bias.
#[derive(Clone, Copy)]
pub(crate) struct Bytes<S>(pub(crate) S);

impl<S: Simd> Product for Bytes<S> {
    type S = S;
    type Words = S::Words;
    type Sums = S::Words;

    words!();

    #[inline(always)]
    fn start(self, _: Option<&S::Lanes>) -> S::Words {
        self.0.no_words()
    }

    #[inline(always)]
    fn add(self, sums: S::Words, activations: S::Words, weights: S::Words) -> S::Words {
        self.0.add_byte_products(sums, activations, weights)
    }

    #[inline(always)]
    fn finish(self, sums: S::Words, scale: Option<&S::Lanes>, bias: Option<&S::Lanes>) -> S::Vector {
        let sums = self.0.to_f32(sums);
        match (scale, bias) {
            (Some(scale), Some(bias)) => self.0.multiply_add(sums, self.0.read(scale), self.0.read(bias)),
            _ => sums,
        }
    }
}
