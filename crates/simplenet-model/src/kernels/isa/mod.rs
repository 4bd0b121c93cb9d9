//! The instruction sets that kernels are written for, a file each.
//!
//! [`Isa`] is a name: chosen once at the edge and passed down as a value, so that a test can force each path. A kernel is
//! given a token instead ([`Token`]), which exists only where the machine has the set, and whose methods are the vector
//! operations ([`Simd`]): they need no further promise. `for_each_isa!` compiles a kernel, written once over any token, for
//! each of them.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod block;
mod scalar;

#[cfg(target_arch = "x86_64")]
pub(crate) use avx2::{Avx2, Avx2Vnni};
#[cfg(target_arch = "x86_64")]
pub(crate) use avx512::{Avx512, Avx512Bf16, Avx512Vnni};
pub(crate) use block::Block;
pub(crate) use scalar::Scalar;

/// The most f32 lanes of any instruction set.
pub(crate) const MAX_LANES: usize = 16;

/// An x86 instruction set level, or none; in the order in which they are preferred.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Isa {
    /// Plain Rust, compiled for the target's baseline.
    Scalar,
    /// AVX2 and FMA, 8 lanes of f32.
    Avx2,
    /// AVX2 with products of four bytes (AVX-VNNI).
    Avx2Vnni,
    /// AVX-512 F, VL, BW and DQ, 16 lanes of f32.
    Avx512,
    /// AVX-512 with products of four bytes (VNNI).
    Avx512Vnni,
    /// AVX-512 with these and products of two bf16.
    Avx512Bf16,
}

impl Isa {
    /// All of them, the plainest first.
    pub const ALL: [Self; 6] =
        [Self::Scalar, Self::Avx2, Self::Avx2Vnni, Self::Avx512, Self::Avx512Vnni, Self::Avx512Bf16];

    /// The best one this machine has.
    pub fn detect() -> Self {
        Self::Avx512Bf16.or_lower()
    }

    /// This one where the machine has it, otherwise the best lower one that it has.
    pub fn or_lower(self) -> Self {
        self.token().isa()
    }

    /// The token of this one where the machine has it, otherwise of the best lower one that it has.
    pub(crate) fn token(self) -> Token {
        #[cfg(target_arch = "x86_64")]
        {
            let at_most = |isa: Self| self >= isa;
            if let Some(token) = at_most(Self::Avx512Bf16).then(Avx512Bf16::new).flatten() {
                return Token::Avx512Bf16(token);
            }
            if let Some(token) = at_most(Self::Avx512Vnni).then(Avx512Vnni::new).flatten() {
                return Token::Avx512Vnni(token);
            }
            if let Some(token) = at_most(Self::Avx512).then(Avx512::new).flatten() {
                return Token::Avx512(token);
            }
            if let Some(token) = at_most(Self::Avx2Vnni).then(Avx2Vnni::new).flatten() {
                return Token::Avx2Vnni(token);
            }
            if let Some(token) = at_most(Self::Avx2).then(Avx2::new).flatten() {
                return Token::Avx2(token);
            }
        }
        Token::Scalar(Scalar)
    }

    /// Whether one instruction adds the products of four bytes.
    pub fn multiplies_bytes(self) -> bool {
        matches!(self, Self::Avx2Vnni | Self::Avx512Vnni | Self::Avx512Bf16)
    }

    /// Whether one instruction adds the products of two bf16.
    pub fn multiplies_bf16(self) -> bool {
        self == Self::Avx512Bf16
    }

    /// What people call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Scalar => "baseline",
            Self::Avx2 => "AVX2",
            Self::Avx2Vnni => "AVX2 with VNNI",
            Self::Avx512 => "AVX-512",
            Self::Avx512Vnni => "AVX-512 with VNNI",
            Self::Avx512Bf16 => "AVX-512 with VNNI and BF16",
        }
    }

    /// All that this machine can run, the plainest first.
    pub fn available() -> Vec<Self> {
        Self::ALL.into_iter().filter(|isa| isa.or_lower() == *isa).collect()
    }
}

/// An instruction set that this machine has.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Token {
    Scalar(Scalar),
    #[cfg(target_arch = "x86_64")]
    Avx2(Avx2),
    #[cfg(target_arch = "x86_64")]
    Avx2Vnni(Avx2Vnni),
    #[cfg(target_arch = "x86_64")]
    Avx512(Avx512),
    #[cfg(target_arch = "x86_64")]
    Avx512Vnni(Avx512Vnni),
    #[cfg(target_arch = "x86_64")]
    Avx512Bf16(Avx512Bf16),
}

impl Token {
    /// Its name.
    pub(crate) fn isa(self) -> Isa {
        match self {
            Self::Scalar(_) => Isa::Scalar,
            #[cfg(target_arch = "x86_64")]
            Self::Avx2(_) => Isa::Avx2,
            #[cfg(target_arch = "x86_64")]
            Self::Avx2Vnni(_) => Isa::Avx2Vnni,
            #[cfg(target_arch = "x86_64")]
            Self::Avx512(_) => Isa::Avx512,
            #[cfg(target_arch = "x86_64")]
            Self::Avx512Vnni(_) => Isa::Avx512Vnni,
            #[cfg(target_arch = "x86_64")]
            Self::Avx512Bf16(_) => Isa::Avx512Bf16,
        }
    }

