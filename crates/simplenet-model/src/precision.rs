//! In which numbers a compiled network computes.

use serde::{Deserialize, Serialize};

use crate::error::ModelError;

/// What activations and weights are between the photograph and the hidden layer; sums are always wider.
///
/// It is the narrowest form that occurs, not the only one: sums from block to block of some backbones, depthwise layers,
/// attention, and the head over patches that are not 3×3 stay in f32, and in int8 what reads around zero through several
/// taps is bf16 (`passes/encodings.rs`).
#[derive(Debug, Clone, PartialEq, Default)]
pub enum Precision {
    /// f32: agrees with the reference network to rounding.
    #[default]
    F32,
    /// bf16 (8 bits of significand), summed in f32. Fast where the CPU has AVX-512 BF16.
    Bf16,
    /// Bytes in the backbone's convolutions and matrix products, summed in integers: weights with a step for each output, activations with a step for each
    /// layer from its measured range; bf16 in the head. Fast where the CPU has VNNI.
    Int8(ActivationRanges),
}

impl Precision {
    /// `f32`, `bf16` or `int8`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
            Self::Int8(_) => "int8",
        }
    }
}

/// The largest absolute output of each node of a backbone's graph whose range matters, in the order in which they run, over
/// the images that were seen ([`crate::CompiledExtractor::observe`]).
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ActivationRanges(Vec<f32>);

/// One number a layer, as [`ActivationRanges::as_slice`] gave them.
impl From<Vec<f32>> for ActivationRanges {
    fn from(ranges: Vec<f32>) -> Self {
        Self(ranges)
    }
}

impl ActivationRanges {
    /// One number a layer.
    pub fn as_slice(&self) -> &[f32] {
        &self.0
    }

    /// Takes another output of layer `index` in.
    pub(crate) fn widen(&mut self, index: usize, largest: f32) {
        if self.0.len() <= index {
            self.0.resize(index + 1, 0.0);
        }
        self.0[index] = self.0[index].max(largest);
    }

    /// Takes in what other images have shown.
    pub fn join(&mut self, other: &Self) {
        other.0.iter().enumerate().for_each(|(index, &largest)| self.widen(index, largest));
    }

    /// Whether every range can be one: finite and not negative.
    pub(crate) fn is_usable(&self) -> bool {
        self.0.iter().all(|range| range.is_finite() && *range >= 0.0)
    }

    /// Whether these are the ranges of a backbone of so many layers.
    ///
    /// # Errors
    /// `ModelError::Configuration` where they are not.
    pub(crate) fn check(&self, layers: usize) -> Result<(), ModelError> {
        if self.is_usable() && self.0.len() == layers {
            return Ok(());
        }
        Err(ModelError::Configuration {
            what: "int8",
            reason: format!(
                "ranges of the activations of {} layers, where the backbone has {layers}; all must be finite and not \
                 negative",
                self.0.len()
            ),
        })
    }
}
