//! The instruction sets that kernels are written for. Detected once at the edge and passed down as a value, so that
//! a test can force each path.

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
        let mut usable = Self::ALL.into_iter().rev().filter(|isa| *isa <= self && isa.is_present());
        usable.next().unwrap_or(Self::Scalar)
    }

    /// Whether this machine has it.
    fn is_present(self) -> bool {
        #[cfg(target_arch = "x86_64")]
        {
            let avx2 = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
            let avx512 = avx2
                && is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512vl")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512dq");
            let vnni = avx512 && is_x86_feature_detected!("avx512vnni");
            match self {
                Self::Scalar => true,
                Self::Avx2 => avx2,
                Self::Avx2Vnni => avx2 && is_x86_feature_detected!("avxvnni"),
                Self::Avx512 => avx512,
                Self::Avx512Vnni => vnni,
                Self::Avx512Bf16 => vnni && is_x86_feature_detected!("avx512bf16"),
            }
        }
        #[cfg(not(target_arch = "x86_64"))]
        {
            self == Self::Scalar
        }
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
        Self::ALL.into_iter().filter(|isa| isa.is_present()).collect()
    }
}