    /// The same without products of bytes and bf16: one of `Scalar`, `Avx2` and `Avx512`.
    pub(crate) fn base(self) -> Self {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Avx2Vnni(token) => Self::Avx2(token.base()),
            #[cfg(target_arch = "x86_64")]
            Self::Avx512Vnni(token) => Self::Avx512(token.base()),
            #[cfg(target_arch = "x86_64")]
            Self::Avx512Bf16(token) => Self::Avx512(token.base()),
            base => base,
        }
    }

    /// f32 values in a vector.
    pub(crate) fn lanes(self) -> usize {
        match self.base() {
            #[cfg(target_arch = "x86_64")]
            Self::Avx512(_) => Avx512::LANES,
            #[cfg(target_arch = "x86_64")]
            Self::Avx2(_) => Avx2::LANES,
            _ => Scalar::LANES,
        }
    }

    /// The most rows of a tile of sums.
    pub(crate) fn tile_rows(self) -> usize {
        match self.base() {
            #[cfg(target_arch = "x86_64")]
            Self::Avx512(_) => Avx512::TILE_ROWS,
            #[cfg(target_arch = "x86_64")]
            Self::Avx2(_) => Avx2::TILE_ROWS,
            _ => Scalar::TILE_ROWS,
        }
    }
}

/// The few vector operations that the kernels need, as methods of a token; each is one instruction or a few, and all are
/// inlined into a function that `for_each_isa!` has compiled for the token's instruction set.
pub(crate) trait Simd: Copy {
    /// A vector of f32.
    type Vector: Copy;
    /// As many words as a vector has lanes: each one f32, two bf16 or four bytes.
    type Words: Copy;
    /// The words in memory of a vector kept as f32, as bf16, and as bytes.
    type Lanes: Block;
    type Halves: Block;
    type Bytes: Block;
    const LANES: usize;
    /// How many rows of sums fit the registers.
    const TILE_ROWS: usize;

