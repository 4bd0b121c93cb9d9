//! Settings of single parts: how feature rows are kept, what the statistics by place take.

use serde::{Deserialize, Serialize};

use crate::error::TrainError;

/// How feature rows are kept.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// Two bytes a number: one part in 2048 of a feature, far below the training noise. Eight times as exact as bf16,
    /// whose range features do not need.
    #[default]
    F16,
    /// Four bytes a number: as the network gives them.
    F32,
}

impl Precision {
    /// Bytes a number.
    pub fn bytes(self) -> usize {
        match self {
            Self::F16 => 2,
            Self::F32 => 4,
        }
    }
}

/// Settings of the statistics.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PositionConfig {
    /// Patches along a side of the cells that share a covariance.
    pub cell: usize,
    /// How much the covariance of all places weighs against a cell's own, in images.
    pub shrinkage: f64,
    /// Added to the diagonal of every covariance; features have deviation 1.
    pub ridge: f64,
    /// Numbers of a patch that are looked at; wider features are projected on this many random directions.
    pub dimensions: usize,
    /// What a deviation of the discriminator's score weighs against a deviation of the energy.
    pub head_weight: f64,
}

impl Default for PositionConfig {
    fn default() -> Self {
        Self { cell: 3, shrinkage: 30.0, ridge: 0.01, dimensions: 256, head_weight: 0.5 }
    }
}

impl PositionConfig {
    /// Checks every number.
    ///
    /// # Errors
    /// `TrainError::Setting` names the first one that cannot work.
    pub fn validate(&self) -> Result<(), TrainError> {
        for (name, value) in [("position.cell", self.cell), ("position.dimensions", self.dimensions)] {
            if !(1..=4096).contains(&value) {
                return Err(TrainError::setting(name, value, "must lie between 1 and 4096"));
            }
        }
        if !(self.ridge.is_finite() && self.ridge > 0.0) {
            return Err(TrainError::setting("position.ridge", self.ridge, "must be a number above 0"));
        }
        for (name, value) in
            [("position.shrinkage", self.shrinkage), ("position.head_weight", self.head_weight)]
        {
            if !(value.is_finite() && value >= 0.0) {
                return Err(TrainError::setting(name, value, "must be 0 or more"));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_that_cannot_work_are_named() {
        let good = PositionConfig::default();
        for (config, word) in [
            (PositionConfig { cell: 0, ..good }, "position.cell"),
            (PositionConfig { dimensions: 0, ..good }, "position.dimensions"),
            (PositionConfig { ridge: 0.0, ..good }, "position.ridge"),
            (PositionConfig { shrinkage: -1.0, ..good }, "position.shrinkage"),
            (PositionConfig { head_weight: f64::NAN, ..good }, "position.head_weight"),
        ] {
            let error = config.validate().unwrap_err().to_string();
            assert!(error.contains(word), "{error}");
        }
    }
}
