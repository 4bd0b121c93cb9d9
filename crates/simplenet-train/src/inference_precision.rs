//! The numbers that a detector computes in, as a person chooses them. In: a choice and a model's record. Out: what the
//! model crate compiles to.

use serde::{Deserialize, Serialize};
use simplenet_model::{Precision, checkpoint::ModelRecord, ops::Isa};

use crate::error::TrainError;

/// Numbers to inspect in. Training, its threshold and its quantiles are always in f32.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum InferencePrecision {
    /// f32: the scores are those that the threshold was set with.
    #[default]
    F32,
    /// bf16: half the memory. Fast where the CPU has AVX-512 BF16; scores move a little.
    Bf16,
    /// Bytes in the backbone, bf16 in the head. Fast where the CPU has VNNI; scores move a little more. Needs a model that
    /// knows the ranges of its activations.
    Int8,
}

impl InferencePrecision {
    /// `f32`, `bf16` or `int8`.
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
            Self::Int8 => "int8",
        }
    }

    /// Whether an instruction set multiplies such numbers itself. Where it does not, they are widened first, and f32 may be
    /// as fast.
    pub fn is_native(self, isa: Isa) -> bool {
        match self {
            Self::F32 => true,
            Self::Bf16 => isa.multiplies_bf16(),
            Self::Int8 => isa.multiplies_bytes(),
        }
    }

    /// What the model crate compiles to.
    ///
    /// # Errors
    /// `TrainError::NoActivationRanges` for int8 and a model without them.
    pub(crate) fn of(self, record: &ModelRecord) -> Result<Precision, TrainError> {
        match self {
            Self::F32 => Ok(Precision::F32),
            Self::Bf16 => Ok(Precision::Bf16),
            Self::Int8 => {
                record.activation_ranges.clone().map(Precision::Int8).ok_or(TrainError::NoActivationRanges)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn precisions_are_native_where_one_instruction_multiplies_them() {
        for (isa, native) in [
            (Isa::Scalar, [true, false, false]),
            (Isa::Avx2Vnni, [true, false, true]),
            (Isa::Avx512, [true, false, false]),
            (Isa::Avx512Vnni, [true, false, true]),
            (Isa::Avx512Bf16, [true, true, true]),
        ] {
            use InferencePrecision::{Bf16, F32, Int8};
            assert_eq!([F32, Bf16, Int8].map(|precision| precision.is_native(isa)), native, "{isa:?}");
        }
    }
}