    fn splat(self, value: f32) -> Self::Vector;
    fn read(self, from: &Self::Lanes) -> Self::Vector;
    fn write(self, to: &mut Self::Lanes, value: Self::Vector);
    fn add(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    fn subtract(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    fn multiply(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    /// The second where either is not a number.
    fn max(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    /// The second where either is not a number.
    fn min(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    /// a·b + c.
    fn multiply_add(self, a: Self::Vector, b: Self::Vector, c: Self::Vector) -> Self::Vector;
    /// Asks for the cache line at an address, which need not be a valid one, to be brought into the second-level cache.
    fn prefetch(self, from: *const f32);

    fn read_words(self, from: &Self::Lanes) -> Self::Words;
    /// One word in every lane.
    fn splat_word(self, word: f32) -> Self::Words;
    fn no_words(self) -> Self::Words;
    /// The first bf16 of each word.
    fn first_half(self, words: Self::Words) -> Self::Vector;
    /// The second bf16 of each word.
    fn second_half(self, words: Self::Words) -> Self::Vector;
    /// Of each word the sum of four products, of a byte in `a` and a signed byte in `b`, added to `sum`.
    fn add_byte_products(self, sum: Self::Words, a: Self::Words, b: Self::Words) -> Self::Words;
    /// Words as integers with a sign.
    fn to_f32(self, words: Self::Words) -> Self::Vector;

    fn read_bf16(self, from: &Self::Halves) -> Self::Vector;
    fn write_bf16(self, to: &mut Self::Halves, value: Self::Vector);
    fn read_u8(self, from: &Self::Bytes) -> Self::Vector;
    /// Rounds, and keeps within 0 and 255.
    fn write_u8(self, to: &mut Self::Bytes, value: Self::Vector);

    /// The first vector of a slice.
    #[inline(always)]
    fn load(self, from: &[f32]) -> Self::Vector {
        self.read(Block::first(from))
    }

    /// Writes the first vector of a slice.
    #[inline(always)]
    fn store(self, to: &mut [f32], value: Self::Vector) {
        self.write(Block::first_mut(to), value);
    }

    /// Of each word the products of its two bf16, added to `sum`: the second ones first.
    #[inline(always)]
    fn add_half_products(self, sum: Self::Vector, a: Self::Words, b: Self::Words) -> Self::Vector {
        let second = self.multiply_add(self.second_half(a), self.second_half(b), sum);
        self.multiply_add(self.first_half(a), self.first_half(b), second)
    }
}

/// Implements methods of [`Simd`] for a token by what its instruction set has.
#[cfg(target_arch = "x86_64")]
macro_rules! instructions {
    ($(fn $name:ident($($arg:ident: $type:ty),*) $(-> $out:ty)? $body:block)*) => {$(
        #[inline(always)]
        fn $name(self, $($arg: $type),*) $(-> $out)? {
            // SAFETY: the token shows that the machine has the instructions. What they read and write at an address is what
            // the reference that it comes from covers; a prefetch never faults.
            unsafe { $body }
        }
    )*};
}
#[cfg(target_arch = "x86_64")]
pub(crate) use instructions;

/// Calls a function over any [`Simd`], compiled for one token's instruction set.
macro_rules! compiled {
    (Avx2 $($rest:tt)*) => { $crate::kernels::isa::compiled!(@ "avx2,fma", Avx2 $($rest)*) };
    (Avx2Vnni $($rest:tt)*) => { $crate::kernels::isa::compiled!(@ "avx2,fma,avxvnni", Avx2Vnni $($rest)*) };
    (Avx512 $($rest:tt)*) => {
        $crate::kernels::isa::compiled!(@ "avx2,fma,avx512f,avx512vl,avx512bw,avx512dq", Avx512 $($rest)*)
    };
    (Avx512Vnni $($rest:tt)*) => {
        $crate::kernels::isa::compiled!(@ "avx2,fma,avx512f,avx512vl,avx512bw,avx512dq,avx512vnni", Avx512Vnni $($rest)*)
    };
    (Avx512Bf16 $($rest:tt)*) => {
        $crate::kernels::isa::compiled!(
            @ "avx2,fma,avx512f,avx512vl,avx512bw,avx512dq,avx512vnni,avx512bf16", Avx512Bf16 $($rest)*
        )
    };
    (@ $features:literal, $type:ident, $token:ident, $body:ident, [$($constant:ident)*], ($($arg:ident: $arg_type:ty),*)
     $(-> $out:ty)?) => {{
        #[target_feature(enable = $features)]
        fn compiled<$(const $constant: usize),*>(token: $crate::kernels::isa::$type, $($arg: $arg_type),*) $(-> $out)? {
            $body::<_ $(, $constant)*>(token, $($arg),*)
        }
        // SAFETY: the token shows that the machine has these features.
        unsafe { compiled::<$($constant),*>($token, $($arg),*) }
    }};
}
pub(crate) use compiled;

/// Defines a function that takes a [`Token`] first and calls a function over any [`Simd`] (and over the same constants, if
/// there are any), compiled for the token's instruction set; for its base where only products of bytes or bf16 differ.
macro_rules! for_each_isa {
    ($(#[$doc:meta])* $vis:vis fn $name:ident $(<$($constant:ident),+>)? ($($arg:ident: $type:ty),* $(,)?)
     $(-> $out:ty)? => $body:ident) => {
        $(#[$doc])*
        $vis fn $name$(<$(const $constant: usize),+>)?(token: $crate::kernels::isa::Token, $($arg: $type),*) $(-> $out)? {
            #[cfg(target_arch = "x86_64")]
            use $crate::kernels::isa::compiled;
            use $crate::kernels::isa::Token;
            match token.base() {
                #[cfg(target_arch = "x86_64")]
                Token::Avx512(token) => {
                    compiled!(Avx512, token, $body, [$($($constant)+)?], ($($arg: $type),*) $(-> $out)?)
                }
                #[cfg(target_arch = "x86_64")]
                Token::Avx2(token) => compiled!(Avx2, token, $body, [$($($constant)+)?], ($($arg: $type),*) $(-> $out)?),
                _ => $body::<_ $(, $($constant),+)?>($crate::kernels::isa::Scalar, $($arg),*),
            }
        }
    };
}
pub(crate) use for_each_isa;

/// As [`for_each_isa!`], for the token's own instruction set.
macro_rules! for_each_exact_isa {
    ($(#[$doc:meta])* $vis:vis fn $name:ident ($($arg:ident: $type:ty),* $(,)?) => $body:ident) => {
        $(#[$doc])*
        $vis fn $name(token: $crate::kernels::isa::Token, $($arg: $type),*) {
            #[cfg(target_arch = "x86_64")]
            use $crate::kernels::isa::compiled;
            use $crate::kernels::isa::Token;
            match token {
                Token::Scalar(token) => $body(token, $($arg),*),
                #[cfg(target_arch = "x86_64")]
                Token::Avx2(token) => compiled!(Avx2, token, $body, [], ($($arg: $type),*)),
                #[cfg(target_arch = "x86_64")]
                Token::Avx2Vnni(token) => compiled!(Avx2Vnni, token, $body, [], ($($arg: $type),*)),
                #[cfg(target_arch = "x86_64")]
                Token::Avx512(token) => compiled!(Avx512, token, $body, [], ($($arg: $type),*)),
                #[cfg(target_arch = "x86_64")]
                Token::Avx512Vnni(token) => compiled!(Avx512Vnni, token, $body, [], ($($arg: $type),*)),
                #[cfg(target_arch = "x86_64")]
                Token::Avx512Bf16(token) => compiled!(Avx512Bf16, token, $body, [], ($($arg: $type),*)),
            }
        }
    };
}
pub(crate) use for_each_exact_isa;
