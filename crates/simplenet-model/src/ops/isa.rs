//! The instruction sets that kernels are written for. Detected once at the edge and passed down as a value, so that
//! a test can force each path.

/// An x86 instruction set level, or none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Isa {
    /// Plain Rust, compiled for the target's baseline.
    Scalar,
    /// AVX2 and FMA, 8 lanes of f32.
    Avx2,
    /// AVX-512 F, VL, BW and DQ, 16 lanes of f32.
    Avx512,
}

impl Isa {
    /// The best one this machine has.
    pub fn detect() -> Self {
        #[cfg(target_arch = "x86_64")]
        {
            if is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512vl")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512dq")
                && is_x86_feature_detected!("avx2")
                && is_x86_feature_detected!("fma")
            {
                return Self::Avx512;
            }
            if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
                return Self::Avx2;
            }
        }
        Self::Scalar
    }

    /// What people call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Scalar => "baseline",
            Self::Avx2 => "AVX2",
            Self::Avx512 => "AVX-512",
        }
    }

    /// All that this machine can run, the plainest first.
    pub fn available() -> Vec<Self> {
        let best = Self::detect();
        [Self::Scalar, Self::Avx2, Self::Avx512].into_iter().filter(|isa| *isa <= best).collect()
    }
}
