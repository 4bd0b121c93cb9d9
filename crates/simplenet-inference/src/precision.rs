//! The numbers that a detector computes in, as a person chooses them. In: a choice and a model's record. Out: what the
//! model crate compiles to.

use serde::{Deserialize, Serialize};
use simplenet_model::{BatchPrecision, Precision, checkpoint::ModelRecord, compute::Isa};

use crate::error::InferenceError;

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
    /// f16: half the memory, and what a GPU multiplies fastest; scores move a little. On GPUs only, as bf16 and int8 are on
    /// CPUs only.
    F16,
}

impl InferencePrecision {
    /// `f32`, `bf16`, `int8` or `f16`.
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
            Self::Int8 => "int8",
            Self::F16 => "f16",
        }
    }

    /// Whether an instruction set of CPUs multiplies such numbers itself. Where it does not, they are widened first, and f32 may be
    /// as fast.
    pub fn is_native(self, isa: Isa) -> bool {
        match self {
            Self::F32 => true,
            Self::Bf16 => isa.multiplies_bf16(),
            Self::Int8 => isa.multiplies_bytes(),
            Self::F16 => false,
        }
    }

    /// What the model crate compiles to on the CPU.
    ///
    /// # Errors
    /// `InferenceError::NoActivationRanges` for int8 and a model without them; `InferenceError::Setting` for f16.
    pub(crate) fn of(self, record: &ModelRecord) -> Result<Precision, InferenceError> {
        match self {
            Self::F32 => Ok(Precision::F32),
            Self::Bf16 => Ok(Precision::Bf16),
            Self::Int8 => record
                .activation_ranges
                .clone()
                // Older versions measured none of a vision transformer, which they did not compile.
                .filter(|ranges| !ranges.as_slice().is_empty())
                .map(Precision::Int8)
                .ok_or(InferenceError::NoActivationRanges),
            Self::F16 => Err(InferenceError::setting(
                "precision",
                self.name(),
                "f16 is for GPUs (`--device cuda`); on the CPU take bf16, which is as small",
            )),
        }
    }

    /// What the model crate compiles to for batches on a GPU.
    ///
    /// # Errors
    /// `InferenceError::Setting` for bf16 and int8.
    pub(crate) fn of_batches(self) -> Result<BatchPrecision, InferenceError> {
        match self {
            Self::F32 => Ok(BatchPrecision::F32),
            Self::F16 => Ok(BatchPrecision::F16),
            Self::Bf16 | Self::Int8 => Err(InferenceError::setting(
                "precision",
                self.name(),
                "it is for CPUs (`--device cpu`); on a GPU take f16, or f32",
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_device_has_precisions_of_its_own() {
        use InferencePrecision::{Bf16, F16, F32, Int8};
        assert_eq!(
            [F32, F16].map(|precision| precision.of_batches().ok()),
            [Some(BatchPrecision::F32), Some(BatchPrecision::F16)]
        );
        for (precision, other) in [(Bf16, "take f16"), (Int8, "take f16")] {
            let message = precision.of_batches().unwrap_err().to_string();
            let name = precision.name();
            assert!(message.starts_with(&format!("setting `precision` = {name}: ")), "{message}");
            assert!(message.contains(other) && message.contains("--device cpu"), "{message}");
        }
    }

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
